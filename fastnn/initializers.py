"""The weight initializers: one entry each. All draw from NumPy's counter-based Philox, keyed by (seed, layer)."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from fastnn.errors import check_choice, check_float
from fastnn.random import WEIGHTS, host_generator


@dataclass(frozen=True)
class Initializer:
    """Weights of mean 0 and standard deviation `std(fan_in, fan_out)`: normal, or uniform in +-sqrt(3) std."""

    name: str
    formula: str
    source: str
    std: Callable[[float, float], float]
    uniform: bool = False

    def draw(
        self, fan_in: int, fan_out: int, seed: int, layer: int, fans: tuple[float, float] | None = None
    ) -> np.ndarray:
        """A (fan_in, fan_out) float64 array, a function of (seed, layer) only.

        `fans`: the connections of a unit before and behind, where they are not all (fan_in, fan_out).
        """
        std, generator = self.std(*(fans or (fan_in, fan_out))), host_generator(seed, WEIGHTS + layer)
        if self.uniform:
            edge = math.sqrt(3) * std
            return generator.uniform(-edge, edge, (fan_in, fan_out))
        return generator.standard_normal((fan_in, fan_out)) * std


@dataclass(frozen=True)
class _Always:
    value: float

    def __call__(self, fan_in: float, fan_out: float) -> float:
        return self.value


def Normal(std: float) -> Initializer:
    """N(0, std^2), whatever the layer's size; raises ValueError for a std that is negative or not finite."""
    std = check_float("std", std, 0)
    return Initializer(
        f"normal({std:g})", f"N(0, {std:g}^2)", "lecture: weight initialization experiment", _Always(std)
    )


_GLOROT = "Glorot and Bengio 2010"
_HE = "He, Zhang, Ren and Sun 2015"
INITIALIZERS: dict[str, Initializer] = {
    entry.name: entry
    for entry in (
        Initializer("zeros", "0", "every unit of a layer stays the same as the next: for teaching", lambda i, o: 0.0),
        Initializer("normal", "N(0, 1)", "lecture: saturates tanh", lambda i, o: 1.0),
        Initializer("small_normal", "N(0, 0.01^2)", "lecture: tanh's outputs shrink layer by layer", lambda i, o: 0.01),
        Initializer("xavier", "N(0, 2 / (fan_in + fan_out))", _GLOROT, lambda i, o: math.sqrt(2 / (i + o))),
        Initializer("he", "N(0, 2 / fan_in)", _HE, lambda i, o: math.sqrt(2 / i)),
        Initializer("lecture_he", "N(0, 4 / (fan_in + fan_out))", "lecture", lambda i, o: math.sqrt(4 / (i + o))),
        Initializer(
            "xavier_uniform", "U(+-sqrt(6 / (fan_in + fan_out)))", _GLOROT, lambda i, o: math.sqrt(2 / (i + o)), True
        ),
        Initializer("he_uniform", "U(+-sqrt(6 / fan_in))", _HE, lambda i, o: math.sqrt(2 / i), True),
        Initializer("lecun", "N(0, 1 / fan_in)", "LeCun, Bottou, Orr and Mueller 1998", lambda i, o: math.sqrt(1 / i)),
    )
}


def initializer(argument: str, value: Any) -> Initializer:
    """The initializer for a name or an `Initializer`; errors name `argument`."""
    return value if isinstance(value, Initializer) else INITIALIZERS[check_choice(argument, value, INITIALIZERS)]
