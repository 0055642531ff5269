"""Random numbers: the published vectors, permutations, and dropout's draws."""

from __future__ import annotations

import ctypes
import itertools
from typing import Any

import numba
import numpy as np
import pytest
import reference

import fastnn as fnn
from fastnn.cpu import blocks
from fastnn.cpu.train import fill_order
from fastnn.random import host_generator, philox


@numba.njit
def draws(key, counter):
    return philox(key[0], key[1], counter[0], counter[1], counter[2], counter[3])


# From kat_vectors of Random123 1.09, philox4x32 10.
KNOWN = [
    ([0] * 2, [0] * 4, [0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8]),
    ([0xFFFFFFFF] * 2, [0xFFFFFFFF] * 4, [0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD]),
    (
        [0xA4093822, 0x299F31D0],
        [0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344],
        [0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1],
    ),
]


@pytest.mark.parametrize("dtype", [np.uint64, np.int64])
@pytest.mark.parametrize(("key", "counter", "wanted"), KNOWN)
def test_philox_known_answers(key: list[int], counter: list[int], wanted: list[int], dtype: type) -> None:
    got = draws(np.array(key, dtype), np.array(counter, dtype))
    assert [int(n) for n in got] == wanted


def test_philox_reads_32_bits_of_each_word() -> None:
    # The engine passes a 64-bit seed's halves as (seed, seed >> 32), the first with its high half still there.
    key, counter = np.array([7, 1]), np.array([1, 2, 3, 4])
    assert draws(key, counter) == draws(key + (5 << 32), counter + (9 << 32))
    assert draws(key, counter) == draws(key.astype(np.int64) | (-1 << 32), counter)


def order(n: int, seed: int, epoch: int) -> np.ndarray:
    result = np.full(n, -1, np.int64)
    fill_order(result, seed, epoch)
    return result


@pytest.mark.parametrize("n", [1, 2, 3, 4, 5, 7, 8, 1000, 65537])
def test_shuffle_is_a_permutation(n: int) -> None:
    for epoch in (0, 1, 2**31, 2**33):
        got = order(n, 12345, epoch)
        assert np.array_equal(np.sort(got), np.arange(n))
        np.testing.assert_array_equal(got, order(n, 12345, epoch))


def test_shuffles_differ_by_epoch_and_by_all_bits_of_the_seed() -> None:
    seeds = [0, 1, 2**31, 2**32, 2**32 + 1, 2**62]
    seen = {order(50, seed, epoch).tobytes() for seed in seeds for epoch in (0, 1, 2, 2**32, 2**32 + 1)}
    assert len(seen) == len(seeds) * 5


def test_shuffle_does_not_depend_on_what_was_there() -> None:
    # An epoch's order is a function of (seed, epoch) only, so a run that was interrupted can go on.
    result = order(100, 3, 4)
    fill_order(result, 3, 5)
    np.testing.assert_array_equal(result, order(100, 3, 5))


def test_shuffle_is_uniform() -> None:
    # All 24 permutations of 4, and 10 items over 10 places: chi-square within 5 standard deviations.
    epochs = 12_000
    found = dict.fromkeys(itertools.permutations(range(4)), 0)
    places = np.zeros((10, 10))
    for epoch in range(epochs):
        found[tuple(order(4, 1, epoch).tolist())] += 1
        places[np.arange(10), order(10, 2, epoch)] += 1
    counts = np.array([*found.values()])
    chi2 = ((counts - epochs / 24) ** 2).sum() / (epochs / 24)
    assert abs(chi2 - 23) < 5 * np.sqrt(2 * 23)
    # Cells of a permutation have the variance p (1 - p) of p = 1/10, hence the 0.9.
    chi2 = ((places - epochs / 10) ** 2).sum() / (epochs / 10) * 0.9
    assert abs(chi2 - 81) < 5 * np.sqrt(2 * 81)


def test_host_generators_are_apart() -> None:
    seen = [host_generator(seed, stream).random(4).tobytes() for seed in (0, 1, 2**63 - 1) for stream in (0, 1, 2)]
    assert len(set(seen)) == 9
    assert host_generator(1, 2).random(4).tobytes() == host_generator(1, 2).random(4).tobytes()


# ---- dropout ---------------------------------------------------------------------------------------------------------


def mask(F: type, rows: int, stride: int, *, first: int = 0, step: int, layer: int, seed: int, rate: float) -> Any:
    """What the block multiplies with, recovered from ones."""
    number = ctypes.c_float if F is np.float32 else ctypes.c_double
    drop = ctypes.CFUNCTYPE(None, *[ctypes.c_ssize_t] * 8, number)(blocks.dropout(F))
    x, y = np.ones((rows, stride), F), np.full((rows, stride), np.nan, F)
    drop(x.ctypes.data, y.ctypes.data, rows, stride, first, step, layer, seed, rate)
    return y


@pytest.mark.parametrize("F", [np.float32, np.float64])
@pytest.mark.parametrize("rate", [0.1, 0.25, 0.5, 0.9])
def test_dropout_keeps_its_share_and_the_expectation(F: type, rate: float) -> None:
    y = mask(F, 500, 400, step=3, layer=1, seed=9, rate=rate)
    kept = y != 0
    np.testing.assert_allclose(y[kept], 1 / (1 - rate), rtol=2 * np.finfo(F).eps)
    deviation = np.sqrt(rate * (1 - rate) / y.size)
    assert abs(kept.mean() - (1 - rate)) < 5 * deviation
    assert abs(y.mean(dtype=float) - 1) < 5 * deviation / (1 - rate)
    for axis in (0, 1):  # no row or column stands out
        n = y.shape[axis]
        assert np.abs(kept.mean(axis) - (1 - rate)).max() < 5.5 * np.sqrt(rate * (1 - rate) / n)


def test_dropout_draws_belong_to_seed_step_layer_and_place() -> None:
    base = {"step": 3, "layer": 1, "seed": 9, "rate": 0.5}
    whole = mask(np.float32, 32, 48, **base)
    # A worker that starts at row 16, and one that drops in float64, draw the same.
    assert mask(np.float32, 16, 48, first=16, **base).tobytes() == whole[16:].tobytes()
    np.testing.assert_array_equal(mask(np.float64, 32, 48, **base), whole)
    assert mask(np.float32, 32, 48, **base).tobytes() == whole.tobytes()
    others = [{"step": 4}, {"layer": 2}, {"seed": 10}, {"seed": 9 + 2**32}, {"first": 1}]
    for other in others:
        agree = (mask(np.float32, 32, 48, **(base | other)) == whole).mean()
        assert 0.35 < agree < 0.65, other


def test_dropout_passes_values_scaled() -> None:
    number = ctypes.c_double
    drop = ctypes.CFUNCTYPE(None, *[ctypes.c_ssize_t] * 8, number)(blocks.dropout(np.float64))
    x = np.random.default_rng(0).standard_normal((7, 9))
    y = x.copy()
    drop(y.ctypes.data, y.ctypes.data, 7, 9, 0, 0, 0, 5, 0.3)  # in place, as for deltas
    np.testing.assert_array_equal(y, x * mask(np.float64, 7, 9, step=0, layer=0, seed=5, rate=0.3))


def dropped(dtype: str, seed: int = 21) -> fnn.Network:
    stack = [
        fnn.Input(9), fnn.Dropout(0.2), fnn.Dense(35, "tanh"), fnn.Dropout(0.5), fnn.Dense(17, "sigmoid"),
        fnn.Dense(5, "relu"), fnn.Dropout(0.3), fnn.Dense(3),
    ]  # fmt: skip
    return fnn.Network(stack, seed=seed, dtype=dtype)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("threads", [1, 3])
def test_training_with_dropout_against_the_reference(dtype: str, threads: int) -> None:
    # The same draws forward and backward: two steps, with the masks that the block gives, must match to the bit of
    # the tolerance; an independent draw in either pass would be off by the size of the gradient.
    net, F, rows = dropped(dtype), np.dtype(dtype).type, 60
    layers, rates = reference.copied(net), net.compiled().dropout
    strides, sizes = net.compiled().strides, net.sizes
    rng = np.random.default_rng(4)
    x, y = rng.standard_normal((rows, 9)).astype(np.float32), rng.integers(0, 3, rows)
    parameters, losses = reference.flat(layers), []
    for step in range(2):
        masks = [
            mask(F, rows, int(strides[u]), step=step, layer=u, seed=21, rate=float(rates[u]))[:, : sizes[u]].astype(
                float
            )
            if rates[u]
            else None
            for u in range(4)
        ]
        assert [m is not None for m in masks] == [True, True, False, True]
        value, g = reference.gradient(reference.filled(layers, parameters), x.astype(float), y, "cross_entropy", masks)
        parameters = parameters - 0.5 * g
        losses.append(value)
    start = net.parameters.astype(float)
    history = net.fit(x, y, optimizer=fnn.SGD(0.5), epochs=2, batch_size=rows, shuffle=False, threads=threads)
    tolerance = 1e-10 if dtype == "float64" else 1e-4
    moved, wanted = net.parameters - start, parameters - start
    assert np.linalg.norm(moved - wanted) <= tolerance * np.linalg.norm(wanted)
    np.testing.assert_allclose(history.loss, losses, rtol=tolerance)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_no_dropout_outside_training(dtype: str) -> None:
    net = dropped(dtype)
    still = fnn.Network([layer for layer in net._stack if not isinstance(layer, fnn.Dropout)], dtype=dtype)
    still.parameters[...] = net.parameters
    rng = np.random.default_rng(4)
    x, y = rng.standard_normal((50, 9)), rng.integers(0, 3, 50)
    assert net(x).tobytes() == still(x).tobytes() == net(x).tobytes()
    assert net.evaluate(x, y) == still.evaluate(x, y)
    assert net.gradient(x, y).tobytes() == still.gradient(x, y).tobytes()
    # The validation at an epoch's end as well.
    history = net.fit(x, y, optimizer=fnn.SGD(0.1), batch_size=10, validation=(x, y))
    assert history.val_loss == [net.evaluate(x, y)["loss"]]
