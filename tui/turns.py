"""When to draw which plot, so that drawing never gets in the way of keys or of training."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Any

# Drawing all plots in one go made keys wait 88 to 232 ms (95th percentile); a frame draws what fits into the first of
# these where training takes the processors, and frames are few; else into the second: mostly one plot, so that two
# frames fit into a chunk, for what the same plots cost in one (30 a second, 1.2 % of a training that waits as for a
# GPU; with 8 ms 19, 1.1 to 1.4 %).
BUDGET, SMALL_BUDGET = 0.008, 0.002
# What a key has changed may take longer at a time; the frame is to be there in 150 ms, and painting it takes 30.
KEY_BUDGET = 0.1
PLOT_SECONDS = 0.2
# Textual composes and paints a frame after it was drawn: some 8 ms at 160x45 (of the whole screen). Rest this many
# times as long as drawing and painting took: where training takes the processors a fifteenth of a core, 4 frames a
# second, so that two training threads on two cores go on. Where it leaves some to others, as many as are wanted.
PAINT = 0.008
CROWDED, ROOMY = 14.0, 0.25
LONGEST_REST = 0.5
# Between two chunks training needs Python's lock: handed to and fro with a frame, what takes 1.2 ms took 8.6. A frame
# begins so long after a chunk that it is over before the chunk is; PATIENCE, where no chunk has room for it.
LEAD = 0.002
PATIENCE = 0.1
FADING = 0.9  # of what the costliest frame took, with each that took less
PAINTED = 0.1  # after a frame was drawn, it is on the screen


def same(one: tuple[Any, ...], other: tuple[Any, ...]) -> bool:
    """Whether two keys are of the same things: texts and numbers by value, all else (arrays) by identity."""
    return len(one) == len(other) and all(
        a is b or (isinstance(a, (str, int, float)) and isinstance(b, (str, int, float)) and a == b)
        for a, b in zip(one, other, strict=True)
    )


def _chosen(key: tuple[Any, ...]) -> tuple[Any, ...]:
    return tuple(item for item in key if isinstance(item, (str, int, float)))


class Turns:
    """Gives each plot its turn: a few in a frame, each at most five times a second, and only when it is behind."""

    def __init__(self) -> None:
        self._shown: dict[Hashable, tuple[tuple[Any, ...], float]] = {}
        self._next = 0
        self._drawn = self._rest_until = 0.0
        self._cost, self._waits = PAINT, 0.0  # of a frame; since when one that is due waits for its place in a chunk

    def current(self, plot: Hashable, key: tuple[Any, ...]) -> bool:
        """Whether the plot shows this already."""
        shown = self._shown.get(plot)
        return shown is not None and same(shown[0], key)

    def awaited(self, plot: Hashable, key: tuple[Any, ...]) -> bool:
        """Whether it shows nothing yet, or not what a person has chosen since: texts and numbers of the key."""
        shown = self._shown.get(plot)
        return shown is None or not same(_chosen(shown[0]), _chosen(key))

    def resting(self, now: float) -> bool:
        """Whether the last frame is not paid for yet."""
        return now < self._rest_until

    def until(self, now: float, away: tuple[float, float] | None) -> float:
        """Seconds until the last frame is paid for and one more fits into the time that training needs no lock, from
        one moment to another; 0: now. None: nothing trains."""
        if away is None:
            return 0.0
        return self._rest_until - now if self.resting(now) else self._until_it_fits(now, *away)

    def _until_it_fits(self, now: float, began: float, ends: float) -> float:
        first = began + LEAD
        last = max(first + LEAD, ends - LEAD - self._cost)  # in what is too short: at its beginning
        if first <= now <= last or ends < first + LEAD or (self._waits and now > self._waits + PATIENCE):
            self._waits = 0.0
            return 0.0
        self._waits = self._waits or now
        return first - now if now < first else abs(ends - now) + LEAD

    def idle(self, now: float) -> bool:
        """Whether the last frame is painted and the next one is not due: the time for what else there is to do."""
        return self._drawn + PAINTED <= now < self._rest_until

    def rest(self, began: float, ended: float, *, crowded: bool) -> None:
        """A frame has been drawn: leave the processor to training, which takes all there are where it is `crowded`."""
        self._drawn, self._waits = ended, 0.0
        self._cost = max(ended - began + PAINT, self._cost * FADING)
        self._rest_until = ended + min((CROWDED if crowded else ROOMY) * (ended - began + PAINT), LONGEST_REST)

    def pick(self, plots: Sequence[Hashable], keys: Sequence[tuple[Any, ...]], now: float) -> int | None:
        """The number of the plot to draw now, or None."""
        for offset in range(len(plots)):
            number = (self._next + offset) % len(plots)
            shown = self._shown.get(plots[number])
            if shown is None or (now - shown[1] >= PLOT_SECONDS and not same(shown[0], keys[number])):
                self._next = number + 1
                return number
        return None

    def drew(self, plots: Sequence[Hashable], number: int, key: tuple[Any, ...], now: float) -> None:
        """Take note of a drawing, and forget plots that are gone."""
        self._shown = {plot: self._shown[plot] for plot in plots if plot in self._shown}
        self._shown[plots[number]] = (key, now)

    def hurry(self, plot: Hashable) -> None:
        """Draw this plot at its next turn, whatever it shows: a person has pressed a key."""
        self._shown.pop(plot, None)
        self._rest_until = 0.0
