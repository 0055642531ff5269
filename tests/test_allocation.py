"""A step of a training allocates nothing."""

from __future__ import annotations

import ctypes
import gc
import sys
import tracemalloc
from typing import Any

import numpy as np
import pytest
from numba.core.runtime import _nrt_python, rtsys
from trainings import trainer

import fastnn as fnn
from fastnn.cpu import train


class Mallinfo(ctypes.Structure):
    """What glibc's mallinfo2 returns: ten numbers, of which these two are the bytes in use."""

    _fields_ = (
        *((f"before{i}", ctypes.c_size_t) for i in range(4)),
        ("hblkhd", ctypes.c_size_t),
        *((f"between{i}", ctypes.c_size_t) for i in range(2)),
        ("uordblks", ctypes.c_size_t),
        *((f"after{i}", ctypes.c_size_t) for i in range(2)),
    )


def c_bytes() -> int:
    """Bytes that malloc has given out and that were not returned; 0 where the C library does not say."""
    try:
        mallinfo = ctypes.CDLL(None).mallinfo2
    except (AttributeError, OSError, TypeError):
        return 0
    mallinfo.restype = Mallinfo
    found = mallinfo()
    return int(found.uordblks + found.hblkhd)


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(
    "layers",
    [
        [fnn.Input(6), fnn.Dense(33, "tanh"), fnn.Dropout(0.2), fnn.Dense(3)],
        [fnn.Input(3, steps=2), fnn.GRU(5, True), fnn.Dropout(0.2), fnn.LSTM(4, True), fnn.Recurrent(7), fnn.Dense(3)],
    ],
    ids=["dense", "recurrent"],
)
def test_a_warm_step_allocates_nothing(
    layers: list[Any], dtype: str, threads: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A compiled call of 1000 steps takes as much memory of Numba's runtime, of C and of Python as one of one step.

    That compiled code has no way to ask for memory, not even to give it back again, is shown in test_compiler.py.
    """
    run = trainer(fnn.Network(layers, dtype=dtype), optimizer=fnn.Adam(), threads=threads)
    runner, calls, team_run = run._runner, [], run._runner.team.run
    monkeypatch.setattr(runner.team, "run", lambda kernel, *args, barrier, workers: calls.append(args))
    for steps in (1, 1000):
        runner._chunk(steps, 0.001)
    one, thousand = calls

    def used(args: Any, trace: bool) -> tuple[int, ...]:
        """Numba's allocations, C's bytes, Python's blocks and with `trace` the bytes that Python had at most."""
        if trace:
            tracemalloc.start()
        numba, blocks, given = rtsys.get_allocation_stats(), sys.getallocatedblocks(), c_bytes()
        team_run(train.train, *args, barrier=runner.work.barrier)
        given, blocks = c_bytes() - given, sys.getallocatedblocks() - blocks
        calls, at_most = rtsys.get_allocation_stats().alloc - numba.alloc, 0
        if trace:
            at_most = tracemalloc.get_traced_memory()[1]
            tracemalloc.stop()
        return calls, given, blocks, at_most

    on = _nrt_python.memsys_stats_enabled()
    _nrt_python.memsys_enable_stats()
    gc.disable()
    try:
        for trace in (False, True):
            for args in (one, thousand):  # warm: threads started, free lists filled
                used(args, trace)
            # The least of a few: something else in the process may take memory meanwhile.
            few, many = (np.min([used(args, trace) for _ in range(3)], axis=0) for args in (one, thousand))
            assert many[0] == few[0] == 0, "allocations by Numba's runtime"
            # 1000 allocations kept would be 16,000 bytes or more.
            assert many[1] - few[1] < 8000 and many[2] - few[2] < 500 and many[3] - few[3] < 8000, (few, many)
    finally:
        gc.enable()
        if not on:
            _nrt_python.memsys_disable_stats()
        runner.close()
