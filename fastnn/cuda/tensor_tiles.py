"""Large tiles of matrix products by tensor cores.

A warp has 64 x 32 sums of a tile, a lane 8 x 8. Slabs are brought to shared memory as those of all products (`slabs`).
A lane takes its numbers of 8 terms (see `tensor_lanes`) from there by vectors. Four warps of each scheduler, of four
blocks, keep the tensor cores busy while others of them wait for their barrier, fetch and round.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np

from fastnn.cuda.shapes import Shape
from fastnn.cuda.target import cuda, device
from fastnn.cuda.tensor import DEEP, thread_number
from fastnn.cuda.tensor_lanes import HELD, WIDE, V, high, products, split
from fastnn.cuda.vectors import load, load_pair

BLOCK = 8 * V  # lines of a factor of which a lane has 4
U = np.uint32


@lru_cache
def place(lines: int, slab: int, deep: bool) -> Any:
    """The function (number, along): where number `along` of row `number` of a slab is in its shared memory.

    Rows of the slab are those in memory, exchanged by 8 numbers so that lanes that read at once meet no bank twice.
    """

    @device
    def place(number, along):
        if deep:
            return U(number * U(slab) + along) ^ U(number // U(V) % U(4) * U(DEEP))
        return U(number * U(lines)) + U(along ^ U(number // U(2) % U(4) * U(DEEP)))

    return place


@lru_cache
def _factor(lines: int, slab: int, deep: bool) -> tuple[Any, Any, Any]:
    """How a lane takes its numbers of a factor, of 32 lines and 8 terms those of lines 4 g + r and terms 2 t + c.

    The functions begin(lane, line): where its first are in a slab; take(memory, first, line, term, x, to): x[to ..] <-
    those `line` lines and `term` terms further on; index(r, c): their place in x.
    """
    where = place(lines, slab, deep)

    @device
    def begin(lane, line):
        line, k = U(line + lane // U(4) * U(V)), U(lane % U(4) * U(2))
        return where(line, k) if deep else where(k, line)

    @device
    def take(memory, first, line, term, x, to):
        for v in range(V if deep else 2):
            if deep:
                at = (first ^ U(v % 2 * slab + term)) + U((v // 2 * 2 + line) * slab)
                load_pair(memory, np.uint64(at), x, np.uint64(to + v * 2))
            else:
                load(memory, np.uint64(first + U((term + v) * lines + line)), x, np.uint64(to + v * V))

    @device
    def index(r, c):
        return r * 2 + c if deep else c * V + r

    return begin, take, index


@lru_cache
def multiply_slab(shape: Shape, deep_a: bool, deep_b: bool) -> Any:
    """The function (memory, a, b, within, sums): adds the products of the slabs that begin at a and b to a lane's
    sums."""
    slab, rows, across, F = shape.slab, high(shape), shape.columns // WIDE, np.float32
    begin_a, take_a, index_a = _factor(shape.rows, shape.slab, deep_a)
    begin_b, take_b, index_b = _factor(shape.columns, shape.slab, deep_b)
    add = products(shape.tensor == 3, index_a, index_b)

    @device
    def add_step(memory, a, b, term, sums):
        x, high_x, low_x = cuda.local.array(HELD, F), cuda.local.array(HELD, F), cuda.local.array(HELD, F)
        y, high_y, low_y = cuda.local.array(HELD, F), cuda.local.array(HELD, F), cuda.local.array(HELD, F)
        take_b(memory, b, 0, term, y, 0)
        split(y, high_y, low_y)
        for i in range(rows // 16):
            if i % 2 == 0:
                take_a(memory, a, i // 2 * BLOCK, term, x, 0)
                split(x, high_x, low_x)
            add(high_x, low_x, i % 2 * 2, high_y, low_y, 0, sums, i * 16)

    @device
    def add_slab(memory, a, b, within, sums):
        thread = thread_number()
        lane, warp = thread % U(32), thread // U(32)
        a = U(U(a) + begin_a(lane, warp // U(across) * U(rows)))
        b = U(U(b) + begin_b(lane, warp % U(across) * U(WIDE)))
        for term in range(0, slab, DEEP):
            add_step(memory, a, b, term, sums)

    return add_slab
