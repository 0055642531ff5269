"""The kernels that the CUDA engine launches for some networks, and with what types of arguments, where there is no GPU.

Arrays are the host's and launches are noted; the host's side is the engine's, and so is the choice of kernels.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any, NamedTuple

import numpy as np
import pytest
from numba import cuda, typeof, types
from numba.cuda import dispatcher

import fastnn as fnn
from fastnn.cuda import dependent, engine, graphs, memory, shapes, statistics, threadwise
from fastnn.losses import LOSSES


class Kernel(NamedTuple):
    dispatcher: Any
    signature: Any
    recorded: bool = False  # in a graph


class There:
    """An array on the device."""

    def __init__(self, array: np.ndarray) -> None:
        self.array, self.size, self.shape, self.dtype = array, array.size, array.shape, array.dtype

    def __len__(self) -> int:
        return len(self.array)

    def __getitem__(self, place: Any) -> There:
        return There(self.array[place])

    def copy_to_device(self, values: Any) -> None:
        self.array[...] = getattr(values, "array", values)

    def copy_to_host(self, into: np.ndarray | None = None) -> np.ndarray:
        if into is not None:
            into[...] = self.array
        return self.array if into is None else into


class Builder:
    """What records a graph, and what it becomes."""

    def begin_building(self) -> None: ...

    def end_building(self) -> None: ...

    def complete(self) -> Builder:
        return self


def kind(argument: Any) -> Any:
    """Numba's type of an argument."""
    if isinstance(argument, There):
        return types.Array(typeof(argument.dtype.type(0)), argument.array.ndim, "C")
    if isinstance(argument, tuple):
        return types.NamedTuple(tuple(map(kind, argument)), type(argument))
    return typeof(argument)


@contextmanager
def noted() -> Iterator[dict[str, Kernel]]:
    """Within: kernels that are launched, or recorded in graphs, are noted by their names, and nothing is done.

    Raises AssertionError where one is launched with arguments of other types than before.
    """
    found: dict[str, Kernel] = {}

    def launched(kernel: Any, configuration: Any) -> Any:
        def note(*arguments: Any) -> None:
            signature = types.void(*map(kind, arguments))
            first = found.setdefault(name(kernel), Kernel(kernel, signature))
            assert first.signature == signature, f"{name(kernel)} is compiled twice: for {first}, and for {signature}"
            if isinstance(configuration[-1], Builder):
                found[name(kernel)] = first._replace(recorded=True)

        return note

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cuda, "to_device", lambda array: There(array.copy()))
        patch.setattr(cuda, "device_array", lambda shape, F: There(np.zeros(shape, F)))
        patch.setattr(engine, "MOST_STEPS", 4)
        patch.setattr(cuda, "synchronize", lambda: None)
        gpu = SimpleNamespace(set_current=lambda: None, create_stream=lambda: None, create_graph_builder=Builder)
        patch.setitem(sys.modules, "cuda.core", SimpleNamespace(Device=lambda: gpu))
        patch.setattr(dependent, "OVERLAPPED", False)
        patch.setattr(memory, "room", lambda: 2**40)
        patch.setattr(dispatcher.CUDADispatcher, "__getitem__", launched)
        patch.setattr(shapes, "RECOVERED", False)
        yield found


def name(kernel: Any) -> str:
    """A kernel's function and what it was made from, in words."""
    made_from = getattr(kernel._cache, "_made_from", "()")
    for size, shape in shapes.OF_SINGLE._asdict().items():
        made_from = made_from.replace(repr(shape), f"'{size}'")
    for size, shape in shapes.OF_TENSOR._asdict().items():
        made_from = made_from.replace(repr(shape), f"'tf32-{size}'")
        made_from = made_from.replace(repr(shape._replace(tensor=3)), f"'thrice-{size}'")
    made_from = re.sub(r"(Shape|Cut|Slice)\(\w+=(\d+), \w+=(\d+)[^)]*\)", r"\2x\3", made_from)
    words = re.sub(r"^\(\d+|<class '[^']*'>|[(),']", " ", made_from).split()
    return " ".join([kernel.py_func.__name__, *words])


def training(F: type, layers: list[Any], batch: int, steps: int = 1, *, tf32: bool = False, **options: Any) -> Any:
    """The runner of a training."""
    given = {"loss": "cross_entropy", "optimizer": fnn.Adam()} | options
    net = fnn.Network(layers, dtype=np.dtype(F).name)
    first, *_, outputs = net.architecture.sizes
    x = np.zeros((batch, first) if steps == 1 else (batch, steps, first), F)
    data = x, np.zeros(batch, np.int64) if LOSSES[given["loss"]].labels else np.zeros((batch, outputs), F)
    architecture = net.architecture._replace(tf32=tf32)
    return engine.Runner(architecture, net.storage, data, batch=batch, validation=data, **given)


def step(*arguments: Any, **options: Any) -> Any:
    """The launches of a training's start, of a graph, and of a validation; its runner."""
    runner = training(*arguments, **options)
    runner.prepare()
    runner._graphs._record(graphs.EPOCHS, 1)
    runner._scored.score()
    return runner


@cuda.jit(launch_bounds=(256, 2))
def caller(net, x, out):
    fnn.cuda.predict(net, x, out)


def launches(F: type) -> dict[str, Kernel]:
    """Kernels by name: of each way that a step goes, of each loss and update, and of all else that is launched."""
    narrow, wide, widest = [64, 64, 64, 64, 10], [64, 512, 512, 10], [64, 256, 256, 10]
    broad, recurrent = [64, 128, 128, 100], [fnn.Input(28), fnn.LSTM(40), fnn.Dense(10)]
    with noted() as found:
        for layers in (narrow, broad):
            for batch in (64, 4096, 16384):
                step(F, layers, batch)
        for optimizer in (fnn.SGD(0.1), fnn.SGD(0.1, momentum=0.9), fnn.Adam()):
            for layers, batch in ((wide, 512), (widest, 4096), (narrow, 4096)):
                step(F, layers, batch, optimizer=optimizer)
        for loss in LOSSES:
            step(F, narrow, 64, loss=loss)
            for batch in (64, 2048):
                step(F, wide, batch, loss=loss)
        step(F, wide, 1024)  # with 64, 512 and 2048: the head's kernel for one, two, four and eight rows a block
        for batch in (64, 256):
            step(F, recurrent, batch, 28)
        dropped = [fnn.Input(64), fnn.Dropout(0.2), fnn.Dense(200), fnn.Dense(100)]
        step(F, dropped, 64, optimizer=fnn.SGD(0.1, clip=1.0))
        runner = step(F, dropped, 64, optimizer=fnn.Adam(clip=1.0))
        runner.update(0.1)
        block = statistics.Block(runner._parameters, 0, 9, 9, 9)
        statistics.Described(F)([block], [(0.0, 1.0)], 8, columns=True)
        net = fnn.Network([4, 5, 3], dtype=np.dtype(F).name)
        rows = There(np.zeros((1, 1), F))
        caller[1, 256](threadwise.compiled(net.architecture, net.storage, 1, 1), rows, rows)
        if F is np.float32:
            for layers, batch in ((wide, 128), (wide, 512), (widest, 4096)):
                step(F, layers, batch, tf32=True)
            shapes.RECOVERED = True
            step(F, wide, 512)
            step(F, widest, 4096)
            for optimizer in (fnn.SGD(0.1), fnn.SGD(0.1, momentum=0.9), fnn.Adam()):
                for layers in (wide, [64, 200, 10]):
                    step(F, layers, 128, optimizer=optimizer)
    return found
