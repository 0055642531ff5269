"""Optimizers: whole training runs against the NumPy reference, step for step, last smaller batches included."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import reference

import fastnn as fnn
from fastnn.cpu.engine import Runner
from fastnn.cpu.train import fill_order
from fastnn.losses import LOSSES
from fastnn.optimizers import OPTIMIZERS, WIDTH

VARIANTS: dict[str, list[dict[str, Any]]] = {
    "sgd": [
        {"lr": 0.1},
        {"lr": 0.1, "weight_decay": 0.02},
        {"lr": 0.05, "momentum": 0.9},
        {"lr": 0.05, "momentum": 0.9, "weight_decay": 0.02},
        {"lr": 0.05, "momentum": 0.9, "nesterov": True},
        {"lr": 0.05, "momentum": 0.5, "nesterov": True, "weight_decay": 0.02},
        {"lr": 0.0, "momentum": 0.9},
        {"lr": 0.1, "weight_decay": 0.02, "clip": 0.1},
        {"lr": 0.05, "momentum": 0.9, "clip": 0.3},
    ],
    "adam": [
        {},
        {"lr": 0.02},
        {"lr": 0.01, "beta1": 0.5, "beta2": 0.9, "eps": 1e-3},
        {"lr": 0.01, "clip": 0.2},
        {"lr": 0.01, "beta1": 0.0, "beta2": 0.0, "eps": 0.1},
    ],
}
CASES = [(name, options) for name in OPTIMIZERS for options in VARIANTS.get(name, [])]
NAMES = [f"{name}-{'-'.join(f'{k}={v}' for k, v in options.items()) or 'defaults'}" for name, options in CASES]
ROWS, SIZES, BATCH, EPOCHS = 27, (4, 6, 5, 3), 8, 3  # batches of 8, 8, 8 and 3


def data(loss: str, rows: int = ROWS, sizes: tuple[int, ...] = SIZES) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(11)
    x = rng.standard_normal((rows, sizes[0])).astype(np.float32).astype(float)
    if LOSSES[loss].labels:
        return x, rng.integers(0, sizes[-1], rows)
    return x, rng.uniform(0, 1, (rows, sizes[-1])).astype(np.float32).astype(float)


def distance(got: np.ndarray, wanted: np.ndarray) -> float:
    return float(np.linalg.norm(got - wanted) / np.linalg.norm(wanted))


def compare(
    dtype: str, optimizer: Any, twin: Any, *, loss: str = "cross_entropy", sizes: tuple[int, ...] = SIZES,
    rows: int = ROWS, batch: int = BATCH, epochs: int = EPOCHS, activation: str = "tanh",
) -> fnn.Network:  # fmt: skip
    """Train a network and the reference side by side; parameters and recorded losses must agree."""
    net = fnn.Network(sizes, activation=activation, seed=2, dtype=dtype)
    layers = reference.copied(net)
    x, y = data(loss, rows, sizes)
    history = net.fit(x, y, loss=loss, optimizer=optimizer, epochs=epochs, batch_size=batch, shuffle=False)
    trained, losses = reference.train(layers, x, y, loss, twin, [np.arange(rows)] * epochs, batch)
    tolerance = 1e-10 if dtype == "float64" else 1e-4
    assert distance(net.parameters, reference.flat(trained)) <= tolerance
    np.testing.assert_allclose(history.loss, losses, rtol=tolerance)
    return net


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize(("name", "options"), CASES, ids=NAMES)
def test_training_run(name: str, options: dict[str, Any], dtype: str) -> None:
    compare(dtype, OPTIMIZERS[name](**options), reference.OPTIMIZERS[name](**({"lr": 1e-3} | options)))


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_training_run_with_every_loss(name: str, loss: str) -> None:
    options = VARIANTS[name][1]
    compare("float64", OPTIMIZERS[name](**options), reference.OPTIMIZERS[name](**options), loss=loss)


@pytest.mark.parametrize(("name", "options"), CASES, ids=NAMES)
def test_wide_layers(name: str, options: dict[str, Any]) -> None:
    # More rows of weights than a tile (48), more of a batch than a block (48), more parameters than the block of
    # gradients that waits for its update (4096).
    sizes = (130, 97, 70, 3)
    compare(
        "float64", OPTIMIZERS[name](**options), reference.OPTIMIZERS[name](**({"lr": 1e-3} | options)),
        sizes=sizes, rows=70, batch=60, epochs=2, activation="relu",
    )  # fmt: skip


@pytest.mark.parametrize("batch", [1, 5, 9, 26, 27])
def test_every_kind_of_last_batch(batch: int) -> None:
    for name in OPTIMIZERS:
        options = VARIANTS[name][-2]
        compare("float64", OPTIMIZERS[name](**options), reference.OPTIMIZERS[name](**options), batch=batch)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_steps_count_on_through_chunks(name: str) -> None:
    # Many chunks of one step each: what an optimizer remembers, and Adam's count of steps, go on between them.
    options = VARIANTS[name][-2]
    net = fnn.Network(SIZES, activation="tanh", seed=2, dtype="float64")
    layers = reference.copied(net)
    x, y = data("cross_entropy")
    trainer = fnn.Trainer(
        net,
        SimpleNamespace(x_train=x, y_train=y),
        optimizer=OPTIMIZERS[name](**options),
        batch_size=BATCH,
        shuffle=False,
        validation=False,
    )
    for snapshot in trainer.run(2, paused=True):
        if snapshot.state == "paused":
            trainer.step()
    trained, losses = reference.train(
        layers, x, y, "cross_entropy", reference.OPTIMIZERS[name](**options), [np.arange(ROWS)] * 2, BATCH
    )
    assert distance(net.parameters, reference.flat(trained)) <= 1e-10
    np.testing.assert_allclose(trainer.history.loss, losses, rtol=1e-10)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_learning_rate_changes_what_follows(name: str) -> None:
    options = VARIANTS[name][-2]
    net = fnn.Network(SIZES, activation="tanh", seed=2, dtype="float64")
    parameters, layers = reference.flat(reference.copied(net)), reference.copied(net)
    x, y = data("cross_entropy")
    trainer = fnn.Trainer(
        net,
        SimpleNamespace(x_train=x, y_train=y),
        optimizer=OPTIMIZERS[name](**options),
        batch_size=ROWS,
        shuffle=False,
        validation=False,
    )
    twin = reference.OPTIMIZERS[name](**options)
    rates = [options["lr"], options["lr"] / 10, options["lr"] * 3]
    for rate in rates:
        trainer.set_learning_rate(rate)
        for _ in trainer.run(1):
            pass
        twin.lr = rate
        _, g = reference.gradient(reference.filled(layers, parameters), x, y, "cross_entropy")
        parameters = twin.step(parameters, g)
    assert distance(net.parameters, parameters) <= 1e-10


def test_fit_takes_the_shuffled_order_of_its_epochs() -> None:
    # The order comes from the generator; what is checked is that training follows it, sample by sample, and that a
    # second fit goes on with the next epochs' orders.
    net = fnn.Network(SIZES, activation="tanh", seed=5, dtype="float64")
    layers = reference.copied(net)
    x, y = data("cross_entropy")
    first = net.fit(x, y, optimizer=fnn.SGD(0.1), epochs=2, batch_size=BATCH)
    second = net.fit(x, y, optimizer=fnn.SGD(0.1), epochs=1, batch_size=BATCH)
    orders = []
    for epoch in range(3):
        orders.append(np.zeros(ROWS, np.int64))
        fill_order(orders[-1], 5, epoch)
    trained, losses = reference.train(layers, x, y, "cross_entropy", reference.SGD(0.1), orders, BATCH)
    assert distance(net.parameters, reference.flat(trained)) <= 1e-10
    np.testing.assert_allclose(first.loss + second.loss, losses, rtol=1e-10)


def visits(net: fnn.Network, rows: int, batch: int, epochs: int) -> np.ndarray:
    """How much each sample was trained on, in units of one visit in a full batch.

    Sample i is the i-th unit vector, so only it moves row i of the weights; the rate is so small that each visit
    moves it alike.
    """
    rate, before = 1e-9, net.layers[0].weight.copy()
    x, y = np.eye(rows), np.full((rows, 1), 1.0)
    net.fit(x, y, loss="mse", optimizer=fnn.SGD(rate), epochs=epochs, batch_size=batch)
    # mse of one output: d/dw_i = 2 (w_i + b - 1) / rows of the batch
    once = rate * 2 * (1 - before[:, 0] - net.layers[0].bias[0]) / batch
    return (net.layers[0].weight - before)[:, 0] / once


def test_an_epoch_trains_every_sample_once() -> None:
    rows, batch = 40, 8
    net = fnn.Network([fnn.Input(rows), fnn.Dense(1, init=fnn.Normal(0.1))], dtype="float64", seed=3)
    for epochs in (1, 1, 3):
        np.testing.assert_allclose(visits(net, rows, batch, epochs), epochs, rtol=1e-4)


def test_the_last_smaller_batch_is_trained_and_others_come_last_each_epoch() -> None:
    rows, batch = 43, 8  # five batches of 8, one of 3, whose samples weigh 8/3 as much
    net = fnn.Network([fnn.Input(rows), fnn.Dense(1, init=fnn.Normal(0.1))], dtype="float64", seed=3)
    last = []
    for _ in range(4):
        weights = visits(net, rows, batch, 1)
        small = weights > 2
        assert small.sum() == 3
        np.testing.assert_allclose(weights[small], 8 / 3, rtol=1e-4)
        np.testing.assert_allclose(weights[~small], 1, rtol=1e-4)
        last.append(frozenset(np.flatnonzero(small)))
    assert len(set(last)) > 1


@pytest.mark.parametrize("loss", LOSSES)
def test_history_counts_samples_not_batches(loss: str) -> None:
    # At rate 0 the epoch's loss is the mean over all samples, whatever the batches.
    x, y = data(loss)
    for batch in (1, 8, 27):
        net = fnn.Network(SIZES, seed=2, dtype="float64")
        history = net.fit(x, y, loss=loss, optimizer=fnn.SGD(0.0), batch_size=batch, validation=(x, y), epochs=2)
        wanted = net.evaluate(x, y, loss)
        np.testing.assert_allclose(history.loss, [wanted["loss"]] * 2, rtol=1e-13)
        np.testing.assert_allclose(history.val_loss, [wanted["loss"]] * 2, rtol=1e-13)
        accuracies = [wanted["accuracy"]] * 2 if LOSSES[loss].labels else []
        assert history.accuracy == history.val_accuracy == accuracies


# ---- the registry is covered -----------------------------------------------------------------------------------------


def test_every_optimizer_is_complete() -> None:
    assert set(OPTIMIZERS) == set(reference.OPTIMIZERS), "write its formulas in tests/reference.py, in NumPy"
    assert set(OPTIMIZERS) == set(VARIANTS), "write its variants above"
    for name, entry in OPTIMIZERS.items():
        assert entry.name == name
        assert entry.formula.strip() and entry.source.strip() and entry.__doc__
        for options in VARIANTS[name]:
            optimizer = entry(**options)
            assert 0 <= optimizer.slots <= 2
            assert optimizer.coefficients(1, 3, optimizer.lr).shape == (3, WIDTH)


def test_an_optimizer_remembers_nothing() -> None:
    # What it remembers belongs to a run: one object serves two networks.
    x, y = data("cross_entropy")
    for optimizer in (fnn.SGD(0.1, momentum=0.9), fnn.Adam(0.01)):
        parameters = []
        for _ in range(2):
            net = fnn.Network(SIZES, seed=2)
            net.fit(x, y, optimizer=optimizer, epochs=2, batch_size=BATCH)
            parameters.append(net.parameters.tobytes())
        assert parameters[0] == parameters[1]


@pytest.mark.parametrize("optimizer", [fnn.SGD(0.1, momentum=0.9), fnn.Adam(0.01)], ids=["sgd", "adam"])
@pytest.mark.parametrize("threads", [1, 2])
def test_what_is_remembered_of_old_gradients_becomes_0_not_subnormal(threads: int, optimizer: Any) -> None:
    x, y = np.random.default_rng(0).standard_normal((64, 2), np.float32), np.arange(64) % 2
    x[:, 1] = 0  # so are the gradients of the second row of weights
    net = fnn.Network([2, 4, 2], seed=1)
    runner = Runner(net.architecture, net.storage, (x, y), loss="cross_entropy", optimizer=optimizer, batch=32,
                    threads=threads)  # fmt: skip
    memory = runner.memory[0][: 2 * 4].reshape(2, 4)
    memory[1] = 0.5
    runner.run(1000, optimizer.lr)
    assert memory[0].any() and not memory[1].any()  # 0.9^1000 is below the smallest number, but 4 of it times 0.9 is 4
    assert np.float32(1e-40) * np.float32(1) > 0  # the caller's own numbers stay
