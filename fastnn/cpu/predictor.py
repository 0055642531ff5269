"""The host's side of prediction and evaluation: memory for one caller at a time, and threads where rows are many."""

from __future__ import annotations

import numpy as np

from fastnn import compiler
from fastnn.cpu import blocks, engine, plan, predict, recurrent
from fastnn.cpu.phases import GRAIN, ROWS
from fastnn.cpu.primitives import new_barrier
from fastnn.cpu.team import Team
from fastnn.runner import Architecture

# Nanoseconds of work: to wake a second thread and to wait for it took 150,000 to 250,000 on two virtual cores.
THREADS_FROM = 1_500_000
PACK_FROM = 8 * ROWS  # rows, where threads pay too: copying a weight into panels takes as long as the product of 20
SCORE_FROM = 4 * ROWS  # rows of an evaluation that threads share


class Predictor:
    """Predicts with the network that `parameters` (from engine.aligned) hold at the time of each call.

    With recurrent layers: for sequences of `steps` time steps, of which rows x and out have those that they read and
    write as axes of their own.
    """

    def __init__(self, architecture: Architecture, parameters: np.ndarray, steps: int = 1) -> None:
        self.architecture, self.steps = architecture, steps
        self.most = compiler.cores()
        with compiler.preparing():
            self.net = engine.build(architecture, parameters, self.most, predicts=True, steps=steps)
            self._few = predict.from_python(architecture.F)
        self._table = self.net.table
        # Nanoseconds a row, within a third for shapes from 4-16-1 to 784-512-512-10 (Zen 3): 50 operations in one, and
        # one a number for its activation and what is not arithmetic.
        products = sum(plan.products(architecture.sizes, architecture.loops, steps))
        self._row = products // 25 + steps * int(self.net.vectors[1:].sum())
        self._score = recurrent.score_address(architecture.F) if architecture.loops else 0
        self._many_from = -(-THREADS_FROM // self._row)
        self._team = Team(self.most)
        self._barrier = new_barrier()
        self._panels: np.ndarray = np.zeros(0, architecture.F)

    def all_fine(self, x: np.ndarray, out: np.ndarray) -> bool:
        """Predict x into out, both writable, C-contiguous and of the network's type; False: there is an error.

        Of shape or of numbers that are not finite, that is, for the caller to find and name; `out` may then hold rows.
        """
        if x.shape[0] < self._many_from:
            fine: bool = self._few(self._table, x, out) == predict.FINE
            return fine
        if x.shape[1] != self.architecture.sizes[0] or out.shape != (x.shape[0], self.architecture.sizes[-1]):
            return False
        return self.rows(x, out, check=True)

    def aim(self, parameters: np.ndarray) -> None:
        """Predict with other parameters of the same architecture from now on."""
        predict.aim(self._table, parameters.ctypes.data - self.net.parameters.ctypes.data)
        self.net = self.net._replace(parameters=parameters)

    def rows(self, x: np.ndarray, out: np.ndarray, *, check: bool = False) -> bool:
        """Predict C-contiguous x (n, fan_in) into out (n, fan_out); False if `check` finds NaN or Inf in x."""
        rows, size = x.shape[0], x.itemsize
        large = rows >= self._many_from
        workers = min(self.most, -(-rows // predict.TILE)) if large else 1
        pack = large and rows >= PACK_FROM and not self.architecture.loops
        table = self._packed() if pack else self._table
        self._team.run(
            predict.many_rows, table, size, x.ctypes.data, rows, out.ctypes.data, int(check), int(pack), self._barrier,
            workers, barrier=self._barrier, workers=workers,
        )  # fmt: skip
        flags = table[-predict.FLAGGED * self.most :: predict.FLAGGED]
        return not (check and flags[:workers].any())

    def _packed(self) -> np.ndarray:
        """The table for weights in panels, and room for the panels."""
        panel, table = self.net.panel, self._table.copy()
        entries = predict.layer_entries(table)
        sizes = -(-entries[:, predict.OUT] // panel) * panel * entries[:, predict.IN]
        if not self._panels.size:
            self._panels = engine.aligned(int(sizes.sum()), self.architecture.F)
        begins = np.cumsum(sizes) - sizes
        entries[:, predict.PANELS] = self._panels.ctypes.data + begins * self._panels.itemsize
        entries[:, predict.ROW] = panel
        entries[:, predict.PANEL] = panel * entries[:, predict.IN]
        return table

    def score(self, x: np.ndarray, y: np.ndarray, loss: str) -> tuple[float, float]:
        """Mean loss on checked rows x and targets y, and the number of targets predicted right."""
        F, rows = self.architecture.F, x.shape[0]
        workers = min(self.most, rows // SCORE_FROM + 1) if rows >= self._many_from else 1
        losses, hits = np.zeros((workers, ROWS), F), np.zeros((workers, ROWS), F)
        columns = np.zeros((workers, 2 * (self.architecture.sizes[-1] + 1) * GRAIN), F)
        sums = np.zeros((-(-rows // ROWS), 2))
        with compiler.preparing():
            address = blocks.loss(loss, F)
            self._team.run(
                predict.score, self._table, x.itemsize, engine.describe_data(x, y), address, losses, hits, columns,
                np.arange(ROWS), sums, F(1), self._score, workers, barrier=self._barrier, workers=workers,
            )  # fmt: skip
        mean, right = np.add.accumulate(sums, axis=0)[-1]  # one after the other, as training adds them
        return float(mean / rows), float(right)
