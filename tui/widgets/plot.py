"""A plot as cached Textual strips: built once for its data and size, then painted from memory line by line."""

from __future__ import annotations

import re
from functools import lru_cache

from rich.segment import Segment
from rich.style import Style
from textual.color import Color
from textual.strip import Strip
from textual.widget import Widget

SGR = re.compile(r"\x1b\[([0-9;]*)m")


@lru_cache(4096)
def _style(codes: str) -> Style:
    """The Rich style of SGR codes; plotext writes colors as 38;2;r;g;b and resets with 0."""
    parts = [int(part or 0) for part in codes.split(";")]
    if len(parts) >= 5 and parts[:2] == [38, 2]:
        return Style(color=f"rgb({parts[2]},{parts[3]},{parts[4]})")
    return Style()


def to_strips(text: str, width: int, base: Style) -> list[Strip]:
    """Lines with ANSI colors as strips of `width` cells; what has no color of its own takes `base`."""
    strips = []
    for line in text.rstrip("\n").split("\n"):
        segments, position, style = [], 0, base
        for match in SGR.finditer(line):
            if match.start() > position:
                segments.append(Segment(line[position : match.start()], style))
            codes, position = match.group(1), match.end()
            style = base if codes in ("", "0") else base + _style(codes)
        if position < len(line):
            segments.append(Segment(line[position:], style))
        strips.append(Strip(segments).adjust_cell_length(width, base))
    return strips


class Plot(Widget):
    """A widget that paints `draw(width, height)`, a text with ANSI colors, from cached strips."""

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._strips: list[Strip] | None = None
        self._drawn_size = (0, 0)

    @property
    def plain(self) -> bool:
        """Whether the terminal shows ASCII only."""
        return bool(getattr(self.app, "ascii_only", False))

    def draw(self, width: int, height: int) -> str:
        """The plot's text for this size."""
        raise NotImplementedError

    def redraw(self) -> None:
        """Build the strips now, so that the caller can measure what it cost, and paint them."""
        self._build()
        self.refresh()

    def _build(self) -> None:
        width, height = self._drawn_size = self.size
        text = self.draw(width, height) if width > 0 and height > 0 else ""
        self._strips = to_strips(text, width, self.rich_style) if text else []

    def notify_style_update(self) -> None:
        """Colors come from the theme, so a change of theme draws again."""
        super().notify_style_update()
        self._strips = None

    def color(self, name: str) -> tuple[int, int, int]:
        """A color of the theme, as (red, green, blue)."""
        return Color.parse(self.app.theme_variables[name]).rgb

    def render_line(self, y: int) -> Strip:
        """One line of the plot, from the cache."""
        if self._strips is None or self._drawn_size != self.size:
            self._build()
        strips = self._strips or ()
        return strips[y] if y < len(strips) else Strip.blank(self.size.width, self.rich_style)
