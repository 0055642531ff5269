"""C = beta * S + alpha * A B for any sizes, from the micro-kernels of `simd`, called by address."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
from numba import types

from fastnn.compiler import block, inner
from fastnn.cpu.machine import lanes, machine, tiles
from fastnn.cpu.simd import micro_kernel


def _panel(F: type, vectors: int, masked: bool) -> Any:
    """A function over all rows of one panel of columns, `vectors` wide."""
    size = np.dtype(F).itemsize
    large_rows, middle_rows, _ = tiles()[vectors]
    large, middle, one = (micro_kernel(F, rows, vectors, masked) for rows in tiles()[vectors])

    @inner
    def panel(A, row_a, column_a, B, row_b, S, row_s, C, row_c, M, n, K, alpha, beta):
        i = 0
        while i + large_rows <= M:
            large(A + i * row_a * size, B, S + i * row_s * size, C + i * row_c * size,
                  K, row_a, column_a, row_b, row_s, row_c, n, alpha, beta)  # fmt: skip
            i += large_rows
        while i + middle_rows <= M:
            middle(A + i * row_a * size, B, S + i * row_s * size, C + i * row_c * size,
                   K, row_a, column_a, row_b, row_s, row_c, n, alpha, beta)  # fmt: skip
            i += middle_rows
        while i < M:
            one(A + i * row_a * size, B, S + i * row_s * size, C + i * row_c * size,
                K, row_a, column_a, row_b, row_s, row_c, n, alpha, beta)  # fmt: skip
            i += 1

    return panel


def _product(F: type) -> Any:
    """The whole product as a plain function over addresses and strides (in elements)."""
    size, width, widest = np.dtype(F).itemsize, lanes(F), max(tiles())
    full = _panel(F, widest, False)
    # Where masked stores are slow, whole vectors at the right edge get an unmasked panel of their own.
    plain = {v: _panel(F, v, machine().masks) for v in tiles() if v < widest}
    rest = {v: _panel(F, v, True) if not (machine().masks and v < widest) else plain[v] for v in tiles()}

    if widest == 4:
        rest1, rest2, rest3, rest4 = (rest[v] for v in (1, 2, 3, 4))

        @inner
        def edge(A, row_a, column_a, B, row_b, S, row_s, C, row_c, M, n, K, alpha, beta):
            if n > 3 * width:
                rest4(A, row_a, column_a, B, row_b, S, row_s, C, row_c, M, n, K, alpha, beta)
            elif n > 2 * width:
                rest3(A, row_a, column_a, B, row_b, S, row_s, C, row_c, M, n, K, alpha, beta)
            elif n > width:
                rest2(A, row_a, column_a, B, row_b, S, row_s, C, row_c, M, n, K, alpha, beta)
            else:
                rest1(A, row_a, column_a, B, row_b, S, row_s, C, row_c, M, n, K, alpha, beta)
    else:
        plain1, rest1, rest2 = plain[1], rest[1], rest[2]

        @inner
        def edge(A, row_a, column_a, B, row_b, S, row_s, C, row_c, M, n, K, alpha, beta):
            if n == width:
                plain1(A, row_a, column_a, B, row_b, S, row_s, C, row_c, M, n, K, alpha, beta)
            elif n > width:
                rest2(A, row_a, column_a, B, row_b, S, row_s, C, row_c, M, n, K, alpha, beta)
            else:
                rest1(A, row_a, column_a, B, row_b, S, row_s, C, row_c, M, n, K, alpha, beta)

    def product(A, row_a, column_a, B, row_b, S, row_s, C, row_c, M, N, K, alpha, beta):
        j = 0
        while j + widest * width <= N:
            full(A, row_a, column_a, B + j * size, row_b, S + j * size, row_s, C + j * size, row_c,
                 M, widest * width, K, alpha, beta)  # fmt: skip
            j += widest * width
        if j < N:
            edge(A, row_a, column_a, B + j * size, row_b, S + j * size, row_s, C + j * size, row_c,
                 M, N - j, K, alpha, beta)  # fmt: skip

    return product


@lru_cache
def gemm_address(F: type) -> int:
    """Address of the product for type F.

    Its arguments: A, row_a, column_a, B, row_b, S, row_s, C, row_c (addresses, then strides in elements), M, N, K,
    alpha, beta. C is M x N, A is M x K, B is K x N; rows of B, S and C are contiguous.
    """
    number = types.float32 if F is np.float32 else types.float64
    signature = types.void(*([types.intp] * 12 + [number] * 2))
    return block(f"gemm.{np.dtype(F).name}", signature, _product(F))
