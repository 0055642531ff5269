"""What can be taken home: a picture of the screen, and the curves of the run."""

from __future__ import annotations

import csv
import re
from pathlib import Path

import numpy as np

from tui.record import CURVES, Record
from tui.view import View


def stem(view: View) -> str:
    """A name for files of this run at this step: fastnn-digits-step1840."""
    data = re.sub(r"\W+", "-", Path(view.config.data).stem).strip("-") or "data"
    return f"fastnn-{data}-step{view.snapshot.step if view.snapshot else 0}"


def write_csv(path: Path, record: Record) -> int:
    """Write the curves, a row a step; returns the number of rows. Raises OSError."""
    columns = {name: record.curve(name) for name in CURVES}
    steps = np.unique(np.concatenate([x for x, _ in columns.values()]))
    values = {name: dict(zip(x.tolist(), y.tolist(), strict=True)) for name, (x, y) in columns.items()}
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(("step", *CURVES))
        for step in steps.tolist():
            writer.writerow((int(step), *(_text(values[name].get(step)) for name in CURVES)))
    return len(steps)


def _text(value: float | None) -> str:
    return "" if value is None else repr(value)
