"""Threads that work on one kernel together.

A kernel takes its worker's number last and meets the others at barriers of its own (`primitives.wait_for_all`). The
threads are ours and not Numba's `prange`: one compiled kernel then serves any number of workers (parallel=True took
longer to compile and made a second copy), a barrier costs 0.2 us where a parallel region costs 1.5, and two trainers in
one process do not meet in a thread pool that aborts (Numba's workqueue).
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import numpy as np

from fastnn.cpu.primitives import abort


class Team:
    """Up to `workers` threads, of which the caller is number 0. The others start when needed and end with `close`."""

    def __init__(self, workers: int) -> None:
        self.workers = workers
        self._pool: ThreadPoolExecutor | None = None

    def run(self, kernel: Callable[..., Any], *args: Any, barrier: np.ndarray, workers: int | None = None) -> None:
        """Call kernel(*args, worker) once for each of `workers` (all) workers and return when all have returned.

        An exception in one of them (Ctrl-C before worker 0 has started) sends the others home from their barrier and
        is raised here.
        """
        workers = workers or self.workers
        if workers == 1:
            kernel(*args, 0)
            return
        if self._pool is None:
            self._pool = ThreadPoolExecutor(self.workers - 1, thread_name_prefix="fastnn")

        def work(worker: int) -> None:
            try:
                kernel(*args, worker)
            except BaseException:
                abort(barrier)
                raise

        others: list[Future[None]] = []
        try:
            for worker in range(1, workers):
                others.append(self._pool.submit(work, worker))  # noqa: PERF401  kept if interrupted
            work(0)
        except BaseException:
            abort(barrier)
            # Waits for the workers, those too that were queued by a submit that then failed, and drops who never began.
            self._pool.shutdown(wait=True, cancel_futures=True)
            self._pool = None
            barrier[:] = 0
            raise
        errors = [other.exception() for other in others]  # waits for every one
        barrier[:] = 0  # nobody is there now: the next run begins afresh
        for error in errors:
            if error is not None:
                raise error

    def close(self) -> None:
        if self._pool is not None:
            self._pool.shutdown()
            self._pool = None
