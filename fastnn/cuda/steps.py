"""What one time step of a recurrent layer is made of, for the rows of a block: products with a matrix, and cells.

Also how a network with recurrent layers is described to the kernels, which are in `recurrent`.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np

from fastnn.cells import CELLS
from fastnn.cuda import formulas
from fastnn.cuda.formulas import KINDS
from fastnn.cuda.target import SIMULATED, cuda, device, number

# A layer's row of the table: units below, units, sums (units times gates); the numbers of its cell (0: a dense layer)
# and of its activation; time steps that it reads; whether all of its steps go on; steps of truncation; places of
# weight, bias, recurrent weight and bias among the parameters, and of the transposes of both weights among those. Then
# places in the buffer: what the layer before puts out, of which `SKIP` steps come before those it reads; what it reads,
# after dropout, and the steps before; sums or gates, outputs, recurrent sums, memory, and the derivatives by outputs,
# sums, recurrent sums and memory; losses and hits of all steps (of the last layer). SHARE: terms of a recurrent sum
# that a thread of `resident` holds the weights of; 0: they are read in each time step.
(IN, UNITS, SUMS, CELL, CODE, STEPS, WHOLE, CUT, W, B, RW, RB, BACK, RBACK, RAW, SKIP, READ, READ_SKIP, Z, H, S, C, D,
 DZ, DS, DC, LOSSES, HITS, LAST_SKIP, GOING, SHARE) = range(FIELDS := 31)  # fmt: skip

GATES = max(cell.gates for cell in CELLS.values())
U = np.uint32


class Slice(NamedTuple):
    """A block's rows and threads, the terms of a sum that go through shared memory at once, a multiple of 4, the rows
    of several time steps that share what is read of a matrix, and how a block's registers are used."""

    rows: int
    threads: int
    chunk: int
    together: int
    keeps: int  # numbers of float32 that a thread may keep in registers over all time steps
    blocks: int  # on a multiprocessor at once; half as many of float64


FEW, MANY, TINY = Slice(1, 256, 128, 8, 64, 1), Slice(4, 256, 128, 4, 16, 2), Slice(2, 1, 4, 2, 2, 1)
MULTIPROCESSORS = 132  # of an H100: a batch of no more rows has a block for each


def slice_for(batch: int) -> Slice:
    """How a batch's rows are cut."""
    if SIMULATED:
        return TINY
    return FEW if batch <= MULTIPROCESSORS else MANY


def kept(F: type, cut: Slice) -> int:
    """Numbers of type F that a thread may keep."""
    return cut.keeps * 4 // np.dtype(F).itemsize


def share(F: type, cut: Slice, units: int) -> int:
    """Terms of each recurrent sum that a thread takes where a block holds all units * units weights; 0: it cannot."""
    if not units <= min(cut.threads, cut.chunk):
        return 0
    block = min(4, kept(F, cut))  # read at once
    terms = -(-units // (cut.threads // units))
    terms = -(-terms // block) * block
    return terms if terms <= kept(F, cut) else 0


@lru_cache
def add_products(F: type, cut: Slice, rows: int) -> Any:
    """The function that adds the products of `rows` rows with a matrix to a thread's sums, one a row."""
    threads, chunk = cut.threads, cut.chunk
    kind, zero, four = number(F), F(0), 4

    @device
    def add(buffer, at, begin, some, lines, batch, K, weights, start, N, column, held, sums):
        """sums[r] += sum over k < K of x[r, k] weights[start + k N + column] for r < some.

        x are rows of K numbers from `at` on, `lines` of each time step, whose steps are `batch` rows apart: the first
        is number `begin` of them. All threads of the block must come here; those with column >= N add nothing. `held`
        (chunk * rows,) is shared.
        """
        thread = U(cuda.threadIdx.x)
        for k0 in range(U(0), U(K), U(chunk)):
            cuda.syncthreads()
            for e in range(thread, U(chunk * rows), U(threads)):
                term, row = U(e % U(chunk)), U(e // U(chunk))
                here, place = zero, U(begin + row)
                if row < some and k0 + term < K:
                    here = buffer[at + (place // lines * batch + place % lines) * K + k0 + term]
                held[term * U(rows) + row] = here
            cuda.syncthreads()
            if column < N:
                terms = U(min(U(chunk), K - k0))
                w = U(start + k0 * N + column)
                x = cuda.local.array(four, kind)
                for k in range(U(0), U(terms & U(0xFFFFFFFC)), U(four)):
                    for i in range(four):
                        x[i] = weights[w + (k + U(i)) * N]
                    for i in range(four):
                        for r in range(rows):
                            sums[r] += held[(k + U(i)) * U(rows) + U(r)] * x[i]
                for left in range(U(terms & U(0xFFFFFFFC)), terms):
                    last = weights[w + left * N]
                    for r in range(rows):
                        sums[r] += held[left * U(rows) + U(r)] * last

    return add


@lru_cache
def cell_forward(F: type, cut: Slice) -> Any:
    """The function for gates, memory and outputs of a time step: a thread has one unit of a row at a time."""
    forward, threads = formulas.cells(F)[0], cut.threads
    kind, zero = number(F), F(0)

    @device
    def step(buffer, table, layer, t, batch, m0, lines):
        units, width, code = table[layer, UNITS], table[layer, SUMS], table[layer, CELL]
        gates = U(width // units)
        z, s = cuda.local.array(GATES, kind), cuda.local.array(GATES, kind)
        h, before, c, last = (
            cuda.local.array(1, kind), cuda.local.array(1, kind), cuda.local.array(1, kind), cuda.local.array(1, kind)
        )  # fmt: skip
        for e in range(U(cuda.threadIdx.x), U(lines * units), U(threads)):
            line, u = U(t * batch + m0 + e // units), U(e % units)
            at = U(line * units + u)
            for g in range(GATES):
                z[g], s[g] = zero, zero
                if U(g) < gates:
                    z[g] = buffer[table[layer, Z] + line * width + U(g) * units + u]
                    s[g] = buffer[table[layer, S] + line * width + U(g) * units + u]
            before[0], last[0], c[0] = zero, zero, zero
            if t > U(0):
                earlier = U(at - batch * units)
                before[0], last[0] = buffer[table[layer, H] + earlier], buffer[table[layer, C] + earlier]
            forward(code, z, s, before, h, c, last, 1, t == U(0))
            for g in range(GATES):
                if U(g) < gates:
                    buffer[table[layer, Z] + line * width + U(g) * units + u] = z[g]
            buffer[table[layer, C] + at] = c[0]
            buffer[table[layer, H] + at] = h[0]

    return step


@lru_cache
def cell_backward(F: type, cut: Slice) -> Any:
    """The function for the derivatives by the sums of a time step, from those by its outputs."""
    backward, derivative, threads = formulas.cells(F)[1], formulas.activations(F)[1], cut.threads
    kind, zero = number(F), F(0)
    leaking = tuple(KINDS[name] for name, cell in CELLS.items() if cell.leak)

    @device
    def step(buffer, table, slopes, layer, t, batch, m0, lines, fresh, ends):
        """`fresh`: nothing comes from the step behind; `ends`: nothing goes to the step before."""
        units, width, code = table[layer, UNITS], table[layer, SUMS], table[layer, CELL]
        gates = U(width // units)
        z, s, dz, ds = (
            cuda.local.array(GATES, kind), cuda.local.array(GATES, kind), cuda.local.array(GATES, kind),
            cuda.local.array(GATES, kind),
        )  # fmt: skip
        before, c, last, dh, dc = (
            cuda.local.array(1, kind), cuda.local.array(1, kind), cuda.local.array(1, kind), cuda.local.array(1, kind),
            cuda.local.array(1, kind),
        )  # fmt: skip
        for e in range(U(cuda.threadIdx.x), U(lines * units), U(threads)):
            r, u = U(m0 + e // units), U(e % units)
            line = U(t * batch + r)
            at = U(line * units + u)
            earlier = at
            if t > U(0):
                earlier = U(at - batch * units)
            d = buffer[table[layer, D] + at]
            if width == units:
                y = buffer[table[layer, H] + at]
                buffer[table[layer, DZ] + at] = d * derivative(table[layer, CODE], y, slopes[layer])
            else:
                for g in range(GATES):
                    z[g], s[g] = zero, zero
                    if U(g) < gates:
                        z[g] = buffer[table[layer, Z] + line * width + U(g) * units + u]
                        s[g] = buffer[table[layer, S] + line * width + U(g) * units + u]
                before[0], last[0] = zero, zero
                if t > U(0):
                    before[0], last[0] = buffer[table[layer, H] + earlier], buffer[table[layer, C] + earlier]
                c[0], dh[0], dc[0] = buffer[table[layer, C] + at], d, zero
                memory = U(table[layer, DC] + r * units + u)
                if not fresh:
                    dc[0] = buffer[memory]
                backward(code, z, s, before, c, last, dh, dc, dz, ds, 1, t == U(0))
                buffer[memory] = dc[0]
                for g in range(GATES):
                    if U(g) < gates:
                        buffer[table[layer, DS] + line * width + U(g) * units + u] = ds[g]
                        buffer[table[layer, DZ] + line * width + U(g) * units + u] = dz[g]
                # What goes on to the outputs before without the product; the rest is added to it.
                goes = zero
                for kind_of in leaking:
                    if code == kind_of:
                        goes = dh[0]
                if t > U(0):
                    if ends:
                        goes = zero
                    if table[layer, WHOLE] != U(0):
                        goes += buffer[table[layer, D] + earlier]
                    buffer[table[layer, D] + earlier] = goes

    return step
