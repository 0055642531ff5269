"""Training: snapshots, commands, histories, histograms; divergence; and that a step allocates nothing."""

from __future__ import annotations

import ctypes
import dataclasses
import gc
import queue
import sys
import threading
import tracemalloc
from collections.abc import Callable, Iterator
from itertools import pairwise
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from numba.core.runtime import _nrt_python, rtsys

import fastnn as fnn
from fastnn import training
from fastnn.cpu import train
from fastnn.cpu.engine import Runner

N, BATCH = 75, 16  # 5 steps an epoch, the last of 11 samples
PER_EPOCH = 5


def data(features: int = 6, outputs: int = 3, n: int = N, regression: bool = False) -> SimpleNamespace:
    draw = np.random.default_rng(2)
    x = draw.standard_normal((n + 20, features))
    y: Any = draw.standard_normal((n + 20, outputs)) if regression else np.argmax(x[:, :outputs], axis=1)
    return SimpleNamespace(x_train=x[:n], y_train=y[:n], x_test=x[n:], y_test=y[n:])


def trainer(net: fnn.Network | None = None, on: Any = None, **options: Any) -> fnn.Trainer:
    net = fnn.Network([6, 8, 3], seed=1) if net is None else net
    return fnn.Trainer(net, data() if on is None else on, **{"batch_size": BATCH, "optimizer": fnn.SGD(0.1)} | options)


def bits(net: fnn.Network) -> bytes:
    return net.parameters.tobytes()


@pytest.fixture
def one_step_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    """A snapshot after every step."""
    monkeypatch.setattr(training, "MOST_STEPS", 1)


# ---- snapshots -------------------------------------------------------------------------------------------------------


def test_snapshots_are_frozen_and_count(one_step_chunks: None) -> None:
    run = trainer()
    snapshots = list(run.run(2))
    assert [s.step for s in snapshots] == list(range(1, 11))
    assert [s.epoch for s in snapshots] == [1] * 5 + [2] * 5
    assert [s.epoch_ended for s in snapshots] == ([False] * 4 + [True]) * 2
    assert [s.state for s in snapshots] == ["running"] * 9 + ["finished"]
    assert {s.epochs for s in snapshots} == {2} and {s.learning_rate for s in snapshots} == {0.1}
    assert {s.message for s in snapshots} == {""}
    assert all(a.seconds < b.seconds for a, b in pairwise(snapshots))
    assert all(s.samples_per_second > 0 and 0 <= s.accuracy <= 1 for s in snapshots)
    assert [s.val_loss is None for s in snapshots] == [True] * 4 + [False] * 6
    assert [s.val_accuracy is None for s in snapshots] == [True] * 4 + [False] * 6
    last = snapshots[-1]
    assert (last.val_loss, last.val_accuracy) == (run.history.val_loss[1], run.history.val_accuracy[1])
    assert snapshots[-2].val_loss == run.history.val_loss[0] != last.val_loss
    for frozen in (last, last.layers[0], last.layers[0].activations):
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(frozen, dataclasses.fields(frozen)[0].name, 0)
    assert run.current_step == 10 and run.epoch == 2 and run.network.epochs == 2 and run.state == "finished"


def test_loss_of_a_snapshot_is_that_of_its_samples(one_step_chunks: None) -> None:
    """At rate 0 nothing moves, so every number can be had from the network itself."""
    on = data()
    run = trainer(optimizer=fnn.SGD(0.0), shuffle=False)
    snapshots = list(run.run(1))
    for k, snapshot in enumerate(snapshots):
        part = slice(k * BATCH, (k + 1) * BATCH)
        alone = run.network.evaluate(on.x_train[part], on.y_train[part])
        assert snapshot.loss == pytest.approx(alone["loss"], rel=1e-6)
        assert snapshot.accuracy == pytest.approx(alone["accuracy"])
    whole, test = run.network.evaluate(on.x_train, on.y_train), run.network.evaluate(on.x_test, on.y_test)
    assert run.history.loss == [pytest.approx(whole["loss"], rel=1e-6)]
    assert run.history.accuracy == [pytest.approx(whole["accuracy"])]
    assert run.history.val_loss == [pytest.approx(test["loss"], rel=1e-6)]
    assert run.history.val_accuracy == [test["accuracy"]]
    assert whole["accuracy"] != test["accuracy"]


@pytest.mark.parametrize("chunk", [1, 3, 4, 7, 12, 1000])
def test_history_has_one_number_an_epoch_for_any_chunk(chunk: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(training, "MOST_STEPS", chunk)
    monkeypatch.setattr(training, "CHUNK_SECONDS", 1e9)
    run, ended = trainer(), 0
    for snapshot in run.run(7):
        done = snapshot.step // PER_EPOCH
        assert snapshot.epoch_ended == (done > ended)
        ended = done
        assert [len(v) for v in dataclasses.asdict(run.history).values()] == [done] * 4
        assert snapshot.epoch == max(1, -(-snapshot.step // PER_EPOCH))
    plain = trainer()
    monkeypatch.setattr(training, "MOST_STEPS", 1)
    for _ in plain.run(7):
        pass
    assert run.history == plain.history


def test_a_snapshot_has_means_over_the_samples_of_its_chunk(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(training, "MOST_STEPS", 1)
    each = [(s.loss, s.accuracy) for s in trainer().run(1)]
    monkeypatch.setattr(training, "MOST_STEPS", 1000)
    monkeypatch.setattr(training, "CHUNK_SECONDS", 1e9)
    first, rest = trainer().run(1)
    assert (first.loss, first.accuracy) == each[0] and rest.step == PER_EPOCH
    means = np.average(each[1:], axis=0, weights=[BATCH] * 3 + [N % BATCH])
    assert (rest.loss, rest.accuracy) == pytest.approx(tuple(means), rel=1e-12)


def test_regression_has_no_accuracy() -> None:
    run = trainer(on=data(regression=True), loss="mse")
    last = list(run.run(2))[-1]
    assert last.accuracy is None and last.val_accuracy is None and last.val_loss is not None
    assert run.history.accuracy == [] == run.history.val_accuracy and len(run.history.loss) == 2
    assert set(run.network.evaluate(data().x_test, data(regression=True).y_test, "mse")) == {"loss"}


@pytest.mark.parametrize("validation", [None, False])
def test_no_validation(validation: Any) -> None:
    run = trainer(validation=validation)
    last = list(run.run(1))[-1]
    assert last.val_loss is None and last.val_accuracy is None and last.epoch_ended
    assert run.history.val_loss == [] == run.history.val_accuracy


@pytest.mark.parametrize("shuffle", [False, True])
@pytest.mark.parametrize(("n", "batch"), [(10, 4), (10, 10), (10, 1), (75, 16), (33, 32)])
def test_every_sample_is_trained_once_an_epoch(n: int, batch: int, shuffle: bool) -> None:
    """Sample i is the i-th unit vector, so it alone moves row i of the weight; how far says in which batch it was."""
    x, y = np.eye(n), np.ones((n, 1))
    net = fnn.Network([n, 1], init="zeros", dtype="float64")
    net.fit(x, y, loss="mse", optimizer=fnn.SGD(0.01), batch_size=batch, shuffle=shuffle)
    moved = net.layers[0].weight[:, 0]
    bias, wanted = 0.0, []
    for first in range(0, n, batch):
        rows = min(batch, n - first)
        step = 0.01 * 2 * (1 - bias) / rows
        wanted += [step] * rows
        bias += step * rows
    assert net.layers[0].bias[0] == pytest.approx(bias, rel=1e-12)
    np.testing.assert_allclose(np.sort(moved) if shuffle else moved, np.sort(wanted) if shuffle else wanted, rtol=1e-12)
    if shuffle and n > batch > 1:
        assert not np.allclose(moved, wanted, rtol=1e-12), "not shuffled"


# ---- histograms ------------------------------------------------------------------------------------------------------

FORMULAS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "identity": lambda z: z,
    "sigmoid": lambda z: 1 / (1 + np.exp(-z)),
    "tanh": np.tanh,
    "relu": lambda z: np.maximum(z, 0),
    "leaky_relu": lambda z: np.where(z > 0, z, 0.01 * z),
}
SATURATED: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "sigmoid": lambda y: (y < 0.01) | (y > 0.99),
    "tanh": lambda y: np.abs(y) > 0.98,  # within 1 % of the range, which is 2 wide
}


@pytest.mark.parametrize(("steps", "rows"), [(1, slice(0, 16)), (3, slice(32, 48)), (5, slice(64, 75))])
def test_histograms_are_those_of_the_last_batch(steps: int, rows: slice) -> None:
    layers = [fnn.Input(6), *(fnn.Dense(8 + i, name, "normal") for i, name in enumerate(FORMULAS)), fnn.Dense(3)]
    net = fnn.Network(layers, dtype="float64")
    run = trainer(net, optimizer=fnn.SGD(0.0), shuffle=False)
    for snapshot in run.run(1, paused=True):
        if snapshot.step == steps:
            break
        run.step()
    y = data().x_train[rows]
    assert len(snapshot.layers) == len(net.layers)
    for number, (layer, seen) in enumerate(zip(net.layers, snapshot.layers, strict=True), 1):
        y = FORMULAS[layer.activation](y @ layer.weight + layer.bias)
        counts, edges = seen.activations.counts, seen.activations.edges
        assert counts.shape == (30,) and counts.dtype == np.int64 and edges.shape == (31,) and edges.dtype == np.float64
        assert counts.sum() == y.size
        assert edges[0] == pytest.approx(y.min(), rel=1e-12) and edges[-1] == pytest.approx(y.max(), rel=1e-12)
        np.testing.assert_array_equal(counts, np.histogram(y, bins=30)[0])
        np.testing.assert_allclose(edges, np.histogram(y, bins=30)[1], rtol=1e-9, atol=1e-12)
        assert seen.mean == pytest.approx(y.mean(), abs=1e-12) and seen.std == pytest.approx(y.std(), rel=1e-9)
        assert seen.zeros == np.mean(y == 0)
        assert seen.saturated == np.mean(SATURATED.get(layer.activation, np.zeros_like)(y))
        assert str(number) in seen.name and layer.activation in seen.name and str(layer.bias.size) in seen.name
    assert any(seen.zeros > 0 for seen in snapshot.layers) and any(seen.saturated > 0 for seen in snapshot.layers)


def test_histogram_of_equal_values() -> None:
    run = trainer(fnn.Network([6, 4, 3], activation="sigmoid", init="zeros"), optimizer=fnn.SGD(0.0))
    hidden, last = list(run.run(1))[-1].layers
    for seen, value in ((hidden, 0.5), (last, 0.0)):
        counts, edges = seen.activations.counts, seen.activations.edges
        assert counts.max() == counts.sum() == 11 * (4 if value else 3)
        at = int(counts.argmax())
        assert edges[at] <= value <= edges[at + 1] and np.all(np.diff(edges) > 0)
        assert (seen.mean, seen.std, seen.zeros) == (value, 0, float(value == 0))


# ---- commands --------------------------------------------------------------------------------------------------------


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
    """With a clock that ticks by the step, chunks grow eightfold at most, up to 20 to 50 ms, and never beyond."""
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
        assert all(0.020 <= n * per_step <= 0.050 for n in full)
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
    assert sizes[7] == sizes[8] and sizes[8] in (34, 35)
    assert len(sizes) > 20 and set(sizes[9:-1]) <= {6, 7}


# ---- divergence ------------------------------------------------------------------------------------------------------


def found_by_hand(run: fnn.Trainer, rate: float) -> tuple[int, bytes]:
    """The first step that makes the loss or a parameter non-finite, and the bits before it; by single raw steps."""
    runner: Runner = run._runner
    for step in range(1, 10_000):
        before = bits(run.network)
        result = runner._chunk(1, rate)
        if not (np.isfinite(result.losses).all() and np.isfinite(run.network.parameters).all()):
            return step, before
    raise AssertionError("did not diverge")


def diverging(name: str) -> tuple[fnn.Trainer, float]:
    """Trainers that diverge: at once, after some steps, or after hundreds in the middle of a large chunk."""
    if name == "sgd 1e6":
        return trainer(optimizer=fnn.SGD(1e6)), 1e6
    if name == "momentum 1e6":
        return trainer(optimizer=fnn.SGD(1e6, momentum=0.9)), 1e6
    if name == "adam 1e20":
        return trainer(optimizer=fnn.Adam(1e20)), 1e20
    if name == "update overflows":
        return trainer(optimizer=fnn.SGD(1e300, momentum=0.5)), 1e300  # more than a float32 holds
    on = data(regression=True)
    if name == "scaled inputs":
        on.x_train = on.x_train * 1e4
        return trainer(on=on, loss="mse", optimizer=fnn.SGD(0.1)), 0.1
    assert name == "slowly"
    return trainer(fnn.Network([6, 3]), on, loss="mse", optimizer=fnn.SGD(2.6)), 2.6


DIVERGING = ["sgd 1e6", "momentum 1e6", "adam 1e20", "update overflows", "scaled inputs", "slowly"]


@pytest.mark.parametrize("name", DIVERGING)
@pytest.mark.parametrize("chunk", [1, 50_000])
def test_divergence_stops_before_the_step_that_goes_wrong(
    name: str, chunk: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    by_hand, rate = diverging(name)
    step, kept = found_by_hand(by_hand, rate)
    monkeypatch.setattr(training, "MOST_STEPS", chunk)
    run, _ = diverging(name)
    *_, last = run.run(1000)
    epoch = (step - 1) // PER_EPOCH + 1
    assert last.state == run.state == "diverged"
    assert f"epoch {epoch}, step {step};" in last.message and "\n" not in last.message
    assert last.step == run.current_step == step - 1
    assert np.isfinite(run.network.parameters).all()
    assert bits(run.network) == kept
    assert len(run.history.loss) == (step - 1) // PER_EPOCH == run.network.epochs
    assert np.isfinite(run.history.loss).all()
    for layer in last.layers:
        assert np.isfinite(layer.activations.edges).all() and layer.activations.counts.sum() > 0
    # A run that is stopped right before that step is where the diverged one was left.
    stopped, _ = diverging(name)
    for snapshot in stopped.run(1000, paused=True):
        if snapshot.step == step - 1:
            break
        stopped.step()
    assert bits(stopped.network) == kept
    if name == "slowly":
        assert step > 5 * PER_EPOCH, "in one chunk, epochs after it began"


@pytest.mark.parametrize("threads", [1, 2])
def test_fit_raises_divergence(threads: int) -> None:
    step, kept = found_by_hand(*diverging("sgd 1e6"))
    on, net = data(), fnn.Network([6, 8, 3], seed=1)
    with pytest.raises(fnn.DivergenceError, match=f"epoch 1, step {step};") as caught:
        net.fit(on.x_train, on.y_train, optimizer=fnn.SGD(1e6), batch_size=BATCH, epochs=9, threads=threads)
    assert (caught.value.epoch, caught.value.step) == ((step - 1) // PER_EPOCH + 1, step)
    assert isinstance(caught.value, fnn.FastnnError) and isinstance(caught.value, ArithmeticError)
    assert bits(net) == kept
    net.parameters[...] = fnn.Network([6, 8, 3], seed=1).parameters
    history = net.fit(on.x_train, on.y_train, optimizer=fnn.SGD(0.1), batch_size=BATCH, epochs=3, threads=threads)
    assert history.loss[-1] < history.loss[0]


@pytest.mark.parametrize(
    "optimizer",
    [fnn.SGD(0.05), fnn.SGD(0.05, momentum=0.9), fnn.Adam(0.01)],
    ids=["sgd", "momentum", "adam"],
)
def test_training_goes_on_with_a_smaller_rate(optimizer: Any) -> None:
    """The step that went wrong left nothing behind: weights, memory, order and count are those before it."""
    calm, wild = trainer(optimizer=optimizer), trainer(optimizer=optimizer)
    for run in (calm, wild):
        for snapshot in run.run(4, paused=True):
            if snapshot.step == 7:
                break
            run.step()
    wild.set_learning_rate(1e300)  # more than a float32 holds
    last = list(wild.run(1))[-1]
    assert last.state == "diverged" and last.step == 7
    wild.set_learning_rate(optimizer.lr)
    for run in (calm, wild):
        last = list(run.run(2))[-1]
        assert last.state == "finished" and last.step == 15 and last.message == ""
    assert bits(calm.network) == bits(wild.network)
    assert calm.history == wild.history


# ---- allocation ------------------------------------------------------------------------------------------------------


class Mallinfo(ctypes.Structure):
    """What glibc's mallinfo2 returns: ten numbers, of which these two are the bytes in use."""

    _fields_ = (
        *((f"before{i}", ctypes.c_size_t) for i in range(4)),
        ("hblkhd", ctypes.c_size_t),
        *((f"between{i}", ctypes.c_size_t) for i in range(2)),
        ("uordblks", ctypes.c_size_t),
        *((f"after{i}", ctypes.c_size_t) for i in range(2)),
    )


def c_bytes() -> int:
    """Bytes that malloc has given out and that were not returned; 0 where the C library does not say."""
    try:
        mallinfo = ctypes.CDLL(None).mallinfo2
    except (AttributeError, OSError, TypeError):
        return 0
    mallinfo.restype = Mallinfo
    found = mallinfo()
    return int(found.uordblks + found.hblkhd)


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(
    "layers",
    [
        [fnn.Input(6), fnn.Dense(33, "tanh"), fnn.Dropout(0.2), fnn.Dense(3)],
        [fnn.Input(3, steps=2), fnn.GRU(5, True), fnn.Dropout(0.2), fnn.LSTM(4, True), fnn.Recurrent(7), fnn.Dense(3)],
    ],
    ids=["dense", "recurrent"],
)
def test_a_warm_step_allocates_nothing(
    layers: list[Any], dtype: str, threads: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A compiled call of 1000 steps takes as much memory of Numba's runtime, of C and of Python as one of one step.

    That compiled code has no way to ask for memory, not even to give it back again, is shown in test_compiler.py.
    """
    run = trainer(fnn.Network(layers, dtype=dtype), optimizer=fnn.Adam(), threads=threads)
    runner, calls, team_run = run._runner, [], run._runner.team.run
    monkeypatch.setattr(runner.team, "run", lambda kernel, *args, barrier, workers: calls.append(args))
    for steps in (1, 1000):
        runner._chunk(steps, 0.001)
    one, thousand = calls

    def used(args: Any, trace: bool) -> tuple[int, ...]:
        """Numba's allocations, C's bytes, Python's blocks and with `trace` the bytes that Python had at most."""
        if trace:
            tracemalloc.start()
        numba, blocks, given = rtsys.get_allocation_stats(), sys.getallocatedblocks(), c_bytes()
        team_run(train.train, *args, barrier=runner.work.barrier)
        given, blocks = c_bytes() - given, sys.getallocatedblocks() - blocks
        calls, at_most = rtsys.get_allocation_stats().alloc - numba.alloc, 0
        if trace:
            at_most = tracemalloc.get_traced_memory()[1]
            tracemalloc.stop()
        return calls, given, blocks, at_most

    on = _nrt_python.memsys_stats_enabled()
    _nrt_python.memsys_enable_stats()
    gc.disable()
    try:
        for trace in (False, True):
            for args in (one, thousand):  # warm: threads started, free lists filled
                used(args, trace)
            # The least of a few: something else in the process may take memory meanwhile.
            few, many = (np.min([used(args, trace) for _ in range(5)], axis=0) for args in (one, thousand))
            assert many[0] == few[0] == 0, "allocations by Numba's runtime"
            # 1000 allocations kept would be 16,000 bytes or more.
            assert many[1] - few[1] < 8000 and many[2] - few[2] < 500 and many[3] - few[3] < 8000, (few, many)
    finally:
        gc.enable()
        if not on:
            _nrt_python.memsys_disable_stats()
        runner.close()
