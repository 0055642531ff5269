"""How a network's work is laid out and cut: from sizes alone, so that no result depends on who computes it."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from fastnn.cells import CELLS, Loop
from fastnn.compiler import cores
from fastnn.cpu.machine import lanes
from fastnn.cpu.phases import GRAIN, TILE

PACKED_FROM = 1024  # outputs of a layer whose weight is kept in panels for the forward pass too
SHEETS_FROM = 256  # outputs of a layer whose deltas are kept in panels too, for the weight gradient
# Spans of a long batch that leave a gradient of their own. 4-32-16-4 with 10,000 rows and two threads: 783 us a step
# with 8 or 16, 797 with 32, 1148 without; 64-32-10 with 512 rows loses with 8 of them what it gains.
FEWEST_SPANS, MOST_SPANS, LEAST_SPAN = 8, 16, 128
LEAST_FLOPS = 400_000  # of a step that a second thread can make shorter: below, two barriers cost what it saves


def row(size: int, F: type) -> tuple[int, int]:
    """Numbers from one row of `size` to the next in a batch, and how many of them make whole vectors."""
    width, bytes_each = lanes(F), np.dtype(F).itemsize
    vectors = -(-size // width) * width
    # A power of two between rows would put a column's numbers into few sets of the cache.
    return (vectors + width if vectors * bytes_each % 512 == 0 else vectors), vectors


class Matrix(NamedTuple):
    """A matrix of weights: what its gradient x^T dz is made of, where x is the input that it is multiplied by.

    A layer has one, a recurrent layer two. The tile phase reads these numbers from a row of an array. x and dz lie in
    the buffer as `steps` runs of a batch's rows, after `x_skip` and `dz_skip` more; a bias's sum has those, too.
    """

    weight: int  # where it begins in the parameters
    rows: int
    columns: int
    bias: int  # where its bias begins, -1: it has none
    x: int
    x_row: int
    x_skip: int
    dz: int
    dz_row: int
    dz_skip: int
    steps: int
    turned: bool  # whether deltas go through it


def gates(loop: Loop | None) -> int:
    """Blocks of sums that a layer computes."""
    return 1 if loop is None else CELLS[loop.cell].gates


def parts(fan_in: int, units: int, loop: Loop | None) -> dict[str, tuple[int, ...]]:
    """The shapes of a layer's parameters by name, in the order in which they lie."""
    columns = units * gates(loop)
    if loop is None:
        return {"weight": (fan_in, columns), "bias": (columns,)}
    shapes: dict[str, tuple[int, ...]] = {"weight": (fan_in, columns), "recurrent_weight": (units, columns)}
    return shapes | {"bias": (columns,)} | ({"recurrent_bias": (columns,)} if CELLS[loop.cell].apart else {})


def _each(sizes: Sequence[int], loops: Sequence[Loop | None]) -> Iterator[dict[str, int]]:
    """How many numbers each part of each layer has; in Python's integers, they may be beyond int64."""
    for number, (fan_in, units) in enumerate(pairwise(sizes)):
        yield {name: math.prod(shape) for name, shape in parts(fan_in, units, loops[number] if loops else None).items()}


def count(sizes: Sequence[int], loops: Sequence[Loop | None] = ()) -> int:
    """Number of parameters."""
    return sum(sum(each.values()) for each in _each(sizes, loops))


def offsets(sizes: Sequence[int], loops: Sequence[Loop | None] = ()) -> tuple[np.ndarray, np.ndarray, int]:
    """Where each layer's weight and bias begin in the flat parameters, and their number."""
    weight, bias, n = [], [], 0
    for each in _each(sizes, loops):
        weight.append(n)
        bias.append(n + each["weight"] + each.get("recurrent_weight", 0))
        n += sum(each.values())
    return np.array(weight, np.int64), np.array(bias, np.int64), n


def mask(sizes: tuple[int, ...], masks: tuple[np.ndarray | None, ...], loops: Sequence[Loop | None] = ()) -> np.ndarray:
    """The layers' masks laid out like the parameters: 0 where a weight is fixed at 0; empty where no layer has one."""
    if all(each is None for each in masks):
        return np.zeros(0, np.uint8)
    weight, _, count = offsets(sizes, loops)
    flat = np.ones(count, np.uint8)
    for start, each in zip(weight, masks, strict=True):
        if each is not None:
            flat[start : start + each.size] = each.ravel()
    return flat


def tiles(matrices: Sequence[Matrix]) -> np.ndarray:
    """All tiles: matrix, first row, last row + 1."""
    rows = [
        (number, low, min(low + TILE, matrix.rows))
        for number, matrix in enumerate(matrices)
        for low in range(0, matrix.rows, TILE)
    ]
    return np.array(rows, np.int64)


def firsts(tiles: np.ndarray, matrices: Sequence[Matrix], workers: int) -> np.ndarray:
    """Where each worker's share of the tiles begins: runs of about equal work."""
    work = np.cumsum([(high - low) * matrices[number].columns for number, low, high in tiles])
    middles = work - np.diff(work, prepend=0) / 2
    begins = np.searchsorted(middles, np.arange(workers + 1) * work[-1] / workers)
    begins[0], begins[-1] = 0, len(tiles)
    return begins.astype(np.int64)


def panels(matrices: Sequence[Matrix], panel: int) -> tuple[list[int], list[int], int]:
    """Where each matrix and its transpose begin among the panels (-1: nowhere), and how many numbers in all."""
    packed, transposed, end = [], [], 0
    for matrix in matrices:
        wide = matrix.columns >= PACKED_FROM
        packed.append(end if wide else -1)
        end += -(-matrix.columns // panel) * panel * matrix.rows if wide else 0
        transposed.append(end if matrix.turned else -1)
        end += -(-matrix.rows // panel) * panel * matrix.columns if matrix.turned else 0
    return packed, transposed, end


def spans(sizes: tuple[int, ...], batch: int) -> tuple[int, int]:
    """Rows of a span, and how many spans of a batch leave a gradient of their own; (batch, 0) where none does.

    It pays where those gradients are fewer numbers than the rows that tiles would read again.
    """
    count = min(MOST_SPANS, batch // LEAST_SPAN)
    if count < FEWEST_SPANS or count * offsets(sizes)[2] > batch * sum(sizes):
        return batch, 0
    span = -(-batch // count // GRAIN) * GRAIN
    return span, -(-batch // span)


def products(sizes: tuple[int, ...], loops: Sequence[Loop | None] = (), steps: int = 1) -> list[int]:
    """Multiplications of a row's forward pass, layer by layer, for sequences of `steps` time steps."""
    found = []
    for number, (fan_in, fan_out) in enumerate(pairwise(sizes)):
        loop = loops[number] if loops else None
        found.append(steps * fan_out * gates(loop) * (fan_in + (fan_out if loop else 0)))
        steps = 1 if loop and not loop.sequences else steps
    return found


def sheets(matrices: list[Matrix], panel: int, batch: int, end: int, *, apart: bool) -> tuple[list[int], int]:
    """Where the deltas of each wide matrix begin once more, in panels, behind `end` of the buffer (-1: nowhere).

    Nowhere unless they lie `apart`, as a batch's rows of each layer. Returns the new end, too.
    """
    begins = []
    for matrix in matrices:
        wide = apart and matrix.columns >= SHEETS_FROM
        begins.append(end if wide else -1)
        end += -(-matrix.columns // panel) * panel * batch if wide else 0
    return begins, end


def flops(sizes: tuple[int, ...], batch: int, loops: Sequence[Loop | None] = (), steps: int = 1) -> int:
    """Floating-point operations of the products of a training step."""
    first = steps * sizes[0] * sizes[1] * gates(loops[0] if loops else None)
    return batch * (6 * sum(products(sizes, loops, steps)) - 2 * first)


def candidates(work: int, batch: int, threads: int | None) -> tuple[int, ...]:
    """`threads`, or the numbers of workers worth trying, the likelier first, for steps of `work` operations.

    A worker needs a grain of rows.
    """
    if threads is not None:
        return (threads,)
    most = min(cores(), batch // GRAIN)
    if most < 2 or work < LEAST_FLOPS:
        return (1,)
    return (most, 1) if work > 4 * LEAST_FLOPS else (1, most)
