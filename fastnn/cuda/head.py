"""The end of a wide network in one launch: its last layer, of few units, the loss, and the deltas of both its sides.

Alone each of the three is a launch that waits for one before it and leaves the GPU nearly empty: a layer of 10 units
has four tiles at batch 128. Here a block takes a few rows through them. Its weights lie in shared memory, as many of
them at once as there is room for: both sides read them, this one along a term's row and that one along the terms.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np

from fastnn.cuda import formulas
from fastnn.cuda.phases import BATCH, CODE, DELTA, IN, OUT, READ, SEED, SLOT, STEP, WEIGHT, WROTE, batch_of
from fastnn.cuda.shapes import BLOCKS, PAD
from fastnn.cuda.target import ALIGNED, SIMULATED, cuda, device, kernel, number
from fastnn.cuda.vectors import aligned, commit, copy_number, copy_vector, in_vector, load, wait

WIDEST = 32  # units of the last layer
ROW = 32  # numbers of shared memory for a row of them; those behind the last unit take part in sums and comparisons
THREADS, COLUMNS = (1, 1) if SIMULATED else (512, 16)
GROUPS = THREADS // COLUMNS  # of threads that share a sum
BYTES = 512 if SIMULATED else 24576  # of weights in shared memory: of 512 terms for 10 or 12 units
TERMS = 8 if SIMULATED else THREADS  # of the sums, at most, that are in shared memory at once
TALLEST = 32  # bytes of a column of a block's rows
U = np.uint32


def takes(sizes: tuple[int, ...]) -> bool:
    """Whether a network of these sizes ends as this launch does it: after a hidden layer, in few units."""
    return len(sizes) > 2 and sizes[-1] <= WIDEST


def height(F: type, batch: int) -> int:
    """Rows that a block takes: one where that gives an H100 no more blocks than it takes at once, else some more."""
    most = TALLEST // np.dtype(F).itemsize
    return next((rows for rows in (1, 2, 4) if rows < most and rows * BLOCKS >= batch), most)


@lru_cache
def _bring(F: type) -> Any:
    """The function for `count` numbers of `array` from `at` on: they are on their way to `memory`, from `to` on.

    Behind the first `there` are zeros. Of threads that share the work this is number `e` of `step`; they copy vectors
    where all of the numbers are in `whole` ones.
    """
    V = in_vector(F)

    @device
    def bring(memory, to, array, at, count, there, whole, e, step):
        e = U(e * U(V))
        while e < count:
            if whole:
                copy_vector(memory, U(to + e), array, U(at + min(e, U(there - U(V)))), e < there)
            else:
                for i in range(V):
                    k = U(e + U(i))
                    copy_number(memory, U(to + k), array, U(at + min(k, U(there - U(1)))), k < there)
            e = U(e + step * U(V))

    return bring


@lru_cache
def _before(F: type, height: int) -> Any:
    """The function for y (height,) <- outputs of the layer before, from number `at` of the buffer on `apart`."""
    zero = F(0)

    @device
    def before(buffer, at, apart, lines, y):
        for r in range(height):
            y[r] = buffer[U(at + U(r) * apart)] if U(r) < lines else zero

    return before


@lru_cache
def _loss(F: type, loss: str, height: int) -> tuple[Any, Any]:
    """The functions for the loss of the block's rows, a thread for each output; between them threads have to meet.

    each: to shared memory what of each output is summed over its row, and what is compared there. row_of: sums and
    comparisons of the row in the order of its outputs, by each thread that has one; its loss and hit, and `deltas`.
    """
    (term, whole, delta_of, hit), labels = formulas.loss_terms(loss, F)
    derivative, room, V = formulas.activations(F)[1], BYTES // np.dtype(F).itemsize, in_vector(F)
    kind, zero, one, least, behind = number(F), F(0), F(1), F(-np.inf), F(2.0**24)  # behind: more than any width

    @device
    def each(memory, z, wanted, deltas, lines, width, four):
        u, v = cuda.local.array(V, kind), cuda.local.array(V, kind)
        e = U(cuda.threadIdx.x)
        while e < U(lines * U(ROW)):
            row, at, begin = U(e // U(ROW)), U(e % U(ROW)), U(e // U(ROW) * U(ROW))
            a, b, best, most = zero, zero, behind, behind
            if at < width:
                t, top, highest = wanted[begin if labels else e], least, least
                if labels:
                    t = one if t == F(at) else zero
                j = U(0)
                while j < width:
                    load(z, U(begin + j), u, 0)
                    load(wanted, U(begin + j), v, 0)
                    for i in range(V):
                        top, highest = max(u[i], top), max(v[i], highest)
                    j = U(j + four)
                deltas[U(at * U(height) + row)], a, b = term(z[e], t, top)
                best, most = F(at) if z[e] == top else behind, F(at) if t == highest else behind
            start = U(U(room) + begin * U(4) + at)
            memory[start], memory[U(start + U(ROW))] = a, b
            memory[U(start + U(2 * ROW))], memory[U(start + U(3 * ROW))] = best, most
            e = U(e + U(cuda.blockDim.x))

    @device
    def row_of(memory, z, wanted, deltas, lines, width, four, code, slope, scale, buffer, delta, losses, hits, slot):
        u, v = cuda.local.array(V, kind), cuda.local.array(V, kind)
        e = U(cuda.threadIdx.x)
        while e < U(lines * U(ROW)):
            row, at, begin = U(e // U(ROW)), U(e % U(ROW)), U(e // U(ROW) * U(ROW))
            d = zero
            if at < width:
                t, a, b, best, most = wanted[begin if labels else e], zero, zero, behind, behind
                j = U(0)
                while j < width:
                    start = U(U(room) + begin * U(4) + j)
                    load(memory, start, u, 0)
                    load(memory, U(start + U(ROW)), v, 0)
                    for i in range(V):
                        a, b = a + u[i], b + v[i]
                    load(memory, U(start + U(2 * ROW)), u, 0)
                    load(memory, U(start + U(3 * ROW)), v, 0)
                    for i in range(V):
                        best, most = min(u[i], best), min(v[i], most)
                    j = U(j + four)
                if labels:
                    t, most = one if t == F(at) else zero, t
                lost, factor = whole(a, b, F(width), scale)
                d = delta_of(deltas[U(at * U(height) + row)], t, factor, scale) * derivative(code, z[e], slope)
                buffer[U(delta + row * width + at)] = d
                if at == U(0):
                    losses[U(slot + row)], hits[U(slot + row)] = lost, hit(z[e], t, best, most, width)
            deltas[U(at * U(height) + row)] = d
            e = U(e + U(cuda.blockDim.x))

    return each, row_of


@lru_cache
def rows(F: type, loss: str, height: int) -> Any:
    """Kernel: outputs, losses, hits and deltas of layer `last`, and the deltas of the layer before.

    A block takes `height` rows of the batch; the arrays are those of `phases`.
    """
    value, derivatives, dropped = formulas.activations(F)[0], formulas.over(F, height)[1], formulas.dropout(F)
    each, row_of = _loss(F, loss, height)
    bring, before = _bring(F), _before(F, height)
    kind, zero, one, least, none, V = number(F), F(0), F(1), F(-np.inf), np.uint64(0), in_vector(F)
    room, squares, per_row = BYTES // np.dtype(F).itemsize, ROW * height, THREADS // height
    beside = GROUPS + PAD  # numbers from the parts of a column's sum to those of the next
    line = max(TERMS, COLUMNS * beside, 4 * ROW)
    numbers = room + height * line

    @kernel(THREADS, F, loss, height, blocks=8 // np.dtype(F).itemsize)
    def head_rows(
        parameters, targets, target_row, buffer, table, slopes, edges, scales, order, state, losses, hits, last, s
    ):
        # Weights; and behind them the rows' inputs, then parts of their sums, then what is summed for the loss.
        memory = cuda.shared.array(numbers, kind, ALIGNED)
        z = cuda.shared.array(squares, kind, ALIGNED)
        wanted = cuda.shared.array(squares, kind, ALIGNED)
        deltas = cuda.shared.array(squares, kind, ALIGNED)  # by columns
        sums, y = cuda.local.array(height, kind), cuda.local.array(height, kind)
        u, v = cuda.local.array(V, kind), cuda.local.array(V, kind)
        # Steps of loops that the compiler does not know: it would unroll them, and code that runs once is fetched once.
        step, thread, below = U(cuda.blockDim.x), U(cuda.threadIdx.x), U(last - U(1))
        four = U(step // U(THREADS) * U(V))
        fan_in, width, weight = table[last, IN], table[last, OUT], table[last, WEIGHT]
        read, wrote, delta = table[last, READ], table[last, WROTE], table[last, DELTA]
        first, batch = batch_of(state, s)
        m0 = U(cuda.blockIdx.x * U(height))
        if m0 >= batch:
            return
        lines, column, group = U(min(U(height), U(batch - m0))), U(thread % U(COLUMNS)), U(thread // U(COLUMNS))
        row = U(thread // U(ROW))
        sample = order[U(first + m0 + row)] if row < lines else U(0)  # asked for now, for it has to be waited for
        code, slope, bias, terms = table[last, CODE], slopes[last], U(weight + fan_in * width), U(TERMS)
        scale, slot = one / F(batch), U((state[SLOT] + s) * state[BATCH] + m0)
        while terms * width > U(room):
            terms = U(terms // U(2))
        whole, even = aligned(parameters[weight:], fan_in * width), aligned(buffer[read:], fan_in)
        n0 = U(0)
        while n0 < width:
            c = U(n0 + column)
            for r in range(height):
                sums[r] = zero
            k0 = U(0)
            while k0 < fan_in:
                there = U(min(terms, U(fan_in - k0)))
                count = U((there + U(V - 1)) // U(V) * U(V))
                bring(
                    memory, U(0), parameters, U(weight + k0 * width), U(count * width), U(there * width), whole, thread,
                    step,
                )  # fmt: skip
                row = U(thread // U(per_row))
                if row < lines:
                    bring(
                        memory, U(U(room) + row * U(line)), buffer, U(read + U(m0 + row) * fan_in + k0), count, there,
                        even, U(thread % U(per_row)), U(step // U(height)),
                    )  # fmt: skip
                commit()
                if k0 == U(0) and n0 == U(0):
                    e = thread
                    while e < U(lines * U(ROW)):
                        at, z[e] = U(e % U(ROW)), least
                        if at < target_row:
                            copy_number(wanted, e, targets, U(sample * target_row + at), True)
                        else:
                            wanted[e] = least
                        e = U(e + step)
                        if e < U(lines * U(ROW)):
                            sample = order[U(first + m0 + e // U(ROW))]
                commit()
                wait(1)
                cuda.syncthreads()
                if c < width:
                    k = U(group * four)
                    while k < count:
                        for i in range(V):
                            v[i] = memory[U(U(k + U(i)) * width + c)]
                        for r in range(height):
                            load(memory, U(U(room + r * line) + k), u, 0)
                            for i in range(V):
                                sums[r] += u[i] * v[i]
                        k = U(k + U(GROUPS) * four)
                wait(0)
                cuda.syncthreads()
                k0 = U(k0 + terms)
            for r in range(height):
                memory[U(U(room + r * line) + column * U(beside) + group)] = sums[r]
            cuda.syncthreads()
            e = thread
            while e < U(lines * U(COLUMNS)):
                row, at = U(e // U(COLUMNS)), U(n0 + e % U(COLUMNS))
                if at < width:
                    start, total = U(U(room) + row * U(line) + U(e % U(COLUMNS)) * U(beside)), parameters[U(bias + at)]
                    g = U(0)
                    while g < U(GROUPS):
                        load(memory, U(start + g), u, 0)
                        for i in range(min(V, GROUPS)):
                            total += u[i]
                        g = U(g + four)
                    result = value(code, total, slope)
                    z[U(row * U(ROW) + at)], buffer[U(wrote + U(m0 + row) * width + at)] = result, result
                e = U(e + step)
            cuda.syncthreads()
            n0 = U(n0 + U(COLUMNS))

        code_before, slope_before = table[below, CODE], slopes[below]
        wrote_before = U(table[below, WROTE] + m0 * fan_in)
        if thread < fan_in:
            before(buffer, U(wrote_before + thread), fan_in, lines, y)
        each(memory, z, wanted, deltas, lines, width, four)
        cuda.syncthreads()
        row_of(
            memory, z, wanted, deltas, lines, width, four, code, slope, scale, buffer, U(delta + m0 * width), losses,
            hits, slot,
        )  # fmt: skip
        delta = U(table[below, DELTA] + m0 * fan_in)
        cuda.syncthreads()

        k0 = U(0)
        while k0 < fan_in:
            there = U(min(terms, U(fan_in - k0)))
            if terms < fan_in:
                cuda.syncthreads()
                bring(
                    memory, U(0), parameters, U(weight + k0 * width), U(there * width), U(there * width), whole, thread,
                    step,
                )  # fmt: skip
                commit()
                wait(0)
                cuda.syncthreads()
            k = thread
            while k < there:
                begin = U(k0 + k)
                if begin >= step:  # those of the first were asked for before the loss
                    before(buffer, U(wrote_before + begin), fan_in, lines, y)
                for r in range(height):
                    sums[r] = zero
                j = U(0)
                while j < width:
                    for i in range(V):
                        v[i] = memory[U(k * width + j + U(i))] if U(j + U(i)) < width else zero
                    for i in range(0, height * V, V):
                        load(deltas, np.uint64(j) * np.uint64(height) + np.uint64(i), u, 0)
                        for p in range(V):
                            sums[(i + p) % height] += u[p] * v[(i + p) // height]
                    j = U(j + four)
                derivatives(code_before, sums, y, slope_before)
                for r in range(height):
                    if U(r) < lines:
                        buffer[U(delta + begin + U(r) * fan_in)] = sums[r]
                k = U(k + step)
            k0 = U(k0 + terms)
        if edges[last] != none:
            cuda.syncthreads()
            row = U(0)
            while row < lines:
                k = thread
                while k < fan_in:
                    at = U(delta + row * fan_in + k)
                    buffer[at] = dropped(
                        buffer[at], edges[last], scales[last], state[SEED], state[STEP] + s, last, U(m0 + row), k
                    )
                    k = U(k + step)
                row = U(row + U(1))

    return head_rows
