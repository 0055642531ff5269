"""How the UI is opened: what the command line, the environment and a file of keys say."""

from __future__ import annotations

import argparse
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from fastnn.options import Parser
from tui.glyphs import wants_ascii
from tui.keymap import default_path, load_keys

MARKERS = ("braille", "block", "ascii")
THEMES = ("dark", "light")
FPS = 30
MOST_FPS = 60


@dataclass(frozen=True)
class Options:
    """`fps`: how often the screen looks for news a second; `keys`: keys for actions other than the table's; `run`: a
    run file to open; `web` and `port`: serve the app to a browser."""

    ascii: bool = False
    marker: str = "braille"
    theme: str = "dark"
    fps: int = FPS
    keys: Mapping[str, str] = field(default_factory=dict)
    run: str = ""
    web: bool = False
    port: int | None = None


def _fps(text: str) -> int:
    if not (text.isascii() and text.isdigit() and 1 <= int(text) <= MOST_FPS):
        raise argparse.ArgumentTypeError(f"{text!r}; expected a whole number, 1 to {MOST_FPS}")
    return int(text)


def _port(text: str) -> int:
    if not (text.isascii() and text.isdigit() and 1 <= int(text) <= 65_535):
        raise argparse.ArgumentTypeError(f"{text!r}; expected a whole number, 1 to 65535")
    return int(text)


def add_options(parser: argparse.ArgumentParser) -> None:
    """The options of the terminal UI."""
    parser.add_argument("--ascii", action="store_true", help="the terminal UI in ASCII, for fonts without more")
    parser.add_argument("--marker", choices=MARKERS, default="braille", help="what the UI draws curves with")
    parser.add_argument("--theme", choices=THEMES, default="dark", help="the UI's colors")
    parser.add_argument("--fps", type=_fps, default=FPS, metavar="N", help=f"the UI's frames a second (default: {FPS})")
    parser.add_argument("run", nargs="?", metavar="RUN.toml", help="a run file to open")
    parser.add_argument("--web", action="store_true", help="the UI in a browser, on this machine's loopback address")
    parser.add_argument("--port", type=_port, metavar="N", help="of --web (default: 8000, or one that is free)")
    parser.add_argument("--keys", metavar="FILE", help="a TOML file with other keys for the UI")


def read_options(arguments: argparse.Namespace, environment: Mapping[str, str] = os.environ) -> Options:
    """Options from what `add_options` parsed and from the environment; raises KeymapError for a bad file of keys."""
    if arguments.keys:
        keys = load_keys(arguments.keys)
    else:
        keys = load_keys(default_path(environment), missing_ok=True)
    plain = arguments.ascii or wants_ascii(environment)
    return Options(
        plain,
        "ascii" if plain else arguments.marker,
        arguments.theme,
        arguments.fps,
        keys,
        arguments.run or "",
        arguments.web,
        arguments.port,
    )


def from_environment(arguments: Sequence[str] = ()) -> Options:
    """The options of a command line; raises SystemExit for one that cannot be read, KeymapError for a file of keys."""
    parser = Parser(prog="fastnn", allow_abbrev=False)
    add_options(parser)
    return read_options(parser.parse_args(arguments))


def without_web(arguments: Sequence[str]) -> list[str]:
    """A command line without what is about the browser."""
    parser = argparse.ArgumentParser(allow_abbrev=False)
    parser.add_argument("--web", action="store_true")
    parser.add_argument("--port")
    return parser.parse_known_args(list(arguments))[1]
