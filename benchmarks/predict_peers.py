"""Predictions of fastnn beside those of ONNX Runtime and PyTorch: the same weights, inputs and precision, interleaved.

    pip install '.[peers]'
    python -m benchmarks.predict_peers [--networks 784-128-10 ...] [--rows 1 100 10000] [--rounds 9] [--json FILE]

One measurement is about 20 ms of calls from Python; the peers take turns (A B C A B C ...). Their outputs must agree,
or the run stops. ONNX Runtime is measured with one thread and with all; a peer that is not installed is a dash. The
last line is fastnn alone: a row at a time from the caller's own compiled code (`fastnn.jit.predict`).
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable
from typing import Any

import numba
import numpy as np

import fastnn as fnn
from benchmarks.table import PREDICTED, Work, inputs
from fastnn.compiler import cores

TURN = 0.02  # seconds of a measurement
SETTLE = (
    0.3  # seconds between two turns: OpenMP's threads spin for 0.2 s after their last work, on the next one's cores
)
Predict = Callable[[np.ndarray], np.ndarray]


def fastnn_(net: fnn.Network, work: Work, rows: int) -> Predict:
    return net


def fastnn_out(net: fnn.Network, work: Work, rows: int) -> Predict:
    out = np.empty((rows, work.sizes[-1]), np.float32)
    return lambda x: net(x, out=out)


def _onnx(threads: int) -> Callable[..., Predict]:
    def build(net: fnn.Network, work: Work, rows: int) -> Predict:
        import onnxruntime
        from onnx import TensorProto, helper, numpy_helper

        nodes: list[Any] = []
        weights: list[Any] = []
        name = "x"
        for i, layer in enumerate(net.layers):
            arrays = {f"w{i}": np.array(layer.weight), f"b{i}": np.array(layer.bias)}
            weights += [numpy_helper.from_array(array, key) for key, array in arrays.items()]
            nodes.append(helper.make_node("Gemm", [name, *arrays], [f"z{i}"]))
            name = f"z{i}"
            if layer.activation != "identity":
                nodes.append(helper.make_node({"relu": "Relu", "tanh": "Tanh"}[layer.activation], [name], [f"y{i}"]))
                name = f"y{i}"
        ends = [
            helper.make_tensor_value_info(end, TensorProto.FLOAT, ["n", size])
            for end, size in (("x", work.sizes[0]), (name, work.sizes[-1]))
        ]
        graph = helper.make_graph(nodes, "network", ends[:1], ends[1:], weights)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
        wanted = [name]
        return lambda x: session.run(wanted, {"x": x})[0]

    return build


def torch(net: fnn.Network, work: Work, rows: int) -> Predict:
    import torch

    parts: list[Any] = []
    for layer in net.layers:
        linear = torch.nn.Linear(*layer.weight.shape)
        with torch.no_grad():
            linear.weight.copy_(torch.from_numpy(np.array(layer.weight).T.copy()))
            linear.bias.copy_(torch.from_numpy(np.array(layer.bias)))
        parts += [linear, *({"relu": [torch.nn.ReLU()], "tanh": [torch.nn.Tanh()], "identity": []}[layer.activation])]
    model = torch.nn.Sequential(*parts).eval()

    @torch.inference_mode()
    def predict(x: np.ndarray) -> np.ndarray:
        return model(torch.from_numpy(x)).numpy()

    return predict


PEERS: dict[str, Callable[..., Predict]] = {
    "fastnn": fastnn_,
    "fastnn, out": fastnn_out,
    "ORT, 1 thread": _onnx(1),
    "ORT, all": _onnx(cores()),
    "PyTorch": torch,
}


def seconds(predict: Predict, x: np.ndarray, times: int) -> float:
    predict(x)  # back into the caches, and a pool's threads awake
    began = time.perf_counter()
    for _ in range(times):
        predict(x)
    return (time.perf_counter() - began) / times


def compare(name: str, rows: int, rounds: int) -> dict[str, float | None]:
    """Median microseconds a call of every peer, None for one that is not installed."""
    work = PREDICTED[name]
    net = fnn.Network(list(work.sizes), activation=work.activation, seed=0)
    x = inputs(work, rows)
    wanted = net(x).copy()
    peers: dict[str, Predict] = {}
    for peer, build in PEERS.items():
        try:
            peers[peer] = build(net, work, rows)
        except ImportError:
            continue
        np.testing.assert_allclose(peers[peer](x), wanted, rtol=1e-3, atol=1e-4 * np.abs(wanted).max(), err_msg=peer)
    times = {peer: max(1, int(TURN / seconds(predict, x, 3))) for peer, predict in peers.items()}
    taken: dict[str, list[float]] = {peer: [] for peer in peers}
    for _ in range(rounds):
        for peer, predict in peers.items():
            time.sleep(SETTLE)
            taken[peer].append(seconds(predict, x, times[peer]))
    return {peer: 1e6 * statistics.median(taken[peer]) if peer in peers else None for peer in PEERS}


@numba.njit
def repeat(state, x, out, times):
    for _ in range(times):
        fnn.jit.predict(state, x, out)


def compiled(name: str, rounds: int) -> float:
    """Median nanoseconds of one row through fastnn.jit.predict."""
    work = PREDICTED[name]
    state = fnn.Network(list(work.sizes), activation=work.activation, seed=0).compiled()
    x, out = inputs(work, 1), np.empty((1, work.sizes[-1]), np.float32)
    repeat(state, x, out, 1)
    taken = []
    for _ in range(rounds):
        began = time.perf_counter()
        repeat(state, x, out, 5000)
        taken.append((time.perf_counter() - began) / 5000)
    return 1e9 * statistics.median(taken)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--networks", nargs="+", choices=PREDICTED, default=list(PREDICTED))
    parser.add_argument("--rows", nargs="+", type=int, default=[1, 100, 10_000])
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--json", metavar="FILE")
    options = parser.parse_args()
    print("microseconds a call, and the best of ONNX Runtime and PyTorch over the better of fastnn's two\n")
    print("| network | rows |", " | ".join(PEERS), "| ratio |")
    print("|---" * (len(PEERS) + 3) + "|")
    results: list[dict[str, Any]] = []
    for name in options.networks:
        for rows in options.rows:
            if rows * sum(a * b for a, b in zip(PREDICTED[name].sizes, PREDICTED[name].sizes[1:], strict=False)) > 2e10:
                continue  # most of a second a call
            taken = compare(name, rows, options.rounds)
            ours = min(t for peer, t in taken.items() if peer.startswith("fastnn") and t is not None)
            theirs = [t for peer, t in taken.items() if not peer.startswith("fastnn") and t is not None]
            ratio = f"{min(theirs) / ours:.1f}" if theirs else "-"
            cells = ["-" if t is None else f"{t:,.1f}" for t in taken.values()]
            print(f"| {name} | {rows} |", " | ".join(cells), f"| {ratio} |", flush=True)
            results.append({"network": name, "rows": rows, "microseconds": taken})
    alone = {name: compiled(name, options.rounds) for name in options.networks}
    print("\nnanoseconds a row from compiled code:", ", ".join(f"{name} {t:,.0f}" for name, t in alone.items()))
    if options.json:
        with open(options.json, "w", encoding="utf-8") as file:
            json.dump({"calls": results, "compiled": alone}, file, indent=1)


if __name__ == "__main__":
    main()
