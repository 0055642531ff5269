"""What a snapshot shows of arrays on the device, gathered there: a few hundred numbers are fetched, not the arrays.

Means and deviations are those of chunks, which the host puts together in float64; counts are integers, which add up to
the same in any order.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache
from itertools import accumulate, pairwise
from typing import Any, NamedTuple

import numpy as np

from fastnn.cpu.observer import Summary
from fastnn.cuda.memory import allocated
from fastnn.cuda.phases import THREADS
from fastnn.cuda.reductions import CHUNK, chunks_of, tree
from fastnn.cuda.target import cuda, kernel, number

LOW, HIGH, TOTAL, SQUARES, ZEROS, SATURATED = range(FIELDS := 6)  # of a chunk; SQUARES of distances from its mean
MOST_BINS = 64
U = np.uint32


class Block(NamedTuple):
    """Rows x width numbers of a flat array on the device, from `start` on, rows `stride` apart."""

    values: Any
    start: int
    rows: int
    width: int
    stride: int

    @property
    def where(self) -> tuple[Any, ...]:
        """What kernels take."""
        return self.values, *(U(number) for number in self[1:])


@lru_cache
def summarize(F: type) -> Any:
    """Kernel: FIELDS numbers of each chunk of CHUNK values, to `chunks` F (n, FIELDS); a block a chunk.

    Below `low` and above `high` values are saturated (NaN: none is).
    """
    kind, zero, one, infinity = number(F), F(0), F(1), F(np.inf)
    largest, total = tree(True), tree(False)

    @kernel(THREADS, F)
    def summarize_chunk(values, start, rows, width, stride, low, high, chunks):
        shared = cuda.shared.array(THREADS, kind)
        thread, begin = U(cuda.threadIdx.x), U(U(cuda.blockIdx.x) * U(CHUNK))
        end = U(min(begin + U(CHUNK), U(rows * width)))
        top, negative, whole, zeros, saturated = -infinity, -infinity, zero, zero, zero
        for at in range(U(begin + thread), end, U(THREADS)):
            x = values[start + at // width * stride + at % width]
            top = x if x > top else top
            negative = -x if -x > negative else negative
            whole += x
            if x == zero:
                zeros += one
            if x < low or x > high:
                saturated += one
        top, negative = largest(shared, thread, top), largest(shared, thread, negative)
        whole, zeros, saturated = (
            total(shared, thread, whole), total(shared, thread, zeros), total(shared, thread, saturated)
        )  # fmt: skip
        mean, squares = whole / F(end - begin), zero
        for at in range(U(begin + thread), end, U(THREADS)):
            away = values[start + at // width * stride + at % width] - mean
            squares += away * away
        squares = total(shared, thread, squares)
        if thread == U(0):
            chunk = U(cuda.blockIdx.x)
            chunks[chunk, LOW], chunks[chunk, HIGH], chunks[chunk, TOTAL] = -negative, top, whole
            chunks[chunk, SQUARES], chunks[chunk, ZEROS], chunks[chunk, SATURATED] = squares, zeros, saturated

    return summarize_chunk


@lru_cache
def count(F: type) -> Any:
    """Kernel: how many values of each chunk are in each of counts.size bins between the smallest and the largest."""
    kind, zero, one, infinity, largest = number(F), F(0), F(1), F(np.inf), tree(True)

    @kernel(THREADS, F)
    def count_chunk(values, start, rows, width, stride, chunks, counts):
        shared = cuda.shared.array(THREADS, kind)
        own = cuda.shared.array(MOST_BINS, np.int32)
        thread, begin = U(cuda.threadIdx.x), U(U(cuda.blockIdx.x) * U(CHUNK))
        end, bins = U(min(begin + U(CHUNK), U(rows * width))), U(counts.size)
        top, negative = -infinity, -infinity
        for chunk in range(thread, U(chunks.shape[0]), U(THREADS)):
            top = chunks[chunk, HIGH] if chunks[chunk, HIGH] > top else top
            negative = -chunks[chunk, LOW] if -chunks[chunk, LOW] > negative else negative
        top, negative = largest(shared, thread, top), largest(shared, thread, negative)
        for b in range(thread, bins, U(THREADS)):
            own[b] = 0
        cuda.syncthreads()
        scale = F(bins) / (top + negative)
        for at in range(U(begin + thread), end, U(THREADS)):
            place = (values[start + at // width * stride + at % width] + negative) * scale
            if place >= zero and place < infinity:  # not where the values have no range, or none that a number holds
                cuda.atomic.add(own, U(min(place, F(bins) - one)), 1)
        cuda.syncthreads()
        for b in range(thread, bins, U(THREADS)):
            cuda.atomic.add(counts, b, own[b])

    return count_chunk


@lru_cache
def idle(F: type) -> Any:
    """Kernel: how many columns are 0 in every row, to count[0]; a thread a column."""
    zero = F(0)

    @kernel(THREADS, F)
    def count_idle(values, start, rows, width, stride, count):
        column = U(cuda.blockIdx.x) * U(THREADS) + U(cuda.threadIdx.x)
        if column < width:
            alive = False
            for row in range(U(0), rows):
                alive = alive or values[start + row * stride + column] != zero
            if not alive:
                cuda.atomic.add(count, 0, 1)

    return count_idle


@lru_cache
def subtract(F: type) -> Any:
    """Kernel: out <- a - b, a thread a number."""

    @kernel(THREADS, F)
    def subtract_each(a, b, out):
        at = U(cuda.blockIdx.x) * U(THREADS) + U(cuda.threadIdx.x)
        if at < U(out.size):
            out[at] = a[at] - b[at]

    return subtract_each


class Described:
    """Describes values as `cpu.observer.describe` does, in arrays that are kept; whoever has it calls it by turns. The
    device is waited for once, for all blocks.
    """

    def __init__(self, F: type) -> None:
        self._F, self._kept = F, dict[tuple[Any, ...], _Room]()

    def __call__(
        self, blocks: Sequence[Block], ends: Sequence[tuple[float, float]], bins: int, *, columns: bool = False
    ) -> list[Summary]:
        """Summaries of the blocks, each with its `ends`; with the share of dead `columns` if wanted."""
        F, room = self._F, self._room(tuple(chunks_of(block.rows * block.width) for block in blocks), bins)
        room.counts.copy_to_device(room.zeros)
        for block, (low, high), (there, counts, idle_count) in zip(blocks, ends, room.parts, strict=True):
            margin = 0.01 * (high - low)
            summarize(F)[len(there), THREADS](*block.where, F(low + margin), F(high - margin), there)
            count(F)[len(there), THREADS](*block.where, there, counts)
            if columns:
                idle(F)[-(-block.width // THREADS), THREADS](*block.where, idle_count)
        chunks, found = room.chunks.copy_to_host().astype(np.float64), room.counts.copy_to_host().astype(np.int64)
        places = pairwise(room.begins)
        return [
            _summary(block, chunks[begin:end], one)
            for block, (begin, end), one in zip(blocks, places, found.reshape(len(blocks), -1), strict=True)
        ]

    def _room(self, sizes: tuple[int, ...], bins: int) -> _Room:
        """The arrays for blocks of so many chunks: there are those of a whole batch, of an epoch's last, of weights."""
        if (sizes, bins) not in self._kept:
            begins, zeros = [0, *accumulate(sizes)], np.zeros(len(sizes) * (bins + 1), np.int32)
            chunks, counts = allocated(
                "a histogram", lambda take: (take.empty((begins[-1], FIELDS), self._F), take.copy(zeros))
            )
            places = range(0, len(zeros), bins + 1)
            parts = [
                (chunks[begin:end], counts[at : at + bins], counts[at + bins : at + bins + 1])
                for (begin, end), at in zip(pairwise(begins), places, strict=True)
            ]
            self._kept[sizes, bins] = _Room(chunks, counts, zeros, begins, parts)
        return self._kept[sizes, bins]


class _Room(NamedTuple):
    chunks: Any
    counts: Any
    zeros: np.ndarray  # what counts begin with
    begins: list[int]  # of each block's chunks
    parts: list[tuple[Any, Any, Any]]  # of each block: its chunks, and counts for its bins and of its dead columns


def _summary(block: Block, chunks: np.ndarray, found: np.ndarray) -> Summary:
    n, bins = block.rows * block.width, len(found) - 1
    low, high, total = float(chunks[:, LOW].min()), float(chunks[:, HIGH].max()), chunks[:, TOTAL]
    sizes = np.minimum(CHUNK, n - CHUNK * np.arange(len(chunks)))
    mean = float(total.sum() / n)
    with np.errstate(over="ignore", invalid="ignore"):
        squares = float((chunks[:, SQUARES] + sizes * (total / sizes - mean) ** 2).sum())
        if not high - low > 0:
            found[:bins] = 0
            found[bins // 2] = n
    return Summary(
        found[:bins], low, high, mean, math.sqrt(squares / n) if squares >= 0 else math.nan,
        float(chunks[:, ZEROS].sum() / n), float(chunks[:, SATURATED].sum() / n), float(found[bins] / block.width),
    )  # fmt: skip
