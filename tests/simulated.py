"""The CUDA engine in Numba's simulator beside the CPU engine: run as a script, it prints a JSON object of what differs.

    NUMBA_ENABLE_CUDASIM=1 python simulated.py float32 [threads | ranks]

`threads`: with blocks of several threads, which meet at barriers; a thread is a Python thread and slow, so this is a
part of the checks only. Numba reads the variable once, hence a process.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from types import SimpleNamespace
from typing import Any

import numpy as np
from numba import cuda
from ranks import on_ranks

import fastnn as fnn
from fastnn.activations import ACTIVATIONS
from fastnn.cuda import head, held, parallel, products, shapes, steps, target
from fastnn.losses import LOSSES
from fastnn.warmup import every_optimizer

ROWS, CLASSES = 7, 3
rng = np.random.default_rng(5)
X = rng.standard_normal((ROWS, 4))
LABELS = rng.integers(0, CLASSES, ROWS)
NUMBERS = rng.random((ROWS, CLASSES))


def apart(expected: Any, found: Any) -> float:
    """Largest difference over the largest expected number."""
    expected, found = np.asarray(expected, np.float64), np.asarray(found, np.float64)
    return float(np.abs(expected - found).max() / np.abs(expected).max())


def pair(dtype: str, *layers: Any) -> tuple[fnn.Network, fnn.Network]:
    """The same network on both devices."""
    stack = [fnn.Input(4), *layers, fnn.Dense(CLASSES)]
    on_cpu, on_gpu = (fnn.Network(stack, seed=3, dtype=dtype, device=name) for name in ("cpu", "cuda"))
    return on_cpu, on_gpu


def both(nets: Sequence[fnn.Network], call: Callable[[fnn.Network], Any]) -> float:
    return apart(call(nets[0]), call(nets[1]))


def trained(dtype: str, *layers: Any, **options: Any) -> float:
    """How far apart the parameters and the histories are after two steps, one of them with a smaller batch."""
    nets = pair(dtype, *layers)
    options = {"batch_size": 4, "validation": (X, LABELS)} | options
    histories = [net.fit(X, LABELS, **options) for net in nets]
    past = [[*h.loss, *h.accuracy, *h.val_loss, *h.val_accuracy] for h in histories]
    return max(apart(*past), both(nets, lambda net: net.parameters))


def formulas(dtype: str) -> Iterator[tuple[str, float]]:
    for name in ACTIVATIONS:
        nets = pair(dtype, fnn.Dense(5, name))
        yield f"activation {name}", both(nets, lambda net: net.gradient(X, LABELS))
    for name, entry in LOSSES.items():
        y = LABELS if entry.labels else NUMBERS
        nets = pair(dtype, fnn.Dense(2, "tanh"))
        yield f"loss {name}", both(nets, lambda net, y=y, name=name: [net.loss(X, y, name), *net.gradient(X, y, name)])
    for optimizer in every_optimizer():
        yield f"optimizer {optimizer}", trained(dtype, fnn.Dense(2, "relu"), optimizer=optimizer)


def epochs_at_once(dtype: str, shuffle: bool) -> float:
    """Of five steps in one call, where an epoch has two of them, the last of fewer rows; with dropout."""

    def run(net: fnn.Network) -> list[float]:
        runner = net.engine.Runner(
            net.architecture, net.storage, (X.astype(dtype), LABELS), loss="cross_entropy", optimizer=fnn.SGD(0.1),
            batch=4, shuffle=shuffle,
        )  # fmt: skip
        runner.prepare()
        assert runner.per_epoch == 2
        first = runner.run(1, 0.1)
        return [*first.losses, *runner.run(5, 0.1).losses, *runner.run(1, 0.1).losses, *net.parameters]

    return both(pair(dtype, fnn.Dropout(0.3), fnn.Dense(2, "relu")), run)


def training(dtype: str) -> Iterator[tuple[str, float]]:
    yield from ((f"epochs at once, shuffle {shuffle}", epochs_at_once(dtype, shuffle)) for shuffle in (False, True))
    yield "prediction", both(pair(dtype, fnn.Dense(5, "tanh")), lambda net: net(X.astype(dtype)))
    mask = np.arange(4 * 5).reshape(4, 5) % 3 > 0
    adam = fnn.Adam(0.1)
    most, held.WIDEST = held.WIDEST, 4
    deep = [fnn.Dense(5, "tanh"), fnn.Dropout(0.3), fnn.Dense(6, "relu"), fnn.Dropout(0.2)]
    for widest in (CLASSES, 2):
        head.WIDEST = widest
        wide = both(pair(dtype, *deep), lambda net: net.gradient(X[:3], LABELS[:3]))
        yield f"wider than the fused path takes, {widest} units at the end in one launch", wide
    if dtype == "float32":
        nets = pair(dtype, fnn.Dense(5, "tanh"))
        error = both((nets[0], nets[1].to("cuda", precision="tf32")), lambda net: net.gradient(X[:3], LABELS[:3]))
        yield "tf32 is off by more or less than it says", float(not 1e-5 < error < 1e-3)
        yield from by_tensor_cores(dtype, deep)
        doubled, said = fnn.Network([4, 2], dtype="float64"), ""
        try:
            doubled.to("cuda", precision="tf32")
        except ValueError as reason:
            said = str(reason)
        stays = (doubled.device, doubled.precision) == ("cpu", "float")
        wanted = "precision: 'tf32' for float64 on 'cuda'; expected a float32 network on 'cuda'"
        yield "tf32 of float64 is refused", float(not (stays and said == wanted))
        has, target.tensor_cores = target.tensor_cores, lambda: False
        try:
            nets[0].to("cuda", precision="tf32")
        except fnn.DeviceError as reason:
            said = str(reason)
        target.tensor_cores = has
        old = said.startswith("precision: 'tf32' needs a GPU of compute capability 8.0")
        yield "tf32 of an old GPU is refused", float(not (old and nets[0].device == "cpu"))
    held.WIDEST = most
    yield "masks", trained(dtype, fnn.Dense(5, "relu", mask=mask), optimizer=adam)
    yield "dropout", trained(dtype, fnn.Dropout(0.3), fnn.Dense(6, "relu"), fnn.Dropout(0.5), fnn.Dense(5, "tanh"))


def by_tensor_cores(dtype: str, layers: list[Any]) -> Iterator[tuple[str, float]]:
    """Large tiles of single precision, and each of their products."""
    few, multiply, found = shapes.MANY, products.recovered, []

    def listened(x: np.float32, y: np.float32) -> np.float32:
        found.append((float(x) * float(y), float(z := multiply(x, y))))
        return z

    shapes.MANY, shapes.RECOVERED, products.recovered = 1, True, listened
    yield "large tiles by tensor cores", both(pair(dtype, *layers), lambda net: net.gradient(X[:3], LABELS[:3]))
    shapes.MANY, shapes.RECOVERED, products.recovered = few, None, multiply
    off = [abs(z / exact - 1) for exact, z in found if exact]
    yield (
        "few products by tensor cores, or they are off by more than is said",
        float(max(off) > 2.0**-22 or len(off) < 99),
    )


def sequences(dtype: str, only: str = "") -> Iterator[tuple[str, float]]:
    """Every cell, layers of several kinds, and targets of time steps."""
    x, each = X[:5].reshape(5, 2, 2), np.arange(10).reshape(5, 2) % CLASSES
    inside = [fnn.Dense(3, "tanh"), fnn.Dropout(0.3)]
    deep = [*inside, fnn.LSTM(2, return_sequences=True), fnn.Dropout(0.2), fnn.GRU(3, truncate=1)]
    whole = [
        fnn.GRU(2, return_sequences=True, truncate=1),
        fnn.Recurrent(3, return_sequences=True, truncate=1),
        fnn.Dense(2, "relu"),
    ]
    for name, layers, y in (
        ("recurrent", [fnn.Recurrent(3)], LABELS[:5]),
        ("lstm and gru", deep, LABELS[:5]),
        ("time steps", whole, each),
    ):
        if only not in ("", name):
            continue
        stack = [fnn.Input(2), *layers, fnn.Dense(CLASSES)]
        nets = [fnn.Network(stack, seed=3, dtype=dtype, device=device) for device in ("cpu", "cuda")]
        yield f"gradient, {name}", both(nets, lambda net, y=y: net.gradient(x, y))
        yield (
            f"deltas, {name}",
            both(nets, lambda net, y=y: np.concatenate([d.ravel() for d in net.step_gradients(x, y)])),
        )
        for net in nets:
            net.fit(x, y, optimizer=fnn.Adam(0.05, clip=0.1), batch_size=3, validation=(x, y))
        yield f"trained, {name}", both(nets, lambda net: net.parameters)
        yield f"outputs, {name}", both(nets, lambda net: net(x))
        yield f"loss, {name}", both(nets, lambda net, y=y: [*net.evaluate(x, y).values()])


def of_threads(dtype: str) -> Iterator[tuple[str, float]]:
    """With blocks of several threads: tiles of two shapes, rows that a block takes in turns, and sequences."""
    grouped, plain = shapes.Shape(8, 4, 8, 4, 4, 2, 2), shapes.Shape(8, 4, 4, 4, 2, 1, 3)
    shapes.TINY = shapes.Shapes(grouped, grouped, plain, grouped, plain)
    shapes.BLOCKS = 0
    held.TINY, held.BLOCKS = ((held.Cut(4, 8, 4, 1, 4), held.Cut(4, 8, 4, 4, 4)),), 1
    yield from training(dtype)
    nets = pair(dtype, fnn.Dense(5, "tanh"), fnn.Dense(6, "relu"))
    yield "gradient of rows in turns", both(nets, lambda net: net.gradient(X, LABELS))
    steps.TINY = steps.Slice(2, 3, 4, 3, 2, 1)
    yield from sequences(dtype, "lstm and gru")
    steps.TINY = steps.Slice(2, 6, 4, 3, 2, 1)
    assert steps.share(np.float32, steps.TINY, 3) == 2
    for name in ("recurrent", "time steps"):
        yield from sequences(dtype, name)


def deep_sequences(dtype: str) -> Iterator[tuple[str, float]]:
    yield from sequences(dtype, "lstm and gru")


def of_ranks(dtype: str) -> Iterator[tuple[str, float]]:
    """Ranks with a GPU each beside ranks of the CPU; the last batch has a row for one of them only."""
    seen: list[int] = []
    parallel.gpus = lambda: ["a", "b", "c"]

    def trained(comm: Any, device: str, layers: list[Any], x: Any, optimizer: fnn.Optimizer) -> Any:
        net = fnn.Network([*layers, fnn.Dense(CLASSES)], seed=3, dtype=dtype, device=device)
        pair = (x[:5], LABELS[:5])
        fit = partial(net.fit, x, LABELS, optimizer=optimizer, batch_size=3, validation=pair, comm=comm)
        fit(epochs=1, shuffle=False)
        history = fit(epochs=1)
        return net.parameters.copy(), [*history.loss, *history.accuracy, *history.val_loss, *history.val_accuracy]

    def noted(comm: Any) -> int:
        seen.append(found := gpu_of(comm))
        return found

    gpu_of, parallel.gpu_of = parallel.gpu_of, noted
    dense = [fnn.Input(4), fnn.Dropout(0.3), fnn.Dense(5, "tanh", mask=np.arange(20).reshape(4, 5) % 3 > 0)]
    for name, layers, x, optimizer, size in (
        ("dense", dense, X, fnn.Adam(0.1), 2),
        ("clipped", [fnn.Input(2), fnn.Recurrent(2)], X.reshape(ROWS, 2, 2), fnn.SGD(0.5, momentum=0.9, clip=0.1), 3),
    ):
        cpu, gpu = (
            on_ranks(size, partial(trained, device=device, layers=layers, x=x, optimizer=optimizer), in_turn=True)
            for device in ("cpu", "cuda")
        )
        yield f"ranks, {name}", max(apart(cpu[0][0], gpu[0][0]), apart(cpu[0][1], gpu[0][1]))
        if name == "dense":
            again = on_ranks(
                size, partial(trained, device="cuda", layers=layers, x=x, optimizer=optimizer), in_turn=True
            )
            yield "bits of ranks from run to run", float(not np.array_equal(gpu[0][0], again[0][0]))
            del seen[2 * size :]
        alike = all(np.array_equal(rank[0], gpu[0][0]) and rank[1] == gpu[0][1] for rank in gpu)
        yield f"bits of ranks, {name}", float(not alike)
        yield f"GPUs of ranks, {name}", float(sorted(seen) != sorted([*range(size)] * 2))
        seen.clear()

    def diverging(comm: Any) -> Any:
        net = fnn.Network([4, 5, CLASSES], dtype=dtype, device="cuda")
        try:
            net.fit(X, LABELS, optimizer=fnn.SGD(1e30), batch_size=4, comm=comm)
        except fnn.DivergenceError:
            return net.parameters.copy()

    one, other = on_ranks(2, diverging, in_turn=True)
    yield "divergence of ranks", float(not (np.isfinite(one).all() and np.array_equal(one, other)))

    def refused(comm: Any, mixed: bool) -> None:
        device = "cpu" if mixed and comm.Get_rank() == 1 else "cuda"
        fnn.Network([4, CLASSES], dtype=dtype, device=device).fit(X, LABELS, batch_size=4, comm=comm)

    for mixed, expected in (
        (False, "comm: 4 ranks on a machine with 3 GPUs; expected a GPU for each of them"),
        (True, "device: rank 1 has another than rank 0; expected the same on every rank"),
    ):
        errors = on_ranks(4, partial(refused, mixed=mixed), in_turn=True)
        yield expected, float({str(error) for error in errors} != {expected})


def in_kernels(dtype: str) -> Iterator[tuple[str, float]]:
    """fastnn.cuda.predict in a kernel of the caller's own: three threads for four rows each, and one too many."""

    @cuda.jit
    def each(net, x, out):
        i = cuda.grid(1)
        fnn.cuda.predict(net, x[i * 2 : i * 2 + 2], out[i * 2 : i * 2 + 2])

    x, F = X[:6].astype(dtype), np.dtype(dtype)
    deep = [fnn.GRU(3, return_sequences=True), fnn.Dense(2, "tanh"), fnn.LSTM(2), fnn.Dense(5, "relu")]
    for name, layers in (
        ("dense", [fnn.Input(4), fnn.Dense(5, "tanh")]),
        ("last step", [fnn.Input(2, steps=2), *deep]),
        ("time steps", [fnn.Input(2, steps=2), fnn.Recurrent(3, return_sequences=True)]),
    ):
        net = fnn.Network([*layers, fnn.Dense(CLASSES)], seed=3, dtype=dtype)
        expected = net(x).reshape(6, -1)
        out = np.zeros(expected.shape, F)
        each[1, 3](net.to("cuda").compiled(threads=2), x, out)
        yield f"predict in a kernel, {name}", apart(expected[:4], out[:4]) + float(not np.isnan(out[4:]).all())


def watching(dtype: str) -> Iterator[tuple[str, float]]:
    """Snapshots, going back, and a run that diverges."""
    data = SimpleNamespace(x_train=X, y_train=LABELS)
    nets = pair(dtype, fnn.Dense(3, "relu"))
    seen = []
    for net in nets:
        trainer = fnn.Trainer(net, data, optimizer=fnn.Adam(0.01), batch_size=4, validation=None)
        trainer.watch("activations", "gradient_norm", "gradients", "weights", "updates")
        last = list(trainer.run(1))[-1]
        seen.append([last.gradient_norm, last.loss])
        for layer in last.layers:
            seen[-1] += [layer.mean, layer.std, layer.zeros, layer.dead, layer.ratio, *layer.gradients.edges]
        if net is nets[1]:
            state, parameters = trainer.keep(), net.parameters.copy()
            after = []
            for _ in range(2):
                list(trainer.run(1))
                after.append(net.parameters.copy())
                trainer.restore(state)
            yield "bits after going back", float(not np.array_equal(*after) or np.array_equal(after[0], parameters))
    yield "snapshots", apart(*seen)
    net = pair(dtype, fnn.Dense(3, "relu"))[1]
    steps = list(fnn.Trainer(net, data, optimizer=fnn.SGD(1e30), batch_size=4, validation=None).run(3))
    finite = steps[-1].state == "diverged" and steps[-1].culprit is not None and np.isfinite(net.parameters).all()
    yield "divergence", float(not finite)


if __name__ == "__main__":
    # The simulator's own thread spins; without this it keeps Python's lock for 5 ms at a time.
    sys.setswitchinterval(1e-4)
    dtype, *rest = sys.argv[1:]
    parts = {
        "": [training, sequences, formulas, watching, in_kernels],
        "threads": [of_threads],
        "ranks": [of_ranks],
        "float64": [training, deep_sequences],
    }
    chosen = parts[rest[0] if rest else "" if dtype == "float32" else dtype]
    json.dump({name: difference for part in chosen for name, difference in part(dtype)}, sys.stdout)
