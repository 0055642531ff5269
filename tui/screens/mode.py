"""What all modes share: status above, keys below, a beat that reads the session and draws some plots at a time."""

from __future__ import annotations

import asyncio
import time
from typing import Any, ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical
from textual.screen import Screen
from textual.widgets import Static

from tui import numbers
from tui.actions import ACTIONS, Action, of_mode
from tui.frames import Frames
from tui.screens.commands import Commands
from tui.session import Session
from tui.turns import BUDGET, KEY_BUDGET, SMALL_BUDGET, Turns
from tui.view import View
from tui.widgets.drawer import Drawer
from tui.widgets.keybar import KeyBar
from tui.widgets.plot import Plot
from tui.widgets.slider import Slider
from tui.widgets.status import Status

NUMBER_SECONDS = 0.1
SOONEST = 0.6  # of the time between two frames
SMALLEST = (80, 24)


class ModeScreen(Commands, Screen[None]):
    """A mode: give it a NAME (as in tui.actions.MODES), say what it WATCHes, and compose its `panes`.

    While it is the current screen, `tick` runs 30 times a second and more: the status is written, `refresh_panes` is
    called when there is something new, and the plot whose turn it is takes the view and is drawn.
    """

    NAME: ClassVar[str] = ""
    WATCH: ClassVar[tuple[str, ...]] = ("gradient_norm",)  # which the status line shows in every mode
    AUTO_FOCUS = ""
    HORIZONTAL_BREAKPOINTS = [(0, "-cramped"), (SMALLEST[0], "-narrow"), (120, "-wide")]  # noqa: RUF012
    VERTICAL_BREAKPOINTS = [(0, "-flat"), (SMALLEST[1], "-low"), (36, "-high")]  # noqa: RUF012
    BINDINGS: ClassVar[list[BindingType]] = []

    def __init_subclass__(cls, **options: Any) -> None:
        cls.BINDINGS = [
            Binding(action.keys, action.call, action.title, show=False, id=action.id)
            for action in of_mode(ACTIONS, cls.NAME)
            if action.name != "palette"
        ]
        super().__init_subclass__(**options)

    def __init__(self, session: Session) -> None:
        super().__init__()
        self.session = session
        self._compositor = Frames()
        self.turns = Turns()
        self._seen = -1
        self._shown: Any = None
        self._shown_at = 0.0
        self._shown_state = self._message = ""
        self._shown_rate = 0.0
        self._due = self._next = 0.0  # when the next frame is wanted, and when the next tick looks whether it fits
        self._put_off = False  # what keys have changed is to be drawn at the next tick

    # What a mode gives

    def panes(self) -> ComposeResult:
        """The mode's own widgets."""
        raise NotImplementedError

    async def refresh_panes(self, view: View) -> None:
        """Write what is not a plot; called when the view has changed, some times a second while training runs."""

    @property
    def watched(self) -> tuple[str, ...]:
        """What snapshots are to show of the layers, asked for whenever the mode is opened."""
        return self.WATCH

    def plots(self) -> list[Plot]:
        """The plots that take turns: those that can be seen."""
        found, whole = self._panes.walk_children(Plot), self.region
        return [plot for plot in found if plot.region.overlaps(whole)]

    # What it has

    @property
    def actions(self) -> tuple[Action, ...]:
        """The actions of this mode, with the keys of this user."""
        return of_mode(self.ui.actions, self.NAME)

    def placed(self, place: str) -> tuple[Action, ...]:
        """The actions shown at `place`."""
        return tuple(action for action in self.actions if action.place == place)

    @property
    def view(self) -> View:
        """What is shown: the newest view, or the one that the display is frozen at."""
        return self.ui.frozen or self.session.view

    # The frame

    def compose(self) -> ComposeResult:
        """From top to bottom."""
        yield Status(id="status")
        with Horizontal(id="body"):
            yield Drawer(id="drawer")
            with Vertical(id="panes"):
                yield Static(id="message", markup=False)
                yield Slider(id="slider")
                yield from self.panes()
        yield KeyBar(id="keys")
        yield Static(id="too-small", markup=False)

    def on_mount(self) -> None:
        """Start the beat that reads the session."""
        # Looked up once: a query goes through all widgets, and took a third of each tick.
        self._panes = self.query_one("#panes")
        self._frame = (self.query_one(Status), self.query_one(KeyBar), self.query_one("#message", Static))
        self._slider = self.query_one(Slider)
        self.run_worker(self._beat())
        self.call_after_refresh(self.tick)

    def on_screen_resume(self) -> None:
        """Ask for what this mode shows, and show it at once."""
        if self.is_current:
            self.session.watch(self.watched)
        self._seen = -1
        self.call_after_refresh(self.draw_now)

    def on_resize(self) -> None:
        """Say what is missing when the terminal is too small (the style sheet shows the note)."""
        width, height = self.app.size
        wanted = "x".join(map(str, SMALLEST))
        note = f"too small: {width}x{height}\nfastnn needs {wanted}\n\nmake the terminal larger,\nor q to quit"
        self.query_one("#too-small", Static).update(note)
        self._seen = -1

    # Showing

    async def _beat(self) -> None:
        """Tick as often as frames are wanted, and whenever one has waited for its time."""
        while True:
            await asyncio.sleep(max(self._next - time.monotonic(), 0.001))
            self._next = time.monotonic() + 1 / self.ui.options.fps
            await self.tick()

    async def tick(self) -> None:
        """Show the newest numbers, and draw what fits into a frame."""
        # When the app ends, its screens go before what ticks.
        if not (self.is_mounted and self.app.is_running) or not self.app.screen_stack or self.ui.base is not self:
            return
        view, began = self.view, time.monotonic()
        wait = self.turns.until(began, self.session.away if view.state == "running" else None)
        resting = wait > 0
        pace = 1 / self.ui.options.fps
        if not resting:
            # The next one sooner after one that was late, but not so soon that both are painted at once.
            self._due = max(self._due + pace, began + SOONEST * pace)
        self._next = began + min(wait, pace) if resting else self._due
        if view.version != self._seen and self._is_due(view, began, resting):
            self._seen, self._shown, self._shown_at = view.version, view.snapshot, began
            self._shown_state, self._shown_rate = view.state, view.rate
            status, keys, bar = self._frame
            status.show(view, self.actions, self.NAME)
            keys.show(self.placed("bar"), running=view.state == "running")
            self._show_message(bar, view)
            self._slider.show(view, self.actions)
            await self.refresh_panes(view)
        await self.answer(self.session.view)
        if self._put_off:
            self._draw_awaited()
        elif self.turns.idle(began) or not resting:
            looked = self.ui.litter.collect()
            if not (resting or looked or self._draw_some(view, began)) and view.state == "running" and not view.crowded:
                self._due = self._next = began + pace / 4  # a frame that has shown nothing is none

    def _is_due(self, view: View, now: float, resting: bool) -> bool:
        """Whether to write the numbers: at once when something was done, else along with the plots, as one can read."""
        busy = view.state == self._shown_state == "running" and view.rate == self._shown_rate
        return not busy or (not resting and now - self._shown_at >= NUMBER_SECONDS)

    def _show_message(self, bar: Static, view: View) -> None:
        text = self.message(view)
        if text != self._message:
            self._message = text
            bar.update(text, layout=False)
            bar.display = bool(text)
            bar.set_class(view.state in ("diverged", "failed"), "-alarm")

    def message(self, view: View) -> str:
        """The line above the panes; "" for none."""
        if view.compiling:
            return "compiling kernels, which are kept for the next time; the keys work meanwhile"
        if view.busy and view.snapshot is not None:
            return f"{view.busy}…"
        if view.state == "diverged":
            return f"{diverged(view)} · g goes on, lr ÷ 10"
        if view.state == "finished":
            held = view.snapshot.val_accuracy
            reached = "" if held is None else f": accuracy {numbers.percent(held).strip()} on data it never saw"
            return f"finished {view.snapshot.epochs} epochs{reached} · space goes on"
        return view.message if view.state == "failed" else ""

    def hint(self, view: View) -> str:
        """What an empty plot says."""
        if view.compiling:
            return "compiling kernels…"
        if view.busy:
            return f"{view.busy}…"
        return {"ready": "space starts training", "diverged": "diverged before there was a loss to draw"}.get(
            view.state, ""
        )

    def _draw_some(self, view: View, began: float) -> bool:
        """Draw the plots whose turn it is, as many as fit into a frame; whether there was any."""
        plots = self.plots()
        keys = [plot.key(view) for plot in plots]
        now, budget, drawn = began, BUDGET if view.crowded else SMALL_BUDGET, False
        while now - began < budget:
            number = self.turns.pick(plots, keys, now)
            if number is None:
                break
            plots[number].show(view)
            self.turns.drew(plots, number, keys[number], now)
            now, drawn = time.monotonic(), True
        if drawn:
            self.turns.rest(began, now, crowded=view.crowded)
        return drawn

    def draw_now(self) -> None:
        """Draw what a key has changed, and what shows nothing yet, whosever turn it is; not what training has changed.

        Where other keys wait the next tick draws, once for all of them.
        """
        self._put_off = self.app.message_queue_size > 0
        if not self._put_off:
            self._draw_awaited()

    def _draw_awaited(self) -> None:
        view, plots, began, last = self.view, self.plots(), time.monotonic(), None
        self._put_off = False
        for number, plot in enumerate(plots):
            key, now = plot.key(view), time.monotonic()
            if not self.turns.awaited(plot, key):
                continue
            if last is not None and now - began > KEY_BUDGET:
                # The rest when this much is painted. Asked of the plot: the screen's own callback came before that.
                last.call_after_refresh(self.draw_now)
                break
            plot.show(view)
            self.turns.drew(plots, number, key, now)
            last = plot
        self.turns.rest(began, time.monotonic(), crowded=True)  # a key seldom comes alone

    @on(Drawer.Applied)
    def _drawer_applied(self, event: Drawer.Applied) -> None:
        self.apply(event)

    @on(Drawer.Closed)
    def _drawer_closed(self) -> None:
        self.close_drawer()

    @on(Slider.Moved)
    def _slider_moved(self, event: Slider.Moved) -> None:
        self.session.rewind(event.step)

    @property
    def settled(self) -> bool:
        """Whether everything shown is of the newest view; tests wait for it."""
        view = self.view
        fresh = self._seen == view.version or (self._shown is view.snapshot and self._shown_state == view.state)
        return fresh and all(self.turns.current(plot, plot.key(view)) for plot in self.plots())


def diverged(view: View) -> str:
    """What a divergence was, with the layer's name."""
    culprit = view.snapshot.culprit
    where = "" if culprit is None else f": layer {culprit[0] + 1} {culprit[1]} NaN or Inf"
    return f"diverged at step {numbers.count(view.snapshot.step + 1)}{where}"
