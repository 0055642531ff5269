"""Large tiles of matrix products by tensor cores: in TF32, or with three products for one of single precision.

A warp has 64 x 32 sums of a tile, a lane 8 x 8. Slabs are brought to shared memory as those of all products (`slabs`).
Lane 4 g + t has, of each 32 lines of a factor (rows of A, columns of B), lines 4 g .. 4 g + 3 at two terms in a row:
these are what one or two loads bring, whichever way the factor lies. So the rows, columns and terms of an instruction
are not those that its layout names (see `tensor`); but the terms are the same for both factors, and `spots` says where
the sums belong. Four warps of each scheduler, of four blocks, keep the tensor cores busy while others of them wait for
their barrier, fetch and round.

Single precision: x = high + low, both in TF32, and a product is low high' + high low' + high high' (Ootomo and Yokota,
Recovering single precision accuracy from Tensor Cores while surpassing the FP32 theoretical peak performance, 2022).
What is left out is 2^-22 of it at most. Tensor cores cut their sums off instead of rounding them, which a sum of 4,096
positive terms would feel as 1e-4 of it: they take 8 terms at a time, which are then added as any float32. In an
emulation that cuts off all that it may, sums of 784 to 4,096 terms are off by a third to a half of what they are by
FFMA.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np

from fastnn.cuda.shapes import Shape
from fastnn.cuda.target import cuda, device
from fastnn.cuda.tensor import DEEP, multiply, rounded, thread_number
from fastnn.cuda.vectors import in_vector, load, load_pair

BLOCK = 32  # lines of a factor of which a lane has 4
V = in_vector(np.float32)
U = np.uint32


def warp_of(shape: Shape) -> tuple[int, int]:
    """Rows and columns of a warp's sums: of 8 lanes one under the other and of 4 side by side."""
    return 8 * shape.thread_rows, 4 * shape.thread_columns


@lru_cache
def place(lines: int, slab: int, deep: bool) -> Any:
    """The function (number, along): where number `along` of row `number` of a slab is in its shared memory.

    Rows of the slab are those in memory, exchanged by 8 numbers so that lanes that read at once meet no bank twice.
    """

    @device
    def place(number, along):
        if deep:
            return U(number * U(slab) + along) ^ U(number // U(V) % U(4) * U(DEEP))
        return U(number * U(lines)) + U(along ^ U(number // U(2) % U(4) * U(DEEP)))

    return place


@lru_cache
def _factor(lines: int, slab: int, deep: bool) -> tuple[Any, Any, Any]:
    """How a lane takes its numbers of a factor, of 32 lines and 8 terms those of lines 4 g + r and terms 2 t + c.

    The functions begin(lane, line): where its first are in a slab; take(memory, first, line, term, x, to): x[to ..] <-
    those `line` lines and `term` terms further on; index(r, c): their place in x.
    """
    where = place(lines, slab, deep)

    @device
    def begin(lane, line):
        line, k = U(line + lane // U(4) * U(V)), U(lane % U(4) * U(2))
        return where(line, k) if deep else where(k, line)

    @device
    def take(memory, first, line, term, x, to):
        for v in range(V if deep else 2):
            if deep:
                at = (first ^ U(v % 2 * slab + term)) + U((v // 2 * 2 + line) * slab)
                load_pair(memory, np.uint64(at), x, np.uint64(to + v * 2))
            else:
                load(memory, np.uint64(first + U((term + v) * lines + line)), x, np.uint64(to + v * V))

    @device
    def index(r, c):
        return r * 2 + c if deep else c * V + r

    return begin, take, index


@lru_cache
def multiply_slab(shape: Shape, deep_a: bool, deep_b: bool) -> Any:
    """The function (memory, a, b, sums): adds the products of the slabs that begin at a and b to a lane's sums.

    Four sums of one instruction lie side by side: those of 8 columns in a row, one under the other.
    """
    thrice, slab, (high, wide) = shape.tensor == 3, shape.slab, warp_of(shape)
    across, blocks, held = shape.columns // wide, wide // BLOCK, wide // 4
    begin_a, take_a, index_a = _factor(shape.rows, shape.slab, deep_a)
    begin_b, take_b, index_b = _factor(shape.columns, shape.slab, deep_b)
    zero = np.float32(0)

    @device
    def add(x, y, q, sums, s):
        sums[s], sums[s + 1], sums[s + 2], sums[s + 3] = multiply(
            x[0], x[1], x[2], x[3], y[2 * q], y[2 * q + 1], sums[s], sums[s + 1], sums[s + 2], sums[s + 3]
        )

    @device
    def add_step(memory, a, b, term, sums):
        x, y = cuda.local.array(8, np.float32), cuda.local.array(held, np.float32)
        high_x, low_x = cuda.local.array(4, np.float32), cuda.local.array(4, np.float32)
        high_y, low_y = cuda.local.array(held, np.float32), cuda.local.array(held, np.float32)
        some = cuda.local.array(4, np.float32)
        for block in range(blocks):
            take_b(memory, b, block * BLOCK, term, y, 8 * block)
        for e in range(held):
            number = y[e // 8 * 8 + index_b(e // 2 % 4, e % 2)]
            high_y[e] = rounded(number)
            low_y[e] = number - high_y[e]
        for i in range(high // 16):
            if i % 2 == 0:
                take_a(memory, a, i // 2 * BLOCK, term, x, 0)
            for e in range(4):
                number = x[index_a(i % 2 * 2 + e % 2, e // 2)]
                high_x[e] = rounded(number)
                low_x[e] = number - high_x[e]
            for q in range(held // 2):
                if thrice:
                    for e in range(4):
                        some[e] = zero
                    add(low_x, high_y, q, some, 0)
                    add(high_x, low_y, q, some, 0)
                    add(high_x, high_y, q, some, 0)
                    for e in range(4):
                        sums[(i * held // 2 + q) * 4 + e] += some[e]
                else:
                    add(high_x, high_y, q, sums, (i * held // 2 + q) * 4)

    @device
    def add_slab(memory, a, b, within, sums):
        thread = thread_number()
        lane, warp = thread % U(32), thread // U(32)
        a = U(U(a) + begin_a(lane, warp // U(across) * U(high)))
        b = U(U(b) + begin_b(lane, warp % U(across) * U(wide)))
        for term in range(0, slab, DEEP):
            add_step(memory, a, b, term, sums)

    return add_slab


@lru_cache
def in_order(shape: Shape) -> Any:
    """The function (memory, sums, out): `out` (shape.own) <- a lane's sums by rows and columns."""
    down, across = shape.own

    @device
    def put(memory, sums, out):
        for i in range(down):
            for j in range(across):
                out[i, j] = sums[(i // 2 * (across // 2) + j // 8 * 4 + j % 4) * 4 + i % 2 * 2 + j // 4 % 2]

    return put


@lru_cache
def spots(shape: Shape) -> tuple[Any, Any]:
    """Which sums of a tile a thread has: row(within, i) and column(within, j)."""
    high, wide = warp_of(shape)
    across = shape.columns // wide

    @device
    def row(within, i):
        lane, warp = within % U(32), within // U(32)
        return warp // U(across) * U(high) + i // U(4) * U(BLOCK) + lane // U(4) * U(4) + i % U(4)

    @device
    def column(within, j):
        lane, warp = within % U(32), within // U(32)
        return warp % U(across) * U(wide) + j // U(8) * U(BLOCK) + lane % U(4) * U(8) + j % U(8)

    return row, column
