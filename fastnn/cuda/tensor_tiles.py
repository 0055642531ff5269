"""Large tiles of matrix products by tensor cores: in TF32, or with three products for one of single precision.

A warp has 64 x 64 sums of a tile, a lane 8 x 16. Slabs of 16 terms come to shared memory by copies that nothing waits
for while the slab before is multiplied. Lane 4 g + t has, of each 32 lines of a factor (rows of A, columns of B), lines
4 g .. 4 g + 3 at two terms in a row: these are what one or two loads bring, whichever way the factor lies. So the rows,
columns and terms of an instruction are not those that its layout names (see `tensor`); but the terms are the same for
both factors, and `spots` says where the sums belong.

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
from fastnn.cuda.vectors import aligned, commit, copy_number, copy_vector, in_vector, load, load_pair, wait

WARP = 64  # rows and columns of a warp's sums
BLOCK = 32  # lines of a factor of which a lane has 4
V = in_vector(np.float32)
U = np.uint32


def _place(lines: int, slab: int, deep: bool) -> Any:
    """The function (line, k): where a number of a slab is in its shared memory.

    Rows of the slab are those in memory, exchanged by 8 numbers so that lanes that read at once meet no bank twice.
    """

    @device
    def place(line, k):
        if deep:
            return U(line * U(slab) + k) ^ U(line // U(V) % U(4) * U(DEEP))
        return U(k * U(lines)) + U(line ^ U(k // U(2) % U(4) * U(DEEP)))

    return place


@lru_cache
def _reading(lines: int, slab: int, threads: int, deep: bool, ones: bool) -> Any:
    """The function that brings a thread's share of a slab of a factor to shared memory.

    In memory the factor has rows of `row` numbers; they run along the sum if it is `deep`, else along the tile, whose
    rows or columns are the factor's `lines`.
    """
    near, across, vectors = slab // V, lines // V, lines * slab // (V * threads)
    zero, one, place = np.float32(0), np.float32(1), _place(lines, slab, deep)

    @device
    def begin_of(which, row, order, gathered, late, present):
        """Where row `which` of the factor begins in memory, if it is `present` there."""
        if present:
            which = U(which - late)
            if gathered:
                which = U(order[which])
        return U(which * row)

    @device
    def fetch(x, row, order, gathered, late, t0, limit, k0, end, whole, memory, start):
        """The thread's vectors of the slab from k0 on to the shared memory from `start` on, 0 where there are none."""
        thread = thread_number()
        if not whole:
            by_numbers(thread, x, row, order, gathered, late, t0, limit, k0, end, memory, start)
        elif deep:
            line, k = thread // U(near), thread % U(near) * U(V)
            start = U(start + place(line, k))
            line, k = U(t0 + line), U(k0 + k)
            for _ in range(vectors):
                present = line < limit and k < end
                copy_vector(memory, start, x, U(begin_of(line, row, order, gathered, U(0), present) + k), present)
                line, start = U(line + U(threads // near)), U(start + U(threads // near * slab))
        else:
            line, k = thread % U(across) * U(V), thread // U(across) * U(vectors)
            t = U(t0 + line)
            of_ones = ones and t == row and row < limit
            for i in range(vectors):
                at, which = U(start + place(line, k + U(i))), U(k0 + k + U(i))
                if of_ones:
                    for j in range(V):
                        memory[at + U(j)] = one if j == 0 and which < end else zero
                else:
                    present = t < row and late <= which and which < end
                    copy_vector(memory, at, x, U(begin_of(which, row, order, gathered, late, present) + t), present)

    @device
    def by_numbers(thread, x, row, order, gathered, late, t0, limit, k0, end, memory, start):
        """The same where rows are not whole vectors."""
        e = thread
        while e < U(lines * slab):
            line, k = (e // U(slab), e % U(slab)) if deep else (e % U(lines), e // U(lines))
            at, line, k = U(start + place(line, k)), U(t0 + line), U(k0 + k)
            if ones and line == row and row < limit:
                memory[at] = one if k < end else zero
            else:
                present = k < end and late <= k and line < (limit if deep else row)
                which, number = (line, k) if deep else (k, line)
                copy_number(memory, at, x, U(begin_of(which, row, order, gathered, late, present) + number), present)
            e = U(e + U(threads))

    return fetch


@lru_cache
def _factor(lines: int, slab: int, deep: bool) -> tuple[Any, Any]:
    """The function (memory, start, lane, line, step, x): x <- what a lane has of eight terms of the slab at `start`.

    Of the 64 lines from `line` on it has 32 block + 4 g + r, of the terms from 8 step on 2 t + c; index(block, r, c) is
    their place in x.
    """
    place = _place(lines, slab, deep)

    @device
    def take(memory, start, lane, line, step, x):
        line, k = U(line + lane // U(4) * U(V)), U(lane % U(4) * U(2))
        for block in range(WARP // BLOCK):
            for v in range(V if deep else 2):
                if deep:
                    at = start + place(line + U(v % 2), k + U(step * DEEP)) + U((block * BLOCK + v // 2 * 2) * slab)
                    load_pair(memory, np.uint64(at), x, np.uint64((block * V + v) * 2))
                else:
                    at = start + place(line, k) + U((step * DEEP + v) * lines + block * BLOCK)
                    load(memory, np.uint64(at), x, np.uint64((block * 2 + v) * V))

    @device
    def index(block, r, c):
        return (block * V + r) * 2 + c if deep else (block * 2 + c) * V + r

    return take, index


@lru_cache
def _multiply(shape: Shape, deep_a: bool, deep_b: bool) -> Any:
    """The function (memory, a, b, sums): adds the products of the slabs that begin at a and b to a lane's sums.

    Four sums of one instruction lie side by side: 8 of them in a row, one under the other.
    """
    thrice, wide, steps = shape.tensor == 3, shape.columns // WARP, shape.slab // DEEP
    (take_a, index_a), (take_b, index_b) = (
        _factor(lines, shape.slab, deep) for lines, deep in ((shape.rows, deep_a), (shape.columns, deep_b))
    )
    zero = np.float32(0)

    @device
    def add(x, y, q, sums, s):
        sums[s], sums[s + 1], sums[s + 2], sums[s + 3] = multiply(
            x[0], x[1], x[2], x[3], y[2 * q], y[2 * q + 1], sums[s], sums[s + 1], sums[s + 2], sums[s + 3]
        )

    @device
    def add_step(memory, a, b, lane, top, left, step, sums):
        x, y = cuda.local.array(16, np.float32), cuda.local.array(16, np.float32)
        high_x, low_x = cuda.local.array(4, np.float32), cuda.local.array(4, np.float32)
        high_y, low_y = cuda.local.array(16, np.float32), cuda.local.array(16, np.float32)
        some = cuda.local.array(4, np.float32)
        take_a(memory, a, lane, top, step, x)
        take_b(memory, b, lane, left, step, y)
        for e in range(16):
            number = y[index_b(e // 8, e // 2 % 4, e % 2)]
            high_y[e] = rounded(number)
            low_y[e] = number - high_y[e]
        for i in range(4):
            for e in range(4):
                number = x[index_a(i // 2, i % 2 * 2 + e % 2, e // 2)]
                high_x[e] = rounded(number)
                low_x[e] = number - high_x[e]
            for q in range(8):
                if thrice:
                    for e in range(4):
                        some[e] = zero
                    add(low_x, high_y, q, some, 0)
                    add(high_x, low_y, q, some, 0)
                    add(high_x, high_y, q, some, 0)
                    for e in range(4):
                        sums[(i * 8 + q) * 4 + e] += some[e]
                else:
                    add(high_x, high_y, q, sums, (i * 8 + q) * 4)

    @device
    def add_slab(memory, a, b, sums):
        thread = thread_number()
        lane, warp = thread % U(32), thread // U(32)
        for step in range(steps):
            add_step(memory, a, b, lane, warp // U(wide) * U(WARP), warp % U(wide) * U(WARP), step, sums)

    return add_slab


@lru_cache
def product(shape: Shape, transposed_a: bool, transposed_b: bool) -> tuple[Any, Any]:
    """The functions that `products.product` says."""
    rows, columns, slab, down, across, threads = *shape[:5], shape.threads
    fetch_a = _reading(rows, slab, threads, not transposed_a, transposed_a)
    fetch_b = _reading(columns, slab, threads, transposed_b, False)
    add_slab, zero = _multiply(shape, not transposed_a, transposed_b), np.float32(0)
    size_a, size, sums_of = slab * rows, slab * (rows + columns), down * across

    @device
    def accumulate(a, row_a, b, row_b, order, gathered, late, M, N, begin, end, m0, n0, memory, sums):
        whole_a, whole_b, none = aligned(a, row_a), aligned(b, row_b), U(0)
        for e in range(sums_of):
            sums[e] = zero
        cuda.syncthreads()  # the memory may hold what others still read of the product before
        k0, slot, last = U(begin), none, U(end + U(slab))
        while k0 < last:
            wait(0)
            cuda.syncthreads()
            if U(k0 + U(slab)) < last:
                fetch_a(a, row_a, order, gathered, late, m0, M, k0, end, whole_a, memory, slot)
                fetch_b(b, row_b, order, False, none, n0, N, k0, end, whole_b, memory, U(slot + U(size_a)))
            commit()
            slot = U(U(size) - slot)
            if k0 > begin:
                add_slab(memory, slot, U(slot + U(size_a)), sums)
            k0 = U(k0 + U(slab))

    @device
    def in_order(memory, sums, out):
        for i in range(down):
            for j in range(across):
                out[i, j] = sums[(i // 2 * 8 + j // 8 * 4 + j % 4) * 4 + i % 2 * 2 + j // 4 % 2]

    return accumulate, in_order


@lru_cache
def spots(shape: Shape) -> tuple[Any, Any]:
    """Which sums of a tile a thread has: row(within, i) and column(within, j)."""
    wide = shape.columns // WARP

    @device
    def row(within, i):
        lane, warp = within % U(32), within // U(32)
        return warp // U(wide) * U(WARP) + i // U(4) * U(BLOCK) + lane // U(4) * U(4) + i % U(4)

    @device
    def column(within, j):
        lane, warp = within % U(32), within // U(32)
        return warp % U(wide) * U(WARP) + j // U(8) * U(BLOCK) + lane % U(4) * U(8) + j % U(8)

    return row, column
