"""The losses: one entry each, in PyTorch's definitions: means over the batch, of mse and bce over all elements.

An entry is one function over a row: it reads the last layer's outputs z (logits) and the row's target, writes
delta = d(loss) / dz and returns the row's loss and whether the row is predicted right (1 or 0).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from fastnn import elementary
from fastnn.compiler import inner

Row = Callable[..., Any]


@dataclass(frozen=True)
class Loss:
    """`make(F)` returns row(z, delta, start, width, target, at, scale) -> (loss, hit).

    z and delta are flat, the row begins at `start` and has `width` outputs; the loss's mean over the batch has weight
    `scale` a row. With `labels` the target of the row is the class target[at], else the numbers from target[at] on.
    """

    name: str
    formula: str
    delta: str
    labels: bool
    source: str
    make: Callable[[type], Row]


LOSSES: dict[str, Loss] = {}


def _register(**entry: Any) -> Callable[[Callable[[type], Row]], Callable[[type], Row]]:
    def add(make: Callable[[type], Row]) -> Callable[[type], Row]:
        LOSSES[make.__name__] = Loss(name=make.__name__, make=make, **entry)
        return make

    return add


@inner
def largest(z, start, width):
    """Index of the first largest of z[start : start + width]."""
    best = 0
    for c in range(1, width):
        if z[start + c] > z[start + best]:
            best = c
    return best


@_register(
    formula="ln(sum_c e^z_c) - z_label",
    delta="softmax(z) - onehot(label)",
    labels=True,
    source="lecture: cross entropy with softmax; fused, as Bishop 2006, section 4.3.4",
)
def cross_entropy(F: type) -> Row:
    exp, zero, one = elementary.exp(F), F(0), F(1)

    @inner
    def row(z, delta, start, width, target, at, scale):
        label = target[at]
        best = largest(z, start, width)
        top = z[start + best]
        for c in range(width):
            delta[start + c] = exp(z[start + c] - top)
        total = zero
        for c in range(width):
            total += delta[start + c]
        share = scale * (one / total)
        for c in range(width):
            delta[start + c] = delta[start + c] * share
        delta[start + label] = delta[start + label] - scale
        return F(math.log(total)) - (z[start + label] - top), one if best == label else zero

    return row


@_register(
    formula="max(z, 0) - z t + ln(1 + e^-|z|)",
    delta="sigmoid(z) - t",
    labels=False,
    source="on logits, in the stable form of PyTorch's binary_cross_entropy_with_logits",
)
def binary_cross_entropy(F: type) -> Row:
    exp, sigmoid, zero, half, one = elementary.exp(F), elementary.sigmoid(F), F(0), F(0.5), F(1)

    @inner
    def row(z, delta, start, width, target, at, scale):
        total, each = zero, scale / F(width)
        for c in range(width):
            x, t = z[start + c], target[at + c]
            total += (zero if x < zero else x) - x * t + F(math.log1p(exp(-abs(x))))
            delta[start + c] = (sigmoid(x) - t) * each
        if width == 1:
            right = (z[start] > zero) == (target[at] > half)
        else:
            right = largest(z, start, width) == largest(target, at, width)
        return total / F(width), one if right else zero

    return row


@_register(formula="(z - t)^2", delta="2 (z - t)", labels=False, source="least squares; PyTorch's MSELoss")
def mse(F: type) -> Row:
    zero, half, one, two = F(0), F(0.5), F(1), F(2)

    @inner
    def row(z, delta, start, width, target, at, scale):
        total, each = zero, two * scale / F(width)
        for c in range(width):
            e = z[start + c] - target[at + c]
            total += e * e
            delta[start + c] = e * each
        if width == 1:
            right = (z[start] > half) == (target[at] > half)
        else:
            right = largest(z, start, width) == largest(target, at, width)
        return total / F(width), one if right else zero

    return row
