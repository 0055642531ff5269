"""fastnn beside a prototype of its training step, interleaved in one process.

    python -m benchmarks.floor PATH/TO/two_phase.py [--rounds 7] [--most 1.1]

The prototype is a module with `network`, `workspace` and `epoch_kernel` as in the design notes: plain SGD in float32,
no shuffling, full batches only. Both train the same weights on the same rows; the medians' ratio is what counts.
"""

from __future__ import annotations

import argparse
import importlib.util
import statistics
import sys
import time
from pathlib import Path

import numpy as np

import fastnn as fnn
from benchmarks.table import NETWORKS
from fastnn.cpu import engine, plan

RATE = 0.01


def load(path: Path):
    """The prototype's module, whose own imports lie beside it."""
    sys.path.insert(0, str(path.parent))
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def main() -> int:
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("prototype", type=Path)
    options.add_argument("--rounds", type=int, default=7)
    options.add_argument("--threads", type=int, nargs="*", default=[1, 2])
    options.add_argument("--most", type=float, default=1.1, help="the ratio above which the exit code is 1")
    chosen = options.parse_args()
    proto = load(chosen.prototype)
    codes = {"tanh": proto.TANH, "relu": proto.RELU}
    print(
        f"{'network':24} {'batch':>5} {'threads':>7} {'fastnn us':>10} {'prototype us':>12} {'ratio':>6} {'GFLOP/s':>8}"
    )
    worst = 0.0
    for threads in chosen.threads:
        epoch = proto.serial if threads == 1 else proto.threaded
        for work_name, (shape, activation, batch, loss, rows) in NETWORKS.items():
            if loss != "cross_entropy":
                continue
            sizes, rng = list(shape), np.random.default_rng(0)
            x = rng.standard_normal((rows, sizes[0])).astype(np.float32)
            y = rng.integers(0, sizes[-1], rows)
            theirs, work = proto.network(sizes, codes[activation], rng), proto.workspace(sizes, batch, threads)
            net = fnn.Network(sizes, activation=activation, seed=0)
            for w, layer in zip(theirs.w, net.layers, strict=False):
                layer.weight = theirs.theta[w : w + layer.weight.size].reshape(layer.weight.shape)
            runner = engine.Runner(
                net.architecture, net.storage, (x, y), loss="cross_entropy", optimizer=fnn.SGD(RATE), batch=batch,
                shuffle=False, threads=threads,
            )  # fmt: skip
            steps = rows // batch
            order = np.arange(rows)
            runner.run(steps, RATE)
            epoch(theirs, work, x, y, order, batch, RATE)
            drift = np.abs(net.layers[0].weight.ravel() - theirs.theta[: net.layers[0].weight.size]).max()
            assert drift < 1e-3, f"after an epoch the two do not hold the same weights: they differ by {drift}"
            times: dict[str, list[float]] = {"fastnn": [], "prototype": []}
            # Short steps are repeated so that one measurement takes as long as a chunk of training, 30 ms or more.
            repeats = max(1, int(30e-3 / (steps * plan.flops(tuple(sizes), batch) / 4e10 + steps * 2e-6)))
            for _ in range(chosen.rounds + 1):
                began = time.perf_counter()
                runner.run(steps * repeats, RATE)
                middle = time.perf_counter()
                for _ in range(repeats):
                    epoch(theirs, work, x, y, order, batch, RATE)
                end = time.perf_counter()
                times["fastnn"].append((middle - began) / steps / repeats)
                times["prototype"].append((end - middle) / steps / repeats)
            ours, floor = (statistics.median(t[1:]) for t in times.values())  # the first round compiles or warms up
            rate = plan.flops(tuple(sizes), batch) / ours / 1e9
            name = f"{work_name} {activation}"
            figures = f"{ours * 1e6:10.2f} {floor * 1e6:12.2f} {ours / floor:6.2f} {rate:8.1f}"
            print(f"{name:24} {batch:5} {threads:7} {figures}", flush=True)
            runner.close()
            worst = max(worst, ours / floor)
    return int(worst > chosen.most)


if __name__ == "__main__":
    sys.exit(main())
