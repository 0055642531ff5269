"""The loss of rows whose outputs are in shared memory, by a team of threads for each: one would be long alone at it.

A team's threads are of one warp, so that they need no barrier of the block: `target.meet` is enough. Each has every
`team`-th output of its row, and writes to shared memory what of these is summed and compared; then each adds up and
compares what all of them wrote, in the order of the threads.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np

from fastnn.cuda import formulas
from fastnn.cuda.target import cuda, device, meet, number
from fastnn.cuda.vectors import in_vector, kept, load

BEHIND = 2.0**24  # more than any width
FIELDS = 4  # of a thread: its sums of both terms, and where its first largest output and target are
U = np.uint32


class Row(NamedTuple):
    """A row of the last layer, for its team.

    `width` outputs z, at a multiple of 16 bytes of shared memory, and its targets are there from `at` and `target` on;
    outputs are also at `wrote` of `outputs`, as y may take the place of z. The deltas go to `deltas`, from `delta` on
    and `apart` from each other, with zeros behind them, up to `padded`; and to `buffer` from `left` on. Of a row that
    is not `there`, zeros alone are written.
    """

    there: Any
    width: Any
    padded: Any
    z: Any
    at: Any
    outputs: Any
    wrote: Any
    targets: Any
    target: Any
    deltas: Any
    delta: Any
    apart: Any
    buffer: Any
    left: Any


@lru_cache
def of_team(F: type, loss: str, team: int, keep: bool) -> Any:
    """The function (row, code, slope, scale, parts, place, lane) -> (loss, hit) of a row, and the row's deltas; to be
    kept, they also go to the buffer.

    `parts` has FIELDS * `team` numbers of shared memory for the team, from `place` on; `lane` is the thread's number in
    it. Each thread has the row's loss in the end.
    """
    (_, whole, delta_of, hit), labels = formulas.loss_terms(loss, F)
    each, add_up, derivative = _terms(F, loss, team), _add_up(F, team), formulas.activations(F)[1]
    zero, one = F(0), F(1)

    @device
    def lose(row, code, slope, scale, parts, place, lane):
        lost, right, c, factor, step = zero, zero, U(lane), zero, kept(U(team))
        each(row, parts, place, lane, step)
        meet()
        if row.there:
            a, b, best, most = add_up(row, parts, place)
            if labels:
                most = row.targets[row.target]
            lost, factor = whole(a, b, F(row.width), scale)
            right = hit(row.outputs[row.wrote], row.targets[row.target], best, most, row.width)
        while c < row.padded:
            d = zero
            if row.there and c < row.width:
                t = row.targets[row.target if labels else U(row.target + c)]
                if labels:
                    t = one if t == F(c) else zero
                d = delta_of(row.deltas[U(row.delta + c * row.apart)], t, factor, scale)
                # The step is not known, and the code not for good: the compiler would make several loops of this one.
                d = d * derivative(kept(code), row.outputs[U(row.wrote + c)], slope)
                if keep:
                    row.buffer[U(row.left + c)] = d
            row.deltas[U(row.delta + c * row.apart)] = d
            c = U(c + step)
        return lost, right

    return lose


@lru_cache
def _terms(F: type, loss: str, team: int) -> Any:
    """The function for what of a thread's outputs is summed over the row and compared there; y takes their place."""
    (term, _, _, _), labels = formulas.loss_terms(loss, F)
    largest, zero, one, behind = _largest(F, labels), F(0), F(1), F(BEHIND)

    @device
    def each(row, parts, place, lane, step):
        a, b, best, most, c = zero, zero, behind, behind, U(lane)
        top, highest = largest(row)
        meet()  # for y may take the place of what others still compare
        while row.there and c < row.width:
            z, t = row.z[U(row.at + c)], row.targets[row.target if labels else U(row.target + c)]
            if labels:
                t = one if t == F(c) else zero
            elif t == highest:
                most = min(F(c), most)
            if z == top:
                best = min(F(c), best)
            row.deltas[U(row.delta + c * row.apart)], more_a, more_b = term(z, t, top)
            a, b, c = a + more_a, b + more_b, U(c + step)
        parts[U(place + lane)], parts[U(place + U(team) + lane)] = a, b
        parts[U(place + U(2 * team) + lane)], parts[U(place + U(3 * team) + lane)] = best, most

    return each


@lru_cache
def _largest(F: type, labels: bool) -> Any:
    """The function for a row's largest output and, without labels, its largest target."""
    V, kind, least = in_vector(F), number(F), F(-np.inf)

    @device
    def largest(row):
        u, top, highest, j, step = cuda.local.array(V, kind), least, least, U(0), kept(U(V))
        while row.there and j < row.width:
            load(row.z, U(row.at + j), u, 0)
            for i in range(V):
                if j + U(i) < row.width:
                    top = max(u[i], top)
                    if not labels:
                        highest = max(row.targets[U(row.target + j + U(i))], highest)
            j = U(j + step)
        return top, highest

    return largest


@lru_cache
def _add_up(F: type, team: int) -> Any:
    """The function for the sums, and for where the first largest are, of all that the team wrote."""
    zero, behind = F(0), F(BEHIND)

    @device
    def add_up(row, parts, place):
        a, b, best, most, i, step = zero, zero, behind, behind, U(0), kept(U(1))
        while i < U(min(U(team), row.width)):
            a, b = a + parts[U(place + i)], b + parts[U(place + U(team) + i)]
            best = min(parts[U(place + U(2 * team) + i)], best)
            most = min(parts[U(place + U(3 * team) + i)], most)
            i = U(i + step)
        return a, b, best, most

    return add_up
