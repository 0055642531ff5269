"""The end of a wide network in one launch: its last layer, of few units, the loss, and the deltas of both its sides.

Alone each of the three is a launch that waits for one before it and leaves the GPU nearly empty: a layer of 10 units
has four tiles at batch 128. Here a block takes a few rows through them; the weights come from the second cache.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np

from fastnn.cuda import formulas
from fastnn.cuda.phases import BATCH, CODE, DELTA, IN, OUT, READ, SEED, SLOT, STEP, WEIGHT, WROTE, batch_of
from fastnn.cuda.target import SIMULATED, cuda, kernel, number, plain

WIDEST = 32  # units of the last layer: a thread takes the loss of a row
THREADS, COLUMNS = (1, 1) if SIMULATED else (512, 16)
GROUPS = THREADS // COLUMNS  # of threads that share a sum
FEW = 264  # rows that have a block each, two on each multiprocessor of an H100; of more, blocks take four
U = np.uint32


def takes(sizes: tuple[int, ...]) -> bool:
    """Whether a network of these sizes ends as this launch does it: after a hidden layer, in few units."""
    return len(sizes) > 2 and sizes[-1] <= WIDEST


def height(batch: int) -> int:
    """Rows that a block takes."""
    return 1 if batch <= FEW else 4


@lru_cache
def rows(F: type, loss: str, height: int) -> Any:
    """Kernel: outputs, losses, hits and deltas of layer `last`, and the deltas of the layer before.

    A block takes `height` rows of the batch; the arrays are those of `phases`.
    """
    over_columns, (value, derivative), dropped = formulas.loss(loss, F), formulas.activations(F), formulas.dropout(F)
    kind, zero, one, none, shares = number(F), F(0), F(1), np.uint64(0), height * THREADS
    at_once = max(1, 8 // height)  # terms of a sum that are on their way together

    @kernel(THREADS, F, loss, height, blocks=8 // np.dtype(F).itemsize)
    def head_rows(
        parameters, targets, target_row, buffer, table, slopes, edges, scales, order, state, losses, hits, last, s
    ):
        partial = cuda.shared.array(shares, kind)
        z = cuda.shared.array((height, WIDEST), kind)
        some = cuda.shared.array((height, 4), kind)
        sums, w = cuda.local.array(height, kind), cuda.local.array(at_once, kind)
        left = cuda.local.array((at_once, height), kind)
        first, batch = batch_of(state, s)
        m0, thread = U(cuda.blockIdx.x) * U(height), U(cuda.threadIdx.x)
        if m0 >= batch:
            return
        lines, column, group = U(min(U(height), batch - m0)), U(thread % U(COLUMNS)), U(thread // U(COLUMNS))
        fan_in, width, weight = table[last, IN], table[last, OUT], table[last, WEIGHT]
        x, wrote, delta = table[last, READ], table[last, WROTE], table[last, DELTA]
        code, slope, bias = table[last, CODE], slopes[last], U(weight + fan_in * width)
        for n0 in range(U(0), width, U(COLUMNS)):
            c = U(n0 + column)
            for r in range(height):
                sums[r] = zero
            if c < width:
                for k in range(group, fan_in, U(GROUPS * at_once)):
                    for i in range(at_once):
                        term = U(k + U(i * GROUPS))
                        w[i] = parameters[weight + term * width + c] if term < fan_in else zero
                        for r in range(height):
                            there = U(r) < lines and term < fan_in
                            left[i, r] = buffer[x + (m0 + U(r)) * fan_in + term] if there else zero
                    for i in range(at_once):
                        for r in range(height):
                            sums[r] += left[i, r] * w[i]
            for r in range(height):
                partial[U(r * THREADS) + thread] = sums[r]
            cuda.syncthreads()
            for e in range(thread, U(lines * U(COLUMNS)), U(THREADS)):
                row, at = U(e // U(COLUMNS)), U(n0 + e % U(COLUMNS))
                if at < width:
                    total = zero
                    for g in range(GROUPS):
                        total += partial[row * U(THREADS) + U(g * COLUMNS) + e % U(COLUMNS)]
                    y = value(code, total + parameters[bias + at], slope)
                    z[row, at] = y
                    buffer[wrote + (m0 + row) * width + at] = y
            cuda.syncthreads()

        for r in range(thread, lines, U(THREADS)):
            target = U(order[first + m0 + r]) * target_row
            over_columns(
                z[r, : np.int64(width)], plain(targets[target : target + target_row]), np.int64(width), 1, some[r, :1],
                some[r, 1:2], some[r, 2:], one / F(batch),
            )  # fmt: skip
            slot = (state[SLOT] + s) * state[BATCH] + m0 + r
            losses[slot], hits[slot] = some[r, 0], some[r, 1]
        cuda.syncthreads()
        for e in range(thread, U(lines * width), U(THREADS)):
            row, c, at = U(U(e) // width), U(U(e) % width), U(m0 * width + e)
            d = z[row, c] * derivative(code, buffer[wrote + at], slope)
            z[row, c], buffer[delta + at] = d, d
        cuda.syncthreads()

        below = U(last - U(1))
        code, slope, wrote, delta = table[below, CODE], slopes[below], table[below, WROTE], table[below, DELTA]
        for k in range(thread, fan_in, U(THREADS)):
            for r in range(height):
                sums[r] = zero
                left[0, r] = buffer[wrote + (m0 + U(r)) * fan_in + k] if U(r) < lines else zero
            for j in range(U(0), width):
                w[0] = parameters[weight + k * width + j]
                for r in range(height):
                    sums[r] += z[r, j] * w[0]
            for r in range(height):
                if U(r) < lines:
                    d, row = sums[r], U(m0 + U(r))
                    at = U(row * fan_in + k)
                    if edges[last] != none:
                        d = dropped(d, edges[last], scales[last], state[SEED], state[STEP] + s, last, row, U(k))
                    buffer[delta + at] = d * derivative(code, left[0, r], slope)

    return head_rows
