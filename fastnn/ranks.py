"""One network trained by several processes together, each with its own copy of it and a share of every batch.

A rank finds the gradient of its own rows, as a share of the batch's mean. Of a part of the parameters each rank gets
what all of them found, adds it up in the order of ranks, and sends the sum to all; every rank makes the update by it.
So their parameters stay the same bits, and are so again in the next run. Each device has a Runner that does it, in
`parallel`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from fastnn.errors import DeviceError
from fastnn.runner import BaseRunner, Kept, Result

NO_EPOCH = np.zeros((0, 2))  # results of validation, where there is none


def gathered(comm: Any, values: np.ndarray) -> np.ndarray:
    """(ranks, ...): the array `values` of every rank of `comm`, in their order."""
    found = np.empty((comm.Get_size(), *values.shape), values.dtype)
    comm.Allgather(values, found)
    return found


class Shared(BaseRunner):
    """What the Runners of ranks have in common, before a device's own among the bases.

    Every rank of the communicator `comm` makes one alike and calls the same methods.
    """

    own: np.ndarray  # (P,) the gradient of this rank's rows
    whole: np.ndarray  # (P,) that of all
    validation: Any

    def __init__(self, comm: Any, *args: Any, **options: Any) -> None:
        self._comm, self._rank, self._ranks = comm, comm.Get_rank(), comm.Get_size()
        self._calls = self._owed = 0  # exchanges begun, in halves, of the steps for which the others wait for this rank
        super().__init__(*args, **options)

    def _take_memory(self, new: Callable[[int], np.ndarray]) -> None:
        """Make `own` and `whole` of what new(numbers) gives; zeros behind them let every rank's part be as long."""
        count = self.parameters.size
        part = -(-count // self._ranks)
        self._padded = new(self._ranks * part), new(self._ranks * part)
        self._parts = np.empty((self._ranks, part), self.architecture.F)
        self._padded[0][count:] = 0
        self.own, self.whole = (array[:count] for array in self._padded)

    def agreed(self, steps: int) -> int:
        # Ranks must exchange as often as each other, to the last step of a chunk that diverges and is done again.
        return int(gathered(self._comm, np.array([steps])).min())

    @property
    def draw(self) -> int:
        # A number of its own for each rank: no two of them drop units by the same draws.
        return super().draw * self._ranks + self._rank

    def share(self, rows: int) -> tuple[int, int]:
        """The first of a batch's `rows` that is this rank's, and the first behind it that is not.

        Of fewer rows no rank gets more, for a GPU has room for as many as it takes of a whole batch.
        """
        each, left = divmod(rows, self._ranks)
        begin = self._rank * each + min(self._rank, left)
        return begin, begin + each + (self._rank < left)

    def run(self, steps: int, rate: float) -> Result:
        """As alone. A rank that fails goes on to exchange as often as the others wait for it: then all of them raise.

        Another Ctrl-C meanwhile ends it at once, and leaves the others waiting; so does one that comes when all have
        told that they did not fail, for nothing is exchanged behind that.
        """
        self._calls, self._owed = 0, steps
        try:
            return super().run(steps, rate)
        except BaseException:
            if self._owed:
                if self._calls % 2:
                    self._give()
                for _ in range(self._calls // 2, self._owed):
                    self._exchange()
                self._tell(np.zeros((2, self._owed)), failed=True)
            raise

    def _begin_with(self, old: Kept | None, steps: int) -> Kept:
        self._calls, self._owed = 0, steps
        return super()._begin_with(old, steps)

    def _replay(self, before: Kept, steps: int, rate: float) -> Result:
        self._calls, self._owed = 0, 1
        return super()._replay(before, steps, rate)

    def _steps(self, steps: int, rate: float) -> Result:
        """The device's own, whose losses and hits are those of this rank's rows, as shares of the batch's."""
        result = super()._steps(steps, rate)
        told = self._tell(np.stack([result.losses, result.hits]), failed=False)
        failed = np.flatnonzero(told[:, 0, -1])
        if failed.size:
            raise DeviceError(f"comm: rank {failed[0]} failed while training; the parameters are as before its chunk")
        losses, hits = np.add.accumulate(told)[-1, :, :-1]
        return result._replace(losses=losses, hits=hits)

    def _tell(self, results: np.ndarray, *, failed: bool) -> np.ndarray:
        """(ranks, 2, steps + 1): the results (2, steps) of each rank, and at the end of each whether it failed."""
        told = np.column_stack([results, np.full(2, failed)])
        found = np.empty((self._ranks, *told.shape))
        self._owed = 0  # right before the call: what fails until here is told
        self._comm.Allgather(told, found)
        return found

    def _together(
        self,
        steps: int,
        find: Callable[[int], None],
        update: Callable[[int], None],
        score: Callable[[], tuple[float, float]],
    ) -> np.ndarray:
        """Make `steps` steps: `find` the gradient `own` of step s, `update` by the `whole`; `score` epochs that end.

        Returns the scores, (epochs ended, 2).
        """
        scores = [NO_EPOCH]
        for s in range(steps):
            find(s)
            self._exchange()
            update(s)
            self.step += 1
            if self.step % self.per_epoch == 0 and self.validation.samples:
                scores.append(np.array([score()]))
        return np.concatenate(scores)

    def _exchange(self) -> None:
        """Add up the `own` of all ranks into everyone's `whole`.

        A rank sends and receives two gradients at most, however many ranks there are. To gather all of them took as
        long for two ranks, and twice as long for four (0.7 and 5.8 million numbers, within a machine).
        """
        self._calls += 1  # before the call: Ctrl-C comes behind it
        self._comm.Alltoall(self._padded[0], self._parts)
        total = self._parts[0]
        with np.errstate(over="ignore", invalid="ignore"):  # of a run that diverges
            for other in self._parts[1:]:
                np.add(total, other, out=total)
        self._give()

    def _give(self) -> None:
        """Give all ranks the sum that this one has."""
        self._calls += 1
        self._comm.Allgather(self._parts[0], self._padded[1])
