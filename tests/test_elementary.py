"""exp, tanh and sigmoid as the loops of the engine compute them: at most 2 units in the last place from the truth.

float32 is measured against NumPy in float64; float64 against `decimal` and, where it is wider, against long double.
"""

from __future__ import annotations

import ctypes
import decimal
import math
from collections.abc import Callable
from decimal import Decimal
from functools import lru_cache

import numba
import numpy as np
import pytest

from fastnn import elementary
from fastnn.compiler import FLAGS
from fastnn.cpu import blocks

FUNCTIONS = ["exp", "tanh", "sigmoid"]
LIMIT = 2.0  # units in the last place
MILLION = 1_000_000
WIDE = np.finfo(np.longdouble).nmant > 60  # long double is double on some systems


@lru_cache
def loop(name: str, F: type) -> Callable[[np.ndarray], np.ndarray]:
    """The function over arrays, in the loop that LLVM vectorizes; for tanh and sigmoid that of the engine itself."""
    if name == "exp":
        scalar = elementary.exp(F)

        @numba.njit(**FLAGS)
        def run(x, y):
            for i in range(x.size):
                y[i] = scalar(x[i])

        def apply(x: np.ndarray) -> np.ndarray:
            y = np.empty_like(x)
            run(x, y)
            return y

        return apply
    number = ctypes.c_float if F is np.float32 else ctypes.c_double
    block = ctypes.CFUNCTYPE(None, ctypes.c_ssize_t, ctypes.c_ssize_t, number)(blocks.activation(name, F)[0])

    def apply_block(x: np.ndarray) -> np.ndarray:
        y = x.copy()
        block(y.ctypes.data, y.size, 0.0)
        return y

    return apply_block


def exact(name: str, x: np.ndarray) -> np.ndarray:
    """The function in the next wider type."""
    x = x.astype(np.float64 if x.dtype == np.float32 else np.longdouble)
    with np.errstate(all="ignore"):
        return {"exp": np.exp, "tanh": np.tanh, "sigmoid": lambda x: 1 / (1 + np.exp(-x))}[name](x)


def ulps(got: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """|got - truth| in units in the last place of got's type at `truth`; infinity counts as 2**(largest exponent)."""
    info = np.finfo(got.dtype)
    wide = truth.dtype.type
    top = np.ldexp(wide(1), info.maxexp)
    got = np.where(np.isinf(got), np.sign(got) * top, got.astype(wide))
    truth = np.clip(truth, -top, top)
    _, exponent = np.frexp(np.abs(truth))
    unit = np.ldexp(wide(1), np.clip(exponent - 1, info.minexp, info.maxexp - 1) - info.nmant)
    return np.abs(got - truth) / unit


def check(name: str, x: np.ndarray) -> None:
    got = loop(name, x.dtype.type)(x)
    np.testing.assert_array_equal(np.isnan(got), np.isnan(x), err_msg="NaN if and only if the argument is NaN")
    known = ~np.isnan(x)
    errors = ulps(got[known], exact(name, x[known]))
    worst = int(errors.argmax())
    assert errors[worst] <= LIMIT, (
        f"{name}({x[known][worst]!r}) = {got[known][worst]!r}: {float(errors[worst]):.2f} ulp off"
    )


def bit_patterns(F: type, n: int) -> np.ndarray:
    """Every exponent, subnormals, infinities and NaNs included."""
    integer = np.uint32 if F is np.float32 else np.uint64
    return np.random.default_rng(1).integers(0, np.iinfo(integer).max, n, integer, endpoint=True).view(F)


def ordinary(F: type, n: int) -> np.ndarray:
    """Arguments whose results are neither 0, 1 nor infinite, at every scale."""
    rng = np.random.default_rng(2)
    edge = 110 if F is np.float32 else 760
    scales = rng.choice([-1, 1], n // 4) * 2.0 ** rng.uniform(-40, 7, n // 4)
    return np.concatenate([rng.uniform(-s, s, n // 4) for s in (1, 20, edge)] + [scales]).astype(F)


def special(F: type) -> np.ndarray:
    """Zeros, subnormals, infinities, and both sides of each place where a formula changes or a result ends."""
    info = np.finfo(F)
    ends = [
        math.log(2.0) * e for e in (info.maxexp, info.minexp, info.minexp - info.nmant, info.minexp - info.nmant - 1)
    ]
    halves = [(k + 0.5) * math.log(2.0) for k in (*range(-20, 20), 126, -126, 127, -127)]
    places = np.array(
        [0, 0.55, 0.625, 1, info.tiny, info.smallest_subnormal, info.eps, 9.01, 19.06, 44, *ends, *halves], F
    )
    around = [places]
    for direction in (np.inf, -np.inf):
        step = places
        for _ in range(8):
            step = np.nextafter(step, F(direction))
            around.append(step)
    x = np.concatenate([*around, np.array([info.max, np.inf, np.nan, info.tiny / 2, info.tiny * 0.75], F)])
    return np.concatenate([x, -x])


@pytest.mark.parametrize("name", FUNCTIONS)
@pytest.mark.parametrize("inputs", [bit_patterns, ordinary])
def test_float32_within_2_ulp(name: str, inputs: Callable[[type, int], np.ndarray]) -> None:
    check(name, inputs(np.float32, MILLION))


@pytest.mark.parametrize("name", FUNCTIONS)
@pytest.mark.parametrize("inputs", [bit_patterns, ordinary])
@pytest.mark.skipif(not WIDE, reason="long double is no wider than double here; test_float64_against_decimal remains")
def test_float64_within_2_ulp(name: str, inputs: Callable[[type, int], np.ndarray]) -> None:
    check(name, inputs(np.float64, MILLION // 4))


@pytest.mark.parametrize("name", FUNCTIONS)
def test_special_values_within_2_ulp(name: str) -> None:
    check(name, special(np.float32))
    if WIDE:
        check(name, special(np.float64))


@pytest.mark.parametrize("name", FUNCTIONS)
def test_float64_against_decimal(name: str) -> None:
    x = np.concatenate([ordinary(np.float64, 2000), bit_patterns(np.float64, 500), special(np.float64)])
    x = x[np.isfinite(x) & (np.abs(x) < (709.78 if name == "exp" else np.inf))]
    got = loop(name, np.float64)(x)
    with decimal.localcontext() as context:
        context.prec, context.Emin, context.Emax = 45, decimal.MIN_EMIN, decimal.MAX_EMAX
        for argument, y in zip(x.tolist(), got.tolist(), strict=True):
            # From |x|, where nothing cancels: beyond 1000 every result is 0 or 1 to far more than 45 digits; below
            # 1e-20 tanh x = x (1 - x^2 / 3 + ...) is x.
            size = Decimal(min(abs(argument), 1000.0))
            e = (-size if name != "exp" or argument < 0 else size).exp()
            if name == "tanh":
                truth = (1 - e * e) / (1 + e * e) if size > Decimal("1e-20") else size
                truth = truth.copy_sign(Decimal(argument))
            elif name == "sigmoid":
                truth = (1 if argument >= 0 else e) / (1 + e)
            else:
                truth = e
            error = abs(Decimal(y) - truth) / Decimal(math.ulp(float(truth)))
            assert error <= LIMIT, f"{name}({argument!r}) = {y!r}: {error:.2f} ulp off"


@pytest.mark.parametrize("F", [np.float32, np.float64])
def test_limits_are_exact(F: type) -> None:
    zero, inf, nan = F(0), F(np.inf), F(np.nan)
    x = np.array([zero, -zero, inf, -inf, nan, -nan, np.finfo(F).max, np.finfo(F).min], F)
    np.testing.assert_array_equal(loop("exp", F)(x), [1, 1, inf, 0, nan, nan, inf, 0])
    np.testing.assert_array_equal(loop("tanh", F)(x), [0, 0, 1, -1, nan, nan, 1, -1])
    np.testing.assert_array_equal(loop("sigmoid", F)(x), [0.5, 0.5, 1, 0, nan, nan, 1, 0])


@pytest.mark.parametrize("F", [np.float32, np.float64])
def test_subnormal_results(F: type) -> None:
    info = np.finfo(F)
    low = math.log(2.0) * (info.minexp - info.nmant)
    x = np.linspace(low + 1, math.log(2.0) * info.minexp - 0.01, 1000).astype(F)
    for name in ("exp", "sigmoid"):
        y = loop(name, F)(x)
        assert ((y > 0) & (y < info.tiny)).all()
        assert (np.diff(y) >= 0).all() and np.unique(y).size > 800


@pytest.mark.parametrize("F", [np.float32, np.float64])
def test_ranges_and_symmetry(F: type) -> None:
    x = np.concatenate([ordinary(F, 100_000), bit_patterns(F, 100_000)])
    x = x[~np.isnan(x)]
    tanh, sigmoid = loop("tanh", F), loop("sigmoid", F)
    assert (np.abs(tanh(x)) <= 1).all()
    assert ((sigmoid(x) >= 0) & (sigmoid(x) <= 1)).all()  # so that y (1 - y) is never negative
    np.testing.assert_array_equal(tanh(-x), -tanh(x))


@pytest.mark.parametrize("name", FUNCTIONS)
@pytest.mark.parametrize("F", [np.float32, np.float64])
def test_bits_do_not_depend_on_the_place_in_a_block(name: str, F: type) -> None:
    # Whole vectors and the scalar rest of a loop must round alike: results are promised to be the same bits however
    # rows are cut into blocks.
    x, function = ordinary(F, 400), loop(name, F)
    whole = function(x)
    for n in (1, 2, 3, 7, 8, 15, 16, 17, 31, 33, 63, 65, 127):
        parts = np.concatenate([function(x[i : i + n]) for i in range(0, x.size, n)])
        assert parts.tobytes() == whole.tobytes(), n


@pytest.mark.parametrize("F", [np.float32, np.float64])
def test_log_within_2_ulp_on_positive_normal_numbers(F: type) -> None:
    info, rng = np.finfo(F), np.random.default_rng(3)
    root = math.sqrt(0.5)
    edges = np.array([info.tiny, info.max, 1, np.nextafter(F(1), F(0)), np.nextafter(F(1), F(2)), root, 2 * root], F)
    x = np.concatenate([edges, rng.uniform(0.5, 20, 50_000), 2.0 ** rng.uniform(info.minexp, info.maxexp, 50_000)])
    x = x.astype(F)
    x = x[np.isfinite(x) & (x >= info.tiny)]
    scalar = elementary.log(F)

    @numba.njit(**FLAGS)
    def run(x, y):
        for i in range(x.size):
            y[i] = scalar(x[i])

    y = np.empty_like(x)
    run(x, y)
    with decimal.localcontext() as context:
        context.prec = 40
        if F is np.float32:
            assert ulps(y, np.log(x.astype(np.float64))).max() <= LIMIT
        else:
            for argument, got in zip(x[::25].tolist(), y[::25].tolist(), strict=True):
                truth = Decimal(argument).ln()
                assert abs(Decimal(got) - truth) <= Decimal(LIMIT) * Decimal(math.ulp(float(truth))), argument
    bad = np.array([np.nan, np.inf], F)
    out = np.empty_like(bad)
    run(bad, out)
    assert np.isnan(out).all()


@pytest.mark.parametrize("F", [np.float32, np.float64])
def test_exp_below_0_is_exp_down_to_its_end(F: type) -> None:
    end = -87 if F is np.float32 else -708
    x = np.concatenate(
        [[0, end], np.random.default_rng(4).uniform(end, 0, 50_000), -(2.0 ** np.arange(-60, 6))]
    ).astype(F)
    below = np.array([-np.inf, 2 * end, np.nextafter(F(end), F(-np.inf)), np.nan], F)
    scalar = elementary.exp_below_0(F)

    @numba.njit(**FLAGS)
    def run(x, y):
        for i in range(x.size):
            y[i] = scalar(x[i])

    y, out = np.empty_like(x), np.empty_like(below)
    run(x, y)
    run(below, out)
    np.testing.assert_array_equal(y, loop("exp", F)(x))
    np.testing.assert_array_equal(out, [y[1], y[1], y[1], np.nan])
