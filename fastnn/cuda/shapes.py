"""How matrices are cut into tiles, and tiles into the sums of threads: for each use, and from sizes alone."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from fastnn.cuda.target import SIMULATED, recovering_pays


class Shape(NamedTuple):
    """A block's tile (rows, columns), the slab of the sum that it takes at once, and how threads share it.

    Where warps of tensor cores are groups of their own (`straight`), slabs are in registers.
    """

    rows: int
    columns: int
    slab: int
    thread_rows: int
    thread_columns: int
    groups: int  # that share the slab; a divisor of a thread's sums and of slab
    stages: int  # slabs in shared memory: all but one are on their way while that one is multiplied
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
    def terms(self) -> int:
        """Terms of the sum that a group has of a slab."""
        return self.slab // self.groups

    @property
    def blocks(self) -> int:
        """How many of its blocks should be on a multiprocessor at once: those of 512 threads, with 128 registers each;
        while some wait others multiply. Of straight ones 384 threads, which have 168."""
        return max(1, (384 if self.straight else 512) // self.threads)

    @property
    def by_warps(self) -> bool:
        """Whether warps multiply it by tensor cores: see `tensor_tiles`."""
        return self.tensor > 0 and not SIMULATED

    @property
    def straight(self) -> bool:
        """Whether each of them takes terms of its own from memory: see `tensor_groups`."""
        return self.by_warps and self.groups > 1


class Shapes(NamedTuple):
    """`small` and `slim`, where tiles are few: a layer of 512 units at batch 128 has blocks for all multiprocessors.
    `large`, for long batches of wide layers, is without groups, whose partial sums would have to be added. `short` and
    `long` are those of weights, by batches, whose factors both have rows along the tile; where these tiles are few,
    `small` is. All of them fit in 48 KiB of shared memory."""

    slim: Shape
    small: Shape
    large: Shape
    short: Shape
    long: Shape


OF_SINGLE = Shapes(
    slim=Shape(16, 32, 64, 8, 4, 16, 3),
    small=Shape(32, 32, 64, 8, 4, 4, 2),
    large=Shape(128, 64, 8, 8, 4, 1, 3),  # 8 x 8 sums spill where both factors are deep
    short=Shape(32, 32, 64, 8, 4, 4, 2),
    long=Shape(128, 128, 8, 8, 8, 1, 4),
)
OF_DOUBLE = Shapes(
    slim=Shape(32, 32, 32, 4, 4, 2, 2),
    small=Shape(32, 32, 32, 4, 4, 2, 2),
    large=Shape(64, 64, 8, 4, 4, 1, 3),
    short=Shape(32, 32, 32, 4, 4, 2, 2),
    long=Shape(64, 64, 8, 4, 4, 1, 3),
)
# A warp has 16 x 32 or more sums. Of `short` a group is two warps side by side, the second of which finds the inputs in
# the multiprocessor's own cache: a step of 784-512-512-10 at batch 128 takes 28.8 us on an H100, with tiles of 32 x 32
# 30.5. There, too: `slim` of 8 warps 34.6, and 30.7 where they take their next numbers ahead; large tiles with three
# slabs 0.7 % less than with two, of 128 x 128 3 % (layers, or weights, alone) to 24 % more.
OF_TENSOR = Shapes(
    slim=Shape(16, 32, 256, 2, 8, 16, 1, 1),
    small=Shape(32, 32, 64, 4, 8, 4, 1, 1),
    large=Shape(64, 128, 16, 8, 8, 1, 3, 1),
    short=Shape(32, 64, 16, 4, 8, 2, 2, 1),
    long=Shape(64, 128, 16, 8, 8, 1, 3, 1),
)
# Whether tensor cores take the products of single precision, too; None: on GPUs where that is faster. To
# compare both ways it may be set before a network's kernels are chosen.
RECOVERED: bool | None = None
TINY = Shapes(*[Shape(4, 4, 4, 4, 4, 1, 2)] * 5)  # one Python thread a block
BLOCKS = 264  # two for each multiprocessor of an H100
MANY = 96  # large tiles that keep the GPU busy
PAD = 4  # between rows in shared memory, against bank conflicts, and so that 16 bytes stay aligned


def shapes(F: type, tf32: bool = False) -> Shapes:
    """The shapes for numbers of type F; with tensor cores for `tf32`, and for single precision where that pays."""
    single = np.dtype(F).itemsize == 4
    if not tf32 and not (single and (recovering_pays() if RECOVERED is None else RECOVERED)):
        return TINY if SIMULATED else OF_SINGLE if single else OF_DOUBLE
    return Shapes(*[shape._replace(tensor=1 if tf32 else 3) for shape in (TINY if SIMULATED else OF_TENSOR)])


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
    slabs = 0 if shape.straight else shape.stages * sum(size(shape, transposed_a, transposed_b))
    return max(slabs, shape.groups * partial(shape)[1] if shape.groups > 1 else 0)
