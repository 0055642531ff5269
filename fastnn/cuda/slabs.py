"""How a block brings slabs of a product's factors to shared memory."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np

from fastnn.cuda.shapes import PAD
from fastnn.cuda.target import cuda, device
from fastnn.cuda.vectors import copy_number, copy_vector, in_vector


@lru_cache
def reading(F: type, width: int, slab: int, threads: int, deep: bool, ones: bool) -> tuple[Any, Any, int]:
    """How a block reads slabs of a factor: the functions follow and request, and how many vectors a thread has.

    In memory the factor has rows of `row` numbers; they run along the sum if it is `deep`, else along the tile, whose
    `width` this is. A thread copies vectors of 16 bytes, where rows begin at multiples of that (`whole`).
    """
    V, U, one, zero = in_vector(F), np.uint32, F(1), F(0)
    run, runs = (slab, width) if deep else (width, slab)  # numbers of a row that are in a slab, and rows
    across, vectors = run // V, -(-width * slab // (V * threads))
    ragged = width * slab % (V * threads) > 0

    @device
    def spot(thread, i):
        """Where in its row, and in which of the slab's, the thread's vector i begins."""
        along, number = i * threads % across, i * threads // across
        return U((thread % U(across) + U(along)) * U(V)), U(thread // U(across) + U(number))

    @device
    def begins(row, order, gathered, line, limit, late, end):
        """Where row `line` of the factor begins in memory. Behind the tile's last row come that again and again, for
        nobody reads its sums."""
        if deep:
            line = min(line, U(limit - U(1)))
        elif ones:
            line = U(line - late) if line >= late else U(0)
        if gathered and (deep or line < end):
            line = U(order[line])
        return U(line * row)

    @device
    def follow(thread, row, lines, order, gathered, t0, limit, k0, late, end):
        """lines[i] <- where the row begins that vector i is of; of a deep factor it is in all slabs."""
        for i in range(vectors):
            lines[i] = begins(row, order, gathered, U((t0 if deep else k0) + spot(thread, i)[1]), limit, late, end)

    @device
    def request(thread, x, row, lines, order, gathered, t0, limit, k0, late, end, whole, memory, start):
        """Copy the thread's numbers of the slab from k0 on to shared memory, from `start` on; 0 behind the sum's end.

        Of `ones` those of row number `row`, if there is one, are put there.
        """
        bias = ones and row < limit
        if whole:
            for i in range(vectors):
                along, number = spot(thread, i)
                column, k = U((k0 if deep else t0) + along), U(k0 + (along if deep else number))
                to = U(start + number * U(run + PAD) + along)
                if ragged and number >= U(runs):
                    continue
                if bias and column == row:
                    for j in range(V):
                        memory[to + U(j)] = zero if j else one
                else:
                    at = U(lines[i] + (column if deep else min(column, U(row - U(V)))))
                    copy_vector(memory, to, x, at, k < end and (not ones or k >= late))
        else:
            e = thread
            while e < U(run * runs):
                along, number = U(e % U(run)), U(e // U(run))
                column, k = U((k0 if deep else t0) + along), U(k0 + (along if deep else number))
                to = U(start + number * U(run + PAD) + along)
                if bias and column == row:
                    memory[to] = one
                else:
                    line = begins(row, order, gathered, U((t0 if deep else k0) + number), limit, late, end)
                    copy_number(
                        memory, to, x, U(line + min(column, U(row - U(1)))), k < end and (not ones or k >= late)
                    )
                e = U(e + U(cuda.blockDim.x))  # not a constant: the compiler would unroll what is rare

    return follow, request, vectors
