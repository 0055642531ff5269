"""Many steps in one launch: CUDA graphs.

A launch takes the host about 10 us, as long as a small step takes the GPU. The launches of some steps are recorded once
and then launched together, over and over: what changes from step to step is in the device's memory.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from fastnn.cuda import phases
from fastnn.cuda.target import SIMULATED, cuda

LENGTHS = (64, 16, 4, 1)  # steps of a graph
log = logging.getLogger(__name__)


class Graphs:
    """Runs steps that `launch(s, stream)` launches; `state` is the device's array that counts them."""

    def __init__(self, launch: Callable[..., None], state: Any) -> None:
        self._launch, self._state = launch, state
        self._recorded: dict[int, Any] = {}
        self._stream: Any = None
        self.recording = not SIMULATED  # whether graphs are used; the simulator has none

    def run(self, pieces: Sequence[int], meanwhile: Callable[[], None]) -> None:
        """Run `pieces` of so many steps, each within an epoch, from where the state is; returns when they are done.

        `meanwhile` is called when the GPU has been given all of them.
        """
        if self.recording:
            try:
                for length in LENGTHS:
                    if max(pieces) >= length and length not in self._recorded:
                        self._recorded[length] = self._record(length)
            except Exception as reason:  # noqa: BLE001  a way to go faster, never the only one
                log.warning("steps are launched one by one: %s", reason)
                self.recording = False
        if not self.recording:
            for steps in pieces:
                for s in range(steps):
                    self._launch(s)
                phases.advance[1, 1](self._state, np.uint64(steps))
            meanwhile()
            return
        cuda.synchronize()  # the graphs' stream does not wait for what was copied on the default one
        try:
            for steps in pieces:
                left = steps
                for length in LENGTHS:
                    for _ in range(left // length):
                        self._recorded[length].launch(self._stream)
                    left %= length
            meanwhile()
        finally:  # after Ctrl-C, too: what is brought back then goes by the default stream, which waits for no other
            self._stream.sync()

    def _record(self, length: int) -> Any:
        from cuda.core import Device

        device = Device()
        device.set_current()  # in each thread that records
        if self._stream is None:
            self._stream = device.create_stream()
        phases.advance[1, 1](self._state, np.uint64(0))  # compiled now: nothing may be while launches are recorded
        cuda.synchronize()
        builder = device.create_graph_builder()
        builder.begin_building()
        try:
            for s in range(length):
                self._launch(s, builder)
            phases.advance[1, 1, builder](self._state, np.uint64(length))
            return builder.end_building().complete()
        except BaseException:
            builder.close()  # ends the recording: until then the GPU cannot be waited for
            raise
