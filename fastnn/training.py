"""Training in chunks: each is one call of some 50 ms (on a GPU 100), and between two of them commands take effect.

The same loop serves scripts (`Network.fit`), the command line and the terminal UI.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np

from fastnn import compiler, parallel
from fastnn.errors import DivergenceError, check_choice, check_finite, check_float, check_int, shown
from fastnn.mapped import Mapped
from fastnn.network import Network
from fastnn.optimizers import SGD, Optimizer
from fastnn.runner import Kept, Result
from fastnn.snapshots import Histogram, History, LayerSnapshot, Snapshot, State
from fastnn.task import check_optimizer, check_task
from fastnn.watch import KINDS, Watch

__all__ = ["Histogram", "History", "LayerSnapshot", "Snapshot", "State", "Trainer"]

CHUNK_SECONDS = 0.05  # between two a millisecond goes by, in which nothing trains
MOST_STEPS = 50_000  # in a chunk: bounds its arrays


def _pair(data: Any, x: str, y: str) -> tuple[Any, Any]:
    for name in (x, y):
        if not hasattr(data, name):
            wanted = "a data set with x_train, y_train and, unless validation is given, x_test and y_test"
            raise TypeError(f"data: {shown(data)} has no {name}; expected {wanted}")
    return getattr(data, x), getattr(data, y)


def _added(total: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """total (3, ...) + the sum of columns (3, ..., n), one after the other: the same bits wherever chunks end."""
    sums: np.ndarray = np.add.accumulate(np.concatenate([total[..., None], columns], axis=-1), axis=-1)[..., -1]
    return sums


class Trainer:
    """Trains `network` on `data` (x_train, y_train, x_test, y_test) and yields a Snapshot a chunk.

    `loss`, `optimizer`, `batch_size`, `shuffle` and `threads` are as for Network.fit. `validation`: True for the data's
    own test part, None or False for none, or a pair (x, y). `observe`: whether snapshots have layers, which takes time
    and memory. Commands may come from any thread. Raises TypeError and ValueError, naming the argument, before anything
    is changed. While it trains on the CPU, numbers below 1.2e-38 (float32; 2.2e-308) count as 0.

    `comm`: an mpi4py communicator such as MPI.COMM_WORLD, whose ranks train the network together, on the CPU or each
    on a GPU of its own (of those that several ranks of a machine see, the first takes the first). Each has the same
    network and data and takes its share of the rows of every batch; their gradients are added up in the order of ranks,
    so all have the same parameters and history, and the same bits again in the next run with as many ranks. (Other sums
    than alone, and other draws of dropout; validation is not shared.) All ranks must do the same: iterate as far, and
    give commands at the same snapshot. An error in one's arguments is raised on every one. Snapshots then come without
    layers.
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
        comm: Any = None,
    ) -> None:
        with parallel.together(comm):
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
            parallel.check_ranks(comm, task.batch)
        parallel.check_same(comm, parallel.described(network, task, loss, optimizer) if comm is not None else {})
        self.network, self._comm = network, comm
        self._classes = task.classes
        inputs = (task.data[0], *(task.validation or ())[:1])
        self._targets = [network.targets_in(x) // len(x) for x in inputs]  # of a row, and of one of validation
        self.history = History()
        self.state = "idle"
        self.learning_rate = optimizer.lr
        self.most_steps = MOST_STEPS  # in a chunk; fewer make training slow enough to watch
        with compiler.preparing():
            self._engine = network.engine
            with parallel.together(comm):
                self._runner = network.start_training(comm)(
                    network.architecture, network.storage, task.data, loss=loss, optimizer=optimizer, batch=task.batch,
                    shuffle=task.shuffle, validation=task.validation, threads=task.threads, first_epoch=network.epochs,
                )  # fmt: skip
                self._runner.prepare()
            self._watch = Watch(network, self._runner) if observe and comm is None else None
        self._mapped = Mapped(*inputs)
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
        """Go on after a pause, from the next chunk."""
        self._command(paused=False)

    def step(self) -> None:
        """Make one update, then wait."""
        with self._changed:
            waiting = self._budget if self._paused else 0  # two commands before a chunk are two steps
            self._paused, self._budget = True, max(0, waiting) + 1
            self._wake()

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

    def watch(self, *kinds: str, seconds: float = 0.0) -> None:
        """Look at these `kinds` of fastnn.watch.KINDS from the next chunk on, every `seconds` while training runs.

        0: with every snapshot. What takes a pass of its own (all but activations and weights) takes 1.5 % of the
        time at most, and is looked at less often where it would take more. Raises ValueError for an unknown kind.
        """
        for kind in kinds:
            check_choice("kinds", kind, KINDS)
        if self._watch is not None:
            self._watch.choose(frozenset(kinds), check_float("seconds", seconds, 0))

    def _command(self, paused: bool, budget: int = 0) -> None:
        with self._changed:
            self._paused, self._budget = paused, budget
            if budget or not paused:
                self._wake()
            self._changed.notify_all()

    def _wake(self) -> None:
        """To go on; a pause that comes before the next chunk is then told like any other, and nobody waits in vain."""
        if self.state == "paused":
            self.state = "running"
        self._changed.notify_all()

    def meanwhile(self, call: Callable[[], None] | None) -> bool:
        """Have `call` called, by the thread that runs, once or more while a GPU trains a chunk; None: nothing any more.

        It takes no time of training's if it is over before the chunk is. It must leave trainer and network alone, whose
        history and snapshot are of the chunk before; what it raises ends the run, as it was before the chunk. Returns
        whether it will be called: on the CPU, and where several ranks train, it is not.
        """
        if self._runner.waiting:
            self._runner.meanwhile = call
        return bool(self._runner.waiting)

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
        """Updates in an epoch: the rows over the batch size, rounded up."""
        return self._runner.per_epoch

    @property
    def batch_size(self) -> int:
        """Rows a step."""
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
        with parallel.together(self._comm):
            epochs = check_int("epochs", epochs)
        parallel.check_same(self._comm, {"epochs": epochs})
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
                    else:
                        self._wait()
                    continue  # told to go on and to pause again meanwhile, it says so once more
                if self._stopping:
                    yield self._say("stopped")
                    return
                steps = self._wanted(end - runner.step)
                began = time.perf_counter()
                result = runner.run(steps, self.learning_rate)
                self._mapped.release(int(result.rows.sum()))
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

    def _wait(self) -> None:
        with self._changed:
            if self._must_wait():
                self._changed.wait()

    def _wanted(self, left: int) -> int:
        steps = min(left, self._chunk, max(1, self.most_steps))
        if self._mapped.most_rows is not None:
            steps = max(1, min(steps, self._mapped.most_rows // self._runner.batch))
        steps = self._runner.agreed(steps)
        with self._changed:
            if self._paused:
                budget = self._runner.steps_left_in_epoch if self._budget < 0 else self._budget
                steps = min(steps, budget)
                self._budget = -1 if self._budget < 0 and steps < budget else max(0, budget - steps)
            return max(1, steps)

    def _adapt(self, steps: int, took: float) -> None:
        # At most eight times more at once: the first chunk may have been slowed by anything.
        seconds = CHUNK_SECONDS * self._runner.lengthened
        if steps == self._chunk or took > seconds:
            wanted = int(steps * seconds / max(took, 1e-6))
            self._chunk = max(1, min(wanted, 8 * self._chunk, MOST_STEPS))

    def _say(self, state: str) -> Snapshot:
        self.state = state
        self._latest = replace(self._latest, state=state, epoch_ended=False, learning_rate=self.learning_rate)
        return self.look()

    def look(self, *, again: bool = False) -> Snapshot:
        """The newest snapshot with all that is watched, as the network is now; from the thread that runs, or before.

        `again`: look at everything anew, because the parameters were written to.
        """
        if self._watch is not None:
            if again:
                self._watch.forget()
                self._latest = replace(self._latest, looked_at=-1)
            self._latest = self._watch.look(self._latest, self._runner.step, self.learning_rate)
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
        news: dict[str, Any] = {}
        if trained:
            news["loss"] = float(result.losses @ result.rows / trained)
            news["accuracy"] = float(result.hits.sum() / (trained * self._targets[0])) if self._classes else None
        if len(result.validation):
            news["val_loss"] = self.history.val_loss[-1]
            if self._classes:
                news["val_accuracy"] = self.history.val_accuracy[-1]
        ended = runner.step % runner.per_epoch == 0 or len(result.rows) > runner.step % runner.per_epoch
        self._latest = replace(
            self._latest,
            **news,
            step=runner.step,
            epoch=max(1, -(-runner.step // runner.per_epoch)),
            learning_rate=self.learning_rate,
            samples_per_second=trained / took if took > 0 else 0.0,
            seconds=self._seconds,
            state=self.state,
            message="",
            culprit=None,
            epoch_ended=bool(trained and ended),
        )
        if result.diverged:
            layer, what = self._engine.Observer(runner).culprit(self.learning_rate)
            self._latest = replace(self._latest, message=str(self.divergence()), culprit=(layer, what))
        elif self._watch is not None and (self.state != "running" or self._watch.due(runner.step)):
            self.look()
        return self._latest

    def _record(self, result: Result) -> None:
        """Add a chunk's steps to the sums of their epochs, and the epochs that ended to the history."""
        runner, n, length = self._runner, len(result.rows), self._runner.per_epoch
        columns = np.array([result.losses * result.rows, result.hits, result.rows], np.float64)
        begun = (runner.step - n) % length
        ends = (begun + n) // length
        cut = min(n, length - begun)
        whole = cut + max(0, ends - 1) * length
        self._epoch_sums = _added(self._epoch_sums, columns[:, :cut])
        if ends:
            later = _added(np.zeros((3, ends - 1)), columns[:, cut:whole].reshape(3, ends - 1, length))
            loss, hits, count = np.concatenate([self._epoch_sums[:, None], later], axis=1)
            self.history.loss.extend((loss / count).tolist())
            if self._classes:
                self.history.accuracy.extend((hits / (count * self._targets[0])).tolist())
            self._epoch_sums = _added(np.zeros(3), columns[:, whole:])
        if len(result.validation):
            self.history.val_loss.extend(result.validation[:, 0].tolist())
            if self._classes:
                shares = result.validation[:, 1] / (runner.validation.samples * self._targets[1])
                self.history.val_accuracy.extend(shares.tolist())

    def divergence(self) -> DivergenceError:
        """The error for a run that stopped at NaN or Inf."""
        step = self._runner.step
        return DivergenceError(step // self._runner.per_epoch + 1, step + 1, self.history)

    # ---- going back --------------------------------------------------------------------------------------------------

    def keep(self) -> State:
        """This moment, to go back to; from the thread that runs, between two snapshots, or while none runs."""
        kept = self._runner.keep()
        return State(
            kept.step, kept.arrays[0], kept.arrays[1:], self.learning_rate, self._seconds, self._epoch_sums.copy(),
            self.history, len(self.history.loss), self._latest,
        )  # fmt: skip

    def restore(self, state: State) -> Snapshot:
        """Go back (or on) to a moment of this trainer, or of one made alike, and return its snapshot.

        From the thread that runs, between two snapshots, or while none runs. What is trained from there has the same
        bits as it had the first time. Raises TypeError for what `keep` has not returned, ValueError for a state of
        another network or optimizer.
        """
        if not isinstance(state, State):
            raise TypeError(f"state: {shown(state)}; expected what keep() has returned")
        arrays = (state.parameters, *state.memory)
        sizes, expected = [a.size for a in arrays], [a.size for a in (self._runner.parameters, *self._runner.memory)]
        if sizes != expected:
            raise ValueError(f"state: has arrays of sizes {sizes}; expected {expected}, as in this trainer")
        self._runner.bring_back(Kept(state.step, arrays))
        if self._watch is not None:
            self._watch.forget()
        self.network.epochs = self._first_epoch + self._runner.epoch
        self.learning_rate, self._seconds = state.learning_rate, state.seconds
        self._epoch_sums = state.epoch_sums.copy()
        # New lists: states that come later still need those that are there.
        self.history = History(*(values[: state.epochs] for values in vars(state.history).values()))
        self._latest = replace(state.snapshot, state=self.state, epochs=self._latest.epochs, message="", culprit=None)
        return self._latest
