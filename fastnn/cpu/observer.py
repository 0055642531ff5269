"""Looking at a network in training without changing it: outputs, gradients, updates, and what broke.

Training keeps no gradient (it is fused with the update), so each of these passes sends the next batch through the
network once more: about one step's time. Parameters, optimizer's memory and all later results stay bit for bit as
they would have been.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from fastnn.cpu import plan, train
from fastnn.cpu.engine import Runner, aligned
from fastnn.optimizers import WIDTH

MOST_VALUES = 1 << 18  # of a layer that a histogram reads: more are thinned by whole rows


class Summary(NamedTuple):
    """What `train.describe` says of some values, and the share of columns that are all zero."""

    counts: np.ndarray
    low: float
    high: float
    mean: float
    std: float
    zeros: float
    saturated: float
    dead: float


class Observer:
    """Looks at one runner; call it between two chunks, from the thread that trains."""

    def __init__(self, runner: Runner) -> None:
        self._runner = runner
        self._gradient: np.ndarray | None = None

    def prepare(self, bins: int) -> None:
        """Compile or load what this calls."""
        self.outputs(0, [(0.0, 1.0)], bins)
        train.fill_order(np.zeros(2, np.int64), self._runner.net.seed, 0)

    def gradient(self) -> np.ndarray:
        """The gradient of the next batch, flat; the array is reused by the next call."""
        runner = self._runner
        if self._gradient is None:
            self._gradient = aligned(runner.parameters.size, runner.architecture.F)
        work = runner.work._replace(update=-1, target=self._gradient, clip=0.0)
        runner.call(1, np.eye(1, WIDTH), work, runner.workers, np.zeros((0, 2)))
        return self._gradient

    def update(self, rate: float) -> np.ndarray:
        """What the next step would add to the parameters at learning rate `rate`, flat."""
        kept = self._runner.keep()
        try:
            self._try(rate)
            with np.errstate(over="ignore", invalid="ignore"):
                change: np.ndarray = self._runner.parameters - kept.arrays[0]
            return change
        finally:
            self._runner.bring_back(kept)

    def culprit(self, rate: float) -> tuple[int, str]:
        """The layer (0 is the first Dense) where the next step would leave the finite numbers first, and what there.

        What: "outputs", "loss" or "weights".
        """
        runner, kept = self._runner, self._runner.keep()
        layers = len(runner.net.sizes) - 1
        try:
            self._try(rate)
            for layer in range(layers):
                if not np.isfinite(self._rows(layer + 1, runner.step)).all():
                    return layer, "outputs"
            if not np.isfinite(self._losses(self._batch(runner.step))).all():
                return layers - 1, "loss"
            for layer in range(layers):
                if not np.isfinite(self.part(runner.parameters, layer, biases=True)).all():
                    return layer, "weights"
            return layers - 1, "loss"
        finally:
            runner.bring_back(kept)

    def _try(self, rate: float) -> None:
        runner = self._runner
        assert runner.optimizer is not None
        table = runner.optimizer.coefficients(runner.step + 1, 1, rate)
        runner.call(1, table, runner.work, runner.workers, np.zeros((0, 2)))

    def _losses(self, rows: int) -> np.ndarray:
        """Losses of the rows of the batch that was tried."""
        return self._runner.work.losses[:rows]

    # ---- summaries ---------------------------------------------------------------------------------------------------

    def _batch(self, step: int) -> int:
        """Rows of the batch of a step."""
        position = step % self._runner.per_epoch
        return int(min(self._runner.batch, self._runner.samples - position * self._runner.batch))

    def _rows(self, unit: int, step: int) -> np.ndarray:
        """A layer's outputs (rows, units) in the buffer, which holds the batch of `step`; 0 are the inputs.

        Of a layer that goes through time, the rows of all time steps.
        """
        runner = self._runner
        rows, stride = self._batch(step) * runner.time_steps[unit], int(runner.net.strides[unit])
        start = int(runner.work.outputs[unit])
        return runner.work.buffer[start : start + rows * stride].reshape(rows, stride)[:, : int(runner.net.sizes[unit])]

    def part(self, flat: np.ndarray, layer: int, *, biases: bool = False) -> np.ndarray:
        """A layer's weight in an array laid out like the parameters, flat; with its biases when wanted."""
        start, rows, width = self._weights(layer)
        begins = self._runner.net.weight
        end = int(begins[layer + 1]) if layer + 1 < len(begins) else flat.size
        return flat[start : end if biases else start + rows * width]

    def _weights(self, layer: int) -> tuple[int, int, int]:
        """Where a layer's weights begin among the parameters, their rows (with the recurrent ones) and columns."""
        net, loops = self._runner.net, self._runner.architecture.loops
        start, fan_in, units = int(net.weight[layer]), int(net.sizes[layer]), int(net.sizes[layer + 1])
        shapes = plan.parts(fan_in, units, loops[layer] if loops else None)
        return start, sum(shape[0] for shape in shapes.values() if len(shape) == 2), shapes["weight"][1]

    def outputs(self, step: int, ends: Sequence[tuple[float, float]], bins: int) -> list[Summary]:
        """Summaries of the outputs of the first layers, as many as there are `ends`, on the batch of `step`.

        It must be the last that went through the network.
        """
        return [self._outputs(layer, step, each, bins) for layer, each in enumerate(ends)]

    def _outputs(self, layer: int, step: int, ends: tuple[float, float], bins: int) -> Summary:
        runner, unit = self._runner, layer + 1
        start, width, stride = (
            int(runner.work.outputs[unit]),
            int(runner.net.sizes[unit]),
            int(runner.net.strides[unit]),
        )
        rows = self._batch(step) * runner.time_steps[unit]
        summary = describe(runner.work.buffer, start, rows, width, stride, ends, bins)
        return with_dead(summary, self._rows(unit, step)) if summary.zeros > 0 else summary

    def weights(self, flat: np.ndarray, bins: int) -> list[tuple[Summary, float]]:
        """Summary and norm of each layer's weights in an array laid out like the parameters.

        So are gradient and update. The norms are of all weights, the summaries of those in `sample`.
        """
        return [
            (describe(flat, *self.sample(layer), (math.nan, math.nan), bins), self.norm(self.part(flat, layer)))
            for layer in self._layers
        ]

    @property
    def _layers(self) -> range:
        return range(len(self._runner.net.sizes) - 1)

    def sample(self, layer: int) -> tuple[int, int, int, int]:
        """The weights of a layer that are looked at: where they begin, rows, columns, numbers from row to row."""
        start, rows, width = self._weights(layer)
        every = -(-rows * width // MOST_VALUES)
        return start, -(-rows // every), width, width * every

    def norm(self, flat: np.ndarray) -> float:
        """Euclidean norm. Without BLAS, whose threads would fight with the team's."""
        with np.errstate(over="ignore", invalid="ignore"):
            return float(np.sqrt(np.einsum("i,i->", flat, flat, dtype=flat.dtype, optimize=False)))


def with_dead(summary: Summary, rows: np.ndarray) -> Summary:
    """The summary of `rows` (n, units) with the share of units that are 0 in every one."""
    return summary._replace(dead=float((rows == 0).all(axis=0).mean()))


def describe(
    values: np.ndarray, start: int, rows: int, width: int, stride: int, ends: tuple[float, float], bins: int
) -> Summary:
    """Summary of rows x width values of a flat array from values[start] on, rows `stride` apart."""
    counts, summary = np.zeros(bins, np.int64), np.zeros(6)
    train.describe(values, start, rows, width, stride, *ends, counts, summary)
    low, high, mean, std, zeros, saturated = (float(v) for v in summary)
    return Summary(counts, low, high, mean, std, zeros, saturated, 0.0)
