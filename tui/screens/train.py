"""The Train mode: run a network, watch it learn, change it."""

from __future__ import annotations

from textual.app import ComposeResult

from tui.screens.mode import ModeScreen
from tui.view import View
from tui.widgets.histogram import LayerRow
from tui.widgets.loss import LossPlot


class TrainScreen(ModeScreen):
    """Loss over the steps, and one histogram a layer."""

    NAME = "train"
    WATCH = ("activations", "gradient_norm")

    def panes(self) -> ComposeResult:
        """From top to bottom."""
        yield LossPlot(id="loss")
        yield LayerRow(id="layers")

    async def refresh_panes(self, view: View) -> None:
        """Titles, and one histogram for each layer."""
        plot = self.query_one(LossPlot)
        plot.hint = self.hint(view)
        plot.title(self.placed("main"), frozen=self.ui.frozen is not None)
        await self.query_one(LayerRow).set_count(max(0, len(view.sizes) - 1))

    @property
    def settled(self) -> bool:
        """Whether everything shown is of the newest view, and all of the layers are there."""
        return super().settled and 0 < len(self.query_one(LayerRow).plots) == len(self.view.sizes) - 1

    def action_log_y(self) -> None:
        """Linear or logarithmic loss axis."""
        plot = self.query_one(LossPlot)
        plot.log_y = not plot.log_y
        plot.title(self.placed("main"), frozen=self.ui.frozen is not None)
        plot.redraw()

    def action_freeze(self) -> None:
        """Hold the display, or let it go."""
        super().action_freeze()
        self.query_one(LossPlot).title(self.placed("main"), frozen=self.ui.frozen is not None)

    def action_layers_left(self) -> None:
        """Scroll the histograms."""
        self.query_one(LayerRow).shift(-1)

    def action_layers_right(self) -> None:
        """Scroll the histograms."""
        self.query_one(LayerRow).shift(1)
