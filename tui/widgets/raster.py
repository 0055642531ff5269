"""Curves as dots within character cells: braille (2 x 4 a cell), quarter blocks (2 x 2) or one ASCII character."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tui.widgets.cells import RGB, Cells, packed

# The bit of each dot in U+2800, by row and column of the cell.
_BRAILLE = np.array([[0x01, 0x08], [0x02, 0x10], [0x04, 0x20], [0x40, 0x80]])
_QUARTER = np.array([[1, 2], [4, 8]])
_QUARTERS = np.array(list(" ▘▝▀▖▌▞▛▗▚▐▜▄▙▟█"))


@dataclass(frozen=True)
class Marker:
    """How dots are drawn: `across` x `down` of them in a cell."""

    name: str
    across: int
    down: int


MARKERS = {m.name: m for m in (Marker("braille", 2, 4), Marker("block", 2, 2), Marker("ascii", 1, 1))}


class Raster:
    """Dots of several curves over `width` x `height` cells; a later one's color wins where two share a cell.

    Bands lie under the curves, and a cell with a curve shows none of them.
    """

    def __init__(self, width: int, height: int, marker: Marker) -> None:
        self.marker, self.width, self.height = marker, width, height
        self.across, self.down = width * marker.across, height * marker.down
        self._bands, self._curves = (np.zeros((self.down, self.across), bool) for _ in range(2))
        self._crossed = np.zeros((height, width), bool)  # the cells of curves, which show no band
        self._color = np.full((height, width), -2, np.int64)
        self._letters = np.full((height, width), " ", "<U1")
        self._rows = np.arange(self.down)[:, None]

    def _add(self, onto: np.ndarray, dots: np.ndarray, color: RGB | None, letter: str) -> None:
        cells = dots.reshape(self.height, self.marker.down, self.width, self.marker.across).any(axis=(1, 3))
        onto |= dots
        if onto is self._curves:
            self._crossed |= cells
        self._color[cells] = packed(color)
        self._letters[cells] = letter

    def _row(self, y: np.ndarray) -> np.ndarray:
        """Rows of dots for heights in [0, 1], the lowest row for 0."""
        return np.clip((self.down - 1) * (1 - y) + 0.5, 0, self.down - 1).astype(np.int64)

    def band(self, low: np.ndarray, high: np.ndarray, color: RGB | None, letter: str = ".") -> None:
        """Fill each column of dots from `low` to `high` (both (across,) in [0, 1]; NaN leaves it empty)."""
        there = np.isfinite(low) & np.isfinite(high)
        top, bottom = self._row(np.where(there, high, 0.0)), self._row(np.where(there, low, 0.0))
        self._add(self._bands, (self._rows >= top) & (self._rows <= bottom) & there, color, letter)

    def curve(self, y: np.ndarray, color: RGB | None, *, dashed: bool = False, letter: str = "*") -> None:
        """A connected curve of heights `y` (across,) in [0, 1], NaN where there is none."""
        there = np.isfinite(y)
        row = self._row(np.where(there, y, 0.0))
        top, bottom = row.copy(), row.copy()
        # Each column reaches half way to its neighbors, so that steep parts have no gaps.
        joined = there[1:] & there[:-1]
        left, right = row[:-1], row[1:]
        middle = (left + right) // 2
        up = joined & (right < left)
        down = joined & (right > left)
        top[:-1] = np.where(up, np.minimum(top[:-1], middle + 1), top[:-1])
        top[1:] = np.where(down, np.minimum(top[1:], middle + 1), top[1:])
        bottom[:-1] = np.where(down, np.maximum(bottom[:-1], middle), bottom[:-1])
        bottom[1:] = np.where(up, np.maximum(bottom[1:], middle), bottom[1:])
        dots = (self._rows >= top) & (self._rows <= bottom) & there
        if dashed:
            dots = dots & ((np.arange(self.across) // self.marker.across) % 2 == 0)
        self._add(self._curves, dots, color, letter)

    def onto(self, cells: Cells, x: int, y: int) -> None:
        """Draw into cells from their cell (x, y) on, over what is there."""
        used = self._color > -2
        if self.marker.name == "ascii":
            chars = self._letters
        else:
            bits = _BRAILLE if self.marker.name == "braille" else _QUARTER
            shape = (self.height, self.marker.down, self.width, self.marker.across)
            bands, curves = (np.einsum("hdwa,da->hw", d.reshape(shape), bits) for d in (self._bands, self._curves))
            codes = np.where(self._crossed, curves, bands)
            chars = (codes + 0x2800).astype("<u4").view("<U1") if bits is _BRAILLE else _QUARTERS[codes]
        part = np.s_[y : y + self.height, x : x + self.width]
        cells.chars[part] = np.where(used, chars, cells.chars[part])
        cells.front[part] = np.where(used, self._color, cells.front[part])
