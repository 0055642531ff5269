"""Runs on disk: a folder each, which a crash or a kill leaves readable, and which training goes on from, bit by bit.

config.toml    the run, as fastnn.runfile writes it
metrics.csv    a line an epoch, numbers as Python's repr writes them, so that they read back to the same bits
checkpoints/   the last few moments as safetensors, with the optimizer's memory; each loads as a network, too
run.json       where the run is, about once a second
log.txt        what happened, with time and level
data.sha256    a hash of the file that is trained on, if it is one
lock           held by the process that trains; the system lets go of it, however the process ends

The folders are in $FASTNN_RUNS, else in the user's data folder (`platformdirs`), under names that sort by time.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import re
import secrets
import shutil
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from itertools import zip_longest
from pathlib import Path
from typing import Any

import numpy as np

from fastnn import checkpoint, runfile
from fastnn.datasets import digest
from fastnn.errors import DataError
from fastnn.files import replace_file
from fastnn.runfile import Prepared, RunFile
from fastnn.runlock import RunLock, is_live

CONFIG, METRICS, STATUS, LOG, DATA = "config.toml", "metrics.csv", "run.json", "log.txt", "data.sha256"
COLUMNS = ("epoch", "step", "loss", "accuracy", "val_loss", "val_accuracy", "learning_rate", "seconds")
MOST_CHECKPOINTS = 4
CHECKPOINT_SECONDS = 20.0  # between two while training runs
REST_SECONDS = 2.0  # between two at pauses
STATUS_SECONDS = 1.0
SHARE = 0.01  # of the time that checkpoints may take
_STEPS = re.compile(r"step-(\d{12})\.safetensors")


def default_root(environment: Mapping[str, str] = os.environ) -> Path:
    """Where runs are kept: $FASTNN_RUNS, else `runs` in the user's data folder."""
    if environment.get("FASTNN_RUNS"):
        return Path(environment["FASTNN_RUNS"]).absolute()
    import platformdirs

    return Path(platformdirs.user_data_dir("fastnn")) / "runs"


class RunFolder:
    """The folder of one run, being written; every method is called from the thread that trains.

    What cannot be written (a full disk) does not end the training: `problem` says so once, and nothing more is written.
    """

    def __init__(self, path: Path, lock: RunLock) -> None:
        self.path = path
        self.problem = ""
        self._lock = lock
        self._rows = 0  # epochs in metrics.csv
        self._checkpoint = -1  # the step of the newest one
        self._next = time.monotonic() + CHECKPOINT_SECONDS
        self._rested = self._told = -math.inf

    @classmethod
    def create(cls, run: RunFile, root: Path | None = None) -> RunFolder:
        """A new folder for `run`; it appears complete or not at all. Raises DataError."""
        root = default_root() if root is None else root
        words = re.sub(r"[^A-Za-z0-9]+", "-", Path(run.data).stem).strip("-")[:24] or "data"
        new = root / f".new-{secrets.token_hex(6)}"
        try:
            (new / "checkpoints").mkdir(parents=True)
            (new / CONFIG).write_bytes(run.text().encode())
            (new / METRICS).write_text(",".join(COLUMNS) + "\n", "utf-8")
            (new / STATUS).write_text(json.dumps({"state": "ready", "epochs": run.epochs}), "utf-8")
            if hashed := digest(run.data):
                (new / DATA).write_text(hashed, "utf-8")
            path = root / f"{datetime.now():%Y%m%d-%H%M%S}-{words}-{secrets.token_hex(2)}"
            new.rename(path)
        except (OSError, ValueError) as reason:
            shutil.rmtree(new, ignore_errors=True)
            raise DataError(f"runs: {root}: a folder for the run cannot be made ({reason})") from reason
        return cls(path, RunLock(path))

    def follow(self, trainer: Any, snapshot: Any, *, later: bool = False) -> None:
        """Write what a chunk of training has brought; `later`: what `catch_up` writes can wait for it."""
        now = time.monotonic()
        resting = snapshot.state != "running"
        if not (resting or (now >= self._told + STATUS_SECONDS and not later) or now >= self._next):
            return
        with self._guarded():
            self._append(trainer, snapshot)
            over = snapshot.state in ("stopped", "finished", "diverged")
            if over or now >= self._next or (resting and now >= self._rested + REST_SECONDS):
                self._save(trainer)
            self._tell(snapshot)

    def catch_up(self, trainer: Any, snapshot: Any) -> None:
        """Write the metrics up to this snapshot, and where the run was, about once a second: all that can be written
        while the next chunk is trained."""
        if time.monotonic() >= self._told + STATUS_SECONDS:
            with self._guarded():
                self._append(trainer, snapshot)
                self._tell(snapshot)

    def back(self, trainer: Any, snapshot: Any) -> None:
        """The trainer has gone back: what came after is taken away."""
        with self._guarded():
            for step, path in self._checkpoints():
                if step > trainer.current_step:
                    path.unlink()
            self._checkpoint = -1
            _cut_metrics(self.path / METRICS, min(self._rows, len(trainer.history.loss)))
            self._rows = min(self._rows, len(trainer.history.loss))
            self._append(trainer, snapshot)
            self._tell(snapshot)
        self.note(f"went back to step {trainer.current_step}")

    def note(self, text: str, level: str = "info") -> None:
        """A line in the log."""
        with self._guarded(), open(self.path / LOG, "a", encoding="utf-8") as file:
            stamp = datetime.now().astimezone().isoformat(timespec="milliseconds")
            file.write(f"{stamp} {level.upper():<7} {' '.join(text.split())}\n")

    def close(self, trainer: Any, snapshot: Any) -> None:
        """Write all there is, and let go of the folder. A run that was running has stopped."""
        with self._guarded():
            self._append(trainer, snapshot)
            self._save(trainer)
            self._tell(replace(snapshot, state="stopped") if snapshot.state == "running" else snapshot)
        self._lock.release()

    @contextlib.contextmanager
    def _guarded(self) -> Any:
        try:
            yield
        except (OSError, DataError, ValueError) as reason:
            self.problem = self.problem or f"the run is not kept any more: {reason}"

    def _append(self, trainer: Any, snapshot: Any) -> None:
        """The epochs that metrics.csv lacks."""
        history, first = trainer.history, self._rows
        if self.problem or len(history.loss) <= first:
            return
        columns = [map(repr, getattr(history, name)[first:]) for name in COLUMNS[2:6]]
        end = f"{float(snapshot.learning_rate)!r},{float(snapshot.seconds)!r}\n"
        lines = [
            f"{epoch},{epoch * trainer.steps_per_epoch},{','.join(values)},{end}"
            for epoch, values in enumerate(zip_longest(*columns, fillvalue=""), first + 1)
        ]
        with open(self.path / METRICS, "a", encoding="utf-8", newline="") as file:
            file.write("".join(lines))
        self._rows = len(history.loss)

    def _save(self, trainer: Any) -> None:
        """A checkpoint of now; the oldest one goes. The metrics are written before it."""
        began = time.monotonic()
        if self.problem or trainer.current_step == self._checkpoint:
            return
        state = trainer.keep()
        latest = {name: getattr(state.snapshot, name) for name in ("loss", "accuracy", "val_loss", "val_accuracy")}
        training = {
            "step": state.step,
            "learning_rate": state.learning_rate,
            "seconds": state.seconds,
            "epoch_sums": state.epoch_sums.tolist(),
            "latest": {name: or_none(value) for name, value in latest.items()},
        }
        path = self.path / "checkpoints" / f"step-{state.step:012d}.safetensors"
        memory = [array for array in state.memory if array.size]  # empty where the optimizer has none
        checkpoint.write(path, trainer.network.config(), state.parameters, memory, training)
        self._checkpoint = state.step
        for _, old in self._checkpoints()[:-MOST_CHECKPOINTS]:
            old.unlink()
        self._rested = time.monotonic()
        self._next = self._rested + max(CHECKPOINT_SECONDS, (self._rested - began) / SHARE)

    def _tell(self, snapshot: Any) -> None:
        """Where the run is, for those who list it."""
        if self.problem:
            return
        names = ("state", "step", "epoch", "epochs", "learning_rate", "seconds", "samples_per_second", "message")
        told = {name: getattr(snapshot, name) for name in (*names, "loss", "accuracy", "val_loss", "val_accuracy")}
        told = {name: or_none(value) if isinstance(value, float) else value for name, value in told.items()}
        replace_file(self.path / STATUS, json.dumps(told, allow_nan=False).encode(), sync=False)
        self._told = time.monotonic()

    def _checkpoints(self) -> list[tuple[int, Path]]:
        return checkpoints(self.path)


def checkpoints(path: Path) -> list[tuple[int, Path]]:
    """The checkpoints of a run's folder by step, oldest first."""
    found = [(_STEPS.fullmatch(entry.name), entry) for entry in (path / "checkpoints").iterdir()]
    return sorted((int(match[1]), entry) for match, entry in found if match)


def or_none(value: float | None) -> float | None:
    """A number as JSON has it, where there is no NaN and no infinity."""
    return value if value is not None and math.isfinite(value) else None


# ---- going on --------------------------------------------------------------------------------------------------------


def resume(path: Path, *, data: Any = None, threads: int | None = None) -> tuple[RunFolder, Prepared]:
    """Open the folder at `path`, and put a trainer where its newest checkpoint that can be read is.

    Without any checkpoint the run begins again. Raises DataError for a folder that is no run or is being trained
    already, where no checkpoint fits or can be read, for a file of data that is not what it was, and whatever
    fastnn.runfile.build does; the folder then stays as it was.
    """
    if not (path / CONFIG).is_file():
        raise DataError(f"{path}: no run is kept there; expected a folder with {CONFIG}")
    lock = RunLock(path)
    try:
        run = runfile.read(path / CONFIG)
        _check_data(path, run)
        prepared = runfile.build(run, data=data, threads=threads)
        trainer = prepared.trainer
        folder = RunFolder(path, lock)
        reasons = []
        for step, file in reversed(checkpoints(path)):
            try:
                trainer.restore(_state(path, file, trainer, prepared.run.epochs))
            except (DataError, ValueError, KeyError, TypeError) as reason:
                reasons.append(f"{file.name} is passed over: {reason}")
                continue
            folder._checkpoint = step
            break
        else:
            if reasons:
                raise DataError(f"{path}: {reasons[0]}; expected one of this run, or no checkpoint to begin again")
        _cut_metrics(path / METRICS, len(trainer.history.loss))
        folder._rows = len(trainer.history.loss)
        for step, file in checkpoints(path):  # damaged ones, which lie ahead
            if step > trainer.current_step:
                file.unlink()
        for text in reasons:
            folder.note(text, "warning")
        folder.note(f"taken up again at step {trainer.current_step}")
    except OSError as reason:
        lock.release()
        raise DataError(f"{path}: cannot be taken up again ({reason})") from reason
    except BaseException:
        lock.release()
        raise
    return folder, prepared


def _check_data(path: Path, run: RunFile) -> None:
    """Raise DataError if the file that the run was trained on has changed; a missing one is the loader's to tell."""
    kept, now = path / DATA, digest(run.data)
    if now and kept.is_file() and kept.read_text("utf-8") != now:
        raise DataError(f"{run.data}: has changed since {path.name} was trained on it; expected the same, or a new run")


def _state(path: Path, file: Path, trainer: Any, epochs: int) -> Any:
    """The moment that a checkpoint holds, its history taken from the metrics; raises DataError or ValueError."""
    from fastnn.training import History, Snapshot, State

    training, parameters, memory = checkpoint.read_training(file)
    step, rate, seconds = training["step"], training["learning_rate"], training["seconds"]
    done = step // trainer.steps_per_epoch
    metrics = read_metrics(path)
    if len(metrics["epoch"]) < done:
        raise DataError(f"{METRICS} ends before the checkpoint")
    columns = {name: metrics[name][:done] for name in COLUMNS[2:6]}
    history = History(**{name: [] if np.isnan(column).all() else column.tolist() for name, column in columns.items()})
    latest = {name: value for name, value in training["latest"].items() if value is not None}
    snapshot = Snapshot(
        step=step, epoch=max(1, -(-step // trainer.steps_per_epoch)), epochs=epochs, learning_rate=rate,
        samples_per_second=0.0, seconds=seconds, state="paused",
        **{"loss": math.nan, "accuracy": None, "val_loss": None, "val_accuracy": None, **latest},
    )  # fmt: skip
    sums = np.array(training["epoch_sums"], np.float64)
    missing = len(trainer.keep().memory) - len(memory)
    memory = (*memory, *[np.empty(0, parameters.dtype)] * missing)
    return State(step, parameters, memory, rate, seconds, sums, history, len(history.loss), snapshot)


# ---- reading ---------------------------------------------------------------------------------------------------------


def read_metrics(path: Path) -> dict[str, np.ndarray]:
    """The columns of a run's metrics, float64, NaN where nothing is written; a last line cut short is left out."""
    try:
        lines = (path / METRICS).read_text("utf-8").split("\n")[:-1]
        rows = [[float(cell) if cell else math.nan for cell in line.split(",")] for line in lines[1:]]
        table = np.array(rows, np.float64).reshape(len(rows), len(COLUMNS))
    except (OSError, ValueError) as reason:
        raise DataError(f"{path / METRICS}: cannot be read ({reason})") from reason
    return dict(zip(COLUMNS, np.ascontiguousarray(table.T), strict=True))


def _cut_metrics(path: Path, rows: int) -> None:
    """Keep the first `rows` lines after the head; a file that is gone is made anew."""
    if not path.exists():
        path.write_text(",".join(COLUMNS) + "\n", "utf-8")
    with open(path, "rb") as file:
        kept = [line for line, _ in zip(file, range(rows + 1), strict=False)]
    if path.stat().st_size != sum(map(len, kept)):
        replace_file(path, b"".join(kept))


@dataclass(frozen=True)
class RunInfo:
    """A run as it is on disk. `state` is "ready", "running", "paused", "stopped", "finished", "diverged",
    "interrupted" (its process ended without a word) or "damaged" (then `error` says why, and `run` may be None).

    `live`: a process has it open now. Numbers that are not known are None; `created` and `updated` are POSIX times.
    """

    path: Path
    run: RunFile | None
    state: str
    live: bool
    created: float
    updated: float
    step: int = 0
    epoch: int = 0
    epochs: int = 0
    seconds: float = 0.0
    loss: float | None = None
    accuracy: float | None = None
    val_loss: float | None = None
    val_accuracy: float | None = None
    message: str = ""
    error: str = ""

    @property
    def name(self) -> str:
        return self.path.name


def list_runs(root: Path | None = None) -> list[RunInfo]:
    """All runs, the newest first; a damaged one is listed with what is wrong. No folder: no runs. Raises DataError."""
    root = default_root() if root is None else root
    try:
        folders = [entry for entry in root.iterdir() if not entry.name.startswith(".") and entry.is_dir()]
    except FileNotFoundError:
        return []
    except OSError as reason:
        raise DataError(f"runs: {root}: cannot be read ({reason.strerror})") from reason
    found = [info for path in folders if (info := read_info(path)) is not None]
    return sorted(found, key=lambda info: (info.created, info.name), reverse=True)


def read_info(path: Path) -> RunInfo | None:
    """What is in one folder; None where there is none, or it is no run's."""
    try:
        created, live = _created(path), is_live(path)
        if not (path / CONFIG).exists():
            return None
        updated = max((path / name).stat().st_mtime for name in (STATUS, METRICS, CONFIG) if (path / name).exists())
    except OSError:  # deleted meanwhile
        return None
    run, error = None, ""
    told: dict[str, Any] = {}
    try:
        run = runfile.read(path / CONFIG)
        told = json.loads((path / STATUS).read_bytes())
        known = {name: value for name, value in told.items() if name in RunInfo.__dataclass_fields__}
        info = RunInfo(path, run, live=live, created=created, updated=updated, **{"state": "ready", **known})
        if info.state == "running" and not live:
            info = replace(info, state="interrupted")
    except (OSError, ValueError, TypeError, AttributeError) as reason:
        error = str(reason)
        info = RunInfo(path, run, "damaged", live, created, updated, error=error)
    return info


def _created(path: Path) -> float:
    try:
        return datetime.strptime(path.name[:15], "%Y%m%d-%H%M%S").timestamp()
    except ValueError:
        return path.stat().st_mtime


def delete(path: Path) -> None:
    """Delete a run; it is gone at once or stays as it was. Raises DataError for one that is open, or no run."""
    if not (path / CONFIG).is_file():
        raise DataError(f"{path}: no run is kept there; expected a folder with {CONFIG}")
    if is_live(path):
        raise DataError(f"{path.name}: is open; expected a run that no process trains")
    try:
        gone = path.rename(path.with_name(f".deleted-{secrets.token_hex(6)}"))
        shutil.rmtree(gone)
    except OSError as reason:
        raise DataError(f"{path.name}: cannot be deleted ({reason.strerror or reason})") from reason
