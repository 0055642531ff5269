"""The tile phase: gradients of all weights and biases over the batch, and their update, in one launch.

Where tiles are few and the batch is long, the sum of a tile is split among several blocks (split-K): each leaves its
partial sums in memory, and the last to come adds them up, in the order of the splits and not of arrival, and makes the
update.
"""

from __future__ import annotations

from functools import lru_cache
from itertools import pairwise
from math import prod
from typing import Any

import numpy as np

from fastnn.cuda import formulas
from fastnn.cuda.dependent import await_previous
from fastnn.cuda.phases import (
    BEFORE,
    BIAS,
    COLUMNS,
    DELTAS,
    FIRST_COLUMN,
    FIRST_ROW,
    INDIRECT,
    INPUT,
    LATE,
    LINES,
    NOWHERE,
    ROWS_IN,
    SLOT,
    TILE,
    WEIGHTS,
    batch_of,
)
from fastnn.cuda.products import place, product
from fastnn.cuda.shapes import BLOCKS, Shape, room, shapes, tiles
from fastnn.cuda.target import ALIGNED, SIMULATED, cuda, device, kernel, number
from fastnn.cuda.vectors import aligned, in_vector, load, moving

U = np.uint32
GRADIENT = True, False  # which factors of a product are transposed: x^T dz
LEAST_ROWS = 3 if SIMULATED else 256  # of a batch for which a split of the sum pays
TURNS = 4  # of all multiprocessors, for which a sum is split to fill the last one: 70 MB of partial sums at most
GATHERED = 0 if SIMULATED else 128  # rows of a batch that take as long as to leave and to fetch partial sums
LONG, WIDE = 1024, 256  # batch and width from which large tiles keep the GPU busy


def splits_of(tiles: np.ndarray, batch: int, shape: Shape) -> int:
    """In how many splits the sums over a batch are taken; tiles of biases alone are no work that counts.

    A block alone on a multiprocessor takes no less time than two, of small tiles no less than all that have room there:
    384 tiles of 784-2048-2048-10 are two turns, and in halves they are three of half the time.
    """
    products = int((tiles[:, FIRST_ROW] < tiles[:, ROWS_IN]).sum())
    places = BLOCKS // 2 * (shape.blocks if shape.groups > 1 else 2)

    def rows(splits: int) -> float:
        """What a place for a block goes through, one split after the other."""
        return -(-splits * products // places) * (batch / splits + (GATHERED if splits > 1 else 0))

    return min(range(1, max(1, min(TURNS * places // products, batch // LEAST_ROWS)) + 1), key=rows)


def shape_for(F: type, sizes: tuple[int, ...], batch: int, tf32: bool = False) -> Shape:
    """The shape of all tiles of a network's weights."""
    found = shapes(F, tf32)
    if batch >= LONG and max(sizes[1:]) >= WIDE:
        return found.long
    count = sum(prod(tiles(rows, columns, found.small)) for rows, columns in pairwise(sizes))
    return found.small if count <= BLOCKS // 2 * found.small.blocks else found.short  # all of them at once


@lru_cache
def _gather(F: type, shape: Shape) -> Any:
    """The function that puts the sum of all splits in `out` and says whether this block is the one to go on with it."""
    size, (down, across) = shape.rows * shape.columns, shape.own
    columns_of, zero, (row, column) = shape.columns, F(0), place(F, shape, *GRADIENT)

    @device
    def gather(partial, arrived, turn, out):
        tile, tiles = U(cuda.blockIdx.x), U(cuda.gridDim.x)
        split, splits = U(cuda.blockIdx.y), U(cuda.gridDim.y)
        mine = (split * tiles + tile) * U(size)
        for i in range(down):
            for j in range(across):
                partial[mine + row(U(i)) * U(columns_of) + column(U(j))] = out[i, j]
        cuda.threadfence()
        cuda.syncthreads()
        if cuda.threadIdx.x == 0:
            turn[0] = cuda.atomic.add(arrived, tile, 1)
        cuda.syncthreads()
        if U(turn[0]) != splits - U(1):
            return False
        cuda.threadfence()
        if cuda.threadIdx.x == 0:
            arrived[tile] = 0
        for i in range(down):
            for j in range(across):
                out[i, j] = zero
        for p in range(U(0), splits):
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
    (down, across), columns_of, threads = shape.own, shape.columns, shape.threads
    groups, zero, (row, column) = max(1, threads // columns_of), F(0), place(F, shape, *GRADIENT)

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
def put(F: type, rule: str | None, slots: int, count: int, step: int) -> tuple[Any, Any]:
    """The functions that put gradients to use: the optimizer's update, or the gradient as it is.

    `step` neighbors are updated at once, by vectors where rows are `whole`, else those that are among `left`. take: to
    `old`, of 3 * `count` numbers, what the update needs of the parameters from `at` on; give: what becomes of them, by
    the gradients g[i, j ..].
    """
    update: Any = formulas.rule(rule, F) if rule is not None and slots else None
    zero, kept, (read, write) = F(0), 0 if rule is None else 1 + slots, moving(F, step)

    @device
    def take(target, m, v, at, left, whole, old, place):
        if kept > 0:
            read(target, at, left, whole, old, place)
        if kept > 1:
            read(m, at, left, whole, old, count + place)
        if kept > 2:
            read(v, at, left, whole, old, 2 * count + place)

    @device
    def give(target, m, v, at, left, whole, old, place, g, i, j, k):
        for e in range(step):
            w = place + e
            if kept == 0:
                old[w] = g[i, j + e]
            elif kept == 1:
                old[w] = k[1] * old[w] + k[0] * g[i, j + e]
            elif kept == 2:
                old[w], old[count + w], _ = update(old[w], g[i, j + e], old[count + w], zero, k)
            else:
                old[w], old[count + w], old[2 * count + w] = update(
                    old[w], g[i, j + e], old[count + w], old[2 * count + w], k
                )
        write(target, at, left, whole, old, place)
        if kept > 1:
            write(m, at, left, whole, old, count + place)
        if kept > 2:
            write(v, at, left, whole, old, 2 * count + place)

    return take, give


@lru_cache
def change(F: type, shape: Shape, rule: str | None, slots: int) -> Any:
    """Kernel: gradient and update of a tile of a matrix, grid (tiles, splits of the sum over the batch).

    `tiles` uint32 (n * TILE,): see `layout.tiles`; the block's tile is one of the matrix's (I + 1, O) parameters, whose
    last row is the bias. `rule` None: the gradient goes to `target`, laid out like the parameters. `mask` uint8, laid
    out so too: where it is 0 the gradient is 0; of no meaning unless `masked`. `partial` F (splits * tiles *
    tile's size,) and `arrived` int32 (tiles,), all 0, are for the splits.
    """
    (accumulate, add_groups), (row, column) = product(F, shape, *GRADIENT), place(F, shape, *GRADIENT)
    gather, kind, zero, numbers, add_up = _gather(F, shape), number(F), F(0), room(shape, *GRADIENT), _add_up(F, shape)
    (down, across), V = shape.own, in_vector(F)
    step = V if across % V == 0 else 1
    early = shape.groups > 1  # a thread has few sums of its own, and registers for all that their update needs
    count, thread_sums = down * across if early else step, shape.sums
    kept, (take, give) = 3 * count, put(F, rule, slots, count, step)
    blocks = shape.blocks if kind == number(np.float32) else 2  # with 128 registers Adam spills in double precision

    @device
    def each(asks, uses, target, m, v, mask, masked, tile, old, out, k):
        """For all of the thread's parameters: ask for what their update needs, or use it, or both."""
        fan_in, fan_out, weight, bias = tile[ROWS_IN], tile[COLUMNS], tile[WEIGHTS], tile[BIAS]
        height = U(fan_in if bias == NOWHERE else fan_in + U(1))
        # Vectors begin at multiples of 16 bytes in the rows of weights, and in that of the bias.
        whole = aligned(target[weight:], fan_out) and (bias == NOWHERE or bias % U(V) == weight % U(V))
        for i in range(down):
            r = U(tile[FIRST_ROW] + row(U(i)))
            line = U(weight + r * fan_out if r < fan_in else bias)
            for j in range(0, across, step):
                n, place = U(tile[FIRST_COLUMN] + column(U(j))), i * across + j if early else 0
                if r < height and n < fan_out:
                    at, left = U(line + n), U(fan_out - n)
                    if asks:
                        take(target, m, v, at, left, whole, old, place)
                    if uses:
                        if masked:
                            for e in range(step):
                                if U(e) < left and mask[at + U(e)] == np.uint8(0):
                                    out[i, j + e] = zero
                        give(target, m, v, at, left, whole, old, place, out, i, j, k)

    @kernel(shape.threads, F, shape, rule, slots, blocks=blocks)
    def change_tile(target, m, v, inputs, buffer, order, state, coefficients, tiles, mask, masked, partial, arrived, s):
        memory = cuda.shared.array(numbers, kind, ALIGNED)
        turn = cuda.shared.array(1, np.int32)
        sums, out = cuda.local.array(thread_sums, kind), cuda.local.array((down, across), kind)
        old, tile = cuda.local.array(kept, kind), cuda.local.array(TILE, U)
        split, splits = U(cuda.blockIdx.y), U(cuda.gridDim.y)
        for i in range(0, TILE, 4):
            load(tiles, U(cuda.blockIdx.x) * U(TILE) + U(i), tile, i)
        first, batch = batch_of(state, s)
        fan_in, fan_out, gathered = tile[ROWS_IN], tile[COLUMNS], tile[INDIRECT] != U(0)
        x = inputs if gathered else buffer[tile[INPUT] + tile[BEFORE] * batch * fan_in :]
        lines, late = U(tile[LINES] * batch), U(tile[LATE] * batch)
        height = U(fan_in if tile[BIAS] == NOWHERE else fan_in + U(1))
        share = lines if splits == U(1) else U((lines + splits - U(1)) // splits)  # divisions take 30 instructions
        begin = U(min(lines, split * share))
        end, deltas = U(min(lines, begin + share)), buffer[tile[DELTAS] :]
        await_previous()
        if tile[FIRST_ROW] == fan_in:
            add_up(deltas, fan_out, begin, end, tile[FIRST_COLUMN], memory, out)
        else:
            accumulate(
                x, fan_in, deltas, fan_out, order[first:], gathered, late, height, fan_out, begin, end, tile[FIRST_ROW],
                tile[FIRST_COLUMN], memory, sums,
            )  # fmt: skip
        # Read again: in registers these would wait for the whole product.
        for i in range(0, TILE, 4):
            load(tiles, U(cuda.blockIdx.x) * U(TILE) + U(i), tile, i)
        c = coefficients[state[SLOT] + s]
        k = (c[0], c[1], c[2], c[3], c[4], c[5], c[6], c[7])
        if early:
            each(True, False, target, m, v, mask, masked, tile, old, out, k)
        if tile[FIRST_ROW] != tile[ROWS_IN]:
            add_groups(memory, sums, out)
        if splits > U(1) and not gather(partial, arrived, turn, out):
            return
        each(not early, True, target, m, v, mask, masked, tile, old, out, k)

    return change_tile
