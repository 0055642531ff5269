"""The Log mode: what happened, and what was written to stdout and stderr."""

from __future__ import annotations

from textual.app import ComposeResult

from tui.screens.dialogs import TextInput
from tui.screens.mode import ModeScreen
from tui.view import View
from tui.widgets.log import LEAST, LogPane

SHIFT = 20


class LogScreen(ModeScreen):
    """Lines with times and levels."""

    NAME = "log"

    def panes(self) -> ComposeResult:
        """One pane."""
        yield LogPane(id="log")

    @property
    def pane(self) -> LogPane:
        """The lines."""
        return self.query_one(LogPane)

    async def refresh_panes(self, view: View) -> None:
        """The keys, once."""
        if not self.pane.actions:
            self.pane.actions = self.placed("main")
            self.pane.retitle()

    def action_line_up(self) -> None:
        """A line up."""
        self.pane.scroll_lines(-1)

    def action_line_down(self) -> None:
        """A line down."""
        self.pane.scroll_lines(1)

    def action_page_up(self) -> None:
        """A page up."""
        self.pane.scroll_lines(1 - self.pane.rows)

    def action_page_down(self) -> None:
        """A page down."""
        self.pane.scroll_lines(self.pane.rows - 1)

    def action_oldest(self) -> None:
        """The oldest line."""
        self.pane.scroll_lines(-(10**9))

    def action_newest(self) -> None:
        """The newest line, and follow."""
        self.pane.scroll_lines(10**9)

    def action_text_left(self) -> None:
        """Long lines from further left."""
        self.pane.shift(-SHIFT)

    def action_text_right(self) -> None:
        """Long lines from further right."""
        self.pane.shift(SHIFT)

    def action_level(self) -> None:
        """All lines, warnings and errors, or errors."""
        pane, names = self.pane, list(LEAST)
        pane.least = names[(names.index(pane.least) + 1) % len(names)]
        pane.show(self.view)

    def action_search(self) -> None:
        """Ask for words, and show the newest line that has them."""

        def take(text: str | None) -> None:
            if text is not None and not self.pane.find(text):
                self.notify(f"no line has {text!r}", markup=False)

        note = "enter shows the newest line that has it; n and N go on"
        self.app.push_screen(TextInput("Search the log", self.pane.words, note), take)

    def action_search_older(self) -> None:
        """The next line above that has the words."""
        self.pane.step(-1)

    def action_search_newer(self) -> None:
        """The next line below that has the words."""
        self.pane.step(1)
