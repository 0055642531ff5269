"""Many steps in one launch: CUDA graphs.

A launch takes the host about 10 us, as long as a small step takes the GPU. The launches of some steps are recorded once
and then launched together, over and over: what changes from step to step is in the device's memory.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from fastnn.cuda import dependent, phases
from fastnn.cuda.target import SIMULATED, cuda

# Steps of a graph, or epochs: a graph begins some 0.1 ms after the one before, and to record 512 steps takes 20 ms.
LENGTHS = (512, 64, 16, 4, 1)
# Short epochs go into one graph, with so many steps and batches of scores at most: at each call of the driver another
# thread, such as a UI's, may take Python's lock.
MOST_STEPS = 512
STEPS, EPOCHS, SCORE = range(3)  # of what a graph has some
log = logging.getLogger(__name__)


class Graphs:
    """Runs steps that `launch(s, stream)` launches; `state` is the device's array that counts them.

    An epoch has `per_epoch`; behind each of them comes what `score(stream)` launches, of `scored` batches, if anything.
    """

    def __init__(
        self,
        launch: Callable[..., None],
        state: Any,
        per_epoch: int,
        score: Callable[..., None] | None,
        scored: int = 0,
    ) -> None:
        self._launch, self._state, self._per_epoch, self._score = launch, state, per_epoch, score
        self._together, self._recorded_scores = MOST_STEPS // (per_epoch + scored), scored <= MOST_STEPS  # epochs
        self._recorded: dict[tuple[int, int], Any] = {}
        self._stream: Any = None
        self.recording = not SIMULATED  # whether graphs are used; the simulator has none
        self._overlapping = True  # until it fails

    def run(self, position: int, steps: int, meanwhile: Callable[[], None]) -> None:
        """Run `steps` steps from where the state is, number `position` of an epoch; returns when they are done.

        `meanwhile` is called when the GPU has been given all of them.
        """
        plan = list(self._plan(position, steps))
        if self.recording:
            try:
                for part in plan:
                    if part not in self._recorded and self._in_graph(part[0]):
                        self._recorded[part] = self._record(*part)
            except Exception as reason:  # noqa: BLE001  a way to go faster, never the only one
                log.warning("steps are launched one by one: %s", reason)
                self.recording = False
        if not self.recording:
            for part in plan:
                self._launch_all(*part, 0)
            meanwhile()
            return
        cuda.synchronize()  # the graphs' stream does not wait for what was copied on the default one
        try:
            for part in plan:
                if self._in_graph(part[0]):
                    self._recorded[part].launch(self._stream)
                else:
                    self._launch_all(*part, self._stream)
            meanwhile()
        finally:  # after Ctrl-C, too: what is brought back then goes by the default stream, which waits for no other
            self._stream.sync()

    def _plan(self, position: int, steps: int) -> Iterator[tuple[int, int]]:
        """The graphs that make up the next `steps` steps, in their order."""
        first = min(steps, -position % self._per_epoch)
        epochs, rest = divmod(steps - first, self._per_epoch)
        yield from _parts(STEPS, first)
        if first and position + first == self._per_epoch and self._score is not None:
            yield SCORE, 1
        if self._together:
            yield from _parts(EPOCHS, epochs, self._together)
        else:
            for _ in range(epochs):
                yield from _parts(STEPS, self._per_epoch)
                if self._score is not None:
                    yield SCORE, 1
        yield from _parts(STEPS, rest)

    def _in_graph(self, what: int) -> bool:
        """Whether it is recorded: not thousands of launches for a score, as of long sequences."""
        return what != SCORE or self._recorded_scores

    def _launch_all(self, what: int, count: int, stream: Any) -> None:
        """Launch `count` steps or epochs, or scores."""
        for _ in range(count if what == EPOCHS else 1):
            if what != SCORE:
                steps = self._per_epoch if what == EPOCHS else count
                for s in range(steps):
                    self._launch(s, stream)
                phases.advance[1, 1, stream](self._state, np.uint64(steps))
            if what != STEPS and self._score is not None:
                self._score(stream)

    def _record(self, what: int, count: int) -> Any:
        from cuda.core import Device

        device = Device()
        device.set_current()  # in each thread that records
        if self._stream is None:
            self._stream = device.create_stream()
        phases.advance[1, 1](self._state, np.uint64(0))  # compiled now: nothing may be while launches are recorded
        cuda.synchronize()
        if self._overlapping and dependent.applies():
            try:
                return self._built(device, what, count, overlapped=True)
            except Exception as reason:  # as in `run`
                if dependent.OVERLAPPED:
                    raise
                log.debug("kernels of graphs wait for each other: %s", reason)
                self._overlapping = False
        return self._built(device, what, count, overlapped=False)

    def _built(self, device: Any, what: int, count: int, *, overlapped: bool) -> Any:
        builder = device.create_graph_builder()
        builder.begin_building()
        try:
            self._launch_all(what, count, builder)
            builder.end_building()
            if overlapped:
                dependent.overlap(builder.graph_definition.handle)
            return builder.complete()
        except BaseException:
            builder.close()  # ends the recording: until then the GPU cannot be waited for
            raise


def _parts(what: int, count: int, most: int = LENGTHS[0]) -> Iterator[tuple[int, int]]:
    """Graphs of `count` in all, of `most` at most each; their sizes are few, so that each is recorded once."""
    for length in LENGTHS:
        if length <= most:
            yield from [(what, length)] * (count // length)
            count %= length
