"""What the CUDA kernels compile to, which needs no GPU: no double precision in float32, no spills, few registers.

The PTX is for compute capability 8.0 (A100); ptxas, where it is at hand, makes machine code of it for 8.0 and for
9.0 (H100).
"""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Callable
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

if find_spec("numba_cuda") is None:
    pytest.skip("numba-cuda is not installed", allow_module_level=True)

from numba import cuda, types

import fastnn as fnn
from fastnn.cuda import (
    clipping,
    fused,
    head,
    held,
    layout,
    partial_sums,
    phases,
    products,
    recurrent,
    reductions,
    shapes,
    statistics,
    steps,
    threadwise,
    vectors,
    weights,
)
from fastnn.cuda.target import toolkit_missing
from fastnn.losses import LOSSES

if toolkit_missing() is not None:
    pytest.skip("CUDA's compiler libraries are not installed", allow_module_level=True)

# What blocks of 256 threads may take so that two of them fit on a multiprocessor: 65,536 / 512. One that holds weights
# of recurrent layers is alone there; one that holds few rows of a narrow network has half as many threads.
MOST_REGISTERS, HOLDING = 128, {"steps 1": 208, "rows": 168}
# Bytes that are read once a slab, for 500 instructions.
SPILLED = {"change tensor-thrice adam 2": 64, "backward tensor-thrice": 16}
SPILLED |= {f"head {loss}": 16 for loss in LOSSES}  # that are written and read once, before the sums and behind them
A_TILE = 256  # bytes of local memory: a thread's 8 x 8 sums, which the end of a tile goes through once, in a loop
MOST_SHARED = 48 << 10  # bytes that a launch may have without asking

NUMBER = {np.float32: types.float32, np.float64: types.float64}


def arguments(F: type) -> dict[str, tuple[Any, ...]]:
    """The types of each kernel's arguments."""
    a, c = types.Array(NUMBER[F], 1, "C"), types.Array(NUMBER[F], 2, "C")
    table, order, words = types.Array(types.uint32, 2, "C"), types.Array(types.uint32, 1, "C"), types.uint64[::1]
    mask, arrived, s = types.Array(types.uint8, 1, "C"), types.Array(types.int32, 1, "C"), types.uint32
    rates = (words, a)
    return {
        "take": (a, a, table, *rates, order, words, s),
        "forward": (a, a, a, table, a, *rates, order, words, s, s),
        "lose": (a, s, a, table, a, order, words, a, a, a, s, s),
        "backward": (a, a, a, table, a, *rates, order, words, s, s),
        "head": (a, a, s, a, table, a, *rates, order, words, a, a, s, s),
        "change": (a, a, a, a, a, order, words, c, order, mask, types.boolean, a, arrived, s),
        "rows": (a, a, a, s, a, table, a, *rates, order, words, a, a, a, s),
        "add": (a, a, a, a, s, words, c, mask, types.boolean, s),
        "advance": (words, words.dtype),
        "measure": (a, c),
        "per_batch": (a, a, order, s, c),
        "summarize": (a, s, s, s, s, NUMBER[F], NUMBER[F], c),
        "count": (a, s, s, s, s, c, types.Array(types.int32, 1, "C")),
        "idle": (a, s, s, s, s, types.Array(types.int32, 1, "C")),
        "subtract": (a, a, a),
        "caller": (types.NamedTuple((a, table, a, c, types.int64, types.int64), threadwise.Net), c, c),
        "clip": (a, a, a, a, c, NUMBER[F], c, words, s),
        "steps": (a, a, a, a, s, a, table, a, *rates, order, words, a, a, s, s),
        "turn": (a, a, table),
    }


@cuda.jit(launch_bounds=(256, 2))
def caller(net, x, out):
    fnn.cuda.predict(net, x, out)


def kernels(F: type) -> dict[str, Callable[[], Any]]:
    """Every kernel by name; the first word is that of its arguments."""
    slim, small, large, long = shapes.OF_SINGLE if F is np.float32 else shapes.OF_DOUBLE
    (few, *_, many), (_, broad) = held.OF_SINGLE if F is np.float32 else held.OF_DOUBLE
    found: dict[str, Callable[[], Any]] = {"take": lambda: phases.take(F), "advance": lambda: phases.advance}
    tensor = shapes.shapes(np.float32, tf32=True)
    thrice = tensor.large._replace(tensor=3)
    for size, shape in (("tensor", tensor.small), ("tensor-large", tensor.large), ("tensor-thrice", thrice)):
        found[f"forward {size}"] = lambda shape=shape: phases.forward(F, shape)
        found[f"backward {size}"] = lambda shape=shape: phases.backward(F, shape)
        found[f"change {size} adam 2"] = lambda shape=shape: weights.change(F, shape, "adam", 2)
    for way in (phases.forward, phases.backward):
        found[f"{way.__name__} slim"] = lambda way=way: way(F, slim)
    for size, shape, weight in (("small", small, small), ("large", large, long)):
        found[f"forward {size}"] = lambda shape=shape: phases.forward(F, shape)
        found[f"backward {size}"] = lambda shape=shape: phases.backward(F, shape)
        for rule, slots in (("sgd", 0), ("sgd", 1), ("adam", 2), (None, 0)):
            name = f"change {size} {rule or 'gradient'} {slots}"
            found[name] = lambda shape=weight, rule=rule, slots=slots: weights.change(F, shape, rule, slots)
    for name in ("summarize", "count", "idle", "subtract"):
        found[name] = lambda name=name: getattr(statistics, name)(F)
    found["caller"] = lambda: caller
    found["per_batch"] = lambda: reductions.per_batch(F)
    found["measure"] = lambda: clipping.measure(F)
    for rule, slots in (("sgd", 0), ("adam", 2)):
        found[f"clip {rule}"] = lambda rule=rule, slots=slots: clipping.update(F, rule, slots)
    found["turn"] = lambda: recurrent.turn(F)
    for cut in (steps.FEW, steps.MANY):
        found[f"steps {cut.rows}"] = lambda cut=cut: recurrent.rows(F, cut, "cross_entropy")
    for loss in LOSSES:
        found[f"lose {loss}"] = lambda loss=loss: phases.lose(F, loss)
        found[f"head {loss}"] = lambda loss=loss: head.rows(F, loss, head.height(F, 4096))
        found[f"rows {loss}"] = lambda loss=loss: fused.rows(F, few, loss, False)
    for name, cut in (("many", many), ("broad", broad)):
        found[f"rows {name}"] = lambda cut=cut: fused.rows(F, cut, "cross_entropy", True)
    for rule, slots in (("sgd", 0), ("adam", 2)):
        found[f"add {rule}"] = lambda rule=rule, slots=slots: partial_sums.add(F, rule, slots)
    return found


@lru_cache
def compiled(F: type, name: str) -> str:
    """PTX of a kernel."""
    from numba.cuda import dispatcher

    before = dispatcher.get_current_device
    # The device functions that a kernel calls ask the GPU for its kind.
    dispatcher.get_current_device = lambda: SimpleNamespace(compute_capability=(8, 0))
    try:
        kernel = kernels(F)[name]()
        bounds = kernel.targetoptions["launch_bounds"]
        signature = types.void(*arguments(F)[name.split()[0]])
        ptx, _ = cuda.compile_ptx(kernel.py_func, signature, cc=(8, 0), launch_bounds=bounds)
    finally:
        dispatcher.get_current_device = before
    return str(ptx)


QUICK = {"forward slim", "backward small", "lose cross_entropy", "change small adam 2", "advance", "take"}


@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=() if n in QUICK else pytest.mark.slow) for n in kernels(np.float32)]
)
def test_single_precision(name: str, tmp_path: Path) -> None:
    ptx = compiled(np.float32, name)
    assert ("mma.sync.aligned.m16n8k8" in ptx) == ("tensor" in name)
    assert ".entry" in ptx and [line for line in ptx.splitlines() if ".f64" in line] == []
    stack = 0 if name.startswith("steps") else A_TILE
    most = HOLDING.get(name, HOLDING.get(name.split()[0], MOST_REGISTERS))
    for size, instructions in (("tensor-large", 16), ("tensor-thrice", 48)):
        if size in name:  # those of 8 terms, or of all 16, are not in a loop, so that sums stay in registers
            assert ptx.count("mma.sync") in (instructions, 2 * instructions)
            assert "cp.async.cg" in ptx and "ld.shared.v" in ptx
            stack += SPILLED.get(name, 0)
    assert assemble(ptx, tmp_path, stack, SPILLED.get(name, 0)) <= most


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


@pytest.mark.slow
@pytest.mark.parametrize(
    "name",
    ["rows mse", "rows many", "change small adam 2", "change large adam 2", "head cross_entropy", "steps 1", "steps 4"],
)
def test_double_precision_spills_nothing(name: str, tmp_path: Path) -> None:
    assemble(compiled(np.float64, name), tmp_path, 2 * A_TILE)


def assemble(ptx: str, folder: Path, stack: int, spilled: int = 0) -> int:
    """See that ptxas spills no more than `spilled` bytes, and takes `stack` bytes and the shared memory at most; a
    thread's registers."""
    if shutil.which("ptxas") is None:
        pytest.skip("ptxas is not installed")
    source = folder / "kernel.ptx"
    source.write_text(ptx)
    registers = []
    for architecture in ("sm_80", "sm_90"):
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
    ("sizes", "batch", "splits"),
    [((784, 2048, 2048, 10), 4096, 2), ((64, 64, 64, 64, 10), 16384, 37), ((784, 512, 512, 10), 128, 1)],
)
def test_sums_have_splits_that_fill_the_gpu(sizes: tuple[int, ...], batch: int, splits: int) -> None:
    matrices = layout.layout(fnn.Network(list(sizes)).architecture, batch, training=True).matrices
    shape = weights.shape_for(np.float32, sizes, batch)
    assert weights.splits_of(layout.tiles(matrices, shape), batch, shape) == splits


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
        made = kernel.compile(types.void(*arguments(F)["subtract"]))
        found.append((sum(kernel._cache_hits.values()), made._codelibrary.get_asm_str()))
    assert [hits for hits, _ in found] == [0, 1, 0]
    assert ".entry" in found[0][1] and found[0][1] == found[1][1] != found[2][1]
    assert len(list(tmp_path.glob("cuda.statistics.subtract_each-*.kernel"))) == 2


def test_lanes_hold_what_a_tensor_core_takes_from_them() -> None:
    """Products of a group's slab by mma.m16n8k8 as NVIDIA's manual describes it, from what each lane would load."""
    shape = shapes.shapes(np.float32, tf32=True).small
    row, column, right_column = (spot.py_func for spot in products.spots(np.float32, shape, False, False))
    rng = np.random.default_rng(0)
    left, right = rng.standard_normal((8, shape.rows)), rng.standard_normal((8, shape.columns))
    found = np.full((shape.rows, shape.columns), np.nan)
    for warp in range(shape.threads // shape.groups // 32):
        lanes = [np.uint32(32 * warp + lane) for lane in range(32)]
        for i in range(0, shape.thread_rows, 2):
            for j in range(0, shape.thread_columns, 2):
                a, b = np.zeros((16, 8)), np.zeros((8, 8))
                for lane, within in enumerate(lanes):
                    group, k = lane >> 2, lane & 3
                    rows = [int(row(within, np.uint32(i + half))) for half in (0, 1)]
                    a[group, [k, k + 4]] = left[[k, k + 4], rows[0]]
                    a[group + 8, [k, k + 4]] = left[[k, k + 4], rows[1]]
                    b[[k, k + 4], group] = right[[k, k + 4], int(right_column(within, np.uint32(j)))]
                c = a @ b
                for lane, within in enumerate(lanes):
                    group, k = lane >> 2, lane & 3
                    for half in (0, 1):
                        columns = [int(column(within, np.uint32(j + n))) for n in (0, 1)]
                        found[int(row(within, np.uint32(i + half))), columns] = c[group + 8 * half, 2 * k : 2 * k + 2]
    np.testing.assert_allclose(found, left.T @ right, atol=1e-12)
