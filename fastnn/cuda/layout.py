"""How a network and its batches lie in the GPU's memory: from sizes alone."""

from __future__ import annotations

from itertools import pairwise
from typing import NamedTuple

import numpy as np

from fastnn.cpu import plan
from fastnn.cuda import phases
from fastnn.cuda.formulas import CODES
from fastnn.cuda.shapes import Shape
from fastnn.errors import DeviceError
from fastnn.runner import Architecture

MOST = 2**32  # numbers in an array: places in it are 32 bits wide


class Outputs(NamedTuple):
    """Where a layer's outputs, before the next one's dropout, are in the buffer: (steps, rows, units)."""

    place: int
    steps: int


class Layout(NamedTuple):
    """What kernels read of a network beside its parameters; see `phases`, and `recurrent` for networks with loops."""

    table: np.ndarray  # uint32 (L, FIELDS)
    matrices: np.ndarray  # uint32 (M, MATRIX)
    slopes: np.ndarray  # F (L,)
    edges: np.ndarray  # uint64 (L,)
    scales: np.ndarray  # F (L,)
    size: int  # numbers in the buffer
    outputs: tuple[Outputs, ...]
    turned: np.ndarray  # uint32 (n, 4): the weights whose transposes are needed; none in a network without loops

    @property
    def longest(self) -> int:
        """Time steps of the longest sum over a batch."""
        return int(self.matrices[:, phases.LINES].max())


def check_sizes(*arrays: np.ndarray) -> None:
    """Raises DeviceError for data or parameters in which a place takes more than 32 bits."""
    if max(array.size for array in arrays) >= MOST:
        raise DeviceError(f"device: data or parameters of {MOST:,} numbers or more do not fit; use the CPU")


class Space:
    """The buffer, handed out from its beginning to its end."""

    def __init__(self, sizes: tuple[int, ...], batch: int) -> None:
        self.end, self._sizes, self._batch = 0, sizes, batch

    def take(self, rows: int, units: int) -> int:
        """The place of rows x units numbers; raises DeviceError where a place takes more than 32 bits."""
        begin, self.end = self.end, self.end + -(-rows * units // 32) * 32  # a cache line of 128 bytes
        if self.end > MOST:
            raise DeviceError(
                f"device: batches of {self._batch:,} rows through layers of {self._sizes} units do not fit; "
                "expected a smaller batch or narrower layers"
            )
        return begin


def dropout(architecture: Architecture, *, training: bool) -> tuple[np.ndarray, np.ndarray]:
    """`edges` and `scales` of what each layer reads; the last units have no layer that reads them."""
    F, rates = architecture.F, architecture.dropout[:-1]
    edges = np.array([int(float(F(rate if training else 0)) * 2.0**32) for rate in rates], np.uint64)
    scales: np.ndarray = np.array([F(1) / (F(1) - F(rate)) for rate in rates], F)
    return edges, scales


def layout(architecture: Architecture, batch: int, *, training: bool) -> Layout:
    """The layout for batches of `batch` rows; with dropout where `training`. Raises DeviceError as Space does."""
    F, sizes = architecture.F, architecture.sizes
    edges, scales = dropout(architecture, training=training)
    weights, biases, _ = plan.offsets(sizes)
    table = np.zeros((len(sizes) - 1, phases.FIELDS), np.uint32)
    matrices, outputs = np.zeros((len(table), phases.MATRIX), np.uint32), []
    space = Space(sizes, batch)
    read = space.take(batch, sizes[0]) if edges[0] else 0
    for layer, (fan_in, fan_out) in enumerate(pairwise(sizes)):
        wrote = space.take(batch, fan_out)
        after = space.take(batch, fan_out) if layer + 1 < len(edges) and edges[layer + 1] else wrote
        delta, gathered = space.take(batch, fan_out), layer == 0 and not edges[0]
        table[layer] = (
            fan_in, fan_out, weights[layer], gathered, read, wrote, after, delta, CODES[architecture.activations[layer]]
        )  # fmt: skip
        matrices[layer] = fan_in, fan_out, weights[layer], biases[layer], read, gathered, delta, 1, 0, 0
        outputs.append(Outputs(wrote, 1))
        read = after
    slopes: np.ndarray = np.array(architecture.slopes, F)
    return Layout(table, matrices, slopes, edges, scales, space.end, tuple(outputs), np.zeros((0, 4), np.uint32))


def tiles(matrices: np.ndarray, shape: Shape) -> np.ndarray:
    """The tiles of all parameters, uint32 (n, TILE); a matrix's last row is its bias, if any."""
    rows = [
        (*matrix, row, column)
        for matrix in matrices
        for row in range(0, int(matrix[phases.ROWS_IN]) + (matrix[phases.BIAS] != phases.NOWHERE), shape.rows)
        for column in range(0, int(matrix[phases.COLUMNS]), shape.columns)
    ]
    return np.array(rows, np.uint32)
