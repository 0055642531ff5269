"""Clipping by norm: the gradient's norm over all parameters, and the update by what is left of it.

The norm is a sum of parts, and each part a tree over the threads of a block: one order, whatever runs first. Each part
is scaled by its own largest number, so that no square overflows.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Any

import numpy as np

from fastnn.cuda import weights
from fastnn.cuda.phases import SLOT, THREADS
from fastnn.cuda.target import cuda, device, kernel, number

PART = 4096  # numbers of a gradient whose squares are a sum of their own
U = np.uint32


def parts_of(count: int) -> int:
    """How many parts `count` numbers have."""
    return -(-count // PART)


@lru_cache
def _tree(largest: bool) -> Any:
    """The function that leaves the sum of `values` (THREADS,), in shared memory, or their largest in values[0]."""

    @device
    def gather(values, thread):
        half = U(THREADS // 2)
        while half > U(0):
            cuda.syncthreads()
            if thread < half:
                a, b = values[thread], values[thread + half]
                if largest:
                    values[thread] = b if b > a else a
                else:
                    values[thread] = a + b
            half = U(half // U(2))
        cuda.syncthreads()
        return values[0]

    return gather


@lru_cache
def measure(F: type) -> Any:
    """Kernel: of a part of `gradient` the largest magnitude, and the sum of the squares of all over it, to `sizes`.

    F (parts, 2); a block a part.
    """
    kind, zero, one, largest, total = number(F), F(0), F(1), _tree(True), _tree(False)

    @kernel(THREADS)
    def measure_part(gradient, sizes):
        values = cuda.shared.array(THREADS, kind)
        thread, begin = U(cuda.threadIdx.x), U(U(cuda.blockIdx.x) * U(PART))
        end = U(min(begin + U(PART), U(gradient.size)))
        top = zero
        for at in range(U(begin + thread), end, U(THREADS)):
            top = max(abs(gradient[at]), top)
        values[thread] = top
        top = largest(values, thread)
        scale, squares = one / top if top > zero else zero, zero
        for at in range(U(begin + thread), end, U(THREADS)):
            x = gradient[at] * scale
            squares += x * x
        cuda.syncthreads()
        values[thread] = squares
        squares = total(values, thread)
        if thread == U(0):
            sizes[U(cuda.blockIdx.x), 0], sizes[U(cuda.blockIdx.x), 1] = top, squares

    return measure_part


@lru_cache
def update(F: type, rule: str, slots: int) -> Any:
    """Kernel: the optimizer's update by `gradient`, scaled down to a norm of `clip` if it has more; a block a part."""
    kind, zero, one, largest, total = number(F), F(0), F(1), _tree(True), _tree(False)
    tiny, to_use = F(1e-6), weights.put(F, rule, slots)

    @kernel(THREADS)
    def update_part(target, m, v, gradient, sizes, clip, coefficients, state, s):
        values = cuda.shared.array(THREADS, kind)
        thread, begin = U(cuda.threadIdx.x), U(U(cuda.blockIdx.x) * U(PART))
        end, parts = U(min(begin + U(PART), U(gradient.size))), U(sizes.shape[0])
        top = zero
        for part in range(thread, parts, U(THREADS)):
            top = max(sizes[part, 0], top)
        values[thread] = top
        top = largest(values, thread)
        scale, squares = one / top if top > zero else zero, zero
        for part in range(thread, parts, U(THREADS)):
            x = sizes[part, 0] * scale
            squares += sizes[part, 1] * x * x
        cuda.syncthreads()
        values[thread] = squares
        factor = clip / (top * math.sqrt(total(values, thread)) + tiny)  # torch.nn.utils.clip_grad_norm_
        factor = one if factor > one else factor
        c = coefficients[state[SLOT] + s]
        k = (c[0], c[1], c[2], c[3], c[4], c[5], c[6], c[7])
        for at in range(U(begin + thread), end, U(THREADS)):
            to_use(target, m, v, at, gradient[at] * factor, k)

    return update_part
