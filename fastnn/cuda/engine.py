"""The host's side of the CUDA engine: what is on the device, and chunks of steps, as in `cpu.engine`.

Between two chunks the parameters in the host's memory are the truth: they go to the device when a chunk begins and come
back when it ends, so a caller may read and write them, and they survive the loss of the GPU. The optimizer's memory
stays on the device.
"""

from __future__ import annotations

from collections.abc import Iterator
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
MOST_STEPS = 2**14  # of the smallest networks, those of a chunk and more
MOST_ORDERS = 2**20  # samples of which the order is found ahead, if an epoch has not more


class Runner(BaseRunner):
    """The GPU's; `threads` has no meaning here. Raises DeviceError where the GPU's memory is too small."""

    lengthened = 2.0  # more frames of a UI fit in between two times that the host is needed
    waiting = True

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
        self._ahead = self._epochs_ahead(validation)
        # A ring, twice as long: the orders of the next epochs are found while the GPU trains by those before.
        count = 2 * self._ahead if self.shuffle else 1
        layout.check_sizes(np.broadcast_to(np.int64(0), (count, self.samples)))
        self._orders = np.resize(np.arange(self.samples, dtype=np.int64), (count, self.samples))
        first = self.turn(self._orders[0])
        self._turned = np.resize(first.astype(np.uint32), (count, len(first)))  # as they go there
        self._found, self._sent = [-1] * count, [-1] * count  # of which epochs the orders are, here and on the device
        self._mask = plan.mask(sizes, architecture.masks, architecture.loops)
        self._changed: Any = None
        allocated("training", lambda take: self._take(take, data, validation, loss))
        self._prepare_change()

    def _epochs_ahead(self, validation: tuple[np.ndarray, np.ndarray] | None) -> int:
        """In how many epochs the steps may be that are launched at once."""
        ahead = -(-self._slots // self.per_epoch) + 1
        if self.shuffle:
            ahead = min(ahead, min(MOST_ORDERS, (layout.MOST - 1) // 2) // self.samples)
        if validation is not None:
            rows = evaluated(self.architecture, validation[0])
            ahead = min(ahead, MOST_RESULTS // (-(-len(validation[0]) // rows) * rows))
        return max(1, ahead)

    def taken(self, rows: int) -> int:
        """How many of a batch's `rows` go through the network here."""
        return rows

    def turn(self, order: np.ndarray) -> np.ndarray:
        """The samples that go through it here, in the order of an epoch."""
        return order

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
            take, architecture, self._parameters, *data, self._taken, loss=loss, slots=self._slots,
            orders=len(self._orders), training=True,
        )  # fmt: skip
        self._scored: Batches | None = None
        if validation is not None:
            rows = evaluated(architecture, validation[0])
            slots = -(-len(validation[0]) // rows) * self._ahead
            self._scored = batches(take, architecture, self._parameters, *validation, rows, loss=loss, slots=slots)
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
        score, blocks = (None, 0) if self._scored is None else (self._scored.score_all, self._scored.blocks)
        self._graphs = Graphs(self._launch, self.batches.state, self.per_epoch, score, blocks)

    def prepare(self) -> None:
        """Compile all that this runner calls, before anything is timed; what it computes is thrown away."""
        train.fill_orders(self._orders[:0], self.architecture.seed, 0)
        with guarded("its kernels were compiled"):
            self.send()
            if self._scored is not None:
                self._scored.seek(0, 0, 0)
                self._scored.losses_of(0)
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
        # The context is looked up once: each of 20 calls would ask for it twice, and let go of Python's lock.
        with guarded("training"):
            self._take_gpu()
            result: Result = cuda.require_context(super().run)(steps, rate)
        return result

    def _take_gpu(self) -> None:
        """Make its GPU the current one of this thread, where there are several."""

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
            # As many as wait for nothing: the first epoch may be over in part.
            some = min(steps - done, self.steps_left_in_epoch + (self._ahead - 1) * self.per_epoch)
            position = self.step % self.per_epoch
            self._aim(done, some)
            if self._scored is not None:
                self._scored.seek(0, 0, 0)
            self._graphs.run(position, some, partial(self._look_ahead, some))
            self.step, done = self.step + some, done + some
            ended = (position + some) // self.per_epoch
            if self._scored is not None and ended:
                validation.extend(self._scored.scores(ended))
        losses, hits = self.batches.results(rows)
        return Result(losses / rows, hits, rows, np.zeros((0, 2)), False)

    def _table(self, steps: int, rate: float) -> np.ndarray:
        assert self.optimizer is not None
        with np.errstate(over="ignore"):  # a rate that is too large for F diverges, as it should
            table: np.ndarray = self.optimizer.coefficients(self.step + 1, steps, rate).astype(self.architecture.F)
        return table

    def _aim(self, slot: int, steps: int = 1) -> None:
        """Make the next step the first of the `steps` that are launched, its results to go to `slot`."""
        epochs = self._epochs(steps)
        self._find(epochs)
        for begin, end, _ in self._missing(epochs, self._sent):
            self._sent[begin:end] = [-1] * (end - begin)  # until they are there: Ctrl-C may come first
            self.batches.follow(self._turned[begin:end], begin)
            self._sent[begin:end] = self._found[begin:end]
        self.batches.seek(self.step % self.per_epoch, slot, self.draw, epochs[0] % len(self._orders))

    def _epochs(self, steps: int) -> range:
        """The epochs of the next `steps` steps whose orders they need; 0 for all where nothing is shuffled."""
        if not self.shuffle:
            return range(1)
        begin = self.first + self.step
        return range(begin // self.per_epoch, (begin + steps - 1) // self.per_epoch + 1)

    def _missing(self, epochs: range, there: list[int]) -> Iterator[tuple[int, int, int]]:
        """Runs of places in the ring that lack orders of `epochs`: where they begin and end, and the first epoch."""
        lacking = [epoch for epoch in epochs if there[epoch % len(there)] != epoch]
        while lacking:
            first, begin = lacking[0], lacking[0] % len(there)
            count = 1
            while count < len(lacking) and lacking[count] == first + count and begin + count < len(there):
                count += 1
            yield begin, begin + count, first
            lacking = lacking[count:]

    def _find(self, epochs: range) -> None:
        """Find the orders of `epochs`."""
        for begin, end, first in self._missing(epochs, self._found):
            self._found[begin:end] = [-1] * (end - begin)
            if self.shuffle:
                train.fill_orders(self._orders[begin:end], self.architecture.seed, first)
                for place in range(begin, end):
                    self._turned[place] = self.turn(self._orders[place])
            self._found[begin:end] = range(first, first + end - begin)

    def _look_ahead(self, steps: int) -> None:
        """While the GPU trains, find the orders of the epochs behind the next `steps` steps (for a million samples it
        takes 66 ms), and call `meanwhile`."""
        if self.shuffle:
            now = self._epochs(steps)
            self._find(range(now.stop, now.stop + len(now)))
        if self.meanwhile is not None:
            self.meanwhile()

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
