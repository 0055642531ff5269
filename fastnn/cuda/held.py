"""How a block holds rows of a narrow network in shared memory, and the three products that it makes of them there.

The rows' numbers of one layer (outputs, then deltas) are at the beginning of the memory, the tile that they are
multiplied with behind them: weights, or for the gradient of weights the rows of the layer before. Both lie there row by
row, as in the GPU's memory, so that copies need no thread to wait for them; of which direction the terms of a sum are,
vectors of 16 bytes are read along it or across. A thread has `down` x `across` sums in registers.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np

from fastnn.cuda import head
from fastnn.cuda.products import repeated
from fastnn.cuda.shapes import BLOCKS, PAD
from fastnn.cuda.target import SIMULATED, cuda, device, number
from fastnn.cuda.vectors import in_vector, load
from fastnn.runner import Architecture

TERMS = 4 if SIMULATED else 16  # that are multiplied without a loop: sums are padded with zeros to a multiple of them
WIDEST = 128  # units of a layer but the inputs: wider ones have tiles for all multiprocessors
# Multiplications of a row that take as long as two launches, which each hidden layer but one would have; twice as many
# where a multiprocessor has two blocks of rows, for a launch then takes twice as long, and both blocks hardly more than
# one. Row phases by an emulator of sm_90's machine code, here and layer by layer, in us: 784-128-10 at batch 64 40 and
# 20, at 1,024 40 and 24, at 2,048 46 and 42; 128-128-128-10 29 and 24, 29 and 27, 34 and 45; 784-128-128-10 48 and 30,
# 48 and 34, 57 and 59. Not timed on a GPU.
LAUNCHES = 36_000
U = np.uint32


class Cut(NamedTuple):
    """Rows that a block takes at once, units of the widest layer, terms of a sum that a tile of weights has, and the
    rows and columns of a product of which a thread has the sums."""

    rows: int
    columns: int
    slab: int
    down: int
    across: int

    @property
    def threads_down(self) -> int:
        return self.rows // self.down

    @property
    def threads_across(self) -> int:
        return self.columns // self.across

    @property
    def threads(self) -> int:
        return self.threads_down * self.threads_across

    @property
    def stride(self) -> int:
        """From a row in shared memory to the next."""
        return self.columns + PAD

    @property
    def tile(self) -> int:
        """Where the tile begins in shared memory."""
        return self.rows * self.stride

    @property
    def room(self) -> int:
        """Numbers of shared memory for rows and tile."""
        rows, columns, slab, *_ = self
        return self.tile + max(slab * (columns + PAD), columns * (slab + PAD), rows * (rows + PAD))


# By the widest layer and the length of the batch: few rows leave fewer multiprocessors without any (batch 128 has 16
# blocks), of many each number that is read of the weights is used more often. All fit in 48 KiB of shared memory.
OF_SINGLE = (
    (Cut(8, 64, 64, 1, 4), Cut(32, 64, 64, 4, 4), Cut(64, 64, 64, 4, 4)),
    (Cut(8, 128, 32, 2, 4), Cut(32, 128, 32, 4, 4)),
)
OF_DOUBLE = (
    (Cut(8, 64, 32, 1, 4), Cut(32, 64, 32, 4, 4)),
    (Cut(8, 128, 16, 2, 4), Cut(16, 128, 16, 4, 4)),
)
TINY = (Cut(4, 8, 4, 4, 8),), (Cut(4, 128, 4, 4, 128),)  # one Python thread a block


def narrow(architecture: Architecture) -> bool:
    """Whether a block can take rows through all layers."""
    return not architecture.loops and max(architecture.sizes[1:]) <= WIDEST


def cut_of(architecture: Architecture, batch: int) -> Cut | None:
    """How a batch's rows are cut, or None where each layer has a launch of its own: of networks that are not narrow, or
    of few rows of wide ones with few layers, for tiles share the terms of a sum among more threads."""
    if not narrow(architecture):
        return None
    all_cuts = TINY if SIMULATED else OF_SINGLE if np.dtype(architecture.F).itemsize == 4 else OF_DOUBLE
    cuts = next(cuts for cuts in all_cuts if max(architecture.sizes[1:]) <= cuts[0].columns)
    cut = next((cut for cut in cuts if batch <= BLOCKS * cut.rows), cuts[-1])
    few = len(cuts) > 1 and cut is cuts[0]
    return None if few and _longer_than_launches(architecture.sizes, batch, cut) else cut


def _longer_than_launches(sizes: tuple[int, ...], batch: int, cut: Cut) -> bool:
    """Whether few rows take longer through all layers than a launch takes for each layer."""
    launches, turns = len(sizes) - 3, -(-2 * batch // (BLOCKS * cut.rows))
    multiplications = cut.columns * (sum(sizes[:-1]) + sum(sizes[2:]))  # of a row, forward and backward
    return head.takes(sizes) and multiplications > LAUNCHES * turns * launches


def blocks(cut: Cut, batch: int) -> int:
    """How many blocks share a batch's rows: one that has been through some takes more of them."""
    return min(BLOCKS, -(-batch // cut.rows))


@device
def whole_lines(numbers):
    """`numbers`, or as many as begin at the next line of the cache."""
    return U((U(numbers) + U(31)) // U(32) * U(32))


@device
def padded(terms):
    """`terms`, or the next multiple of TERMS."""
    return U((terms + U(TERMS - 1)) // U(TERMS) * U(TERMS))


@lru_cache
def thread_place(cut: Cut) -> tuple[Any, Any]:
    """thread_row() and thread_column(): the thread's place among those down and across a product.

    A warp has 4 times 8 of them: the vectors that it reads at once then meet no bank twice, and a warp beyond the
    columns of a layer has nothing to do. Neighbors share their columns: of 16 threads each vector is read once only if
    two that are side by side, or one apart, want the same.
    """
    down, across = cut.threads_down, cut.threads_across
    near, tall = min(across, 8), min(down, 4)
    lanes, warps, pair = near * tall, across // near, 2 - tall % 2

    @device
    def thread_row():
        thread = U(cuda.threadIdx.x)
        lane = U(thread % U(lanes))
        return U(thread // U(lanes * warps) * U(tall) + lane // U(pair * near) * U(pair) + lane % U(pair))

    @device
    def thread_column():
        thread = U(cuda.threadIdx.x)
        return U(thread // U(lanes) % U(warps) * U(near) + thread % U(lanes) // U(pair) % U(near))

    return thread_row, thread_column


def _over(some: Any, at_once: int, step_a: int, step_b: int) -> Any:
    """The function that does `some`, the products of `at_once` terms, for all `terms` of a sum, a multiple of TERMS.

    A term is `step_a` and `step_b` numbers behind the one before, from a and b on.
    """
    multiply = repeated(some, TERMS // at_once, at_once * step_a, at_once * step_b)

    @device
    def all_terms(memory, a, b, terms, sums):
        k = U(0)
        while k < terms:
            multiply(memory, a + np.uint64(k * U(step_a)), b + np.uint64(k * U(step_b)), U(0), sums)
            k = U(k + U(TERMS))

    return all_terms


@lru_cache
def forward(F: type, cut: Cut) -> Any:
    """The function (memory, first, terms, sums): adds rows times tile, from the rows' column `first` on.

    A thread's rows are thread_row() + i * threads_down, its columns thread_column() * across + j.
    """
    V, kind, rows, columns = in_vector(F), number(F), cut.down, cut.across
    (thread_row, thread_column), stride, tile, left = thread_place(cut), cut.stride, cut.tile, rows * V
    next_row = cut.threads_down * stride

    @device
    def some(memory, a, b, within, sums):
        x, y = cuda.local.array(left, kind), cuda.local.array(columns, kind)
        for i in range(rows):
            load(memory, a + np.uint64(i * next_row), x, i * V)
        for k in range(V):
            for j in range(0, columns, V):
                load(memory, b + np.uint64(k * stride + j), y, j)
            for i in range(rows):
                for j in range(columns):
                    sums[i * columns + j] += x[i * V + k] * y[j]

    multiply = _over(some, V, 1, stride)

    @device
    def add(memory, first, terms, sums):
        a = np.uint64(thread_row() * U(stride) + first)
        b = np.uint64(U(tile) + thread_column() * U(columns))
        multiply(memory, a, b, terms, sums)

    return add


@lru_cache
def backward(F: type, cut: Cut) -> Any:
    """The function (memory, first, terms, sums): adds rows times transposed tile, whose rows have `slab` numbers.

    Rows as in `forward`; a thread's columns are thread_column() + j * threads_across.
    """
    V, kind, rows, columns = in_vector(F), number(F), cut.down, cut.across
    (thread_row, thread_column), stride, deep, tile = thread_place(cut), cut.stride, cut.slab + PAD, cut.tile
    next_row, next_column = cut.threads_down * stride, cut.threads_across * deep
    left, right = rows * V, columns * V

    @device
    def some(memory, a, b, within, sums):
        x, y = cuda.local.array(left, kind), cuda.local.array(right, kind)
        for i in range(rows):
            load(memory, a + np.uint64(i * next_row), x, i * V)
        for j in range(columns):
            load(memory, b + np.uint64(j * next_column), y, j * V)
        for k in range(V):
            for i in range(rows):
                for j in range(columns):
                    sums[i * columns + j] += x[i * V + k] * y[j * V + k]

    multiply = _over(some, V, 1, 1)

    @device
    def add(memory, first, terms, sums):
        a = np.uint64(thread_row() * U(stride) + first)
        b = np.uint64(U(tile) + thread_column() * U(deep))
        multiply(memory, a, b, terms, sums)

    return add


@lru_cache
def gradient(F: type, cut: Cut) -> Any:
    """The function (memory, terms, sums): adds transposed tile times rows, a term a row.

    The tile has `rows` columns; of them a thread has vectors thread_row() + i * threads_down. Its columns of the rows
    are those of `forward`.
    """
    V, kind, rows, columns = in_vector(F), number(F), cut.down, cut.across
    (thread_row, thread_column), stride, deep, tile = thread_place(cut), cut.stride, cut.rows + PAD, cut.tile
    next_row = cut.threads_down

    @device
    def some(memory, a, b, within, sums):
        x, y = cuda.local.array(rows, kind), cuda.local.array(columns, kind)
        for i in range(0, rows, V):
            load(memory, a + np.uint64(i * next_row), x, i)
        for j in range(0, columns, V):
            load(memory, b + np.uint64(j), y, j)
        for i in range(rows):
            for j in range(columns):
                sums[i * columns + j] += x[i] * y[j]

    multiply = _over(some, 1, deep, stride)

    @device
    def add(memory, terms, sums):
        a = np.uint64(U(tile) + thread_row() * U(V))
        b = np.uint64(thread_column() * U(columns))
        multiply(memory, a, b, terms, sums)

    return add
