"""What the CUDA kernels compile to, which needs no GPU: no double precision in float32, no spills, few registers.

The PTX is for compute capability 9.0 (H100), and without the calls of `dependent` for 8.0 (A100); ptxas, where it is at
hand, makes machine code of both. A process can compile for one of them only: Numba keeps what device functions became.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

if find_spec("numba_cuda") is None:
    pytest.skip("numba-cuda is not installed", allow_module_level=True)

from launches import launches, noted, training
from numba import cuda, types

import fastnn as fnn
from fastnn.cuda import dependent, held, products, statistics, vectors
from fastnn.cuda.target import toolkit_missing

if toolkit_missing() is not None:
    pytest.skip("CUDA's compiler libraries are not installed", allow_module_level=True)

# What blocks of 256 threads may take so that two of them fit on a multiprocessor: 65,536 / 512. One that holds weights
# of recurrent layers is alone there; one that holds 8 rows of a narrow network, or 32 of 64 units, has half as many
# threads, and of the blocks of two warps for tensor cores six are there, of those of four three.
MOST_REGISTERS, HOLDING = 128, {"all_steps 1x": 208, "all_layers 8x": 168, "all_layers 32x64": 190}
HOLDING |= {
    f"{name} {way}": 168
    for way in ("tf32-small", "tf32-short", "thrice-small", "thrice-short")
    for name in ("change_tile", "layer_tiles forward", "layer_tiles backward")
}
# Bytes of spills, written or read, by ptxas 13.0: read once a slab, for 500 instructions or more.
SPILLED = {
    "all_layers 64x64 cross_entropy True": 16,
    **{f"head_rows {loss} 8": 8 for loss in ("cross_entropy", "binary_cross_entropy", "mse")},
    "change_tile tf32-large None 0": 40,
    "change_tile thrice-large None 0": 16,
    "change_tile thrice-large adam 2": 24,
    "layer_tiles backward thrice-large": 32,
    "layer_tiles forward thrice-large": 4,
}
# Instructions of tensor cores for a group's terms of a slab, of large tiles for 8 terms: what is not in a loop, so that
# sums stay in registers.
TENSOR = {"slim": 8, "small": 16, "large": 16, "short": 8}
A_TILE = 256  # bytes of local memory: a thread's 8 x 8 sums, which the end of a tile goes through once, in a loop
MOST_SHARED = 48 << 10  # bytes that a launch may have without asking

LAUNCHED = {F: launches(F) for F in (np.float32, np.float64)}
# Functions that are kernels of graphs. Others made from them may not be: gradients that nothing is updated by.
RECORDED = {name.split()[0] for found in LAUNCHED.values() for name, kernel in found.items() if kernel.recorded}
DEPENDENT = re.compile(r"^\s*griddepcontrol\.wait; griddepcontrol\.launch_dependents;$", re.MULTILINE)


def test_every_kernel_is_among_them() -> None:
    sources = [path.read_text() for path in Path(products.__file__).parent.glob("*.py")]
    written = {name for source in sources for name in re.findall(r"@kernel\(.*\)\n *def (\w+)", source)}
    for found in LAUNCHED.values():
        assert {name.split()[0] for name in found} == written | {"caller"}


@lru_cache
def compiled(F: type, name: str) -> str:
    """PTX of a kernel."""
    from numba.cuda import dispatcher

    before = dispatcher.get_current_device
    # The device functions that a kernel calls ask the GPU for its kind.
    dispatcher.get_current_device = lambda: SimpleNamespace(compute_capability=(9, 0))
    try:
        kernel, signature, _ = LAUNCHED[F][name]
        bounds = kernel.targetoptions["launch_bounds"]
        ptx, _ = cuda.compile_ptx(kernel.py_func, signature, cc=(9, 0), launch_bounds=bounds)
    finally:
        dispatcher.get_current_device = before
    return str(ptx)


QUICK = {
    "layer_tiles forward slim",
    "layer_tiles forward thrice-slim",
    "layer_tiles backward small",
    "change_tile thrice-short adam 2",
    "lose_rows cross_entropy",
    "change_tile small adam 2",
    "advance",
    "take_rows",
    "turn_weights",
    "measure_chunk",
    "add_partial_sums None 0",
    "update_chunk sgd 0",
    "add_up",
}


@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=() if n in QUICK else pytest.mark.slow) for n in LAUNCHED[np.float32]]
)
def test_single_precision(name: str, tmp_path: Path) -> None:
    ptx = compiled(np.float32, name)
    products, size = (re.findall(r"(tf32|thrice)-(\w+)", name) or [("", "")])[0]
    if name.split()[0] in RECORDED:
        assert early(ptx) == []
    else:
        assert "griddepcontrol" not in ptx
    assert ".entry" in ptx and [line for line in ptx.splitlines() if ".f64" in line] == []
    stack = 0 if name.startswith("all_steps") else A_TILE
    most = next((most for words, most in HOLDING.items() if name.startswith(words)), MOST_REGISTERS)
    count = TENSOR[size] * (3 if products == "thrice" else 1) if size else 0
    assert ptx.count("mma.sync.aligned.m16n8k8") in (count, 2 * count)
    if size == "large":
        assert "cp.async.cg" in ptx and "ld.shared.v" in ptx
        stack += -(-SPILLED.get(name, 0) // 16) * 16  # stack frames are whole multiples of 16 bytes
    elif size:
        assert "cp.async" not in ptx and "ld.global.v4" in ptx
    assert assemble(ptx, tmp_path, stack, SPILLED.get(name, 0)) <= most


def early(ptx: str) -> list[str]:
    """What a thread may come to before it has waited for the kernel before: its end, a call, and writes."""
    lines = [line.strip() for line in ptx[ptx.index(".entry") :].splitlines()]
    labels = {line[:-1]: i for i, line in enumerate(lines) if line.endswith(":")}
    found, seen, ahead = [], set(), [0]
    while ahead:
        i = ahead.pop()
        if i in seen or DEPENDENT.match(lines[i]):
            continue
        seen.add(i)
        if re.search(r"\b(ret|exit|trap|brx|call|atom|red|st(?!\.(shared|local|param)))\b", lines[i].split("//")[0]):
            found.append(lines[i])
        branch = re.match(r"(@\S+\s+)?bra(?:\.uni)?\s+(\S+);", lines[i])
        if branch:
            ahead.append(labels[branch[2]])
        if not re.match(r"(bra|ret)\b", lines[i]):
            ahead.append(i + 1)
    return found


@pytest.mark.parametrize("cc", [(8, 0), (9, 0)])
def test_kernels_wait_for_the_one_before_where_they_may_start_early(cc: tuple[int, int]) -> None:
    def waiting(x):  # type: ignore[no-untyped-def]
        if x[0] > 0:
            dependent.await_previous()
        x[1] = 1

    ptx, _ = cuda.compile_ptx(waiting, types.void(types.float32[::1]), cc=cc)
    assert len(DEPENDENT.findall(ptx)) == ptx.count("griddepcontrol.wait") == (cc >= (9, 0))
    assert any(line.startswith("st.global") for line in early(ptx))  # by the other way


@cuda.jit
def copying(x):
    memory = cuda.shared.array(8, types.float32, 16)
    vectors.copy_vector(memory, 0, x, 0, x.size > 3)
    vectors.copy_number(memory, 4, x, 4, x.size > 4)
    vectors.commit()
    vectors.wait(0)
    x[0] = memory[1] + memory[4]


def test_a_gpu_without_copies_of_its_own_loads_and_stores() -> None:
    signature = types.void(types.float32[::1])
    newer, older = (cuda.compile_ptx(copying.py_func, signature, cc=cc)[0] for cc in ((8, 0), (7, 5)))
    assert re.findall(r"cp\.async[.\w]*", newer) == [
        "cp.async.cg.shared.global", "cp.async.ca.shared.global", "cp.async.commit_group", "cp.async.wait_group"
    ]  # fmt: skip
    assert "cp.async" not in older and "ld.global" in older and "st.shared.v4" in older


DOUBLE = r"all_layers|all_steps|head_rows cross|change_tile .* adam"


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in LAUNCHED[np.float64] if re.match(DOUBLE, name)])
def test_double_precision_spills_nothing(name: str, tmp_path: Path) -> None:
    assemble(compiled(np.float64, name), tmp_path, 2 * A_TILE)


def assemble(ptx: str, folder: Path, stack: int, spilled: int = 0) -> int:
    """See that ptxas spills no more than `spilled` bytes, and takes `stack` bytes and the shared memory at most; a
    thread's registers."""
    if shutil.which("ptxas") is None:
        pytest.skip("ptxas is not installed")
    source, registers = folder / "kernel.ptx", []
    older = DEPENDENT.sub("", ptx).replace(".target sm_90", ".target sm_80")
    for architecture, text in (("sm_80", older), ("sm_90", ptx)):
        source.write_text(text)
        command = ["ptxas", "-v", f"-arch={architecture}", str(source), "-o", str(folder / "kernel.cubin")]
        report = subprocess.run(command, capture_output=True, text=True, check=False)
        assert report.returncode == 0, report.stderr
        numbers = {
            what: int(n)
            for n, what in re.findall(r"(\d+) (bytes spill \w+|bytes stack frame|registers|bytes smem)", report.stderr)
        }
        assert max(numbers["bytes spill stores"], numbers["bytes spill loads"]) <= spilled, report.stderr
        assert numbers["bytes stack frame"] <= stack, (architecture, report.stderr)
        assert numbers.get("bytes smem", 0) <= MOST_SHARED, numbers
        registers.append(numbers["registers"])
    return max(registers)


@pytest.mark.parametrize(
    ("layers", "batch", "steps", "splits"),
    [
        ([784, 2048, 2048, 10], 4096, 1, 2),
        ([784, 512, 512, 10], 128, 1, 1),
        ([784, 200, 10], 4096, 1, 5),
        ([fnn.Input(28), fnn.Recurrent(128), fnn.Dense(10)], 64, 28, 7),
    ],
    ids=str,
)
def test_sums_have_splits_that_fill_the_gpu(layers: list[Any], batch: int, steps: int, splits: int) -> None:
    with noted():
        (_, found), _ = training(np.float32, layers, batch, steps)._grid
    assert found == splits


@pytest.mark.parametrize(
    ("sizes", "batch", "together"),
    [
        ((64, 64, 64, 64, 10), 128, True),
        ((784, 64, 64, 64, 10), 128, True),
        ((784, 128, 10), 64, False),
        ((784, 128, 10), 2048, False),
        ((784, 128, 10), 4096, True),
        ((128, 128, 128, 10), 1024, False),
        ((128, 128, 128, 10), 2048, True),
        ((784, 10), 64, True),  # no launch takes the end of two layers
        ((784, 128, 100), 64, True),
        ((784, 129, 10), 4096, False),
    ],
)
def test_rows_go_through_all_layers_where_that_takes_less_time(
    sizes: tuple[int, ...], batch: int, together: bool
) -> None:
    assert (held.cut_of(fnn.Network(list(sizes)).architecture, batch) is not None) == together


def test_kernels_are_kept_on_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another kernel of the same function, as another process makes it, is loaded; one of other types is not."""
    from numba.cuda import codegen, dispatcher

    from fastnn.cuda import disk

    gpu = SimpleNamespace(compute_capability=(8, 0))
    context = SimpleNamespace(device=gpu)
    monkeypatch.setattr(disk.compiler, "cache_folder", lambda: tmp_path)
    monkeypatch.setattr(dispatcher, "get_current_device", lambda: gpu)
    monkeypatch.setattr(codegen, "devices", SimpleNamespace(get_context=lambda: context))
    # Without a GPU there is nothing to bind to, but code is generated there.
    monkeypatch.setattr(dispatcher._Kernel, "bind", lambda self: self._codelibrary.get_asm_str())
    found = []
    for F in (np.float32, np.float32, np.float64):
        kernel = statistics.subtract.__wrapped__(F)  # type: ignore[attr-defined]
        made = kernel.compile(LAUNCHED[F]["subtract_each"].signature)
        found.append((sum(kernel._cache_hits.values()), made._codelibrary.get_asm_str()))
    assert [hits for hits, _ in found] == [0, 1, 0]
    assert ".entry" in found[0][1] and found[0][1] == found[1][1] != found[2][1]
    assert len(list(tmp_path.glob("cuda.statistics.subtract_each-*.kernel"))) == 2
