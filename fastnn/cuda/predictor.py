"""The host's side of prediction and evaluation on the GPU."""

from __future__ import annotations

import numpy as np

from fastnn.cpu.engine import Architecture
from fastnn.cuda import layout, phases
from fastnn.cuda.batches import EVALUATED, Batches
from fastnn.cuda.memory import guarded, upload
from fastnn.errors import is_finite


class Predictor:
    """Predicts with the network that `parameters` hold, in the host's memory, at the time of each call."""

    def __init__(self, architecture: Architecture, parameters: np.ndarray) -> None:
        self.architecture, self._host = architecture, parameters
        with guarded("its memory was filled"):
            self._parameters = upload(parameters)

    def all_fine(self, x: np.ndarray, out: np.ndarray) -> bool:
        """Predict x into out; False: there is an error, of shape or of numbers that are not finite."""
        if x.shape[1] != self.architecture.sizes[0] or out.shape != (x.shape[0], self.architecture.sizes[-1]):
            return False
        return is_finite(x) and self.rows(x, out)

    def rows(self, x: np.ndarray, out: np.ndarray) -> bool:
        """Predict C-contiguous x (n, fan_in) into out (n, fan_out)."""
        with guarded("predicting"):
            self._parameters.copy_to_device(self._host)
            for begin in range(0, len(x), EVALUATED):
                some = x[begin : begin + EVALUATED]
                batches = self._batches(some, np.zeros(1, self.architecture.F), "mse", len(some), 1)
                batches.forward(0)
                wrote = int(batches.layout.table[-1, phases.WROTE])
                found = batches.buffer[wrote : wrote + some.shape[0] * out.shape[1]].copy_to_host()
                out[begin : begin + EVALUATED] = found.reshape(len(some), out.shape[1])
        return True

    def score(self, x: np.ndarray, y: np.ndarray, loss: str) -> tuple[float, float]:
        """Mean loss on checked rows x and targets y, and the number of rows predicted right."""
        layout.check_sizes(x, y)
        with guarded("evaluating"):
            self._parameters.copy_to_device(self._host)
            rows = min(EVALUATED, len(x))
            return self._batches(x, y, loss, rows, -(-len(x) // rows)).score()

    def _batches(self, x: np.ndarray, y: np.ndarray, loss: str, batch: int, slots: int) -> Batches:
        return Batches(self.architecture, self._parameters, x, y, batch, loss=loss, slots=slots)
