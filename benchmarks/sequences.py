"""What recurrent networks are for, with the time it takes here:

    FASTNN_DATA=FOLDER python -m benchmarks.sequences mnist [--cell gru] [--seeds 0 1 2]
    python -m benchmarks.sequences digits | adding [--steps 100] | text FILE.txt

mnist: the images read row by row, 28 steps of 28, until 97 % of the test set are right. digits: 8 of 8, 25 epochs.
adding: the adding problem, whose trivial answer has an error of 0.167. text: the next character of a file, and what the
network writes when it goes on by itself.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator

import numpy as np

import fastnn as fnn
from fastnn.datasets import Dataset, load, load_adding

CELLS = {"recurrent": fnn.Recurrent, "gru": fnn.GRU, "lstm": fnn.LSTM}
TARGET = 0.97


def epochs(net: fnn.Network, data: Dataset, most: int, *, loss: str, rate: float) -> Iterator[tuple[int, float, dict]]:
    """Train epoch by epoch at a falling rate: the number, seconds of training so far, and scores on the test part."""
    seconds = 0.0
    for epoch in range(most):
        optimizer = fnn.Adam(rate * 0.8**epoch, clip=1.0)
        began = time.perf_counter()
        net.fit(data.x_train, data.y_train, loss=loss, optimizer=optimizer, batch_size=64)
        seconds += time.perf_counter() - began
        yield epoch + 1, seconds, net.evaluate(data.x_test, data.y_test, loss)


def images(chosen: argparse.Namespace) -> None:
    """MNIST or the digits, row by row."""
    data = load(chosen.task)
    assert data.image_shape is not None
    rows, columns = data.image_shape
    units, most, rate = (128, 15, 2e-3) if chosen.task == "mnist" else (32, 25, 1e-2)
    for seed in chosen.seeds:
        layers = [fnn.Input(columns, steps=rows), CELLS[chosen.cell](units), fnn.Dense(10)]
        net = fnn.Network(layers, seed=seed)
        for epoch, seconds, scores in epochs(net, data, most, loss="cross_entropy", rate=rate):
            if scores["accuracy"] >= TARGET or epoch == most:
                print(f"seed {seed}: {scores['accuracy']:.2%} of the test set after {epoch} epochs, {seconds:.2f} s")
                break


def adding(chosen: argparse.Namespace) -> None:
    data = load_adding(steps=chosen.steps, samples=10_000)
    for seed in chosen.seeds:
        net = fnn.Network([fnn.Input(2), CELLS[chosen.cell](64), fnn.Dense(1)], seed=seed)
        for epoch, seconds, scores in epochs(net, data, 15, loss="mse", rate=1e-2):
            print(f"seed {seed}, epoch {epoch}: error {scores['loss']:.5f}, {seconds:.2f} s", flush=True)
            if scores["loss"] < 0.001:
                break


def text(chosen: argparse.Namespace) -> None:
    data = load(chosen.file, steps=64)
    layers = [fnn.Input(data.features), CELLS[chosen.cell](128, return_sequences=True), fnn.Dense(data.n_classes)]
    net = fnn.Network(layers, seed=chosen.seeds[0])
    for epoch, seconds, scores in epochs(net, data, 10, loss="cross_entropy", rate=5e-3):
        print(f"epoch {epoch}: {scores['accuracy']:.1%} of the next characters right, {seconds:.1f} s", flush=True)
    draw = np.random.default_rng(0)
    written = list(data.x_test[0])
    for _ in range(200):
        z = net(np.array([written[-64:]]))[0, -1].astype(float) / 0.7
        chances = np.exp(z - z.max())
        written.append(np.eye(data.features)[draw.choice(data.features, p=chances / chances.sum())])
    print("".join(data.classes[int(one.argmax())] for one in written))


def main() -> int:
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    commands = options.add_subparsers(dest="task", required=True)
    for name, run in (("mnist", images), ("digits", images), ("adding", adding), ("text", text)):
        command = commands.add_parser(name)
        command.set_defaults(run=run)
        command.add_argument("--cell", choices=list(CELLS), default="recurrent" if run is images else "gru")
        command.add_argument("--seeds", nargs="+", type=int, default=[0])
        if run is adding:
            command.add_argument("--steps", type=int, default=100)
        if run is text:
            command.add_argument("file", help="a text in UTF-8")
    chosen = options.parse_args()
    chosen.run(chosen)
    return 0


if __name__ == "__main__":
    sys.exit(main())
