"""A rectangle of characters with colors, and the strips that Textual paints from it."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from rich.color import Color as RichColor
from rich.segment import Segment
from rich.style import Style
from textual.strip import Strip

RGB = tuple[int, int, int]
DEFAULT = -1


def packed(color: RGB | None) -> int:
    """A color as one number; DEFAULT for none."""
    return DEFAULT if color is None else color[0] << 16 | color[1] << 8 | color[2]


class _Styles(dict[tuple[int, int, bool], Style]):
    """Styles over a base by front, back and bold: a heat map looks up thousands a frame, and making one takes 20 us."""

    MOST = 16_384

    def __init__(self, base: Style) -> None:
        self._base = base

    def __missing__(self, key: tuple[int, int, bool]) -> Style:
        def rich(color: int) -> RichColor | None:
            return None if color == DEFAULT else RichColor.from_rgb(color >> 16, color >> 8 & 255, color & 255)

        if len(self) >= self.MOST:
            self.clear()
        front, back, bold = key
        self[key] = style = self._base + Style(color=rich(front), bgcolor=rich(back), bold=bold or None)
        return style


_styles = lru_cache(16)(_Styles)


class Cells:
    """`height` rows of `width` cells: `chars` (height, width) of one character, `front` and `back` of packed colors."""

    def __init__(self, width: int, height: int) -> None:
        self.width, self.height = max(0, width), max(0, height)
        shape = (self.height, self.width)
        self.chars = np.full(shape, " ", "<U1")
        self.front = np.full(shape, DEFAULT, np.int64)
        self.back = np.full(shape, DEFAULT, np.int64)
        self.bold = np.zeros(shape, bool)

    def text(self, x: int, y: int, text: str, color: RGB | None = None, *, bold: bool = False) -> None:
        """Write from (x, y); what lies outside is cut off."""
        if not 0 <= y < self.height:
            return
        text = text[max(0, -x) :]
        x = max(0, x)
        text = text[: max(0, self.width - x)]
        if text:
            self.chars[y, x : x + len(text)] = list(text)
            self.front[y, x : x + len(text)] = packed(color)
            self.bold[y, x : x + len(text)] = bold

    def centered(self, text: str, color: RGB | None = None) -> None:
        """Write in the middle."""
        self.text(max(0, (self.width - len(text)) // 2), max(0, (self.height - 1) // 2), text, color)

    def cut(self, top: int, height: int) -> Cells:
        """`height` rows from `top` on."""
        part = Cells(self.width, height)
        for name in ("chars", "front", "back", "bold"):
            seen = getattr(self, name)[top : top + height]
            getattr(part, name)[: len(seen)] = seen
        return part

    def lines(self) -> list[str]:
        """The characters of each row."""
        return ["".join(row) for row in self.chars]

    def strips(self, base: Style) -> list[Strip]:
        """One strip a row, of as few segments as its colors allow; what has no color of its own takes `base`."""
        if not self.width:
            return [Strip([], 0) for _ in range(self.height)]
        changes = (
            (self.front[:, 1:] != self.front[:, :-1])
            | (self.back[:, 1:] != self.back[:, :-1])
            | (self.bold[:, 1:] != self.bold[:, :-1])
        )
        strips, styles = [], _styles(base)
        for y, text in enumerate(self.lines()):
            cuts = [0, *(np.flatnonzero(changes[y]) + 1).tolist(), self.width]
            front, back, bold = (array[y, cuts[:-1]].tolist() for array in (self.front, self.back, self.bold))
            segments = [
                Segment(text[begin:end], styles[f, b, w])
                for begin, end, f, b, w in zip(cuts[:-1], cuts[1:], front, back, bold, strict=True)
            ]
            strips.append(Strip(segments, self.width))
        return strips
