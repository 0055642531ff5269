"""What a network is made of: small frozen descriptions, without numbers of their own."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from fastnn.activations import ACTIVATIONS
from fastnn.errors import check_choice, check_float, check_int
from fastnn.initializers import Initializer, initializer
from fastnn.masks import Mask


@dataclass(frozen=True)
class Input:
    """Rows of `size` features. Raises TypeError or ValueError unless size is an integer of 1 or more."""

    size: int

    def __post_init__(self) -> None:
        object.__setattr__(self, "size", check_int("Input: size", self.size))


@dataclass(frozen=True)
class Dense:
    """A fully connected layer: y = f(x W + b), x (n, fan_in), W (fan_in, units), b (units,), y (n, units).

    `activation` is a name of fastnn.activations.ACTIVATIONS; `init` a name of fastnn.initializers.INITIALIZERS or an
    initializer, by default "he" before relu and leaky_relu and "xavier" otherwise; `slope` is leaky_relu's, between 0
    and 1. `mask` (fan_in, units) of 0 and 1, from fastnn.masks or any array, makes it partially connected: weights
    where it is 0 are 0, have no gradient and are never updated, and initializers count a unit's connections, on the
    average, as its fan_in and fan_out. Raises TypeError or ValueError, naming the argument.
    """

    units: int
    activation: str = "identity"
    init: str | Initializer | None = None
    slope: float | None = None
    mask: Any = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "units", check_int("Dense: units", self.units))
        check_choice("Dense: activation", self.activation, ACTIVATIONS)
        if self.init is not None:
            initializer("Dense: init", self.init)
        if self.slope is not None:
            if not ACTIVATIONS[self.activation].slope:
                raise ValueError(
                    f"Dense: slope: {self.slope!r} given for {self.activation!r}; only leaky_relu has a slope"
                )
            # A slope of 0 or less would make y's sign say nothing about x's, which the derivative reads from y.
            check_float("Dense: slope", self.slope, 0, 1, above=True, below=True)
        if self.mask is not None:
            mask = self.mask if isinstance(self.mask, Mask) else Mask(self.mask, "Dense: mask")
            if mask.shape[1] != self.units:
                raise ValueError(f"Dense: mask: has shape {mask.shape}; expected (fan_in, {self.units})")
            object.__setattr__(self, "mask", mask)

    def first_weights(self, fan_in: int, seed: int, number: int) -> np.ndarray:
        """The weights (fan_in, units) that the layer begins with, float64; `number` is its place among the layers."""
        if self.mask is None:
            return self.initializer.draw(fan_in, self.units, seed, number)
        connections = max(1, self.mask.connections)
        fans = max(1.0, connections / self.units), max(1.0, connections / fan_in)
        return self.initializer.draw(fan_in, self.units, seed, number, fans) * np.asarray(self.mask)

    @property
    def constant(self) -> float:
        """The slope that the activation is computed with."""
        return ACTIVATIONS[self.activation].slope if self.slope is None else float(self.slope)

    @property
    def initializer(self) -> Initializer:
        if self.init is not None:
            return initializer("Dense: init", self.init)
        return initializer("Dense: init", "he" if self.activation in ("relu", "leaky_relu") else "xavier")


@dataclass(frozen=True)
class Dropout:
    """While training, a unit of the layer before is 0 with probability `rate`, 0 <= rate < 1, or else scaled by
    1 / (1 - rate) (Srivastava et al. 2014); otherwise nothing. Raises TypeError or ValueError for another rate."""

    rate: float

    def __post_init__(self) -> None:
        check_float("Dropout: rate", self.rate, 0, 1, below=True)


Layer = Input | Dense | Dropout


def from_sizes(sizes: Any, activation: str, init: str | Initializer | None) -> list[Layer]:
    """The layers of [inputs, hidden ..., outputs]: hidden layers take `activation`, the last is linear."""
    *hidden, outputs = sizes[1:]
    layers: list[Layer] = [Input(check_int("layers[0]", sizes[0]))]
    layers += [Dense(check_int(f"layers[{i}]", size), activation, init) for i, size in enumerate(hidden, 1)]
    return [*layers, Dense(check_int(f"layers[{len(sizes) - 1}]", outputs), "identity", init)]


def check_stack(layers: list[Layer]) -> None:
    """See that the layers follow one another as they can: Input, then Dense, with at most one Dropout before each."""
    for i, layer in enumerate(layers):
        if not isinstance(layer, Layer):
            raise TypeError(f"layers[{i}]: {layer!r}; expected Input, Dense or Dropout (or all of them integers)")
        if isinstance(layer, Input) != (i == 0):
            raise ValueError(f"layers[{i}]: {layer!r}; expected Input first, and only there")
        if isinstance(layer, Dropout) and not (i + 1 < len(layers) and isinstance(layers[i + 1], Dense)):
            raise ValueError(f"layers[{i}]: {layer!r}; expected a Dense layer after it")
    if not any(isinstance(layer, Dense) for layer in layers):
        raise ValueError(f"layers: {layers!r}; expected at least one Dense layer after the input")
