"""The machine's measured FMA peak: the product's own micro-kernel on numbers that stay in the first cache."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor

import numba
import numpy as np

from fastnn.compiler import cores
from fastnn.cpu.gemm import gemm_address, panel_columns
from fastnn.cpu.machine import tiles
from fastnn.cpu.primitives import call

TERMS = 256


@numba.njit(nogil=True)
def repeat(gemm, a, b, c, rows, columns, one, zero, times):
    """`times` products of one register tile, TERMS long."""
    for _ in range(times):
        call(gemm, (a, 1, rows, b, columns, columns, c, columns, c, columns, rows, columns, TERMS, one, zero))


def peak_gflops(F: type = np.float32, workers: int | None = None, seconds: float = 0.3) -> float:
    """GFLOP/s of `workers` threads (all cores unless given), the best of several tries."""
    workers = workers or cores()
    columns, rows = panel_columns(F), tiles()[max(tiles())][0]
    flop = 2 * rows * columns * TERMS

    def work(times: int) -> None:
        a, b, c = (np.ones(n + 64, F) for n in (rows * TERMS, columns * TERMS, rows * columns))
        repeat(gemm_address(F), a.ctypes.data, b.ctypes.data, c.ctypes.data, rows, columns, F(1), F(0), times)

    work(1)
    times = int(seconds / 5 * 5e10 / flop)
    best = 0.0
    with ThreadPoolExecutor(workers) as pool:
        for _ in range(5):
            began = time.perf_counter()
            list(pool.map(work, [times] * workers))
            best = max(best, workers * times * flop / (time.perf_counter() - began) / 1e9)
    return best


if __name__ == "__main__":
    for count in range(1, cores() + 1):
        single, double = peak_gflops(workers=count), peak_gflops(np.float64, count)
        print(f"{count} threads: {single:.0f} GFLOP/s float32, {double:.0f} float64")
