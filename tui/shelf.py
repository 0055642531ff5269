"""The kept runs as the Runs mode shows them: which, in what order, which of them marked. Knows no widget."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np

from fastnn.runs import RunInfo
from tui import numbers
from tui.keeping import curves
from tui.view import computing

MOST_MARKED = 6  # as many as have colors that can be told apart
METRICS = {"val_loss": "validation loss", "loss": "training loss", "val_accuracy": "validation accuracy",
           "accuracy": "training accuracy"}  # fmt: skip

REACHED = ("val loss", "val accuracy", "steps")


def _low(value: float | None) -> float:
    return math.inf if value is None else value


# By what runs are sorted, the best or newest first.
ORDERS: Mapping[str, Callable[[RunInfo], Any]] = {
    "newest": lambda info: -info.created,
    "loss": lambda info: _low(info.val_loss if info.val_loss is not None else info.loss),
    "accuracy": lambda info: -(info.val_accuracy or info.accuracy or 0.0),
    "steps": lambda info: -info.step,
    "data": lambda info: (info.run.data if info.run else "", -info.created),
}


def summary(info: RunInfo) -> dict[str, str]:
    """What a run is, as short texts by the names of the table's columns."""
    run = info.run
    if run is None:
        return {"data": "?", "network": "", "optimizer": ""}
    layers = "-".join(str(width) for width in run.layers) or "linear"
    rate = run.optimizer_options.get("lr")
    return {
        "data": run.data.rstrip("/").rsplit("/", 1)[-1],
        "network": f"{layers} {computing(run.cell or 'dense', run.activation)}",
        "optimizer": run.optimizer + (f" {numbers.rate(rate)}" if isinstance(rate, (int, float)) else ""),
    }


def facts(info: RunInfo) -> dict[str, str]:
    """All that a run is and has reached, as texts, for comparing."""
    found: dict[str, str] = {}
    for name, value in (info.run.table() if info.run else {}).items():
        if isinstance(value, Mapping):
            found |= {name if key == "name" else key: _text(item) for key, item in value.items()}
        else:
            found[name] = _text(value)
    reached = (numbers.loss(info.val_loss), numbers.percent(info.val_accuracy), numbers.count(info.step))
    found |= dict(zip(REACHED, (text.strip() for text in reached), strict=True))
    return found


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return numbers.rate(value)
    if isinstance(value, (list, tuple)):
        return "-".join(str(item) for item in value) or "none"
    return str(value).rstrip("/").rsplit("/", 1)[-1]


def compared(infos: Iterable[RunInfo]) -> list[tuple[str, list[str], bool]]:
    """A row a fact: its name, its text in each run ("" where a run lacks it), and whether the runs differ in it.

    What they have reached comes first, then what differs.
    """
    all_facts = [facts(info) for info in infos]
    names = list(dict.fromkeys(name for found in all_facts for name in found))
    rows = [(name, [found.get(name, "") for found in all_facts]) for name in names]
    marked = ((name, texts, len(set(texts)) > 1) for name, texts in rows)
    return sorted(marked, key=lambda row: (row[0] not in REACHED, not row[2]))


class Shelf:
    """The runs that are listed; `version` rises with every change that shows."""

    def __init__(self) -> None:
        self.version = 0
        self.order = "newest"
        self.filter = ""
        self.runs: list[RunInfo] = []  # those that fit the filter, in order
        self.marked: list[str] = []  # names
        self._all: list[RunInfo] = []
        self._selected = ""
        self._curves: dict[str, tuple[float, dict[str, np.ndarray]]] = {}

    @property
    def total(self) -> int:
        """How many there are, whatever the filter."""
        return len(self._all)

    @property
    def at(self) -> int:
        """The row of the selected run."""
        return next((row for row, info in enumerate(self.runs) if info.name == self._selected), 0)

    @property
    def selected(self) -> RunInfo | None:
        """The selected run."""
        return self.runs[self.at] if self.runs else None

    @property
    def shown(self) -> list[RunInfo]:
        """The runs whose curves are drawn and which are compared: the marked ones, else the selected one."""
        found = {info.name: info for info in self._all}
        marked = [found[name] for name in self.marked if name in found]
        return marked or ([self.selected] if self.selected else [])

    def take(self, infos: list[RunInfo]) -> None:
        """Show what is on disk now."""
        if infos != self._all:
            if not self._selected and infos:
                self._selected = infos[0].name
            row = self.at
            self._all = infos
            self._arrange()
            if self.runs and all(info.name != self._selected for info in self.runs):
                self._selected = self.runs[min(row, len(self.runs) - 1)].name
            self.marked = [name for name in self.marked if any(info.name == name for info in infos)]

    def _arrange(self) -> None:
        words = self.filter.lower().split()
        fitting = [info for info in self._all if all(word in self._words(info) for word in words)]
        self.runs = sorted(fitting, key=lambda info: (ORDERS[self.order](info), -info.created))
        self.version += 1

    @staticmethod
    def _words(info: RunInfo) -> str:
        return " ".join([info.name, info.state, *summary(info).values(), *facts(info).values()]).lower()

    def move(self, rows: int) -> None:
        """Select another row."""
        self.select(self.at + rows)

    def select(self, row: int) -> None:
        """Select this row, or the nearest."""
        if self.runs:
            self._selected = self.runs[min(max(row, 0), len(self.runs) - 1)].name
            self.version += 1

    def mark(self) -> bool:
        """Mark the selected run, or take its mark away; False when there are too many."""
        info = self.selected
        if info is None:
            return True
        if info.name in self.marked:
            self.marked = [name for name in self.marked if name != info.name]
        elif len(self.marked) >= MOST_MARKED:
            return False
        else:
            self.marked = [*self.marked, info.name]
        self.version += 1
        return True

    def unmark(self) -> None:
        """Take all marks away."""
        self.marked = []
        self.version += 1

    def sort(self) -> None:
        """Sort by the next order."""
        names = list(ORDERS)
        self.order = names[(names.index(self.order) + 1) % len(names)]
        self._arrange()

    def choose(self, text: str) -> None:
        """Show runs in which all of these words occur."""
        self.filter = text.strip()
        self._arrange()
        if self.runs and all(info.name != self._selected for info in self.runs):
            self._selected = self.runs[0].name

    def curve(self, info: RunInfo, metric: str) -> tuple[np.ndarray, np.ndarray]:
        """A run's metric over its steps, read again when the run has changed."""
        kept = self._curves.get(info.name)
        if kept is None or kept[0] != info.updated:
            kept = self._curves[info.name] = (info.updated, curves(info.path))
            while len(self._curves) > 4 * MOST_MARKED:
                del self._curves[next(iter(self._curves))]
        nothing = np.empty(0)
        return kept[1].get("step", nothing), kept[1].get(metric, nothing)
