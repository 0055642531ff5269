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
from fastnn.cuda.phases import (
    BACKWARD,
    BATCH,
    CODE,
    DELTA,
    FORWARD,
    IN,
    OUT,
    SLOT,
    WROTE,
    backward_tile,
    batch_of,
    forward_tile,
    take_one,
)
from fastnn.cuda.shapes import Shape, room
from fastnn.cuda.target import ALIGNED, cuda, kernel, number, plain

WIDEST = 128  # units of a layer but the inputs: wider ones have tiles for all multiprocessors
U = np.uint32


@lru_cache
def rows(F: type, shape: Shape, loss: str) -> Any:
    """Kernel: forward, loss and deltas of `shape.rows` rows of the batch a block, by a network of WIDEST at most."""
    forward, backward, take_input = forward_tile(F, shape), backward_tile(F, shape), take_one(F)
    over_columns, derivative = formulas.loss(loss, F), formulas.activations(F)[1]
    kind, numbers = number(F), max(room(shape, *FORWARD), room(shape, *BACKWARD), shape.rows * WIDEST)
    down, across = shape.own
    height, columns_of, threads, one, none = shape.rows, shape.columns, shape.threads, F(1), np.uint64(0)

    @kernel(shape.threads, F, shape, loss)
    def all_layers(
        parameters, inputs, targets, target_row, buffer, table, slopes, edges, scales, order, state, losses, hits, s
    ):
        memory = cuda.shared.array(numbers, kind, ALIGNED)
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
                row, c = U(m0 + U(e) // width), U(U(e) % width)
                take_input(inputs, buffer, table, edges, scales, order, state, s, first, row, c)
            cuda.syncthreads()
        for layer in range(U(0), layers):
            for n0 in range(U(0), table[layer, OUT], U(columns_of)):
                forward(
                    parameters, inputs, buffer, table, slopes, edges, scales, order, state, U(layer), s, m0, U(n0),
                    memory, out,
                )  # fmt: skip
            cuda.syncthreads()

        last = U(layers - U(1))
        width, code, slope = table[last, OUT], table[last, CODE], slopes[last]
        wrote, delta = table[last, WROTE], table[last, DELTA]
        for e in range(thread, U((end - m0) * width), U(threads)):
            memory[e] = buffer[wrote + m0 * width + e]
        cuda.syncthreads()
        for r in range(thread, U(end - m0), U(threads)):
            row, target = U(r * width), U(order[first + m0 + r]) * target_row
            over_columns(
                memory[row : row + width], plain(targets[target : target + target_row]), np.int64(width), 1,
                some[r, :1], some[r, 1:2], some[r, 2:], one / F(batch),
            )  # fmt: skip
            slot = (state[SLOT] + s) * state[BATCH] + m0 + r
            losses[slot], hits[slot] = some[r, 0], some[r, 1]
        cuda.syncthreads()
        for e in range(thread, U((end - m0) * width), U(threads)):
            at = U(m0 * width + e)
            buffer[delta + at] = memory[e] * derivative(code, buffer[wrote + at], slope)
        cuda.syncthreads()

        for back in range(U(1), layers):
            above = U(layers - back)
            for n0 in range(U(0), table[above, IN], U(columns_of)):
                backward(
                    parameters, inputs, buffer, table, slopes, edges, scales, order, state, above, s, m0, U(n0),
                    memory, out,
                )  # fmt: skip
            cuda.syncthreads()

    return all_layers
