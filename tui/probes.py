"""Questions that screens ask about a network in training, answered again and again on the training thread."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from tui.view import Found, Run, explain

ProbeFunction = Callable[[Run], Any]
SECONDS = 0.25


@dataclass
class _Probe:
    """A question, and when it was answered last."""

    function: ProbeFunction
    share: float
    seconds: float
    next: float = 0.0
    seen: tuple[Any, ...] = ()


class Probes:
    """Calls each probe when the network has changed, within its share of the time."""

    def __init__(self) -> None:
        self._probes: dict[str, _Probe] = {}

    def set(self, name: str, function: ProbeFunction | None, share: float, seconds: float) -> None:
        """Ask this from now on, or (None) no more."""
        self._probes.pop(name, None)
        if function is not None:
            self._probes[name] = _Probe(function, share, seconds)

    def answers(self, run: Run, step: int, state: tuple[Any, ...], *, moving: bool) -> Iterator[tuple[str, Found]]:
        """Answers of the probes that are due: `state` has changed, and while training is `moving` they have rested."""
        now = (run, step, *state)
        for name, probe in self._probes.items():
            began = time.monotonic()
            if probe.seen == now or (moving and probe.seen and probe.seen[0] is run and began < probe.next):
                continue
            try:
                found = Found(step, probe.function(run))
            except Exception as error:  # noqa: BLE001 - a question that fails does not end the run
                found = Found(step, error=explain(error))
            ended = time.monotonic()
            probe.seen, probe.next = now, began + max(probe.seconds, (ended - began) / probe.share)
            yield name, found
