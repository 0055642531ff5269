"""How a network and its batches lie in the GPU's memory: from sizes alone."""

from __future__ import annotations

from itertools import pairwise
from typing import NamedTuple

import numpy as np

from fastnn.cpu import plan
from fastnn.cpu.engine import Architecture
from fastnn.cuda import phases
from fastnn.cuda.formulas import CODES
from fastnn.cuda.products import Shape
from fastnn.errors import DeviceError

MOST = 2**32  # numbers in an array: places in it are 32 bits wide


class Layout(NamedTuple):
    """What kernels read of a network beside its parameters; see `phases`."""

    table: np.ndarray  # uint32 (L, FIELDS)
    slopes: np.ndarray  # F (L,)
    edges: np.ndarray  # uint64 (L,)
    scales: np.ndarray  # F (L,)
    size: int  # numbers in the buffer


def check_sizes(*arrays: np.ndarray) -> None:
    """Raises DeviceError for data or parameters in which a place takes more than 32 bits."""
    if max(array.size for array in arrays) >= MOST:
        raise DeviceError(f"device: data or parameters of {MOST:,} numbers or more do not fit; use the CPU")


def layout(architecture: Architecture, batch: int, *, training: bool) -> Layout:
    """The layout for batches of `batch` rows; with dropout and deltas where `training`.

    Raises DeviceError where a place in the buffer takes more than 32 bits.
    """
    F, sizes = architecture.F, architecture.sizes
    rates = architecture.dropout if training else (0.0,) * len(sizes)
    weights, _, _ = plan.offsets(sizes)
    table = np.zeros((len(sizes) - 1, phases.FIELDS), np.uint32)
    end = 0

    def reserve(units: int) -> int:
        nonlocal end
        begin, end = end, end + -(-batch * units // 32) * 32  # a cache line of 128 bytes
        if end > MOST:
            raise DeviceError(
                f"device: batches of {batch:,} rows through layers of {sizes} units do not fit; "
                "expected a smaller batch or narrower layers"
            )
        return begin

    read = reserve(sizes[0]) if rates[0] else 0
    for layer, (fan_in, fan_out) in enumerate(pairwise(sizes)):
        wrote = reserve(fan_out)
        after = reserve(fan_out) if layer + 2 < len(sizes) and rates[layer + 1] else wrote
        table[layer, [phases.IN, phases.OUT, phases.WEIGHT]] = fan_in, fan_out, weights[layer]
        table[layer, phases.GATHERED] = layer == 0 and not rates[0]
        table[layer, [phases.READ, phases.WROTE, phases.NEXT]] = read, wrote, after
        table[layer, phases.DELTA] = reserve(fan_out)
        table[layer, phases.CODE] = CODES[architecture.activations[layer]]
        read = after
    # The last units have no layer that reads them.
    edges = np.array([int(float(F(rate)) * 2.0**32) for rate in rates[:-1]], np.uint64)
    scales: np.ndarray = np.array([F(1) / (F(1) - F(rate)) for rate in rates[:-1]], F)
    return Layout(table, np.array(architecture.slopes, F), edges, scales, end)


def tiles(sizes: tuple[int, ...], shape: Shape) -> np.ndarray:
    """The tiles of all parameters, uint32 (n, 3): layer, first row and column; the last row of a layer is its bias."""
    rows = [
        (layer, row, column)
        for layer, (fan_in, fan_out) in enumerate(pairwise(sizes))
        for row in range(0, fan_in + 1, shape.rows)
        for column in range(0, fan_out, shape.columns)
    ]
    return np.array(rows, np.uint32)
