"""A lock on a run's folder that the system takes away when the process that holds it ends, however it ends."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

from fastnn.errors import DataError

LOCK = "lock"
PATIENCE = 0.3  # seconds: somebody may be looking whether it is held, which takes microseconds


class RunLock:
    """Holds the folder at `path` until `release`; raises DataError when it is held already."""

    def __init__(self, path: Path) -> None:
        try:
            self._file = os.open(path / LOCK, os.O_RDWR | os.O_CREAT, 0o666)
        except OSError as reason:
            raise DataError(f"{path}: cannot be opened for writing ({reason.strerror})") from reason
        end = time.monotonic() + PATIENCE
        while not _take(self._file, shared=False):
            if time.monotonic() > end:
                os.close(self._file)
                raise DataError(f"{path.name}: is open already, here or in another window; expected a run at rest")
            time.sleep(0.01)

    def release(self) -> None:
        """Let go; a second time does nothing."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1


def is_live(path: Path) -> bool:
    """Whether a process holds the folder."""
    try:
        file = os.open(path / LOCK, os.O_RDWR)
    except OSError:
        return False
    try:
        return not _take(file, shared=True)
    finally:
        os.close(file)


if sys.platform == "win32":
    import msvcrt

    def _take(file: int, *, shared: bool) -> bool:
        try:
            msvcrt.locking(file, msvcrt.LK_NBLCK, 1)
        except OSError:
            return False
        return True

else:
    import fcntl

    def _take(file: int, *, shared: bool) -> bool:
        try:
            fcntl.flock(file, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
        except OSError:
            return False
        return True
