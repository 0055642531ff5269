"""What a user waits for before anything is computed: each sample is a new process with a warm disk cache."""

from __future__ import annotations


class Startup:
    """Wall time of a fresh interpreter running one line, Python's own start included."""

    number = 1
    repeat = (3, 10, 20.0)
    timeout = 120

    def timeraw_import(self) -> str:
        return "import fastnn"

    def timeraw_version(self) -> str:
        """`fastnn --version`, which must not load the engine."""
        return "import contextlib, fastnn.cli\nwith contextlib.suppress(SystemExit): fastnn.cli.main(['--version'])"
