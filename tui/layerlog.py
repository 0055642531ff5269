"""What the layers of a run looked like over its steps: histograms in bounded memory, and percentiles from them."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import Any

import numpy as np

BINS = 30
CAPACITY = 256
KINDS = ("activations", "gradients", "weights", "updates")


@dataclass(frozen=True, eq=False)
class Series:
    """Histograms over time: `steps` (n,), the ends of their ranges `low` and `high` (n,), and `counts` (n, 30)."""

    steps: np.ndarray
    low: np.ndarray
    high: np.ndarray
    counts: np.ndarray

    def percentiles(self, shares: tuple[float, ...]) -> np.ndarray:
        """Values (len(shares), n) below which these shares of all lie, taken as even within a bin; NaN when empty."""
        total = self.counts.sum(1, dtype=np.float64)
        out = np.full((len(shares), len(total)), np.nan)
        full = np.flatnonzero(total > 0)
        if not full.size:
            return out
        below = np.zeros((full.size, self.counts.shape[1] + 1))
        below[:, 1:] = np.cumsum(self.counts[full], axis=1, dtype=np.float64) / total[full, None]
        bins = below.shape[1] - 1
        each = np.arange(full.size)
        for number, share in enumerate(shares):
            # The last edge with no more than the share below it; there is something in the bin after it.
            at = np.minimum((below[:, 1:] < share).sum(1), bins - 1)
            left, right = below[each, at], below[each, at + 1]
            within = (share - left) / np.maximum(right - left, 1e-300)
            where = (at + np.clip(within, 0, 1)) / bins
            with np.errstate(invalid="ignore", over="ignore"):
                out[number, full] = self.low[full] * (1 - where) + self.high[full] * where
        return out


class _Track:
    """One layer's histograms of one kind: every `stride`-th is kept, and the newest."""

    def __init__(self) -> None:
        self._steps, self._low, self._high = (np.empty(CAPACITY) for _ in range(3))
        self._counts = np.empty((CAPACITY, BINS), np.float32)
        self._kept = self._waiting = 0
        self._stride = 1

    def __len__(self) -> int:
        return self._kept + (self._waiting > 0)

    def add(self, step: int, histogram: Any) -> None:
        at = self._kept
        if len(self) and self._steps[len(self) - 1] == step:  # looked at again
            at = len(self) - 1
        else:
            self._waiting += 1
        self._steps[at], self._low[at], self._high[at] = step, histogram.edges[0], histogram.edges[-1]
        self._counts[at] = histogram.counts
        if self._waiting >= self._stride:
            self._kept, self._waiting = self._kept + 1, 0
        if self._kept == CAPACITY:
            self._thin()

    def _thin(self) -> None:
        half = CAPACITY // 2
        for array in (self._steps, self._low, self._high, self._counts):
            array[:half] = array[1::2]
        self._kept, self._stride = half, self._stride * 2

    def cut(self, step: int) -> None:
        self._kept, self._waiting = int(np.searchsorted(self._steps[: self._kept], step, side="right")), 0

    def series(self) -> Series:
        n = len(self)
        return Series(self._steps[:n].copy(), self._low[:n].copy(), self._high[:n].copy(), self._counts[:n].copy())


class LayerLog:
    """Histograms of every layer over the steps; written by the training thread, read by any."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._tracks: dict[tuple[int, str], _Track] = {}
        self._seen: Any = None

    def clear(self) -> None:
        """Forget everything: a new run begins."""
        with self._lock:
            self._tracks, self._seen = {}, None

    def add(self, snapshot: Any) -> None:
        """Take the layers of a snapshot, when they were looked at since the last."""
        if snapshot.layers is self._seen:
            return
        self._seen = snapshot.layers
        with self._lock:
            for number, layer in enumerate(snapshot.layers):
                for kind in KINDS:
                    histogram = getattr(layer, kind)
                    if histogram is not None and len(histogram.counts) == BINS:
                        self._tracks.setdefault((number, kind), _Track()).add(snapshot.looked_at, histogram)

    def cut(self, step: int) -> None:
        """Forget what came after a step."""
        with self._lock:
            for track in self._tracks.values():
                track.cut(step)

    def series(self, layer: int, kind: str) -> Series | None:
        """The histograms of a layer (0 is the first) over time, copies; None when there are none."""
        with self._lock:
            track = self._tracks.get((layer, kind))
            return track.series() if track is not None and len(track) else None
