"""Small images in half blocks, side by side: weights, digits."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from tui.widgets.canvas import paint, stretch
from tui.widgets.cells import RGB, Cells


@dataclass(frozen=True)
class Sheet:
    """How images are laid out: pixels of each (`rows`, `columns`), how many side by side and below each other.

    Between two is one pixel, and before the first `lead`, where frames are drawn.
    """

    rows: int
    columns: int
    side: int
    below: int
    lead: int = 0

    @property
    def count(self) -> int:
        """How many fit."""
        return self.side * self.below

    def corner(self, number: int) -> tuple[int, int]:
        """The row and the column of an image's first pixel."""
        return (
            number // self.side * (self.rows + 1) + self.lead,
            number % self.side * (self.columns + 1) + self.lead,
        )

    def at(self, x: int, y: int) -> int | None:
        """The number of the image at column x and row y of pixels; None for none."""
        column, line = (x - self.lead) // (self.columns + 1), (y - self.lead) // (self.rows + 1)
        return line * self.side + column if 0 <= column < self.side and 0 <= line < self.below else None

    def paint(
        self,
        cells: Cells,
        colors: np.ndarray,
        *,
        y: int = 0,
        frames: Mapping[int, RGB] | None = None,
        plain: bool = False,
    ) -> None:
        """Paint images (n, rows, columns, 3) uint8 from line y on, and `frames` of a color around some of them."""
        shape = (self.below * (self.rows + 1) + self.lead, self.side * (self.columns + 1) + self.lead)
        pixels, mask = np.zeros((*shape, 3), np.uint8), np.zeros(shape, bool)
        for number, color in (frames or {}).items():
            top, left = self.corner(number)
            part = np.s_[max(0, top - 1) : top + self.rows + 1, max(0, left - 1) : left + self.columns + 1]
            pixels[part], mask[part] = color, True
        for number, image in enumerate(colors[: self.count]):
            top, left = self.corner(number)
            part = np.s_[top : top + self.rows, left : left + self.columns]
            pixels[part], mask[part] = image, True
        most = 2 * max(0, cells.height - y)
        paint(cells, pixels[:most], 0, y, mask=mask[:most], plain=plain)


def fitting(shape: tuple[int, int], count: int, width: int, height: int, *, most: int = 4) -> Sheet:
    """`count` images of `shape` (rows, columns) in `width` x `height` cells: as large as leaves room for all of them.

    At whole multiples of their size, up to `most`, or fractions of it; where there is no room for all, the smallest.
    """
    h, w = shape
    sizes = [(h * k, w * k) for k in range(most, 0, -1)]
    sizes += [(-(-h // k), -(-w // k)) for k in (2, 3, 4) if min(h, w) // k >= 7]
    for rows, columns in sizes:
        side, below = (width + 1) // (columns + 1), (2 * height + 1) // (rows + 1)
        if side * below >= count:
            break
    return Sheet(rows, columns, max(1, side), max(1, below))


def resized(images: np.ndarray, rows: int, columns: int) -> np.ndarray:
    """Images (n, h, w) with `rows` x `columns` pixels: means where they shrink, the nearest pixel where they grow."""
    n, h, w = images.shape
    down, across = max(1, h // rows), max(1, w // columns)
    if down > 1 or across > 1:
        h, w = h // down * down, w // across * across
        images = images[:, :h, :w].reshape(n, h // down, down, w // across, across).mean(axis=(2, 4))
    return np.moveaxis(stretch(np.moveaxis(images, 0, -1), rows, columns), -1, 0)
