"""IDX files, the format of MNIST: a big-endian header (magic number, one size a dimension) and unsigned bytes.

A header is a claim, not a fact. The sizes in it are checked against what the file can hold before any array is
allocated, and a compressed file is inflated no further than its header says.

Source: Y. LeCun, C. Cortes, C. J. C. Burges, The MNIST database of handwritten digits (1998), "File formats".
"""

from __future__ import annotations

import math
import os
import re
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import numpy as np

from fastnn.datasets.dataset import Dataset
from fastnn.errors import DataError

FOUR_FILES = ("train-images-idx3-ubyte", "train-labels-idx1-ubyte", "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte")

_NAME = re.compile(r"(?:^|[-_.])(train|t10k|test)-(images|labels)[-.]idx[13]-ubyte(?:\.gz)?$")
_GZIP = b"\x1f\x8b"
_LARGEST_RATIO = 1032  # deflate's limit: 258 bytes out of 2 bits
_CHUNK = 1 << 18


def read_idx(path: Path, shape: tuple[int | None, ...]) -> np.ndarray:
    """The uint8 array of one IDX file, plain or gzip-compressed (told apart by content).

    path: the file
    shape: the sizes wanted, None where any size from 1 is fine; (None,) for labels, (n, None, None) for n images

    Raises DataError, naming the file, when it is missing, damaged, cut short, too long, empty or of another shape.
    """
    try:
        with open(path, "rb") as file:
            return _read(file, path, shape)
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror or error})") from error
    except MemoryError as error:
        raise DataError(f"{path}: too large for the memory of this machine") from error


def _read(file: BinaryIO, path: Path, shape: tuple[int | None, ...]) -> np.ndarray:
    packed = file.read(2) == _GZIP
    if path.suffix == ".gz" and not packed:
        raise DataError(f"{path}: not a gzip file; expected it to start with the bytes 1f 8b")
    length = file.seek(0, os.SEEK_END)
    claimed = length
    if packed and length >= 4:
        file.seek(-4, os.SEEK_END)
        claimed = int.from_bytes(file.read(4), "little")
    file.seek(0)

    header_length = 4 + 4 * len(shape)
    chunks = _inflate(file, path, header_length) if packed else iter(lambda: file.read(_CHUNK), b"")
    start = bytearray()
    while len(start) < header_length:
        chunk = next(chunks, None)
        if chunk is None:
            raise DataError(f"{path}: cut short: {len(start)} bytes; expected an IDX header of {header_length}")
        start += chunk
    sizes = _sizes(bytes(start[:header_length]), path, shape)

    count = math.prod(sizes)
    total = header_length + count
    # The gzip trailer holds the length modulo 2**32.
    holds = f"the gzip trailer says {claimed}" if packed else f"the file has {length}"
    if claimed != (total % 2**32 if packed else total) or (packed and total > _LARGEST_RATIO * length):
        raise DataError(
            f"{path}: the header says {_times(sizes)} bytes, {total} in all, but {holds}: cut short or damaged"
        )

    values = np.empty(count, np.uint8)
    filled = 0
    chunk = bytes(start[header_length:])
    while chunk is not None:
        if filled + len(chunk) > count:
            raise DataError(f"{path}: longer than the {total} bytes that its header says")
        values[filled : filled + len(chunk)] = np.frombuffer(chunk, np.uint8)
        filled += len(chunk)
        chunk = next(chunks, None)
    if filled < count:
        raise DataError(f"{path}: cut short: {header_length + filled} bytes; expected {total}")
    return values.reshape(sizes)


def _inflate(file: BinaryIO, path: Path, first: int) -> Iterator[bytes]:
    """The contents of a gzip file, its checksum checked at the end, in pieces of at most _CHUNK bytes.

    The first pieces together have at most `first` bytes, the header: it is checked before more is inflated.
    """
    engine = zlib.decompressobj(wbits=31)
    done = 0
    while not engine.eof:
        packed = engine.unconsumed_tail or file.read(_CHUNK)
        if not packed:
            raise DataError(f"{path}: cut short: the compressed data stops before its end")
        try:
            piece = engine.decompress(packed, first - done if done < first else _CHUNK)
        except zlib.error as error:
            raise DataError(f"{path}: damaged compressed data ({error})") from error
        done += len(piece)
        yield piece
    if engine.unused_data or file.read(1):
        raise DataError(f"{path}: more data after the end of the compressed part; expected one gzip member")


def _sizes(header: bytes, path: Path, shape: tuple[int | None, ...]) -> tuple[int, ...]:
    magic, *sizes = struct.unpack(f">{1 + len(shape)}I", header)
    expected = 0x800 + len(shape)
    if magic != expected:
        raise DataError(
            f"{path}: magic number {magic:#010x}; expected {expected:#010x} (unsigned bytes, {len(shape)}-D)"
        )
    if 0 in sizes:
        raise DataError(f"{path}: the header says {_times(sizes)}: empty; expected sizes of 1 or more")
    if any(want is not None and size != want for size, want in zip(sizes, shape, strict=True)):
        wanted = " x ".join("any" if want is None else str(want) for want in shape)
        raise DataError(f"{path}: the header says {_times(sizes)}; expected {wanted}, as in the files that go with it")
    return tuple(sizes)


def _times(sizes: list[int] | tuple[int, ...]) -> str:
    return " x ".join(map(str, sizes))


def idx_files(folder: Path) -> dict[str, Path]:
    """The IDX files of a folder by role: "train-images", "train-labels", "test-images", "test-labels".

    Names are those of MNIST (`FOUR_FILES`), with or without .gz, "test" for "t10k" and any prefix allowed; of a file
    and its .gz the plain one counts. A role without a file is left out; two files for one role are a DataError.
    """
    found: dict[str, Path] = {}
    try:
        paths = sorted(folder.iterdir())  # "x" sorts before "x.gz"
    except OSError as error:
        raise DataError(f"{folder}: cannot be read ({error.strerror or error})") from error
    for path in paths:
        match = _NAME.search(path.name)
        if not match or not path.is_file():
            continue
        role = f"{'train' if match[1] == 'train' else 'test'}-{match[2]}"
        first = found.setdefault(role, path)
        if first is not path and path.name != first.name + ".gz":
            raise DataError(f"{folder}: both {first.name} and {path.name} hold the {role}; expected one of them")
    return found


def load_idx_folder(folder: Path, *, name: str = "", source: str = "", n_classes: int | None = None) -> Dataset:
    """The Dataset in a folder of four IDX files: training and test images, and their labels.

    x is (n, rows * columns) float32, pixel / 255; the classes are "0" to the largest training label, or n_classes.

    Raises DataError, naming the file, when one of the four is missing, damaged or does not fit the others.
    """
    files = idx_files(folder)
    missing = [role for role in ("train-images", "train-labels", "test-images", "test-labels") if role not in files]
    if missing:
        raise DataError(
            f"{folder}: no IDX file for {', '.join(missing)}; expected {', '.join(FOUR_FILES)}, each plain or .gz"
        )

    # Labels first: they are small, and fix how many images may be allocated.
    train_labels = read_idx(files["train-labels"], (None,))
    if n_classes is None:
        n_classes = int(train_labels.max()) + 1
        if n_classes < 2:
            raise DataError(f"{files['train-labels']}: every label is 0, one class only; expected 2 classes or more")
    test_labels = read_idx(files["test-labels"], (None,))
    for role, labels in (("train-labels", train_labels), ("test-labels", test_labels)):
        if labels.max() >= n_classes:
            first = int(np.argmax(labels >= n_classes))
            raise DataError(f"{files[role]}: label {labels[first]} at index {first}; expected 0 to {n_classes - 1}")

    train = read_idx(files["train-images"], (len(train_labels), None, None))
    rows, columns = train.shape[1:]
    test = read_idx(files["test-images"], (len(test_labels), rows, columns))
    return Dataset(
        name or folder.name,
        _scaled(train, files["train-images"]),
        train_labels.astype(np.int64),
        _scaled(test, files["test-images"]),
        test_labels.astype(np.int64),
        classes=tuple(map(str, range(n_classes))),
        image_shape=(rows, columns),
        source=source or f"IDX files in {folder}",
    )


def _scaled(images: np.ndarray, path: Path) -> np.ndarray:
    try:
        return np.divide(images.reshape(len(images), -1), np.float32(255), dtype=np.float32)
    except MemoryError as error:
        raise DataError(f"{path}: too large for the memory of this machine") from error
