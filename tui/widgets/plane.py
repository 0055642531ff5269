"""The plane as a network sees it: its decision over the points, and what each hidden unit makes of it."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Any

import numpy as np
from textual import events
from textual.content import Content
from textual.message import Message

from tui.colors import class_color, diverging, inked, mixed
from tui.numbers import short
from tui.predicting import LEAST_PROBABILITY, PlaneFound, Window, data_of, points_of
from tui.view import View
from tui.widgets.canvas import pack, paint, stretch
from tui.widgets.cells import RGB, Cells, packed
from tui.widgets.images import Sheet, resized
from tui.widgets.plot import Plot
from tui.widgets.trends import hexadecimal

SHOWN = ("all points", "test points", "no points")
MAP_STRENGTH = 0.6  # of a class's color in the map, so that its points stand out from it
MOST_POINTS = 4000
SIZES = (24, 20, 16, 12, 10, 8, 6)  # pixels across and down of a unit's map, the largest that leaves room for all
LETTERS = np.array(list("ox+*#%@&$="))  # classes in ASCII
SMALL = 24  # pixels across and down at which the hidden units are asked


class BoundaryMap(Plot):
    """The network's answer over the plane, the points over it, and a cursor that reads loss and value."""

    PROBE = "plane"

    class Pointed(Message):
        """A person points at a place."""

        def __init__(self, x: float, y: float) -> None:
            super().__init__()
            self.x, self.y = x, y

    class Resized(Message):
        """The map has other pixels now."""

    found: PlaneFound | None = None
    data: Any = None
    cursor: tuple[float, float] | None = None
    shown = SHOWN[0]
    hint = ""
    window: Window | None = None

    def key(self, view: View) -> tuple[Any, ...]:
        """Drawn again when the probe has answered or the cursor has moved, and for another theme (of the title)."""
        return (view.found.get(self.PROBE), view.run, str(self.cursor), self.shown, self.hint, self.app.theme)

    def take(self, view: View) -> None:
        """The probe's answer and the data."""
        self.data = data_of(view, self.PROBE)
        answer = view.found.get(self.PROBE) if self.data is not None else None
        self.found = answer.value if answer is not None and isinstance(answer.value, PlaneFound) else None
        if self.data is not None and self.size.width:
            self.window = self.wanted()
        self.border_title = self.title()

    def wanted(self) -> Window:
        """The window that this pane shows."""
        points = np.concatenate(points_of(self.data))
        return Window.around(points, self.size.width, 2 * self.size.height)

    # The cursor

    def move(self, across: int, down: int) -> None:
        """Move the cursor by cells."""
        window = self.window
        if window is None:
            return
        x, y = self.cursor or (window.x, window.y)
        row, column = (int(part[0]) for part in window.pixels(np.array([[x, y]])))
        row = min(max((row // 2 + down) * 2, 0), window.rows - 2)
        column = min(max(column + across, 0), window.columns - 1)
        self.cursor = window.point(row + 0.5, column)

    def read(self) -> tuple[np.ndarray, int, float] | None:
        """What the map says at the cursor: the network's values there; the nearest point's number and its loss."""
        if self.found is None or self.cursor is None:
            return None
        place = np.array([self.cursor])
        window = self.found.window
        row, column = (int(part[0]) for part in window.pixels(place))
        values = self.found.values[min(max(row, 0), window.rows - 1), min(max(column, 0), window.columns - 1)]
        train, _ = points_of(self.data)
        nearest = int(((train - place) ** 2).sum(1).argmin())
        target = self.data.y_train[nearest]
        if self.data.classes:
            return values, nearest, -math.log(max(float(values[target]), LEAST_PROBABILITY))
        return values, nearest, float((values[0] - target) ** 2)

    def title(self) -> Content:
        """What the map is of; with a cursor, what it reads."""
        parts: list[Any] = [("Decision" if self.data is not None and self.data.classes else "Output", "bold")]
        found = self.read()
        if found is None or self.cursor is None:
            parts.append((f"  {self.shown}", "$text-muted"))
            return Content.assemble(*parts)
        values, nearest, loss = found
        parts = [(f"({self.cursor[0]:.2f}, {self.cursor[1]:.2f})", "$plot-cursor"), " "]
        target = self.data.y_train[nearest]
        if self.data.classes:
            whose = f" as {self.data.classes[target]}" if self.size.width >= 50 else ""
            parts.append((f"loss {short(float(f'{loss:.2g}'))}{whose}", "$text-muted"))
            ground = self.color("background")
            for number in np.argsort(-values)[:3].tolist():
                parts.append(
                    (
                        f" ■{self.data.classes[number]} {values[number]:.2f}",
                        hexadecimal(inked(class_color(number), ground)),
                    )
                )
        else:
            parts += [f"value {short(float(values[0]))}", (f"  loss {short(loss)}", "$text-muted")]
        return self.title_of(parts)

    # Drawing

    def draw(self, width: int, height: int) -> Cells | None:
        """Map, points, cursor."""
        if self.data is None:
            return None
        self.window = window = self.wanted()
        cells, ground = Cells(width, height), self.color("background")
        shares = None
        if self.found is not None:
            shares = stretch(self.found.values, window.rows, window.columns)
            if self._lettered:
                self._letters(cells, shares)
            else:
                paint(cells, self._colors(shares, ground))
        self._points(cells, window)
        if self.cursor is not None:
            row, column = (int(part[0]) for part in window.pixels(np.array([self.cursor])))
            cells.text(column, row // 2, "+" if self.plain else "╋", self.color("foreground"), bold=True)
        if self.found is None:
            cells.centered(self.hint, self.color("plot-axis"))
        return cells

    @property
    def _lettered(self) -> bool:
        """Whether classes are letters: their colors have a lightness in common."""
        return self.plain or (self.gray and bool(self.data.classes))

    def _colors(self, values: np.ndarray, ground: RGB) -> np.ndarray:
        if self.data.classes:
            full = mixed(values, ground).astype(np.float64)
            colors: np.ndarray = (full * MAP_STRENGTH + np.array(ground) * (1 - MAP_STRENGTH)).astype(np.uint8)
            return colors
        middle, extent = scale_of(self.data)
        return diverging(values[..., 0] - middle, extent, self.signs)

    def _letters(self, cells: Cells, values: np.ndarray) -> None:
        """A letter a class where the network is sure, a point where it is not."""
        upper = values[::2]
        best = upper.argmax(-1) if self.data.classes else (upper[..., 0] > scale_of(self.data)[0]).astype(int)
        sure = upper.max(-1) > 0.7 if self.data.classes else np.ones(best.shape, bool)
        cells.front[:] = packed(self.color("plot-axis"))
        cells.chars[:] = np.where(sure, LETTERS[best % len(LETTERS)], ".")[: cells.height, : cells.width]

    def _points(self, cells: Cells, window: Window) -> None:
        """The points in their classes' full colors, those of the test part over the others."""
        train, test = points_of(self.data)
        parts = {
            SHOWN[0]: ((train, self.data.y_train), (test, self.data.y_test)),
            SHOWN[1]: ((test, self.data.y_test),),
        }
        for points, targets in parts.get(self.shown, ()):
            points, targets = points[:MOST_POINTS], targets[:MOST_POINTS]
            row, column = window.pixels(points)
            inside = (row >= 0) & (row < window.rows) & (column >= 0) & (column < window.columns)
            row, column, targets = row[inside], column[inside], targets[inside]
            if self._lettered:
                cells.chars[row // 2, column] = [str(int(t))[-1] for t in targets]
                cells.front[row // 2, column] = packed(self.color("foreground"))
                continue
            pixels, mask = (
                np.zeros((window.rows, window.columns, 3), np.uint8),
                np.zeros((window.rows, window.columns), bool),
            )
            pixels[row, column], mask[row, column] = self._point_colors(targets), True
            overlay(cells, pixels, mask)

    def _point_colors(self, targets: np.ndarray) -> np.ndarray:
        light = np.array(self.color("foreground"), np.float64)
        if self.data.classes:
            palette = np.array([class_color(number) for number in range(self.data.n_classes)], np.float64)
            colors: np.ndarray = (palette[targets] * 0.8 + light * 0.2).astype(np.uint8)
            return colors
        middle, extent = scale_of(self.data)
        low, zero, high = self.signs
        return diverging(targets - middle, extent, (low, zero if self.gray else self.color("foreground"), high))

    def on_resize(self) -> None:
        """Other pixels are to be asked for."""
        self.post_message(self.Resized())

    def on_click(self, event: events.Click) -> None:
        """Put the cursor there."""
        inside = event.get_content_offset(self)
        if inside is not None and self.window is not None:
            self.post_message(self.Pointed(*self.window.point(2 * inside.y + 0.5, inside.x)))


def scale_of(data: Any) -> tuple[float, float]:
    """The middle of a regression's targets, and how far they reach from it."""
    low, high = float(data.y_train.min()), float(data.y_train.max())
    return (low + high) / 2, max((high - low) / 2, 1e-9)


def overlay(cells: Cells, pixels: np.ndarray, mask: np.ndarray) -> None:
    """Put pixels over cells that are painted already, two a cell, where the mask is true."""
    colors = pack(pixels)
    top, bottom = mask[0::2], mask[1::2]
    empty = cells.chars == " "
    cells.chars[empty & top] = "▀"
    cells.chars[empty & bottom & ~top] = "▄"
    upper = cells.chars == "▀"
    cells.front[top] = colors[0::2][top]
    cells.back[bottom & upper] = colors[1::2][bottom & upper]
    cells.front[bottom & ~upper] = colors[1::2][bottom & ~upper]


class NeuronMaps(Plot):
    """What every hidden unit puts out over the plane (or over a line), small; one of them is selected."""

    class Pressed(Message):
        """A person clicks on a unit."""

        def __init__(self, layer: int, unit: int) -> None:
            super().__init__()
            self.layer, self.unit = layer, unit

    maps: tuple[np.ndarray, ...] = ()
    sizes: tuple[int, ...] = ()
    selected = (0, 0)
    active = False
    _blocks: list[tuple[int, Sheet]] = []  # noqa: RUF012 - the first line of each layer and its sheet
    _top = 0

    def key(self, view: View) -> tuple[Any, ...]:
        """Drawn again when the probe has answered or another unit is selected."""
        return (view.found.get(BoundaryMap.PROBE), view.found.get("line"), view.run, str(self.selected), self.active)

    def take(self, view: View) -> None:
        """The probe's answer."""
        from tui.predicting import LineFound

        answer = view.found.get(BoundaryMap.PROBE) or view.found.get("line")
        found = answer.value if answer is not None else None
        if isinstance(found, PlaneFound):
            self.maps = found.maps
        elif isinstance(found, LineFound):
            self.maps = tuple(strokes(units, SMALL) for units in found.units)
        else:
            self.maps = ()
        self.sizes = view.sizes
        layer, unit = self.selected
        name = f"L{layer + 1}.{unit + 1}" if len(self.sizes) > 2 else "none"
        self.border_title = Content.assemble(("Units", "bold"), "  ", (name, "$plot-cursor"))

    def fitted(self, width: int, height: int) -> tuple[list[tuple[int, Sheet]], int]:
        """The first line and the sheet of each layer, and how many lines there are in all."""
        blocks: list[tuple[int, Sheet]] = []
        line = 0
        for size in SIZES:
            blocks, line = [], 0
            for maps in self.maps:
                side = max(1, (width - 1) // (size + 1))
                below = -(-len(maps) // side)
                sheet = Sheet(size, size, side, below, lead=1)
                blocks.append((line + 1, sheet))
                line += 1 + -(-(below * (size + 1) + 1) // 2)
            if line <= height:
                break
        return blocks, line

    def draw(self, width: int, height: int) -> Cells | None:
        """A block a layer; the part around the selected unit where not all have room."""
        if not self.maps or width < SIZES[-1] + 2:
            return None
        self._blocks, lines = self.fitted(width, height)
        tall = Cells(width, max(lines, height))
        marked = self.color("plot-cursor") if self.active else self.color("plot-axis")
        for number, (maps, (line, sheet)) in enumerate(zip(self.maps, self._blocks, strict=True)):
            tall.text(0, line - 1, f"L{number + 1}", self.color("foreground"), bold=True)
            small = resized(maps, sheet.rows, sheet.columns)
            extent = np.maximum(np.abs(small).max(axis=(1, 2), keepdims=True), 1e-9)
            chosen = self.selected[1] if self.selected[0] == number else None
            frames = {} if chosen is None else {chosen: marked}
            sheet.paint(tall, diverging(small / extent, 1.0, self.signs), y=line, frames=frames, plain=self.plain)
        layer, unit = self.selected
        if layer < len(self._blocks):
            line, sheet = self._blocks[layer]
            at = line + unit // sheet.side * (sheet.rows + 1) // 2
            self._top = min(
                max(self._top, at + sheet.rows // 2 + 2 - height, 0), max(0, at - 1), max(0, lines - height)
            )
        return tall.cut(self._top, height)

    def stepped(self, across: int, down: int) -> tuple[int, int]:
        """The unit beside, above or below the selected one."""
        layer, unit = self.selected
        counts = [len(maps) for maps in self.maps]
        if not counts:
            return 0, 0
        layer, unit = min(layer, len(counts) - 1), min(unit, counts[min(layer, len(counts) - 1)] - 1)
        side = self._blocks[layer][1].side if layer < len(self._blocks) else 1
        if across:
            return layer, min(max(unit + across, 0), counts[layer] - 1)
        if 0 <= unit + down * side < counts[layer]:
            return layer, unit + down * side
        other = layer + down
        if not 0 <= other < len(counts):
            return layer, unit
        column, side = unit % side, self._blocks[other][1].side if other < len(self._blocks) else 1
        row = 0 if down > 0 else (counts[other] - 1) // side
        return other, min(row * side + column, counts[other] - 1)

    def on_click(self, event: events.Click) -> None:
        """Select a unit."""
        inside = event.get_content_offset(self)
        if inside is None:
            return
        y = inside.y + self._top
        for number, (line, sheet) in enumerate(self._blocks):
            unit = sheet.at(inside.x, 2 * (y - line)) if y >= line else None
            if unit is not None and unit < len(self.maps[number]):
                self.post_message(self.Pressed(number, unit))


def strokes(units: np.ndarray, size: int) -> np.ndarray:
    """Curves (n, units) as pictures (units, size, size): each is bright where it runs, with the sign of its values."""
    at = np.linspace(0, len(units) - 1, size).round().astype(int)
    values = units[at].T
    extent = np.maximum(np.abs(values).max(1, keepdims=True), 1e-9)
    rows = np.clip(((1 - values / extent) / 2 * (size - 1)).round().astype(int), 0, size - 1)
    pictures = np.zeros((len(values), size, size))
    each, column = np.arange(len(values))[:, None], np.arange(size)[None]
    pictures[each, rows, column] = np.where(values < 0, -1.0, 1.0)
    for left, right in pairwise(range(size)):  # steep parts have no gaps
        low, high = np.minimum(rows[:, left], rows[:, right]), np.maximum(rows[:, left], rows[:, right])
        lines = np.arange(size)
        between = (lines > low[:, None]) & (lines < high[:, None])
        pictures[:, :, right] = np.where(
            between, np.sign(values[:, [right]]) + (values[:, [right]] == 0), pictures[:, :, right]
        )
    return pictures
