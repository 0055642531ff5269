"""Training in chunks: each is one compiled call of 20 to 50 ms, and between two of them commands take effect.

The same loop serves scripts (`Network.fit`), the command line and the terminal UI.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from fastnn import compiler
from fastnn.activations import ACTIVATIONS
from fastnn.cpu.engine import Result, Runner
from fastnn.errors import DivergenceError, check_finite, check_float, check_int, shown
from fastnn.network import Network
from fastnn.optimizers import SGD, Optimizer
from fastnn.task import check_optimizer, check_task

BINS = 30
CHUNK_SECONDS = 0.035
MOST_STEPS = 50_000  # in a chunk: bounds its arrays


@dataclass(frozen=True)
class Histogram:
    """`counts` (30,) int64 of the values between `edges` (31,) float64."""

    counts: np.ndarray
    edges: np.ndarray


@dataclass(frozen=True)
class LayerSnapshot:
    """A Dense layer's outputs on the last batch. `zeros` and `saturated` are shares of all values: exact zeros, and
    those within 1 % of the range from an end that the activation only approaches."""

    name: str
    activations: Histogram
    mean: float
    std: float
    zeros: float
    saturated: float


@dataclass(frozen=True)
class Snapshot:
    """What training looks like after a chunk. Losses are means over samples; `seconds` leaves pauses out.

    `step` counts updates since the trainer was made, `epoch` is the one being trained or just completed, from 1.
    `loss` and `accuracy` are of the samples trained since the snapshot before (dropout included); the `val_` ones of
    the latest epoch's end. Accuracies are None where targets are not classes.
    """

    step: int
    epoch: int
    epochs: int
    loss: float
    accuracy: float | None
    val_loss: float | None
    val_accuracy: float | None
    learning_rate: float
    samples_per_second: float
    seconds: float
    state: str
    message: str = ""
    layers: tuple[LayerSnapshot, ...] = ()
    epoch_ended: bool = False


@dataclass
class History:
    """One number for each completed epoch; the accuracies are empty where targets are not classes."""

    loss: list[float] = field(default_factory=list)
    accuracy: list[float] = field(default_factory=list)
    val_loss: list[float] = field(default_factory=list)
    val_accuracy: list[float] = field(default_factory=list)


def _pair(data: Any, x: str, y: str) -> tuple[Any, Any]:
    for name in (x, y):
        if not hasattr(data, name):
            wanted = "a data set with x_train, y_train and, unless validation is given, x_test and y_test"
            raise TypeError(f"data: {shown(data)} has no {name}; expected {wanted}")
    return getattr(data, x), getattr(data, y)


def _added(total: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """total + the sum of rows, one row after the other: the same bits wherever chunks begin and end."""
    sums: np.ndarray = np.add.accumulate(np.vstack([total, rows]), axis=0)[-1]
    return sums


class Trainer:
    """Trains `network` on `data` (x_train, y_train, x_test, y_test) and yields a Snapshot a chunk.

    `optimizer` is SGD(0.1) unless given. `validation`: True for the data's own test part, None or False for none, or a
    pair (x, y). `threads`: None chooses by what steps take; results are the same bits either way. Commands may come
    from any thread. Raises TypeError and ValueError, naming the argument, before anything is changed.
    """

    def __init__(
        self,
        network: Network,
        data: Any,
        *,
        loss: str = "cross_entropy",
        optimizer: Optimizer | None = None,
        batch_size: int = 32,
        shuffle: bool = True,
        validation: Any = True,
        threads: int | None = None,
        observe: bool = True,
    ) -> None:
        if not isinstance(network, Network):
            raise TypeError(f"network: {shown(network)}; expected a fastnn.Network")
        optimizer = check_optimizer("optimizer", SGD(0.1) if optimizer is None else optimizer)
        if validation is True:
            validation = _pair(data, "x_test", "y_test")
        task = check_task(
            network, *_pair(data, "x_train", "y_train"), loss=loss, batch_size=batch_size, shuffle=shuffle,
            validation=validation, threads=threads,
        )  # fmt: skip
        check_finite("network.parameters", network.storage)
        self.network = network
        self._classes = task.classes
        self.history = History()
        self.state = "idle"
        self.learning_rate = optimizer.lr
        self._observe = observe
        with compiler.preparing():
            self._runner = Runner(
                network.architecture, network.storage, task.data, loss=loss, optimizer=optimizer, batch=task.batch,
                shuffle=task.shuffle, validation=task.validation, threads=task.threads, first_epoch=network.epochs,
            )  # fmt: skip
            self._runner.prepare(observe)
        network.loss_name = loss
        self._first_epoch = network.epochs
        self._changed = threading.Condition()
        self._paused = self._stopping = False
        self._budget = 0  # steps that are still wanted while paused; -1: to the end of the epoch
        self._chunk = 1
        self._seconds = 0.0
        self._epoch_sums = np.zeros(3)  # loss, hits, samples of the epoch so far
        self._latest = Snapshot(0, 1, 0, float("nan"), None, None, None, optimizer.lr, 0.0, 0.0, "idle")

    # ---- commands, from any thread -----------------------------------------------------------------------------------

    def pause(self) -> None:
        """Wait after the current chunk."""
        self._command(paused=True)

    def resume(self) -> None:
        self._command(paused=False)

    def step(self) -> None:
        """Make one update, then wait."""
        with self._changed:
            waiting = self._budget if self._paused else 0  # two commands before a chunk are two steps
            self._paused, self._budget = True, max(0, waiting) + 1
            self._changed.notify_all()

    def finish_epoch(self) -> None:
        """Go on to the end of the epoch, then wait."""
        self._command(paused=True, budget=-1)

    def stop(self) -> None:
        """End the run after the current chunk."""
        with self._changed:
            self._stopping = True
            self._changed.notify_all()

    def set_learning_rate(self, rate: float) -> None:
        """Use `rate` from the next chunk on; raises ValueError for a negative or non-finite one."""
        self.learning_rate = check_float("learning_rate", rate, 0)

    def _command(self, paused: bool, budget: int = 0) -> None:
        with self._changed:
            self._paused, self._budget = paused, budget
            self._changed.notify_all()

    # ---- progress ----------------------------------------------------------------------------------------------------

    @property
    def current_step(self) -> int:
        """Updates done since the trainer was made."""
        return self._runner.step

    @property
    def epoch(self) -> int:
        """Epochs completed since the trainer was made."""
        return self._runner.epoch

    @property
    def steps_per_epoch(self) -> int:
        return self._runner.per_epoch

    @property
    def batch_size(self) -> int:
        return self._runner.batch

    @property
    def threads(self) -> int:
        """How many threads train."""
        return self._runner.workers

    # ---- the loop ----------------------------------------------------------------------------------------------------

    def run(self, epochs: int, *, paused: bool = False) -> Iterator[Snapshot]:
        """Train `epochs` more epochs; the last snapshot's state is "finished", "stopped" or "diverged".

        Yields one snapshot a chunk, one with state "paused" when it begins to wait. Raises ValueError for epochs < 1.
        """
        epochs = check_int("epochs", epochs)
        # Here and not in the generator, which begins with its first snapshot: a command may come before that.
        with self._changed:
            self._stopping, self._paused, self._budget = False, bool(paused), 0
        return self._run(epochs)

    def _run(self, epochs: int) -> Iterator[Snapshot]:
        runner = self._runner
        end = (runner.epoch + epochs) * runner.per_epoch
        self._latest = replace(self._latest, epochs=runner.epoch + epochs)
        try:
            while True:
                if self._must_wait():
                    if self.state != "paused":
                        yield self._say("paused")
                    with self._changed:
                        while self._paused and not self._budget and not self._stopping:
                            self._changed.wait()
                if self._stopping:
                    yield self._say("stopped")
                    return
                steps = self._wanted(end - runner.step)
                began = time.perf_counter()
                result = runner.run(steps, self.learning_rate)
                took = time.perf_counter() - began
                self._adapt(len(result.losses), took)
                yield self._take(result, took, end)
                if self.state in ("finished", "diverged"):
                    return
        finally:
            runner.close()
            if self.state in ("running", "paused"):  # the caller went away
                self.state = "stopped"

    def _must_wait(self) -> bool:
        with self._changed:
            return self._paused and not self._budget and not self._stopping

    def _wanted(self, left: int) -> int:
        with self._changed:
            steps = min(left, self._chunk)
            if self._paused:
                budget = self._runner.steps_left_in_epoch if self._budget < 0 else self._budget
                steps = min(steps, budget)
                self._budget = -1 if self._budget < 0 and steps < budget else max(0, budget - steps)
            return max(1, steps)

    def _adapt(self, steps: int, took: float) -> None:
        # At most eight times more at once: the first chunk may have been slowed by anything.
        if steps == self._chunk or took > CHUNK_SECONDS:
            wanted = int(steps * CHUNK_SECONDS / max(took, 1e-6))
            self._chunk = max(1, min(wanted, 8 * self._chunk, MOST_STEPS))

    def _say(self, state: str) -> Snapshot:
        self.state = state
        layers = self._latest.layers
        if self._observe and not layers:  # before the first step: the first batch, as the network begins
            self._runner.look_ahead()
            layers = self._look()
        self._latest = replace(
            self._latest, state=state, epoch_ended=False, learning_rate=self.learning_rate, layers=layers
        )
        return self._latest

    def _take(self, result: Result, took: float, end: int) -> Snapshot:
        """Account for a chunk that has run."""
        runner = self._runner
        self._seconds += took
        self.network.epochs = self._first_epoch + runner.epoch
        trained = int(result.rows.sum())
        self._record(result)
        with self._changed:
            waiting = self._paused and not self._budget
        going = "finished" if runner.step >= end else "paused" if waiting else "running"
        self.state = "diverged" if result.diverged else going
        latest = self._latest
        if trained:
            accuracy = float(result.hits.sum() / trained) if self._classes else None
            latest = replace(latest, loss=float(result.losses @ result.rows / trained), accuracy=accuracy)
        if len(result.validation):
            latest = replace(latest, val_loss=self.history.val_loss[-1])
            if self._classes:
                latest = replace(latest, val_accuracy=self.history.val_accuracy[-1])
        ended = runner.step % runner.per_epoch == 0 or len(result.rows) > runner.step % runner.per_epoch
        self._latest = replace(
            latest,
            step=runner.step,
            epoch=max(1, -(-runner.step // runner.per_epoch)),
            learning_rate=self.learning_rate,
            samples_per_second=trained / took if took > 0 else 0.0,
            seconds=self._seconds,
            state=self.state,
            message=str(self.divergence()) if result.diverged else "",
            layers=self._look() if self._observe and not result.diverged else latest.layers,
            epoch_ended=bool(trained and ended),
        )
        return self._latest

    def _record(self, result: Result) -> None:
        """Add a chunk's steps to the sums of their epochs, and the epochs that ended to the history."""
        runner, n = self._runner, len(result.rows)
        columns = np.stack([result.losses * result.rows, result.hits, result.rows], 1) if n else np.zeros((0, 3))
        first = runner.step - n
        cuts = range(runner.per_epoch - first % runner.per_epoch, n + 1, runner.per_epoch)
        begin = 0
        for cut in cuts:
            loss, hits, count = _added(self._epoch_sums, columns[begin:cut])
            self._epoch_sums = np.zeros(3)
            self.history.loss.append(float(loss / count))
            if self._classes:
                self.history.accuracy.append(float(hits / count))
            begin = cut
        self._epoch_sums = _added(self._epoch_sums, columns[begin:])
        for loss, hits in result.validation:
            self.history.val_loss.append(float(loss))
            if self._classes:
                self.history.val_accuracy.append(float(hits / runner.validation.samples))

    def divergence(self) -> DivergenceError:
        """The error for a run that stopped at NaN or Inf."""
        step = self._runner.step
        return DivergenceError(step // self._runner.per_epoch + 1, step + 1, self.history)

    def _look(self) -> tuple[LayerSnapshot, ...]:
        layers = []
        for number, layer in enumerate(self.network.dense):
            entry = ACTIVATIONS[layer.activation]
            ends = entry.range if entry.saturates else (float("nan"), float("nan"))
            counts, summary = np.zeros(BINS, np.int64), np.zeros(6)
            self._runner.layer_values(number, counts, summary, ends)
            low, high, mean, std, zeros, saturated = (float(v) for v in summary)
            if not np.isfinite(high - low):  # beyond what a number can hold: nothing to draw
                counts, low, high = np.zeros(BINS, np.int64), -0.5, 0.5
            elif not high > low:
                low, high = low - 0.5, high + 0.5
            edges = np.linspace(low, high, BINS + 1)
            name = f"L{number + 1} {layer.activation} {layer.units}"
            layers.append(LayerSnapshot(name, Histogram(counts, edges), mean, std, zeros, saturated))
        return tuple(layers)
