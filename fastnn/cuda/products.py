"""Tiles of matrix products, which all kernels share.

A block of threads computes a tile C[m, n] = sum_k A[m, k] B[k, n]. Slabs of A and B go through shared memory; while one
is being multiplied the next is on its way into registers. A thread holds a small tile in registers. Where tiles are
few, groups of threads share the sum of one tile, and their parts are added in the order of the groups: every sum has
one order, and results are the same bits from run to run.

All indices are unsigned: signed ones carry the code for negative indices (96 registers a thread instead of 46).
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np

from fastnn.cuda.shapes import PAD, Shape
from fastnn.cuda.target import SIMULATED, cuda, device, number
from fastnn.cuda.tensor import DEEP, multiply, rounded
from fastnn.cuda.vectors import aligned, in_vector, load, store

NEAR = 4  # vectors of a row that neighbors read: half as many lines as threads, and conflicts of two in shared memory


@lru_cache
def _reading(F: type, width: int, slab: int, threads: int, deep: bool, ones: bool) -> tuple[Any, Any, Any, int]:
    """How a block reads a slab of a factor: the functions begin, fetch and keep, and how many numbers a thread has.

    In memory the factor has rows of `row` numbers; they run along the sum if it is `deep`, else along the tile, whose
    `width` this is. The thread's numbers are vectors of 16 bytes, where rows begin at multiples of that (`whole`).
    """
    V = in_vector(F)
    across, near = width // V, min(NEAR, slab // V)
    vectors = -(-width * slab // (V * threads))
    ragged, zero, one, U = width * slab % (V * threads) > 0, F(0), F(1), np.uint32

    @device
    def spot(i):
        """Where in tile and slab the thread's vector i begins."""
        e = U(cuda.threadIdx.x) + U(i * threads)
        if deep:
            return U(e // U(near) % U(width)), U((e // U(near * width) * U(near) + e % U(near)) * U(V))
        return U(e % U(across) * U(V)), U(e // U(across))

    @device
    def begin(row, order, gathered, t0, limit, lines):
        """lines[i] <- where the row begins that vector i is of, the same for all slabs of a deep factor."""
        if deep:
            for i in range(vectors):
                line = U(t0 + spot(i)[0])
                if gathered and line < limit:
                    line = U(order[line])
                lines[i] = line * row

    @device
    def take(x, at, here, whole, got, place):
        """got[place ..] <- a vector of x from `at` on: all of it if rows are `whole` vectors, else `here` numbers."""
        if whole:
            load(x, at, got, place)
        else:
            for j in range(V):
                if U(j) < here:
                    got[place + j] = x[at + U(j)]

    @device
    def fetch(x, row, lines, order, gathered, late, t0, limit, k0, end, whole, got):
        """got <- the thread's numbers of the slab from k0 on, 0 where there are none."""
        for i in range(vectors):
            t, k = spot(i)
            t, k = U(t0 + t), U(k0 + k)
            for j in range(V):
                got[i * V + j] = zero
            if t < limit and k < end:
                if deep:
                    take(x, U(lines[i] + k), U(end - k), whole, got, i * V)
                else:
                    if t < row and k >= late:
                        line = U(k - late)
                        if gathered:
                            line = U(order[line])
                        take(x, U(line * row + t), U(row - t), whole, got, i * V)
                    if ones and row < limit:
                        for j in range(V):
                            if t + U(j) == row:
                                got[i * V + j] = one

    @device
    def keep(memory, start, got):
        """The thread's numbers to the slab in shared memory that begins at `start`: its rows are across the tile."""
        for i in range(vectors):
            t, k = spot(i)
            if not ragged or k < U(slab):
                at = U(start + k * U(width + PAD) + t)
                if deep:
                    for j in range(V):
                        memory[at + U(j * (width + PAD))] = got[i * V + j]
                else:
                    store(memory, at, got, i * V)

    return begin, fetch, keep, vectors * V


@lru_cache
def product(F: type, shape: Shape, transposed_a: bool, transposed_b: bool) -> Any:
    """The function that leaves a thread's sums in `out`: see `accumulate`.

    A is (M, K) with rows `row_a` apart in memory, or (K, M) if transposed; B is (K, N), or (N, K) if transposed. Where
    `gathered`, the row of A that a batch's row r has in memory is order[r]. A transposed A (the inputs of a
    layer, for its weight's gradient) may have a last row of ones that is not in memory, the bias's input: M is then
    row_a + 1. The first `late` columns of its other rows are not in memory either and count as 0.
    """
    rows, columns, slab, thread_rows, thread_columns, groups, _ = shape
    threads, add_slab, (row_of, column_of, _) = shape.threads, _multiply(F, shape), spots(F, shape)
    begin_a, fetch_a, keep_a, numbers_a = _reading(F, rows, slab, threads, not transposed_a, transposed_a)
    begin_b, fetch_b, keep_b, numbers_b = _reading(F, columns, slab, threads, transposed_b, False)
    size_a, size_b = slab * (rows + PAD), slab * (columns + PAD)
    of_group, of_slab = thread_rows // groups, slab // groups
    kind, zero, U = number(F), F(0), np.uint32
    sums_of = thread_rows * thread_columns

    @device
    def accumulate(a, row_a, b, row_b, order, gathered, late, M, N, begin, end, m0, n0, memory, out):
        """The sums over k from `begin` to `end` of rows m0 .. and columns n0 .. of the tile.

        `out` (thread_rows / groups, thread_columns) are those of the rows and columns of the tile that `place` gives. a
        and b begin with the matrix's first number; `memory` is the block's, of `room` numbers.
        """
        sums = cuda.local.array(sums_of, kind)
        next_a, next_b = cuda.local.array(numbers_a, kind), cuda.local.array(numbers_b, kind)
        lines_a, lines_b = cuda.local.array(numbers_a, np.uint32), cuda.local.array(numbers_b, np.uint32)
        whole_a, whole_b, none = aligned(a, row_a), aligned(b, row_b), U(0)
        thread = U(cuda.threadIdx.x)
        group, within = U(thread // U(threads // groups)), U(thread % U(threads // groups))
        for i in range(sums_of):
            sums[i] = zero
        begin_a(row_a, order, gathered, m0, M, lines_a)
        begin_b(row_b, order, False, n0, N, lines_b)
        fetch_a(a, row_a, lines_a, order, gathered, late, m0, M, U(begin), end, whole_a, next_a)
        fetch_b(b, row_b, lines_b, order, False, none, n0, N, U(begin), end, whole_b, next_b)
        cuda.syncthreads()  # the memory may hold what others still read of the product before
        keep_a(memory, none, next_a)
        keep_b(memory, U(2 * size_a), next_b)
        cuda.syncthreads()
        turn = U(0)  # which of the two slabs is multiplied, while the other is filled
        k0 = U(begin)
        while k0 < end:
            k0 = U(k0 + U(slab))
            if k0 < end:
                fetch_a(a, row_a, lines_a, order, gathered, late, m0, M, k0, end, whole_a, next_a)
                fetch_b(b, row_b, lines_b, order, False, none, n0, N, k0, end, whole_b, next_b)
            add_slab(
                memory, np.uint64(turn * U(size_a) + group * U(of_slab * (rows + PAD))),
                np.uint64(U(2 * size_a) + turn * U(size_b) + group * U(of_slab * (columns + PAD))), within, sums,
            )  # fmt: skip
            if k0 < end:
                turn = U(U(1) - turn)
                keep_a(memory, U(turn * U(size_a)), next_a)
                keep_b(memory, U(U(2 * size_a) + turn * U(size_b)), next_b)
                cuda.syncthreads()
        if groups == 1:
            for i in range(thread_rows):
                for j in range(thread_columns):
                    out[i, j] = sums[i * thread_columns + j]
        else:
            cuda.syncthreads()
            for i in range(thread_rows):
                line = U((group * U(rows) + row_of(within, U(i))) * U(columns))
                for j in range(thread_columns):
                    memory[line + column_of(within, U(j))] = sums[i * thread_columns + j]
            cuda.syncthreads()
            for i in range(of_group):
                line = U(row_of(within, group * U(of_group) + U(i)) * U(columns))
                for j in range(thread_columns):
                    total = zero
                    for g in range(groups):
                        total += memory[U(g * rows * columns) + line + column_of(within, U(j))]
                    out[i, j] = total

    return accumulate


@lru_cache
def spots(F: type, shape: Shape) -> tuple[Any, Any, Any]:
    """Which sums of a tile a thread has: row(within, i) and column(within, j), `within` its number in its group.

    With tensor cores also right_column(within, j), for even j: the column of the right factor that a lane holds.
    """
    rows, columns, U = shape.thread_rows, shape.thread_columns, np.uint32
    if not shape.tensor or SIMULATED:
        across, down = shape.columns // columns, shape.rows // rows
        tall, wide = min(rows, in_vector(F)), min(columns, in_vector(F))

        # Vectors of one thread are apart: those of neighbors are side by side, and meet no bank twice.
        @device
        def row(within, i):
            return i // U(tall) * U(down * tall) + within // U(across) * U(tall) + i % U(tall)

        @device
        def column(within, j):
            return j // U(wide) * U(across * wide) + within % U(across) * U(wide) + j % U(wide)

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


def _line(F: type, count: int, spot: Any, rounds: bool) -> Any:
    """The function (memory, start, within, x): x <- a thread's numbers of a slab's row, which begins at `start`."""
    V = in_vector(F)
    step, U = V if count % V == 0 else 1, np.uint32

    @device
    def line(memory, start, within, x):
        for i in range(0, count, step):
            if step == V:
                load(memory, start + spot(within, U(i)), x, i)
            else:
                x[i] = memory[start + spot(within, U(i))]
        if rounds:
            for i in range(count):
                x[i] = rounded(x[i])

    return line


@lru_cache
def _multiply(F: type, shape: Shape) -> Any:
    """The function (memory, a, b, within, sums): adds the products of a group's share of a slab to the sums.

    `a` and `b` are where the share's first terms begin in shared memory.
    """
    of_slab, rows, columns = shape.slab // shape.groups, shape.thread_rows, shape.thread_columns
    (row, column, right_column), kind = spots(F, shape), number(F)
    U, rounds, row_a, row_b = np.uint32, shape.tensor, shape.rows + PAD, shape.columns + PAD

    if not shape.tensor or SIMULATED:
        line_of_a, line_of_b = (_line(F, n, spot, rounds) for n, spot in ((rows, row), (columns, column)))

        @device
        def by_threads(memory, a, b, within, sums):
            x, y = cuda.local.array(rows, kind), cuda.local.array(columns, kind)
            line_of_a(memory, a, within, x)
            line_of_b(memory, b, within, y)
            for i in range(rows):
                for j in range(columns):
                    sums[i * columns + j] += x[i] * y[j]

        return _repeated(by_threads, of_slab, row_a, row_b)

    @device
    def by_warps(memory, a, b, within, sums):
        x = cuda.local.array((rows, 2), np.uint32)
        k, later = U(within % U(4)), U(within % U(4) + U(4))
        for i in range(rows):
            x[i, 0] = rounded(memory[a + k * U(row_a) + row(within, U(i))])
            x[i, 1] = rounded(memory[a + later * U(row_a) + row(within, U(i))])
        for j in range(0, columns, 2):
            y = rounded(memory[b + k * U(row_b) + right_column(within, U(j))])
            z = rounded(memory[b + later * U(row_b) + right_column(within, U(j))])
            for i in range(0, rows, 2):
                s, t = i * columns + j, (i + 1) * columns + j
                sums[s], sums[s + 1], sums[t], sums[t + 1] = multiply(
                    x[i, 0], x[i + 1, 0], x[i, 1], x[i + 1, 1], y, z, sums[s], sums[s + 1], sums[t], sums[t + 1]
                )

    return _repeated(by_warps, of_slab // DEEP, DEEP * row_a, DEEP * row_b)


def _repeated(step: Any, count: int, step_a: int, step_b: int) -> Any:
    """The function that does `step` a power of two of times, one after the other without a loop: then every place in
    shared memory is a constant away from the first (a loop's round took 18 instructions beside 64 multiplications)."""
    if count == 1:
        return step
    half = _repeated(step, count // 2, step_a, step_b)
    on_a, on_b = np.uint64(count // 2 * step_a), np.uint64(count // 2 * step_b)

    @device
    def twice(memory, a, b, within, sums):
        half(memory, a, b, within, sums)
        half(memory, a + on_a, b + on_b, within, sums)

    return twice


@lru_cache
def place(F: type, shape: Shape) -> tuple[Any, Any]:
    """The functions row(i) and column(j) for the sums in a thread's `out`."""
    threads, of_group, U = shape.threads // shape.groups, shape.thread_rows // shape.groups, np.uint32
    row_of, column_of, _ = spots(F, shape)

    @device
    def row(i):
        thread = U(cuda.threadIdx.x)
        return U(row_of(thread % U(threads), thread // U(threads) * U(of_group) + i))

    @device
    def column(j):
        return U(column_of(U(cuda.threadIdx.x) % U(threads), j))

    return row, column
