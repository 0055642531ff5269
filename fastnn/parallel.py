"""What ranks that train one network together make sure of before they begin: that they were told the same.

An error that only one of them sees would leave the others waiting for it, so whatever one finds, all of them raise.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from fastnn.errors import shown
from fastnn.mapped import blocks
from fastnn.network import Network
from fastnn.optimizers import Optimizer
from fastnn.ranks import gathered
from fastnn.task import Task

_NEEDED = ("Get_rank", "Get_size", "Allgather", "Alltoall")


@contextmanager
def together(comm: Any) -> Iterator[None]:
    """An exception that a rank of `comm` (None: there are no others) raises in here is a ValueError on the others.

    Raises TypeError for a `comm` that is no communicator.
    """
    if comm is None:
        yield
        return
    if not all(callable(getattr(comm, name, None)) for name in _NEEDED):
        raise TypeError(f"comm: {shown(comm)}; expected a communicator of mpi4py such as MPI.COMM_WORLD, or None")
    failed = np.ones(1, np.int64)
    try:
        yield
        failed[0] = 0
    finally:
        ranks = np.flatnonzero(gathered(comm, failed))
    if ranks.size:
        raise ValueError(f"comm: rank {ranks[0]} found an error in its arguments; expected the same on every rank")


def check_ranks(comm: Any, batch: int) -> None:
    """Raises ValueError for a number of rows in a batch that the ranks of `comm` cannot share."""
    if comm is not None and batch < comm.Get_size():
        raise ValueError(f"batch_size: {batch} for {comm.Get_size()} ranks; expected a row for each, or more")


def described(network: Network, task: Task, loss: str, optimizer: Optimizer) -> dict[str, Any]:
    """What ranks must have the same of, by the name of the argument."""
    return {
        "device": (network.device, network.precision),
        "network": network.config() | {"loss": loss},
        "network.parameters": (network.storage,),
        "x": task.data[:1],
        "y": task.data[1:],
        "validation": task.validation or (),
        "optimizer": optimizer,
        "batch_size": task.batch,
        "shuffle": task.shuffle,
    }


def check_same(comm: Any, parts: dict[str, Any]) -> None:
    """Raises ValueError on every rank of `comm`, naming the argument, unless `parts` are the same on all of them."""
    if comm is None:
        return
    found = gathered(comm, np.stack([np.frombuffer(_digest(part), np.uint8) for part in parts.values()]))
    for number, name in enumerate(parts):
        others = np.flatnonzero((found[:, number] != found[0, number]).any(axis=1))
        if others.size:
            raise ValueError(f"{name}: rank {others[0]} has another than rank 0; expected the same on every rank")


def _digest(part: Any) -> bytes:
    """Of arrays, which come in a tuple, or of what `repr` tells."""
    digest = hashlib.blake2b(digest_size=16)
    if not isinstance(part, tuple) or not all(isinstance(array, np.ndarray) for array in part):
        digest.update(repr(part).encode())
        return digest.digest()
    for array in part:
        digest.update(f"{array.dtype} {array.shape}".encode())
        for block in blocks(array):
            digest.update(block.data)
    return digest.digest()
