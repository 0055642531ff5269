"""The losses: one entry each, in PyTorch's definitions: means over the batch, of mse and bce over all elements.

An entry reads the last layer's outputs z (logits) and the targets and gives delta = d(loss) / dz, each row's loss and
whether the row is predicted right (1 or 0). Its formulas are on single numbers (`Terms`). Of them it is one function
over a few rows of a batch, which lie side by side, so that one vector instruction takes as many rows as it has lanes,
however few outputs a row has; a GPU has a thread for each output and takes the formulas as they are.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NamedTuple

from fastnn import elementary
from fastnn.compiler import inner, scalar

Columns = Callable[..., None]


class Terms(NamedTuple):
    """The formulas of a loss. t is the target of an output: with labels 1 for that of the label and 0 for others.

    term(z, t, top) -> (y, a, b) of an output, `top` being the largest of its row; whole(a, b, width, scale) ->
    (loss, factor) of a row, from the sums of all a and of all b; delta(y, t, factor, scale) -> d(loss) / dz;
    hit(z, t, best, wanted, width) -> 1 if the row is right, `best` and `wanted` being where its first largest z and t
    are.
    """

    term: Callable[..., Any]
    whole: Callable[..., Any]
    delta: Callable[..., Any]
    hit: Callable[..., Any]


@dataclass(frozen=True)
class Loss:
    """`terms(F)` returns its formulas, `make(F)` over_columns(z, t, width, rows, losses, hits, space, scale).

    z (width, rows) are the outputs and become delta; t are the targets: with `labels` (rows,) classes, written as
    numbers of type F, else (width, rows). All are flat; `space` has 2 * rows numbers of no meaning. The mean over the
    batch has weight `scale` a row.
    """

    name: str
    formula: str
    delta: str
    labels: bool
    source: str
    terms: Callable[[type], Terms]
    make: Callable[[type], Columns]


LOSSES: dict[str, Loss] = {}


def _register(**entry: Any) -> Callable[[Callable[[type], Columns]], Callable[[type], Columns]]:
    def add(make: Callable[[type], Columns]) -> Callable[[type], Columns]:
        LOSSES[make.__name__] = Loss(name=make.__name__, make=make, **entry)
        return make

    return add


@lru_cache
def _leading(F: type) -> Columns:
    """leading(x, width, rows, top, best, nought): each row's first largest to top[r], its number to best[r].

    `nought` is 0, but not to LLVM: it would make of each store a masked one, which is microcode on AMD's AVX2.
    """
    zero, one, behind = F(0), F(1), F(2.0**24)  # more than any width

    @inner
    def leading(x, width, rows, top, best, nought):
        for r in range(rows):
            top[r], best[r] = x[r], behind
        for c in range(1, width):
            for r in range(rows):
                top[r] = max(x[c * rows + r], top[r]) + nought
        number = zero
        for c in range(width):
            for r in range(rows):
                here = number if x[c * rows + r] == top[r] else behind
                best[r] = min(here, best[r]) + nought
            number += one

    return leading


def _mean(F: type, term: Any, times: Any, edge: Any) -> Terms:
    """The formulas of a mean over all outputs, each of which has a target of its own: of what `term` gives as a, with
    `times` y for its delta. A row is right where outputs and targets agree on the largest; one of a single output where
    that is above `edge` just where t is above 1/2."""
    half, one, zero = F(0.5), F(1), F(0)

    @scalar
    def whole(a, b, width, scale):
        return a * (one / F(width)), times * scale / F(width)

    @scalar
    def delta(y, t, factor, scale):
        return y * factor

    @scalar
    def hit(z, t, best, wanted, width):
        right = (z > edge) == (t > half) if width == 1 else best == wanted
        return one if right else zero

    return Terms(term, whole, delta, hit)


@lru_cache
def _cross_entropy(F: type) -> Terms:
    exp, log, zero, half, one = elementary.exp_below_0(F), elementary.log(F), F(0), F(0.5), F(1)

    @scalar
    def term(z, t, top):
        x = z - top
        y = exp(x)
        return y, y, x if t > half else zero

    @scalar
    def whole(a, b, width, scale):
        return log(a) - b, scale / a

    @scalar
    def delta(y, t, factor, scale):
        return y * factor - (scale if t > half else zero)

    @scalar
    def hit(z, t, best, wanted, width):
        return one if best == wanted else zero

    return Terms(term, whole, delta, hit)


@_register(
    formula="ln(sum_c e^z_c) - z_label",
    delta="softmax(z) - onehot(label)",
    labels=True,
    source="lecture: cross entropy with softmax; fused, as Bishop 2006, section 4.3.4",
    terms=_cross_entropy,
)
def cross_entropy(F: type) -> Columns:
    (term, whole, delta, hit), leading, zero, one = _cross_entropy(F), _leading(F), F(0), F(1)

    @inner
    def over_columns(z, t, width, rows, losses, hits, space, scale):
        leading(z, width, rows, losses, hits, scale - scale)
        for r in range(rows):
            space[r], space[rows + r] = zero, zero  # sums of e^x, and x of the label
        number = zero
        for c in range(width):
            for r in range(rows):
                y, a, b = term(z[c * rows + r], one if t[r] == number else zero, losses[r])
                z[c * rows + r] = y
                space[r] += a
                space[rows + r] += b
            number += one
        for r in range(rows):
            losses[r], space[r] = whole(space[r], space[rows + r], width, scale)
            hits[r] = hit(zero, zero, hits[r], t[r], width)
        number = zero
        for c in range(width):
            for r in range(rows):
                z[c * rows + r] = delta(z[c * rows + r], one if t[r] == number else zero, space[r], scale)
            number += one

    return over_columns


def _of_numbers(F: type, name: str, terms: Terms) -> Columns:
    """over_columns of a loss that is a mean over all outputs, each of which has a target of its own."""
    (term, whole, delta, hit), leading, zero = terms, _leading(F), F(0)

    def over_columns(z, t, width, rows, losses, hits, space, scale):
        if width > 1:
            leading(z, width, rows, losses, hits, scale - scale)
            leading(t, width, rows, losses, space, scale - scale)
        for r in range(rows):
            hits[r] = hit(z[r], t[r], hits[r], space[r], width)
            losses[r] = zero
        factor = whole(zero, zero, width, scale)[1]
        for i in range(0, width * rows, rows):
            for r in range(rows):
                y, a, _ = term(z[i + r], t[i + r], zero)
                losses[r] += a
                z[i + r] = delta(y, t[i + r], factor, scale)
        for r in range(rows):
            losses[r] = whole(losses[r], zero, width, scale)[0]

    over_columns.__qualname__ = f"{name}.over_columns"  # machine code is kept under it
    return inner(over_columns)


@lru_cache
def _binary_cross_entropy(F: type) -> Terms:
    exp, log, sigmoid = elementary.exp(F), elementary.log(F), elementary.sigmoid(F)
    zero, one = F(0), F(1)

    @scalar
    def term(z, t, top):
        u = exp(-abs(z))
        d = one + u
        # ln(1 + u) is ln d and what rounding took from d
        return sigmoid(z) - t, (zero if z < zero else z) - z * t + (log(d) + (u - (d - one))), zero

    return _mean(F, term, one, zero)


@_register(
    formula="max(z, 0) - z t + ln(1 + e^-|z|)",
    delta="sigmoid(z) - t",
    labels=False,
    source="on logits, in the stable form of PyTorch's binary_cross_entropy_with_logits",
    terms=_binary_cross_entropy,
)
def binary_cross_entropy(F: type) -> Columns:
    return _of_numbers(F, "binary_cross_entropy", _binary_cross_entropy(F))


@lru_cache
def _mse(F: type) -> Terms:
    zero = F(0)

    @scalar
    def term(z, t, top):
        e = z - t
        return e, e * e, zero

    return _mean(F, term, F(2), F(0.5))


@_register(
    formula="(z - t)^2",
    delta="2 (z - t)",
    labels=False,
    source="least squares; PyTorch's MSELoss",
    terms=_mse,
)
def mse(F: type) -> Columns:
    return _of_numbers(F, "mse", _mse(F))
