"""The matrix product against NumPy in float64, at every edge of its tiles, and that it touches only what it should."""

from __future__ import annotations

import ctypes
import itertools
from functools import lru_cache
from typing import Any

import numpy as np
import pytest
from numba import types

from fastnn.compiler import block
from fastnn.cpu import gemm
from fastnn.cpu import machine as machines
from fastnn.cpu.machine import describe, lanes, machine, tiles

TYPES = [np.float32, np.float64]
# LLVM compiles vectors of any width for any machine, so that every machine's product is tested on this one, if slowly.
EVERY_MACHINE = {
    "AVX-512": ("x86_64-unknown-linux-gnu", "+sse2,+avx,+avx2,+fma,+avx512f"),
    "AVX2": ("x86_64-unknown-linux-gnu", "+sse2,+avx,+avx2,+fma,-avx512f"),
    "SSE2": ("x86_64-unknown-linux-gnu", "+sse2,-avx,-avx2,-fma,-avx512f"),
    "NEON": ("aarch64-unknown-linux-gnu", "+neon"),
}
# The other machines' in float32 alone: each costs seconds to compile, and the type changes only the number of lanes.
OTHERS = [name for name in EVERY_MACHINE if name != machine().name]
PRODUCTS: list[Any] = [(F, machine().name) for F in TYPES]
PRODUCTS += [pytest.param(np.float32, name, marks=pytest.mark.xdist_group(name)) for name in OTHERS]  # compiled once
GUARD = 12345.678
ROWS = (1, 2, 3, 4, 5, 6, 7, 8, 9, 11, 12, 13, 15, 16, 17, 23, 24, 25, 31, 32, 33, 48)
COLUMNS = (
    1,
    2,
    3,
    5,
    6,
    7,
    8,
    9,
    11,
    12,
    13,
    15,
    16,
    17,
    23,
    24,
    25,
    31,
    32,
    33,
    40,
    47,
    48,
    49,
    63,
    64,
    65,
    72,
    80,
    96,
    100,
)
SUMS = (0, 1, 2, 7, 16, 33)


@lru_cache
def address(F: type, name: str) -> int:
    """Address of the product that `name`'s machine would get."""
    if name == machine().name:
        return gemm.gemm_address(F)
    other = describe(*EVERY_MACHINE[name])
    number = types.float32 if F is np.float32 else types.float64
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(machines, "machine", lambda: other)
        patch.setattr(gemm, "machine", lambda: other)
        signature = types.void(*([types.intp] * 13 + [number] * 2))
        return block(f"tests.gemm.{name}.{np.dtype(F).name}", signature, gemm._product(F))


def panel(F: type, name: str | None = None) -> int:
    """Columns in a panel of B on `name`'s machine."""
    wanted = describe(*EVERY_MACHINE[name]) if name and name != machine().name else machine()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(machines, "machine", lambda: wanted)
        return gemm.panel_columns(F)


def in_panels(F: type, name: str | None = None) -> Any:
    """The product with all its arguments."""
    number = ctypes.c_float if F is np.float32 else ctypes.c_double
    return ctypes.CFUNCTYPE(None, *[ctypes.c_ssize_t] * 13, number, number)(address(F, name or machine().name))


def product(F: type, name: str | None = None) -> Any:
    """The product with B in rows: without `panel_b`, which is then a panel's width."""
    width = panel(F, name)
    return lambda *arguments: in_panels(F, name)(*arguments[:5], width, *arguments[5:])


def matrix(rng: np.random.Generator, rows: int, columns: int, stride: int, fill: float, F: type) -> np.ndarray:
    """A view (rows, columns) into memory with `stride` numbers a row and `fill` in all the rest."""
    whole = np.full((rows, stride), fill, F)
    whole[:, :columns] = rng.standard_normal((rows, columns))
    return whole[:, :columns]


def bound(a: np.ndarray, b: np.ndarray, s: np.ndarray, alpha: float, beta: float, F: type) -> np.ndarray:
    """Elementwise bound on rounding (Higham 2002, section 3.1), whatever the order of the sum."""
    terms = np.abs(a) @ np.abs(b) * abs(alpha) + np.abs(s) * abs(beta)
    return (a.shape[1] + 3) * np.finfo(F).eps / 2 * terms + np.finfo(F).tiny


def run(
    F: type, m: int, n: int, k: int, *, alpha: float, beta: float, transposed: bool, pad: int, s_row: str = "matrix",
    name: str | None = None,
) -> None:  # fmt: skip
    rng = np.random.default_rng((m, n, k))
    # What must not be read, or not change the result, is NaN.
    a = matrix(rng, k, m, m + pad, np.nan, F).T if transposed else matrix(rng, m, k, k + pad, np.nan, F)
    b = matrix(rng, k, n, n + pad, np.nan, F)
    rows_of_s = 1 if s_row == "bias" else m
    s = matrix(rng, rows_of_s, n, n + pad, np.nan, F)
    if beta == 0:
        s[...] = np.nan
    memory = np.full(64 + (m + 2) * (n + pad) + 64, GUARD, F)
    c = memory[64 : 64 + m * (n + pad)].reshape(m, n + pad)
    size = np.dtype(F).itemsize
    alpha, beta = float(F(alpha)), float(F(beta))
    product(F, name)(
        a.ctypes.data, a.strides[0] // size, a.strides[1] // size, b.ctypes.data, n + pad,
        s.ctypes.data, 0 if s_row == "bias" else n + pad, c.ctypes.data, n + pad, m, n, k, alpha, beta,
    )  # fmt: skip
    a64, b64 = a.astype(float), b.astype(float)
    s64 = np.zeros((m, n)) if beta == 0 else np.broadcast_to(s.astype(float), (m, n))
    error = np.abs(c[:, :n] - (alpha * (a64 @ b64) + beta * s64))
    assert (error <= bound(a64, b64, s64, alpha, beta, F)).all(), (m, n, k, error.max())
    c[:, :n] = GUARD
    assert (memory == F(GUARD)).all(), f"wrote outside C: {(m, n, k)}, pad {pad}"


@pytest.mark.parametrize(("F", "name"), PRODUCTS)
def test_every_shape(F: type, name: str) -> None:
    # Each tile's rows and columns meet; sums, which are loops within a tile, and variants take turns over them, so that
    # each meets every number of rows, every number of columns and every other.
    variants = [
        {"alpha": 1.0, "beta": 1.0, "transposed": False, "pad": 0, "s_row": "bias"},  # x W + b
        {"alpha": 1.0, "beta": 0.0, "transposed": False, "pad": 3, "s_row": "matrix"},  # dz W^T
        {"alpha": -0.1, "beta": 0.99, "transposed": True, "pad": 5, "s_row": "matrix"},  # w - lr x^T dz
        {"alpha": 1.0, "beta": 0.0, "transposed": True, "pad": 16, "s_row": "matrix"},  # x^T dz
        {"alpha": 0.5, "beta": -2.0, "transposed": False, "pad": 1, "s_row": "bias"},
    ]
    for turn, (m, n) in enumerate(itertools.product(ROWS, COLUMNS)):
        for k in (SUMS[turn % 6], SUMS[(turn + 3) % 6]):
            run(F, m, n, k, name=name, **variants[turn % 5])


@pytest.mark.parametrize("F", TYPES)
@pytest.mark.parametrize("transposed", [False, True])
@pytest.mark.parametrize("s_row", ["matrix", "bias"])
@pytest.mark.parametrize("beta", [0.0, 1.0, 0.5])
def test_every_variant(F: type, transposed: bool, s_row: str, beta: float) -> None:
    for m, n, k in [(1, 1, 1), (6, lanes(F), 3), (13, 4 * lanes(F), 20), (37, 5 * lanes(F) + 3, 50), (100, 130, 64)]:
        for pad in (0, 7):
            run(F, m, n, k, alpha=-0.3, beta=beta, transposed=transposed, pad=pad, s_row=s_row)


@pytest.mark.parametrize("F", TYPES)
def test_update_in_place(F: type) -> None:
    # The update of plain SGD: S and C are one matrix, the weights.
    rng = np.random.default_rng(0)
    for m, n, k in [(1, 5, 4), (7, 33, 16), (48, 100, 9), (50, 64, 32)]:
        x, dz, w = (rng.standard_normal(shape).astype(F) for shape in ((k, m), (k, n), (m, n)))
        before = w.astype(float)
        product(F)(x.ctypes.data, 1, m, dz.ctypes.data, n, w.ctypes.data, n, w.ctypes.data, n, m, n, k, -0.125, 1.0)
        wanted = before - 0.125 * (x.astype(float).T @ dz.astype(float))
        assert (np.abs(w - wanted) <= bound(x.T.astype(float), dz.astype(float), before, 0.125, 1, F)).all()


@pytest.mark.parametrize("F", TYPES)
@pytest.mark.parametrize("k", [37, 2 * gemm.LONGEST, 2 * gemm.LONGEST + 3])
def test_broadcast_row_of_ones(F: type, k: int) -> None:
    # The gradient of a bias: A is one number, 1, read with both strides 0.
    dz = np.random.default_rng(0).standard_normal((k, 21)).astype(F)
    one, out = np.ones(1, F), np.full(21, np.nan, F)
    product(F)(one.ctypes.data, 0, 0, dz.ctypes.data, 21, out.ctypes.data, 21, out.ctypes.data, 21, 1, 21, k, 1.0, 0.0)
    np.testing.assert_allclose(out, dz.astype(float).sum(0), rtol=0, atol=10 * (k + 3) * np.finfo(F).eps)


@pytest.mark.parametrize("F", TYPES)
def test_nan_and_inf_are_not_hidden(F: type) -> None:
    a, b = np.zeros((2, 2), F), np.ones((2, 3), F)
    a[0, 1], b[1, 2] = np.inf, np.nan
    c = np.zeros((2, 3), F)
    product(F)(a.ctypes.data, 2, 1, b.ctypes.data, 3, c.ctypes.data, 3, c.ctypes.data, 3, 2, 3, 2, 1.0, 0.0)
    np.testing.assert_array_equal(c, [[np.inf, np.inf, np.nan], [0, 0, np.nan]])


@pytest.mark.parametrize(("F", "name"), PRODUCTS)
def test_an_element_has_the_same_bits_in_any_tile(F: type, name: str) -> None:
    # Results are promised to be the same bits for any number of workers, who cut the rows differently.
    rng = np.random.default_rng(3)
    a, b, bias = (rng.standard_normal(shape).astype(F) for shape in ((50, 40), (40, 77), (1, 77)))
    whole = np.empty((50, 77), F)

    def into(c: np.ndarray, first: int, rows: int) -> None:
        product(F, name)(
            a[first:].ctypes.data, 40, 1, b.ctypes.data, 77, bias.ctypes.data, 0, c[first:].ctypes.data, 77,
            rows, 77, 40, 1.0, 1.0,
        )  # fmt: skip

    into(whole, 0, 50)
    for rows in (1, 2, 3, 4, 5, 7, 12, 16, 25):
        parts = np.empty_like(whole)
        for first in range(0, 50, rows):
            into(parts, first, min(rows, 50 - first))
        assert parts.tobytes() == whole.tobytes(), rows


@pytest.mark.parametrize("name", EVERY_MACHINE)
def test_machines(name: str) -> None:
    found = describe(*EVERY_MACHINE[name])
    assert found.name == name
    assert (found.bytes, found.registers) == {
        "AVX-512": (64, 32),
        "AVX2": (32, 16),
        "SSE2": (16, 16),
        "NEON": (16, 32),
    }[name]


def test_avx2_without_fused_multiply_add_is_not_taken() -> None:
    assert describe("x86_64-unknown-linux-gnu", "+sse2,+avx,+avx2,-fma").name == "SSE2"


@pytest.mark.parametrize("name", EVERY_MACHINE)
def test_tiles_fit_in_the_registers(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    found = describe(*EVERY_MACHINE[name])
    monkeypatch.setattr(machines, "machine", lambda: found)
    for vectors, rows in tiles().items():
        # Accumulators, one row of B, one element of A; masks have registers of their own.
        assert all(r * vectors + vectors + 1 <= found.registers for r in rows)
        assert rows[-1] == 1 and list(rows) == sorted(rows, reverse=True)


@pytest.mark.parametrize("F", TYPES)
@pytest.mark.parametrize("k", [gemm.LONGEST, gemm.LONGEST + 1, 2 * gemm.LONGEST + 3])
def test_long_sums_in_blocks(F: type, k: int) -> None:
    for m, n, beta, s_row in [(13, 37, 1.0, "bias"), (7, 16, 0.0, "matrix"), (48, 70, 0.5, "matrix")]:
        run(F, m, n, k, alpha=-0.3, beta=beta, transposed=False, pad=3, s_row=s_row)
        run(F, m, n, k, alpha=1.0, beta=beta, transposed=True, pad=0, s_row=s_row)


@pytest.mark.parametrize(("F", "name"), PRODUCTS)
def test_b_in_panels_gives_the_same_bits(F: type, name: str) -> None:
    rng = np.random.default_rng(5)
    m, n, k, width = 20, 150, 30, panel(F, name)
    a, b, c = (rng.standard_normal(shape).astype(F) for shape in ((m, k), (k, n), (m, n)))
    count = -(-n // width)
    panels = np.full((count, k, width), np.nan, F)
    for p in range(count):
        some = b[:, p * width : (p + 1) * width]
        panels[p, :, : some.shape[1]] = some
    other = c.copy()
    rest = (m, n, k, 0.5, 1.0)
    product(F, name)(a.ctypes.data, k, 1, b.ctypes.data, n, c.ctypes.data, n, c.ctypes.data, n, *rest)
    in_panels(F, name)(
        a.ctypes.data, k, 1, panels.ctypes.data, width, k * width, other.ctypes.data, n, other.ctypes.data, n, *rest
    )
    assert c.tobytes() == other.tobytes()


@lru_cache
def transpose(F: type, name: str) -> Any:
    """The transpose that `name`'s machine would get."""
    signature = [ctypes.c_ssize_t] * 5
    if name == machine().name:
        return ctypes.CFUNCTYPE(None, *signature)(gemm.transpose_address(F))
    other = describe(*EVERY_MACHINE[name])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(machines, "machine", lambda: other)
        label = f"tests.transpose.{name}.{np.dtype(F).name}"
        address = block(label, types.void(*[types.intp] * 5), gemm._transpose(F))
    return ctypes.CFUNCTYPE(None, *signature)(address)


@pytest.mark.parametrize(("F", "name"), PRODUCTS)
def test_transpose_into_panels(F: type, name: str) -> None:
    rng = np.random.default_rng(8)
    width = panel(F, name)
    for fan_in, fan_out in itertools.product((1, 2, 7, 8, 15, 16, 17, 48, 70, 96), (1, 2, 5, 8, 10, 16, 33)):
        size = fan_in * fan_out
        weight = np.full(size + 64, np.nan, F)
        weight[:size] = rng.standard_normal(size)
        count = -(-fan_in // width)
        memory = np.full(count * width * fan_out + 64, GUARD, F)
        for low in range(0, fan_in, 48):  # as the tiles come
            high = min(low + 48, fan_in)
            transpose(F, name)(weight.ctypes.data, memory.ctypes.data, low, high, fan_out)
        panels = memory[:-64].reshape(count, fan_out, width)
        got = panels.transpose(0, 2, 1).reshape(-1, fan_out)[:fan_in]
        np.testing.assert_array_equal(got, weight[:size].reshape(fan_in, fan_out))
        assert (memory[-64:] == F(GUARD)).all(), f"wrote behind the panels: {(fan_in, fan_out)}"
