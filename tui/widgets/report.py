"""What an experiment found, drawn as cells: the parts of fastnn.experiments.parts, laid out in the room there is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from fastnn.experiments.parts import Bars, Checks, Curves, Diagram, Histograms, Part, Table, Text
from tui.colors import CLASSES, COOL, GRAYS, WARM
from tui.widgets.cells import RGB, Cells
from tui.widgets.charts import STYLES, Line, Look, histogram_chart, line_chart
from tui.widgets.diagram import network_cells

EIGHTHS = " ▏▎▍▌▋▊▉█"
GAP = 3  # columns between parts that are side by side
BAR = 10
ROLES = {
    "": "foreground",
    "name": "foreground",
    "value": "plot-bars",
    "gradient": "plot-validation",
    "muted": "plot-axis",
}


@dataclass(frozen=True)
class Brush:
    """How parts are drawn: the theme's colors by name, the kind of dots, and whether the terminal has only ASCII,
    or shows colors as grays."""

    color: Callable[[str], RGB]
    marker: str
    plain: bool
    gray: bool = False


def paste(onto: Cells, cells: Cells, x: int, y: int) -> None:
    """Put cells into others with their upper left corner at (x, y); what lies outside is cut off."""
    width, height = min(cells.width, onto.width - x), min(cells.height, onto.height - y)
    if width <= 0 or height <= 0:
        return
    for name in ("chars", "front", "back", "bold"):
        getattr(onto, name)[y : y + height, x : x + width] = getattr(cells, name)[:height, :width]


# ---- sizes -----------------------------------------------------------------------------------------------------------


def _columns(part: Table) -> list[int]:
    return [max(len(part.columns[k]), *(len(row[k]) for row in part.rows)) for k in range(len(part.columns))]


def least(part: Part) -> tuple[int, int]:
    """The least width and height that show the part, its title included."""
    title = int(bool(part.title))
    if isinstance(part, Table):
        return max(len(part.title), sum(_columns(part)) + 2 * (len(part.columns) - 1)), len(part.rows) + 1 + title
    if isinstance(part, Checks):
        return max(len(part.title), 2 + max(len(text) for text, _ in part.rows)), len(part.rows) + title
    if isinstance(part, Text):
        lengths = [sum(len(piece) for piece, _ in line) for line in part.lines]
        return max(len(part.title), *lengths), len(part.lines) + title
    if isinstance(part, Bars):
        digits = part.digits + 2
        return max(map(len, part.labels)) + len(part.groups) * (BAR + digits + 4), len(part.labels) + 1 + title
    if isinstance(part, Histograms):
        return 14 * len(part.panels), 8
    if isinstance(part, Diagram):
        return 60, 10
    return max(44, len(part.title), sum(len(curve.label) + 5 for curve in part.curves)), 8


def grows(part: Part) -> bool:
    """Whether more room makes it better."""
    return isinstance(part, (Curves, Histograms, Diagram))


def laid_out(parts: tuple[Part, ...], width: int, height: int) -> list[list[list[Part]]]:
    """Pages of rows of parts: side by side where two fit, and as many rows on a page as fit."""
    rows: list[list[Part]] = []
    for part in parts:
        room = sum(least(one)[0] + GAP for one in rows[-1]) if rows else width
        if rows and room + least(part)[0] <= width:
            rows[-1].append(part)
        else:
            rows.append([part])
    pages: list[list[list[Part]]] = [[]]
    used = 0
    for row in rows:
        tall = max(least(part)[1] for part in row)
        if pages[-1] and used + tall + 1 > height:
            pages.append([])
            used = 0
        pages[-1].append(row)
        used += tall + bool(used)
    return pages


# ---- drawing ---------------------------------------------------------------------------------------------------------


def page_cells(page: list[list[Part]], width: int, height: int, brush: Brush) -> Cells:
    """The rows of a page, those that grow sharing the height that is left over."""
    cells = Cells(width, height)
    tall = [max(least(part)[1] for part in row) for row in page]
    growing = [k for k, row in enumerate(page) if any(map(grows, row))]
    spare = height - sum(tall) - (len(page) - 1)
    for number, k in enumerate(growing):
        tall[k] += spare // len(growing) + (number < spare % len(growing)) if spare > 0 else 0
    y = 0
    for row, room in zip(page, tall, strict=True):
        widths = [least(part)[0] for part in row]
        wide = [k for k, part in enumerate(row) if grows(part)]
        spare = width - sum(widths) - GAP * (len(row) - 1)
        for k in wide:
            widths[k] += max(0, spare) // len(wide)
        x = 0
        for part, part_width in zip(row, widths, strict=True):
            paste(cells, part_cells(part, min(part_width, width - x), min(room, height - y), brush), x, y)
            x += part_width + GAP
        y += room + 1
    return cells


def part_cells(part: Part, width: int, height: int, brush: Brush) -> Cells:
    """One part under its title."""
    cells = Cells(width, height)
    top = int(bool(part.title))
    if top:
        cells.text(0, 0, part.title, brush.color("primary"), bold=True)
    paste(cells, _body(part, width, height - top, brush), 0, top)
    return cells


def _body(part: Part, width: int, height: int, brush: Brush) -> Cells:
    if isinstance(part, Curves):
        return _curves(part, width, height, brush)
    if isinstance(part, Histograms):
        return _histograms(part, width, height, brush)
    if isinstance(part, Diagram):
        signs = GRAYS if brush.gray else (COOL, brush.color("plot-axis"), WARM)
        return network_cells(
            width, height, part, marker="ascii" if brush.plain else brush.marker, node=brush.color("foreground"),
            name=brush.color("plot-axis"), signs=signs, cursor=brush.color("plot-cursor"),
        )  # fmt: skip
    cells = Cells(width, height)
    draw: Any = {Table: _table, Checks: _checks, Text: _text, Bars: _bars}[type(part)]
    draw(part, cells, brush)
    return cells


def _table(part: Table, cells: Cells, brush: Brush) -> None:
    muted, fore = brush.color("plot-axis"), brush.color("foreground")
    x = 0
    for k, room in enumerate(_columns(part)):
        right = k > 0 and bool(part.columns[k])
        cells.text(x, 0, part.columns[k].rjust(room) if right else part.columns[k], muted)
        for y, row in enumerate(part.rows, 1):
            here = part.marked == y - 1
            text = row[k].rjust(room) if right else row[k]
            color = brush.color("plot-cursor") if here else fore if k else muted
            cells.text(x, y, text, color, bold=here)
        x += room + 2


def _checks(part: Checks, cells: Cells, brush: Brush) -> None:
    for y, (text, holds) in enumerate(part.rows):
        mark = ("+" if holds else "!") if brush.plain else "✔" if holds else "✖"
        cells.text(0, y, mark, brush.color("plot-bars" if holds else "error"), bold=True)
        cells.text(2, y, text, brush.color("foreground"))


def _text(part: Text, cells: Cells, brush: Brush) -> None:
    for y, line in enumerate(part.lines):
        x = 0
        for text, role in line:
            cells.text(x, y, text, brush.color(ROLES[role]), bold=role == "name")
            x += len(text)


def _bars(part: Bars, cells: Cells, brush: Brush) -> None:
    room, digits = max(map(len, part.labels)), part.digits + 2
    for number, (name, values) in enumerate(part.groups):
        left = room + 3 + number * (BAR + digits + 4)
        cells.text(left, 0, name, brush.color("plot-axis"))
        for y, value in enumerate(values, 1):
            here = part.marked == y - 1
            if number == 0:
                cells.text(0, y, part.labels[y - 1], brush.color("plot-cursor" if here else "foreground"), bold=here)
            if not np.isfinite(value):
                continue
            eighths = round(8 * BAR * min(1.0, value / part.longest))
            bar = "█" * (eighths // 8) + (EIGHTHS[eighths % 8] if eighths % 8 else "")
            color = CLASSES[number] if brush.color("foreground")[0] > 128 else brush.color("plot-train")
            cells.text(left, y, bar, color)
            cells.text(left + BAR + 1, y, f"{value:.{part.digits}f}", brush.color("foreground"), bold=here)


def _curves(part: Curves, width: int, height: int, brush: Brush) -> Cells:
    """The curves under a line with their names; they differ in color and in style."""
    cells = Cells(width, height)
    colors = [brush.color("plot-train"), brush.color("plot-validation"), *CLASSES[2:]]
    x = 0
    lines = []
    for number, curve in enumerate(part.curves):
        color, style = colors[number % len(colors)], STYLES[number % len(STYLES)]
        mark = style.letter * 2 if brush.plain else style.mark
        cells.text(x, 0, f"{mark} {curve.label}", color)
        x += len(curve.label) + len(mark) + 3
        lines.append(Line(curve.x, curve.y, color, number))
    low = min(float(curve.x[0]) for curve in part.curves)
    high = max(float(curve.x[-1]) for curve in part.curves)
    look = Look(
        log_y=part.log_y, marker="ascii" if brush.plain else brush.marker, axis_color=brush.color("plot-axis"),
        cursor_color=brush.color("plot-cursor"),
    )  # fmt: skip
    chart = line_chart(width, height - 1, lines, look, window=(low, high), cursor=part.cursor)
    paste(cells, chart.cells, 0, 1)
    if x + len(part.x_label) <= width:
        cells.text(width - len(part.x_label), 0, part.x_label, brush.color("plot-axis"))
    return cells


def _fewer(counts: np.ndarray, edges: np.ndarray, most: int) -> tuple[np.ndarray, np.ndarray]:
    """So few bins that each has a column: a chart leaves out what lies between its columns, the ends among them."""
    each = -(-len(counts) // max(1, most))
    begins = np.arange(0, len(counts), each)
    return np.add.reduceat(counts, begins), edges[np.append(begins, len(counts))]


def _histograms(part: Histograms, width: int, height: int, brush: Brush) -> Cells:
    cells = Cells(width, height)
    each = width // len(part.panels)
    for number, panel in enumerate(part.panels):
        x = number * each
        cells.text(x, 0, panel.label, brush.color("foreground"), bold=True)
        counts, edges = _fewer(panel.counts, panel.edges, each - 2)
        bars = histogram_chart(
            each - 2, height - 2, counts, edges, color=brush.color("plot-bars"),
            tall_color=brush.color("plot-tall"), axis_color=brush.color("plot-axis"),
            marker="ascii" if brush.plain else brush.marker,
        )  # fmt: skip
        paste(cells, bars, x, 1)
        cells.text(x, height - 1, panel.caption[: each - 1], brush.color("plot-axis"))
    return cells
