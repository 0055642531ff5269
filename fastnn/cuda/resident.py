"""Time steps of simple recurrent layers whose weights stay in the registers of a block.

"Persistent RNNs: Stashing Recurrent Weights On-Chip" (Diamos et al., ICML 2016): what a step multiplies with is the
same in every step, so each thread reads its share of the weights once, and in a step only what the layer put out before
goes through shared memory. Thread n has column n % units, and of its sum the `share` terms of group n // units; the
groups' partial sums are added in their order.

A step has two barriers, and reads nothing of the device's memory but one number a thread, which is on its way before
the first of them: forward what the inputs gave to the sum, backward the output. With 128 units a block of 256 threads
holds all 64 KiB, 64 numbers a thread; a step is 64 multiplications of each, in four chains, and 16 loads of four
numbers from shared memory, which all lanes of a warp share.

A model of it, for 28 x 28, 128 units and batch 64 on an H100 (1.755 GHz), not a measurement: per step 128 cycles in
which four schedulers issue the multiplications of two warps each, 60 for two barriers, 100 for latencies of shared
memory, and forward 200 for the activation: 490 and 290 cycles, 12.5 us for 28 steps there and back. The weights come
twice from the second cache, 1 to 2 us each time. Read from the first cache in every step instead, at 128 bytes a cycle,
they are 512 cycles a step and way at best; four warps with four loads each on their way, which is what one thread a
column gives, get a quarter of that.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np

from fastnn.cuda import formulas, steps
from fastnn.cuda.steps import CODE, CUT, DZ, RBACK, RW, SHARE, STEPS, UNITS, WHOLE, D, H, Slice
from fastnn.cuda.target import cuda, device, number

U = np.uint32


@lru_cache
def _products(F: type, cut: Slice) -> tuple[Any, Any, Any]:
    """The functions hold (a thread's weights), multiply (to its partial sums of a step) and total (of partial sums)."""
    rows, threads, chunk, most = cut.rows, cut.threads, cut.chunk, steps.kept(F, cut)
    kind, zero, block = number(F), F(0), min(4, most)
    blocks, chains = most // block, max(1, min(block, 4 // rows))

    @device
    def hold(weights, start, units, share, w, held):
        """w (most,) <- the thread's weights of a matrix (units, units); `held` (chunk * rows,) <- 0."""
        thread = U(cuda.threadIdx.x)
        column, first = U(thread % units), U(thread // units * share)
        for i in range(most):
            w[i] = zero
            if U(i) < share and first + U(i) < units:
                w[i] = weights[start + (first + U(i)) * units + column]
        cuda.syncthreads()
        for e in range(thread, U(chunk * rows), U(threads)):
            held[e] = zero
        cuda.syncthreads()

    @device
    def multiply(units, share, w, held, partial):
        """partial (rows, threads) <- what each thread's weights add to the sums over held (units, rows)."""
        thread = U(cuda.threadIdx.x)
        first = U(thread // units * (share // U(block)))  # in blocks: the compiler then sees that they are aligned
        sums = cuda.local.array((rows, chains), kind)
        for r in range(rows):
            for c in range(chains):
                sums[r, c] = zero
        for b in range(blocks):
            begin = U((first + U(b)) * U(block))
            if U(b * block) < share and begin < units:
                for i in range(block):
                    for r in range(rows):
                        sums[r, i % chains] += held[(begin + U(i)) * U(rows) + U(r)] * w[b * block + i]
        for r in range(rows):
            whole = sums[r, 0]
            for c in range(1, chains):
                whole += sums[r, c]
            partial[U(r * threads) + thread] = whole

    @device
    def total(units, share, partial, r):
        """The sum of column threadIdx.x of row r."""
        thread, whole = U(cuda.threadIdx.x), zero
        for group in range(U(0), U((units + share - U(1)) // share)):
            whole += partial[U(r * threads) + group * units + thread]
        return whole

    return hold, multiply, total


@lru_cache
def forward(F: type, cut: Slice) -> Any:
    """The function for a layer's outputs in all time steps; what the inputs add to their sums is in their place."""
    hold, multiply, total = _products(F, cut)
    value, rows, kind, most, zero = formulas.activations(F)[0], cut.rows, number(F), steps.kept(F, cut), F(0)

    @device
    def through_time(parameters, buffer, table, slopes, layer, batch, m0, lines, held, partial):
        units, share, thread = table[layer, UNITS], table[layer, SHARE], U(cuda.threadIdx.x)
        w, z = cuda.local.array(most, kind), cuda.local.array(rows, kind)
        hold(parameters, table[layer, RW], units, share, w, held)
        for t in range(U(0), table[layer, STEPS]):
            at = U(table[layer, H] + (t * batch + m0) * units + thread)
            for r in range(rows):
                z[r] = zero
                if thread < units and U(r) < lines:
                    z[r] = buffer[at + U(r) * units]
            if t > U(0):
                cuda.syncthreads()
                multiply(units, share, w, held, partial)
                cuda.syncthreads()
            if thread < units:
                for r in range(rows):
                    if U(r) < lines:
                        y = z[r]
                        if t > U(0):
                            y = z[r] + total(units, share, partial, r)
                        y = value(table[layer, CODE], y, slopes[layer])
                        buffer[at + U(r) * units] = y
                        held[thread * U(rows) + U(r)] = y

    return through_time


@lru_cache
def backward(F: type, cut: Slice) -> Any:
    """The function for the derivatives by the sums of all time steps, from those by the outputs."""
    hold, multiply, total = _products(F, cut)
    derivative, rows, kind, most, zero = formulas.activations(F)[1], cut.rows, number(F), steps.kept(F, cut), F(0)

    @device
    def load(buffer, at, units, lines, into):
        """into[r] <- the thread's number of each row of a time step."""
        thread = U(cuda.threadIdx.x)
        for r in range(rows):
            into[r] = zero
            if thread < units and U(r) < lines:
                into[r] = buffer[at + U(r) * units + thread]

    @device
    def through_time(buffer, turned, table, slopes, layer, batch, m0, lines, held, partial):
        units, share, last = table[layer, UNITS], table[layer, SHARE], U(table[layer, STEPS] - U(1))
        cut_every, whole, thread = table[layer, CUT], table[layer, WHOLE] != U(0), U(cuda.threadIdx.x)
        w, y, d = cuda.local.array(most, kind), cuda.local.array(rows, kind), cuda.local.array(rows, kind)
        hold(turned, table[layer, RBACK], units, share, w, held)
        place = U((last * batch + m0) * units)
        load(buffer, U(table[layer, H] + place), units, lines, y)
        load(buffer, U(table[layer, D] + place), units, lines, d)
        for back in range(U(0), table[layer, STEPS]):
            t = U(last - back)
            ends = cut_every > U(0) and (back + U(1)) % cut_every == U(0)
            if thread < units:
                for r in range(rows):
                    if U(r) < lines:
                        dz = d[r] * derivative(table[layer, CODE], y[r], slopes[layer])
                        buffer[table[layer, DZ] + (t * batch + m0 + U(r)) * units + thread] = dz
                        held[thread * U(rows) + U(r)] = dz
            if t > U(0):
                place = U(((t - U(1)) * batch + m0) * units)
                load(buffer, U(table[layer, H] + place), units, lines, y)
                for r in range(rows):
                    d[r] = zero
                if whole:
                    load(buffer, U(table[layer, D] + place), units, lines, d)
                cuda.syncthreads()
                if not ends:
                    multiply(units, share, w, held, partial)
                cuda.syncthreads()
                if not ends and thread < units:
                    for r in range(rows):
                        d[r] = d[r] + total(units, share, partial, r)

    return through_time
