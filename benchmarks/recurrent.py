"""The frameworks that benchmarks.peers compares on recurrent networks: a simple RNN, its last step, and a linear layer.

All are given the same weights, data and batches, and train with SGD in float32.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np

import fastnn as fnn
from benchmarks.frameworks import Contender
from benchmarks.table import OPTIMIZERS
from fastnn.compiler import cores
from fastnn.cpu import plan
from fastnn.cpu.engine import Runner

RATE = OPTIMIZERS["sgd"].lr


class Sequences(NamedTuple):
    """A recurrent network, and random sequences for it."""

    time: int
    features: int
    units: int
    batch: int
    outputs: int = 10
    rows: int = 1024

    @property
    def steps(self) -> int:
        """Steps in an epoch."""
        return self.rows // self.batch

    def data(self) -> tuple[np.ndarray, np.ndarray]:
        rng = np.random.default_rng(0)
        x = rng.standard_normal((self.rows, self.time, self.features)).astype(np.float32)
        return x, rng.integers(0, self.outputs, self.rows)

    def network(self) -> fnn.Network:
        return fnn.Network([fnn.Input(self.features), fnn.Recurrent(self.units), fnn.Dense(self.outputs)], seed=0)

    def flops(self) -> int:
        """Floating-point operations of the products of a training step."""
        architecture = self.network().architecture
        return plan.flops(architecture.sizes, self.batch, architecture.loops, self.time)


# MNIST read row by row, and the digits.
SEQUENCES = {"28x28-128-10": Sequences(28, 28, 128, 64), "8x8-32-10": Sequences(8, 8, 32, 16)}


def fastnn_engine(work: Sequences, x: np.ndarray, y: np.ndarray) -> Contender:
    net = work.network()
    runner = Runner(
        net.architecture, net.storage, (x, y), loss="cross_entropy", optimizer=OPTIMIZERS["sgd"], batch=work.batch,
        shuffle=False,
    )  # fmt: skip
    kept = (net, runner)  # the engine holds addresses only
    return Contender(lambda epochs: kept[1].run(epochs * work.steps, RATE).losses)


def jax_scan(work: Sequences, x: np.ndarray, y: np.ndarray) -> Contender:
    """A scan over time inside a scan over the batches inside one over the epochs, in one jit with its state donated.

    The products with the inputs of all time steps are one, before the scan over time, and time comes first in the data.
    """
    import jax
    import jax.numpy as jnp

    first, last = work.network().layers
    params = [jnp.asarray(part.copy()) for view in (first, last) for part in view.parts.values()]
    xs = jnp.asarray(x.reshape(work.steps, work.batch, work.time, -1).transpose(0, 2, 1, 3).copy())
    ys = jnp.asarray(y.reshape(work.steps, work.batch))

    def loss(params, xb, yb):
        w, u, b, v, c = params

        def cell(h, z):
            return jnp.tanh(z + h @ u), None

        h, _ = jax.lax.scan(cell, jnp.zeros((work.batch, work.units), xb.dtype), xb @ w + b)
        z = h @ v + c
        return -jnp.sum(jax.nn.log_softmax(z) * jax.nn.one_hot(yb, work.outputs, dtype=z.dtype)) / work.batch

    def step(params, batch):
        value, grad = jax.value_and_grad(loss)(params, *batch)
        return [p - RATE * g for p, g in zip(params, grad, strict=True)], value

    @lru_cache
    def epochs_in_one(count: int):
        def epoch(params, _):
            return jax.lax.scan(step, params, (xs, ys))

        return jax.jit(lambda params: jax.lax.scan(epoch, params, None, length=count), donate_argnums=0)

    box = [params]

    def train(epochs: int) -> np.ndarray:
        box[0], losses = epochs_in_one(epochs)(box[0])
        return np.asarray(losses).ravel()

    return Contender(train)


def torch_eager(work: Sequences, x: np.ndarray, y: np.ndarray) -> Contender:
    """torch.nn.RNN with time first, which was the faster order."""
    import torch

    first, last = work.network().layers
    rnn, linear = torch.nn.RNN(work.features, work.units), torch.nn.Linear(work.units, work.outputs)
    with torch.no_grad():
        for target, source in (
            (rnn.weight_ih_l0, first.weight.T),
            (rnn.weight_hh_l0, first.recurrent_weight.T),
            (rnn.bias_ih_l0, first.bias),
            (linear.weight, last.weight.T),
            (linear.bias, last.bias),
        ):
            target.copy_(torch.from_numpy(source.copy()))
        rnn.bias_hh_l0.zero_()
    rnn.bias_hh_l0.requires_grad_(False)  # one bias, as the others have
    parameters = [p for p in (*rnn.parameters(), *linear.parameters()) if p.requires_grad]
    updates = torch.optim.SGD(parameters, lr=RATE, fused=True)
    criterion = torch.nn.CrossEntropyLoss()
    xs = [b.transpose(0, 1).contiguous() for b in torch.from_numpy(x).split(work.batch)]
    batches = list(zip(xs, torch.from_numpy(y).split(work.batch), strict=True))

    def step(xb, yb):
        updates.zero_grad()
        value = criterion(linear(rnn(xb)[0][-1]), yb)
        value.backward()
        updates.step()
        return value.detach()

    def train(epochs: int) -> np.ndarray:
        return torch.stack([step(xb, yb) for _ in range(epochs) for xb, yb in batches]).numpy()

    threads = {f"{n} thread{'s' * (n > 1)}": n for n in (cores(), 1)}
    return Contender(train, {name: lambda n=n: torch.set_num_threads(n) for name, n in threads.items()})


FRAMEWORKS: dict[str, Callable[[Sequences, Any, Any], Contender]] = {
    "fastnn": fastnn_engine,
    "JAX scan": jax_scan,
    "PyTorch eager": torch_eager,
}
