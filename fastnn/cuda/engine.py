"""The host's side of the CUDA engine: what is on the device, and chunks of steps, as in `cpu.engine`.

Between two chunks the parameters in the host's memory are the truth: they go to the device when a chunk begins and come
back when it ends, so a caller may read and write them, and they survive the loss of the GPU. The optimizer's memory
stays on the device.
"""

from __future__ import annotations

import contextlib
from types import SimpleNamespace
from typing import Any

import numpy as np

from fastnn.cpu import plan, train
from fastnn.cpu.engine import Architecture, Kept, Result, join
from fastnn.cuda import layout, weights
from fastnn.cuda.batches import EVALUATED, Batches
from fastnn.cuda.graphs import Graphs
from fastnn.cuda.memory import check_room, guarded, upload
from fastnn.cuda.target import cuda
from fastnn.errors import is_finite
from fastnn.optimizers import WIDTH, Optimizer

MOST_RESULTS = 2**22  # losses of rows that stay on the device before they are fetched
MOST_STEPS = 4096


class Runner:
    """Trains one network on one data set on the GPU: the arguments and names of `cpu.engine.Runner`.

    `threads` has no meaning here. Raises DeviceError where the GPU's memory is too small.
    """

    workers = 1

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
        if optimizer is not None and optimizer.clip:
            raise ValueError(f"optimizer: {optimizer!r}; expected a clip of 0 on the GPU")
        F, sizes = architecture.F, architecture.sizes
        self.architecture, self.optimizer, self.batch, self.shuffle = architecture, optimizer, batch, shuffle
        self.parameters, self._target = parameters, target
        self.samples = len(data[0])
        self.per_epoch = -(-self.samples // batch)
        self.first = first_epoch * self.per_epoch
        self.step = 0
        self.validation = SimpleNamespace(samples=0 if validation is None else len(validation[0]))
        weights, biases, _ = plan.offsets(sizes)
        self.net = SimpleNamespace(sizes=sizes, weight=weights, bias=biases, seed=architecture.seed)
        self._slots = max(1, min(MOST_STEPS, MOST_RESULTS // batch))
        layout.check_sizes(*data, *(validation or ()), parameters)
        with guarded("its memory was filled"):
            check_room("training", self._bytes(data, validation))
            self._parameters = upload(parameters)
            slots = 0 if optimizer is None else optimizer.slots
            self._memory = [upload(np.zeros(parameters.size if slots > k else 1, F)) for k in range(2)]
            self._backup = [cuda.device_array(array.size, F) for array in self._memory[:slots]]
            self._coefficients = cuda.device_array((self._slots, WIDTH), F)
            self._gradient: Any = None
            self.batches = Batches(
                architecture, self._parameters, *data, batch, loss=loss, slots=self._slots, training=True
            )
            self._scored = None
            if validation is not None:
                rows = min(EVALUATED, len(validation[0]))
                blocks = -(-len(validation[0]) // rows)
                self._scored = Batches(architecture, self._parameters, *validation, rows, loss=loss, slots=blocks)
        self._prepare_change(None if optimizer is None else optimizer.name, slots)
        self._mask = plan.mask(sizes, architecture.masks)
        self._mask_there = upload(self._mask if self._mask.size else np.ones(1, np.uint8))
        self._order = np.arange(self.samples, dtype=np.int64)
        self._epoch_there = -1  # whose order is on the device

    def _prepare_change(self, rule: str | None, slots: int) -> None:
        F, sizes = self.architecture.F, self.architecture.sizes
        shape = weights.shape_for(F, sizes, self.batch)
        tiles = layout.tiles(sizes, shape)
        parts = weights.parts_of(len(tiles), self.batch)
        self._grid, self._threads = (len(tiles), parts), shape.threads
        partial = cuda.device_array(parts * len(tiles) * shape.rows * shape.columns if parts > 1 else 1, F)
        self._sharing = (partial, upload(np.zeros(len(tiles), np.int32)))
        self._tiles = upload(tiles)
        self._change: Any = None if rule is None else weights.change(F, shape, rule, slots)
        self._slope = weights.change(F, shape, None, 0)
        self._graphs = Graphs(self._launch, self.batches.state)

    def _bytes(self, data: Any, validation: Any) -> int:
        """What goes to the device; the tables, which are small, are left out."""
        architecture, size = self.architecture, np.dtype(self.architecture.F).itemsize
        slots = 0 if self.optimizer is None else self.optimizer.slots
        numbers = self.parameters.size * (2 + 2 * slots) + self._slots * (2 * self.batch + WIDTH)
        numbers += sum(array.size for array in (*data, *(validation or ())))
        numbers += layout.layout(architecture, self.batch, training=True).size
        if validation is not None:
            rows = min(EVALUATED, len(validation[0]))
            numbers += layout.layout(architecture, rows, training=False).size + 2 * len(validation[0])
        return numbers * size + 4 * self.samples

    def prepare(self) -> None:
        """Compile all that this runner calls, before anything is timed; what it computes is thrown away."""
        with guarded("its kernels were compiled"):
            self._send()
            self.batches.seek(0, 0, 0)
            self._launch(0, gradient=True)
            if self.optimizer is not None:
                self._coefficients[:1].copy_to_device(self._table(1, 0.0))
                self._copy(self._backup, self._memory)
                self._launch(0)
                self._copy(self._memory, self._backup)
            cuda.synchronize()

    # ---- running -----------------------------------------------------------------------------------------------------

    @property
    def epoch(self) -> int:
        """Epochs that this runner has completed."""
        return self.step // self.per_epoch

    @property
    def steps_left_in_epoch(self) -> int:
        return self.per_epoch - self.step % self.per_epoch

    def run(self, steps: int, rate: float) -> Result:
        """Train `steps` steps at learning rate `rate`; on NaN or Inf go back to the last finite parameters.

        An exception (Ctrl-C, a GPU that is lost) leaves parameters and `step` as they were before.
        """
        assert self.optimizer is not None
        begin = self.step
        kept: Kept | None = None
        try:
            with guarded("training"):
                self._copy(self._backup, self._memory)
                result, parameters = self._chunk(steps, rate)
                if np.isfinite(result.losses).all() and is_finite(parameters):
                    np.copyto(self.parameters, parameters)
                    return result
                self._go_back(begin)
                kept = self.keep()
                return self._replay(steps, rate)
        except BaseException:
            self.step = begin
            with contextlib.suppress(Exception):  # of a GPU that is lost there is no memory to bring back
                if kept is None:
                    self._go_back(begin)
                else:
                    self.bring_back(kept)
            raise

    def _send(self) -> None:
        """The host's parameters to the device; what a caller wrote at masked places is 0 again."""
        if self._mask.size:
            self.parameters[self._mask == 0] = 0
        self._parameters.copy_to_device(self.parameters)

    def _go_back(self, step: int) -> None:
        self._copy(self._memory, self._backup)
        self.step = step

    def _replay(self, steps: int, rate: float) -> Result:
        """The chunk again, step by step (the same bits), until just before the step that goes wrong."""
        done: list[Result] = []
        for _ in range(steps):
            self._copy(self._backup, self._memory)
            one, parameters = self._chunk(1, rate)
            if not (np.isfinite(one.losses).all() and is_finite(parameters)):
                self._go_back(self.step - 1)
                break
            np.copyto(self.parameters, parameters)
            done.append(one)
        return join(done, True)

    def _chunk(self, steps: int, rate: float) -> tuple[Result, np.ndarray]:
        """Train `steps` steps from the host's parameters; returns the new ones, which the host does not have yet."""
        self._send()
        done: list[Result] = []
        validation: list[tuple[float, float]] = []
        while steps:
            some = min(steps, self._slots)
            done.append(self._piece(some, rate, validation))
            steps -= some
        scores = np.array(validation).reshape(-1, 2)
        return join(done, False)._replace(validation=scores), self._parameters.copy_to_host()

    def _piece(self, steps: int, rate: float, validation: list[tuple[float, float]]) -> Result:
        """As many steps as there are slots for results, or fewer; scores of the epochs that end go to `validation`."""
        self._coefficients[:steps].copy_to_device(self._table(steps, rate))
        rows = self._rows(steps)
        done = 0
        while done < steps:
            some = min(steps - done, self.steps_left_in_epoch)
            self._aim(done)
            self._graphs.run(some)
            self.step, done = self.step + some, done + some
            if self._scored is not None and self.step % self.per_epoch == 0:
                validation.append(self._scored.score())
        losses, hits = self.batches.results(rows)
        return Result(losses / rows, hits, rows, np.zeros((0, 2)), False)

    def _table(self, steps: int, rate: float) -> np.ndarray:
        assert self.optimizer is not None
        with np.errstate(over="ignore"):  # a rate that is too large for F diverges, as it should
            table: np.ndarray = self.optimizer.coefficients(self.step + 1, steps, rate).astype(self.architecture.F)
        return table

    def _rows(self, steps: int) -> np.ndarray:
        position = (self.step + np.arange(steps)) % self.per_epoch
        return np.minimum(self.batch, self.samples - position * self.batch)

    def _aim(self, slot: int) -> None:
        """Make the next step the first of those that are launched, its results to go to `slot`."""
        epoch = (self.first + self.step) // self.per_epoch
        if self.shuffle and epoch != self._epoch_there:
            train.fill_order(self._order, self.architecture.seed, epoch)
            self.batches.order.copy_to_device(self._order.astype(np.uint32))
            self._epoch_there = epoch
        self.batches.seek(self.step % self.per_epoch, slot, self.first + self.step)

    def _launch(self, s: int, stream: Any = 0, *, gradient: bool = False) -> None:
        """The kernels of one step; with `gradient` the parameters stay, and their gradient is kept."""
        batches = self.batches
        batches.rows(s, stream)
        if gradient and self._gradient is None:
            self._gradient = cuda.device_array(self.parameters.size, self.architecture.F)
        kernel, target = (self._slope, self._gradient) if gradient else (self._change, self._parameters)
        kernel[self._grid, self._threads, stream](
            target, *self._memory, batches.inputs, batches.buffer, batches.table, batches.order, batches.state,
            self._coefficients, self._tiles, self._mask_there, self._mask.size > 0, *self._sharing, np.uint32(s),
        )  # fmt: skip

    def gradient(self, target: np.ndarray | None = None) -> float:
        """The next batch's gradient goes to `target`, in the host's memory. Returns the batch's mean loss."""
        target = self._target if target is None else target
        assert target is not None
        with guarded("computing a gradient"):
            self._send()
            self._aim(0)
            self._launch(0, gradient=True)
            self._gradient.copy_to_host(target)
            rows = self._rows(1)
            return float(self.batches.results(rows)[0][0] / rows[0])

    def try_step(self, rate: float) -> np.ndarray:
        """Make the next step, but do not count it; the losses of the batch's rows. `bring_back` undoes it."""
        with guarded("trying a step"):
            self._send()
            self._coefficients[:1].copy_to_device(self._table(1, rate))
            self._aim(0)
            self._launch(0)
            self._parameters.copy_to_host(self.parameters)
            losses: np.ndarray = self.batches.losses[: self.batch].copy_to_host()
            return losses

    # ---- state -------------------------------------------------------------------------------------------------------

    @staticmethod
    def _copy(targets: list[Any], sources: list[Any]) -> None:
        for target, source in zip(targets, sources, strict=False):
            target.copy_to_device(source)

    @property
    def memory(self) -> list[np.ndarray]:
        """Copies of what the optimizer remembers, as the CPU's engine holds it: two arrays, empty where unused."""
        nothing: np.ndarray = np.zeros(0, self.architecture.F)
        used = [array.copy_to_host() for array in self._memory[: len(self._backup)]]
        return [*used, nothing, nothing][:2]

    def keep(self) -> Kept:
        """What `bring_back` needs."""
        with guarded("its memory was read"):
            return Kept(self.step, (self.parameters.copy(), *self.memory))

    def bring_back(self, kept: Kept) -> None:
        """Put the runner where it was; arrays must have the sizes that `keep` gave."""
        np.copyto(self.parameters, kept.arrays[0])
        with guarded("its memory was written"):
            for array, old in zip(self._memory[: len(self._backup)], kept.arrays[1:], strict=False):
                array.copy_to_device(np.ascontiguousarray(old))
        self.step = kept.step

    def close(self) -> None:
        """The device's memory goes with the runner."""
