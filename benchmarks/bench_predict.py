"""Prediction from Python and from the caller's own compiled code, and evaluation. `setup` compiles."""

from __future__ import annotations

import numba
import numpy as np

import fastnn as fnn
from benchmarks.table import NETWORKS, PREDICTED, data, inputs


class FromPython:
    """`net(x, out=out)`: one row, some, and as many as take threads and panels."""

    params = [list(PREDICTED), [1, 100, 10_000], ["float32", "float64"]]
    param_names = ["network", "rows", "dtype"]

    def setup(self, name: str, rows: int, dtype: str) -> None:
        work = PREDICTED[name]
        self.net = fnn.Network(list(work.sizes), activation=work.activation, seed=0, dtype=dtype)
        self.x = inputs(work, rows).astype(dtype)
        self.out = np.empty((rows, work.sizes[-1]), dtype)
        self.net(self.x, out=self.out)

    def time_predict(self, name: str, rows: int, dtype: str) -> None:
        self.net(self.x, out=self.out)


@numba.njit
def repeat(state, x, out, times):
    for _ in range(times):
        fnn.jit.predict(state, x, out)


class FromCompiledCode:
    """A thousand rows, one after the other, through `fnn.jit.predict`: milliseconds are microseconds a row."""

    params = [list(PREDICTED), ["float32", "float64"]]
    param_names = ["network", "dtype"]

    def setup(self, name: str, dtype: str) -> None:
        work = PREDICTED[name]
        self.state = fnn.Network(list(work.sizes), activation=work.activation, seed=0, dtype=dtype).compiled()
        self.x, self.out = inputs(work, 1).astype(dtype), np.empty((1, work.sizes[-1]), dtype)
        repeat(self.state, self.x, self.out, 1)

    def time_thousand_rows(self, name: str, dtype: str) -> None:
        repeat(self.state, self.x, self.out, 1000)


class Evaluation:
    """`net.evaluate` on 4,096 rows, with the check of the data."""

    params = [list(NETWORKS)]
    param_names = ["network"]

    def setup(self, name: str) -> None:
        work = NETWORKS[name]
        self.net = fnn.Network(list(work.sizes), activation=work.activation, seed=0)
        self.data = data(work)
        self.net.evaluate(*self.data)

    def time_evaluate(self, name: str) -> None:
        self.net.evaluate(*self.data)
