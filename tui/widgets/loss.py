"""The loss plot: training solid, validation dashed, and the keys of the display in its border."""

from __future__ import annotations

import numpy as np
from textual.content import Content

from tui.actions import placed
from tui.widgets.charts import Line, line_chart
from tui.widgets.plot import Plot

Points = tuple[np.ndarray, np.ndarray]
NOTHING: Points = (np.empty(0), np.empty(0))


class LossPlot(Plot):
    """Training and validation loss over the steps of the run."""

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self.training, self.validation = NOTHING, NOTHING
        self.log_y = False
        self.frozen = False
        self.hint = ""

    def on_mount(self) -> None:
        """Title and keys in the border."""
        self.border_subtitle = self._keys()
        self.retitle()

    def show(self, training: Points, validation: Points, hint: str) -> None:
        """Draw these curves, or the hint when there are none."""
        self.training, self.validation, self.hint = training, validation, hint
        self.redraw()

    def retitle(self) -> None:
        """The legend, the scale, and whether the display is held."""
        parts: list[str | tuple[str, str]] = [
            ("Loss", "bold"),
            "  ",
            (("** " if self.plain else "\u2501\u2501 ") + "training", "$plot-train"),
            "  ",
            (("o o " if self.plain else "\u2578\u2578 ") + "validation", "$plot-validation"),
        ]
        if self.log_y:
            parts += ["  ", ("log", "$text-muted")]
        if self.frozen:
            parts += ["  ", (" FROZEN ", "reverse bold $state-paused")]
        self.border_title = Content.assemble(*parts)

    def _keys(self) -> Content:
        parts: list[Content | str] = []
        for action in placed("loss"):
            key = Content.styled(action.shown, f"bold $key @click=screen.{action.name}()")
            parts += [key, " "]
            if action.label:
                parts += [Content.styled(action.label, "$text-muted"), "  "]
        return Content.assemble(*parts[:-1])

    def draw(self, width: int, height: int) -> str:
        """The curves, or the hint in the middle."""
        text = line_chart(
            width,
            height,
            [
                Line(*self.training, self.color("plot-train")),
                Line(*self.validation, self.color("plot-validation"), dashed=True),
            ],
            log_y=self.log_y,
            marker="*" if self.plain else "braille",
        )
        if text or not self.hint:
            return text
        return "\n" * ((height - 1) // 2) + self.hint[:width].center(width)
