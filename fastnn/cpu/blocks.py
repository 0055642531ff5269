"""Block functions: the registries' formulas as loops over memory, called by address from the phases.

Each is compiled on its own when it is first needed and kept on disk, so a network compiles only what it uses and the
engine is compiled once. Arguments are addresses (of numbers of type F) and counts, as stated at each.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import types

from fastnn.activations import ACTIVATIONS
from fastnn.compiler import block, once
from fastnn.cpu.machine import lanes
from fastnn.cpu.primitives import at_address
from fastnn.cpu.simd import transpose_kernel
from fastnn.losses import LOSSES
from fastnn.optimizers import OPTIMIZERS
from fastnn.random import dropout_draws


def number(F: type) -> Any:
    """Numba's type for F."""
    return types.float32 if F is np.float32 else types.float64


@once
def activation(name: str, F: type) -> tuple[int, int]:
    """Addresses of forward(y, n, slope): y <- f(y), and backward(y, d, n, slope): d <- d f'(y). Both 0 for identity."""
    if name == "identity":
        return 0, 0
    value, derivative = ACTIVATIONS[name].make(F)
    pointer = types.CPointer(number(F))

    def forward(y, n, slope):
        for i in range(n):
            y[i] = value(y[i], slope)

    def backward(y, d, n, slope):
        for i in range(n):
            d[i] = d[i] * derivative(y[i], slope)

    label = f"{name}.{np.dtype(F).name}"
    there = block(f"activations.{label}.forward", types.void(pointer, types.intp, number(F)), forward)
    back = block(f"activations.{label}.backward", types.void(pointer, pointer, types.intp, number(F)), backward)
    return there, back


@once
def loss(name: str, F: type) -> int:
    """Address of the loss over rows, with the arguments of `over_rows` below.

    z and delta have `stride` numbers a row; row r's target is that of sample index[r]: a class (int64), or `width`
    numbers. Writes each row's loss and hit, of losses and hits always `grain` >= rows numbers, and delta, whole vectors
    a row, unless its address is 0. What space (2 * grain), x and t (width * grain each) hold has no meaning.
    """
    entry = LOSSES[name]
    over_columns, labels = entry.make(F), entry.labels
    numbers, integers = types.CPointer(number(F)), types.CPointer(types.int64)
    transpose, step, size = transpose_kernel(F), lanes(F), np.dtype(F).itemsize

    def over_rows(z, delta, stride, width, target, index, losses, hits, rows, grain, scale, space, x, t):
        # What is missing of a grain is its last row once more.
        count = 1 if labels else width
        for r in range(0, grain, step):
            for c in range(0, width, step):
                transpose(z + (r * stride + c) * size, x + (c * grain + r) * size, stride, grain, rows - r, width - c)
        for c in range(count):
            for r in range(grain):
                t[c * grain + r] = F(target[index[min(r, rows - 1)] * count + c])
        over_columns(at_address(t, x), t, width, grain, losses, hits, space, scale)
        for c in range(0, width if delta != 0 else 0, step):
            for r in range(0, rows, step):
                transpose(
                    x + (c * grain + r) * size, delta + (r * stride + c) * size, grain, stride, width - c, rows - r
                )

    signature = types.void(
        types.intp, types.intp, types.intp, types.intp, integers if labels else numbers, integers, numbers, numbers,
        types.intp, types.intp, number(F), numbers, types.intp, numbers,
    )  # fmt: skip
    return block(f"losses.{name}.{np.dtype(F).name}", signature, over_rows)


@once
def loss_abreast(name: str, F: type) -> int:
    """Address of the same loss over rows (rows, width, lanes), one network in each lane: `over_lanes` below.

    Row r of lane l has the target of sample index[r * lanes + l], and its loss and hit go there too. What space (2 for
    each such row), x and t (width for each) hold has no meaning.
    """
    entry = LOSSES[name]
    over_columns, labels = entry.make(F), entry.labels
    numbers, integers = types.CPointer(number(F)), types.CPointer(types.int64)

    def over_lanes(z, delta, width, target, index, losses, hits, rows, lanes, scale, space, x, t):
        all_rows = rows * lanes
        for r in range(rows):
            for c in range(width):
                for lane in range(lanes):
                    x[c * all_rows + r * lanes + lane] = z[(r * width + c) * lanes + lane]
        for i in range(all_rows):
            if labels:
                t[i] = F(target[index[i]])
            else:
                for c in range(width):
                    t[c * all_rows + i] = target[index[i] * width + c]
        over_columns(x, t, width, all_rows, losses, hits, space, scale)
        for r in range(rows):
            for c in range(width):
                for lane in range(lanes):
                    delta[(r * width + c) * lanes + lane] = x[c * all_rows + r * lanes + lane]

    signature = types.void(
        numbers, numbers, types.intp, integers if labels else numbers, integers, numbers, numbers,
        types.intp, types.intp, number(F), numbers, numbers, numbers,
    )  # fmt: skip
    return block(f"losses.abreast.{name}.{np.dtype(F).name}", signature, over_lanes)


@once
def dropout(F: type) -> int:
    """Address of inverted dropout (Srivastava et al. 2014): (x, y, rows, stride, first, step, layer, seed, rate).

    y = x / (1 - rate) where a unit is kept, else 0; x may be y. The draws belong to (seed, step, layer, row, column),
    rows counted from `first`, so the backward pass draws the same again.
    """
    pointer, zero, one = types.CPointer(number(F)), F(0), F(1)

    def drop(x, y, rows, stride, first, step, layer, seed, rate):
        scale = one / (one - rate)
        edge = np.uint64(np.float64(rate) * 4294967296.0)
        for r in range(rows):
            for c in range(0, stride, 4):
                draws = dropout_draws(seed, step, layer, first + r, c)
                for i in range(min(4, stride - c)):
                    at = r * stride + c + i
                    y[at] = x[at] * scale if draws[i] >= edge else zero

    signature = types.void(pointer, pointer, *([types.intp] * 6), number(F))
    return block(f"dropout.{np.dtype(F).name}", signature, drop)


@once
def clear(F: type) -> int:
    """Address of (w, mask, n): n numbers become 0 where the mask (bytes) is 0; 0.11 ns a number."""
    zero = F(0)

    def where_masked(w, mask, n):
        for i in range(n):
            w[i] = w[i] if mask[i] != 0 else zero

    signature = types.void(types.CPointer(number(F)), types.CPointer(types.uint8), types.intp)
    return block(f"clear.{np.dtype(F).name}", signature, where_masked)


@once
def update(name: str, slots: int, F: type) -> int:
    """Address of the update of n parameters: (w, g, m, v, n, coefficients); 0 where there is nothing to remember."""
    if slots == 0:
        return 0
    rule = OPTIMIZERS[name].rule(F)
    pointer = types.CPointer(number(F))
    zero = F(0)

    if slots == 1:

        def over_parameters(w, g, m, v, n, c):
            k = (c[0], c[1], c[2], c[3], c[4], c[5], c[6], c[7])  # in registers: memory might alias the parameters
            for i in range(n):
                w[i], m[i], _ = rule(w[i], g[i], m[i], zero, k)
    else:

        def over_parameters(w, g, m, v, n, c):
            k = (c[0], c[1], c[2], c[3], c[4], c[5], c[6], c[7])
            for i in range(n):
                w[i], m[i], v[i] = rule(w[i], g[i], m[i], v[i], k)

    signature = types.void(pointer, pointer, pointer, pointer, types.intp, pointer)
    return block(f"optimizers.{name}.{slots}.{np.dtype(F).name}", signature, over_parameters)
