"""The one table of what is measured; every suite and comparison takes its shapes from here."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

import fastnn as fnn

ROWS = 4096


class Work(NamedTuple):
    """A network and the data it is measured on: `rows` random rows, a multiple of `batch`."""

    sizes: tuple[int, ...]
    activation: str
    batch: int
    loss: str = "cross_entropy"
    rows: int = ROWS

    @property
    def steps(self) -> int:
        """Steps in an epoch."""
        return self.rows // self.batch


# Networks as people train them on a CPU, from a toy to as wide as pays. The regression is SimpleChains.jl's benchmark.
NETWORKS = {
    "2-16-16-2": Work((2, 16, 16, 2), "tanh", 32),
    "64-32-10": Work((64, 32, 10), "relu", 32),
    "4-32-16-4": Work((4, 32, 16, 4), "tanh", 10_000, "mse", 10_000),
    "784-128-10": Work((784, 128, 10), "relu", 64),
    "784-512-512-10": Work((784, 512, 512, 10), "relu", 128),
    "784-2048-2048-10": Work((784, 2048, 2048, 10), "relu", 512, rows=2048),
}
OPTIMIZERS = {"sgd": fnn.SGD(0.01), "momentum": fnn.SGD(0.01, momentum=0.9), "adam": fnn.Adam(1e-3)}

# What is measured beside other frameworks.
COMPARED = (
    ("2-16-16-2", "sgd"),
    ("64-32-10", "sgd"),
    ("64-32-10", "adam"),
    ("4-32-16-4", "adam"),
    ("784-128-10", "sgd"),
    ("784-128-10", "adam"),
    ("784-512-512-10", "sgd"),
    ("784-512-512-10", "adam"),
    ("784-2048-2048-10", "sgd"),
)

# C (m x n) = A (m x k) B (k x n): a forward product and a weight gradient of each kind of layer above.
PRODUCTS = {
    "32x2x16": (32, 2, 16),
    "32x16x16": (32, 16, 16),
    "32x64x32": (32, 64, 32),
    "48x784x128": (48, 784, 128),
    "48x512x512": (48, 512, 512),
    "784x64x128": (784, 64, 128),
    "512x128x10": (512, 128, 10),
    "48x2048x2048": (48, 2048, 2048),
}


def data(work: Work) -> tuple[np.ndarray, np.ndarray]:
    """Random rows for a network, with random labels or, for a regression, random numbers as targets."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal((work.rows, work.sizes[0])).astype(np.float32)
    if work.loss == "mse":
        return x, rng.standard_normal((work.rows, work.sizes[-1])).astype(np.float32)
    return x, rng.integers(0, work.sizes[-1], work.rows)


# What is predicted: the same, and a network as small as those inside a simulation's loop.
PREDICTED = {"4-16-1": Work((4, 16, 1), "tanh", 1), **NETWORKS}


def inputs(work: Work, rows: int) -> np.ndarray:
    """(rows, features) random float32 inputs for a network."""
    return np.random.default_rng(0).standard_normal((rows, work.sizes[0])).astype(np.float32)
