"""The CUDA engine on a GPU host: checks everything, then times it, and writes a page of results, in under 8 minutes.

    python -m benchmarks.gpu [--page benchmarks/GPU.md] [--tiny]

Checks: gradients and trained parameters against the CPU in float64, every activation, loss, optimizer and cell, all
paths, prediction in kernels, the same bits twice, the tests' GPU part, and compute-sanitizer (memcheck and racecheck)
where it is installed. Timings: a training step, in float32 and TF32, beside PyTorch eager (of a recurrent network:
cuDNN), compiled and in a CUDA graph and JAX's scan, whichever are installed. What the engine must show is on the page
with its figure, or as not taken. `--tiny` runs it all with small numbers, in Numba's simulator too, to see that the
script works.
"""

from __future__ import annotations

import argparse
import math
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
from numba import cuda

import fastnn as fnn
from benchmarks import recurrent
from benchmarks.frameworks import jax_scan, start, torch_network
from benchmarks.recurrent import Sequences
from benchmarks.table import OPTIMIZERS, Work
from fastnn.activations import ACTIVATIONS
from fastnn.doctor import findings
from fastnn.losses import LOSSES
from fastnn.warmup import every_optimizer

BUDGET = 450.0  # seconds; nothing new begins after that
LIMITS = {"float32": 1e-5, "float64": 1e-11}
ROUNDS = 7

NARROW = [Work((64, 64, 64, 64, 10), "relu", batch) for batch in (128, 1024, 16384)]
WIDE, WIDEST = Work((784, 512, 512, 10), "relu", 128), Work((784, 2048, 2048, 10), "relu", 4096)
ROWS_OF_IMAGES = recurrent.SEQUENCES["28x28-128-10"]
STEPS: list[Work | Sequences] = [WIDE, Work((784, 128, 10), "relu", 64), *NARROW, ROWS_OF_IMAGES, WIDEST]
TINY: list[Work | Sequences] = [Work((6, 5, 3), "relu", 4), Sequences(2, 3, 4, 4, outputs=3)]

began = time.perf_counter()


def left() -> float:
    return BUDGET - (time.perf_counter() - began)


# ---- checks ----------------------------------------------------------------------------------------------------------


def apart(expected: Any, found: Any) -> float:
    """Largest difference over the largest expected number."""
    expected, found = np.asarray(expected, np.float64), np.asarray(found, np.float64)
    return float(np.abs(expected - found).max() / np.abs(expected).max())


def problem(tiny: bool) -> tuple[np.ndarray, np.ndarray, np.ndarray, int, int]:
    """Inputs, labels, numbers, batch size and width of the checks."""
    rows, features, batch, width = (7, 4, 4, 5) if tiny else (1000, 50, 128, 96)
    rng = np.random.default_rng(1)
    return rng.standard_normal((rows, features)), rng.integers(0, 10, rows), rng.random((rows, 10)), batch, width


@cuda.jit
def each_row(net, x, out):
    """Prediction in a caller's own kernel, a thread a row."""
    i = cuda.grid(1)
    if i < x.shape[0]:
        fnn.cuda.predict(net, x[i : i + 1], out[i : i + 1])


def pair(dtype: str, features: int, *layers: Any) -> tuple[fnn.Network, fnn.Network]:
    """The network on the GPU, and on the CPU in float64 with the same parameters."""
    stack = [fnn.Input(features), *layers, fnn.Dense(10)]
    gpu, exact = fnn.Network(stack, seed=2, dtype=dtype, device="cuda"), fnn.Network(stack, seed=2, dtype="float64")
    exact.parameters = gpu.parameters.astype(np.float64)
    return gpu, exact


def checks(dtype: str, tiny: bool) -> Iterator[tuple[str, float]]:
    """A name and a relative error each."""
    x, labels, numbers, batch, width = problem(tiny)
    x = x.astype(np.float32).astype(np.float64)  # the same inputs for both
    for name in ACTIVATIONS:
        gpu, exact = pair(dtype, x.shape[1], fnn.Dense(width, name), fnn.Dense(width, name))
        yield f"gradient, {name}", apart(exact.gradient(x, labels), gpu.gradient(x, labels))
        yield f"outputs, {name}", apart(exact(x), gpu(x))
    for name, entry in LOSSES.items():
        y = labels if entry.labels else numbers
        gpu, exact = pair(dtype, x.shape[1], fnn.Dense(width, "tanh"))
        yield f"gradient, {name}", apart(exact.gradient(x, y, name), gpu.gradient(x, y, name))
        yield f"loss, {name}", apart(exact.loss(x, y, name), gpu.loss(x, y, name))
    wide = [fnn.Dense(9 if tiny else 600, "tanh"), fnn.Dense(133 if tiny else 520, "tanh")]
    gpu, exact = pair(dtype, x.shape[1], *wide)
    yield "gradient, wide", apart(exact.gradient(x[:5], labels[:5]), gpu.gradient(x[:5], labels[:5]))
    yield "gradient, wide, all rows", apart(exact.gradient(x, labels), gpu.gradient(x, labels))
    mask = np.arange(x.shape[1] * width).reshape(x.shape[1], width) % 3 > 0
    stacks = {"masks": [fnn.Dense(width, "tanh", mask=mask)], "dropout": [fnn.Dropout(0.2), fnn.Dense(width, "tanh")]}
    trained = [(str(optimizer), optimizer, [fnn.Dense(width, "tanh")]) for optimizer in every_optimizer()]
    trained += [(name, fnn.SGD(0.1), layers) for name, layers in stacks.items()]
    trained.append(("wide", fnn.SGD(0.1), wide))
    trained.append(("clipped", fnn.Adam(1e-3, clip=0.01), [fnn.Dense(width, "tanh")]))
    for name, optimizer, layers in trained:
        nets = pair(dtype, x.shape[1], *layers)
        for net in nets:
            net.fit(x, labels, optimizer=optimizer, batch_size=batch, epochs=1)
        # An epoch adds up the rounding of its steps: a tenth of the limit for each.
        yield f"trained an epoch, {name}", apart(nets[1].parameters, nets[0].parameters) / 10


def sequences(dtype: str, tiny: bool) -> Iterator[tuple[str, float]]:
    """The same of networks with recurrent layers, and of prediction in a kernel."""
    rows, steps, features, units = (5, 2, 2, 3) if tiny else (200, 12, 20, 64)
    rng = np.random.default_rng(2)
    x = rng.standard_normal((rows, steps, features)).astype(np.float32).astype(np.float64)
    y, each = rng.integers(0, 10, rows), rng.integers(0, 10, (rows, steps))
    cells = {"recurrent": fnn.Recurrent, "gru": fnn.GRU, "lstm": fnn.LSTM}
    stacks: dict[str, tuple[list[Any], Any]] = {name: ([cell(units)], y) for name, cell in cells.items()}
    all_steps = [cell(units, return_sequences=True) for cell in cells.values()]
    stacks["all cells, time steps"] = ([*all_steps, fnn.Dropout(0.2)], each)
    for name, (layers, targets) in stacks.items():
        gpu, exact = pair(dtype, features, *layers)
        yield f"gradient, {name}", apart(exact.gradient(x, targets), gpu.gradient(x, targets))
        yield f"outputs, {name}", apart(exact(x), gpu(x))
        out = np.zeros((rows, exact(x).reshape(rows, -1).shape[1]), dtype)
        state = gpu.compiled(steps=steps, threads=rows)
        each_row[-(-rows // 32), 32](state, x.reshape(rows, -1).astype(dtype), out)
        yield f"outputs in a kernel, {name}", apart(exact(x).reshape(rows, -1), out)
        for net in (gpu, exact):
            net.fit(x, targets, optimizer=fnn.SGD(0.1), batch_size=max(2, rows // 3), epochs=1)
        yield f"trained an epoch, {name}", apart(exact.parameters, gpu.parameters) / 10


def same_bits(tiny: bool) -> bool:
    """Whether two trainings give the same bits, in a network of each path."""
    x, labels, _, batch, width = problem(tiny)
    rows = x[:, : x.shape[1] // 2 * 2].reshape(len(x), 2, -1)
    for inputs, layer in ((x, fnn.Dense(width)), (x, fnn.Dense(133)), (rows, fnn.LSTM(width))):
        found = []
        for _ in range(2):
            net = fnn.Network([fnn.Input(inputs.shape[-1]), layer, fnn.Dense(10)], seed=4, device="cuda")
            net.fit(inputs, labels, optimizer=fnn.Adam(clip=1), batch_size=batch, epochs=1 if tiny else 5)
            found.append(net.parameters.copy())
        if not np.array_equal(*found):
            return False
    return True


def accuracy(tiny: bool) -> tuple[str, float, float]:
    """The data's name, and the test accuracy after training on the CPU and on the GPU (MNIST where it is at hand)."""
    try:
        data, layers, epochs = fnn.datasets.load("mnist"), [784, 128, 10], 5
    except fnn.FastnnError:
        data, layers, epochs = fnn.datasets.load("digits"), [64, 32, 10], 20
    if tiny:
        few = {part: getattr(data, part)[:4] for part in ("x_train", "y_train", "x_test", "y_test")}
        data, epochs, layers = SimpleNamespace(name=data.name, **few), 1, [layers[0], 4, 10]
    scores = []
    for device in ("cpu", "cuda"):
        net = fnn.Network(layers, seed=0, device=device)
        rows = min(64, len(data.x_train))
        net.fit(data.x_train, data.y_train, optimizer=fnn.Adam(1e-3), batch_size=rows, epochs=epochs)
        scores.append(net.evaluate(data.x_test, data.y_test)["accuracy"])
    return data.name, *scores


def command(what: list[str]) -> str:
    """The last line that a command prints, and whether it succeeded; "not run" where there is no time."""
    if left() < 20:
        return "not run: no time left"
    try:
        done = subprocess.run(what, capture_output=True, text=True, timeout=left(), check=False)
    except subprocess.TimeoutExpired:
        return "not finished in time"
    lines = (done.stdout + done.stderr).strip().splitlines() or [""]
    return f"{'passed' if done.returncode == 0 else 'FAILED'}: {lines[-1]}"


SMALL = """
import numpy as np, fastnn as fnn
x, y = np.random.default_rng(0).standard_normal((40, 12)), np.arange(40) % 10
for layers in ([12, 33, 10], [12, 140, 10]):
    net = fnn.Network(layers, device="cuda")
    net.fit(x, y, optimizer=fnn.Adam(), batch_size=16, epochs=2, validation=(x, y))
    net(x), net.gradient(x, y)
deep = [fnn.Input(3, steps=4), fnn.GRU(33, return_sequences=True), fnn.LSTM(9), fnn.Dense(10)]
net = fnn.Network(deep, device="cuda")
net.fit(x, y, optimizer=fnn.Adam(clip=0.1), batch_size=16, epochs=2, validation=(x, y))
net(x), net.gradient(x, y)
net = fnn.Network([12, 140, 10], device="cuda", precision="tf32")
net.fit(x, y, batch_size=16)
"""


def sanitizer() -> Iterator[tuple[str, str]]:
    found = shutil.which("compute-sanitizer")
    for tool in ("memcheck", "racecheck"):
        if found is None:
            yield f"compute-sanitizer {tool}", "not installed"
        else:
            options = [found, "--tool", tool, "--error-exitcode", "1", sys.executable, "-c", SMALL]
            yield f"compute-sanitizer {tool}", command(options)


# ---- timings ---------------------------------------------------------------------------------------------------------

Step = Callable[[int], Any]  # trains so many steps and waits for them


def fastnn_steps(tf32: bool, work: Work | Sequences, x: np.ndarray, y: np.ndarray) -> Step:
    net = work.network() if isinstance(work, Sequences) else fnn.Network(list(work.sizes), activation=work.activation)
    net.to("cuda", "tf32" if tf32 else "float")
    runner = net.engine.Runner(
        net.architecture, net.storage, (x, y), loss="cross_entropy", optimizer=OPTIMIZERS["sgd"], batch=work.batch,
        shuffle=False,
    )  # fmt: skip
    runner.prepare()
    return lambda steps: runner.run(steps, OPTIMIZERS["sgd"].lr)


def torch_model(work: Work | Sequences) -> Any:
    """The network in PyTorch; a recurrent layer is cuDNN's there. Its weights have no say in the time."""
    import torch

    if isinstance(work, Work):
        return torch_network(work.sizes, work.activation, start(work))

    class LastStep(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.rnn = torch.nn.RNN(work.features, work.units, batch_first=True)
            self.linear = torch.nn.Linear(work.units, work.outputs)

        def forward(self, x: Any) -> Any:
            return self.linear(self.rnn(x)[0][:, -1])

    return LastStep()


def torch_steps(kind: str, tf32: bool, work: Work | Sequences, x: np.ndarray, y: np.ndarray) -> Step:
    import torch

    if not torch.cuda.is_available():
        raise ImportError("PyTorch sees no GPU")
    net = torch_model(work).cuda()
    updates = torch.optim.SGD(net.parameters(), lr=OPTIMIZERS["sgd"].lr, fused=True)
    criterion = torch.nn.CrossEntropyLoss()
    xs = torch.from_numpy(x).cuda().split(work.batch)
    ys = torch.from_numpy(y).cuda().split(work.batch)

    def forward(xb, yb):
        return criterion(net(xb), yb)

    if kind == "compile":
        forward = torch.compile(forward)

    def step(xb, yb):
        updates.zero_grad(set_to_none=kind != "graph")
        forward(xb, yb).backward()
        updates.step()

    if kind == "graph":
        x_there, y_there = xs[0].clone(), ys[0].clone()
        side = torch.cuda.Stream()
        with torch.cuda.stream(side):
            for _ in range(3):
                step(x_there, y_there)
        torch.cuda.synchronize()
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            step(x_there, y_there)

        def step(xb, yb):
            x_there.copy_(xb)
            y_there.copy_(yb)
            graph.replay()

    def run(steps: int) -> None:
        # In here, not once: the contenders of one round differ in it.
        torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = tf32
        for s in range(steps):
            step(xs[s % len(xs)], ys[s % len(ys)])
        torch.cuda.synchronize()

    return run


def jax_steps(work: Work | Sequences, x: np.ndarray, y: np.ndarray) -> Step:
    import jax

    if jax.default_backend() != "gpu":
        raise ImportError("JAX sees no GPU")
    if isinstance(work, Sequences):
        contender = recurrent.jax_scan(work, x, y)
    else:
        contender = jax_scan(work, start(work), x, y, "sgd")
    return lambda steps: contender.train(max(1, steps // work.steps))


CONTENDERS: dict[str, Callable[..., Step]] = {
    "fastnn": partial(fastnn_steps, False),
    "fastnn, TF32": partial(fastnn_steps, True),
    "PyTorch eager": partial(torch_steps, "eager", False),
    "PyTorch compile": partial(torch_steps, "compile", False),
    "PyTorch graph": partial(torch_steps, "graph", False),
    "PyTorch graph, TF32": partial(torch_steps, "graph", True),
    "JAX scan": jax_steps,
}


def timings(work: Work | Sequences, tiny: bool) -> dict[str, float | str]:
    """Median seconds a step of each contender, in rounds one after the other; or why there is none."""
    batches = 2 if tiny else max(2, min(64, 2**16 // work.batch))
    rng = np.random.default_rng(0)
    work = work._replace(rows=batches * work.batch)
    shape, outputs = (work.sizes[:1], work.sizes[-1]) if isinstance(work, Work) else (work[:2], work.outputs)
    x = rng.standard_normal((batches * work.batch, *shape)).astype(np.float32)
    y = rng.integers(0, outputs, len(x))
    found: dict[str, float | str] = {}
    ready: dict[str, tuple[Step, int]] = {}
    for name, build in CONTENDERS.items():
        if left() < 40:
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
            step(steps)
            seconds[name].append((time.perf_counter() - once) / steps)
    return found | {name: statistics.median(values) for name, values in seconds.items()}


def cost_of_watching(tiny: bool) -> float:
    """Share of the time that a UI's snapshots, 30 a second, cost a training."""
    x, labels, _, batch, width = problem(tiny)
    rates = []
    for watched in (False, True):
        net = fnn.Network([x.shape[1], width, 10], device="cuda")
        data = SimpleNamespace(x_train=x, y_train=labels)
        trainer = fnn.Trainer(net, data, batch_size=batch, validation=None, observe=watched)
        if watched:
            trainer.watch("activations", "gradient_norm", "weights", seconds=1 / 30)
        once = time.perf_counter()
        for _ in trainer.run(2 if tiny else 100_000):
            if time.perf_counter() - once > 3:
                trainer.stop()
        rates.append(trainer.current_step / (time.perf_counter() - once))
    return 1 - rates[1] / rates[0]


# ---- the page --------------------------------------------------------------------------------------------------------

Table = dict[Work | Sequences, dict[str, float | str]]


def targets(table: Table) -> Iterator[tuple[str, bool | None]]:
    """What the engine must show, and whether it does; None: there is no figure."""

    def seconds(work: Work | Sequences, name: str) -> float:
        found = table.get(work, {}).get(name)
        return found if isinstance(found, float) else math.nan

    def against(work: Work | Sequences, peer: str, times: float) -> bool | None:
        ratio = seconds(work, peer) / seconds(work, "fastnn")
        return None if math.isnan(ratio) else ratio >= times

    step = seconds(WIDE, "fastnn")
    yield "784-512-512-10, batch 128: under 30 us", None if math.isnan(step) else step < 30e-6
    yield "the same: 3 times PyTorch's CUDA graph", against(WIDE, "PyTorch graph", 3)
    for work in NARROW:
        yield f"width 64, batch {work.batch}: 10 times PyTorch eager", against(work, "PyTorch eager", 10)
        yield f"width 64, batch {work.batch}: 3 times PyTorch's CUDA graph", against(work, "PyTorch graph", 3)
    yield (
        "784-2048-2048-10, batch 4096: level with PyTorch eager (0.95 or more)",
        against(WIDEST, "PyTorch eager", 0.95),
    )
    yield "28x28-128-10, batch 64: 3 times cuDNN through PyTorch", against(ROWS_OF_IMAGES, "PyTorch eager", 3)


def label(work: Work | Sequences) -> str:
    if isinstance(work, Sequences):
        return f"{work.time}x{work.features}-{work.units}-{work.outputs} recurrent, batch {work.batch}"
    return f"{'-'.join(map(str, work.sizes))}, batch {work.batch}"


def page(tiny: bool) -> Iterator[str]:
    yield "# fastnn on a GPU\n\nWritten by `python -m benchmarks.gpu`.\n"
    yield "\n".join(f"- {name}: {found}" for name, found in findings()) + "\n"
    yield "## Checks\n\nRelative error against the CPU in float64 (of trained parameters: a tenth of it).\n"
    yield "| check | float32 | float64 | |\n|---|---|---|---|"
    single, double = ({**dict(checks(F, tiny)), **dict(sequences(F, tiny))} for F in ("float32", "float64"))
    for name, error in single.items():
        fine = error <= LIMITS["float32"] and double[name] <= LIMITS["float64"]
        yield f"| {name} | {error:.1e} | {double[name]:.1e} | {'passed' if fine else 'FAILED'} |"
    data, on_cpu, on_gpu = accuracy(tiny)
    yield f"\n- the same bits from run to run: {'passed' if same_bits(tiny) else 'FAILED'}"
    yield f"- {data}: test accuracy {on_gpu:.2%} on the GPU, {on_cpu:.2%} on the CPU"
    yield f"- snapshots 30 times a second cost {cost_of_watching(tiny):.1%} of the time"
    yield "\n## A training step, microseconds\n\nSGD, cross entropy; medians of rounds in turn.\n"
    yield f"| network | {' | '.join(CONTENDERS)} |\n|---|{'---|' * len(CONTENDERS)}"
    table: Table = {}
    for work in TINY if tiny else STEPS:
        found = table[work] = timings(work, tiny)
        cells = [f"{v * 1e6:.1f}" if isinstance(v, float) else v for v in (found[name] for name in CONTENDERS)]
        yield f"| {label(work)} | {' | '.join(cells)} |"
    yield "\n## What it must show\n"
    for what, shown in targets(table):
        yield f"- {what}: {'not taken' if shown is None else 'yes' if shown else 'no'}"
    yield "\n## Tests and tools\n"
    tests = ["tests/test_cuda.py", "tests/test_cuda_compiled.py"]
    if not tiny:
        yield f"- tests: {command([sys.executable, '-m', 'pytest', '-q', *tests])}"
        for name, result in sanitizer():
            yield f"- {name}: {result}"
    yield f"\nTook {time.perf_counter() - began:.0f} s."


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--page", type=Path, default=Path(__file__).with_name("GPU.md"))
    parser.add_argument("--tiny", action="store_true", help="small numbers, to see that the script works")
    options = parser.parse_args()
    lines = []
    for line in page(options.tiny):
        print(line, flush=True)
        lines.append(line)
        options.page.write_text("\n".join(lines) + "\n")  # what is there stays if the rest fails
    return int(any("FAILED" in line for line in lines))


if __name__ == "__main__":
    sys.exit(main())
