"""The row phase of narrow networks in one launch: rows never meet, so a block takes some through all layers.

Forward, loss and deltas: what one layer writes the next reads after a barrier of the block. With the launch of the
weights a step is two launches. Outputs and deltas go through the first cache; the weights, a slab at a time, through
shared memory.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np

from fastnn.cuda import formulas
from fastnn.cuda.phases import BATCH, CODE, DELTA, IN, OUT, SLOT, WROTE, backward_tile, batch_of, forward_tile, take_one
from fastnn.cuda.products import Shape, room
from fastnn.cuda.target import ALIGNED, cuda, kernel, number

WIDEST = 128  # units of a layer but the inputs: wider ones have tiles for all multiprocessors
U = np.uint32


@lru_cache
def rows(F: type, shape: Shape, loss: str, target_row: int) -> Any:
    """Kernel: forward, loss and deltas of `shape.rows` rows of the batch a block, by a network of WIDEST at most."""
    forward, backward, take_input = forward_tile(F, shape), backward_tile(F, shape), take_one(F)
    over_columns, derivative = formulas.loss(loss, F), formulas.activations(F)[1]
    kind, (slab_a, slab_b, shares) = number(F), room(shape)
    down, across = shape.thread_rows // shape.groups, shape.thread_columns
    height, columns_of, threads, one, none = shape.rows, shape.columns, shape.threads, F(1), np.uint64(0)
    row_z, row_t = (height, WIDEST), (height, target_row)

    @kernel(shape.threads, F, shape, loss, target_row)
    def all_layers(parameters, inputs, targets, buffer, table, slopes, edges, scales, order, state, losses, hits, s):
        left = cuda.shared.array(slab_a, kind, ALIGNED)
        right = cuda.shared.array(slab_b, kind, ALIGNED)
        parts = cuda.shared.array(shares, kind)
        z = cuda.shared.array(row_z, kind)
        t = cuda.shared.array(row_t, kind)
        some = cuda.shared.array((height, 4), kind)
        out = cuda.local.array((down, across), kind)
        first, batch = batch_of(state, s)
        m0, thread = U(cuda.blockIdx.x) * U(height), U(cuda.threadIdx.x)
        if m0 >= batch:
            return
        end = U(min(batch, m0 + U(height)))
        layers = U(table.shape[0])
        if edges[0] != none:
            width = table[0, IN]
            for e in range(thread, U((end - m0) * width), U(threads)):
                take_input(
                    inputs, buffer, table, edges, scales, order, state, s, first, U(m0 + e // width), U(e % width)
                )
            cuda.syncthreads()
        for layer in range(U(0), layers):
            for n0 in range(U(0), table[layer, OUT], U(columns_of)):
                forward(
                    parameters, inputs, buffer, table, slopes, edges, scales, order, state, U(layer), s, m0, U(n0),
                    left, right, parts, out,
                )  # fmt: skip
            cuda.syncthreads()

        last = U(layers - U(1))
        width, code, slope = table[last, OUT], table[last, CODE], slopes[last]
        wrote, delta = table[last, WROTE], table[last, DELTA]
        for e in range(thread, U((end - m0) * width), U(threads)):
            z[e // width, e % width] = buffer[wrote + m0 * width + e]
        for e in range(thread, U((end - m0) * U(target_row)), U(threads)):
            row, c = U(e // U(target_row)), U(e % U(target_row))
            t[row, c] = targets[U(order[first + m0 + row]) * U(target_row) + c]
        cuda.syncthreads()
        for r in range(thread, U(end - m0), U(threads)):
            over_columns(
                z[r, : np.int64(width)], t[r], np.int64(width), 1, some[r, :1], some[r, 1:2], some[r, 2:],
                one / F(batch),
            )  # fmt: skip
            slot = (state[SLOT] + s) * state[BATCH] + m0 + r
            losses[slot], hits[slot] = some[r, 0], some[r, 1]
        cuda.syncthreads()
        for e in range(thread, U((end - m0) * width), U(threads)):
            at = U(m0 * width + e)
            buffer[delta + at] = z[e // width, e % width] * derivative(code, buffer[wrote + at], slope)
        cuda.syncthreads()

        for back in range(U(1), layers):
            above = U(layers - back)
            for n0 in range(U(0), table[above, IN], U(columns_of)):
                backward(
                    parameters, inputs, buffer, table, slopes, edges, scales, order, state, above, s, m0, U(n0),
                    left, right, parts, out,
                )  # fmt: skip
            cuda.syncthreads()

    return all_layers
