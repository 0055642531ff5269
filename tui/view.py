"""What a session hands out, and what it needs: plain objects that the screens and the training thread share."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from tui.config import Choices, RunConfig

# The states of a run, each with a sign that tells it without a color.
DOTS = {
    "running": "●",
    "paused": "◐",
    "ready": "○",
    "loading": "◌",
    "stopped": "■",
    "finished": "✔",
}


class Trainer(Protocol):
    """The part of `fastnn.Trainer` that a session uses; `epoch` is the number of epochs completed."""

    most_steps: int

    @property
    def epoch(self) -> int: ...
    @property
    def threads(self) -> int: ...
    def run(self, epochs: int, *, paused: bool = False) -> Iterator[Any]: ...
    def pause(self) -> None: ...
    def resume(self) -> None: ...
    def step(self) -> None: ...
    def finish_epoch(self) -> None: ...
    def set_learning_rate(self, rate: float) -> None: ...
    def stop(self) -> None: ...
    def watch(self, *kinds: str, seconds: float = 0.0) -> None: ...
    def look(self, *, again: bool = False) -> Any: ...
    def keep(self) -> Any: ...
    def restore(self, state: Any) -> Any: ...


class Keeper(Protocol):
    """Where a run is kept, as `tui.keeping.Keeper` does; called from the training thread."""

    @property
    def path(self) -> str: ...
    def follow(self, snapshot: Any) -> None: ...
    def back(self, snapshot: Any) -> None: ...
    def note(self, text: str, level: str) -> None: ...
    def close(self, snapshot: Any) -> None: ...


class NoKeeper:
    """Keeps nothing."""

    path = ""

    def follow(self, snapshot: Any) -> None: ...
    def back(self, snapshot: Any) -> None: ...
    def note(self, text: str, level: str) -> None: ...
    def close(self, snapshot: Any) -> None: ...


@dataclass(frozen=True, eq=False)
class Run:
    """A network made ready to train: its trainer, the sizes of its layers from input to output, network and data, and
    the cell that its hidden layers are made of.

    The screens may read `sizes` and `data`, which never change. Network and trainer belong to the training thread: a
    screen reaches them through `Session.probe` and `Session.do`. `curves` are what a run that is taken up again has
    left on disk, by the names of its metrics. `cores`: how many processors training and screen share.
    """

    trainer: Trainer
    sizes: tuple[int, ...]
    network: Any = None
    data: Any = None
    keeper: Keeper = field(default_factory=NoKeeper)
    curves: Mapping[str, Any] = field(default_factory=dict)
    cell: str = "dense"
    cores: int = 1


class Backend(Protocol):
    """Where runs come from: `tui.engine.Engine`, or a double in the tests."""

    def load(self, on_compile: Callable[[str | None], None]) -> Choices:
        """Import what is needed; `on_compile` is told when a compile starts (a text) and ends (None)."""
        ...

    def build(self, config: RunConfig) -> Run:
        """Load the data and make network and trainer; raises ValueError or TypeError for what cannot be used."""
        ...


@dataclass(frozen=True, eq=False)
class Found:
    """What a probe returned, and the step that the network was at; `error` is a text when it raised."""

    step: int
    value: Any = None
    error: str = ""


@dataclass(frozen=True, eq=False)
class View:
    """What the screen shows, as one frozen object.

    `state` is "loading", "ready", "running", "paused", "stopped", "finished", "diverged" or "failed";
    `snapshot` is the trainer's newest (None before the first); `rate` is the learning rate as last asked for;
    `limit` the steps a second that training is held at (None: as fast as it goes); `found` what the probes returned;
    `moments` are the kept steps that the run can be taken to while it is back at one of them;
    `busy` is a text while the thread imports or loads, `compiling` while kernels compile, `message` what a
    person should read. `answered` is the number of the last configuration that was tried, with `answer` "" when it
    was taken and the reason when not. `run` is another object after each reset and each new configuration.
    """

    config: RunConfig
    state: str = "loading"
    snapshot: Any = None
    sizes: tuple[int, ...] = ()
    rate: float = 0.0
    limit: float | None = None
    run: Run | None = None
    found: Mapping[str, Found] = field(default_factory=dict)
    moments: tuple[int, ...] = ()
    choices: Choices = field(default_factory=Choices)
    busy: str = ""
    compiling: str = ""
    message: str = ""
    answered: int = 0
    answer: str = ""
    version: int = 0

    @property
    def hidden(self) -> str:
        """What the hidden layers compute."""
        return computing(self.run.cell if self.run is not None else "dense", self.config.activation)

    @property
    def data(self) -> Any:
        """The data set that is trained on, None before there is one."""
        return self.run.data if self.run is not None else None

    @property
    def regression(self) -> bool:
        """Whether the network puts out numbers, not classes: there is no accuracy."""
        return self.data is not None and not self.data.classes

    @property
    def crowded(self) -> bool:
        """Whether training leaves but one processor to the screen and all else, or none."""
        return self.run is None or self.run.trainer.threads + 1 >= self.run.cores


def computing(cell: str, activation: str) -> str:
    """What layers compute: their cell, unless they are dense, and the activation where it has one."""
    return {"dense": activation, "recurrent": f"recurrent {activation}"}.get(cell, cell)


def explain(error: Exception) -> str:
    """One line for a person: fastnn's own messages as they are, anything unexpected with its type."""
    from fastnn.errors import FastnnError  # the first frame does without NumPy, which it brings

    lines = str(error).strip().splitlines()
    text = lines[0] if lines else "no message"
    known = isinstance(error, (ValueError, TypeError, FastnnError))
    return text if known else f"{type(error).__name__}: {text}"


def state_of(snapshot: Any) -> str:
    """A run that waits for its first step is ready."""
    return "ready" if snapshot.state == "paused" and snapshot.step == 0 else str(snapshot.state)
