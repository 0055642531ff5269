"""The one table of what is measured; every suite and comparison takes its shapes from here."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np


class Work(NamedTuple):
    sizes: tuple[int, ...]
    activation: str
    batch: int


# Networks as people train them on a CPU, from a toy to as wide as pays.
NETWORKS = {
    "2-16-16-2": Work((2, 16, 16, 2), "tanh", 32),
    "64-32-10": Work((64, 32, 10), "relu", 32),
    "784-128-10": Work((784, 128, 10), "relu", 64),
    "784-512-512-10": Work((784, 512, 512, 10), "relu", 128),
    "784-2048-2048-10": Work((784, 2048, 2048, 10), "relu", 512),
}
ROWS = 4096

# C (m x n) = A (m x k) B (k x n): a forward product and a weight gradient of each kind of layer above.
PRODUCTS = {
    "32x2x16": (32, 2, 16),
    "32x16x16": (32, 16, 16),
    "32x64x32": (32, 64, 32),
    "48x784x128": (48, 784, 128),
    "48x512x512": (48, 512, 512),
    "784x64x128": (784, 64, 128),
    "512x128x10": (512, 128, 10),
}


def data(work: Work) -> tuple[np.ndarray, np.ndarray]:
    """ROWS random rows and labels for a network."""
    rng = np.random.default_rng(0)
    return rng.standard_normal((ROWS, work.sizes[0])).astype(np.float32), rng.integers(0, work.sizes[-1], ROWS)
