"""What goes into one unit: its bias and its weights, each with a bar; one is selected, to be changed by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
from textual import events
from textual.content import Content
from textual.message import Message

from tui.colors import COOL, WARM
from tui.numbers import short
from tui.predicting import WeightsFound
from tui.view import View
from tui.widgets.cells import Cells
from tui.widgets.plot import Plot


class WeightList(Plot):
    """A line a weight, the bias first; `at` is the selected one's number, 0 the bias."""

    PROBE = "weights"

    class Pressed(Message):
        """A person clicks on a line."""

        def __init__(self, at: int) -> None:
            super().__init__()
            self.at = at

    found: WeightsFound | None = None
    sources: tuple[str, ...] = ()
    selected = (0, 0)
    at = 0
    active = False
    _run: Any = None
    _top = 0

    def key(self, view: View) -> tuple[Any, ...]:
        """Drawn again when the probe has answered or another line is selected."""
        return (view.found.get(self.PROBE), view.run, str(self.selected), self.at, self.active)

    def take(self, view: View) -> None:
        """The probe's answer; the old one until there is a new one."""
        answer = view.found.get(self.PROBE)
        if answer is not None or view.run is not self._run:
            self.found = answer.value if answer is not None else None
        self._run = view.run
        if self.found is not None:
            self.selected = (self.found.layer, self.found.unit)
            self.at = min(self.at, len(self.found.weights))
        layer, unit = self.selected
        last = layer == len(view.sizes) - 2
        self.sources = names_of(view.data, layer)
        kind = "output" if last else view.hidden
        self.border_title = Content.assemble(
            ("Into ", "bold"), (f"L{layer + 1}.{unit + 1}", "$plot-cursor"), (f" {kind}", "$text-muted")
        )

    def source(self, number: int) -> str:
        """Where a weight comes from; "bias" for 0."""
        if number == 0:
            return "bias"
        return self.sources[number - 1] if number <= len(self.sources) else f"L{self.selected[0]}.{number}"

    @property
    def value(self) -> float | None:
        """The selected weight or bias."""
        if self.found is None:
            return None
        return self.found.bias if self.at == 0 else float(self.found.weights[self.at - 1])

    def move(self, lines: int) -> None:
        """Select the line so many below."""
        if self.found is not None:
            self.at = min(max(self.at + lines, 0), len(self.found.weights))

    def draw(self, width: int, height: int) -> Cells | None:
        """The lines around the selected one, in one scale."""
        if self.found is None:
            return None
        values = np.concatenate([[self.found.bias], self.found.weights])
        self._top = min(max(self._top, self.at - height + 1, 0), self.at, max(0, len(values) - height))
        cells, muted = Cells(width, height), self.color("plot-axis")
        extent = max(float(np.abs(values[np.isfinite(values)]).max(initial=0.0)), 1e-12)
        room = max(0, width - 19)
        for y, number in enumerate(range(self._top, min(self._top + height, len(values)))):
            value, here = float(values[number]), number == self.at and self.active
            front = self.color("key") if here else self.color("foreground")
            cells.text(0, y, "▶" if here else " ", front, bold=True)
            cells.text(2, y, self.source(number)[:7], front if here else muted, bold=here)
            cells.text(10, y, short(value).rjust(7), front, bold=here)
            length = round(abs(value) / extent * room) if np.isfinite(value) else 0
            cells.text(18, y, ("#" if self.plain else "■") * length, WARM if value > 0 else COOL)
        return cells

    def on_click(self, event: events.Click) -> None:
        """Select a line."""
        inside = event.get_content_offset(self)
        if inside is not None and self.found is not None and self._top + inside.y <= len(self.found.weights):
            self.post_message(self.Pressed(self._top + inside.y))


def names_of(data: Any, layer: int) -> tuple[str, ...]:
    """Names of what goes into a layer; () for units of the one before, which have numbers."""
    if layer or data is None:
        return ()
    if data.plane is not None:
        features: tuple[str, ...] = data.plane.features
        return features
    return tuple(f"x{number + 1}" for number in range(data.features))
