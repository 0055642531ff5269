"""The second phase of a training step: the gradient of each tile of weights, its update, and the weights' panels."""

from __future__ import annotations

import numpy as np

from fastnn.compiler import inlined, inner
from fastnn.cpu.phases import (
    BIAS,
    COLUMNS,
    DZ,
    DZ_ROW,
    DZ_SKIP,
    ROWS_IN,
    STEPS,
    TILE,
    TILES_TAKEN,
    WEIGHT,
    X_ROW,
    X_SKIP,
    X,
)
from fastnn.cpu.primitives import begin_again, call, copy, take


@inlined
def tiles_phase(net, work, batch, coefficients, worker, workers):
    """All tiles: the worker's own, then those that slower ones have not begun."""
    begin_again(work.barrier, 2 * worker)
    for turn in range(workers):
        owner = worker + turn if worker + turn < workers else worker + turn - workers
        first, end = work.firsts[owner], work.firsts[owner + 1]
        while True:
            t = first + take(work.barrier, TILES_TAKEN + 2 * owner, workers)
            if t >= end:
                break
            tile_phase(net, work, t, batch, coefficients, worker)


@inlined
def tile_phase(net, work, t, batch, coefficients, worker):
    """Gradient over the batch, update and transposed copy of tile t."""
    number, low, high = work.tiles[t, 0], work.tiles[t, 1], work.tiles[t, 2]
    matrix, F = work.matrices[number], net.one.itemsize
    columns, one, rows = matrix[COLUMNS], net.one.ctypes.data + F, high - low
    start = matrix[WEIGHT] + low * columns
    if work.partial.size > 0:
        # The gradient is 1^T of those of the spans, and biases lie behind the last row of weights.
        count = rows * columns + (columns if high == matrix[ROWS_IN] else 0)
        partial, spans = work.partial.ctypes.data + start * F, (batch + work.span - 1) // work.span
        right = partial, work.partial.shape[1], net.panel
        change(net, work, (one, 0, 0), right, start, 1, count, spans, coefficients, worker)
    else:
        # z = x W + b  =>  dW = x^T dz, and db = 1^T dz: the bias is the weight of an input that is always 1
        base, stride = work.buffer.ctypes.data, matrix[X_ROW]
        x = base + (matrix[X] + matrix[X_SKIP] * batch * stride + low) * F
        skip, terms = matrix[DZ_SKIP] * batch, matrix[STEPS] * batch
        dz = base + matrix[DZ] * F, matrix[DZ_ROW], net.panel
        right = dz[0] + skip * matrix[DZ_ROW] * F, matrix[DZ_ROW], net.panel
        if work.sheets[number] >= 0:
            right = base + work.sheets[number] * F, net.panel, net.panel * work.batch
            left = work.left.ctypes.data + worker * TILE * work.batch * F
            for r in range(batch):
                copy(left + r * TILE * F, x + r * stride * F, rows * F)
            x, stride = left, np.int64(TILE)
        change(net, work, (x, 1, stride), right, start, rows, columns, terms, coefficients, worker)
        if low == 0 and matrix[BIAS] >= 0:
            change(net, work, (one, 0, 0), dz, matrix[BIAS], 1, columns, terms + skip, coefficients, worker)
    if work.update >= 0:
        pack(net, work, number, low, high)


@inner
def change(net, work, left, right, start, rows, columns, terms, coefficients, worker):
    """Change rows x columns numbers of the target from `start` by the gradient x^T dz, a sum of `terms` products.

    left: x's address and its strides by row and column of x^T; right: dz's address and its strides by term and panel.
    """
    (x, row, column), (dz, stride, panel) = left, right
    F = net.one.itemsize
    if work.update <= 0:
        target = work.target.ctypes.data + start * F
        call(net.gemm, (x, row, column, dz, stride, panel, target, columns, target, columns, rows, columns, terms,
                        coefficients[0], coefficients[1]))  # fmt: skip
        clear(work, target, start, rows * columns)
        return
    # The gradient of a few rows stays in cache between its product and the update that reads it once.
    block = work.block // columns
    gradient = work.gradient.ctypes.data + worker * work.block * F
    for r in range(0, rows, block):
        some = min(block, rows - r)
        at = (start + r * columns) * F
        call(net.gemm, (x + r * row * F, row, column, dz, stride, panel, gradient, columns, gradient, columns,
                        some, columns, terms, net.one[1], net.one[0]))  # fmt: skip
        clear(work, gradient, start + r * columns, some * columns)
        call(work.update, (work.target.ctypes.data + at, gradient, work.m.ctypes.data + at, work.v.ctypes.data + at,
                           some * columns, coefficients.ctypes.data))  # fmt: skip


@inner
def clear(work, address, start, count):
    """Make those of `count` numbers at `address` 0 that belong to masked parameters, from number `start` on."""
    if work.mask.size > 0:
        call(work.clear, (address, work.mask.ctypes.data + start, count))


@inner
def pack(net, work, number, low, high):
    """Bring the panels of rows low .. high of a matrix, which have just changed, up to date."""
    matrix, panel, F = work.matrices[number], net.panel, net.one.itemsize
    fan_in, fan_out = matrix[ROWS_IN], matrix[COLUMNS]
    weight, panels = net.parameters[matrix[WEIGHT] :], work.panels
    if work.packed[number] >= 0:
        for o in range(0, fan_out, panel):
            columns = min(panel, fan_out - o) * F
            to = panels.ctypes.data + (work.packed[number] + o * fan_in) * F
            for i in range(low, high):
                copy(to + i * panel * F, weight.ctypes.data + (i * fan_out + o) * F, columns)
    if work.transposed[number] >= 0:
        to = panels.ctypes.data + work.transposed[number] * F
        call(work.transpose, (weight.ctypes.data, to, low, high, fan_out))
