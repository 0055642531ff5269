"""How a network's work is laid out and cut: from sizes alone, so that no result depends on who computes it."""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from fastnn.cpu.phases import GRAIN, TILE
from fastnn.cpu.team import cores

PACKED_FROM = 1024  # outputs of a layer whose weight is kept in panels for the forward pass too
# Spans of a long batch that leave a gradient of their own. 4-32-16-4 with 10,000 rows and two threads: 783 us a step
# with 8 or 16, 797 with 32, 1148 without; 64-32-10 with 512 rows loses with 8 of them what it gains.
FEWEST_SPANS, MOST_SPANS, LEAST_SPAN = 8, 16, 128
LEAST_FLOPS = 400_000  # of a step that a second thread can make shorter: below, two barriers cost what it saves


def offsets(sizes: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray, int]:
    """Where each layer's weight and bias begin in the flat parameters, and their number."""
    weight, bias, n = [], [], 0
    for fan_in, fan_out in pairwise(sizes):
        weight.append(n)
        n += fan_in * fan_out
        bias.append(n)
        n += fan_out
    return np.array(weight, np.int64), np.array(bias, np.int64), n


def mask(sizes: tuple[int, ...], masks: tuple[np.ndarray | None, ...]) -> np.ndarray:
    """The layers' masks laid out like the parameters: 0 where a weight is fixed at 0; empty where no layer has one."""
    if all(each is None for each in masks):
        return np.zeros(0, np.uint8)
    weight, _, count = offsets(sizes)
    flat = np.ones(count, np.uint8)
    for start, each in zip(weight, masks, strict=True):
        if each is not None:
            flat[start : start + each.size] = each.ravel()
    return flat


def tiles(sizes: tuple[int, ...]) -> np.ndarray:
    """All tiles: layer, first row, last row + 1."""
    rows = [
        (layer, low, min(low + TILE, fan_in))
        for layer, fan_in in enumerate(sizes[:-1])
        for low in range(0, fan_in, TILE)
    ]
    return np.array(rows, np.int64)


def firsts(tiles: np.ndarray, sizes: tuple[int, ...], workers: int) -> np.ndarray:
    """Where each worker's share of the tiles begins: runs of about equal work."""
    work = np.cumsum([(high - low) * sizes[layer + 1] for layer, low, high in tiles])
    middles = work - np.diff(work, prepend=0) / 2
    begins = np.searchsorted(middles, np.arange(workers + 1) * work[-1] / workers)
    begins[0], begins[-1] = 0, len(tiles)
    return begins.astype(np.int64)


def panels(sizes: tuple[int, ...], panel: int) -> tuple[list[int], list[int], int]:
    """Where each layer's weight and its transpose begin among the panels (-1: nowhere), and how many numbers in all."""
    packed, transposed, end = [], [], 0
    for layer, (fan_in, fan_out) in enumerate(pairwise(sizes)):
        packed.append(end if fan_out >= PACKED_FROM else -1)
        end += -(-fan_out // panel) * panel * fan_in if fan_out >= PACKED_FROM else 0
        transposed.append(end if layer else -1)
        end += -(-fan_in // panel) * panel * fan_out if layer else 0
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


def flops(sizes: tuple[int, ...], batch: int) -> int:
    """Floating-point operations of the products of a training step."""
    pairs = [a * b for a, b in pairwise(sizes)]
    return batch * (6 * sum(pairs) - 2 * pairs[0])


def candidates(sizes: tuple[int, ...], batch: int, threads: int | None) -> tuple[int, ...]:
    """`threads`, or the numbers of workers worth trying, the likelier first: a worker needs a grain of rows."""
    if threads is not None:
        return (threads,)
    most = min(cores(), batch // GRAIN)
    if most < 2 or flops(sizes, batch) < LEAST_FLOPS:
        return (1,)
    return (most, 1) if flops(sizes, batch) > 4 * LEAST_FLOPS else (1, most)
