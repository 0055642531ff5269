"""The host's side of networks with recurrent layers: where everything lies, as the table that `recurrent` reads."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from fastnn.cells import CELLS
from fastnn.cpu import blocks, plan, recurrent
from fastnn.cpu.phases import GRAIN, ROWS, Net, Work
from fastnn.cpu.recurrent import SIZES, TOP

ARENA_BYTES = 1 << 21  # that a block of predicted rows may take, where it is more than one row


class Layout(NamedTuple):
    """A network's arena for blocks of `capacity` rows of `steps` time steps, and the table over it."""

    table: np.ndarray  # int64; addresses are still missing
    numbers: int  # in the arena
    matrices: list[plan.Matrix]  # what the tile phase needs
    places: dict[str, list[int]]  # of the units' "outputs" before and "inputs" after dropout, and their "deltas"
    steps: list[int]  # time steps that the arena holds of each layer's outputs, inputs first
    going: int  # time steps of the last layer's outputs that go on to the loss


def layout(architecture: Any, net: Net, steps: int, capacity: int, *, training: bool) -> Layout:
    """Lay out the arena, with room for deltas and for what dropout leaves if it is for `training`.

    Arrays are (steps, capacity, stride); a smaller batch puts its time steps closer together.
    """
    sizes, loops, F = architecture.sizes, architecture.loops, architecture.F
    weight, bias, _ = plan.offsets(sizes, loops)
    table = np.zeros(TOP + SIZES * len(loops), np.int64)
    entries = table[TOP:].reshape(len(loops), SIZES)
    matrices: list[plan.Matrix] = []
    held, end = [steps], 0
    places: dict[str, list[int]] = {"outputs": [], "inputs": [], "deltas": [0]}

    def take(rows: int, stride: int) -> int:
        nonlocal end
        begin, end = end, end + -(-rows * stride // 16) * 16
        return begin

    raw, skip = take(steps * capacity, plan.row(sizes[0], F)[0]), 0
    for number, (loop, below, units) in enumerate(zip(loops, sizes, sizes[1:], strict=False)):
        cell = None if loop is None else CELLS[loop.cell]
        sums = units * (cell.gates if cell else 1)
        x_row, (h_row, h_wide), (z_row, wide) = plan.row(below, F)[0], plan.row(units, F), plan.row(sums, F)
        rows = steps * capacity
        dropped = training and architecture.dropout[number] > 0
        x = take(rows, x_row) if dropped else raw
        z = take(rows, z_row)
        h = take(rows, h_row) if sums > units else z
        s = take(rows, z_row) if cell and cell.apart else z
        c = take(rows, h_row) if cell and cell.memory else 0
        d = take(rows, h_row) if training else 0
        dz = take(rows, z_row) if training and sums > units else d
        ds = take(rows, z_row) if training and cell and cell.apart else dz
        dc = take(capacity, h_row) if training and cell and cell.memory else 0
        w, b = int(weight[number]), int(bias[number])
        x_skip = 0 if dropped else skip
        e = entries[number]
        e[recurrent.STEPS], e[recurrent.BELOW], e[recurrent.UNITS], e[recurrent.SUMS] = steps, below, units, sums
        e[recurrent.X], e[recurrent.X_ROW], e[recurrent.X_SKIP] = x, x_row, x_skip
        e[recurrent.Z], e[recurrent.Z_ROW], e[recurrent.H], e[recurrent.H_ROW] = z, z_row, h, h_row
        e[recurrent.S], e[recurrent.C], e[recurrent.W], e[recurrent.B] = s, c, w, b
        e[recurrent.D], e[recurrent.DZ], e[recurrent.DS], e[recurrent.DC] = d, dz, ds, dc
        e[recurrent.RAW], e[recurrent.RAW_SKIP] = raw, skip
        e[recurrent.WIDE], e[recurrent.H_WIDE] = wide, h_wide
        e[recurrent.PACKED] = -1
        matrices.append(plan.Matrix(w, below, sums, b, x, x_row, x_skip, dz, z_row, 0, steps, number > 0))
        there, back = blocks.activation(architecture.activations[number], F)
        if loop is not None and cell is not None:
            if cell.make is not None:
                there, back = recurrent.cell(cell.name, F)
            rw, rb = w + below * sums, b + sums if cell.apart else -1
            e[recurrent.CELL], e[recurrent.WHOLE], e[recurrent.CUT] = 1, int(loop.sequences), loop.truncate
            e[recurrent.RW], e[recurrent.RB] = rw, rb
            e[recurrent.APART], e[recurrent.MEMORY], e[recurrent.LEAKS] = cell.apart, cell.memory, cell.leak
            matrices.append(plan.Matrix(rw, units, sums, rb, h, h_row, 0, ds, z_row, 1, steps - 1, True))
        e[recurrent.THERE], e[recurrent.RETURN] = there, back
        places["outputs"].append(raw)
        places["inputs"].append(x)
        places["deltas"].append(d)
        held.append(steps)
        raw, skip = h, 0
        if loop is not None and not loop.sequences:
            skip, steps = steps - 1, 1
    for name in ("outputs", "inputs"):
        places[name].append(raw)
    table[recurrent.DEPTH], table[recurrent.WIDTH] = len(loops), sizes[-1]
    table[recurrent.TIME], table[recurrent.FEATURES] = entries[0, recurrent.STEPS], sizes[0]
    table[recurrent.GOING], table[recurrent.SKIPPED] = steps, skip
    table[recurrent.CAPACITY], table[recurrent.PANEL], table[recurrent.GEMM] = capacity, net.panel, net.gemm
    return Layout(table, end, matrices, places, held, steps)


def for_training(found: Layout, net: Net, work: Work, batch: int) -> Work:
    """Work that goes through time, in the arena that is work.buffer."""
    table = found.table
    F: type = net.one.dtype.type
    entries = table[TOP:].reshape(-1, SIZES)
    number = 0
    for e in entries:
        e[recurrent.PACKED], e[recurrent.BACK] = work.packed[number], work.transposed[number]
        number += 1
        if e[recurrent.CELL]:
            e[recurrent.RBACK] = work.transposed[number]
            number += 1
    for field, address in (
        (recurrent.PARAMETERS, net.parameters.ctypes.data),
        (recurrent.PANELS, work.panels.ctypes.data),
        (recurrent.DROP, net.drop),
        (recurrent.ARENA, work.buffer.ctypes.data),
        (recurrent.LOSS, work.loss),
        (recurrent.COLUMNS, work.columns.ctypes.data),
    ):
        table[field] = address
    rows = found.going * (-(-batch // GRAIN) * GRAIN)
    more = max(rows, work.losses.size)
    return work._replace(
        unroll=recurrent.rows_address(F),
        unrolled=table,
        places=np.zeros(rows, np.int64),
        losses=np.zeros(more, F),
        hits=np.zeros(more, F),
        score=recurrent.score_address(F),
    )


def for_prediction(architecture: Any, net: Net, steps: int, workers: int, aligned: Any) -> Net:
    """The net with a table for predictions over `steps` time steps, and scratch memory for them."""
    F = architecture.F
    row = layout(architecture, net, steps, 1, training=False).numbers * np.dtype(F).itemsize
    found = layout(architecture, net, steps, max(1, min(ROWS, ARENA_BYTES // row)), training=False)
    width, going = architecture.sizes[-1], found.going
    # Behind a worker's arena: outputs, losses and hits of ROWS rows, and the loss's own space.
    outputs = ROWS * going * (width + 2) + 2 * GRAIN + 2 * (width + 1) * GRAIN
    part = -(-(found.numbers + outputs) // 32) * 32
    scratch = aligned(workers * part, F)
    own: np.ndarray = np.concatenate([found.table, np.arange(ROWS * going)])
    own[recurrent.OUTPUTS] = found.numbers
    own[recurrent.COUNTING] = own.ctypes.data + found.table.nbytes
    net = net._replace(scratch=scratch, own=own)
    return net._replace(table=recurrent.new_table(net, workers, steps, going))


def deltas(work: Work, rows: int) -> list[np.ndarray]:
    """Deltas of the sums (rows, T, sums) of each recurrent layer, after a batch of `rows` went through; copies."""
    found = []
    for e in work.unrolled[TOP:].reshape(-1, SIZES):
        if e[recurrent.CELL]:
            start, steps, row = (int(e[field]) for field in (recurrent.DZ, recurrent.STEPS, recurrent.Z_ROW))
            all_steps = work.buffer[start : start + steps * rows * row].reshape(steps, rows, row)
            found.append(all_steps[:, :, : int(e[recurrent.SUMS])].transpose(1, 0, 2).copy())
    return found
