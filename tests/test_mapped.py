"""Training on a file through a memory map: no copy, pages given back, the same bits as from memory."""

from __future__ import annotations

import mmap
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import fastnn as fnn
from fastnn import mapped

MB = 1 << 20
needs_madvise = pytest.mark.skipif(not hasattr(mmap, "MADV_DONTNEED"), reason="no way to give pages back here")


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """60,000 rows of 16 numbers: 3.8 MB."""
    np.save(tmp_path / "x.npy", np.random.default_rng(0).standard_normal((60_000, 16), dtype=np.float32))
    return tmp_path / "x.npy"


@pytest.mark.parametrize("mode", ["r", "r+", "c"])
def test_trains_as_from_memory(mode: str, file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mapped, "RESIDENT", MB)
    y = np.arange(60_000) % 3
    nets = [fnn.Network([16, 8, 3], seed=4) for _ in range(2)]
    x = np.load(file, mmap_mode=mode)
    if mode != "r":
        x[7] += 1  # what was written stays: a private page must not be given back
    loaded = np.array(x)
    histories = [
        net.fit(data, y, batch_size=64, validation=(data, y)) for net, data in zip(nets, (x, loaded), strict=True)
    ]
    assert nets[0].parameters.tobytes() == nets[1].parameters.tobytes() and histories[0] == histories[1]
    np.testing.assert_array_equal(x, loaded)


@needs_madvise
def test_which_maps_are_given_back(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    x = np.load(file, mmap_mode="r")
    assert not mapped.Mapped(x), "a small file may stay"
    monkeypatch.setattr(mapped, "RESIDENT", MB)
    for view in (x, np.asarray(x), x[5:], np.ascontiguousarray(x), np.asarray(x)[::2]):
        assert mapped.Mapped(view)
    for other in (np.array(x), np.load(file, mmap_mode="c"), np.zeros(MB)):
        assert not mapped.Mapped(other) and mapped.Mapped(other).most_rows is None
    blocks = list(mapped.blocks(x))
    assert len(blocks) == 8 and np.concatenate(blocks).tobytes() == x.tobytes()
    assert len(list(mapped.blocks(np.array(x)))) == 1


@needs_madvise
def test_rows_between_two_releases_are_what_they_bring_in(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mapped, "RESIDENT", MB)
    monkeypatch.setattr(mapped, "ROW", MB // 8)
    resident = iter([0, 2 * MB, 0, 5 * MB // 2, MB // 2, MB // 2, MB // 2])
    monkeypatch.setattr(mapped, "_resident", lambda: next(resident))
    data = mapped.Mapped(np.load(file, mmap_mode="r"))
    assert data.most_rows == 8
    data.release(8)  # 2 MB for 8 rows: half as many the next time
    assert data.most_rows == 4
    data.release(1)  # 2.5 MB for a row is more than wanted, but less than a row there cannot be
    assert data.most_rows == 1
    data.release(1)  # nothing new: twice as many, not any number
    assert data.most_rows == 2


def test_what_is_not_finite_is_named_as_ever(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mapped, "RESIDENT", MB)
    x = np.load(file, mmap_mode="r+")
    x[59_000, 3] = np.nan
    with pytest.raises(ValueError, match=r"x: nan at index \(59000, 3\) \(1 such values\)"):
        fnn.Network([16, 8, 3]).fit(x, np.zeros(60_000, int))


RESIDENT = """
import sys
import numpy as np
import fastnn as fnn

def resident(name):
    with open("/proc/self/status") as file:
        return next(int(line.split()[1]) for line in file if line.startswith(name)) << 10

x = np.load(sys.argv[1], mmap_mode="r")
y = np.arange(len(x)) % 10
net = fnn.Network([x.shape[1], 16, 10])
net.fit(x[:256], y[:256], batch_size=16)  # whatever compiles and loads has done so
before = resident("VmRSS:")
net.fit(x, y, batch_size=16)
print(resident("VmHWM:") - before, x.nbytes)
"""


@needs_madvise
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs /proc")
def test_a_file_does_not_stay_in_memory(tmp_path: Path, python: Callable[..., tuple[str, str]]) -> None:
    x = np.lib.format.open_memmap(tmp_path / "x.npy", "w+", np.float32, (64_000, 1024))  # 250 MB
    for begin in range(0, 64_000, 4000):
        x[begin : begin + 4000] = np.random.default_rng(begin).random((4000, 1024), dtype=np.float32)
    x.flush()
    del x
    out, _ = python(RESIDENT, str(tmp_path / "x.npy"))
    more, size = map(int, out.split())
    assert size == 250 * MB
    assert more < 128 * MB, f"{more / MB:.0f} MB more resident than before"
    assert sys.platform.startswith("linux")
