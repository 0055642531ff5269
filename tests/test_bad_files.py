"""Files that are no network, or cannot be written: the error names the file, and nothing changes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import fastnn as fnn

NAN = float("nan")


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "net.safetensors"
    fnn.Network([4, 5, 3], seed=1).save(path)
    return path


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(fnn.DataError, match=r"nowhere.safetensors: no such file; expected") as caught:
        fnn.load(tmp_path / "nowhere.safetensors")
    assert isinstance(caught.value, ValueError)
    with pytest.raises(fnn.DataError, match="not a file"):
        fnn.load(tmp_path)
    with pytest.raises(TypeError, match="path: expected a file name, got 5"):
        fnn.load(5)


@pytest.mark.parametrize("part", [0.0, 0.001, 0.3, 0.9, 0.999])
def test_file_cut_short(part: float, file: Path) -> None:
    data = file.read_bytes()
    file.write_bytes(data[: int(part * len(data))])
    with pytest.raises(fnn.DataError, match=r"net\.safetensors: .*cut short"):
        fnn.load(file)


@pytest.mark.parametrize("part", [0.0, 0.1, 0.3, 0.5, 0.7, 0.9, 1.0])
def test_file_damaged(part: float, file: Path) -> None:
    data = bytearray(file.read_bytes())
    data[int(part * (len(data) - 1))] ^= 4
    file.write_bytes(data)
    with pytest.raises(fnn.DataError, match=r"net\.safetensors: "):
        fnn.load(file)


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"layers": [{"kind": "input", "size": 4}]}, "layers"),
        ({"layers": [{"kind": "input", "size": 0}, {"kind": "dense", "units": 3, "activation": "relu"}]}, "size"),
        ({"dtype": "int8"}, "dtype"),
        ({"seed": -1}, "seed"),
        ({"loss": "l2"}, "loss"),
        ({"epochs": "many"}, "epochs"),
        ({"layers": None}, ""),
        ({"layers": [5]}, ""),
        (
            {"layers": [{"kind": "input", "size": 4}, {"kind": "dense", "units": 9, "activation": "relu", "slope": 0}]},
            "(",
        ),
    ],
)
def test_file_that_does_not_describe_a_network(change: dict[str, Any], word: str, tmp_path: Path) -> None:
    """A sound file, with a hash that matches, of something else: of a later version, or made by hand."""
    net = fnn.Network([4, 5, 3])
    fnn.checkpoint.write(tmp_path / "net", net.config() | change, net.parameters)
    with pytest.raises(fnn.DataError, match="net: does not describe a network") as caught:
        fnn.load(tmp_path / "net")
    assert word in str(caught.value)


def test_network_that_cannot_be_saved(file: Path, tmp_path: Path) -> None:
    before = file.read_bytes()
    net = fnn.Network([4, 5, 3], seed=2)
    net.parameters[7] = NAN
    with pytest.raises(ValueError, match="parameters: nan at index 7"):
        net.save(file)
    net.parameters[7] = 0
    for path, error in ((tmp_path / "no" / "net", fnn.DataError), (tmp_path, fnn.DataError), (5, TypeError)):
        with pytest.raises(error, match=r"no folder|is a folder|path: expected a file name"):
            net.save(path)
    assert file.read_bytes() == before
    assert sorted(path.name for path in tmp_path.iterdir()) == [file.name]
