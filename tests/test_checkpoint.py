"""Checkpoints: what is written is read back bit for bit, and nothing else is ever read."""

from __future__ import annotations

import hashlib
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy

from fastnn import checkpoint, files
from fastnn.errors import DataError

CONFIG = {"layers": [{"kind": "input", "size": 3}, {"kind": "dense", "size": 2, "activation": "relu"}], "seed": 7}


def values(n: int = 8, dtype: type = np.float32) -> np.ndarray:
    return np.random.default_rng(0).standard_normal(n).astype(dtype)


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    path = tmp_path / "net.safetensors"
    checkpoint.write(path, CONFIG, values())
    return path


def forged(path: Path, tensors: dict[str, np.ndarray], **content: object) -> Path:
    """A file that is valid safetensors with a matching hash, but not what `write` would have made."""
    text = json.dumps({"format": checkpoint.FORMAT, "version": "0.1.0", "config": CONFIG} | content)
    digest = hashlib.sha256(text.encode() + b"".join(t.tobytes() for t in tensors.values())).hexdigest()
    path.write_bytes(safetensors.numpy.save(tensors, {"fastnn": text, "sha256": digest}))
    return path


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_round_trip_is_exact(tmp_path: Path, dtype: type) -> None:
    extremes = np.array([0.0, -0.0, np.finfo(dtype).tiny / 2, np.finfo(dtype).max], dtype)
    parameters = np.concatenate([values(1000, dtype), extremes])
    checkpoint.write(tmp_path / "a", CONFIG, parameters)
    config, again = checkpoint.read(tmp_path / "a")
    assert config == CONFIG
    assert again.dtype == dtype and again.tobytes() == parameters.tobytes()
    again[0] = 1  # the caller's own, writable


def test_other_tools_can_read_the_tensor(saved: Path) -> None:
    tensors = safetensors.numpy.load_file(saved)
    np.testing.assert_array_equal(tensors["parameters"], values())


def test_a_strided_view_is_written_as_its_values(tmp_path: Path) -> None:
    checkpoint.write(str(tmp_path / "a"), CONFIG, values(20)[::2])
    np.testing.assert_array_equal(checkpoint.read(str(tmp_path / "a"))[1], values(20)[::2])


def test_saving_replaces_and_leaves_nothing_else(saved: Path) -> None:
    checkpoint.write(saved, CONFIG, values(3))
    assert checkpoint.read(saved)[1].size == 3
    assert os.listdir(saved.parent) == [saved.name]


@pytest.mark.skipif(os.name != "posix", reason="permissions of POSIX")
def test_permissions_and_links_are_those_of_any_new_file(saved: Path) -> None:
    plain = saved.with_name("plain")
    plain.touch()
    assert saved.stat().st_mode == plain.stat().st_mode
    link = saved.with_name("link")
    link.symlink_to(saved)
    checkpoint.write(link, CONFIG, values(5))
    assert link.is_symlink() and checkpoint.read(saved)[1].size == 5


def test_a_failure_keeps_the_old_file_and_removes_the_temporary(saved: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full_disk(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full_disk)
    with pytest.raises(DataError, match=r"net\.safetensors: cannot be written \(No space left on device\)"):
        checkpoint.write(saved, CONFIG, values(3))
    monkeypatch.undo()
    assert os.listdir(saved.parent) == [saved.name]
    assert checkpoint.read(saved)[1].size == 8


def test_leftovers_of_killed_processes_are_removed_once_old(saved: Path) -> None:
    old, young = (saved.with_name(f".{saved.name}.{'ab' * 6 if n else 'cd' * 6}.tmp") for n in range(2))
    other = saved.with_name(f".{saved.name}.notes.tmp")
    for path in (old, young, other):
        path.touch()
    past = time.time() - 2 * files.LEFTOVER_SECONDS
    for path in (old, other):
        os.utime(path, (past, past))
    checkpoint.write(saved, CONFIG, values())
    assert not old.exists() and young.exists() and other.exists()


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_not_finite_is_refused_before_anything_is_written(saved: Path, bad: float) -> None:
    before = saved.read_bytes()
    with pytest.raises(ValueError, match=r"parameters: -?(nan|inf) at index 2 .*expected finite"):
        checkpoint.write(saved, CONFIG, np.array([0, 1, bad], np.float32))
    assert saved.read_bytes() == before


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("no/such/folder/net", "there is no folder"),
        (".", "is a folder"),
        ("net.safetensors/x", "there is no folder"),
        ("a\0b", "cannot be written"),
        ("n" * 300, "cannot be written"),
    ],
    ids=["no folder", "folder", "file as folder", "NUL", "too long"],
)
def test_places_that_cannot_be_written(saved: Path, name: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        checkpoint.write(saved.parent / name, CONFIG, values())
    assert os.listdir(saved.parent) == [saved.name]


@pytest.mark.parametrize("path", [3, None, b"net"])
@pytest.mark.parametrize("function", [checkpoint.read, checkpoint.check_writable])
def test_a_path_of_the_wrong_type(function: Callable[[object], object], path: object) -> None:
    with pytest.raises(TypeError, match="path: expected a file name, got"):
        function(path)


def test_no_name_at_all() -> None:
    with pytest.raises(DataError, match="path: expected a file name, got ''"):
        checkpoint.read("")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", r"cut short \(0 bytes\)"),
        (b"\x10\0\0", r"cut short \(3 bytes\)"),
        (b"\xff" * 64, "not a safetensors file"),
        ((2**40).to_bytes(8, "little") + b"{}", "not a safetensors file"),
        ((2).to_bytes(8, "little") + b"{}", "not one that fastnn saved"),
        ((6).to_bytes(8, "little") + b"[" * 6, "not a safetensors file"),
        (b"PK\x03\x04" + b"\0" * 60, "not a safetensors file"),
        (b"some,text\n1,2\n" * 10, "not a safetensors file"),
    ],
)
def test_files_of_another_kind(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "other"
    path.write_bytes(content)
    with pytest.raises(DataError, match=rf"other: .*{message}"):
        checkpoint.read(path)


def test_missing_folder_and_unreadable(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="nowhere: no such file"):
        checkpoint.read(tmp_path / "nowhere")
    with pytest.raises(DataError, match="not a file"):
        checkpoint.read(tmp_path)
    with pytest.raises(DataError, match="cannot be read"):
        checkpoint.read("a\0b")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes in the file system")
def test_a_pipe_is_refused_at_once(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(DataError, match="pipe: not a file"):
        checkpoint.read(tmp_path / "pipe")
    with pytest.raises(DataError, match="is a device or a pipe"):
        checkpoint.write(tmp_path / "pipe", CONFIG, values())


def test_someone_elses_tensors(tmp_path: Path) -> None:
    path = tmp_path / "foreign"
    path.write_bytes(safetensors.numpy.save({"weight": values()}, {"format": "pt"}))
    with pytest.raises(DataError, match="not one that fastnn saved"):
        checkpoint.read(path)


@pytest.mark.parametrize(
    ("tensors", "content", "message"),
    [
        ({"parameters": values()}, {"format": 2, "version": "9.0"}, r"format 2, saved by fastnn '9\.0'"),
        ({"parameters": values()}, {"config": [1]}, "lack the network's 'config'"),
        ({"weights": values()}, {}, r"expected one tensor named 'parameters', found \['weights'\]"),
        ({"parameters": values(), "x": values()}, {}, "expected one tensor"),
        ({"parameters": values().reshape(2, 4)}, {}, r"the shape \(2, 4\); expected \(n,\)"),
        ({"parameters": values(0)}, {}, r"the shape \(0,\)"),
        ({"parameters": values().astype(np.float16)}, {}, "type F16; expected F32 or F64"),
        ({"parameters": np.array([1, np.inf, 2], np.float32)}, {}, "parameters: inf at index 1"),
    ],
)
def test_forged_files_with_a_matching_hash(
    tmp_path: Path, tensors: dict[str, np.ndarray], content: dict[str, object], message: str
) -> None:
    with pytest.raises(DataError, match=message):
        checkpoint.read(forged(tmp_path / "forged", tensors, **content))


@pytest.mark.parametrize("text", ["", "{", "[" * 100_000, "null"], ids=["empty", "cut", "deep", "null"])
def test_forged_metadata(tmp_path: Path, text: str) -> None:
    path = tmp_path / "forged"
    digest = hashlib.sha256(text.encode() + values().tobytes()).hexdigest()
    path.write_bytes(safetensors.numpy.save({"parameters": values()}, {"fastnn": text, "sha256": digest}))
    with pytest.raises(DataError, match="damaged: its 'fastnn' metadata"):
        checkpoint.read(path)


def test_every_truncation_is_found(saved: Path) -> None:
    data = saved.read_bytes()
    for length in range(len(data)):
        saved.write_bytes(data[:length])
        with pytest.raises(DataError, match=r"net\.safetensors"):
            checkpoint.read(saved)


def test_random_damage_never_changes_what_is_read(saved: Path) -> None:
    """Flipped, overwritten, inserted and deleted bytes: a DataError, or exactly what was saved."""
    data, draw = saved.read_bytes(), random.Random(0)
    intact = 0
    for _ in range(1000):
        mutated = bytearray(data)
        for _ in range(draw.choice([1, 1, 2, 5])):
            at = draw.randrange(len(mutated))
            match draw.randrange(4):
                case 0:
                    mutated[at] ^= 1 << draw.randrange(8)
                case 1:
                    mutated[at : at + 4] = draw.randbytes(4)
                case 2:
                    mutated[at:at] = draw.randbytes(draw.randrange(1, 9))
                case 3:
                    del mutated[at : at + draw.randrange(1, 9)]
        saved.write_bytes(mutated)
        try:
            config, parameters = checkpoint.read(saved)
        except DataError:
            continue
        intact += 1
        assert config == CONFIG and parameters.tobytes() == values().tobytes()
    assert intact < 100


@pytest.mark.skipif(os.name != "posix", reason="needs SIGKILL")
def test_a_kill_while_saving_leaves_a_whole_file(tmp_path: Path) -> None:
    path, draw = tmp_path / "net.safetensors", random.Random(1)
    script = """
import sys
import numpy as np
from fastnn import checkpoint
for n in range(1_000_000):
    checkpoint.write(sys.argv[1], {"n": n}, np.full(200_000, n, np.float32))
    if n == 0:
        print("saving", flush=True)
"""
    for _ in range(4):
        with subprocess.Popen([sys.executable, "-c", script, str(path)], stdout=subprocess.PIPE) as child:
            assert child.stdout is not None
            assert child.stdout.readline() == b"saving\n"
            time.sleep(draw.uniform(0, 0.1))
            child.send_signal(signal.SIGKILL)
        config, parameters = checkpoint.read(path)
        assert np.all(parameters == np.float32(config["n"]))
