"""The forward pass inside a caller's own kernels: one thread predicts its own rows, nothing is allocated.

Time is the outermost loop: a layer keeps its latest outputs and memory only, so a thread's scratch memory does not grow
with the sequence. The threads' numbers lie side by side, so that what a warp reads together is together in memory.
"""

from __future__ import annotations

from functools import lru_cache
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np

from fastnn.cells import CELLS
from fastnn.cpu import plan
from fastnn.cuda import formulas
from fastnn.cuda.formulas import CODES, KINDS
from fastnn.cuda.memory import Take, allocated
from fastnn.cuda.target import SIMULATED, cuda, device, number
from fastnn.runner import Architecture

# A layer's row of the table: units below, units, sums, the numbers of its cell (0: dense) and activation, whether it
# reads the last time step only; places of weight, bias, recurrent weight and bias among the parameters, and of sums,
# recurrent sums, outputs and memory in a thread's scratch memory; whether recurrent sums stand apart.
(IN, UNITS, SUMS, CELL, CODE, LATE, W, B, RW, RB, Z, S, H, C, APART) = range(FIELDS := 15)
AT_ONCE = 4  # sums that share what is read of the layer below
GATES = max(cell.gates for cell in CELLS.values())
U = np.uint32


class Net(NamedTuple):
    """A network as a kernel sees it; all arrays are on the device."""

    parameters: Any  # F (P,)
    table: Any  # uint32 (L, FIELDS)
    slopes: Any  # F (L,)
    scratch: Any  # F (numbers, threads)
    steps: int  # time steps of a row; 1 without recurrent layers
    going: int  # of them that the outputs have


def compiled(architecture: Architecture, parameters: np.ndarray, steps: int, threads: int) -> Net:
    """The network, with the parameters as they are now, for kernels in which `threads` threads predict."""
    F, sizes = architecture.F, architecture.sizes
    loops = architecture.loops or (None,) * (len(sizes) - 1)
    weights, biases, _ = plan.offsets(sizes, architecture.loops)
    table = np.zeros((len(loops), FIELDS), np.uint32)
    end, late = 0, False
    for layer, (loop, (below, units)) in enumerate(zip(loops, pairwise(sizes), strict=True)):
        apart = loop is not None and CELLS[loop.cell].apart
        sums = units * plan.gates(loop)
        w, b = int(weights[layer]), int(biases[layer])
        z, s, h, c = end, end + sums, end + (2 if apart else 1) * sums, end + (2 if apart else 1) * sums + units
        table[layer] = (
            below, units, sums, KINDS[loop.cell] if loop else 0, CODES[architecture.activations[layer]], late, w, b,
            w + below * sums, b + sums, z, s, h, c, apart,
        )  # fmt: skip
        end, late = c + units, late or (loop is not None and not loop.sequences)

    def make(take: Take) -> Net:
        arrays = take.copy(parameters), take.copy(table), take.copy(np.array(architecture.slopes, F))
        return Net(*arrays, take.empty((end, threads), F), steps, 1 if late else steps)

    return allocated("prediction in kernels", make)


@lru_cache
def _sums(F: type) -> Any:
    """The function for a thread's sums of one layer in one time step, to its scratch memory from place `to` on."""
    kind, zero = number(F), F(0)

    @device
    def add_up(net, thread, x, row, first, N, K, weight, bias, below, to, fresh):
        """sums = bias (`fresh`) or what is there, plus `below` times weight; `below` >= 0 is a place in the scratch
        memory, else the K numbers are x[row, first ..]."""
        sums = cuda.local.array(AT_ONCE, kind)
        for c0 in range(U(0), N, U(AT_ONCE)):
            for j in range(AT_ONCE):
                column = U(c0 + U(j))
                sums[j] = zero
                if column < N:
                    sums[j] = net.parameters[bias + column] if fresh else net.scratch[to + column, thread]
            for k in range(U(0), K):
                y = x[row, first + k] if below < 0 else net.scratch[U(below) + k, thread]
                for j in range(AT_ONCE):
                    if c0 + U(j) < N:
                        sums[j] += y * net.parameters[weight + k * N + c0 + U(j)]
            for j in range(AT_ONCE):
                if c0 + U(j) < N:
                    net.scratch[to + c0 + U(j), thread] = sums[j]

    return add_up


@lru_cache
def _values(F: type) -> Any:
    """The function for a layer's outputs, and the memory of its cell, from its sums."""
    value, forward, kind, zero = formulas.activations(F)[0], formulas.cells(F)[0], number(F), F(0)

    @device
    def values(net, thread, layer, first):
        table, scratch = net.table, net.scratch
        units, sums = table[layer, UNITS], table[layer, SUMS]
        z, s = cuda.local.array(GATES, kind), cuda.local.array(GATES, kind)
        h, before, c, last = (
            cuda.local.array(1, kind), cuda.local.array(1, kind), cuda.local.array(1, kind), cuda.local.array(1, kind)
        )  # fmt: skip
        for u in range(U(0), units):
            if sums == units:
                here = scratch[table[layer, Z] + u, thread]
                scratch[table[layer, H] + u, thread] = value(table[layer, CODE], here, net.slopes[layer])
            else:
                for g in range(GATES):
                    z[g], s[g] = zero, zero
                    if U(g) * units < sums:
                        z[g] = scratch[table[layer, Z] + U(g) * units + u, thread]
                        s[g] = scratch[table[layer, S] + U(g) * units + u, thread] if table[layer, APART] else zero
                before[0], last[0], c[0] = zero, zero, zero
                if not first:
                    before[0], last[0] = (
                        scratch[table[layer, H] + u, thread],
                        scratch[table[layer, C] + u, thread],
                    )
                forward(table[layer, CELL], z, s, before, h, c, last, 1, first)
                scratch[table[layer, H] + u, thread], scratch[table[layer, C] + u, thread] = h[0], c[0]

    return values


@lru_cache
def rows(F: type) -> Any:
    """The function predict(net, x, out) of a thread, see `predict`."""
    add_up, values, nothing = _sums(F), _values(F), F(np.nan)

    @device
    def all_rows(net, x, out):
        thread, table = U(cuda.grid(1)), net.table
        layers, steps, going = U(table.shape[0]), U(net.steps), U(net.going)
        last, features = U(layers - U(1)), table[0, IN]
        width = table[last, UNITS]
        fits = x.shape[0] == out.shape[0] and U(x.shape[1]) == steps * features and U(out.shape[1]) == going * width
        if not fits or thread >= U(net.scratch.shape[1]):
            for r in range(out.shape[0]):
                for c in range(out.shape[1]):
                    out[r, c] = nothing
            return
        for r in range(U(0), U(x.shape[0])):
            for t in range(U(0), steps):
                below = np.int64(-1)
                for layer in range(U(0), layers):
                    if table[layer, LATE] != U(0) and t + U(1) < steps:
                        break
                    N, units, z = table[layer, SUMS], table[layer, UNITS], table[layer, Z]
                    add_up(net, thread, x, r, t * features, N, table[layer, IN], table[layer, W], table[layer, B],
                           below, z, True)  # fmt: skip
                    h, s = np.int64(table[layer, H]), z
                    if table[layer, APART]:
                        s = table[layer, S]
                    loops = table[layer, CELL] != U(0)
                    if table[layer, APART]:
                        terms = units if t > U(0) else U(0)
                        add_up(net, thread, x, r, U(0), N, terms, table[layer, RW], table[layer, RB], h, s, True)
                    elif loops and t > U(0):
                        add_up(net, thread, x, r, U(0), N, units, table[layer, RW], U(0), h, s, False)
                    values(net, thread, U(layer), t == U(0))
                    below = h
                    if layer == last:
                        at = U(t * width) if going > U(1) else U(0)
                        for c in range(U(0), width):
                            out[r, at + c] = net.scratch[U(h) + c, thread]

    return all_rows


def predict(net, x, out):
    """out (n, fan_out) <- outputs of the last layer for x (n, fan_in), by one thread of the caller's own kernel.

    `net` is what `Network.compiled()` of a network on the GPU gives; x and out are 2-d arrays of its type, or it does
    not compile. The thread is number cuda.grid(1) of the launch; of threads beyond those that `net` was made for, and
    where sizes do not fit, the outputs are NaN, for a kernel cannot raise.
    """
    if not SIMULATED:
        raise TypeError("fastnn.cuda.predict is for kernels compiled by Numba; in Python call the network: net(x)")
    rows(net.scratch.dtype.type)(net, x, out)


if not SIMULATED:
    from numba import types
    from numba.core.errors import TypingError
    from numba.cuda.extending import overload

    @overload(predict)
    def _predict(net, x, out):
        kind = net.types[net.fields.index("scratch")].dtype
        for name, array in (("x", x), ("out", out)):
            if not isinstance(array, types.Array) or (array.ndim, array.dtype) != (2, kind):
                raise TypingError(f"fastnn.cuda.predict: {name} is {array}; expected an array({kind}, 2d)")
        own = rows(np.float32 if kind == types.float32 else np.float64)

        def call(net, x, out):
            own(net, x, out)

        return call
