"""A run's curve in bounded memory."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from itertools import chain, repeat
from typing import overload

import numpy as np


class Curve:
    """Points (x, y) with rising x, thinned as they come so that at most `capacity` are kept.

    Each kept point is the mean of `stride` consecutive ones; when the room is full, neighbors are merged in
    pairs and the stride doubles, so a run of any length keeps its shape. Points that are not finite are
    left out. Adding costs a fraction of a microsecond on average, and nothing is allocated.
    """

    def __init__(self, capacity: int = 2048) -> None:
        if capacity < 2 or capacity % 2:
            raise ValueError(f"capacity: {capacity}; expected an even number, 2 or more")
        self._x = np.empty(capacity)
        self._y = np.empty(capacity)
        self.clear()

    def clear(self) -> None:
        """Forget every point."""
        self._count = 0
        self._stride = 1
        self._waiting = 0
        self._mean = 0.0
        self._last = 0.0

    def add(self, x: float, y: float) -> None:
        """Append a point; ignored when x or y is not finite."""
        if not (math.isfinite(x) and math.isfinite(y)):
            return
        # A running mean, not a sum: values near 1e308 must not overflow.
        self._waiting += 1
        self._mean += y / self._waiting - self._mean / self._waiting
        self._last = x
        if self._waiting == self._stride:
            self._x[self._count], self._y[self._count] = x, self._mean
            self._count += 1
            self._waiting, self._mean = 0, 0.0
            if self._count == self._x.size:
                self._merge()

    def _merge(self) -> None:
        half = self._count // 2
        self._x[:half] = self._x[1 : self._count : 2]
        self._y[:half] = self._y[0 : self._count : 2] * 0.5 + self._y[1 : self._count : 2] * 0.5
        self._count = half
        self._stride *= 2

    def cut(self, x: float) -> None:
        """Forget the points beyond x."""
        self._count = int(np.searchsorted(self._x[: self._count], x, side="right"))
        self._waiting, self._mean = 0, 0.0

    def points(self) -> tuple[np.ndarray, np.ndarray]:
        """Copies of x and y, the newest point included even when its group is not full yet."""
        x, y = self._x[: self._count], self._y[: self._count]
        if self._waiting:
            return np.append(x, self._last), np.append(y, self._mean)
        return x.copy(), y.copy()

    def __len__(self) -> int:
        return self._count + (self._waiting > 0)


class Recent:
    """A column that grows and forgets its oldest values: it counts all of them, and has the latest `most` or more."""

    def __init__(self, values: Iterable[float] = (), *, forgotten: int = 0, most: int = 4096) -> None:
        self._values, self._forgotten, self._most = list(values), forgotten, most
        self._forget()

    def append(self, value: float) -> None:
        """Add a value."""
        self.extend((value,))

    def extend(self, values: Iterable[float]) -> None:
        """Add values."""
        self._values.extend(values)
        self._forget()

    def _forget(self) -> None:
        if len(self._values) > 2 * self._most:
            more = len(self._values) - self._most
            self._forgotten += more
            del self._values[:more]

    def __len__(self) -> int:
        return self._forgotten + len(self._values)

    def __iter__(self) -> Iterator[float]:
        """All values, NaN for each that is forgotten."""
        return chain(repeat(math.nan, self._forgotten), self._values)

    @overload
    def __getitem__(self, at: int) -> float: ...
    @overload
    def __getitem__(self, at: slice) -> Recent: ...
    def __getitem__(self, at: int | slice) -> float | Recent:
        """A value by its number among all (NaN: forgotten), or a part of the column, such as it was, `[:count]`."""
        if isinstance(at, slice):
            first, end, _ = slice(at.start, at.stop).indices(len(self))
            kept = self._values[max(0, first - self._forgotten) : max(0, end - self._forgotten)]
            return Recent(kept, forgotten=max(0, min(end, self._forgotten) - first), most=self._most)
        number = at if at >= 0 else at + len(self)
        if not 0 <= number < len(self):
            raise IndexError(f"{at}: expected a number below {len(self)}")
        return self._values[number - self._forgotten] if number >= self._forgotten else math.nan
