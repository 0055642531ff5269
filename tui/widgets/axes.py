"""Axes for any finite numbers: their range, their ticks, and where values lie between their ends."""

from __future__ import annotations

import math
import sys
from dataclasses import dataclass
from typing import Any

from tui.numbers import short

HUGE = sys.float_info.max
MOST_DIGITS = 6  # of a label
WIDEST = 8  # characters of a label


@dataclass(frozen=True)
class Axis:
    """A range in data units (or their logarithm), and where its ticks are with their labels."""

    low: float
    high: float
    ticks: tuple[tuple[float, str], ...]

    def place(self, values: Any) -> Any:
        """Map a number or an array to [0, 1]; halves first, because high - low may overflow."""
        return (values * 0.5 - self.low * 0.5) / (self.high * 0.5 - self.low * 0.5)

    def marks(self, width: int = WIDEST) -> list[tuple[float, str]]:
        """The ticks' places in [0, 1] and their labels, cut off at `width`."""
        return [(float(self.place(at)), label[:width]) for at, label in self.ticks]


def linear_axis(low: float, high: float, wanted: int, *, whole: bool = False) -> Axis:
    """An axis over [low, high] with about `wanted` ticks at 1, 2 or 5 times a power of ten, or at `whole` numbers."""
    low, high = _separated(low, high)
    if low >= 0 and low < 0.4 * high:
        low = 0.0
    span = (high * 0.5 - low * 0.5) * 2 if high * 0.5 - low * 0.5 < HUGE / 2 else HUGE
    raw = max(span / max(1, wanted), float(whole))
    power = 10.0 ** math.floor(math.log10(raw)) if raw > 1e-300 else 1e-300
    chosen = next((m for m in (1, 2, 5) if power * m >= raw * 0.999), 10)
    ticks: list[tuple[float, str]] = []
    # Smaller steps where it leaves one tick or none: no scale can be read from that.
    for step in (power * m for m in (10, 5, 2, 1, 0.5, 0.2, 0.1) if m <= chosen):
        if not math.isfinite(step) or (whole and step < 1):
            continue
        ticks = _multiples(low, high, step, 3 * wanted + 3)
        if len(ticks) > 1:
            break
    return Axis(low, high, tuple(ticks) or ((low, short(low)), (high, short(high))))


def _multiples(low: float, high: float, step: float, most: int) -> list[tuple[float, str]]:
    """The multiples of a step within a range, `most` at most, and their labels, which differ (if they have room to)."""
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    values = [number * step for number in range(first, min(last + 1, first + most))]
    values = [0.0 if abs(value) < step / 1e6 else value for value in values]
    labels: list[str] = []
    wanted = 3 + math.floor(math.log10(max(abs(low), abs(high), step) / step))
    for digits in range(max(3, min(MOST_DIGITS, wanted)), 2, -1):
        labels = [short(value, digits) for value in values]
        if all(len(label) <= WIDEST for label in labels):
            break
    powers = ["e-" in label for value, label in zip(values, labels, strict=True) if value]
    if any(powers) and not all(powers):  # 5e-4 below 0.001: rather 0.0005
        decimals = [f"{value:.{-math.floor(math.log10(step))}f}" if value else "0" for value in values]
        if all(len(label) <= WIDEST for label in decimals):
            labels = decimals
    return list(zip(values, labels, strict=True))


def log_axis(low: float, high: float, wanted: int) -> Axis:
    """An axis in log10 units over [low, high] (already logarithms), ticks at decades, or 1, 2, 5 when few."""
    if high - low < 0.3:
        middle = (high + low) / 2
        low, high = middle - 0.15, middle + 0.15
    for multiples in ((1, 2, 5), (1,)):
        ticks = [
            (math.log10(m) + decade, short(m * 10.0**decade))
            for decade in range(max(-307, math.floor(low)), min(307, math.ceil(high)) + 1)
            for m in multiples
            if low - 1e-9 <= math.log10(m) + decade <= high + 1e-9
        ]
        if len(ticks) <= max(2, wanted):
            break
    ticks = ticks[:: max(1, math.ceil(len(ticks) / max(2, wanted)))]
    if len(ticks) < 2:
        ticks = [(low, short(10.0**low)), (high, short(10.0 ** min(high, 308.2)))]
    return Axis(low, high, tuple(ticks))


def _separated(low: float, high: float) -> tuple[float, float]:
    """Give a constant some room on both sides."""
    size = max(abs(low), abs(high))
    if high * 0.5 - low * 0.5 > size * 1e-9:
        return low, high
    room = size * 0.5 or 1.0
    return max(low - room, -HUGE), min(high + room, HUGE)
