"""The built-in data sets: their shape, their balance, and that a seed gives the same bits in every process."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from fastnn.datasets import DATASETS, Dataset, load
from fastnn.datasets.dataset import split_rows
from fastnn.errors import DataError

HERE = [name for name, entry in DATASETS.items() if entry.kind != "fetched"]
CURVES = ["sine", "steps"]  # regressions, in test_features.py
SEQUENCES = ["adding", "lessons"]  # in test_sequences.py
OTHERS = [*CURVES, *SEQUENCES]
GENERATED = [name for name, entry in DATASETS.items() if entry.kind == "generated" and name not in OTHERS]
LABELED = [name for name in HERE if name not in OTHERS]


def fingerprint(data: Dataset) -> str:
    digest = hashlib.sha256()
    for array in (data.x_train, data.y_train, data.x_test, data.y_test):
        digest.update(array.tobytes())
    return digest.hexdigest()


def rows(x: np.ndarray) -> np.ndarray:
    return x[np.lexsort(x.T)]


def test_registry_is_complete() -> None:
    assert set(DATASETS) == {"digits", "moons", "circles", "spirals", "xor", "blobs", *OTHERS, "mnist"}
    for name, entry in DATASETS.items():
        assert entry.name == name
        assert entry.description and "\n" not in entry.description
        assert entry.kind in ("shipped", "generated", "fetched")
        assert entry.source
    assert DATASETS["mnist"].options == {}
    assert DATASETS["digits"].options == {"test_share": 0.2, "seed": 0}
    assert all({"samples", "noise", "seed", "test_share"} <= set(DATASETS[name].options) for name in GENERATED)


@pytest.mark.parametrize("name", LABELED)
def test_form(name: str) -> None:
    data = load(name)
    assert data.name == name
    assert data.source
    for x, y in ((data.x_train, data.y_train), (data.x_test, data.y_test)):
        assert (
            x.dtype == np.float32 and x.flags.c_contiguous and x.flags.writeable and x.shape == (len(y), data.features)
        )
        assert y.dtype == np.int64 and y.flags.c_contiguous and y.ndim == 1
        assert np.isfinite(x).all()
        assert set(y.tolist()) == set(range(data.n_classes))
    share = len(data.x_test) / (len(data.x_train) + len(data.x_test))
    assert share == pytest.approx(0.2, abs=0.001)


@pytest.mark.parametrize("name", LABELED)
def test_split_is_stratified(name: str) -> None:
    data = load(name, test_share=0.3)
    train, test = np.bincount(data.y_train), np.bincount(data.y_test)
    assert np.all(np.abs(test - 0.3 * (train + test)) <= 1)


def test_rows_left_over_go_to_the_largest_remainders() -> None:
    labels = np.repeat([0, 1, 2], [5, 7, 8])  # a quarter is 1.25, 1.75 and 2 rows
    _, test = split_rows(20, labels, test_share=0.25)
    assert np.bincount(labels[test]).tolist() == [1, 2, 2]


@pytest.mark.parametrize("name", LABELED)
def test_labels_are_shuffled(name: str) -> None:
    # Sorted or alternating labels would repeat far more or far less often than chance, 1 / classes.
    y = load(name).y_train
    classes = y.max() + 1
    assert np.mean(y[1:] == y[:-1]) == pytest.approx(1 / classes, abs=0.08)


@pytest.mark.parametrize("name", HERE)
def test_seeds_fix_the_data(name: str) -> None:
    assert fingerprint(load(name, seed=3)) == fingerprint(load(name, seed=3))
    assert fingerprint(load(name, seed=3)) != fingerprint(load(name, seed=4))
    assert fingerprint(load(name)) == fingerprint(load(name, seed=0))


def test_other_processes_see_the_same_bits() -> None:
    code = (
        "import sys; sys.path[:0] = sys.argv[1:]\n"
        "from test_builtin import HERE, fingerprint, load\n"
        "print(*(fingerprint(load(name, seed=5)) for name in HERE))"
    )
    found = []
    for hash_seed in ("1", "2"):
        environment = {**os.environ, "PYTHONHASHSEED": hash_seed}
        paths = [str(Path(__file__).parent), *filter(None, sys.path)]
        command = [sys.executable, "-c", code, *paths]
        found.append(
            subprocess.run(command, env=environment, check=True, capture_output=True, text=True).stdout.split()
        )
    assert found == [[fingerprint(load(name, seed=5)) for name in HERE]] * 2


def test_digits_are_the_published_ones() -> None:
    data = load("digits")
    x, y = np.concatenate([data.x_train, data.x_test]), np.concatenate([data.y_train, data.y_test])
    assert x.shape == (1797, 64)
    assert data.image_shape == (8, 8)
    assert data.classes == tuple("0123456789")
    # Of the file that scikit-learn ships: the number of each digit, the sum of all pixels (0 to 16), and a sum that
    # weighs each pixel by its place and its digit, which moves when any of them is out of step.
    assert np.bincount(y).tolist() == [178, 182, 177, 183, 181, 182, 181, 179, 174, 180]
    assert np.array_equal(x * 16, np.round(x * 16)) and x.min() == 0 and x.max() == 1
    assert int((x.astype(np.float64) * 16).sum()) == 561718
    assert int((y + 1) @ (x.astype(np.float64) * 16) @ np.arange(1, 65)) == 98958279


def test_digits_split_changes_no_row() -> None:
    one, other = load("digits"), load("digits", test_share=0.5, seed=9)
    assert len(other.x_test) == 898
    whole = [rows(np.concatenate([data.x_train, data.x_test])) for data in (one, other)]
    assert np.array_equal(*whole)


def test_digits_nearest_mean_is_good_but_not_perfect() -> None:
    # Labels out of step with images would leave 10 %.
    data = load("digits")
    means = np.stack([data.x_train[data.y_train == digit].mean(0) for digit in range(10)])
    nearest = np.argmin(((data.x_test[:, None] - means) ** 2).sum(2), axis=1)
    assert 0.85 < np.mean(nearest == data.y_test) < 0.97


@pytest.mark.parametrize("name", GENERATED)
@pytest.mark.parametrize("samples", [10, 101, 2000])
def test_generated_sizes_and_balance(name: str, samples: int) -> None:
    data = load(name, samples=samples)
    assert len(data.x_train) + len(data.x_test) == samples
    counts = np.bincount(np.concatenate([data.y_train, data.y_test]))
    assert counts.max() - counts.min() <= 1
    assert data.features == 2 and data.image_shape is None


@pytest.mark.parametrize("name", GENERATED)
def test_generated_scale(name: str) -> None:
    x = load(name, samples=5000).x_train
    assert np.all(np.abs(x.mean(0)) < 0.1)
    assert np.all((x.std(0) > 0.5) & (x.std(0) < 1.5))


@pytest.mark.parametrize("name", GENERATED)
def test_noise_moves_each_point_by_its_standard_deviation(name: str) -> None:
    clean, noisy = load(name, samples=4000, noise=0), load(name, samples=4000, noise=0.1)
    assert np.array_equal(clean.y_train, noisy.y_train)
    moved = noisy.x_train - clean.x_train
    assert np.all(np.abs(moved.std(0) - 0.1) < 0.01)


def test_formulas() -> None:
    x, y = (lambda d: (d.x_train.astype(np.float64), d.y_train))(load("xor"))
    assert np.array_equal(y, x[:, 0] * x[:, 1] < 0)
    assert np.all(np.abs(x) <= np.sqrt(3))
    # Every quadrant has its share.
    quadrants = np.bincount(2 * (x[:, 0] > 0) + (x[:, 1] > 0))
    assert quadrants.min() > 180

    data = load("circles", noise=0)
    assert np.allclose(np.hypot(*data.x_train.T), np.where(data.y_train, 1.8, 0.8), atol=1e-5)

    data = load("moons", noise=0)
    upper = data.x_train[data.y_train == 0] / 1.2 + [0.5, 0.25]
    lower = data.x_train[data.y_train == 1] / 1.2 + [0.5, 0.25]
    assert np.allclose(np.hypot(*upper.T), 1, atol=1e-5) and upper[:, 1].min() >= -1e-6
    assert np.allclose(np.hypot(lower[:, 0] - 1, lower[:, 1] - 0.5), 1, atol=1e-5) and lower[:, 1].max() <= 0.5 + 1e-6

    data = load("blobs", noise=0, classes=4)
    assert len(np.unique(data.x_train.round(4), axis=0)) == 4


@pytest.mark.parametrize("classes", [2, 3, 7])
def test_spiral_arms_keep_apart(classes: int) -> None:
    data = load("spirals", classes=classes, noise=0, samples=200 * classes, turns=0.75)
    assert data.classes == tuple(map(str, range(classes)))
    x, y = data.x_train.astype(np.float64), data.y_train
    radius = np.hypot(*x.T)
    angle = np.arctan2(x[:, 1], x[:, 0]) - 2 * np.pi * (y / classes + 0.75 * radius / 2.2)
    assert np.allclose(np.cos(angle), 1, atol=1e-4)


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("moons", {"sampels": 5}, "options of moons: unknown name 'sampels'; did you mean 'samples'"),
        ("moons", {"classes": 3}, "options of moons: unknown name 'classes'"),
        ("mnist", {"seed": 3}, "mnist: unknown option 'seed'; expected none"),
        ("moons", {"samples": 3}, "samples: 3 is out of range; expected from 4"),
        ("moons", {"samples": 10**12}, "samples: 1000000000000 is out of range"),
        ("moons", {"samples": 10.0}, "samples: expected an integer, got 10.0"),
        ("blobs", {"samples": 5, "classes": 3}, "samples: 5 is out of range; expected from 6"),
        ("blobs", {"classes": 1}, "classes: 1 is out of range; expected from 2"),
        ("spirals", {"turns": -1}, "turns: -1 is out of range"),
        ("xor", {"noise": float("nan")}, "noise: nan is out of range"),
        ("xor", {"noise": "much"}, "noise: expected a number, got 'much'"),
        ("circles", {"seed": -1}, "seed: -1 is out of range"),
        ("circles", {"seed": 2**64}, "seed: 18446744073709551616 is out of range"),
        ("circles", {"test_share": 0}, "test_share: 0 is out of range"),
        ("digits", {"test_share": 1.0}, "test_share: 1.0 is out of range"),
        ("digits", {"test_share": True}, "test_share: expected a number, got True"),
    ],
)
def test_bad_options(name: str, options: dict[str, object], message: str) -> None:
    with pytest.raises((ValueError, TypeError)) as error:
        load(name, **options)
    assert message in str(error.value)


@pytest.mark.parametrize(
    ("name", "kind", "message"),
    [
        (
            "digit",
            ValueError,
            "unknown name 'digit'; did you mean 'digits'? known: adding, blobs, circles, digits, lessons",
        ),
        ("MNIST", ValueError, "did you mean 'mnist'"),
        ("", ValueError, "unknown name ''"),
        ("nowhere.csv", DataError, "nowhere.csv: no such file or folder; expected a .csv, .npy or .txt file"),
        ("nowhere/digits", DataError, "digits: no such file or folder"),
        ("~nobody-has-this-name/x.npy", DataError, "x.npy: no such file or folder"),
        ("a\0b.csv", DataError, "no such file or folder"),
        (Path("digits"), DataError, "digits: no such file or folder"),
        (3, TypeError, "name_or_path: expected a name or a path, got 3 of type int"),
        (None, TypeError, "name_or_path: expected a name or a path, got None"),
        (b"digits", TypeError, "name_or_path: expected a name or a path"),
    ],
)
def test_bad_names(
    name: object, kind: type[Exception], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(kind) as error:
        load(name)  # type: ignore[arg-type]
    assert message in str(error.value)


def test_a_file_of_another_kind(tmp_path: Path) -> None:
    path = tmp_path / "table.xlsx"
    path.write_bytes(b"PK")
    with pytest.raises(DataError, match=r"table\.xlsx: a file of unknown kind; expected a name that ends in \.csv"):
        load(path)


def dataset(**changes: object) -> Dataset:
    x, y = np.zeros((4, 6), np.float32), np.array([0, 1, 1, 0])
    whole = {"name": "own", "x_train": x, "y_train": y, "x_test": x, "y_test": y, "classes": ("no", "yes")}
    return Dataset(**{**whole, **changes})  # type: ignore[arg-type]


def test_own_dataset() -> None:
    data = dataset(image_shape=(2, 3))
    assert (data.features, data.n_classes) == (6, 2)
    assert repr(data) == "Dataset('own', 4 train, 4 test, 6 features, 2 classes)"
    y = np.zeros((4, 3), np.float32)
    assert dataset(classes=(), y_train=y, y_test=y).n_classes == 0


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"x_train": [[1.0]]}, "x_train: expected a NumPy array"),
        ({"x_train": np.zeros((4, 6))}, "x_train: float64 array of shape (4, 6)"),
        ({"x_train": np.zeros((6, 4), np.float32).T}, "expected C-contiguous"),
        ({"x_test": np.zeros((0, 6), np.float32)}, "x_test: float32 array of shape (0, 6)"),
        ({"x_test": np.zeros((4, 5), np.float32)}, "x_test, y_test: shapes (4, 5), (4,)"),
        ({"y_train": np.zeros(4)}, "y_train: float64 array"),
        ({"y_train": np.zeros(3, np.int64)}, "y_train: 3 rows for the 4 rows"),
        ({"y_test": np.array([0, 1, 2, 0])}, "y_test: label 2 is outside the 2 classes"),
        ({"y_test": np.array([0, 1, -1, 0])}, "y_test: label -1 is outside"),
        ({"classes": ()}, "y_train: int64 array of shape (4,); expected float32"),
        ({"classes": ("one",), "y_train": np.zeros(4, np.int64), "y_test": np.zeros(4, np.int64)}, "is one class"),
        ({"image_shape": (8, 8)}, "image_shape: (8, 8) does not hold the 6 features"),
    ],
)
def test_own_dataset_that_does_not_fit(changes: dict[str, object], message: str) -> None:
    with pytest.raises((ValueError, TypeError)) as error:
        dataset(**changes)
    assert message in str(error.value)
