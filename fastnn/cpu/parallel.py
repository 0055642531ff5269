"""The CPU's Runner for a rank of several that train one network together, see `fastnn.ranks`.

A step is the engine's two phases twice: the gradient of this rank's rows goes to an array of its own, and the update
of the whole gradient is the one that clipping has.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from fastnn import compiler
from fastnn.cpu import engine, train
from fastnn.cpu.phases import PART, Work
from fastnn.optimizers import WIDTH
from fastnn.ranks import NO_EPOCH, Shared
from fastnn.runner import Result


class Runner(Shared, engine.Runner):
    """The CPU's, for a rank of a communicator."""

    def _build(self, *args: Any) -> None:
        super()._build(*args)
        count, F = self.parameters.size, self.architecture.F
        self._take_memory(lambda numbers: engine.aligned(numbers, F))
        squares = np.zeros(-(-count // PART))
        self.works = {n: work._replace(whole=self.whole, squares=squares) for n, work in self.works.items()}

    def prepare(self) -> None:
        with compiler.preparing():
            super().prepare()
            work = self.works[1]
            self._update(work._replace(whole=work.whole[:0], squares=work.squares[:0]), np.zeros((1, WIDTH)), 1)

    def _chunk(self, steps: int, rate: float, workers: int | None = None, evaluate: bool = False) -> Result:
        """As the engine's, but losses and hits are those of this rank's rows, as shares of the batch's mean and sum."""
        result = super()._chunk(0, rate, workers, evaluate)  # sees to masked parameters that a caller wrote to
        if not steps:
            return result
        assert self.optimizer is not None
        table, several = self.optimizer.coefficients(self.step + 1, steps, rate), workers or self.workers
        rows, losses, hits = self._rows(steps), np.zeros(steps), np.zeros(steps)

        def find(s: int) -> None:
            losses[s], hits[s] = self._find_gradient(int(rows[s]), several)

        def update(s: int) -> None:
            self._update(self.works[several], table[s : s + 1], several)

        def score() -> tuple[float, float]:
            mean, right = super(Runner, self)._chunk(0, rate, several, evaluate=True).validation[0]
            return mean, right

        return Result(losses, hits, rows, self._together(steps, find, update, score), False)

    def _find_gradient(self, rows: int, workers: int) -> tuple[float, float]:
        """Of this rank's share of the next `rows` rows: the gradient and loss, as shares of the mean, and the hits."""
        epoch, position = divmod(self.first + self.step, self.per_epoch)
        if position == 0 and self.shuffle:
            train.fill_order(self.order, self.net.seed, epoch)
        begin, end = (position * self.batch + row for row in self.share(rows))
        share = self.order[begin:end]
        if not share.size:
            self.own[:] = 0
            return 0.0, 0.0
        part = share.size / rows
        work = self.works[workers]._replace(update=-1, target=self.own, clip=0.0)
        result = Result(np.zeros(1), np.zeros(1), self._rows(1), NO_EPOCH, False)
        run = self._run(result, part * np.eye(1, WIDTH), workers)._replace(
            first=self.draw, order=share, batch=share.size, shuffle=0
        )
        self.team.run(train.train, self.net, work, self.data, run, barrier=work.barrier, workers=workers)
        return float(result.losses[0]) * part, float(result.hits[0])

    def _update(self, work: Work, table: np.ndarray, workers: int) -> None:
        """Update the parameters by the gradient in work.whole with the coefficients `table` (1, WIDTH)."""
        coefficients = self._rounded(table)[0]
        self.team.run(
            train.update_by_whole, self.net, work, coefficients, workers, barrier=work.barrier, workers=workers
        )
