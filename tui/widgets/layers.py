"""The Layers mode's panes: each layer's numbers in three views, and the weights of the first as images."""

from __future__ import annotations

from typing import Any

import numpy as np
from textual.containers import Grid
from textual.content import Content
from textual.message import Message

from tui.colors import diverging
from tui.layerlog import KINDS, Series
from tui.numbers import short
from tui.view import View
from tui.widgets.cells import Cells
from tui.widgets.charts import Line, Look, line_chart
from tui.widgets.heat import heat_chart
from tui.widgets.histogram import HistogramPlot
from tui.widgets.images import fitting, resized
from tui.widgets.plot import Plot
from tui.widgets.trends import hexadecimal

FORMS = ("now", "over time", "percentiles")
NAMES = {"activations": "outputs", "gradients": "gradients", "weights": "weights", "updates": "updates"}
# Percentiles, and how bright their curves are: the median stands out, the quartiles and tails recede.
SHARES = (
    (0.05, "plot-axis"),
    (0.95, "plot-axis"),
    (0.25, "plot-bars"),
    (0.75, "plot-bars"),
    (0.5, "plot-validation"),
)
LEGEND = (("50%", "plot-validation"), ("25 75%", "plot-bars"), ("5 95%", "plot-axis"))
WIDTH, HEIGHT = 26, 9  # the least room for one plot
EXTENT = 99.5  # the percentile of absolute weights that has the full color: a lone one leaves no room for the rest
MOST_COLUMNS = 8


class LayerPlot(HistogramPlot):
    """One kind of numbers of one layer: their histogram now, a heat map over time, or percentiles over time."""

    class Pressed(Message):
        """A person clicks on the plot."""

        def __init__(self, kind: str, form: str) -> None:
            super().__init__()
            self.kind, self.form = kind, form

    form = "now"
    series: Series | None = None

    def key(self, view: View) -> tuple[Any, ...]:
        """Drawn again when the layers were looked at again, or another one is shown here."""
        return (*super().key(view), self.number, self.form)

    def take(self, view: View) -> None:
        """The layer's snapshot and, for what is over time, its past."""
        super().take(view)
        if self.ui.frozen is None or self.series is None:
            self.series = None if self.form == "now" else self.ui.session.record.layers.series(self.number, self.kind)
        first, _, rest = (self.snapshot.name if self.snapshot else "").partition(" ")
        if first:
            words = [(f" {word}", "$text-muted") for word in rest.split()]
            self.border_title = self.title_of([(first, "bold"), (f" {NAMES[self.kind]}", "$brand"), *words])

    def draw(self, width: int, height: int) -> Cells | None:
        """The view that was chosen."""
        if self.form == "now":
            return super().draw(width, height)
        if self.series is None:
            return None
        axis = self.color("plot-axis")
        if self.form == "over time":
            ground = self.color("background")
            return heat_chart(width, height, self.series, ground=ground, axis_color=axis, plain=self.plain)
        curves = self.series.percentiles(tuple(share for share, _ in SHARES))
        lines = [
            Line(self.series.steps, curve, self.color(name), style=int(name != "plot-validation" and self.plain))
            for curve, (_, name) in zip(curves, SHARES, strict=True)
        ]
        look = Look(marker=self.marker, axis_color=axis)
        return line_chart(width, height, lines, look).cells

    def on_click(self) -> None:
        """Show this kind in all views, or this view of all kinds."""
        self.post_message(self.Pressed(self.kind, self.form))


class LayerGrid(Grid, can_focus=False):
    """Layers side by side, kinds of numbers (or the views of one kind) below each other, as many as there is room for.

    `first` is the number of the leftmost layer; `kind` and `form` are in the top row.
    """

    first = 0
    kind = KINDS[0]
    form = FORMS[0]
    whole = False  # one kind in all views, and not one view of all kinds
    depth = 0  # how many layers there are

    @property
    def plots(self) -> list[LayerPlot]:
        """All of them, row by row."""
        return list(self.query(LayerPlot))

    def rows(self) -> list[tuple[str, str]]:
        """Kind and view of each row that there may be, from the top."""
        if self.whole:
            at = FORMS.index(self.form)
            return [(self.kind, form) for form in (*FORMS[at:], *FORMS[:at])]
        at = KINDS.index(self.kind)
        return [(kind, self.form) for kind in (*KINDS[at:], *KINDS[:at])]

    def room(self) -> tuple[int, int]:
        """How many rows and columns there is room for."""
        width, height = self.size
        rows = min(len(self.rows()), max(1, height // HEIGHT))
        return rows, max(1, min(self.depth, MOST_COLUMNS, width // WIDTH))

    async def fit(self, depth: int) -> bool:
        """Have a plot for each layer and kind that there is room for; whether there are others now."""
        self.depth = depth
        if not self.size.width or not depth:
            return False
        rows, columns = self.room()
        wanted, plots = rows * columns, self.plots
        for plot in plots[wanted:]:
            await plot.remove()
        if len(plots) < wanted:
            await self.mount_all([LayerPlot(0) for _ in range(wanted - len(plots))])
        self.styles.grid_size_columns, self.styles.grid_size_rows = columns, rows
        self.aim()
        return len(plots) != wanted

    def aim(self) -> list[LayerPlot]:
        """Tell the plots what to show; returns those that show something else now."""
        rows, columns = self.room()
        self.first = min(max(self.first, 0), max(0, self.depth - columns))
        changed = []
        for number, plot in enumerate(self.plots):
            row, column = divmod(number, columns)
            kind, form = self.rows()[min(row, rows - 1)]
            if (plot.kind, plot.form, plot.number) != (kind, form, self.first + column):
                plot.kind, plot.form, plot.number, plot.series = kind, form, self.first + column, None
                changed.append(plot)
        return changed

    @property
    def hidden(self) -> tuple[int, int]:
        """How many layers lie to the left, and to the right."""
        return self.first, max(0, self.depth - self.first - self.room()[1])


def has_images(run: Any) -> bool:
    """Whether the first layer sees images, and not their rows one after the other."""
    shape = getattr(run.data, "image_shape", None)
    return shape is not None and shape[0] * shape[1] == run.sizes[0]


def first_weights(most: int) -> Any:
    """A probe: the weights (units, rows, columns) of the first layer's first `most` units as images."""

    def look(run: Any) -> np.ndarray | None:
        if not has_images(run):
            return None
        weight = run.network.layers[0].weight
        images: np.ndarray = np.ascontiguousarray(weight[:, :most].T).reshape(-1, *run.data.image_shape)
        return images

    return look


class WeightImages(Plot):
    """The weights into each unit of the first layer as an image: blue below zero, orange above; or dark and light."""

    PROBE = "first weights"
    MOST = 400

    images: np.ndarray | None = None
    units = 0

    def key(self, view: View) -> tuple[Any, ...]:
        """Drawn again when the probe has answered."""
        return (view.found.get(self.PROBE), view.run)

    def take(self, view: View) -> None:
        """The probe's answer."""
        found = view.found.get(self.PROBE)
        self.images = None if found is None else found.value
        self.units = view.sizes[1] if len(view.sizes) > 1 else 0
        self.border_title = Content.assemble(("L1", "bold"), " ", ("weights as images", "$brand"))

    def _legend(self, extent: float) -> None:
        (low, _, high), size = map(hexadecimal, self.signs), short(float(f"{extent:.2g}"))
        self.border_subtitle = Content.assemble(("■", low), f" -{size}  ", ("■", high), f" {size}")

    def draw(self, width: int, height: int) -> Cells | None:
        """As many as there is room for, in one scale."""
        if self.images is None or not self.images.size:
            return None
        cells, shape = Cells(width, height), self.images.shape[1:]
        sheet = fitting(shape, len(self.images), width, height)
        if sheet.count < self.units:
            sheet = fitting(shape, len(self.images), width, height - 1)
            cells.text(0, height - 1, f"and {self.units - sheet.count} more", self.color("plot-axis"))
        small = resized(self.images[: sheet.count], sheet.rows, sheet.columns)
        extent = float(np.percentile(np.abs(small), EXTENT))  # of what is drawn: means of pixels are smaller than these
        self._legend(extent)
        sheet.paint(cells, diverging(small, extent, self.signs), plain=self.plain)
        return cells
