"""Small tiles of matrix products by tensor cores: groups of warps share the sums of one tile.

A group has all sums of the tile over terms of its own, and mostly is one warp. Of both factors a warp needs each number
once, so a lane takes its numbers straight from memory to registers, four in a row at once: no warp waits for another
before the end, and while one of them waits for its numbers others multiply. Of few groups each takes its next numbers
before it multiplies.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np

from fastnn.cuda.shapes import Shape
from fastnn.cuda.target import cuda, device
from fastnn.cuda.tensor_lanes import WIDE, V, beside, high, products, split
from fastnn.cuda.vectors import aligned, based, load

U = np.uint32


@lru_cache
def _factor(lines: int, deep: bool, ones: bool, terms: int) -> tuple[Any, Any, Any]:
    """How a lane takes its numbers of a factor, of `terms` terms: those of lines near * g + r and terms own * t + c.

    The functions begin: first[..] <- where the lane's lines begin; take: x <- its numbers of the terms from k0 on;
    index(r, c): their place in x.
    """
    near, own, zero, one = beside(lines), terms // 4, np.float32(0), np.float32(1)

    @device
    def begin(lane, row, order, gathered, t0, limit, whole, first):
        line = U(t0 + lane // U(4) * U(near))
        if deep:
            for r in range(near):
                at = min(U(line + U(r)), U(limit - U(1)))
                if gathered:
                    at = U(order[at])
                first[r] = U(at * row + lane % U(4) * U(own))
        else:  # behind the last line in memory nobody reads the sums, but that of ones
            first[0] = U(row - U(V)) if whole and not ones and line >= row else line

    @device
    def index(r, c):
        return r * own + c if deep else c * V + r

    @device
    def line_of(k, order, gathered, late):
        line = U(k - late) if ones else k
        return U(order[line]) if gathered else line

    @device
    def take(lane, a, row, first, order, gathered, late, k0, end, whole, x):
        k = U(k0 + lane % U(4) * U(own))
        if whole and U(k0 + U(terms)) <= end and (not ones or k0 >= late):
            if deep:
                for r in range(near):
                    load(a, U(first[r] + k0), x, r * V)
            elif not ones or first[0] < row:
                for c in range(own):
                    load(a, U(line_of(U(k + U(c)), order, gathered, late) * row + first[0]), x, c * V)
            else:
                for c in range(own):
                    for r in range(V):
                        x[index(r, c)] = one if r == 0 and first[0] == row else zero
        elif deep:
            for r in range(near):
                for c in range(own):
                    x[index(r, c)] = a[U(first[r] + k0 + U(c))] if U(k + U(c)) < end else zero
        else:
            for c in range(own):
                line, there = U(0), U(k + U(c)) < end and (not ones or U(k + U(c)) >= late)
                if there:
                    line = U(line_of(U(k + U(c)), order, gathered, late) * row)
                for r in range(V):
                    column = U(first[0] + U(r))
                    x[index(r, c)] = a[U(line + column)] if there and column < row else zero
                    if ones and column == row:
                        x[index(r, c)] = one

    return begin, take, index


@lru_cache
def accumulate(shape: Shape, deep_a: bool, deep_b: bool) -> Any:
    """The function of that name of `products.product`."""
    rows, columns, terms, thrice, F = high(shape), WIDE, shape.terms, shape.tensor == 3, np.float32  # of a warp
    across, threads = shape.columns // WIDE, shape.threads // shape.groups  # of a group
    begin_a, take_a, index_a = _factor(rows, deep_a, not deep_a, terms)
    begin_b, take_b, index_b = _factor(columns, deep_b, False, terms)
    add, near_a, near_b = products(thrice, index_a, index_b), beside(rows), beside(columns)
    size_x, size_y, sums_of, zero = near_a * terms // 4, near_b * terms // 4, shape.sums, F(0)
    ahead, apart = shape.stages > 1, terms * shape.groups
    behind = apart if ahead else 0

    @device
    def accumulate_group(a, row_a, b, row_b, order, gathered, late, M, N, begin, end, m0, n0, memory, sums):
        first_a, first_b = cuda.local.array(near_a, U), cuda.local.array(near_b, U)
        x, high_x, low_x = cuda.local.array(size_x, F), cuda.local.array(size_x, F), cuda.local.array(size_x, F)
        y, high_y, low_y = cuda.local.array(size_y, F), cuda.local.array(size_y, F), cuda.local.array(size_y, F)
        thread, whole_a, whole_b = U(cuda.threadIdx.x), aligned(a, row_a), aligned(b, row_b)
        lane, start, a, b = thread % U(32), U(begin + thread // U(threads) * U(terms)), based(a), based(b)
        if threads > 32:
            warp = thread % U(threads) // U(32)
            m0, n0 = U(m0 + warp // U(across) * U(rows)), U(n0 + warp % U(across) * U(columns))
        for i in range(sums_of):
            sums[i] = zero
        begin_a(lane, row_a, order, gathered, m0, M, whole_a, first_a)
        begin_b(lane, row_b, order, False, n0, N, whole_b, first_b)
        k0 = start
        while k0 < U(end + U(behind)):
            ready = not ahead or k0 > start
            if ahead and ready:
                split(x, high_x, low_x)
                split(y, high_y, low_y)
            if not ahead or k0 < end:
                take_a(lane, a, row_a, first_a, order, gathered, late, k0, end, whole_a, x)
                take_b(lane, b, row_b, first_b, order, False, U(0), k0, end, whole_b, y)
            if not ahead:
                split(x, high_x, low_x)
                split(y, high_y, low_y)
            if ready:
                for term in range(0, terms // 4, 2):
                    for line in range(0, near_a, 2):
                        add(high_x, low_x, line, high_y, low_y, term, sums, line * 8)
            k0 = U(k0 + U(apart))

    return accumulate_group
