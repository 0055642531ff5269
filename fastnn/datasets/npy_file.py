"""NPY files: one array of rows, with the label in one of its columns."""

from __future__ import annotations

import math
import os
import tokenize
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from fastnn.datasets.dataset import Dataset
from fastnn.datasets.tables import Table, check_options, table_dataset
from fastnn.errors import DataError, check_int, shown

_HEADERS = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}


def load_npy(
    path: Path,
    *,
    label: int = -1,
    task: str | None = None,
    standardize: bool = False,
    test_share: float = 0.2,
    seed: int = 0,
) -> Dataset:
    """The Dataset in an NPY file: one array (n, columns) of booleans, integers or real numbers.

    label: the label's column, from 0; negative numbers count from the end
    task: "classification", "regression", or None to tell by the label column
    standardize: rescale the features by the training part's mean and standard deviation
    test_share, seed: as in `split_rows`; stratified for classes

    Raises DataError when the file is damaged, cut short or holds Python objects; it names row and column, both from
    0, of a number that is not finite.
    """
    check_int("label", label, -(2**31), 2**31)
    check_options(task, standardize, test_share, seed)
    try:
        values = _read(path)
        width = values.shape[1]
        column = check_int("label", label, -width, width - 1) % width
        x = np.delete(values, column, axis=1).astype(np.float64)
        labels = values[:, column].astype(np.float64)
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror or error})") from error
    except MemoryError as error:
        raise DataError(f"{path}: too large for the memory of this machine") from error

    columns = [at for at in range(width) if at != column]
    table = Table(path, x, labels, columns, column, lambda row, at: f"row {row}, column {at}")
    return table_dataset(table, task, standardize, test_share, seed)


def _read(path: Path) -> np.ndarray:
    with open(path, "rb") as file:
        shape, fortran, dtype = _header(file, path)
        if dtype.kind not in "biuf":
            raise DataError(f"{path}: an array of {dtype}; expected booleans, integers or real numbers")
        if len(shape) != 2 or shape[0] < 1 or shape[1] < 2:
            raise DataError(f"{path}: an array of shape {shape}; expected (rows, columns), with 2 columns or more")
        # Before anything is allocated: NumPy itself believes the header.
        count = math.prod(shape)
        expected, length = count * dtype.itemsize, os.fstat(file.fileno()).st_size - file.tell()
        if length != expected:
            raise DataError(
                f"{path}: the header says {shape} of {dtype}, {expected} bytes, but {length} follow: "
                "cut short or damaged"
            )
        return np.fromfile(file, dtype, count).reshape(shape, order="F" if fortran else "C")


def _header(file: BinaryIO, path: Path) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    try:
        version = np.lib.format.read_magic(file)
        if version in _HEADERS:
            return _HEADERS[version](file)
    except (
        ArithmeticError,
        MemoryError,
        RecursionError,
        SyntaxError,
        TypeError,
        ValueError,
        tokenize.TokenError,
    ) as error:
        # NumPy evaluates the header as a Python literal: damage comes out as whatever that raises.
        raise DataError(f"{path}: not an NPY file, or a damaged one ({shown(str(error), 100)})") from error
    raise DataError(f"{path}: NPY format {version[0]}.{version[1]}; expected 1.0 or 2.0")
