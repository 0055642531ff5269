"""Trends over the steps of a run: loss, accuracy, learning rate, gradient norm, each with what was pinned behind it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from textual import events
from textual.content import Content
from textual.message import Message

from tui import numbers
from tui.actions import Action
from tui.colors import CLASSES
from tui.record import CURVES, Points, Record
from tui.view import View
from tui.widgets.cells import RGB, Cells
from tui.widgets.charts import Chart, Line, Look, line_chart
from tui.widgets.plot import Plot

SMOOTH = (0.0, 6.0, 24.0)  # columns of dots that are averaged
RECENT = 0.1  # of the run that the recent window shows
MOST_GHOSTS = 4
GHOST_COLORS = (CLASSES[3], CLASSES[5], CLASSES[8], CLASSES[4])


@dataclass(frozen=True)
class Trend:
    """What one plot shows: curves of the record with their short names, the first solid, the second dashed."""

    title: str
    curves: tuple[tuple[str, str], ...]
    log: bool = True  # whether a log axis makes sense
    noisy: bool = True  # whether smoothing does
    regression: str = ""  # why one has no such curves


TRENDS: dict[str, Trend] = {
    "loss": Trend("Loss", (("loss", "training"), ("val_loss", "validation"))),
    "accuracy": Trend(
        "Accuracy",
        (("accuracy", "training"), ("val_accuracy", "validation")),
        log=False,
        regression="a regression has no accuracy",
    ),
    "gradient": Trend("Gradient norm", (("gradient_norm", "|g|"),)),
    "rate": Trend("Learning rate", (("learning_rate", "lr"),), noisy=False),
}


@dataclass(frozen=True, eq=False)
class Ghost:
    """A run that was pinned: its curves stay behind those of the runs after it."""

    label: str
    color: RGB
    curves: Mapping[str, Points]


@dataclass(frozen=True)
class Display:
    """How the trends of a screen are shown; `cursor` is a step."""

    log_y: bool = False
    smooth: int = 0
    recent: bool = False
    cursor: float | None = None
    ghosts: tuple[Ghost, ...] = field(default=(), compare=False)

    def pinned(self, label: str, record: Record) -> Display:
        """With the run so far as one more ghost; the oldest one goes when there are too many."""
        free = [color for color in GHOST_COLORS if color not in {g.color for g in self.ghosts[-MOST_GHOSTS + 1 :]}]
        ghost = Ghost(label, free[0], {name: record.curve(name) for name in CURVES})
        return replace(self, ghosts=(*self.ghosts, ghost)[-MOST_GHOSTS:])


class TrendPlot(Plot):
    """Curves of a record over its steps. A click puts the cursor there."""

    class Pointed(Message):
        """A person points at a step."""

        def __init__(self, step: float) -> None:
            super().__init__()
            self.step = step

    def __init__(self, trend: str, *, id: str | None = None, classes: str | None = None) -> None:
        super().__init__(id=id, classes=classes)
        self.trend = TRENDS[trend]
        self.display_as = Display()
        self.hint = ""
        self.frozen = False
        self.actions: tuple[Action, ...] = ()
        self.curves: list[Points] = []
        self.marks: list[tuple[float, float]] = []
        self.rewound: int | None = None
        self._regression = False
        self.chart: Chart | None = None
        self._written: tuple[object, ...] = ()

    # What it shows

    def key(self, view: View) -> tuple[Any, ...]:
        """Drawn again after each chunk, and when what an empty plot says changes."""
        return (view.snapshot, view.run, self.hint, self.trend.title, self.display_as, self.frozen)

    def take(self, view: View) -> None:
        """The curves of the run so far; while the display is frozen, those that it has."""
        if self.ui.frozen is None or not self.curves:
            record = self.ui.session.record
            self.curves = [record.curve(name) for name, _ in self.trend.curves]
            self.marks = record.marks
        self.rewound = view.snapshot.step if view.moments else None
        self._regression = view.regression
        self.retitle()

    @property
    def cursor(self) -> float | None:
        """The step that is read: the cursor's, or where a run that was taken back is."""
        return self.rewound if self.display_as.cursor is None else self.display_as.cursor

    def change(self, display: Display, *, frozen: bool = False, now: bool = False) -> None:
        """Show the same curves in another way: now, or at the next turn."""
        self.display_as, self.frozen = display, frozen
        self.retitle()
        if now:
            self.redraw_when_painted()

    def switch(self, trend: str) -> None:
        """Show other curves."""
        self.trend = TRENDS[trend]
        record = self.ui.session.record
        self.curves = [record.curve(name) for name, _ in self.trend.curves]
        self.retitle()
        self.redraw()

    # The border

    @property
    def _roomy(self) -> bool:
        return self.size.width >= 60

    def retitle(self) -> None:
        """The legend, or what the cursor reads; how it is shown; the keys."""
        look, parts = self.display_as, [Content.styled(self.trend.title, "bold")]
        for number, (name, label) in enumerate(self.trend.curves):
            mark = (("**", "o o")[number] if self.plain else ("━━", "╸╸")[number]) + " "
            value = self._read(number)
            text = label if value is None else f"{label if self._roomy else ''} {_value(name, value)}".strip()
            color = "$plot-validation" if number else "$plot-train"
            parts.append(Content.styled(mark + text, color))
        if self.cursor is not None and self._roomy:
            parts.insert(1, Content.styled(f"step {numbers.count(round(self.cursor))}", "$plot-cursor"))
        states = [("log", look.log_y and self.trend.log), ("recent", look.recent and self._roomy)]
        words = [word for word, on in states if on]
        if look.smooth and self._roomy:
            words.append(("", "smooth", "smoother")[look.smooth])
        parts += [Content.styled(word, "$text-muted") for word in words]
        if self._roomy:
            line, named = ".." if self.plain else "──", self.size.width >= 96
            parts += [Content.styled(f"{line} {g.label}" if named else line, hexadecimal(g.color)) for g in look.ghosts]
        if self.frozen and self._roomy:
            parts.append(Content.styled(" FROZEN ", "reverse bold $state-paused"))
        # A border that is written is painted again, with all that it holds.
        written = (tuple(part.markup for part in parts), self.actions)
        if written != self._written:
            self._written = written
            self.border_title = Content("  ").join(parts)
            self.border_subtitle = self.keys(self.actions) if self.actions else ""

    def _read(self, number: int) -> float | None:
        """The value of a curve at the cursor, or at its nearest point to the left."""
        cursor = self.cursor
        if cursor is None or number >= len(self.curves):
            return None
        x, y = self.curves[number]
        at = int(np.searchsorted(x, cursor, side="right")) - 1
        return float(y[max(0, at)]) if x.size else None

    # Drawing

    def draw(self, width: int, height: int) -> Cells | None:
        """Ghosts, marks, curves, cursor; or the hint in the middle."""
        look = self.display_as
        smooth = SMOOTH[look.smooth] if self.trend.noisy else 0.0
        lines = [
            Line(*ghost.curves[name], ghost.color, style=int(number > 0))
            for ghost in look.ghosts
            for number, (name, _) in enumerate(self.trend.curves)
        ]
        for number, points in enumerate(self.curves):
            color = self.color("plot-validation" if number else "plot-train")
            faint = self.color("plot-faint") if smooth and not number else None
            # Validation comes once an epoch: it needs no smoothing, and dashes tell it apart.
            lines.append(Line(*points, color, int(number > 0), faint, smooth if not number else 0.0))
        self.chart = line_chart(
            width,
            height,
            lines,
            Look(
                log_y=look.log_y and self.trend.log,
                marker=self.marker,
                axis_color=self.color("plot-axis"),
                mark_color=self.color("plot-mark"),
                cursor_color=self.color("plot-cursor"),
            ),
            window=self._window(),
            marks=[step for step, _ in self.marks],
            cursor=self.cursor,
        )
        if self.chart.x_axis is None:
            said = self.hint or (self.trend.regression if self._regression else "")
            self.chart.cells.centered(said, self.color("plot-axis"))
        return self.chart.cells

    def _window(self) -> tuple[float, float] | None:
        ends = [float(x[-1]) for x, _ in self.curves if x.size]
        if not self.display_as.recent or not ends or max(ends) < 20:
            return None
        return max(ends) * (1 - RECENT), max(ends)

    def stepped(self, columns: int) -> float | None:
        """The step that lies so many columns beside the cursor; from the right end when there is none."""
        chart = self.chart
        if chart is None or chart.x_axis is None:
            return None
        axis, cells = chart.x_axis, max(1, chart.cells.width - chart.left - 1)
        if self.cursor is None:
            return axis.high
        moved = self.cursor + columns * (axis.high - axis.low) / cells
        return min(max(moved, axis.low), axis.high)

    def on_click(self, event: events.Click) -> None:
        """Point at a step."""
        step = self.chart.x_at(event.x - 1) if self.chart is not None else None
        if step is not None:
            self.post_message(self.Pointed(step))


def hexadecimal(color: RGB) -> str:
    """A color as Textual reads it."""
    return "#{:02x}{:02x}{:02x}".format(*color)


def _value(name: str, value: float) -> str:
    """A value of a curve as it is read."""
    if name.endswith("accuracy"):
        return numbers.percent(value).strip()
    if name == "learning_rate":
        return numbers.rate(value)
    return numbers.loss(value).strip() if math.isfinite(value) else numbers.short(value)
