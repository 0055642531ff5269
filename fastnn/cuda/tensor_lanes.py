"""Which numbers of a product of tensor cores a lane has, and its part of it: in TF32, or in nearly single precision.

Lane 4 g + t has, of each 32 lines of a factor (rows of A, columns of B), lines 4 g .. 4 g + 3, of 16 lines 2 g and
2 g + 1, and of them terms in a row: these are what a few loads of vectors bring, whichever way the factor lies. So the
rows, columns and terms of an instruction are not those that its layout names (see `tensor`); but the terms are the
same for both factors, and `spots` says where the sums belong.

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
from fastnn.cuda.tensor import multiply, rounded
from fastnn.cuda.vectors import in_vector

V = in_vector(np.float32)
WIDE = 32  # columns of a warp's sums: a lane has 8 in a row
HELD = 2 * V  # numbers of B of 8 terms
U = np.uint32


def high(shape: Shape) -> int:
    """Rows of a warp's sums: of 8 lanes one under the other."""
    return 8 * shape.thread_rows


def beside(lines: int) -> int:
    """Of how many of a factor's lines in a row a lane has terms."""
    return min(V, lines // 8)


@lru_cache
def spots(shape: Shape) -> tuple[Any, Any]:
    """Which sums of a tile a thread has: row(within, i) and column(within, j), `within` its number in its group."""
    across, rows, near = shape.columns // WIDE, high(shape), beside(high(shape))

    @device
    def row(within, i):
        lane, warp = within % U(32), within // U(32)
        return warp // U(across) * U(rows) + i // U(near) * U(8 * near) + lane // U(4) * U(near) + i % U(near)

    @device
    def column(within, j):
        lane, warp = within % U(32), within // U(32)
        return warp % U(across) * U(WIDE) + lane % U(4) * U(8) + j

    return row, column


@device
def place(i, j):
    """Where in a lane's sums that in its row i and column j is: four of one instruction lie side by side."""
    return i // 2 * 16 + j % 4 * 4 + i % 2 * 2 + j // 4


@device
def split(x, high, low):
    """high, low <- what lanes multiply instead of their numbers x."""
    for e in range(len(x)):
        high[e] = rounded(x[e])
        low[e] = x[e] - high[e]


@lru_cache
def products(thrice: bool, index_a: Any, index_b: Any) -> Any:
    """The function (high_x, low_x, line, high_y, low_y, term, sums, s): adds those of 16 x 32 sums and 8 terms.

    They are those of a lane's rows `line` and `line` + 1, and of its terms `term` and `term` + 1, and belong to
    sums[s ..]. index(line, term) is where a lane's numbers have that of a line and term.
    """
    zero = np.float32(0)

    @device
    def product(x, line, y, q, term, sums, s):
        sums[s], sums[s + 1], sums[s + 2], sums[s + 3] = multiply(
            x[index_a(line, term)], x[index_a(line + 1, term)], x[index_a(line, term + 1)],
            x[index_a(line + 1, term + 1)], y[index_b(q, term)], y[index_b(q, term + 1)],
            sums[s], sums[s + 1], sums[s + 2], sums[s + 3],
        )  # fmt: skip

    @device
    def add(high_x, low_x, line, high_y, low_y, term, sums, s):
        some = cuda.local.array(4, np.float32)
        for q in range(V):
            if thrice:
                for e in range(4):
                    some[e] = zero
                product(low_x, line, high_y, q, term, some, 0)
                product(high_x, line, low_y, q, term, some, 0)
                product(high_x, line, high_y, q, term, some, 0)
                for e in range(4):
                    sums[s + 4 * q + e] += some[e]
            else:
                product(high_x, line, high_y, q, term, sums, s + 4 * q)

    return add
