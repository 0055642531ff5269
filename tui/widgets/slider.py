"""A slider through the kept moments of a run, shown while it is back at one of them."""

from __future__ import annotations

from bisect import bisect_left

from textual import events
from textual.content import Content
from textual.message import Message
from textual.widget import Widget

from tui import numbers
from tui.actions import Action
from tui.view import View

LABEL = " rewound "


class Slider(Widget):
    """One line: where the run is, a bar with all moments, the keys. A click or a drag on the bar goes to a moment."""

    DEFAULT_CSS = "Slider { height: 1; width: 1fr; display: none; }"

    class Moved(Message):
        """A person wants the run at this step."""

        def __init__(self, step: int) -> None:
            super().__init__()
            self.step = step

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self.moments: tuple[int, ...] = ()
        self.step = 0
        self._rest = Content("")
        self._asked = -1

    def show(self, view: View, actions: tuple[Action, ...]) -> None:
        """Show where the run is; nothing while it is at its newest moment."""
        step = view.snapshot.step if view.snapshot is not None else 0
        if (view.moments, step) == (self.moments, self.step):
            return
        self.moments, self.step, self._asked = view.moments, step, -1
        parts = [
            Content.styled(f"{action.shown} {word}", f"@click=screen.{action.call}")
            for name, word in (("undo", "back"), ("redo", "on"), ("toggle_run", "goes on"))
            for action in actions
            if action.name == name
        ]
        newest = numbers.count(view.moments[-1]) if view.moments else ""
        self._rest = Content.assemble((newest, "$text-muted"), "  ", Content("  ").join(parts))
        self.display = bool(self.moments)
        self.refresh()

    def _bar(self) -> tuple[int, int]:
        """The first column of the bar, and how many it has."""
        return len(LABEL), max(2, self.size.width - len(LABEL) - self._rest.cell_length - 2)

    def _column(self, step: int, columns: int) -> int:
        first, last = self.moments[0], max(self.moments[-1], self.moments[0] + 1)
        return round((min(step, last) - first) / (last - first) * (columns - 1))

    def render(self) -> Content:
        """Label, bar, newest step, keys."""
        if not self.moments:
            return Content("")
        _, columns = self._bar()
        kept = {self._column(step, columns) for step in self.moments}
        here = self._column(self.step, columns)
        bar = "".join("\u253c" if column in kept else "\u2500" for column in range(columns))
        return Content.assemble(
            (LABEL, "bold $state-paused"),
            (bar[:here], "$primary"),
            ("\u25cf", "bold $state-paused"),
            (bar[here + 1 :], "$text-muted"),
            " ",
            self._rest,
        )

    def _point(self, x: int) -> None:
        begin, columns = self._bar()
        if self.moments and 0 <= x - begin < columns:
            first, last = self.moments[0], self.moments[-1]
            wanted = first + (x - begin) / max(1, columns - 1) * (last - first)
            at = min(max(1, bisect_left(self.moments, wanted)), len(self.moments) - 1)
            step = min(self.moments[at - 1 : at + 1], key=lambda moment: abs(moment - wanted))
            if step != self._asked:
                self._asked = step
                self.post_message(self.Moved(step))

    def on_mouse_down(self, event: events.MouseDown) -> None:
        """Go where the mouse is, and follow it."""
        begin, columns = self._bar()
        if begin <= event.x < begin + columns:
            self.capture_mouse()
            self._point(event.x)

    def on_mouse_move(self, event: events.MouseMove) -> None:
        """Follow the mouse while its button is down."""
        if self.app.mouse_captured is self:
            self._point(event.x)

    def on_mouse_up(self) -> None:
        """Let go."""
        self.release_mouse()
