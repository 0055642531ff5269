"""The Runs mode: what was trained before, side by side, and taken up again."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from textual import on, work
from textual.app import ComposeResult
from textual.containers import Container

from tui.screens.dialogs import TextInput
from tui.screens.mode import ModeScreen
from tui.view import View
from tui.widgets.runs import RunsChart, RunsCompare, RunsTable, ShelfPlot

LOOK_SECONDS = 2.0


class RunsScreen(ModeScreen):
    """The kept runs: list, curves, configurations."""

    NAME = "runs"

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        from tui.shelf import Shelf

        self.shelf = Shelf()
        self.loaded = False

    def panes(self) -> ComposeResult:
        """The list above, curves and configurations below."""
        yield RunsTable(self.shelf, id="runs")
        with Container(id="runs-below"):
            yield RunsChart(self.shelf, id="runs-chart")
            yield RunsCompare(self.shelf, id="runs-compare")

    def on_mount(self) -> None:
        """Look at the folder again and again while this mode is open."""
        self.set_interval(LOOK_SECONDS, self.look)

    def on_screen_resume(self) -> None:
        """Look at once."""
        self.look()

    def look(self) -> None:
        """Read what is on disk, away from the screen's thread."""
        if self.is_current and self.ui.frozen is None:
            self._read()

    @work(thread=True, exclusive=True, group="runs")
    def _read(self) -> None:
        from fastnn.errors import DataError
        from fastnn.runs import list_runs

        try:
            found = list_runs()
        except DataError as reason:
            self.app.call_from_thread(self._complain, str(reason))
        else:
            self.app.call_from_thread(self._take, found)

    def _take(self, found: list[Any]) -> None:
        self.loaded = True
        before = self.shelf.version
        self.shelf.take(found)
        if self.shelf.version != before:
            self._show()

    def _complain(self, reason: str) -> None:
        self.loaded = True
        self.notify(reason, severity="error", markup=False)

    async def refresh_panes(self, view: View) -> None:
        """Titles."""
        self.query_one(RunsTable).title(self.placed("main"))

    def _show(self) -> None:
        self.query_one(RunsTable).title(self.placed("main"))
        for plot in self.query(ShelfPlot):
            plot.show(self.view)

    @property
    def settled(self) -> bool:
        """Whether the list is there."""
        return self.loaded and super().settled

    # Selecting

    def action_run_up(self) -> None:
        """The run above."""
        self.shelf.move(-1)
        self._show()

    def action_run_down(self) -> None:
        """The run below."""
        self.shelf.move(1)
        self._show()

    def action_run_first(self) -> None:
        """The first run."""
        self.shelf.select(0)
        self._show()

    def action_run_last(self) -> None:
        """The last run."""
        self.shelf.select(len(self.shelf.runs))
        self._show()

    @on(RunsTable.Pressed)
    def _pressed(self, event: RunsTable.Pressed) -> None:
        if event.row == self.shelf.at:
            self.action_mark()
        else:
            self.shelf.select(event.row)
            self._show()

    def action_mark(self) -> None:
        """Mark or unmark the run."""
        if not self.shelf.mark():
            self.notify("six runs are marked, which is as many as can be told apart")
        self._show()

    def action_unmark(self) -> None:
        """Take all marks away."""
        self.shelf.unmark()
        self._show()

    def action_sort(self) -> None:
        """The next order."""
        self.shelf.sort()
        self._show()

    def action_filter(self) -> None:
        """Ask for words."""

        def take(text: str | None) -> None:
            if text is not None:
                self.shelf.choose(text)
                self._show()

        note = "words that a run must have, such as: adam spirals finished"
        self.app.push_screen(TextInput("Show runs with", self.shelf.filter, note), take)

    # Showing

    def action_metric(self) -> None:
        """The next metric."""
        from tui.shelf import METRICS

        chart, names = self.query_one(RunsChart), list(METRICS)
        chart.metric = names[(names.index(chart.metric) + 1) % len(names)]
        self._show()

    def action_log_y(self) -> None:
        """Linear or logarithmic."""
        chart = self.query_one(RunsChart)
        chart.log_y = not chart.log_y
        self._show()

    def action_compare(self) -> None:
        """Curves or configurations, where there is no room for both."""
        self.query_one("#runs-below").toggle_class("-compare")
        self.call_after_refresh(self._show)

    # Doing

    def action_open_run(self) -> None:
        """Take the selected run up again where it was left."""
        info, run = self.shelf.selected, self.session.view.run
        if info is None:
            return
        if run is not None and run.keeper.path == str(info.path):
            self.ui.open_mode("train")
        elif info.run is None:
            self.notify(info.error or "its configuration cannot be read", severity="error", markup=False)
        else:
            from tui.keeping import config_of

            self.open_in_train(config_of(info.run, str(info.path)))

    def action_again(self) -> None:
        """Begin a new run with the configuration of the selected one."""
        info = self.shelf.selected
        if info is not None and info.run is not None:
            from tui.keeping import config_of

            self.open_in_train(replace(config_of(info.run), folder=""))

    def action_delete(self) -> None:
        """Delete the selected run; asks."""
        info = self.shelf.selected
        if info is None:
            return
        if info.live:
            self.notify("this run is open, here or in another window", severity="warning")
            return

        def delete() -> None:
            from fastnn import runs
            from fastnn.errors import DataError

            try:
                runs.delete(info.path)
            except DataError as reason:
                self.notify(str(reason), severity="error", markup=False)
            else:
                self.session.journal.add(f"deleted {info.path}")
            self.look()

        self.ask(f"Delete the run {info.name}? It cannot be undone.", "delete", "keep", "delete", delete)
