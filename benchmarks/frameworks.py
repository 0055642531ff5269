"""The frameworks that benchmarks.peers compares, each as fast as it could be made to train the same network here.

Every builder takes (work, weights, x, y, optimizer) and returns a Contender, or None where the framework cannot express
that network; it raises ImportError where the framework is not installed. All start from `weights`, take the rows in
their order and in full batches, and compute in float32. What was tried for each is said beside it.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import numpy as np

import fastnn as fnn
from benchmarks.table import OPTIMIZERS, Work
from fastnn.compiler import cores
from fastnn.cpu.engine import Runner

Weights = list[tuple[np.ndarray, np.ndarray]]


def _nothing() -> None:
    pass


@dataclass
class Contender:
    """A framework that is ready to train one network.

    train(epochs) trains so many epochs, in one call where the framework can, and returns the loss of each step, or None
    where it does not tell. `settings` are functions by name that choose its threads: the fastest is used.
    """

    train: Callable[[int], np.ndarray | None]
    settings: dict[str, Callable[[], None]] = field(default_factory=lambda: {"": _nothing})


def start(work: Work, seed: int = 0) -> Weights:
    """The weights and biases that every framework begins with."""
    net = fnn.Network(list(work.sizes), activation=work.activation, seed=seed)
    return [(layer.weight.copy(), layer.bias.copy()) for layer in net.layers]


def fastnn_engine(
    work: Work, weights: Weights, x: np.ndarray, y: np.ndarray, optimizer: str, threads: int | None = None
) -> Contender:
    """One call of the engine for all epochs; `Network.fit` makes one for each 50 ms."""
    net = fnn.Network(list(work.sizes), activation=work.activation)
    for layer, (w, b) in zip(net.layers, weights, strict=True):
        layer.weight, layer.bias = w, b
    chosen = OPTIMIZERS[optimizer]
    runner = Runner(
        net.architecture, net.storage, (x, y), loss=work.loss, optimizer=chosen, batch=work.batch, shuffle=False,
        threads=threads,
    )  # fmt: skip
    kept = (net, runner)  # the engine holds addresses only
    return Contender(lambda epochs: kept[1].run(epochs * work.steps, chosen.lr).losses)


def jax_scan(work: Work, weights: Weights, x: np.ndarray, y: np.ndarray, optimizer: str) -> Contender:
    """A scan over the batches inside a scan over the epochs, in one jit with its state donated.

    One-hot labels inside the loss were faster than take_along_axis (16 us against 20 for a step of 2-16-16-2), one call
    for many epochs at least as fast as one for each, unroll=4 slower.
    """
    import jax
    import jax.numpy as jnp

    rate, last = OPTIMIZERS[optimizer].lr, work.sizes[-1]
    act = jnp.tanh if work.activation == "tanh" else jax.nn.relu
    xs = jnp.asarray(x.reshape(work.steps, work.batch, -1))
    ys = jnp.asarray(y.reshape(work.steps, work.batch, *y.shape[1:]))
    tree = jax.tree_util.tree_map

    def loss(params, xb, yb):
        for w, b in params[:-1]:
            xb = act(xb @ w + b)
        w, b = params[-1]
        z = xb @ w + b
        if work.loss == "mse":
            return jnp.mean((z - yb) ** 2)
        return -jnp.sum(jax.nn.log_softmax(z) * jax.nn.one_hot(yb, last, dtype=z.dtype)) / work.batch

    def step(state, batch):
        params, m, v, t = state
        value, grad = jax.value_and_grad(loss)(params, *batch)
        if optimizer == "sgd":
            return (tree(lambda p, g: p - rate * g, params, grad), m, v, t), value
        t = t + 1
        m = tree(lambda a, g: 0.9 * a + 0.1 * g, m, grad)
        v = tree(lambda a, g: 0.999 * a + 0.001 * g * g, v, grad)
        first, second = 1 - 0.9**t, 1 - 0.999**t
        params = tree(lambda p, a, s: p - rate * (a / first) / (jnp.sqrt(s / second) + 1e-8), params, m, v)
        return (params, m, v, t), value

    def epoch(state, _):
        return jax.lax.scan(step, state, (xs, ys))

    @lru_cache
    def epochs_in_one(count: int):
        return jax.jit(lambda state: jax.lax.scan(epoch, state, None, length=count), donate_argnums=0)

    params = [(jnp.asarray(w), jnp.asarray(b)) for w, b in weights]
    memory = lambda: tree(jnp.zeros_like, params) if optimizer == "adam" else ()  # noqa: E731
    box = [(params, memory(), memory(), jnp.zeros(()))]

    def train(epochs: int) -> np.ndarray:
        box[0], losses = epochs_in_one(epochs)(box[0])
        return np.asarray(losses).ravel()

    return Contender(train)


def torch_network(sizes: tuple[int, ...], activation: str, weights: Weights) -> Any:
    """The network as torch.nn.Sequential, with these weights."""
    import torch

    act = torch.nn.Tanh if activation == "tanh" else torch.nn.ReLU
    parts: list[Any] = []
    for w, b in weights:
        linear = torch.nn.Linear(*w.shape)
        with torch.no_grad():
            linear.weight.copy_(torch.from_numpy(w.T.copy()))
            linear.bias.copy_(torch.from_numpy(b))
        parts += [linear, act()]
    return torch.nn.Sequential(*parts[:-1])


def _torch(compiled: bool, work: Work, weights: Weights, x: np.ndarray, y: np.ndarray, optimizer: str) -> Contender:
    import torch

    net = torch_network(work.sizes, work.activation, weights)
    kind = torch.optim.SGD if optimizer == "sgd" else torch.optim.Adam
    # fused: two thirds of foreach's time with Adam, the same with SGD.
    updates = kind(net.parameters(), lr=OPTIMIZERS[optimizer].lr, fused=True)
    criterion = torch.nn.MSELoss() if work.loss == "mse" else torch.nn.CrossEntropyLoss()
    batches = list(zip(torch.from_numpy(x).split(work.batch), torch.from_numpy(y).split(work.batch), strict=True))

    def forward(xb, yb):
        return criterion(net(xb), yb)

    if compiled:
        torch._dynamo.reset()  # it compiles a function eight times at most, then runs it as it is: one too few networks
        # The update stays its own fused call: compiling it too was slower here and took minutes.
        forward = torch.compile(forward)

    def step(xb, yb):
        updates.zero_grad()
        value = forward(xb, yb)
        value.backward()
        updates.step()
        return value.detach()

    def train(epochs: int) -> np.ndarray:
        return torch.stack([step(xb, yb) for _ in range(epochs) for xb, yb in batches]).numpy()

    threads = {f"{n} thread{'s' * (n > 1)}": n for n in (cores(), 1)}
    return Contender(train, {name: lambda n=n: torch.set_num_threads(n) for name, n in threads.items()})


def torch_eager(*args: Any) -> Contender:
    return _torch(False, *args)


def torch_compile(*args: Any) -> Contender:
    return _torch(True, *args)


def scikit_learn(work: Work, weights: Weights, x: np.ndarray, y: np.ndarray, optimizer: str) -> Contender | None:
    """MLPClassifier or MLPRegressor, all epochs in one `fit`, whose checks are made once."""
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.neural_network import MLPClassifier, MLPRegressor
    from threadpoolctl import threadpool_limits

    if work.loss != "mse" and work.sizes[-1] == 2:
        return None  # one logistic output there: not the same network
    model = (MLPRegressor if work.loss == "mse" else MLPClassifier)(
        hidden_layer_sizes=work.sizes[1:-1], activation=work.activation, solver=optimizer, alpha=0,
        batch_size=work.batch, max_iter=1, tol=0, n_iter_no_change=10**9, learning_rate_init=OPTIMIZERS[optimizer].lr,
        momentum=0, nesterovs_momentum=False, shuffle=False, warm_start=True,
    )  # fmt: skip

    def train(epochs: int) -> None:
        model.max_iter = epochs
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            model.fit(x, y)

    train(1)
    for k, (w, b) in enumerate(weights):
        model.coefs_[k][...], model.intercepts_[k][...] = w, b
    threads = {f"{n} thread{'s' * (n > 1)}": n for n in (cores(), 1)}
    return Contender(train, {name: lambda n=n: threadpool_limits(n) for name, n in threads.items()})


FRAMEWORKS: dict[str, Callable[..., Contender | None]] = {
    "fastnn": fastnn_engine,
    "JAX scan": jax_scan,
    "PyTorch eager": torch_eager,
    "PyTorch compile": torch_compile,
    "scikit-learn": scikit_learn,
}
