"""Folders of kept runs that look the same on every machine and at every time."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

from fastnn.runfile import RunFile
from fastnn.runs import COLUMNS

BASE = RunFile(
    data="moons", layers=(8, 8), loss="cross_entropy", optimizer="adam", optimizer_options={"lr": 0.01},
    batch_size=32, epochs=40, seed=1,
)  # fmt: skip
RUNS = (
    ("20260301-101500-digits-aa01", replace(BASE, data="digits", layers=(64, 32), epochs=30), "finished", 30, 0.08),
    ("20260301-114200-moons-aa02", BASE, "finished", 40, 0.21),
    ("20260302-090300-moons-aa03", replace(BASE, optimizer="sgd", optimizer_options={"lr": 0.5}), "stopped", 25, 0.34),
    ("20260302-171000-spirals-aa04", replace(BASE, data="spirals", activation="tanh"), "running", 12, 0.61),
    ("20260303-081900-moons-aa05", replace(BASE, optimizer="sgd", optimizer_options={"lr": 1e6}), "diverged", 1, 9.0),
)


def add(root: Path, name: str, run: RunFile, state: str, epochs: int, last: float) -> Path:
    """One kept run whose validation loss fell to `last`."""
    path = root / name
    (path / "checkpoints").mkdir(parents=True)
    (path / "config.toml").write_text(run.text(), "utf-8")
    lines = [",".join(COLUMNS)]
    for epoch in range(1, epochs + 1):
        loss = last + math.exp(-epoch / 6)
        scores = (round(loss * 0.9, 4), round(1 - loss / 3, 4), round(loss, 4), round(1 - loss / 2.9, 4))
        lines.append(",".join(map(repr, (epoch, epoch * 25, *scores, 0.01, epoch * 0.5))))
    (path / "metrics.csv").write_text("\n".join(lines) + "\n", "utf-8")
    told = {
        "state": state, "step": epochs * 25, "epoch": epochs, "epochs": run.epochs, "learning_rate": 0.01,
        "seconds": epochs * 0.5, "loss": last * 0.9, "accuracy": 0.97, "val_loss": last, "val_accuracy": 1 - last / 12,
    }  # fmt: skip
    (path / "run.json").write_text(json.dumps(told), "utf-8")
    return path


def fill(root: Path) -> None:
    """All of RUNS, and one that is damaged."""
    for entry in RUNS:
        add(root, *entry)
    (add(root, "20260228-120000-iris-aa00", BASE, "finished", 3, 0.4) / "run.json").write_text("{")
