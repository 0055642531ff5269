"""What an experiment shows, without saying how: the command prints these parts, draws them into a file, and the Learn
mode of the terminal UI shows the same ones."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, eq=False)
class Table:
    """Rows of texts under `columns`; `marked` is the number of the row that the page is about."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    marked: int | None = None


@dataclass(frozen=True, eq=False)
class Curve:
    """A line through y (n,) over rising x (n,); what is NaN is left out."""

    label: str
    x: np.ndarray
    y: np.ndarray


@dataclass(frozen=True, eq=False)
class Curves:
    """Curves over one pair of axes; `cursor` is an x to mark."""

    title: str
    curves: tuple[Curve, ...]
    x_label: str
    log_y: bool = False
    cursor: float | None = None


@dataclass(frozen=True, eq=False)
class Panel:
    """One histogram: counts (bins,) between edges (bins + 1,), and a few words under it."""

    label: str
    counts: np.ndarray
    edges: np.ndarray
    caption: str


@dataclass(frozen=True, eq=False)
class Histograms:
    """Histograms side by side."""

    title: str
    panels: tuple[Panel, ...]


@dataclass(frozen=True, eq=False)
class Bars:
    """Groups of numbers from 0 on, a bar for each of `labels` in each group, with the number in so many digits."""

    title: str
    labels: tuple[str, ...]
    groups: tuple[tuple[str, tuple[float, ...]], ...]
    digits: int = 5
    marked: int | None = None

    @property
    def longest(self) -> float:
        """What the longest bar stands for: 1 for shares, else the largest number."""
        return max(1.0, *(value for _, values in self.groups for value in values if value == value))


@dataclass(frozen=True)
class Checks:
    """Statements, and whether what was computed here bears them out."""

    title: str
    rows: tuple[tuple[str, bool], ...]


@dataclass(frozen=True)
class Text:
    """Lines of (text, role) pieces; a role is "", "name", "value", "gradient" or "muted"."""

    title: str
    lines: tuple[tuple[tuple[str, str], ...], ...]


@dataclass(frozen=True, eq=False)
class Diagram:
    """A network to draw: `sizes` of its layers, `weights` of shape (fan_in + 1, fan_out) whose row 0 is the bias.

    `masks` (fan_in, fan_out) are 0 where there is no link. `link` is (layer, i, j) of the link that is named, the layer
    counted from 1 and i = 0 for the bias, as the lecture has it.
    """

    title: str
    sizes: tuple[int, ...]
    weights: tuple[np.ndarray, ...]
    masks: tuple[np.ndarray | None, ...]
    link: tuple[int, int, int]


Part = Table | Curves | Histograms | Bars | Checks | Text | Diagram
