"""Objects that nothing but each other refers to: as few as can be, and looked for between frames or in place of one.

Python went through all objects in the middle of every tenth frame of a screen full of plots, and keys waited 40 to
60 ms more for it.
"""

from __future__ import annotations

import gc
from collections.abc import Iterable, Sequence

from textual.strip import Strip

FEW = 20_000  # new objects that are not worth a look, of 5 to 30 ms: a frame makes 6,000, and what it replaces goes
MANY = 200_000  # from which Python looks by itself

_divide = Strip.divide


def divided(strip: Strip, cuts: Iterable[int]) -> Sequence[Strip]:
    """`Strip.divide`, but a line that is not cut is not kept in its own cache: all lines of a frame were litter so, and
    looking for it took a fifth of a core with twelve plots."""
    cuts = list(cuts)
    return [strip] if cuts == [strip.cell_length] else _divide(strip, cuts)


class Litter:
    """Python's own looks put off, and lines that need none, from `begin` to `end`."""

    _kept = False

    def begin(self) -> None:
        """Put them off."""
        self._before = gc.get_threshold()
        gc.set_threshold(MANY, *self._before[1:])
        Strip.divide = divided  # type: ignore[method-assign,assignment]

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
        Strip.divide = _divide  # type: ignore[method-assign]
