"""The GPU's memory: how much there is, what goes there, and what its errors mean to a caller."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import numpy as np

from fastnn.cuda.target import SIMULATED, cuda
from fastnn.errors import DeviceError

MIB = 2**20


def upload(array: np.ndarray) -> Any:
    """A copy of `array` on the device."""
    return cuda.to_device(np.ascontiguousarray(array))


def room() -> int:
    """Bytes that are free on the device."""
    return 2**62 if SIMULATED else int(cuda.current_context().get_memory_info().free)


def check_room(what: str, needed: int) -> None:
    """Raises DeviceError if the device has less than `needed` bytes free for `what`."""
    free = room()
    if needed > free:
        raise DeviceError(
            f"device: {what} needs {-(-needed // MIB):,} MiB of the GPU's memory, and {free // MIB:,} MiB are free; "
            "expected a smaller batch, fewer rows or narrower layers"
        )


@contextlib.contextmanager
def guarded(what: str) -> Iterator[None]:
    """Within: an error of the driver or of Numba's CUDA target is a DeviceError that names `what` was going on."""
    try:
        yield
    except Exception as reason:
        if type(reason).__module__.partition(".")[0] != "cuda" and not _of_numba(reason):
            raise
        line = " ".join(str(reason).split())
        raise DeviceError(
            f"device: the GPU failed while {what} ({type(reason).__name__}: {line}); "
            "the parameters are those of the last snapshot"
        ) from reason


def _of_numba(reason: Exception) -> bool:
    return type(reason).__module__.startswith(("numba.cuda.cudadrv", "numba.cuda.simulator.cudadrv"))
