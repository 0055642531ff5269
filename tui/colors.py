"""Colors for numbers: scales that every kind of color vision can read, on a dark and on a light ground.

Both are interpolated in RGB between a few points. The sequential one is after Viridis (Smith and van der Walt 2015),
whose lightness rises evenly; the diverging one goes from blue over the ground to orange, after Okabe and Ito's pair.
"""

from __future__ import annotations

import numpy as np

from tui.widgets.cells import RGB

VIRIDIS = np.array(
    [(68, 1, 84), (71, 44, 122), (59, 81, 139), (44, 113, 142), (33, 144, 141), (39, 173, 129), (92, 200, 99),
     (170, 220, 50), (253, 231, 37)], np.float64,
)  # fmt: skip
COOL, WARM = (0, 114, 178), (230, 140, 0)
GRAYS: tuple[RGB, RGB, RGB] = (80, 80, 80), (150, 150, 150), (235, 235, 235)  # the pair is of one lightness
# Classes, in an order that tells neighbors apart; ten of them for the digits.
CLASSES: tuple[RGB, ...] = (
    (86, 180, 233), (230, 159, 0), (0, 158, 115), (204, 121, 167), (213, 94, 0), (240, 228, 66), (0, 114, 178),
    (150, 150, 150), (148, 103, 189), (140, 86, 75),
)  # fmt: skip


def class_color(number: int) -> RGB:
    """The color of a class."""
    return CLASSES[number % len(CLASSES)]


def inked(color: RGB, ground: RGB) -> RGB:
    """A class's color for text and lines: darker on a light ground, where Okabe and Ito's are faint."""
    return color if max(ground) < 128 else (color[0] * 3 // 5, color[1] * 3 // 5, color[2] * 3 // 5)


def _share(values: np.ndarray, low: float, high: float) -> np.ndarray:
    """Values in [0, 1] between low and high; NaN becomes 0, and a range without finite extent the middle."""
    finite = np.isfinite(low) and np.isfinite(high)
    half = high * 0.5 - low * 0.5 if finite else 0.0  # the whole may be infinite, and half of the smallest number is 0
    if not half > 0:
        return np.full(np.shape(values), 0.5)
    values = np.clip(np.nan_to_num(np.asarray(values, np.float64), nan=low), low, high)
    shares: np.ndarray = np.clip((values * 0.5 - low * 0.5) / half, 0.0, 1.0)
    return shares


def ramp(shares: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Colors (..., 3) uint8 for shares in [0, 1], between the rows of `points` (n, 3)."""
    at = np.clip(shares, 0, 1) * (len(points) - 1)
    return np.stack([np.interp(at, np.arange(len(points)), points[:, k]) for k in range(3)], -1).astype(np.uint8)


def sequential(values: np.ndarray, low: float, high: float) -> np.ndarray:
    """Colors (..., 3) uint8 from dark violet for `low` to yellow for `high`."""
    return ramp(_share(values, low, high), VIRIDIS)


def diverging(values: np.ndarray, extent: float, signs: tuple[RGB, RGB, RGB]) -> np.ndarray:
    """Colors (..., 3) uint8: the first for -extent, the second for 0, the third for +extent."""
    return ramp(_share(values, -extent, extent), np.array(signs, np.float64))


def mixed(shares: np.ndarray, ground: RGB) -> np.ndarray:
    """Colors (..., 3) uint8 for probabilities (..., classes): each class's color, paler where it is unsure."""
    palette = np.array([CLASSES[k % len(CLASSES)] for k in range(shares.shape[-1])], np.float64)
    shares = np.clip(np.nan_to_num(shares), 0, 1)
    best, sure = np.argmax(shares, -1), shares.max(-1)[..., None]
    chance = 1 / max(2, shares.shape[-1])
    strength = 0.15 + 0.75 * np.clip((sure - chance) / (1 - chance), 0, 1)
    colors: np.ndarray = palette[best] * strength + np.array(ground, np.float64) * (1 - strength)
    return colors.astype(np.uint8)
