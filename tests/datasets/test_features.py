"""Features of points in the plane, the curves to regress, and run files that hold them."""

from __future__ import annotations

import numpy as np
import pytest

from fastnn import runfile
from fastnn.datasets import DATASETS, load
from fastnn.datasets.features import FEATURES, features_of

PLANES = ("moons", "circles", "spirals", "xor", "blobs")
CURVES = ("sine", "steps")


def test_features_are_their_formulas() -> None:
    points = np.array([[2.0, -3.0], [0.5, 1.0]])
    found = features_of(points, list(FEATURES))
    expected = [[2, -3, 4, 9, -6, np.sin(2), np.sin(-3)], [0.5, 1, 0.25, 1, 0.5, np.sin(0.5), np.sin(1)]]
    assert found.dtype == np.float32 and found.flags.c_contiguous
    assert np.allclose(found, expected, atol=1e-6)


@pytest.mark.parametrize("name", PLANES)
def test_a_data_set_has_the_features_of_the_points_that_it_had_without(name: str) -> None:
    plain, rich = load(name, samples=50), load(name, samples=50, features=["x1*x2", "x1", "sin x2"])
    assert plain.plane is not None and plain.plane.features == ("x1", "x2")
    assert np.array_equal(plain.x_train, plain.plane.train) and np.array_equal(plain.x_test, plain.plane.test)
    assert rich.plane is not None and np.array_equal(rich.plane.train, plain.x_train)
    assert rich.features == 3 and np.array_equal(rich.x_train[:, 1], plain.x_train[:, 0])
    assert np.array_equal(rich.plane.inputs(rich.plane.test), rich.x_test)
    assert np.array_equal(rich.y_train, plain.y_train)


@pytest.mark.parametrize(
    ("features", "kind", "message"),
    [
        ("x1", TypeError, "features: 'x1'; expected a list of names such as ['x1', 'x2']"),
        (3, TypeError, "features: 3; expected a list"),
        ([], ValueError, "expected one name or more"),
        (["x1", "x1"], ValueError, "each of them once"),
        (["x3"], ValueError, "features: unknown name 'x3'"),
    ],
)
def test_bad_features(features: object, kind: type[Exception], message: str) -> None:
    with pytest.raises(kind) as error:
        load("moons", features=features)
    assert message in str(error.value)


@pytest.mark.parametrize("name", CURVES)
def test_curves(name: str) -> None:
    clean, noisy = load(name, samples=4000, noise=0), load(name, samples=4000, noise=0.2)
    assert clean.features == 1 and not clean.classes and clean.plane is None and clean.source
    assert clean.y_train.dtype == np.float32 and clean.y_train.shape == (3200,)
    x = clean.x_train[:, 0].astype(np.float64)
    formula = np.sin(3 * x) if name == "sine" else np.rint(1.5 * x)
    assert np.allclose(clean.y_train, formula, atol=1e-5)
    assert abs(x.mean()) < 0.05 and abs(x.std() - 1) < 0.05
    assert np.array_equal(clean.x_train, noisy.x_train)
    assert abs((noisy.y_train - clean.y_train).std() - 0.2) < 0.02
    assert DATASETS[name].options == {"samples": 300, "noise": 0.1, "seed": 0, "test_share": 0.2}


def test_a_run_file_holds_them_and_a_run_learns_from_them() -> None:
    """Circles are linear in the squares: a network without a hidden layer learns them, and not without squares."""
    text = 'data = { name = "circles", features = ["x1^2", "x2^2"] }\nlayers = []\nepochs = 20\noptimizer = "adam"\n'
    found = {}
    for name in ("squares", "coordinates"):
        table = runfile.tomllib.loads(text)
        if name == "coordinates":
            table["data"] = "circles"
        run = runfile.RunFile.from_table(table)
        again = runfile.RunFile.from_table(runfile.tomllib.loads(run.text()))
        assert again == run
        run = runfile.RunFile.from_table({**table, "optimizer": {"name": "adam", "lr": 0.1}})
        prepared = runfile.build(run)
        *_, last = prepared.trainer.run(run.epochs)
        found[name] = last.val_accuracy
    assert found["squares"] > 0.97 and found["coordinates"] < 0.7
