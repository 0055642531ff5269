"""Everything that can be compiled, compiled once: what `fastnn warmup` does, so that nobody waits for it later."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from types import SimpleNamespace
from typing import Any, NamedTuple

import numpy as np

from fastnn import compiler
from fastnn.activations import ACTIVATIONS
from fastnn.cpu import train
from fastnn.ensemble import Ensemble
from fastnn.layers import GRU, LSTM, Dense, Dropout, Input, Layer, Recurrent
from fastnn.losses import LOSSES
from fastnn.network import DTYPES, Network
from fastnn.optimizers import OPTIMIZERS, SGD, Optimizer
from fastnn.training import Trainer


class Alone:
    """A communicator of one rank."""

    def Get_rank(self) -> int:
        return 0

    def Get_size(self) -> int:
        return 1

    def Allgather(self, values: np.ndarray, found: np.ndarray) -> None:
        found.reshape(values.shape)[...] = values

    Alltoall = Allgather


Part = tuple[str, Callable[[], Any]]


class Warmth(NamedTuple):
    """How many kernels were compiled and how many were on disk before, and how long both took."""

    compiled: int
    loaded: int
    seconds: float


def every_optimizer() -> list[Optimizer]:
    """One of each kind, and of those with momentum one that has it: it remembers more, which is another kernel."""
    plain = [kind(lr=0.1) for kind in OPTIMIZERS.values()]
    fields = [{field.name for field in dataclasses.fields(optimizer)} for optimizer in plain]
    pairs = zip(plain, fields, strict=True)
    return plain + [dataclasses.replace(one, momentum=0.9) for one, names in pairs if "momentum" in names]  # type: ignore[call-arg]


def parts(dtype: str) -> Iterator[Part]:
    """What there is to compile for a number type: a name for people, and a call that needs it."""
    x: np.ndarray = np.zeros((4, 2), DTYPES[dtype])
    labels = np.array([0, 1, 0, 1])
    y = {True: labels, False: x}

    def fit(*hidden: Layer, loss: str = "mse", optimizer: Optimizer | None = None) -> Network:
        network = Network([Input(2), *hidden, Dense(2)], dtype=dtype)
        network.fit(x, y[LOSSES[loss].labels], loss=loss, optimizer=optimizer or SGD(0.1), batch_size=2)
        return network

    def unroll(*hidden: Layer) -> None:
        network = Network([Input(1, steps=2), *hidden, Dense(2)], dtype=dtype)
        network.fit(x, labels, batch_size=2)
        network(x)
        network.evaluate(x, labels)

    def predict() -> None:
        network = fit()
        network(x)
        network(x.tolist())  # through the kernel for many rows, and for what is not an array of the type
        network.evaluate(x, x)
        network.gradient(x, x, "mse")
        network.compiled()

    def watch() -> None:
        data = SimpleNamespace(x_train=x, y_train=labels)
        for _ in Trainer(fit(Dense(2, "tanh")), data, batch_size=2, validation=(x, labels)).run(1):
            pass
        train.fill_order(np.arange(2), 0, 0)  # after a chunk that diverged

    def together(loss: str) -> None:
        Ensemble([2, 2], 2, dtype=dtype).fit(x, y[LOSSES[loss].labels], loss=loss, batch_size=2)

    yield "training", fit
    yield from ((f"activation {name}", partial(fit, Dense(2, name))) for name in ACTIVATIONS)
    yield "dropout", partial(fit, Dropout(0.1))
    yield "mask", partial(fit, Dense(2, mask=np.eye(2)))
    yield from ((f"loss {name}", partial(fit, loss=name)) for name in LOSSES)
    for optimizer in every_optimizer():
        name = f"optimizer {optimizer.name}{' with momentum' if getattr(optimizer, 'momentum', 0) else ''}"
        yield name, partial(fit, optimizer=optimizer)
    yield "recurrent layers", partial(unroll, Recurrent(2))
    yield "cell gru", partial(unroll, GRU(2))
    yield "cell lstm", partial(unroll, LSTM(2))
    yield "prediction", predict
    yield "watching", watch
    yield "ranks", lambda: Network([2, 2], dtype=dtype).fit(x, labels, batch_size=2, comm=Alone())
    yield from ((f"ensembles, loss {name}", partial(together, name)) for name in LOSSES)


def warm_up(dtypes: Iterable[str] = tuple(DTYPES), show: Callable[[int, int, str], None] | None = None) -> Warmth:
    """Compile for `dtypes` what is not on disk yet; show(number, of how many, name) is called before each part."""
    work = [(f"{dtype}: {name}", call) for dtype in dtypes for name, call in parts(dtype)]
    began = time.perf_counter()
    misses, hits = len(compiler.counts.misses), len(compiler.counts.hits)
    silence = compiler.on_compile(lambda message: None)
    try:
        for number, (name, call) in enumerate(work):
            if show is not None:
                show(number, len(work), name)
            call()
    finally:
        silence()
    return Warmth(len(compiler.counts.misses) - misses, len(compiler.counts.hits) - hits, time.perf_counter() - began)
