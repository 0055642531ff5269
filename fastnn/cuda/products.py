"""Tiles of matrix products, which all kernels share.

A block of threads computes a tile C[m, n] = sum_k A[m, k] B[k, n]. Slabs of A and B go through shared memory; while one
is being multiplied the next is on its way into registers. A thread holds a small tile in registers. Where tiles are
few, groups of threads share the sum of one tile, and their parts are added in the order of the groups: every sum has
one order, and results are the same bits from run to run.

All indices are unsigned: signed ones carry the code for negative indices (96 registers a thread instead of 46).
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np

from fastnn.cuda.target import SIMULATED, cuda, device, number
from fastnn.cuda.tensor import DEEP, multiply, rounded


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
    """`small`: a layer of 512 units at batch 128 has blocks for half of the multiprocessors. `large`, for long batches
    of wide layers: a thread's 8 x 8 sums need a quarter of the loads for each multiplication. `rows`: few rows go
    through all layers of a narrow network; batch 128 has 8 blocks. All of them fit in 48 KiB of shared memory."""

    small: Shape
    large: Shape
    rows: Shape


OF_SINGLE = Shapes(Shape(32, 32, 64, 4, 4, 4), Shape(128, 128, 8, 8, 8, 1), Shape(16, 64, 64, 2, 4, 2))
OF_DOUBLE = Shapes(Shape(32, 32, 32, 4, 4, 2), Shape(64, 64, 8, 4, 4, 1), Shape(8, 32, 32, 2, 4, 2))
OF_TENSOR = Shape(128, 64, 16, 8, 4, 1, True)  # 8 x 8 sums a thread are more than its registers take
TINY = Shapes(Shape(4, 4, 4, 4, 4, 1), Shape(4, 4, 4, 4, 4, 1), Shape(4, 4, 4, 4, 4, 1))  # one Python thread a block
MANY = 96  # large tiles that keep the GPU busy
PAD = 4  # between rows in shared memory, against bank conflicts, and so that 16 bytes stay aligned


def shapes(F: type, tf32: bool = False) -> Shapes:
    """The shapes for numbers of type F; with tensor cores for `tf32`, but where rows go through all layers: there they
    would take more registers than there are."""
    found = TINY if SIMULATED else OF_SINGLE if np.dtype(F).itemsize == 4 else OF_DOUBLE
    large = OF_TENSOR if tf32 and not SIMULATED else found.large._replace(tensor=tf32)
    return Shapes(found.small._replace(tensor=tf32), large, found.rows)


def tiles(rows: int, columns: int, shape: Shape) -> tuple[int, int]:
    """How many tiles cover a matrix: (down, across), for a grid may have 2^31 blocks in its first direction only."""
    return -(-rows // shape.rows), -(-columns // shape.columns)


def shape_for(F: type, rows: int, columns: int, tf32: bool = False) -> Shape:
    """The shape of the tiles of a matrix."""
    small, large, _ = shapes(F, tf32)
    return large if math.prod(tiles(rows, columns, large)) >= MANY else small


def room(shape: Shape) -> tuple[tuple[int, int], tuple[int, int], tuple[int, int, int]]:
    """Shapes of the shared memory that a product takes: slabs of A and B, and the groups' parts of the sums."""
    rows, columns, slab, _, _, groups, _ = shape
    parts = (groups, rows, columns) if groups > 1 else (1, 1, 1)
    return (slab, rows + PAD), (slab, columns + PAD), parts


@lru_cache
def product(F: type, shape: Shape, transposed_a: bool, transposed_b: bool) -> Any:
    """The function that leaves a thread's sums in `out`: see `accumulate`.

    A is (M, K) with rows `row_a` apart in memory, or (K, M) if transposed; B is (K, N), or (N, K) if transposed. Where
    `gathered`, the row of A that a batch's row r has in memory is order[first + r]. A transposed A (the inputs of a
    layer, for its weight's gradient) may have a last row of ones that is not in memory, the bias's input: M is then
    row_a + 1. The first `late` columns of its other rows are not in memory either and count as 0.
    """
    rows, columns, slab, thread_rows, thread_columns, groups, _ = shape
    threads, add_slab, (row_of, column_of, _) = shape.threads, _multiply(F, shape), spots(shape)
    fetch_a, fetch_b = rows * slab // threads, slab * columns // threads
    width_a, width_b = rows if transposed_a else slab, slab if transposed_b else columns
    of_group, of_slab = thread_rows // groups, slab // groups
    kind, zero, one, U = number(F), F(0), F(1), np.uint32

    @device
    def accumulate(a, row_a, b, row_b, order, first, gathered, late, M, N, begin, end, m0, n0, left, right, parts, out):
        """The sums over k from `begin` to `end` of rows m0 .. and columns n0 .. of the tile.

        `out` (thread_rows / groups, thread_columns) are those of the rows and columns of the tile that `place` gives. a
        and b begin with the matrix's first number; left, right and parts are the block's shared memory, of the shapes
        of `room`.
        """
        sums = cuda.local.array((thread_rows, thread_columns), kind)
        next_a = cuda.local.array(fetch_a, kind)
        next_b = cuda.local.array(fetch_b, kind)
        thread = U(cuda.threadIdx.x)
        group, within = thread // U(threads // groups), thread % U(threads // groups)
        for i in range(thread_rows):
            for j in range(thread_columns):
                sums[i, j] = zero
        for k0 in range(U(begin), U(end + U(slab)), U(slab)):
            if k0 > begin:
                for i in range(fetch_a):
                    e = thread + U(i * threads)
                    high, low = e // U(width_a), e % U(width_a)
                    if transposed_a:
                        left[high, low] = next_a[i]
                    else:
                        left[low, high] = next_a[i]
                for i in range(fetch_b):
                    e = thread + U(i * threads)
                    high, low = e // U(width_b), e % U(width_b)
                    if transposed_b:
                        right[low, high] = next_b[i]
                    else:
                        right[high, low] = next_b[i]
                cuda.syncthreads()
            for i in range(fetch_a):
                e = thread + U(i * threads)
                high, low = U(e // U(width_a)), U(e % U(width_a))
                m, k = m0 + (low if transposed_a else high), k0 + (high if transposed_a else low)
                next_a[i] = zero
                if m < M and k < end:
                    line, column = U(k if transposed_a else m), U(m if transposed_a else k)
                    if transposed_a and column >= row_a:
                        next_a[i] = one
                    elif not transposed_a or line >= late:
                        line = U(line - late)
                        if gathered:
                            line = U(order[first + line])
                        next_a[i] = a[line * row_a + column]
            for i in range(fetch_b):
                e = thread + U(i * threads)
                high, low = U(e // U(width_b)), U(e % U(width_b))
                k, n = k0 + (low if transposed_b else high), n0 + (high if transposed_b else low)
                next_b[i] = zero
                if k < end and n < N:
                    next_b[i] = b[n * row_b + k] if transposed_b else b[k * row_b + n]
            if k0 > begin:
                add_slab(left, right, group * U(of_slab), within, sums)
                cuda.syncthreads()
        if groups == 1:
            for i in range(thread_rows):
                for j in range(thread_columns):
                    out[i, j] = sums[i, j]
        else:
            for i in range(thread_rows):
                for j in range(thread_columns):
                    parts[group, row_of(within, U(i)), column_of(within, U(j))] = sums[i, j]
            cuda.syncthreads()
            for i in range(of_group):
                for j in range(thread_columns):
                    total = zero
                    for g in range(groups):
                        total += parts[U(g), row_of(within, group * U(of_group) + U(i)), column_of(within, U(j))]
                    out[i, j] = total

    return accumulate


@lru_cache
def spots(shape: Shape) -> tuple[Any, Any, Any]:
    """Which sums of a tile a thread has: row(within, i) and column(within, j), `within` its number in its group.

    With tensor cores also right_column(within, j), for even j: the column of the right factor that a lane holds.
    """
    rows, columns, U = shape.thread_rows, shape.thread_columns, np.uint32
    if not shape.tensor or SIMULATED:
        across = shape.columns // columns

        @device
        def row(within, i):
            return within // U(across) * U(rows) + i

        @device
        def column(within, j):
            return within % U(across) * U(columns) + j

        return row, column, column
    warps = shape.columns // (4 * columns)  # side by side; a warp has 8 * rows times 4 * columns sums

    @device
    def row_of_lane(within, i):
        lane, warp = within % U(32), within // U(32)
        return warp // U(warps) * U(8 * rows) + i // U(2) * U(16) + i % U(2) * U(8) + lane // U(4)

    @device
    def column_of_lane(within, j):
        lane, warp = within % U(32), within // U(32)
        return warp % U(warps) * U(4 * columns) + j // U(2) * U(8) + lane % U(4) * U(2) + j % U(2)

    @device
    def right_column(within, j):
        lane, warp = within % U(32), within // U(32)
        return warp % U(warps) * U(4 * columns) + j // U(2) * U(8) + lane // U(4)

    return row_of_lane, column_of_lane, right_column


@lru_cache
def _multiply(F: type, shape: Shape) -> Any:
    """The function (left, right, k0, within, sums): adds the products of a group's share of a slab to the sums."""
    of_slab, rows, columns = shape.slab // shape.groups, shape.thread_rows, shape.thread_columns
    row, column, right_column = spots(shape)
    U, rounds = np.uint32, shape.tensor

    if not shape.tensor or SIMULATED:

        @device
        def by_threads(left, right, k0, within, sums):
            for t in range(of_slab):
                k = k0 + U(t)
                for i in range(rows):
                    x = left[k, row(within, U(i))]
                    if rounds:
                        x = rounded(x)
                    for j in range(columns):
                        y = right[k, column(within, U(j))]
                        if rounds:
                            y = rounded(y)
                        sums[i, j] += x * y

        return by_threads

    @device
    def by_warps(left, right, k0, within, sums):
        a = cuda.local.array((rows, 2), np.uint32)
        for t in range(0, of_slab, DEEP):
            k = k0 + U(t) + within % U(4)
            for i in range(rows):
                a[i, 0] = rounded(left[k, row(within, U(i))])
                a[i, 1] = rounded(left[k + U(4), row(within, U(i))])
            for j in range(0, columns, 2):
                b = rounded(right[k, right_column(within, U(j))])
                c = rounded(right[k + U(4), right_column(within, U(j))])
                for i in range(0, rows, 2):
                    sums[i, j], sums[i, j + 1], sums[i + 1, j], sums[i + 1, j + 1] = multiply(
                        a[i, 0], a[i + 1, 0], a[i, 1], a[i + 1, 1], b, c,
                        sums[i, j], sums[i, j + 1], sums[i + 1, j], sums[i + 1, j + 1],
                    )  # fmt: skip

    return by_warps


@lru_cache
def place(shape: Shape) -> tuple[Any, Any]:
    """The functions row(i) and column(j) for the sums in a thread's `out`."""
    threads, of_group, U = shape.threads // shape.groups, shape.thread_rows // shape.groups, np.uint32
    row_of, column_of, _ = spots(shape)

    @device
    def row(i):
        thread = U(cuda.threadIdx.x)
        return U(row_of(thread % U(threads), thread // U(threads) * U(of_group) + i))

    @device
    def column(j):
        return U(column_of(U(cuda.threadIdx.x) % U(threads), j))

    return row, column
