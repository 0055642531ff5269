"""Recurrent layers: gradients, PyTorch's numbers, and every part of the library that takes a network."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

import fastnn as fnn
from fastnn.activations import ACTIVATIONS
from fastnn.layers import Looped
from fastnn.warmup import every_optimizer
from tests import reference

RNG = np.random.default_rng(7)
FEATURES, OUTPUTS = 3, 4
# Layers by name, each with an output layer behind them.
STACKS: dict[str, list[Any]] = {
    "recurrent": [fnn.Recurrent(5)],
    "gru": [fnn.GRU(5)],
    "lstm": [fnn.LSTM(5)],
    "recurrent, all steps": [fnn.Recurrent(9, return_sequences=True)],
    "gru, all steps": [fnn.GRU(9, return_sequences=True)],
    "lstm, all steps": [fnn.LSTM(9, return_sequences=True)],
    "stacked": [fnn.LSTM(6, return_sequences=True), fnn.GRU(8, return_sequences=True), fnn.Recurrent(7, "sigmoid")],
    "mixed": [
        fnn.Dense(6, "tanh"), fnn.GRU(5, return_sequences=True), fnn.Dense(7, "sigmoid"), fnn.LSTM(4), fnn.Dense(5)
    ],
    "truncated": [fnn.Recurrent(6, truncate=2)],
    "truncated, all steps": [
        fnn.Recurrent(6, "sigmoid", True, truncate=3), fnn.GRU(5, True, truncate=2), fnn.LSTM(5, True, truncate=4)
    ],
    "truncated gates": [fnn.LSTM(5, True, truncate=1), fnn.GRU(5, truncate=3)],
}  # fmt: skip


def network(name: str, dtype: str = "float64", **options: Any) -> fnn.Network:
    return fnn.Network([fnn.Input(FEATURES), *STACKS[name], fnn.Dense(OUTPUTS)], seed=3, dtype=dtype, **options)


def batch(net: fnn.Network, n: int, steps: int) -> tuple[np.ndarray, np.ndarray]:
    every = all(layer.return_sequences for layer in net.dense if isinstance(layer, Looped))
    return RNG.standard_normal((n, steps, FEATURES)), RNG.integers(0, OUTPUTS, (n, steps) if every else n)


# ---- gradients -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("n", "steps"), [(1, 1), (3, 2), (17, 7), (2, 50)])
@pytest.mark.parametrize("name", STACKS)
def test_gradient_is_the_reference_s(name: str, n: int, steps: int) -> None:
    net = network(name)
    x, y = batch(net, n, steps)
    layers = reference.copied_through_time(net)
    loss, wanted = reference.gradient_through_time(layers, x, y, "cross_entropy")
    np.testing.assert_allclose(net(x), reference.through_time(layers, x)[0], rtol=1e-11, atol=1e-13)
    assert net.loss(x, y) == pytest.approx(loss, rel=1e-12)
    np.testing.assert_allclose(net.gradient(x, y), wanted, rtol=1e-9, atol=1e-13)


@pytest.mark.parametrize(("n", "steps"), [(1, 1), (2, 6), (1, 50)])
@pytest.mark.parametrize("name", [name for name in STACKS if "truncated" not in name])
def test_gradient_is_that_of_central_differences(name: str, n: int, steps: int) -> None:
    net = network(name)
    x, y = batch(net, n, steps)
    gradient, start = net.gradient(x, y), net.parameters.copy()
    for i in RNG.choice(start.size, 12, replace=False):
        at = []
        for change in (1e-5, -1e-5):
            net.parameters[:] = start
            net.parameters[i] += change
            at.append(net.loss(x, y))
        assert (at[0] - at[1]) / 2e-5 == pytest.approx(gradient[i], abs=1e-6)


@pytest.mark.parametrize("loss", ["mse", "binary_cross_entropy"])
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_every_activation_and_the_other_losses(activation: str, loss: str) -> None:
    """The recurrent layer is the last one, so that the loss's delta goes right into it."""
    for sequences in (False, True):
        net = fnn.Network([fnn.Input(2), fnn.Recurrent(3, activation, sequences)], seed=1, dtype="float64")
        x = RNG.standard_normal((5, 4, 2))
        y = RNG.random((5, 4, 3) if sequences else (5, 3))
        layers = reference.copied_through_time(net)
        np.testing.assert_allclose(
            net.gradient(x, y, loss), reference.gradient_through_time(layers, x, y, loss)[1], rtol=1e-9, atol=1e-13
        )


def test_truncation_cuts_only_what_lies_before() -> None:
    """Of a many-to-one network with truncate=k only the last k inputs have an influence on the gradient's path."""
    whole, cut, long = (
        fnn.Network([fnn.Input(2), fnn.LSTM(4, truncate=k), fnn.Dense(2)], seed=1) for k in (None, 2, 9)
    )
    x, y = RNG.standard_normal((6, 9, 2)), np.arange(6) % 2
    assert np.array_equal(whole.gradient(x, y), long.gradient(x, y))
    assert not np.allclose(whole.gradient(x, y), cut.gradient(x, y))
    assert np.array_equal(whole(x), cut(x))


def test_step_gradients_are_what_the_gradient_is_made_of() -> None:
    net = network("stacked")
    x, y = batch(net, 7, 9)
    first, second, third = net.step_gradients(x, y)
    assert (first.shape, second.shape, third.shape) == ((7, 9, 24), (7, 9, 24), (7, 9, 7))
    gradient = net.gradient(x, y)
    np.testing.assert_allclose(np.einsum("ntf,ntg->fg", x, first).ravel(), gradient[: 3 * 24], rtol=1e-9, atol=1e-14)
    assert fnn.Network([2, 2]).step_gradients(np.ones((1, 2)), [0]) == []


# ---- PyTorch ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["RNN", "GRU", "LSTM"])
@pytest.mark.parametrize("sequences", [False, True])
def test_numbers_are_pytorch_s(name: str, sequences: bool) -> None:
    torch = pytest.importorskip("torch")
    units, steps, n = 20, 11, 9
    torch.manual_seed(1)
    theirs = getattr(torch.nn, name)(FEATURES, units, batch_first=True)
    kind: Callable[..., Any] = {"RNN": fnn.Recurrent, "GRU": fnn.GRU, "LSTM": fnn.LSTM}[name]
    net = fnn.Network([fnn.Input(FEATURES), kind(units, return_sequences=sequences)], seed=2)
    view, numpy = net.layers[0], {key: value.detach().numpy() for key, value in theirs.named_parameters()}
    view.weight, view.recurrent_weight = numpy["weight_ih_l0"].T, numpy["weight_hh_l0"].T
    if name == "GRU":
        view.bias, view.recurrent_bias = numpy["bias_ih_l0"], numpy["bias_hh_l0"]
    else:
        view.bias = numpy["bias_ih_l0"] + numpy["bias_hh_l0"]
    x = RNG.standard_normal((n, steps, FEATURES)).astype(np.float32)
    y = RNG.standard_normal((n, steps, units) if sequences else (n, units)).astype(np.float32)
    out = theirs(torch.from_numpy(x))[0]
    out = out if sequences else out[:, -1]
    torch.nn.functional.mse_loss(out, torch.from_numpy(y)).backward()
    np.testing.assert_allclose(net(x), out.detach().numpy(), rtol=1e-5, atol=1e-5)
    grads = {key: value.grad.numpy() for key, value in theirs.named_parameters()}
    wanted = [grads["weight_ih_l0"].T, grads["weight_hh_l0"].T, grads["bias_ih_l0"]]
    wanted += [grads["bias_hh_l0"]] if name == "GRU" else []
    flat = np.concatenate([part.ravel() for part in wanted])
    np.testing.assert_allclose(net.gradient(x, y, "mse"), flat, rtol=1e-5, atol=1e-5)


# ---- training --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("optimizer", [*every_optimizer(), fnn.SGD(0.5, clip=0.05), fnn.Adam(clip=0.05)], ids=repr)
def test_training_is_the_reference_s(optimizer: Any) -> None:
    net = network("mixed")
    x, y = batch(net, 12, 5)
    layers = reference.copied_through_time(net)
    rule = {"sgd": reference.SGD, "adam": reference.Adam}[optimizer.name](**vars(optimizer))
    flat = net.parameters.copy()
    shadow = network("mixed")
    for _ in range(4):
        shadow.parameters = flat
        layers = reference.copied_through_time(shadow)
        flat = rule.step(flat, reference.gradient_through_time(layers, x, y, "cross_entropy")[1])
    net.fit(x, y, optimizer=optimizer, epochs=4, batch_size=12, shuffle=False)
    np.testing.assert_allclose(net.parameters, flat, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", ["recurrent", "gru, all steps", "stacked", "mixed", "truncated gates"])
def test_same_bits_for_any_number_of_threads(name: str, dtype: str) -> None:
    """Batches of 37 of 100: a last one of 26; with dropout."""
    x, y = batch(network(name), 100, 6)
    results = []
    for threads in (1, 2, 3, None):
        layers = [fnn.Input(FEATURES), fnn.Dropout(0.1), *STACKS[name], fnn.Dropout(0.3), fnn.Dense(OUTPUTS)]
        net = fnn.Network(layers, seed=4, dtype=dtype)
        history = net.fit(
            x, y, optimizer=fnn.Adam(1e-2), epochs=2, batch_size=37, threads=threads, validation=(x[:60], y[:60])
        )
        results.append((net.parameters.tobytes(), history))
        checked = net.evaluate(x[:60], y[:60])
        assert history.val_loss[-1] == pytest.approx(checked["loss"], rel=1e-6)
        # Hits are counted: no rounding, whatever the number of steps.
        assert history.val_accuracy[-1] == checked["accuracy"] == np.mean(net(x[:60]).argmax(-1) == y[:60])
    assert all(result == results[0] for result in results)


def test_prediction_has_the_same_bits_for_any_rows() -> None:
    net = network("stacked", "float32")
    x = RNG.standard_normal((3000, 20, FEATURES)).astype(np.float32)
    many = net(x)
    for rows in (slice(0, 1), slice(5, 9), slice(100, 300)):
        assert np.array_equal(net(x[rows]), many[rows])
    out = np.empty_like(many)
    assert net(x, out) is out and np.array_equal(out, many)


def test_dropout_between_steps_is_drawn_for_each() -> None:
    layers = [fnn.Input(1), fnn.Recurrent(40, "identity", True), fnn.Dropout(0.5), fnn.Dense(1)]
    net = fnn.Network(layers, seed=1)
    for name in ("weight", "recurrent_weight"):
        setattr(net.layers[0], name, np.zeros_like(getattr(net.layers[0], name)))
    net.layers[0].bias, net.layers[2].weight = np.ones(40), np.ones((40, 1))
    x = np.zeros((64, 10, 1))
    history = net.fit(x, np.full((64, 10), 40.0), loss="mse", optimizer=fnn.SGD(0.0), batch_size=64)
    # 40 units of 0 or 2, each with chance 1/2: a variance of 40.
    assert history.loss[0] == pytest.approx(40, rel=0.15)


# ---- everything that takes a network ---------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["mixed", "truncated, all steps"])
def test_save_load_and_copy(name: str, tmp_path: Path) -> None:
    net = network(name, "float32")
    x, y = batch(net, 20, 5)
    net.fit(x, y, batch_size=5)
    net.save(tmp_path / "net")
    for again in (fnn.load(tmp_path / "net"), pickle.loads(pickle.dumps(net))):
        assert np.array_equal(again(x), net(x)) and again.config() == net.config()
        assert [type(layer) for layer in again.dense] == [type(layer) for layer in net.dense]
        assert np.array_equal(again.gradient(x, y), net.gradient(x, y)), "truncation is kept"


def test_sequences_of_any_length_and_images_row_by_row() -> None:
    net = network("gru", "float32")
    assert [net(RNG.standard_normal((2, steps, FEATURES))).shape for steps in (1, 9, 4)] == [(2, OUTPUTS)] * 3
    flat = fnn.Network([fnn.Input(3, steps=4), fnn.LSTM(5), fnn.Dense(2)], seed=1)
    x = RNG.standard_normal((6, 12)).astype(np.float32)
    assert np.array_equal(flat(x), flat(x.reshape(6, 4, 3)))
    assert fnn.Network.from_config(flat.config(), flat.parameters).config() == flat.config()
    history = net.fit(
        RNG.random((8, 5, 3)), np.arange(8) % 4, batch_size=4, validation=(RNG.random((9, 7, 3)), np.ones(9, int))
    )
    assert np.isfinite(history.val_loss).all()


def test_trainer_watches_and_goes_back() -> None:
    net = network("mixed", "float32")
    x, y = batch(net, 40, 6)
    data = SimpleNamespace(x_train=x, y_train=y, x_test=x, y_test=y)
    trainer = fnn.Trainer(net, data, optimizer=fnn.Adam(), batch_size=15)
    trainer.watch("activations", "gradients", "weights", "updates")
    start = trainer.keep()
    first = list(trainer.run(2))[-1]
    names = [layer.name for layer in first.layers]
    assert names == ["L1 tanh 6", "L2 gru 5", "L3 sigmoid 7", "L4 lstm 4", "L5 identity 5", "L6 identity 4"]
    # The last batch has 10 rows of 6 steps; from the LSTM on, one step goes on.
    counts = [int(layer.activations.counts.sum()) for layer in first.layers]
    assert counts == [10 * 6 * 6, 10 * 6 * 5, 10 * 6 * 7, 10 * 6 * 4, 10 * 5, 10 * 4]
    assert int(first.layers[1].weights.counts.sum()) == (6 + 5) * 15  # type: ignore[union-attr]
    after = net.parameters.copy()
    trainer.restore(start)
    list(trainer.run(2))
    assert np.array_equal(net.parameters, after)


def test_divergence_names_its_layer() -> None:
    net = fnn.Network([fnn.Input(2), fnn.Recurrent(4, "identity"), fnn.Dense(1)], seed=1)
    x = RNG.standard_normal((30, 50, 2)) * 10
    data = SimpleNamespace(x_train=x, y_train=x[:, 0, 0])
    trainer = fnn.Trainer(net, data, loss="mse", batch_size=10, validation=None)
    last = list(trainer.run(20))[-1]
    assert last.state == "diverged" and last.culprit is not None and np.isfinite(net.parameters).all()


def test_summary_and_compiled() -> None:
    net = network("gru", "float32")
    lines = net.summary().splitlines()
    assert lines[2].split() == ["GRU(5)", "3x15", "+", "5x15", "tanh", "150"]
    with pytest.raises(ValueError, match="steps: None; expected the number of time steps"):
        net.compiled()
    assert net.compiled(steps=3).own.size


@pytest.mark.parametrize(
    ("layers", "message"),
    [
        ([fnn.Recurrent(3), fnn.GRU(2)], r"layers\[2\]: GRU.*expected return_sequences=True in the recurrent layer b"),
        ([fnn.Dense(3)], r"layers\[0\]: Input\(size=2, steps=4\) without a recurrent layer"),
    ],
)  # fmt: skip
def test_stacks_that_do_not_fit(layers: list[Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        fnn.Network([fnn.Input(2, steps=4), *layers])


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: fnn.Recurrent(0), "Recurrent: units: 0 is out of range"),
        (lambda: fnn.Recurrent(3, "tanhh"), "Recurrent: activation: unknown name 'tanhh'; did you mean 'tanh'"),
        (lambda: fnn.Recurrent(3, slope=0.1), "Recurrent: slope: 0.1 given for 'tanh'"),
        (lambda: fnn.GRU(3, return_sequences=1), "GRU: return_sequences: 1; expected True or False"),  # type: ignore[arg-type]
        (lambda: fnn.LSTM(3, truncate=0), "LSTM: truncate: 0 is out of range"),
        (lambda: fnn.LSTM(3, truncate=2**31), "LSTM: truncate: 2147483648 is out of range"),
        (lambda: fnn.Input(2, steps=10**30), "Input: steps: 1000000000000000000000000000000 is out of range"),
        (lambda: network("gru").compiled(steps=2**31), "steps: 2147483648 is out of range; expected from 1 to"),
        (lambda: fnn.LSTM(3, init="xaviar"), "LSTM: init: unknown name 'xaviar'"),
        (lambda: fnn.Input(3, steps=0), "Input: steps: 0 is out of range"),
        (lambda: fnn.Ensemble([fnn.Input(2), fnn.GRU(2)], 3), "expected no recurrent layers in an ensemble"),
    ],
)
def test_bad_layers(call: Any, message: str) -> None:
    with pytest.raises((ValueError, TypeError), match=message):
        call()


BAD_SEQUENCES: list[tuple[Any, str]] = [
    (np.zeros((2, 0, 3)), r"x: has shape \(2, 0, 3\), sequences of length 0; expected at least one"),
    (np.zeros((0, 4, 3)), r"x: has shape \(0, 4, 3\), no sequence"),
    ([np.zeros((4, 3)), np.zeros((5, 3))], r"x: has sequences of \[4, 5\] time steps; expected one length"),
    ([[[1.0, 2.0, 3.0], [1.0]]] * 2, r"x: cannot be read as an array .*; expected rows of equal length"),
    (np.zeros((2, 3)), r"x: has shape \(2, 3\); expected \(n, T, 3\)"),
    (np.zeros((2, 4, 2)), r"x: has shape \(2, 4, 2\); expected \(n, T, 3\)"),
    (np.full((2, 4, 3), np.nan), r"x: nan at index \(0, 0, 0\)"),
]


@pytest.mark.parametrize(("x", "message"), BAD_SEQUENCES)
def test_bad_sequences(x: Any, message: str) -> None:
    net = network("gru, all steps")
    before = net.parameters.copy()
    for call in (
        lambda: net(x),
        lambda: net.fit(x, np.zeros((2, 4), int)),
        lambda: net.evaluate(x, np.zeros((2, 4), int)),
    ):
        with pytest.raises(ValueError, match=message):
            call()
    assert np.array_equal(net.parameters, before)


def test_targets_are_those_of_the_steps() -> None:
    net = network("gru, all steps")
    x = np.zeros((2, 4, 3))
    for y in (np.zeros(2, int), np.zeros((2, 3), int), np.zeros((4, 2), int)):
        with pytest.raises(ValueError, match=r"y: has shape .*; expected \(2, 4\) or \(2, 4, 4\), a target for each"):
            net.fit(x, y)
    with pytest.raises(ValueError, match=r"y: label 4 at index \(1, 2\); expected classes from 0 to 3"):
        net.fit(x, [[0, 1, 2, 3], [0, 1, 4, 3]])
    for y in (np.zeros((2, 4)), np.zeros((2, 4, 3))):
        with pytest.raises(ValueError, match=r"y: has shape \(2, 4.*\); expected \(2, 4, 4\), a target for each"):
            net.fit(x, y, loss="mse")
    y = np.zeros((2, 4, 4))
    y[1, 2, 3] = np.nan
    with pytest.raises(ValueError, match=r"y: nan at index \(1, 2, 3\)"):
        net.fit(x, y, loss="mse")
    fixed = fnn.Network([fnn.Input(3, steps=5), fnn.GRU(2)])
    with pytest.raises(ValueError, match=r"x: has shape \(2, 4, 3\); expected \(n, 5, 3\)"):
        fixed(x)
