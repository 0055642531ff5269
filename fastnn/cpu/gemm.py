"""C = beta * S + alpha * A B and transposes for any sizes, from the kernels of `simd`, called by address."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import types

from fastnn.compiler import block, inner, once
from fastnn.cpu.machine import lanes, machine, tiles
from fastnn.cpu.simd import micro_kernel, transpose_kernel, zeros_kernel

# Terms of a sum that are added up in registers before C is visited: a panel of B this long stays in the first cache.
LONGEST = 320
# Runs in which the rows of a longer part are added up side by side: an addition waits for the one before it.
RUNS = 4


@inner
def part(K):
    """How many of a sum's K terms are added up before C is visited."""
    if K <= LONGEST:
        return K
    parts = (K + LONGEST - 1) // LONGEST
    return (K + parts - 1) // parts


def panel_columns(F: type) -> int:
    """How many columns of B a panel has."""
    return max(tiles()) * lanes(F)


def _panel(F: type, vectors: int, masked: bool) -> Any:
    """A function over all rows of one panel of columns, `vectors` wide.

    While it computes, it fetches what lies `ahead` numbers after its panel: the next one.
    """
    size = np.dtype(F).itemsize
    large_rows, middle_rows, _ = tiles()[vectors]
    wide = vectors == max(tiles()) and not masked
    large, middle, one = (micro_kernel(F, r, vectors, masked, wide and r == large_rows) for r in tiles()[vectors])
    one_run, runs = (micro_kernel(F, r, vectors, masked, False, ones=True) for r in (1, RUNS))

    @inner
    def panel(A, row_a, column_a, B, row_b, S, row_s, C, row_c, M, n, K, ahead, alpha, beta):
        rest = M % large_rows
        if large_rows <= M and (rest + large_rows) % middle_rows < rest % middle_rows:
            rest += large_rows  # one large tile less, and no row is left for a tile of its own: 8 = 4 + 4
        i, end = 0, M - rest
        while i < end:
            large(A + i * row_a * size, B, S + i * row_s * size, C + i * row_c * size,
                  K, row_a, column_a, row_b, row_s, row_c, ahead, n, alpha, beta)  # fmt: skip
            i += large_rows
        while i + middle_rows <= M:
            middle(A + i * row_a * size, B, S + i * row_s * size, C + i * row_c * size,
                   K, row_a, column_a, row_b, row_s, row_c, ahead, n, alpha, beta)  # fmt: skip
            i += middle_rows
        if M == 1 and column_a == 0:
            if row_a != 0:
                runs(A, B, S, C, K // RUNS, row_a, column_a, row_b, row_s, row_c, ahead, n, alpha, beta)
            else:
                one_run(A, B, S, C, K, row_a, column_a, row_b, row_s, row_c, ahead, n, alpha, beta)
            return
        while i < M:
            one(A + i * row_a * size, B, S + i * row_s * size, C + i * row_c * size,
                K, row_a, column_a, row_b, row_s, row_c, ahead, n, alpha, beta)  # fmt: skip
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
        def edge(A, row_a, column_a, B, row_b, S, row_s, C, row_c, M, n, K, ahead, alpha, beta):
            if n > 3 * width:
                rest4(A, row_a, column_a, B, row_b, S, row_s, C, row_c, M, n, K, ahead, alpha, beta)
            elif n > 2 * width:
                rest3(A, row_a, column_a, B, row_b, S, row_s, C, row_c, M, n, K, ahead, alpha, beta)
            elif n > width:
                rest2(A, row_a, column_a, B, row_b, S, row_s, C, row_c, M, n, K, ahead, alpha, beta)
            else:
                rest1(A, row_a, column_a, B, row_b, S, row_s, C, row_c, M, n, K, ahead, alpha, beta)
    else:
        plain1, rest1, rest2 = plain[1], rest[1], rest[2]

        @inner
        def edge(A, row_a, column_a, B, row_b, S, row_s, C, row_c, M, n, K, ahead, alpha, beta):
            if n == width:
                plain1(A, row_a, column_a, B, row_b, S, row_s, C, row_c, M, n, K, ahead, alpha, beta)
            elif n > width:
                rest2(A, row_a, column_a, B, row_b, S, row_s, C, row_c, M, n, K, ahead, alpha, beta)
            else:
                rest1(A, row_a, column_a, B, row_b, S, row_s, C, row_c, M, n, K, ahead, alpha, beta)

    columns = widest * width
    zero, one, zeros = F(0), F(1), zeros_kernel(F, columns)

    def product(A, row_a, column_a, B, row_b, panel_b, S, row_s, C, row_c, M, N, K, alpha, beta):
        length, step = part(K), size
        if beta == zero:
            S, row_s, step, beta = zeros(), 0, 0, one
        k = 0
        while True:
            some = min(length, K - k)
            a, b = A + k * column_a * size, B + k * row_b * size
            if column_a == 0:
                row_a = 1 if K > LONGEST and some % RUNS == 0 else 0
            j = 0
            while j < N:
                s, c = S + j * step, C + j * size
                ahead = panel_b if j + columns < N else 0
                if j + columns <= N:
                    full(a, row_a, column_a, b, row_b, s, row_s, c, row_c, M, columns, some, ahead, alpha, beta)
                else:
                    edge(a, row_a, column_a, b, row_b, s, row_s, c, row_c, M, N - j, some, ahead, alpha, beta)
                j += columns
                b += panel_b * size
            # What is longer than a block is added to what the blocks before have left in C.
            S, row_s, step, beta = C, row_c, size, one
            k += length
            if k >= K:
                return

    return product


@once
def gemm_address(F: type) -> int:
    """Address of the product for type F.

    Its arguments: A, row_a, column_a, B, row_b, panel_b, S, row_s, C, row_c (addresses, then strides in elements),
    M, N, K, alpha, beta. C is M x N, A is M x K, B is K x N; rows of S and C are contiguous. B lies in panels of
    `panel_columns(F)` columns, `panel_b` apart, in each of which its rows are `row_b` apart: for a matrix in rows,
    panel_b is the panel's width. A single row of A whose column_a is 0 must be ones: C is the sum of B's rows.
    """
    number = types.float32 if F is np.float32 else types.float64
    signature = types.void(*([types.intp] * 13 + [number] * 2))
    return block(f"gemm.{np.dtype(F).name}", signature, _product(F))


def _transpose(F: type) -> Any:
    """The transpose into panels as a plain function over addresses."""
    size, width, panel = np.dtype(F).itemsize, lanes(F), panel_columns(F)
    kernel = transpose_kernel(F)

    def transpose(W, T, low, high, fan_out):
        for i in range(low, high, width):
            first = i - i % panel
            to = T + (first * fan_out + i - first) * size
            for o in range(0, fan_out, width):
                kernel(W + (i * fan_out + o) * size, to + o * panel * size, fan_out, panel, high - i, fan_out - o)

    return transpose


@once
def transpose_address(F: type) -> int:
    """Address of (W, T, low, high, fan_out): rows low .. high of W (fan_in, fan_out) into the panels of its transpose.

    `low` is a multiple of the lanes. Whole vectors are written: a panel's columns behind fan_in get numbers that mean
    nothing. Up to lanes - 1 numbers behind a row of W are read.
    """
    return block(f"transpose.{np.dtype(F).name}", types.void(*[types.intp] * 5), _transpose(F))
