"""Looking at a network in training: what is seen is right, and training does not feel it."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

import fastnn as fnn
from fastnn.watch import KINDS

DATA = fnn.datasets.load("digits")


def trainer(optimizer=None, seed=0, layers=(64, 20, 10), **options):
    net = fnn.Network(list(layers), activation="tanh", seed=seed, dtype="float64")
    options = {"batch_size": 100, "threads": 1} | options
    return fnn.Trainer(net, DATA, optimizer=optimizer or fnn.SGD(0.1), **options)


def to_step(run, step, epochs=3):
    """Train step by step to `step`, and return the generator with its last snapshot."""
    going = run.run(epochs, paused=True)
    snapshot = next(going)
    while snapshot.step < step:
        run.step()
        snapshot = next(going)
    return going, snapshot


@pytest.mark.parametrize("optimizer", [fnn.SGD(0.1), fnn.SGD(0.1, momentum=0.9), fnn.Adam(0.01)], ids=str)
@pytest.mark.parametrize("step", [0, 3, 14, 15, 16])  # 15 steps an epoch, the last of 37 rows
def test_gradient_and_update_are_those_of_the_next_step(optimizer, step):
    run = trainer(optimizer)
    run.watch(*KINDS)
    _going, seen = to_step(run, step)
    before = run.network.parameters.copy()
    order = run._runner.order.copy()
    run.step()
    next(_going)
    if step % 15 == 0:  # the next step begins an epoch: only now is its order known
        order = run._runner.order
    batch = order[step % 15 * 100 : (step % 15 + 1) * 100]
    moved = run.network.parameters - before
    run.network.parameters[:] = before
    gradient = run.network.gradient(DATA.x_train[batch].astype(float), DATA.y_train[batch])
    assert seen.looked_at == step and len(seen.layers) == 2
    assert seen.gradient_norm == pytest.approx(np.linalg.norm(gradient), rel=1e-9)
    begin = 0
    for layer, view in zip(seen.layers, run.network.layers, strict=True):
        part = slice(begin, begin + view.weight.size)
        begin += view.weight.size + view.bias.size
        for shown, values in ((layer.gradients, gradient), (layer.updates, moved), (layer.weights, before)):
            counts, edges = np.histogram(values[part], 30)
            np.testing.assert_allclose(shown.edges, edges, rtol=1e-9, atol=1e-15)
            assert abs(shown.counts - counts).sum() <= 4 and shown.counts.sum() == counts.sum()
            assert shown.mean == pytest.approx(values[part].mean(), abs=1e-12)
            assert shown.std == pytest.approx(values[part].std(), rel=1e-6)
            assert shown.norm == pytest.approx(np.linalg.norm(values[part]), rel=1e-9)
        expected = np.linalg.norm(moved[part]) / np.linalg.norm(before[part])
        assert layer.ratio == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("optimizer", [fnn.SGD(0.1, momentum=0.9), fnn.Adam(0.01)], ids=str)
def test_looking_changes_no_bit(optimizer, threads):
    plain, watched = trainer(optimizer, threads=threads), trainer(optimizer, threads=threads)
    watched.watch(*KINDS)
    for _ in plain.run(3):
        pass
    going, _ = to_step(watched, 20)
    watched.finish_epoch()
    for _ in going:
        watched.finish_epoch()
    assert plain.network.parameters.tobytes() == watched.network.parameters.tobytes()
    assert plain.history == watched.history


def test_only_what_is_watched_is_looked_at():
    run = trainer()
    _going, seen = to_step(run, 1)
    assert seen.gradient_norm is None
    assert all(layer.gradients is layer.weights is layer.updates is layer.ratio is None for layer in seen.layers)
    outputs = seen.layers
    run.watch("activations", "weights")
    seen = run.look()
    assert all(layer.weights is not None and layer.gradients is None for layer in seen.layers)
    run.watch("activations", "gradient_norm")
    seen = run.look()
    assert seen.gradient_norm > 0 and all(layer.gradients is None for layer in seen.layers)
    assert all(a.activations is b.activations for a, b in zip(outputs, seen.layers, strict=True)), "the same batch"
    assert run.look() is seen, "nothing new to see"


def test_looking_has_a_rate():
    run = trainer()
    run.watch("activations", seconds=1000.0)
    steps = {snapshot.looked_at for snapshot in run.run(20) if snapshot.state == "running"}
    assert len(steps) == 1
    with pytest.raises(ValueError, match="gradient_norm"):
        run.watch("gradient")
    with pytest.raises(ValueError, match="seconds"):
        run.watch(seconds=-1)


def test_dead_units_are_counted():
    net = fnn.Network([64, 10, 10], activation="relu", seed=0)
    net.layers[0].bias[:4] = -1000.0
    snapshot = next(fnn.Trainer(net, DATA).run(1, paused=True))
    assert snapshot.layers[0].dead >= 0.4 and snapshot.layers[1].dead == 0


@pytest.mark.parametrize("at", [0, 7, 15, 22, 45])
@pytest.mark.parametrize("optimizer", [fnn.SGD(0.1), fnn.SGD(0.1, momentum=0.9), fnn.Adam(0.01)], ids=str)
def test_going_back_repeats_the_same_bits(optimizer, at):
    run = trainer(optimizer)
    run.watch(*KINDS)
    going, seen = to_step(run, at)
    state = run.keep()
    kept = state.parameters.copy()
    if at < 45:
        run.resume()
    assert [s.state for s in going][-1:] == (["finished"] if at < 45 else [])
    bits, history = run.network.parameters.tobytes(), run.history
    for other in (run, trainer(optimizer)):  # in the same trainer, and in one made alike
        other.network.parameters[:] += 1.0
        back = other.restore(state)
        assert (back.step, back.loss, back.state) == (at, pytest.approx(seen.loss, nan_ok=True), other.state)
        np.testing.assert_array_equal(other.network.parameters, kept)
        if at < 45:
            assert list(other.run(3 - at // 15))[-1].step == 45
        assert other.network.parameters.tobytes() == bits and other.history == history
    np.testing.assert_array_equal(state.parameters, kept)
    assert state.nbytes >= kept.nbytes


def test_going_back_while_it_runs():
    run = trainer()
    going, _ = to_step(run, 5)
    state = run.keep()
    run.resume()
    first = [s.step for s in going if s.step][-1]
    going, _ = to_step(run, 5, epochs=2)
    run.restore(state)
    run.step()
    assert first == 45 and next(going).step == 6


def test_going_back_and_elsewhere_and_on_again_has_the_history_of_each():
    run = trainer()
    list(run.run(1))
    early = run.keep()
    list(run.run(2))
    late, history = run.keep(), replace(run.history, loss=list(run.history.loss))
    run.restore(early)
    assert run.history.loss == history.loss[:1]
    run.set_learning_rate(0.5)
    list(run.run(2))
    assert run.history.loss[:1] == history.loss[:1] and run.history.loss != history.loss
    run.restore(late)
    assert run.history.loss == history.loss and len(run.history.val_loss) == len(history.val_loss)
    assert run.learning_rate == late.learning_rate == early.learning_rate != 0.5


@pytest.mark.parametrize(("weights", "inputs", "culprit"), [(1e200, 1.0, (1, "outputs")), (1.0, 1e10, (0, "weights"))])
def test_divergence_names_the_layer(weights, inputs, culprit):
    data = SimpleNamespace(x_train=DATA.x_train * inputs, y_train=DATA.y_train)
    net = fnn.Network([64, 20, 10], activation="relu", dtype="float64")
    net.parameters[:] *= weights
    before = net.parameters.copy()
    run = fnn.Trainer(net, data, optimizer=fnn.SGD(1e300), validation=None)
    last = list(run.run(2))[-1]
    assert (last.state, last.step, last.culprit) == ("diverged", 0, culprit)
    np.testing.assert_array_equal(net.parameters, before)
    if weights == 1:
        run.set_learning_rate(1e-300)
        assert next(run.run(1)).culprit is None


def test_a_limit_of_steps_in_a_chunk():
    run = trainer()
    run.most_steps = 1
    assert [s.step for s in run.run(1)] == list(range(1, 16))


def test_after_going_back_outputs_are_those_of_the_moment():
    run = trainer()
    run.most_steps = 1
    run.watch("activations", seconds=1000.0)
    state = next(run.keep() for snapshot in run.run(1) if snapshot.step == 5)
    assert state.snapshot.looked_at == 1
    list(run.run(1))
    run.restore(state)
    batch = run._runner.order[500:600]  # the next one
    first = run.network.layers[0]
    outputs = np.tanh(DATA.x_train[batch] @ first.weight + first.bias)
    seen = run.look().layers[0].activations
    assert (seen.mean, seen.norm) == pytest.approx((outputs.mean(), np.linalg.norm(outputs)), rel=1e-9)


def test_passes_take_a_small_share_of_the_time(monkeypatch):
    run = trainer()
    run.watch("gradients", seconds=1.0)
    times = iter([0.0, 3.0, 202.0, 204.0])  # 3 seconds are 1.5 % of 200
    monkeypatch.setattr("fastnn.watch.time", SimpleNamespace(perf_counter=lambda: next(times)))
    run.look()
    assert [run._watch.due(0), run._watch.due(0)] == [False, True]


def test_a_state_of_another_network_is_refused():
    state = trainer(layers=(64, 5, 10)).keep()
    with pytest.raises(ValueError, match=r"state: .*expected"):
        trainer().restore(state)
