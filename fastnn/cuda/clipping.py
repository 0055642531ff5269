"""Clipping by norm: the gradient's norm over all parameters, and the update by what is left of it.

The norm is a sum over chunks, and that of a chunk a tree over the threads of a block: one order, whatever runs first.
Each chunk is scaled by its own largest number, so that no square overflows.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache
from itertools import accumulate, pairwise
from typing import Any

import numpy as np

from fastnn.cuda import weights
from fastnn.cuda.dependent import await_previous
from fastnn.cuda.memory import allocated
from fastnn.cuda.phases import SLOT, THREADS
from fastnn.cuda.reductions import CHUNK, chunks_of, tree
from fastnn.cuda.target import cuda, kernel, number

U = np.uint32


@lru_cache
def measure(F: type) -> Any:
    """Kernel: of a chunk of `gradient` the largest magnitude, and the sum of the squares of all over it, to `sizes`.

    F (chunks, 2); a block a chunk.
    """
    kind, zero, one, largest, total = number(F), F(0), F(1), tree(True), tree(False)

    @kernel(THREADS, F)
    def measure_chunk(gradient, sizes):
        values = cuda.shared.array(THREADS, kind)
        thread, begin = U(cuda.threadIdx.x), U(U(cuda.blockIdx.x) * U(CHUNK))
        end = U(min(begin + U(CHUNK), U(gradient.size)))
        await_previous()
        top = zero
        for at in range(U(begin + thread), end, U(THREADS)):
            top = max(abs(gradient[at]), top)
        top = largest(values, thread, top)
        scale, squares = one / top if top > zero else zero, zero
        for at in range(U(begin + thread), end, U(THREADS)):
            x = gradient[at] * scale
            squares += x * x
        squares = total(values, thread, squares)
        if thread == U(0):
            sizes[U(cuda.blockIdx.x), 0], sizes[U(cuda.blockIdx.x), 1] = top, squares

    return measure_chunk


@lru_cache
def update(F: type, rule: str, slots: int) -> Any:
    """Kernel: the optimizer's update by `gradient`, scaled down to a norm of `clip` if it has more; a block a chunk.

    With a `clip` of 0 the gradient is taken as it is, and `sizes` are not read.
    """
    kind, zero, one, largest, total = number(F), F(0), F(1), tree(True), tree(False)
    tiny, (take, give) = F(1e-6), weights.put(F, rule, slots, 1, 1)

    @kernel(THREADS, F, rule, slots)
    def update_chunk(target, m, v, gradient, sizes, clip, coefficients, state, s):
        values = cuda.shared.array(THREADS, kind)
        g, old = cuda.local.array((1, 1), kind), cuda.local.array(3, kind)
        thread, begin = U(cuda.threadIdx.x), U(U(cuda.blockIdx.x) * U(CHUNK))
        end, chunks = U(min(begin + U(CHUNK), U(gradient.size))), U(sizes.shape[0])
        c, factor = coefficients[state[SLOT] + s], one
        k = (c[0], c[1], c[2], c[3], c[4], c[5], c[6], c[7])
        await_previous()
        if clip > zero:
            top = zero
            for chunk in range(thread, chunks, U(THREADS)):
                top = max(sizes[chunk, 0], top)
            top = largest(values, thread, top)
            scale, squares = one / top if top > zero else zero, zero
            for chunk in range(thread, chunks, U(THREADS)):
                x = sizes[chunk, 0] * scale
                squares += sizes[chunk, 1] * x * x
            factor = clip / (top * math.sqrt(total(values, thread, squares)) + tiny)  # torch.nn.utils.clip_grad_norm_
            factor = one if factor > one else factor
        for at in range(U(begin + thread), end, U(THREADS)):
            g[0, 0] = gradient[at] * factor
            take(target, m, v, at, U(1), False, old, 0)
            give(target, m, v, at, U(1), False, old, 0, g, 0, 0, k)

    return update_chunk


class Norms:
    """Euclidean norms of arrays on the device, by way of an array that is kept; whoever has it calls it by turns."""

    def __init__(self, F: type) -> None:
        self._F, self._kept = F, dict[tuple[int, ...], tuple[Any, list[Any], list[int]]]()

    def __call__(self, arrays: Sequence[Any]) -> list[float]:
        sizes, parts, begins = self._room(tuple(chunks_of(values.size) for values in arrays))
        for values, part in zip(arrays, parts, strict=True):
            measure(self._F)[len(part), THREADS](values, part)
        found = sizes.copy_to_host().astype(np.float64)
        return [_norm(found[begin:end]) for begin, end in pairwise(begins)]

    def _room(self, chunks: tuple[int, ...]) -> tuple[Any, list[Any], list[int]]:
        if chunks not in self._kept:
            begins = [0, *accumulate(chunks)]
            sizes = allocated("a norm", lambda take: take.empty((begins[-1], 2), self._F))
            self._kept[chunks] = sizes, [sizes[begin:end] for begin, end in pairwise(begins)], begins
        return self._kept[chunks]


def _norm(sizes: np.ndarray) -> float:
    top, squares = sizes.T
    with np.errstate(over="ignore", invalid="ignore"):
        return float(np.sqrt((squares * top**2).sum()))
