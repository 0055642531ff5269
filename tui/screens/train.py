"""The Train screen: run a network, watch it learn, change it."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical
from textual.screen import Screen
from textual.widgets import Static

from tui import numbers
from tui.actions import ACTIONS
from tui.screens.dialogs import Confirm, RateInput
from tui.screens.help import Help
from tui.session import Session, View
from tui.theme import following
from tui.turns import Turns
from tui.widgets.drawer import Drawer
from tui.widgets.histogram import HistogramPlot, LayerRow
from tui.widgets.keybar import KeyBar
from tui.widgets.loss import LossPlot
from tui.widgets.plot import Plot
from tui.widgets.status import Status

TICKS_PER_SECOND = 25
NUMBER_SECONDS = 0.1
SMALLEST = (80, 24)


class TrainScreen(Screen[None]):
    """Status, loss, one histogram a layer, and the keys; `session` does the work."""

    AUTO_FOCUS = ""
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding(action.keys, action.name, action.title, show=False) for action in ACTIONS if action.name != "palette"
    ]
    HORIZONTAL_BREAKPOINTS = [(0, "-cramped"), (SMALLEST[0], "-narrow"), (120, "-wide")]  # noqa: RUF012
    VERTICAL_BREAKPOINTS = [(0, "-flat"), (SMALLEST[1], "-low"), (36, "-high")]  # noqa: RUF012

    def __init__(self, session: Session) -> None:
        super().__init__()
        self.session = session
        self._seen = -1
        self._shown: Any = None
        self._shown_at = 0.0
        self._shown_state, self._shown_rate = "", 0.0
        self._frozen: View | None = None
        self._asked = 0
        self._turns = Turns()

    def compose(self) -> ComposeResult:
        """From top to bottom."""
        yield Status(id="status")
        with Horizontal(id="body"):
            yield Drawer(id="drawer")
            with Vertical(id="plots"):
                yield Static(id="message", markup=False)
                yield LossPlot(id="loss")
                yield LayerRow(id="layers")
        yield KeyBar(id="keys")
        yield Static(id="too-small", markup=False)

    def on_mount(self) -> None:
        """Start the timer that reads the session."""
        self.set_interval(1 / TICKS_PER_SECOND, self.tick)
        self.call_after_refresh(self.tick)

    def on_resize(self) -> None:
        """Say what is missing when the terminal is too small (the style sheet shows the note)."""
        width, height = self.app.size
        wanted = "x".join(map(str, SMALLEST))
        note = f"too small: {width}x{height}\nfastnn needs {wanted}\n\nmake the terminal larger,\nor q to quit"
        self.query_one("#too-small", Static).update(note)
        self._seen = -1

    # Showing

    @property
    def view(self) -> View:
        """What is shown: the newest view, or the one that the display is frozen at."""
        return self._frozen or self.session.view

    async def tick(self) -> None:
        """Show the newest numbers, and draw at most one plot."""
        if not self.is_mounted:
            return
        view = self.view
        if view.version != self._seen and self._is_due(view):
            self._seen, self._shown, self._shown_at = view.version, view.snapshot, time.monotonic()
            self._shown_state, self._shown_rate = view.state, view.rate
            self.query_one(Status).show(view)
            self.query_one(KeyBar).show(running=view.state == "running")
            self._show_message(view)
            await self.query_one(LayerRow).set_count(max(0, len(view.sizes) - 1))
        self._answer(self.session.view)
        self._draw_one(view)

    def _is_due(self, view: View) -> bool:
        """Whether to write the numbers: at once when something was done, else as often as one can read them."""
        busy = view.state == self._shown_state == "running" and view.rate == self._shown_rate
        return not busy or time.monotonic() - self._shown_at >= NUMBER_SECONDS

    def _show_message(self, view: View) -> None:
        bar = self.query_one("#message", Static)
        text = self._message(view)
        bar.update(text, layout=False)
        bar.display = bool(text)
        bar.set_class(view.state in ("diverged", "failed"), "-alarm")

    def _message(self, view: View) -> str:
        if view.compiling:
            return "compiling kernels for this machine, only this once; the keys work meanwhile"
        if view.busy and view.snapshot is not None:
            return f"{view.busy}\u2026"
        if view.state == "diverged":
            what = view.message.partition(";")[0].removeprefix("training ") or "diverged"
            return f"{what} \u00b7 r resets, {{ lowers lr"
        if view.state == "finished":
            held = view.snapshot.val_accuracy
            reached = "" if held is None else f": accuracy {numbers.percent(held).strip()} on data it never saw"
            return f"finished {view.snapshot.epochs} epochs{reached} \u00b7 space goes on"
        return view.message if view.state == "failed" else ""

    def _hint(self, view: View) -> str:
        if view.compiling:
            return "compiling kernels\u2026"
        if view.busy:
            return f"{view.busy}\u2026"
        return "space starts training" if view.state == "ready" else ""

    def _draw_one(self, view: View) -> None:
        """Draw the plot whose turn it is, if any."""
        plots, hint, began = self._plots(), self._hint(view), time.monotonic()
        number = self._turns.pick(plots, view.snapshot, hint, began)
        if number is None:
            return
        plot = plots[number]
        if isinstance(plot, LossPlot):
            plot.show(self.session.loss_curve(), self.session.validation_curve(), hint)
        elif isinstance(plot, HistogramPlot):
            plot.show(view)
        self._turns.drew(plots, number, view.snapshot, hint, began, time.monotonic())

    def _plots(self) -> list[Plot]:
        """The plots that can be seen."""
        return [self.query_one(LossPlot), *self.query_one(LayerRow).seen]

    @property
    def settled(self) -> bool:
        """Whether everything shown is of the newest view; tests wait for it."""
        view, plots = self.view, self._plots()
        complete = len(self.query_one(LayerRow).plots) == len(view.sizes) - 1 and len(plots) > 1
        hint = self._hint(view)
        return (
            complete
            and self._shown is view.snapshot
            and all(self._turns.current(plot, view.snapshot, hint) for plot in plots)
        )

    # Actions, by the names in the table

    def action_toggle_run(self) -> None:
        """Run or pause."""
        self.session.toggle()

    def action_step(self) -> None:
        """One update."""
        self.session.step()

    def action_epoch(self) -> None:
        """To the end of the epoch."""
        self.session.finish_epoch()

    def action_stop(self) -> None:
        """End the run."""
        self.session.stop()

    def action_reset(self) -> None:
        """Start again; asks when training would be lost."""
        snapshot = self.session.view.snapshot
        if snapshot is None or snapshot.step == 0:
            self._restart()
            return
        question = f"Reset the network? {numbers.count(snapshot.step)} steps of training are lost."
        self._ask(question, "reset", "keep", "r", self._restart)

    def _restart(self) -> None:
        self._frozen = None
        self.query_one(LossPlot).frozen = False
        self.query_one(LossPlot).retitle()
        self.session.reset()

    def _scale_rate(self, factor: float) -> None:
        self.session.set_rate(float(f"{self.session.view.rate * factor:.12g}"))

    def action_rate_down(self) -> None:
        """Learning rate / 1.25."""
        self._scale_rate(1 / 1.25)

    def action_rate_up(self) -> None:
        """Learning rate x 1.25."""
        self._scale_rate(1.25)

    def action_rate_tenth(self) -> None:
        """Learning rate / 10."""
        self._scale_rate(0.1)

    def action_rate_tenfold(self) -> None:
        """Learning rate x 10."""
        self._scale_rate(10)

    def action_type_rate(self) -> None:
        """Ask for a learning rate."""

        def take(rate: float | None) -> None:
            if rate is not None:
                self.session.set_rate(rate)

        self.app.push_screen(RateInput(self.session.view.rate), take)

    def action_log_y(self) -> None:
        """Linear or logarithmic loss axis."""
        plot = self.query_one(LossPlot)
        plot.log_y = not plot.log_y
        plot.retitle()
        plot.redraw()

    def action_freeze(self) -> None:
        """Hold the display, or let it go."""
        self._frozen = None if self._frozen else self.session.view
        plot = self.query_one(LossPlot)
        plot.frozen = self._frozen is not None
        plot.retitle()

    def action_theme(self) -> None:
        """Dark or light."""
        self.app.theme = following(self.app.theme)

    def action_layers_left(self) -> None:
        """Scroll the histograms."""
        self.query_one(LayerRow).shift(-1)

    def action_layers_right(self) -> None:
        """Scroll the histograms."""
        self.query_one(LayerRow).shift(1)

    def action_configure(self) -> None:
        """Open or close the drawer."""
        drawer = self.query_one(Drawer)
        if drawer.has_class("-open"):
            self._close_drawer()
            return
        drawer.fill(self.session.view.choices, self.session.view.config)
        drawer.add_class("-open")
        drawer.focus_first()

    def action_help(self) -> None:
        """Show every key."""
        self.app.push_screen(Help())

    def action_quit(self) -> None:
        """Leave; asks while training runs."""
        if self.session.view.state == "running":
            self._ask("Training is running. Quit?", "quit", "stay", "q", self.app.exit)
        else:
            self.app.exit()

    def action_palette(self) -> None:
        """Open the command palette."""
        self.app.action_command_palette()

    def _ask(self, question: str, yes: str, no: str, again: str, then: Callable[[], object]) -> None:
        def answered(agreed: bool | None) -> None:
            if agreed:
                then()

        self.app.push_screen(Confirm(question, yes, no, again), answered)

    # The drawer

    @on(Drawer.Applied)
    def _applied(self, event: Drawer.Applied) -> None:
        self._frozen = None
        self._asked = self.session.apply(event.config)

    @on(Drawer.Closed)
    def _close_drawer(self) -> None:
        self.query_one(Drawer).remove_class("-open")
        self.set_focus(None)

    def _answer(self, view: View) -> None:
        """Close the drawer when its configuration was taken, or show there why not."""
        if self._asked and view.answered >= self._asked:
            self._asked = 0
            if view.answer:
                self.query_one(Drawer).complain(view.answer)
            else:
                self._close_drawer()
