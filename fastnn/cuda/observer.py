"""Looking at a network in training on the GPU, as `cpu.observer` does on the CPU: what is seen is gathered there."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from fastnn.cpu import observer
from fastnn.cpu.observer import Summary
from fastnn.cuda import clipping, statistics
from fastnn.cuda.memory import guarded
from fastnn.cuda.statistics import Block
from fastnn.cuda.target import cuda


class Observer(observer.Observer):
    """Looks at one runner; call it between two chunks, from the thread that trains.

    Gradients and updates are arrays on the device, which the next call may overwrite. As in `engine.Runner.run` the
    context is looked up once in each, and what is gathered of all layers is fetched together, from arrays that are
    kept: of 67 calls of the driver in a look at three layers and the gradient's norm 27 are left (on a stand-in).
    """

    _runner: Any
    _tried: np.ndarray

    def __init__(self, runner: Any) -> None:
        super().__init__(runner)
        F = runner.architecture.F
        self._described, self._norms = statistics.Described(F), clipping.Norms(F)

    def prepare(self, bins: int) -> None:
        self.outputs(0, [(0.0, 1.0)], bins)

    def gradient(self) -> Any:
        with guarded("computing a gradient"):
            return cuda.require_context(self._runner.slope)()

    def update(self, rate: float) -> Any:
        with guarded("trying a step"):
            return cuda.require_context(self._runner.update)(rate)

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

    def outputs(self, step: int, ends: Sequence[tuple[float, float]], bins: int) -> list[Summary]:
        blocks = [self._block(layer, step) for layer in range(len(ends))]
        with guarded("its outputs were looked at"):
            found: list[Summary] = cuda.require_context(self._described)(blocks, ends, bins, columns=True)
        return found

    def _block(self, layer: int, step: int) -> Block:
        batches = self._runner.batches
        place, steps = batches.layout.outputs[layer]
        width = self._runner.net.sizes[layer + 1]
        return Block(batches.buffer, place, self._batch(step) * steps, width, width)

    def weights(self, flat: Any, bins: int) -> list[tuple[Summary, float]]:
        with guarded("its weights were looked at"):
            found: list[tuple[Summary, float]] = cuda.require_context(self._weights_of)(flat, bins)
        return found

    def _weights_of(self, flat: Any, bins: int) -> list[tuple[Summary, float]]:
        there = self._there(flat)
        blocks = [Block(there, *self.sample(layer)) for layer in self._layers]
        found = self._described(blocks, [(np.nan, np.nan)] * len(blocks), bins)
        return list(zip(found, self._norms([self.part(there, layer) for layer in self._layers]), strict=True))

    def norm(self, flat: Any) -> float:
        with guarded("its weights were looked at"):
            lengths: list[float] = cuda.require_context(self._norms)([flat])
        return lengths[0]
