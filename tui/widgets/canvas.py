"""Pixels, two a cell: heat maps, images and decision boundaries, drawn directly as half blocks."""

from __future__ import annotations

import numpy as np

from tui.widgets.cells import DEFAULT, Cells

SHADES = np.array(list(" .:-=+*#%@"))
_WEIGHTS = np.array([0.299, 0.587, 0.114])


def pack(pixels: np.ndarray) -> np.ndarray:
    """Colors (..., 3) uint8 as one number each, of 32 shades of red, green and blue: nobody sees the difference, and a
    heat map that changes is drawn in a third of the time, for most of its styles have been made before."""
    wide = (pixels & 0xF8 | pixels >> 5).astype(np.int64)
    packed: np.ndarray = wide[..., 0] << 16 | wide[..., 1] << 8 | wide[..., 2]
    return packed


def paint(
    cells: Cells, pixels: np.ndarray, x: int = 0, y: int = 0, *, mask: np.ndarray | None = None, plain: bool = False
) -> None:
    """Paint `pixels` (rows, columns, 3) uint8 into cells from their cell (x, y) on: a cell shows two rows.

    `mask` (rows, columns) is False where a pixel is left out. What lies outside the cells is cut off. `plain` paints
    one letter a cell instead, darker or denser for a brighter pair.
    """
    rows, columns = pixels.shape[:2]
    width = min(columns, cells.width - x)
    height = min(-(-rows // 2), cells.height - y)
    if width <= 0 or height <= 0 or x < 0 or y < 0:
        return
    colors = np.full((2 * height, width), DEFAULT, np.int64)
    seen = pixels[: 2 * height, :width]
    colors[: seen.shape[0]] = pack(seen)
    if mask is not None:
        colors[: seen.shape[0]][~mask[: 2 * height, :width]] = DEFAULT
    top, bottom = colors[0::2], colors[1::2]
    part = np.s_[y : y + height, x : x + width]
    if plain:
        light = np.zeros((2 * height, width))
        light[: seen.shape[0]] = seen @ _WEIGHTS / 255
        light[colors == DEFAULT] = 0
        pair = (light[0::2] + light[1::2]) / 2
        cells.chars[part] = SHADES[(pair * (len(SHADES) - 1) + 0.5).astype(np.int64)]
        cells.front[part] = np.where(top == DEFAULT, bottom, top)
        return
    # Without an upper pixel the lower one is drawn in front, as the lower half block.
    lower = (top == DEFAULT) & (bottom != DEFAULT)
    cells.chars[part] = np.where(lower, "▄", np.where(top == DEFAULT, " ", "▀"))
    cells.front[part] = np.where(lower, bottom, top)
    cells.back[part] = np.where(lower, DEFAULT, bottom)


def stretch(image: np.ndarray, rows: int, columns: int) -> np.ndarray:
    """The image (h, w, ...) with `rows` x `columns` pixels, each taken from the nearest one."""
    h, w = image.shape[:2]
    down = np.minimum((np.arange(rows) + 0.5) * h / max(1, rows), h - 1).astype(np.int64)
    across = np.minimum((np.arange(columns) + 0.5) * w / max(1, columns), w - 1).astype(np.int64)
    near: np.ndarray = image[down][:, across]
    return near
