"""The doubles and helpers beside the tests are imported by name from this folder."""

import sys
from functools import partial
from pathlib import Path

import pytest
from textual import pilot

sys.path.insert(0, str(Path(__file__).parent))


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pilot waits for an idle process, a second at most, and beside a training it always was one: a picture has a dozen
    such waits. What a test needs is waited for (driving.py)."""
    monkeypatch.setattr(pilot, "wait_for_idle", partial(pilot.wait_for_idle, max_sleep=0.05))


@pytest.fixture
def plain_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """The environment in which pictures are taken: whoever runs the tests has settings of their own."""
    for name in ("NO_COLOR", "LC_ALL", "LC_CTYPE", "TEXTUAL_THEME", "TEXTUAL_COLOR_SYSTEM"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("LANG", "C.UTF-8")
