"""A network drawn in a terminal: nodes, and links shaded by their weights.

The links are set as dots by NumPy, all columns of a link at once: plotext took 2 ms a link, and a small network has a
hundred.
"""

from __future__ import annotations

import numpy as np

from fastnn.experiments.parts import Diagram
from tui.colors import diverging
from tui.widgets.canvas import pack
from tui.widgets.cells import RGB, Cells, packed
from tui.widgets.dots import MARKERS, characters

LEFT, RIGHT = 4, 4  # cells beside the nodes, for their names


def _rows(size: int, height: int) -> tuple[list[int], list[int]]:
    """The nodes of a layer that fit, by number from 0, and their rows; every second row if there is room."""
    room = max(1, height)
    shown = list(range(min(size, room)))
    if size > room:
        shown = [*range(room - 1), size - 1]
    gap = max(1, min(4, room // len(shown)))
    top = (room - gap * (len(shown) - 1) - 1) // 2
    return shown, [top + gap * k for k in range(len(shown))]


class _Dots:
    """Dots of straight links over cells; the link that comes last gives a cell its color."""

    def __init__(self, width: int, height: int, marker: str) -> None:
        self.marker, (self.across, self.down) = marker, MARKERS[marker]
        self.dots = np.zeros((height * self.down, width * self.across), bool)
        self.color = np.full((height, width), -2, np.int64)

    def link(self, x: tuple[int, int], y: tuple[int, int], color: int) -> None:
        """From cell (x[0], y[0]) to (x[1], y[1]), both within."""
        count = max(abs(x[1] - x[0]) * self.across, abs(y[1] - y[0]) * self.down) + 1
        column = ((np.linspace(x[0], x[1], count) + 0.5) * self.across).astype(np.int64)
        row = ((np.linspace(y[0], y[1], count) + 0.5) * self.down).astype(np.int64)
        self.dots[row, column] = True
        self.color[row // self.down, column // self.across] = color

    def onto(self, cells: Cells) -> None:
        """Draw over what is there."""
        height, width = self.color.shape
        chars = characters(self.dots, self.marker, ".")
        used = self.color > -2
        cells.chars[:height, :width][used] = chars[used]
        cells.front[:height, :width][used] = self.color[used]


def _links(part: Diagram, where: list[dict[int, int]]) -> list[tuple[float, int, int, int]]:
    """Share of its layer's largest weight, layer and rows of both ends of each link between nodes that are shown, the
    weakest first."""
    links = []
    for k, weights in enumerate(part.weights):
        shares = weights / np.abs(weights).max(initial=1e-12)
        mask = part.masks[k]
        for i, row in where[k].items():
            for j, other in where[k + 1].items():
                if j and (not i or mask is None or mask[i - 1, j - 1]):
                    links.append((float(shares[i, j - 1]), k, row, other))
    return sorted(links, key=lambda link: abs(link[0]))


def _nodes(
    cells: Cells,
    k: int,
    column: int,
    rows: dict[int, int],
    *,
    last: bool,
    named: set[int],
    colors: tuple[RGB, RGB, RGB],
) -> None:
    """Layer `k`: its name, a circle a node and a 1 for the bias; `colors` are of nodes, names and `named` ones."""
    node, name, cursor = colors
    title = f"ℓ={k}" if k else "in"
    cells.text(column - len(title) // 2, 0, title, name)
    for number, row in rows.items():
        ends = number in named
        if number == 0 and not last:
            cells.text(column, row, "1", cursor if ends else name, bold=ends)
        elif number:
            cells.text(column, row, "●", cursor if ends else node, bold=ends)
            if k == 0:
                cells.text(column - 3, row, f"x{number}".rjust(3)[:3], name)
            elif last:
                cells.text(column + 1, row, f"y{number}", name)


def network_cells(
    width: int,
    height: int,
    part: Diagram,
    *,
    marker: str,
    node: RGB,
    name: RGB,
    signs: tuple[RGB, RGB, RGB],
    cursor: RGB,
) -> Cells:
    """The network in `width` x `height` cells: a node a circle, the bias x_0 a 1 below its layer, layers left to right.

    Layers with more nodes than fit show the first ones and the last. The named link is drawn over the others.
    """
    cells = Cells(width, height)
    layers = len(part.sizes)
    if width < LEFT + RIGHT + 6 * layers or height < 4:
        return cells
    body = height - 2  # names above, biases below
    columns = [LEFT + round(k * (width - LEFT - RIGHT - 1) / (layers - 1)) for k in range(layers)]
    places = [_rows(size, body) for size in part.sizes]
    lowest = min(height - 1, max(rows[-1] for _, rows in places) + 3)  # where the biases are
    where = [
        {number + 1: row + 1 for number, row in zip(shown, rows, strict=True)} | {0: lowest} for shown, rows in places
    ]
    links = _links(part, where)
    dots = _Dots(width, height, marker)
    shades = pack(diverging(np.array([link[0] for link in links]), 1.0, signs))
    for (_, k, row, other), shade in zip(links, shades.tolist(), strict=True):
        dots.link((columns[k] + 1, columns[k + 1] - 1), (row, other), shade)
    layer, i, j = part.link
    begin, end = where[layer - 1].get(i), where[layer].get(j)
    if begin is not None and end is not None:
        dots.link((columns[layer - 1] + 1, columns[layer] - 1), (begin, end), packed(cursor))
    dots.onto(cells)
    for k, (column, rows) in enumerate(zip(columns, where, strict=True)):
        named = {number for at, number in ((layer - 1, i), (layer, j)) if at == k}
        _nodes(cells, k, column, rows, last=k == layers - 1, named=named, colors=(node, name, cursor))
        hidden = part.sizes[k] - len(places[k][0])
        if hidden > 0:
            cells.text(column + 1, max(rows.values() if k == layers - 1 else [body]), f"+{hidden}", name)
    cells.text(columns[0] - 3, lowest, "x0", name)
    return cells
