"""Moments of a run that it can go back to, in bounded memory."""

from __future__ import annotations

import time
from bisect import bisect_left, bisect_right
from collections.abc import Callable
from typing import Any

MOST_STATES = 240
# Half an hour of training is to take less than 20 MB. Where a state is large a dozen are kept all the same, as long as
# they do not take the second limit.
ROOM = 5 << 20
FEWEST_STATES = 12
MOST_BYTES = 128 << 20
SECONDS = 0.25  # between two moments that are kept while training runs


class Timeline:
    """Kept states by rising step, thinned as they grow many: recent ones lie close together, old ones far apart."""

    def __init__(self, most_states: int = MOST_STATES, room: int = ROOM, most_bytes: int = MOST_BYTES) -> None:
        self._most_states, self._room, self._most_bytes = most_states, room, most_bytes
        self.clear()

    def clear(self) -> None:
        """Forget everything: a new run begins."""
        self._steps: list[int] = []
        self._states: list[Any] = []
        self._bytes = 0
        self._next = 0.0

    @property
    def steps(self) -> tuple[int, ...]:
        """The steps that can be gone back to."""
        return tuple(self._steps)

    @property
    def nbytes(self) -> int:
        """Memory that the states take."""
        return self._bytes

    def due(self) -> bool:
        """Whether it is time to keep another moment while training runs."""
        return time.monotonic() >= self._next

    def add(self, state: Any) -> None:
        """Keep a state; one of the same step is replaced, later ones are forgotten."""
        self.cut(state.step - 1)
        self._steps.append(state.step)
        self._states.append(state)
        self._bytes += state.nbytes
        self._next = time.monotonic() + SECONDS
        while len(self._steps) > 2 and self._is_full():
            self._thin()

    def _is_full(self) -> bool:
        count, size = len(self._steps), self._bytes
        return count > self._most_states or size > self._most_bytes or (count > FEWEST_STATES and size > self._room)

    def _thin(self) -> None:
        """Drop the state that is missed least: its neighbors are close, for how long ago it is."""
        steps, now = self._steps, self._steps[-1]
        gaps = [(steps[k + 1] - steps[k - 1]) / (now - steps[k] + 1) for k in range(1, len(steps) - 1)]
        at = 1 + gaps.index(min(gaps))
        self._bytes -= self._states[at].nbytes
        del self._steps[at], self._states[at]

    def cut(self, step: int) -> None:
        """Forget what came after a step."""
        at = bisect_right(self._steps, step)
        self._bytes -= sum(state.nbytes for state in self._states[at:])
        del self._steps[at:], self._states[at:]

    def before(self, step: int) -> Any:
        """The latest state before a step, or None."""
        at = bisect_left(self._steps, step)
        return self._states[at - 1] if at else None

    def after(self, step: int) -> Any:
        """The earliest state after a step, or None."""
        at = bisect_right(self._steps, step)
        return self._states[at] if at < len(self._states) else None

    def latest(self, good: Callable[[Any], bool]) -> Any:
        """The latest state of which `good` is true, or None."""
        return next((state for state in reversed(self._states) if good(state)), None)

    def at(self, step: float) -> Any:
        """The latest state at a step or before, else the first; None when nothing is kept."""
        if not self._steps:
            return None
        return self._states[max(0, bisect_right(self._steps, step) - 1)]
