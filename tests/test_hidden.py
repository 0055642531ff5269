"""Outputs of the layers within a network."""

from __future__ import annotations

import numpy as np
import pytest

import fastnn as fnn
from fastnn.hidden import outputs_of


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("rows", [1, 7, 500])
def test_each_layer_follows_from_the_one_before(dtype: str, rows: int) -> None:
    network = fnn.Network([3, 9, 5, 2], activation="tanh", seed=3, dtype=dtype)
    x = np.random.default_rng(1).normal(size=(rows, 3))
    before = x
    for layer, view in enumerate(network.layers):
        expected = before @ view.weight.astype(float) + view.bias
        before = np.tanh(expected) if layer < 2 else expected
        found = outputs_of(network, layer, x.astype(dtype))
        assert found.dtype == network.dtype and np.allclose(found, before, atol=1e-5 if dtype == "float32" else 1e-12)
    assert np.array_equal(found, network(x.astype(dtype)))


def test_dropout_is_left_out_and_errors_are_named() -> None:
    network = fnn.Network([fnn.Input(4), fnn.Dense(8, "relu"), fnn.Dropout(0.9), fnn.Dense(3)], seed=1)
    x = np.ones((5, 4), np.float32)
    assert np.array_equal(outputs_of(network, 1, x), network(x))
    for layer, message in ((2, "layer: 2 is out of range"), (-1, "layer: -1"), (1.5, "layer: expected an integer")):
        with pytest.raises((ValueError, TypeError), match=message):
            outputs_of(network, layer, x)
    with pytest.raises(ValueError, match="x:"):
        outputs_of(network, 0, np.ones((5, 3)))
    with pytest.raises(ValueError, match=r"network: .* has recurrent layers"):
        outputs_of(fnn.Network([fnn.Input(4), fnn.GRU(3), fnn.Dense(2)]), 0, x)
    with pytest.raises(ValueError, match="x:"):
        outputs_of(network, 0, np.full((5, 4), np.nan))
