"""The Runs mode's panes: the list, the curves over one another, and the configurations side by side."""

from __future__ import annotations

import time
from typing import Any

from textual import events
from textual.content import Content
from textual.message import Message

from tui import numbers
from tui.actions import Action
from tui.colors import CLASSES, inked
from tui.shelf import METRICS, Shelf, compared, summary
from tui.view import DOTS, View
from tui.widgets.cells import RGB, Cells
from tui.widgets.charts import STYLES, Line, Look, line_chart
from tui.widgets.plot import Plot

# Title, width, and the width of the pane from which on the column is shown.
COLUMNS = (
    ("when", 12, 0), ("data", 10, 0), ("network", 14, 0), ("optimizer", 13, 0), ("epochs", 11, 0), ("val loss", 9, 0),
    ("acc", 6, 0), ("loss", 8, 96), ("steps", 10, 96), ("time", 8, 104), ("batch", 6, 112), ("seed", 6, 120),
    ("state", 12, 132), ("name", 40, 150),
)  # fmt: skip
ALIGNED = ("epochs", "val loss", "acc", "loss", "steps", "time", "batch", "seed")


class ShelfPlot(Plot):
    """A plot of the shelf; `current` is the folder of the run that is open here."""

    def __init__(self, shelf: Shelf, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self.shelf = shelf
        self.current = ""

    def key(self, view: View) -> tuple[Any, ...]:
        """Drawn again when the shelf has changed."""
        return (self.shelf.version, view.run.keeper.path if view.run else "")

    def take(self, view: View) -> None:
        """Which run is open here."""
        self.current = view.run.keeper.path if view.run else ""

    def place_of(self, name: str) -> int | None:
        """Which of the marked runs one is, from 0; None for another one."""
        marked = self.shelf.marked
        return marked.index(name) if name in marked else None

    def mark_of(self, name: str) -> str:
        """The number of a marked run, by which it is known wherever there are several; "" for another one."""
        place = self.place_of(name)
        return "" if place is None else str(place + 1)

    def color_of(self, name: str) -> RGB | None:
        """The color of a marked run."""
        place = self.place_of(name)
        return None if place is None else inked(CLASSES[place], self.color("background"))


class RunsTable(ShelfPlot):
    """A line a run. A click selects; one on the selected line marks it."""

    class Pressed(Message):
        """A person clicks on a row."""

        def __init__(self, row: int) -> None:
            super().__init__()
            self.row = row

    first = 0

    def title(self, actions: tuple[Action, ...]) -> None:
        """How many runs, in what order, and the keys."""
        shelf = self.shelf
        many = f"{len(shelf.runs)} of {shelf.total}" if shelf.filter else str(shelf.total)
        parts: list[Any] = [("Runs", "bold"), f"  {many}  ", ("by ", "$text-muted"), shelf.order]
        if shelf.filter:
            parts += [("  with ", "$text-muted"), (shelf.filter[:24], "$plot-validation")]
        self.border_title = Content.assemble(*parts)
        self.border_subtitle = self.keys(actions)

    def draw(self, width: int, height: int) -> Cells | None:
        """Heading and rows around the selected one."""
        cells, shelf, muted = Cells(width, height), self.shelf, self.color("plot-axis")
        if not shelf.runs:
            hint = "no run fits the filter" if shelf.total else "no runs yet: space trains one, and it is kept"
            cells.centered(hint, muted)
            return cells
        rows = max(1, height - 1)
        self.first = min(max(self.first, shelf.at - rows + 1), shelf.at, max(0, len(shelf.runs) - rows))
        x = 4
        columns = [(title, room) for title, room, at_least in COLUMNS if width >= at_least]
        for title, room in columns:
            cells.text(x, 0, (title.rjust(room - 1) if title in ALIGNED else title)[: room - 1], muted)
            x += room
        for y, info in enumerate(shelf.runs[self.first : self.first + rows], 1):
            here = self.first + y - 1 == shelf.at
            texts = self._texts(info)
            state = self.color(f"state-{info.state}" if info.state in DOTS else "state-diverged")
            mark = self.color_of(info.name)
            x = 4
            for title, room in columns:
                text = texts[title]
                text = text if len(text) < room else text[: room - 2] + "…"
                color = mark or (self.color("foreground") if here else None)
                cells.text(x, y, text.rjust(room - 1) if title in ALIGNED else text, color, bold=here)
                x += room
            cells.text(0, y, "▶" if here else " ", self.color("key"), bold=True)
            cells.text(1, y, self.mark_of(info.name), mark, bold=True)
            cells.text(2, y, DOTS.get(info.state, "✖"), state)
        return cells

    def _texts(self, info: Any) -> dict[str, str]:
        run = info.run
        return summary(info) | {
            "when": time.strftime("%m-%d %H:%M", time.localtime(info.created)),
            "epochs": f"{info.epoch if info.step else 0}/{info.epochs}",
            "val loss": numbers.loss(info.val_loss).strip(),
            "acc": numbers.percent(info.val_accuracy).strip(),
            "loss": numbers.loss(info.loss).strip(),
            "steps": numbers.count(info.step),
            "time": numbers.clock(info.seconds),
            "batch": str(run.batch_size if run else ""),
            "seed": str(run.seed if run else ""),
            "state": "open here" if str(info.path) == self.current else info.state,
            "name": info.name,
        }

    def on_click(self, event: events.Click) -> None:
        """Select a row."""
        inside = event.get_content_offset(self)
        if inside is not None and inside.y > 0:
            self.post_message(self.Pressed(self.first + inside.y - 1))


class RunsChart(ShelfPlot):
    """One metric of the runs that are marked, or of the selected one, over their steps."""

    metric = "val_loss"
    log_y = False

    def key(self, view: View) -> tuple[Any, ...]:
        """Drawn again when a run that it shows has more, and for another theme, whose colors are in the title."""
        return (*super().key(view), self.metric, self.log_y, self.app.theme)

    def take(self, view: View) -> None:
        """The legend."""
        super().take(view)
        self.retitle()

    def retitle(self) -> None:
        """Metric, scale, and number and mark of each run, with what tells it from the others as there is room."""
        runs = self.shelf.shown
        parts = [Content.styled(METRICS[self.metric].capitalize(), "bold")]
        if self.log_y:
            parts.append(Content.styled("log", "$text-muted"))
        room = (self.size.width - 4 - sum(part.cell_length + 2 for part in parts)) // max(1, len(runs)) - 2
        columns = zip(*(summary(info).values() for info in runs), strict=True)
        differing = [column for column in columns if len(runs) == 1 or len(set(column)) > 1]
        for number, info in enumerate(runs):
            style = STYLES[self._style_of(info)]
            label = f"{self.mark_of(info.name)} {style.letter * 2 if self.plain else style.mark}".strip()
            for column in differing:
                longer = f"{label} {column[number]}"
                label = longer if len(longer) <= room else label
            parts.append(Content.styled(label, "rgb({},{},{})".format(*self._color_of(info))))
        self.border_title = Content("  ").join(parts)

    def _color_of(self, info: Any) -> RGB:
        return self.color_of(info.name) or self.color("plot-train")

    def _style_of(self, info: Any) -> int:
        """The number of a run's style, which tells it from the others without its color."""
        return (self.place_of(info.name) or 0) % len(STYLES)

    def draw(self, width: int, height: int) -> Cells | None:
        """The curves over one another; the selected one last, on top."""
        selected = self.shelf.selected
        runs = sorted(self.shelf.shown, key=lambda info: info is selected)
        look = Look(
            log_y=self.log_y and "loss" in self.metric,
            marker=self.marker,
            axis_color=self.color("plot-axis"),
        )
        lines = [
            Line(*self.shelf.curve(info, self.metric), self._color_of(info), self._style_of(info)) for info in runs
        ]
        chart = line_chart(width, height, lines, look)
        if chart.x_axis is None:
            chart.cells.centered("no numbers yet: a run writes them an epoch" if runs else "", self.color("plot-axis"))
        return chart.cells


class RunsCompare(ShelfPlot):
    """The configurations and results of the marked runs side by side, what differs first and bold."""

    def take(self, view: View) -> None:
        """The title."""
        super().take(view)
        count = len(self.shelf.shown)
        parts: list[Any] = [("Compare" if count > 1 else "Configuration", "bold")]
        if count > 1:
            parts += ["  ", ("what differs is bold", "$text-muted")]
        self.border_title = Content.assemble(*parts)

    def draw(self, width: int, height: int) -> Cells | None:
        """A row a fact, a column a run."""
        cells, muted, bright = Cells(width, height), self.color("plot-axis"), self.color("foreground")
        runs = self.shelf.shown
        if not runs:
            return cells
        names = 14
        room = max(9, min(28, (width - names) // len(runs)))
        for column, info in enumerate(runs):
            x = names + column * room
            color = self.color_of(info.name) or self.color("plot-train")
            stamp = time.strftime("%m-%d %H:%M", time.localtime(info.created))
            cells.text(x, 0, f"{self.mark_of(info.name)} {stamp}".strip()[: room - 1], color, bold=True)
        rows = compared(runs)
        if len(rows) > height - 1:
            hidden = len(rows) - (height - 2)
            rows = rows[: max(0, height - 2)]
            cells.text(0, height - 1, f"… {hidden} more in a higher window", muted)
        for y, (name, texts, differs) in enumerate(rows, 1):
            cells.text(0, y, name[: names - 1], self.color("key") if differs else muted, bold=differs)
            for column, text in enumerate(texts):
                text = text if len(text) < room else text[: room - 2] + "…"
                cells.text(names + column * room, y, text, bright if differs or len(runs) == 1 else muted, bold=differs)
        for y, info in enumerate(runs):
            if info.error and y + 1 < height:
                cells.text(0, height - 1 - y, info.error[:width], self.color("state-diverged"))
        return cells
