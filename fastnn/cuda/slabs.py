"""How a block brings slabs of a product's factors to shared memory."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np

from fastnn.cuda.shapes import PAD
from fastnn.cuda.target import device
from fastnn.cuda.vectors import copy_number, copy_vector, in_vector


def padded(run: int) -> Any:
    """The function (number, along): where number `along` of row `number` of a slab is, whose rows have `run`."""

    @device
    def place(number, along):
        return number * np.uint32(run + PAD) + along

    return place


@lru_cache
def reading(
    F: type, width: int, slab: int, threads: int, deep: bool, ones: bool, place: Any = None
) -> tuple[Any, Any, int]:
    """How a block reads slabs of a factor: the functions follow and request, and how many vectors a thread has.

    In memory the factor has rows of `row` numbers; they run along the sum if it is `deep`, else along the tile, whose
    `width` this is. A thread copies vectors of 16 bytes, where rows begin at multiples of that (`whole`).
    place(number, along) is where number `along` of row `number` of the slab belongs; None: rows are PAD apart.
    """
    V, U, one, zero = in_vector(F), np.uint32, F(1), F(0)
    run, runs = (slab, width) if deep else (width, slab)  # numbers of a row that are in a slab, and rows
    across, vectors = run // V, -(-width * slab // (V * threads))
    period = 16 if deep else 8  # rows after which places are as far apart as from the first row on
    ragged = width * slab % (V * threads) > 0
    pitch = run if place else run + PAD
    place = place or padded(run)

    @device
    def first(thread):
        """In which of the slab's rows the thread's first vector is, and where there; the others are below it."""
        return U(thread // U(across)), U(thread % U(across) * U(V))

    @device
    def down(i):
        """How many rows of the slab vector i is below the first."""
        return i * threads // across

    @device
    def beside(i):
        """How many numbers it is beside that: 0, unless a row has more vectors than there are threads (simulated)."""
        return i * threads % across * V

    @device
    def follow(thread, row, lines, order, gathered, t0, limit, k0, late, end):
        """lines[i] <- where vector i begins in memory; of a deep factor it is `k0` numbers behind that in each slab.

        Behind the tile's last row comes that again and again, for nobody reads its sums.
        """
        number, along = first(thread)
        for i in range(vectors):
            line = U((t0 if deep else k0) + number + U(down(i)))
            if deep:
                line = min(line, U(limit - U(1)))
            elif ones:
                line = U(line - late) if line >= late else U(0)
            if gathered and (deep or line < end):
                line = U(order[line])
            lines[i] = U(line * row + along + U(beside(i)) + (U(0) if deep else t0))

    @device
    def vector(i, number, along, lines, k0, late, end, start):
        """Vector i: where it belongs in shared memory, where it begins in memory, and whether its row is there."""
        near, k = down(i) % period, U(k0 + number + U(down(i)))
        to = U(start + place(number + U(near), along + U(beside(i))) + U((down(i) - near) * pitch))
        return to, U(lines[i] + (k0 if deep else U(0))), deep or (k < end and (not ones or k >= late))

    @device
    def request(thread, x, row, lines, t0, limit, k0, late, end, whole, memory, start):
        """Copy the thread's numbers of the slab from k0 on to shared memory, from `start` on; 0 behind the sum's end.

        Of `ones` those of row number `row`, if there is one, are put there.
        """
        number, along = first(thread)
        begin, stop = U(along + (k0 if deep else t0)), end if deep else row  # of the first vector; where rows end
        has_ones = ones and row < limit
        if whole:
            for i in range(vectors):
                if not ragged or number + U(down(i)) < U(runs):
                    to, at, there = vector(i, number, along, lines, k0, late, end, start)
                    column = U(begin + U(beside(i)))
                    if has_ones and column == row:
                        for j in range(V):
                            memory[to + U(j)] = zero if j else one
                    else:
                        copy_vector(memory, to, x, at, there and column < stop)
        else:
            for i in range(vectors):
                if not ragged or number + U(down(i)) < U(runs):
                    to, at, there = vector(i, number, along, lines, k0, late, end, start)
                    column = U(begin + U(beside(i)))
                    for j in range(V):
                        if has_ones and column + U(j) == row:
                            memory[to + U(j)] = one
                        else:
                            copy_number(memory, to + U(j), x, U(at + U(j)), there and column + U(j) < stop)

    return follow, request, vectors
