"""A network's file: one flat tensor of parameters in safetensors, what it belongs to as JSON beside it.

`__metadata__` holds two strings: "fastnn", a JSON object with the keys `format`, `version` and `config`; and "sha256",
the hash of that text followed by the tensors' bytes, because safetensors has no checksum of its own. A file is replaced
in one step, so a crash while saving leaves either the old network or the new one.

A file of a run's folder (fastnn.runs) has more: the key `training`, where the training was, and one tensor "memory0",
"memory1" for each that the optimizer has. Read as a network, it is the network.
"""

from __future__ import annotations

import hashlib
import json
import os
import stat
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import safetensors
import safetensors.numpy

from fastnn.errors import DataError, check_finite, shown
from fastnn.files import replace_file
from fastnn.version import __version__

FORMAT = 1
TENSOR, MEMORY = "parameters", "memory"
DTYPES: dict[str, np.dtype] = {"F32": np.dtype(np.float32), "F64": np.dtype(np.float64)}
# The longest header safetensors itself accepts.
HEADER_LIMIT = 100_000_000


def write(
    path: str | os.PathLike[str],
    config: dict[str, Any],
    parameters: np.ndarray,
    memory: Sequence[np.ndarray] = (),
    training: dict[str, Any] | None = None,
) -> None:
    """Save `parameters`, shape (n,), float32 or float64, and the JSON-able `config` to `path`, in one step.

    `memory` are the optimizer's arrays, like the parameters, and `training` is JSON-able: where the training is. An
    existing file stays as it was until the new one is complete on disk. Raises ValueError for a NaN or Inf (the file
    could not be loaded again) and DataError where the file cannot be written.
    """
    assert parameters.ndim == 1 and parameters.dtype in DTYPES.values(), (parameters.shape, parameters.dtype)
    assert all(array.shape == parameters.shape and array.dtype == parameters.dtype for array in memory)
    tensors = {TENSOR: np.ascontiguousarray(parameters)}
    tensors |= {f"{MEMORY}{number}": np.ascontiguousarray(array) for number, array in enumerate(memory)}
    for name, tensor in tensors.items():
        check_finite(name, tensor)
    target = check_writable(path)
    content = {"format": FORMAT, "version": __version__, "config": config}
    text = json.dumps(content if training is None else {**content, "training": training}, allow_nan=False)
    data = safetensors.numpy.save(tensors, {"fastnn": text, "sha256": _digest(text, *tensors.values())})
    try:
        replace_file(target, data)
    except OSError as reason:
        raise DataError(f"{os.fspath(path)}: cannot be written ({_why(reason)})") from reason


def read(path: str | os.PathLike[str]) -> tuple[dict[str, Any], np.ndarray]:
    """Return `(config, parameters)` as they were given to `write`; the array is the caller's own.

    Everything is checked first: the file's layout and sizes, the metadata, the hash, the tensors' shape and type and
    that their values are finite. Raises DataError, naming the file, for anything that is not as `write` left it.
    """
    content, tensors = _read(path)
    return content["config"], tensors[0]


def read_training(path: str | os.PathLike[str]) -> tuple[dict[str, Any], np.ndarray, tuple[np.ndarray, ...]]:
    """Return `(training, parameters, memory)` as they were given to `write`; raises DataError as `read` does."""
    content, tensors = _read(path)
    training = content.get("training")
    if not isinstance(training, dict):
        raise DataError(f"{os.fspath(path)}: a network without its training; expected a checkpoint of a run")
    return training, tensors[0], tuple(tensors[1:])


def _read(path: str | os.PathLike[str]) -> tuple[dict[str, Any], list[np.ndarray]]:
    """The JSON content, and the tensors: parameters, then memory."""
    name = os.fspath(_as_path(path))
    data = _read_bytes(name)
    metadata, entries = _parse(name, data)
    text, expected = metadata.get("fastnn"), metadata.get("sha256")
    if text is None or expected is None:
        raise DataError(
            f"{name}: a safetensors file, but not one that fastnn saved (no 'fastnn' and 'sha256' metadata)"
        )
    content = _content(name, text)
    wanted = [TENSOR, *(f"{MEMORY}{number}" for number in range(len(entries) - 1))]
    if sorted(entries) != sorted(wanted) or (len(wanted) > 1 and "training" not in content):
        raise DataError(f"{name}: expected one tensor named {TENSOR!r}, found {shown(sorted(entries))}")
    tensors = [_tensor(name, key, entries[key], entries[TENSOR]) for key in wanted]
    if _digest(text, *tensors) != expected:
        raise DataError(f"{name}: damaged: its content does not match the sha256 it was saved with")
    for key, tensor in zip(wanted, tensors, strict=True):
        try:
            check_finite(key, tensor)
        except ValueError as reason:
            raise DataError(f"{name}: {reason}") from None
    return content, tensors


def _tensor(name: str, key: str, entry: dict[str, Any], like: dict[str, Any]) -> np.ndarray:
    dtype, shape = DTYPES.get(entry["dtype"]), entry["shape"]
    if dtype is None:
        raise DataError(f"{name}: {key} are of type {entry['dtype']}; expected F32 or F64")
    if len(shape) != 1 or shape[0] < 1:
        raise DataError(f"{name}: {key} have the shape {tuple(shape)}; expected (n,) with n of 1 or more")
    if (entry["dtype"], shape) != (like["dtype"], like["shape"]):
        raise DataError(f"{name}: {key} are {entry['dtype']} {tuple(shape)}; expected them to be like the parameters")
    # Little-endian on disk; the copy is aligned, writable and in this machine's order.
    return np.frombuffer(entry["data"], dtype.newbyteorder("<")).astype(dtype)


def check_writable(path: str | os.PathLike[str]) -> Path:
    """Return the file that saving to `path` would replace, links followed; DataError where that cannot work.

    To be called before a long training as well as by `write`.
    """
    name = os.fspath(_as_path(path))
    try:
        # A link keeps pointing where it did: what it points to is replaced.
        target = Path(os.path.realpath(name))
        folder, mode = target.parent, os.stat(target).st_mode
    except (FileNotFoundError, NotADirectoryError):
        folder, mode = target.parent, stat.S_IFREG
    except (OSError, ValueError) as reason:  # too long a name, a NUL in it, no permission to look
        raise DataError(f"{shown(name)}: cannot be written ({_why(reason)})") from reason
    # Renaming over a device would replace the device itself, /dev/null too where the user is root.
    if not stat.S_ISREG(mode):
        kind = "a folder" if stat.S_ISDIR(mode) else "a device or a pipe"
        raise DataError(f"{name}: is {kind}; expected the name of a file to save to")
    if not folder.is_dir():
        raise DataError(f"{name}: cannot be written, there is no folder {folder}")
    if not os.access(folder, os.W_OK | os.X_OK):
        raise DataError(f"{name}: cannot be written, the folder {folder} is read-only for this user")
    return target


def _as_path(path: Any) -> Path:
    if not isinstance(path, (str, os.PathLike)):
        raise TypeError(f"path: expected a file name, got {shown(path)} of type {type(path).__name__}")
    if not str(path):
        raise DataError("path: expected a file name, got ''")
    return Path(path)


def _why(reason: OSError | ValueError) -> str:
    return getattr(reason, "strerror", None) or str(reason)


def _digest(text: str, *tensors: np.ndarray) -> str:
    digest = hashlib.sha256(text.encode())
    for tensor in tensors:
        digest.update(tensor.astype(tensor.dtype.newbyteorder("<"), copy=False).data)
    return digest.hexdigest()


# ---- reading, nothing trusted ----------------------------------------------------------------------------------------


def _read_bytes(name: str) -> bytes:
    """The file's content, once its size and the header's are seen to agree; nothing large is read before that."""
    try:
        # A pipe or a device would block or never end.
        if not stat.S_ISREG(os.stat(name).st_mode):
            raise DataError(f"{name}: not a file; expected a network that fastnn saved")
        with open(name, "rb") as file:
            size = os.fstat(file.fileno()).st_size
            first = file.read(8)
            header = int.from_bytes(first, "little")
            if len(first) < 8 or not 2 <= header <= min(size - 8, HEADER_LIMIT):
                raise DataError(f"{name}: not a safetensors file, or cut short ({size} bytes)")
            return first + file.read()
    except FileNotFoundError:
        raise DataError(f"{name}: no such file; expected a network that fastnn saved") from None
    except (OSError, ValueError) as reason:
        if isinstance(reason, DataError):
            raise
        raise DataError(f"{shown(name)}: cannot be read ({_why(reason)})") from reason


def _parse(name: str, data: bytes) -> tuple[dict[str, str], dict[str, Any]]:
    """The metadata and the tensors' entries (dtype, shape, data) of a file's bytes."""
    try:
        tensors = dict(safetensors.deserialize(data))  # type: ignore[no-untyped-call]
        # deserialize() has checked the layout but keeps the metadata to itself.
        header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
    except (safetensors.SafetensorError, ValueError, RecursionError) as reason:
        raise DataError(f"{name}: not a safetensors file, or damaged or cut short ({reason})") from reason
    return header.get("__metadata__") or {}, tensors


def _content(name: str, text: str) -> dict[str, Any]:
    try:
        content = json.loads(text)
    except (ValueError, RecursionError) as reason:
        raise DataError(f"{name}: damaged: its 'fastnn' metadata are not JSON ({reason})") from reason
    if not isinstance(content, dict) or not isinstance(content.get("config"), dict):
        raise DataError(f"{name}: damaged: its 'fastnn' metadata lack the network's 'config'")
    if content.get("format") != FORMAT:
        raise DataError(
            f"{name}: format {shown(content.get('format'))}, saved by fastnn {shown(content.get('version'))}; "
            f"fastnn {__version__} reads format {FORMAT}"
        )
    return content
