"""The GPU's memory: how much there is, what goes there, and what its errors mean to a caller."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import numpy as np

from fastnn.cuda.target import SIMULATED, cuda
from fastnn.errors import DeviceError

MIB = 2**20
OUT_OF_MEMORY = 2  # CUDA_ERROR_OUT_OF_MEMORY of the driver
T = TypeVar("T")


class Take:
    """Takes arrays on the device, the only one that does; or, not `really`, adds up their `bytes` and gives stand-ins
    of the host's of the same shape and type."""

    def __init__(self, really: bool) -> None:
        self.bytes, self._really = 0, really

    def empty(self, shape: int | tuple[int, ...], F: type) -> Any:
        """An array of numbers of no meaning."""
        stand_in: np.ndarray = np.broadcast_to(np.zeros((), F), shape)
        self.bytes += stand_in.nbytes
        return cuda.device_array(shape, F) if self._really else stand_in

    def copy(self, array: np.ndarray) -> Any:
        """A copy of `array`."""
        self.bytes += array.nbytes
        return cuda.to_device(np.ascontiguousarray(array)) if self._really else array


def allocated(what: str, make: Callable[[Take], T]) -> T:
    """What `make` makes of arrays on the device. It is called twice: for the bytes that `what` needs, and in earnest.

    Raises DeviceError where there are fewer.
    """
    counting = Take(really=False)
    with guarded("its memory was filled"):
        make(counting)
        if counting.bytes >= MIB:
            check_room(what, counting.bytes)
        try:
            return make(Take(really=True))
        except Exception as reason:
            if getattr(reason, "code", None) != OUT_OF_MEMORY:
                raise
            raise too_little(what, counting.bytes) from reason


def room() -> int:
    """Bytes that are free on the device."""
    return 2**62 if SIMULATED else int(cuda.current_context().get_memory_info().free)


def free_waiting() -> None:
    """Free the arrays that nobody has any more: Numba lets up to ten of them wait, or a fifth of the memory."""
    if not SIMULATED:
        cuda.current_context().memory_manager.deallocations.clear()


def check_room(what: str, needed: int) -> None:
    """Raises DeviceError if the device has less than `needed` bytes free for `what`."""
    if needed > room():
        free_waiting()
    if needed > room():
        raise too_little(what, needed)


def too_little(what: str, needed: int) -> DeviceError:
    """The error that the device has less than `needed` bytes free for `what`."""
    return DeviceError(
        f"device: {what} needs {-(-needed // MIB):,} MiB of the GPU's memory, and {room() // MIB:,} MiB are free; "
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
