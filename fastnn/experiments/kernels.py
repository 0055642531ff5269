"""The activation functions as training computes them: the engine's own compiled blocks, called on whole arrays."""

from __future__ import annotations

import ctypes
import time
from functools import lru_cache
from typing import Any

import numpy as np

_TYPES: dict[str, tuple[Any, Any]] = {
    "float32": (np.float32, ctypes.c_float),
    "float64": (np.float64, ctypes.c_double),
}


@lru_cache
def _blocks(name: str, dtype: str) -> tuple[Any, Any] | None:
    """Value and derivative of an activation over memory; None for identity, which has no block."""
    from fastnn.cpu import blocks

    there, back = blocks.activation(name, _TYPES[dtype][0])
    if not there:
        return None
    size, number = ctypes.c_ssize_t, _TYPES[dtype][1]
    value = ctypes.CFUNCTYPE(None, size, size, number)(there)
    return value, ctypes.CFUNCTYPE(None, size, size, size, number)(back)


def _slope(name: str, given: float | None) -> float:
    """The slope to compute with: 0 for those without one, whatever is given."""
    from fastnn.activations import ACTIVATIONS

    default = ACTIVATIONS[name].slope
    return default if given is None or not default else given


def value(name: str, x: np.ndarray, slope: float | None = None) -> np.ndarray:
    """y = f(x), of x's shape, for float32 or float64; `slope` is leaky relu's."""
    y = np.array(x, order="C")
    found = _blocks(name, y.dtype.name)
    if found is not None:
        found[0](y.ctypes.data, y.size, _slope(name, slope))
    return y


def derivative(name: str, y: np.ndarray, slope: float | None = None) -> np.ndarray:
    """f'(x), of y's shape, from y = f(x)."""
    y = np.ascontiguousarray(y)
    found, d = _blocks(name, y.dtype.name), np.ones_like(y)
    if found is not None:
        found[1](y.ctypes.data, d.ctypes.data, y.size, _slope(name, slope))
    return d


def nanoseconds(names: tuple[str, ...], numbers: int = 4096, rounds: int = 30) -> dict[str, float]:
    """The least time seen for one number of a float32 array, ns, for each of the activations, measured in turns."""
    x = np.linspace(-3, 3, numbers, dtype=np.float32)
    least = dict.fromkeys(names, float("inf"))
    for _ in range(rounds):
        for name in names:
            found = _blocks(name, "float32")
            if found is None:
                least[name] = 0.0
                continue
            y, slope = x.copy(), _slope(name, None)
            began = time.perf_counter()
            found[0](y.ctypes.data, numbers, slope)
            least[name] = min(least[name], (time.perf_counter() - began) * 1e9 / numbers)
    return least
