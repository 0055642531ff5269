"""The disk cache of compiled code: warm processes compile nothing, cold ones say so, and no damage goes unseen."""

from __future__ import annotations

import hashlib
import json
import os
import pickle
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import llvmlite.binding as llvm
import numba
import numpy as np
import pytest
from llvmlite.binding import Linkage
from numba import types
from numba.core.caching import NullCache
from processes import start

import fastnn
from fastnn import compiler
from fastnn.losses import LOSSES

PACKAGE = Path(fastnn.__file__).parent

RUN = """
import json, sys
import numba
before = {name: repr(getattr(numba.config, name)) for name in dir(numba.config) if name.isupper()}
import numpy as np
import fastnn as fnn
from fastnn import compiler

sizes = json.loads(sys.argv[1])
x = np.random.default_rng(0).standard_normal((50, sizes[0]), np.float32)
net = fnn.Network(sizes, seed=3)
net.fit(x, np.arange(50) % sizes[-1], batch_size=16, threads=1)
net(x)
after = {name: repr(getattr(numba.config, name)) for name in before}
print(json.dumps({
    "hits": compiler.counts.hits,
    "misses": compiler.counts.misses,
    "changed": [name for name in before if before[name] != after[name]],
}))
"""
TWO_KERNELS = """
import json
from fastnn import compiler

def twice(x):
    return x + x

def thrice(x):
    return x + x + x

with compiler.preparing():
    outputs = [compiler.kernel(function)(2) for function in (twice, thrice)]
found = {"hits": compiler.counts.hits, "misses": compiler.counts.misses, "folder": str(compiler.cache_folder())}
print(json.dumps(found | {"outputs": outputs}))
"""


# ---- whole processes -------------------------------------------------------------------------------------------------


def test_new_architecture_in_a_new_process_compiles_nothing(python: Callable[..., tuple[str, str]]) -> None:
    out, err = python(RUN, "[11, 70, 3, 5, 29, 8]")
    result = json.loads(out)
    assert result["misses"] == []
    assert len(result["hits"]) > 0
    assert err == ""
    assert result["changed"] == [], "numba's global configuration was touched"


def test_two_processes_on_a_cold_folder(tmp_path: Path, python: Callable[..., tuple[str, str]]) -> None:
    cache = tmp_path / "cache"
    options: dict[str, Any] = {"folder": tmp_path, "environment": {"FASTNN_CACHE_DIR": str(cache)}}
    options |= {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with start(TWO_KERNELS, **options) as one, start(TWO_KERNELS, **options) as two:
        outputs = [process.communicate(timeout=300) for process in (one, two)]
    assert (one.returncode, two.returncode) == (0, 0), outputs
    results = [json.loads(out) for out, _ in outputs]
    assert results[0]["outputs"] == results[1]["outputs"] == [4, 6]
    names = {"__main__.twice", "__main__.thrice"}
    assert names == {*results[0]["misses"], *results[1]["misses"]}
    for (_, said), result in zip(outputs, results, strict=True):
        assert said.count("\n") == (1 if result["misses"] else 0) and ("compiling" in said) == bool(result["misses"])

    folder = Path(results[0]["folder"])
    assert results[1]["folder"] == str(folder) and folder.parent.parent == cache
    assert [path for path in folder.iterdir() if path.suffix != ".kernel"] == [], "a temporary file was left"
    if os.name == "posix":
        assert folder.stat().st_mode & 0o777 == folder.parent.stat().st_mode & 0o777 == 0o700

    out, err = python(TWO_KERNELS, FASTNN_CACHE_DIR=str(cache))
    result = json.loads(out)
    assert result["misses"] == [] and names == set(result["hits"])
    assert err == ""
    assert result["outputs"] == [4, 6]


# ---- one small kernel in a folder of its own -------------------------------------------------------------------------


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache folder, counts that start at none, and listeners of this test only."""
    folder = tmp_path / "kernels"
    folder.mkdir(mode=0o700)
    monkeypatch.setattr(compiler, "cache_folder", lambda: folder)
    monkeypatch.setattr(compiler, "counts", compiler.Counts())
    monkeypatch.setattr(compiler, "_compiling", compiler._Compiling())
    return folder


def in_a_new_process(monkeypatch: pytest.MonkeyPatch) -> Any:
    """A kernel as a process that has not compiled it yet would have it."""

    def thrice(x):
        return x + x + x

    monkeypatch.setattr(compiler, "_names", set())
    return compiler.kernel(thrice)


def test_entry_is_written_once_and_found_again(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with compiler.preparing():
        assert in_a_new_process(monkeypatch)(2) == 6
        assert len(compiler.counts.misses) == 1 and compiler.counts.hits == []
        assert in_a_new_process(monkeypatch)(2) == 6
        assert len(compiler.counts.misses) == 1 and compiler.counts.hits == compiler.counts.misses
        assert len(list(folder.iterdir())) == 1
        assert in_a_new_process(monkeypatch)(0.5) == 1.5  # another signature is another entry
        assert len(list(folder.iterdir())) == 2 == len(compiler.counts.misses)


def truncated(data: bytes) -> bytes:
    return data[: len(data) // 2]


def flipped(at: float) -> Callable[[bytes], bytes]:
    def flip(data: bytes) -> bytes:
        i = int(at * (len(data) - 1))
        return data[:i] + bytes([data[i] ^ 1]) + data[i + 1 :]

    return flip


def foreign(data: bytes) -> bytes:
    """A sound checksum over something that is not machine code: an entry of another version of Numba, say."""
    payload = pickle.dumps((1, 2, 3))
    return hashlib.sha256(payload).digest() + payload


DAMAGES = {
    "empty": lambda data: b"",
    "cut short in the checksum": lambda data: data[:20],
    "truncated": truncated,
    "last byte missing": lambda data: data[:-1],
    "flipped first": flipped(0),
    "flipped middle": flipped(0.5),
    "flipped last": flipped(1),
    "foreign": foreign,
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_damaged_entry_is_compiled_again(damage: Any, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    in_a_new_process(monkeypatch)(2)
    (entry,) = folder.iterdir()
    sound = entry.read_bytes()
    entry.write_bytes(damage(sound))
    with pytest.warns(RuntimeWarning, match="damaged cache entry .*compiling it again") as told:
        assert in_a_new_process(monkeypatch)(2) == 6
    assert str(entry) in str(told[0].message)
    assert len(compiler.counts.misses) == 2 and compiler.counts.hits == []
    assert in_a_new_process(monkeypatch)(2) == 6  # mended: no warning, which would be an error here
    assert len(compiler.counts.hits) == 1


def test_entry_that_cannot_be_written_costs_only_the_next_compile(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", full)
        assert in_a_new_process(monkeypatch)(2) == 6
    assert list(folder.iterdir()) == []
    assert in_a_new_process(monkeypatch)(2) == 6
    assert len(compiler.counts.misses) == 2 and len(list(folder.iterdir())) == 1


def test_two_kernels_of_one_name_are_refused() -> None:
    def thrice(x):
        return x

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(compiler, "_names", set())
        compiler.kernel(thrice)
        with pytest.raises(AssertionError, match="thrice"):
            compiler.kernel(thrice)


# ---- telling the user ------------------------------------------------------------------------------------------------


def test_listener_hears_a_start_and_an_end(folder: Path, monkeypatch: pytest.MonkeyPatch, capfd: Any) -> None:
    heard: list[tuple[str | None, int]] = []
    remove = compiler.on_compile(lambda message: heard.append((message, len(list(folder.iterdir())))))
    in_a_new_process(monkeypatch)(2)
    (message, files), end = heard
    assert message is not None and "compiling" in message and "\n" not in message
    assert files == 0 and end == (None, 1), "told before the compile starts and after it has ended"
    in_a_new_process(monkeypatch)(2)  # from the disk
    assert len(heard) == 2
    assert capfd.readouterr().err == ""
    remove()
    in_a_new_process(monkeypatch)(0.5)
    assert len(heard) == 2
    assert capfd.readouterr().err.count("\n") == 1


def test_one_notice_for_all_that_is_prepared_together(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capfd: Any
) -> None:
    heard: list[str | None] = []
    remove = compiler.on_compile(heard.append)
    with compiler.preparing(), compiler.preparing():
        kernel = in_a_new_process(monkeypatch)
        kernel(2)
        kernel(0.5)
        assert len(heard) == 1
    assert len(heard) == 2 and heard[1] is None
    remove()
    with compiler.preparing():
        kernel(numba.float32(0.5))
        kernel(1j)
    said = capfd.readouterr()
    assert said.out == "" and said.err.count("\n") == 1 and said.err.startswith("fastnn: compiling")


def test_end_is_told_after_a_compile_that_fails(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    heard: list[str | None] = []
    compiler.on_compile(heard.append)
    with pytest.raises(numba.TypingError), compiler.preparing():
        in_a_new_process(monkeypatch)(None)
    assert len(heard) == 2 and heard[1] is None
    in_a_new_process(monkeypatch)(2)
    assert len(heard) == 4 and heard[3] is None
    assert "once" in str(heard[0]) and "once" not in str(heard[2]), "a second time is not said to be once"


# ---- what the machine code can reach ---------------------------------------------------------------------------------

# Whatever could hand out memory: Numba's runtime, C, Python objects and arrays that are made (not read).
ALLOCATES = (
    "NRT_Allocate",
    "NRT_Reallocate",
    "NRT_MemInfo_alloc",
    "NRT_MemInfo_new",
    "NRT_MemInfo_varsize",
    "NRT_adapt_ndarray_from_python",
    "NRT_adapt_ndarray_to_python",
    "NRT_get_api",
    "malloc",
    "calloc",
    "realloc",
    "posix_memalign",
    "aligned_alloc",
    "mmap",
    "PyObject_Call",
    "PyMem_",
    "PyObject_Malloc",
    "PyList_New",
    "numba_unicode",
)


def outside_functions(entry: Path) -> set[str]:
    """Names of the functions outside itself that the machine code of a cache entry may call."""
    names: set[str] = set()
    for part in pickle.loads(entry.read_bytes()[32:]):
        if isinstance(part, tuple) and len(part) == 3 and part[1] == "object":
            module = llvm.parse_bitcode(part[2][1])
            names |= {f.name for f in module.functions if f.is_declaration and not f.name.startswith("llvm.")}
    return names


def test_compiled_code_cannot_allocate() -> None:
    """No way to get memory is linked to any kernel or block: what a step calls, now and after every branch."""
    # The session has compiled everything (conftest.py); the engine's entry is what every step runs through.
    entries = sorted(compiler.cache_folder().glob("*.kernel"))
    found = {entry.name: outside_functions(entry) for entry in entries}
    for needed in ("cpu.train.train-", "gemm.float32-", "gemm.float64-", "optimizers.adam", "losses.", "dropout."):
        assert any(name.startswith(needed) for name in found), f"no entry {needed}*: the test would prove nothing"
    bad = {name: sorted(f for f in called if f.startswith(ALLOCATES)) for name, called in found.items()}
    assert {name: calls for name, calls in bad.items() if calls} == {}


def test_that_test_sees_an_allocation(folder: Path) -> None:
    def allocating(n):
        return np.zeros(n).sum()

    dispatcher = numba.njit(allocating)
    dispatcher._cache = compiler.DiskCache("allocating")
    dispatcher(3)
    (entry,) = folder.iterdir()
    assert any(name.startswith(ALLOCATES) for name in outside_functions(entry))


def test_a_kernel_from_disk_is_linked_to_its_callers(folder: Path) -> None:
    """Its code is kept beside its machine code, and is not the names that stand for it while nobody calls it."""

    def three():
        return 3

    for _ in range(2):
        dispatcher = numba.njit(three)
        dispatcher._cache = compiler.DiskCache("three")
        assert dispatcher() == 3
    assert dispatcher.stats.cache_hits
    assert numba.njit(lambda: dispatcher() + 1)() == 4


def test_two_threads_that_train_first(python: Callable[..., tuple[str, str]]) -> None:
    """Both ask for the same blocks at the same time, and one builds them."""
    out, _ = python("""
import threading
import numpy as np
import fastnn as fnn
x, y = np.zeros((64, 2), np.float32), np.zeros(64, int)
def train():
    fnn.Network([2, 3, 2], activation="tanh").fit(x, y, epochs=1)
    done.append(True)
done = []
threads = [threading.Thread(target=train) for _ in range(4)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
print(len(done))
""")
    assert out.split() == ["4"]


def test_inner_functions_of_a_block_have_no_name_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of two with one name, kept on disk by two processes, a third would link the second's block to the first's."""
    monkeypatch.setattr(compiler, "_claim", lambda name: NullCache())
    over = LOSSES["mse"].make(np.float32)  # with inner functions of its own, too long to be inlined twice

    def block(z, t, losses, hits, space):
        over(z, t, 4, 16, losses, hits, space, np.float32(1))

    compiler.block("tests.names", types.void(*[types.CPointer(types.float32)] * 5), block)
    functions = [f for f in compiler._callbacks[-1]._library._final_module.functions if not f.is_declaration]
    assert [f.name for f in functions if "leading" in f.name], "inlined: there is nothing to be seen here"
    seen = [f.name for f in functions if f.linkage not in (Linkage.internal, Linkage.private)]
    assert all("block" in name for name in seen), seen
