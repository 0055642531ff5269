"""IDX files and MNIST, on small files made here; every way in which one can be damaged."""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import http.server
import os
import struct
import threading
import tracemalloc
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple
from unittest.mock import Mock

import numpy as np
import pooch
import pytest
import requests

from fastnn.datasets import load, mnist
from fastnn.errors import DataError

TRAIN_IMAGES, TRAIN_LABELS = "train-images-idx3-ubyte", "train-labels-idx1-ubyte"
TEST_IMAGES, TEST_LABELS = "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"


def idx(array: np.ndarray, *, magic: int | None = None, sizes: tuple[int, ...] | None = None) -> bytes:
    magic = 0x800 + array.ndim if magic is None else magic
    sizes = sizes or array.shape
    return struct.pack(f">{1 + len(sizes)}I", magic, *sizes) + array.astype(np.uint8).tobytes()


def contents() -> dict[str, np.ndarray]:
    random = np.random.default_rng(0)
    return {
        TRAIN_IMAGES: random.integers(0, 256, (30, 4, 3)),
        TRAIN_LABELS: np.arange(30) % 10,
        TEST_IMAGES: random.integers(0, 256, (10, 4, 3)),
        TEST_LABELS: np.arange(10),
    }


def write(folder: Path, *, packed: bool = True) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name, array in contents().items():
        (folder / (name + ".gz" * packed)).write_bytes(gzip.compress(idx(array)) if packed else idx(array))
    return folder


@pytest.mark.parametrize("packed", [True, False])
def test_folder(tmp_path: Path, packed: bool) -> None:
    data = load(write(tmp_path / "small", packed=packed))
    arrays = contents()
    assert data.name == "small"
    assert data.image_shape == (4, 3) and data.features == 12 and data.classes == tuple("0123456789")
    assert data.x_train.dtype == np.float32 and data.x_train.flags.c_contiguous
    assert np.array_equal(data.x_train, (arrays[TRAIN_IMAGES].reshape(30, 12) / np.float32(255)).astype(np.float32))
    assert np.array_equal(data.x_test, (arrays[TEST_IMAGES].reshape(10, 12) / np.float32(255)).astype(np.float32))
    assert data.y_train.dtype == np.int64 and np.array_equal(data.y_train, arrays[TRAIN_LABELS])
    assert np.array_equal(data.y_test, arrays[TEST_LABELS])


def test_other_names(tmp_path: Path) -> None:
    write(tmp_path)
    (tmp_path / (TRAIN_IMAGES + ".gz")).rename(tmp_path / "letters-train-images.idx3-ubyte.gz")
    (tmp_path / (TEST_LABELS + ".gz")).rename(tmp_path / "test-labels-idx1-ubyte.gz")
    (tmp_path / "notes.txt").write_text("not data")
    assert len(load(str(tmp_path)).x_train) == 30


def test_the_plain_file_counts_before_the_compressed_one(tmp_path: Path) -> None:
    write(tmp_path)
    (tmp_path / TRAIN_LABELS).write_bytes(idx(9 - np.arange(30) % 10))
    assert load(tmp_path).y_train[0] == 9


def test_data_larger_than_one_chunk(tmp_path: Path) -> None:
    write(tmp_path)
    images = np.zeros((10, 300, 300), np.uint8)  # highly compressible: many output chunks for one of input
    images[-1, -1, -1] = 255
    train = np.random.default_rng(1).integers(0, 256, (30, 300, 300))
    (tmp_path / (TEST_IMAGES + ".gz")).write_bytes(gzip.compress(idx(images)))
    (tmp_path / (TRAIN_IMAGES + ".gz")).write_bytes(gzip.compress(idx(train)))
    data = load(tmp_path)
    assert data.x_test[-1, -1] == 1 and data.x_test.sum() == 1
    assert np.array_equal(np.round(data.x_train * 255).astype(int), train.reshape(30, -1))


def damaged(packed: bytes) -> bytes:
    middle = len(packed) // 2
    return packed[:middle] + bytes([packed[middle] ^ 0xFF]) + packed[middle + 1 :]


IMAGES, LABELS = contents()[TRAIN_IMAGES], contents()[TRAIN_LABELS]
PLAIN, PACKED = idx(IMAGES), gzip.compress(idx(IMAGES))
LIE = idx(IMAGES, sizes=(30, 2**16, 2**15))

# file, its bytes (None: missing; plain bytes lose the .gz of the name), what the message must say after the file's name
BAD = {
    "missing": (TRAIN_IMAGES, None, "no IDX file for train-images; expected train-images-idx3-ubyte"),
    "empty file": (TRAIN_IMAGES, b"", "cut short: 0 bytes; expected an IDX header of 16"),
    "empty gz": (TRAIN_IMAGES + ".gz", b"", "not a gzip file"),
    "two bytes of gz": (TRAIN_IMAGES + ".gz", PACKED[:2], "cut short: the compressed data stops"),
    "gz of nothing": (TRAIN_IMAGES + ".gz", gzip.compress(b""), "cut short: 0 bytes"),
    "half a header": (TRAIN_IMAGES, PLAIN[:9], "cut short: 9 bytes; expected an IDX header of 16"),
    "cut short": (TRAIN_IMAGES, PLAIN[:-1], "header says 30 x 4 x 3 bytes, 376 in all, but the file has 375"),
    "one byte more": (TRAIN_IMAGES, PLAIN + b"\0", "376 in all, but the file has 377"),
    "cut before packing": (TRAIN_IMAGES + ".gz", gzip.compress(PLAIN[:-1]), "but the gzip trailer says 375"),
    "gz cut short": (TRAIN_IMAGES + ".gz", PACKED[:-20], "cut short or damaged"),
    "gz without trailer": (TRAIN_IMAGES + ".gz", PACKED[:-8], "cut short or damaged"),
    "gz with a lying trailer": (
        TRAIN_IMAGES + ".gz",
        gzip.compress(PLAIN[:100])[:-4] + struct.pack("<I", len(PLAIN)),
        "damaged compressed data",
    ),
    "gz damaged": (TRAIN_IMAGES + ".gz", damaged(PACKED), "damaged compressed data"),
    "not gz": (TRAIN_IMAGES + ".gz", PLAIN, "not a gzip file; expected it to start with the bytes 1f 8b"),
    "gz twice": (TRAIN_IMAGES + ".gz", PACKED + PACKED, "more data after the end of the compressed part"),
    "not IDX": (TRAIN_IMAGES, b"Content-Type: text/html\r\n\r\n" * 20, "magic number 0x436f6e74; expected 0x00000803"),
    "labels for images": (TRAIN_IMAGES, idx(LABELS), "magic number 0x00000801; expected 0x00000803"),
    "images for labels": (TRAIN_LABELS, PLAIN, "magic number 0x00000803; expected 0x00000801"),
    "floats": (TRAIN_IMAGES, idx(IMAGES, magic=0xD03), "magic number 0x00000d03; expected 0x00000803"),
    "2**36 bytes": (TRAIN_IMAGES, LIE, "64424509440 bytes" and "64424509456 in all, but the file has 376"),
    "2**36 bytes in gz": (
        TRAIN_IMAGES + ".gz",
        gzip.compress(LIE),
        "64424509456 in all, but the gzip trailer says 376",
    ),
    "2**36 bytes, trailer too": (
        TRAIN_IMAGES + ".gz",
        gzip.compress(LIE)[:-4] + struct.pack("<I", 64424509456 % 2**32),
        "64424509456 in all",
    ),
    "2**31 more images": (TRAIN_IMAGES, idx(IMAGES, sizes=(30 + 2**31, 4, 3)), "2147483678 x 4 x 3; expected 30 x any"),
    "2**31 more labels": (TRAIN_LABELS, idx(LABELS, sizes=(30 + 2**31,)), "2147483686 in all, but the file has 38"),
    "no images": (TRAIN_IMAGES, idx(IMAGES[:0]), "the header says 0 x 4 x 3: empty"),
    "no columns": (TRAIN_IMAGES, idx(IMAGES[:, :, :0]), "the header says 30 x 4 x 0: empty"),
    "no labels": (TRAIN_LABELS, idx(LABELS[:0]), "the header says 0: empty"),
    "too few images": (TRAIN_IMAGES, idx(IMAGES[:29]), "the header says 29 x 4 x 3; expected 30 x any x any"),
    "test images of another size": (TEST_IMAGES, idx(np.zeros((10, 3, 3))), "10 x 3 x 3; expected 10 x 4 x 3"),
    "one class": (TRAIN_LABELS, idx(LABELS * 0), "every label is 0, one class only"),
    "label outside": (TEST_LABELS, idx(np.arange(10) + 1), "label 10 at index 9; expected 0 to 9"),
}


@pytest.mark.parametrize("case", BAD)
def test_damage(case: str, tmp_path: Path) -> None:
    name, content, message = BAD[case]
    write(tmp_path)
    (tmp_path / (name.removesuffix(".gz") + ".gz")).unlink()
    if content is not None:
        (tmp_path / name).write_bytes(content)
    tracemalloc.start()
    try:
        with pytest.raises(DataError) as error:
            load(tmp_path)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert message in str(error.value)
    assert (str(tmp_path) if content is None else name) in str(error.value)
    assert "\n" not in str(error.value)
    assert peak < 4 << 20, "allocated what the header says"


def test_a_bomb_is_not_inflated(tmp_path: Path) -> None:
    write(tmp_path)
    engine = zlib.compressobj(9, wbits=31)
    bomb = engine.compress(PLAIN) + b"".join(engine.compress(bytes(1 << 20)) for _ in range(64)) + engine.flush()
    for trailer in (bomb[-4:], struct.pack("<I", len(PLAIN))):
        (tmp_path / (TRAIN_IMAGES + ".gz")).write_bytes(bomb[:-4] + trailer)
        tracemalloc.start()
        try:
            with pytest.raises(DataError, match=r"cut short or damaged|longer than the 376 bytes"):
                load(tmp_path)
            assert tracemalloc.get_traced_memory()[1] < 4 << 20
        finally:
            tracemalloc.stop()


@pytest.mark.parametrize("packed", [True, False])
def test_every_cut_and_every_changed_byte(tmp_path: Path, packed: bool) -> None:
    write(tmp_path, packed=packed)
    path = tmp_path / (TEST_LABELS + ".gz" * packed)
    whole = path.read_bytes()
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        with pytest.raises(DataError, match=path.name):
            load(tmp_path)
    for position in range(len(whole)):
        for bit in range(8):
            path.write_bytes(whole[:position] + bytes([whole[position] ^ 1 << bit]) + whole[position + 1 :])
            # A changed label may also be a valid one.
            with contextlib.suppress(DataError):
                load(tmp_path)


def test_two_files_for_one_part(tmp_path: Path) -> None:
    write(tmp_path)
    (tmp_path / "letters-train-images-idx3-ubyte.gz").write_bytes(PACKED)
    with pytest.raises(DataError, match="hold the train-images; expected one of them"):
        load(tmp_path)


def test_a_folder_without_data(tmp_path: Path) -> None:
    with pytest.raises(DataError) as error:
        load(tmp_path)
    assert f"{tmp_path}: no IDX file for train-images, train-labels, test-images, test-labels" in str(error.value)


def test_options_of_a_folder(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="unknown option 'seed'; expected none"):
        load(write(tmp_path), seed=1)


@pytest.fixture
def places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Path]:
    """The folder where MNIST is looked for: places("data") by FASTNN_DATA, places("cache") in the cache; no network."""
    monkeypatch.setenv("FASTNN_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("FASTNN_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setattr(mnist, "MIRROR", "http://127.0.0.1:9")  # where nobody answers
    folders = {"data": tmp_path / "data" / "mnist", "cache": tmp_path / "cache" / "data" / "mnist"}
    return folders.__getitem__


@pytest.fixture
def mirror(places: Callable[[str], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Mirror]:
    """A mirror on this machine, whose files are what is expected."""
    folder = write(tmp_path / "mirror")
    asked: list[str] = []

    class Handler(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *given: Any) -> None:
            super().__init__(*given, directory=str(folder))

        def log_message(self, *_: object) -> None:
            asked.append(self.path[1:])

    monkeypatch.setattr(
        mnist, "SHA256", {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in sorted(folder.iterdir())}
    )
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        monkeypatch.setattr(mnist, "MIRROR", f"http://127.0.0.1:{server.server_port}")
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield Mirror(folder, asked)
        server.shutdown()
        thread.join()


class Mirror(NamedTuple):
    folder: Path
    asked: list[str]  # names of files


@pytest.mark.parametrize("place", ["data", "cache"])
def test_mnist_is_found(place: str, places: Callable[[str], Path]) -> None:
    write(places(place))
    data = load("mnist")
    assert data.name == "mnist" and "LeCun" in data.source and len(data.x_train) == 30


def test_fastnn_data_comes_before_the_cache(places: Callable[[str], Path]) -> None:
    write(places("cache"))
    write(places("data"))
    (places("data") / (TRAIN_LABELS + ".gz")).write_bytes(gzip.compress(idx(9 - LABELS)))
    assert load("mnist").y_train[0] == 9


def test_mnist_that_is_nowhere(places: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(DataError) as error:
        load("mnist")
    files = (name + ".gz" for name in contents())
    for part in (places("data"), places("cache"), "(no connection)", *files, "FASTNN_DATA"):
        assert str(part) in str(error.value)
    monkeypatch.delenv("FASTNN_DATA")
    with pytest.raises(DataError, match="FASTNN_DATA is not set"):
        load("mnist")


def test_mnist_is_fetched_once(mirror: Mirror, places: Callable[[str], Path]) -> None:
    data = load("mnist")
    assert len(data.x_train) == 30 and sorted(mirror.asked) == sorted(mnist.SHA256)
    (places("cache") / (TEST_LABELS + ".gz")).unlink()  # as after a fetching that was interrupted
    mirror.asked.clear()
    for _ in range(2):
        assert np.array_equal(load("mnist").y_test, data.y_test)
    assert mirror.asked == [TEST_LABELS + ".gz"]


def test_mnist_that_is_not_what_was_expected(mirror: Mirror, places: Callable[[str], Path]) -> None:
    (mirror.folder / (TRAIN_LABELS + ".gz")).write_bytes(gzip.compress(idx(9 - LABELS)))
    for _ in range(2):
        with pytest.raises(DataError, match=r"nor could it be fetched.*hash.*does not match"):
            load("mnist")
    assert not (places("cache") / (TRAIN_LABELS + ".gz")).exists()
    (mirror.folder / (TRAIN_LABELS + ".gz")).unlink()
    with pytest.raises(DataError, match=r"nor could it be fetched.*404"):
        load("mnist")


@pytest.mark.parametrize(
    ("failure", "told"),
    [
        (requests.exceptions.SSLError("certificate verify failed"), r"\(certificate verify failed\)"),
        (requests.ConnectTimeout("timed out"), r"\(no connection\)"),
    ],
)
def test_why_mnist_was_not_fetched(
    failure: Exception, told: str, places: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pooch, "retrieve", Mock(side_effect=failure))
    with pytest.raises(DataError, match=f"^mnist: not found, nor could it be fetched {told}"):  # on a narrow screen
        load("mnist")


def test_mnist_that_is_not_complete(places: Callable[[str], Path]) -> None:
    write(places("cache"))
    (write(places("data")) / (TEST_IMAGES + ".gz")).unlink()
    with pytest.raises(DataError) as error:
        load("mnist")
    assert f"{places('data')}: no IDX file for test-images" in str(error.value)


def test_mnist_has_ten_classes(places: Callable[[str], Path]) -> None:
    write(places("data"))
    (places("data") / (TRAIN_LABELS + ".gz")).write_bytes(gzip.compress(idx(LABELS + 1)))
    with pytest.raises(DataError, match="label 10 at index 9; expected 0 to 9"):
        load("mnist")


@pytest.mark.skipif(
    not (Path(os.environ.get("FASTNN_DATA") or "nowhere") / "mnist").is_dir(), reason="needs MNIST in $FASTNN_DATA"
)
def test_real_mnist() -> None:
    data = load("mnist")
    assert data.x_train.shape == (60000, 784) and data.x_test.shape == (10000, 784)
    assert np.bincount(data.y_train).tolist() == [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]
    assert np.bincount(data.y_test).tolist() == [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]
    assert float(data.x_train.mean(dtype=np.float64)) == pytest.approx(0.1306604, abs=1e-6)
    assert data.x_train.min() == 0 and data.x_train.max() == 1
