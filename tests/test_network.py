"""The public names of Network as the documentation shows them: views, prediction, compiled use, copies."""

from __future__ import annotations

import copy
import pickle
from pathlib import Path

import numba
import numpy as np
import pytest
import reference
from numba.core.runtime import _nrt_python, rtsys

import fastnn as fnn

DTYPES = ["float32", "float64"]
STACK = [fnn.Input(6), fnn.Dense(9, "tanh"), fnn.Dropout(0.3), fnn.Dense(7, "leaky_relu", slope=0.2), fnn.Dense(3)]


def batch(rows: int = 50, features: int = 6) -> np.ndarray:
    return np.random.default_rng(2).standard_normal((rows, features))


def same(a: fnn.Network, b: fnn.Network) -> bool:
    x = batch(20, a.sizes[0])
    return a.config() == b.config() and a.parameters.tobytes() == b.parameters.tobytes() and bool((a(x) == b(x)).all())


def test_the_documented_example(tmp_path: Path) -> None:
    data = fnn.datasets.load("digits")
    net = fnn.Network([64, 32, 10], activation="relu", init="he", seed=0)
    assert [layer.activation for layer in net.layers] == ["relu", "identity"]
    net = fnn.Network([fnn.Input(64), fnn.Dense(32, "relu"), fnn.Dropout(0.2), fnn.Dense(10)], seed=0, dtype="float32")
    history = net.fit(
        data.x_train, data.y_train, loss="cross_entropy", optimizer=fnn.Adam(1e-3), epochs=3, batch_size=32,
        shuffle=True, validation=(data.x_test, data.y_test), threads=None,
    )  # fmt: skip
    assert len(history.loss) == len(history.val_loss) == len(history.val_accuracy) == 3
    assert history.loss[0] > history.loss[-1] and history.val_accuracy[-1] > 0.5
    assert net(data.x_test).shape == (len(data.x_test), 10)
    result = net.evaluate(data.x_test, data.y_test)
    assert result == {"loss": history.val_loss[-1], "accuracy": history.val_accuracy[-1]}
    x, y = data.x_train[:40], data.y_train[:40]
    loss = net.loss(x, y, loss="cross_entropy")
    assert type(loss) is float
    gradient = net.gradient(x, y, loss="cross_entropy")
    assert gradient.shape == net.parameters.shape == (64 * 32 + 32 + 32 * 10 + 10,)
    net.parameters -= (0.05 * gradient).astype(np.float32)
    assert net.loss(x, y) < loss
    assert net.layers[0].weight.shape == (64, 32) and net.layers[0].bias.shape == (32,)
    net.save(tmp_path / "digits.safetensors")
    assert same(fnn.load(tmp_path / "digits.safetensors"), net)
    snapshots = list(fnn.Trainer(net, data, optimizer=fnn.SGD(0.1, momentum=0.9), batch_size=32).run(epochs=2))
    last = snapshots[-1]
    assert (last.epoch, last.step, last.state) == (2, 2 * -(-len(data.x_train) // 32), "finished")
    assert last.loss > 0 and last.samples_per_second > 0
    histogram = last.layers[0].activations
    assert histogram.counts.shape == (30,) and histogram.edges.shape == (31,)
    rows_of_last_batch, units = len(data.x_train) % 32 or 32, 32
    assert histogram.counts.sum() == rows_of_last_batch * units


@pytest.mark.parametrize("dtype", DTYPES)
def test_parameters_are_views(dtype: str) -> None:
    net = fnn.Network([4, 3, 2], seed=1, dtype=dtype)
    x = batch(5, 4)
    before = net(x)
    assert net.parameters is not None and net.parameters.dtype == dtype and net.parameters.ndim == 1
    flat = np.concatenate([a.ravel() for layer in net.layers for a in (layer.weight, layer.bias)])
    np.testing.assert_array_equal(net.parameters, flat)
    for layer in net.layers:
        assert np.shares_memory(layer.weight, net.parameters) and np.shares_memory(layer.bias, net.parameters)
    # Writing changes the outputs at once, also after compiled() and a call have looked at them.
    net.layers[1].bias[...] = [10, 20]
    np.testing.assert_allclose(net(x), before + np.array([10, 20]), rtol=1e-5)
    net.layers[1].bias = [0, 0]
    np.testing.assert_array_equal(net(x), before)
    net.parameters[...] = 0
    assert not net(x).any() and not net.layers[0].weight.any()
    net.parameters = np.arange(net.parameters.size)
    assert net.layers[0].weight[1, 2] == 5
    net.layers[0].weight = np.ones((4, 3))
    assert net.parameters[:12].tolist() == [1] * 12


def test_training_starts_from_written_parameters() -> None:
    x, y = batch(20), np.arange(20) % 3
    net = fnn.Network([6, 5, 3], seed=1, dtype="float64")
    net.fit(x, y, batch_size=10)
    written = np.random.default_rng(3).standard_normal(net.parameters.size) / 3
    net.parameters[...] = written
    layers = reference.copied(net)
    net.fit(x, y, optimizer=fnn.SGD(0.1), batch_size=10, epochs=2, shuffle=False)
    trained, _ = reference.train(layers, x, y, "cross_entropy", reference.SGD(0.1), [np.arange(20)] * 2, 10)
    np.testing.assert_allclose(net.parameters, reference.flat(trained), rtol=1e-10, atol=1e-14)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("rows", [1, 2, 15, 16, 47, 48, 49, 97, 500])
def test_prediction(dtype: str, rows: int) -> None:
    net = fnn.Network(STACK, seed=3, dtype=dtype)
    for layer in net.layers:
        if layer.activation:
            layer.bias[...] = np.linspace(-1, 1, layer.bias.size)
    x = batch(rows).astype(dtype)
    wanted = reference.forward(reference.copied(net), x.astype(float))
    got = net(x)
    assert got.shape == (rows, 3) and got.dtype == dtype
    np.testing.assert_allclose(
        got, wanted, rtol=1e-5 if dtype == "float32" else 1e-12, atol=1e-6 if dtype == "float32" else 0
    )
    # Rows never meet.
    assert net(x[rows // 2 :]).tobytes() == got[rows // 2 :].tobytes()
    out = np.full((rows, 3), np.nan, dtype)
    assert net(x, out=out) is out and out.tobytes() == got.tobytes()


def test_inputs_of_other_kinds() -> None:
    net = fnn.Network(STACK, seed=3)
    x = np.round(batch(10) * 4)
    wanted = net(x.astype(np.float32))
    for other in (x, x.tolist(), x.astype(int), np.asfortranarray(x), np.repeat(x, 2, 0)[::2], x.astype(np.float16)):
        np.testing.assert_array_equal(net(other), wanted)
    frozen = x.astype(np.float32)
    frozen.flags.writeable = False
    np.testing.assert_array_equal(net(frozen), wanted)


def test_outputs_are_the_callers() -> None:
    net = fnn.Network([6, 3], seed=3)
    first = net(batch())
    kept = first.copy()
    net(batch() + 1)
    np.testing.assert_array_equal(first, kept)


def test_summary() -> None:
    lines = fnn.Network(STACK).summary().splitlines()
    assert lines[0].split() == ["layer", "shape", "activation", "parameters"]
    assert [line.split() for line in lines[1:]] == [
        ["Input(6)"],
        ["Dense(9)", "6x9", "tanh", "63"],
        ["Dropout(0.3)"],
        ["Dense(7)", "9x7", "leaky_relu", "70"],
        ["Dense(3)", "7x3", "identity", "24"],
        ["total", "157"],
    ]
    assert "1,010" in fnn.Network([100, 10]).summary()


@pytest.mark.parametrize("dtype", DTYPES)
def test_copies(dtype: str, tmp_path: Path) -> None:
    net = fnn.Network(STACK, seed=3, dtype=dtype)
    x, y = batch(40), np.arange(40) % 3
    net.fit(x, y, loss="mse", epochs=2, batch_size=16)
    net.save(tmp_path / "net.safetensors")
    for other in (
        pickle.loads(pickle.dumps(net)),
        copy.deepcopy(net),
        copy.copy(net),
        fnn.load(tmp_path / "net.safetensors"),
    ):
        assert same(other, net) and repr(other) and other.dtype == dtype
        assert other.evaluate(x, y) == net.evaluate(x, y)  # the loss it was trained with goes along
        assert not np.shares_memory(other.parameters, net.parameters)
        assert other.layers[2].layer.constant == pytest.approx(0.2)
        other.layers[0].weight[0, 0] += 1
        assert not same(other, net)
        other.layers[0].weight[0, 0] = net.layers[0].weight[0, 0]
        # Training goes on as it would have: shuffling, dropout and all.
        twin = copy.deepcopy(net)
        twin.fit(x, y, batch_size=16)
        other.fit(x, y, batch_size=16)
        assert same(other, twin)


def test_same_seed_same_network_other_seed_another() -> None:
    parameters = [fnn.Network([5, 4, 3], seed=s).parameters.tobytes() for s in (0, 0, 1, 2**63 - 1)]
    assert parameters[0] == parameters[1] and len(set(parameters)) == 3


# ---- in the caller's own compiled code -------------------------------------------------------------------------------


@numba.njit
def rollout(state, x, out):
    fnn.jit.predict(state, x, out)


@numba.njit
def many(state, x, out, times):
    for _ in range(times):
        fnn.jit.predict(state, x, out)


@pytest.mark.parametrize("dtype", DTYPES)
def test_compiled_state_in_the_callers_code(dtype: str) -> None:
    net = fnn.Network(STACK, seed=3, dtype=dtype)
    state = net.compiled()
    x = batch(101).astype(dtype)
    out = np.full((101, 3), np.nan, dtype)
    rollout(state, x, out)
    assert out.tobytes() == net(x).tobytes()
    # It shares memory with the network.
    assert np.shares_memory(state.parameters, net.parameters)
    net.layers[-1].bias[...] += 1
    rollout(state, x, out)
    assert out.tobytes() == net(x).tobytes()
    net.fit(x, np.arange(101) % 3, batch_size=20)
    rollout(state, x, out)
    assert out.tobytes() == net(x).tobytes()


@pytest.mark.parametrize("dtype", DTYPES)
def test_compiled_prediction_allocates_nothing(dtype: str) -> None:
    state, x, out = (
        fnn.Network(STACK, seed=3, dtype=dtype).compiled(),
        batch(101).astype(dtype),
        np.zeros((101, 3), dtype),
    )
    many(state, x, out, 1)
    enabled = _nrt_python.memsys_stats_enabled()
    _nrt_python.memsys_enable_stats()
    try:
        counts = []
        for times in (1, 1000):
            before = rtsys.get_allocation_stats().alloc
            many(state, x, out, times)
            counts.append(rtsys.get_allocation_stats().alloc - before)
    finally:
        if not enabled:
            _nrt_python.memsys_disable_stats()
    # Handing arrays over may cost some, once a call; a thousand predictions cost no more than one.
    assert counts[0] == counts[1]


def test_one_state_for_one_thread_each() -> None:
    net = fnn.Network([6, 5, 3])
    a, b = net.compiled(), net.compiled()
    assert np.shares_memory(a.parameters, b.parameters)
    assert not np.shares_memory(a.scratch, b.scratch)
