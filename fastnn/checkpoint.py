"""A network's file: one flat tensor of parameters in safetensors, what it belongs to as JSON beside it.

`__metadata__` holds two strings: "fastnn", a JSON object with the keys `format`, `version` and `config`; and "sha256",
the hash of that text followed by the tensor's bytes, because safetensors has no checksum of its own. A file is replaced
in one step, so a crash while saving leaves either the old network or the new one.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import secrets
import stat
import time
from pathlib import Path
from typing import Any

import numpy as np
import safetensors
import safetensors.numpy

from fastnn.errors import DataError, check_finite, shown
from fastnn.version import __version__

FORMAT = 1
TENSOR = "parameters"
DTYPES: dict[str, np.dtype] = {"F32": np.dtype(np.float32), "F64": np.dtype(np.float64)}
# The longest header safetensors itself accepts.
HEADER_LIMIT = 100_000_000
# A temporary file this old belongs to a process that was killed, not to one that is still writing.
LEFTOVER_SECONDS = 3600


def write(path: str | os.PathLike[str], config: dict[str, Any], parameters: np.ndarray) -> None:
    """Save `parameters`, shape (n,), float32 or float64, and the JSON-able `config` to `path`, in one step.

    An existing file stays as it was until the new one is complete on disk. Raises ValueError for a NaN or Inf (the
    file could not be loaded again) and DataError where the file cannot be written.
    """
    assert parameters.ndim == 1 and parameters.dtype in DTYPES.values(), (parameters.shape, parameters.dtype)
    check_finite("parameters", parameters)
    target = check_writable(path)
    text = json.dumps({"format": FORMAT, "version": __version__, "config": config}, allow_nan=False)
    tensor = np.ascontiguousarray(parameters)
    metadata = {"fastnn": text, "sha256": _digest(text, tensor)}
    data = safetensors.numpy.save({TENSOR: tensor}, metadata)
    try:
        _replace(target, data)
    except OSError as reason:
        raise DataError(f"{os.fspath(path)}: cannot be written ({_why(reason)})") from reason


def read(path: str | os.PathLike[str]) -> tuple[dict[str, Any], np.ndarray]:
    """Return `(config, parameters)` as they were given to `write`; the array is the caller's own.

    Everything is checked first: the file's layout and sizes, the metadata, the hash, the tensor's shape and type and
    that its values are finite. Raises DataError, naming the file, for anything that is not as `write` left it.
    """
    name = os.fspath(_as_path(path))
    data = _read_bytes(name)
    metadata, tensors = _parse(name, data)
    text, expected = metadata.get("fastnn"), metadata.get("sha256")
    if text is None or expected is None:
        raise DataError(
            f"{name}: a safetensors file, but not one that fastnn saved (no 'fastnn' and 'sha256' metadata)"
        )
    config = _config(name, text)
    if list(tensors) != [TENSOR]:
        raise DataError(f"{name}: expected one tensor named {TENSOR!r}, found {shown(sorted(tensors))}")
    entry = tensors[TENSOR]
    dtype, shape = DTYPES.get(entry["dtype"]), entry["shape"]
    if dtype is None:
        raise DataError(f"{name}: {TENSOR} are of type {entry['dtype']}; expected F32 or F64")
    if len(shape) != 1 or shape[0] < 1:
        raise DataError(f"{name}: {TENSOR} have the shape {tuple(shape)}; expected (n,) with n of 1 or more")
    # Little-endian on disk; the copy is aligned, writable and in this machine's order.
    parameters = np.frombuffer(entry["data"], dtype.newbyteorder("<")).astype(dtype)
    if _digest(text, parameters) != expected:
        raise DataError(f"{name}: damaged: its content does not match the sha256 it was saved with")
    try:
        check_finite(TENSOR, parameters)
    except ValueError as reason:
        raise DataError(f"{name}: {reason}") from None
    return config, parameters


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


def _digest(text: str, parameters: np.ndarray) -> str:
    digest = hashlib.sha256(text.encode())
    digest.update(parameters.astype(parameters.dtype.newbyteorder("<"), copy=False).data)
    return digest.hexdigest()


# ---- writing in one step ---------------------------------------------------------------------------------------------


def _replace(target: Path, data: bytes) -> None:
    """Write a temporary file beside `target`, have it on disk, rename it; what is left of a failure is removed."""
    _remove_leftovers(target)
    # Not tempfile: its files are private (0600), and a saved network should have the permissions of any new file.
    temporary = target.with_name(f".{target.name}.{secrets.token_hex(6)}.tmp")
    try:
        with open(temporary, "xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, target)
    except BaseException:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise
    if os.name == "posix":  # a folder cannot be opened on Windows
        folder = os.open(target.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def _remove_leftovers(target: Path) -> None:
    """Remove the temporary files that killed processes left when they saved to `target`."""
    prefix, now = f".{target.name}.", time.time()
    for entry in os.scandir(target.parent):
        middle = entry.name[len(prefix) : -len(".tmp")]
        if entry.name.startswith(prefix) and entry.name.endswith(".tmp") and len(middle) == 12 and middle.isalnum():
            with contextlib.suppress(OSError):
                if now - entry.stat(follow_symlinks=False).st_mtime > LEFTOVER_SECONDS:
                    os.unlink(entry)


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


def _config(name: str, text: str) -> dict[str, Any]:
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
    config: dict[str, Any] = content["config"]
    return config
