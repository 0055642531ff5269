"""Batches of a data set on the device, and the launches that take them through a network."""

from __future__ import annotations

import logging
from functools import lru_cache
from typing import Any

import numpy as np

from fastnn.cuda import fused, head, held, layout, partial_sums, phases, reductions
from fastnn.cuda.memory import Take
from fastnn.cuda.shapes import shape_for, tiles
from fastnn.cuda.target import SIMULATED
from fastnn.runner import Architecture

EVALUATED = 8 if SIMULATED else 4096  # rows of an evaluation or prediction that go through the network together
log = logging.getLogger(__name__)


@lru_cache
def say_once(message: str, *values: Any) -> None:
    """To the log at debug level, the first time in a process."""
    log.debug(message, *values)


class Batches:
    """A network on the device and the rows of a data set that go through it in batches.

    Its arrays come from `take`. `parameters` is the device's array; `inputs` (n, fan_in) and `targets` are checked
    arrays of the host; `slots` is how many batches' losses there is room for, `orders` how many epochs' orders.
    """

    # Partial sums of the gradient where the row phase leaves them, and the rows that each is over at once: see `fused`.
    partial: tuple[Any, ...] = ()

    def __init__(
        self, take: Take, architecture: Architecture, parameters: Any, inputs: np.ndarray, targets: np.ndarray,
        batch: int, *, loss: str, slots: int, orders: int = 1, training: bool = False,
    ) -> None:  # fmt: skip
        F = architecture.F
        self.architecture, self.F, self.parameters, self.batch = architecture, F, parameters, batch
        self.samples, self.target_row = len(inputs), int(np.prod(targets.shape[1:]))
        self.layout = self._lay_out(inputs, batch, training)
        self.table, self.slopes = take.copy(self.layout.table), take.copy(self.layout.slopes)
        self.edges, self.scales = take.copy(self.layout.edges), take.copy(self.layout.scales)
        self.inputs, self.targets = take.copy(inputs.reshape(-1)), take.copy(targets.reshape(-1).astype(F, copy=False))
        self.order = take.copy(np.resize(np.arange(self.samples, dtype=np.uint32), orders * self.samples))
        self.buffer = take.empty(self.layout.size, F)
        self.losses, self.hits = take.empty(slots * batch, F), take.empty(slots * batch, F)
        self._orders = orders
        self._counts, self._sums = take.empty(slots, np.uint32), take.empty((slots, 2), F)
        self.space = take.empty(2 * batch, F)
        self._state = np.zeros(phases.WORDS, np.uint64)
        self._state[[phases.BATCH, phases.SAMPLES, phases.SEED]] = batch, self.samples, architecture.seed
        self.state = take.copy(self._state)
        self._prepare(take, loss, training)

    def _lay_out(self, inputs: np.ndarray, batch: int, training: bool) -> layout.Layout:
        return layout.layout(self.architecture, batch, training=training)

    def _prepare(self, take: Take, loss: str, training: bool) -> None:
        """Choose the kernels, and take what is theirs."""
        F, architecture = self.F, self.architecture
        self._narrow = held.cut_of(architecture, self.batch)
        fits = self._narrow is not None
        self._tf32 = architecture.tf32 and not held.narrow(architecture)
        if training and not fits:
            say_once("layers of %s units, batches of %d rows: one launch a layer", architecture.sizes, self.batch)
        self._rows: Any = None
        if training and self._narrow is not None:
            found = partial_sums.size(architecture, self.batch, self.parameters.size)
            self._rows = fused.rows(F, self._narrow, loss, found > 0)
            self._partial = take.empty(max(1, found), F)
            self.partial = (self._partial, np.uint32(self._narrow.rows)) if found else ()
        ends = training and not fits and head.takes(architecture.sizes)
        self._head = head.rows(F, loss, head.height(F, self.batch)) if ends else None
        self._take, self._lose = phases.take(F), phases.lose(F, loss)

    def follow(self, orders: np.ndarray, place: int = 0) -> None:
        """Take the rows of the data set in these `orders` (epochs, n), which may leave some out: `place` is the number
        of the first of them among those that there is room for, and behind the last of these comes number 0."""
        epochs, n = orders.shape
        self._state[[phases.SAMPLES, phases.STRIDE, phases.END]] = n, n if self._orders > 1 else 0, self._orders * n
        self.order[place * n : (place + epochs) * n].copy_to_device(orders.reshape(-1).astype(np.uint32, copy=False))

    def seek(self, position: int, slot: int, step: int, order: int = 0) -> None:
        """The next batches are from `position` of the epoch whose order is number `order`, their results go to `slot`,
        and step is `step`."""
        self._state[[phases.POSITION, phases.SLOT, phases.STEP]] = position, slot, step
        self._state[phases.ORDER] = np.uint64(order) * self._state[phases.STRIDE]
        self.state.copy_to_device(self._state)

    def rows(self, s: int, stream: Any = 0) -> None:
        """The row phase of batch s: outputs, losses and deltas."""
        last = len(self.layout.table) - 1
        if self._head is not None:
            self._layers(last, s, stream)
            self._head[-(-self.batch // head.height(self.F, self.batch)), head.THREADS, stream](
                self.parameters, self.targets, np.uint32(self.target_row), self.buffer, self.table, self.slopes,
                self.edges, self.scales, self.order, self.state, self.losses, self.hits, np.uint32(last), np.uint32(s),
            )  # fmt: skip
            self.backward(s, stream, last - 1)
            return
        if self._rows is None or self._narrow is None:
            self.losses_of(s, stream)
            self.backward(s, stream, last)
            return
        self._rows[held.blocks(self._narrow, self.batch), self._narrow.threads, stream](
            self.parameters, self.inputs, self.targets, np.uint32(self.target_row), self.buffer, self.table,
            self.slopes, self.edges, self.scales, self.order, self.state, self.losses, self.hits, self._partial,
            np.uint32(s),
        )  # fmt: skip

    def forward(self, s: int, stream: Any = 0) -> None:
        """Outputs of all layers for batch s."""
        self._layers(len(self.layout.table), s, stream)

    def _layers(self, count: int, s: int, stream: Any) -> None:
        """Outputs of the first `count` layers."""
        number = np.uint32(s)
        if self.layout.edges[0]:
            blocks = -(-self.batch * self.architecture.sizes[0] // phases.THREADS)
            self._take[blocks, phases.THREADS, stream](
                self.inputs, self.buffer, self.table, self.edges, self.scales, self.order, self.state, number
            )
        for layer, fan_out in enumerate(self.architecture.sizes[1 : count + 1]):
            shape = shape_for(self.F, self.batch, fan_out, self._tf32)
            phases.forward(self.F, shape)[tiles(self.batch, fan_out, shape), shape.threads, stream](
                self.parameters, self.inputs, self.buffer, self.table, self.slopes, self.edges, self.scales, self.order,
                self.state, np.uint32(layer), number,
            )  # fmt: skip

    def losses_of(self, s: int, stream: Any = 0) -> None:
        """Outputs, losses and hits for batch s."""
        self.forward(s, stream)
        self.lose(s, stream)

    def lose(self, s: int, stream: Any = 0) -> None:
        """Losses, hits and deltas of the last layer for batch s."""
        self._lose[-(-self.batch // phases.THREADS), phases.THREADS, stream](
            self.targets, np.uint32(self.target_row), self.buffer, self.table, self.slopes, self.order, self.state,
            self.losses, self.hits, self.space, np.uint32(len(self.architecture.sizes) - 2), np.uint32(s),
        )  # fmt: skip

    def backward(self, s: int, stream: Any, last: int) -> None:
        """Deltas of the layers before `last` for batch s."""
        for layer in range(last, 0, -1):
            fan_in = self.architecture.sizes[layer]
            shape = shape_for(self.F, self.batch, fan_in, self._tf32)
            phases.backward(self.F, shape)[tiles(self.batch, fan_in, shape), shape.threads, stream](
                self.parameters, self.inputs, self.buffer, self.table, self.slopes, self.edges, self.scales, self.order,
                self.state, np.uint32(layer), np.uint32(s),
            )  # fmt: skip

    def layer(self, number: int, rows: int) -> np.ndarray:
        """Outputs (steps * rows, units) of a layer, 0 the first after the inputs, of a batch of `rows`."""
        place, steps = self.layout.outputs[number]
        width = self.architecture.sizes[number + 1]
        found: np.ndarray = self.buffer[place : place + steps * rows * width].copy_to_host()
        return found.reshape(-1, width)

    def outputs(self, rows: int) -> np.ndarray:
        """The last layer's outputs (rows, units)."""
        return self.layer(len(self.layout.outputs) - 1, rows)

    def deltas(self, rows: int) -> list[np.ndarray]:
        """Deltas of the sums of recurrent layers, of which there are none here."""
        return []

    def results(self, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Sums of losses and hits of the batches in the first slots, which have `rows` rows, as float64."""
        count = len(rows)
        self._counts[:count].copy_to_device(rows.astype(np.uint32))
        reductions.per_batch(self.F)[count, phases.THREADS](
            self.losses, self.hits, self._counts, np.uint32(self.batch), self._sums
        )
        losses, hits = self._sums[:count].copy_to_host().astype(np.float64).T
        return losses, hits

    @property
    def blocks(self) -> int:
        """How many batches all rows are."""
        return -(-self.samples // self.batch)

    def score_all(self, stream: Any = 0) -> None:
        """Losses and hits of all rows go to the next slots, and those of the next time behind them."""
        self._score_once(stream)
        phases.advance[1, 1, stream](self.state, np.uint64(self.blocks))

    def scores(self, times: int) -> list[tuple[float, float]]:
        """Mean loss of all rows, and how many are predicted right, of each of the `times` that they were scored."""
        rows = np.minimum(self.batch, self.samples - np.arange(self.blocks) * self.batch)
        losses, hits = (part.reshape(times, -1) for part in self.results(np.tile(rows, times)))
        if self.blocks == 1:  # nothing to add up: a chunk has hundreds of short epochs
            return list(zip((losses[:, 0] / self.samples).tolist(), hits[:, 0].tolist(), strict=True))
        return [(float(one.sum() / self.samples), float(right.sum())) for one, right in zip(losses, hits, strict=True)]

    def score(self) -> tuple[float, float]:
        """Mean loss of all rows, and how many are predicted right."""
        self.seek(0, 0, 0)
        self._score_once()
        return self.scores(1)[0]

    def _score_once(self, stream: Any = 0) -> None:
        for b in range(self.blocks):
            self.losses_of(b, stream)
