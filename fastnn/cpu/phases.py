"""What a training step's two parallel phases share, the first of them, and the forward pass alone.

    rows    each worker takes rows of the batch through forward, loss and all deltas: rows never meet, so there is no
            barrier between layers;
    tiles   each worker takes tiles of the weight matrices: the gradient over the whole batch, the update, and the
            transposed copy that the next step's deltas read (`weights`).

A worker that is done takes over what slower ones have not begun: two cores of a shared machine differ by a quarter, and
halves made in advance wait for the slower (784-512-512-10: 8 to 10 % longer).

Where a batch is long and the network small (see `plan.spans`) rows go in spans, each of which leaves the gradient of
its rows, and a tile adds up those of all spans: there is work for many workers however few tiles there are. (Spans
that stay in cache from one layer to the next gained nothing by that, with 16 to 512 KB and batches up to 10,000.)

Legend: B rows of a batch, I and O units before and after a layer, layer l = 0 .. L-1 lies between units l and l+1.
Rows of outputs and deltas are padded to whole vectors, so products and blocks over them need no masks; what lands in
the padding reaches no result. Weights are kept twice more, as the panels that products read one after the other: as
(O, I) for the deltas, and where rows are long as (I, O) for the forward pass. How work is cut depends on sizes only,
never on the number of workers, and every sum has one order: results are the same bits for any number of workers.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from fastnn.compiler import inlined, inner
from fastnn.cpu.primitives import begin_again, call, copy, move, take

# Of a row of Work.matrices: the fields of plan.Matrix.
WEIGHT, ROWS_IN, COLUMNS, BIAS, X, X_ROW, X_SKIP, DZ, DZ_ROW, DZ_SKIP, STEPS, TURNED = range(12)
GRAIN = 16  # rows that an elementwise block takes at once; workers get whole grains
ROWS = 48  # rows that a product takes at once: small enough to stay in cache until their activation has run
TILE = 48  # rows of weights in a tile
TILES_TAKEN = 1  # counters behind the barrier: of each worker's pieces of rows, and of its tiles
PART = 4096  # numbers of a gradient whose squares are a sum of their own


class Net(NamedTuple):
    """A network as compiled code sees it. Arrays indexed by layer unless said otherwise."""

    parameters: np.ndarray  # F, flat: weight (I, O) and bias (O,) of each layer in turn
    sizes: np.ndarray  # (L + 1,) units, inputs first
    vectors: np.ndarray  # (L + 1,) units padded to whole vectors
    strides: np.ndarray  # (L + 1,) from one row of a batch to the next
    panel: int  # columns in a panel of a product's right side
    weight: np.ndarray  # where the layer's weight begins in parameters
    bias: np.ndarray  # where its bias begins
    forward: np.ndarray  # address of its activation's forward block, 0 for identity
    backward: np.ndarray  # address of the backward block
    slope: np.ndarray  # F, the activation's constant
    dropout: np.ndarray  # F (L + 1,), share of the units l that a training step drops
    drop: int  # address of the dropout block, 0 where nothing is dropped
    seed: int
    gemm: int  # address of the product
    one: np.ndarray  # F (3,): 0, 1 and 0, so that constants have the right type
    widest: int  # the largest of strides
    scratch: np.ndarray  # F, two blocks of ROWS rows for each worker: of the forward pass alone, or a turned gradient
    table: np.ndarray  # the network as cpu.predict sees it; empty where it is only trained
    own: np.ndarray  # int64, what cpu.recurrent predicts with; empty without recurrent layers


class Data(NamedTuple):
    """Rows of inputs and their targets, by address."""

    inputs: int
    row: int  # numbers from one row to the next
    targets: int  # labels (int64) or numbers (F)
    target_row: int  # bytes from one sample's target to the next
    samples: int


class Work(NamedTuple):
    """What a training step writes. Offsets count numbers in `buffer`."""

    buffer: np.ndarray  # F
    outputs: np.ndarray  # (L + 1,) where the batch's outputs of units l begin, before dropout
    inputs: np.ndarray  # (L + 1,) the same after dropout: what layer l reads
    deltas: np.ndarray  # (L + 1,)
    matrices: np.ndarray  # (M, 12): plan.Matrix for each matrix of weights, one a layer or, if it is recurrent, two
    sheets: np.ndarray  # (M,) where the matrix's dz begins once more, in panels of `batch` rows; -1: nowhere
    batch: int  # rows that a batch has at most
    left: np.ndarray  # F, for each worker TILE inputs of all rows of a batch, where a layer's deltas are in panels
    panels: np.ndarray  # F, weights in panels
    packed: np.ndarray  # (M,) where the matrix (I, O) begins in panels, -1 where parameters serve as they are
    transposed: np.ndarray  # (M,) where its transpose (O, I) begins, -1 where no deltas go through it
    target: np.ndarray  # F, like parameters: what the tile phase changes, the parameters or a gradient
    m: np.ndarray  # F, what the optimizer remembers, like parameters or empty
    v: np.ndarray  # F
    gradient: np.ndarray  # F, `block` numbers for each worker
    block: int
    columns: np.ndarray  # F, outputs and targets of ROWS rows side by side, and 2 ROWS numbers, for each worker
    losses: np.ndarray  # F (B or more, ROWS a worker or more), whole grains
    hits: np.ndarray  # F, like losses
    span: int  # rows that go through all layers before the next ones
    partial: np.ndarray  # F (spans, parameters): the gradient of each span's rows; none where tiles sum over rows
    tiles: np.ndarray  # (n, 3): matrix, first row, last row + 1
    firsts: np.ndarray  # (workers + 1,): the tiles of worker w are firsts[w] .. firsts[w + 1]
    loss: int  # address of the loss block
    transpose: int  # address of the transpose into panels
    mask: np.ndarray  # uint8, like parameters: 0 where a weight is fixed at 0; empty where none is
    clear: int  # address of the block that does it
    update: int  # address of the update block; 0: target <- c1 target + c0 gradient, -1: the same and parameters stay
    clip: float  # the gradient's greatest norm, 0: any
    whole: np.ndarray  # F, like parameters: where its norm is needed, the gradient; else empty
    squares: np.ndarray  # float64, a sum of squares for each PART of it
    unroll: int  # address of cpu.recurrent's row phase for networks with recurrent layers, 0 for others
    unrolled: np.ndarray  # int64, the table that it reads
    places: np.ndarray  # int64, room for the places of all targets in a batch
    score: int  # address of its forward pass with losses
    barrier: np.ndarray


@inner
def forward(net, inputs, row, rows, worker):
    """Outputs of the last layer for `rows` <= ROWS rows at address `inputs`; returns their place in net.scratch."""
    F, half = net.one.itemsize, net.scratch.size // 2
    at = worker * ROWS * net.widest
    source, stride = inputs, row
    for layer in range(net.sizes.size - 1):
        weight = net.parameters.ctypes.data + net.weight[layer] * F
        product(
            net, layer, source, stride, weight, net.sizes[layer + 1], net.panel, net.scratch.ctypes.data + at * F, rows
        )
        activate(net, layer, net.scratch, at, rows)
        source, stride = net.scratch.ctypes.data + at * F, net.strides[layer + 1]
        at = at + half if at < half else at - half
    return at - half if at >= half else at + half


@inner
def share(rows, unit, worker, workers):
    """The rows low .. high of a batch that are this worker's: whole grains, or other units of rows."""
    if workers == 1:  # saves a tiny network's step its divisions
        return 0, rows
    units = (rows + unit - 1) // unit
    return min(rows, worker * units // workers * unit), min(rows, (worker + 1) * units // workers * unit)


@inner
def product(net, layer, source, stride, weight, row, panel, z, rows):
    """z = x W + b for `rows` rows x at address `source`, `stride` apart; W has rows `row` and panels `panel` apart."""
    bias = net.parameters.ctypes.data + net.bias[layer] * net.one.itemsize
    call(net.gemm, (source, stride, 1, weight, row, panel, bias, 0, z, net.strides[layer + 1],
                    rows, net.vectors[layer + 1], net.sizes[layer], net.one[1], net.one[1]))  # fmt: skip


@inner
def activate(net, layer, buffer, start, rows):
    """y = f(z) in place, grain by grain, for rows that begin at buffer[start] with a whole grain."""
    if net.forward[layer] != 0:
        stride, F = net.strides[layer + 1], net.one.itemsize
        for r in range(0, rows, GRAIN):
            size = min(GRAIN, rows - r) * stride
            call(net.forward[layer], (buffer.ctypes.data + (start + r * stride) * F, size, net.slope[layer]))


@inlined
def rows_phase(net, work, data, index, scale, step, worker, workers):
    """Forward, loss and deltas of the rows of the batch whose samples are `index` (B,): the worker's and others' left.

    A worker takes a piece after the other of its own rows, then of those that slower ones have not begun.
    """
    begin_again(work.barrier, TILES_TAKEN + 2 * worker)
    for turn in range(workers):
        owner = worker + turn if worker + turn < workers else worker + turn - workers
        low, high = share(index.size, GRAIN if work.partial.size == 0 else work.span, owner, workers)
        while True:
            start, end = piece(low, high, take(work.barrier, 2 * owner, workers), work, workers)
            if start >= high:
                break
            some_rows(net, work, data, index, start, end, scale, step, worker)


@inner
def piece(low, high, number, work, workers):
    """Where piece `number` of the rows low .. high begins and ends: short ones come last, so that nobody waits long."""
    if work.partial.size > 0:
        start, rows = low + number * work.span, work.span
    elif workers == 1 or work.unroll != 0 or high - low <= 2 * GRAIN:
        start, rows = low + number * (high - low), high - low
    else:
        long = (high - low) // ROWS
        start = low + min(number, long) * ROWS + max(0, number - long) * GRAIN
        rows = ROWS if number < long else GRAIN
    return start, min(start + rows, high)


@inlined
def some_rows(net, work, data, index, low, high, scale, step, worker):
    """Forward, loss and deltas of rows low .. high."""
    if work.unroll != 0:
        call(work.unroll, (work.unrolled.ctypes.data, net.slope.ctypes.data, net.dropout.ctypes.data, data.inputs,
                           data.targets, index.ctypes.data, work.places.ctypes.data, work.losses.ctypes.data,
                           work.hits.ctypes.data, index.size, low, high, scale, step, net.seed, worker))  # fmt: skip
        return
    forward_rows(net, work, data, index, low, high, step)
    loss_rows(net, work, data, index, low, high, scale, worker)
    backward_rows(net, work, low, high, step)
    if work.partial.size > 0:
        gradient_rows(net, work, low, high, worker)
    else:
        sheet_rows(net, work, low, high)


@inner
def forward_rows(net, work, data, index, low, high, step):
    """Outputs of all layers for rows low .. high of the batch."""
    F, base, width, stride = net.one.itemsize, work.buffer.ctypes.data, net.sizes[0], net.strides[0]
    for r in range(low, high):
        copy(base + (work.outputs[0] + r * stride) * F, data.inputs + index[r] * data.row * F, width * F)
    for layer in range(net.sizes.size - 1):
        if net.dropout[layer] > net.one[0]:
            drop_rows(net, work, layer, work.outputs[layer], work.inputs[layer], low, high, step)
        weight, row, panel = net.parameters.ctypes.data + net.weight[layer] * F, net.sizes[layer + 1], net.panel
        if work.packed[layer] >= 0:
            weight = work.panels.ctypes.data + work.packed[layer] * F
            row, panel = net.panel, net.panel * net.sizes[layer]
        for r in range(low, high, ROWS):
            rows = min(ROWS, high - r)
            x = base + (work.inputs[layer] + r * net.strides[layer]) * F
            at = work.outputs[layer + 1] + r * net.strides[layer + 1]
            product(net, layer, x, net.strides[layer], weight, row, panel, base + at * F, rows)
            activate(net, layer, work.buffer, at, rows)


@inner
def loss_rows(net, work, data, index, low, high, scale, worker):
    """Loss of rows low .. high, and the last layer's deltas."""
    last, F, base = net.sizes.size - 1, net.one.itemsize, work.buffer.ctypes.data
    stride = net.strides[last]
    for r in range(low, high, ROWS):
        rows = min(ROWS, high - r)
        z, delta = base + (work.outputs[last] + r * stride) * F, base + (work.deltas[last] + r * stride) * F
        losses, hits = work.losses.ctypes.data + r * F, work.hits.ctypes.data + r * F
        lose(net, work, z, delta, data.targets, index.ctypes.data + r * 8, losses, hits, rows, scale, worker)
        if net.backward[last - 1] != 0:
            call(net.backward[last - 1], (z, delta, rows * stride, net.slope[last - 1]))


@inner
def backward_rows(net, work, low, high, step):
    """Deltas of the layers before the last for rows low .. high."""
    F, base = net.one.itemsize, work.buffer.ctypes.data
    for layer in range(net.sizes.size - 2, 0, -1):
        # z = x W  =>  dx = dz W^T; then y = f(z)  =>  dz = dy f'(z)
        stride, size = net.strides[layer], net.sizes[layer + 1]
        for r in range(low, high, ROWS):
            rows = min(ROWS, high - r)
            at = work.deltas[layer] + r * stride
            dz = base + (work.deltas[layer + 1] + r * net.strides[layer + 1]) * F
            weight = work.panels.ctypes.data + work.transposed[layer] * F
            call(net.gemm, (dz, net.strides[layer + 1], 1, weight, net.panel, net.panel * size, base, 0, base + at * F,
                            stride, rows, net.vectors[layer], size, net.one[1], net.one[0]))  # fmt: skip
            if net.dropout[layer] > net.one[0]:
                drop_rows(net, work, layer, work.deltas[layer], work.deltas[layer], r, r + rows, step)
            if net.backward[layer - 1] != 0:
                for g in range(0, rows, GRAIN):
                    y = base + (work.outputs[layer] + (r + g) * stride) * F
                    d = base + (at + g * stride) * F
                    call(net.backward[layer - 1], (y, d, min(GRAIN, rows - g) * stride, net.slope[layer - 1]))


@inner
def sheet_rows(net, work, low, high):
    """Copy the deltas of rows low .. high of wide layers into panels: a column of theirs lies in too many pages."""
    base, panel, F = work.buffer.ctypes.data, net.panel, net.one.itemsize
    for layer in range(net.sizes.size - 1):
        if work.sheets[layer] >= 0:
            columns = net.vectors[layer + 1]
            for r in range(low, high):
                row = base + (work.deltas[layer + 1] + r * net.strides[layer + 1]) * F
                for o in range(0, columns, panel):
                    to = base + (work.sheets[layer] + o * work.batch + r * panel) * F
                    copy(to, row + o * F, min(panel, columns - o) * F)


@inner
def gradient_rows(net, work, low, high, worker):
    """The gradient of rows low .. high, which are a span, to its place in work.partial."""
    F, base, one = net.one.itemsize, work.buffer.ctypes.data, net.one.ctypes.data + net.one.itemsize
    to = work.partial.ctypes.data + low // work.span * work.partial.shape[1] * F
    for layer in range(net.sizes.size - 1):
        # z = x W + b  =>  dW = x^T dz, db = 1^T dz
        fan_in, fan_out, stride = net.sizes[layer], net.sizes[layer + 1], net.strides[layer + 1]
        x = base + (work.inputs[layer] + low * net.strides[layer]) * F
        dz = base + (work.deltas[layer + 1] + low * stride) * F
        weight, bias = to + net.weight[layer] * F, to + net.bias[layer] * F
        if fan_out * 2 <= net.vectors[layer + 1] and fan_in > fan_out:
            # Rows of fan_out numbers leave half a vector empty: dz^T x, whose elements are the same bits, and turned.
            turned = net.scratch.ctypes.data + 2 * worker * ROWS * net.widest * F
            call(net.gemm, (dz, 1, stride, x, net.strides[layer], net.panel, base, 0, turned, fan_in,
                            fan_out, fan_in, high - low, net.one[1], net.one[0]))  # fmt: skip
            for i in range(fan_in):
                for o in range(fan_out):
                    move(weight + (i * fan_out + o) * F, turned + (o * fan_in + i) * F, net.one[0])
        else:
            call(net.gemm, (x, 1, net.strides[layer], dz, stride, net.panel, base, 0, weight, fan_out,
                            fan_in, fan_out, high - low, net.one[1], net.one[0]))  # fmt: skip
        call(net.gemm, (one, 0, 0, dz, stride, net.panel, base, 0, bias, fan_out,
                        1, fan_out, high - low, net.one[1], net.one[0]))  # fmt: skip


@inner
def lose(net, work, z, delta, targets, index, losses, hits, rows, scale, worker):
    """The loss of at most ROWS rows, all by address; `losses` and `hits` have room for whole grains."""
    last, F = net.sizes.size - 1, net.one.itemsize
    width, grain = net.sizes[last], (rows + GRAIN - 1) // GRAIN * GRAIN
    space = work.columns.ctypes.data + worker * 2 * (width + 1) * ROWS * F
    x = space + 2 * grain * F
    t = x + width * grain * F
    call(work.loss, (z, delta, net.strides[last], width, targets, index, losses, hits, rows, grain, scale, space, x, t))


@inner
def drop_rows(net, work, layer, source, target, low, high, step):
    """Dropout of units l in rows low .. high, from the rows at offset `source` of the buffer to those at `target`."""
    stride, F = net.strides[layer], net.one.itemsize
    x, y = work.buffer.ctypes.data + (source + low * stride) * F, work.buffer.ctypes.data + (target + low * stride) * F
    call(net.drop, (x, y, high - low, stride, low, step, layer, net.seed, net.dropout[layer]))
