"""Partial sums of a narrow network's gradient: what a block adds up over its rows, and the launch that adds these up.

That launch is the second and last of a step: it makes the update, too.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np

from fastnn.cuda import fetch, held, weights
from fastnn.cuda.dependent import await_previous
from fastnn.cuda.held import Cut
from fastnn.cuda.phases import IN, OUT, SLOT, WEIGHT, batch_of
from fastnn.cuda.target import SIMULATED, cuda, device, kernel, number
from fastnn.cuda.vectors import aligned, in_vector, moving, wait
from fastnn.runner import Architecture

COLUMNS, SHARES = (2, 2) if SIMULATED else (32, 8)  # parameters of a block, and threads that share the sum of each
THREADS = COLUMNS * SHARES
TOGETHER = 8  # numbers that a thread has asked for before it adds them
MOST = 2**16  # parameters of which blocks leave partial sums: they are 70 MB
U = np.uint32


def size(architecture: Architecture, batch: int, parameters: int) -> int:
    """Numbers of the blocks' partial sums of the gradient, which begin at lines of the cache; 0 where they leave none.

    Of few rows a block would take longer for all its products than the tiles of `weights` take; with many parameters
    the partial sums are too many numbers.
    """
    cut = held.cut_of(architecture, batch)
    if cut is None or cut.rows % held.TERMS or cut.down % in_vector(architecture.F) or parameters > MOST:
        return 0
    return held.blocks(cut, batch) * (-(-parameters // 32) * 32)


@lru_cache
def of_rows(F: type, cut: Cut) -> Any:
    """The function for a layer's gradient over the block's rows, whose deltas are in shared memory: dW = x^T d, a tile
    after the other, and db, the sum of d. The first tile of x is on its way (`fetch.gradient`); where there is a layer
    before, the weights for its deltas are in the end."""
    height, down, across = cut.rows, cut.down, cut.across
    fetch_tile, fetch_weights, multiply = fetch.gradient(F, cut), fetch.backward(F, cut), held.gradient(F, cut)
    (_, thread_column), zero, count = held.thread_place(cut), F(0), down * across
    store, add_bias = _storing(F, cut), _adding_bias(F, cut)

    @device
    def gradient(step, rows, layer, memory, sums):
        fan_in, c, column = step.table[layer, IN], U(thread_column() * U(across)), U(0)
        while column < fan_in:  # sums <- x^T d, `height` lines of W at a time
            for i in range(count):
                sums[i] = zero
            wait(0)
            cuda.syncthreads()
            if c < step.table[layer, OUT]:
                multiply(memory, held.padded(rows.count), sums)
            cuda.syncthreads()
            later = U(column + U(height))
            if later < fan_in:
                fetch_tile(step, rows, layer, later, memory)
            elif layer > U(0):
                fetch_weights(step, layer, U(0), memory)
            store(step, rows, layer, column, sums)
            column = later
        add_bias(step, rows, layer, memory)

    return gradient


@lru_cache
def _storing(F: type, cut: Cut) -> Any:
    """The function that adds a tile of dW, lines `column` .. of it, to the block's partial sums."""
    down, across, V, kind = cut.down, cut.across, in_vector(F), number(F)
    (thread_row, thread_column), next_row, write = held.thread_place(cut), cut.threads_down * V, moving(F, across)[1]

    @device
    def store(step, rows, layer, column, sums):
        partial, g, c = step.partial, cuda.local.array(across, kind), U(thread_column() * U(across))
        fan_in, fan_out, weight = step.table[layer, IN], step.table[layer, OUT], step.table[layer, WEIGHT]
        whole, left = aligned(partial, fan_out) and weight % U(V) == U(0), U(fan_out - c) if c < fan_out else U(0)
        for i in range(down):
            m = U(column + thread_row() * U(V) + U(i // V * next_row + i % V))
            if m < fan_in and left > U(0):
                at = U(rows.partial + weight + m * fan_out + c)
                for j in range(across):
                    g[j] = sums[i * across + j]
                    if rows.again and U(j) < left:
                        g[j] += partial[at + U(j)]
                write(partial, at, left, whole, g, 0)

    return store


@lru_cache
def _adding_bias(F: type, cut: Cut) -> Any:
    """The function that adds db to the block's partial sums, a thread a column."""
    height, stride, threads, zero = cut.rows, cut.stride, cut.threads, F(0)

    @device
    def add_bias(step, rows, layer, memory):
        partial, fan_out = step.partial, step.table[layer, OUT]
        bias = U(rows.partial + step.table[layer, WEIGHT] + step.table[layer, IN] * fan_out)
        for c in range(U(cuda.threadIdx.x), fan_out, U(threads)):
            total = partial[bias + c] if rows.again else zero
            for r in range(height):
                total += memory[U(r * stride) + c]
            partial[bias + c] = total

    return add_bias


def blocks(parameters: int) -> int:
    """How many blocks all parameters take."""
    return -(-parameters // COLUMNS)


@lru_cache
def add(F: type, rule: str | None, slots: int) -> Any:
    """Kernel: the sum over the blocks of `partial` F (blocks * numbers,), see `fused`, to use as by `weights.change`.

    A block that had rows had `rows` of them at a time; what one without has there is of no meaning. grid:
    `blocks(parameters)`.
    """
    kind, zero, (take, give) = number(F), F(0), weights.put(F, rule, slots, 1, 1)

    @kernel(THREADS, F, rule, slots)
    def add_partial_sums(target, m, v, partial, rows, state, coefficients, mask, masked, s):
        sums = cuda.shared.array(THREADS, kind)
        got, g, old = cuda.local.array(TOGETHER, kind), cuda.local.array((1, 1), kind), cuda.local.array(3, kind)
        thread = U(cuda.threadIdx.x)
        at, share = U(U(cuda.blockIdx.x) * U(COLUMNS) + thread % U(COLUMNS)), U(thread // U(COLUMNS))
        numbers = held.whole_lines(target.size)
        count = U(min(U(partial.size) // numbers, (batch_of(state, s)[1] + rows - U(1)) // rows))
        await_previous()
        total = zero
        if at < U(target.size):
            p = share
            while p < count:
                for i in range(TOGETHER):
                    q = U(p + U(i * SHARES))
                    got[i] = partial[q * numbers + at] if q < count else zero
                for i in range(TOGETHER):
                    total += got[i]
                p = U(p + U(TOGETHER * SHARES))
        sums[thread] = total
        cuda.syncthreads()
        if share == U(0) and at < U(target.size):
            take(target, m, v, at, U(1), False, old, 0)
            g[0, 0] = zero
            if not masked or mask[at] != np.uint8(0):
                for i in range(SHARES):
                    g[0, 0] += sums[U(i * COLUMNS) + thread]
            c = coefficients[state[SLOT] + s]
            k = (c[0], c[1], c[2], c[3], c[4], c[5], c[6], c[7])
            give(target, m, v, at, U(1), False, old, 0, g, 0, 0, k)

    return add_partial_sums
