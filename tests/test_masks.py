"""Partially connected layers: masked weights are 0 from the first to the last step, whatever updates the others."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fastnn as fnn
from fastnn.masks import Mask
from fastnn.warmup import every_optimizer
from tests import reference

RNG = np.random.default_rng(3)
X, Y = RNG.standard_normal((60, 12)), RNG.integers(0, 3, 60)
MASK = fnn.masks.random(12, 7, 0.3, seed=4)
CLIPPED = [fnn.SGD(0.1, clip=0.1), fnn.Adam(0.01, clip=0.1)]
OPTIMIZERS = [
    *every_optimizer(),
    *CLIPPED,
    fnn.SGD(0.1, weight_decay=0.1),
    fnn.SGD(0.1, 0.9, nesterov=True, weight_decay=0.1),
]


def network(dtype: str = "float64", mask: Any = MASK) -> fnn.Network:
    return fnn.Network([fnn.Input(12), fnn.Dense(7, "tanh", mask=mask), fnn.Dense(3)], seed=2, dtype=dtype)


@pytest.mark.parametrize("optimizer", OPTIMIZERS, ids=repr)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_masked_weights_stay_zero(optimizer: fnn.SGD | fnn.Adam, dtype: str) -> None:
    net = network(dtype)
    before = net.layers[0].weight.copy()
    assert (before[MASK == 0] == 0).all() and (before[MASK == 1] != 0).all()
    net.fit(X, Y, optimizer=optimizer, epochs=4, batch_size=9, threads=2)
    after = net.layers[0].weight
    assert (after[MASK == 0] == 0).all()
    assert (after[MASK == 1] != before[MASK == 1]).all()


@pytest.mark.parametrize("optimizer", OPTIMIZERS, ids=repr)
def test_the_others_learn_as_the_formulas_say(optimizer: fnn.SGD | fnn.Adam) -> None:
    net = network()
    layers = reference.copied(net)
    connected = np.concatenate([MASK.ravel(), np.ones(net.parameters.size - MASK.size)])
    rule = {"sgd": reference.SGD, "adam": reference.Adam}[optimizer.name](**vars(optimizer))
    for _ in range(5):
        g = reference.gradient(layers, X, Y, "cross_entropy")[1] * connected
        layers = reference.filled(layers, rule.step(reference.flat(layers), g))
    net.fit(X, Y, optimizer=optimizer, epochs=5, batch_size=len(X), shuffle=False)
    np.testing.assert_allclose(net.parameters, reference.flat(layers), rtol=1e-9, atol=1e-12)


def test_masks_before_and_behind_a_recurrent_layer() -> None:
    """Their places among the parameters come after those of recurrent weights, too."""
    masks, x = [fnn.masks.random(*sides, 0.4, seed=4) for sides in ((4, 6), (5, 8))], X.reshape(60, 3, 4)

    def stack(first: Any, second: Any) -> list[Any]:
        recurrent = fnn.Recurrent(5)
        return [fnn.Input(4), fnn.Dense(6, "tanh", mask=first), recurrent, fnn.Dense(8, mask=second), fnn.Dense(3)]

    net, plain, connected = (fnn.Network(stack(*pair), dtype="float64") for pair in (masks, (None, None), (None, None)))
    plain.parameters[:], connected.parameters[:] = net.parameters, 1
    for number, mask in zip((0, 2), masks, strict=True):
        connected.layers[number].weight[:] = mask
    wanted = plain.gradient(x, Y) * connected.parameters
    np.testing.assert_allclose(net.gradient(x, Y), wanted, rtol=1e-10, atol=1e-14)
    net.fit(x, Y, optimizer=fnn.Adam(0.01), epochs=2, batch_size=20)
    assert ((net.parameters != 0) == connected.parameters).all()


def test_gradient_is_zero_at_masked_places() -> None:
    net = network()
    wanted = reference.gradient(reference.copied(net), X, Y, "cross_entropy")[1]
    wanted[: MASK.size][MASK.ravel() == 0] = 0
    np.testing.assert_allclose(net.gradient(X, Y), wanted, rtol=1e-10, atol=1e-14)


def test_what_is_written_by_hand() -> None:
    """Assignment keeps to the mask; what is written into the view is undone by the next training, and only there."""
    net = network()
    net.parameters = np.ones(net.parameters.size)
    assert (net.layers[0].weight == MASK).all()
    net.layers[0].weight = np.full((12, 7), 2.0)
    assert (net.layers[0].weight == 2 * MASK).all()
    for optimizer in (fnn.SGD(0.0), fnn.Adam(0.0)):
        net.parameters[:] = 3
        net.gradient(X, Y)
        assert (net.parameters == 3).all()
        net.fit(X, Y, optimizer=optimizer)
        assert (net.layers[0].weight == 3 * MASK).all()


def test_save_load_and_copy(tmp_path: Path) -> None:
    net = network("float32", MASK.astype(bool))
    net.save(tmp_path / "net")
    others = fnn.load(tmp_path / "net"), pickle.loads(pickle.dumps(net))
    for one in (net, *others):
        one.fit(X, Y, optimizer=fnn.Adam(), batch_size=10)
    for again in others:
        assert again.dense[0].mask == net.dense[0].mask == Mask(MASK)
        assert again.parameters.tobytes() == net.parameters.tobytes()
        assert (again.layers[0].weight[MASK == 0] == 0).all()
    with pytest.raises(ValueError, match="mask: damaged"):
        Mask.from_text("no mask", (12, 7))
    with pytest.raises(ValueError, match="mask: has 12 bytes; expected 11"):
        Mask.from_text(Mask(np.ones((12, 8))).text(), (12, 7))


def test_ensemble_has_the_bits_of_the_single_networks() -> None:
    layers = [fnn.Input(12), fnn.Dense(7, "tanh", mask=MASK), fnn.Dense(3)]
    ensemble = fnn.Ensemble(layers, 9)
    ensemble.fit(X, Y, epochs=2, batch_size=8)
    for seed in (0, 8):
        alone = fnn.Network(layers, seed=seed)
        alone.fit(X, Y, epochs=2, batch_size=8)
        assert alone.parameters.tobytes() == ensemble.networks[seed].parameters.tobytes()


def test_watched_networks_keep_to_the_mask() -> None:
    from types import SimpleNamespace

    net = network("float32")
    trainer = fnn.Trainer(net, SimpleNamespace(x_train=X, y_train=Y), optimizer=fnn.Adam(), validation=None)
    trainer.watch("gradients", "updates", "weights")
    last = list(trainer.run(2))[-1]
    for histogram in (last.layers[0].gradients, last.layers[0].updates, last.layers[0].weights):
        assert histogram is not None and histogram.zeros == pytest.approx(1 - MASK.mean())


def test_first_weights_count_connections() -> None:
    """A unit with a tenth of the connections begins with weights of a tenth of the variance."""
    mask = fnn.masks.random(400, 400, 0.1, seed=1)
    for init, std in (("he", np.sqrt(2 / 40)), ("xavier", np.sqrt(1 / 40)), ("lecun", np.sqrt(1 / 40))):
        net = fnn.Network([fnn.Input(400), fnn.Dense(400, init=init, mask=mask)])
        assert net.layers[0].weight[mask == 1].std() == pytest.approx(std, rel=0.02)
    wide = fnn.masks.random(100, 900, 0.5, seed=1)  # 50 inputs a unit; an input goes to 450 units
    for init, std in (("he", np.sqrt(2 / 50)), ("lecture_he", np.sqrt(4 / 500))):
        net = fnn.Network([fnn.Input(100), fnn.Dense(900, init=init, mask=wide)])
        assert net.layers[0].weight[wide == 1].std() == pytest.approx(std, rel=0.02)
    assert np.isfinite(fnn.Network([fnn.Input(4), fnn.Dense(2, "relu", mask=np.zeros((4, 2)))]).parameters).all()


# ---- what makes masks ------------------------------------------------------------------------------------------------


def test_random_masks() -> None:
    mask = fnn.masks.random(30, 20, 0.1, seed=5)
    assert mask.shape == (30, 20) and mask.sum() == 60 and set(np.unique(mask)) == {0, 1}
    assert np.array_equal(mask, fnn.masks.random(30, 20, 0.1, seed=5))
    assert not np.array_equal(mask, fnn.masks.random(30, 20, 0.1, seed=6))
    assert fnn.masks.random(3, 2, 1).all() and fnn.masks.random(3, 2, 1e-9).sum() == 1


def test_windows() -> None:
    line = fnn.masks.window(7, 3, 3)
    assert line.T.tolist() == [[1, 1, 1, 0, 0, 0, 0], [0, 0, 1, 1, 1, 0, 0], [0, 0, 0, 0, 1, 1, 1]]
    assert fnn.masks.window(8, 4, 3).argmax(0).tolist() == [0, 2, 3, 5]  # nearest to 0, 1 2/3, 3 1/3, 5
    assert fnn.masks.window(5, 1, 3).ravel().tolist() == [0, 1, 1, 1, 0]
    plane = fnn.masks.window((4, 4), (2, 2), (3, 3))
    assert plane.shape == (16, 4) and (plane.sum(0) == 9).all()
    assert plane[:, 1].reshape(4, 4).tolist() == [[0, 1, 1, 1]] * 3 + [[0] * 4]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: fnn.Dense(3, mask=[[0, 1], [1, 0]]), r"Dense: mask: has shape \(2, 2\); expected \(fan_in, 3\)"),
        (lambda: fnn.Dense(2, mask=[[0, 1], [1, 2]]), r"Dense: mask: 2 at index \(1, 1\); expected 0 and 1 only"),
        (lambda: fnn.Dense(1, mask=[[np.nan]]), r"Dense: mask: nan at index \(0, 0\)"),
        (lambda: fnn.Dense(1, mask=[[0, 1], [1]]), "Dense: mask: cannot be read as an array"),
        (lambda: fnn.Dense(1, mask="all"), "Dense: mask: 'all'; expected real numbers"),
        (lambda: fnn.Dense(2, mask=[0, 1]), r"Dense: mask: has shape \(2,\)"),
        (lambda: network(mask=np.ones((11, 7))), r"layers\[1\]: mask: has shape \(11, 7\); expected \(12, 7\)"),
        (lambda: fnn.masks.random(3, 3, 0), "density: 0 is out of range"),
        (lambda: fnn.masks.random(3, 3, 1.5), "density: 1.5 is out of range"),
        (lambda: fnn.masks.window(3, 3, 4), "size: 4 is out of range; expected from 1 to 3"),
        (lambda: fnn.masks.window((3, 3), 3, 2), "expected three integers or three pairs"),
        (lambda: fnn.masks.window((3, 3), (2, 2), (2,)), "expected integers or pairs"),
        (lambda: fnn.masks.window((), (), ()), "expected integers or pairs"),
        (lambda: fnn.masks.random(10**6, 10**6, 0.5), r"fan_in, fan_out: \(1000000, 1000000\) make .* at most"),
        (lambda: fnn.masks.window((99, 99), (999, 999), (3, 3)), r"inputs, units: \(\(99, 99\), \(999, 999\)\) make"),
        (lambda: fnn.Dense(1, mask=np.ma.array([[1], [0]], mask=[[0], [1]])), "Dense: mask: an array in which 1 are"),
    ],
)
def test_bad_masks(call: Any, message: str) -> None:
    with pytest.raises((ValueError, TypeError), match=message):
        call()


def test_long_batches_whose_spans_leave_gradients() -> None:
    mask = fnn.masks.random(4, 16, 0.5, seed=1)
    net = fnn.Network([fnn.Input(4), fnn.Dense(16, "tanh", mask=mask), fnn.Dense(1)])
    x = RNG.standard_normal((4096, 4))
    for optimizer in (fnn.SGD(0.1), fnn.Adam(0.1)):
        net.fit(x, x[:, 0], loss="mse", optimizer=optimizer, batch_size=len(x), epochs=2)
        assert (net.layers[0].weight[mask == 0] == 0).all() and (net.layers[0].weight[mask == 1] != 0).all()
