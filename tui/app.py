"""The application: themes, the command palette, and a session that starts and ends with it."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable
from functools import partial

from textual.app import App, SystemCommand
from textual.screen import Screen

from tui.actions import ACTIONS
from tui.config import RunConfig
from tui.engine import Engine
from tui.glyphs import Ascii, wants_ascii
from tui.screens.train import TrainScreen
from tui.session import Backend, Session
from tui.theme import THEMES


class FastnnApp(App[None]):
    """fastnn's terminal UI over a `Session`; `backend` makes the runs, `ascii_only` leaves out Unicode."""

    CSS_PATH = "app.tcss"
    TITLE = "fastnn"

    def __init__(
        self, backend: Backend | None = None, config: RunConfig | None = None, *, ascii_only: bool | None = None
    ) -> None:
        super().__init__()
        self.session = Session(backend or Engine(), config)
        self.ascii_only = wants_ascii(os.environ) if ascii_only is None else ascii_only
        if self.ascii_only:
            self._filters.append(Ascii())
        for theme in THEMES:
            self.register_theme(theme)
        self.theme = THEMES[0].name

    def get_default_screen(self) -> Screen:
        """Open on the Train screen."""
        return TrainScreen(self.session)

    @property
    def train(self) -> TrainScreen:
        """The Train screen, also while a dialog is over it."""
        screen = self.screen_stack[0]
        assert isinstance(screen, TrainScreen)
        return screen

    def on_mount(self) -> None:
        """Start the session once the first screen is painted: importing holds the interpreter's lock."""
        self.call_after_refresh(self.session.start)

    def on_unmount(self) -> None:
        """End the training thread; it answers between two chunks, but a compilation does not."""
        self.session.close(timeout=0.3)

    def get_system_commands(self, screen: Screen) -> Iterable[SystemCommand]:
        """The command palette offers the table of actions."""
        for action in ACTIONS:
            if action.name != "palette":
                callback = partial(self.train.run_action, action.name)
                yield SystemCommand(action.title, f"{action.shown}  {action.help}", callback)


def main() -> int:
    """Open the terminal UI and return the exit code."""
    app = FastnnApp()
    app.run()
    code = app.return_code or 0
    if not app.session.close(timeout=0.1):
        # A compilation cannot be interrupted, and the interpreter would wait for it before it ends. The
        # terminal is restored by now, and files of the cache are written whole or not at all.
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    return code
