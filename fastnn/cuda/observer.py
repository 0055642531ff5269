"""Looking at a network in training on the GPU, as `cpu.observer` does on the CPU: only what is looked at is fetched."""

from __future__ import annotations

from typing import Any

import numpy as np

from fastnn.cpu import observer
from fastnn.cuda.memory import guarded


class Observer(observer.Observer):
    """Looks at one runner; call it between two chunks, from the thread that trains."""

    _runner: Any
    _tried: np.ndarray

    def prepare(self, bins: int) -> None:
        self.outputs(0, 0, (0.0, 1.0), bins)

    def gradient(self) -> np.ndarray:
        if self._gradient is None:
            self._gradient = np.zeros_like(self._runner.parameters)
        self._runner.gradient(self._gradient)
        return self._gradient

    def _try(self, rate: float) -> None:
        self._tried = self._runner.try_step(rate)

    def _losses(self, rows: int) -> np.ndarray:
        return self._tried[:rows]

    def _rows(self, unit: int, step: int) -> np.ndarray:
        with guarded("its outputs were read"):
            found: np.ndarray = self._runner.batches.layer(unit - 1, self._batch(step))
        return found

    def outputs(self, layer: int, step: int, ends: tuple[float, float], bins: int) -> observer.Summary:
        rows = self._rows(layer + 1, step)
        summary = observer.describe(rows.reshape(-1), 0, *rows.shape, rows.shape[1], ends, bins)
        return observer.with_dead(summary, rows)
