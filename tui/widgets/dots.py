"""Dots, some to a cell: braille, quarter blocks, or letters of ASCII."""

from __future__ import annotations

import numpy as np

# How many dots a cell has, side by side and below each other, by how they are drawn.
MARKERS: dict[str, tuple[int, int]] = {"braille": (2, 4), "block": (2, 2), "ascii": (1, 1)}
_BITS = {
    "braille": np.array([[0x01, 0x08], [0x02, 0x10], [0x04, 0x20], [0x40, 0x80]]),
    "block": np.array([[1, 2], [4, 8]]),
    "ascii": np.array([[1]]),
}
_GLYPHS = {
    "braille": np.array([" ", *map(chr, range(0x2801, 0x2900))]),
    "block": np.array(list(" ▘▝▀▖▌▞▛▗▚▐▜▄▙▟█")),
}


def characters(dots: np.ndarray, marker: str, letter: str) -> np.ndarray:
    """Cells (height, width) of one character each for dots (rows, columns) that are set or not; ASCII has a letter."""
    across, down = MARKERS[marker]
    rows, columns = dots.shape
    codes = np.einsum("hdwa,da->hw", dots.reshape(rows // down, down, columns // across, across), _BITS[marker])
    glyphs = _GLYPHS.get(marker)
    found: np.ndarray = (np.array([" ", letter]) if glyphs is None else glyphs)[codes]
    return found
