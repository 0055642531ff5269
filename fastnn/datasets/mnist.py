"""MNIST: 60,000 and 10,000 handwritten digits of 28x28 pixels, read from the four IDX files.

Source: Y. LeCun, L. Bottou, Y. Bengio, P. Haffner, Gradient-based learning applied to document recognition,
Proceedings of the IEEE 86 (1998); the images are NIST Special Databases 1 and 3, recentered.
"""

from __future__ import annotations

import os
from pathlib import Path

import platformdirs

from fastnn.datasets.dataset import Dataset
from fastnn.datasets.idx import FOUR_FILES, idx_files, load_idx_folder
from fastnn.errors import DataError

SOURCE = "MNIST, LeCun, Cortes and Burges 1998 (NIST Special Databases 1 and 3)"


def load_mnist() -> Dataset:
    """MNIST, x (n, 784) float32 in [0, 1], from `$FASTNN_DATA/mnist` or, where that has no IDX file, the cache folder.

    Raises DataError saying where it looked and for which files; nothing is fetched.
    """
    folders = _folders()
    for folder in folders:
        if folder.is_dir() and idx_files(folder):
            return load_idx_folder(folder, name="mnist", source=SOURCE, n_classes=10)
    unset = "" if os.environ.get("FASTNN_DATA") else " (FASTNN_DATA is not set)"
    raise DataError(
        f"mnist: not found; looked in {' and '.join(map(str, folders))}{unset}; expected the four files "
        f"{', '.join(name + '.gz' for name in FOUR_FILES)} in the folder mnist of the folder that FASTNN_DATA names"
    )


def _folders() -> list[Path]:
    data = os.environ.get("FASTNN_DATA")
    given = [Path(data).expanduser() / "mnist"] if data else []
    return [*given, _cache_folder() / "data" / "mnist"]


def _cache_folder() -> Path:
    """`$FASTNN_CACHE_DIR`, or where this system keeps a program's files that can be made or fetched again."""
    chosen = os.environ.get("FASTNN_CACHE_DIR")
    return Path(chosen) if chosen else platformdirs.user_cache_path("fastnn")
