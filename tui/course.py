"""A run on its way: one chunk of training after the other, no faster than it may go. The training thread's."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

from tui.view import Trainer

CHUNK_SECONDS = 0.04  # of training at a limited speed


class Course:
    """Takes a trainer through its epochs. `moving` tells whether another chunk is wanted, and `due` when it may begin;
    `ended`, whether nothing more comes before `begin`."""

    def __init__(self, trainer: Trainer) -> None:
        self.moving, self.due = False, 0.0
        self._trainer = trainer
        self._fastest = trainer.most_steps  # the trainer's own limit of steps in a chunk
        self._limit: float | None = None
        self._snapshots: Iterator[Any] | None = None

    @property
    def ended(self) -> bool:
        return self._snapshots is None

    def begin(self, epochs: int) -> Any:
        """Take up so many epochs, at rest; the first snapshot."""
        self._snapshots = self._trainer.run(epochs, paused=True)
        return next(self._snapshots)

    def limit(self, steps: float | None) -> None:
        """Train so many steps a second at most; None: as fast as it goes."""
        self._limit, self.due = steps, 0.0
        self._trainer.most_steps = max(1, int(steps * CHUNK_SECONDS)) if steps else self._fastest

    def move(self, command: Callable[[], None]) -> None:
        """Give the trainer a command that it obeys with its next chunk."""
        command()
        self.moving, self.due = True, 0.0

    def advance(self, step: int) -> Any:
        """Train one chunk from this step on; its snapshot, or None when the epochs are over."""
        began = time.monotonic()
        snapshot = None if self._snapshots is None else next(self._snapshots, None)
        if snapshot is None:
            self._snapshots, self.moving = None, False
            return None
        self.moving = snapshot.state != "paused"
        if self._limit and self.moving:
            self.due = began + (snapshot.step - step) / self._limit
        return snapshot

    def close(self) -> None:
        """Let go of the run."""
        close = getattr(self._snapshots, "close", None)
        if close is not None:
            close()
        self._snapshots, self.moving = None, False
