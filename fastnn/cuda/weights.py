"""The tile phase: gradients of all weights and biases over the batch, and their update, in one launch.

Where tiles are few and the batch is long, several blocks share the sum of one tile: each leaves its part in memory, and
the last to come adds them up, in the order of the parts and not of arrival, and makes the update.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np

from fastnn.cuda import formulas
from fastnn.cuda.phases import (
    BEFORE,
    BIAS,
    COLUMNS,
    DELTAS,
    INDIRECT,
    INPUT,
    LATE,
    LINES,
    NOWHERE,
    ROWS_IN,
    SLOT,
    WEIGHTS,
    batch_of,
)
from fastnn.cuda.products import place, product
from fastnn.cuda.shapes import BLOCKS, Shape, room, shapes
from fastnn.cuda.target import ALIGNED, SIMULATED, cuda, device, kernel, number

U = np.uint32
LEAST_ROWS = 3 if SIMULATED else 256  # of a batch for which a part of the sum pays
TURNS = 4  # of all multiprocessors, for which a sum is in parts to fill the last one: 70 MB of parts at most
GATHERED = 0 if SIMULATED else 128  # rows of a batch that take as long as to leave a part in memory and to fetch it
LONG, WIDE = 1024, 256  # batch and width from which large tiles keep the GPU busy


def parts_of(tiles: np.ndarray, matrices: np.ndarray, batch: int) -> int:
    """In how many parts the sums over a batch are taken; tiles of biases alone are no work that counts.

    A block alone on a multiprocessor takes no less time than two: 384 tiles of 784-2048-2048-10 are two turns, and in
    halves they are three of half the time.
    """
    products = int((tiles[:, 1] < matrices[tiles[:, 0], ROWS_IN]).sum())

    def rows(parts: int) -> float:
        """What a place for a block goes through, one part after the other."""
        return -(-parts * products // BLOCKS) * (batch / parts + (GATHERED if parts > 1 else 0))

    return min(range(1, max(1, min(TURNS * BLOCKS // products, batch // LEAST_ROWS)) + 1), key=rows)


def shape_for(F: type, sizes: tuple[int, ...], batch: int, tf32: bool = False) -> Shape:
    """The shape of all tiles of a network's weights."""
    found = shapes(F, tf32)
    return found.long if batch >= LONG and max(sizes[1:]) >= WIDE else found.small


@lru_cache
def _gather(F: type, shape: Shape) -> Any:
    """The function that puts the sum of all parts in `out` and says whether this block is the one to go on with it."""
    size, down, across = shape.rows * shape.columns, shape.thread_rows // shape.groups, shape.thread_columns
    columns_of, zero, (row, column) = shape.columns, F(0), place(F, shape)

    @device
    def gather(partial, arrived, turn, out):
        tile, tiles = U(cuda.blockIdx.x), U(cuda.gridDim.x)
        part, parts = U(cuda.blockIdx.y), U(cuda.gridDim.y)
        mine = (part * tiles + tile) * U(size)
        for i in range(down):
            for j in range(across):
                partial[mine + row(U(i)) * U(columns_of) + column(U(j))] = out[i, j]
        cuda.threadfence()
        cuda.syncthreads()
        if cuda.threadIdx.x == 0:
            turn[0] = cuda.atomic.add(arrived, tile, 1)
        cuda.syncthreads()
        if U(turn[0]) != parts - U(1):
            return False
        cuda.threadfence()
        if cuda.threadIdx.x == 0:
            arrived[tile] = 0
        for i in range(down):
            for j in range(across):
                out[i, j] = zero
        for p in range(U(0), parts):
            begin = U((p * tiles + tile) * U(size))
            for i in range(down):
                for j in range(across):
                    out[i, j] += partial[begin + row(U(i)) * U(columns_of) + column(U(j))]
        return True

    return gather


@lru_cache
def _add_up(F: type, shape: Shape) -> Any:
    """The function for a tile of a bias alone, row 0 of `out`: sums of columns take no products.

    Where a layer has as many inputs as some tiles have rows, these are a third of the tiles of 64 x 64 weights.
    """
    down, across, columns_of, threads = (
        shape.thread_rows // shape.groups,
        shape.thread_columns,
        shape.columns,
        shape.threads,
    )
    groups, zero, (row, column) = max(1, threads // columns_of), F(0), place(F, shape)

    @device
    def add_up(deltas, fan_out, begin, end, n0, memory, out):
        thread = U(cuda.threadIdx.x)
        for e in range(thread, U(groups * columns_of), U(threads)):
            n, total = U(n0 + U(e) % U(columns_of)), zero
            if n < fan_out:
                for k in range(U(begin + U(e) // U(columns_of)), end, U(groups)):
                    total += deltas[k * fan_out + n]
            memory[e] = total
        cuda.syncthreads()
        for i in range(down):
            for j in range(across):
                total = zero
                if row(U(i)) == U(0):
                    for g in range(groups):
                        total += memory[U(g * columns_of) + column(U(j))]
                out[i, j] = total

    return add_up


@lru_cache
def put(F: type, rule: str | None, slots: int) -> Any:
    """The function that puts gradient g of parameter `at` to use: the optimizer's update, or the gradient as it is."""
    update: Any = formulas.rule(rule, F) if rule is not None and slots else None
    zero, applies, remembers, both = F(0), rule is not None, slots > 0, slots > 1

    @device
    def to_use(target, m, v, at, g, k):
        if not applies:
            target[at] = g
        elif not remembers:
            target[at] = k[1] * target[at] + k[0] * g
        elif both:
            target[at], m[at], v[at] = update(target[at], g, m[at], v[at], k)
        else:
            target[at], m[at], _ = update(target[at], g, m[at], zero, k)

    return to_use


@lru_cache
def change(F: type, shape: Shape, rule: str | None, slots: int) -> Any:
    """Kernel: gradient and update of a tile of a matrix, grid (tiles, parts of the sum over the batch).

    `tiles` uint32 (n, 3): row of `matrices` (see phases), first row, first column of the block's tile of the matrix's
    (I + 1, O) parameters, whose last row is the bias. `rule` None: the gradient goes to `target`, laid out like the
    parameters. `mask` uint8, laid out so too: where it is 0 the gradient is 0; of no meaning unless `masked`.
    `partial` F (parts * tiles * tile's size,) and `arrived` int32 (tiles,), all 0, are for the parts.
    """
    accumulate, (row, column), gather = product(F, shape, True, False), place(F, shape), _gather(F, shape)
    kind, zero, numbers, to_use = number(F), F(0), room(shape), put(F, rule, slots)
    add_up = _add_up(F, shape)
    down, across = shape.thread_rows // shape.groups, shape.thread_columns
    # Three of small tiles are on a multiprocessor at once, with 80 registers a thread: 784-512-512-10 has 700 of them.
    blocks = 3 if shape.groups > 1 and np.dtype(F).itemsize == 4 else 2

    @kernel(shape.threads, F, shape, rule, slots, blocks=blocks)
    def change_tile(
        target, m, v, inputs, buffer, matrices, order, state, coefficients, tiles, mask, masked, partial, arrived, s
    ):
        memory = cuda.shared.array(numbers, kind, ALIGNED)
        turn = cuda.shared.array(1, np.int32)
        out = cuda.local.array((down, across), kind)
        first, batch = batch_of(state, s)
        tile, part, parts_all = U(cuda.blockIdx.x), U(cuda.blockIdx.y), U(cuda.gridDim.y)
        number, m0, n0 = tiles[tile, 0], tiles[tile, 1], tiles[tile, 2]
        fan_in, fan_out, gathered = (
            matrices[number, ROWS_IN],
            matrices[number, COLUMNS],
            matrices[number, INDIRECT] != U(0),
        )
        x = inputs if gathered else buffer[matrices[number, INPUT] + matrices[number, BEFORE] * batch * fan_in :]
        lines, late = U(matrices[number, LINES] * batch), U(matrices[number, LATE] * batch)
        height = U(fan_in if matrices[number, BIAS] == NOWHERE else fan_in + U(1))
        share = U((lines + parts_all - U(1)) // parts_all)
        begin = U(min(lines, part * share))
        end, deltas = U(min(lines, begin + share)), buffer[matrices[number, DELTAS] :]
        if m0 == fan_in:
            add_up(deltas, fan_out, begin, end, n0, memory, out)
        else:
            accumulate(
                x, fan_in, deltas, fan_out, order[first:], gathered, late, height, fan_out, begin, end, m0, n0, memory,
                out,
            )  # fmt: skip
        if parts_all > U(1) and not gather(partial, arrived, turn, out):
            return
        # Read again: in registers these would wait for the whole product (36 bytes of spills on an A100).
        number, m0, n0 = tiles[tile, 0], tiles[tile, 1], tiles[tile, 2]
        fan_in, fan_out, weight, bias = (
            matrices[number, ROWS_IN], matrices[number, COLUMNS], matrices[number, WEIGHTS], matrices[number, BIAS]
        )  # fmt: skip
        height = U(fan_in if bias == NOWHERE else fan_in + U(1))
        c = coefficients[state[SLOT] + s]
        k = (c[0], c[1], c[2], c[3], c[4], c[5], c[6], c[7])
        for i in range(down):
            r = U(m0 + row(U(i)))
            for j in range(across):
                n = U(n0 + column(U(j)))
                if r < height and n < fan_out:
                    at, g = U(weight + r * fan_out + n if r < fan_in else bias + n), out[i, j]
                    if masked and mask[at] == np.uint8(0):
                        g = zero
                    to_use(target, m, v, at, g, k)

    return change_tile
