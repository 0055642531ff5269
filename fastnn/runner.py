"""What the engines of all devices share: a run's arguments, its place among steps and epochs, and the way back from
numbers that are not finite."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from fastnn.cells import Loop
from fastnn.errors import DeviceError, is_finite
from fastnn.optimizers import Optimizer


class Architecture(NamedTuple):
    """What a network is, apart from its numbers."""

    sizes: tuple[int, ...]
    activations: tuple[str, ...]  # one a layer
    slopes: tuple[float, ...]
    dropout: tuple[float, ...]  # L + 1: of the inputs and of each layer's outputs
    F: type
    seed: int
    masks: tuple[np.ndarray | None, ...] = ()  # one a layer, uint8 (fan_in, fan_out); none where no layer has any
    loops: tuple[Loop | None, ...] = ()  # one a layer, None for a dense one; none where no layer is recurrent
    tf32: bool = False  # whether a GPU's tensor cores take products, with 10 bits of each factor


class Result(NamedTuple):
    """What a chunk of steps gave."""

    losses: np.ndarray  # (steps,) mean loss of each batch
    hits: np.ndarray  # (steps,) targets predicted right: a row has one, or one at each time step
    rows: np.ndarray  # (steps,) samples in each batch
    validation: np.ndarray  # (epochs ended, 2): mean loss, hits
    diverged: bool  # the step after the last would have made a number non-finite; parameters are as before it


class Kept(NamedTuple):
    """All that training goes on from: the number of updates, and copies of parameters and optimizer's memory."""

    step: int
    arrays: tuple[Any, ...]


def join(results: list[Result], diverged: bool) -> Result:
    """Chunks that ran one after the other as one."""
    if len(results) == 1:
        return results[0]._replace(diverged=diverged)
    nothing = Result(np.zeros(0), np.zeros(0), np.zeros(0), np.zeros((0, 2)), diverged)
    losses, hits, rows, validation = (np.concatenate(parts) for parts in list(zip(nothing, *results, strict=True))[:4])
    return Result(losses, hits, rows, validation, diverged)


class BaseRunner:
    """Trains one network on one data set, in chunks of steps; each device's engine has a Runner that is one.

    `inputs` (n, fan_in) and `targets` ((n,) int64 or (n, fan_out)) have been checked; of sequences they have time steps
    behind the n. `first_epoch` moves the shuffling on for a network that was trained before. Gradients go to `target`.
    """

    workers: Any = 1  # how many threads train at present
    lengthened = 1.0  # how many times as long as others its chunks are
    waiting = False  # whether the host waits while a chunk is trained; then it calls `meanwhile` in each
    meanwhile: Callable[[], None] | None = None

    def __init__(
        self,
        architecture: Architecture,
        parameters: np.ndarray,
        data: tuple[np.ndarray, np.ndarray],
        *,
        loss: str,
        optimizer: Optimizer | None,
        batch: int,
        shuffle: bool = True,
        validation: tuple[np.ndarray, np.ndarray] | None = None,
        threads: int | None = None,
        first_epoch: int = 0,
        target: np.ndarray | None = None,
    ) -> None:
        self.architecture, self.optimizer, self.batch, self.shuffle = architecture, optimizer, batch, shuffle
        self.parameters, self.target = parameters, target
        self.samples = len(data[0])
        self.per_epoch = -(-self.samples // batch)
        self.first = first_epoch * self.per_epoch
        self.step = 0  # updates done by this runner
        self._before: Kept | None = None  # as the latest chunk began
        self._build(data, validation, loss, threads)

    @property
    def slots(self) -> int:
        """Arrays that the optimizer remembers."""
        return 0 if self.optimizer is None else self.optimizer.slots

    @property
    def epoch(self) -> int:
        """Epochs that this runner has completed."""
        return self.step // self.per_epoch

    @property
    def steps_left_in_epoch(self) -> int:
        return self.per_epoch - self.step % self.per_epoch

    def agreed(self, steps: int) -> int:
        """How many steps a chunk may have of the `steps` that are wanted here: what all who train together want."""
        return steps

    def run(self, steps: int, rate: float) -> Result:
        """Train `steps` steps at learning rate `rate`; on NaN or Inf go back to the last finite parameters.

        An exception (Ctrl-C, a GPU that is lost) leaves everything as it was before.
        """
        assert self.optimizer is not None
        before = self._before = self._begin_with(self._before, steps)
        try:
            result = self._steps(steps, rate)
            if np.isfinite(result.losses).all() and is_finite(self.parameters):
                return result
            return self._replay(before, steps, rate)
        except BaseException:
            with contextlib.suppress(DeviceError):  # of a GPU that is lost there is no memory to bring back
                self.bring_back(before)
            raise

    @property
    def draw(self) -> int:
        """The number by which dropout draws for the next step."""
        return self.first + self.step

    def _begin_with(self, old: Kept | None, steps: int) -> Kept:
        """What is brought back if the next `steps` steps go wrong; in the arrays of `old`, if there are any."""
        return self.keep(old or self._room())

    def _replay(self, before: Kept, steps: int, rate: float) -> Result:
        """The chunk that began with `before` again, step by step (the same bits), until just before the one that goes
        wrong."""
        self.bring_back(before)
        done: list[Result] = []
        last = None
        for _ in range(steps):
            last = self._begin_with(last, 1)
            one = self._steps(1, rate)
            if not (np.isfinite(one.losses).all() and is_finite(self.parameters)):
                self.bring_back(last)
                break
            done.append(one)
        return join(done, True)

    def _rows(self, steps: int) -> np.ndarray:
        """How many samples each of the next batches has."""
        position = (self.step + np.arange(steps)) % self.per_epoch
        return np.minimum(self.batch, self.samples - position * self.batch)

    # ---- what each device has of its own -----------------------------------------------------------------------------

    def _build(
        self,
        data: tuple[np.ndarray, np.ndarray],
        validation: tuple[np.ndarray, np.ndarray] | None,
        loss: str,
        threads: int | None,
    ) -> None:
        raise NotImplementedError

    def _steps(self, steps: int, rate: float) -> Result:
        """Train, whatever numbers come out."""
        raise NotImplementedError

    def keep(self, old: Kept | None = None) -> Kept:
        """What `bring_back` needs: in arrays of the host's memory, or in those of `old` where it is given."""
        raise NotImplementedError

    def bring_back(self, kept: Kept) -> None:
        """Put everything where it was, the host's memory first; arrays must have the sizes that `keep` gave."""
        raise NotImplementedError

    def _room(self) -> Kept | None:
        """Arrays in which `run` keeps what it may have to bring back; None: those that `keep` makes."""
        return None
