"""MNIST: 60,000 and 10,000 handwritten digits of 28x28 pixels, read from the four IDX files, which are fetched once.

Source: Y. LeCun, L. Bottou, Y. Bengio, P. Haffner, Gradient-based learning applied to document recognition,
Proceedings of the IEEE 86 (1998); the images are NIST Special Databases 1 and 3, recentered.
"""

from __future__ import annotations

import os
from pathlib import Path

import platformdirs

from fastnn.datasets.dataset import Dataset
from fastnn.datasets.idx import idx_files, load_idx_folder
from fastnn.errors import DataError

SOURCE = "MNIST, LeCun, Cortes and Burges 1998 (NIST Special Databases 1 and 3)"
MIRROR = "https://ossci-datasets.s3.amazonaws.com/mnist"  # of PyTorch, as the first site refuses programs
SHA256 = {
    "train-images-idx3-ubyte.gz": "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609",
    "train-labels-idx1-ubyte.gz": "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c",
    "t10k-images-idx3-ubyte.gz": "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6",
    "t10k-labels-idx1-ubyte.gz": "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6",
}
PATIENCE = (3, 10)  # seconds: for a connection to each of the mirror's addresses, and without an answer


def load_mnist() -> Dataset:
    """MNIST, x (n, 784) float32 in [0, 1], from `$FASTNN_DATA/mnist` or, where that has no IDX file, the cache folder.

    Where the cache lacks a file, all that it lacks is fetched into it, 11 MB, each checked by its SHA-256. Raises
    DataError saying where it looked, what became of the fetching, and which files are expected where.
    """
    given, cache = _given_folder(), _cache_folder() / "data" / "mnist"
    if given is not None and given.is_dir() and idx_files(given):
        folder = given
    else:
        folder = cache
        if not cache.is_dir() or len(idx_files(cache)) < len(SHA256):
            _fetch(cache, given)
    return load_idx_folder(folder, name="mnist", source=SOURCE, n_classes=10)


def _fetch(cache: Path, given: Path | None) -> None:
    import pooch  # with requests, 0.2 s, and seldom needed
    import requests

    try:
        for name, known in SHA256.items():
            patient = pooch.HTTPDownloader(timeout=PATIENCE)
            pooch.retrieve(f"{MIRROR}/{name}", f"sha256:{known}", fname=name, path=cache, downloader=patient)
        return
    except requests.exceptions.SSLError as error:  # there is a connection, to a proxy that reads along
        reason = str(error)
    except (requests.ConnectionError, requests.Timeout):
        reason = "no connection"
    except (OSError, ValueError) as error:  # refused, no place to write, or another file than was expected
        reason = str(error)
    looked = f"{cache} (FASTNN_DATA is not set)" if given is None else f"{given} and {cache}"
    raise DataError(
        f"mnist: not found, nor could it be fetched ({reason}); looked in {looked} and at {MIRROR}; expected the files "
        f"{', '.join(SHA256)} in the folder mnist of the folder that FASTNN_DATA names"
    )


def _given_folder() -> Path | None:
    data = os.environ.get("FASTNN_DATA")
    return Path(data).expanduser() / "mnist" if data else None


def _cache_folder() -> Path:
    """`$FASTNN_CACHE_DIR`, or where this system keeps a program's files that can be made or fetched again."""
    chosen = os.environ.get("FASTNN_CACHE_DIR")
    return Path(chosen) if chosen else platformdirs.user_cache_path("fastnn")
