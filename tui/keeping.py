"""Runs kept on disk (fastnn.runs) for the UI: configurations to run files and back, and the folder of a run."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from fastnn.errors import DataError
from fastnn.runfile import RunFile
from fastnn.runs import RunFolder, read_metrics
from tui.config import RunConfig


def run_of(config: RunConfig) -> RunFile:
    """The run file of a configuration."""
    return RunFile(
        data=config.data,
        data_options=dict(config.loader),
        layers=config.layers,
        cell=config.cell or None,
        masks=config.masks,
        activation=config.activation,
        init=config.init,
        loss=config.loss or None,
        optimizer=config.optimizer,
        optimizer_options={**dict(config.settings), "lr": config.learning_rate},
        batch_size=config.batch_size,
        epochs=config.epochs,
        seed=config.seed,
        dtype=config.dtype,
        shuffle=config.shuffle,
        device=config.device,
        precision=config.precision,
    )


def config_of(run: RunFile, folder: str = "") -> RunConfig:
    """The configuration of a run file; what is left to the data is chosen as `fastnn train` does, the rate too.

    A batch size that the file leaves out is 32 here: the data is not loaded yet.
    """
    from fastnn.runfile import DEFAULT_BATCH, make_optimizer

    settings = dict(run.optimizer_options)
    rate = settings.pop("lr", None)
    if rate is None:
        rate = make_optimizer(run.optimizer, {}).lr
    return RunConfig(
        data=run.data,
        layers=tuple(run.layers),
        cell=run.cell or "",
        masks=run.masks,
        activation=run.activation,
        init=run.init,
        optimizer=run.optimizer,
        learning_rate=float(rate),
        batch_size=run.batch_size or DEFAULT_BATCH,
        epochs=run.epochs,
        seed=run.seed,
        loader=tuple(run.data_options.items()),
        settings=tuple(settings.items()),
        loss=run.loss or "",
        dtype=run.dtype,
        shuffle=run.shuffle,
        device=run.device,
        precision=run.precision,
        folder=folder,
    )


class Keeper:
    """Keeps a run in a folder that is made with its first step; called from the training thread alone."""

    def __init__(
        self, run: RunFile, trainer: Any, tell: Callable[[str, str], None], folder: RunFolder | None = None
    ) -> None:
        self._run, self._trainer, self._tell, self._folder = run, trainer, tell, folder
        self._failed = False
        self._left: Any = None  # a snapshot that is to be kept while the next chunk is trained
        self._helped = trainer.meanwhile(self._catch_up)  # whether there is such a while

    @property
    def path(self) -> str:
        """The folder; "" before there is one."""
        return "" if self._folder is None else str(self._folder.path)

    def follow(self, snapshot: Any) -> None:
        """Keep what a chunk has brought."""
        if self._folder is None and snapshot.step and not self._failed:
            try:
                self._folder = RunFolder.create(self._run)
            except DataError as reason:
                self._complain(str(reason))
            else:
                self._tell(f"this run is kept in {self.path}", "info")
        if self._folder is not None:
            later = self._helped and snapshot.state == "running"
            self._left = snapshot if later else None
            self._folder.follow(self._trainer, snapshot, later=later)
            self._complain(self._folder.problem)

    def _catch_up(self) -> None:
        """While a GPU trains: to write the hundreds of epochs of a second took 11 ms beside the drawing."""
        left, self._left = self._left, None
        if self._folder is not None and left is not None:
            self._folder.catch_up(self._trainer, left)
            self._complain(self._folder.problem)

    def back(self, snapshot: Any) -> None:
        """The run went back to this snapshot."""
        self._left = None
        if self._folder is not None:
            self._folder.back(self._trainer, snapshot)

    def note(self, text: str, level: str) -> None:
        """A line for the run's own log."""
        if self._folder is not None:
            self._folder.note(text, level)

    def close(self, snapshot: Any) -> None:
        """Keep all there is, and let go of the folder and of the trainer's calls."""
        self._trainer.meanwhile(None)
        if self._folder is not None:
            self._folder.close(self._trainer, snapshot)
            self._folder = None
            self._failed = True

    def _complain(self, problem: str) -> None:
        if problem and not self._failed:
            self._failed = True
            self._tell(problem, "error")


def curves(path: str | Path) -> dict[str, Any]:
    """Steps and columns of a kept run's metrics; empty when they cannot be read."""
    try:
        return read_metrics(Path(path))
    except DataError:
        return {}
