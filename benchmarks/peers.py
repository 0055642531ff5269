"""fastnn beside its peers: the same networks, data, batches, optimizer and precision, interleaved in one run.

    pip install '.[peers]'
    python -m benchmarks.peers [--networks 64-32-10 ...] [--optimizers sgd adam] [--rounds 7] [--json FILE]

Every framework starts from the same weights and takes the same 4,096 rows in the same order, in full batches, float32.
One measurement is an epoch; the frameworks take turns (A B C A B C ...), so a busy moment hits all of them. Their loss
curves must agree, or the run stops. A peer that is not installed is a dash.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import sys
import time
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np

import fastnn as fnn
from benchmarks.peak import peak_gflops
from benchmarks.table import NETWORKS, ROWS, Work, data
from fastnn.cpu.engine import Runner
from fastnn.cpu.plan import flops
from fastnn.cpu.team import cores

SETTLE = (
    0.3  # seconds between two turns: OpenMP's threads spin for 0.2 s after their last work, on the next one's cores
)
RATES = {"sgd": 0.01, "adam": 1e-3}
Weights = list[tuple[np.ndarray, np.ndarray]]
Epoch = Callable[[], np.ndarray | None]  # trains an epoch; returns the loss of each batch, or None where it is not told


def fastnn_(
    work: Work, weights: Weights, x: np.ndarray, y: np.ndarray, optimizer: str, threads: int | None = None
) -> Epoch:
    net = fnn.Network(list(work.sizes), activation=work.activation)
    for layer, (w, b) in zip(net.layers, weights, strict=True):
        layer.weight, layer.bias = w, b
    chosen = fnn.SGD(RATES["sgd"]) if optimizer == "sgd" else fnn.Adam(RATES["adam"])
    runner = Runner(
        net.architecture, net.storage, (x, y), loss="cross_entropy", optimizer=chosen, batch=work.batch, shuffle=False,
        threads=threads,
    )  # fmt: skip
    steps = len(x) // work.batch
    keep = (net, runner)

    def epoch() -> np.ndarray:
        return keep[1].run(steps, chosen.lr).losses

    return epoch


def jax_scan(work: Work, weights: Weights, x: np.ndarray, y: np.ndarray, optimizer: str) -> Epoch:
    import jax
    import jax.numpy as jnp

    steps, rate = len(x) // work.batch, RATES[optimizer]
    act = jnp.tanh if work.activation == "tanh" else jax.nn.relu
    xs = jnp.asarray(x[: steps * work.batch].reshape(steps, work.batch, -1))
    ys = jnp.asarray(y[: steps * work.batch].reshape(steps, work.batch))

    def loss(params, xb, yb):
        for w, b in params[:-1]:
            xb = act(xb @ w + b)
        w, b = params[-1]
        z = jax.nn.log_softmax(xb @ w + b)
        return -jnp.mean(jnp.take_along_axis(z, yb[:, None], 1))

    def step(state, batch):
        params, m, v, t = state
        value, grad = jax.value_and_grad(loss)(params, *batch)
        tree = jax.tree_util.tree_map
        if optimizer == "sgd":
            return (tree(lambda p, g: p - rate * g, params, grad), m, v, t), value
        t = t + 1
        m = tree(lambda a, g: 0.9 * a + 0.1 * g, m, grad)
        v = tree(lambda a, g: 0.999 * a + 0.001 * g * g, v, grad)
        first, second = 1 - 0.9**t, 1 - 0.999**t
        params = tree(lambda p, a, s: p - rate * (a / first) / (jnp.sqrt(s / second) + 1e-8), params, m, v)
        return (params, m, v, t), value

    run = jax.jit(lambda state: jax.lax.scan(step, state, (xs, ys)), donate_argnums=0)
    params = [(jnp.asarray(w), jnp.asarray(b)) for w, b in weights]
    zeros = lambda: jax.tree_util.tree_map(jnp.zeros_like, params) if optimizer == "adam" else ()  # noqa: E731
    box = [(params, zeros(), zeros(), jnp.zeros(()))]

    def epoch() -> np.ndarray:
        box[0], losses = run(box[0])
        return np.asarray(losses)

    return epoch


def _torch(compiled: bool) -> Callable[..., Epoch]:
    def build(work: Work, weights: Weights, x: np.ndarray, y: np.ndarray, optimizer: str) -> Epoch:
        import torch

        act = torch.nn.Tanh if work.activation == "tanh" else torch.nn.ReLU
        parts: list[Any] = []
        for w, b in weights:
            linear = torch.nn.Linear(*w.shape)
            with torch.no_grad():
                linear.weight.copy_(torch.from_numpy(w.T.copy()))
                linear.bias.copy_(torch.from_numpy(b))
            parts += [linear, act()]
        net = torch.nn.Sequential(*parts[:-1])
        kind = torch.optim.SGD if optimizer == "sgd" else torch.optim.Adam
        updates = kind(net.parameters(), lr=RATES[optimizer])
        criterion = torch.nn.CrossEntropyLoss()
        batches = list(zip(torch.from_numpy(x).split(work.batch), torch.from_numpy(y).split(work.batch), strict=True))

        def step(xb, yb):
            updates.zero_grad()
            value = criterion(net(xb), yb)
            value.backward()
            updates.step()
            return value

        if compiled:
            # The update runs as its own fused (foreach) call: compiling it too was slower here and took minutes.
            forward = torch.compile(lambda xb, yb: criterion(net(xb), yb))

            def step(xb, yb):
                updates.zero_grad()
                value = forward(xb, yb)
                value.backward()
                updates.step()
                return value

        def epoch() -> np.ndarray:
            return torch.stack([step(xb, yb).detach() for xb, yb in batches]).numpy()

        return epoch

    return build


def scikit_learn(work: Work, weights: Weights, x: np.ndarray, y: np.ndarray, optimizer: str) -> Epoch:
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.neural_network import MLPClassifier

    model = MLPClassifier(
        work.sizes[1:-1], activation=work.activation, solver=optimizer, alpha=0, batch_size=work.batch, max_iter=1,
        tol=0, learning_rate_init=RATES[optimizer], momentum=0, nesterovs_momentum=False, shuffle=False,
        warm_start=True,
    )  # fmt: skip
    if work.sizes[-1] == 2:
        return None  # type: ignore[return-value]  # one logistic output there: not the same network

    def epoch() -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            model.fit(x, y)

    epoch()
    for k, (w, b) in enumerate(weights):
        model.coefs_[k][...], model.intercepts_[k][...] = w, b
    return epoch


PEERS: dict[str, Callable[..., Epoch]] = {
    "fastnn": fastnn_,
    "JAX scan": jax_scan,
    "PyTorch eager": _torch(False),
    "PyTorch compile": _torch(True),
    "scikit-learn": scikit_learn,
}


def start(work: Work) -> Weights:
    net = fnn.Network(list(work.sizes), activation=work.activation, seed=0)
    return [(layer.weight.copy(), layer.bias.copy()) for layer in net.layers]


def compare(work: Work, optimizer: str, rounds: int, names: list[str]) -> dict[str, list[float] | None]:
    """Microseconds a step of each round for each peer, None for one that is missing."""
    x, y = data(work)
    steps = ROWS // work.batch
    epochs: dict[str, Epoch] = {}
    times: dict[str, list[float] | None] = {}
    curves: dict[str, np.ndarray] = {}
    for name in names:
        times[name] = None
        try:
            epoch = PEERS[name](work, start(work), x, y, optimizer)
        except ImportError:
            continue
        if epoch is not None:
            epochs[name], times[name] = epoch, []
            losses = epoch()  # the first compiles
            if losses is not None:
                curves[name] = np.asarray(losses, np.float64)
    for name, curve in curves.items():
        worst = np.abs(curve / curves["fastnn"] - 1).max()
        if worst > 0.02:
            raise SystemExit(f"{name}: the loss curve differs from fastnn's by {worst:.1%}: not the same training")
    for _ in range(rounds):
        for name, epoch in epochs.items():
            time.sleep(SETTLE)
            began = time.perf_counter()
            epoch()
            times[name].append((time.perf_counter() - began) / steps * 1e6)  # type: ignore[union-attr]
    return times


def versions() -> dict[str, str]:
    from importlib.metadata import PackageNotFoundError, version

    found = {"python": platform.python_version(), "fastnn": fnn.__version__}
    for name in ("numba", "numpy", "jax", "torch", "scikit-learn"):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "-"
    return found


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--networks", nargs="*", default=list(NETWORKS), choices=list(NETWORKS))
    options.add_argument("--optimizers", nargs="*", default=["sgd", "adam"], choices=list(RATES))
    options.add_argument("--peers", nargs="*", default=list(PEERS), choices=list(PEERS))
    options.add_argument("--rounds", type=int, default=7)
    options.add_argument("--json", help="write the figures to this file too")
    chosen = options.parse_args()
    names = ["fastnn", *(name for name in chosen.peers if name != "fastnn")]
    peak = peak_gflops()
    print(f"{platform.machine()}, {cores()} cores, FMA peak of all cores {peak:.0f} GFLOP/s (float32)")
    print(", ".join(f"{name} {number}" for name, number in versions().items()))
    results = []
    print(
        f"\n{'microseconds a step':30}"
        + "".join(f"{name:>19}" for name in names)
        + f"{'best/fastnn':>13}{'of peak':>9}"
    )
    for optimizer in chosen.optimizers:
        for key in chosen.networks:
            work = NETWORKS[key]
            times = compare(work, optimizer, chosen.rounds, names)
            middle = {name: statistics.median(t) if t else None for name, t in times.items()}
            cells = []
            for name in names:
                t = times[name]
                cells.append(f"{middle[name]:11.1f} +-{(max(t) - min(t)) / 2 / middle[name]:4.0%}" if t else "-")
            best = min((m for name, m in middle.items() if m and name != "fastnn"), default=None)
            ours = middle["fastnn"]
            rate = flops(work.sizes, work.batch) / ours / 1e3
            line = f"{key + ' ' + work.activation + ' ' + optimizer:30}" + "".join(f"{cell:>19}" for cell in cells)
            print(line + (f"{best / ours:13.2f}" if best else f"{'-':>13}") + f"{rate / peak:9.0%}", flush=True)
            results.append(
                {"network": key, "optimizer": optimizer, "microseconds": times, "gflops": rate, "peak": peak}
            )
    if chosen.json:
        with open(chosen.json, "w") as file:
            json.dump(
                {"machine": platform.machine(), "cores": cores(), "versions": versions(), "results": results}, file
            )


if __name__ == "__main__":
    os.environ.setdefault("JAX_PLATFORMS", "cpu")
    sys.exit(main())
