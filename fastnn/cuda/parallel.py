"""The GPU's Runner for a rank of several that train one network together, see `fastnn.ranks`: one rank a GPU.

Gradients are exchanged through the host's memory, in arrays that are locked there, so that the GPU reads and writes
them by itself; MPI then needs to know nothing of CUDA. On each GPU the batches are this rank's rows of all batches.
"""

from __future__ import annotations

import hashlib
import socket
import threading
from typing import Any

import numpy as np

from fastnn.cuda import engine
from fastnn.cuda.memory import guarded
from fastnn.cuda.target import SIMULATED, cuda
from fastnn.ranks import Shared, gathered
from fastnn.runner import Kept, Result


def gpus() -> list[str]:
    """Names of the GPUs that this process sees, which no other GPU has."""
    return ["simulated"] if SIMULATED else [gpu.uuid for gpu in cuda.gpus]


def gpu_of(comm: Any) -> int:
    """The number of this rank's GPU: ranks of a machine that see the same ones take one each, in the order of ranks.

    Raises ValueError, on every rank, where such ranks are more than their GPUs.
    """
    seen = gpus()
    key = hashlib.blake2b("\n".join([socket.gethostname(), *seen]).encode(), digest_size=16).digest()
    keys = gathered(comm, np.frombuffer(key, np.uint8))
    groups = np.unique(keys, axis=0, return_inverse=True)[1].ravel()
    for group, count in zip(groups, gathered(comm, np.array([len(seen)])).ravel(), strict=True):
        ranks = int((groups == group).sum())
        if ranks > count:
            raise ValueError(f"comm: {ranks} ranks on a machine with {count} GPUs; expected a GPU for each of them")
    mine = comm.Get_rank()
    return int((groups[:mine] == groups[mine]).sum())


class Runner(Shared, engine.Runner):
    """The GPU's, for a rank of a communicator; makes its GPU the current one of the threads that build and run it."""

    waiting = False  # each step waits for the other ranks

    def __init__(self, comm: Any, *args: Any, **options: Any) -> None:
        self._gpu, self._thread = gpu_of(comm), 0
        self._take_gpu()
        super().__init__(comm, *args, **options)

    def _take_gpu(self) -> None:
        if self._thread != threading.get_ident():
            self._thread = threading.get_ident()
            if not SIMULATED:
                cuda.select_device(self._gpu)

    def _build(self, *args: Any) -> None:
        super()._build(*args)
        with guarded("memory was locked"):
            self._take_memory(lambda numbers: cuda.pinned_array(numbers, self.architecture.F))

    def taken(self, rows: int) -> int:
        begin, end = self.share(rows)
        return end - begin

    def turn(self, order: np.ndarray) -> np.ndarray:
        full = self.samples // self.batch * self.batch
        begin, end = self.share(self.batch)
        last = slice(*(full + row for row in self.share(self.samples - full)))
        return np.concatenate([order[:full].reshape(-1, self.batch)[:, begin:end].ravel(), order[last]])

    @property
    def _apart(self) -> bool:
        return self.optimizer is not None

    def keep(self, old: Kept | None = None) -> Kept:
        self._take_gpu()
        return super().keep(old)

    def _piece(self, steps: int, rate: float, validation: list[tuple[float, float]]) -> Result:
        self._coefficients[:steps].copy_to_device(self._table(steps, rate))
        rows, batches = self._rows(steps), self.batches
        own = np.array([self.taken(int(some)) for some in rows])

        def find(s: int) -> None:
            self._aim(s)
            if not own[s]:
                self.own[:] = 0
                return
            self._launch(0, gradient=True)
            self._gradient.copy_to_host(self.own)
            with np.errstate(over="ignore", invalid="ignore"):  # of a run that diverges
                self.own *= self.architecture.F(own[s] / rows[s])

        def update(s: int) -> None:
            self._gradient.copy_to_device(self.whole)
            self._update(0)

        scores = self._together(steps, find, update, lambda: self._scored.score() if self._scored else (0.0, 0.0))
        validation.extend(map(tuple, scores))
        losses, hits = batches.results(own)
        return Result(losses / rows, hits, rows, np.zeros((0, 2)), False)
