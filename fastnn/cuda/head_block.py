"""What a block of `head` knows, and what it brings to shared memory: weights, its rows' inputs and their targets.

What is brought is on its way when a function returns; after `wait` and a barrier it is there.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np

from fastnn.cuda.phases import CODE, DELTA, IN, OUT, READ, WEIGHT, WROTE
from fastnn.cuda.row_loss import FIELDS
from fastnn.cuda.shapes import PAD
from fastnn.cuda.target import SIMULATED, cuda, device
from fastnn.cuda.vectors import aligned, copy_number, copy_vector, in_vector

ROW = 32  # numbers of shared memory for a row of them
THREADS, COLUMNS = (1, 1) if SIMULATED else (512, 16)
GROUPS = THREADS // COLUMNS  # of threads that share a sum
TEAM = min(ROW, THREADS)  # threads that have an output each of a row, a warp
TEAMS = THREADS // TEAM
BYTES = 512 if SIMULATED else 24592  # of weights in shared memory: of 512 terms for 10 or 12 units, and a vector behind
TERMS = 8 if SIMULATED else THREADS  # of the sums, at most, that are in shared memory at once
BESIDE = GROUPS + PAD  # numbers from the parts of a column's sum to those of the next
LINE = max(TERMS, COLUMNS * BESIDE, FIELDS * TEAM)  # numbers of a row that lie behind the weights
U = np.uint32


def room_of(F: type) -> int:
    """Numbers of type F of shared memory for weights; behind those that are there at once is a vector of zeros."""
    return BYTES // np.dtype(F).itemsize


class Block(NamedTuple):
    """What a block is given, see `phases`: the batch has `batch` rows, from `first` of order on, and of these the block
    has `count`, from `begin` on; their results go to `slot` ...

    `threads` of the block and numbers in a `vector` are steps of loops that the compiler does not know: it would unroll
    them, and code that runs once is fetched once.
    """

    parameters: Any
    targets: Any
    target_row: Any
    buffer: Any
    edges: Any
    scales: Any
    order: Any
    state: Any
    losses: Any
    hits: Any
    last: Any
    s: Any
    first: Any
    batch: Any
    slot: Any
    begin: Any
    count: Any
    threads: Any
    vector: Any


class Layer(NamedTuple):
    """A layer, as its row of the table has it; `read`, `wrote` and `delta` are the places of the block's first row."""

    fan_in: Any
    width: Any
    weight: Any
    code: Any
    slope: Any
    read: Any
    wrote: Any
    delta: Any


class Shared(NamedTuple):
    """The block's shared memory: `memory` for weights, of `terms` terms of the sums at once, and behind them the rows'
    inputs, then parts of their sums, then what is summed for the loss. z, `wanted` (targets) and `deltas` are those of
    the last layer, (height, ROW), but deltas by columns."""

    memory: Any
    z: Any
    wanted: Any
    deltas: Any
    terms: Any


@device
def layer_of(table, slopes, layer, begin):
    """The layer for a block whose rows begin at `begin`."""
    fan_in, width, weight = table[layer, IN], table[layer, OUT], table[layer, WEIGHT]
    read, wrote, delta = table[layer, READ], table[layer, WROTE], table[layer, DELTA]
    return Layer(
        fan_in, width, weight, table[layer, CODE], slopes[layer], U(read + begin * fan_in), U(wrote + begin * width),
        U(delta + begin * width),
    )  # fmt: skip


@lru_cache
def _bring(F: type) -> Any:
    """The function for `count` numbers of `array` from `at` on: they are on their way to `memory`, from `to` on.

    Behind the first `there` are zeros. Of threads that share the work this is number `e` of `step`; they copy vectors
    where all of the numbers are in `whole` ones.
    """
    V = in_vector(F)

    @device
    def bring(memory, to, array, at, count, there, whole, e, step):
        size = U(V) if whole else U(1)
        e, step = U(e * size), U(step * size)
        while e < count:
            start = U(at + min(e, U(there - size)))
            if whole:
                copy_vector(memory, U(to + e), array, start, e < there)
            else:
                copy_number(memory, U(to + e), array, start, e < there)
            e = U(e + step)

    return bring


@lru_cache
def factors(F: type, height: int) -> tuple[Any, Any]:
    """weights and inputs (block, layer, shared, k0, there): bring those of the `there` terms from k0 on.

    Behind them are zeros, up to whole vectors, and behind the weights one vector more.
    """
    bring, room, V, line, per_row = _bring(F), room_of(F), in_vector(F), LINE, THREADS // height

    @device
    def weights(block, layer, shared, k0, there):
        width, count = layer.width, U((there + U(V - 1)) // U(V) * U(V))
        bring(
            shared.memory, U(0), block.parameters, U(layer.weight + k0 * width), U(count * width + U(V)),
            U(there * width), aligned(block.parameters[layer.weight :], layer.fan_in * width), U(cuda.threadIdx.x),
            block.threads,
        )  # fmt: skip

    @device
    def inputs(block, layer, shared, k0, there):
        row, count = U(U(cuda.threadIdx.x) // U(per_row)), U((there + U(V - 1)) // U(V) * U(V))
        if row < block.count:
            bring(
                shared.memory, U(U(room) + row * U(line)), block.buffer, U(layer.read + row * layer.fan_in + k0), count,
                there, aligned(block.buffer[layer.read :], layer.fan_in), U(U(cuda.threadIdx.x) % U(per_row)),
                U(block.threads // U(height)),
            )  # fmt: skip

    return weights, inputs


@device
def sample_of(block, e):
    """Which sample has number e of the rows' targets; 0 behind the last row."""
    return block.order[U(block.first + block.begin + e // U(ROW))] if e < U(block.count * U(ROW)) else U(0)


@device
def targets(block, shared, sample):
    """The rows' targets are on their way. `sample` is that of the thread's first number, asked for before, for it has
    to be waited for."""
    e = U(cuda.threadIdx.x)
    while e < U(block.count * U(ROW)):
        at = U(e % U(ROW))
        if at < block.target_row:
            copy_number(shared.wanted, e, block.targets, U(sample * block.target_row + at), True)
        e = U(e + block.threads)
        sample = sample_of(block, e)
