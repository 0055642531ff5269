"""Masks of partially connected layers: which inputs a Dense layer's units see, as 0/1 arrays (fan_in, fan_out)."""

from __future__ import annotations

import base64
import binascii
import contextlib
import math
import zlib
from collections.abc import Iterator
from typing import Any

import numpy as np

from fastnn.errors import check_float, check_int, shown
from fastnn.random import MASKS, host_generator
from fastnn.samples import numeric

MOST_LINKS = 2**33  # of a layer, connected or not: as many as a network may have parameters


class Mask:
    """The fixed connections of a layer: 1 where a weight may be other than 0. np.asarray gives (fan_in, fan_out) uint8.

    Raises TypeError for what is not an array of numbers or bools, ValueError for another shape or value than 0 and 1.
    """

    def __init__(self, value: Any, argument: str = "mask") -> None:
        array = numeric(argument, value)
        if array.ndim != 2 or 0 in array.shape:
            raise ValueError(f"{argument}: has shape {array.shape}; expected (fan_in, units)")
        wrong = np.argwhere((array != 0) & (array != 1))
        if len(wrong):
            where = tuple(int(i) for i in wrong[0])
            raise ValueError(f"{argument}: {array[where]} at index {where}; expected 0 and 1 only")
        self._array: np.ndarray = (array != 0).astype(np.uint8)
        self._array.flags.writeable = False

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return np.array(self._array, dtype) if copy or dtype not in (None, np.uint8) else self._array

    @property
    def shape(self) -> tuple[int, int]:
        fan_in, fan_out = self._array.shape
        return fan_in, fan_out

    @property
    def connections(self) -> int:
        """How many weights are not masked."""
        return int(self._array.sum())

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Mask) and np.array_equal(self._array, other._array)

    def __hash__(self) -> int:
        return hash((self.shape, self._array.tobytes()))

    def __repr__(self) -> str:
        fan_in, fan_out = self.shape
        return f"Mask({self.connections:,} of {fan_in}x{fan_out})"

    def text(self) -> str:
        """The bits, packed and compressed, in ASCII."""
        return base64.b64encode(zlib.compress(np.packbits(self._array).tobytes())).decode()

    @classmethod
    def from_text(cls, text: str, shape: tuple[int, int]) -> Mask:
        """What `text` gave for a mask of this shape; raises ValueError for any other text."""
        count = shape[0] * shape[1]
        try:
            # No more is unpacked than the shape asks for, whatever the text claims.
            data = zlib.decompressobj().decompress(base64.b64decode(text, validate=True), -(-count // 8) + 1)
        except (binascii.Error, zlib.error, TypeError, ValueError) as reason:
            raise ValueError(f"mask: damaged ({reason})") from None
        if len(data) != -(-count // 8):
            raise ValueError(f"mask: has {len(data)} bytes; expected {-(-count // 8)} for {shape[0]}x{shape[1]}")
        return cls(np.unpackbits(np.frombuffer(data, np.uint8), count=count).reshape(shape))


def random(fan_in: int, fan_out: int, density: float, seed: int = 0) -> np.ndarray:
    """A uint8 mask (fan_in, fan_out) with round(density * fan_in * fan_out) connections, at least one, chosen evenly.

    `density` is their share, 0 < density <= 1. The same seed (0 to 2**63 - 1) gives the same mask in every process.
    Raises TypeError or ValueError, naming the argument, also for more links than memory holds.
    """
    fan_in, fan_out = check_int("fan_in", fan_in), check_int("fan_out", fan_out)
    count = fan_in * fan_out
    kept = max(1, round(count * check_float("density", density, 0, 1, above=True)))
    generator = host_generator(check_int("seed", seed, 0, 2**63 - 1), MASKS)
    with _room("fan_in, fan_out", (fan_in, fan_out), count):
        mask = np.zeros(count, np.uint8)
        # The ranks of numbers that the generator promises for ever; its own permutations may change with NumPy.
        mask[np.argsort(generator.random(count), kind="stable")[:kept]] = 1
    return mask.reshape(fan_in, fan_out)


def window(inputs: int | tuple[int, int], units: int | tuple[int, int], size: int | tuple[int, int]) -> np.ndarray:
    """A uint8 mask (fan_in, fan_out) in which each unit sees a window of `size` neighboring inputs.

    With integers, inputs and units lie on a line; with pairs (rows, columns) in a plane, row by row, as in an image.
    The windows' places are spread evenly, the first and the last at the edges; a single unit sees the middle. Raises
    TypeError or ValueError, naming the argument, for a size that does not fit the inputs, or too many links for memory.
    """
    plane = [isinstance(value, (tuple, list)) for value in (inputs, units, size)]
    if any(plane) and not all(plane):
        raise TypeError(f"inputs, units, size: {shown((inputs, units, size))}; expected three integers or three pairs")
    pairs: list[Any] = [inputs, units, size] if all(plane) else [(inputs,), (units,), (size,)]
    if len({len(pair) for pair in pairs}) != 1 or len(pairs[0]) not in (1, 2):
        raise ValueError(f"inputs, units, size: {shown((inputs, units, size))}; expected integers or pairs")
    sides = [
        (check_int("inputs", many), check_int("units", out), check_int("size", wide, 1, many))
        for many, out, wide in zip(*pairs, strict=True)
    ]
    mask: np.ndarray = np.ones((1, 1), np.uint8)
    with _room("inputs, units", (inputs, units), math.prod(many * out for many, out, _ in sides)):
        for side in sides:
            mask = np.kron(mask, _line(*side))
    return mask


@contextlib.contextmanager
def _room(argument: str, sizes: Any, links: int) -> Iterator[None]:
    """Within: a mask of so many links is made. Raises ValueError, naming its sizes, if that is more than there may be
    or memory holds."""
    if links > MOST_LINKS:
        raise ValueError(f"{argument}: {shown(sizes)} make {links:,} links; expected {MOST_LINKS:,} at most")
    try:
        yield
    except MemoryError:
        raise ValueError(f"{argument}: {shown(sizes)} make {links:,} links; expected fewer: memory is full") from None


def _line(inputs: int, units: int, size: int) -> np.ndarray:
    first = np.linspace(0, inputs - size, units) if units > 1 else np.array([(inputs - size) / 2])
    first = np.floor(first + 0.5).astype(np.int64)
    places = np.arange(inputs)[:, None]
    return ((places >= first) & (places < first + size)).astype(np.uint8)
