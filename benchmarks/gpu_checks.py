"""Checks of the CUDA engine against the CPU's in float64, one part of them a process, for `benchmarks.gpu`.

    python -m benchmarks.gpu_checks PART [--tiny]

Prints a JSON object: the relative error of each check (of trained parameters a tenth of it, for an epoch adds up the
rounding of its steps), 0 or 1 where there is no more to say. `--tiny` is for Numba's simulator: small numbers, and a
fused path that ends at 4 units, so that both paths are gone through.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Iterator
from functools import partial
from types import SimpleNamespace
from typing import Any

import numpy as np
from numba import cuda

import fastnn as fnn
from fastnn.activations import ACTIVATIONS
from fastnn.losses import LOSSES
from fastnn.warmup import every_optimizer

TINY_WIDEST = 4


def apart(expected: Any, found: Any) -> float:
    """Largest difference over the largest expected number; NaN where that is 0 and there is a difference."""
    expected, found = np.asarray(expected, np.float64), np.asarray(found, np.float64)
    if np.array_equal(expected, found):
        return 0.0
    return float(np.abs(expected - found).max() / np.abs(expected).max())


class Problem:
    """Data of the checks: inputs that float32 holds, labels, numbers, time steps; the widths of layers of each path."""

    def __init__(self, tiny: bool) -> None:
        self.rows, features, self.classes, self.batch = (5, 4, 3, 3) if tiny else (1000, 50, 10, 128)
        self.narrow, self.wide = (2, 5) if tiny else (60, 600)
        self.outputs = 5 if tiny else 25  # of which the weights behind `wide` units do not fit in shared memory at once
        self.broad, more = (5, 4) if tiny else (2048, 4100)  # by large tiles, which float32 may have tensor cores for
        self.tiny, rng = tiny, np.random.default_rng(1)
        self.x = rng.standard_normal((self.rows, features)).astype(np.float32).astype(np.float64)
        self.labels, self.numbers = rng.integers(0, self.classes, self.rows), rng.random((self.rows, self.classes))
        self.some, self.time, units = (3, 2, 2) if tiny else (200, 10, 64)  # sequences, their steps
        self.sequences = self.x[: self.some].reshape(self.some, self.time, -1)
        self.each, self.units = rng.integers(0, self.classes, (self.some, self.time)), units
        self.more = rng.standard_normal((more, features)).astype(np.float32), rng.integers(0, self.classes, more)

    def pair(self, dtype: str, features: int, *layers: Any, outputs: int = 0) -> tuple[fnn.Network, fnn.Network]:
        """The network on the GPU, and on the CPU in float64 with the same parameters; an output a class, or more."""
        stack = [fnn.Input(features), *layers, fnn.Dense(outputs or self.classes)]
        gpu, exact = fnn.Network(stack, seed=2, dtype=dtype, device="cuda"), fnn.Network(stack, seed=2, dtype="float64")
        exact.parameters = gpu.parameters.astype(np.float64)
        return gpu, exact


Found = Iterator[tuple[str, float]]


def formulas(dtype: str, on: Problem) -> Found:
    """Every activation and every loss."""
    x, width = on.x, on.narrow
    for name in ACTIVATIONS:
        gpu, exact = on.pair(dtype, x.shape[1], fnn.Dense(width, name), fnn.Dense(width, name))
        yield f"gradient, {name}", apart(exact.gradient(x, on.labels), gpu.gradient(x, on.labels))
        yield f"outputs, {name}", apart(exact(x), gpu(x))
    for name, entry in LOSSES.items():
        y = on.labels if entry.labels else on.numbers
        gpu, exact = on.pair(dtype, x.shape[1], fnn.Dense(width, "tanh"))
        yield f"gradient, {name}", apart(exact.gradient(x, y, name), gpu.gradient(x, y, name))
        yield f"loss, {name}", apart(exact.loss(x, y, name), gpu.loss(x, y, name))
        y = y if entry.labels else np.tile(y, 3)[:, : on.outputs]
        gpu, exact = on.pair(dtype, x.shape[1], fnn.Dense(on.wide, "tanh"), outputs=on.outputs)
        yield f"gradient, {name}, wide", apart(exact.gradient(x, y, name), gpu.gradient(x, y, name))


def training(dtype: str, on: Problem) -> Found:
    """The wide path, and an epoch with every optimizer, with masks, dropout and clipping."""
    x, y, width = on.x, on.labels, on.narrow
    wide = [fnn.Dense(on.wide, "tanh"), fnn.Dense(on.wide - 1, "tanh")]
    gpu, exact = on.pair(dtype, x.shape[1], *wide)
    yield "gradient, wide", apart(exact.gradient(x[:5], y[:5]), gpu.gradient(x[:5], y[:5]))
    yield "gradient, wide, all rows", apart(exact.gradient(x, y), gpu.gradient(x, y))
    times = 1 if on.tiny else 20  # so that a block has rows in turns
    for units in (width, width + width // 2):
        gpu, exact = on.pair(dtype, x.shape[1], fnn.Dense(units, "tanh"), fnn.Dense(units, "relu"))
        many = np.tile(x, (times, 1)), np.tile(y, times)
        yield f"gradient, {units} units, long batch", apart(exact.gradient(*many), gpu.gradient(*many))
    large = [fnn.Dense(on.broad, "relu"), fnn.Dense(on.broad, "tanh"), fnn.Dense(on.broad - 3, "tanh")]
    gpu, exact = on.pair(dtype, x.shape[1], *large)
    yield "gradient, large tiles", apart(exact.gradient(*on.more), gpu.gradient(*on.more))
    mask = np.arange(x.shape[1] * width).reshape(x.shape[1], width) % 3 > 0
    layers: dict[str, list[Any]] = {
        "masks": [fnn.Dense(width, "tanh", mask=mask)],
        "dropout": [fnn.Dropout(0.2), fnn.Dense(width, "tanh")],
        "wide": wide,
    }
    dense = [fnn.Dense(width, "tanh")]
    trained = [(str(optimizer), optimizer, dense) for optimizer in every_optimizer()]
    trained += [(name, fnn.SGD(0.1), stack) for name, stack in layers.items()]
    trained.append(("clipped", fnn.Adam(1e-3, clip=0.01), dense))
    for name, optimizer, stack in trained:
        nets = on.pair(dtype, x.shape[1], *stack)
        for net in nets:
            net.fit(x, y, optimizer=optimizer, batch_size=on.batch, epochs=1)
        yield f"trained an epoch, {name}", apart(nets[1].parameters, nets[0].parameters) / 10


@cuda.jit
def each_row(net, x, out):
    """Prediction in a caller's own kernel, a thread a row."""
    i = cuda.grid(1)
    if i < x.shape[0]:
        fnn.cuda.predict(net, x[i : i + 1], out[i : i + 1])


def recurrent(dtype: str, on: Problem) -> Found:
    """Every cell, all time steps, and prediction in a kernel."""
    x, units = on.sequences, on.units
    cells = {"recurrent": fnn.Recurrent, "gru": fnn.GRU, "lstm": fnn.LSTM}
    stacks: dict[str, tuple[list[Any], Any]] = {name: ([cell(units)], on.labels) for name, cell in cells.items()}
    all_steps = [cell(units, return_sequences=True) for cell in cells.values()]
    stacks["all cells, time steps"] = ([*all_steps, fnn.Dropout(0.2)], on.each)
    for name, (layers, y) in stacks.items():
        gpu, exact = on.pair(dtype, x.shape[2], *layers)
        y = y[: on.some]
        yield f"gradient, {name}", apart(exact.gradient(x, y), gpu.gradient(x, y))
        expected = exact(x)
        yield f"outputs, {name}", apart(expected, gpu(x))
        expected = expected.reshape(on.some, -1)
        out = np.zeros(expected.shape, dtype)
        state = gpu.compiled(steps=on.time, threads=on.some)
        each_row[-(-on.some // 32), on.some if on.tiny else 32](state, x.reshape(on.some, -1).astype(dtype), out)
        yield f"outputs in a kernel, {name}", apart(expected, out)
        for net in (gpu, exact):
            net.fit(x, y, optimizer=fnn.SGD(0.1), batch_size=max(2, on.some // 3), epochs=1)
        yield f"trained an epoch, {name}", apart(exact.parameters, gpu.parameters) / 10


def bits(on: Problem) -> Found:
    """Whether two trainings give the same bits, in a network of each path."""
    for name, inputs, y, layers in (
        ("narrow", on.x, on.labels, [fnn.Dense(on.narrow)] * 2),
        ("wide", on.x, on.labels, [fnn.Dense(on.wide)]),
        ("recurrent", on.sequences, on.labels[: on.some], [fnn.LSTM(on.units)]),
    ):
        found = []
        for _ in range(2):
            net = fnn.Network([fnn.Input(inputs.shape[-1]), *layers, fnn.Dense(on.classes)], seed=4, device="cuda")
            net.fit(inputs, y, optimizer=fnn.Adam(clip=1), batch_size=on.batch, epochs=1 if on.tiny else 5)
            found.append(net.parameters.copy())
        yield f"the same bits from run to run, {name}", float(not np.array_equal(*found))


def accuracy(on: Problem) -> Found:
    """Test accuracy after training on the CPU and on the GPU; of MNIST where it is at hand."""
    try:
        data, layers, epochs = fnn.datasets.load("mnist"), [784, 128, 10], 5
    except fnn.FastnnError:
        data, layers, epochs = fnn.datasets.load("digits"), [64, 32, 10], 20
    if on.tiny:
        few = {part: getattr(data, part)[:4] for part in ("x_train", "y_train", "x_test", "y_test")}
        data, epochs, layers = SimpleNamespace(name=data.name, **few), 1, [layers[0], 4, 10]
    for device in ("cpu", "cuda"):
        net = fnn.Network(layers, seed=0, device=device)
        rows = min(64, len(data.x_train))
        net.fit(data.x_train, data.y_train, optimizer=fnn.Adam(1e-3), batch_size=rows, epochs=epochs)
        yield f"{data.name}: test accuracy, {device}", net.evaluate(data.x_test, data.y_test)["accuracy"]


# What a part with a dtype finds is within that dtype's limit; "bits" finds 0, and "accuracy" is a figure to tell.
PARTS: dict[str, Callable[[Problem], Found]] = {
    f"{part.__name__} {dtype}": partial(part, dtype)
    for dtype in ("float32", "float64")
    for part in (formulas, training, recurrent)
} | {"bits": bits, "accuracy": accuracy}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("part", choices=PARTS)
    parser.add_argument("--tiny", action="store_true", help="small numbers, for Numba's simulator")
    options = parser.parse_args()
    if options.tiny:
        from fastnn.cuda import held  # not before: asv imports this module where CUDA's packages are missing

        sys.setswitchinterval(1e-4)  # the simulator's own thread spins, and keeps Python's lock for 5 ms at a time
        held.WIDEST = TINY_WIDEST
    json.dump(dict(PARTS[options.part](Problem(options.tiny))), sys.stdout)


if __name__ == "__main__":
    main()
