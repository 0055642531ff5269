"""Networks abreast, one in each lane of a vector: the same bits as alone, however lanes are filled."""

from __future__ import annotations

import ctypes
from typing import Any

import numpy as np
import pytest

import fastnn as fnn
from fastnn.activations import ACTIVATIONS
from fastnn.cpu import abreast, many_runner
from fastnn.cpu.gemm import LONGEST
from fastnn.cpu.machine import lanes
from fastnn.cpu.many_runner import ManyRunner
from fastnn.losses import LOSSES

draw = np.random.default_rng(9)
X = draw.standard_normal((50, 3))
Y = np.argmax(X, 1)
NUMBERS = [np.float32, np.float64]


@pytest.fixture
def groups(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, int]]:
    """Of every chunk: whether groups went abreast, and how many networks there were. Large ones may too."""
    monkeypatch.setattr(many_runner, "MOST_ABREAST", 10**9)
    seen: list[tuple[int, int]] = []
    enter = ManyRunner._enter

    def watched(self: ManyRunner, workers: int) -> None:
        if self.many.goal:
            seen.append((self.many.abreast, len(self.many.queue)))
        enter(self, workers)

    monkeypatch.setattr(ManyRunner, "_enter", watched)
    return seen


def agree(layers: Any, count: int, optimizers: list[Any], **options: Any) -> fnn.EnsembleHistory:
    """Train an ensemble, and see that every network is as it is alone."""
    make = {name: options.pop(name) for name in ("activation", "dtype") if name in options}
    ensemble = fnn.Ensemble(layers, count, **make)
    threads = options.pop("threads", 1)
    y = options.pop("y", Y)
    history = ensemble.fit(X, y, optimizer=optimizers, threads=threads, **options)
    options.pop("patience", None)
    epochs = options.pop("epochs", 1)
    for k, net in enumerate(ensemble.networks):
        alone = fnn.Network(layers, seed=k, **make)
        if history.state[k] == "diverged":
            with pytest.raises(fnn.DivergenceError):
                alone.fit(X, y, optimizer=optimizers[k], epochs=epochs, **options)
        else:
            done = int(history.epochs[k])
            wanted = alone.fit(X, y, optimizer=optimizers[k], epochs=done, **options)
            assert history.loss[:done, k].tolist() == wanted.loss
            assert history.accuracy[:done, k].tolist() == wanted.accuracy
        assert np.array_equal(net.parameters, alone.parameters), k
    return history


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("loss", LOSSES)
def test_every_function_has_the_same_bits(
    loss: str, activation: str, dtype: str, groups: list[tuple[int, int]]
) -> None:
    count = lanes(np.dtype(dtype).type)
    layers = [fnn.Input(3), fnn.Dense(9, activation), fnn.Dense(4, activation), fnn.Dense(3, activation)]
    agree(layers, count, [fnn.SGD(0.1)] * count, loss=loss, epochs=2, batch_size=16, dtype=dtype)
    assert groups and all(went == 1 for went, _ in groups)


@pytest.mark.parametrize("sizes", [[3, 3], [3, 1, 3], [3, 70, 3], [3, 5, 6, 7, 8, 9, 3], [3, 12, 33, 3]])
@pytest.mark.parametrize("batch_size", [1, 7, 50])
def test_every_shape_has_the_same_bits(sizes: list[int], batch_size: int, groups: list[tuple[int, int]]) -> None:
    count = lanes(np.float32)
    agree(sizes, count, [fnn.SGD(0.01 * k) for k in range(count)], epochs=2, batch_size=batch_size)
    assert groups[0] == (1, count)


@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("slots", [0, 1, 2])
@pytest.mark.parametrize("more", [-5, -1, 1, 3, 9, 20])
def test_any_number_of_networks(more: int, slots: int, threads: int) -> None:
    count = max(1, lanes(np.float32) + more)
    kinds = [lambda r: fnn.SGD(r, weight_decay=r), lambda r: fnn.SGD(r, momentum=0.8), lambda r: fnn.Adam(r / 10)]
    agree([3, 6, 3], count, [kinds[slots](0.02 * k) for k in range(count)], epochs=2, threads=threads)


def test_lanes_that_stop_do_not_disturb_the_others(
    monkeypatch: pytest.MonkeyPatch, groups: list[tuple[int, int]]
) -> None:
    """Within a chunk: the others go on beside an idle lane. Of 16 lanes or 2."""
    count = 4 * lanes(np.float32)
    rates = [(0.3, 0.0, 1e38, 0.1)[k % 4] if k > 4 else 0.2 for k in range(count)]
    monkeypatch.setattr(many_runner, "FIRST_STEPS", 1_000_000)
    history = agree([3, 6, 3], count, [fnn.SGD(rate) for rate in rates], epochs=12, batch_size=10, patience=3)
    assert groups == [(1, count)]
    for k, rate in enumerate(rates):
        assert history.state[k] == {0.0: "stalled", 1e38: "diverged"}.get(rate, "finished")
        assert history.steps[k] == (20 if rate == 0 else 60) or rate == 1e38


def test_networks_that_are_too_wide_or_drop_units_go_alone(
    monkeypatch: pytest.MonkeyPatch, groups: list[tuple[int, int]]
) -> None:
    """A sum that the engine cuts has other bits, dropout is drawn for one network, and large ones would leave the
    cache."""
    count = lanes(np.float32)
    sgd = [fnn.SGD(0.01)] * count
    agree([3, LONGEST + 1, 3], count, sgd)
    agree([fnn.Input(3), fnn.Dense(5, "tanh"), fnn.Dropout(0.5), fnn.Dense(3)], count, sgd)
    assert {went for went, _ in groups} == {0}
    groups.clear()
    agree([3, 5, 3], count, sgd)
    assert {went for went, _ in groups} == {1}
    groups.clear()
    monkeypatch.setattr(many_runner, "MOST_ABREAST", 10_000)
    agree([3, 50, 3], count, sgd)
    assert {went for went, _ in groups} == {0}


@pytest.mark.parametrize("workers", [1, 2, 3, 8])
def test_groups_hold_every_network_once_and_are_even(workers: int) -> None:
    width = lanes(np.float32)
    runner = ManyRunner.__new__(ManyRunner)
    runner.F, runner._fits = np.float32, True
    for count in range(1, 5 * width):
        first = runner._groups(count, workers)
        sizes = np.diff(first)
        assert first[0] == 0 and first[-1] == count and sizes.min() >= 1 and sizes.max() <= width
        assert sizes.max() - sizes.min() <= 1
        assert sizes.max() == 1 or 2 * sizes.mean() >= width, "half of the lanes are empty"


# ---- the product -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("F", NUMBERS)
@pytest.mark.parametrize("shape", [(1, 1, 1), (4, 2, 1), (5, 3, 7), (1, 9, 20), (7, 13, 2), (13, 5, 64)])
def test_products_in_every_lane(F: Any, shape: tuple[int, int, int]) -> None:
    """The three products of a step: x W + b, dz W^T, and w - rate x^T dz with a rate for each lane."""
    (M, N, K), L = shape, lanes(F)
    product = ctypes.CFUNCTYPE(None, *[ctypes.c_int64] * 15)(abreast.product_address(F))
    a, b, s = (draw.standard_normal((*of, L)).astype(F) for of in ((M, K), (K, N), (1, N)))
    alpha, beta, ones = draw.standard_normal(L).astype(F), draw.standard_normal(L).astype(F), np.ones(L, F)
    exact = np.einsum("mkl,knl->mnl", a.astype(np.float64), b.astype(np.float64))
    tolerance = {"rtol": 0, "atol": np.finfo(F).eps * K * 8}

    def at(array: np.ndarray) -> int:
        return array.ctypes.data

    c = np.full((M, N, L), np.nan, F)
    product(at(a), K, 1, at(b), N, 1, at(s), 0, at(c), N, M, N, K, at(ones), at(ones))
    np.testing.assert_allclose(c, exact + s, **tolerance)
    turned, c = np.ascontiguousarray(b.transpose(1, 0, 2)), np.full((M, N, L), np.nan, F)
    product(at(a), K, 1, at(turned), 1, K, 0, 0, at(c), N, M, N, K, at(ones), 0)
    np.testing.assert_allclose(c, exact, **tolerance)
    turned, w = np.ascontiguousarray(a.transpose(1, 0, 2)), draw.standard_normal((M, N, L)).astype(F)
    wanted = beta * w.astype(np.float64) + alpha * exact
    product(at(turned), 1, M, at(b), N, 1, at(w), N, at(w), N, M, N, K, at(alpha), at(beta))
    np.testing.assert_allclose(w, wanted, rtol=0, atol=tolerance["atol"] * 4)
