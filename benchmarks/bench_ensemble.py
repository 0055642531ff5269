"""Ensembles: epochs of many networks at once. `setup` compiles, so that only warm calls are measured."""

from __future__ import annotations

import fastnn as fnn
from benchmarks.bench_training import OPTIMIZERS
from benchmarks.table import NETWORKS, data

SMALL = ["2-16-16-2", "64-32-10"]  # where many are trained at once


class Fit:
    """`Ensemble.fit` for 4 epochs of 4,096 rows, with all that it checks and records; divide by 16,384 / batch x count
    for a network's step."""

    params = [SMALL, list(OPTIMIZERS), [1, 8, 64], [1, 2]]
    param_names = ["network", "optimizer", "count", "threads"]
    timeout = 300

    def setup(self, name: str, optimizer: str, count: int, threads: int) -> None:
        work = NETWORKS[name]
        self.ensemble = fnn.Ensemble(list(work.sizes), count, activation=work.activation)
        self.data = data(work)
        self.options = {"optimizer": OPTIMIZERS[optimizer], "batch_size": work.batch, "threads": threads}
        self.ensemble.fit(*self.data, **self.options)

    def time_fit(self, *_: object) -> None:
        self.ensemble.fit(*self.data, epochs=4, **self.options)


class EarlyExit:
    """64 networks of which 60 stall after 3 epochs of 40: what is left should cost what 4 networks do."""

    def setup(self) -> None:
        work = NETWORKS["2-16-16-2"]
        self.ensemble = fnn.Ensemble(list(work.sizes), 64, activation=work.activation)
        self.start = self.ensemble.parameters.copy()
        self.data = data(work)
        self.optimizers = [fnn.SGD(0.01 if k < 4 else 0.0) for k in range(64)]
        self.ensemble.fit(*self.data, optimizer=self.optimizers)

    def time_fit(self) -> None:
        self.ensemble.parameters = self.start
        self.ensemble.fit(*self.data, optimizer=self.optimizers, epochs=40, patience=2, min_delta=0.0)


class Make:
    """The networks themselves: their objects, and their first parameters."""

    params = [[64, 1000]]
    param_names = ["count"]

    def time_make(self, count: int) -> None:
        fnn.Ensemble([2, 16, 16, 2], count, activation="tanh")


class Predict:
    """All outputs of all networks for 1,000 rows."""

    params = [SMALL, [8, 64]]
    param_names = ["network", "count"]

    def setup(self, name: str, count: int) -> None:
        work = NETWORKS[name]
        self.ensemble = fnn.Ensemble(list(work.sizes), count, activation=work.activation)
        self.x = data(work)[0][:1000]
        self.ensemble(self.x)

    def time_outputs(self, *_: object) -> None:
        self.ensemble(self.x)

    def time_vote(self, *_: object) -> None:
        self.ensemble.vote(self.x)
