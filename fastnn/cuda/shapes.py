"""How matrices are cut into tiles, and tiles into the sums of threads: for each use, and from sizes alone."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from fastnn.cuda.target import SIMULATED


class Shape(NamedTuple):
    """A block's tile (rows, columns), the slab of the sum that it takes at once, and how threads share it."""

    rows: int
    columns: int
    slab: int
    thread_rows: int
    thread_columns: int
    groups: int  # that share the slab; a divisor of thread_rows and of slab
    tensor: bool = False  # whether tensor cores multiply, in TF32; a warp then has 8 x 4 threads

    @property
    def threads(self) -> int:
        return self.rows // self.thread_rows * (self.columns // self.thread_columns) * self.groups


class Shapes(NamedTuple):
    """`small` and `slim`, where tiles are few: a layer of 512 units at batch 128 has blocks for all multiprocessors.
    `large`, for long batches of wide layers: a thread's 8 x 8 sums need a quarter of the loads for each multiplication.
    `long` is that of weights, for which there are registers to read twice as much at once. `few` and `rows`: rows go
    through all layers of a narrow network; few at once where that leaves multiprocessors without any: batch 128 has 16
    blocks, 1024 has 128. All of them fit in 48 KiB of shared memory."""

    slim: Shape
    small: Shape
    large: Shape
    long: Shape
    few: Shape
    rows: Shape


OF_SINGLE = Shapes(
    slim=Shape(16, 32, 64, 4, 2, 4),
    small=Shape(32, 32, 64, 4, 4, 4),
    large=Shape(128, 128, 8, 8, 8, 1),
    long=Shape(128, 128, 16, 8, 8, 1),
    few=Shape(8, 64, 64, 4, 2, 4),
    rows=Shape(64, 64, 32, 4, 4, 1),
)
OF_DOUBLE = Shapes(
    slim=Shape(32, 32, 32, 4, 4, 2),
    small=Shape(32, 32, 32, 4, 4, 2),
    large=Shape(64, 64, 8, 4, 4, 1),
    long=Shape(64, 64, 8, 4, 4, 1),
    few=Shape(8, 32, 32, 2, 4, 2),
    rows=Shape(8, 32, 32, 2, 4, 2),
)
OF_TENSOR = Shape(128, 64, 16, 8, 4, 1, True)  # 8 x 8 sums a thread are more than its registers take
TINY = Shapes(*[Shape(4, 4, 4, 4, 4, 1)] * 6)  # one Python thread a block
BLOCKS = 264  # two for each multiprocessor of an H100
MANY = 96  # large tiles that keep the GPU busy
PAD = 4  # between rows in shared memory, against bank conflicts, and so that 16 bytes stay aligned


def shapes(F: type, tf32: bool = False) -> Shapes:
    """The shapes for numbers of type F; with tensor cores for `tf32`, but where rows go through all layers: there they
    would take more registers than there are."""
    found = TINY if SIMULATED else OF_SINGLE if np.dtype(F).itemsize == 4 else OF_DOUBLE
    if not tf32:
        return found
    small, large = found.small._replace(tensor=True), found.large._replace(tensor=True) if SIMULATED else OF_TENSOR
    return found._replace(slim=small, small=small, large=large, long=large)


def tiles(rows: int, columns: int, shape: Shape) -> tuple[int, int]:
    """How many tiles cover a matrix: (down, across), for a grid may have 2^31 blocks in its first direction only."""
    return -(-rows // shape.rows), -(-columns // shape.columns)


def shape_for(F: type, rows: int, columns: int, tf32: bool = False) -> Shape:
    """The shape of the tiles of a matrix."""
    slim, small, large, *_ = shapes(F, tf32)
    if math.prod(tiles(rows, columns, large)) >= MANY:
        return large
    return small if 2 * math.prod(tiles(rows, columns, small)) >= BLOCKS else slim


def shape_of_rows(F: type, batch: int) -> Shape:
    """The shape of the tiles by which a batch's rows go through all layers."""
    *_, few, rows = shapes(F)
    return few if batch <= BLOCKS * few.rows else rows


def room(shape: Shape) -> int:
    """Numbers of shared memory that a product takes: two slabs of A and of B, and in their place, when they have been
    multiplied, the groups' parts of the sums."""
    slabs = 2 * shape.slab * (shape.rows + shape.columns + 2 * PAD)
    return max(slabs, shape.groups * shape.rows * shape.columns * (shape.groups > 1))
