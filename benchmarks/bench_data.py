"""Reading data sets from files: 10,000 rows of as many features as MNIST has, or of a table's 30 columns."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np

import fastnn as fnn

ROWS = 10_000
IDX, PACKED, CSV, NPY = "idx", "idx.gz", "table.csv", "table.npy"


def _idx(array: np.ndarray) -> bytes:
    """A file of unsigned bytes in MNIST's format: http://yann.lecun.com/exdb/mnist/."""
    return bytes([0, 0, 8, array.ndim]) + np.array(array.shape, ">i4").tobytes() + array.astype(np.uint8).tobytes()


class Loading:
    params = [IDX, PACKED, CSV, NPY]
    param_names = ["file"]
    timeout = 120

    def setup_cache(self) -> None:
        """asv runs this, and the benchmarks, in a folder that it removes."""
        rng = np.random.default_rng(0)
        # Four of five pixels are 0, as MNIST's are, so that they compress as those do.
        pixels = rng.integers(0, 256, (ROWS, 28, 28)) * (rng.random((ROWS, 28, 28)) < 0.2)
        labels = np.arange(ROWS) % 10
        for folder in (IDX, PACKED):
            Path(folder).mkdir()
        for part in ("train", "t10k"):
            for name, array in ((f"{part}-images-idx3-ubyte", pixels), (f"{part}-labels-idx1-ubyte", labels)):
                (Path(IDX) / name).write_bytes(_idx(array))
                (Path(PACKED) / f"{name}.gz").write_bytes(gzip.compress(_idx(array), 6))
        table = np.column_stack([rng.standard_normal((ROWS, 30)), labels])
        np.savetxt(CSV, table, delimiter=",", fmt="%.6g")
        np.save(NPY, table.astype(np.float32))

    def time_load(self, file: str) -> None:
        fnn.datasets.load(file)
