"""The activation functions: one entry each, read by the CPU and CUDA engines, the UI, the docs, tests and benchmarks.

An entry is two formulas on single numbers: the value y = f(x), and the derivative f'(x) written in terms of y, which is
all that the backward pass still has. `slope` is a layer's own constant; 0 but for leaky_relu.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from fastnn import elementary
from fastnn.compiler import scalar

Pair = tuple[Callable[..., Any], Callable[..., Any]]


@dataclass(frozen=True)
class Activation:
    """`make(F)` returns (value(x, slope), derivative(y, slope)) compiled for F = np.float32 or np.float64."""

    name: str
    formula: str
    derivative: str
    range: tuple[float, float]
    source: str
    make: Callable[[type], Pair]
    slope: float = 0.0
    saturates: tuple[float, ...] = ()  # the ends of the range that are approached but not reached


ACTIVATIONS: dict[str, Activation] = {}


def _register(**entry: Any) -> Callable[[Callable[[type], Pair]], Callable[[type], Pair]]:
    def add(make: Callable[[type], Pair]) -> Callable[[type], Pair]:
        ACTIVATIONS[make.__name__] = Activation(name=make.__name__, make=make, **entry)
        return make

    return add


_INF = float("inf")


@_register(formula="x", derivative="1", range=(-_INF, _INF), source="lecture: linear; stacked, it is one linear layer")
def identity(F: type) -> Pair:
    one = F(1)

    @scalar
    def value(x, slope):
        return x

    @scalar
    def derivative(y, slope):
        return one

    return value, derivative


@_register(
    formula="1 / (1 + e^-x)",
    derivative="y (1 - y)",
    range=(0.0, 1.0),
    saturates=(0.0, 1.0),
    source="Rumelhart, Hinton and Williams 1986; lecture: saturates, not zero-centered",
)
def sigmoid(F: type) -> Pair:
    sigmoid_, one = elementary.sigmoid(F), F(1)

    @scalar
    def value(x, slope):
        return sigmoid_(x)

    @scalar
    def derivative(y, slope):
        return y * (one - y)

    return value, derivative


@_register(
    formula="(1 - e^-2x) / (1 + e^-2x)",
    derivative="1 - y^2",
    range=(-1.0, 1.0),
    saturates=(-1.0, 1.0),
    source="LeCun, Bottou, Orr and Mueller 1998, Efficient BackProp; lecture: zero-centered, exp is expensive",
)
def tanh(F: type) -> Pair:
    tanh_, one = elementary.tanh(F), F(1)

    @scalar
    def value(x, slope):
        return tanh_(x)

    @scalar
    def derivative(y, slope):
        return one - y * y

    return value, derivative


@_register(
    formula="max(0, x)",
    derivative="1 where y > 0, else 0",
    range=(0.0, _INF),
    source="Nair and Hinton 2010; Krizhevsky et al. 2012",
)
def relu(F: type) -> Pair:
    zero, one = F(0), F(1)

    @scalar
    def value(x, slope):
        # In this form a NaN is not hidden. The slope is 0, which LLVM does not know: without it the store becomes a
        # masked one, microcode on AMD's AVX2 (1,024 numbers in 550 ns, and in 60 so).
        return (zero if x < zero else x) + slope

    @scalar
    def derivative(y, slope):
        return one if y > zero else zero

    return value, derivative


@_register(
    formula="x where x > 0, else slope x",
    derivative="1 where y > 0, else slope",
    range=(-_INF, _INF),
    slope=0.01,
    source="Maas, Hannun and Ng 2013; slope 0.01 unless the layer says otherwise",
)
def leaky_relu(F: type) -> Pair:
    zero, one = F(0), F(1)

    @scalar
    def value(x, slope):
        return x * (slope if x < zero else one)  # not `x * slope if ..`: see relu

    @scalar
    def derivative(y, slope):
        return one if y > zero else slope

    return value, derivative
