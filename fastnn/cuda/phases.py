"""The kernels of a training step: forward, loss, deltas, and the weights' gradients with their update.

Legend: B rows of a batch, I and O units before and after a layer, layer l = 0 .. L-1 lies between units l and l+1.
Everything that changes from step to step is in device memory (`state` and the coefficients), so that a step can be
launched over and over with the same arguments; `s` is a step's number among those that are launched together. Sizes are
run-time data: one compile serves every architecture, as on the CPU.

Arrays: `parameters` F (P,) flat: weight (I, O) and bias (O,) of each layer in turn; `inputs` F (n * sizes[0],);
`buffer` F: outputs and deltas of a batch; `table` uint32 (L, FIELDS); `slopes` F (L,); `edges` uint64 (L,) and
`scales` F (L,): the dropout of what each layer reads; `order` uint32 (n,): the samples in the order of training;
`state` uint64 (WORDS,).
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np

from fastnn.cuda import formulas
from fastnn.cuda.products import Shape, place, product
from fastnn.cuda.target import cuda, device, kernel, plain

# A layer's row of the table. READ, WROTE, NEXT and DELTA are places in the buffer: of what the layer reads, of its
# outputs before and after the next layer's dropout, and of the deltas of its outputs.
FIELDS = 9
IN, OUT, WEIGHT, GATHERED, READ, WROTE, NEXT, DELTA, CODE = range(FIELDS)

# POSITION: the batch's number in the epoch; SLOT: where its results go, in batches; STEP: steps of the run before.
# All three are those of s = 0.
WORDS = 6
POSITION, SLOT, STEP, BATCH, SAMPLES, SEED = range(WORDS)

THREADS = 128  # of a block that takes elements or rows one by one
U = np.uint32


@device
def batch_of(state, s):
    """The place in `order` where the batch of step s begins, and how many rows it has."""
    first = (state[POSITION] + s) * state[BATCH]
    return U(first), U(min(state[BATCH], state[SAMPLES] - first))


@lru_cache
def take(F: type) -> Any:
    """Kernel: the batch's inputs into the buffer, with their dropout; a thread an element of batch x sizes[0]."""
    dropped = formulas.dropout(F)

    @kernel(THREADS)
    def take_rows(inputs, buffer, table, edges, scales, order, state, s):
        at = U(cuda.blockIdx.x) * U(THREADS) + U(cuda.threadIdx.x)
        width, begin = table[0, IN], table[0, READ]
        first, rows = batch_of(state, s)
        row, column = U(at // width), U(at % width)
        if row < rows:
            x = inputs[U(order[first + row]) * width + column]
            buffer[begin + at] = dropped(x, edges[0], scales[0], state[SEED], state[STEP] + s, U(0), row, column)

    return take_rows


@lru_cache
def forward(F: type, shape: Shape) -> Any:
    """Kernel: y = f(x W + b) of one layer, a block a tile of y (B, O), and y after the next layer's dropout."""
    value, dropped, where = formulas.activations(F)[0], formulas.dropout(F), place(shape)
    accumulate = product(F, shape, False, False)
    down, across = shape.thread_rows // shape.groups, shape.thread_columns
    rows_of, columns_of = shape.rows, shape.columns

    @kernel(shape.threads)
    def layer_forward(parameters, inputs, buffer, table, slopes, edges, scales, order, state, layer, s):
        out = cuda.local.array((down, across), F)
        first, rows = batch_of(state, s)
        m0, n0 = U(cuda.blockIdx.y) * U(rows_of), U(cuda.blockIdx.x) * U(columns_of)
        if m0 >= rows:
            return
        fan_in, fan_out, weight = table[layer, IN], table[layer, OUT], table[layer, WEIGHT]
        gathered = table[layer, GATHERED] != U(0)
        x = inputs if gathered else buffer[table[layer, READ] :]
        accumulate(x, fan_in, parameters[weight:], fan_out, order, first, gathered, rows, fan_out, fan_in, m0, n0, out)
        at, column = where()
        bias, code, slope = weight + fan_in * fan_out, table[layer, CODE], slopes[layer]
        wrote, after = table[layer, WROTE], table[layer, NEXT]
        for i in range(down):
            r = U(m0 + at + U(i))
            for j in range(across):
                c = U(n0 + column + U(j))
                if r < rows and c < fan_out:
                    y = value(code, out[i, j] + parameters[bias + c], slope)
                    buffer[wrote + r * fan_out + c] = y
                    if after != wrote:
                        unit = U(layer + U(1))
                        buffer[after + r * fan_out + c] = dropped(
                            y, edges[unit], scales[unit], state[SEED], state[STEP] + s, unit, r, c
                        )

    return layer_forward


@lru_cache
def lose(F: type, loss: str) -> Any:
    """Kernel: loss, hit and delta of each row of the batch, a thread a row.

    `targets` F are labels (n,) or numbers (n * `target_row`,), `losses` and `hits` F hold whole batches, `space` F
    (2 * B,) is for the loss.
    """
    over_columns, derivative = formulas.loss(loss, F), formulas.activations(F)[1]
    one = F(1)

    @kernel(THREADS)
    def lose_rows(targets, target_row, buffer, table, slopes, order, state, losses, hits, space, last, s):
        r = U(cuda.blockIdx.x) * U(THREADS) + U(cuda.threadIdx.x)
        first, rows = batch_of(state, s)
        if r >= rows:
            return
        width, code = table[last, OUT], table[last, CODE]
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


@lru_cache
def backward(F: type, shape: Shape) -> Any:
    """Kernel: deltas of units `layer` from those of its outputs, dz' = (dz W^T) f'(y), a block a tile of (B, I)."""
    derivative, dropped, where = formulas.activations(F)[1], formulas.dropout(F), place(shape)
    accumulate = product(F, shape, False, True)
    down, across = shape.thread_rows // shape.groups, shape.thread_columns
    rows_of, columns_of = shape.rows, shape.columns
    none = np.uint64(0)

    @kernel(shape.threads)
    def layer_backward(parameters, buffer, table, slopes, edges, scales, order, state, layer, s):
        out = cuda.local.array((down, across), F)
        first, rows = batch_of(state, s)
        m0, n0 = U(cuda.blockIdx.y) * U(rows_of), U(cuda.blockIdx.x) * U(columns_of)
        if m0 >= rows:
            return
        fan_in, fan_out, weight = table[layer, IN], table[layer, OUT], table[layer, WEIGHT]
        accumulate(
            buffer[table[layer, DELTA] :], fan_out, parameters[weight:], fan_out, order, first, False, rows, fan_in,
            fan_out, m0, n0, out,
        )  # fmt: skip
        at, column = where()
        below = U(layer - U(1))
        code, slope = table[below, CODE], slopes[below]
        wrote, delta = table[below, WROTE], table[below, DELTA]
        for i in range(down):
            r = U(m0 + at + U(i))
            for j in range(across):
                c = U(n0 + column + U(j))
                if r < rows and c < fan_in:
                    d = out[i, j]
                    if edges[layer] != none:
                        d = dropped(d, edges[layer], scales[layer], state[SEED], state[STEP] + s, layer, r, c)
                    d = d * derivative(code, buffer[wrote + r * fan_in + c], slope)
                    buffer[delta + r * fan_in + c] = d

    return layer_backward


@lru_cache
def change(F: type, shape: Shape, rule: str | None, slots: int) -> Any:
    """Kernel: gradient of weight and bias over the batch and their update, a block a tile of one layer.

    `tiles` uint32 (n, 3): layer, first row, first column of the block's tile of the layer's (I + 1, O) parameters,
    whose last row is the bias. `rule` None: the gradient goes to `target`, which is laid out like the parameters.
    `mask` uint8, laid out so too: where it is 0 the gradient is 0; of no meaning unless `masked`.
    """
    update: Any = formulas.rule(rule, F) if rule is not None and slots else None
    accumulate, where = product(F, shape, True, False), place(shape)
    down, across, zero = shape.thread_rows // shape.groups, shape.thread_columns, F(0)
    applies, remembers, both = rule is not None, slots > 0, slots > 1

    @kernel(shape.threads)
    def change_tile(target, m, v, inputs, buffer, table, order, state, coefficients, tiles, mask, masked, s):
        out = cuda.local.array((down, across), F)
        first, rows = batch_of(state, s)
        block = U(cuda.blockIdx.x)
        layer, m0, n0 = tiles[block, 0], tiles[block, 1], tiles[block, 2]
        fan_in, fan_out, weight = table[layer, IN], table[layer, OUT], table[layer, WEIGHT]
        gathered = table[layer, GATHERED] != U(0)
        x = inputs if gathered else buffer[table[layer, READ] :]
        height = U(fan_in + U(1))
        accumulate(
            x,
            fan_in,
            buffer[table[layer, DELTA] :],
            fan_out,
            order,
            first,
            gathered,
            height,
            fan_out,
            rows,
            m0,
            n0,
            out,
        )
        c = coefficients[state[SLOT] + s]
        k = (c[0], c[1], c[2], c[3], c[4], c[5], c[6], c[7])
        row, column = where()
        for i in range(down):
            r = U(m0 + row + U(i))
            for j in range(across):
                n = U(n0 + column + U(j))
                if r < height and n < fan_out:
                    at, g = U(weight + r * fan_out + n), out[i, j]
                    if masked and mask[at] == np.uint8(0):
                        g = zero
                    if not applies:
                        target[at] = g
                    elif not remembers:
                        target[at] = k[1] * target[at] + k[0] * g
                    elif both:
                        target[at], m[at], v[at] = update(target[at], g, m[at], v[at], k)
                    else:
                        target[at], m[at], _ = update(target[at], g, m[at], zero, k)

    return change_tile


@kernel(1)
def advance(state, steps):
    """After `steps` steps that were launched together: the state is that of the next."""
    for word in (POSITION, SLOT, STEP):
        state[word] += steps
