"""Ensembles: each network's bits are those it would have alone, and those that leave cost nothing."""

from __future__ import annotations

import pickle
import threading
import tracemalloc
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fastnn as fnn
from fastnn.cpu import many_runner as many
from fastnn.cpu.many_runner import ManyRunner

draw = np.random.default_rng(6)
X = draw.standard_normal((75, 4))  # 5 steps of 16 an epoch, the last of 11 samples
Y = np.argmax(X[:, :3], 1)
VALIDATION = (X[:30] + 0.1, Y[:30])
NAN = float("nan")
BATCH, PER_EPOCH, COUNT = 16, 5, 5

SIZES = [4, 9, 3]
LAYERS = [fnn.Input(4), fnn.Dropout(0.2), fnn.Dense(9, "tanh"), fnn.Dropout(0.4), fnn.Dense(3)]
RATES = [0.02, 0.1, 0.1, 0.5, 0.3]
# What is trained: layers, the optimizers, the rest of fit.
CASES: dict[str, tuple[Any, list[Any], dict[str, Any]]] = {
    "sgd": (SIZES, [fnn.SGD(rate) for rate in RATES], {}),
    "weight decay": (SIZES, [fnn.SGD(0.1, weight_decay=rate) for rate in RATES], {"shuffle": False}),
    "momentum": (SIZES, [fnn.SGD(rate, momentum=rate) for rate in RATES], {}),
    "nesterov, dropout": (LAYERS, [fnn.SGD(rate, momentum=0.9, nesterov=rate > 0.1) for rate in RATES], {}),
    "adam": (SIZES, [fnn.Adam(rate / 10, beta1=1 - rate) for rate in RATES], {}),
    "adam, dropout, mse": (LAYERS, [fnn.Adam(rate / 10) for rate in RATES], {"loss": "mse"}),
    "whole batch": (SIZES, [fnn.SGD(0.1)] * COUNT, {"batch_size": 75, "loss": "binary_cross_entropy"}),
    "one layer": ([4, 3], [fnn.SGD(rate) for rate in RATES], {"batch_size": 1}),
}
SEEDS = [3, 0, 7, 7, 2**63 - 1]
EPOCHS = 4


def options(case: str) -> dict[str, Any]:
    return {"batch_size": BATCH, "epochs": EPOCHS, "validation": VALIDATION} | CASES[case][2]


def together(case: str, dtype: str = "float32", **more: Any) -> tuple[fnn.Ensemble, fnn.EnsembleHistory]:
    layers, optimizers, _ = CASES[case]
    ensemble = fnn.Ensemble(layers, COUNT, seeds=SEEDS, dtype=dtype)
    return ensemble, ensemble.fit(X, Y, optimizer=optimizers, **(options(case) | more))


def trained(*, rates: list[float], **more: Any) -> tuple[fnn.Ensemble, fnn.EnsembleHistory]:
    """Networks on SIZES at `rates`."""
    ensemble = fnn.Ensemble(SIZES, len(rates))
    return ensemble, ensemble.fit(X, Y, optimizer=[fnn.SGD(rate) for rate in rates], batch_size=BATCH, **more)


def chunks_of(steps: int, monkeypatch: pytest.MonkeyPatch, count: int = COUNT) -> None:
    """Chunks of so many steps of each of `count` networks."""
    monkeypatch.setattr(many, "FIRST_STEPS", steps * count)
    monkeypatch.setattr(many, "MOST_STEPS", steps * count)
    monkeypatch.setattr(many, "CHUNK_SECONDS", 1e9)


# ---- the same bits ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("case", CASES)
def test_each_network_has_the_bits_that_it_has_alone(case: str, dtype: str) -> None:
    layers, optimizers, _ = CASES[case]
    ensemble, history = together(case, dtype)
    start = fnn.Ensemble(layers, COUNT, seeds=SEEDS, dtype=dtype)
    for k, net in enumerate(ensemble.networks):
        alone = fnn.Network(layers, seed=SEEDS[k], dtype=dtype)
        assert np.array_equal(start.networks[k].parameters, alone.parameters)
        wanted = alone.fit(X, Y, optimizer=optimizers[k], **options(case))
        assert np.array_equal(net.parameters, alone.parameters), k
        assert not np.array_equal(net.parameters, start.networks[k].parameters), "nothing was trained"
        for name in ("loss", "accuracy", "val_loss", "val_accuracy"):
            assert getattr(history, name)[:, k].tolist() == getattr(wanted, name), name
        assert (net.epochs, net.loss_name, net.seed) == (EPOCHS, alone.loss_name, SEEDS[k])
    assert history.state == ("finished",) * COUNT
    assert history.epochs.tolist() == [EPOCHS] * COUNT
    assert len({net.parameters.tobytes() for net in ensemble.networks}) >= 4


@pytest.mark.parametrize("case", ["nesterov, dropout", "adam"])
@pytest.mark.parametrize("steps", [1, 3, 5, 7, 10, 13, 1000])
def test_same_bits_for_any_chunk_and_any_number_of_threads(
    case: str, steps: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted, history = together(case, threads=1)
    chunks_of(steps, monkeypatch)
    for threads in (1, 2, 3, 7, None):
        again, same = together(case, threads=threads)
        assert np.array_equal(again.parameters, wanted.parameters), threads
        for name in ("loss", "accuracy", "val_loss", "val_accuracy", "epochs", "steps"):
            np.testing.assert_array_equal(getattr(same, name), getattr(history, name), name)


def test_fit_goes_on_where_each_network_is() -> None:
    """Each from its own epoch: one of them has been trained for two more, by itself."""
    ensemble = fnn.Ensemble(SIZES, 3)
    optimizer = fnn.SGD(0.2)
    ensemble.networks[1].fit(X, Y, epochs=2, batch_size=BATCH, optimizer=optimizer)
    ensemble.fit(X, Y, epochs=1, batch_size=BATCH, optimizer=optimizer)
    ensemble.fit(X, Y, epochs=3, batch_size=BATCH, optimizer=optimizer)
    for k, net in enumerate(ensemble.networks):
        alone = fnn.Network(SIZES, seed=k)
        alone.fit(X, Y, epochs=4 + 2 * (k == 1), batch_size=BATCH, optimizer=optimizer)
        assert np.array_equal(net.parameters, alone.parameters) and net.epochs == alone.epochs


def test_one_optimizer_serves_all() -> None:
    one, many_ = fnn.Ensemble(SIZES, 3), fnn.Ensemble(SIZES, 3)
    one.fit(X, Y, optimizer=fnn.Adam(0.01))
    many_.fit(X, Y, optimizer=(fnn.Adam(0.01), fnn.Adam(0.01), fnn.Adam(0.01)))
    assert np.array_equal(one.parameters, many_.parameters)
    default, sgd = fnn.Ensemble(SIZES, 1), fnn.Network(SIZES)
    default.fit(X, Y)
    sgd.fit(X, Y)
    assert np.array_equal(default.parameters[0], sgd.parameters)


# ---- leaving early ---------------------------------------------------------------------------------------------------


def test_a_network_that_diverges_keeps_its_last_finite_parameters_and_the_others_go_on() -> None:
    rates = [0.1, 1e30, 0.2, 3e38, 1e300]
    ensemble, history = trained(rates=rates, epochs=6)
    assert history.state == ("finished", "diverged", "finished", "diverged", "diverged")
    for k, rate in enumerate(rates):
        alone = fnn.Network(SIZES, seed=k)
        if rate < 1:
            alone.fit(X, Y, epochs=6, batch_size=BATCH, optimizer=fnn.SGD(rate))
            assert history.steps[k] == 6 * PER_EPOCH
        else:
            with pytest.raises(fnn.DivergenceError) as raised:
                alone.fit(X, Y, epochs=6, batch_size=BATCH, optimizer=fnn.SGD(rate))
            assert history.steps[k] == raised.value.step - 1 < PER_EPOCH
            assert history.epochs[k] == 0 == ensemble.networks[k].epochs
            assert np.isnan(history.loss[:, k]).all()
        assert np.isfinite(ensemble.parameters[k]).all()
        assert np.array_equal(ensemble.parameters[k], alone.parameters), rate


def test_divergence_after_some_epochs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Weight decay above 2 / lr: weights grow by a factor a step, until a float32 ends."""
    optimizers = [fnn.SGD(0.1, weight_decay=decay) for decay in (0.0, 40.0, 30.0)]
    seen = []
    for steps in (1, 4, 1000):
        chunks_of(steps, monkeypatch, 3)
        ensemble = fnn.Ensemble(SIZES, 3)
        history = ensemble.fit(X, Y, optimizer=optimizers, batch_size=BATCH, epochs=40)
        assert history.state == ("finished", "diverged", "diverged")
        assert 0 < history.epochs[1] < history.epochs[2] < 40
        for k, done in enumerate(history.epochs):
            assert np.isfinite(history.loss[:done, k]).all() and np.isnan(history.loss[done:, k]).all()
            assert done == history.steps[k] // PER_EPOCH
        seen.append((ensemble.parameters.tobytes(), history.steps.tolist()))
    assert seen[0] == seen[1] == seen[2]


@pytest.mark.parametrize("steps", [1, 7, 1000])
@pytest.mark.parametrize("validation", [None, VALIDATION])
def test_a_network_that_does_not_get_better_is_stalled(
    steps: int, validation: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    chunks_of(steps, monkeypatch, 3)
    _, history = trained(rates=[0.1, 0.0, 0.05], epochs=9, patience=3, validation=validation)
    assert history.state == ("finished", "stalled", "finished")
    assert history.epochs.tolist() == [9, 4, 9], "the first epoch is the best; three more are not better"
    assert history.steps.tolist() == [9 * PER_EPOCH, 4 * PER_EPOCH, 9 * PER_EPOCH]
    watched = history.loss if validation is None else history.val_loss
    assert np.isnan(watched[4:, 1]).all() and np.isfinite(watched[:4, 1]).all()
    assert np.isfinite(watched[:, [0, 2]]).all()


def test_stalling_is_about_how_much_better_an_epoch_is() -> None:
    """The rule, written once more over the losses that the networks have without it."""
    rates = [0.05, 0.5, 3.0, 10.0]
    _, free = trained(rates=rates, epochs=30, validation=VALIDATION)
    for patience, least in [(1, 0.0), (2, 0.01), (4, 0.001), (30, 0.0), (3, 1e9)]:
        _, history = trained(rates=rates, epochs=30, validation=VALIDATION, patience=patience, min_delta=least)
        for k in range(len(rates)):
            best, waited, wanted = np.inf, 0, 30
            for epoch, loss in enumerate(free.val_loss[:, k], 1):
                best, waited = (loss, 0) if loss < best - least else (best, waited + 1)
                if waited >= patience:
                    wanted = epoch
                    break
            assert history.epochs[k] == wanted, (patience, least, k)
            assert history.state[k] == ("finished" if wanted == 30 else "stalled")
            assert np.array_equal(history.val_loss[:wanted, k], free.val_loss[:wanted, k])


def test_networks_that_left_cost_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """They are in no chunk's queue; and when all have left, the training ends."""
    queues = []
    chunk = ManyRunner._chunk

    def watched(self: ManyRunner, queue: np.ndarray, begin: int, goal: int) -> float:
        queues.append(queue.tolist())
        return chunk(self, queue, begin, goal)

    monkeypatch.setattr(ManyRunner, "_chunk", watched)
    chunks_of(PER_EPOCH, monkeypatch, 3)
    _, history = trained(rates=[1e38, 0.0, 0.3], epochs=50, patience=2)
    assert queues[:4] == [[0, 1, 2], [1, 2], [1, 2], [2]]
    queues.clear()
    _, history = trained(rates=[1e38, 0.0, 0.0], epochs=1000, patience=2)
    assert queues == [[0, 1, 2], [1, 2], [1, 2]]
    assert history.loss.shape == (3, 3), "no rows for epochs that nobody trained"


# ---- what it gives ---------------------------------------------------------------------------------------------------


def test_networks_share_the_ensemble_s_memory(tmp_path: Path) -> None:
    ensemble = fnn.Ensemble(LAYERS, 3)
    before = ensemble.parameters.copy()
    assert ensemble.parameters.shape == (3, 4 * 9 + 9 + 9 * 3 + 3) and len(ensemble) == 3
    ensemble.networks[1].layers[1].weight[2, 3] = 5
    ensemble.networks[2].layers[-1].bias = [1, 2, 3]
    changed = np.argwhere(ensemble.parameters != before)
    assert changed.tolist() == [[1, 2 * 9 + 3], [2, 72], [2, 73], [2, 74]]
    ensemble.parameters[0] = 1
    assert (ensemble.networks[0].layers[1].weight == 1).all()
    ensemble.parameters = before
    assert np.array_equal(ensemble.networks[2].parameters, before[2])
    net = ensemble.networks[2]
    net(X)  # builds what it predicts with
    ensemble.fit(X, Y)
    net.save(tmp_path / "net")
    saved = fnn.load(tmp_path / "net")
    assert np.array_equal(saved.parameters, ensemble.parameters[2]) and saved.epochs == 1 and saved.seed == 2
    assert np.array_equal(net(X), saved(X)) and np.array_equal(ensemble(X)[2], saved(X))


def test_every_row_begins_as_a_network_alone_does() -> None:
    """On a cache line, with numbers behind it that a whole vector may read."""
    for dtype in ("float32", "float64"):
        ensemble = fnn.Ensemble(SIZES, 3, dtype=dtype)
        rows = [net.parameters for net in ensemble.networks]
        assert all(row.ctypes.data % 64 == 0 for row in rows)
        assert rows[1].ctypes.data - rows[0].ctypes.data >= rows[0].nbytes + 64 * rows[0].itemsize


def test_prediction_and_evaluation() -> None:
    ensemble, _ = trained(rates=[0.1, 0.5, 0.3], epochs=5)
    outputs = ensemble(X)
    assert outputs.shape == (3, 75, 3) and outputs.dtype == np.float32
    found = ensemble.evaluate(X, Y)
    for k, net in enumerate(ensemble.networks):
        assert np.array_equal(outputs[k], net(X))
        assert {name: values[k] for name, values in found.items()} == net.evaluate(X, Y)
    np.testing.assert_allclose(
        ensemble.mean(X), np.mean([net(X) for net in ensemble.networks], 0), rtol=1e-5, atol=1e-6
    )
    votes = ensemble.vote(X)
    for row in range(len(X)):
        classes = outputs[:, row].argmax(1).tolist()
        assert classes.count(votes[row]) == max(map(classes.count, classes))
    assert (votes == Y).mean() > 0.5


@pytest.mark.parametrize(("loss", "edge"), [("binary_cross_entropy", 0), ("mse", 0.5)])
def test_votes_with_one_output(loss: str, edge: float) -> None:
    ensemble = fnn.Ensemble([4, 1], 3, init="zeros")
    ensemble.fit(X, Y > 0, loss=loss, optimizer=fnn.SGD(0.0))
    for net, bias in zip(ensemble.networks, (edge - 1, edge + 0.1, edge + 0.1), strict=True):
        net.layers[0].bias = [bias]
    assert (ensemble.vote(X) == 1).all()
    ensemble.networks[1].layers[0].bias = [edge - 0.1]
    assert (ensemble.vote(X) == 0).all()


def test_networks_that_diverged_do_not_predict() -> None:
    ensemble, history = trained(rates=[0.3, 1e38, 0.2], epochs=3)
    assert history.state[1] == "diverged"
    np.testing.assert_allclose(ensemble.mean(X), (ensemble.networks[0](X) + ensemble.networks[2](X)) / 2.0, rtol=1e-5)
    ensemble, history = trained(rates=[1e38, 1e38], epochs=1)
    assert history.state == ("diverged", "diverged")
    assert ensemble.mean(X).shape == (75, 3) and ensemble.best() in ensemble.networks


def test_the_best_network() -> None:
    rates = [0.0, 1e38, 0.3, 0.01]
    ensemble, history = trained(rates=rates, epochs=5, validation=VALIDATION)
    assert history.best() == 2 and ensemble.best() is ensemble.networks[2]
    assert history.last_loss[[0, 2, 3]].tolist() == history.val_loss[-1, [0, 2, 3]].tolist()
    assert np.isnan(history.last_loss[1])
    # One that diverged comes last, however small its loss was before.
    assert replace(history, epochs=np.array([5, 5, 5, 5]), val_loss=np.full((5, 4), [3, 0, 1, 2])).best() == 2
    _, history = trained(rates=[0.2, 0.0], epochs=6, patience=2)
    assert history.last_loss.tolist() == [history.loss[5, 0], history.loss[2, 1]]
    with pytest.raises(ValueError, match=r"best.*trained.*fit"):
        fnn.Ensemble(SIZES, 2).best()


def test_what_is_not_measured_has_no_rows() -> None:
    ensemble = fnn.Ensemble([4, 2], 3)
    history = ensemble.fit(X, X[:, :2], loss="mse", epochs=2)
    assert history.loss.shape == (2, 3)
    assert history.accuracy.shape == history.val_loss.shape == history.val_accuracy.shape == (0, 3)
    history = ensemble.fit(X, X[:, :2], loss="mse", epochs=2, validation=(X, X[:, :2]))
    assert history.val_loss.shape == (2, 3) and history.val_accuracy.shape == (0, 3)


def test_pickle_keeps_networks_and_their_memory_together() -> None:
    ensemble, history = trained(rates=[0.1, 0.5], epochs=2)
    again = pickle.loads(pickle.dumps(ensemble))
    assert np.array_equal(again.parameters, ensemble.parameters)
    assert np.array_equal(again.history.loss, history.loss)
    for one in (ensemble, again):
        one.fit(X, Y, epochs=2)
    assert np.array_equal(again.parameters, ensemble.parameters)
    assert np.array_equal(again.networks[1].parameters, again.parameters[1])


def test_repr_names_the_architecture() -> None:
    assert "3" in repr(fnn.Ensemble(SIZES, 3)) and "Dense(units=9" in repr(fnn.Ensemble(SIZES, 3))


# ---- while it goes on ------------------------------------------------------------------------------------------------


def test_progress_is_told_the_history_so_far(monkeypatch: pytest.MonkeyPatch) -> None:
    chunks_of(PER_EPOCH, monkeypatch, 2)
    seen: list[fnn.EnsembleHistory] = []
    _, history = trained(rates=[0.1, 0.2], epochs=4, progress=seen.append)
    assert [len(one.loss) for one in seen] == [1, 2, 3, 4]
    assert [one.state for one in seen] == [("training",) * 2] * 3 + [("finished",) * 2]
    assert np.array_equal(seen[1].loss, history.loss[:2]), "a copy, not overwritten since"


@pytest.mark.parametrize("threads", [1, 2])
def test_an_interrupted_training_leaves_networks_as_a_chunk_left_them(
    threads: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And the next fit goes on from the epochs that each has completed."""
    before = threading.active_count()
    chunks_of(2 * PER_EPOCH, monkeypatch, 3)

    def interrupt(history: fnn.EnsembleHistory) -> None:
        if len(history.loss) == 4:
            raise KeyboardInterrupt

    ensemble = fnn.Ensemble(SIZES, 3)
    with pytest.raises(KeyboardInterrupt):
        ensemble.fit(X, Y, epochs=9, batch_size=BATCH, threads=threads, progress=interrupt)
    assert threading.active_count() == before
    assert ensemble.history is not None
    assert ensemble.history.state == ("training",) * 3 and ensemble.history.loss.shape == (4, 3)
    whole = fnn.Ensemble(SIZES, 3)
    whole.fit(X, Y, epochs=4, batch_size=BATCH)
    assert np.array_equal(ensemble.parameters, whole.parameters)
    for one in (ensemble, whole):
        one.fit(X, Y, epochs=1, batch_size=BATCH)
    assert np.array_equal(ensemble.parameters, whole.parameters)
    assert [net.epochs for net in ensemble.networks] == [5] * 3


def test_an_exception_beside_a_chunk_leaves_what_was_trained(monkeypatch: pytest.MonkeyPatch) -> None:
    """Worker 0 never begins, as when Ctrl-C comes just then: the other one has trained what is in the queue."""
    run, trained = many.Team.run, threading.Event()

    def broken(self: many.Team, kernel: Callable[..., Any], *args: Any, **more: Any) -> None:
        def work(*args: Any) -> None:
            if args[-1] == 0 and more["workers"] == 2:
                assert trained.wait(20)
                raise KeyboardInterrupt
            kernel(*args)
            if args[-1] == 1:
                trained.set()

        run(self, work, *args, **more)

    monkeypatch.setattr(many.Team, "run", broken)
    chunks_of(2 * PER_EPOCH, monkeypatch)
    ensemble = fnn.Ensemble(SIZES, COUNT)
    with pytest.raises(KeyboardInterrupt):
        ensemble.fit(X, Y, epochs=9, batch_size=BATCH, threads=2)
    history = ensemble.history
    assert history is not None and history.epochs.tolist() == [2] * COUNT
    assert history.steps.tolist() == [2 * PER_EPOCH] * COUNT
    for k, net in enumerate(ensemble.networks):
        alone = fnn.Network(SIZES, seed=k)
        alone.fit(X, Y, epochs=2, batch_size=BATCH)
        assert np.array_equal(net.parameters, alone.parameters) and net.epochs == 2


# ---- what it costs ---------------------------------------------------------------------------------------------------


def test_another_architecture_compiles_nothing(python: Callable[..., tuple[str, str]]) -> None:
    out, _ = python("""
import numpy as np, fastnn as fnn
from fastnn import compiler
x, y = np.zeros((9, 4)), np.zeros(9, int)
fnn.Ensemble([4, 3, 2], 2, activation="tanh").fit(x, y, batch_size=2)
before = len(compiler.counts.hits) + len(compiler.counts.misses)
fnn.Ensemble([4, 30, 20, 5], 7, activation="tanh").fit(x, y, batch_size=9, epochs=3, threads=2)
print(len(compiler.counts.hits) + len(compiler.counts.misses) - before)
""")
    assert out == "0\n"


def test_memory_is_that_of_the_networks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Parameters and states once for each network, workers' arrays once for each worker."""
    count = 40
    ensemble = fnn.Ensemble([4, 300, 300, 3], count)
    size = ensemble.parameters.nbytes
    ensemble.fit(X, Y, optimizer=fnn.Adam(), batch_size=BATCH)
    tracemalloc.start()
    ensemble.fit(X, Y, optimizer=fnn.Adam(), batch_size=BATCH, threads=2)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert 2 * size < peak < 2.5 * size, "Adam's two numbers for each parameter, and little more"
