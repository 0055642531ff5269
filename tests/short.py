"""Parameters with which the experiments that take seconds take less; their own sizes are tested where they matter."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from fastnn.experiments import EXPERIMENTS

SHORT: dict[str, dict[str, Any]] = {
    "partial": {"inputs": 4},
    "initialization": {"width": 60},
    "vanishing": {"epochs": 2},
    "convergence": {"epochs": 5, "width": 8},
    "digit_rows": {"epochs": 2, "units": 16},
    "adding": {"epochs": 2, "steps": 10},
    "next_character": {"epochs": 2, "units": 16},
}


def shorten(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make these the defaults of the registry's entries."""
    for name, values in SHORT.items():
        entry = EXPERIMENTS[name]
        changed = [dataclasses.replace(p, default=values.get(p.name, p.default)) for p in entry.parameters]
        monkeypatch.setitem(EXPERIMENTS, name, dataclasses.replace(entry, parameters=tuple(changed)))


def options(name: str) -> list[str]:
    """The same on a command line."""
    return [word for key, value in SHORT.get(name, {}).items() for word in (f"--{key}", str(value))]
