"""A trainer that trains nothing: the same numbers on every machine, as fast as a test wants to go.

It has the interface of `fastnn.Trainer`, so that the screens can be tested without kernels and without a clock.
"""

from __future__ import annotations

import dataclasses
import math
import threading
import time

import numpy as np
from fake_network import FakeNetwork, data_of

from fastnn.datasets import DATASETS
from fastnn.datasets.features import FEATURES as FEATURES_OF_POINTS
from fastnn.training import Histogram, LayerSnapshot, Snapshot
from tui.config import Choices, RunConfig
from tui.view import Run

CHOICES = Choices(
    data=("digits", "moons", "spirals"),
    cells=("dense", "gru"),
    devices=("cpu", "cuda"),
    activations=("identity", "relu", "sigmoid", "tanh"),
    initializers=("he", "normal", "xavier"),
    optimizers={"adam": 1e-3, "sgd": 0.1},
    loaders={name: DATASETS[name].options for name in ("digits", "moons", "spirals")},
    features=tuple(FEATURES_OF_POINTS),
)
CORES = 8  # with fewer the screen leaves them to training, and each test waits for it
FEATURES = {"digits": (64, 10), "moons": (2, 2), "spirals": (2, 3), "sine": (1, 1)}


@dataclasses.dataclass(frozen=True)
class FakeState:
    step: int
    rate: float
    loss: float
    nbytes: int = 1000


class FakeTrainer:
    """`chunk` updates a snapshot, `per_epoch` updates an epoch; stays at `hold_at` updates while running."""

    def __init__(
        self,
        config: RunConfig,
        sizes: tuple[int, ...],
        *,
        chunk: int = 10,
        per_epoch: int = 40,
        hold_at: int | None = None,
        pace: float = 0.0,
    ) -> None:
        self.config, self.sizes = config, sizes
        self.chunk, self.per_epoch, self.hold_at, self.pace = chunk, per_epoch, hold_at, pace
        self.learning_rate = config.learning_rate
        self.classes = sizes[-1] > 1
        self.done = 0
        self.state = "stopped"
        self.wish = ""
        self.threads, self.names = 1, set[str]()
        self.held: Snapshot | None = None
        self.held_as: tuple = ()
        self.most_steps = 1_000_000_000
        self.kinds: tuple[str, ...] = ("activations",)
        self.target = 0
        self.looked: tuple | None = None

    @property
    def epoch(self) -> int:
        return self.done // self.per_epoch

    def pause(self) -> None:
        self.wish = "pause"

    def resume(self) -> None:
        self.state, self.wish = "running", ""

    def step(self) -> None:
        self.state, self.wish = "running", "step"

    def finish_epoch(self) -> None:
        self.state, self.wish = "running", "epoch"

    def set_learning_rate(self, rate: float) -> None:
        self.learning_rate = rate

    def stop(self) -> None:
        self.state, self.wish = "running", "stop"

    def watch(self, *kinds: str, seconds: float = 0.0) -> None:
        self.kinds = kinds

    def look(self, *, again: bool = False) -> Snapshot:
        if again:
            self.looked = None
        return self.snapshot(self.target)

    def keep(self) -> FakeState:
        return FakeState(self.done, self.learning_rate, self.snapshot(self.target).loss)

    def restore(self, state: FakeState) -> Snapshot:
        self.done, self.learning_rate = state.step, state.rate
        return self.snapshot(self.target)

    def run(self, epochs: int, *, paused: bool = False):
        first = self.done // self.per_epoch
        target = self.target = first + epochs
        self.state, self.wish = ("paused", "") if paused else ("running", "")
        if paused:
            yield self.snapshot(target)
        while True:
            self.names.add(threading.current_thread().name)
            if self.pace:
                time.sleep(self.pace)
            if self.wish in ("pause", "stop"):
                self.state = "paused" if self.wish == "pause" else "stopped"
                self.wish = ""
                yield self.snapshot(target)
                if self.state == "stopped":
                    return
                continue
            todo = min(self.chunk, self.most_steps, self.per_epoch - self.done % self.per_epoch)
            if self.wish == "step":
                todo, self.state, self.wish = 1, "paused", ""
            elif self.hold_at is not None:
                todo = min(todo, max(0, self.hold_at - self.done))
                if todo == 0:
                    time.sleep(0.002)
                    if self.held is None or self.held_as != (self.done, self.kinds):
                        self.held, self.held_as = self.snapshot(target), (self.done, self.kinds)
                    yield self.held
                    continue
            self.done += todo
            ended = todo > 0 and self.done % self.per_epoch == 0
            if ended and self.wish == "epoch":
                self.state, self.wish = "paused", ""
            if self.learning_rate >= 1e3:
                self.state = "diverged"
            elif ended and self.done >= target * self.per_epoch:
                self.state = "finished"
            yield self.snapshot(target, ended)
            if self.state in ("finished", "diverged"):
                return

    def snapshot(self, target: int, ended: bool = False) -> Snapshot:
        epoch = min(target, self.done // self.per_epoch + (0 if ended else 1))
        curve = 2.3 * math.exp(-self.done / 120)
        evaluated = self.done // self.per_epoch > 0
        behind = 2.3 * math.exp(-(self.done // self.per_epoch * self.per_epoch) / 130) + 0.06
        message = (
            f"training diverged to NaN or Inf at epoch {epoch}, step {self.done}" if self.state == "diverged" else ""
        )
        return Snapshot(
            step=self.done,
            epoch=max(1, epoch),
            epochs=target,
            loss=math.nan
            if self.done == 0
            else curve + 0.04 + 0.03 * math.sin(self.done / 7) * math.exp(-self.done / 300),
            accuracy=None if self.done == 0 or not self.classes else 1 - 0.9 * math.exp(-self.done / 150),
            val_loss=behind if evaluated else None,
            val_accuracy=1 - 0.92 * math.exp(-self.done / 150) if evaluated and self.classes else None,
            learning_rate=self.learning_rate,
            samples_per_second=0.0 if self.done == 0 else 41_200.0,
            seconds=self.done * 0.05,
            state=self.state,
            message=message,
            layers=self.layers(),
            epoch_ended=ended,
            gradient_norm=0.9 * math.exp(-self.done / 200) + 0.05 if "gradient_norm" in self.kinds else None,
            looked_at=self.done,
            culprit=(1, "weights") if self.state == "diverged" else None,
        )

    def layers(self) -> tuple[LayerSnapshot, ...]:
        key = (self.done, self.kinds)
        if self.looked is None or self.looked[0] != key:
            self.looked = (key, self.make_layers())
        return self.looked[1]

    def weights(self, kind: str, number: int, size: float) -> Histogram | None:
        if kind not in self.kinds:
            return None
        size *= math.exp(-self.done / 400)
        edges = np.linspace(-3 * size, 3 * size, 31)
        counts = np.array([round(500 * math.exp(-((m / size) ** 2))) for m in (edges[1:] + edges[:-1]) / 2], np.int64)
        return Histogram(counts, edges, 0.0, size, size * 20.0, 0.0)

    def make_layers(self) -> tuple[LayerSnapshot, ...]:
        out = []
        for number, width in enumerate(self.sizes[1:], 1):
            last = number == len(self.sizes) - 1
            name = "identity" if last else self.config.activation
            edges = (
                np.linspace(0.0, 3.0 + number, 31) if name == "relu" else np.linspace(-2.0 - number, 3.0 + number, 31)
            )
            middle = (edges[1:] + edges[:-1]) / 2
            shift = 0.5 * math.log1p(self.done / 50)
            counts = np.array(
                [round(900 * math.exp(-(((m - shift) / (0.8 + 0.3 * number)) ** 2))) for m in middle], np.int64
            )
            zeros = 0.0
            if name == "relu":
                counts[0] += 4000
                zeros = float(4000 / counts.sum())
            mean = float((counts * middle).sum() / counts.sum())
            std = float(math.sqrt((counts * (middle - mean) ** 2).sum() / counts.sum()))
            seen = LayerSnapshot(f"L{number} {name} {width}", Histogram(counts, edges), mean, std, zeros, 0.0)
            kinds = (("gradients", 0.01), ("weights", 0.3), ("updates", 0.0003))
            rest = {kind: self.weights(kind, number, size * number) for kind, size in kinds}
            out.append(dataclasses.replace(seen, **rest))
        return tuple(out)


class FakeBackend:
    """Makes fake trainers; `refuse` is an error that `build` raises for a data set named "broken"."""

    def __init__(self, **options) -> None:
        self.options = options
        self.trainers: list[FakeTrainer] = []
        self.notice = None
        self.gate: threading.Event | None = None

    def load(self, on_compile) -> Choices:
        self.notice = on_compile
        if self.gate is not None:
            on_compile("compiling kernels for this machine, once")
            self.gate.wait(60)
            on_compile(None)
        return CHOICES

    def build(self, config: RunConfig) -> Run:
        if config.data not in FEATURES:
            raise ValueError(f"data: unknown name {config.data!r}; known: {', '.join(CHOICES.data)}")
        if config.batch_size > 1437:
            raise ValueError(f"batch_size: {config.batch_size} is larger than the 1437 training samples")
        data = data_of(config.data, config.loader)
        outputs = max(1, data.n_classes)
        inputs = data.features
        sizes = (inputs, *config.layers, outputs)
        self.trainers.append(FakeTrainer(config, sizes, **self.options))
        return Run(self.trainers[-1], sizes, FakeNetwork(config, sizes), data, cores=CORES)
