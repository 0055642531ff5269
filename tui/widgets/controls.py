"""The playground's settings: a line each, changed with the arrow keys or a click on a line's left or right sign."""

from __future__ import annotations

from typing import Any

from textual import events
from textual.content import Content
from textual.message import Message

from tui.config import RunConfig
from tui.playground import Row, rows
from tui.view import View
from tui.widgets.cells import Cells
from tui.widgets.plot import Plot


class Controls(Plot):
    """Rows of label and value; `at` is the selected one's number."""

    class Changed(Message):
        """A person wants the choice to the left (-1) or right (1) of a row's."""

        def __init__(self, row: str, direction: int) -> None:
            super().__init__()
            self.row, self.direction = row, direction

    rows: tuple[Row, ...] = ()
    config: RunConfig | None = None
    at = 0
    active = False
    _top = 0

    def key(self, view: View) -> tuple[Any, ...]:
        """Drawn again when the configuration or the selection has changed."""
        return (view.config, view.run, len(view.choices.data), repr(self.config), self.at, self.active)

    def take(self, view: View) -> None:
        """The settings of what was asked for, which a key shows before the network is there."""
        name = self.rows[self.at].name if self.at < len(self.rows) else ""
        self.rows = tuple(rows(self.config or view.config, view.choices, view.run))
        names = [row.name for row in self.rows]
        self.at = names.index(name) if name in names else min(self.at, len(names) - 1)
        self.border_title = Content.assemble(("Playground", "bold"))

    def move(self, lines: int) -> None:
        """Select the row so many below."""
        self.at = min(max(self.at + lines, 0), max(0, len(self.rows) - 1))

    def change(self, direction: int) -> None:
        """Ask for the choice beside the selected row's."""
        if self.rows:
            self.post_message(self.Changed(self.rows[self.at].name, direction))

    def draw(self, width: int, height: int) -> Cells | None:
        """The rows around the selected one."""
        cells, muted = Cells(width, height), self.color("plot-axis")
        self._top = min(max(self._top, self.at - height + 1, 0), self.at, max(0, len(self.rows) - height))
        left, right = "<>" if self.plain else "◂▸"
        for y, row in enumerate(self.rows[self._top : self._top + height]):
            here = self.active and self._top + y == self.at
            front = self.color("key") if here else self.color("foreground")
            cells.text(0, y, "▶" if here else " ", front, bold=True)
            on = row.text == "on"
            label = self.color("foreground") if here or on else muted
            cells.text(1, y, row.label[: width - 12], label, bold=here)
            text = {"on": "■ on", "off": "□ off"}.get(row.text, row.text)[: width - 16]
            x = width - 3 - len(text)
            color = self.color("plot-bars") if on else muted if row.text == "off" else front
            cells.text(x, y, text, color, bold=here)
            cells.text(width - 1, y, right if row.right is not None else " ", self.color("key"))
            cells.text(x - 2, y, left if row.left is not None else " ", self.color("key"))
        return cells

    def on_click(self, event: events.Click) -> None:
        """Select a row; at its signs, change it."""
        inside = event.get_content_offset(self)
        if inside is None or self._top + inside.y >= len(self.rows):
            return
        self.at = self._top + inside.y
        text = self.rows[self.at].text
        start = self.size.width - 5 - len({"on": "■ on", "off": "□ off"}.get(text, text))
        if inside.x >= self.size.width - 2 or text in ("on", "off"):
            self.change(1)
        elif start - 1 <= inside.x <= start + 1:
            self.change(-1)
        else:
            self.refresh()
