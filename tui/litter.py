"""When Python looks for objects that nothing but each other refers to: between frames or in place of one, not within.

Textual's lines hold themselves in a cache of theirs (`Strip.divide`), some hundred a frame. Python went through all
objects in the middle of every tenth frame of a screen full of plots, and keys waited 40 to 60 ms more for it.
"""

from __future__ import annotations

import gc

FEW = 5_000  # new objects that are not worth a look, of 4 ms; 50,000 take ten times that, and 7 MB more
MANY = 200_000  # from which Python looks by itself


class Litter:
    """Python's own looks put off, from `begin` to `end`."""

    _kept = False

    def begin(self) -> None:
        """Put them off."""
        self._before = gc.get_threshold()
        gc.set_threshold(MANY, *self._before[1:])

    def keep(self) -> None:
        """What there is now stays, the first time that this is called: looks went through all that numba and fastnn had
        brought, and keys waited 170 ms for it, twice in 8 s."""
        if not self._kept:
            gc.freeze()
            self._kept = True

    def collect(self) -> bool:
        """Look now, where there may be something to find among what came after `keep`; whether it has looked."""
        if not self._kept or gc.get_count()[0] < FEW:
            return False
        gc.collect()
        return True

    def end(self) -> None:
        """As before."""
        gc.set_threshold(*self._before)
