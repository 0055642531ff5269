"""How many threads to train with, by what they have taken lately on this machine, beside whatever else it runs.

Results are the same bits for any number of threads, so the number may change between two chunks. A model made once
would not do: two threads that halve the time of a quiet machine's step multiply it on a busy one, where a barrier waits
for a thread that is not running (784-128-10, batch 64, four other programs on two cores: 0.7 ms with 1, 2.4 with 2).

Another number is tried for a slice between two stretches of the present one, and has to beat the faster of the two: a
busy moment that slows one of them down decides nothing. It takes over after WINS trials in a row. What a trial loses is
a debt, paid off by SHARE of all time that passes, and while there is a debt nothing is tried.
"""

from __future__ import annotations

SHARE = 0.01  # of the time, that trials may lose
SLICE = 0.004  # seconds that a trial is planned to take, or one step
CALLS = 0.0001  # seconds that a trial costs beside its steps: a chunk in three calls
WINS = 2  # trials in a row that another number must win
MARGIN = 0.97  # of the present number's time, that it must stay below


class Pace:
    """Chooses among `candidates`, numbers of workers; the first is the guess to begin with."""

    def __init__(self, candidates: tuple[int, ...]) -> None:
        self.candidates = candidates
        self.best = candidates[0]
        self._before = 0.0  # seconds of a step with the best, at its latest note; 0 when there is none
        self._trial: tuple[int, float, float] | None = None  # what a trial gave, until the best's next note
        self._debt = 0.0  # seconds
        self._tried = 0  # numbers that have been tried and were no better
        self._wins = 0

    def plan(self, steps: int) -> list[tuple[int, int]]:
        """How to run a chunk: (workers, steps) in turn."""
        if len(self.candidates) == 1 or self._before == 0.0 or self._trial is not None or self._debt > 0.0:
            return [(self.best, steps)]
        others = [workers for workers in self.candidates if workers != self.best]
        some = min(steps, max(1, int(SLICE / self._before)))
        left = steps - some
        parts = (self.best, left // 2), (others[self._tried % len(others)], some), (self.best, left - left // 2)
        return [part for part in parts if part[1]]

    def note(self, workers: int, steps: float, seconds: float) -> None:
        """Learn what `steps` steps took; notes come in the order of time."""
        self._debt = max(0.0, self._debt - SHARE * seconds)
        if workers != self.best:
            self._trial = workers, steps, seconds
            return
        after = seconds / steps
        if self._trial is not None:
            self._judge(*self._trial, min(self._before, after))
            self._trial = None
        self._before = after if workers == self.best else 0.0

    def _judge(self, workers: int, steps: float, seconds: float, best: float) -> None:
        """Account for a trial beside which the best number took `best` seconds a step."""
        self._debt = max(0.0, self._debt + seconds - steps * best + CALLS)
        if seconds / steps >= MARGIN * best:
            self._wins, self._tried = 0, self._tried + 1
            return
        self._wins += 1
        if self._wins == WINS:
            self.best, self._wins = workers, 0
