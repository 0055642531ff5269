"""The application: themes, modes, the command palette, and a session that starts and ends with it."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import Iterable, Sequence
from functools import partial
from importlib import import_module

from textual.app import SystemCommand
from textual.command import CommandPalette
from textual.screen import Screen

from tui.actions import ACTIONS, MODES, Mode, in_ascii, of_mode, remapped
from tui.capture import Stream, captured
from tui.config import RunConfig
from tui.engine import Engine
from tui.glyphs import Ascii
from tui.keystrokes import Keystrokes
from tui.litter import Litter
from tui.options import MARKERS, Options, from_environment, without_web
from tui.screens.dialogs import Palette
from tui.screens.mode import ModeScreen
from tui.session import Session
from tui.sheet import Sheet
from tui.theme import THEMES
from tui.view import Backend, View
from tui.web import serve

# The training thread needs the interpreter between two chunks: with Python's own 5 ms it waited so long for
# the drawing to let go of it that training with the screen open ran at 94 %. With 0.5 ms a training that waits as for a
# GPU, a dozen calls a chunk, lost 8.5 % to 18 frames a second; with 0.1 ms 5.6 %.
SWITCH_SECONDS = 0.0001
SAVING_SECONDS = 5.0
SIGNALED = 128  # plus the signal's number: what a shell reports for a process that a signal ended


class FastnnApp(Keystrokes):
    """fastnn's terminal UI over a `Session`; `backend` makes the runs, `options` say how it looks."""

    CSS_PATH = "app.tcss"
    TITLE = "fastnn"
    DEFAULT_MODE = MODES[0].name

    def __init__(
        self, backend: Backend | None = None, config: RunConfig | None = None, options: Options | None = None
    ) -> None:
        super().__init__()
        self.stylesheet = Sheet(variables=self.get_css_variables())
        self.options = options or Options()
        self.litter = Litter()
        engine = backend or Engine()
        self.session = Session(engine, config)
        if isinstance(engine, Engine):
            engine.tell, engine.built = self.session.journal.add, self.litter.keep
        self.actions = remapped(ACTIONS, self.options.keys)
        self.set_keymap(dict(self.options.keys))
        self.frozen: View | None = None
        self.marker = self.options.marker
        self.ascii_only = self.options.ascii
        if self.ascii_only:
            self._filters.append(Ascii())
            self.actions = in_ascii(self.actions)
        for theme in THEMES:
            self.register_theme(theme)
        self.theme = next(theme.name for theme in THEMES if theme.name.endswith(self.options.theme))
        for mode in MODES:
            self.add_mode(mode.name, partial(self._make_screen, mode))

    def _make_screen(self, mode: Mode) -> ModeScreen:
        module, _, name = mode.screen.partition(":")
        screen: ModeScreen = getattr(import_module(module), name)(self.session)
        return screen

    @property
    def base(self) -> ModeScreen:
        """The screen of the current mode, also while a dialog is over it."""
        screen = self.screen_stack[0]
        assert isinstance(screen, ModeScreen)
        return screen

    def open_mode(self, name: str) -> None:
        """Go to a mode; nothing while a dialog waits for its answer."""
        if len(self.screen_stack) == 1:
            self.switch_mode(name)

    def next_marker(self) -> None:
        """Draw curves with the next kind of dots."""
        if not self.ascii_only:
            self.marker = MARKERS[(MARKERS.index(self.marker) + 1) % len(MARKERS)]

    def on_mount(self) -> None:
        """Start the session once the first screen is painted: importing holds the interpreter's lock."""
        # Textual has put its own streams there, which drop what is written, and takes them away at the end.
        sys.stdout, sys.stderr = (Stream(self.session.journal, name) for name in ("stdout", "stderr"))
        self._switching = sys.getswitchinterval()
        sys.setswitchinterval(SWITCH_SECONDS)
        self.litter.begin()
        self.call_after_refresh(self.session.start)
        if not self.is_headless:
            self._listen()

    def _listen(self) -> None:
        """Leave in order, with the terminal as it was, when told to end or when the terminal is closed."""
        for name in ("SIGTERM", "SIGHUP"):
            number = getattr(signal, name, None)
            # Windows has no SIGHUP, and its event loop takes no handlers.
            with contextlib.suppress(NotImplementedError, ValueError, RuntimeError):
                if number is not None:
                    handler = partial(self.exit, return_code=SIGNALED + number)
                    asyncio.get_running_loop().add_signal_handler(number, handler)

    def on_unmount(self) -> None:
        """End the training thread; it answers between two chunks, but a compilation does not."""
        self.session.close(timeout=0.3)
        sys.setswitchinterval(self._switching)
        self.litter.end()

    def action_command_palette(self) -> None:
        """Open the palette, once."""
        if not CommandPalette.is_open(self):  # type: ignore[arg-type]
            self.push_screen(Palette(id="--command-palette"))

    def get_system_commands(self, screen: Screen) -> Iterable[SystemCommand]:
        """The command palette offers the actions of the current mode."""
        base = self.base
        for action in of_mode(self.actions, base.NAME):
            if action.name != "palette":
                run = partial(base.run_action, action.call)
                yield SystemCommand(action.title, f"{action.shown}  {action.help}", run)


def run_config(path: str) -> RunConfig:
    """The configuration in a run file; raises ValueError."""
    from fastnn import runfile
    from tui.keeping import config_of

    return config_of(runfile.read(path))


def main(arguments: Sequence[str] = ()) -> int:
    """Open the terminal UI with the options of a command line, and return the exit code."""
    try:
        options = from_environment(arguments)
        config = run_config(options.run) if options.run else None
    except ValueError as reason:  # a KeymapError, or a DataError of the run file
        sys.stderr.write(f"fastnn: {reason}\n")
        return 2
    if options.web:
        return serve(without_web(arguments), options.port)
    app = FastnnApp(config=config, options=options)
    with captured(app.session.journal):
        app.run()
    code = app.return_code or 0
    # The last checkpoint of a large network takes its time; a compilation may take a minute, as may data from afar.
    view = app.session.view
    if not app.session.close(timeout=0.1 if view.compiling or view.run is None else SAVING_SECONDS):
        # Neither can be interrupted, and the interpreter would wait for a compilation before it ends. The
        # terminal is restored by now, and files of the cache are written whole or not at all.
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    return code
