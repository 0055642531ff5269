"""exp, tanh and sigmoid on single numbers, without branches or calls, so that loops over them vectorize.

Each function here takes a precision, `np.float32` or `np.float64`, and returns the compiled scalar function for it:
every constant must have that type, for one Python float would promote the whole loop to float64. Accuracy is at most
2 units in the last place over the whole range, subnormal results, infinities and NaN included (a test holds it).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from fastnn.compiler import scalar

Scalar = Callable[..., Any]


@intrinsic
def _power_of_two(typingctx: Any, shifted: Any) -> Any:
    """2**n, from `shifted` = 1.5 * 2**(mantissa bits) + n, whose low bits are the integer n."""
    wide = shifted == types.float64

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        integer, real, bias, mantissa = (
            (ir.IntType(64), ir.DoubleType(), 1023, 52) if wide else (ir.IntType(32), ir.FloatType(), 127, 23)
        )
        bits = builder.add(builder.bitcast(args[0], integer), ir.Constant(integer, bias))
        return builder.bitcast(builder.shl(bits, ir.Constant(integer, mantissa)), real)

    return shifted(shifted), codegen


# Coefficients of (e^r - 1 - r) / r^2 on |r| <= ln(2)/2, highest power first. float32: the Cephes library's expf
# (Moshier), 0.8 ulp here. float64: the Taylor series to r^13, whose rest is below 5e-18.
_EXP_32 = (1.9875691500e-4, 1.3981999507e-3, 8.3334519073e-3, 4.1665795894e-2, 1.6666665459e-1, 5.0000001201e-1)
_FACTORIALS = (6227020800, 479001600, 39916800, 3628800, 362880, 40320, 5040, 720, 120, 24, 6, 2)
_EXP_64 = tuple(1 / f for f in _FACTORIALS)


@lru_cache
def exp(F: type) -> Scalar:
    """e^x: range reduction by ln 2 in two parts, a polynomial, and 2^n in two factors so that subnormals come out."""
    narrow = F is np.float32
    one, half, log2e = F(1), F(0.5), F(1.4426950408889634)
    ln2_high, ln2_low = (
        (F(0.693359375), F(-2.12194440e-4)) if narrow else (F(6.93145751953125e-1), F(1.42860682030941723212e-6))
    )
    shift = F(1.5 * 2.0**23) if narrow else F(1.5 * 2.0**52)
    low, high = (F(-104), F(89)) if narrow else (F(-746), F(710))

    if narrow:
        c0, c1, c2, c3, c4, c5 = (F(c) for c in _EXP_32)

        @scalar
        def series(r):
            return ((((c0 * r + c1) * r + c2) * r + c3) * r + c4) * r + c5
    else:
        d0, d1, d2, d3, d4, d5, d6, d7, d8, d9, d10, d11 = (F(c) for c in _EXP_64)

        @scalar
        def series(r):
            # Two halves in r^2 shorten the chain of dependent operations from 11 to 6.
            s = r * r
            odd = ((((d0 * s + d2) * s + d4) * s + d6) * s + d8) * s + d10
            even = ((((d1 * s + d3) * s + d5) * s + d7) * s + d9) * s + d11
            return odd * r + even

    @scalar
    def exp_(x):
        # The order of the arguments lets a NaN pass.
        x = min(max(x, low), high)
        shifted = x * log2e + shift
        n = shifted - shift
        r = x - n * ln2_high
        r = r - n * ln2_low
        first = n * half + shift
        second = (n - (first - shift)) + shift
        return ((series(r) * (r * r) + r + one) * _power_of_two(first)) * _power_of_two(second)

    return exp_


@lru_cache
def sigmoid(F: type) -> Scalar:
    """1 / (1 + e^-x), from e^-|x| so that neither tail loses accuracy."""
    exp_, one, zero = exp(F), F(1), F(0)

    @scalar
    def sigmoid_(x):
        e = exp_(-abs(x))
        d = one + e
        lost = e - (d - one)  # what rounding took from d; without it the error is 2.24 ulp
        y = (e if x < zero else one) / d
        return y - y * (lost * (one - y if x < zero else y))

    return sigmoid_


@lru_cache
def tanh(F: type) -> Scalar:
    """Near 0 an odd polynomial (float32) or rational function (float64) of Cephes, else 1 - 2 / (e^2x + 1)."""
    exp_, one, two, edge = exp(F), F(1), F(2), F(0.625)
    if F is np.float32:
        c0, c1, c2, c3, c4 = (
            F(c) for c in (-5.70498872745e-3, 2.06390887954e-2, -5.37397155531e-2, 1.33314422036e-1, -3.33332819422e-1)
        )

        @scalar
        def near_zero(x):
            s = x * x
            return ((((c0 * s + c1) * s + c2) * s + c3) * s + c4) * s * x + x
    else:
        p0, p1, p2 = F(-9.64399179425052238628e-1), F(-9.92877231001918586564e1), F(-1.61468768441708447952e3)
        q0, q1, q2 = F(1.12811678491632931402e2), F(2.23548839060100448583e3), F(4.84406305325125486048e3)

        @scalar
        def near_zero(x):
            s = x * x
            return ((p0 * s + p1) * s + p2) / (((s + q0) * s + q1) * s + q2) * s * x + x

    @scalar
    def tanh_(x):
        size = abs(x)
        far = one - two / (exp_(two * size) + one)
        return near_zero(x) if size < edge else np.copysign(far, x)

    return tanh_
