"""Going through the kept moments of a run: nothing is forgotten until training goes on from an earlier one."""

from __future__ import annotations

from typing import Any

from tui.record import Record
from tui.timeline import Timeline
from tui.view import Trainer

EXPLODED = 4.0  # times the lowest loss of a run: from there on it was diverging


class Travel:
    """The timeline of a run, and whether the trainer is back at a moment before its latest; the training thread's."""

    def __init__(self, record: Record) -> None:
        self.timeline = Timeline()
        self.back = False
        self._record = record

    def clear(self) -> None:
        """Forget everything: a new run begins."""
        self.timeline.clear()
        self.back = False

    @property
    def moments(self) -> tuple[int, ...]:
        """While the run is back: the steps of all moments that it can be taken to."""
        return self.timeline.steps if self.back else ()

    def keep(self, trainer: Trainer) -> None:
        """Keep this moment, unless it is one of those kept."""
        if not self.back:
            self.timeline.add(trainer.keep())

    def find(self, where: str | float, now: int) -> Any:
        """A kept state: "before" or "after" this step, the latest "good" one, or the latest at a step; or None."""
        if where == "before":
            return self.timeline.before(now)
        if where == "after":
            return self.timeline.after(now)
        if where == "good":
            return self.timeline.latest(self._is_good)
        return self.timeline.at(float(where))

    def _is_good(self, state: Any) -> bool:
        """Whether the loss had not begun to explode: the finite numbers just before the end are no start for anything
        (a loss of 8e15 was seen)."""
        _, losses = self._record.curve("loss")
        return bool(state.step == 0 or state.loss <= (EXPLODED * float(losses.min()) if losses.size else 0.0))

    def go(self, trainer: Trainer, state: Any, now: int) -> None:
        """Take the trainer to a moment, from the step where it is."""
        trainer.restore(state)
        self.back = state.step < max(now, self.timeline.steps[-1])

    def settle(self, step: int) -> bool:
        """Training goes on from here: what came after is forgotten. False when nothing came after."""
        was, self.back = self.back, False
        if was:
            self.timeline.cut(step)
            self._record.cut(step)
        return was

    def newest(self, trainer: Trainer) -> Any:
        """The run ends: take it back to its latest moment; the snapshot there, or None when it is there."""
        if not self.back:
            return None
        self.back = False
        return trainer.restore(self.timeline.at(float("inf")))
