"""The CUDA engine on a GPU host: checks everything, then times it, and writes a page of results, in under 8 minutes.

    python -m benchmarks.gpu [--page benchmarks/GPU.md] [--tiny]

Checks: gradients and trained parameters against the CPU in float64, every activation, loss and optimizer, both paths,
the same bits twice, the tests' GPU part, and compute-sanitizer where it is installed. Timings: a training step beside
PyTorch eager, compiled and in a CUDA graph (float32 and TF32) and JAX's scan, whichever are installed. What there was
no time for is on the page as such. `--tiny` runs it all with small numbers, in Numba's simulator too, to see that the
script works.
"""

from __future__ import annotations

import argparse
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

import fastnn as fnn
from benchmarks.frameworks import Weights, jax_scan, start, torch_network
from benchmarks.table import OPTIMIZERS, Work
from fastnn.activations import ACTIVATIONS
from fastnn.doctor import findings
from fastnn.losses import LOSSES
from fastnn.warmup import every_optimizer

BUDGET = 450.0  # seconds; nothing new begins after that
LIMITS = {"float32": 1e-5, "float64": 1e-11}
ROUNDS = 7

STEPS = [
    Work((784, 512, 512, 10), "relu", 128),
    Work((784, 128, 10), "relu", 64),
    *(Work((64, 64, 64, 64, 10), "relu", batch) for batch in (128, 1024, 16384)),
    Work((784, 2048, 2048, 10), "relu", 4096),
]

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
    for name, optimizer, layers in trained:
        nets = pair(dtype, x.shape[1], *layers)
        for net in nets:
            net.fit(x, labels, optimizer=optimizer, batch_size=batch, epochs=1)
        # An epoch adds up the rounding of its steps: a tenth of the limit for each.
        yield f"trained an epoch, {name}", apart(nets[1].parameters, nets[0].parameters) / 10


def same_bits(tiny: bool) -> bool:
    """Whether two trainings give the same bits, in two networks of each path."""
    x, labels, _, batch, width = problem(tiny)
    for layers in ([width], [133]):
        found = []
        for _ in range(2):
            net = fnn.Network([x.shape[1], *layers, 10], seed=4, device="cuda")
            net.fit(x, labels, optimizer=fnn.Adam(), batch_size=batch, epochs=1 if tiny else 5)
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


def fastnn_steps(work: Work, weights: Weights, x: np.ndarray, y: np.ndarray) -> Step:
    net = fnn.Network(list(work.sizes), activation=work.activation, device="cuda")
    for layer, (w, b) in zip(net.layers, weights, strict=True):
        layer.weight, layer.bias = w, b
    runner = net.engine.Runner(
        net.architecture, net.storage, (x, y), loss="cross_entropy", optimizer=OPTIMIZERS["sgd"], batch=work.batch,
        shuffle=False,
    )  # fmt: skip
    runner.prepare()
    return lambda steps: runner.run(steps, OPTIMIZERS["sgd"].lr)


def torch_steps(kind: str, tf32: bool, work: Work, weights: Weights, x: np.ndarray, y: np.ndarray) -> Step:
    import torch

    if not torch.cuda.is_available():
        raise ImportError("PyTorch sees no GPU")
    net = torch_network(work.sizes, work.activation, weights).cuda()
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
        torch.backends.cuda.matmul.allow_tf32 = tf32
        for s in range(steps):
            step(xs[s % len(xs)], ys[s % len(ys)])
        torch.cuda.synchronize()

    return run


def jax_steps(work: Work, weights: Weights, x: np.ndarray, y: np.ndarray) -> Step:
    import jax

    if jax.default_backend() != "gpu":
        raise ImportError("JAX sees no GPU")
    contender = jax_scan(work, weights, x, y, "sgd")
    return lambda steps: contender.train(max(1, steps // work.steps))


CONTENDERS: dict[str, Callable[..., Step]] = {
    "fastnn": fastnn_steps,
    "PyTorch eager": lambda *args: torch_steps("eager", False, *args),
    "PyTorch compile": lambda *args: torch_steps("compile", False, *args),
    "PyTorch graph": lambda *args: torch_steps("graph", False, *args),
    "PyTorch graph, TF32": lambda *args: torch_steps("graph", True, *args),
    "JAX scan": jax_steps,
}


def timings(work: Work, tiny: bool) -> dict[str, float | str]:
    """Median seconds a step of each contender, in rounds one after the other; or why there is none."""
    batches = 2 if tiny else max(2, min(64, 2**16 // work.batch))
    rng = np.random.default_rng(0)
    work = work._replace(rows=batches * work.batch)
    x = rng.standard_normal((batches * work.batch, work.sizes[0])).astype(np.float32)
    y = rng.integers(0, work.sizes[-1], len(x))
    found: dict[str, float | str] = {}
    ready: dict[str, tuple[Step, int]] = {}
    for name, build in CONTENDERS.items():
        if left() < 40:
            found[name] = "no time left"
            continue
        try:
            step = build(work, start(work), x, y)
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


def page(tiny: bool) -> Iterator[str]:
    yield "# fastnn on a GPU\n\nWritten by `python -m benchmarks.gpu`.\n"
    yield "\n".join(f"- {name}: {found}" for name, found in findings()) + "\n"
    yield "## Checks\n\nRelative error against the CPU in float64 (of trained parameters: a tenth of it).\n"
    yield "| check | float32 | float64 | |\n|---|---|---|---|"
    single, double = dict(checks("float32", tiny)), dict(checks("float64", tiny))
    for name, error in single.items():
        fine = error <= LIMITS["float32"] and double[name] <= LIMITS["float64"]
        yield f"| {name} | {error:.1e} | {double[name]:.1e} | {'passed' if fine else 'FAILED'} |"
    data, on_cpu, on_gpu = accuracy(tiny)
    yield f"\n- the same bits from run to run: {'passed' if same_bits(tiny) else 'FAILED'}"
    yield f"- {data}: test accuracy {on_gpu:.2%} on the GPU, {on_cpu:.2%} on the CPU"
    yield f"- snapshots 30 times a second cost {cost_of_watching(tiny):.1%} of the time"
    yield "\n## A training step, microseconds\n\nFloat32, SGD, cross entropy; medians of rounds in turn.\n"
    yield f"| network | {' | '.join(CONTENDERS)} |\n|---|{'---|' * len(CONTENDERS)}"
    for work in STEPS[1:2] if tiny else STEPS:
        if tiny:
            work = Work((6, 5, 3), work.activation, 4)
        found = timings(work, tiny)
        cells = [f"{v * 1e6:.1f}" if isinstance(v, float) else v for v in (found[name] for name in CONTENDERS)]
        yield f"| {'-'.join(map(str, work.sizes))}, batch {work.batch} | {' | '.join(cells)} |"
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
