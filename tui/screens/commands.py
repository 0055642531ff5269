"""What can be done in every mode, by the names in the table of actions."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, cast

from textual.screen import Screen

from tui import numbers
from tui.actions import of_mode
from tui.config import RunConfig
from tui.export import stem, write_csv, write_folder
from tui.screens.dialogs import Confirm, RateInput
from tui.screens.help import Help
from tui.session import Session
from tui.theme import following
from tui.view import View
from tui.widgets.drawer import Drawer
from tui.widgets.plot import Plot

if TYPE_CHECKING:
    from tui.app import FastnnApp

    Base = Screen[None]
else:
    Base = object  # a second Textual class before Screen would hide Screen's style and keys

# Steps a second that a person may choose from, the last without a limit.
SPEEDS: tuple[float | None, ...] = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10_000, 50_000, None)


class Commands(Base):
    """Training, learning rate, configuration, dialogs; a part of `ModeScreen`."""

    NAME: ClassVar[str]
    session: Session
    asked = 0  # the number of the drawer's configuration that waits for an answer
    opening = 0  # of one that is to be seen in the Train mode once it is taken
    configuring = False  # the drawer is to open once it is known what there is to choose from

    @property
    def ui(self) -> FastnnApp:
        """The application, with its session and options."""
        return cast("FastnnApp", self.app)

    # Training

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

    def action_undo(self) -> None:
        """Back to the moment before."""
        self.session.undo()

    def action_redo(self) -> None:
        """On to the next moment."""
        self.session.redo()

    def action_gently(self) -> None:
        """After a divergence: on from the last good state, more gently."""
        self.session.go_on_gently()

    def action_reset(self) -> None:
        """Start again; asks when training would be lost."""
        snapshot = self.session.view.snapshot
        if snapshot is None or snapshot.step == 0:
            self._restart()
            return
        question = f"Reset the network? {numbers.count(snapshot.step)} steps of training are lost."
        self.ask(question, "reset", "keep", "r", self._restart)

    def _restart(self) -> None:
        self.ui.frozen = None
        self.session.reset()

    def _change_speed(self, direction: int) -> None:
        limit = self.session.view.limit
        at = SPEEDS.index(limit) if limit in SPEEDS else len(SPEEDS) - 1
        if limit is None and direction < 0:
            # From full speed to the first limit that can be felt.
            snapshot = self.session.view.snapshot
            speed = snapshot.step / snapshot.seconds if snapshot is not None and snapshot.seconds > 0 else 1e4
            at = next((n for n, s in enumerate(SPEEDS) if s is None or s >= speed), at)
        self.session.set_limit(SPEEDS[min(max(at + direction, 0), len(SPEEDS) - 1)])

    def action_slower(self) -> None:
        """Fewer steps a second."""
        self._change_speed(-1)

    def action_faster(self) -> None:
        """More steps a second."""
        self._change_speed(1)

    # Learning rate

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

    # Display

    def action_freeze(self) -> None:
        """Hold the display, or let it go."""
        self.ui.frozen = None if self.ui.frozen else self.session.view

    def action_theme(self) -> None:
        """Dark or light."""
        self.app.theme = following(self.app.theme)

    def action_markers(self) -> None:
        """Braille, blocks or ASCII."""
        self.ui.next_marker()
        for plot in self.query(Plot):
            plot.redraw()

    def action_export(self) -> None:
        """A picture of the screen, the curves and the run's folder, into the working folder."""
        picture = self.app.export_screenshot()
        self.run_worker(partial(self._export, picture, self.session.view), thread=True, group="export")

    def _export(self, picture: str, view: View) -> None:
        """On a thread of its own: the checkpoints of a large network take their time."""
        folder, name = Path.cwd(), stem(view)
        tell = partial(self.app.call_from_thread, self.notify, markup=False)
        try:
            (folder / f"{name}.svg").write_text(picture, "utf-8")
            write_csv(folder / f"{name}.csv", self.session.record)
            endings = ["csv"]
            if view.run is not None and view.run.keeper.path:
                write_folder(folder / f"{name}.zip", Path(view.run.keeper.path))
                endings.append("zip")
        except OSError as reason:
            tell(f"nothing is written: {reason}", severity="error")
        else:
            tell(f"{name}.svg and its .{' and .'.join(endings)} are in {folder}")

    def action_mode(self, name: str) -> None:
        """Go to another mode."""
        self.ui.open_mode(name)

    # Application

    def action_help(self) -> None:
        """Show every key."""
        mine, others = of_mode(self.ui.actions, self.NAME), self.ui.actions
        self.app.push_screen(Help((*mine, *(action for action in others if action not in mine))))

    def action_quit(self) -> None:
        """Leave; asks while training runs."""
        if self.session.view.state == "running":
            self.ask("Training is running. Quit?", "quit", "stay", "q", self.app.exit)
        else:
            self.app.exit()

    def action_palette(self) -> None:
        """Open the command palette."""
        self.app.action_command_palette()

    def ask(self, question: str, yes: str, no: str, again: str, then: Callable[[], object]) -> None:
        """Ask before something that cannot be undone; `again` is the key that asked."""

        def answered(agreed: bool | None) -> None:
            if agreed:
                then()

        self.app.push_screen(Confirm(question, yes, no, again), answered)

    # The drawer

    async def action_configure(self) -> None:
        """Open or close the drawer."""
        drawer = self.query_one(Drawer)
        if drawer.has_class("-open"):
            self.close_drawer()
        elif self.session.view.choices.data:
            await drawer.open(self.session.view.choices, self.session.view.config)
        else:
            self.configuring = not self.configuring

    def apply(self, event: Drawer.Applied) -> None:
        """Try the drawer's configuration."""
        self.ui.frozen = None
        self.asked = self.session.apply(event.config)

    def open_in_train(self, config: RunConfig) -> None:
        """Try a configuration, and show it in the Train mode when it was taken."""
        self.ui.frozen = None
        self.opening = self.session.apply(config)

    def close_drawer(self) -> None:
        """Close the drawer; the keys are the mode's again."""
        self.query_one(Drawer).remove_class("-open")
        self.screen.set_focus(None)

    async def answer(self, view: View) -> None:
        """Close the drawer when its configuration was taken, or show there why not; open one asked for early."""
        if self.configuring and view.choices.data:
            self.configuring = False
            await self.action_configure()
        if self.asked and view.answered >= self.asked:
            self.asked = 0
            if view.answer:
                self.query_one(Drawer).complain(view.answer)
            else:
                self.close_drawer()
        if self.opening and view.answered >= self.opening:
            self.opening = 0
            if view.answer:
                self.notify(view.answer, severity="error", markup=False)
            else:
                self.ui.open_mode("train")
