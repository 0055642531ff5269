"""The host's side of prediction and evaluation on the GPU."""

from __future__ import annotations

import numpy as np

from fastnn.cuda import layout
from fastnn.cuda.batches import Batches
from fastnn.cuda.memory import allocated, guarded
from fastnn.cuda.sequences import batches, evaluated
from fastnn.errors import is_finite
from fastnn.runner import Architecture


class Predictor:
    """Predicts with the network that `parameters` hold, in the host's memory, at the time of each call.

    With recurrent layers x (n, T, features) has `steps` time steps, and out those that go on as an axis of its own.
    """

    def __init__(self, architecture: Architecture, parameters: np.ndarray, steps: int = 1) -> None:
        self.architecture, self.steps, self._host = architecture, steps, parameters
        self._parameters = allocated("the network", lambda take: take.copy(parameters))

    def all_fine(self, x: np.ndarray, out: np.ndarray) -> bool:
        """Predict x into out; False: there is an error, of shape or of numbers that are not finite."""
        if x.shape[1] != self.architecture.sizes[0] or out.shape != (x.shape[0], self.architecture.sizes[-1]):
            return False
        return is_finite(x) and self.rows(x, out)

    def rows(self, x: np.ndarray, out: np.ndarray) -> bool:
        """Predict C-contiguous x (n, fan_in) into out (n, fan_out)."""
        if not len(x):
            return True
        with guarded("predicting"):
            self._parameters.copy_to_device(self._host)
            together = evaluated(self.architecture, x)
            for begin in range(0, len(x), together):
                self._together(x[begin : begin + together], out[begin : begin + together])
        return True

    def _together(self, x: np.ndarray, out: np.ndarray) -> None:
        """Predict x into out in one batch, whose part of the GPU's memory is free when it returns."""
        there = self._batches(x, np.zeros(1, self.architecture.F), "mse", len(x), 1)
        there.forward(0)
        out[...] = there.outputs(len(x)).reshape(out.shape)

    def score(self, x: np.ndarray, y: np.ndarray, loss: str) -> tuple[float, float]:
        """Mean loss on checked rows x and targets y, and the number of targets predicted right."""
        layout.check_sizes(x, y)
        with guarded("evaluating"):
            self._parameters.copy_to_device(self._host)
            rows = evaluated(self.architecture, x)
            return self._batches(x, y, loss, rows, -(-len(x) // rows)).score()

    def _batches(self, x: np.ndarray, y: np.ndarray, loss: str, batch: int, slots: int) -> Batches:
        return allocated(
            "a prediction",
            lambda take: batches(take, self.architecture, self._parameters, x, y, batch, loss=loss, slots=slots),
        )
