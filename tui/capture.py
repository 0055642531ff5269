"""Nothing prints over the screen: what Python and compiled code write to stdout and stderr goes to the log. And nobody
waits for a terminal that is gone."""

from __future__ import annotations

import contextlib
import io
import os
import sys
import threading
from collections.abc import Iterator

from textual.drivers._writer_thread import WriterThread

from tui.journal import Journal

_write = WriterThread.run


def _write_and_let_go(thread: WriterThread) -> None:
    """Textual's thread that writes ends at a terminal that is gone, and the app then waits for room in its queue, for
    ever: 30 frames later, where SIGHUP was not dealt with before."""
    try:
        _write(thread)
    except OSError:
        while thread._queue.get() is not None:
            pass


class Stream(io.TextIOBase):
    """A text stream whose lines go to a journal."""

    def __init__(self, journal: Journal, name: str) -> None:
        self._journal, self._name = journal, name

    @property
    def encoding(self) -> str:  # type: ignore[override]
        """What print() and the like expect to find."""
        return "utf-8"

    def writable(self) -> bool:
        """Yes."""
        return True

    def write(self, text: str) -> int:
        """Take the text."""
        self._journal.write(self._name, text)
        return len(text)


@contextlib.contextmanager
def captured(journal: Journal) -> Iterator[None]:
    """Within: file descriptors 1 and 2 lead to the journal, and Python's own streams to the terminal as before.

    Textual draws on `sys.__stderr__` and asks `sys.__stdout__` for its size, so both are moved to copies of the
    terminal's descriptors; what a library in C writes to 1 or 2 comes through a pipe. Not on Windows.
    """
    WriterThread.run = _write_and_let_go  # type: ignore[method-assign, assignment]
    if os.name != "posix":
        yield
        return
    names = ("__stdout__", "__stderr__", "stdout", "stderr")
    before = {name: getattr(sys, name) for name in names}
    copies, threads, files = {}, [], {}
    for name, number in (("stdout", 1), ("stderr", 2)):
        before[name].flush()
        copies[number] = os.dup(number)
        files[name] = os.fdopen(os.dup(number), "w", encoding=before[name].encoding, errors="replace")
        setattr(sys, name, files[name])
        setattr(sys, f"__{name}__", files[name])
        reader, writer = os.pipe()
        os.dup2(writer, number)
        os.close(writer)
        threads.append(threading.Thread(target=_drain, args=(reader, journal, name), daemon=True))
        threads[-1].start()
    try:
        yield
    finally:
        for file in files.values():
            with contextlib.suppress(OSError):  # the terminal is gone
                file.flush()
        for number, copy in copies.items():
            os.dup2(copy, number)  # the last writer of the pipe is gone: the thread ends
            os.close(copy)
        for name, stream in before.items():
            setattr(sys, name, stream)
        for thread in threads:
            thread.join(1)
        for file in files.values():
            with contextlib.suppress(OSError):
                file.close()


def _drain(reader: int, journal: Journal, name: str) -> None:
    with os.fdopen(reader, "r", encoding="utf-8", errors="replace", newline="") as pipe:
        for line in pipe:
            journal.write(name, line)
