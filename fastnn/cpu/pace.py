"""How many threads to train with, by what they have taken lately on this machine, beside whatever else it runs.

Results are the same bits for any number of threads, so the number may change between two chunks. A model made once
would not do: two threads that halve the time of a quiet machine's step multiply it on a busy one, where a barrier waits
for a thread that is not running (784-128-10, batch 64, four other programs on two cores: 0.7 ms with 1, 2.4 with 2).
"""

from __future__ import annotations

from collections import deque
from statistics import median

SHARE = 8  # a trial takes one in SHARE of a chunk's steps
NOTES = 3  # that count: one slow chunk, the first after a rest, must not change the choice
SOONEST, LATEST = 8, 256  # chunks between two trials; the wait doubles whenever the trial loses


class Pace:
    """Chooses among `candidates`, numbers of workers; the first is the guess to begin with."""

    def __init__(self, candidates: tuple[int, ...]) -> None:
        self.candidates = candidates
        self.best = candidates[0]
        self._seconds: dict[int, deque[float]] = {n: deque(maxlen=NOTES) for n in candidates}  # of a step, lately
        self._wait = SOONEST
        self._until_trial = 1

    def plan(self, steps: int) -> list[tuple[int, int]]:
        """How to run a chunk: (workers, steps) in turn."""
        if len(self.candidates) == 1 or steps < 2:
            return [(self.best, steps)]
        self._until_trial -= 1
        if self._until_trial > 0:
            return [(self.best, steps)]
        self._until_trial = self._wait
        trial = max(1, steps // SHARE)
        others = [workers for workers in self.candidates if workers != self.best][: steps - 1]
        return [*((workers, trial) for workers in others), (self.best, steps - trial * len(others))]

    def note(self, workers: int, steps: int, seconds: float) -> None:
        """Learn what `steps` steps took; what counts is the median of the latest notes."""
        self._seconds[workers].append(seconds / steps)
        if workers != self.best or not all(self._seconds.values()):
            return
        best = min(self.candidates, key=lambda candidate: median(self._seconds[candidate]))
        if best != self.best:
            self.best, self._wait, self._until_trial = best, SOONEST, SOONEST
        elif self._until_trial == self._wait:  # a trial has just been lost
            self._wait = min(2 * self._wait, LATEST)
