"""The doubles and helpers beside the tests are imported by name from this folder."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))


@pytest.fixture
def plain_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """The environment in which pictures are taken: whoever runs the tests has settings of their own."""
    for name in ("NO_COLOR", "LC_ALL", "LC_CTYPE", "TEXTUAL_THEME", "TEXTUAL_COLOR_SYSTEM"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("LANG", "C.UTF-8")
