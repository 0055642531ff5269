"""Data that is read through a memory map: trained on without a copy, and without staying in memory.

Pages of a file count as this process's memory from when they are read until they are given back; the system keeps them
in its own cache. Shuffled rows touch every page of a file in an epoch, so they are given back every few steps.
"""

from __future__ import annotations

import mmap
from collections.abc import Iterator
from typing import Any

import numpy as np

RESIDENT = 64 << 20  # bytes that stay before they are given back
# What reading one row brings in, until that has been measured: Linux maps the whole folio that a page is part of, 2 MB
# at most (since 6.18; 64 KB before).
ROW = 2 << 20


class Mapped:
    """The memory maps behind `arrays`: those of files larger than RESIDENT that NumPy opened to read or to share."""

    def __init__(self, *arrays: np.ndarray) -> None:
        found = {id(m): m for m in map(_map_behind, arrays) if m is not None and len(m) > RESIDENT}
        self._maps = list(found.values())
        self.most_rows: int | None = RESIDENT // ROW if self._maps else None
        self._kept = _resident()

    def __bool__(self) -> bool:
        return bool(self._maps)

    def release(self, rows: int) -> None:
        """Give back the pages that reading `rows` rows brought in; what the file holds is read again when needed.

        `most_rows` is then how many rows may be read before the next time, None for any number.
        """
        if not self._maps:
            return
        assert self.most_rows is not None
        brought = max(1, _resident() - self._kept)
        for opened in self._maps:
            opened.madvise(mmap.MADV_DONTNEED)
        self._kept = _resident()
        self.most_rows = max(1, min(2 * self.most_rows, RESIDENT * rows // brought))


def _resident() -> int:
    """Bytes of files that are resident in this process; 0 where the system does not tell."""
    try:
        with open("/proc/self/statm", "rb") as file:
            return int(file.read().split()[2]) * mmap.PAGESIZE
    except OSError:
        return 0


def _map_behind(array: Any) -> mmap.mmap | None:
    """The map that `array` is a view of; none where giving pages back would lose what was written (mode "c")."""
    while array is not None and not isinstance(array, np.memmap):
        array = getattr(array, "base", None)
    if array is None or array.mode not in ("r", "r+", "w+") or not hasattr(mmap, "MADV_DONTNEED"):
        return None
    opened: Any = getattr(array, "_mmap", None)
    return opened if isinstance(opened, mmap.mmap) else None


def blocks(array: np.ndarray) -> Iterator[np.ndarray]:
    """`array` in runs of rows, each given back before the next; the whole at once where it is in memory anyway."""
    mapped = Mapped(array)
    rows = max(1, RESIDENT * len(array) // (2 * array.nbytes)) if mapped else len(array)
    for begin in range(0, len(array), rows):
        yield array[begin : begin + rows]
        mapped.release(rows)
