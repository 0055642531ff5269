"""The Train mode: run a network, watch it learn, change it."""

from __future__ import annotations

from dataclasses import replace

from textual import on
from textual.app import ComposeResult
from textual.containers import Horizontal, Vertical

from tui import numbers
from tui.actions import together
from tui.screens.mode import ModeScreen
from tui.view import View
from tui.widgets.histogram import VIEWS, LayerRow
from tui.widgets.trends import SMOOTH, TRENDS, Display, TrendPlot

FULL = ("", "-full-main", "-full-layers")


class TrainScreen(ModeScreen):
    """Trends over the steps, and one histogram a layer."""

    NAME = "train"
    WATCH = (*ModeScreen.WATCH, "activations")

    def __init__(self, *args: object) -> None:
        super().__init__(*args)  # type: ignore[arg-type]
        self.display_as = Display()
        self._trend = 0
        self._view_of_layers = 0
        self._full = 0

    def panes(self) -> ComposeResult:
        """The main trend and, where there is room, the others beside it; the layers below."""
        with Horizontal(id="trends"):
            yield TrendPlot("loss", id="main")
            with Vertical(id="more-trends"):
                for name in list(TRENDS)[1:]:
                    yield TrendPlot(name, classes="small")
        yield LayerRow(id="layers")

    @property
    def main(self) -> TrendPlot:
        """The trend in the large pane."""
        return self.query_one("#main", TrendPlot)

    async def refresh_panes(self, view: View) -> None:
        """What an empty plot says, and one histogram for each layer."""
        hint = self.hint(view)
        if view.state == "ready" and not view.busy:
            hint += "   5 has lessons   ? every key"
        self.main.hint, self.main.actions = hint, self.placed("main")
        if self.main.border_subtitle is None or not str(self.main.border_subtitle):
            self.main.retitle()
        await self.query_one(LayerRow).set_count(max(0, len(view.sizes) - 1))

    @property
    def settled(self) -> bool:
        """Whether everything shown is of the newest view, and all of the layers are there."""
        return super().settled and 0 < len(self.query_one(LayerRow).plots) == len(self.view.sizes) - 1

    # How the trends are shown

    def _show(self, display: Display) -> None:
        self.display_as = display
        for plot in self.query(TrendPlot):
            # One now, the others at their turns: a key waits for one drawing and not for four.
            plot.change(display, frozen=self.ui.frozen is not None, now=plot is self.main)
            self.turns.hurry(plot)

    def action_log_y(self) -> None:
        """Linear or logarithmic axes."""
        self._show(replace(self.display_as, log_y=not self.display_as.log_y))

    def action_smooth(self) -> None:
        """Smoother curves, with the values as they are behind them."""
        self._show(replace(self.display_as, smooth=(self.display_as.smooth + 1) % len(SMOOTH)))

    def action_window(self) -> None:
        """The whole run or its latest part."""
        self._show(replace(self.display_as, recent=not self.display_as.recent))

    def action_trend(self) -> None:
        """The next trend in the large pane, and the one that was there in its place."""
        names = list(TRENDS)
        self._trend = (self._trend + 1) % len(names)
        self.main.switch(names[self._trend])
        others = [name for number, name in enumerate(names) if number != self._trend]
        for plot, name in zip(self.query("#more-trends TrendPlot").results(TrendPlot), others, strict=True):
            plot.switch(name)

    def action_pin(self) -> None:
        """Keep the run so far as a ghost behind those to come."""
        view = self.session.view
        if view.snapshot is None or view.snapshot.step == 0:
            self.notify("nothing to pin yet: train a little first")
            return
        hidden = "-".join(str(width) for width in view.config.layers) or "linear"
        label = f"{hidden[:12]} {view.config.activation} {view.config.optimizer} {numbers.rate(view.rate)}"
        self._show(self.display_as.pinned(label, self.session.record))

    def action_unpin(self) -> None:
        """Take all ghosts away."""
        self._show(replace(self.display_as, ghosts=()))

    def action_freeze(self) -> None:
        """Hold the display, or let it go."""
        super().action_freeze()
        self._show(self.display_as)

    # The cursor

    def _read_at(self, step: float | None) -> None:
        self._show(replace(self.display_as, cursor=step))

    def action_cursor_left(self) -> None:
        """Read to the left."""
        self._read_at(self.main.stepped(-1))

    def action_cursor_right(self) -> None:
        """Read to the right."""
        self._read_at(self.main.stepped(1))

    def action_cursor_off(self) -> None:
        """Take the cursor away."""
        self._read_at(None)

    def action_rewind(self) -> None:
        """Back to the step at the cursor, or the latest kept before it."""
        if self.display_as.cursor is None:
            arrows = together("left", "right", plain=self.ui.ascii_only)
            self.notify(f"put the cursor on a step first: {arrows} or a click")
        else:
            self.session.rewind(self.display_as.cursor)
            self._read_at(None)

    @on(TrendPlot.Pointed)
    def _pointed(self, event: TrendPlot.Pointed) -> None:
        self._read_at(event.step)

    # The layers, and the room

    def action_layers_left(self) -> None:
        """Scroll the histograms."""
        self.query_one(LayerRow).shift(-1)

    def action_layers_right(self) -> None:
        """Scroll the histograms."""
        self.query_one(LayerRow).shift(1)

    def action_layer_view(self) -> None:
        """Outputs, gradients, weights or updates."""
        self._view_of_layers = (self._view_of_layers + 1) % len(VIEWS)
        kind = list(VIEWS)[self._view_of_layers]
        row = self.query_one(LayerRow)
        row.kind = kind
        for plot in row.plots:
            self.turns.hurry(plot)
        self.session.watch(self.watched)

    @property
    def watched(self) -> tuple[str, ...]:
        """What this mode shows now."""
        kind = list(VIEWS)[self._view_of_layers]
        extra = {"updates": ("updates", "weights")}.get(kind, (kind,))
        return tuple(dict.fromkeys((*self.WATCH, *extra)))

    def action_full(self) -> None:
        """The trend over the whole screen, then the layers, then both again."""
        self._full = (self._full + 1) % len(FULL)
        for number, name in enumerate(FULL[1:], 1):
            self.query_one("#panes").set_class(number == self._full, name)
