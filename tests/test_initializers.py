"""Initializers: the distributions of api's table, biases of 0, and that numbers belong to (seed, layer)."""

from __future__ import annotations

import math
import pickle
from collections.abc import Callable

import numpy as np
import pytest

import fastnn as fnn
from fastnn.initializers import INITIALIZERS

# Standard deviation for (fan_in, fan_out), and whether uniform: the definitions, once more.
TABLE: dict[str, tuple[Callable[[int, int], float], bool]] = {
    "zeros": (lambda i, o: 0.0, False),
    "normal": (lambda i, o: 1.0, False),
    "small_normal": (lambda i, o: 0.01, False),
    "xavier": (lambda i, o: math.sqrt(2 / (i + o)), False),
    "he": (lambda i, o: math.sqrt(2 / i), False),
    "lecture_he": (lambda i, o: math.sqrt(4 / (i + o)), False),
    "xavier_uniform": (lambda i, o: math.sqrt(6 / (i + o)) / math.sqrt(3), True),
    "he_uniform": (lambda i, o: math.sqrt(6 / i) / math.sqrt(3), True),
    "lecun": (lambda i, o: math.sqrt(1 / i), False),
}


def check(w: np.ndarray, std: float, uniform: bool) -> None:
    n = w.size
    assert abs(w.mean()) < 5 * std / math.sqrt(n)
    # The sample's deviation has the relative error sqrt((kurtosis - 1) / 4n).
    kurtosis = 1.8 if uniform else 3.0
    assert abs(w.std() / std - 1) < 5 * math.sqrt((kurtosis - 1) / 4 / n)
    assert abs(((w - w.mean()) ** 4).mean() / w.var() ** 2 - kurtosis) < (0.03 if uniform else 0.15)
    if uniform:
        edge = math.sqrt(3) * std
        assert np.abs(w).max() <= edge and np.abs(w).max() > 0.999 * edge
    # Neither rows nor columns stand out, and neighbors are independent.
    for axis in (0, 1):
        assert np.abs(w.mean(axis)).max() < 5.5 * std / math.sqrt(w.shape[axis])
    assert abs((w[1:] * w[:-1]).mean()) < 5 * std**2 / math.sqrt(n)


@pytest.mark.parametrize(("fan_in", "fan_out"), [(500, 120), (120, 500)])
@pytest.mark.parametrize("name", INITIALIZERS)
def test_distribution(name: str, fan_in: int, fan_out: int) -> None:
    std_of, uniform = TABLE[name]
    std = std_of(fan_in, fan_out)
    net = fnn.Network([fan_in, fan_out], init=name, seed=17, dtype="float64")
    w = net.layers[0].weight
    assert w.shape == (fan_in, fan_out)
    assert not net.layers[0].bias.any()
    if std == 0:
        assert not w.any()
    else:
        check(w, std, uniform)


@pytest.mark.parametrize("std", [0.01, 0.5, 3])
def test_normal_of_any_deviation(std: float) -> None:
    check(fnn.Network([300, 200], init=fnn.Normal(std), dtype="float64").layers[0].weight, std, False)
    check(fnn.Normal(std).draw(300, 200, 0, 1), std, False)


def test_layers_go_to_another_process() -> None:
    layer = fnn.Dense(3, init=fnn.Normal(0.5))
    assert pickle.loads(pickle.dumps(layer)) == layer != fnn.Dense(3, init=fnn.Normal(0.6))


def test_normal_of_deviation_0() -> None:
    assert not fnn.Network([4, 3], init=fnn.Normal(0)).parameters.any()


@pytest.mark.parametrize("name", INITIALIZERS)
def test_numbers_belong_to_seed_and_layer(name: str) -> None:
    entry = INITIALIZERS[name]
    same = entry.draw(30, 20, 5, 1)
    assert same.shape == (30, 20) and same.dtype == np.float64
    assert entry.draw(30, 20, 5, 1).tobytes() == same.tobytes()
    if name == "zeros":
        return
    others = [entry.draw(30, 20, seed, layer) for seed, layer in ((5, 0), (5, 2), (6, 1), (1, 5), (2**63 - 1, 1))]
    assert len({o.tobytes() for o in [same, *others]}) == 6
    for other in others:
        assert abs(np.corrcoef(same.ravel(), other.ravel())[0, 1]) < 5 / math.sqrt(600)


@pytest.mark.parametrize("name", INITIALIZERS)
def test_network_takes_the_layers_draws(name: str) -> None:
    for dtype in ("float32", "float64"):
        net = fnn.Network([7, 6, 5, 4], init=name, seed=8, dtype=dtype)
        for number, layer in enumerate(net.layers):
            wanted = INITIALIZERS[name].draw(*layer.weight.shape, 8, number).astype(dtype)
            assert layer.weight.tobytes() == wanted.tobytes()
            assert not layer.bias.any()


def test_recurrent_weights_have_draws_and_fans_of_their_own() -> None:
    layer = fnn.Network([fnn.Input(300), fnn.Recurrent(100, init="xavier"), fnn.Dense(2)]).layers[0]
    assert layer.weight.std() == pytest.approx(math.sqrt(2 / 400), rel=0.02)
    assert layer.recurrent_weight.std() == pytest.approx(math.sqrt(2 / 200), rel=0.02)
    assert abs(np.corrcoef(layer.weight[:100].ravel(), layer.recurrent_weight.ravel())[0, 1]) < 0.05


def test_the_forget_gate_of_an_lstm_begins_open() -> None:
    bias = fnn.Network([fnn.Input(3), fnn.LSTM(4), fnn.Dense(2)]).layers[0].bias
    assert bias.tolist() == [0.0] * 4 + [1.0] * 4 + [0.0] * 8  # i, f, g, o


def test_layers_after_do_not_change_layers_before() -> None:
    short, long = fnn.Network([7, 6, 5], seed=3), fnn.Network([7, 6, 5, 4], seed=3)
    assert short.layers[0].weight.tobytes() == long.layers[0].weight.tobytes()
    with_dropout = fnn.Network([fnn.Input(7), fnn.Dense(6, "relu"), fnn.Dropout(0.5), fnn.Dense(5)], seed=3)
    assert with_dropout.parameters.tobytes() == short.parameters.tobytes()


def test_defaults() -> None:
    for activation, wanted in [("relu", "he"), ("leaky_relu", "he"), ("tanh", "xavier"), ("sigmoid", "xavier")]:
        net = fnn.Network([30, 20, 10], activation=activation, seed=4)
        assert net.layers[0].weight.tobytes() == INITIALIZERS[wanted].draw(30, 20, 4, 0).astype(np.float32).tobytes()
        assert net.layers[1].weight.tobytes() == INITIALIZERS["xavier"].draw(20, 10, 4, 1).astype(np.float32).tobytes()


def test_each_layer_may_have_its_own() -> None:
    stack = [fnn.Input(30), fnn.Dense(20, "tanh", init="zeros"), fnn.Dense(10, init=fnn.Normal(0.5))]
    net = fnn.Network(stack, seed=4)
    assert not net.layers[0].weight.any()
    assert net.layers[1].weight.std() == pytest.approx(0.5, rel=0.3)


def test_every_initializer_is_complete() -> None:
    assert set(INITIALIZERS) == set(TABLE), "write its deviation in the table above"
    for name, entry in INITIALIZERS.items():
        assert entry.name == name and entry.formula.strip() and entry.source.strip()
        assert entry.uniform == TABLE[name][1]
