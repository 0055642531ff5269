"""Training and prediction as people use them. `setup` compiles, so that only warm calls are measured."""

from __future__ import annotations

import numpy as np

import fastnn as fnn
from benchmarks.table import NETWORKS, ROWS, data
from fastnn.cpu.engine import Runner

OPTIMIZERS = {"sgd": fnn.SGD(0.01), "momentum": fnn.SGD(0.01, momentum=0.9), "adam": fnn.Adam(1e-3)}


class Steps:
    """An epoch of 4,096 rows in full batches; divide by 4,096 / batch for a step."""

    params = [list(NETWORKS), list(OPTIMIZERS), [1, 2]]
    param_names = ["network", "optimizer", "threads"]
    timeout = 300

    def setup(self, name: str, optimizer: str, threads: int) -> None:
        work = NETWORKS[name]
        if name == "784-2048-2048-10" and optimizer == "momentum":
            raise NotImplementedError("half a minute for what Adam shows too")
        net = fnn.Network(list(work.sizes), activation=work.activation, seed=0)
        self.kept = net
        self.runner = Runner(
            net.architecture, net.storage, data(work), loss="cross_entropy", optimizer=OPTIMIZERS[optimizer],
            batch=work.batch, threads=threads,
        )  # fmt: skip
        self.steps = ROWS // work.batch
        self.runner.run(1, OPTIMIZERS[optimizer].lr)

    def teardown(self, *_: object) -> None:
        if hasattr(self, "runner"):
            self.runner.close()

    def time_steps(self, name: str, optimizer: str, threads: int) -> None:
        self.runner.run(self.steps, OPTIMIZERS[optimizer].lr)


class Epochs:
    """`Network.fit` for an epoch, with all that it checks and records."""

    params = [["64-32-10", "784-128-10"]]
    param_names = ["network"]

    def setup(self, name: str) -> None:
        work = NETWORKS[name]
        self.x, self.y = data(work)
        self.batch = work.batch
        self.net = fnn.Network(list(work.sizes), activation=work.activation, seed=0)
        self.net.fit(self.x, self.y, batch_size=self.batch, optimizer=fnn.SGD(0.01))

    def time_fit(self, name: str) -> None:
        self.net.fit(self.x, self.y, batch_size=self.batch, optimizer=fnn.SGD(0.01))


class Prediction:
    """`net(x, out=out)` from Python."""

    params = [list(NETWORKS)[:4], [1, 1000]]
    param_names = ["network", "rows"]

    def setup(self, name: str, rows: int) -> None:
        work = NETWORKS[name]
        self.net = fnn.Network(list(work.sizes), activation=work.activation, seed=0)
        self.x = data(work)[0][:rows]
        self.out = np.empty((rows, work.sizes[-1]), np.float32)
        self.net(self.x, out=self.out)

    def time_predict(self, name: str, rows: int) -> None:
        self.net(self.x, out=self.out)
