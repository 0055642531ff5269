"""What a data set is once it is loaded, and the one way in which rows are split into a training and a test part."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from fastnn.datasets.features import Plane, features_of
from fastnn.errors import DataError, check_float, check_int, shown

# Philox is keyed by (stream, seed), so that the rows a seed generates and the split it makes do not share numbers.
_GENERATE, _SPLIT = 0, 1
_LARGEST_SEED = 2**64 - 1


@dataclass(frozen=True, eq=False, repr=False)
class Dataset:
    """A training and a test part, in the form that training takes.

    name: what it was loaded as
    x_train, x_test: (n, features) float32, C-contiguous; of sequences (n, T, features)
    y_train, y_test: (n,) int64 in [0, n_classes) for classification; (n,) or (n, outputs) float32 for regression; of
        sequences also (n, T) labels or (n, T, outputs), a target for each time step
    classes: the class names in the order of the labels; empty for regression
    image_shape: (rows, columns) when a row of x is an image, flattened row by row
    source: where the data comes from, its licence or its formula
    plane: where the rows lie, when x are features of points in the plane

    Raises ValueError or TypeError when the arrays do not fit together.
    """

    name: str
    x_train: np.ndarray
    y_train: np.ndarray
    x_test: np.ndarray
    y_test: np.ndarray
    classes: tuple[str, ...] = ()
    image_shape: tuple[int, int] | None = None
    source: str = field(default="")
    plane: Plane | None = None

    def __post_init__(self) -> None:
        _check_part("train", self.x_train, self.y_train, self.n_classes)
        _check_part("test", self.x_test, self.y_test, self.n_classes)
        if self.x_test.shape[1:] != self.x_train.shape[1:] or self.y_test.shape[1:] != self.y_train.shape[1:]:
            raise ValueError(
                f"x_test, y_test: shapes {self.x_test.shape}, {self.y_test.shape} do not fit the training part's "
                f"{self.x_train.shape}, {self.y_train.shape}; expected the same number of columns"
            )
        if self.n_classes == 1:
            raise ValueError(f"classes: {shown(self.classes)} is one class; expected 2 or more, or none for regression")
        if self.image_shape is not None and self.image_shape[0] * self.image_shape[1] != self.features:
            raise ValueError(f"image_shape: {self.image_shape} does not hold the {self.features} features of x_train")

    @property
    def features(self) -> int:
        """Columns of x: what the network's first layer takes."""
        return int(self.x_train.shape[-1])

    @property
    def steps(self) -> int | None:
        """Time steps of the sequences; None where x has none."""
        return int(self.x_train.shape[1]) if self.x_train.ndim == 3 else None

    @property
    def every_step(self) -> bool:
        """Whether each time step has a target of its own."""
        return self.steps is not None and self.y_train.ndim == (2 if self.classes else 3)

    @property
    def n_classes(self) -> int:
        """Number of classes, 0 for regression."""
        return len(self.classes)

    def __repr__(self) -> str:
        task = f"{self.n_classes} classes" if self.classes else "regression"
        rows = f"{len(self.x_train)} train, {len(self.x_test)} test"
        steps = "" if self.steps is None else f"{self.steps} steps of "
        return f"Dataset({self.name!r}, {rows}, {steps}{self.features} features, {task})"


def _check_part(part: str, x: np.ndarray, y: np.ndarray, n_classes: int) -> None:
    for argument, array in ((f"x_{part}", x), (f"y_{part}", y)):
        if not isinstance(array, np.ndarray):
            raise TypeError(f"{argument}: expected a NumPy array, got {shown(array)} of type {type(array).__name__}")
    if x.ndim not in (2, 3) or x.dtype != np.float32 or not x.flags.c_contiguous:
        raise ValueError(
            f"x_{part}: {_kind(x)}; expected C-contiguous float32 of shape (n, features) or (n, T, features)"
        )
    if 0 in x.shape:
        raise ValueError(f"x_{part}: {_kind(x)}; expected at least 1 row and 1 feature")
    steps = x.shape[1:2] if x.ndim == 3 else ()
    stepwise = bool(steps) and y.shape[1:2] == steps and y.ndim == (2 if n_classes else 3)
    if n_classes and ((y.ndim != 1 and not stepwise) or y.dtype != np.int64):
        raise ValueError(f"y_{part}: {_kind(y)}; expected int64 labels of shape (n,){' or (n, T)' if steps else ''}")
    if not n_classes and ((y.ndim not in (1, 2) and not stepwise) or y.dtype != np.float32):
        raise ValueError(f"y_{part}: {_kind(y)}; expected float32 of shape (n,) or (n, outputs)")
    if len(x) != len(y):
        raise ValueError(f"y_{part}: {len(y)} rows for the {len(x)} rows of x_{part}; expected as many")
    if n_classes and not 0 <= y.min() <= y.max() < n_classes:
        wrong = int(y.min()) if y.min() < 0 else int(y.max())
        raise ValueError(f"y_{part}: label {wrong} is outside the {n_classes} classes; expected 0 to {n_classes - 1}")


def _kind(array: np.ndarray) -> str:
    return f"{array.dtype} array of shape {array.shape}"


def check_seed(seed: int) -> int:
    """Return `seed` if it is an integer from 0 to 2**64 - 1."""
    return check_int("seed", seed, 0, _LARGEST_SEED)


def check_share(test_share: float) -> float:
    """Return `test_share` if it is a number between 0 and 1, both excluded."""
    return check_float("test_share", test_share, 0, 1, above=True, below=True)


def generator(seed: int) -> np.random.Generator:
    """The counter-based source of the generated data sets: the same numbers for a seed in every process."""
    return np.random.Generator(np.random.Philox(key=(_GENERATE << 64) + check_seed(seed)))


def permutation(n: int, seed: int) -> np.ndarray:
    """(n,) int64: the numbers 0 to n - 1 in the order that `seed` fixes.

    Ranks of raw Philox words, because NumPy promises those for ever but not the order that `Generator.permutation`
    makes of them: a split must not change with the NumPy version.
    """
    words = np.random.Philox(key=(_SPLIT << 64) + check_seed(seed)).random_raw(n)
    return np.argsort(words, kind="stable")


def split_rows(
    n: int, labels: np.ndarray | None = None, *, test_share: float = 0.2, seed: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    """Row numbers of the training and of the test part, both shuffled; each row is in exactly one of them.

    n: number of rows
    labels: (n,) int64 classes from 0: every class then gives the same share of its rows, to within one row, and
        keeps at least one row for training; None splits without regard to classes
    test_share: share of the rows in the test part, in (0, 1); at least one row goes to each part
    seed: the shuffle

    Raises DataError if there are too few rows for two parts.
    """
    share = check_share(test_share)
    order = permutation(n, seed)
    groups = np.zeros(n, np.int64) if labels is None else labels[order]
    counts = np.bincount(groups) if n else np.zeros(1, np.int64)
    most = np.maximum(counts - 1, 0)
    wanted = min(max(1, round(n * share)), int(most.sum()))
    if wanted < 1:
        raise DataError(
            f"{n} rows in {len(counts)} classes are too few for a training and a test part; "
            "expected 2 rows or more in a class"
        )

    # Largest remainders: whole shares first, the rows left over to the classes that lost most by rounding down.
    take = np.minimum(np.floor(counts * share).astype(np.int64), most)
    rank = np.argsort(take - counts * share, kind="stable")
    while take.sum() < wanted:
        for group in rank[take[rank] < most[rank]][: wanted - int(take.sum())]:
            take[group] += 1

    by_group = np.argsort(groups, kind="stable")
    place = np.empty(n, np.int64)  # of a row among the rows of its own class
    place[by_group] = np.arange(n) - np.repeat(np.cumsum(counts) - counts, counts)
    is_test = place < take[groups]
    return order[~is_test], order[is_test]


def split_dataset(
    name: str,
    x: np.ndarray,
    y: np.ndarray,
    *,
    classes: tuple[str, ...] = (),
    image_shape: tuple[int, int] | None = None,
    source: str = "",
    test_share: float = 0.2,
    seed: int = 0,
    features: tuple[str, ...] = (),
) -> Dataset:
    """The Dataset of `x` (n, features) and `y`, split by `split_rows`, stratified when there are classes.

    With names of `features`, x (n, 2) are points in the plane, and the data set has these features of them.
    """
    train, test = split_rows(len(x), y if classes else None, test_share=test_share, seed=seed)
    plane = Plane(x[train], x[test], features) if features else None
    if features:
        x = features_of(x, features)
    return Dataset(name, x[train], y[train], x[test], y[test], classes, image_shape, source, plane)
