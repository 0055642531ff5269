"""What can be taken home: a picture of the screen, the curves of the run, and the folder that it is kept in."""

from __future__ import annotations

import contextlib
import csv
import re
import zipfile
from pathlib import Path

import numpy as np

from tui.record import CURVES, Record
from tui.view import View


def stem(view: View) -> str:
    """A name for files of this run at this step: fastnn-digits-step1840."""
    data = re.sub(r"\W+", "-", Path(view.config.data).stem).strip("-") or "data"
    return f"fastnn-{data}-step{view.snapshot.step if view.snapshot else 0}"


def write_csv(path: Path, record: Record) -> None:
    """Write the curves, a row a step. Raises OSError."""
    columns = {name: record.curve(name) for name in CURVES}
    steps = np.unique(np.concatenate([x for x, _ in columns.values()]))
    values = {name: dict(zip(x.tolist(), y.tolist(), strict=True)) for name, (x, y) in columns.items()}
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(("step", *CURVES))
        for step in steps.tolist():
            writer.writerow((int(step), *(_text(values[name].get(step)) for name in CURVES)))


def write_folder(path: Path, folder: Path) -> None:
    """Write a ZIP file of a run's folder, but for its lock. Raises OSError."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for file in sorted(folder.rglob("*")):
            if file.is_file() and file.name != "lock":
                with contextlib.suppress(FileNotFoundError):  # training goes on, and old checkpoints go
                    archive.write(file, Path(folder.name) / file.relative_to(folder))


def _text(value: float | None) -> str:
    return "" if value is None else repr(value)
