"""The losses: one entry each, in PyTorch's definitions: means over the batch, of mse and bce over all elements.

An entry is one function over rows: it reads the last layer's outputs z (logits) and the rows' targets, writes
delta = d(loss) / dz, each row's loss and whether the row is predicted right (1 or 0).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from fastnn import elementary
from fastnn.compiler import inner

Rows = Callable[..., None]


@dataclass(frozen=True)
class Loss:
    """`make(F)` returns over_rows(z, delta, stride, width, target, index, losses, hits, rows, scale).

    z and delta are flat, with `stride` numbers a row, of which `width` are outputs; what lands in the others of delta
    is never read. The target of row r is that of sample index[r]: with `labels` a class, else `width` numbers. The
    mean over the batch has weight `scale` a row.
    """

    name: str
    formula: str
    delta: str
    labels: bool
    source: str
    make: Callable[[type], Rows]


LOSSES: dict[str, Loss] = {}


def _register(**entry: Any) -> Callable[[Callable[[type], Rows]], Callable[[type], Rows]]:
    def add(make: Callable[[type], Rows]) -> Callable[[type], Rows]:
        LOSSES[make.__name__] = Loss(name=make.__name__, make=make, **entry)
        return make

    return add


@inner
def largest(z, start, width):
    """Index of the first largest of z[start : start + width]."""
    best, top = 0, z[start]
    for c in range(1, width):
        x = z[start + c]
        # Choices instead of a branch: which class leads cannot be foreseen.
        best = c if x > top else best
        top = x if x > top else top
    return best


@_register(
    formula="ln(sum_c e^z_c) - z_label",
    delta="softmax(z) - onehot(label)",
    labels=True,
    source="lecture: cross entropy with softmax; fused, as Bishop 2006, section 4.3.4",
)
def cross_entropy(F: type) -> Rows:
    exp, log, zero, one = elementary.exp(F), elementary.log(F), F(0), F(1)

    @inner
    def over_rows(z, delta, stride, width, target, index, losses, hits, rows, scale):
        for r in range(rows):
            start = r * stride
            best, label = largest(z, start, width), target[index[r]]
            top = z[start + best]
            for c in range(width):
                delta[start + c] = z[start + c] - top
            losses[r] = delta[start + label]
            hits[r] = one if best == label else zero
        for i in range(rows * stride):  # over the padding too: one loop of whole vectors
            delta[i] = exp(delta[i])
        for r in range(rows):
            start = r * stride
            total = zero
            for c in range(width):
                total += delta[start + c]
            losses[r] = log(total) - losses[r]
            share = scale * (one / total)
            for c in range(width):
                delta[start + c] = delta[start + c] * share
            label = start + target[index[r]]
            delta[label] = delta[label] - scale

    return over_rows


@_register(
    formula="max(z, 0) - z t + ln(1 + e^-|z|)",
    delta="sigmoid(z) - t",
    labels=False,
    source="on logits, in the stable form of PyTorch's binary_cross_entropy_with_logits",
)
def binary_cross_entropy(F: type) -> Rows:
    exp, log, sigmoid, zero, half, one = (
        elementary.exp(F), elementary.log(F), elementary.sigmoid(F), F(0), F(0.5), F(1)
    )  # fmt: skip

    @inner
    def over_rows(z, delta, stride, width, target, index, losses, hits, rows, scale):
        each, part = scale / F(width), one / F(width)
        for r in range(rows):
            start, at = r * stride, index[r] * width
            for c in range(width):
                x, t = z[start + c], target[at + c]
                u = exp(-abs(x))
                d = one + u
                # ln(1 + u) is ln d and what rounding took from d
                delta[start + c] = (zero if x < zero else x) - x * t + (log(d) + (u - (d - one)))
            total = zero
            for c in range(width):
                total += delta[start + c]
            losses[r] = total * part
            for c in range(width):
                delta[start + c] = (sigmoid(z[start + c]) - target[at + c]) * each
            if width == 1:
                right = (z[start] > zero) == (target[at] > half)
            else:
                right = largest(z, start, width) == largest(target, at, width)
            hits[r] = one if right else zero

    return over_rows


@_register(formula="(z - t)^2", delta="2 (z - t)", labels=False, source="least squares; PyTorch's MSELoss")
def mse(F: type) -> Rows:
    zero, half, one, two = F(0), F(0.5), F(1), F(2)

    @inner
    def over_rows(z, delta, stride, width, target, index, losses, hits, rows, scale):
        each, part = two * scale / F(width), one / F(width)
        for r in range(rows):
            start, at = r * stride, index[r] * width
            total = zero
            for c in range(width):
                e = z[start + c] - target[at + c]
                total += e * e
                delta[start + c] = e * each
            losses[r] = total * part
            if width == 1:
                right = (z[start] > half) == (target[at] > half)
            else:
                right = largest(z, start, width) == largest(target, at, width)
            hits[r] = one if right else zero

    return over_rows
