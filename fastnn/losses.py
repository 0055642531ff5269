"""The losses: one entry each, in PyTorch's definitions: means over the batch, of mse and bce over all elements.

An entry is one function over a few rows of a batch: it reads the last layer's outputs z (logits) and the targets and
gives delta = d(loss) / dz, each row's loss and whether the row is predicted right (1 or 0). Rows lie side by side, so
that one vector instruction takes as many rows as it has lanes, however few outputs a row has.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from fastnn import elementary
from fastnn.compiler import inner

Columns = Callable[..., None]


@dataclass(frozen=True)
class Loss:
    """`make(F)` returns over_columns(z, t, width, rows, losses, hits, space, scale).

    z (width, rows) are the outputs and become delta; t are the targets: with `labels` (rows,) classes, written as
    numbers of type F, else (width, rows). All are flat; `space` has 2 * rows numbers of no meaning. The mean over the
    batch has weight `scale` a row.
    """

    name: str
    formula: str
    delta: str
    labels: bool
    source: str
    make: Callable[[type], Columns]


LOSSES: dict[str, Loss] = {}


def _register(**entry: Any) -> Callable[[Callable[[type], Columns]], Callable[[type], Columns]]:
    def add(make: Callable[[type], Columns]) -> Callable[[type], Columns]:
        LOSSES[make.__name__] = Loss(name=make.__name__, make=make, **entry)
        return make

    return add


@lru_cache
def _leading(F: type) -> Columns:
    """leading(x, width, rows, top, best, at, nought): each row's first largest to top[r], its number to best[at + r].

    `nought` is 0, but not to LLVM: it would make of each store a masked one, which is microcode on AMD's AVX2.
    """
    zero, one, behind = F(0), F(1), F(2.0**24)  # more than any width

    @inner
    def leading(x, width, rows, top, best, at, nought):
        for r in range(rows):
            top[r], best[at + r] = x[r], behind
        for c in range(1, width):
            for r in range(rows):
                top[r] = max(x[c * rows + r], top[r]) + nought
        number = zero
        for c in range(width):
            for r in range(rows):
                here = number if x[c * rows + r] == top[r] else behind
                best[at + r] = min(here, best[at + r]) + nought
            number += one

    return leading


def _hits(F: type, edge: Any) -> Columns:
    """Whether outputs and targets agree on the largest; of one output, whether it is above `edge` just where t is
    above 1/2."""
    zero, half, one, leading = F(0), F(0.5), F(1), _leading(F)

    @inner
    def hits_of(z, t, width, rows, hits, space, nought):
        if width == 1:
            for r in range(rows):
                hits[r] = one if (z[r] > edge) == (t[r] > half) else zero
            return
        leading(z, width, rows, space, hits, 0, nought)
        leading(t, width, rows, space, space, rows, nought)
        for r in range(rows):
            hits[r] = one if hits[r] == space[rows + r] else zero

    return hits_of


@_register(
    formula="ln(sum_c e^z_c) - z_label",
    delta="softmax(z) - onehot(label)",
    labels=True,
    source="lecture: cross entropy with softmax; fused, as Bishop 2006, section 4.3.4",
)
def cross_entropy(F: type) -> Columns:
    exp, log, leading, zero, one = elementary.exp_below_0(F), elementary.log(F), _leading(F), F(0), F(1)

    @inner
    def over_columns(z, t, width, rows, losses, hits, space, scale):
        leading(z, width, rows, losses, hits, 0, scale - scale)
        for r in range(rows):
            space[r], space[rows + r] = zero, zero  # sums of e^x, and x of the label
        number = zero
        for c in range(width):
            for r in range(rows):
                x = z[c * rows + r] - losses[r]
                y = exp(x)
                z[c * rows + r] = y
                space[r] += y
                space[rows + r] += x if t[r] == number else zero
            number += one
        for r in range(rows):
            losses[r] = log(space[r]) - space[rows + r]
            hits[r] = one if hits[r] == t[r] else zero
            space[r] = scale / space[r]
        number = zero
        for c in range(width):
            for r in range(rows):
                z[c * rows + r] = z[c * rows + r] * space[r] - (scale if t[r] == number else zero)
            number += one

    return over_columns


@_register(
    formula="max(z, 0) - z t + ln(1 + e^-|z|)",
    delta="sigmoid(z) - t",
    labels=False,
    source="on logits, in the stable form of PyTorch's binary_cross_entropy_with_logits",
)
def binary_cross_entropy(F: type) -> Columns:
    exp, log, sigmoid = elementary.exp(F), elementary.log(F), elementary.sigmoid(F)
    zero, one = F(0), F(1)
    hits_of = _hits(F, zero)

    @inner
    def over_columns(z, t, width, rows, losses, hits, space, scale):
        each, part = scale / F(width), one / F(width)
        hits_of(z, t, width, rows, hits, space, scale - scale)
        for r in range(rows):
            losses[r] = zero
        for i in range(0, width * rows, rows):
            for r in range(rows):
                x = z[i + r]
                u = exp(-abs(x))
                d = one + u
                # ln(1 + u) is ln d and what rounding took from d
                losses[r] += (zero if x < zero else x) - x * t[i + r] + (log(d) + (u - (d - one)))
                z[i + r] = (sigmoid(x) - t[i + r]) * each
        for r in range(rows):
            losses[r] = losses[r] * part

    return over_columns


@_register(formula="(z - t)^2", delta="2 (z - t)", labels=False, source="least squares; PyTorch's MSELoss")
def mse(F: type) -> Columns:
    zero, one, two = F(0), F(1), F(2)
    hits_of = _hits(F, F(0.5))

    @inner
    def over_columns(z, t, width, rows, losses, hits, space, scale):
        each, part = two * scale / F(width), one / F(width)
        hits_of(z, t, width, rows, hits, space, scale - scale)
        for r in range(rows):
            losses[r] = zero
        for i in range(0, width * rows, rows):
            for r in range(rows):
                e = z[i + r] - t[i + r]
                losses[r] += e * e
                z[i + r] = e * each
        for r in range(rows):
            losses[r] = losses[r] * part

    return over_columns
