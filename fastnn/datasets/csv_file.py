"""CSV files: lines of numbers with the label in a named column, a numbered one, or the last."""

from __future__ import annotations

import csv
import itertools
from array import array
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

import numpy as np

from fastnn.datasets.dataset import Dataset
from fastnn.datasets.tables import Table, check_options, table_dataset
from fastnn.errors import DataError, check_int, shown, unknown

_DELIMITERS = ",;\t"


@dataclass(frozen=True)
class _Cells:
    """names: the header's cells, if there is one; column: the label's; numbers: the feature cells row by row; labels:
    the label cells; lines: the line of the file that each row ends in, from 1."""

    names: list[str] | None
    column: int
    numbers: array[float]
    labels: list[str]
    lines: list[int]

    def place(self, row: int, column: int) -> str:
        return f"line {self.lines[row]}, {_column(column, self.names)}"


def load_csv(
    path: Path,
    *,
    label: str | int = -1,
    header: bool | None = None,
    delimiter: str | None = None,
    task: str | None = None,
    standardize: bool = False,
    test_share: float = 0.2,
    seed: int = 0,
) -> Dataset:
    """The Dataset in a CSV file of UTF-8 text; empty lines are skipped.

    label: the label's column, by its name in the header or its number from 0; negative numbers count from the end
    header: whether the first line holds names; None takes it for names if `label` is a name, if none of its cells is
        a number, or if its label is not a number but the one below it is
    delimiter: the character between cells; None takes whichever of comma, semicolon and tab the first line has most of
    task: "classification" (any text is then a class), "regression", or None to tell by the label column
    standardize: rescale the features by the training part's mean and standard deviation
    test_share, seed: as in `split_rows`; stratified for classes

    Raises DataError naming line and column of a cell that is not a finite number or of a line of another length.
    """
    _check_format(label, header, delimiter)
    check_options(task, standardize, test_share, seed)
    try:
        with open(path, encoding="utf-8-sig", newline="") as file:
            cells = _read(file, path, label, header, delimiter)
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror or error})") from error
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: not UTF-8 text ({error})") from error
    except csv.Error as error:
        raise DataError(f"{path}: not a CSV file ({error})") from error

    x = np.frombuffer(cells.numbers, np.float64).reshape(len(cells.lines), -1)
    columns = [column for column in range(x.shape[1] + 1) if column != cells.column]
    table = Table(path, x, _labels(cells, path, task), columns, cells.column, cells.place)
    return table_dataset(table, task, standardize, test_share, seed)


def _check_format(label: Any, header: Any, delimiter: Any) -> None:
    if isinstance(label, bool) or not isinstance(label, (str, int)):
        raise TypeError(f"label: expected a column's name or number, got {shown(label)} of type {type(label).__name__}")
    if header is not None and not isinstance(header, bool):
        raise TypeError(f"header: expected True, False or None, got {shown(header)} of type {type(header).__name__}")
    if isinstance(label, str) and header is False:
        raise ValueError(f"label: {shown(label)} is a name, but header is False; expected a column number")
    if delimiter is not None and (not isinstance(delimiter, str) or len(delimiter) != 1 or delimiter in ' \r\n"\0'):
        raise ValueError(f"delimiter: {shown(delimiter)}; expected one character, not a space or a quote, or None")


def _read(file: TextIO, path: Path, label: str | int, header: bool | None, delimiter: str | None) -> _Cells:
    if delimiter is None:
        first = next((line for line in file if line.strip()), "")
        delimiter = max(_DELIMITERS, key=first.count)
        file.seek(0)
    reader = csv.reader(file, delimiter=delimiter, skipinitialspace=True)
    rows = ((reader.line_num, row) for row in reader if any(cell.strip() for cell in row))
    start = list(itertools.islice(rows, 2))
    if not start:
        raise DataError(f"{path}: empty; expected lines of numbers and a label")

    first_line, first_row = start[0]
    width = len(first_row)
    if width < 2:
        raise DataError(f"{path}: line {first_line} has 1 cell; expected a label and at least 1 feature")
    if header is None:
        header = isinstance(label, str) or _is_header([row for _, row in start], label)
    names = [cell.strip() for cell in first_row] if header else None
    column = _label_column(names or [], width, label)

    numbers, labels, lines = array("d"), [], []
    for line, row in itertools.chain(start[1:] if header else start, rows):
        if len(row) != width:
            raise DataError(f"{path}: line {line} has {len(row)} cells; expected {width}, as in line {first_line}")
        labels.append(row.pop(column).strip())
        try:
            if any("_" in cell for cell in row):
                raise ValueError("an underscore in a number")
            numbers.extend(map(float, row))
        except ValueError as error:
            bad = next(at for at, cell in enumerate(row) if _number(cell) is None)
            place = _column(bad + (bad >= column), names)
            raise DataError(f"{path}: line {line}, {place}: {shown(row[bad])}; expected a number") from error
        lines.append(line)
    if not lines:
        raise DataError(f"{path}: no line below the header; expected lines of numbers and a label")
    return _Cells(names, column, numbers, labels, lines)


def _is_header(rows: list[list[str]], label: str | int) -> bool:
    """Whether the first of the two rows is one of names; label is a column number."""
    numeric = [[_number(cell) is not None for cell in row] for row in rows]
    if not any(numeric[0]):
        return True
    column = int(label)
    if len(rows) < 2 or not all(-len(row) <= column < len(row) for row in rows):
        return False
    return not numeric[0][column] and numeric[1][column]


def _label_column(names: Sequence[str], width: int, label: str | int) -> int:
    if isinstance(label, int):
        return check_int("label", label, -width, width - 1) % width
    if label not in names:
        raise unknown("label", label, names)
    if names.count(label) > 1:
        raise ValueError(
            f"label: {names.count(label)} columns are named {label!r}; expected the name of one, or a number"
        )
    return names.index(label)


def _labels(cells: _Cells, path: Path, task: str | None) -> np.ndarray | list[str]:
    """The label column: (n,) float64, or class names where it is not all numbers."""

    def error(row: int, message: str) -> DataError:
        return DataError(f"{path}: {cells.place(row, cells.column)}: {message}")

    if "" in cells.labels:
        raise error(cells.labels.index(""), "'' is no label; expected a number or a class name")
    numbers = [_number(text) for text in cells.labels]
    if None not in numbers:
        return np.array(numbers, np.float64)
    name = numbers.index(None)
    if task == "regression":
        raise error(name, f"label {shown(cells.labels[name])}; expected a number for task='regression'")
    number = next((row for row, value in enumerate(numbers) if value is not None), None)
    if number is not None and task is None:
        # One mistyped number would otherwise turn a column of measurements into as many classes.
        raise error(
            name,
            f"label {shown(cells.labels[name])}, but line {cells.lines[number]} has {shown(cells.labels[number])}; "
            "expected numbers only or names only, or task='classification' to take every label as a name",
        )
    return cells.labels


def _number(cell: str) -> float | None:
    try:
        return None if "_" in cell else float(cell)  # Python reads 1_0 as 10
    except ValueError:
        return None


def _column(column: int, names: Sequence[str] | None) -> str:
    """A column in messages, counted from 1 as lines are, with its name."""
    return f"column {column + 1} ({names[column]!r})" if names else f"column {column + 1}"
