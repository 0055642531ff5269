"""Parameters with which the experiments that take seconds take less; their own sizes are tested where they matter."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import pytest

from fastnn.experiments import EXPERIMENTS, Experiment

SHORT: dict[str, dict[str, Any]] = {
    "partial": {"inputs": 4},
    "initialization": {"width": 60},
    "vanishing": {"epochs": 2},
    "convergence": {"epochs": 5, "width": 8},
    "digit_rows": {"epochs": 2, "units": 16},
    "adding": {"epochs": 2, "steps": 10},
    "next_character": {"epochs": 2, "units": 16},
}
_FOUND: dict[tuple[str, str], Any] = {}  # what this process has computed, by the experiment's name and its values


def shorten(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make these the defaults of the registry's entries, and have nothing computed twice."""
    for name, entry in list(EXPERIMENTS.items()):
        values = SHORT.get(name, {})
        parameters = tuple(dataclasses.replace(p, default=values.get(p.name, p.default)) for p in entry.parameters)
        monkeypatch.setitem(EXPERIMENTS, name, dataclasses.replace(entry, compute=_once(entry), parameters=parameters))


def _once(entry: Experiment) -> Callable[..., Any]:
    def compute(**values: Any) -> Any:
        key = entry.name, repr(sorted(values.items()))
        if key not in _FOUND:
            _FOUND[key] = entry.compute(**values)
        return _FOUND[key]

    return compute
