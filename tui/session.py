"""The training thread: it loads fastnn, trains, evaluates and bins, and knows no widget.

One thread trains, evaluates and bins, so nothing that it shares with the engine needs a lock. The screen never waits
for it: commands go into a queue and take effect between two chunks of training (20 to 50 ms), and a timer of the
screen reads the newest `View`, one reference to a frozen object.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

import numpy as np

from tui.config import RATE_HIGH, RATE_LOW, Choices, RunConfig
from tui.history import Curve


class Trainer(Protocol):
    """The part of `fastnn.Trainer` that a session uses; `epoch` is the number of epochs completed."""

    @property
    def epoch(self) -> int: ...
    def run(self, epochs: int, *, paused: bool = False) -> Iterator[Any]: ...
    def pause(self) -> None: ...
    def resume(self) -> None: ...
    def step(self) -> None: ...
    def finish_epoch(self) -> None: ...
    def set_learning_rate(self, rate: float) -> None: ...
    def stop(self) -> None: ...


@dataclass(frozen=True)
class Run:
    """A network made ready to train: its trainer, and the sizes of its layers from input to output."""

    trainer: Trainer
    sizes: tuple[int, ...]


class Backend(Protocol):
    """Where runs come from: `tui.engine.Engine`, or a double in the tests."""

    def load(self, on_compile: Callable[[str | None], None]) -> Choices:
        """Import what is needed; `on_compile` is told when a compile starts (a text) and ends (None)."""
        ...

    def build(self, config: RunConfig) -> Run:
        """Load the data and make network and trainer; raises ValueError or TypeError for what cannot be used."""
        ...


@dataclass(frozen=True)
class View:
    """What the screen shows, as one frozen object.

    `state` is "loading", "ready", "running", "paused", "stopped", "finished", "diverged" or "failed";
    `snapshot` is the trainer's newest (None before the first); `rate` is the learning rate as last asked for;
    `busy` is a text while the thread imports or loads, `compiling` while kernels compile, `message` what a
    person should read. `answered` is the number of the last configuration that was tried, with
    `answer` "" when it was taken and the reason when not.
    """

    config: RunConfig
    state: str = "loading"
    snapshot: Any = None
    sizes: tuple[int, ...] = ()
    rate: float = 0.0
    choices: Choices = field(default_factory=Choices)
    busy: str = ""
    compiling: str = ""
    message: str = ""
    answered: int = 0
    answer: str = ""
    version: int = 0


class Session:
    """A training thread and its mailbox. Every method may be called from the screen's thread and returns at once."""

    def __init__(self, backend: Backend, config: RunConfig | None = None) -> None:
        config = config or RunConfig()
        self._backend = backend
        self._commands: queue.SimpleQueue[tuple[str, Any]] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._view = View(config, rate=config.learning_rate, busy="loading fastnn")
        self._asked = 0
        self._loss, self._validation = Curve(), Curve()
        self._thread = threading.Thread(target=self._work, name="fastnn-training", daemon=True)
        # The rest belongs to the training thread.
        self._trainer: Any = None
        self._snapshots: Iterator[Any] | None = None
        self._moving = False
        self._seen = 0

    # What the screen calls

    def start(self) -> None:
        """Start the thread; it loads fastnn and builds the first network."""
        self._thread.start()

    def close(self, timeout: float = 5.0) -> bool:
        """End the thread and wait for it; False when it is still busy (compiling) after `timeout` seconds."""
        self._commands.put(("close", None))
        if self._thread.is_alive():
            self._thread.join(timeout)
        return not self._thread.is_alive()

    @property
    def view(self) -> View:
        """The newest view."""
        return self._view

    def loss_curve(self) -> tuple[np.ndarray, np.ndarray]:
        """Steps and training losses of the run, thinned."""
        with self._lock:
            return self._loss.points()

    def validation_curve(self) -> tuple[np.ndarray, np.ndarray]:
        """Steps and validation losses of the run, thinned."""
        with self._lock:
            return self._validation.points()

    def toggle(self) -> None:
        """Run, or pause when running."""
        self._commands.put(("toggle", None))

    def step(self) -> None:
        """Do one update, then pause."""
        self._commands.put(("step", None))

    def finish_epoch(self) -> None:
        """Train to the end of the epoch, then pause."""
        self._commands.put(("epoch", None))

    def stop(self) -> None:
        """End the run."""
        self._commands.put(("stop", None))

    def set_rate(self, rate: float) -> None:
        """Use another learning rate from the next chunk on; kept within the limits of `tui.config`."""
        rate = min(max(rate, RATE_LOW), RATE_HIGH)
        self._change(rate=rate)
        self._commands.put(("rate", rate))

    def apply(self, config: RunConfig) -> int:
        """Try a new configuration; the running network stays as it is unless it works.

        Returns a number that `View.answered` reaches when it was tried.
        """
        self._asked += 1
        self._commands.put(("apply", (self._asked, config)))
        return self._asked

    def reset(self) -> int:
        """Start again from the seed, with the configuration as it was applied."""
        self._asked += 1
        self._commands.put(("apply", (self._asked, None)))
        return self._asked

    # The training thread

    def _change(self, **changes: Any) -> None:
        with self._lock:
            self._view = replace(self._view, version=self._view.version + 1, **changes)

    def _compile_notice(self, message: str | None) -> None:
        self._change(compiling=message or "")

    def _work(self) -> None:
        try:
            self._change(choices=self._backend.load(self._compile_notice))
        except Exception as error:  # noqa: BLE001 - the screen stays and says why
            self._change(state="failed", busy="", message=explain(error))
        else:
            self._apply(0, self._view.config)
        while True:
            try:
                name, value = self._commands.get(block=not self._moving)
            except queue.Empty:
                self._advance()
                continue
            if name == "close":
                break
            try:
                self._obey(name, value)
            except Exception as error:  # noqa: BLE001 - the thread outlives a failed run
                self._fail(error)
        self._drop_run()

    def _obey(self, name: str, value: Any) -> None:
        if name == "apply":
            self._apply(*value)
        elif self._trainer is None:
            return
        elif name == "rate":
            self._trainer.set_learning_rate(value)
        elif name == "stop":
            if self._snapshots is not None and self._view.state != "ready":
                self._trainer.stop()
                self._moving = True
        elif name == "toggle" and self._moving:
            self._trainer.pause()
        elif name == "toggle":
            self._open()
            self._trainer.resume()
            self._moving = True
        elif name == "epoch":
            self._open()
            self._trainer.finish_epoch()
            self._moving = True
        elif name == "step":
            self._open()
            self._trainer.step()
            # Commands wait until it is done: three quick presses are three steps.
            self._moving = True
            while self._moving:
                self._advance()

    def _open(self) -> None:
        """Take the run up again when it had ended."""
        if self._snapshots is None:
            self._change(message="")
            self._snapshots = self._trainer.run(self._remaining(), paused=True)
            next(self._snapshots)

    def _remaining(self) -> int:
        """Epochs to go: the rest of a run that was cut short, or as many again after a finished one."""
        view = self._view
        if view.snapshot is None or view.state == "finished":
            return view.config.epochs
        return max(1, int(view.snapshot.epochs - self._trainer.epoch))

    def _advance(self) -> None:
        """Train one chunk and publish its snapshot."""
        if self._snapshots is None:
            self._moving = False
            return
        try:
            snapshot = next(self._snapshots)
        except StopIteration:
            self._snapshots, self._moving = None, False
        except Exception as error:  # noqa: BLE001 - the thread outlives a failed run
            self._fail(error)
        else:
            self._moving = snapshot.state != "paused"
            self._publish(snapshot)

    def _publish(self, snapshot: Any) -> None:
        with self._lock:
            if snapshot.step > self._seen and snapshot.state != "diverged":
                self._loss.add(snapshot.step, snapshot.loss)
                self._seen = snapshot.step
                if snapshot.epoch_ended and snapshot.val_loss is not None:
                    self._validation.add(snapshot.step, snapshot.val_loss)
        state = "ready" if snapshot.state == "paused" and snapshot.step == 0 else snapshot.state
        self._change(snapshot=snapshot, state=state, message=snapshot.message)

    def _apply(self, number: int, config: RunConfig | None) -> None:
        """Build a run and, only when that worked, let go of the old one."""
        wanted = config or self._view.config
        self._change(busy=f"loading {wanted.data}")
        try:
            run = self._backend.build(wanted)
            snapshots = run.trainer.run(wanted.epochs, paused=True)
            first = next(snapshots)
        except Exception as error:  # noqa: BLE001 - the old run goes on, the drawer says why
            failed = {"state": "failed", "message": explain(error)} if self._trainer is None else {}
            self._change(busy="", answered=number, answer=explain(error), **failed)
            return
        self._drop_run()
        self._trainer, self._snapshots = run.trainer, snapshots
        with self._lock:
            self._loss.clear()
            self._validation.clear()
            self._seen = 0
        self._change(config=wanted, sizes=run.sizes, rate=wanted.learning_rate, busy="", answered=number, answer="")
        self._publish(first)

    def _fail(self, error: Exception) -> None:
        self._drop_run()
        self._change(state="failed", message=explain(error))

    def _drop_run(self) -> None:
        if self._snapshots is not None:
            close = getattr(self._snapshots, "close", None)
            if close is not None:
                close()
        self._snapshots, self._moving = None, False


def explain(error: Exception) -> str:
    """One line for a person: fastnn's own messages as they are, anything unexpected with its type."""
    lines = str(error).strip().splitlines()
    text = lines[0] if lines else "no message"
    return text if isinstance(error, (ValueError, TypeError)) else f"{type(error).__name__}: {text}"
