"""Numbers as people read them: short, of one width, the same on every machine."""

from __future__ import annotations

import math


def short(value: float, digits: int = 3) -> str:
    """A tick or a caption in about six characters: 0, 0.25, 1.5k, 20k, 3M, 2e-5; an exponent costs a digit."""
    if not math.isfinite(value):
        return "nan" if math.isnan(value) else ("inf" if value > 0 else "-inf")
    size = abs(value)
    if size == 0:
        return "0"
    if size >= 999_500_000 or size < 0.0009995:
        return exponent(f"{value:.{max(1, digits - 2)}e}")
    for limit, unit in ((999_500, "M"), (999.5, "k")):
        if size >= limit:
            scaled = value / (1e6 if unit == "M" else 1e3)
            return f"{scaled:.{digits}g}{unit}"
    return f"{value:.{digits}g}"


def exponent(text: str) -> str:
    """Take the padding out of an exponent: 1.2e-05 becomes 1.2e-5, 1.0e+06 becomes 1e6."""
    mantissa, _, power = text.partition("e")
    return f"{float(mantissa):g}e{int(power)}" if power else text


def loss(value: float | None) -> str:
    """A loss in six characters, right-aligned: four digits after the point where they fit and say something."""
    if value is None:
        return "     \u2013"
    if not math.isfinite(value):
        return f"{short(value):>6}"
    if 0 < abs(value) < 0.0009995:
        text = short(value)
        return f"{text if len(text) <= 6 else exponent(f'{value:.0e}'):>6}"
    for limit, digits in ((10, 4), (100, 3), (1000, 2), (10_000, 1)):
        if abs(value) < limit - 0.5 * 10**-digits:
            return f"{value:6.{digits}f}"
    return f"{short(value):>6}"


def percent(value: float | None) -> str:
    """A share as 84.1%, five characters; 100 % has no decimals so that it stays as wide."""
    if value is None or not math.isfinite(value):
        return "    \u2013"
    return f"{value * 100:4.1f}%" if value < 0.9995 else " 100%"


def clock(seconds: float) -> str:
    """Minutes and seconds, with hours when there are any."""
    whole = int(seconds) if math.isfinite(seconds) else 0
    hours, rest = divmod(whole, 3600)
    return f"{hours}:{rest // 60:02d}:{rest % 60:02d}" if hours else f"{rest // 60:02d}:{rest % 60:02d}"


def count(value: int) -> str:
    """A whole number with separators, in millions from ten million on."""
    return f"{value:,}" if value < 10_000_000 else f"{value / 1e6:,.1f}M"


def rate(value: float) -> str:
    """A learning rate with three digits, in seven characters at most."""
    return exponent(f"{value:.2e}" if 0 < value < 1e-3 else f"{value:.3g}")
