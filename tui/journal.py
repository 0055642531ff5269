"""Events of a session and what was written to stdout and stderr, in bounded memory, with times and levels."""

from __future__ import annotations

import threading
import time
from collections import deque
from dataclasses import dataclass

MOST_ENTRIES = 5000
MOST_CHARACTERS = 2000  # of one line
LEVELS = ("debug", "info", "warning", "error")


@dataclass(frozen=True)
class Entry:
    """A line of the log. `when` is a POSIX time, `level` one of LEVELS, `source` "fastnn", "stdout" or "stderr"."""

    when: float
    level: str
    source: str
    text: str


class Journal:
    """Lines from any thread; the oldest go when there are too many. `version` counts what ever came."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._entries: deque[Entry] = deque(maxlen=MOST_ENTRIES)
        self._open: dict[str, str] = {}  # what a stream has written since its last newline
        self.version = 0

    def add(self, text: str, level: str = "info", source: str = "fastnn") -> None:
        """Add a line."""
        with self._lock:
            self._put(text, level, source)

    def write(self, source: str, text: str) -> None:
        """What a stream writes: a line is added when it is complete."""
        with self._lock:
            *lines, rest = (self._open.get(source, "") + text.replace("\r\n", "\n").replace("\r", "\n")).split("\n")
            if len(rest) > MOST_CHARACTERS:
                lines, rest = [*lines, rest], ""
            self._open[source] = rest
            for line in lines:
                if line.strip():
                    self._put(line, "warning" if source == "stderr" else "info", source)

    def _put(self, text: str, level: str, source: str) -> None:
        self._entries.append(Entry(time.time(), level, source, text.rstrip()[:MOST_CHARACTERS]))
        self.version += 1

    def entries(self) -> list[Entry]:
        """All lines that are kept, the oldest first."""
        with self._lock:
            return list(self._entries)
