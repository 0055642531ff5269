"""Files that are replaced in one step: a crash while writing leaves the old content or the new one, and no half."""

from __future__ import annotations

import contextlib
import os
import secrets
import time
from pathlib import Path

# A temporary file this old belongs to a process that was killed, not to one that is still writing.
LEFTOVER_SECONDS = 3600


def replace_file(target: Path, data: bytes, *, sync: bool = True) -> None:
    """Write a temporary file beside `target` and rename it; what is left of a failure is removed. Raises OSError.

    `sync` waits until the content is on disk: without it, a power cut (not a crash of the process) may lose it.
    """
    _remove_leftovers(target)
    # Not tempfile: its files are private (0600), and a saved network should have the permissions of any new file.
    temporary = target.with_name(f".{target.name}.{secrets.token_hex(6)}.tmp")
    try:
        with open(temporary, "xb") as file:
            file.write(data)
            file.flush()
            if sync:
                os.fsync(file.fileno())
        os.replace(temporary, target)
    except BaseException:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise
    if sync and os.name == "posix":  # a folder cannot be opened on Windows
        folder = os.open(target.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def _remove_leftovers(target: Path) -> None:
    """Remove the temporary files that killed processes left when they wrote `target`."""
    prefix, now = f".{target.name}.", time.time()
    for entry in os.scandir(target.parent):
        middle = entry.name[len(prefix) : -len(".tmp")]
        if entry.name.startswith(prefix) and entry.name.endswith(".tmp") and len(middle) == 12 and middle.isalnum():
            with contextlib.suppress(OSError):
                if now - entry.stat(follow_symlinks=False).st_mtime > LEFTOVER_SECONDS:
                    os.unlink(entry)
