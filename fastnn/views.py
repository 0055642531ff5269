"""A layer's own part of a network's parameters, by name."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from fastnn import samples
from fastnn.errors import check_finite
from fastnn.layers import Dense, Dropout, Weighted


class LayerView:
    """A layer after the input. Its parameters are views, which can be assigned to:

    weight (fan_in, fan_out) and bias (fan_out,); of a recurrent layer, whose fan_out is units times gates, also
    recurrent_weight (units, fan_out), and of a GRU recurrent_bias (fan_out,).
    """

    __slots__ = ("layer", "parts")  # to assign to another name is an error

    def __init__(self, layer: Weighted | Dropout) -> None:
        self.layer = layer
        self.parts: dict[str, np.ndarray] = {}  # by name, in the order of the parameters

    @property
    def activation(self) -> str:
        return "" if isinstance(self.layer, Dropout) else self.layer.activation

    def _get(self, name: str) -> np.ndarray:
        if name not in self.parts:
            raise AttributeError(f"{self.layer!r} has no {name}")
        return self.parts[name]

    def _set(self, name: str, value: Any) -> None:
        self.assign(name, self._get(name), value)
        self.disconnect()

    weight = property(lambda self: self._get("weight"), lambda self, value: self._set("weight", value))
    bias = property(lambda self: self._get("bias"), lambda self, value: self._set("bias", value))
    recurrent_weight = property(
        lambda self: self._get("recurrent_weight"), lambda self, value: self._set("recurrent_weight", value)
    )
    recurrent_bias = property(
        lambda self: self._get("recurrent_bias"), lambda self, value: self._set("recurrent_bias", value)
    )

    def disconnect(self) -> None:
        """Set masked weights to 0."""
        mask = self.layer.mask if isinstance(self.layer, Dense) else None
        if mask is not None:
            self.parts["weight"][np.asarray(mask) == 0] = 0

    @staticmethod
    def assign(name: str, array: np.ndarray, value: Any) -> None:
        """Write `value` into `array`; raises TypeError or ValueError, naming it, unless it fits and is finite."""
        new = samples.numeric(name, value)
        if new.shape != array.shape:
            raise ValueError(f"{name}: has shape {new.shape}; expected {array.shape}")
        with np.errstate(over="ignore"):
            array[...] = check_finite(name, new.astype(array.dtype))

    def __repr__(self) -> str:
        return f"LayerView({self.layer!r})"


def summary(inputs: int, views: Sequence[LayerView]) -> str:
    """A table of the layers after `inputs` numbers: layer, shapes of its weights, activation, number of parameters."""
    rows, total = [("layer", "shape", "activation", "parameters"), (f"Input({inputs})", "", "", "")], 0
    for view in views:
        if isinstance(view.layer, Dropout):
            rows.append((f"Dropout({view.layer.rate:g})", "", "", ""))
            continue
        shapes = ["x".join(map(str, part.shape)) for part in view.parts.values() if part.ndim == 2]
        name, count = f"{type(view.layer).__name__}({view.layer.units})", sum(map(np.size, view.parts.values()))
        rows.append((name, " + ".join(shapes), view.activation, f"{count:,}"))
        total += count
    rows.append(("total", "", "", f"{total:,}"))
    a, b, c, d = (max(map(len, column)) for column in zip(*rows, strict=True))
    return "\n".join(f"{r[0]:<{a}}  {r[1]:<{b}}  {r[2]:<{c}}  {r[3]:>{d}}".rstrip() for r in rows)
