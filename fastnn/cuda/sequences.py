"""The host's side of networks with recurrent layers on the GPU: where everything lies, and batches of sequences."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np

from fastnn.cells import CELLS
from fastnn.cpu import plan
from fastnn.cuda import phases, recurrent
from fastnn.cuda import steps as fields
from fastnn.cuda.batches import EVALUATED, Batches
from fastnn.cuda.formulas import CODES, KINDS
from fastnn.cuda.layout import Layout, Outputs, Space, dropout
from fastnn.cuda.memory import Take
from fastnn.runner import Architecture

MOST_TOGETHER = 2**26  # numbers in the buffer of an evaluation, where it has more than one row


def layout(architecture: Architecture, batch: int, steps: int, *, training: bool) -> Layout:
    """The layout for batches of `batch` sequences of `steps` time steps; raises DeviceError as Space does."""
    F, sizes, loops = architecture.F, architecture.sizes, architecture.loops
    edges, scales = dropout(architecture, training=training)
    weights, biases, _ = plan.offsets(sizes, loops)
    space, transposes = Space(sizes, batch), 0
    table = np.zeros((len(loops), fields.FIELDS), np.uint32)
    matrices: list[tuple[int, ...]] = []
    outputs: list[Outputs] = []
    turned: list[tuple[int, ...]] = []

    def turn(weight: int, rows: int, columns: int) -> int:
        nonlocal transposes
        begin, transposes = transposes, transposes + rows * columns
        turned.append((weight, begin, rows, columns))
        return begin

    def own(units: int, wanted: bool, other: int = 0) -> int:
        """A place for a layer's numbers of all steps, or that of others where they are the same."""
        return space.take(steps * batch, units) if wanted else other

    raw, skip = own(sizes[0], True), 0
    for layer, (loop, (below, units)) in enumerate(zip(loops, pairwise(sizes), strict=True)):
        cell = None if loop is None else CELLS[loop.cell]
        gated, apart = cell is not None and cell.gates > 1, cell is not None and cell.apart
        columns = units * plan.gates(loop)
        fresh = layer == 0 or bool(edges[layer])  # whether what it reads is a copy
        read = own(below, layer > 0 and fresh, raw)
        z = own(columns, True)
        h, s = own(units, gated, z), own(columns, apart, z)
        c = own(units, cell is not None and cell.memory, h)
        d, dz = own(units, training or layer == len(loops) - 1), own(columns, training)
        ds = own(columns, training and apart, dz)
        dc = space.take(batch, units) if training and gated else 0
        w, b = int(weights[layer]), int(biases[layer])
        rw, rb = w + below * columns, b + columns
        back = turn(w, below, columns) if layer > 0 else 0
        rback = turn(rw, units, columns) if cell is not None else 0
        whole, cut = (False, 0) if loop is None else (loop.sequences, loop.truncate)
        lag = 0 if fresh else skip
        last_skip = steps - 1 if loop is not None and not whole else 0
        going = steps if loop is None or whole else 1
        table[layer] = (
            below, units, columns, KINDS[loop.cell] if loop else 0, CODES[architecture.activations[layer]], steps,
            whole, cut, w, b, rw, rb, back, rback, raw, skip, read, lag, z, h, s, c, d, dz, ds, dc,
            space.take(going, batch), space.take(going, batch), last_skip, going,
            fields.share(F, fields.slice_for(batch), units) if cell is not None and not gated else 0,
        )  # fmt: skip
        matrices.append((below, columns, w, b, read, 0, dz, steps, lag, 0))
        if cell is not None:
            # Its x are the outputs of a step before: those before the first are 0, where a bias counts the step.
            bias = rb if apart else int(phases.NOWHERE)
            matrices.append((units, columns, rw, bias, h, 0, ds, steps, 0, 1))
        outputs.append(Outputs(h, steps))
        raw, skip, steps = h, last_skip, going
    return Layout(
        table, np.array(matrices, np.uint32), np.array(architecture.slopes, F), edges, scales, space.end,
        tuple(outputs), np.array(turned, np.uint32).reshape(-1, 4),
    )  # fmt: skip


class Sequences(Batches):
    """Batches of sequences (n, T, features); targets have the T, too, where all steps go on."""

    def _lay_out(self, inputs: np.ndarray, batch: int, training: bool) -> Layout:
        return layout(self.architecture, batch, inputs.shape[1], training=training)

    def _prepare(self, take: Take, loss: str, training: bool) -> None:
        last = self.layout.table[-1]
        self.going, self._skipped = int(last[fields.GOING]), int(last[fields.LAST_SKIP])
        self.target_row //= self.going
        self._cut = fields.slice_for(self.batch)
        self._kernel, self._turn = recurrent.rows(self.F, self._cut, loss), recurrent.turn(self.F)
        which = self.layout.turned.astype(np.int64)
        products = which[:, 2] * which[:, 3] if training else which[:0, 0]
        self._turns = (-(-int(products.max()) // phases.THREADS), len(which)) if products.size else None
        self._which = take.copy(self.layout.turned)
        self.turned = take.empty(max(1, int(products.sum())), self.F)

    def rows(self, s: int, stream: Any = 0) -> None:
        if self._turns is not None:
            self._turn[self._turns, phases.THREADS, stream](self.parameters, self.turned, self._which)
        self._through(recurrent.ALL, s, stream)

    def forward(self, s: int, stream: Any = 0) -> None:
        self._through(recurrent.FORWARD, s, stream)

    def losses_of(self, s: int, stream: Any = 0) -> None:
        self._through(recurrent.SCORE, s, stream)

    def _through(self, passes: int, s: int, stream: Any) -> None:
        self._kernel[-(-self.batch // self._cut.rows), self._cut.threads, stream](
            self.parameters, self.turned, self.inputs, self.targets, np.uint32(self.target_row), self.buffer,
            self.table, self.slopes, self.edges, self.scales, self.order, self.state, self.losses, self.hits,
            np.uint32(passes), np.uint32(s),
        )  # fmt: skip

    def outputs(self, rows: int) -> np.ndarray:
        """The last layer's outputs (rows, steps that go on * units) of a batch of `rows` that went through."""
        found = self.layer(len(self.layout.outputs) - 1, rows)
        some = found.reshape(-1, rows, found.shape[1])[self._skipped :]
        return some.transpose(1, 0, 2).reshape(rows, -1)

    def deltas(self, rows: int) -> list[np.ndarray]:
        """Deltas of the sums (rows, T, sums) of each recurrent layer, after a batch of `rows` went through."""
        found = []
        for entry in self.layout.table.astype(np.int64):
            if entry[fields.CELL]:
                place, steps, sums = (int(entry[field]) for field in (fields.DZ, fields.STEPS, fields.SUMS))
                all_steps = self.buffer[place : place + steps * rows * sums].copy_to_host()
                found.append(all_steps.reshape(steps, rows, sums).transpose(1, 0, 2).copy())
        return found


def batches(take: Take, architecture: Architecture, *arguments: Any, **options: Any) -> Batches:
    """The Batches of a network, with or without recurrent layers."""
    return (Sequences if architecture.loops else Batches)(take, architecture, *arguments, **options)


def evaluated(architecture: Architecture, inputs: np.ndarray) -> int:
    """How many rows of `inputs` an evaluation or prediction takes through the network together."""
    rows = min(EVALUATED, len(inputs))
    if architecture.loops:
        row = layout(architecture, 1, inputs.shape[1], training=False).size
        rows = max(1, min(rows, MOST_TOGETHER // row))
    return rows
