"""What a network is made of: small frozen descriptions, without numbers of their own."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from fastnn.activations import ACTIVATIONS
from fastnn.cells import CELLS, Loop
from fastnn.errors import check_choice, check_float, check_int, shown
from fastnn.initializers import Initializer, initializer
from fastnn.masks import Mask

MOST_STEPS = 2**31 - 1  # of a sequence
RECURRENT = 1 << 16  # added to a layer's number, for the draws of its recurrent weight


@dataclass(frozen=True)
class Layer:
    """Base of the layers, so that a list of them has a type."""


@dataclass(frozen=True)
class Input(Layer):
    """Rows of `size` features, or before recurrent layers sequences x (n, T, size) of T time steps.

    T may be another at each call, unless `steps` says it: then x may also be (n, steps * size), step after step, as an
    image is row by row. Raises TypeError or ValueError unless both are integers of 1 or more, and steps below 2**31.
    """

    size: int
    steps: int | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "size", check_int("Input: size", self.size))
        if self.steps is not None:
            object.__setattr__(self, "steps", check_int("Input: steps", self.steps, 1, MOST_STEPS))


@dataclass(frozen=True)
class Dense(Layer):
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
        _check_units(self)
        if self.mask is not None:
            mask = self.mask if isinstance(self.mask, Mask) else Mask(self.mask, "Dense: mask")
            if mask.shape[1] != self.units:
                raise ValueError(f"Dense: mask: has shape {mask.shape}; expected (fan_in, {self.units})")
            object.__setattr__(self, "mask", mask)

    def start(self, fan_in: int, seed: int, number: int) -> dict[str, np.ndarray]:
        """The numbers other than 0 that the layer begins with, by name; `number` is its place among the layers."""
        init = _initializer(self)
        if self.mask is None:
            return {"weight": init.draw(fan_in, self.units, seed, number)}
        connections = max(1, self.mask.connections)
        fans = max(1.0, connections / self.units), max(1.0, connections / fan_in)
        return {"weight": init.draw(fan_in, self.units, seed, number, fans) * np.asarray(self.mask)}

    @property
    def constant(self) -> float:
        """The slope that the activation is computed with."""
        return _slope(self)

    @property
    def initializer(self) -> Initializer:
        """What its weights are drawn with."""
        return _initializer(self)


def _check_units(layer: Dense | Recurrent) -> None:
    """See that units, activation, init and slope are what they may be."""
    name = type(layer).__name__
    object.__setattr__(layer, "units", check_int(f"{name}: units", layer.units))
    check_choice(f"{name}: activation", layer.activation, ACTIVATIONS)
    if layer.init is not None:
        initializer(f"{name}: init", layer.init)
    if layer.slope is not None:
        if not ACTIVATIONS[layer.activation].slope:
            raise ValueError(
                f"{name}: slope: {layer.slope!r} given for {layer.activation!r}; only leaky_relu has a slope"
            )
        # A slope of 0 or less would make y's sign say nothing about x's, which the derivative reads from y.
        check_float(f"{name}: slope", layer.slope, 0, 1, above=True, below=True)


def _slope(layer: Dense | Recurrent) -> float:
    return ACTIVATIONS[layer.activation].slope if layer.slope is None else float(layer.slope)


def _initializer(layer: Dense | Looped) -> Initializer:
    rectified = layer.activation in ("relu", "leaky_relu")
    name = ("he" if rectified else "xavier") if layer.init is None else layer.init
    return initializer(f"{type(layer).__name__}: init", name)


class Looped(Layer):
    """What recurrent layers have in common; `cell` is a name of fastnn.cells.CELLS."""

    cell: ClassVar[str]
    units: int
    activation: str
    return_sequences: bool
    truncate: int | None
    init: str | Initializer | None

    @property
    def loop(self) -> Loop:
        return Loop(self.cell, self.return_sequences, self.truncate or 0)

    @property
    def constant(self) -> float:
        return 0.0

    def _check_loop(self) -> None:
        name = type(self).__name__
        if not isinstance(self.return_sequences, (bool, np.bool_)):
            raise TypeError(f"{name}: return_sequences: {shown(self.return_sequences)}; expected True or False")
        object.__setattr__(self, "return_sequences", bool(self.return_sequences))
        if self.truncate is not None:
            object.__setattr__(self, "truncate", check_int(f"{name}: truncate", self.truncate, 1, MOST_STEPS))

    def start(self, fan_in: int, seed: int, number: int) -> dict[str, np.ndarray]:
        """The numbers other than 0 that the layer begins with, by name; `number` is its place among the layers."""
        columns, init = self.units * CELLS[self.cell].gates, _initializer(self)
        units = float(self.units)
        return {
            "weight": init.draw(fan_in, columns, seed, number, (fan_in, units)),
            "recurrent_weight": init.draw(self.units, columns, seed, RECURRENT + number, (units, units)),
        }


@dataclass(frozen=True)
class Recurrent(Looped):
    """A simple recurrent layer: h_t = f(x_t W + h_(t-1) W_h + b), h_0 = 0, for x (n, T, fan_in).

    Its output is the last h_t (n, units), or with `return_sequences` all of them (n, T, units). `truncate`: gradients
    flow back through so many steps at a time, counted from the last (truncated backpropagation through time, Werbos
    1990). `activation`, `init` and `slope` are as for Dense; the recurrent weight is drawn like it, with a fan_in
    and fan_out of `units`. Raises TypeError or ValueError, naming the argument.
    """

    cell: ClassVar[str] = "recurrent"
    units: int
    activation: str = "tanh"
    return_sequences: bool = False
    truncate: int | None = None
    init: str | Initializer | None = None
    slope: float | None = None

    def __post_init__(self) -> None:
        _check_units(self)
        self._check_loop()

    @property
    def constant(self) -> float:
        """The slope that the activation is computed with."""
        return _slope(self)


@dataclass(frozen=True)
class _Gated(Looped):
    units: int
    return_sequences: bool = False
    truncate: int | None = None
    init: str | Initializer | None = None
    activation = "tanh"  # of its outputs

    def __post_init__(self) -> None:
        name = type(self).__name__
        object.__setattr__(self, "units", check_int(f"{name}: units", self.units))
        if self.init is not None:
            initializer(f"{name}: init", self.init)
        self._check_loop()


@dataclass(frozen=True)
class GRU(_Gated):
    """A layer of gated recurrent units: torch.nn.GRU's formulas and order of gates, weight (fan_in, 3 units).

    r = sigmoid(x W_r + b_r + h' U_r + c_r), u = sigmoid(x W_u + b_u + h' U_u + c_u),
    n = tanh(x W_n + b_n + r (h' U_n + c_n)), h = (1 - u) n + u h', where h' is the step before's, U the recurrent
    weight and c the recurrent bias (Cho et al. 2014). Arguments are Recurrent's, but activation and slope.
    """

    cell: ClassVar[str] = "gru"


@dataclass(frozen=True)
class LSTM(_Gated):
    """A layer of long short-term memory: torch.nn.LSTM's formulas and order of gates, weight (fan_in, 4 units).

    i, f, g, o = sigmoid, sigmoid, tanh, sigmoid of x W + h' U + b; c = f c' + i g; h = o tanh(c), where h' and c' are
    the step before's. One bias where PyTorch adds two; that of the forget gate begins at 1 (Gers, Schmidhuber and
    Cummins 2000), not at 0 (Hochreiter and Schmidhuber 1997). Arguments are Recurrent's, but activation and slope.
    """

    cell: ClassVar[str] = "lstm"

    def start(self, fan_in: int, seed: int, number: int) -> dict[str, np.ndarray]:
        """The numbers other than 0 that the layer begins with, by name; `number` is its place among the layers."""
        return {**super().start(fan_in, seed, number), "bias": np.repeat([0.0, 1.0, 0.0, 0.0], self.units)}


@dataclass(frozen=True)
class Dropout(Layer):
    """While training, a unit of the layer before is 0 with probability `rate`, 0 <= rate < 1, or else scaled by
    1 / (1 - rate) (Srivastava et al. 2014); otherwise nothing. Raises TypeError or ValueError for another rate."""

    rate: float

    def __post_init__(self) -> None:
        check_float("Dropout: rate", self.rate, 0, 1, below=True)


Weighted = Dense | Recurrent | GRU | LSTM  # layers that have parameters


def from_sizes(sizes: Any, activation: str, init: str | Initializer | None) -> list[Layer]:
    """The layers of [inputs, hidden ..., outputs]: hidden layers take `activation`, the last is linear."""
    for i, size in enumerate(sizes):
        if isinstance(size, Layer):
            wanted = "integers, or a list that begins with Input"
            raise TypeError(f"layers[{i}]: {shown(size)} behind a size; expected {wanted}")
    *hidden, outputs = sizes[1:]
    layers: list[Layer] = [Input(check_int("layers[0]", sizes[0]))]
    layers += [Dense(check_int(f"layers[{i}]", size), activation, init) for i, size in enumerate(hidden, 1)]
    return [*layers, Dense(check_int(f"layers[{len(sizes) - 1}]", outputs), "identity", init)]


def check_stack(layers: list[Any]) -> None:
    """See that the layers follow one another as they can: Input, then layers with at most one Dropout before each."""
    through = True  # whether time steps come through
    for i, layer in enumerate(layers):
        if not isinstance(layer, Input | Dropout | Weighted):
            kinds = "Input, Dense, Dropout, Recurrent, GRU or LSTM"
            raise TypeError(f"layers[{i}]: {layer!r}; expected {kinds} (or all of them integers)")
        if isinstance(layer, Input) != (i == 0):
            raise ValueError(f"layers[{i}]: {layer!r}; expected Input first, and only there")
        if isinstance(layer, Dropout) and not (i + 1 < len(layers) and isinstance(layers[i + 1], Weighted)):
            raise ValueError(f"layers[{i}]: {layer!r}; expected a layer with weights after it")
        if isinstance(layer, Looped):
            if not through:
                raise ValueError(f"layers[{i}]: {layer!r} after a layer that gives its last step only; "
                                 "expected return_sequences=True in the recurrent layer before")  # fmt: skip
            through = layer.return_sequences
    if not any(isinstance(layer, Weighted) for layer in layers):
        raise ValueError(f"layers: {layers!r}; expected at least one layer with weights after the input")
    first = layers[0]
    assert isinstance(first, Input)
    if first.steps is not None and not any(isinstance(layer, Looped) for layer in layers):
        raise ValueError(f"layers[0]: {first!r} without a recurrent layer; expected steps where there is one")
    units = first.size
    for i, layer in enumerate(layers):
        if isinstance(layer, Dense) and layer.mask is not None and layer.mask.shape[0] != units:
            raise ValueError(f"layers[{i}]: mask: has shape {layer.mask.shape}; expected {(units, layer.units)}")
        units = layer.units if isinstance(layer, Weighted) else units


def shape_of(layers: list[Any]) -> tuple[tuple[int, ...], tuple[Loop | None, ...]]:
    """Sizes of the input and of each layer with weights; and how each of these goes through time, () if none does."""
    weighted = [layer for layer in layers if isinstance(layer, Weighted)]
    loops = tuple(layer.loop if isinstance(layer, Looped) else None for layer in weighted)
    return (layers[0].size, *(layer.units for layer in weighted)), loops if any(loops) else ()


def dropout_rates(layers: list[Layer]) -> tuple[float, ...]:
    """The share of the inputs, and of the outputs of each layer with weights, that training drops."""
    rates = [0.0]
    for layer in layers:
        if isinstance(layer, Dropout):
            rates[-1] = float(layer.rate)
        elif isinstance(layer, Weighted):
            rates.append(0.0)
    return tuple(rates)
