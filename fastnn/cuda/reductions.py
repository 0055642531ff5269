"""Sums and maxima over the threads of a block, in one order: a tree."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np

from fastnn.cuda.phases import THREADS
from fastnn.cuda.target import cuda, device

PART = 4096  # numbers that a block goes through where a sum over many has parts
U = np.uint32


def parts_of(count: int) -> int:
    """How many parts `count` numbers have."""
    return -(-count // PART)


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
