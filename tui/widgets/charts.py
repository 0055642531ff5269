"""Line charts and histograms that plotext draws, from any numbers whatsoever.

What cannot be drawn (NaN, infinities, zeros on a log axis) is left out, the rest is mapped to [0, 1], one value a
column of dots: plotext never sees more points than it has columns.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tui.numbers import short
from tui.widgets.axes import HUGE, Axis, linear_axis, log_axis
from tui.widgets.cells import RGB, Cells, packed
from tui.widgets.figure import Figure

# Below this size there is no room for an axis and a curve.
MIN_WIDTH, MIN_HEIGHT = 12, 3
EIGHTHS = " ▁▂▃▄▅▆▇█"


@dataclass(frozen=True)
class Style:
    """How a curve is told from others without colors: a letter in ASCII, a mark for its name, and what is drawn of it,
    cell after cell: all (█), one dot (·) or nothing."""

    letter: str
    mark: str
    cells: str


STYLES = (
    Style("*", "━━", "█"),
    Style("o", "╸╸", "█ "),
    Style("+", "··", "· "),
    Style("x", "━╸", "███ "),
    Style("#", "╸·", "█ · "),
    Style("%", "━·", "███ · "),
)


@dataclass(frozen=True)
class Line:
    """A curve to draw: x rising, y anything; `style` is the number of one of STYLES.

    `faint` is a color for the lowest and highest values of each column behind a curve that is smoothed over `smooth`
    columns of dots.
    """

    x: np.ndarray
    y: np.ndarray
    color: RGB | None
    style: int = 0
    faint: RGB | None = None
    smooth: float = 0.0


@dataclass(frozen=True)
class Look:
    """How a chart is drawn: its axis, the colors of what is not a curve, and extra verticals."""

    log_y: bool = False
    marker: str = "braille"
    axis_color: RGB | None = None
    mark_color: RGB | None = None
    cursor_color: RGB | None = None


@dataclass(frozen=True)
class Chart:
    """A drawn chart: its cells, and how a column of the screen is read back (`None` when nothing is drawn)."""

    cells: Cells
    x_axis: Axis | None = None
    left: int = 0

    def x_at(self, column: int) -> float | None:
        """The x of a column of cells."""
        if self.x_axis is None or self.cells.width - self.left < 2:
            return None
        share = (column - self.left + 0.5) / (self.cells.width - self.left)
        axis = self.x_axis
        return axis.low + min(max(share, 0.0), 1.0) * (axis.high - axis.low)


def line_chart(
    width: int,
    height: int,
    lines: Sequence[Line],
    look: Look | None = None,
    *,
    window: tuple[float, float] | None = None,
    marks: Sequence[float] = (),
    cursor: float | None = None,
) -> Chart:
    """Curves over their axes in `width` x `height` cells; empty cells when there is nothing to draw.

    `window`: the range of x to show (default: all, from 0). `marks`: x of verticals behind the curves; `cursor`: x of
    one before them.
    """
    look = look or Look()
    clean = [(*_finite(line, look.log_y, window), line) for line in lines]
    clean = [(x, y, line) for x, y, line in clean if x.size]
    if width < MIN_WIDTH or height < MIN_HEIGHT or not clean:
        return Chart(Cells(width, height))
    foot = 2 if height > 4 else 1
    rows = height - foot
    x_axis = _x_axis(clean, window, max(2, width // 14))
    for margin in (7, 9):  # labels have six characters, seldom more
        figure = Figure(width, height, look.marker, margin=margin, foot=foot)
        drawn = [(*_columns(x_axis.place(x), y, figure.across), line) for x, y, line in clean]
        y_axis = _y_axis(drawn, look.log_y, max(2, rows // 2 if rows < 12 else rows // 3))
        if all(len(label) < margin for _, label in y_axis.ticks):
            break
    figure.axes(x_axis.marks() if foot > 1 else (), y_axis.marks(margin - 1), look.axis_color)
    for x in marks:
        figure.vertical(float(x_axis.place(x)), look.mark_color)
    for _, lowest, highest, line in drawn:
        if line.faint is not None and line.smooth > 0:
            for edge in (lowest, highest):
                figure.curve(y_axis.place(_joined(edge)), line.faint, letter=".", lines=False)
    for mean, _, _, line in drawn:
        curve = _joined(smoothed(mean, line.smooth) if line.smooth > 0 else mean)
        style = STYLES[line.style % len(STYLES)]
        if line.style:
            curve = np.where(figure.dashes(style.cells), curve, np.nan)
        figure.curve(y_axis.place(curve), line.color, letter=style.letter, lines=not line.style)
    cells = figure.draw()
    if cursor is not None:
        _vertical(cells, x_axis, cursor, margin, rows, look.cursor_color)
    return Chart(cells, x_axis, margin)


def _x_axis(clean: list[tuple[np.ndarray, np.ndarray, Line]], window: tuple[float, float] | None, wanted: int) -> Axis:
    given = window is not None and window[1] > window[0]
    if window is not None and given:
        low, high = window
    else:
        low = min(0.0, *(float(x[0]) for x, _, _ in clean))
        high = max(low + 1, *(float(x[-1]) for x, _, _ in clean))  # before the first step, too, no step is below 0
    axis = linear_axis(low, high, wanted, whole=not given or high - low >= 1)  # steps; else a share
    if given and axis.low < low:  # an axis that would begin at 0 has other ticks, not another range
        axis = Axis(low, high, tuple((t, label) for t, label in axis.ticks if low <= t <= high))
    return axis


def _y_axis(drawn: Sequence[tuple[np.ndarray, np.ndarray, np.ndarray, Line]], log_y: bool, wanted: int) -> Axis:
    low = min(float(np.nanmin(lowest if line.faint else mean)) for mean, lowest, _, line in drawn)
    high = max(float(np.nanmax(highest if line.faint else mean)) for mean, _, highest, line in drawn)
    if log_y:
        return log_axis(low, high, wanted)
    # Room above, so that the start of a curve does not touch the border.
    return linear_axis(low, min(high + (high * 0.5 - low * 0.5) * 0.06, HUGE), wanted)


def _finite(line: Line, log_y: bool, window: tuple[float, float] | None) -> tuple[np.ndarray, np.ndarray]:
    x, y = np.asarray(line.x, np.float64), np.asarray(line.y, np.float64)
    size = min(x.size, y.size)
    x, y = x.ravel()[:size], y.ravel()[:size]
    keep = np.isfinite(x) & np.isfinite(y)
    if log_y:
        keep &= y > 0
    if window is not None:
        keep &= (x >= window[0]) & (x <= window[1])
    x, y = x[keep], y[keep]
    return x, np.log10(y) if log_y else y


def _columns(x: np.ndarray, y: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Mean, lowest and highest y of each of `count` columns; x in [0, 1]. NaN where a column has no point."""
    where = np.clip((x * (count - 1) + 0.5).astype(np.int64), 0, count - 1)
    number = np.bincount(where, minlength=count)
    with np.errstate(invalid="ignore", over="ignore"):
        mean = np.bincount(where, weights=y / number[where], minlength=count)
    mean[number == 0] = np.nan
    low, high = np.full(count, np.inf), np.full(count, -np.inf)
    np.minimum.at(low, where, y)
    np.maximum.at(high, where, y)
    low[number == 0] = high[number == 0] = np.nan
    return mean, low, high


def _joined(y: np.ndarray) -> np.ndarray:
    """Straight lines across columns that have no point, between the first and the last that have one."""
    there = np.flatnonzero(np.isfinite(y))
    if there.size < 2:
        return y
    out = np.full(y.size, np.nan)
    between = np.arange(there[0], there[-1] + 1)
    out[between] = np.interp(between, there, y[there] * 0.5) * 2
    return out


def smoothed(y: np.ndarray, columns: float) -> np.ndarray:
    """Exponential moving average over about `columns` columns, corrected for its start; NaN stays where it was."""
    there = np.flatnonzero(np.isfinite(y))
    out = np.full(y.size, np.nan)
    keep = 1 - 1 / max(1.0, columns)
    mean, weight, before = 0.0, 0.0, int(there[0]) if there.size else 0
    for at in there.tolist():
        fade = keep ** max(1, at - before)
        mean, weight, before = mean * fade + y[at] * (1 - fade), weight * fade + (1 - fade), at
        out[at] = mean / weight if weight > 0 else y[at]
    return out


def _vertical(cells: Cells, axis: Axis, x: float, left: int, rows: int, color: RGB | None) -> None:
    """The cursor, over everything: plotext's own verticals lie behind its curves."""
    share = float(axis.place(x))
    if 0 <= share <= 1:
        part = np.s_[:rows, left + round(share * (cells.width - left - 1))]
        cells.chars[part] = "┃"
        cells.front[part] = packed(color)


def histogram_chart(
    width: int,
    height: int,
    counts: np.ndarray,
    edges: np.ndarray,
    *,
    color: RGB | None,
    tall_color: RGB | None,
    axis_color: RGB | None = None,
    marker: str = "braille",
) -> Cells:
    """Bars of `counts` over a line of ticks; empty cells when there is nothing to draw.

    One bin that towers over the rest (the zeros of a relu) is cut at the top edge and drawn in `tall_color`,
    so that the shape of the others stays visible; the caption beside the chart states its share.
    """
    counts = np.asarray(counts, np.float64).ravel()
    counts = np.where(np.isfinite(counts) & (counts > 0), counts, 0.0)
    if width < 2 or height < 1 or counts.size == 0 or counts.max() <= 0:
        return Cells(width, height)
    edges = np.asarray(edges, np.float64).ravel()
    figure = Figure(width, height, "ascii", foot=int(height >= 3 and width >= MIN_WIDTH))
    figure.axes(_edge_ticks(edges, width) if figure.rows < height else (), color=axis_color)
    order = np.sort(counts)
    top, second = float(order[-1]), float(order[-2]) if counts.size > 1 else 0.0
    limit = second * 1.15 if 0 < second * 3 < top else top
    # Each column shows the bin that its middle lies in: bars keep their edges, and a lone bin its height.
    values = counts[((np.arange(width) + 0.5) * counts.size / width).astype(np.int64)]
    shares = np.minimum(values, limit) / limit
    parts = " #" if marker == "ascii" else EIGHTHS
    levels = np.ceil(shares * figure.rows * (len(parts) - 1) - 1e-9).astype(np.int64)
    levels = np.maximum(levels, (values > 0).astype(np.int64))
    figure.bars(levels, [tall_color if value > limit else color for value in values], parts)
    return figure.draw()


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
