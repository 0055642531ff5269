"""Charts of points: a regression's curve through its data, and predicted against true values."""

from __future__ import annotations

from typing import Any

import numpy as np
from textual import events
from textual.content import Content
from textual.message import Message

from tui.numbers import short
from tui.predicting import Judged, LineFound, data_of
from tui.view import View
from tui.widgets.axes import Axis, linear_axis
from tui.widgets.cells import Cells, packed
from tui.widgets.figure import Figure
from tui.widgets.plot import Plot

MARGIN, FOOT = 8, 2
LEAST = (16, 5)
MOST_DOTS = 1500  # 0.4 ms at 100x30; 24,000 take 1.2, and data may have millions


class PointsPlot(Plot):
    """A chart with axes around points and a curve."""

    x_axis: Axis | None = None

    def figure(self, width: int, height: int, x: np.ndarray, y: np.ndarray) -> tuple[Figure, Axis, Axis] | None:
        """A figure whose axes take in all finite x and y; None without room or numbers."""
        fine = np.isfinite(x) & np.isfinite(y)
        if width < LEAST[0] or height < LEAST[1] or not fine.any():
            return None
        x, y = x[fine], y[fine]
        across = linear_axis(float(x.min()), float(x.max()), max(2, width // 14))
        room = (float(y.max()) - float(y.min())) * 0.04
        down = linear_axis(float(y.min()) - room, float(y.max()) + room, max(2, height // 4))
        figure = Figure(width, height, self.marker, margin=MARGIN, foot=FOOT)
        figure.axes(across.marks(), down.marks(MARGIN - 1), self.color("plot-axis"))
        self.x_axis = across
        return figure, across, down


class LinePlot(PointsPlot):
    """The network's curve over one input, the points it learns from and those it never sees, and a cursor."""

    PROBE = "line"

    class Pointed(Message):
        """A person points at an x."""

        def __init__(self, x: float) -> None:
            super().__init__()
            self.x = x

    found: LineFound | None = None
    data: Any = None
    cursor: float | None = None
    shown = "all points"

    def key(self, view: View) -> tuple[Any, ...]:
        """Drawn again when the probe has answered or the cursor has moved."""
        return (view.found.get(self.PROBE), view.run, str(self.cursor), self.shown)

    def take(self, view: View) -> None:
        """The probe's answer and the data."""
        self.data = data_of(view, self.PROBE)
        answer = view.found.get(self.PROBE) if self.data is not None else None
        self.found = answer.value if answer is not None and isinstance(answer.value, LineFound) else None
        self.border_title = self.title()

    def title(self) -> Content:
        """A legend; with a cursor, what it reads."""
        parts: list[Any] = [("Regression", "bold"), ("  ━━ network", "$plot-train"), ("  • training", "$plot-bars")]
        parts.append(("  • test", "$plot-validation"))
        if self.cursor is not None and self.found is not None and self.data is not None:
            at = int(np.abs(self.found.x - self.cursor).argmin())
            nearest = int(np.abs(self.data.x_train[:, 0] - self.cursor).argmin())
            value, target = float(self.found.y[at, 0]), float(self.data.y_train[nearest].flat[0])
            parts = [(f"x {self.cursor:.2f}", "$plot-cursor"), f"  value {short(value)}"]
            loss = short((value - target) ** 2)
            parts += [(f"  loss {loss}", "$text-muted"), (f" at the nearest point, {short(target)}", "$text-muted")]
        return self.title_of(parts)

    def move(self, columns: int) -> None:
        """Move the cursor by cells."""
        if self.x_axis is not None:
            low, high = self.x_axis.low, self.x_axis.high
            step = (high - low) / max(1, self.size.width - MARGIN - 1)
            now = (low + high) / 2 if self.cursor is None else self.cursor
            self.cursor = min(max(now + columns * step, low), high)

    def draw(self, width: int, height: int) -> Cells | None:
        """Points below, the curve over them, the cursor last."""
        if self.data is None:
            return None
        train, test = (
            (x[:, 0], y.reshape(len(x), -1)[:, 0], color)
            for x, y, color in (
                (self.data.x_train, self.data.y_train, "plot-bars"),
                (self.data.x_test, self.data.y_test, "plot-validation"),
            )
        )
        parts = {"all points": [train, test], "test points": [test]}.get(self.shown, [])
        whole = [part[:2] for part in (train, test)]
        if self.found is not None:
            whole.append((self.found.x, self.found.y[:, 0]))
        made = self.figure(width, height, *(np.concatenate([part[k] for part in whole]) for k in (0, 1)))
        if made is None:
            return None
        figure, across, down = made
        for x, y, color in parts:
            figure.dots(across.place(x[:MOST_DOTS]), down.place(y[:MOST_DOTS]), self.color(color), letter="o")
        if self.found is not None:
            columns = np.linspace(across.low, across.high, figure.across)
            curve = np.interp(columns, self.found.x, self.found.y[:, 0], left=np.nan, right=np.nan)
            figure.curve(down.place(curve), self.color("plot-train"))
        cells = figure.draw()
        if self.cursor is not None:
            column = MARGIN + round(float(across.place(self.cursor)) * (width - MARGIN - 1))
            for y in range(height - FOOT):
                if cells.chars[y, column] == " ":
                    cells.text(column, y, "|" if self.plain else "│", self.color("plot-cursor"))
                else:
                    cells.back[y, column] = packed(self.color("plot-mark"))
        return cells

    def on_click(self, event: events.Click) -> None:
        """Put the cursor there."""
        inside = event.get_content_offset(self)
        if inside is not None and self.x_axis is not None and inside.x >= MARGIN:
            share = (inside.x - MARGIN) / max(1, self.size.width - MARGIN - 1)
            self.post_message(self.Pointed(self.x_axis.low + share * (self.x_axis.high - self.x_axis.low)))


class Scatter(PointsPlot):
    """Predicted against true values of a regression; the diagonal is where they agree."""

    judged: Judged | None = None
    data: Any = None

    def key(self, view: View) -> tuple[Any, ...]:
        """Drawn again when the probe has answered."""
        return (view.found.get("judged"), view.run)

    def take(self, view: View) -> None:
        """The probe's answer."""
        answer = view.found.get("judged")
        self.judged = answer.value if answer is not None and isinstance(answer.value, Judged) else None
        self.data = view.data
        self.border_title = Content.assemble(("Predicted over true values", "bold"))

    def draw(self, width: int, height: int) -> Cells | None:
        """Dots around the diagonal."""
        if self.judged is None or self.data is None:
            return None
        truth = self.judged.truth.reshape(len(self.judged.losses), -1)[:, 0].astype(float)
        said = self.judged.shares[:, 0].astype(float)
        made = self.figure(width, height, truth, said)
        if made is None:
            return None
        figure, across, down = made
        diagonal = down.place(np.linspace(across.low, across.high, figure.across))
        figure.curve(np.where((diagonal >= 0) & (diagonal <= 1), diagonal, np.nan), self.color("plot-mark"))
        figure.dots(across.place(truth[:MOST_DOTS]), down.place(said[:MOST_DOTS]), self.color("plot-train"), letter="o")
        return figure.draw()
