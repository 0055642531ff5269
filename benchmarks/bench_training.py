"""Training as people use it. `setup` compiles, so that only warm calls are measured."""

from __future__ import annotations

import fastnn as fnn
from benchmarks.table import NETWORKS, OPTIMIZERS, data
from fastnn.cpu.engine import Runner


class Steps:
    """An epoch of the engine alone; divide by `rows` / `batch` of the table for a step."""

    params = [list(NETWORKS), list(OPTIMIZERS), [1, 2]]
    param_names = ["network", "optimizer", "threads"]
    timeout = 300

    def setup(self, name: str, optimizer: str, threads: int) -> None:
        work = NETWORKS[name]
        net = fnn.Network(list(work.sizes), activation=work.activation, seed=0)
        self.kept = net
        self.runner = Runner(
            net.architecture, net.storage, data(work), loss=work.loss, optimizer=OPTIMIZERS[optimizer],
            batch=work.batch, threads=threads,
        )  # fmt: skip
        self.steps, self.rate = work.steps, OPTIMIZERS[optimizer].lr
        self.runner.run(1, self.rate)

    def teardown(self, *_: object) -> None:
        if hasattr(self, "runner"):
            self.runner.close()

    def time_steps(self, name: str, optimizer: str, threads: int) -> None:
        self.runner.run(self.steps, self.rate)


class Epochs:
    """`Network.fit` for an epoch, with all that it checks and records."""

    params = [list(NETWORKS)]
    param_names = ["network"]
    timeout = 300

    def setup(self, name: str) -> None:
        work = NETWORKS[name]
        self.x, self.y = data(work)
        self.net = fnn.Network(list(work.sizes), activation=work.activation, seed=0)
        self.options = {"loss": work.loss, "batch_size": work.batch, "optimizer": OPTIMIZERS["sgd"]}
        self.net.fit(self.x, self.y, **self.options)

    def time_fit(self, name: str) -> None:
        self.net.fit(self.x, self.y, **self.options)
