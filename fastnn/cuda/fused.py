"""The row phase of narrow networks in one launch, with the gradient's partial sums.

Rows never meet, so a block takes some through all layers, forward and back; what one layer leaves in shared memory the
next reads after a barrier of the block. The gradient of all weights over these rows, a partial sum, is left in memory,
and a second launch adds these in the order of the blocks and makes the update (`partial_sums`): a step is two launches.

Legend, of one layer: x what it reads, z = x W + b, y = f(z) its outputs, d its deltas: derivatives of the loss by z.
In shared memory x becomes y, row by row, and is the next layer's x; after the loss d takes its place, and becomes that
of the layer before. The other factor of a product is in the tile behind the rows, its copy (`fetch`) on its way while
what comes before is computed. Of the two barriers around a product the first is for what has arrived, the second for
those that still read what is overwritten next.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np

from fastnn.cuda import fetch, formulas, held, partial_sums, row_loss
from fastnn.cuda.dependent import await_previous
from fastnn.cuda.fetch import Rows, Step
from fastnn.cuda.held import Cut, padded
from fastnn.cuda.phases import (
    BATCH,
    CODE,
    DELTA,
    IN,
    NEXT,
    OUT,
    SEED,
    SLOT,
    STEP,
    WEIGHT,
    WROTE,
    batch_of,
    take_one,
)
from fastnn.cuda.row_loss import Row
from fastnn.cuda.target import ALIGNED, cuda, device, kernel, number
from fastnn.cuda.vectors import aligned, in_vector, moving, store, wait

TOGETHER = 4  # of a thread's rows of sums that an activation is asked for at once
U = np.uint32


@lru_cache
def _forward(F: type, cut: Cut) -> Any:
    """The function for the outputs of all layers; those of the last stay in shared memory."""
    columns, slab, across = cut.columns, cut.slab, cut.across
    fetch_weights, multiply, finish = fetch.forward(F, cut), held.forward(F, cut), _finish_outputs(F, cut)
    (_, thread_column), kind, zero, count = held.thread_place(cut), number(F), F(0), cut.down * cut.across

    @device
    def forward(step, rows, memory, sums):
        table, layers, bias = step.table, U(step.table.shape[0]), cuda.local.array(across, kind)
        c = U(thread_column() * U(across))
        fetch_weights(step, rows, U(0), U(0), memory)
        for layer in range(U(0), layers):
            fan_in, fan_out = table[layer, IN], table[layer, OUT]
            own = U(table[layer, WEIGHT] + fan_in * fan_out + c)
            for j in range(across):
                bias[j] = step.parameters[own + U(j)] if c + U(j) < fan_out else zero
            for i in range(count):
                sums[i] = zero
            for k0 in range(U(0), fan_in, U(slab)):  # sums += x W, `slab` terms at a time
                wait(0)
                cuda.syncthreads()
                if c < fan_out:
                    multiply(memory, U(k0 % U(columns)), padded(U(min(U(slab), fan_in - k0))), sums)
                cuda.syncthreads()
                later, line = U(layer), U(k0 + U(slab))  # the next slab, or the first of the next layer
                if line >= fan_in:
                    later, line = U(later + U(1)), U(0)
                if later < layers:
                    fetch_weights(step, rows, later, line, memory)
            if c < padded(fan_out):
                finish(step, rows, U(layer), bias, memory, sums)

    return forward


@lru_cache
def _finish_outputs(F: type, cut: Cut) -> Any:
    """The function for y = f(x W + b) of a layer from a thread's sums: to the buffer and, after the next layer's
    dropout, to shared memory, where columns that the layer has not are 0."""
    down, across, stride, next_row = cut.down, cut.across, cut.stride, cut.threads_down
    together = min(down, TOGETHER)
    few = together * across
    values, drop, write = formulas.over(F, few)[0], _dropping(F), moving(F, across)[1]
    V, kind, zero, (thread_row, thread_column) = in_vector(F), number(F), F(0), held.thread_place(cut)

    @device
    def finish(step, rows, layer, bias, memory, sums):
        table, buffer, z, c = step.table, step.buffer, cuda.local.array(few, kind), U(thread_column() * U(across))
        fan_out, wrote, after, code = table[layer, OUT], table[layer, WROTE], table[layer, NEXT], table[layer, CODE]
        whole, slope, left = aligned(buffer, fan_out), step.slopes[layer], U(fan_out - c) if c < fan_out else U(0)
        own = np.uint64(thread_row() * U(stride) + c)
        for i0 in range(0, down, together):
            for e in range(few):
                z[e] = sums[i0 * across + e] + bias[e % across]
            values(code, z, z, slope)
            if left < U(across):
                for e in range(few):
                    if U(e % across) >= left:
                        z[e] = zero
            for e in range(0, few, across):
                i = i0 + e // across
                r = U(thread_row() + U(i * next_row))
                for j in range(0, across, V):
                    store(memory, own + np.uint64(i * next_row * stride + j), z, e + j)
                if r < rows.count and left > U(0):
                    write(buffer, U(wrote + (rows.begin + r) * fan_out + c), left, whole, z, e)
        if after != wrote:
            for i in range(down):
                r = U(thread_row() + U(i * next_row))
                for j in range(across):
                    at = U(r * U(stride) + c + U(j))
                    if r < rows.count and U(j) < left:
                        memory[at] = drop(step, rows, U(layer + U(1)), memory[at], r, U(c + U(j)))
                        buffer[after + (rows.begin + r) * fan_out + c + U(j)] = memory[at]

    return finish


@lru_cache
def _dropping(F: type) -> Any:
    """The function for x of a layer after its dropout, row r of the block's and column c of it."""
    dropped = formulas.dropout(F)

    @device
    def drop(step, rows, layer, x, r, c):
        seed, number_of_step = step.state[SEED], step.state[STEP] + step.s
        return dropped(x, step.edges[layer], step.scales[layer], seed, number_of_step, layer, U(rows.begin + r), c)

    return drop


@lru_cache
def _lose(F: type, cut: Cut, loss: str, gradient: bool) -> Any:
    """The function for losses, hits and the deltas of the last layer, which take the place of its outputs, by a team of
    threads a row."""
    team, height, stride, one = max(cut.threads // cut.rows, 1), cut.rows, cut.stride, F(1)
    lose_row, teams, size = row_loss.of_team(F, loss, team, not gradient), cut.threads // team, row_loss.FIELDS * team

    @device
    def lose(step, rows, memory, parts):
        table, last = step.table, U(step.table.shape[0] - 1)
        width, wrote, delta, code = table[last, OUT], table[last, WROTE], table[last, DELTA], table[last, CODE]
        scale = one / F(step.batch)
        r, lane = U(U(cuda.threadIdx.x) // U(team)), U(U(cuda.threadIdx.x) % U(team))
        sample = sample_of(step, rows, r)  # on its way
        cuda.syncthreads()
        while r < U(height):
            there, at, own = r < rows.count, U((rows.begin + r) * width), U(r * U(stride))
            lost, right = lose_row(
                Row(
                    there, width, padded(width), memory, own, step.buffer, U(wrote + at), step.targets,
                    U(sample * step.target_row), memory, own, U(1), step.buffer, U(delta + at),
                ),
                code, step.slopes[last], scale, parts, U(r % U(teams) * U(size)), lane,
            )  # fmt: skip
            if there and lane == U(0):
                slot = (step.state[SLOT] + step.s) * step.state[BATCH] + rows.begin + r
                step.losses[slot], step.hits[slot] = lost, right
            r = U(r + U(teams))
            sample = sample_of(step, rows, r)
        cuda.syncthreads()

    return lose


@device
def sample_of(step, rows, r):
    """Which sample the block's row r is; 0 behind the last."""
    return U(step.order[step.first + rows.begin + r]) if r < rows.count else U(0)


@lru_cache
def _fetch_first(F: type, cut: Cut, gradient: bool) -> Any:
    """The function that fetches what a layer's turn in the backward pass begins with."""
    fetch_weights, fetch_read = fetch.backward(F, cut), fetch.gradient(F, cut)

    @device
    def first(step, rows, layer, memory):
        if gradient:
            fetch_read(step, rows, layer, U(0), memory)
        elif layer > U(0):
            fetch_weights(step, layer, U(0), memory)

    return first


@lru_cache
def _backward(F: type, cut: Cut, gradient: bool) -> Any:
    """The function for the deltas of all layers before the last, and with `gradient` the gradient of all weights."""
    of_weights, deltas = partial_sums.of_rows(F, cut), _deltas(F, cut, gradient)

    @device
    def backward(step, rows, memory, sums):
        layer = U(step.table.shape[0])
        while layer > U(0):
            layer = U(layer - U(1))
            if gradient:
                of_weights(step, rows, layer, memory, sums)
            if layer > U(0):
                deltas(step, rows, layer, memory, sums)

    return backward


@lru_cache
def _deltas(F: type, cut: Cut, gradient: bool) -> Any:
    """The function for the deltas (d W^T) f'(y) of the layer before, y its outputs."""
    slab, fetch_weights, fetch_first = cut.slab, fetch.backward(F, cut), _fetch_first(F, cut, gradient)
    multiply, finish, read_outputs = held.backward(F, cut), _finish_deltas(F, cut, gradient), _read_outputs(F, cut)
    kind, zero, count = number(F), F(0), cut.down * cut.across

    @device
    def deltas(step, rows, layer, memory, sums):
        y, column, fan_out = cuda.local.array(count, kind), U(0), step.table[layer, OUT]
        read_outputs(step, rows, layer, y)
        for i in range(count):
            sums[i] = zero
        while column < fan_out:  # sums += d W^T, `slab` terms at a time
            wait(0)
            cuda.syncthreads()
            multiply(memory, column, padded(U(min(U(slab), fan_out - column))), sums)
            cuda.syncthreads()
            column = U(column + U(slab))
            if column < fan_out:
                fetch_weights(step, layer, column, memory)
            else:
                fetch_first(step, rows, U(layer - U(1)), memory)
        finish(step, rows, layer, y, memory, sums)

    return deltas


@lru_cache
def _read_outputs(F: type, cut: Cut) -> Any:
    """The function for y of the layer before where the thread has sums; it is on its way during the product."""
    down, across, next_row, next_column = cut.down, cut.across, cut.threads_down, cut.threads_across
    (thread_row, thread_column), zero = held.thread_place(cut), F(0)

    @device
    def read(step, rows, layer, ys):
        fan_in, wrote = step.table[layer, IN], step.table[layer - U(1), WROTE]
        for i in range(down):
            r = U(thread_row() + U(i * next_row))
            # Of 64 bits: the rest of the address is in the instruction.
            at = np.uint64(wrote + (rows.begin + r) * fan_in + thread_column())
            for j in range(across):
                ys[i * across + j] = zero
                if r < rows.count and U(thread_column() + U(j * next_column)) < fan_in:
                    ys[i * across + j] = step.buffer[at + np.uint64(j * next_column)]

    return read


@lru_cache
def _finish_deltas(F: type, cut: Cut, gradient: bool) -> Any:
    """The function for the deltas of the layer before from a thread's sums and outputs y: to shared memory, and unless
    they have been put to use there to the buffer."""
    down, across, next_row, next_column = cut.down, cut.across, cut.threads_down, cut.threads_across
    together = min(down, TOGETHER)
    few = together * across
    derivatives, drop, kind, zero, none = formulas.over(F, few)[1], _dropping(F), number(F), F(0), np.uint64(0)
    stride, (thread_row, thread_column) = cut.stride, held.thread_place(cut)

    @device
    def finish(step, rows, layer, ys, memory, sums):
        d, y = cuda.local.array(few, kind), cuda.local.array(few, kind)
        fan_in, below = step.table[layer, IN], U(layer - U(1))
        code, slope, delta = step.table[below, CODE], step.slopes[below], step.table[below, DELTA]
        own = np.uint64(thread_row() * U(stride) + thread_column())
        for i0 in range(0, down, together):
            for e in range(few):
                d[e], y[e] = sums[i0 * across + e], ys[i0 * across + e]
            derivatives(code, d, y, slope)
            for e in range(few):
                i, j = i0 + e // across, e % across
                r, c = U(thread_row() + U(i * next_row)), U(thread_column() + U(j * next_column))
                if c < padded(fan_in):
                    at = own + np.uint64(i * next_row * stride + j * next_column)
                    memory[at] = d[e] if r < rows.count and c < fan_in else zero
        if step.edges[layer] != none or not gradient:
            for i in range(down):
                r = U(thread_row() + U(i * next_row))
                for j in range(across):
                    c = U(thread_column() + U(j * next_column))
                    place = U(r * U(stride) + c)
                    if r < rows.count and c < fan_in:
                        if step.edges[layer] != none:
                            memory[place] = drop(step, rows, layer, memory[place], r, c)
                        if not gradient:
                            step.buffer[delta + (rows.begin + r) * fan_in + c] = memory[place]

    return finish


@lru_cache
def rows(F: type, cut: Cut, loss: str, gradient: bool) -> Any:
    """Kernel: forward, loss and deltas, for `cut.rows` rows of the batch at a time, by layers of `cut.columns` at most.

    With `gradient`, `partial` F (blocks * numbers,) are the blocks' partial sums of it, each laid out like the
    parameters; else the deltas go to the buffer.
    """
    forward, lose, backward = _forward(F, cut), _lose(F, cut, loss, gradient), _backward(F, cut, gradient)
    take_input, none, kind, height, threads = take_one(F), np.uint64(0), number(F), cut.rows, cut.threads
    fetch_first, room, count = _fetch_first(F, cut, gradient), cut.room, cut.down * cut.across
    parts_of = row_loss.FIELDS * cut.threads

    @kernel(cut.threads, F, cut, loss, gradient)
    def all_layers(
        parameters, inputs, targets, target_row, buffer, table, slopes, edges, scales, order, state, losses, hits,
        partial, s,
    ):  # fmt: skip
        memory, sums = cuda.shared.array(room, kind, ALIGNED), cuda.local.array(count, kind)
        parts = cuda.shared.array(parts_of, kind)
        (first, batch), block = batch_of(state, s), U(cuda.blockIdx.x)
        step = Step(
            parameters, inputs, targets, target_row, buffer, table, slopes, edges, scales, order, state, losses, hits,
            partial, s, first, batch,
        )  # fmt: skip
        mine = block * held.whole_lines(parameters.size)
        await_previous()
        for m0 in range(U(block * U(height)), batch, U(U(cuda.gridDim.x) * U(height))):
            rows = Rows(U(m0), U(min(U(height), batch - m0)), mine, m0 != block * U(height))
            if edges[0] != none:
                width = table[0, IN]
                for e in range(U(cuda.threadIdx.x), U(rows.count * width), U(threads)):
                    row, c = U(m0 + U(e) // width), U(U(e) % width)
                    take_input(inputs, buffer, table, edges, scales, order, state, s, first, row, c)
                cuda.syncthreads()
            forward(step, rows, memory, sums)
            fetch_first(step, rows, U(table.shape[0] - 1), memory)
            lose(step, rows, memory, parts)
            backward(step, rows, memory, sums)
            cuda.syncthreads()

    return all_layers
