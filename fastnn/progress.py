"""What `fastnn` shows on standard error while it trains or compiles: a bar on a terminal, plain lines in a log file."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fastnn.training import Snapshot


def open_progress(steps: int, *, quiet: bool) -> Progress:
    """The progress of `steps` updates, of the kind that fits standard error; `quiet` leaves out the plain lines."""
    if sys.stderr.isatty():
        return _Bar(steps)
    return Progress() if quiet else _Lines(steps)


@contextlib.contextmanager
def show_parts() -> Iterator[Callable[[int, int, str], None]]:
    """Progress of work in named parts: gives show(number, of how many, name), to be called before each part."""
    if not sys.stderr.isatty():
        yield lambda number, count, name: print(f"{number + 1}/{count} {name}", file=sys.stderr, flush=True)
        return
    from rich import progress
    from rich.console import Console

    columns = (
        progress.BarColumn(bar_width=20),
        progress.MofNCompleteColumn(),
        progress.TextColumn("{task.description}"),
    )
    with progress.Progress(*columns, console=Console(stderr=True), auto_refresh=False, transient=True) as bar:
        task = bar.add_task("")

        def show(number: int, count: int, name: str) -> None:
            bar.update(task, completed=number, total=count, description=name, refresh=True)

        yield show


class Progress:
    """No progress; and what the two kinds below have in common. A context manager around a training."""

    def __enter__(self) -> None:
        """Begin."""

    def __exit__(self, *_: object) -> None:
        """End."""

    def show(self, snapshot: Snapshot) -> None:
        """Called with every snapshot."""


def _numbers(snapshot: Snapshot) -> str:
    text = f"loss {snapshot.loss:.4g}"
    if snapshot.val_accuracy is not None:
        return f"{text}, test accuracy {snapshot.val_accuracy:.2%}"
    return text if snapshot.val_loss is None else f"{text}, test loss {snapshot.val_loss:.4g}"


class _Lines(Progress):
    """A line an epoch for log files, but not more than one a second."""

    def __init__(self, steps: int) -> None:
        self._steps, self._next = steps, time.monotonic() + 1

    def show(self, snapshot: Snapshot) -> None:
        now = time.monotonic()
        if snapshot.epoch_ended and now >= self._next:
            self._next = now + 1
            ended = snapshot.step * snapshot.epochs // self._steps  # snapshot.epoch may be the next, which has begun
            print(f"epoch {ended}/{snapshot.epochs}: {_numbers(snapshot)}", file=sys.stderr, flush=True)


class _Bar(Progress):
    """One line that is drawn over itself on a terminal."""

    def __init__(self, steps: int) -> None:
        from rich import progress
        from rich.console import Console

        columns = (
            progress.TextColumn("{task.description}"),
            progress.BarColumn(bar_width=20),
            progress.TextColumn("{task.fields[numbers]}"),
            progress.TimeRemainingColumn(),
        )
        # Drawn by us, between chunks: rich's own thread would take the interpreter from the training.
        self._progress = progress.Progress(*columns, console=Console(stderr=True), auto_refresh=False, transient=True)
        self._task = self._progress.add_task("", total=steps, numbers="")
        self._next = 0.0

    def __enter__(self) -> None:
        self._progress.start()

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def show(self, snapshot: Snapshot) -> None:
        now = time.monotonic()
        if now >= self._next or snapshot.state != "running":
            self._next = now + 0.1
            text = f"epoch {snapshot.epoch}/{snapshot.epochs}"
            self._progress.update(self._task, completed=snapshot.step, description=text, numbers=_numbers(snapshot))
            self._progress.refresh()
