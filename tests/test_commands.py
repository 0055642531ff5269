"""Commands to a training, its learning rate meanwhile, and how its chunks are cut."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterator
from itertools import pairwise
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from trainings import PER_EPOCH, bits, trainer

import fastnn as fnn
from fastnn import training


class Background:
    """A run in a thread of its own, with a queue of its snapshots: one that hangs fails its test, not the session."""

    def __init__(self, trainer: fnn.Trainer, epochs: int, **options: Any) -> None:
        self.trainer = trainer
        self.snapshots: queue.Queue[fnn.Snapshot] = queue.Queue()
        self._thread = threading.Thread(target=self._run, args=(epochs, options), daemon=True)
        self._thread.start()

    def _run(self, epochs: int, options: dict[str, Any]) -> None:
        for snapshot in self.trainer.run(epochs, **options):
            self.snapshots.put(snapshot)

    def until(self, state: str) -> fnn.Snapshot:
        while (snapshot := self.snapshots.get(timeout=20)).state != state:
            assert snapshot.state in ("running", "paused")
        return snapshot

    def waits(self) -> bool:
        """Whether nothing comes for a while, the run being alive."""
        with pytest.raises(queue.Empty):
            self.snapshots.get(timeout=0.1)
        return self._thread.is_alive()

    def join(self) -> None:
        self._thread.join(20)
        assert not self._thread.is_alive()


@pytest.fixture
def background() -> Iterator[Callable[..., Background]]:
    started: list[Background] = []

    def start(trainer: fnn.Trainer, epochs: int, **options: Any) -> Background:
        started.append(Background(trainer, epochs, **options))
        return started[-1]

    yield start
    for run in started:
        run.trainer.stop()
        run.join()


def test_step_makes_one_update_and_waits(background: Callable[..., Background]) -> None:
    run = trainer()
    before = bits(run.network)
    thread = background(run, 100, paused=True)
    first = thread.until("paused")
    assert first.step == 0 and bits(run.network) == before and run.state == "paused"
    assert len(first.layers) == len(run.network.dense), "the first batch, as the network begins"
    for k in range(1, 8):  # past an epoch's end
        run.step()
        snapshot = thread.until("paused")
        assert (snapshot.step, snapshot.epoch_ended, run.current_step) == (k, k == 5, k)
        assert bits(run.network) != before
        before = bits(run.network)
    assert thread.waits() and bits(run.network) == before
    assert len(run.history.loss) == 1


def test_two_commands_before_a_chunk_are_two_steps() -> None:
    run = trainer()
    snapshots = run.run(1, paused=True)
    assert next(snapshots).state == "paused"
    run.step()
    run.step()
    while next(snapshots).state != "paused":
        pass
    assert run.current_step == 2


def test_step_while_running(background: Callable[..., Background]) -> None:
    run = trainer()
    thread = background(run, 10**6)
    thread.until("running")
    run.step()
    at = thread.until("paused").step
    assert thread.waits() and run.current_step == at
    run.step()
    assert thread.until("paused").step == at + 1


def test_finish_epoch_stops_at_its_end(background: Callable[..., Background]) -> None:
    run = trainer()
    thread = background(run, 100, paused=True)
    thread.until("paused")
    for steps, wanted in ((2, 5), (0, 10), (4, 15)):
        for _ in range(steps):
            run.step()
            thread.until("paused")
        run.finish_epoch()
        snapshot = thread.until("paused")
        assert (snapshot.step, snapshot.epoch_ended) == (wanted, True)
        assert len(run.history.val_loss) == wanted // 5
    assert thread.waits()


def test_a_pause_that_comes_before_the_next_chunk_is_told_again() -> None:
    run = trainer()
    snapshots = run.run(100, paused=True)
    guard = threading.Timer(20, run.stop)  # who waits here would wait for ever
    guard.start()
    for command in (run.resume, run.finish_epoch, run.step):
        assert next(snapshots).state == "paused"
        command()
        run.pause()
    assert next(snapshots).state == "paused" and run.current_step == 0
    guard.cancel()
    snapshots.close()


def test_pause_resume_and_stop_from_another_thread(background: Callable[..., Background]) -> None:
    run = trainer()
    thread = background(run, 10**6)
    thread.until("running")
    run.pause()
    paused = thread.until("paused")
    assert thread.waits() and run.state == "paused"
    assert run.current_step == paused.step > 0
    run.resume()
    running = thread.until("running")
    assert running.step > paused.step
    run.stop()
    stopped = thread.until("stopped")
    thread.join()
    assert stopped.step == run.current_step < 10**6 * PER_EPOCH and run.state == "stopped"
    assert stopped.layers and stopped.message == ""


def test_stop_while_paused(background: Callable[..., Background]) -> None:
    run = trainer()
    thread = background(run, 5, paused=True)
    thread.until("paused")
    run.stop()
    assert thread.until("stopped").step == 0
    thread.join()


def test_pauses_do_not_count_as_seconds(background: Callable[..., Background]) -> None:
    run = trainer()
    thread = background(run, 100, paused=True)
    thread.until("paused")
    assert thread.waits()
    run.step()
    assert 0 < thread.until("paused").seconds < 0.1  # waited for 0.1 s


def test_learning_rate_takes_effect(one_step_chunks: None) -> None:
    run, before = trainer(optimizer=fnn.SGD(0.0)), []
    for snapshot in run.run(1):
        before.append(bits(run.network))
        if snapshot.step == 2:
            run.set_learning_rate(0.25)
        assert snapshot.learning_rate == (0.0 if snapshot.step <= 2 else 0.25)
    assert before[0] == before[1] != before[2] != before[3]
    # The same steps by hand: two that change nothing and three at the new rate.
    again = trainer(optimizer=fnn.SGD(0.25))
    again._runner.run(2, 0.0)
    again._runner.run(3, 0.25)
    assert bits(again.network) == bits(run.network)


@pytest.mark.parametrize("optimizer", [fnn.SGD(0.01, momentum=0.9), fnn.Adam(0.01)], ids=["momentum", "adam"])
def test_a_run_can_be_taken_up_again(optimizer: Any) -> None:
    whole = trainer(optimizer=optimizer)
    for snapshot in whole.run(3):
        assert snapshot.epochs == 3
    parts = trainer(optimizer=optimizer)
    for epochs in (1, 2):
        last = list(parts.run(epochs))[-1]
    assert last.state == "finished" and last.epochs == 3 and last.epoch == 3 and last.step == 15
    assert bits(parts.network) == bits(whole.network)
    assert len(parts.history.loss) == 3 and parts.network.epochs == 3


def test_state_before_and_after() -> None:
    run = trainer()
    assert run.state == "idle" and run.current_step == 0 and run.epoch == 0
    with pytest.raises(ValueError, match="epochs: 0"):
        run.run(0)  # at the call, not at the first snapshot
    for snapshot in run.run(1):
        assert run.state == snapshot.state


# ---- chunks ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("per_step", [1e-5, 1e-3, 1.0])
def test_chunks_grow_to_their_time(per_step: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a clock that ticks by the step, chunks grow eightfold at most, up to 50 ms, and never beyond."""
    run = trainer(validation=None)
    monkeypatch.setattr(
        training, "time", SimpleNamespace(perf_counter=lambda: run.current_step * per_step, monotonic=lambda: 0.0)
    )
    steps = np.diff([0, *(snapshot.step for snapshot in run.run(max(3, int(1 / per_step / PER_EPOCH))))])
    assert steps[0] == 1
    assert all(b <= 8 * a for a, b in pairwise(steps))
    full = steps[4:-1] if per_step < 1e-3 else steps[3:-1]
    assert len(full) > 0
    if per_step < 0.05:
        assert all(0.030 <= n * per_step <= 0.050 for n in full)
    else:
        assert set(full) == {1}


def test_chunk_shrinks_after_a_slow_one(monkeypatch: pytest.MonkeyPatch) -> None:
    run, clock, slow = trainer(validation=None), [0.0], [1.0]
    chunk = run._runner.run

    def timed(steps: int, rate: float) -> Any:
        clock[0] += steps * 1e-3 * slow[0]
        return chunk(steps, rate)

    monkeypatch.setattr(run._runner, "run", timed)
    monkeypatch.setattr(training, "time", SimpleNamespace(perf_counter=lambda: clock[0]))
    sizes, last = [], 0
    for snapshot in run.run(200):
        sizes.append(snapshot.step - last)
        last = snapshot.step
        if len(sizes) == 8:
            slow[0] = 5.0
    assert sizes[7] == sizes[8] and sizes[8] in (49, 50)
    assert len(sizes) > 20 and set(sizes[9:-1]) <= {9, 10}
