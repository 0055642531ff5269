"""The kernels of a training step: forward, loss, deltas, and the weights' gradients with their update.

Legend: B rows of a batch, I and O units before and after a layer, layer l = 0 .. L-1 lies between units l and l+1.
Everything that changes from step to step is in device memory (`state` and the coefficients), so that a step can be
launched over and over with the same arguments; `s` is a step's number among those that are launched together. Sizes are
run-time data: one compile serves every architecture, as on the CPU.

Arrays: `parameters` F (P,) flat: weight (I, O) and bias (O,) of each layer in turn; `inputs` F (n * sizes[0],);
`buffer` F: outputs and deltas of a batch; `table` uint32 (L, FIELDS); `slopes` F (L,); `edges` uint64 (L,) and
`scales` F (L,): the dropout of what each layer reads; `order` uint32 (E * n,): the samples in the order of training,
of one epoch or more; `state` uint64 (WORDS,); `targets` F: labels (n,) or numbers (n * `target_row`,); `losses` and
`hits` F: of each row, for whole batches.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np

from fastnn.cuda import formulas
from fastnn.cuda.dependent import await_previous
from fastnn.cuda.products import place, product
from fastnn.cuda.shapes import Shape, room
from fastnn.cuda.target import ALIGNED, SIMULATED, cuda, device, kernel, number, plain
from fastnn.cuda.vectors import kept

# A layer's row of the table. READ, WROTE, NEXT and DELTA are places in the buffer: of what the layer reads, of its
# outputs before and after the next layer's dropout, and of the deltas of its outputs.
FIELDS = 9
IN, OUT, WEIGHT, GATHERED, READ, WROTE, NEXT, DELTA, CODE = range(FIELDS)

# POSITION: the batch's number in the epoch; SLOT: where its results go, in batches; STEP: steps of the run before.
# All three are those of s = 0. ORDER: where the epoch's order begins; STRIDE: how far behind it is that of the next,
# which begins again at 0 when all END numbers are used.
WORDS = 9
POSITION, SLOT, STEP, BATCH, SAMPLES, SEED, ORDER, STRIDE, END = range(WORDS)

# A row of `matrices`, for the gradient x^T dz of a matrix of weights: the columns of x and of dz, where the weights and
# their bias (NOWHERE: they have none) begin among the parameters, and x and dz in the buffer. Both have `lines` runs of
# the batch's rows, x after `before` more; of x, the first `late` runs are not there and count as 0.
MATRIX = 10
ROWS_IN, COLUMNS, WEIGHTS, BIAS, INPUT, INDIRECT, DELTAS, LINES, BEFORE, LATE = range(MATRIX)
NOWHERE = np.uint32(2**32 - 1)

# A tile of a matrix, for the block that has it: the matrix's row of `matrices`, and the tile's first row and column.
TILE = MATRIX + 2  # whole vectors: a multiple of 4
FIRST_ROW, FIRST_COLUMN = range(MATRIX, TILE)

FORWARD, BACKWARD = (False, False), (False, True)  # whether the factors of a product are transposed
THREADS = 4 if SIMULATED else 128  # of a block that takes elements or rows one by one
U = np.uint32


@device
def batch_of(state, s):
    """The place in `order` where the batch of step s begins, and how many rows it has."""
    first = (state[POSITION] + s) * state[BATCH]
    return U(state[ORDER] + first), U(min(state[BATCH], state[SAMPLES] - first))


# ---- a tile, and an input --------------------------------------------------------------------------------------------


@lru_cache
def _forward_tile(F: type, shape: Shape) -> Any:
    """The function for a tile of y = f(x W + b) of a layer, and of y after the next layer's dropout."""
    (down, across), count, kind = shape.own, shape.sums, number(F)
    values, (row, column) = formulas.over(F, down)[0], place(F, shape, *FORWARD)
    accumulate, add_groups = product(F, shape, *FORWARD)
    drop = _drop(F, shape, *FORWARD)

    @device
    def tile(
        parameters, inputs, buffer, table, slopes, edges, scales, order, state, layer, s, m0, n0, memory, out,
    ):  # fmt: skip
        # In registers of their own: forward takes 3 to 5 % less time, by an emulator of sm_90's machine code.
        fan_in, fan_out, weight = kept(table[layer, IN]), kept(table[layer, OUT]), kept(table[layer, WEIGHT])
        gathered = kept(table[layer, GATHERED]) != U(0)
        first, rows = batch_of(state, s)
        await_previous()
        if m0 >= rows:
            return
        x, sums = inputs if gathered else buffer[table[layer, READ] :], cuda.local.array(count, kind)
        accumulate(
            x, fan_in, parameters[weight:], fan_out, order[first:], gathered, U(0), rows, fan_out, U(0), fan_in, m0, n0,
            memory, sums,
        )  # fmt: skip
        layer, z = kept(layer), cuda.local.array(down, kind)
        # Read again here and in `_backward_tile`: in registers these would wait for the whole product.
        rows, fan_out, wrote, after = batch_of(state, s)[1], table[layer, OUT], table[layer, WROTE], table[layer, NEXT]
        bias, code, slope = table[layer, WEIGHT] + table[layer, IN] * fan_out, table[layer, CODE], slopes[layer]
        add_groups(memory, sums, out)
        for j in range(across):
            c = U(n0 + column(U(j)))
            if c < fan_out:
                own = parameters[bias + c]
                for i in range(down):
                    z[i] = out[i, j] + own
                values(code, z, z, slope)
                for i in range(down):
                    r = U(m0 + row(U(i)))
                    if r < rows:
                        buffer[wrote + r * fan_out + c] = z[i]
        if after != wrote:
            drop(buffer, wrote, after, rows, fan_out, edges, scales, state, U(layer + U(1)), s, m0, n0)

    return tile


@lru_cache
def _backward_tile(F: type, shape: Shape) -> Any:
    """The function for a tile of the deltas of units `layer` from those of its outputs: dz' = (dz W^T) f'(y)."""
    (down, across), count, kind, none, zero = shape.own, shape.sums, number(F), np.uint64(0), F(0)
    derivatives, (row, column) = formulas.over(F, across)[1], place(F, shape, *BACKWARD)
    accumulate, add_groups = product(F, shape, *BACKWARD)
    drop = _drop(F, shape, *BACKWARD)

    @device
    def tile(
        parameters, inputs, buffer, table, slopes, edges, scales, order, state, layer, s, m0, n0, memory, out,
    ):  # fmt: skip
        fan_in, fan_out, weight = kept(table[layer, IN]), kept(table[layer, OUT]), kept(table[layer, WEIGHT])
        rows, sums = batch_of(state, s)[1], cuda.local.array(count, kind)
        await_previous()
        if m0 >= rows:
            return
        accumulate(
            buffer[table[layer, DELTA] :], fan_out, parameters[weight:], fan_out, order, False, U(0), rows,
            fan_in, U(0), fan_out, m0, n0, memory, sums,
        )  # fmt: skip
        layer, d, y = kept(layer), cuda.local.array(across, kind), cuda.local.array(across, kind)
        below = U(layer - U(1))
        code, slope, rows, fan_in = table[below, CODE], slopes[below], batch_of(state, s)[1], table[layer, IN]
        wrote, delta = table[below, WROTE], table[below, DELTA]
        add_groups(memory, sums, out)
        for i in range(down):
            r = U(m0 + row(U(i)))
            for j in range(across):
                c = U(n0 + column(U(j)))
                d[j], y[j] = out[i, j], zero
                if r < rows and c < fan_in:
                    y[j] = buffer[wrote + r * fan_in + c]
            derivatives(code, d, y, slope)
            for j in range(across):
                c = U(n0 + column(U(j)))
                if r < rows and c < fan_in:
                    buffer[delta + r * fan_in + c] = d[j]
        if edges[layer] != none:
            drop(buffer, delta, delta, rows, fan_in, edges, scales, state, layer, s, m0, n0)

    return tile


@lru_cache
def _drop(F: type, shape: Shape, transposed_a: bool, transposed_b: bool) -> Any:
    """The function for the dropout of what the thread has written of a tile."""
    dropped, (row, column), (down, across) = formulas.dropout(F), place(F, shape, transposed_a, transposed_b), shape.own

    @device
    def drop(buffer, begin, after, rows, width, edges, scales, state, unit, s, m0, n0):
        i = U(0)
        while i < U(down * across):
            r, c = U(m0 + row(U(i // U(across)))), U(n0 + column(U(i % U(across))))
            if r < rows and c < width:
                at = r * width + c
                buffer[after + at] = dropped(
                    buffer[begin + at], edges[unit], scales[unit], state[SEED], state[STEP] + s, unit, r, c
                )
            i = U(i + U(1))

    return drop


@lru_cache
def take_one(F: type) -> Any:
    """The function for one input (row, column) of a batch after its dropout, into the buffer."""
    dropped = formulas.dropout(F)

    @device
    def take(inputs, buffer, table, edges, scales, order, state, s, first, row, column):
        width = table[0, IN]
        x = inputs[U(order[first + row]) * width + column]
        y = dropped(x, edges[0], scales[0], state[SEED], state[STEP] + s, U(0), row, column)
        buffer[table[0, READ] + row * width + column] = y

    return take


# ---- kernels: one layer at a time, for any width ---------------------------------------------------------------------


@lru_cache
def take(F: type) -> Any:
    """Kernel: the batch's inputs into the buffer, with their dropout; a thread an element of batch x sizes[0]."""
    take_input = take_one(F)

    @kernel(THREADS, F)
    def take_rows(inputs, buffer, table, edges, scales, order, state, s):
        at, width = U(cuda.blockIdx.x) * U(THREADS) + U(cuda.threadIdx.x), table[0, IN]
        first, rows = batch_of(state, s)
        row, column = U(at // width), U(at % width)
        await_previous()
        if row < rows:
            take_input(inputs, buffer, table, edges, scales, order, state, s, first, row, column)

    return take_rows


@lru_cache
def forward(F: type, shape: Shape) -> Any:
    """Kernel: the outputs of one layer, a block a tile of (B, O)."""
    return _of_tiles("forward", F, shape, _forward_tile(F, shape), room(shape, *FORWARD))


@lru_cache
def backward(F: type, shape: Shape) -> Any:
    """Kernel: the deltas of units `layer`, a block a tile of (B, I)."""
    return _of_tiles("backward", F, shape, _backward_tile(F, shape), room(shape, *BACKWARD))


def _of_tiles(what: str, F: type, shape: Shape, tile: Any, numbers: int) -> Any:
    """Kernel: `tile` for the rows and columns of each block, with the memory that it needs."""
    kind, (down, across) = number(F), shape.own
    rows_of, columns_of = shape.rows, shape.columns

    @kernel(shape.threads, what, F, shape, blocks=shape.blocks)
    def layer_tiles(parameters, inputs, buffer, table, slopes, edges, scales, order, state, layer, s):
        memory = cuda.shared.array(numbers, kind, ALIGNED)
        out = cuda.local.array((down, across), kind)
        m0, n0 = U(cuda.blockIdx.x) * U(rows_of), U(cuda.blockIdx.y) * U(columns_of)
        tile(
            parameters, inputs, buffer, table, slopes, edges, scales, order, state, layer, s, m0, n0, memory, out,
        )  # fmt: skip

    return layer_tiles


@lru_cache
def lose(F: type, loss: str) -> Any:
    """Kernel: loss, hit and delta of each row of the batch, a thread a row. `space` F (2 * B,) is for the loss."""
    over_columns, derivative = formulas.loss(loss, F), formulas.activations(F)[1]
    one = F(1)

    @kernel(THREADS, F, loss)
    def lose_rows(targets, target_row, buffer, table, slopes, order, state, losses, hits, space, last, s):
        r = U(cuda.blockIdx.x) * U(THREADS) + U(cuda.threadIdx.x)
        first, rows = batch_of(state, s)
        width, code = table[last, OUT], table[last, CODE]
        await_previous()
        if r >= rows:
            return
        begin, y = U(table[last, DELTA] + r * width), U(table[last, WROTE] + r * width)
        for c in range(U(0), width):
            buffer[begin + c] = buffer[y + c]
        target = U(order[first + r]) * target_row
        slot = (state[SLOT] + s) * state[BATCH] + r
        over_columns(
            plain(buffer[begin : begin + width]), plain(targets[target : target + target_row]), np.int64(width),
            1, plain(losses[slot : slot + U(1)]), plain(hits[slot : slot + U(1)]),
            plain(space[U(2) * r : U(2) * r + U(2)]), one / F(rows),
        )  # fmt: skip
        for c in range(U(0), width):
            buffer[begin + c] = buffer[begin + c] * derivative(code, buffer[y + c], slopes[last])

    return lose_rows


@kernel(1)
def advance(state, steps):
    """After `steps` steps that were launched together: the state is that of the next, in the next epoch if it ended."""
    await_previous()
    for word in (POSITION, SLOT, STEP):
        state[word] += steps
    if state[POSITION] * state[BATCH] >= state[SAMPLES]:
        state[POSITION] = 0
        state[ORDER] += state[STRIDE]
        if state[ORDER] >= state[END]:
            state[ORDER] = 0
