"""Training: snapshots, histories and histograms."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from trainings import BATCH, PER_EPOCH, N, data, trainer

import fastnn as fnn
from fastnn import training

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
