"""The row phase of networks with recurrent layers: a block takes a few rows through all layers and time steps.

Rows never meet and time is inside a row, so there is no barrier but the block's own, and one launch does forward pass,
loss and backpropagation through time. Numbers lie time step after time step, (T, rows, units), as on the CPU: the
gradient of every matrix is one sum over T * rows terms in the tile phase. A thread has one column of a product for some
rows, of several time steps where they do not wait for each other; what it multiplies goes through shared memory. The
weights of simple recurrent layers stay in registers (`resident`); others, which every step reads again, stay in the
multiprocessor's first cache (up to 256 KB on an H100, the recurrent weights of a GRU of 128 units), a line of them at
once: so backward passes read transposes, which a kernel of their own makes at the beginning of a step.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np

from fastnn.cuda import formulas, resident
from fastnn.cuda.dependent import await_previous
from fastnn.cuda.phases import BATCH, SEED, SLOT, STEP, THREADS, batch_of
from fastnn.cuda.steps import (
    BACK,
    CELL,
    CODE,
    CUT,
    DS,
    DZ,
    GOING,
    HITS,
    IN,
    LAST_SKIP,
    LOSSES,
    RAW,
    RB,
    RBACK,
    READ,
    READ_SKIP,
    RW,
    SHARE,
    SKIP,
    STEPS,
    SUMS,
    UNITS,
    WHOLE,
    B,
    D,
    H,
    S,
    Slice,
    W,
    Z,
    add_products,
    cell_backward,
    cell_forward,
)
from fastnn.cuda.target import ALIGNED, cuda, device, kernel, number, plain

FORWARD, SCORE, ALL = range(3)  # how far a pass goes: to the outputs, to the losses, to the deltas
U = np.uint32


@lru_cache
def _take(F: type, cut: Slice) -> Any:
    """The function for what a layer reads of the block's rows: the batch's inputs, and what dropout leaves."""
    dropped, threads, none = formulas.dropout(F), cut.threads, np.uint64(0)

    @device
    def take(inputs, buffer, table, edges, scales, order, state, s, layer, first, batch, m0, lines):
        if layer > U(0) and edges[layer] == none:
            return
        steps, width, read = table[layer, STEPS], table[layer, IN], table[layer, READ]
        for e in range(U(cuda.threadIdx.x), U(steps * lines * width), U(threads)):
            c, line = U(e % width), U(e // width)
            r, t = U(m0 + line % lines), U(line // lines)
            if layer == U(0):
                x = inputs[(order[first + r] * steps + t) * width + c]
            else:
                x = buffer[table[layer, RAW] + ((table[layer, SKIP] + t) * batch + r) * width + c]
            at = U(t * batch + r)
            if edges[layer] != none:
                x = dropped(x, edges[layer], scales[layer], state[SEED], state[STEP] + s, layer, at, c)
            buffer[read + at * width + c] = x

    return take


@lru_cache
def _steps_forward(F: type, cut: Slice) -> Any:
    """The function for a layer's outputs, time step after time step; what its inputs give to the sums is there."""
    add, cell, value = add_products(F, cut, cut.rows), cell_forward(F, cut), formulas.activations(F)[0]
    kind, zero, rows, threads = number(F), F(0), cut.rows, cut.threads

    @device
    def through_time(parameters, buffer, table, slopes, layer, batch, m0, lines, held):
        units, columns = table[layer, UNITS], table[layer, SUMS]
        apart, gated = table[layer, S] != table[layer, Z], columns != units
        sums = cuda.local.array(rows, kind)
        for t in range(U(0), table[layer, STEPS]):
            before = U(table[layer, H] + m0 * units)
            if t > U(0):
                before = U(before + (t - U(1)) * batch * units)
            for n0 in range(U(0), columns, U(threads)):
                column = U(n0 + U(cuda.threadIdx.x))
                at = U(table[layer, S] + (t * batch + m0) * columns + column)
                for r in range(rows):
                    sums[r] = zero
                    if U(r) < lines and column < columns:
                        if apart:
                            sums[r] = parameters[table[layer, RB] + column]
                        else:
                            sums[r] = buffer[at + U(r) * columns]
                if t > U(0):
                    add(
                        buffer, before, U(0), lines, lines, batch, units, parameters, table[layer, RW], columns,
                        column, held, sums,
                    )  # fmt: skip
                for r in range(rows):
                    if U(r) < lines and column < columns:
                        y = sums[r]
                        if not gated:
                            y = value(table[layer, CODE], y, slopes[layer])
                        buffer[at + U(r) * columns] = y
            if gated:
                cuda.syncthreads()
                cell(buffer, table, layer, U(t), batch, m0, lines)
            # The next step's sum begins with a barrier.

    return through_time


@lru_cache
def _forward(F: type, cut: Slice) -> Any:
    """The function for a layer's outputs in all time steps: what its inputs give to all sums, then step after step."""
    add_together, through_time, stay = (
        add_products(F, cut, cut.together), _steps_forward(F, cut), resident.forward(F, cut)
    )  # fmt: skip
    value, kind, zero, together, threads = formulas.activations(F)[0], number(F), F(0), cut.together, cut.threads

    @device
    def forward(parameters, buffer, table, slopes, layer, batch, m0, lines, held, partial):
        width, columns, dense = table[layer, IN], table[layer, SUMS], table[layer, CELL] == U(0)
        x = U(table[layer, READ] + (table[layer, READ_SKIP] * batch + m0) * width)
        sums, all_rows = cuda.local.array(together, kind), U(table[layer, STEPS] * lines)
        for e0 in range(U(0), all_rows, U(together)):
            some = U(min(U(together), all_rows - e0))
            for n0 in range(U(0), columns, U(threads)):
                column = U(n0 + U(cuda.threadIdx.x))
                bias = parameters[table[layer, B] + column] if column < columns else zero
                for r in range(together):
                    sums[r] = bias
                add_together(
                    buffer, x, U(e0), some, lines, batch, width, parameters, table[layer, W], columns, column, held,
                    sums,
                )  # fmt: skip
                for r in range(together):
                    if U(r) < some and column < columns:
                        at, y = U(e0 + U(r)), sums[r]
                        if dense:
                            y = value(table[layer, CODE], y, slopes[layer])
                        buffer[table[layer, Z] + (at // lines * batch + m0 + at % lines) * columns + column] = y
        if dense:
            return
        cuda.syncthreads()
        if table[layer, SHARE] != U(0):
            stay(parameters, buffer, table, slopes, layer, batch, m0, lines, held, partial)
        else:
            through_time(parameters, buffer, table, slopes, layer, batch, m0, lines, held)

    return forward


@lru_cache
def _steps_backward(F: type, cut: Slice) -> Any:
    """The function for a layer's deltas, time step before time step."""
    add, cell = add_products(F, cut, cut.rows), cell_backward(F, cut)
    kind, zero, rows, threads = number(F), F(0), cut.rows, cut.threads

    @device
    def through_time(buffer, turned, table, slopes, layer, batch, m0, lines, held):
        units, columns, steps = table[layer, UNITS], table[layer, SUMS], table[layer, STEPS]
        sums = cuda.local.array(rows, kind)
        cut_every, gated = table[layer, CUT], columns != units
        keeps = gated or table[layer, WHOLE] != U(0)  # whether there is something at D before the product is added
        fresh = True
        for back in range(U(0), steps):
            t = U(steps - U(1) - back)
            ends = cut_every > U(0) and (back + U(1)) % cut_every == U(0)
            cuda.syncthreads()
            cell(buffer, table, slopes, layer, t, batch, m0, lines, fresh, ends)
            cuda.syncthreads()
            fresh = ends
            if t > U(0):
                dz = U(table[layer, DS] + (t * batch + m0) * columns)
                for n0 in range(U(0), units, U(threads)):
                    column = U(n0 + U(cuda.threadIdx.x))
                    for r in range(rows):
                        sums[r] = zero
                    if not ends:
                        add(
                            buffer, dz, U(0), lines, lines, batch, columns, turned, table[layer, RBACK], units, column,
                            held, sums,
                        )  # fmt: skip
                    for r in range(rows):
                        if U(r) < lines and column < units:
                            at = U(table[layer, D] + ((t - U(1)) * batch + m0 + U(r)) * units + column)
                            buffer[at] = sums[r] + (buffer[at] if keeps else zero)

    return through_time


@lru_cache
def _backward(F: type, cut: Slice) -> Any:
    """The function for a layer's deltas in all time steps, and the derivatives by what the layer before puts out."""
    add_together, through_time, stay = (
        add_products(F, cut, cut.together), _steps_backward(F, cut), resident.backward(F, cut)
    )  # fmt: skip
    derivative, dropped = formulas.activations(F)[1], formulas.dropout(F)
    together, threads, zero, kind, none = cut.together, cut.threads, F(0), number(F), np.uint64(0)

    @device
    def backward(buffer, turned, table, slopes, edges, scales, state, s, layer, batch, m0, lines, held, partial):
        width, units, columns, steps = table[layer, IN], table[layer, UNITS], table[layer, SUMS], table[layer, STEPS]
        cuda.syncthreads()
        if table[layer, SHARE] != U(0):
            stay(buffer, turned, table, slopes, layer, batch, m0, lines, held, partial)
        elif table[layer, CELL] != U(0):
            through_time(buffer, turned, table, slopes, layer, batch, m0, lines, held)
        else:
            for e in range(U(cuda.threadIdx.x), U(steps * lines * units), U(threads)):
                line = U(e // units)
                at = U((line // lines * batch + m0 + line % lines) * units + e % units)
                y = buffer[table[layer, H] + at]
                buffer[table[layer, DZ] + at] = buffer[table[layer, D] + at] * derivative(
                    table[layer, CODE], y, slopes[layer]
                )
        if layer == U(0):
            return
        below, dz = U(layer - U(1)), U(table[layer, DZ] + m0 * columns)
        sums, all_rows = cuda.local.array(together, kind), U(steps * lines)
        for e0 in range(U(0), all_rows, U(together)):
            some = U(min(U(together), all_rows - e0))
            for n0 in range(U(0), width, U(threads)):
                column = U(n0 + U(cuda.threadIdx.x))
                for r in range(together):
                    sums[r] = zero
                add_together(
                    buffer, dz, U(e0), some, lines, batch, columns, turned, table[layer, BACK], width, column, held,
                    sums,
                )  # fmt: skip
                for r in range(together):
                    if U(r) < some and column < width:
                        at, d = U(e0 + U(r)), sums[r]
                        line = U(at // lines * batch + m0 + at % lines)
                        if edges[layer] != none:
                            d = dropped(
                                d, edges[layer], scales[layer], state[SEED], state[STEP] + s, layer, line, column
                            )
                        buffer[table[below, D] + (table[layer, SKIP] * batch + line) * width + column] = d

    return backward


@lru_cache
def _lose(F: type, cut: Slice, loss: str) -> Any:
    """The function for losses, hits and first deltas of the block's rows: a thread has one time step of a row."""
    over_columns, threads, kind, zero, one = formulas.loss(loss, F), cut.threads, number(F), F(0), F(1)

    @device
    def lose(targets, target_row, buffer, table, order, state, losses, hits, last, s, first, batch, m0, lines):
        going, skip, width = table[last, GOING], table[last, LAST_SKIP], table[last, UNITS]
        share = one / F(going)
        space, lost, hit = cuda.local.array(2, kind), cuda.local.array(1, kind), cuda.local.array(1, kind)
        for e in range(U(cuda.threadIdx.x), U(going * lines), U(threads)):
            t, r = U(e // lines), U(m0 + e % lines)
            at = U(((skip + t) * batch + r) * width)
            y, d = U(table[last, H] + at), U(table[last, D] + at)
            for c in range(U(0), width):
                buffer[d + c] = buffer[y + c]
            target = U((order[first + r] * going + t) * target_row)
            over_columns(
                plain(buffer[d : d + width]), plain(targets[target : target + target_row]), np.int64(width), 1, lost,
                hit, space, one / F(batch) * share,
            )  # fmt: skip
            buffer[table[last, LOSSES] + t * batch + r] = lost[0]
            buffer[table[last, HITS] + t * batch + r] = hit[0]
        cuda.syncthreads()
        for e in range(U(cuda.threadIdx.x), lines, U(threads)):
            total, right = zero, zero
            for step in range(U(0), going):
                total += buffer[table[last, LOSSES] + step * batch + m0 + e]
                right += buffer[table[last, HITS] + step * batch + m0 + e]
            slot = (state[SLOT] + s) * state[BATCH] + m0 + e
            losses[slot], hits[slot] = total * share, right

    return lose


@lru_cache
def rows(F: type, cut: Slice, loss: str) -> Any:
    """Kernel: `cut.rows` rows of the batch a block, through all layers and time steps, as far as `passes` says.

    `table` uint32 (L, FIELDS); `turned` F: the transposes that `turn` has made; `targets` have `target_row` numbers a
    time step that goes on to the loss; the rest is as in `phases`. A row's loss is the mean over its steps, its hits
    are counted.
    """
    take, forward, lose, backward = _take(F, cut), _forward(F, cut), _lose(F, cut, loss), _backward(F, cut)
    height, size, kind = cut.rows, max(cut.rows, cut.together) * cut.chunk, number(F)
    shares, blocks = cut.rows * cut.threads, max(1, cut.blocks * 4 // np.dtype(F).itemsize)

    @kernel(cut.threads, F, cut, loss, blocks=blocks)
    def all_steps(
        parameters, turned, inputs, targets, target_row, buffer, table, slopes, edges, scales, order, state, losses,
        hits, passes, s,
    ):  # fmt: skip
        held = cuda.shared.array(size, kind, ALIGNED)
        partial = cuda.shared.array(shares, kind)
        first, batch = batch_of(state, s)
        m0 = U(cuda.blockIdx.x) * U(height)
        await_previous()
        if m0 >= batch:
            return
        lines, layers = U(min(U(height), batch - m0)), U(table.shape[0])
        for layer in range(U(0), layers):
            take(inputs, buffer, table, edges, scales, order, state, s, U(layer), first, batch, m0, lines)
            forward(parameters, buffer, table, slopes, U(layer), batch, m0, lines, held, partial)
            cuda.syncthreads()
        if passes == U(FORWARD):
            return
        lose(
            targets, target_row, buffer, table, order, state, losses, hits, U(layers - U(1)), s, first, batch, m0,
            lines,
        )  # fmt: skip
        if passes == U(SCORE):
            return
        for back in range(U(1), U(layers + U(1))):
            behind = U(layers - back)
            backward(buffer, turned, table, slopes, edges, scales, state, s, behind, batch, m0, lines, held, partial)

    return all_steps


@lru_cache
def turn(F: type) -> Any:
    """Kernel: the transposes (O, I) of weights (I, O), a thread a number, grid (blocks, weights).

    `which` uint32 (n, 4): a weight's place among the parameters, its transpose's place in `turned`, I and O.
    """

    @kernel(THREADS, F)
    def turn_weights(parameters, turned, which):
        at, weight = U(cuda.blockIdx.x) * U(THREADS) + U(cuda.threadIdx.x), U(cuda.blockIdx.y)
        begin, to, fan_in, fan_out = which[weight, 0], which[weight, 1], which[weight, 2], which[weight, 3]
        await_previous()
        if at < fan_in * fan_out:
            o, i = U(at // fan_in), U(at % fan_in)
            turned[to + at] = parameters[begin + i * fan_out + o]

    return turn_weights
