"""Partial sums of a narrow network's gradient: what a block adds up over its rows, and the launch that adds these up.

That launch is the second and last of a step: it makes the update, too.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np

from fastnn.cuda import held, weights
from fastnn.cuda.held import Cut
from fastnn.cuda.phases import GATHERED, IN, OUT, READ, SLOT, WEIGHT, batch_of
from fastnn.cuda.shapes import PAD
from fastnn.cuda.target import SIMULATED, cuda, device, kernel, number
from fastnn.cuda.vectors import aligned, commit, in_vector
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
    """The functions `ask`, which begins to copy what a layer read of the block's rows, and `leave`: the gradient."""
    height, columns, _, down, across = cut
    multiply, (down_of, across_of) = held.gradient(F, cut), held.own(cut)
    copy = held.bring(F, cut, height, height, False)
    V, zero, wide, apart, threads = in_vector(F), F(0), columns + PAD, height // down, cut.threads
    put, kind, behind = held.put(F, across), number(F), held.behind(cut)

    @device
    def ask(inputs, buffer, table, order, first, layer, column, m0, lines, memory):
        fan_in, gathered = table[layer, IN], table[layer, GATHERED] != U(0)
        x = inputs if gathered else buffer[table[layer, READ] :]
        copy(
            memory, U(behind), x, fan_in, aligned(x, fan_in), order[first:], gathered, m0, column, lines,
            U(min(U(height), fan_in - column)),
        )  # fmt: skip
        commit()

    @device
    def leave(partial, mine, again, table, layer, column, sums):
        g, c = cuda.local.array(across, kind), U(across_of() * U(across))
        fan_in, fan_out, weight = table[layer, IN], table[layer, OUT], table[layer, WEIGHT]
        whole, here = aligned(partial, fan_out) and weight % U(V) == U(0), U(fan_out - c) if c < fan_out else U(0)
        for i in range(down):
            m = U(column + down_of() * U(V) + U(i // V * apart * V + i % V))
            if m < fan_in and here > U(0):
                at = U(mine + weight + m * fan_out + c)
                for j in range(across):
                    g[j] = sums[i * across + j]
                    if again and U(j) < here:
                        g[j] += partial[at + U(j)]
                put(partial, at, here, whole, g, 0)

    @device
    def of_bias(partial, mine, again, table, layer, memory):
        fan_out = table[layer, OUT]
        bias = U(mine + table[layer, WEIGHT] + table[layer, IN] * fan_out)
        for c in range(U(cuda.threadIdx.x), fan_out, U(threads)):
            total = partial[bias + c] if again else zero
            for r in range(height):
                total += memory[U(r * wide) + c]
            partial[bias + c] = total

    return ask, multiply, leave, of_bias


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
        numbers = held.lines(target.size)
        count = U(min(U(partial.size) // numbers, (batch_of(state, s)[1] + rows - U(1)) // rows))
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
