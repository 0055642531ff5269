"""Loss curves and histograms as lines of text, drawn by plotext from any numbers whatsoever.

plotext 5.3 raises on infinities and on zeros on a log axis, and draws nothing near 1e300. So it never sees the
data: this module drops what cannot be drawn, maps the rest to [0, 1], one point a column of dots (2,000 points
cost 155 ms a frame, one a column 8 to 17 ms), and writes the ticks itself.
"""

from __future__ import annotations

import math
import sys
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np

from tui.numbers import short

RGB = tuple[int, int, int]
HUGE = sys.float_info.max
# Below this size plotext has no room for an axis and a curve.
MIN_WIDTH, MIN_HEIGHT = 12, 4
# Where a marker fills its cell, a dashed line needs another one.
DASH = {"*": "o"}


@dataclass(frozen=True)
class Line:
    """A curve to draw: x rising, y anything; `dashed` tells it from the others without colors."""

    x: np.ndarray
    y: np.ndarray
    color: RGB | None
    dashed: bool = False


@dataclass(frozen=True)
class Axis:
    """A range in data units (or their logarithm), and where its ticks are with their labels."""

    low: float
    high: float
    ticks: tuple[tuple[float, str], ...]

    def place(self, values: Any) -> Any:
        """Map a number or an array to [0, 1]; halves first, because high - low may overflow."""
        return (values * 0.5 - self.low * 0.5) / (self.high * 0.5 - self.low * 0.5)


@lru_cache(1)
def _figure() -> Any:
    # Imported at the first drawing: it takes 0.1 s, and the first screen does not wait for it.
    from plotext._figure import _figure_class

    return _figure_class()


def _fresh(width: int, height: int) -> Any:
    figure = _figure()
    figure.clear_figure()
    figure._limit_size(False, False)
    figure._set_size(width, height)
    figure.theme("clear")
    return figure


def linear_axis(low: float, high: float, wanted: int, *, whole: bool = False) -> Axis:
    """An axis over [low, high] with about `wanted` ticks at 1, 2 or 5 times a power of ten, or at `whole` numbers."""
    low, high = _separated(low, high)
    if low >= 0 and low < 0.4 * high:
        low = 0.0
    span = (high * 0.5 - low * 0.5) * 2 if high * 0.5 - low * 0.5 < HUGE / 2 else HUGE
    raw = max(span / max(1, wanted), float(whole))
    power = 10.0 ** math.floor(math.log10(raw)) if raw > 1e-300 else 1e-300
    step = next((power * m for m in (1, 2, 5) if power * m >= raw * 0.999), power * 10)
    if not math.isfinite(step):
        return Axis(low, high, ((low, short(low)), (high, short(high))))
    first = math.ceil(low / step - 1e-9)
    ticks = []
    for number in range(first, first + 3 * wanted + 3):
        value = number * step
        if value - high > step * 1e-9:
            break
        ticks.append((value, short(0.0 if abs(value) < step / 1e6 else value)))
    return Axis(low, high, tuple(ticks) or ((low, short(low)), (high, short(high))))


def log_axis(low: float, high: float, wanted: int) -> Axis:
    """An axis in log10 units over [low, high] (already logarithms), ticks at decades, or 1, 2, 5 when few."""
    if high - low < 0.3:
        middle = (high + low) / 2
        low, high = middle - 0.15, middle + 0.15
    for multiples in ((1, 2, 5), (1,)):
        ticks = [
            (math.log10(m) + decade, short(m * 10.0**decade))
            for decade in range(max(-307, math.floor(low)), min(307, math.ceil(high)) + 1)
            for m in multiples
            if low - 1e-9 <= math.log10(m) + decade <= high + 1e-9
        ]
        if len(ticks) <= max(2, wanted):
            break
    ticks = ticks[:: max(1, math.ceil(len(ticks) / max(2, wanted)))]
    if len(ticks) < 2:
        ticks = [(low, short(10.0**low)), (high, short(10.0 ** min(high, 308.2)))]
    return Axis(low, high, tuple(ticks))


def _separated(low: float, high: float) -> tuple[float, float]:
    """Give a constant some room on both sides."""
    size = max(abs(low), abs(high))
    if high * 0.5 - low * 0.5 > size * 1e-9:
        return low, high
    room = size * 0.5 or 1.0
    return max(low - room, -HUGE), min(high + room, HUGE)


def _margin(low: float, high: float) -> float:
    return min(high + (high * 0.5 - low * 0.5) * 0.06, HUGE)


def _finite(line: Line, log_y: bool) -> tuple[np.ndarray, np.ndarray]:
    x, y = np.asarray(line.x, np.float64), np.asarray(line.y, np.float64)
    size = min(x.size, y.size)
    x, y = x.ravel()[:size], y.ravel()[:size]
    keep = np.isfinite(x) & np.isfinite(y)
    if log_y:
        keep &= y > 0
    x, y = x[keep], y[keep]
    return x, np.log10(y) if log_y else y


def _columns(x: np.ndarray, y: np.ndarray, count: int) -> tuple[list[int], list[float]]:
    """The mean of y in each of `count` columns that has a point; x and y in [0, 1]."""
    where = np.clip((x * (count - 1) + 0.5).astype(np.int64), 0, count - 1)
    number = np.bincount(where, minlength=count)
    total = np.bincount(where, weights=y, minlength=count)
    used = np.flatnonzero(number)
    return used.tolist(), (total[used] / number[used]).tolist()


def _dashes(columns: list[int], heights: list[float]) -> tuple[list[int], list[float]]:
    """Every other cell of the straight lines between the points (a cell is two columns of dots)."""
    if len(columns) < 2:
        return columns, heights
    all_columns = np.arange(columns[0], columns[-1] + 1)
    shown = all_columns[(all_columns // 2) % 2 == 0]
    return shown.tolist(), np.interp(shown, columns, heights).tolist()


def line_chart(width: int, height: int, lines: list[Line], *, log_y: bool = False, marker: str = "braille") -> str:
    """Curves over their axes, `height` lines of `width` cells with ANSI colors; "" when there is nothing to draw."""
    if width < MIN_WIDTH or height < MIN_HEIGHT:
        return ""
    clean = [(*_finite(line, log_y), line) for line in lines]
    clean = [(x, y, line) for x, y, line in clean if x.size]
    if not clean:
        return ""
    low, high = min(float(y.min()) for _, y, _ in clean), max(float(y.max()) for _, y, _ in clean)
    rows = height - 2
    wanted = max(2, rows // 2 if rows < 12 else rows // 3)
    # A margin above, so that the start of a curve does not touch the border.
    y_axis = log_axis(low, high, wanted) if log_y else linear_axis(low, _margin(low, high), wanted)
    start, end = min(0.0, *(float(x.min()) for x, _, _ in clean)), max(float(x.max()) for x, _, _ in clean)
    x_axis = linear_axis(start, end, width // 18, whole=True)

    label_width = max(6, max(len(label) for _, label in y_axis.ticks))
    cells = width - label_width - 1
    if cells < 2:
        return ""
    count = cells * (2 if marker in ("braille", "hd") else 1)
    figure = _fresh(width, height)
    figure.xaxes(True, False)
    figure.yaxes(True, False)
    for x, y, line in clean:
        columns, heights = _columns(x_axis.place(x), y_axis.place(y), count)
        if line.dashed:
            columns, heights = _dashes(columns, heights)
        draw = figure.scatter if line.dashed or len(columns) < 2 else figure.plot
        draw(
            columns, heights, marker=DASH.get(marker, marker) if line.dashed else marker, color=line.color or "default"
        )
    figure.xlim(0, count - 1)
    figure.ylim(0, 1)
    ticks = [(float(y_axis.place(t)), label.rjust(label_width)) for t, label in y_axis.ticks]
    figure.yticks([t for t, _ in ticks], [label for _, label in ticks])
    ticks = [(float(x_axis.place(t)) * (count - 1), label) for t, label in x_axis.ticks]
    figure.xticks([t for t, _ in ticks], [label for _, label in ticks])
    return str(figure.build())


def histogram_chart(
    width: int,
    height: int,
    counts: np.ndarray,
    edges: np.ndarray,
    *,
    color: RGB | None,
    tall_color: RGB | None,
    marker: str = "hd",
) -> str:
    """Bars of `counts` over a line of ticks, `height` lines of `width` cells; "" when there is nothing to draw.

    One bin that towers over the rest (the zeros of a relu) is cut at the top edge and drawn in `tall_color`,
    so that the shape of the others stays visible; the caption beside the chart states its share.
    """
    counts = np.asarray(counts, np.float64).ravel()
    counts = np.where(np.isfinite(counts) & (counts > 0), counts, 0.0)
    if width < MIN_WIDTH or height < 2 or counts.size == 0:
        return ""
    order = np.sort(counts)
    top = float(order[-1])
    second = float(order[-2]) if counts.size > 1 else 0.0
    limit = second * 1.15 if 0 < second * 3 < top else top
    scale = 2 if marker in ("hd", "braille") else 1
    fine = width * scale
    bins = np.arange(fine) * counts.size // fine
    heights = np.minimum(counts / limit, 1.0)[bins] if limit > 0 else np.zeros(fine)
    tall = counts[bins] > limit

    figure = _fresh(width, height)
    figure.frame(False)
    if limit > 0:
        columns = np.arange(fine)
        figure.plot(
            columns.tolist(), np.where(tall, 0.0, heights).tolist(), marker=marker, fillx=True, color=color or "default"
        )
        if tall.any():
            figure.plot(
                columns[tall].tolist(), heights[tall].tolist(), marker=marker, fillx=True, color=tall_color or "default"
            )
    else:
        figure.plot([0], [0], marker=" ")
    figure.xlim(0, fine - 1)
    figure.ylim(0, 1)
    figure.yticks([], [])
    ticks = _edge_ticks(np.asarray(edges, np.float64).ravel(), width)
    figure.xticks([t * (fine - 1) for t, _ in ticks], [label for _, label in ticks])
    return str(figure.build())


def _edge_ticks(edges: np.ndarray, width: int) -> list[tuple[float, str]]:
    """Both ends, and 0 where it lies well between them."""
    if edges.size < 2 or not (np.isfinite(edges[0]) and np.isfinite(edges[-1])) or edges[0] >= edges[-1]:
        return []
    axis = Axis(float(edges[0]), float(edges[-1]), ())
    ticks = [(0.0, short(axis.low)), (1.0, short(axis.high))]
    zero = float(axis.place(0.0))
    if 8 / width < zero < 1 - 8 / width:
        ticks.insert(1, (zero, "0"))
    return ticks
