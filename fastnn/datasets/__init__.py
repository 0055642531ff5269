"""Data sets: shipped (digits, lessons), generated (moons, circles, spirals, xor, blobs; sine, steps; adding),
fetched (mnist), own files.

data = fastnn.datasets.load("digits")
data = fastnn.datasets.load("spirals", classes=5, noise=0.1)
data = fastnn.datasets.load("circles", features=["x1^2", "x2^2"])
data = fastnn.datasets.load("iris.csv", label="species", standardize=True)
data = fastnn.datasets.load("book.txt", steps=64)  # sequences: what is the next character?
data = fastnn.datasets.load("adding", steps=100)  # sequences: the sum of two marked numbers
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from fastnn.datasets.csv_file import load_csv
from fastnn.datasets.dataset import Dataset
from fastnn.datasets.idx import idx_files, load_idx_folder
from fastnn.datasets.npy_file import load_npy
from fastnn.datasets.registry import DATASETS, Entry, options_of
from fastnn.datasets.sequences import load_adding, load_text
from fastnn.errors import DataError, shown, unknown

__all__ = ["DATASETS", "Dataset", "Entry", "digest", "load", "load_adding", "load_text"]

_DIGESTED = 1 << 26  # bytes of a file, which take 0.1 s
_READERS: dict[str, Callable[..., Dataset]] = {".csv": load_csv, ".npy": load_npy, ".txt": load_text}


def load(name_or_path: str | os.PathLike[str], **options: Any) -> Dataset:
    """Load a data set: a built-in one by name, or a file or folder of your own.

    name_or_path: a name in DATASETS, or the path of a .csv, .npy or .txt file or a folder of four IDX files. A name
        comes first: write "./digits" for a folder that is called digits.
    options: what the loader takes. digits: test_share, seed. Generated: samples, noise, seed, test_share; in the plane
        features (names of fastnn.datasets.features.FEATURES), classes (spirals, blobs), turns (spirals). adding: steps,
        samples, seed, test_share. lessons: steps, seed, test_share. CSV: label, header, delimiter, task, standardize,
        test_share, seed. NPY: the same without header and delimiter. TXT: steps, characters, test_share, seed. MNIST
        and IDX folders: none, they come split.

    Raises DataError for a file that is missing, damaged or cut short, ValueError or TypeError for a name or an option
    that does not fit; each names the argument or the file, the value and what was expected.
    """
    if not isinstance(name_or_path, (str, os.PathLike)):
        raise TypeError(
            f"name_or_path: expected a name or a path, got {shown(name_or_path)} of type {type(name_or_path).__name__}"
        )
    if isinstance(name_or_path, str) and name_or_path in DATASETS:
        loader = DATASETS[name_or_path].loader
        _check_options(name_or_path, loader, options)
        return loader(**options)

    given = os.fspath(name_or_path)
    path = Path(os.path.expanduser(given))
    reader = _READERS.get(path.suffix.lower())
    plain = isinstance(name_or_path, str) and not path.suffix and given == path.name  # as a name in DATASETS would be
    # os.path's functions are False where pathlib's raise: for a name that is too long, or a folder of someone else's.
    if given and os.path.isdir(path):
        reader = _load_folder
    elif not given or (plain and not os.path.exists(path)):
        raise unknown("name_or_path", name_or_path, DATASETS)
    elif not os.path.isfile(path):
        what = "neither a file nor a folder" if os.path.exists(path) else "no such file or folder"
        raise DataError(f"{path}: {what}; expected a .csv, .npy or .txt file, or a folder of IDX files")
    elif reader is None:
        raise DataError(
            f"{path}: a file of unknown kind; expected a name that ends in .csv, .npy or .txt, or a folder of IDX files"
        )
    _check_options(path.name, reader, options)
    return reader(path, **options)


def digest(name_or_path: str) -> str:
    """A hash of the file or folder that `load` would read, by its files' sizes and first 64 MB each; "" for a built-in
    name, and for what cannot be read."""
    path = Path(os.path.expanduser(name_or_path))
    if name_or_path in DATASETS or not (os.path.isfile(path) or os.path.isdir(path)):
        return ""
    found = hashlib.sha256()
    try:
        for file in idx_files(path).values() if path.is_dir() else [path]:
            with open(file, "rb") as content:
                found.update(f"{file.name} {os.fstat(content.fileno()).st_size}\n".encode())
                found.update(content.read(_DIGESTED))
    except (OSError, DataError):
        return ""
    return found.hexdigest()


def _load_folder(path: Path) -> Dataset:
    return load_idx_folder(path)


def _check_options(name: str, loader: Callable[..., Dataset], options: dict[str, Any]) -> None:
    known = options_of(loader)
    for option in options:
        if option not in known:
            if not known:
                raise ValueError(f"{name}: unknown option {option!r}; expected none")
            raise unknown(f"options of {name}", option, known)
