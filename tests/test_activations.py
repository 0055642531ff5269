"""Activations: values, derivatives in terms of y, ranges, and that a block touches only its own numbers."""

from __future__ import annotations

import ctypes
from typing import Any

import numpy as np
import pytest
import reference

import fastnn as fnn
from fastnn.activations import ACTIVATIONS
from fastnn.cpu import blocks

TYPES = [np.float32, np.float64]
GUARD = 77.25


def forward(name: str, x: np.ndarray, slope: float) -> np.ndarray:
    """The engine's block, in place, between guards."""
    F = x.dtype.type
    address = blocks.activation(name, F)[0]
    if not address:
        return x.copy()
    memory = np.full(x.size + 128, GUARD, F)
    y = memory[64 : 64 + x.size]
    y[:] = x.ravel()
    ctypes.CFUNCTYPE(None, ctypes.c_ssize_t, ctypes.c_ssize_t, number(F))(address)(y.ctypes.data, y.size, slope)
    assert (memory[:64] == GUARD).all() and (memory[64 + x.size :] == GUARD).all()
    return y


def backward(name: str, y: np.ndarray, d: np.ndarray, slope: float) -> np.ndarray:
    F = y.dtype.type
    address = blocks.activation(name, F)[1]
    if not address:
        return d.copy()
    memory, kept = np.full(y.size + 128, GUARD, F), y.copy()
    result = memory[64 : 64 + y.size]
    result[:] = d
    block = ctypes.CFUNCTYPE(None, ctypes.c_ssize_t, ctypes.c_ssize_t, ctypes.c_ssize_t, number(F))(address)
    block(y.ctypes.data, result.ctypes.data, y.size, slope)
    assert (memory[:64] == GUARD).all() and (memory[64 + y.size :] == GUARD).all()
    assert y.tobytes() == kept.tobytes()
    return result


def number(F: type) -> Any:
    return ctypes.c_float if F is np.float32 else ctypes.c_double


def arguments(F: type) -> np.ndarray:
    rng = np.random.default_rng(8)
    return np.concatenate(
        [rng.uniform(-6, 6, 2000), rng.uniform(-200, 200, 500), [0, 1e-30, -1e-30, 1e30, -1e30]]
    ).astype(F)


def slopes(name: str) -> list[float]:
    slope = ACTIVATIONS[name].slope
    return [slope, 0.25, 0.75] if slope else [0.0]


@pytest.mark.parametrize("F", TYPES)
@pytest.mark.parametrize("name", ACTIVATIONS)
def test_values(name: str, F: type) -> None:
    x = arguments(F)
    for slope in slopes(name):
        slope = float(F(slope))
        wanted = reference.ACTIVATIONS[name][0](x.astype(float), slope)
        np.testing.assert_allclose(forward(name, x, slope), wanted, rtol=4 * np.finfo(F).eps, atol=np.finfo(F).tiny)


@pytest.mark.parametrize("F", TYPES)
@pytest.mark.parametrize("name", ACTIVATIONS)
def test_derivatives_from_y(name: str, F: type) -> None:
    x = arguments(F)
    x, d = x[x != 0], np.random.default_rng(9).standard_normal(np.count_nonzero(x)).astype(F)
    for slope in slopes(name):
        slope = float(F(slope))
        y = reference.ACTIVATIONS[name][0](x.astype(float), slope).astype(F)
        wanted = d * reference.ACTIVATIONS[name][1](x.astype(float), slope)
        # y near an end of the range has lost digits of 1 - y: an error of eps, not of eps times the derivative.
        np.testing.assert_allclose(
            backward(name, y, d, slope), wanted, rtol=4 * np.finfo(F).eps, atol=8 * np.finfo(F).eps
        )


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_derivative_is_of_the_value(name: str) -> None:
    # Needs no reference: a new entry's two formulas must agree.
    x = np.random.default_rng(10).uniform(-4, 4, 500)
    x, h = x[np.abs(x) > 1e-3], 1e-5
    for slope in slopes(name):
        difference = (forward(name, x + h, slope) - forward(name, x - h, slope)) / (2 * h)
        got = backward(name, forward(name, x, slope), np.ones_like(x), slope)
        np.testing.assert_allclose(got, difference, rtol=1e-8, atol=1e-9)


@pytest.mark.parametrize("F", TYPES)
@pytest.mark.parametrize("name", ACTIVATIONS)
def test_range(name: str, F: type) -> None:
    entry = ACTIVATIONS[name]
    low, high = entry.range
    y = forward(name, arguments(F), entry.slope)
    assert low < high and (y >= low).all() and (y <= high).all()
    # And the range is not stated too wide.
    far = forward(name, np.array([-1e6, 1e6], F), entry.slope)
    for end, value in ((low, far.min()), (high, far.max())):
        assert value == pytest.approx(end) if np.isfinite(end) else abs(value) > 1e3
    assert set(entry.saturates) <= {low, high}


@pytest.mark.parametrize("F", TYPES)
@pytest.mark.parametrize("name", ACTIVATIONS)
def test_nan_is_not_hidden(name: str, F: type) -> None:
    x = np.linspace(-1, 1, 37).astype(F)
    x[[0, 17, 36]] = np.nan
    np.testing.assert_array_equal(np.isnan(forward(name, x, 0.01)), np.isnan(x))


@pytest.mark.parametrize("F", TYPES)
@pytest.mark.parametrize("name", ACTIVATIONS)
def test_every_length(name: str, F: type) -> None:
    x = arguments(F)[:70]
    whole = forward(name, x, 0.25)
    for n in range(70):
        assert forward(name, x[:n], 0.25).tobytes() == whole[:n].tobytes()
        assert backward(name, whole[:n].copy(), x[:n], 0.25).tobytes() == backward(name, whole, x, 0.25)[:n].tobytes()


def test_relu_at_zero() -> None:
    # PyTorch's choice: no gradient at 0; of leaky_relu the slope.
    zero, one = np.zeros(1), np.ones(1)
    assert backward("relu", zero, one, 0.0) == 0
    assert backward("leaky_relu", zero, one, 0.3) == 0.3


def test_lecture_numbers() -> None:
    np.testing.assert_allclose(
        forward("sigmoid", np.array([-5.0, -1.0, 1.0, 5.0]), 0.0), [0.00669, 0.26894, 0.73106, 0.99331], atol=5e-6
    )
    assert forward("tanh", np.array([0.0]), 0.0) == 0.0


def test_activation_of_the_output_layer() -> None:
    stack = [fnn.Input(3), fnn.Dense(4, "relu"), fnn.Dense(2, "sigmoid")]
    net = fnn.Network(stack, dtype="float64", seed=1)
    x = np.random.default_rng(0).standard_normal((5, 3))
    np.testing.assert_allclose(net(x), reference.forward(reference.copied(net), x), rtol=1e-13)
    assert (net(x) > 0).all() and (net(x) < 1).all()
