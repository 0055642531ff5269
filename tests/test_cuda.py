"""The CUDA engine on a machine without a GPU: its kernels simulated, and what is said when CUDA is missing."""

from __future__ import annotations

import json
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fastnn as fnn
from fastnn import runfile
from fastnn.activations import ACTIVATIONS
from fastnn.cli import main
from fastnn.losses import LOSSES
from fastnn.warmup import every_optimizer

HERE = Path(__file__).parent
needs_numba_cuda = pytest.mark.skipif(find_spec("numba_cuda") is None, reason="numba-cuda is not installed")
LIMITS = {"float32": 1e-5, "float64": 1e-12}

Python = Callable[..., tuple[str, str]]


def script(python: Python, name: str, *arguments: str, **environment: str) -> Any:
    """What a script beside this file prints, as JSON, with these arguments."""
    code = "import runpy, sys; sys.path.append(sys.argv.pop(1)); runpy.run_module(sys.argv.pop(1), run_name='__main__')"
    return json.loads(python(code, str(HERE), name, *arguments, **environment)[0])


@needs_numba_cuda
@pytest.mark.parametrize(
    "arguments", [("float32",), ("float64",), ("float32", "threads"), ("float32", "ranks")], ids=" ".join
)
def test_every_kernel_computes_what_the_cpu_does(python: Python, arguments: tuple[str, ...]) -> None:
    found = script(python, "simulated", *arguments, NUMBA_ENABLE_CUDASIM="1")
    if arguments == ("float32",):
        wanted = {f"activation {name}" for name in ACTIVATIONS} | {f"loss {name}" for name in LOSSES}
        assert wanted | {f"optimizer {optimizer}" for optimizer in every_optimizer()} < set(found)
    assert len(found) >= 4
    assert {name: error for name, error in found.items() if not error <= LIMITS[arguments[0]]} == {}


@needs_numba_cuda
def test_no_place_is_outside_its_array(python: Python) -> None:
    """Of threads at the corners of grids; batches and widths fill no tile, and rows are or are not whole vectors."""
    wide, few = {"layers": [20, 133, 132, 10]}, {"layers": [20, 33, 40, 10], "batch": 515, "rows": 520}
    many = {"layers": [70, 33, 52, 10], "batch": 16900, "rows": 16905}
    broad = {"layers": [150, 100, 68, 10], "batch": 2200, "rows": 2210}
    cases: list[dict[str, Any]] = [wide | {"batch": 270, "rows": 275}, few, many, broad]
    cases += [wide | {"batch": 70, "rows": 75, "recovered": True}]
    wide |= {"batch": 131, "rows": 136, "large": True}
    cases += [wide, wide | {"tf32": True}, wide | {"recovered": True}]
    assert script(python, "addresses", "37", *map(json.dumps, cases)) > 3000


@needs_numba_cuda
def test_tiles_for_tensor_cores_multiply_what_they_should(python: Python) -> None:
    """Their lanes in lockstep: factors either way round, gathered, with a row of ones, in whole vectors and not."""
    assert script(python, "lockstep") == 15


def test_without_the_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fnn.cuda, "find_spec", lambda name: None)
    with pytest.raises(fnn.DeviceError, match=r"'cuda' needs the package numba-cuda.*pip install 'fastnn\[cuda13\]'"):
        fnn.Network([2, 3, 2], device="cuda")
    network = fnn.Network([2, 3, 2])
    with pytest.raises(fnn.FastnnError, match="numba-cuda"):
        network.to("cuda")
    assert network.device == "cpu" and network(np.zeros((1, 2))).shape == (1, 2)


@needs_numba_cuda
def test_small_grids_are_no_news(python: Python) -> None:
    """What Numba says of them comes with control characters on some machines."""
    said = "Grid size 4 will likely result in GPU under-utilization due to low occupancy."
    code = "import sys, warnings; from fastnn.cuda import target; [warnings.warn(text) for text in sys.argv[1:]]"
    assert python(code, said, f"\033[1m{said}\033[0m", NUMBA_ENABLE_CUDASIM="1")[1] == ""


@needs_numba_cuda
def test_without_a_driver(python: Python) -> None:
    """NUMBA_DISABLE_CUDA hides the driver that a machine may have."""
    code = """
import fastnn as fnn
try:
    fnn.Network([2, 3, 2], device="cuda")
except fnn.DeviceError as reason:
    print(reason)
"""
    out, _ = python(code, NUMBA_DISABLE_CUDA="1")
    assert out.startswith("device: 'cuda' cannot be used: ") and "NUMBA_DISABLE_CUDA" in out and "fastnn doctor" in out


def test_another_device() -> None:
    with pytest.raises(
        ValueError, match="precision: 'tf32' for float32 on 'cpu'; expected a float32 network on 'cuda'"
    ):
        fnn.Network([2, 2], precision="tf32")
    with pytest.raises(ValueError, match=r"precision: unknown name 'half'; .*known: float, tf32"):
        fnn.Network([2, 2]).to("cpu", precision="half")
    with pytest.raises(ValueError, match=r"device: unknown name 'gpu'; .*known: cpu, cuda"):
        fnn.Network([2, 2], device="gpu")
    with pytest.raises(TypeError, match="device: expected a name, got 3"):
        fnn.Network([2, 2]).to(3)  # type: ignore[arg-type]


@needs_numba_cuda
def test_too_much_for_it(python: Python) -> None:
    """More than fits into its memory, into places of 32 bits, or into the path that takes least launches."""
    code = """
import logging, sys, weakref
from types import SimpleNamespace
import numpy as np, fastnn as fnn
from fastnn.cuda import held, layout, memory, predictor, sequences
net = fnn.Network([2, 3], device="cuda")
logging.basicConfig(level="DEBUG", stream=sys.stdout, format="%(levelname)s %(name)s %(message)s")
held.WIDEST = 2
for _ in range(2):
    net.gradient(np.eye(2), [0, 1])
logging.disable()
free, memory.room = memory.room, lambda: 2**20
layout.MOST = 300
rows = np.zeros((70, 2)), np.zeros(70, int)
more = rows[0].repeat(3, 0), rows[1].repeat(3)
for what in (
    lambda: net.fit(*rows, batch_size=70),
    lambda: net.fit(*rows, batch_size=2, validation=more),
    lambda: net.evaluate(*more),
):
    try:
        what()
    except fnn.DeviceError as reason:
        print(reason)
layout.MOST = 2**32
net = fnn.Network([100, 1000, 2], device="cuda")
before = net.parameters.copy()
try:
    net.fit(np.zeros((9, 100)), np.zeros(9, int), optimizer=fnn.Adam(), batch_size=3)
except fnn.DeviceError as reason:
    print(reason)
assert (net.parameters == before).all() and net.epochs == 0
net = fnn.Network([600, 500, 2], device="cuda")
try:
    net(np.zeros((1, 600)))
except fnn.DeviceError as reason:
    print(reason)
memory.room, sequences.EVALUATED = lambda: 2**21, 500
try:
    net(np.zeros((500, 600)))
except fnn.DeviceError as reason:
    print(reason)
memory.room, batches, alive, before = free, predictor.batches, weakref.WeakSet(), []
def noted(*arguments, **options):
    before.append(len(alive))
    alive.add(made := batches(*arguments, **options))
    return made
sequences.EVALUATED, predictor.batches = 3, noted
net = fnn.Network([2, 3, 2], device="cuda")
assert net(np.zeros((7, 2))).shape == (7, 2) and before == [0] * 6, before
class Context:  # 1 MiB is free, and 2 are of arrays that wait
    free, memory_manager, get_memory_info = 2**20, property(lambda self: self), lambda self: self
    deallocations = SimpleNamespace(clear=lambda: setattr(Context, "free", 3 * 2**20))
memory.SIMULATED, memory.cuda = False, SimpleNamespace(current_context=Context)
memory.check_room("what waits", 3 * 2**20)
try:
    memory.check_room("more", 3 * 2**20 + 1)
except fnn.DeviceError as reason:
    print(reason)
"""
    out, _ = python(code, NUMBA_ENABLE_CUDASIM="1")
    assert "device: batches of 70 rows through layers of (2, 3) units do not fit; expected a smaller batch" in out
    assert out.count("DEBUG fastnn.cuda.batches layers of (2, 3) units, batches of 2 rows: one launch a layer") == 1
    assert "device: the network needs 2 MiB" in out and "device: a prediction needs " in out
    assert out.count("device: data or parameters of 300 numbers or more do not fit") == 2
    assert "device: training needs" in out and "MiB of the GPU's memory, and 1 MiB are free" in out
    assert "device: what waits" not in out and "device: more needs 4 MiB of the GPU's memory, and 3 MiB are" in out


@needs_numba_cuda
def test_what_training_needs_is_what_it_takes(python: Python) -> None:
    """To the byte; and where one array, whichever it is, does not fit, it says so and keeps nothing."""
    found = script(python, "taken", NUMBA_ENABLE_CUDASIM="1")
    assert len(found) == 4
    for taken, said, purposes in found.values():
        assert taken == said > 0 and purposes[-1] == "training"
    assert found["watched"][2] == ["a histogram", "a norm", "a step's update", "training"]


@needs_numba_cuda
def test_a_gpu_that_is_lost(python: Python) -> None:
    code = """
import numpy as np, fastnn as fnn
from types import SimpleNamespace
from fastnn.cuda import batches
from numba.cuda.cudadrv.driver import CudaAPIError
net = fnn.Network([2, 3, 2], device="cuda")
x, y = np.eye(2), np.arange(2)
trainer = fnn.Trainer(net, SimpleNamespace(x_train=x, y_train=y), batch_size=1, validation=None)
chunks = trainer.run(50)
next(chunks)
after, step, whole = net.parameters.copy(), trainer.current_step, batches.Batches.rows
def lost(self, s, stream):
    raise CudaAPIError(719, "CUDA_ERROR_LAUNCH_FAILED")
batches.Batches.rows = lost
try:
    for _ in chunks: pass
except fnn.DeviceError as reason:
    print(reason)
assert (net.parameters == after).all() and trainer.current_step == step and trainer.state == "stopped"
"""
    out, _ = python(code, NUMBA_ENABLE_CUDASIM="1")
    assert out.startswith("device: the GPU failed while training (CudaAPIError")
    assert "the parameters are those of the last snapshot" in out


@needs_numba_cuda
def test_ctrl_c_while_a_chunk_that_diverged_runs_again(python: Python) -> None:
    code = """
import numpy as np, fastnn as fnn
from fastnn.cuda.engine import Runner
net = fnn.Network([2, 3, 2], device="cuda")
data = np.eye(2, dtype=np.float32), np.arange(2)
runner = Runner(net.architecture, net.parameters, data, loss="cross_entropy", optimizer=fnn.Adam(), batch=1)
runner.run(1, 0.1)
before, chunk, calls = runner.keep(), runner._steps, []
def interrupted(steps, rate):
    calls.append(steps)
    if len(calls) == 3:
        raise KeyboardInterrupt
    return chunk(steps, rate)
runner._steps = interrupted
try:
    runner.run(3, 1e30)
except KeyboardInterrupt:
    print(calls)
after = runner.keep()
assert after.step == before.step and all((a == b).all() for a, b in zip(before.arrays, after.arrays))
"""
    out, _ = python(code, NUMBA_ENABLE_CUDASIM="1")
    assert out.strip() == "[3, 1, 1]"


@needs_numba_cuda
def test_ctrl_c_while_the_next_order_is_found(python: Python) -> None:
    """The chunk goes back to an epoch whose order was kept in the place of the next."""
    code = """
import numpy as np, fastnn as fnn
from fastnn.cpu import train
from fastnn.cuda import engine
from fastnn.cuda.engine import Runner
engine.MOST_ORDERS = 6
data, fill, found = (np.eye(6, dtype=np.float32), np.arange(6) % 2), train.fill_orders, []
def interrupted(orders, seed, epoch):
    fill(orders, seed, epoch)
    if epoch == 2 and not found:
        found.append(None)
        raise KeyboardInterrupt
train.fill_orders = interrupted
for _ in range(2):
    net = fnn.Network([6, 2], device="cuda")
    runner = Runner(net.architecture, net.parameters, data, loss="cross_entropy", optimizer=fnn.SGD(0.1), batch=3)
    runner.run(1, 0.1)
    try:
        runner.run(2, 0.1)
    except KeyboardInterrupt:
        print("interrupted")
        runner.run(2, 0.1)
    found.append(net.parameters.copy())
assert runner.step == 3 and (found[1] == found[2]).all()
"""
    assert python(code, NUMBA_ENABLE_CUDASIM="1")[0].strip() == "interrupted"


def test_the_command_line(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fnn.cuda, "find_spec", lambda name: None)
    assert main(["train", "--device", "cuda", "--no-keep"]) == 2
    assert "fastnn: device: 'cuda' needs the package numba-cuda" in capsys.readouterr().err
    assert main(["train", "--device", "tpu", "--no-keep"]) == 2
    assert "device: unknown name 'tpu'" in capsys.readouterr().err
    assert main(["train", "--precision", "tf32", "--no-keep"]) == 2
    assert "precision: 'tf32' for float32 on 'cpu'; expected a float32 network on 'cuda'" in capsys.readouterr().err
    assert main(["train", "--precision", "half", "--no-keep"]) == 2
    assert "precision: unknown name 'half'" in capsys.readouterr().err


def test_a_run_file_names_device_and_precision(tmp_path: Path) -> None:
    path = tmp_path / "run.toml"
    path.write_text("device = 'cuda'\nprecision = 'tf32'\n")
    run = runfile.read(path)
    assert (run.device, run.precision) == ("cuda", "tf32") and runfile.RunFile.from_table(run.table()) == run
    assert 'device = "cuda"\nprecision = "tf32"\n' in run.text()
    assert not {"device", "precision"} & set(runfile.RunFile().table())
    path.write_text("precision = 32\n")
    with pytest.raises(fnn.DataError, match=r"run.toml: precision: 32; expected a name"):
        runfile.read(path)


def test_doctor(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor"]) == 0
    lines = dict(line.split(maxsplit=1) for line in capsys.readouterr().out.splitlines())
    assert lines["fastnn"] == fnn.__version__ and "registers of" in lines["CPU"] and "kernels" in lines["cache"]
    assert lines["CUDA"].startswith("cannot be used: ") or "compute capability" in lines["CUDA"]
    with pytest.raises(SystemExit):
        main(["doctor", "--all"])
    assert "unknown argument '--all' (`fastnn doctor --help`" in capsys.readouterr().err


@needs_numba_cuda
def test_what_a_graph_of_the_benchmarks_was_captured_with_stays(python: Python) -> None:
    code = """
import sys, weakref
from unittest.mock import MagicMock
sys.path.append(sys.argv[1])
sys.modules["torch"] = MagicMock()
from benchmarks.gpu_peers import in_graph
class Parameters(list): pass
def contender():
    parameters = Parameters()
    def step(xb, yb): parameters.append(xb)
    return in_graph(step, MagicMock(), MagicMock()), weakref.ref(parameters)
replay, parameters = contender()
replay(1, 2)
print(len(parameters()))
"""
    out, _ = python(code, str(HERE.parent), NUMBA_ENABLE_CUDASIM="1")
    assert out.strip() == "4"
