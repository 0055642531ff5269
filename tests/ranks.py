"""A communicator of threads, for tests of ranks that train one network together."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import numpy as np


class Rank:
    """A rank of a communicator of threads, with mpi4py's methods; waits five minutes at most for the others.

    `turn` is held but for these waits: a lock lets one rank go on at a time.
    """

    def __init__(self, number: int, values: list[Any], barrier: threading.Barrier, turn: Any = None) -> None:
        self.number, self.values, self.barrier, self.turn = number, values, barrier, turn

    def Get_rank(self) -> int:
        return self.number

    def Get_size(self) -> int:
        return len(self.values)

    def Allgather(self, values: np.ndarray, found: np.ndarray) -> None:
        self.values[self.number] = values
        self._meet()
        for place, value in zip(found.reshape(len(self.values), *values.shape), self.values, strict=True):
            assert value.dtype == found.dtype and value.shape == place.shape
            place[...] = value
        self._meet()

    def Alltoall(self, values: np.ndarray, found: np.ndarray) -> None:
        self.values[self.number] = values.reshape(found.shape)
        self._meet()
        for place, value in zip(found, self.values, strict=True):
            assert value.dtype == found.dtype
            place[...] = value[self.number]
        self._meet()

    def _meet(self) -> None:
        if self.turn is not None:
            self.turn.release()
        try:
            self.barrier.wait(300)
        finally:
            if self.turn is not None:
                self.turn.acquire()


def on_ranks(size: int, work: Callable[[Rank], Any], *, in_turn: bool = False) -> list[Any]:
    """work(comm) on every rank, each in a thread: what they return, or the exceptions that they raise.

    One rank does it alone before: blocks that nobody has called yet must not be claimed by two threads at once. With
    `in_turn` a rank goes on until it waits for the others.
    """
    if size > 1 and not in_turn:
        on_ranks(1, work)
    values, barrier, turn = [None] * size, threading.Barrier(size), threading.Lock() if in_turn else None
    alone: AbstractContextManager[Any] = turn or nullcontext()

    def one(number: int) -> Any:
        try:
            with alone:
                return work(Rank(number, values, barrier, turn))
        except Exception as error:  # noqa: BLE001  is looked at by the tests
            return error

    with ThreadPoolExecutor(size) as pool:
        return list(pool.map(one, range(size)))
