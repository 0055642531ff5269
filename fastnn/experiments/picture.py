"""An experiment's parts drawn into a file by Matplotlib, which the extra `plot` brings."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import numpy as np

from fastnn.errors import DataError
from fastnn.experiments.entry import Experiment
from fastnn.experiments.parts import Bars, Curves, Diagram, Histograms, Part

if TYPE_CHECKING:
    from matplotlib.axes import Axes

DRAWN = (Curves, Histograms, Bars, Diagram)
WIDTH, HEIGHT = 9.0, 3.2  # inches of a row


def check(path: str) -> None:
    """Raise DataError if no picture can be written there: no Matplotlib, an unknown kind of file, no such folder."""
    try:
        from matplotlib.backend_bases import FigureCanvasBase
    except ImportError:
        raise DataError("plot: needs Matplotlib; pip install 'fastnn[plot]' brings it") from None
    kinds = sorted(FigureCanvasBase.get_supported_filetypes())
    kind = os.path.splitext(path)[1].lstrip(".").lower()
    if kind not in kinds:
        raise DataError(f"plot: {path!r}; expected a name that ends in one of {', '.join(kinds)}")
    folder = os.path.dirname(path) or "."
    if not os.path.isdir(folder):
        raise DataError(f"plot: {folder}: no such folder")


def write(path: str, experiment: Experiment, parts: tuple[Part, ...]) -> None:
    """Draw what can be drawn, a row of axes for each part; raises DataError when the file cannot be written."""
    from matplotlib.figure import Figure

    shown = [part for part in parts if isinstance(part, DRAWN)]
    figure = Figure(figsize=(WIDTH, HEIGHT * len(shown)), layout="constrained")
    figure.suptitle(experiment.title)
    rows = figure.subfigures(len(shown), 1, squeeze=False)[:, 0]
    for part, row in zip(shown, rows, strict=True):
        if isinstance(part, Curves):
            _curves(part, row.subplots())
        elif isinstance(part, Histograms):
            _histograms(part, row)
        elif isinstance(part, Bars):
            _bars(part, row)
        elif isinstance(part, Diagram):
            _diagram(part, row.subplots())
    try:
        figure.savefig(path)
    except OSError as reason:
        raise DataError(f"plot: {path}: {reason.strerror or reason}") from None


def _curves(part: Curves, axes: Axes) -> None:
    for curve in part.curves:
        axes.plot(curve.x, curve.y, label=curve.label)
    if part.cursor is not None:
        axes.axvline(part.cursor, color="gray", linewidth=1)
    if part.log_y:
        axes.set_yscale("log")
    axes.set(title=part.title, xlabel=part.x_label)
    axes.legend(fontsize="small")


def _histograms(part: Histograms, row: Any) -> None:
    row.suptitle(part.title, fontsize="medium")
    for panel, axes in zip(part.panels, np.atleast_1d(row.subplots(1, len(part.panels))), strict=True):
        axes.stairs(panel.counts, panel.edges, fill=True)
        axes.set_title(f"{panel.label}\n{panel.caption}", fontsize="small")
        axes.set_yticks([])


def _bars(part: Bars, row: Any) -> None:
    row.suptitle(part.title, fontsize="medium")
    for (name, values), axes in zip(part.groups, np.atleast_1d(row.subplots(1, len(part.groups))), strict=True):
        bars = axes.barh(part.labels, np.nan_to_num(values))
        axes.bar_label(bars, fmt=f"%.{part.digits}f", fontsize="small")
        axes.set(title=name, xlim=(0, 1.3 * part.longest))
        axes.invert_yaxis()


def _diagram(part: Diagram, axes: Axes) -> None:
    from matplotlib.collections import LineCollection

    layer, i, j = part.link
    places = [np.linspace(0.5 - 0.1 * (size - 1) / 2, 0.5 + 0.1 * (size - 1) / 2, size)[::-1] for size in part.sizes]
    for number, (weights, mask) in enumerate(zip(part.weights, part.masks, strict=True)):
        there = np.ones(weights[1:].shape) if mask is None else mask
        begin, end = np.nonzero(there)
        lines = [
            [(number, places[number][a]), (number + 1, places[number + 1][b])] for a, b in zip(begin, end, strict=True)
        ]
        shades = weights[1:][begin, end]
        links = LineCollection(lines, array=shades, cmap="coolwarm", linewidths=1.2)
        edge = float(np.abs(shades).max(initial=1e-12))
        links.set_clim(-edge, edge)
        axes.add_collection(links)
    for number, ys in enumerate(places):
        axes.plot(np.full(len(ys), number), ys, "o", color="black", markersize=9)
    axes.set(title=part.title, xlim=(-0.3, len(part.sizes) - 0.7))
    axes.margins(y=0.2)
    if i > 0:
        ends = [places[layer - 1][i - 1], places[layer][j - 1]]
        axes.plot([layer - 1, layer], ends, color="black", linewidth=2.5)
    axes.set_axis_off()
