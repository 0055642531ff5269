"""Sums and maxima over the threads of a block, in one order: a tree."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np

from fastnn.cuda.phases import THREADS
from fastnn.cuda.target import cuda, device, kernel, number

CHUNK = 4096  # numbers of a long array that a block goes through
U = np.uint32


def chunks_of(count: int) -> int:
    """How many chunks `count` numbers have."""
    return -(-count // CHUNK)


@lru_cache
def tree(largest: bool) -> Any:
    """The function (values, thread, x) -> the sum of all threads' x, or the largest of them.

    `values` (THREADS,) is shared memory; all threads of a block of THREADS come here.
    """

    @device
    def gather(values, thread, x):
        cuda.syncthreads()
        values[thread] = x
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
def per_batch(F: type) -> Any:
    """Kernel: sums (n, 2) <- losses and hits of the first rows[b] of each batch's `most` rows; a block a batch.

    To fetch and add them took the host 100 us a step at batch 16,384, by a model: twice as long as the step.
    """
    kind, zero, total = number(F), F(0), tree(False)

    @kernel(THREADS, F)
    def add_up(losses, hits, rows, most, sums):
        values = cuda.shared.array(THREADS, kind)
        batch, thread, lost, right = U(cuda.blockIdx.x), U(cuda.threadIdx.x), zero, zero
        for row in range(thread, rows[batch], U(THREADS)):
            lost += losses[batch * most + row]
            right += hits[batch * most + row]
        lost, right = total(values, thread, lost), total(values, thread, right)
        if thread == U(0):
            sums[batch, 0], sums[batch, 1] = lost, right

    return add_up
