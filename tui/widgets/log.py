"""The log: lines with time, level and source, the newest below; scrolled, searched, and limited to a level."""

from __future__ import annotations

import time
from typing import Any

from textual import events
from textual.content import Content

from tui.actions import Action
from tui.journal import LEVELS, Entry
from tui.view import View
from tui.widgets.cells import RGB, Cells
from tui.widgets.plot import Plot

LEAST = {"all": "debug", "warnings": "warning", "errors": "error"}
TIME, LEVEL, SOURCE = 9, 8, 8  # cells of the columns


class LogPane(Plot):
    """Lines of the session's journal. `top` is the first line that is shown; None follows the newest."""

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self.top: int | None = None
        self.left = 0
        self.least = "all"
        self.words = ""
        self.found: int | None = None  # the line that was searched for
        self.actions: tuple[Action, ...] = ()
        self._entries: list[Entry] = []
        self._taken = (-1, "")

    def key(self, view: View) -> tuple[Any, ...]:
        """Drawn again when there are more lines."""
        return (self.ui.session.journal.version,)

    def take(self, view: View) -> None:
        """The lines of the level that is shown; while the display is frozen, those that it has."""
        journal = self.ui.session.journal
        wanted = (journal.version, self.least)
        if wanted != self._taken and (self.ui.frozen is None or not self._entries):
            least = LEVELS.index(LEAST[self.least])
            dropped = len(self._entries)
            self._entries = [entry for entry in journal.entries() if LEVELS.index(entry.level) >= least]
            if self._taken[1] != self.least or len(self._entries) < dropped:
                self.top = self.found = None
            self._taken = wanted
        self.retitle()

    def retitle(self) -> None:
        """What is shown, and the keys."""
        parts: list[Any] = [("Log", "bold"), f"  {len(self._entries)} line{'s' * (len(self._entries) != 1)}"]
        if self.least != "all":
            parts += ["  ", (self.least, "$plot-validation")]
        if self.words:
            hits = len(self.hits())
            parts += ["  ", (f"{self.words[:20]!r}: {hits} found", "$key")]
        parts.append(("  following", "$text-muted") if self.top is None else ("  held", "$state-paused"))
        self.border_title = Content.assemble(*parts)
        self.border_subtitle = self.keys(self.actions)

    # Moving

    @property
    def rows(self) -> int:
        """Lines that fit."""
        return max(1, self.size.height)

    @property
    def last_top(self) -> int:
        """The first line when the newest is at the bottom."""
        return max(0, len(self._entries) - self.rows)

    def scroll_lines(self, lines: int) -> None:
        """Up or down; at the end it follows again."""
        top = min(max((self.last_top if self.top is None else self.top) + lines, 0), self.last_top)
        self.top = None if top == self.last_top else top
        self.retitle()
        self.redraw()

    def shift(self, cells: int) -> None:
        """Left or right."""
        self.left = max(0, self.left + cells)
        self.redraw()

    def hits(self) -> list[int]:
        """The lines that have the words."""
        words = self.words.lower()
        return [n for n, entry in enumerate(self._entries) if words and words in entry.text.lower()]

    def find(self, words: str) -> bool:
        """Search; shows the newest line that fits. False when none does."""
        self.words, self.found = words.strip(), None
        return self.step(-1)

    def step(self, direction: int) -> bool:
        """The next line that fits, around the end; False when none does."""
        hits = self.hits()
        if not hits:
            self.found = None
        elif self.found is None:
            self.found = hits[-1] if direction < 0 else hits[0]
        else:
            beyond = [n for n in hits if (n - self.found) * direction > 0]
            self.found = (min(beyond) if direction > 0 else max(beyond)) if beyond else hits[0 if direction > 0 else -1]
        if self.found is not None:
            top = min(max(self.found - self.rows // 2, 0), self.last_top)
            self.top = None if top == self.last_top else top
        self.retitle()
        self.redraw()
        return bool(hits) or not self.words

    def on_mouse_scroll_up(self, event: events.MouseScrollUp) -> None:
        """The wheel."""
        event.stop()
        self.scroll_lines(-3)

    def on_mouse_scroll_down(self, event: events.MouseScrollDown) -> None:
        """The wheel."""
        event.stop()
        self.scroll_lines(3)

    # Drawing

    def draw(self, width: int, height: int) -> Cells | None:
        """The lines that fit."""
        cells, muted = Cells(width, height), self.color("plot-axis")
        if not self._entries:
            cells.centered("nothing yet", muted)
            return cells
        top = self.last_top if self.top is None else min(self.top, self.last_top)
        colors = {"warning": self.color("state-paused"), "error": self.color("state-diverged"), "debug": muted}
        for y, entry in enumerate(self._entries[top : top + height]):
            self._line(cells, y, entry, colors.get(entry.level), found=top + y == self.found)
        return cells

    def _line(self, cells: Cells, y: int, entry: Entry, color: RGB | None, *, found: bool) -> None:
        muted = self.color("plot-axis")
        cells.text(0, y, time.strftime("%H:%M:%S", time.localtime(entry.when)), muted)
        cells.text(TIME, y, entry.level, color or muted, bold=entry.level == "error")
        cells.text(TIME + LEVEL, y, entry.source, self.color("brand") if entry.source == "fastnn" else muted)
        begin = TIME + LEVEL + SOURCE
        text, room = entry.text[self.left :], cells.width - begin
        if len(text) > room:
            text = text[: room - 1] + "…"
        cells.text(begin, y, text, color, bold=found)
        words = self.words.lower()
        at = text.lower().find(words) if words else -1
        while at >= 0:
            cells.text(begin + at, y, text[at : at + len(words)], self.color("key"), bold=True)
            at = text.lower().find(words, at + len(words))
        if found:
            cells.text(begin - 1, y, "▶", self.color("key"), bold=True)
