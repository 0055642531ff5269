"""What a caller of an ensemble can get wrong: the error names it, and nothing changes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import fastnn as fnn

X = np.random.default_rng(6).standard_normal((75, 4))
Y = np.argmax(X[:, :3], 1)
NAN = float("nan")
SIZES = [4, 9, 3]

MAKE = [
    (lambda: fnn.Ensemble(SIZES, 0), ValueError, ("count", "0", "1 or more")),
    (lambda: fnn.Ensemble(SIZES, 2.0), TypeError, ("count", "2.0", "integer")),
    (lambda: fnn.Ensemble(SIZES, 2**40), ValueError, ("count", str(2**40), "at most")),
    (lambda: fnn.Ensemble([4, 0], 2), ValueError, ("layers[1]", "0")),
    (lambda: fnn.Ensemble(SIZES, 2, seeds=5), TypeError, ("seeds", "5", "sequence of 2")),
    (lambda: fnn.Ensemble(SIZES, 2, seeds="01"), TypeError, ("seeds", "'01'", "sequence of 2")),
    (lambda: fnn.Ensemble(SIZES, 2, seeds=[1, 2, 3]), ValueError, ("seeds", "of 3", "2 integers")),
    (lambda: fnn.Ensemble(SIZES, 2, seeds=[1, -2]), ValueError, ("seeds[1]", "-2", "from 0")),
    (lambda: fnn.Ensemble(SIZES, 2, seeds=[0.5, 1]), TypeError, ("seeds[0]", "0.5", "integer")),
    (lambda: fnn.Ensemble(SIZES, 2, device="cuda"), ValueError, ("device", "'cuda'", "expected 'cpu'")),
    (lambda: fnn.Ensemble(SIZES, 2, dtype="float16"), ValueError, ("dtype", "float16", "float32")),
    (lambda: fnn.Ensemble(SIZES, 2, activation="rleu"), ValueError, ("activation", "rleu", "relu")),
]


@pytest.mark.parametrize(("make", "error", "words"), MAKE)
def test_bad_ensembles(make: Callable[[], Any], error: type[Exception], words: tuple[str, ...]) -> None:
    with pytest.raises(error) as raised:
        make()
    assert all(word in str(raised.value) for word in words), raised.value


SGD = fnn.SGD(0.1)
FIT: list[tuple[dict[str, Any], type[Exception], tuple[str, ...]]] = [
    ({"optimizer": "sgd"}, TypeError, ("optimizer", "'sgd'", "fastnn.SGD")),
    ({"optimizer": 0.1}, TypeError, ("optimizer", "0.1", "fastnn.SGD")),
    ({"optimizer": [SGD]}, ValueError, ("optimizer", "of 1", "2 optimizers")),
    ({"optimizer": [SGD, 0.1]}, TypeError, ("optimizer[1]", "0.1", "fastnn.SGD")),
    ({"optimizer": [SGD, fnn.Adam()]}, ValueError, ("optimizer[1]", "Adam", "optimizer[0]", "SGD")),
    ({"optimizer": [SGD, fnn.SGD(0.1, momentum=0.5)]}, ValueError, ("optimizer[1]", "momentum", "optimizer[0]")),
    ({"optimizer": [SGD, fnn.SGD(0.1, clip=1.0)]}, ValueError, ("optimizer[1]", "clip", "optimizer[0]")),
    ({"epochs": 0}, ValueError, ("epochs", "0", "1 or more")),
    ({"patience": 0}, ValueError, ("patience", "0", "1 or more")),
    ({"patience": 1.5}, TypeError, ("patience", "1.5", "integer")),
    ({"min_delta": -1.0}, ValueError, ("min_delta", "-1.0", "[0")),
    ({"min_delta": NAN}, ValueError, ("min_delta", "nan")),
    ({"progress": 1}, TypeError, ("progress", "1", "function")),
    ({"threads": 0}, ValueError, ("threads", "0", "from 1")),
    ({"loss": "ms"}, ValueError, ("loss", "'ms'", "'mse'")),
    ({"batch_size": 76}, ValueError, ("batch_size", "76", "75 rows")),
    ({"shuffle": 1}, TypeError, ("shuffle", "1", "True or False")),
    ({"validation": True}, TypeError, ("validation", "bool", "pair")),
    ({"validation": (X[:, :3], Y)}, ValueError, ("validation x", "(75, 3)", "(n, 4)")),
    ({"x": X[:, :3]}, ValueError, ("x", "(75, 3)", "(n, 4)")),
    ({"y": Y[:3]}, ValueError, ("y", "(3,)", "75 rows")),
    ({"y": Y + 1}, ValueError, ("y", "label 3", "0 to 2")),
]


@pytest.mark.parametrize(("how", "error", "words"), FIT)
def test_bad_fits_change_nothing(how: dict[str, Any], error: type[Exception], words: tuple[str, ...]) -> None:
    ensemble = fnn.Ensemble(SIZES, 2)
    before = ensemble.parameters.copy()
    with pytest.raises(error) as raised:
        ensemble.fit(**({"x": X, "y": Y} | how))
    assert all(word in str(raised.value) for word in words), raised.value
    assert np.array_equal(ensemble.parameters, before)
    assert [net.epochs for net in ensemble.networks] == [0, 0] and ensemble.history is None


def test_parameters_that_are_not_finite_are_found_first() -> None:
    ensemble = fnn.Ensemble(SIZES, 3)
    ensemble.networks[1].parameters[3] = NAN
    with pytest.raises(ValueError, match=r"networks\[1\].parameters: nan at index 3"):
        ensemble.fit(X, Y)
    with pytest.raises(ValueError, match=r"parameters: has shape \(2, 75\); expected \(3, 75\)"):
        ensemble.parameters = ensemble.parameters[:2].copy()
    with pytest.raises(ValueError, match=r"x: has shape \(75, 3\)"):
        ensemble(X[:, :3])
