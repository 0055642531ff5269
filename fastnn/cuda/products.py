"""Tiles of matrix products, which all kernels share.

A block of threads computes a tile C[m, n] = sum_k A[m, k] B[k, n]. Slabs of A and B go through shared memory; while one
is being multiplied those behind it are on their way, and no thread waits for them or holds them in registers. A thread
holds a small tile of sums. Where tiles are few, groups of threads share the sum of one tile, and their partial sums
are added in the order of the groups: every sum has one order, and results are the same bits from run to run. Of small
tiles for tensor cores the groups are warps, which go without slabs (see `tensor_groups`).

A factor's rows lie in shared memory as they do in memory, which may be along the sum (`deep`) or along the tile. Of a
deep factor a thread reads a vector of terms of each of its rows at once.

All indices are unsigned: signed ones carry the code for negative indices (96 registers a thread instead of 46).
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np

from fastnn.cuda import tensor_groups, tensor_lanes, tensor_tiles
from fastnn.cuda.shapes import PAD, Shape, partial, size
from fastnn.cuda.slabs import reading
from fastnn.cuda.target import cuda, device, number
from fastnn.cuda.tensor import recovered, rounded
from fastnn.cuda.vectors import aligned, commit, in_vector, kept, load, store, wait


@lru_cache
def product(F: type, shape: Shape, transposed_a: bool, transposed_b: bool) -> tuple[Any, Any]:
    """The functions `accumulate` and `add_groups`: after the first a thread has partial sums of its group, after the
    second sums of its own. What is to be done with them may be asked for in between.

    A is (M, K) with rows `row_a` apart in memory, or (K, M) if transposed; B is (K, N), or (N, K) if transposed. Where
    rows run along the sum, all of it is summed. Where `gathered`, the row of A that a batch's row r has in memory is
    order[r]. A transposed A (the inputs of a layer, for its weight's gradient) may have a last row of ones that is not
    in memory, the bias's input: M is then row_a + 1. The first `late` columns of its other rows are not in memory
    either and count as 0; those that are gathered have none.
    """
    if shape.straight:
        accumulate = tensor_groups.accumulate(shape, not transposed_a, transposed_b)
    else:
        accumulate = _by_slabs(F, shape, transposed_a, transposed_b)
    return accumulate, _groups(F, shape, transposed_a, transposed_b)


@lru_cache
def _by_slabs(F: type, shape: Shape, transposed_a: bool, transposed_b: bool) -> Any:
    """The function `accumulate` of `product`, of slabs in shared memory."""
    rows, columns, slab, groups = shape.rows, shape.columns, shape.slab, shape.groups
    threads, deep_a, deep_b = shape.threads, not transposed_a, transposed_b
    place_a = tensor_tiles.place(rows, slab, deep_a) if shape.by_warps else None
    place_b = tensor_tiles.place(columns, slab, deep_b) if shape.by_warps else None
    follow_a, request_a, vectors_a = reading(F, rows, slab, threads, deep_a, transposed_a, place_a)
    follow_b, request_b, vectors_b = reading(F, columns, slab, threads, deep_b, False, place_b)
    size_a, size_b = size(shape, transposed_a, transposed_b)
    stage, of_slab, ahead = size_a + size_b, shape.terms, shape.stages - 1
    behind = ahead - 1  # groups of copies that may be on their way while a slab is multiplied
    add_slab = _multiply(F, shape, transposed_a, transposed_b)
    group_a = of_slab if deep_a else of_slab * (rows + PAD)
    group_b = of_slab if deep_b else of_slab * (columns + PAD)
    zero, U, sums_of = F(0), np.uint32, shape.sums
    # What the compiler would find again in every slab: to read a thread's number alone takes 30 cycles. Of small blocks
    # others run meanwhile, and large tiles take more of it: both lack the registers.
    found = kept if deep_a and (shape.by_warps or threads > 128) else U

    @device
    def bring(
        thread, a, row_a, lines_a, b, row_b, lines_b, order, gathered, late, M, N, k0, end, m0, n0, whole, memory, start
    ):  # fmt: skip
        """The slab from k0 on is on its way; where the rows of the one behind it begin is known then."""
        if k0 < end:
            if not deep_b:
                follow_b(thread, row_b, lines_b, order, False, n0, N, k0, U(0), end)
            request_a(thread, a, row_a, lines_a, m0, M, k0, late, end, whole & U(1), memory, start)
            request_b(
                thread, b, row_b, lines_b, n0, N, k0, U(0), end, whole & U(2), memory,
                U(start + U(size_a)),
            )  # fmt: skip
            if not deep_a:  # now, for order's numbers have to be waited for
                follow_a(thread, row_a, lines_a, order, gathered, m0, M, U(k0 + U(slab)), late, end)
        commit()

    @device
    def accumulate(a, row_a, b, row_b, order, gathered, late, M, N, begin, end, m0, n0, memory, sums):
        """`sums` (shape.sums,) <- the thread's over k from `begin` to `end`, of rows m0 .. and columns n0 .. of C.

        a and b begin with the matrix's first number; `memory` is the block's, of `room` numbers.
        """
        lines_a, lines_b = cuda.local.array(vectors_a, np.uint32), cuda.local.array(vectors_b, np.uint32)
        thread, m0, n0, k0 = found(U(cuda.threadIdx.x)), found(U(m0)), found(U(n0)), U(begin)
        whole = found(U(U(aligned(a, row_a)) + U(2) * U(aligned(b, row_b))))
        group, within = U(thread // U(threads // groups)), U(thread % U(threads // groups))
        for i in range(sums_of):
            sums[i] = zero
        follow_a(thread, row_a, lines_a, order, gathered, m0, M, k0, late, end)
        if deep_b:
            follow_b(thread, row_b, lines_b, order, False, n0, N, k0, U(0), end)
        cuda.syncthreads()  # the memory may hold what others still read of the product before
        free = U(0)
        while k0 < U(end + U(ahead * slab)):
            # Also the slabs before the first is multiplied are asked for here: code that runs once is fetched once.
            ready = k0 >= U(begin + U(ahead * slab))
            if ready:
                wait(behind)
                cuda.syncthreads()
            bring(
                thread, a, row_a, lines_a, b, row_b, lines_b, order, gathered, late, M, N, k0, end, m0, n0, whole,
                memory, free,
            )  # fmt: skip
            k0, free = U(k0 + U(slab)), U(free + U(stage)) if free < U(ahead * stage) else U(0)
            if ready:  # the slab that was asked for first is in the place behind
                add_slab(
                    memory, np.uint64(free + group * U(group_a)), np.uint64(free + group * U(group_b) + U(size_a)),
                    within, sums,
                )  # fmt: skip

    return accumulate


@lru_cache
def _groups(F: type, shape: Shape, transposed_a: bool, transposed_b: bool) -> Any:
    """The function (memory, sums, out): `out` (shape.own) <- the partial sums of all groups, added in their order.

    Which rows and columns of the tile these are `place` says. `memory` is that of the product.
    """
    rows, columns, threads = shape.thread_rows, shape.thread_columns, shape.threads // shape.groups
    row_of, column_of = spots(F, shape, transposed_a, transposed_b)
    (own_row, own_column), (down, across), groups = place(F, shape, transposed_a, transposed_b), shape.own, shape.groups
    (row, apart), V, U, zero, kind = partial(shape), in_vector(F), np.uint32, F(0), number(F)
    side_by_side = (shape.by_warps or not transposed_b) and columns % V == 0

    @device
    def by_rows(i, j):
        return i * columns + j

    order = tensor_lanes.place if shape.by_warps else by_rows

    @device
    def alone(memory, sums, out):
        for i in range(rows):
            for j in range(columns):
                out[i, j] = sums[order(i, j)]

    @device
    def add(memory, sums, out):
        group, within = U(U(cuda.threadIdx.x) // U(threads)), U(U(cuda.threadIdx.x) % U(threads))
        some = cuda.local.array(V, kind)
        cuda.syncthreads()
        for i in range(rows):
            line = U(group * U(apart) + row_of(within, U(i)) * U(row))
            for j in range(0, columns, V if side_by_side else 1):
                if side_by_side:
                    for e in range(V):
                        some[e] = sums[order(i, j + e)]
                    store(memory, line + column_of(within, U(j)), some, 0)
                else:
                    memory[line + column_of(within, U(j))] = sums[order(i, j)]
        cuda.syncthreads()
        for i in range(down):
            for j in range(across):
                total = zero
                for g in range(groups):
                    total += memory[U(g * apart) + own_row(U(i)) * U(row) + own_column(U(j))]
                out[i, j] = total

    return add if groups > 1 else alone


@lru_cache
def spots(F: type, shape: Shape, transposed_a: bool, transposed_b: bool) -> tuple[Any, Any]:
    """Which sums of a tile a thread has: row(within, i) and column(within, j), `within` its number in its group."""
    if shape.by_warps:
        return tensor_lanes.spots(shape)
    rows, columns, U = shape.thread_rows, shape.thread_columns, np.uint32
    across, down = shape.columns // columns, shape.rows // rows
    # Vectors of one thread are apart: those of neighbors are side by side, and meet no bank twice. Of a deep factor
    # the vectors are along the sum.
    tall = min(rows, in_vector(F)) if transposed_a else 1
    wide = 1 if transposed_b else min(columns, in_vector(F))

    @device
    def row(within, i):
        return i // U(tall) * U(down * tall) + within // U(across) * U(tall) + i % U(tall)

    @device
    def column(within, j):
        return j // U(wide) * U(across * wide) + within % U(across) * U(wide) + j % U(wide)

    return row, column


def _numbers(F: type, count: int, spot: Any, stride: int, deep: bool, depth: int, rounds: bool) -> Any:
    """The function (memory, start, within, x): x (depth, count) <- a thread's numbers of `depth` terms of the sum.

    They begin at `start`; of a deep factor rows are `stride` apart, of another terms.
    """
    V, U = in_vector(F), np.uint32
    step = V if count % V == 0 else 1

    @device
    def along_sum(memory, start, within, x):
        for i in range(count):
            load(memory, start + spot(within, U(i)) * U(stride), x, i * depth)

    @device
    def along_tile(memory, start, within, x):
        for k in range(depth):
            for i in range(0, count, step):
                if step == V:
                    load(memory, start + U(k * stride) + spot(within, U(i)), x, k * count + i)
                else:
                    x[k * count + i] = memory[start + U(k * stride) + spot(within, U(i))]

    numbers = along_sum if deep else along_tile
    if not rounds:
        return numbers

    @device
    def in_tf32(memory, start, within, x):
        numbers(memory, start, within, x)
        for i in range(count * depth):
            x[i] = rounded(x[i])

    return in_tf32


@lru_cache
def _multiply(F: type, shape: Shape, transposed_a: bool, transposed_b: bool) -> Any:
    """The function (memory, a, b, within, sums): adds the products of a group's share of a slab to the sums.

    `a` and `b` are where the share's first terms begin in shared memory.
    """
    if shape.by_warps:
        return tensor_tiles.multiply_slab(shape, not transposed_a, transposed_b)
    of_slab, rows, columns, thrice = shape.terms, shape.thread_rows, shape.thread_columns, shape.tensor == 3
    (row, column), kind = spots(F, shape, transposed_a, transposed_b), number(F)
    deep_a, deep_b = not transposed_a, transposed_b
    stride_a, stride_b = (shape.slab if deep_a else shape.rows) + PAD, (shape.slab if deep_b else shape.columns) + PAD
    depth = in_vector(F) if deep_a or deep_b else 1
    # Numbers from a term of the sum to the next.
    term_a, term_b = 1 if deep_a else stride_a, 1 if deep_b else stride_b
    (i_x, k_x), (j_y, k_y) = ((depth, 1) if d else (1, n) for n, d in ((rows, deep_a), (columns, deep_b)))
    size_x, size_y = rows * depth, columns * depth
    numbers_of_a = _numbers(F, rows, row, stride_a, deep_a, depth, shape.tensor == 1)
    numbers_of_b = _numbers(F, columns, column, stride_b, deep_b, depth, shape.tensor == 1)

    @device
    def by_threads(memory, a, b, within, sums):
        x, y = cuda.local.array(size_x, kind), cuda.local.array(size_y, kind)
        numbers_of_a(memory, a, within, x)
        numbers_of_b(memory, b, within, y)
        for k in range(depth):
            for i in range(rows):
                for j in range(columns):
                    if thrice:
                        sums[i * columns + j] += recovered(x[i * i_x + k * k_x], y[j * j_y + k * k_y])
                    else:
                        sums[i * columns + j] += x[i * i_x + k * k_x] * y[j * j_y + k * k_y]

    return repeated(by_threads, of_slab // depth, depth * term_a, depth * term_b)


def repeated(step: Any, count: int, step_a: int, step_b: int) -> Any:
    """The function that does `step` a power of two of times, one after the other without a loop: then every place in
    shared memory is a constant away from the first (a loop's round took 18 instructions beside 64 multiplications)."""
    if count == 1:
        return step
    half = repeated(step, count // 2, step_a, step_b)
    on_a, on_b = np.uint64(count // 2 * step_a), np.uint64(count // 2 * step_b)

    @device
    def twice(memory, a, b, within, sums):
        half(memory, a, b, within, sums)
        half(memory, a + on_a, b + on_b, within, sums)

    return twice


@lru_cache
def place(F: type, shape: Shape, transposed_a: bool, transposed_b: bool) -> tuple[Any, Any]:
    """The functions row(i) and column(j) for the sums in a thread's `out`."""
    U, (row_of, column_of) = np.uint32, spots(F, shape, transposed_a, transposed_b)
    columns_of = shape.own[1]
    across, many = shape.columns // columns_of, shape.threads

    @device
    def row_of_own(i):
        return U(row_of(U(cuda.threadIdx.x), i))

    @device
    def column_of_own(j):
        return U(column_of(U(cuda.threadIdx.x), j))

    @device
    def row(i):
        return U(U(cuda.threadIdx.x) // U(across) + i * U(many // across))

    @device
    def column(j):
        return U(U(cuda.threadIdx.x) % U(across) * U(columns_of) + j)

    return (row, column) if shape.groups > 1 else (row_of_own, column_of_own)
