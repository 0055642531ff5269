"""exp, log, tanh and sigmoid on single numbers, without branches or calls, so that loops over them vectorize.

Each function here takes a precision, `np.float32` or `np.float64`, and returns the compiled scalar function for it:
every constant must have that type, for one Python float would promote the whole loop to float64. Accuracy is at most
2 units in the last place over the whole range, subnormal results, infinities and NaN included (a test holds it).
"""

from __future__ import annotations

import math
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


def _halves(x: Any) -> tuple[Any, Any, int, int]:
    """For a number's type: LLVM's integer and real of its size, sqrt(1/2) as an integer, the bits of a mantissa."""
    if x == types.float64:
        return ir.IntType(64), ir.DoubleType(), 0x3FE6A09E667F3BCD, 52
    return ir.IntType(32), ir.FloatType(), 0x3F3504F3, 23


@intrinsic
def _exponent(typingctx: Any, x: Any) -> Any:
    """e of x = m 2^e with sqrt(1/2) <= m < sqrt(2), as a number of x's type; x positive and normal."""
    integer, real, root, mantissa = _halves(x)

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        bits = builder.sub(builder.bitcast(args[0], integer), ir.Constant(integer, root))
        return builder.sitofp(builder.ashr(bits, ir.Constant(integer, mantissa)), real)

    return x(x), codegen


@intrinsic
def _mantissa(typingctx: Any, x: Any) -> Any:
    """m of x = m 2^e with sqrt(1/2) <= m < sqrt(2); x positive and normal."""
    integer, real, root, mantissa = _halves(x)

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        bits = builder.sub(builder.bitcast(args[0], integer), ir.Constant(integer, root))
        rest = builder.and_(bits, ir.Constant(integer, 2**mantissa - 1))
        return builder.bitcast(builder.add(rest, ir.Constant(integer, root)), real)

    return x(x), codegen


# Coefficients of (e^r - 1 - r) / r^2 on |r| <= ln(2)/2, highest power first. float32: the Cephes library's expf
# (Moshier), 0.8 ulp here. float64: the Taylor series to r^13, whose rest is below 5e-18.
_EXP_32 = (1.9875691500e-4, 1.3981999507e-3, 8.3334519073e-3, 4.1665795894e-2, 1.6666665459e-1, 5.0000001201e-1)
_FACTORIALS = (6227020800, 479001600, 39916800, 3628800, 362880, 40320, 5040, 720, 120, 24, 6, 2)
_EXP_64 = tuple(1 / f for f in _FACTORIALS)


@lru_cache
def _parts(F: type) -> tuple[Scalar, Scalar, Any]:
    """What exp and tanh (in float64) share.

    reduce(x) -> (shifted, r): x = n ln 2 + r with |r| <= ln(2)/2 and shifted = shift + n, which _power_of_two takes;
    series(r) = e^r - 1 on that interval; and shift itself.
    """
    narrow = F is np.float32
    log2e = F(1.4426950408889634)
    ln2_high, ln2_low = (
        (F(0.693359375), F(-2.12194440e-4)) if narrow else (F(6.93145751953125e-1), F(1.42860682030941723212e-6))
    )
    shift = F(1.5 * 2.0**23) if narrow else F(1.5 * 2.0**52)

    @scalar
    def reduce(x):
        shifted = x * log2e + shift
        n = shifted - shift
        r = x - n * ln2_high
        return shifted, r - n * ln2_low

    if narrow:
        c0, c1, c2, c3, c4, c5 = (F(c) for c in _EXP_32)

        @scalar
        def series(r):
            s = r * r
            return (((c0 * r + c1) * s + (c2 * r + c3)) * s + (c4 * r + c5)) * s + r
    else:
        d0, d1, d2, d3, d4, d5, d6, d7, d8, d9, d10, d11 = (F(c) for c in _EXP_64)

        @scalar
        def series(r):
            # Two halves in r^2 shorten the chain of dependent operations from 11 to 6.
            s = r * r
            odd = ((((d0 * s + d2) * s + d4) * s + d6) * s + d8) * s + d10
            even = ((((d1 * s + d3) * s + d5) * s + d7) * s + d9) * s + d11
            return (odd * r + even) * s + r

    return reduce, series, shift


@lru_cache
def exp(F: type) -> Scalar:
    """e^x: range reduction by ln 2 in two parts, a polynomial, and 2^n in two factors so that subnormals come out."""
    one, half = F(1), F(0.5)
    low, high = (F(-104), F(89)) if F is np.float32 else (F(-746), F(710))
    reduce, series, shift = _parts(F)

    @scalar
    def exp_(x):
        x = low if x < low else x  # max and min would let a NaN pass by their order on the CPU, and drop it on a GPU
        shifted, r = reduce(high if x > high else x)
        first = (shifted - shift) * half + shift
        second = ((shifted - shift) - (first - shift)) + shift
        return ((series(r) + one) * _power_of_two(first)) * _power_of_two(second)

    return exp_


@lru_cache
def exp_below_0(F: type) -> Scalar:
    """e^x for x <= 0, or a NaN; nowhere less than e^-87 (float32) or e^-708, which saves exp's second factor."""
    one, low = F(1), F(-87 if F is np.float32 else -708)
    reduce, series, _ = _parts(F)

    @scalar
    def exp_below_0_(x):
        shifted, r = reduce(low if x < low else x)
        return (series(r) + one) * _power_of_two(shifted)

    return exp_below_0_


# ln(1 + f) = f - f^2 / 2 + f^3 P(f) (/ Q(f) in float64), from the Cephes library's logf and log (Moshier).
_LOG_32 = (7.0376836292e-2, -1.1514610310e-1, 1.1676998740e-1, -1.2420140846e-1, 1.4249322787e-1,
           -1.6668057665e-1, 2.0000714765e-1, -2.4999993993e-1, 3.3333331174e-1)  # fmt: skip
_LOG_64_P = (1.01875663804580931796e-4, 4.97494994976747001425e-1, 4.70579119878881725854, 1.44989225341610930846e1,
             1.79368678507819816313e1, 7.70838733755885391666)  # fmt: skip
_LOG_64_Q = (1.12873587189167450590e1, 4.52279145837532221105e1, 8.29875266912776603211e1, 7.11544750618563894466e1,
             2.31251620126765340583e1)  # fmt: skip


@lru_cache
def log(F: type) -> Scalar:
    """ln x for a positive normal x, and NaN for NaN and infinity: for the losses, whose sums are 1 and more."""
    one, half = F(1), F(0.5)
    ln2_high, ln2_low = F(0.693359375), F(-2.121944400546905827679e-4)
    if F is np.float32:
        c0, c1, c2, c3, c4, c5, c6, c7, c8 = (F(c) for c in _LOG_32)

        @scalar
        def cubic(f):
            return (((((((c0 * f + c1) * f + c2) * f + c3) * f + c4) * f + c5) * f + c6) * f + c7) * f + c8
    else:
        p0, p1, p2, p3, p4, p5 = (F(c) for c in _LOG_64_P)
        q0, q1, q2, q3, q4 = (F(c) for c in _LOG_64_Q)

        @scalar
        def cubic(f):
            above = ((((p0 * f + p1) * f + p2) * f + p3) * f + p4) * f + p5
            return above / (((((f + q0) * f + q1) * f + q2) * f + q3) * f + q4)

    @scalar
    def log_(x):
        f = _mantissa(x) - one
        s = f * f
        rest = cubic(f) * f * s + _exponent(x) * ln2_low - half * s
        return f + rest + _exponent(x) * ln2_high + (x - x)  # x - x: 0, but NaN where x is not finite

    return log_


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


# tanh in float32, lowest power first: (e^2r - 1 - 2r) / r^2 on |r| <= ln(2)/4, by 3.4e-9 at most from the truth, and
# (tanh x - x) / x^3 in x^2 below 0.55, by 3.7e-8 of tanh x: minimax fits of our own (Lawson's weights).
_TANH_FAR = (2.000000040393642, 1.3333210311770265, 0.6666589962663318, 0.2678271453068788, 0.08929099815410055)
_TANH_NEAR = (-0.33332946635341226, 0.13320725032841554, -0.052671812237297944, 0.01643757894732908)


@lru_cache
def tanh(F: type) -> Scalar:
    """Near 0 an odd polynomial (float32) or Cephes's rational function (float64), else 1 - 2 / (e^2x + 1)."""
    narrow, one, two = F is np.float32, F(1), F(2)
    edge, end = (F(0.55), F(9.1)) if narrow else (F(0.625), F(19.1))  # from `end` on the result rounds to 1
    if narrow:
        # With exp's reduction and Cephes's polynomials, which wait for each other, a number took 0.92 ns, and now 0.69.
        # ln(2)/2 is one number, whose products with n <= 26 are near enough.
        log2e, half_ln2, shift = F(2 / math.log(2)), F(math.log(2) / 2), F(1.5 * 2.0**23)
        b0, b1, b2, b3, b4 = (F(c) for c in _TANH_FAR)
        c0, c1, c2, c3 = (F(c) for c in _TANH_NEAR)

        @scalar
        def power(x):
            shifted = x * log2e + shift
            r = x - (shifted - shift) * half_ln2
            s = r * r
            return (((b4 * s + (b3 * r + b2)) * s + (b1 * r + b0)) * s + (two * r + one)) * _power_of_two(shifted)

        @scalar
        def near_zero(x):
            s = x * x
            return (((c3 * s + c2) * s + c1) * s + c0) * s * x + x
    else:
        reduce, series, _ = _parts(F)
        p0, p1, p2 = F(-9.64399179425052238628e-1), F(-9.92877231001918586564e1), F(-1.61468768441708447952e3)
        q0, q1, q2 = F(1.12811678491632931402e2), F(2.23548839060100448583e3), F(4.84406305325125486048e3)

        @scalar
        def power(x):
            shifted, r = reduce(two * x)
            return (series(r) + one) * _power_of_two(shifted)  # one factor is enough below `end`

        @scalar
        def near_zero(x):
            s = x * x
            return ((p0 * s + p1) * s + p2) / (((s + q0) * s + q1) * s + q2) * s * x + x

    @scalar
    def tanh_(x):
        size = abs(x)
        far = one - two / (power(end if size > end else size) + one)
        return near_zero(x) if size < edge else math.copysign(far, x)

    return tanh_
