"""What a user waits for before anything is computed: each sample is one statement in a new interpreter."""

from __future__ import annotations


class Startup:
    number = 1
    repeat = (3, 10, 20.0)
    timeout = 120

    def timeraw_import(self) -> str:
        return "import fastnn"

    def timeraw_version(self) -> str:
        """`fastnn --version`, which must not load the engine."""
        return """
import contextlib, fastnn.cli
with contextlib.suppress(SystemExit), contextlib.redirect_stdout(None):
    fastnn.cli.main(["--version"])
"""
