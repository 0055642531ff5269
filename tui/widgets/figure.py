"""plotext draws the charts; its canvas is read as cells, so that no escape sequence is written and parsed again.

This is the one place that knows plotext 5.3, and it uses that release's own parts: `monitor_class`, which is one plot
without the figure around it, and its matrix, which keeps here only the cells that were set. A curve over 158 x 27 cells
takes 2 ms so; plotext's own way (a figure, a full matrix, a text with colors) took 22. plotext stops at a NaN on a log
axis, at infinities, and draws nothing at 1e300: what comes in here are dots counted from the lower left corner, small
whole numbers whatever the data were. Lines between dots, dots to characters and these to their cells are done for all
of a curve at once: plotext did them one by one, and a chart of five curves took 9 ms instead of 2.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from plotext._matrix import matrix_class
from plotext._monitor import monitor_class

from tui.widgets.cells import DEFAULT, RGB, Cells, packed
from tui.widgets.dots import MARKERS, characters

Ticks = Sequence[tuple[float, str]]


def lined(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """These dots, `x` rising, and those on the straight lines from each to the next."""
    steps = np.maximum(np.diff(x), np.abs(np.diff(y)))
    line = np.repeat(np.arange(steps.size), steps)
    number = np.arange(line.size) - np.repeat(np.cumsum(steps) - steps, steps)
    slopes = (np.diff(part) / steps for part in (x, y))
    on_x, on_y = (part[line] + (number * slope[line]) for part, slope in zip((x, y), slopes, strict=True))
    return np.append(on_x.astype(np.int64), x[-1]), np.append(on_y.astype(np.int64), y[-1])


class _Sparse(matrix_class):  # type: ignore[misc]
    """plotext's matrix with the cells that were set and no others: (column, row from below) to character and color."""

    found: dict[tuple[int, int], tuple[str, int]]

    def set_matrices(self) -> None:
        self.found = {}

    def set_canvas(self) -> None: ...

    def get_marker(self, col: int, row: int) -> str:
        return self.found.get((col, row), (" ",))[0]

    def get_marker_row(self, row: int) -> list[str]:
        return [self.get_marker(col, row) for col in self.Cols]

    def insert_element(
        self,
        col: int,
        row: int,
        marker: str,
        fullground: int = DEFAULT,
        style: Any = None,
        background: Any = None,
        check_canvas: bool = False,
    ) -> None:
        if 0 <= col < self.cols and 0 <= row < self.rows:
            self.found[col, row] = marker, fullground


class _Monitor(monitor_class):  # type: ignore[misc]
    """plotext's plot with characters and packed colors as they come: to look at each cell's took time."""

    def check_marker(self, marker: Any = None) -> Any:
        return marker

    def check_color(self, color: Any = None) -> Any:
        return color


class Figure:
    """A plot of `width` x `height` cells: a canvas of `across` x `down` dots, with `margin` cells to its left for an
    axis and its labels (0: none), and `foot` rows below for the other one (2: axis and labels, 1: axis, 0: nothing).
    """

    def __init__(self, width: int, height: int, marker: str, *, margin: int = 0, foot: int = 0) -> None:
        self._marker, dots = marker, MARKERS[marker]
        self.columns, self.rows = width - margin, height - foot
        self.across, self.down = self.columns * dots[0], self.rows * dots[1]
        self._margin, self._foot = margin, foot
        self._cells, self._curves = Cells(width, height), Cells(self.columns, self.rows)
        self._plot = _Monitor()
        self._plot.matrix = _Sparse()
        self._plot.set_theme("clear")
        self._plot.set_size([width, height])
        self._plot.set_xlim(0, max(1, self.columns - 1))
        self._plot.set_ylim(0, max(1, self.rows - 1))

    def dashes(self, pattern: str) -> np.ndarray:
        """The columns of dots (across,) that a pattern draws, which is repeated: of a cell all (█), one (·) or none."""
        cell, dot = np.divmod(np.arange(self.across), MARKERS[self._marker][0])
        drawn = np.array(list(pattern))[cell % len(pattern)]
        columns: np.ndarray = (drawn == "█") | ((drawn == "·") & (dot == 0))
        return columns

    def axes(self, x_ticks: Ticks, y_ticks: Ticks = (), color: RGB | None = None) -> None:
        """Ticks in [0, 1] along their axis, with labels; those of `y_ticks` are as wide as the margin at most."""
        plot = self._plot
        plot.ticks_color = packed(color)
        plot.set_xaxes(self._foot > 0 and self._margin > 0, False)
        plot.set_yaxes(self._margin > 0, False)
        ticks = [(at * (self.columns - 1), label) for at, label in x_ticks if 0 <= at <= 1]
        plot.set_xticks(*([part[number] for part in ticks] for number in (0, 1)))
        ticks = [(at * (self.rows - 1), label.rjust(self._margin - 1)) for at, label in y_ticks if 0 <= at <= 1]
        plot.set_yticks(*([part[number] for part in ticks] for number in (0, 1)))

    def vertical(self, share: float, color: RGB | None) -> None:
        """A line behind all curves, at a share of the width; nothing outside [0, 1]."""
        if 0 <= share <= 1:
            self._plot.draw_vertical_line(share * (self.columns - 1), packed(color))

    def curve(self, y: np.ndarray, color: RGB | None, *, letter: str = "*", lines: bool = True) -> None:
        """Heights `y` (across,) in [0, 1], one for each column of dots, NaN where there is none; joined by lines."""
        x = np.flatnonzero(np.isfinite(y))
        rows = np.clip(y[x] * (self.down - 1) + 0.5, 0, self.down - 1).astype(np.int64)
        if x.size:
            x, rows = lined(x, rows) if lines else (x, rows)
            self._set(x, rows, color, letter)

    def dots(self, x: np.ndarray, y: np.ndarray, color: RGB | None, *, letter: str = "*") -> None:
        """Dots at x and y (n,) in [0, 1]; those outside are left out."""
        there = (x >= 0) & (x <= 1) & (y >= 0) & (y <= 1)
        if there.any():
            column, row = (
                (part[there] * (count - 1) + 0.5).astype(np.int64) for part, count in ((x, self.across), (y, self.down))
            )
            self._set(column, row, color, letter)

    def _set(self, x: np.ndarray, y: np.ndarray, color: RGB | None, letter: str) -> None:
        """Dots in columns `x` and rows `y` from below, as the cells that they make up, over what is there."""
        dots = np.zeros((self.down, self.across), bool)
        dots[self.down - 1 - y, x] = True
        marks = characters(dots, self._marker, letter)
        there = marks != " "
        self._curves.chars[there] = marks[there]
        self._curves.front[there] = packed(color)

    def bars(self, levels: np.ndarray, colors: Sequence[RGB | None], eighths: str) -> None:
        """A bar in each column, `levels` (columns,) in parts of a cell; `eighths` are the characters of such parts."""
        steps = len(eighths) - 1
        whole, part = np.divmod(levels, steps)
        shades = [packed(color) for color in colors]
        full = np.flatnonzero(whole)
        if full.size:
            self._draw(full, whole[full] - 1, eighths[-1], [shades[x] for x in full], fillx=True)
        top = np.flatnonzero(part)
        if top.size:
            self._draw(top, whole[top], [eighths[p] for p in part[top]], [shades[x] for x in top])

    def _draw(self, x: np.ndarray, y: np.ndarray, marker: Any, color: Any, **how: bool) -> None:
        self._plot.draw(x.tolist(), y.tolist(), marker=marker, color=color, **how)

    def draw(self) -> Cells:
        """Have plotext build axes, lines and bars, and put the curves over them."""
        there = self._curves.chars != " "
        row, column = np.nonzero(there)
        if row.size:  # plotext draws no axes around nothing: the first cell, under its curve
            self._draw(column[:1], self.rows - 1 - row[:1], " ", [DEFAULT])
        self._plot.build_plot()
        found, cells = self._plot.matrix.found, self._cells
        if found:
            columns, rows = np.array(list(found)).T
            rows = cells.height - 1 - rows
            cells.chars[rows, columns], cells.front[rows, columns] = zip(*found.values(), strict=True)
        cells.chars[row, column + self._margin] = self._curves.chars[there]
        cells.front[row, column + self._margin] = self._curves.front[there]
        return cells
