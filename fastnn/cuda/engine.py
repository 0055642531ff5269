"""The host's side of the CUDA engine: what is on the device, and chunks of steps, as in `cpu.engine`.

Between two chunks the parameters in the host's memory are the truth: they go to the device when a chunk begins and come
back when it ends, so a caller may read and write them, and they survive the loss of the GPU. The optimizer's memory
stays on the device.
"""

from __future__ import annotations

from functools import partial
from types import SimpleNamespace
from typing import Any

import numpy as np

from fastnn.cpu import plan, train
from fastnn.cuda import clipping, layout, partial_sums, statistics, weights
from fastnn.cuda.batches import Batches
from fastnn.cuda.graphs import Graphs
from fastnn.cuda.memory import Take, allocated, guarded
from fastnn.cuda.phases import THREADS
from fastnn.cuda.reductions import chunks_of
from fastnn.cuda.sequences import batches, evaluated
from fastnn.cuda.target import cuda
from fastnn.cuda.threadwise import compiled
from fastnn.optimizers import WIDTH
from fastnn.runner import BaseRunner, Kept, Result, join

__all__ = ["Runner", "compiled"]

MOST_RESULTS = 2**22  # losses of rows that stay on the device before they are fetched
MOST_STEPS = 4096


class Runner(BaseRunner):
    """The GPU's; `threads` has no meaning here. Raises DeviceError where the GPU's memory is too small."""

    def _build(
        self,
        data: tuple[np.ndarray, np.ndarray],
        validation: tuple[np.ndarray, np.ndarray] | None,
        loss: str,
        threads: int | None,
    ) -> None:
        architecture, sizes = self.architecture, self.architecture.sizes
        begins, biases, _ = plan.offsets(sizes, architecture.loops)
        self.validation = SimpleNamespace(samples=0 if validation is None else len(validation[0]))
        self.net = SimpleNamespace(sizes=sizes, weight=begins, bias=biases, seed=architecture.seed)
        self._taken = self.taken(self.batch)
        self._slots = max(1, min(MOST_STEPS, MOST_RESULTS // self._taken))
        layout.check_sizes(*data, *(validation or ()), self.parameters)
        self._mask = plan.mask(sizes, architecture.masks, architecture.loops)
        self._changed: Any = None
        allocated("training", lambda take: self._take(take, data, validation, loss))
        self._prepare_change()
        self._order = np.arange(self.samples, dtype=np.int64)
        self._later = self._order.copy()
        self._epoch_there = self._epoch_later = -1  # whose order is on the device, and in `_later`

    def taken(self, rows: int) -> int:
        """How many of a batch's `rows` go through the network here."""
        return rows

    def turn(self) -> np.ndarray:
        """The samples that go through it here, in the order of the epoch."""
        return self._order

    @property
    def _apart(self) -> bool:
        """Whether the whole gradient is found before the first parameter is updated."""
        return self.optimizer is not None and self.optimizer.clip > 0

    def _take(self, take: Take, data: Any, validation: Any, loss: str) -> None:
        """All that training needs on the device."""
        architecture, F, size = self.architecture, self.architecture.F, self.parameters.size
        self._parameters, self._gradient = take.copy(self.parameters), take.empty(size, F)
        self._memory = [take.copy(np.zeros(size if self.slots > k else 1, F)) for k in range(2)]
        self._rooms = [[take.empty(size, F) for _ in range(self.slots)] for _ in range(2)]
        self._coefficients = take.empty((self._slots, WIDTH), F)
        self._norms = take.empty((chunks_of(size), 2), F)
        self._mask_there = take.copy(self._mask if self._mask.size else np.ones(1, np.uint8))
        self.batches: Batches = batches(
            take, architecture, self._parameters, *data, self._taken, loss=loss, slots=self._slots, training=True
        )
        self._scored: Batches | None = None
        if validation is not None:
            rows = evaluated(architecture, validation[0])
            blocks = -(-len(validation[0]) // rows)
            self._scored = batches(take, architecture, self._parameters, *validation, rows, loss=loss, slots=blocks)
        self._make_change, self._grid, self._reads = self._take_change(take)

    def _take_change(self, take: Take) -> tuple[Any, Any, tuple[Any, ...]]:
        """What makes the kernel that changes the parameters, its grid and threads, and what it reads."""
        F, batches, masks = self.architecture.F, self.batches, (self._mask_there, self._mask.size > 0)
        if batches.partial:
            grid = partial_sums.blocks(self.parameters.size), partial_sums.THREADS
            return partial(partial_sums.add, F), grid, (*batches.partial, batches.state, self._coefficients, *masks)
        lines = batches.layout.longest * self._taken
        shape = weights.shape_for(F, self.architecture.sizes, lines, self.architecture.tf32)
        tiles = layout.tiles(batches.layout.matrices, shape)
        splits = weights.splits_of(tiles, lines, shape)
        sums = splits * len(tiles) * shape.rows * shape.columns if splits > 1 else 1
        return partial(weights.change, F, shape), ((len(tiles), splits), shape.threads), (
            batches.inputs, batches.buffer, batches.order, batches.state, self._coefficients,
            take.copy(tiles.reshape(-1)), *masks, take.empty(sums, F), take.copy(np.zeros(len(tiles), np.int32)),
        )  # fmt: skip

    def _prepare_change(self) -> None:
        """Choose the kernels that change the parameters."""
        self._slope, self._clip = self._make_change(None, 0), 0.0
        if self.optimizer is not None:
            self._change: Any = self._make_change(self.optimizer.name, self.slots)
            self._clip = float(self.optimizer.clip)
        self._graphs = Graphs(self._launch, self.batches.state)

    def prepare(self) -> None:
        """Compile all that this runner calls, before anything is timed; what it computes is thrown away."""
        with guarded("its kernels were compiled"):
            self.send()
            self.batches.seek(0, 0, 0)
            self._launch(0, gradient=True)
            self.batches.results(self._rows(1))
            if self.optimizer is not None:
                self._coefficients[:1].copy_to_device(self._table(1, 0.0))
                before = self.keep(self._room())
                self._launch(0)
                self.bring_back(before)
            cuda.synchronize()

    # ---- running -----------------------------------------------------------------------------------------------------

    def run(self, steps: int, rate: float) -> Result:
        with guarded("training"):
            return super().run(steps, rate)

    def send(self) -> Any:
        """The host's parameters to the device, which returns them; what a caller wrote at masked places is 0 again."""
        if self._mask.size:
            self.parameters[self._mask == 0] = 0
        self._parameters.copy_to_device(self.parameters)
        return self._parameters

    def _steps(self, steps: int, rate: float) -> Result:
        self.send()
        done: list[Result] = []
        validation: list[tuple[float, float]] = []
        while steps:
            some = min(steps, self._slots)
            done.append(self._piece(some, rate, validation))
            steps -= some
        self._parameters.copy_to_host(self.parameters)
        return join(done, False)._replace(validation=np.array(validation).reshape(-1, 2))

    def _piece(self, steps: int, rate: float, validation: list[tuple[float, float]]) -> Result:
        """As many steps as there are slots for results, or fewer; scores of the epochs that end go to `validation`."""
        self._coefficients[:steps].copy_to_device(self._table(steps, rate))
        rows = self._rows(steps)
        done = 0
        while done < steps:
            pieces = self._pieces(steps - done)
            self._aim(done)
            self._graphs.run(pieces, self._look_ahead)
            self.step, done = self.step + sum(pieces), done + sum(pieces)
            if self._scored is not None and self.step % self.per_epoch == 0:
                validation.append(self._scored.score())
        losses, hits = self.batches.results(rows)
        return Result(losses / rows, hits, rows, np.zeros((0, 2)), False)

    def _pieces(self, steps: int) -> list[int]:
        """How many steps there are of each epoch in the next `steps`, or in as many of them as wait for no other order
        and no score."""
        first = min(steps, self.steps_left_in_epoch)
        if self.shuffle or self._scored is not None:
            return [first]
        epochs, left = divmod(steps - first, self.per_epoch)
        return [first, *[self.per_epoch] * epochs, *[left] * (left > 0)]

    def _table(self, steps: int, rate: float) -> np.ndarray:
        assert self.optimizer is not None
        with np.errstate(over="ignore"):  # a rate that is too large for F diverges, as it should
            table: np.ndarray = self.optimizer.coefficients(self.step + 1, steps, rate).astype(self.architecture.F)
        return table

    def _aim(self, slot: int) -> None:
        """Make the next step the first of those that are launched, its results to go to `slot`."""
        epoch = (self.first + self.step) // self.per_epoch
        if epoch != self._epoch_there and (self.shuffle or self._epoch_there < 0):
            before, self._epoch_there = self._epoch_there, -1  # until it is there: Ctrl-C may come first
            if self.shuffle:
                self._shuffle(epoch)
                self._order, self._later, self._epoch_later = self._later, self._order, before
            self.batches.follow(self.turn())
            self._epoch_there = epoch
        self.batches.seek(self.step % self.per_epoch, slot, self.draw)

    def _look_ahead(self) -> None:
        """Find the next epoch's order while the GPU trains: for a million samples it takes 66 ms."""
        if self.shuffle:
            self._shuffle((self.first + self.step) // self.per_epoch + 1)

    def _shuffle(self, epoch: int) -> None:
        """The order of an epoch goes to `_later`."""
        if self._epoch_later != epoch:
            self._epoch_later = -1
            train.fill_order(self._later, self.architecture.seed, epoch)
            self._epoch_later = epoch

    def _launch(self, s: int, stream: Any = 0, *, gradient: bool = False) -> None:
        """The kernels of one step; with `gradient` the parameters stay, and their gradient is kept."""
        self.batches.rows(s, stream)
        apart = gradient or self._apart
        kernel, target = (self._slope, self._gradient) if apart else (self._change, self._parameters)
        grid, threads = self._grid
        kernel[grid, threads, stream](target, *self._memory, *self._reads, np.uint32(s))
        if apart and not gradient:
            self._update(s, stream)

    def _update(self, s: int, stream: Any = 0) -> None:
        """The kernels that update the parameters by the gradient that is kept."""
        assert self.optimizer is not None
        F, blocks = self.architecture.F, len(self._norms)
        if self._clip:
            clipping.measure(F)[blocks, THREADS, stream](self._gradient, self._norms)
        clipping.update(F, self.optimizer.name, self.slots)[blocks, THREADS, stream](
            self._parameters, *self._memory, self._gradient, self._norms, F(self._clip), self._coefficients,
            self.batches.state, np.uint32(s),
        )  # fmt: skip

    def slope(self) -> Any:
        """The next batch's gradient, on the device."""
        with guarded("computing a gradient"):
            self.send()
            self._aim(0)
            self._launch(0, gradient=True)
            return self._gradient

    def gradient(self) -> float:
        """The next batch's gradient goes to `target`, in the host's memory. Returns the batch's mean loss."""
        assert self.target is not None
        with guarded("computing a gradient"):
            self.slope().copy_to_host(self.target)
            rows = self._rows(1)
            return float(self.batches.results(rows)[0][0] / rows[0])

    def _one(self, rate: float) -> None:
        """Make the next step on the device, and do not count it."""
        self.send()
        self._coefficients[:1].copy_to_device(self._table(1, rate))
        self._aim(0)
        self._launch(0)

    def try_step(self, rate: float) -> np.ndarray:
        """Make the next step, but do not count it; the losses of the batch's rows. `bring_back` undoes it."""
        with guarded("trying a step"):
            self._one(rate)
            self._parameters.copy_to_host(self.parameters)
            losses: np.ndarray = self.batches.losses[: self._taken].copy_to_host()
            return losses

    def update(self, rate: float) -> Any:
        """What the next step would add to the parameters, on the device; all stays as it is."""
        F, size = self.architecture.F, self.parameters.size
        with guarded("trying a step"):
            if self._changed is None:
                self._changed = allocated("a step's update", lambda take: (take.empty(size, F), take.empty(size, F)))
            before = self._before = self.keep(self._before or self._room())
            old, change = self._changed
            try:
                old.copy_to_device(self.send())
                self._one(rate)
                statistics.subtract(F)[-(-size // THREADS), THREADS](self._parameters, old, change)
            finally:  # after Ctrl-C, too
                self.bring_back(before)
            return change

    # ---- state -------------------------------------------------------------------------------------------------------

    @property
    def memory(self) -> list[np.ndarray]:
        """Copies of what the optimizer remembers, as the CPU's engine holds it: two arrays, empty where unused."""
        nothing: np.ndarray = np.zeros(0, self.architecture.F)
        used = [array.copy_to_host() for array in self._memory[: self.slots]]
        return [*used, nothing, nothing][:2]

    def _room(self) -> Kept:
        """For what the latest chunk began with, and then for what the steps of one began with that is made again."""
        return Kept(0, (self.parameters.copy(), *self._rooms[self._before is not None]))

    def keep(self, old: Kept | None = None) -> Kept:
        """What `bring_back` needs: in the host's memory, or on the device in what `_room` gave."""
        with guarded("its memory was read"):
            if old is None:
                return Kept(self.step, (self.parameters.copy(), *self.memory))
            np.copyto(old.arrays[0], self.parameters)
            for copy, array in zip(old.arrays[1:], self._memory, strict=False):
                copy.copy_to_device(array)
            return Kept(self.step, old.arrays)

    def bring_back(self, kept: Kept) -> None:
        np.copyto(self.parameters, kept.arrays[0])
        self.step = kept.step
        with guarded("its memory was written"):
            for array, old in zip(self._memory[: self.slots], kept.arrays[1:], strict=False):
                array.copy_to_device(old)

    def deltas(self, rows: int) -> list[np.ndarray]:
        """Deltas of the sums (rows, T, sums) of each recurrent layer, after a batch of `rows` went through; copies."""
        with guarded("its memory was read"):
            return self.batches.deltas(rows)

    def close(self) -> None:
        """The device's memory goes with the runner."""
