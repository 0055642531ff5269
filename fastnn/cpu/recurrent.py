"""Networks with recurrent layers: the row phase of training and the forward pass, through all time steps of a row.

Both are functions that are called by address with one table of int64, so networks without such layers compile nothing
of this. Numbers lie time step after time step, (T, rows, stride): the products with the inputs of all steps are one,
and so is the gradient of every matrix in the tile phase, a sum over T * rows terms; that of the recurrent matrix has
the outputs one step earlier on its left. Rows never meet, and time is inside a row: no barrier between steps.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import types

from fastnn.cells import CELLS
from fastnn.compiler import block, inner, once
from fastnn.cpu.blocks import number
from fastnn.cpu.phases import GRAIN, ROWS
from fastnn.cpu.predict import BLOCK, FIELDS, FLAGGED, HEAD, IN, LAYERS, PREDICT, SCRATCH, WEIGHT
from fastnn.cpu.primitives import ahead, at_address, call, copy

# The table: its head, then SIZES numbers for each layer. Places count numbers, in the parameters, in the panels, or in
# the arena, where what belongs to rows lies; addresses say so.
(DEPTH, TIME, FEATURES, PARAMETERS, PANELS, PANEL, GEMM, DROP, ARENA, LOSS, COLUMNS, WIDTH, GOING, SKIPPED, CAPACITY,
 OUTPUTS, COUNTING) = range(TOP := 17)  # fmt: skip
# Of a layer: its cell (0: none, a dense layer); time steps that it reads; whether all of its steps go on; units below,
# units, sums (units times gates); of its inputs, its sums and its outputs the place and the numbers from row to row;
# steps of its inputs that come before those it reads; places of the recurrent sums and of the memory; then of weight,
# bias, recurrent weight and bias in the parameters, of the weight in panels (-1: nowhere) and of both transposes; the
# addresses of the activation's or cell's two blocks; the places of the deltas of outputs, sums, recurrent sums and
# memory; the raw inputs, where dropout makes others of them, and their earlier steps; steps of truncation; vectors.
(CELL, STEPS, WHOLE, BELOW, UNITS, SUMS, X, X_ROW, X_SKIP, Z, Z_ROW, H, H_ROW, S, C, W, B, RW, RB, PACKED, BACK, RBACK,
 THERE, RETURN, D, DZ, DS, DC, RAW, RAW_SKIP, CUT, WIDE, H_WIDE, LEAKS, MEMORY, APART) = range(SIZES := 36)  # fmt: skip


WRITTEN, ADDED = 1, 2  # where a cell's leak goes to the step before: as it is, or to what is there


@inner
def entry(table, layer):
    return TOP + SIZES * layer


@inner
def product(table, x, x_row, w, w_row, panel, s, s_row, z, z_row, rows, columns, terms, one, beta):
    """z = beta s + x w, by address."""
    call(table[GEMM], (x, x_row, 1, w, w_row, panel, s, s_row, z, z_row, rows, columns, terms, one, beta))


@inner
def segments(rows, pitch, steps):
    """How many runs of rows lie side by side in `steps` steps, and how long each is: one, if the rows are all there."""
    return (1, rows * steps) if rows == pitch else (steps, rows)


@inner
def place(table, arena, at, step, row, pitch, stride, size):
    """Address of a row of a time step in the array at `at` of the arena."""
    return arena + (table[at] + (step * pitch + row) * stride) * size


@inner
def forward(table, parameters, slopes, rates, arena, low, high, pitch, step, seed, size, one):
    """Outputs of all layers for rows low .. high, `pitch` rows in a time step; dropout where step >= 0."""
    for layer in range(table[DEPTH]):
        e = entry(table, layer)
        if step >= 0 and rates[layer] > one - one:
            for t in range(table[e + STEPS]):
                x = place(table, arena, e + RAW, table[e + RAW_SKIP] + t, low, pitch, table[e + X_ROW], size)
                y = place(table, arena, e + X, t, low, pitch, table[e + X_ROW], size)
                call(
                    table[DROP], (x, y, high - low, table[e + X_ROW], t * pitch + low, step, layer, seed, rates[layer])
                )
        runs, rows = segments(high - low, pitch, table[e + STEPS])
        for t in range(runs):
            x = place(table, arena, e + X, table[e + X_SKIP] + t, low, pitch, table[e + X_ROW], size)
            z = place(table, arena, e + Z, t, low, pitch, table[e + Z_ROW], size)
            project(table, e, parameters, slopes[layer], x, z, rows, size, one)
        if table[e + CELL] != 0:
            unroll(table, e, parameters, slopes[layer], arena, low, high - low, pitch, size, one)


@inner
def project(table, e, parameters, slope, x, z, rows, size, one):
    """z = x W + b for rows side by side, and of a dense layer y = f(z)."""
    weight, row, panel = parameters + table[e + W] * size, table[e + SUMS], table[PANEL]
    if table[e + PACKED] >= 0:
        weight, row, panel = table[PANELS] + table[e + PACKED] * size, panel, panel * table[e + BELOW]
    for r in range(0, rows, ROWS):
        some, at = min(ROWS, rows - r), z + r * table[e + Z_ROW] * size
        product(table, x + r * table[e + X_ROW] * size, table[e + X_ROW], weight, row, panel,
                parameters + table[e + B] * size, 0, at, table[e + Z_ROW], some, table[e + WIDE], table[e + BELOW],
                one, one)  # fmt: skip
        if table[e + CELL] == 0 and table[e + THERE] != 0:
            call(table[e + THERE], (at, some * table[e + Z_ROW], slope))


@inner
def unroll(table, e, parameters, slope, arena, low, rows, pitch, size, one):
    """All time steps of a recurrent layer whose sums of inputs are there."""
    weight, row, units = parameters + table[e + RW] * size, table[e + SUMS], table[e + UNITS]
    for t in range(table[e + STEPS]):
        z = place(table, arena, e + Z, t, low, pitch, table[e + Z_ROW], size)
        h = place(table, arena, e + H, t, low, pitch, table[e + H_ROW], size)
        before = h - pitch * table[e + H_ROW] * size
        if table[e + APART] != 0:
            # In the first step a sum of no terms: the bias alone.
            s = place(table, arena, e + S, t, low, pitch, table[e + Z_ROW], size)
            product(table, before, table[e + H_ROW], weight, row, table[PANEL], parameters + table[e + RB] * size, 0,
                    s, table[e + Z_ROW], rows, table[e + WIDE], units if t > 0 else 0, one, one)  # fmt: skip
        else:
            s = z
            if t > 0:
                product(table, before, table[e + H_ROW], weight, row, table[PANEL], z, table[e + Z_ROW],
                        z, table[e + Z_ROW], rows, table[e + WIDE], units, one, one)  # fmt: skip
        if table[e + SUMS] == units:
            if table[e + THERE] != 0:
                call(table[e + THERE], (z, rows * table[e + Z_ROW], slope))
        else:
            c = place(table, arena, e + C, t, low, pitch, table[e + H_ROW], size)
            call(table[e + THERE], (z, s, before, h, c, c - pitch * table[e + H_ROW] * size, rows, units,
                                    table[e + Z_ROW], table[e + H_ROW], np.int64(t == 0)))  # fmt: skip


@inner
def backward(table, slopes, rates, arena, low, high, pitch, step, seed, size, one):
    """Deltas of all sums for rows low .. high, from those of the last layer's outputs."""
    for layer in range(table[DEPTH] - 1, -1, -1):
        e = entry(table, layer)
        if table[e + CELL] != 0:
            unroll_back(table, e, slopes[layer], arena, low, high - low, pitch, size, one)
        runs, rows = segments(high - low, pitch, table[e + STEPS])
        for t in range(runs):
            if table[e + CELL] == 0 and table[e + RETURN] != 0:
                y = place(table, arena, e + Z, t, low, pitch, table[e + Z_ROW], size)
                d = place(table, arena, e + D, t, low, pitch, table[e + Z_ROW], size)
                call(table[e + RETURN], (y, d, rows * table[e + Z_ROW], slopes[layer]))
            if layer > 0:
                # z = x W  =>  dx = dz W^T
                b = entry(table, layer - 1)
                dz = place(table, arena, e + DZ, t, low, pitch, table[e + Z_ROW], size)
                dx = place(table, arena, b + D, table[e + RAW_SKIP] + t, low, pitch, table[b + H_ROW], size)
                product(table, dz, table[e + Z_ROW], table[PANELS] + table[e + BACK] * size, table[PANEL],
                        table[PANEL] * table[e + SUMS], dx, 0, dx, table[b + H_ROW], rows, table[b + H_WIDE],
                        table[e + SUMS], one, one - one)  # fmt: skip
        if layer > 0 and rates[layer] > one - one:
            b = entry(table, layer - 1)
            for t in range(table[e + STEPS]):
                dx = place(table, arena, b + D, table[e + RAW_SKIP] + t, low, pitch, table[b + H_ROW], size)
                call(
                    table[DROP],
                    (dx, dx, high - low, table[b + H_ROW], t * pitch + low, step, layer, seed, rates[layer]),
                )


@inner
def unroll_back(table, e, slope, arena, low, rows, pitch, size, one):
    """Backpropagation through time: from the derivatives by a layer's outputs to those by its sums."""
    units, steps, cut = table[e + UNITS], table[e + STEPS], table[e + CUT]
    weight, sums = table[PANELS] + table[e + RBACK] * size, table[e + SUMS]
    whole, back = one - one, pitch * table[e + H_ROW] * size
    if table[e + WHOLE] != 0:
        whole = one
    memory = place(table, arena, e + DC, 0, low, pitch, table[e + H_ROW], size)
    if table[e + MEMORY] != 0:
        nothing(table, memory, rows, e, size, one)
    for t in range(steps - 1, -1, -1):
        ends = cut > 0 and (steps - t) % cut == 0  # no gradient goes from here to the step before
        z = place(table, arena, e + Z, t, low, pitch, table[e + Z_ROW], size)
        h = place(table, arena, e + H, t, low, pitch, table[e + H_ROW], size)
        d = place(table, arena, e + D, t, low, pitch, table[e + H_ROW], size)
        dz = place(table, arena, e + DZ, t, low, pitch, table[e + Z_ROW], size)
        ds = place(table, arena, e + DS, t, low, pitch, table[e + Z_ROW], size)
        if sums == units:
            if table[e + RETURN] != 0:
                call(table[e + RETURN], (h, d, rows * table[e + H_ROW], slope))
        else:
            c = place(table, arena, e + C, t, low, pitch, table[e + H_ROW], size)
            s = place(table, arena, e + S, t, low, pitch, table[e + Z_ROW], size)
            leak = 0 if t == 0 or ends else ADDED if whole == one else WRITTEN
            call(table[e + RETURN], (z, s, h - back, c, c - back, d, memory, dz, ds, d - back, leak, rows, units,
                                     table[e + Z_ROW], table[e + H_ROW], np.int64(t == 0)))  # fmt: skip
        if t == 0:
            return
        if ends:
            if whole == one - one:
                nothing(table, d - back, rows, e, size, one)
            if table[e + MEMORY] != 0:
                nothing(table, memory, rows, e, size, one)
            continue
        beta = whole
        if table[e + LEAKS] != 0:
            beta = one
        product(table, ds, table[e + Z_ROW], weight, table[PANEL], table[PANEL] * sums, d - back, table[e + H_ROW],
                d - back, table[e + H_ROW], rows, table[e + H_WIDE], sums, one, beta)  # fmt: skip


@inner
def nothing(table, at, rows, e, size, one):
    """Zeros in rows as long as a layer's outputs: a sum of no terms."""
    zero = one - one
    product(table, at, 0, at, 0, table[PANEL], at, 0, at, table[e + H_ROW], rows, table[e + H_WIDE], 0, one, zero)


@inner
def transposed_in(table, arena, inputs, first, row, pitch, size):
    """Copy the sample at number `first` of (n, T, features) to row `row` of the arena's time steps."""
    e = entry(table, 0)
    for t in range(table[TIME]):
        to = arena + (table[e + RAW] + (t * pitch + row) * table[e + X_ROW]) * size
        copy(to, inputs + (first * table[TIME] + t) * table[FEATURES] * size, table[FEATURES] * size)


@once
def rows_address(F: type) -> int:
    """Address of the row phase for type F: forward, loss and deltas of rows low .. high of a batch of `batch` samples.

    (table, slopes, rates, inputs, targets, index, places, losses, hits, batch, low, high, scale, step, seed, worker).
    `places` has room for as many numbers as `losses`: for each time step that goes on, whole grains of rows. A row's
    loss is the mean over its steps, its hits are counted.
    """
    size, one = np.dtype(F).itemsize, F(1)

    def rows_phase(table, slopes, rates, inputs, targets, index, places, losses, hits, batch, low, high, scale, step,
                   seed, worker):  # fmt: skip
        arena, going, width = table[ARENA], table[GOING], table[WIDTH]
        for r in range(low, high):
            transposed_in(table, arena, inputs, index[r], r, batch, size)
        forward(table, table[PARAMETERS], slopes, rates, arena, low, high, batch, step, seed, size, one)
        grains = (batch + GRAIN - 1) // GRAIN * GRAIN
        last = entry(table, table[DEPTH] - 1)
        space = table[COLUMNS] + worker * 2 * (width + 1) * GRAIN * size
        part = one / F(going)
        for t in range(going):
            for r in range(low, high):
                places[t * grains + r] = index[r] * going + t
            for r in range(low, high, GRAIN):
                z = place(table, arena, last + H, table[SKIPPED] + t, r, batch, table[last + H_ROW], size)
                d = place(table, arena, last + D, table[SKIPPED] + t, r, batch, table[last + H_ROW], size)
                at = t * grains + r
                call(table[LOSS], (z, d, table[last + H_ROW], width, targets, ahead(places, at), ahead(losses, at),
                                   ahead(hits, at), min(GRAIN, high - r), GRAIN, scale * part, space,
                                   space + 2 * GRAIN * size, space + (2 + width) * GRAIN * size))  # fmt: skip
        average(losses, hits, low, high, going, grains, part)
        backward(table, slopes, rates, arena, low, high, batch, step, seed, size, one)

    pointer, integers = types.CPointer(number(F)), types.CPointer(types.int64)
    signature = types.void(
        integers, pointer, pointer, types.intp, types.intp, integers, integers, pointer, pointer, *[types.intp] * 3,
        number(F), *[types.intp] * 3,
    )  # fmt: skip
    return block(f"recurrent.rows.{np.dtype(F).name}", signature, rows_phase)


@inner
def average(losses, hits, low, high, steps, apart, part):
    """Mean losses and counted hits over `steps` time steps, `apart` numbers apart, in place of those of the first."""
    if steps == 1:
        return
    for t in range(1, steps):
        for r in range(low, high):
            losses[r] += losses[t * apart + r]
            hits[r] += hits[t * apart + r]
    for r in range(low, high):
        losses[r] = losses[r] * part


@once
def predict_address(F: type) -> int:
    """Address of the forward pass, with the arguments of `predict.predict_address`; `out` may not be 0.

    The table of prediction has one entry, which holds the address of this module's table and where parameters begin.
    """
    size, one, most = np.dtype(F).itemsize, F(1), np.finfo(F).max

    def predict(table, inputs, slopes, at, rows, out, worker, check):
        own: Any = at_address(table, table[HEAD + IN])
        flag = HEAD + FIELDS * table[LAYERS] + FLAGGED * worker
        arena, row = table[SCRATCH] + 2 * worker * table[BLOCK], own[TIME] * own[FEATURES]
        last, width = entry(own, own[DEPTH] - 1), own[WIDTH]
        if check != 0:
            table[flag] = 0
        for begin in range(0, rows, own[CAPACITY]):
            some = min(own[CAPACITY], rows - begin)
            if check != 0:
                bad = np.int32(0)
                for i in range(begin * row, (begin + some) * row):
                    bad |= np.int32(not abs(inputs[i]) <= most)
                if bad != 0:
                    table[flag] = 1
                    return
            for r in range(some):
                transposed_in(own, arena, at, begin + r, r, some, size)
            forward(own, table[HEAD + WEIGHT], slopes, slopes, arena, 0, some, some, -1, 0, size, one)
            for r in range(some):
                for t in range(own[GOING]):
                    h = place(own, arena, last + H, own[SKIPPED] + t, r, some, own[last + H_ROW], size)
                    copy(out + ((begin + r) * own[GOING] + t) * width * size, h, width * size)

    pointer = types.CPointer(number(F))
    signature = types.void(types.CPointer(types.int64), pointer, pointer, *[types.intp] * 5)
    return block(f"recurrent.predict.{np.dtype(F).name}", signature, predict)


def new_table(net: Any, workers: int, steps: int, going: int) -> np.ndarray:
    """The table of prediction for a net whose `own` table and scratch are there; keep them alive."""
    F = net.one.dtype.type
    table = np.zeros(HEAD + FIELDS + FLAGGED * workers, np.int64)
    table[:HEAD] = (
        predict_address(F), 1, steps * net.sizes[0], going * net.sizes[-1], net.gemm, net.slope.ctypes.data,
        net.scratch.ctypes.data, net.scratch.size // (2 * workers) * net.one.itemsize,
    )  # fmt: skip
    table[HEAD + IN], table[HEAD + WEIGHT] = net.own.ctypes.data, net.parameters.ctypes.data
    return table


@once
def score_address(F: type) -> int:
    """Address of (table, slopes, inputs, targets, rows, losses, hits, loss, worker): a forward pass and its losses.

    For at most ROWS rows; `table` is the table of prediction. The loss of a row is the mean over its steps, its hits
    are counted.
    """
    size, one = np.dtype(F).itemsize, F(1)

    def score(table, slopes, inputs, targets, rows, losses, hits, loss, worker):
        own: Any = at_address(table, table[HEAD + IN])
        going, width = own[GOING], own[WIDTH]
        # Outputs, then losses and hits of all steps in whole grains, then the loss's own space.
        out = table[SCRATCH] + 2 * worker * table[BLOCK] + own[OUTPUTS] * size
        at = at_address(losses, out + ROWS * going * width * size)
        right, space = ahead(at, ROWS * going + GRAIN), out + (ROWS * going * (width + 2) + 2 * GRAIN) * size
        call(table[PREDICT], (table, inputs, slopes, inputs, rows, out, worker, 0))
        for g in range(0, rows * going, GRAIN):
            z = out + g * width * size
            call(loss, (z, 0, width, width, targets, own[COUNTING] + g * 8, ahead(at, g), ahead(right, g),
                        min(GRAIN, rows * going - g), GRAIN, one, space, space + 2 * GRAIN * size,
                        space + (2 + width) * GRAIN * size))  # fmt: skip
        for r in range(rows):
            lost, hit = one - one, one - one
            for t in range(going):
                lost += at[r * going + t]
                hit += right[r * going + t]
            losses[r], hits[r] = lost / F(going), hit

    pointer = types.CPointer(number(F))
    signature = types.void(
        types.CPointer(types.int64), pointer, types.intp, types.intp, types.intp, pointer, pointer, types.intp,
        types.intp,
    )  # fmt: skip
    return block(f"recurrent.score.{np.dtype(F).name}", signature, score)


@once
def cell(name: str, F: type) -> tuple[int, int]:
    """Addresses of a cell's forward and backward over rows, which `unroll` and `unroll_back` call."""
    kind = CELLS[name]
    assert kind.make is not None
    there, back = kind.make(F)
    leaks = kind.leak

    def over_rows(z, s, before, h, c, last, rows, units, z_row, h_row, first):
        for r in range(rows):
            there(ahead(z, r * z_row), ahead(s, r * z_row), ahead(before, r * h_row), ahead(h, r * h_row),
                  ahead(c, r * h_row), ahead(last, r * h_row), units, first != 0)  # fmt: skip

    def back_over_rows(z, s, before, c, last, dh, dc, dz, ds, earlier, leak, rows, units, z_row, h_row, first):
        for r in range(rows):
            at, row = r * h_row, r * z_row
            back(ahead(z, row), ahead(s, row), ahead(before, at), ahead(c, at), ahead(last, at), ahead(dh, at),
                 ahead(dc, at), ahead(dz, row), ahead(ds, row), units, first != 0)  # fmt: skip
            if leaks and leak == WRITTEN:
                for i in range(at, at + units):
                    earlier[i] = dh[i]
            if leaks and leak == ADDED:
                for i in range(at, at + units):
                    earlier[i] += dh[i]

    pointer = types.CPointer(number(F))
    forward_type = types.void(*[pointer] * 6, *[types.intp] * 5)
    backward_type = types.void(*[pointer] * 10, *[types.intp] * 6)
    label = f"{name}.{np.dtype(F).name}"
    return (
        block(f"cells.{label}.forward", forward_type, over_rows),
        block(f"cells.{label}.backward", backward_type, back_over_rows),
    )
