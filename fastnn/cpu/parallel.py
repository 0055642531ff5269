"""One network trained by several processes together, each with its own copy of it and a share of every batch.

A step is the engine's two phases twice: the gradient of this rank's rows goes to an array of its own, what all ranks
found is added up in the order of ranks, and the update of the whole gradient is the one that clipping has. Every rank
adds the same numbers in the same order, so their parameters stay the same bits, and are so again in the next run.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from fastnn import compiler
from fastnn.cpu import engine, train
from fastnn.cpu.phases import PART, Work
from fastnn.optimizers import WIDTH
from fastnn.runner import Result

_NO_EPOCH = np.zeros((0, 2))  # results of validation, where there is none


def gathered(comm: Any, values: np.ndarray) -> np.ndarray:
    """(ranks, ...): the array `values` of every rank of `comm`, in their order."""
    found = np.empty((comm.Get_size(), *values.shape), values.dtype)
    comm.Allgather(values, found)
    return found


class Runner(engine.Runner):
    """The CPU's, for a rank of the communicator `comm`; every rank makes one alike and calls the same methods."""

    def __init__(self, comm: Any, *args: Any, **options: Any) -> None:
        self._comm, self._rank, self._ranks = comm, comm.Get_rank(), comm.Get_size()
        super().__init__(*args, **options)

    def _build(self, *args: Any) -> None:
        super()._build(*args)
        count, F = self.parameters.size, self.architecture.F
        whole, squares = engine.aligned(count, F), np.zeros(-(-count // PART))
        self.works = {n: work._replace(whole=whole, squares=squares) for n, work in self.works.items()}
        self._own = engine.aligned(count, F)  # the gradient of this rank's rows
        self._all = np.empty((self._ranks, count), F)

    def prepare(self) -> None:
        with compiler.preparing():
            super().prepare()
            work = self.works[1]
            self._update(work._replace(whole=work.whole[:0], squares=work.squares[:0]), np.zeros((1, WIDTH)), 1)

    def agreed(self, steps: int) -> int:
        # Ranks must exchange as often as each other, to the last step of a chunk that diverges and is done again.
        return int(gathered(self._comm, np.array([steps])).min())

    def _steps(self, steps: int, rate: float) -> Result:
        result = super()._steps(steps, rate)
        losses, hits = np.add.accumulate(gathered(self._comm, np.stack([result.losses, result.hits])))[-1]
        return result._replace(losses=losses, hits=hits)

    def _chunk(self, steps: int, rate: float, workers: int | None = None, evaluate: bool = False) -> Result:
        """As the engine's, but losses and hits are those of this rank's rows, as shares of the batch's mean and sum."""
        result = super()._chunk(0, rate, workers, evaluate)  # sees to masked parameters that a caller wrote to
        if not steps:
            return result
        assert self.optimizer is not None
        table, workers = self.optimizer.coefficients(self.step + 1, steps, rate), workers or self.workers
        rows, validation = self._rows(steps), [_NO_EPOCH]
        losses, hits = np.zeros(steps), np.zeros(steps)
        for s in range(steps):
            losses[s], hits[s] = self._find_gradient(int(rows[s]), workers)
            self._comm.Allgather(self._own, self._all)
            work = self.works[workers]
            np.copyto(work.whole, self._all[0])
            with np.errstate(over="ignore", invalid="ignore"):  # of a run that diverges
                for other in self._all[1:]:
                    np.add(work.whole, other, out=work.whole)
            self._update(work, table[s : s + 1], workers)
            self.step += 1
            if self.step % self.per_epoch == 0 and self.validation.samples:
                validation.append(super()._chunk(0, rate, workers, evaluate=True).validation)
        return Result(losses, hits, rows, np.concatenate(validation), False)

    def _find_gradient(self, rows: int, workers: int) -> tuple[float, float]:
        """Of this rank's share of the next `rows` rows: the gradient and loss, as shares of the mean, and the hits."""
        step = self.first + self.step
        epoch, position = divmod(step, self.per_epoch)
        if position == 0 and self.shuffle:
            train.fill_order(self.order, self.net.seed, epoch)
        begin = position * self.batch
        share = self.order[begin + self._rank * rows // self._ranks : begin + (self._rank + 1) * rows // self._ranks]
        if not share.size:
            self._own[:] = 0
            return 0.0, 0.0
        part = share.size / rows
        work = self.works[workers]._replace(update=-1, target=self._own, clip=0.0)
        result = Result(np.zeros(1), np.zeros(1), self._rows(1), _NO_EPOCH, False)
        # A step number of its own for each rank: no two of them drop units by the same draws.
        run = self._run(result, part * np.eye(1, WIDTH), workers)._replace(
            first=step * self._ranks + self._rank, order=share, batch=share.size, shuffle=0
        )
        self.team.run(train.train, self.net, work, self.data, run, barrier=work.barrier, workers=workers)
        return float(result.losses[0]) * part, float(result.hits[0])

    def _update(self, work: Work, table: np.ndarray, workers: int) -> None:
        """Update the parameters by the gradient in work.whole with the coefficients `table` (1, WIDTH)."""
        coefficients = self._rounded(table)[0]
        self.team.run(
            train.update_by_whole, self.net, work, coefficients, workers, barrier=work.barrier, workers=workers
        )
