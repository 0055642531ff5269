"""The CUDA engine on a GPU host: checks everything, then times it, and writes a page of results, in under 8 minutes.

    python -m benchmarks.gpu [--page benchmarks/GPU.md] [--tiny] [--only 784-512]

Checks run first, in a process each and all at once, for most of their time is the compilers': gradients and trained
parameters against the CPU in float64, every activation, loss, optimizer and cell, all paths, prediction in kernels, the
same bits twice, the tests' GPU part, and compute-sanitizer (memcheck and racecheck) where it is installed. Then
timings, with nothing beside them: a training step, in float32 and TF32, beside PyTorch eager (of a recurrent network:
cuDNN), compiled and in a CUDA graph and JAX's scan, whichever are installed. What the engine must show is on the page
(gpu_page.py), or that it was not taken. The page is written as results come; what there is no time for is said there.
Last comes the terminal UI, where Textual is installed: its frames a second while a GPU trains, and what it costs.

`--only TEXT` is for comparing two versions in a few seconds: the steps of networks whose name has TEXT, and no checks.
`--tiny` is a rehearsal of the whole script in Numba's simulator, with small numbers; peers then compute on the CPU.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import shutil
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, as_completed
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import numpy as np

import fastnn as fnn
from benchmarks.gpu_checks import PARTS
from benchmarks.gpu_page import NARROW, ROWS_OF_IMAGES, WIDE, WIDEST, Page, label
from benchmarks.gpu_peers import Step, jax_steps, torch_steps
from benchmarks.recurrent import Sequences
from benchmarks.table import OPTIMIZERS, Work
from fastnn.cuda.target import SIMULATED

# Seconds for all, and for the checks: nothing new begins after that. The simulator is not in a hurry.
BUDGET, CHECKS = (3600.0, 3600.0) if SIMULATED else (450.0, 220.0)
ROUNDS = 7
STEPS: list[Work | Sequences] = [WIDE, ROWS_OF_IMAGES, *NARROW, WIDEST, Work((784, 128, 10), "relu", 64)]
TINY: list[Work | Sequences] = [Work((6, 5, 3), "relu", 4), Sequences(2, 3, 4, 4, outputs=3)]

began = time.perf_counter()


def left(budget: float = BUDGET) -> float:
    return budget - (time.perf_counter() - began)


# ---- checks ----------------------------------------------------------------------------------------------------------

SMALL = """
import sys, numpy as np, fastnn as fnn
rows, narrow, wide = map(int, sys.argv[1:])
x, y, batch = np.random.default_rng(0).standard_normal((rows, 12)), np.arange(rows) % 10, rows * 2 // 5
for layers in ([12, narrow, narrow, 10], [12, narrow, 10], [12, wide, 10]):
    net = fnn.Network(layers, device="cuda")
    net.fit(x, y, optimizer=fnn.Adam(), batch_size=batch, validation=(x, y))
    net(x), net.gradient(x, y)
x_steps = x.reshape(rows, 4, 3)
deep = [fnn.Input(3, steps=4), fnn.GRU(narrow, return_sequences=True), fnn.LSTM(narrow), fnn.Dense(10)]
for layers in (deep, [fnn.Input(3, steps=4), fnn.Recurrent(narrow), fnn.Dense(10)]):
    net = fnn.Network(layers, device="cuda")
    net.fit(x_steps, y, optimizer=fnn.Adam(clip=0.1), batch_size=batch)
    net(x_steps), net.gradient(x_steps, y)
net = fnn.Network([12, wide, 10], device="cuda", precision="tf32")
net.fit(x, y, batch_size=batch)
"""

# The large tiles: of whole vectors and of rows that are none, with a batch of few rows at the end.
LARGE = """
import sys, numpy as np, fastnn as fnn
rows, *widths = map(int, sys.argv[1:])
x, y = np.random.default_rng(0).standard_normal((rows + 5, widths[0])), np.arange(rows + 5) % 10
for last in (widths[-1], widths[-1] - 3):
    for precision in ("float", "tf32"):
        net = fnn.Network([*widths[:-1], last, 10], device="cuda", precision=precision)
        net.fit(x, y, batch_size=rows, shuffle=False)
        net(x[:3]), net.gradient(x, y)
"""


def programs(tiny: bool) -> dict[str, list[str]]:
    """What is run for the checks, by name."""
    python, sanitizer = sys.executable, shutil.which("compute-sanitizer")
    small = [python, "-c", SMALL, *(("5", "2", "3") if tiny else ("40", "33", "140"))]
    large = [python, "-c", LARGE, *(("4", "2", "5", "6") if tiny else ("1024", "784", "1024", "1024"))]
    found = {part: [python, "-m", "benchmarks.gpu_checks", part, *["--tiny"] * tiny] for part in PARTS}
    tests = [python, "-m", "pytest", "-q", "-m", "not slow", "-n"]
    if tiny:
        found["tests"] = [*tests, "0", "tests/test_cuda.py", "-k", "another_device or without_the_package"]
        found |= {"the sanitizers' program": small, "the same with large tiles": large}
    else:
        # Four at a time: they wait for processes of the simulator, mostly.
        found["tests"] = [*tests, "4", "tests/test_cuda.py", "tests/test_cuda_graphs.py"]
        found["tests of machine code"] = [*tests, "0", "tests/test_cuda_compiled.py"]
    for tool in ("memcheck", "racecheck"):
        for name, program in (("", small), (", large tiles", large)):
            options = ["--tool", tool, "--error-exitcode", "1"]
            found[f"compute-sanitizer {tool}{name}"] = [] if sanitizer is None else [sanitizer, *options, *program]
    return found


def run(what: list[str], seconds: float) -> tuple[str, str]:
    """How a program ended ("passed", "FAILED: ..." or "not ...: ..."), and what it printed."""
    if not what:
        return "not run: not installed", ""
    if seconds < 5:
        return "not run: no time left", ""
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True, "start_new_session": True}
    with subprocess.Popen(what, **pipes) as process:  # type: ignore[call-overload]
        try:
            out, err = process.communicate(timeout=seconds)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)  # what it has started, too
            process.communicate()
            return "not finished in time", ""
    lines = (out if process.returncode == 0 else out + err).strip().splitlines() or [""]
    return ("passed" if process.returncode == 0 else f"FAILED: {lines[-1][-200:]}"), out


def check(page: Page, tiny: bool) -> None:
    """Run the checks, as many at once as there are processors, and write their sections of the page."""
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        futures = {pool.submit(lambda what=what: run(what, left(CHECKS))): n for n, what in programs(tiny).items()}
        for future in as_completed(futures):
            name, (ended, printed) = futures[future], future.result()
            if name not in PARTS or ended != "passed":
                page.others[name] = ended
                printed = "{}"
            for what, number in json.loads(printed).items():
                if name == "accuracy":
                    page.accuracy[what] = number
                elif name == "bits":
                    page.others[what] = "FAILED" if number else "passed"
                else:
                    page.checks.setdefault(what, {})[name.split()[1]] = number
            page.write()


# ---- timings ---------------------------------------------------------------------------------------------------------


def fastnn_steps(
    tf32: bool, work: Work | Sequences, x: np.ndarray, y: np.ndarray, *, recovered: bool | None = None
) -> Step:
    """`recovered`: whether tensor cores take products of float32, see `shapes.RECOVERED`."""
    from fastnn.cuda import shapes

    net = work.network() if isinstance(work, Sequences) else fnn.Network(list(work.sizes), activation=work.activation)
    net.to("cuda", "tf32" if tf32 else "float")
    shapes.RECOVERED = recovered
    runner = net.engine.Runner(
        net.architecture, net.storage, (x, y), loss="cross_entropy", optimizer=OPTIMIZERS["sgd"], batch=work.batch,
        shuffle=False,
    )  # fmt: skip
    runner.prepare()

    def steps(count: int) -> None:
        shapes.RECOVERED = recovered  # layers' kernels are chosen when their launches are recorded
        runner.run(count, OPTIMIZERS["sgd"].lr)

    return steps


QUICK: dict[str, Callable[..., Step]] = {
    "fastnn": partial(fastnn_steps, False),
    "fastnn, TF32": partial(fastnn_steps, True),
    "fastnn, no tensor cores": partial(fastnn_steps, False, recovered=False),
    "PyTorch eager": partial(torch_steps, "eager", False),
    "PyTorch graph": partial(torch_steps, "graph", False),
    "PyTorch graph, TF32": partial(torch_steps, "graph", True),
}
# Their compilers take up to a minute a network: they come when all networks have been timed with the others.
SLOW: dict[str, Callable[..., Step]] = {
    "PyTorch compile": partial(torch_steps, "compile", False),
    "JAX scan": jax_steps,
}


def timings(work: Work | Sequences, contenders: dict[str, Callable[..., Step]], tiny: bool) -> dict[str, float | str]:
    """Median seconds a step of each contender, in rounds one after the other; or why there is none."""
    batches = 2 if tiny else max(2, min(64, 2**16 // work.batch))
    rng = np.random.default_rng(0)
    work = work._replace(rows=batches * work.batch)
    shape, outputs = (work.sizes[:1], work.sizes[-1]) if isinstance(work, Work) else (work[:2], work.outputs)
    x = rng.standard_normal((batches * work.batch, *shape)).astype(np.float32)
    y = rng.integers(0, outputs, len(x))
    found: dict[str, float | str] = {}
    ready: dict[str, tuple[Step, int]] = {}
    for name, build in contenders.items():
        if left() < 25:
            found[name] = "no time left"
            continue
        try:
            step = build(work, x, y)
            step(batches)
            once = time.perf_counter()
            step(batches)
            each = (time.perf_counter() - once) / batches
            steps = batches if tiny else max(1, int(0.15 / each / batches)) * batches
            ready[name] = (step, steps)
        except Exception as reason:  # noqa: BLE001  whatever keeps a contender away, the page says it
            found[name] = f"{type(reason).__name__}: {' '.join(str(reason).split())[:80]}"
    seconds: dict[str, list[float]] = {name: [] for name in ready}
    for _ in range(1 if tiny else ROUNDS):
        for name, (step, steps) in ready.items():
            once = time.perf_counter()
            try:
                step(steps)
            except Exception as reason:
                told = f"{name} in {label(work)}; a GPU that is lost may be so by one before it, see {found}"
                raise RuntimeError(told) from reason
            seconds[name].append((time.perf_counter() - once) / steps)
    return found | {name: statistics.median(values) for name, values in seconds.items()}


def cost_of_watching(tiny: bool) -> float:
    """Share of the time that a UI's snapshots, 30 a second, cost a training; medians of rounds in turn."""
    rows, features, width, batch = (4, 3, 3, 2) if tiny else (4096, 50, 96, 128)
    rng = np.random.default_rng(1)
    data = SimpleNamespace(x_train=rng.standard_normal((rows, features)), y_train=rng.integers(0, 3, rows))

    def rate(watched: bool) -> float:
        net = fnn.Network([features, width, 3], device="cuda")
        trainer = fnn.Trainer(net, data, batch_size=batch, validation=None, observe=watched)
        if watched:
            trainer.watch("activations", "gradient_norm", "weights", seconds=1 / 30)
        once = time.perf_counter()
        for _ in trainer.run(2 if tiny else 100_000):
            if time.perf_counter() - once > 1:
                trainer.stop()
        return trainer.current_step / (time.perf_counter() - once)

    rates = [(rate(False), rate(True)) for _ in range(2 if tiny else 4)]
    alone, watched = zip(*rates[1:], strict=True)  # the first ones compile
    return 1 - statistics.median(watched) / statistics.median(alone)


def ui_beside(page: Page) -> None:
    """The UI's frames a second, and the share of the speed that training has beside it."""
    if importlib.util.find_spec("textual") is None:
        return
    device = "cpu" if SIMULATED else "cuda"  # in a rehearsal the simulator would be too slow for its networks
    command = [sys.executable, "-m", "benchmarks.ui", "rate", "--threads", "1", "--device", device, "--seconds", "12"]
    ended, printed = run(command, left())
    if ended == "passed":
        told = json.loads(printed)
        page.frames, page.beside_ui = told["frames"], told["share"]
    else:
        page.others["the UI beside training"] = ended


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--page", type=Path, default=Path(__file__).with_name("GPU.md"))
    parser.add_argument("--tiny", action="store_true", help="a rehearsal with small numbers, in Numba's simulator too")
    parser.add_argument("--only", metavar="TEXT", help="the steps of networks whose name has TEXT, and no checks")
    options = parser.parse_args()
    os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")  # JAX takes most of the GPU's memory otherwise
    page = Page(options.page, [*QUICK, *SLOW], began)
    works = [work for work in (TINY if options.tiny else STEPS) if (options.only or "") in label(work)]
    if options.only is None:
        check(page, options.tiny)
    for contenders in (QUICK, SLOW) if options.only is None else (QUICK,):
        for work in works:
            page.table.setdefault(work, {}).update(timings(work, contenders, options.tiny))
            page.write()
        if contenders is QUICK and options.only is None and left() > 45:
            page.watching = cost_of_watching(options.tiny)
            ui_beside(page)
    page.write()
    text = options.page.read_text()
    print(text)
    return int("FAILED" in text)


if __name__ == "__main__":
    sys.exit(main())
