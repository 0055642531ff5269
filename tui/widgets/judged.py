"""What a network makes of the rows of the test part: one in large, all of them in small, and a confusion matrix."""

from __future__ import annotations

from typing import Any

import numpy as np
from textual import events
from textual.content import Content
from textual.message import Message

from tui.colors import CLASSES, class_color, ramp
from tui.numbers import percent, short
from tui.predicting import Judged
from tui.view import View
from tui.widgets.canvas import paint, stretch
from tui.widgets.cells import RGB, Cells, packed
from tui.widgets.charts import Line, Look, line_chart
from tui.widgets.images import Sheet, resized
from tui.widgets.plot import Plot

ORDERS = ("wrongest first", "surest first", "as they come")
BAR = "▏▎▍▌▋▊▉█"


class Selection:
    """Which row of the test part is looked at: a place in an order; and, when a cell of the confusion matrix is chosen,
    among the rows of that cell alone."""

    def __init__(self) -> None:
        self.order = ORDERS[0]
        self.at = 0
        self.cell: tuple[int, int] | None = None  # true and predicted class

    def rows(self, judged: Judged) -> np.ndarray:
        """The numbers of the rows in their order."""
        rows = judged.wrongest
        if self.order == ORDERS[1]:
            rows = rows[::-1]
        elif self.order == ORDERS[2]:
            rows = np.arange(len(rows))
        if self.cell is not None and judged.predicted is not None:
            mine = (judged.truth[rows] == self.cell[0]) & (judged.predicted[rows] == self.cell[1])
            rows = rows[mine]
        return rows


class JudgedPlot(Plot):
    """A plot of what the probe `judge` found, at a selection that several share."""

    PROBE = "judged"

    def __init__(self, selection: Selection, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self.selection = selection
        self.judged: Judged | None = None
        self.data: Any = None
        self.rows = np.zeros(0, np.int64)
        self.active = False

    def key(self, view: View) -> tuple[Any, ...]:
        """Drawn again when the probe has answered or something else is selected."""
        chosen = self.selection
        return (view.found.get(self.PROBE), view.run, chosen.order, chosen.at, str(chosen.cell), self.active)

    def take(self, view: View) -> None:
        """The probe's answer."""
        answer = view.found.get(self.PROBE)
        self.judged = answer.value if answer is not None and isinstance(answer.value, Judged) else None
        self.data = view.data
        self.rows = np.zeros(0, np.int64)
        if self.judged is not None:
            self.rows = self.selection.rows(self.judged)
        self.retitle()

    def retitle(self) -> None:
        """Title and caption."""

    def faint(self, name: str) -> RGB:
        """A color of the theme, half way to the ground."""
        front, ground = self.color(name), self.color("background")
        red, green, blue = ((a + b) // 2 for a, b in zip(front, ground, strict=True))
        return red, green, blue

    def nothing(self, width: int, height: int) -> Cells | None:
        """What is drawn without a row."""
        cells = Cells(width, height)
        if self.judged is not None:
            cells.centered("no such row now", self.color("plot-axis"))
        return cells

    @property
    def row(self) -> int | None:
        """The number of the row that is looked at."""
        return int(self.rows[min(self.selection.at, len(self.rows) - 1)]) if len(self.rows) else None

    @property
    def names(self) -> tuple[str, ...]:
        """The classes' names; those that cannot be seen, such as a space in a text, in quotes."""
        return tuple(name if name.strip() else repr(name) for name in self.data.classes)

    def place(self, row: int) -> tuple[int, int | None]:
        """The sequence that a row belongs to and its time step from 1; a row itself where there is one answer each."""
        if not self.data.every_step:
            return row, None
        sequence, at = divmod(row, self.data.steps)
        return sequence, at + 1

    def image_colors(self, images: np.ndarray) -> np.ndarray:
        """Colors (..., 3) of pixels in [0, 1], ink on the ground."""
        low, high = float(self.data.x_train.min()), float(self.data.x_train.max())
        ends = np.array([self.color("panel"), self.color("foreground")], np.float64)
        return ramp((images - low) / max(high - low, 1e-9), ends)


class ImageView(JudgedPlot):
    """One row in large, and the network's probabilities."""

    def retitle(self) -> None:
        """What it is, and what the network says."""
        row = self.row
        if row is None or self.judged is None or self.judged.predicted is None:
            self.border_title = Content.assemble(("Row", "bold"))
            return
        truth, said = int(self.judged.truth[row]), int(self.judged.predicted[row])
        right = truth == said
        (sequence, at), names = self.place(row), self.names
        what = Content.assemble(
            (f"Row {sequence}", "bold"), "" if at is None else f" step {at}", f" is {names[truth]} said ",
            (f"{names[said]} {'✔' if right else '✖'}", "$state-running" if right else "$health-poor"),
        )  # fmt: skip
        loss = Content.styled(f" loss {short(float(self.judged.losses[row]))}", "$text-muted")
        self.border_title = self.title_of([what, loss])

    def draw(self, width: int, height: int) -> Cells | None:
        """The image beside a bar a class."""
        row = self.row
        # Of a regression while the panes change to those of other data: there are no classes.
        if row is None or self.judged is None or self.judged.predicted is None:
            return self.nothing(width, height)
        cells, x = Cells(width, height), 0
        if self.data.image_shape is not None:
            h, w = self.data.image_shape
            room = max(8, width - 24)
            scale = max(1, min(room // w, 2 * height // h))
            rows, columns = (h * scale, w * scale) if w <= room and h <= 2 * height else (min(2 * height, room),) * 2
            image = self.data.x_test[row].reshape(1, h, w)
            paint(cells, self.image_colors(resized(image, rows, columns)[0]), 0, 0, plain=self.plain)
            x = columns + 2
        y = 0 if self.data.steps is None else self._sequence(cells, row)
        self._bars(cells, x, y, self.judged.shares[row], int(self.judged.truth[row]))
        return cells

    def _sequence(self, cells: Cells, row: int) -> int:
        """A row's time steps, few features as curves, many as an image; the first line below them."""
        steps, height = self.data.steps, cells.height // 2
        sequence, at = divmod(row, steps) if self.data.every_step else (row, None)
        series = self.data.x_test[sequence]
        if series.shape[1] <= len(CLASSES):
            x = np.arange(1, steps + 1)
            lines = [Line(x, y, class_color(number)) for number, y in enumerate(series.T)]
            look = Look(marker=self.marker, axis_color=self.color("plot-axis"), cursor_color=self.color("plot-cursor"))
            drawn = line_chart(cells.width, height, lines, look, cursor=None if at is None else at + 1).cells
            for part in ("chars", "front"):
                getattr(cells, part)[:height] = getattr(drawn, part)
        else:
            image = stretch(series.T, min(series.shape[1], 2 * height - 2), cells.width)
            paint(cells, self.image_colors(image), plain=self.plain)
        return height + 1

    def _bars(self, cells: Cells, x: int, top: int, shares: np.ndarray, truth: int) -> None:
        names = self.names
        label = min(max(map(len, names)), 10)
        room = cells.width - x - label - 7
        lines = cells.height - top
        order = range(len(shares)) if len(shares) <= lines else np.argsort(-shares)[:lines].tolist()
        best = int(shares.argmax())
        gap = 2 if 2 * len(shares) - 1 <= lines else 1
        for y, number in enumerate(order):
            right, share = number == truth, float(shares[number])
            good, poor = self.color("state-running"), self.color("health-poor")
            color = good if right else poor if number == best else self.color("plot-axis")
            bright = color if right or number == best else None
            at = top + y * gap
            cells.text(x, at, names[number][:label].rjust(label), bright, bold=right)
            if room > 2:
                cells.text(x + label + 1, at, bar(share, room, plain=self.plain), color)
            cells.text(cells.width - 5, at, percent(share), bright)


def bar(share: float, room: int, *, plain: bool = False) -> str:
    """A bar of a share of `room` cells, in eighths of a cell."""
    if plain:
        return "#" * round(share * room)
    eighths = round(min(max(share, 0.0), 1.0) * room * 8)
    return "█" * (eighths // 8) + (BAR[eighths % 8 - 1] if eighths % 8 else "")


class Browser(JudgedPlot):
    """The rows of the test part in small, in an order; framed where the network is wrong."""

    class Pressed(Message):
        """A person clicks on a row."""

        def __init__(self, at: int) -> None:
            super().__init__()
            self.at = at

    first = 0  # the place in the order of the first that is shown
    sheet: Sheet | None = None

    def retitle(self) -> None:
        """The order, and how many are wrong."""
        parts: list[Any] = [("Test rows  ", "bold"), (self.selection.order, "$brand")]
        if self.size.width < 40:
            del parts[0]
        if self.selection.cell is not None:
            truth, said = (self.names[number] for number in self.selection.cell)
            parts = [(f"{truth} said to be {said}", "$plot-cursor")]
        parts.append((f"  {self.selection.at + 1 if len(self.rows) else 0} of {len(self.rows):,}", "$text-muted"))
        self.border_title = Content.assemble(*parts)
        if self.judged is not None and self.judged.predicted is not None:
            wrong = int((self.judged.predicted != self.judged.truth).sum())
            share = wrong / max(1, len(self.judged.predicted))
            self.border_subtitle = Content.assemble(
                (f"{wrong:,} wrong", "$health-poor" if wrong else "$state-running"),
                (f"  {share * 100:.1f}%", "$text-muted"),
            )

    def draw(self, width: int, height: int) -> Cells | None:
        """As many as fit, around the selected one."""
        if self.judged is None or self.data.image_shape is None or not len(self.rows):
            return self.nothing(width, height)
        cells, (h, w) = Cells(width, height), self.data.image_shape
        scale = 1 if h >= 16 or width < 60 else 2 if height >= 30 else 1
        rows, columns = (h * scale, w * scale) if h <= 16 else (h // 2, w // 2)
        self.sheet = sheet = Sheet(
            rows, columns, max(1, (width - 1) // (columns + 1)), max(1, (2 * height - 1) // (rows + 1)), lead=1
        )
        at = min(self.selection.at, len(self.rows) - 1)
        lines = sheet.below
        top = min(max(self.first // sheet.side, at // sheet.side - lines + 1), at // sheet.side)
        self.first = top * sheet.side
        seen = self.rows[self.first : self.first + sheet.count]
        colors = self.image_colors(resized(self.data.x_test[seen].reshape(-1, h, w), rows, columns))
        frames: dict[int, RGB] = {}
        if self.judged.predicted is not None:
            wrong = self.judged.predicted[seen] != self.judged.truth[seen]
            frames = {int(number): self.faint("health-poor") for number in np.flatnonzero(wrong)}
        frames.pop(at - self.first, None)
        frames[at - self.first] = self.color("key")  # the last, over its neighbors'
        sheet.paint(cells, colors, frames=frames, plain=self.plain)
        if self.plain:
            row, column = sheet.corner(at - self.first)
            cells.text(column, row // 2, "@", self.color("key"), bold=True)
        return cells

    def on_click(self, event: events.Click) -> None:
        """Select a row."""
        inside = event.get_content_offset(self)
        number = self.sheet.at(inside.x, 2 * inside.y) if inside is not None and self.sheet is not None else None
        if number is not None and self.first + number < len(self.rows):
            self.post_message(self.Pressed(self.first + number))


class Confusion(JudgedPlot):
    """How often a class (row) was said to be another (column); a click browses the rows of a cell."""

    class Pressed(Message):
        """A person clicks on a cell: true and predicted class."""

        def __init__(self, truth: int, said: int) -> None:
            super().__init__()
            self.cell = (truth, said)

    at = (0, 0)
    _place = (0, 0, 0, 0)  # left, top, width and height of a cell

    def key(self, view: View) -> tuple[Any, ...]:
        """Drawn again when its own cursor moves, too."""
        return (*super().key(view), str(self.at))

    def retitle(self) -> None:
        """What it is."""
        self.border_title = Content.assemble(("Confusion", "bold"), ("  ↓ is  → said", "$text-muted"))

    def draw(self, width: int, height: int) -> Cells | None:
        """A cell a pair of classes: errors in orange, the more the brighter."""
        if self.judged is None or self.judged.confusion is None:
            return None
        counts, names, cells = self.judged.confusion, self.data.classes, Cells(width, height)
        n = len(names)
        label = min(max(map(len, names)), 8)
        digits = max(3, len(str(int(counts.max()))) + 1)
        wide = min(max(digits, (width - label - 1) // n), 9)
        high = 2 if 2 * n + 1 <= height else 1
        if label + 1 + n * wide > width:
            wide = max(1, (width - label - 1) // n)
        self._place = (label + 1, 1, wide, high)
        muted, ground = self.color("plot-axis"), np.array(self.color("background"), np.float64)
        good, poor = (np.array(self.color(name), np.float64) for name in ("plot-bars", "plot-validation"))
        wrong = counts - np.diag(np.diag(counts))
        most = max(1, int(wrong.max()))
        for number, name in enumerate(names):
            x, y = label + 1 + number * wide, 1 + number * high
            cells.text(x, 0, name[: wide - 1].rjust(wide - 1), muted)
            cells.text(0, y + (high - 1) // 2, name[:label].rjust(label), muted)
        for truth in range(n):
            total = max(1, int(counts[truth].sum()))
            for said in range(n):
                count = int(counts[truth, said])
                share = count / total if truth == said else count / most
                tint = good if truth == said else poor
                strength = (0.55 * share if truth == said else 0.2 + 0.6 * share) if count else 0.0
                color = tuple(int(part) for part in tint * strength + ground * (1 - strength))
                x, y = label + 1 + said * wide, 1 + truth * high
                if y + high > height:
                    break
                cells.back[y : y + high, x : x + wide] = packed(color) if count else -1  # type: ignore[arg-type]
                here = self.active and self.at == (truth, said)
                chosen = self.selection.cell == (truth, said)
                text = str(count) if count else "·"
                bright = self.color("key") if here or chosen else self.color("foreground") if count else muted
                cells.text(x, y + (high - 1) // 2, text.rjust(wide - 1)[: wide - 1], bright, bold=here or chosen)
                if here:
                    cells.text(x, y + (high - 1) // 2, "▶" if not self.plain else ">", bright, bold=True)
        return cells

    def move(self, across: int, down: int) -> None:
        """Move its cursor."""
        n = len(self.data.classes) if self.data is not None else 1
        self.at = (min(max(self.at[0] + down, 0), n - 1), min(max(self.at[1] + across, 0), n - 1))

    def on_click(self, event: events.Click) -> None:
        """Browse the rows of a cell."""
        inside = event.get_content_offset(self)
        if inside is None or self.judged is None:
            return
        left, top, wide, high = self._place
        said, truth = (inside.x - left) // max(1, wide), (inside.y - top) // max(1, high)
        if 0 <= said < len(self.data.classes) and 0 <= truth < len(self.data.classes):
            self.post_message(self.Pressed(truth, said))


class WorstRows(JudgedPlot):
    """The rows of a table, in an order: what they are, what the network says, and the loss."""

    def retitle(self) -> None:
        """The order."""
        self.border_title = Content.assemble(("Test rows", "bold"), "  ", (self.selection.order, "$brand"))

    def draw(self, width: int, height: int) -> Cells | None:
        """A line a row."""
        if self.judged is None or not len(self.rows):
            return None
        cells, muted = Cells(width, height), self.color("plot-axis")
        row = "row.step" if self.data.every_step else "row"
        cells.text(1, 0, f"{row:>8} {'is':>10} {'said':>10} {'loss':>8}", muted)
        at, lines = min(self.selection.at, len(self.rows) - 1), max(1, height - 1)
        top = max(0, at - lines + 1)
        for y, row in enumerate(self.rows[top : top + lines].tolist(), 1):
            here = top + y - 1 == at
            truth, said, right = self._said(row)
            number = ".".join(str(part) for part in self.place(row) if part is not None)
            color = self.color("foreground") if right else self.color("health-poor")
            cells.text(0, y, "▶" if here else " ", self.color("key"), bold=True)
            cells.text(
                2, y, f"{number:>7} {truth:>10} {said:>10} {short(float(self.judged.losses[row])):>8}", color, bold=here
            )
        return cells

    def _said(self, row: int) -> tuple[str, str, bool]:
        assert self.judged is not None
        if self.judged.predicted is None:
            return short(float(self.judged.truth[row].flat[0])), short(float(self.judged.shares[row].flat[0])), True
        truth, said = int(self.judged.truth[row]), int(self.judged.predicted[row])
        names = self.names
        return names[truth][:10], names[said][:10], truth == said
