"""Gradients: every activation, loss and layer position against central differences and the NumPy reference.

The cases come from the registries: a new entry is tested as soon as it is registered, and the tests at the end fail for
one that the reference does not know.
"""

from __future__ import annotations

import inspect
from typing import Any

import numpy as np
import pytest
import reference

import fastnn as fnn
from fastnn.activations import ACTIVATIONS
from fastnn.losses import LOSSES

DEPTHS = (0, 1, 2, 3)  # hidden layers
POSITIONS = [(depth, position) for depth in DEPTHS for position in range(depth + 1)]
SIZES = (2, 4, 3, 3)
OUTPUTS = 3
ROWS = 7
KINK = 1e-3  # every z stays this far from 0, where relu has no derivative


def targets(loss: str, rows: int, outputs: int, rng: np.random.Generator) -> np.ndarray:
    if LOSSES[loss].labels:
        return rng.integers(0, outputs, rows)
    return rng.uniform(0, 1, (rows, outputs))


def smooth(net: fnn.Network, x: np.ndarray) -> bool:
    return all(np.abs(z).min() > KINK for z in reference.sums(reference.copied(net), x)[1])


def case(activation: str, loss: str, depth: int, position: int) -> tuple[fnn.Network, np.ndarray, np.ndarray]:
    """A float64 network with `activation` on layer `position` and tanh on the other hidden ones, and a batch."""
    names = ["tanh"] * depth + ["identity"]
    names[position] = activation
    for seed in range(100):
        stack = [fnn.Input(SIZES[0])]
        stack += [fnn.Dense(n, a) for n, a in zip((*SIZES[1 : depth + 1], OUTPUTS), names, strict=True)]
        net = fnn.Network(stack, seed=seed, dtype="float64")
        rng = np.random.default_rng(seed)
        for layer in net.layers:
            layer.bias[...] = rng.uniform(-0.5, 0.5, layer.bias.shape)
        x = rng.standard_normal((ROWS, SIZES[0]))
        if smooth(net, x):
            return net, x, targets(loss, ROWS, OUTPUTS, rng)
    raise AssertionError("no network away from the kinks")


def central_differences(net: fnn.Network, x: np.ndarray, y: np.ndarray, loss: str) -> np.ndarray:
    # Truncation (h^2) and rounding (eps / h) both make an error of about 1e-10 at h = 1e-5.
    result, p, h = np.empty_like(net.parameters), net.parameters, 1e-5
    for i in range(p.size):
        kept = p[i]
        p[i] = kept + h
        above = net.loss(x, y, loss)
        p[i] = kept - h
        result[i] = (above - net.loss(x, y, loss)) / (2 * h)
        p[i] = kept
    return result


def parts(net: fnn.Network, flat: np.ndarray) -> dict[str, np.ndarray]:
    """Each weight's and bias's piece of an array laid out as the parameters."""
    result, at = {}, 0
    for number, layer in enumerate(net.layers):
        for name in ("weight", "bias"):
            size = getattr(layer, name).size
            result[f"layer {number} {name}"] = flat[at : at + size]
            at += size
    return result


def check(net: fnn.Network, got: np.ndarray, wanted: np.ndarray, tolerance: float) -> None:
    """Relative error of each weight's and each bias's gradient, by norms."""
    assert got.shape == net.parameters.shape
    whole = np.linalg.norm(wanted)
    assert whole > 1e-6, "the case has no gradient to compare"
    for (name, a), b in zip(parts(net, got).items(), parts(net, wanted).values(), strict=True):
        # A part that is 0 in truth (behind dead units) is measured by the whole.
        error = np.linalg.norm(a - b) / max(np.linalg.norm(b), 1e-3 * whole)
        assert error <= tolerance, f"{name}: relative error {error:.1e}"


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize(("depth", "position"), POSITIONS)
def test_against_central_differences(activation: str, loss: str, depth: int, position: int) -> None:
    net, x, y = case(activation, loss, depth, position)
    before = net.parameters.tobytes()
    got = net.gradient(x, y, loss)
    assert got.dtype == np.float64 and net.parameters.tobytes() == before
    check(net, got, central_differences(net, x, y, loss), 1e-6)


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize(("depth", "position"), POSITIONS)
def test_against_the_reference(activation: str, loss: str, depth: int, position: int) -> None:
    net, x, y = case(activation, loss, depth, position)
    value, wanted = reference.gradient(reference.copied(net), x, y, loss)
    check(net, net.gradient(x, y, loss), wanted, 1e-12)
    assert net.loss(x, y, loss) == pytest.approx(value, rel=1e-13)
    np.testing.assert_allclose(net(x), reference.forward(reference.copied(net), x), rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_float32_against_float64(activation: str, loss: str) -> None:
    for depth, position in POSITIONS:
        net, x, y = case(activation, loss, depth, position)
        single = fnn.Network(net._stack, seed=net.seed, dtype="float32")
        single.parameters[...] = net.parameters
        x = x.astype(np.float32)
        net.parameters[...] = single.parameters  # both at the same point
        got = single.gradient(x, y, loss)
        assert got.dtype == np.float32
        check(net, got, net.gradient(x, y, loss), 1e-4)
        assert single.loss(x, y, loss) == pytest.approx(net.loss(x, y, loss), rel=1e-5)


# Beyond a tile and a block in every direction: rows of a batch (48 at once; from 1,024 in spans that leave a gradient
# each), rows of weights (48), vectors (4 to 64), and from 256 outputs panels of deltas.
AWKWARD = [
    (1, (1, 1, 2)),
    (2, (49, 1, 65, 2)),
    (47, (97, 33, 17, 10)),
    (49, (48, 16, 96, 3)),
    (100, (130, 64, 31, 5)),
    (133, (64, 129, 7, 2)),
    (1300, (51, 9, 33, 3)),
    (51, (50, 258, 301, 3)),
]


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize(("rows", "sizes"), AWKWARD)
def test_awkward_shapes(rows: int, sizes: tuple[int, ...], loss: str) -> None:
    rng = np.random.default_rng(rows)
    x, y = rng.standard_normal((rows, sizes[0])), targets(loss, rows, sizes[-1], rng)
    for activation in ("leaky_relu", "sigmoid"):
        for dtype, tolerance in (("float64", 1e-12), ("float32", 1e-4)):
            net = fnn.Network(sizes, activation=activation, seed=4, dtype=dtype)
            for layer in net.layers:
                layer.bias[...] = rng.standard_normal(layer.bias.size)
            x = x.astype(dtype).astype(float)
            value, wanted = reference.gradient(reference.copied(net), x, y, loss)
            check(net, net.gradient(x, y, loss), wanted, tolerance)
            assert net.loss(x, y, loss) == pytest.approx(value, rel=tolerance)


def test_slope_of_a_layer() -> None:
    for slope in (0.001, 0.2, 0.9):
        stack = [fnn.Input(3), fnn.Dense(5, "leaky_relu", slope=slope), fnn.Dense(3, "leaky_relu", slope=0.5)]
        net = fnn.Network(stack, seed=1, dtype="float64")
        x, y = np.random.default_rng(1).standard_normal((ROWS, 3)), np.arange(ROWS) % 3
        _, wanted = reference.gradient(reference.copied(net), x, y, "cross_entropy")
        check(net, net.gradient(x, y), wanted, 1e-12)


@pytest.mark.parametrize("name", LOSSES)
def test_gradient_is_of_the_mean(name: str) -> None:
    # Twice the same batch has the same mean: the gradient does not grow with the batch.
    net, x, y = case("tanh", name, 1, 0)
    twice = net.gradient(np.concatenate([x, x]), np.concatenate([y, y]), name)
    np.testing.assert_allclose(twice, net.gradient(x, y, name), rtol=1e-12, atol=1e-15)


# ---- the registries are covered --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("registry", "known"),
    [(ACTIVATIONS, reference.ACTIVATIONS), (LOSSES, reference.LOSSES)],
    ids=["activations", "losses"],
)
def test_every_entry_is_complete(registry: dict[str, Any], known: dict[str, Any]) -> None:
    for name, entry in registry.items():
        assert entry.name == name
        assert entry.formula.strip() and entry.source.strip()
        assert (entry.derivative if registry is ACTIVATIONS else entry.delta).strip()
        assert name in known, f"{name}: write its formulas in tests/reference.py, in NumPy"
    assert set(known) == set(registry)


def test_every_entry_is_in_the_gradient_cases() -> None:
    for test in (test_against_central_differences, test_against_the_reference, test_float32_against_float64):
        cases = {mark.args[0]: set(mark.args[1]) for mark in test.pytestmark if isinstance(mark.args[0], str)}
        assert cases["activation"] == set(ACTIVATIONS) and cases["loss"] == set(LOSSES)
        assert set(cases) <= set(inspect.signature(test).parameters)
