"""When to draw which plot, so that drawing never gets in the way of keys or of training."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Any

# Drawing all plots on one tick made keys wait 88 to 232 ms (95th percentile), one plot a tick 18 to 35 ms.
PLOT_SECONDS = 0.2
# Rest this many times as long as the last drawing took: a fifth of a core at most, on slow machines too.
REST = 4.0
LONGEST_REST = 0.5


class Turns:
    """Gives each plot its turn: at most one at a time, each at most five times a second, and only when it is behind.

    What a plot shows is told by an object (compared by identity: snapshots hold arrays) and a text.
    """

    def __init__(self) -> None:
        self._shown: dict[Hashable, tuple[Any, str, float]] = {}
        self._next = 0
        self._rest_until = 0.0

    def current(self, plot: Hashable, content: Any, text: str) -> bool:
        """Whether the plot shows this already."""
        shown = self._shown.get(plot)
        return shown is not None and shown[0] is content and shown[1] == text

    def pick(self, plots: Sequence[Hashable], content: Any, text: str, now: float) -> int | None:
        """The number of the plot to draw now, or None."""
        if now < self._rest_until:
            return None
        for offset in range(len(plots)):
            number = (self._next + offset) % len(plots)
            shown = self._shown.get(plots[number])
            if shown is None or (now - shown[2] >= PLOT_SECONDS and not self.current(plots[number], content, text)):
                self._next = number + 1
                return number
        return None

    def drew(self, plots: Sequence[Hashable], number: int, content: Any, text: str, began: float, ended: float) -> None:
        """Take note of a drawing, and forget plots that are gone."""
        self._shown = {plot: self._shown[plot] for plot in plots if plot in self._shown}
        self._shown[plots[number]] = (content, text, began)
        self._rest_until = ended + min(REST * (ended - began), LONGEST_REST)
