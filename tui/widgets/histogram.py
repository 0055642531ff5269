"""Histograms of outputs, gradients, weights or updates, one for each layer, in a row that scrolls."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from textual.containers import HorizontalScroll
from textual.content import Content
from textual.reactive import reactive

from tui.numbers import short
from tui.view import View
from tui.widgets.cells import Cells
from tui.widgets.charts import histogram_chart
from tui.widgets.plot import Plot

# Shares of a layer's outputs from which a caption turns yellow, then red. A relu layer is half zeros at the
# start, whatever its size, and stays useful far beyond; a saturated sigmoid or tanh passes no gradient.
ZEROS = (0.8, 0.95)
SATURATED = (0.3, 0.6)
DEAD = (0.1, 0.4)
FLAT = 1e-3
FRAME = 4  # corners and the room around a caption
RATIO = (1e-4, 1e-2)  # an update is usually a thousandth of the weights

# What a histogram may show: its word in the title, and where it is in a layer's snapshot.
VIEWS: dict[str, tuple[str, Callable[[Any], Any]]] = {
    "activations": ("", lambda layer: layer.activations),
    "gradients": ("gradients", lambda layer: layer.gradients),
    "weights": ("weights", lambda layer: layer.weights),
    "updates": ("updates", lambda layer: layer.updates),
}


def health(share: float, limits: tuple[float, float]) -> str:
    """The color of a share: good, fair from the first limit on, poor from the second."""
    return "$health-poor" if share >= limits[1] else "$health-fair" if share >= limits[0] else "$health-good"


def _judged(text: str, color: str) -> tuple[str, str]:
    """A text in its color; what is poor has a sign as well, for who sees no color."""
    return (f"{text}!" if color == "$health-poor" else text, color)


def caption(layer: Any, kind: str, width: int) -> Content:
    """Mean, standard deviation and what else tells how a layer does, colored by health."""
    seen, roomy = VIEWS[kind][1](layer), width >= 32
    if seen is None:
        return Content("")
    outputs = kind == "activations"
    mean, std = (layer.mean, layer.std) if outputs else (seen.mean, seen.std)
    flat = outputs and not std > FLAT
    parts: list[str | tuple[str, str]] = []
    if outputs or roomy:  # the mean of gradients or weights is near 0 and says little
        parts += [("\u03bc ", "$text-muted"), _figure(mean, roomy), "  " if roomy else " "]
    parts += [("\u03c3 ", "$text-muted"), _judged(_figure(std, roomy), "$health-poor" if flat else "$health-good")]
    shown = Content.assemble(*parts)
    for words, text, color in _shares(layer) if outputs else _sizes(layer, kind):
        for word in (f"  {words[1]} ", f"  {words[0]} ", f" {words[0]} ")[0 if roomy else 2 :]:
            longer = Content.assemble(shown, (word, "$text-muted"), _judged(text, color))
            if longer.cell_length <= width - FRAME:
                shown = longer
                break
        else:
            break
    return shown


def _shares(layer: Any) -> list[tuple[tuple[str, str], str, str]]:
    """Short and long word, text and color of what a layer's outputs have in common, the worst first."""
    found = []
    for words, share, limits in (
        (("dead", "dead units"), layer.dead, DEAD),
        (("sat", "saturated"), layer.saturated, SATURATED),
        (("=0", "zeros"), layer.zeros, ZEROS),
    ):
        if share >= 0.005:
            found.append((words, f"{share * 100:.0f}%", health(share, limits)))
    return found


def _sizes(layer: Any, kind: str) -> list[tuple[tuple[str, str], str, str]]:
    """The norm of gradients, weights or updates; of updates how they compare with the weights."""
    if kind == "updates" and layer.ratio is not None:
        low, high = RATIO
        good = low <= layer.ratio <= high
        far = layer.ratio < low / 10 or layer.ratio > high * 10
        color = "$health-good" if good else "$health-poor" if far else "$health-fair"
        return [(("/w", "update / weight"), _figure(layer.ratio, roomy=True), color)]
    seen = VIEWS[kind][1](layer)
    return [(("|g|" if kind == "gradients" else "|w|", "norm"), _figure(seen.norm, roomy=True), "$health-good")]


def _figure(value: float, roomy: bool) -> str:
    """Two digits (a third one only flickers), without the zero before the point where room is short."""
    text = short(float(f"{value:.2g}")) if math.isfinite(value) else short(value)
    return text if roomy else text.replace("0.", ".", 1) if text.lstrip("-").startswith("0.") else text


class HistogramPlot(Plot):
    """The distribution of one layer's outputs on the last batch, or of its weights; layers are counted from 0."""

    snapshot: Any = None
    kind = "activations"

    def __init__(self, number: int) -> None:
        super().__init__()
        self.number = number

    def key(self, view: View) -> tuple[Any, ...]:
        """Drawn again when the layers were looked at again."""
        layers = view.snapshot.layers if view.snapshot is not None else None
        return (layers or None, view.run, self.kind)

    def take(self, view: View) -> None:
        """The layer's snapshot; only its name before the first."""
        number = self.number
        if number + 1 >= len(view.sizes):
            return  # of the network before, which had more layers: the next frame takes the plot away
        layers = view.snapshot.layers if view.snapshot is not None else ()
        self.snapshot = layers[number] if number < len(layers) else None
        last = number == len(view.sizes) - 2
        name = f"L{number + 1} {'identity' if last else view.hidden} {view.sizes[number + 1]}"
        first, _, rest = (self.snapshot.name if self.snapshot else name).partition(" ")
        what = VIEWS[self.kind][0]
        self.border_title = Content.assemble((first, "bold"), " ", (what or rest, "$brand" if what else "$text-muted"))
        self._recaption()

    def on_resize(self) -> None:
        """A caption is written for its width."""
        self._recaption()

    def _recaption(self) -> None:
        shown = self.snapshot is not None
        self.border_subtitle = caption(self.snapshot, self.kind, self.size.width) if shown else ""

    def draw(self, width: int, height: int) -> Cells | None:
        """Bars over three ticks."""
        values = None if self.snapshot is None else VIEWS[self.kind][1](self.snapshot)
        if values is None:
            return None
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

    kind = reactive("activations", layout=False)

    def watch_kind(self, kind: str) -> None:
        """All show the same kind of numbers."""
        for plot in self.plots:
            plot.kind = kind

    async def set_count(self, count: int) -> None:
        """Have exactly `count` histograms."""
        plots = list(self.query(HistogramPlot))
        for plot in plots[count:]:
            await plot.remove()
        if len(plots) < count:
            new = [HistogramPlot(number) for number in range(len(plots), count)]
            for plot in new:
                plot.kind = self.kind
            await self.mount_all(new)
        self._fit()

    def on_resize(self) -> None:
        self._fit()

    def _fit(self) -> None:
        """As many side by side as have room; fractions give each the whole row once all of them do not fit."""
        plots = self.plots
        least = plots[0].styles.min_width if plots else None
        if least is not None and self.size.width:
            room = max(1, self.size.width // int(least.value))
            for plot in plots:
                plot.styles.width = "1fr" if len(plots) <= room else self.size.width // room

    @property
    def plots(self) -> list[HistogramPlot]:
        """The histograms from the first layer to the last."""
        return list(self.query(HistogramPlot))

    def shift(self, direction: int) -> None:
        """Scroll by one histogram."""
        plots = self.plots
        if plots:
            self.scroll_relative(x=direction * plots[0].outer_size.width, animate=False)
