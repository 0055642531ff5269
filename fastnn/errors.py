"""Errors that a caller can cause, found on the host before any compiled code runs.

Every message names the argument, the value that was given and what was expected.
"""

from __future__ import annotations

import difflib
import math
import numbers
from collections.abc import Iterable
from typing import Any

import numpy as np


class FastnnError(Exception):
    """Base of the errors that are fastnn's own."""


class DataError(FastnnError, ValueError):
    """A data set, model or run file that is missing, damaged, cut short or of the wrong kind."""


class DeviceError(FastnnError, RuntimeError):
    """A device that cannot be used: what is missing (package, driver, GPU, memory), or what became of it."""


class DivergenceError(FastnnError, ArithmeticError):
    """Training reached NaN or Inf; the network holds the last finite parameters.

    Attributes: `epoch` and `step` (both counted from 1) of the update that would have made a parameter or the
    loss non-finite; `history`, what was recorded until then.
    """

    def __init__(self, epoch: int, step: int, history: Any = None) -> None:
        super().__init__(
            f"training diverged to NaN or Inf at epoch {epoch}, step {step}; the network keeps its last finite "
            "parameters: lower the learning rate or check the scale of the data"
        )
        self.epoch, self.step, self.history = epoch, step, history

    def __reduce__(self) -> Any:  # a pool whose worker raised what cannot be read back waits forever
        return DivergenceError, (self.epoch, self.step, self.history)


def shown(value: Any, limit: int = 60) -> str:
    """`repr(value)`, on one line and cut to a length that fits in a message."""
    text = " ".join(repr(value).splitlines())
    return text if len(text) <= limit else text[: limit - 3] + "..."


def unknown(argument: str, value: Any, known: Iterable[str]) -> ValueError:
    """The error for a name that is not in a registry, with the nearest known one."""
    names = sorted(known)
    near = difflib.get_close_matches(str(value).lower(), names, n=1, cutoff=0.5)
    hint = f"did you mean {near[0]!r}? " if near else ""
    return ValueError(f"{argument}: unknown name {shown(value)}; {hint}known: {', '.join(names)}")


def check_choice(argument: str, value: Any, known: Iterable[str]) -> str:
    """Return `value` if it is one of `known`; raises TypeError for a non-string, ValueError otherwise."""
    known = tuple(known)
    if not isinstance(value, str):
        names = ", ".join(sorted(known))
        raise TypeError(
            f"{argument}: expected a name, got {shown(value)} of type {type(value).__name__}; known: {names}"
        )
    if value not in known:
        raise unknown(argument, value, known)
    return value


def check_int(argument: str, value: Any, low: int = 1, high: int | None = None) -> int:
    """Return `value` as an int in [low, high]; a bool or a fraction is a TypeError, out of range a ValueError."""
    if isinstance(value, bool) or not isinstance(value, numbers.Integral):
        raise TypeError(f"{argument}: expected an integer, got {shown(value)} of type {type(value).__name__}")
    value = int(value)
    if value < low or (high is not None and value > high):
        wanted = f"{low} or more" if high is None else f"from {low} to {high}"
        raise ValueError(f"{argument}: {value} is out of range; expected {wanted}")
    return value


def check_float(
    argument: str,
    value: Any,
    low: float = -math.inf,
    high: float = math.inf,
    *,
    above: bool = False,
    below: bool = False,
) -> float:
    """Return `value` as a finite float in [low, high]; `above` excludes low itself, `below` excludes high."""
    if isinstance(value, bool) or not isinstance(value, numbers.Real):
        raise TypeError(f"{argument}: expected a number, got {shown(value)} of type {type(value).__name__}")
    try:
        number = float(value)
    except OverflowError:
        number = math.inf
    ok = (
        math.isfinite(number)
        and (number > low if above else number >= low)
        and (number < high if below else number <= high)
    )
    if not ok:
        left, right = "(" if above or low == -math.inf else "[", ")" if below or high == math.inf else "]"
        raise ValueError(
            f"{argument}: {shown(value)} is out of range; expected a finite number in {left}{low}, {high}{right}"
        )
    return number


def is_finite(array: np.ndarray) -> bool:
    """Whether there is no NaN and no Inf in `array`."""
    # A finite sum of finite values proves them finite in one pass with no array of flags; only an
    # overflowing or poisoned sum needs the slow look.
    with np.errstate(over="ignore", invalid="ignore"):
        total = np.sum(array, dtype=array.dtype.type)  # of the machine's byte order
    return bool(np.isfinite(total) or np.isfinite(array).all())


def check_finite(argument: str, array: np.ndarray) -> np.ndarray:
    """Return `array`; a ValueError names the first NaN or Inf and where it is."""
    if not is_finite(array):
        bad = np.argwhere(~np.isfinite(array))
        where = tuple(int(i) for i in bad[0])
        raise ValueError(
            f"{argument}: {array[where]} at index {where if len(where) > 1 else where[0]} "
            f"({len(bad)} such values); expected finite numbers"
        )
    return array
