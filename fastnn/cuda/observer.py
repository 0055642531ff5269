"""Looking at a network in training on the GPU, as `cpu.observer` does on the CPU: what is seen is gathered there."""

from __future__ import annotations

from typing import Any

import numpy as np

from fastnn.cpu import observer
from fastnn.cuda import clipping, statistics
from fastnn.cuda.memory import guarded
from fastnn.cuda.statistics import Block
from fastnn.cuda.target import cuda


class Observer(observer.Observer):
    """Looks at one runner; call it between two chunks, from the thread that trains.

    Gradients and updates are arrays on the device, which the next call may overwrite. As in `engine.Runner.run` the
    context is looked up once in each: of 119 calls of the driver in a look at three layers 74 asked for it, now 22.
    """

    _runner: Any
    _tried: np.ndarray

    def prepare(self, bins: int) -> None:
        self.outputs(0, 0, (0.0, 1.0), bins)

    def gradient(self) -> Any:
        return self._runner.slope()

    def update(self, rate: float) -> Any:
        return self._runner.update(rate)

    def _try(self, rate: float) -> None:
        self._tried = self._runner.try_step(rate)

    def _losses(self, rows: int) -> np.ndarray:
        return self._tried[:rows]

    def _rows(self, unit: int, step: int) -> np.ndarray:
        with guarded("its outputs were read"):
            found: np.ndarray = self._runner.batches.layer(unit - 1, self._batch(step))
        return found

    def _batch(self, step: int) -> int:
        rows: int = self._runner.taken(super()._batch(step))
        return rows

    def _there(self, flat: Any) -> Any:
        """An array of the host's, which can only be the parameters, on the device."""
        return self._runner.send() if isinstance(flat, np.ndarray) else flat

    def outputs(self, layer: int, step: int, ends: tuple[float, float], bins: int) -> observer.Summary:
        batches = self._runner.batches
        place, steps = batches.layout.outputs[layer]
        width = self._runner.net.sizes[layer + 1]
        block = Block(batches.buffer, place, self._batch(step) * steps, width, width)
        with guarded("its outputs were looked at"):
            return self._described(batches.F, block, ends, bins, columns=True)

    def weights(self, flat: Any, layer: int, bins: int) -> observer.Summary:
        with guarded("its weights were looked at"):
            start, rows, width, stride = self.sample(layer)
            block = Block(self._there(flat), start, rows, width, stride)
            return self._described(self._runner.architecture.F, block, (np.nan, np.nan), bins)

    def _described(self, *block: Any, **options: Any) -> observer.Summary:
        found: observer.Summary = cuda.require_context(statistics.describe)(*block, **options)
        return found

    def norm(self, flat: Any, layer: int | None = None) -> float:
        with guarded("its weights were looked at"):
            there = self._there(flat)
            part = there if layer is None else self.part(there, layer)
            length: float = cuda.require_context(clipping.norm)(self._runner.architecture.F, part)
            return length
