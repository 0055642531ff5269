"""Activation histograms, one for each layer, in a row that scrolls when not all fit."""

from __future__ import annotations

import math
from typing import Any

from textual.containers import HorizontalScroll
from textual.content import Content

from tui.numbers import short
from tui.view import View
from tui.widgets.cells import Cells
from tui.widgets.charts import histogram_chart
from tui.widgets.plot import Plot

# Shares of a layer's outputs from which a caption turns yellow, then red. A relu layer is half zeros at the
# start, whatever its size, and stays useful far beyond; a saturated sigmoid or tanh passes no gradient.
ZEROS = (0.8, 0.95)
SATURATED = (0.3, 0.6)
FLAT = 1e-3


def health(share: float, limits: tuple[float, float]) -> str:
    """The color of a share: good, fair from the first limit on, poor from the second."""
    return "$health-poor" if share >= limits[1] else "$health-fair" if share >= limits[0] else "$health-good"


def caption(layer: Any, width: int) -> Content:
    """Mean, standard deviation and the saturated or zero share of a layer, colored by health."""
    roomy = width >= 32
    spread = "$health-poor" if not layer.std > FLAT else "$health-good"
    share, words, color = 0.0, ("", ""), ""
    if layer.saturated > 0:
        share, words, color = layer.saturated, ("sat", "saturated"), health(layer.saturated, SATURATED)
    elif layer.zeros > 0:
        share, words, color = layer.zeros, ("=0", "zeros"), health(layer.zeros, ZEROS)
    gap = "   " if roomy else " "
    parts: list[str | tuple[str, str]] = [
        ("\u03bc ", "$text-muted"),
        _figure(layer.mean, roomy),
        (gap + "\u03c3 ", "$text-muted"),
        (_figure(layer.std, roomy), spread),
    ]
    if share > 0:
        parts += [(f"{gap}{words[roomy]} ", "$text-muted"), (f"{share * 100:.0f}%", color)]
    return Content.assemble(*parts)


def _figure(value: float, roomy: bool) -> str:
    """Two digits (a third one only flickers), without the zero before the point where room is short."""
    text = short(float(f"{value:.2g}")) if math.isfinite(value) else short(value)
    return text if roomy else text.replace("0.", ".", 1) if text.lstrip("-").startswith("0.") else text


class HistogramPlot(Plot):
    """The distribution of one layer's outputs on the last batch; layers are counted from 0."""

    snapshot: Any = None

    def __init__(self, number: int) -> None:
        super().__init__()
        self.number = number

    def key(self, view: View) -> tuple[Any, ...]:
        """Drawn again when the layers were looked at again."""
        layers = view.snapshot.layers if view.snapshot is not None else None
        return (layers or None, view.run)

    def take(self, view: View) -> None:
        """The layer's snapshot; only its name before the first."""
        number = self.number
        layers = view.snapshot.layers if view.snapshot is not None else ()
        self.snapshot = layers[number] if number < len(layers) else None
        last = number == len(view.sizes) - 2
        name = f"L{number + 1} {'identity' if last else view.config.activation} {view.sizes[number + 1]}"
        first, _, rest = (self.snapshot.name if self.snapshot else name).partition(" ")
        self.border_title = Content.assemble((first, "bold"), " ", (rest, "$text-muted"))
        self._recaption()

    def on_resize(self) -> None:
        """A caption is written for its width."""
        self._recaption()

    def _recaption(self) -> None:
        self.border_subtitle = caption(self.snapshot, self.size.width) if self.snapshot is not None else ""

    def draw(self, width: int, height: int) -> Cells | None:
        """Bars over three ticks."""
        if self.snapshot is None:
            return None
        values = self.snapshot.activations
        return histogram_chart(
            width,
            height,
            values.counts,
            values.edges,
            color=self.color("plot-bars"),
            tall_color=self.color("plot-tall"),
            axis_color=self.color("plot-axis"),
            marker="ascii" if self.plain else self.marker,
        )


class LayerRow(HorizontalScroll, can_focus=False):
    """One histogram for each layer, side by side."""

    async def set_count(self, count: int) -> None:
        """Have exactly `count` histograms."""
        plots = list(self.query(HistogramPlot))
        for plot in plots[count:]:
            await plot.remove()
        if len(plots) < count:
            await self.mount_all(HistogramPlot(number) for number in range(len(plots), count))

    @property
    def plots(self) -> list[HistogramPlot]:
        """The histograms from the first layer to the last."""
        return list(self.query(HistogramPlot))

    @property
    def seen(self) -> list[HistogramPlot]:
        """Those that are not scrolled out of sight."""
        return [plot for plot in self.plots if plot.region.overlaps(self.region)]

    def shift(self, direction: int) -> None:
        """Scroll by one histogram."""
        plots = self.plots
        if plots:
            self.scroll_relative(x=direction * plots[0].outer_size.width, animate=False)
