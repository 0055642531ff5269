"""Losses: PyTorch's definitions against the NumPy reference, extreme logits, and the lecture's numbers.

A network whose weight is the identity hands its inputs to the loss as logits, exactly.
"""

from __future__ import annotations

import math

import numpy as np
import pytest
import reference

import fastnn as fnn
from fastnn.losses import LOSSES

DTYPES = ["float64", "float32"]
EXTREME = [1e4, -1e4, 80.0, -80.0, 709.0, -746.0, 88.8, -104.0, 1e-30, 0.0]


def passing(width: int, dtype: str = "float64") -> fnn.Network:
    net = fnn.Network([width, width], dtype=dtype)
    net.layers[0].weight[...] = np.eye(width)
    return net


def delta(z: np.ndarray, y: np.ndarray, loss: str, dtype: str) -> np.ndarray:
    """d loss / d z, (rows, width): the bias's gradient, a row at a time."""
    net = passing(z.shape[1], dtype)
    return np.stack([net.gradient(z[i : i + 1], y[i : i + 1], loss)[-z.shape[1] :] for i in range(len(z))])


def targets(loss: str, rows: int, width: int) -> np.ndarray:
    rng = np.random.default_rng(6)
    if LOSSES[loss].labels:
        return rng.integers(0, width, rows)
    t = rng.uniform(0, 1, (rows, width))
    t[rng.random(t.shape) < 0.3], t[rng.random(t.shape) < 0.3] = 0, 1
    return t.astype(np.float32).astype(float)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("width", [2, 3, 4, 10, 17, 33])
@pytest.mark.parametrize("loss", LOSSES)
def test_values_and_deltas(loss: str, width: int, dtype: str) -> None:
    rng = np.random.default_rng(width)
    for rows in (1, 15, 53):
        z = (rng.standard_normal((rows, width)) * 4).astype(np.float32).astype(float)
        y = targets(loss, rows, width)
        each, wanted = reference.LOSSES[loss](z, y)
        tolerance = 1e-12 if dtype == "float64" else 2e-6
        assert passing(width, dtype).loss(z, y, loss) == pytest.approx(each.mean(), rel=tolerance)
        np.testing.assert_allclose(delta(z[:9], y[:9], loss, dtype), wanted[:9], rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("loss", LOSSES)
def test_extreme_logits(loss: str, dtype: str) -> None:
    # Every pair of extremes, as two classes (or two outputs): finite, right, and without a spurious NaN.
    z = np.array([[a, b] for a in EXTREME for b in EXTREME]).astype(np.float32).astype(float)
    for target in (0, 1):
        y = np.full(len(z), target) if LOSSES[loss].labels else np.tile([target, 1 - target], (len(z), 1)).astype(float)
        net = passing(2, dtype)
        got = np.array([net.loss(z[i : i + 1], y[i : i + 1], loss) for i in range(len(z))])
        each, wanted = reference.LOSSES[loss](z, y)
        tolerance = 1e-12 if dtype == "float64" else 2e-6
        # A loss far below 1 is measured against 1: 1 + e^-80 is 1 in any type.
        np.testing.assert_allclose(got, each, rtol=tolerance, atol=tolerance)
        np.testing.assert_allclose(delta(z, y, loss, dtype), wanted, rtol=tolerance, atol=tolerance)


def test_saturated_values_by_hand() -> None:
    net = passing(2)
    assert net.loss([[1e4, -1e4]], [0]) == 0
    assert net.loss([[1e4, -1e4]], [1]) == 2e4
    assert net.loss([[3.0, 3.0]], [1]) == pytest.approx(math.log(2), rel=1e-15)
    assert net.loss([[1e4, -1e4]], [[1.0, 0.0]], "binary_cross_entropy") == 0
    assert net.loss([[1e4, -1e4]], [[0.0, 0.0]], "binary_cross_entropy") == 5e3
    assert net.loss([[0.0, 0.0]], [[0.5, 1.0]], "binary_cross_entropy") == pytest.approx(math.log(2), rel=1e-15)
    assert net.loss([[1e4, -1e4]], [[0.0, 0.0]], "mse") == 1e8
    # ln(1 + e^-x) keeps its digits where 1 + e^-x has lost them.
    for dtype, tolerance in (("float64", 1e-14), ("float32", 1e-6)):
        got = passing(2, dtype).loss([[40.0, 40.0]], [[1.0, 1.0]], "binary_cross_entropy")
        assert got == pytest.approx(math.exp(-40), rel=tolerance, abs=0)


@pytest.mark.parametrize("dtype", DTYPES)
def test_lecture_numbers(dtype: str) -> None:
    z, net = np.array([[-5.0, -1.0, 1.0, 5.0]]), passing(4, dtype)
    exact = math.log(sum(math.exp(v) for v in z[0])) - 5
    assert exact == pytest.approx(0.0206, abs=5e-5)
    assert net.loss(z, [3]) == pytest.approx(exact, rel=1e-12 if dtype == "float64" else 1e-5)
    softmax = delta(z, np.array([3]), "cross_entropy", dtype)[0] + [0, 0, 0, 1]
    np.testing.assert_allclose(softmax, [0.00004, 0.00243, 0.01794, 0.97959], atol=5e-6)
    # d bce / dz = (sigmoid(z) - t) / outputs
    sigmoid = delta(z, np.zeros((1, 4)), "binary_cross_entropy", dtype)[0] * 4
    np.testing.assert_allclose(sigmoid, [0.00669, 0.26894, 0.73106, 0.99331], atol=5e-6)


def test_means_are_pytorchs() -> None:
    # cross_entropy: over the batch; the others: over the batch and the outputs. The last, smaller batch likewise.
    rng = np.random.default_rng(0)
    z, t = rng.standard_normal((6, 4)), rng.uniform(0, 1, (6, 4))
    net = passing(4)
    assert net.loss(z, t, "mse") == pytest.approx(((z - t) ** 2).sum() / 24, rel=1e-14)
    one = [net.loss(z[i : i + 1], [i % 4]) for i in range(6)]
    assert net.loss(z, [i % 4 for i in range(6)]) == pytest.approx(sum(one) / 6, rel=1e-14)


def test_labels_and_one_hot_rows_are_the_same() -> None:
    rng = np.random.default_rng(0)
    x, labels = rng.standard_normal((20, 5)), rng.integers(0, 3, 20)
    net = fnn.Network([5, 4, 3], dtype="float64")
    onehot = np.eye(3)[labels]
    for y in (onehot, onehot.astype(int), onehot.astype(bool), labels.astype(np.uint8)):
        assert net.loss(x, y) == net.loss(x, labels)
        assert net.gradient(x, y).tobytes() == net.gradient(x, labels).tobytes()
    # For the others, labels stand for one-hot rows.
    for loss in ("mse", "binary_cross_entropy"):
        assert net.loss(x, labels, loss) == net.loss(x, onehot, loss)


@pytest.mark.parametrize("loss", LOSSES)
def test_accuracy_counts_the_first_largest(loss: str) -> None:
    rng = np.random.default_rng(5)
    z, labels = rng.standard_normal((101, 4)), rng.integers(0, 4, 101)
    wanted = (z.argmax(1) == labels).mean()
    assert passing(4).evaluate(z, np.eye(4)[labels], loss)["accuracy"] == wanted
    assert passing(4).evaluate([[1.0, 1.0, 0.0, 1.0]], [0], loss)["accuracy"] == 1
    assert passing(4).evaluate([[1.0, 1.0, 0.0, 1.0]], [1], loss)["accuracy"] == 0
    if not LOSSES[loss].labels:  # rows with two ones name no class
        assert "accuracy" not in passing(4).evaluate([[1.0, 1.0, 0.0, 1.0]], [[1, 1, 0, 0]], loss)


def test_accuracy_of_one_output() -> None:
    z, y = np.array([[-1.0], [-0.1], [0.1], [0.6], [2.0]]), np.array([0, 1, 1, 1, 0])
    net = passing(1)
    assert net.evaluate(z, y, "binary_cross_entropy")["accuracy"] == 3 / 5  # a logit above 0
    assert net.evaluate(z, y, "mse")["accuracy"] == 2 / 5  # an output above 1/2
    assert "accuracy" not in net.evaluate(z, y + 0.5, "mse")


@pytest.mark.parametrize("loss", LOSSES)
def test_deltas_of_cross_entropies_sum_to_what_they_should(loss: str) -> None:
    # softmax and one-hot rows both sum to 1; sigmoid and mse have no such bond.
    z = np.random.default_rng(1).standard_normal((8, 5)) * 3
    d = delta(z, targets(loss, 8, 5), loss, "float64")
    if LOSSES[loss].labels:
        np.testing.assert_allclose(d.sum(1), 0, atol=1e-15)
    else:
        assert (np.abs(d.sum(1)) > 1e-6).any()
