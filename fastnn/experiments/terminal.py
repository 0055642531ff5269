"""An experiment's parts in a terminal, or in a file of text: tables by rich, curves by plotext."""

from __future__ import annotations

import math

import numpy as np
from rich.console import Console, Group, RenderableType
from rich.padding import Padding
from rich.table import Table as RichTable
from rich.text import Text as RichText

from fastnn.experiments.entry import Experiment
from fastnn.experiments.parts import Bars, Checks, Curves, Diagram, Histograms, Panel, Part, Table, Text

EIGHTHS = " ▁▂▃▄▅▆▇█"
ROLES = {"": "", "name": "bold", "value": "green", "gradient": "red", "muted": "dim"}
CURVE_ROWS = 16
MARKS = "*o+x#%"  # of curves that no colors tell apart
MOST = 12  # rows and columns of a weight matrix that are printed


def show(experiment: Experiment, parts: tuple[Part, ...], console: Console) -> None:
    """Print what was found, under the experiment's title."""
    console.print()
    console.rule(f"[bold]{experiment.title}[/]  [dim]{experiment.name}", align="left")
    console.print(f"[dim]slide: {experiment.slide}[/]", highlight=False)
    for part in parts:
        console.print()
        if part.title:
            console.print(RichText(part.title, "bold"))
        console.print(Padding(drawn(part, console), (0, 0, 0, 2)))


def listed(experiments: dict[str, Experiment], console: Console) -> None:
    """Print the names and titles of all experiments."""
    table = _grid(("name", "", "slide"))
    for entry in experiments.values():
        table.add_row(RichText(entry.name, "bold"), entry.title, RichText(entry.slide, "dim"))
    console.print(table)


def drawn(part: Part, console: Console) -> RenderableType:
    """A part as rich prints it."""
    if isinstance(part, Table):
        return _table(part)
    if isinstance(part, Curves):
        return _curves(part, console)
    if isinstance(part, Histograms):
        return _histograms(part)
    if isinstance(part, Bars):
        return _bars(part)
    if isinstance(part, Checks):
        return Group(*(_check(text, holds) for text, holds in part.rows))
    if isinstance(part, Text):
        return Group(*(RichText.assemble(*((piece, ROLES[role]) for piece, role in line)) for line in part.lines))
    return _diagram(part)


def _grid(columns: tuple[str, ...]) -> RichTable:
    grid = RichTable(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    for number, name in enumerate(columns):
        grid.add_column(name, justify="left" if number == 0 or not name else "right", overflow="fold")
    return grid


def _table(part: Table) -> RichTable:
    grid = _grid(part.columns)
    for number, row in enumerate(part.rows):
        grid.add_row(*map(RichText, row), style="bold" if number == part.marked else "")
    return grid


def _curves(part: Curves, console: Console) -> RenderableType:
    import plotext

    plotext.clear_figure()
    plain = not console.is_terminal or console.no_color
    plotext.theme("clear" if plain else "pro")
    plotext.plotsize(min(100, console.width - 2), CURVE_ROWS)
    xs, ys = [np.zeros(0)], [np.zeros(0)]
    for number, curve in enumerate(part.curves):
        keep = np.isfinite(curve.y) & (curve.y > 0 if part.log_y else True)
        if keep.any():
            y = np.log10(curve.y[keep]) if part.log_y else curve.y[keep]
            plotext.plot(
                curve.x[keep].tolist(),
                y.tolist(),
                marker=MARKS[number % len(MARKS)] if plain else "braille",
                label=curve.label,
            )
            xs.append(curve.x[keep])
            ys.append(y)
    if part.cursor is not None:
        plotext.vline(part.cursor, "gray")
    for values, log, mark in ((xs, False, plotext.xticks), (ys, part.log_y, plotext.yticks)):
        marks = _ticks(np.concatenate(values), log)
        mark(marks, [f"{10**tick if log else tick:.6g}" for tick in marks])
    plotext.xlabel(part.x_label)
    return RichText.from_ansi(plotext.build())


def _ticks(values: np.ndarray, log: bool, most: int = 6) -> list[float]:
    """Round numbers within the values, `most` or fewer: 1, 2 or 5 times a power of ten apart; of a logarithm decades,
    or where there are hardly any, the logarithms of round numbers."""
    low, high = (float(values.min()), float(values.max())) if values.size else (0.0, 0.0)
    if log and high - low < 2:
        return [math.log10(tick) for tick in _ticks(np.array([10**low, 10**high]), False, most) if tick > 0]
    if not high > low:
        return [low]
    unit = 10.0 ** math.floor(math.log10((high - low) / most))
    step = next(unit * times for times in (1, 2, 5, 10) if high - low <= most * unit * times)
    step = max(1.0, step) if log else step
    return [number * step for number in range(math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9) + 1)]


def spark(panel: Panel) -> str:
    """A histogram as one line of blocks; the highest bin fills a cell."""
    counts = np.asarray(panel.counts, np.float64)
    levels = np.ceil(8 * counts / max(1.0, counts.max())).astype(int)
    return "".join(EIGHTHS[level] for level in levels)


def _histograms(part: Histograms) -> RichTable:
    grid = _grid(("", "", "from", "to", ""))
    for panel in part.panels:
        low, high = (f"{edge:.3g}" for edge in (panel.edges[0], panel.edges[-1]))
        grid.add_row(panel.label, RichText(spark(panel), "cyan"), low, high, panel.caption)
    return grid


def _bars(part: Bars) -> RichTable:
    grid = _grid(("", *(name for name, _ in part.groups)))
    for number, label in enumerate(part.labels):
        cells = []
        for _, values in part.groups:
            bar = "█" * round(10 * values[number] / part.longest) if np.isfinite(values[number]) else ""
            cells.append(f"{bar:<10} {values[number]:.{part.digits}f}")
        grid.add_row(label, *cells, style="bold" if number == part.marked else "")
    return grid


def _check(text: str, holds: bool) -> RichText:
    return RichText.assemble(("✓ ", "green") if holds else ("✗ ", "red"), text)


def _diagram(part: Diagram) -> RenderableType:
    """The weights of each layer, rows shaded by their size; the named one is marked."""
    blocks: list[RenderableType] = []
    layer, i, j = part.link
    for number, weights in enumerate(part.weights, 1):
        rows, columns = min(MOST, len(weights)), min(MOST, weights.shape[1])
        rest = " …" if (rows, columns) != weights.shape else ""
        grid = _grid((f"layer {number}{rest}", *(f"to {k}" for k in range(1, columns + 1))))
        for row in range(rows):
            mask = part.masks[number - 1]
            cells = [
                RichText("·", "dim") if row and mask is not None and not mask[row - 1, k] else
                RichText(f"{weights[row, k]:+.3f}", "reverse" if (number, row, k + 1) == (layer, i, j) else
                         "dark_orange" if weights[row, k] > 0 else "blue")
                for k in range(columns)
            ]  # fmt: skip
            grid.add_row("x_0 = 1" if row == 0 else f"from {row}", *cells)
        blocks.append(grid)
    return Group(*blocks)
