"""Prediction: the forward pass alone, one function that is called by address with the address of one table.

All that it needs to know of a network is in that table of int64, so that a call from Python hands over three arrays
(Numba takes 12 us to unpack a `Net`), and a caller's own compiled code compiles nothing of ours but the call. Rows
never meet and every sum has one order: a row's outputs are the same bits alone, among others, and by any thread.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import types
from numba.core.errors import TypingError
from numba.extending import overload

from fastnn.compiler import block, inner, kernel, once
from fastnn.cpu.phases import GRAIN, ROWS
from fastnn.cpu.primitives import call, copy, wait_for_all
from fastnn.cpu.row import row_product

# The table: its head, FIELDS a layer, then for each worker whether it met a number that is not finite.
HEAD, FIELDS = 8, 10
PREDICT, LAYERS, INPUTS, OUTPUTS, GEMM, SLOPES, SCRATCH, BLOCK = range(HEAD)
# Of a layer: its units before and after, the latter in whole vectors, numbers from one row of outputs to the next;
# addresses of weight, bias and the activation's block (0: none); for products of many rows the address of the weight,
# the distance of its rows and that of its panels.
IN, OUT, COLUMNS, STRIDE, WEIGHT, BIAS, FORWARD, PANELS, ROW, PANEL = range(FIELDS)
FEW = 3  # rows up to which each row is a product of its own: 4 rows as one product take as long as 3 alone
TILE = 12  # rows of which a worker gets a whole number: products are made for 6, 8, 12 and 16 rows
FLAGGED = 64 // 8  # numbers between two workers' flags: a cache line


@once
def predict_address(F: type) -> int:
    """Address of the pass for type F: (table, inputs, slopes, inputs, rows, out, worker, check), addresses and counts.

    Outputs of all rows go to `out` (rows x outputs), or where that is 0 stay in the worker's scratch, for ROWS rows at
    most. With `check`, the worker's flag tells whether all inputs are finite; the pass ends at ROWS that are not.
    """
    number = types.float32 if F is np.float32 else types.float64
    size, one, most = np.dtype(F).itemsize, F(1), np.finfo(F).max
    product = row_product(F)

    def predict(table, inputs, slopes, at, rows, out, worker, check):
        layers, outputs, width = table[LAYERS], table[OUTPUTS], table[INPUTS]
        flag = HEAD + FIELDS * layers + FLAGGED * worker
        scratch = table[SCRATCH] + 2 * worker * table[BLOCK]
        if check != 0:
            table[flag] = 0
        for begin in range(0, rows, ROWS):
            some = min(ROWS, rows - begin)
            if check != 0:
                bad = np.int32(0)
                for i in range(begin * width, (begin + some) * width):
                    bad |= np.int32(not abs(inputs[i]) <= most)
                if bad != 0:
                    table[flag] = 1
                    return
            source, apart = at + begin * width * size, width
            here, other = scratch, scratch + table[BLOCK]
            for layer in range(layers):
                entry = HEAD + FIELDS * layer
                stride, columns, bias = table[entry + STRIDE], table[entry + COLUMNS], table[entry + BIAS]
                fan_in = table[entry + IN]
                if some <= FEW:
                    for r in range(some):
                        product(source + r * apart * size, table[entry + WEIGHT], table[entry + OUT], bias,
                                here + r * stride * size, here + FEW * stride * size, columns, fan_in)  # fmt: skip
                else:
                    weight, row, panel = table[entry + PANELS], table[entry + ROW], table[entry + PANEL]
                    call(table[GEMM], (source, apart, 1, weight, row, panel, bias, 0, here, stride,
                                       some, columns, fan_in, one, one))  # fmt: skip
                if table[entry + FORWARD] != 0:
                    for r in range(0, some, GRAIN):
                        count = min(GRAIN, some - r) * stride
                        call(table[entry + FORWARD], (here + r * stride * size, count, slopes[layer]))
                source, apart = here, stride
                here, other = other, here
            if out != 0:
                for r in range(some):
                    copy(out + (begin + r) * outputs * size, source + r * apart * size, outputs * size)

    pointer = types.CPointer(number)
    signature = types.void(types.CPointer(types.int64), pointer, pointer, *[types.intp] * 5)
    return block(f"predict.{np.dtype(F).name}", signature, predict)


def new_table(net: Any, workers: int) -> np.ndarray:
    """The table of a phases.Net, which must be kept alive, with scratch for `workers`."""
    size, layers = net.one.itemsize, net.sizes.size - 1
    table = np.zeros(HEAD + FIELDS * layers + FLAGGED * workers, np.int64)
    table[:HEAD] = (
        predict_address(net.one.dtype.type), layers, net.sizes[0], net.sizes[-1], net.gemm, net.slope.ctypes.data,
        net.scratch.ctypes.data, net.scratch.size // (2 * workers) * size,
    )  # fmt: skip
    entries = layer_entries(table)
    entries[:, IN], entries[:, OUT] = net.sizes[:-1], net.sizes[1:]
    entries[:, COLUMNS], entries[:, STRIDE] = net.vectors[1:], net.strides[1:]
    entries[:, WEIGHT], entries[:, BIAS] = net.weight * size, net.bias * size
    entries[:, FORWARD] = net.forward
    entries[:, PANELS], entries[:, ROW], entries[:, PANEL] = entries[:, WEIGHT], entries[:, OUT], net.panel
    aim(table, net.parameters.ctypes.data)
    return table


def aim(table: np.ndarray, forward: int) -> None:
    """Have a table read parameters that lie `forward` bytes behind those that it read before."""
    layer_entries(table)[:, [WEIGHT, BIAS, PANELS]] += forward


def layer_entries(table: np.ndarray) -> np.ndarray:
    """View (layers, FIELDS) of a table."""
    return table[HEAD : HEAD + FIELDS * int(table[LAYERS])].reshape(-1, FIELDS)


# ---- from Python -----------------------------------------------------------------------------------------------------

FINE, SHAPES, NOT_FINITE = range(3)


@once
def from_python(F: type) -> Any:
    """The kernel (table, x, out) for writable C-contiguous arrays of type F: FINE, or what is wrong with x or out.

    It takes no arrays of another kind (TypeError) instead of compiling itself for them.
    """

    def predict(table, x, out):
        rows = x.shape[0]
        if rows == 0 or x.shape[1] != table[INPUTS] or out.shape[0] != rows or out.shape[1] != table[OUTPUTS]:
            return SHAPES
        call(table[PREDICT], (table.ctypes.data, x.ctypes.data, table[SLOPES], x.ctypes.data, rows, out.ctypes.data,
                              0, 1))  # fmt: skip
        return NOT_FINITE if table[HEAD + FIELDS * table[LAYERS]] != 0 else FINE

    predict.__name__ = f"predict_{np.dtype(F).name}"
    dispatcher = kernel(predict)
    matrix = types.Array(types.float32 if F is np.float32 else types.float64, 2, "C")
    dispatcher.compile((types.Array(types.int64, 1, "C"), matrix, matrix))
    dispatcher.disable_compile()
    return dispatcher


@kernel
def many_rows(table, size, inputs, rows, out, check, pack, barrier, workers, worker):
    """Outputs of `rows` rows at address `inputs`, to `out`; `size` is a number's in bytes.

    With `pack` the weights are first copied to the table's panels. Ends at a block with a NaN or Inf where `check`.
    """
    layers = table[LAYERS]
    if pack != 0:
        for layer in range(layers):
            entry = HEAD + FIELDS * layer
            pack_panels(table[entry + WEIGHT], table[entry + PANELS], table[entry + IN], table[entry + OUT],
                        table[entry + ROW], size, workers, worker)  # fmt: skip
        if not wait_for_all(barrier, workers):
            return
    tiles = (rows + TILE - 1) // TILE
    begin, end = worker * tiles // workers * TILE, min(rows, (worker + 1) * tiles // workers * TILE)
    x = inputs + begin * table[INPUTS] * size
    call(table[PREDICT], (table.ctypes.data, x, table[SLOPES], x, end - begin, out + begin * table[OUTPUTS] * size,
                          worker, check))  # fmt: skip


@inner
def pack_panels(weight, panels, rows, columns, panel, size, workers, worker):
    """A worker's share of a weight's panels of `panel` columns."""
    count = (columns + panel - 1) // panel
    for p in range(worker * count // workers, (worker + 1) * count // workers):
        some = min(panel, columns - p * panel) * size
        for i in range(rows):
            copy(panels + (p * rows + i) * panel * size, weight + (i * columns + p * panel) * size, some)


@kernel
def score(table, size, data, loss, losses, hits, columns, counting, sums, scale, whole, workers, worker):
    """Loss and hits of every block of ROWS rows of `data` (phases.Data), into sums (blocks, 2); workers share them.

    `whole`: address of the pass with losses for networks that are not made of dense layers alone, or 0.
    """
    layers, width = table[LAYERS], table[OUTPUTS]
    scratch, other = table[SCRATCH] + 2 * worker * table[BLOCK], table[SCRATCH] + (2 * worker + 1) * table[BLOCK]
    z = scratch if layers % 2 == 1 else other
    stride = table[HEAD + FIELDS * (layers - 1) + STRIDE]
    blocks = sums.shape[0]
    for b in range(worker * blocks // workers, (worker + 1) * blocks // workers):
        rows = min(ROWS, data.samples - b * ROWS)
        x, targets = data.inputs + b * ROWS * data.row * size, data.targets + b * ROWS * data.target_row
        if whole != 0:
            call(whole, (table.ctypes.data, table[SLOPES], x, targets, rows, losses[worker].ctypes.data,
                         hits[worker].ctypes.data, loss, worker))  # fmt: skip
        else:
            call(table[PREDICT], (table.ctypes.data, x, table[SLOPES], x, rows, 0, worker, 0))
        for r in range(0, rows if whole == 0 else 0, GRAIN):
            space = columns[worker].ctypes.data
            call(loss, (z + r * stride * size, 0, stride, width, targets,
                        counting.ctypes.data + r * 8, losses[worker].ctypes.data + r * size,
                        hits[worker].ctypes.data + r * size, min(GRAIN, rows - r), GRAIN, scale,
                        space, space + 2 * GRAIN * size, space + (2 + width) * GRAIN * size))  # fmt: skip
        lost, hit = 0.0, 0.0
        for r in range(rows):
            lost += losses[worker, r]
            hit += hits[worker, r]
        sums[b, 0], sums[b, 1] = lost, hit


# ---- from the caller's own compiled code -----------------------------------------------------------------------------


def predict(net: Any, x: np.ndarray, out: np.ndarray) -> None:
    """out (n, fan_out) <- outputs of the last layer for x (n, fan_in), inside the caller's own compiled code.

    Both C-contiguous and of the network's type, or it does not compile; raises ValueError when the sizes do not fit.
    Not for two threads at once on one `net`: they would share its scratch memory.
    """
    raise TypeError("fastnn.jit.predict is for functions compiled by Numba; in Python call the network: net(x)")


@overload(predict)
def _predict(net, x, out):
    number = net.types[net.fields.index("parameters")].dtype
    for name, array in (("x", x), ("out", out)):
        if not isinstance(array, types.Array) or (array.ndim, array.layout, array.dtype) != (2, "C", number):
            raise TypingError(f"fastnn.jit.predict: {name} is {array}; expected a C-contiguous array({number}, 2d)")

    def checked(net, x, out):
        table = net.table
        if x.shape[1] != table[INPUTS]:
            raise ValueError("fastnn.jit.predict: x does not have as many columns as the network has inputs")
        if out.shape[0] != x.shape[0] or out.shape[1] != table[OUTPUTS]:
            raise ValueError("fastnn.jit.predict: out does not have a row for each of x's, a column for each output")
        call(table[PREDICT], (table.ctypes.data, x.ctypes.data, table[SLOPES], x.ctypes.data, x.shape[0],
                              out.ctypes.data, 0, 0))  # fmt: skip

    return checked
