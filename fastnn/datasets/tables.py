"""What CSV and NPY files have in common: a row a sample, and one column that holds the label.

What the label column makes of the task, unless `task` says it:

- whole numbers: classification, the classes being the distinct numbers in ascending order
- text (CSV only): classification, the classes being the distinct texts in sorted order
- numbers of which one has a fraction: regression, y (n, 1) float32

Features are taken as they are; `standardize` subtracts the mean and divides by the standard deviation of the
training part, column by column (a constant column is only centered).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from fastnn.datasets.dataset import Dataset, check_seed, check_share, split_rows
from fastnn.errors import DataError, check_choice, shown

TASKS = ("classification", "regression")
_FINITE = "expected a finite number of size below 3.4e38, the largest float32"
# More classes than this, and more than half as many as rows: a measured quantity rather than classes.
_MANY_CLASSES = 20


@dataclass(frozen=True)
class Table:
    """The numbers of a file, and where they were in it.

    x: (n, features) float64
    labels: (n,) float64, or a list of n class names
    columns: the column of the file, from 0, that each feature comes from; label_column: the label's
    place: the name of a row and column of the file in messages
    """

    path: Path
    x: np.ndarray
    labels: np.ndarray | list[str]
    columns: list[int]
    label_column: int
    place: Callable[[int, int], str]

    def error(self, row: int, feature: int | None, message: str) -> DataError:
        """A DataError about one cell; feature None is the label."""
        column = self.label_column if feature is None else self.columns[feature]
        return DataError(f"{self.path}: {self.place(row, column)}: {message}")


def check_options(task: Any, standardize: Any, test_share: Any, seed: Any) -> None:
    """Raise TypeError or ValueError for an option that no table could take."""
    if task is not None:
        check_choice("task", task, TASKS)
    if not isinstance(standardize, bool):
        raise TypeError(
            f"standardize: expected True or False, got {shown(standardize)} of type {type(standardize).__name__}"
        )
    check_share(test_share)
    check_seed(seed)


def table_dataset(table: Table, task: str | None, standardize: bool, test_share: float, seed: int) -> Dataset:
    """The Dataset of a table, its rows shuffled and split by `split_rows`, stratified when there are classes.

    Raises DataError for a feature or label that is not finite in float32, and for labels that do not fit the task.
    """
    bad = _first_not_finite(table.x)
    if bad is not None:
        row, feature = bad
        raise table.error(row, feature, f"{table.x[row, feature]}; {_FINITE}")
    if isinstance(table.labels, list):
        distinct = sorted(set(table.labels))
        y, classes = _classes(table, table.labels, distinct, tuple(distinct), task)
    else:
        y, classes = _numeric_targets(table, table.labels, task)

    try:
        train, test = split_rows(len(y), y if classes else None, test_share=test_share, seed=seed)
    except DataError as reason:
        raise DataError(f"{table.path}: {reason}") from None
    x = table.x
    if standardize:
        mean, std = x[train].mean(axis=0), x[train].std(axis=0)
        x = (x - mean) / np.where(std > 0, std, 1)
    x = np.ascontiguousarray(x, np.float32)
    name, source = table.path.name, f"file {table.path}"
    return Dataset(name, x[train], y[train], x[test], y[test], classes=classes, source=source)


def _numeric_targets(table: Table, labels: np.ndarray, task: str | None) -> tuple[np.ndarray, tuple[str, ...]]:
    bad = _first_not_finite(labels)
    if bad is not None:
        raise table.error(bad[0], None, f"label {labels[bad]}; {_FINITE}")
    fractions = np.flatnonzero(labels != np.floor(labels))
    if task == "regression" or (task is None and len(fractions)):
        return labels.astype(np.float32).reshape(-1, 1), ()
    if len(fractions):
        row = int(fractions[0])
        raise table.error(row, None, f"label {labels[row]}; expected a whole number for task='classification'")
    distinct = np.unique(labels).tolist()
    return _classes(table, labels.tolist(), distinct, tuple(str(int(value)) for value in distinct), task)


def _classes(
    table: Table, labels: list[Any], distinct: list[Any], names: tuple[str, ...], task: str | None
) -> tuple[np.ndarray, tuple[str, ...]]:
    if len(names) < 2:
        raise DataError(f"{table.path}: every label is {names[0]!r}, one class only; expected 2 classes or more")
    if task is None and len(names) > max(_MANY_CLASSES, len(labels) // 2):
        raise DataError(
            f"{table.path}: {len(names)} different labels in {len(labels)} rows; expected fewer classes, or the option "
            f"task set to one of {', '.join(TASKS)}"
        )
    number = {value: index for index, value in enumerate(distinct)}
    return np.array([number[label] for label in labels], np.int64), names


def _first_not_finite(values: np.ndarray) -> tuple[int, ...] | None:
    """The index of the first value that is not finite as a float32."""
    with np.errstate(over="ignore"):
        fine = np.isfinite(values.astype(np.float32))
    if fine.all():
        return None
    return tuple(int(i) for i in np.unravel_index(int(fine.argmin()), fine.shape))
