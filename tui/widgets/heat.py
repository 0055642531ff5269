"""Histograms over time as a heat map: a column a moment, brighter where more values lie."""

from __future__ import annotations

import numpy as np

from tui.colors import VIRIDIS, ramp
from tui.layerlog import Series
from tui.numbers import short
from tui.widgets.axes import linear_axis
from tui.widgets.canvas import paint
from tui.widgets.cells import RGB, Cells

LABELS = 6
SPREAD = (0.002, 0.998)  # of the values that the axis reaches over: a lone one does not squeeze the rest
TALL = 1.5  # times the second largest: where what towers over the rest (a relu's zeros) is cut


def value_range(series: Series) -> tuple[float, float]:
    """The range that nearly all values of all moments lie in."""
    low, high = series.percentiles(SPREAD)
    seen = np.isfinite(low) & np.isfinite(high)
    if not seen.any():
        return 0.0, 0.0
    return float(low[seen].min()), float(high[seen].max())


def densities(series: Series, rows: int, columns: int, low: float, high: float) -> np.ndarray:
    """Shares (rows, columns) in [0, 1] of how many values lie where, of each moment's largest; the top row is `high`.

    A column shows the latest moment at or before its step.
    """
    first, last = series.steps[0], series.steps[-1]
    at = first + (np.arange(columns) + 0.5) / columns * (last - first)
    moments = np.maximum(np.searchsorted(series.steps, at, side="right") - 1, 0)
    # Shares below each edge between two pixels, even within a bin; their differences miss no bin, however thin.
    bins = series.counts.shape[1]
    below = np.zeros((columns, bins + 1))
    below[:, 1:] = np.cumsum(series.counts[moments], axis=1, dtype=np.float64)
    edges = high - np.arange(rows + 1) / rows * (high - low)
    begin, end = series.low[moments], series.high[moments]
    with np.errstate(invalid="ignore", over="ignore", divide="ignore"):
        place = (edges[:, None] - begin) / (end - begin) * bins
    place = np.clip(np.nan_to_num(place), 0, bins)
    bin_ = np.minimum(place.astype(np.int64), bins - 1)
    each = np.arange(columns)
    left, right = below[each, bin_], below[each, bin_ + 1]
    mass = -np.diff(left + (place - bin_) * (right - left), axis=0)
    order = np.sort(mass, axis=0)
    top, second = order[-1], order[-2]
    limit = np.where(second > 0, np.minimum(top, second * TALL), top)
    shares: np.ndarray = np.clip(mass / np.maximum(limit, 1e-300), 0.0, 1.0)
    return shares


def heat_chart(
    width: int, height: int, series: Series, *, ground: RGB, axis_color: RGB | None = None, plain: bool = False
) -> Cells:
    """The heat map over its axes; empty cells when there is no room or nothing finite."""
    cells = Cells(width, height)
    low, high = value_range(series)
    left = LABELS + 1
    rows, columns = height - 1, width - left
    if rows < 2 or columns < 4 or not np.isfinite(high - low):
        return cells
    if not high > low:
        low, high = low - 0.5, high + 0.5
    shares = densities(series, 2 * rows, columns, low, high)
    # From the ground's color, so that what is rare is seen and what is empty is not; the square root lifts the rare.
    colors = ramp(0.12 + 0.88 * np.sqrt(shares), np.vstack([np.array([ground]), VIRIDIS[1:]]))
    paint(cells, colors, left, 0, mask=shares > 1e-9, plain=plain)
    for y in range(rows):
        cells.text(left - 1, y, "|" if plain else "│", axis_color)
    free = -1
    for value, label in reversed(linear_axis(low, high, max(3, rows // 2)).ticks):
        y = round((high - value) / (high - low) * rows - 0.5)
        if free < y < rows:
            cells.text(0, y, label.rjust(LABELS)[:LABELS], axis_color)
            cells.text(left - 1, y, "+" if plain else "┤", axis_color)
            free = y
    first, last = short(float(series.steps[0])), short(float(series.steps[-1]))
    cells.text(left, rows, first, axis_color)
    if columns > len(first) + len(last) + 2:
        cells.text(width - len(last), rows, last, axis_color)
    if columns > len(first) + len(last) + 8:
        cells.text(left + (columns - 4) // 2, rows, "step", axis_color)
    return cells
