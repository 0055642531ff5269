"""The loss plot: training solid, validation dashed, and the keys of the display in its border."""

from __future__ import annotations

from typing import Any

import numpy as np
from textual.content import Content

from tui.actions import Action
from tui.record import Points
from tui.view import View
from tui.widgets.cells import Cells
from tui.widgets.charts import Line, Look, line_chart
from tui.widgets.plot import Plot

NOTHING: Points = (np.empty(0), np.empty(0))


class LossPlot(Plot):
    """Training and validation loss over the steps of the run."""

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self.training, self.validation = NOTHING, NOTHING
        self.marks: list[float] = []
        self.log_y = False
        self.hint = ""

    def key(self, view: View) -> tuple[Any, ...]:
        """Drawn again after each chunk, and when what an empty plot says changes."""
        return (view.snapshot, self.hint, self.log_y)

    def take(self, view: View) -> None:
        """The curves of the run so far."""
        record = self.ui.session.record
        self.training, self.validation = record.curve("loss"), record.curve("val_loss")
        self.marks = [step for step, _ in record.marks]

    def title(self, actions: tuple[Action, ...], *, frozen: bool) -> None:
        """The legend, the scale, whether the display is held, and the keys."""
        self.border_subtitle = self.keys(actions)
        parts: list[str | tuple[str, str]] = [
            ("Loss", "bold"),
            "  ",
            (("** " if self.plain else "━━ ") + "training", "$plot-train"),
            "  ",
            (("o o " if self.plain else "╸╸ ") + "validation", "$plot-validation"),
        ]
        if self.log_y:
            parts += ["  ", ("log", "$text-muted")]
        if frozen:
            parts += ["  ", (" FROZEN ", "reverse bold $state-paused")]
        self.border_title = Content.assemble(*parts)

    def draw(self, width: int, height: int) -> Cells | None:
        """The curves, or the hint in the middle."""
        chart = line_chart(
            width,
            height,
            [
                Line(*self.training, self.color("plot-train")),
                Line(*self.validation, self.color("plot-validation"), dashed=True),
            ],
            Look(
                log_y=self.log_y,
                marker=self.marker,
                axis_color=self.color("plot-axis"),
                mark_color=self.color("plot-mark"),
                unicode=not self.plain,
            ),
            marks=self.marks,
        )
        if chart.x_axis is None and self.hint:
            chart.cells.centered(self.hint, self.color("plot-axis"))
        return chart.cells
