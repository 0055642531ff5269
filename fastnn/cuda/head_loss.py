"""The loss of a block's rows in `head`, with a thread for each output: one for a row would be long alone at it.

A row has ROW threads, which meet twice: each writes to shared memory what of its output is summed over the row and what
is compared there, and then each adds up and compares all of them, in the order of the outputs.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np

from fastnn.cuda import formulas
from fastnn.cuda.head_block import ROW, room_of
from fastnn.cuda.phases import BATCH, SLOT
from fastnn.cuda.target import cuda, device, number
from fastnn.cuda.vectors import in_vector, load

BEHIND = 2.0**24  # more than any width
U = np.uint32


@lru_cache
def of_rows(F: type, loss: str, height: int) -> Any:
    """The function for the losses and hits of the block's rows and the deltas of the last layer."""
    each, row_of = _terms(F, loss, height), _rows(F, loss, height)

    @device
    def lose(block, layer, shared):
        each(block, layer, shared)
        cuda.syncthreads()
        row_of(block, layer, shared)
        cuda.syncthreads()

    return lose


@lru_cache
def _terms(F: type, loss: str, height: int) -> Any:
    """The function for what of each output is summed over its row, and what is compared there; a thread for each."""
    (term, _, _, _), labels = formulas.loss_terms(loss, F)
    room, V, kind, zero, one, least, behind = room_of(F), in_vector(F), number(F), F(0), F(1), F(-np.inf), F(BEHIND)

    @device
    def each(block, layer, shared):
        u, v, e = cuda.local.array(V, kind), cuda.local.array(V, kind), U(cuda.threadIdx.x)
        memory, z, wanted = shared.memory, shared.z, shared.wanted
        while e < U(block.count * U(ROW)):
            row, at, begin = U(e // U(ROW)), U(e % U(ROW)), U(e // U(ROW) * U(ROW))
            a, b, best, most = zero, zero, behind, behind
            if at < layer.width:
                t, top, highest = wanted[begin if labels else e], least, least
                if labels:
                    t = one if t == F(at) else zero
                j = U(0)
                while j < layer.width:
                    load(z, U(begin + j), u, 0)
                    load(wanted, U(begin + j), v, 0)
                    for i in range(V):
                        top, highest = max(u[i], top), max(v[i], highest)
                    j = U(j + block.vector)
                shared.deltas[U(at * U(height) + row)], a, b = term(z[e], t, top)
                best, most = F(at) if z[e] == top else behind, F(at) if t == highest else behind
            start = U(U(room) + begin * U(4) + at)
            memory[start], memory[U(start + U(ROW))] = a, b
            memory[U(start + U(2 * ROW))], memory[U(start + U(3 * ROW))] = best, most
            e = U(e + block.threads)

    return each


@lru_cache
def _rows(F: type, loss: str, height: int) -> Any:
    """The function for sums and comparisons of a row in the order of its outputs, by each thread that has one of them;
    with them the row's loss and hit, and the output's delta, which is 0 behind the row's last."""
    (_, whole, delta_of, hit), labels = formulas.loss_terms(loss, F)
    derivative, add_up, zero, one = formulas.activations(F)[1], _add_up(F), F(0), F(1)

    @device
    def row_of(block, layer, shared):
        z, wanted, deltas, e = shared.z, shared.wanted, shared.deltas, U(cuda.threadIdx.x)
        scale, slot = one / F(block.batch), U((block.state[SLOT] + block.s) * block.state[BATCH] + block.begin)
        while e < U(block.count * U(ROW)):
            row, at, begin = U(e // U(ROW)), U(e % U(ROW)), U(e // U(ROW) * U(ROW))
            d = zero
            if at < layer.width:
                a, b, best, most = add_up(block, layer, shared, begin)
                t = wanted[begin if labels else e]
                if labels:
                    t, most = one if t == F(at) else zero, t
                lost, factor = whole(a, b, F(layer.width), scale)
                d = delta_of(deltas[U(at * U(height) + row)], t, factor, scale)
                d = d * derivative(layer.code, z[e], layer.slope)
                block.buffer[U(layer.delta + row * layer.width + at)] = d
                if at == U(0):
                    block.losses[U(slot + row)] = lost
                    block.hits[U(slot + row)] = hit(z[e], t, best, most, layer.width)
            deltas[U(at * U(height) + row)] = d
            e = U(e + block.threads)

    return row_of


@lru_cache
def _add_up(F: type) -> Any:
    """The function for the sums, and for where the first largest are, of the row whose numbers are from `begin` on."""
    room, V, kind, zero, behind = room_of(F), in_vector(F), number(F), F(0), F(BEHIND)

    @device
    def add_up(block, layer, shared, begin):
        u, v, memory = cuda.local.array(V, kind), cuda.local.array(V, kind), shared.memory
        a, b, best, most = zero, zero, behind, behind
        j = U(0)
        while j < layer.width:
            start = U(U(room) + begin * U(4) + j)
            load(memory, start, u, 0)
            load(memory, U(start + U(ROW)), v, 0)
            for i in range(V):
                a, b = a + u[i], b + v[i]
            load(memory, U(start + U(2 * ROW)), u, 0)
            load(memory, U(start + U(3 * ROW)), v, 0)
            for i in range(V):
                best, most = min(u[i], best), min(v[i], most)
            j = U(j + block.vector)
        return a, b, best, most

    return add_up
