"""The row phase of narrow networks in one launch, with the gradient's partial sums.

Rows never meet, so a block takes some through all layers, forward and back; what one layer leaves in shared memory the
next reads after a barrier of the block. The gradient of all weights over these rows, a partial sum, is left in memory,
and a second launch adds these in the order of the blocks and makes the update (`partial_sums`): a step is two launches.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np

from fastnn.cuda import formulas, held, partial_sums
from fastnn.cuda.held import Cut, padded
from fastnn.cuda.phases import (
    BATCH,
    CODE,
    DELTA,
    GATHERED,
    IN,
    NEXT,
    OUT,
    READ,
    SEED,
    SLOT,
    STEP,
    WEIGHT,
    WROTE,
    batch_of,
    take_one,
)
from fastnn.cuda.shapes import PAD
from fastnn.cuda.target import ALIGNED, cuda, device, kernel, number, plain
from fastnn.cuda.vectors import aligned, commit, in_vector, store, wait

TOGETHER = 4  # of a thread's rows of sums that an activation is asked for at once
U = np.uint32


@lru_cache
def _forward(F: type, cut: Cut) -> Any:
    """The function for the outputs of all layers; those of the last stay in shared memory."""
    height, columns, slab, down, across = cut
    multiply, (down_of, across_of) = held.forward(F, cut), held.own(cut)
    copy_rows, copy_weights = held.bring(F, cut, height, columns, True), held.bring(F, cut, slab, columns, False)
    together = min(down, TOGETHER)
    few = together * across
    values, dropped, put = formulas.over(F, few)[0], formulas.dropout(F), held.put(F, across)
    V, kind, zero, wide, apart, behind = in_vector(F), number(F), F(0), columns + PAD, height // down, held.behind(cut)

    @device
    def ask(parameters, inputs, buffer, table, order, first, layer, k0, m0, lines, memory):
        """Begin to copy the weights of a layer from line k0 on, and at a layer 0 the inputs that are theirs."""
        fan_in, fan_out = table[layer, IN], table[layer, OUT]
        if layer == U(0) and k0 % U(columns) == U(0):
            gathered = table[layer, GATHERED] != U(0)
            x = inputs if gathered else buffer[table[layer, READ] :]
            copy_rows(
                memory, U(0), x, fan_in, aligned(x, fan_in), order[first:], gathered, m0, k0, lines,
                U(min(U(columns), fan_in - k0)),
            )  # fmt: skip
        w = parameters[table[layer, WEIGHT] :]
        copy_weights(
            memory, U(behind), w, fan_out, aligned(w, fan_out), order, False, k0, U(0), U(min(U(slab), fan_in - k0)),
            fan_out,
        )  # fmt: skip
        commit()

    @device
    def leave(buffer, table, slopes, edges, scales, state, s, layer, m0, lines, bias, memory, sums):
        """The layer's outputs, after the next one's dropout, to the buffer and to shared memory."""
        z, c = cuda.local.array(few, kind), U(across_of() * U(across))
        fan_out, wrote, after, code = table[layer, OUT], table[layer, WROTE], table[layer, NEXT], table[layer, CODE]
        whole, slope, unit = aligned(buffer, fan_out), slopes[layer], U(layer + U(1))
        here, own = U(fan_out - c) if c < fan_out else U(0), np.uint64(down_of() * U(wide) + c)
        for i0 in range(0, down, together):
            for e in range(few):
                z[e] = sums[i0 * across + e] + bias[e % across]
            values(code, z, z, slope)
            if here < U(across):
                for e in range(few):
                    if U(e % across) >= here:
                        z[e] = zero
            for e in range(0, few, across):
                r = U(down_of() + U((i0 + e // across) * apart))
                for j in range(0, across, V):
                    store(memory, own + np.uint64((i0 + e // across) * apart * wide + j), z, e + j)
                if r < lines:
                    put(buffer, U(wrote + (m0 + r) * fan_out + c), here, whole, z, e)
        if after != wrote:
            for i in range(down):
                r = U(down_of() + U(i * apart))
                for j in range(across):
                    at = U(r * U(wide) + c + U(j))
                    if r < lines and U(j) < here:
                        memory[at] = dropped(
                            memory[at], edges[unit], scales[unit], state[SEED], state[STEP] + s, unit, U(m0 + r),
                            U(c + U(j)),
                        )  # fmt: skip
                        buffer[after + (m0 + r) * fan_out + c + U(j)] = memory[at]

    @device
    def forward(
        parameters, inputs, buffer, table, slopes, edges, scales, order, state, s, first, m0, lines, memory, sums
    ):
        bias = cuda.local.array(across, kind)
        layers, c = U(table.shape[0]), U(across_of() * U(across))
        ask(parameters, inputs, buffer, table, order, first, U(0), U(0), m0, lines, memory)
        for layer in range(U(0), layers):
            fan_in, fan_out = table[layer, IN], table[layer, OUT]
            own = U(table[layer, WEIGHT] + fan_in * fan_out + c)
            for j in range(across):
                bias[j] = parameters[own + U(j)] if c + U(j) < fan_out else zero
            for i in range(down * across):
                sums[i] = zero
            for k0 in range(U(0), fan_in, U(slab)):
                wait(0)
                cuda.syncthreads()
                if c < fan_out:
                    multiply(memory, U(k0 % U(columns)), padded(U(min(U(slab), fan_in - k0))), sums)
                cuda.syncthreads()
                later, line = U(layer), U(k0 + U(slab))
                if line >= fan_in:
                    later, line = U(later + U(1)), U(0)
                if later < layers:
                    ask(parameters, inputs, buffer, table, order, first, later, line, m0, lines, memory)
            if c < padded(fan_out):
                leave(buffer, table, slopes, edges, scales, state, s, U(layer), m0, lines, bias, memory, sums)

    return forward


@lru_cache
def _lose(F: type, cut: Cut, loss: str, gradient: bool) -> Any:
    """The function for losses, hits and the deltas of the last layer, which take the place of its outputs."""
    over_columns, derivative = formulas.loss(loss, F), formulas.activations(F)[1]
    height, threads, wide, zero, one, kind = cut.rows, cut.threads, cut.columns + PAD, F(0), F(1), number(F)

    @device
    def lose(
        targets, target_row, buffer, table, slopes, order, state, losses, hits, s, first, batch, m0, lines, memory
    ):
        last = U(table.shape[0] - 1)
        width, wrote, delta = table[last, OUT], table[last, WROTE], table[last, DELTA]
        lost, hit, space = cuda.local.array(1, kind), cuda.local.array(1, kind), cuda.local.array(2, kind)
        cuda.syncthreads()
        for r in range(U(cuda.threadIdx.x), lines, U(threads)):
            begin, target = U(r * U(wide)), U(order[first + m0 + r]) * target_row
            over_columns(
                memory[begin : begin + width], plain(targets[target : target + target_row]), np.int64(width), 1, lost,
                hit, space, one / F(batch),
            )  # fmt: skip
            slot = (state[SLOT] + s) * state[BATCH] + m0 + r
            losses[slot], hits[slot] = lost[0], hit[0]
        cuda.syncthreads()
        across = padded(width)
        for e in range(U(cuda.threadIdx.x), U(U(height) * across), U(threads)):
            row, c, d = U(U(e) // across), U(U(e) % across), zero
            if row < lines and c < width:
                at = U((m0 + row) * width + c)
                d = memory[row * U(wide) + c] * derivative(table[last, CODE], buffer[wrote + at], slopes[last])
                if not gradient:
                    buffer[delta + at] = d
            memory[row * U(wide) + c] = d

    return lose


@lru_cache
def _backward(F: type, cut: Cut, gradient: bool) -> Any:
    """The function for the deltas of all layers before the last, and with `gradient` that of all weights."""
    height, columns, slab, down, across = cut
    multiply, copy, (down_of, across_of) = held.backward(F, cut), held.bring(F, cut, columns, slab, True), held.own(cut)
    ask_rows, multiply_rows, leave_rows, of_bias = partial_sums.of_rows(F, cut)
    together = min(down, TOGETHER)
    few = together * across
    derivatives, dropped = formulas.over(F, few)[1], formulas.dropout(F)
    kind, zero, none, wide, behind = number(F), F(0), np.uint64(0), columns + PAD, held.behind(cut)
    apart, beside, many = height // down, columns // across, down * across

    @device
    def ask(parameters, table, order, layer, column, memory):
        fan_in, fan_out, w = table[layer, IN], table[layer, OUT], parameters[table[layer, WEIGHT] :]
        copy(
            memory, U(behind), w, fan_out, aligned(w, fan_out), order, False, U(0), column, fan_in,
            U(min(U(slab), fan_out - column)),
        )  # fmt: skip
        commit()

    @device
    def leave(buffer, table, slopes, edges, scales, state, s, layer, m0, lines, memory, ys, sums):
        """The deltas of the layer before to shared memory, and unless they have been put to use there to the buffer."""
        d, y = cuda.local.array(few, kind), cuda.local.array(few, kind)
        fan_in, below = table[layer, IN], U(layer - U(1))
        code, slope, delta = table[below, CODE], slopes[below], table[below, DELTA]
        own = np.uint64(down_of() * U(wide) + across_of())
        for i0 in range(0, down, together):
            for e in range(few):
                d[e], y[e] = sums[i0 * across + e], ys[i0 * across + e]
            derivatives(code, d, y, slope)
            for e in range(few):
                r, c = U(down_of() + U((i0 + e // across) * apart)), U(across_of() + U(e % across * beside))
                if c < padded(fan_in):
                    at = own + np.uint64((i0 + e // across) * apart * wide + e % across * beside)
                    memory[at] = d[e] if r < lines and c < fan_in else zero
        if edges[layer] != none or not gradient:
            for i in range(down):
                r = U(down_of() + U(i * apart))
                for j in range(across):
                    c = U(across_of() + U(j * beside))
                    place = U(r * U(wide) + c)
                    if r < lines and c < fan_in:
                        if edges[layer] != none:
                            memory[place] = dropped(
                                memory[place], edges[layer], scales[layer], state[SEED], state[STEP] + s, layer,
                                U(m0 + r), c,
                            )  # fmt: skip
                        if not gradient:
                            buffer[delta + (m0 + r) * fan_in + c] = memory[place]

    @device
    def begin(parameters, inputs, buffer, table, order, first, layer, m0, lines, memory):
        """Begin to copy what a layer's turn begins with."""
        if gradient:
            ask_rows(inputs, buffer, table, order, first, layer, U(0), m0, lines, memory)
        elif layer > U(0):
            ask(parameters, table, order, layer, U(0), memory)

    @device
    def of_weights(
        parameters, inputs, buffer, table, order, first, layer, m0, lines, memory, partial, mine, again, sums
    ):
        fan_in, c, column = table[layer, IN], U(across_of() * U(across)), U(0)
        while column < fan_in:
            for i in range(down * across):
                sums[i] = zero
            wait(0)
            cuda.syncthreads()
            if c < table[layer, OUT]:
                multiply_rows(memory, padded(lines), sums)
            cuda.syncthreads()
            later = U(column + U(height))
            if later < fan_in:
                ask_rows(inputs, buffer, table, order, first, layer, later, m0, lines, memory)
            elif layer > U(0):
                ask(parameters, table, order, layer, U(0), memory)
            leave_rows(partial, mine, again, table, layer, column, sums)
            column = later
        of_bias(partial, mine, again, table, layer, memory)

    @device
    def backward(
        parameters, inputs, buffer, table, slopes, edges, scales, order, state, s, first, m0, lines, memory,
        partial, mine, again, sums,
    ):  # fmt: skip
        ys = cuda.local.array(many, kind)
        layer = U(table.shape[0])
        while layer > U(0):
            layer = U(layer - U(1))
            if gradient:
                of_weights(
                    parameters, inputs, buffer, table, order, first, layer, m0, lines, memory, partial, mine, again,
                    sums,
                )  # fmt: skip
            if layer > U(0):
                fan_in, fan_out, wrote = table[layer, IN], table[layer, OUT], table[layer - U(1), WROTE]
                for i in range(down):
                    r = U(down_of() + U(i * apart))
                    y = np.uint64(wrote + (m0 + r) * fan_in + across_of())  # of 64 bits: the rest is in the instruction
                    for j in range(across):
                        ys[i * across + j] = zero
                        if r < lines and U(across_of() + U(j * beside)) < fan_in:
                            ys[i * across + j] = buffer[y + np.uint64(j * beside)]
                for i in range(down * across):
                    sums[i] = zero
                column = U(0)
                while column < fan_out:
                    wait(0)
                    cuda.syncthreads()
                    multiply(memory, column, padded(U(min(U(slab), fan_out - column))), sums)
                    cuda.syncthreads()
                    column = U(column + U(slab))
                    if column < fan_out:
                        ask(parameters, table, order, layer, column, memory)
                    else:
                        begin(parameters, inputs, buffer, table, order, first, U(layer - U(1)), m0, lines, memory)
                leave(buffer, table, slopes, edges, scales, state, s, layer, m0, lines, memory, ys, sums)

    return begin, backward


@lru_cache
def rows(F: type, cut: Cut, loss: str, gradient: bool) -> Any:
    """Kernel: forward, loss and deltas, for `cut.rows` rows of the batch at a time, by layers of `cut.columns` at most.

    With `gradient`, `partial` F (blocks * numbers,) are the blocks' partial sums of it, each laid out like the
    parameters; else the deltas go to the buffer.
    """
    forward, lose, (begin, backward) = _forward(F, cut), _lose(F, cut, loss, gradient), _backward(F, cut, gradient)
    take_input, none, kind, height, threads = take_one(F), np.uint64(0), number(F), cut.rows, cut.threads
    numbers, many = held.room(cut), cut.down * cut.across

    @kernel(cut.threads, F, cut, loss, gradient)
    def all_layers(
        parameters, inputs, targets, target_row, buffer, table, slopes, edges, scales, order, state, losses, hits,
        partial, s,
    ):  # fmt: skip
        memory = cuda.shared.array(numbers, kind, ALIGNED)
        sums = cuda.local.array(many, kind)
        (first, batch), block = batch_of(state, s), U(cuda.blockIdx.x)
        mine = block * held.lines(parameters.size)
        for m0 in range(U(block * U(height)), batch, U(U(cuda.gridDim.x) * U(height))):
            lines = U(min(U(height), batch - m0))
            if edges[0] != none:
                width = table[0, IN]
                for e in range(U(cuda.threadIdx.x), U(lines * width), U(threads)):
                    row, c = U(m0 + U(e) // width), U(U(e) % width)
                    take_input(inputs, buffer, table, edges, scales, order, state, s, first, row, c)
                cuda.syncthreads()
            forward(
                parameters, inputs, buffer, table, slopes, edges, scales, order, state, s, first, U(m0), lines, memory,
                sums,
            )  # fmt: skip
            begin(parameters, inputs, buffer, table, order, first, U(table.shape[0] - 1), U(m0), lines, memory)
            lose(
                targets, target_row, buffer, table, slopes, order, state, losses, hits, s, first, batch, U(m0), lines,
                memory,
            )  # fmt: skip
            cuda.syncthreads()
            backward(
                parameters, inputs, buffer, table, slopes, edges, scales, order, state, s, first, U(m0), lines, memory,
                partial, mine, m0 != block * U(height), sums,
            )  # fmt: skip
            cuda.syncthreads()

    return all_layers
