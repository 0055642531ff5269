"""How matrices are cut into tiles, and tiles into the sums of threads: for each use, and from sizes alone."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from fastnn.cuda.target import SIMULATED, recovering_pays


class Shape(NamedTuple):
    """A block's tile (rows, columns), the slab of the sum that it takes at once, and how threads share it."""

    rows: int
    columns: int
    slab: int
    thread_rows: int
    thread_columns: int
    groups: int  # that share the slab; a divisor of a thread's sums and of slab
    stages: int  # slabs, two or more, in shared memory: all but one are on their way while that one is multiplied
    tensor: int = 0  # by how many products of tensor cores one is made: 1 in TF32, 3 in single precision, 0 by none

    @property
    def threads(self) -> int:
        return self.rows // self.thread_rows * (self.columns // self.thread_columns) * self.groups

    @property
    def sums(self) -> int:
        """Sums of which a thread has its group's partial one."""
        return self.thread_rows * self.thread_columns

    @property
    def own(self) -> tuple[int, int]:
        """Rows and columns of the tile's sums that a thread has in the end."""
        if self.groups == 1:
            return self.thread_rows, self.thread_columns
        sums = self.sums // self.groups
        across = 4 if sums % 4 == 0 else 1
        return sums // across, across

    @property
    def blocks(self) -> int:
        """How many of its blocks should be on a multiprocessor at once: of large ones for tensor cores four, with 128
        registers a thread; while one waits at its barrier others multiply."""
        return 512 // self.threads if self.by_warps else 2

    @property
    def by_warps(self) -> bool:
        """Whether it is a large tile for tensor cores, which warps multiply: see `tensor_tiles`."""
        return self.tensor > 0 and self.groups == 1 and not SIMULATED


class Shapes(NamedTuple):
    """`small` and `slim`, where tiles are few: a layer of 512 units at batch 128 has blocks for all multiprocessors.
    `large`, for long batches of wide layers, is without groups, whose partial sums would have to be added.
    `long` is that of weights, whose factors both have rows along the tile. All of them fit in 48 KiB of shared
    memory."""

    slim: Shape
    small: Shape
    large: Shape
    long: Shape


OF_SINGLE = Shapes(
    slim=Shape(16, 32, 64, 8, 4, 16, 3),
    small=Shape(32, 32, 64, 8, 4, 4, 2),
    large=Shape(128, 64, 8, 8, 4, 1, 3),  # 8 x 8 sums spill where both factors are deep
    long=Shape(128, 128, 8, 8, 8, 1, 4),
)
OF_DOUBLE = Shapes(
    slim=Shape(32, 32, 32, 4, 4, 2, 2),
    small=Shape(32, 32, 32, 4, 4, 2, 2),
    large=Shape(64, 64, 8, 4, 4, 1, 3),
    long=Shape(64, 64, 8, 4, 4, 1, 3),
)
OF_TENSOR = Shape(32, 32, 64, 4, 4, 4, 2, 1), Shape(64, 128, 16, 8, 8, 1, 2, 1)
# Whether tensor cores take the large tiles of single precision, too; None: on GPUs where that should be faster. To
# compare both ways it may be set before a network's kernels are chosen.
RECOVERED: bool | None = None
TINY = Shapes(*[Shape(4, 4, 4, 4, 4, 1, 2)] * 4)  # one Python thread a block
BLOCKS = 264  # two for each multiprocessor of an H100
MANY = 96  # large tiles that keep the GPU busy
PAD = 4  # between rows in shared memory, against bank conflicts, and so that 16 bytes stay aligned


def shapes(F: type, tf32: bool = False) -> Shapes:
    """The shapes for numbers of type F; with tensor cores for `tf32`, and large tiles of single precision without it,
    too."""
    single = np.dtype(F).itemsize == 4
    found = TINY if SIMULATED else OF_SINGLE if single else OF_DOUBLE
    small, large = [shape._replace(tensor=1) for shape in (found.small, found.large)] if SIMULATED else OF_TENSOR
    if tf32:
        return found._replace(slim=small, small=small, large=large, long=large)
    if single and (recovering_pays() if RECOVERED is None else RECOVERED):
        large = large._replace(tensor=3)
        return found._replace(large=large, long=large)
    return found


def tiles(rows: int, columns: int, shape: Shape) -> tuple[int, int]:
    """How many tiles cover a matrix: (down, across), for a grid may have 2^31 blocks in its first direction only."""
    return -(-rows // shape.rows), -(-columns // shape.columns)


def shape_for(F: type, rows: int, columns: int, tf32: bool = False) -> Shape:
    """The shape of the tiles of a matrix."""
    slim, small, large, *_ = shapes(F, tf32)
    if math.prod(tiles(rows, columns, large)) >= MANY:
        return large
    return small if 2 * math.prod(tiles(rows, columns, small)) >= BLOCKS else slim


def size(shape: Shape, transposed_a: bool, transposed_b: bool) -> tuple[int, int]:
    """Numbers of shared memory for a slab of A and of B; a factor's rows lie there as they do in memory (`product`)."""
    slab, a, b = shape.slab, shape.rows, shape.columns
    if shape.by_warps:
        return slab * a, slab * b
    return (
        slab * (a + PAD) if transposed_a else a * (slab + PAD),
        b * (slab + PAD) if transposed_b else slab * (b + PAD),
    )


def partial(shape: Shape) -> tuple[int, int]:
    """How far apart rows of a group's partial sums are in shared memory, and those of two groups: what threads of a
    warp write at once, of 2 groups and 2 rows or of 4 rows, meets no bank twice."""
    row = shape.columns + 2 * PAD
    return row, shape.rows * row + 4 * PAD


def room(shape: Shape, transposed_a: bool, transposed_b: bool) -> int:
    """Numbers of shared memory that a product takes: its slabs and, when they have been multiplied, the groups'
    partial sums in their place."""
    slabs = shape.stages * sum(size(shape, transposed_a, transposed_b))
    return max(slabs, shape.groups * partial(shape)[1] if shape.groups > 1 else 0)
