"""An ensemble beside JAX: N networks trained at once by fastnn.Ensemble, and by vmap of the same lax.scan.

    pip install '.[peers]'
    python -m benchmarks.ensembles [--networks 2-16-16-2 ...] [--count 64] [--rounds 7] [--json FILE]

Both start from the same weights, one learning rate a network, and take the same 4,096 rows in the same order, in full
batches, float32, plain SGD. A turn is as many whole epochs as take `TURN` seconds, and the two take turns, each after a
pause in which nobody's threads spin; their loss curves must agree, or the run stops.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import sys
import time
from collections.abc import Callable

import numpy as np

import fastnn as fnn
from benchmarks.table import NETWORKS, ROWS, Work, data
from fastnn.compiler import cores

SETTLE = 0.3  # seconds between two turns: threads of the other's pool may spin for 0.2 s after their last work
TURN = 0.2  # seconds of a turn, at least
RATES = (0.001, 0.02)
Train = Callable[[int], np.ndarray]  # trains so many epochs; returns each epoch's mean loss (epochs, count)


def ensemble(work: Work, count: int) -> fnn.Ensemble:
    return fnn.Ensemble(list(work.sizes), count, activation=work.activation)


def rates(count: int) -> list[float]:
    return [float(rate) for rate in np.geomspace(*RATES, count)]


def fastnn_(work: Work, count: int, threads: int | None = None) -> Train:
    """`Ensemble.fit`'s own loop, called for some epochs at a time."""
    many, (x, y) = ensemble(work, count), data(work)
    x, y, _ = many.networks[0].check_data(("x", "y"), x, y, "cross_entropy")
    optimizers = [fnn.SGD(rate) for rate in rates(count)]

    def train(epochs: int) -> np.ndarray:
        return many.fit(
            x, y, optimizer=optimizers, epochs=epochs, batch_size=work.batch, shuffle=False, threads=threads
        ).loss

    return train


def jax_vmap(work: Work, count: int) -> Train:
    import jax
    import jax.numpy as jnp

    x, y = data(work)
    steps = ROWS // work.batch
    act = jnp.tanh if work.activation == "tanh" else jax.nn.relu
    xs = jnp.asarray(x.reshape(steps, work.batch, -1))
    ys = jnp.asarray(y.reshape(steps, work.batch))

    def loss(params, xb, yb):
        for w, b in params[:-1]:
            xb = act(xb @ w + b)
        w, b = params[-1]
        z = jax.nn.log_softmax(xb @ w + b)
        return -jnp.mean(jnp.take_along_axis(z, yb[:, None], 1))

    def epoch(params, rate):
        def step(params, batch):
            value, grad = jax.value_and_grad(loss)(params, *batch)
            return jax.tree_util.tree_map(lambda p, g: p - rate * g, params, grad), value

        params, losses = jax.lax.scan(step, params, (xs, ys))
        return params, jnp.mean(losses)

    run = jax.jit(jax.vmap(epoch), donate_argnums=0)
    networks = ensemble(work, count).networks
    layers = range(len(work.sizes) - 1)
    params = [
        tuple(jnp.stack([getattr(net.layers[k], name) for net in networks]) for name in ("weight", "bias"))
        for k in layers
    ]
    box = [params]
    each = jnp.asarray(rates(count), jnp.float32)

    def train(epochs: int) -> np.ndarray:
        losses = []
        for _ in range(epochs):
            box[0], value = run(box[0], each)
            losses.append(value)
        return np.stack([np.asarray(value) for value in losses])

    return train


def epochs_of_a_turn(train: Train) -> int:
    """How many epochs take TURN seconds."""
    began = time.perf_counter()
    train(1)
    return max(1, int(np.ceil(TURN / (time.perf_counter() - began))))


def compare(work: Work, count: int, rounds: int) -> dict[str, list[float]]:
    """Microseconds a network and step, of each round, for fastnn with one thread and with all, and for JAX."""
    trains = {"fastnn, 1 thread": fastnn_(work, count, 1), "fastnn": fastnn_(work, count)}
    try:
        trains["JAX vmap"] = jax_vmap(work, count)
    except ImportError:
        print("JAX is not installed", file=sys.stderr)
    curves = {name: train(3).astype(np.float64) for name, train in trains.items()}  # the first compiles
    for name, curve in curves.items():
        worst = np.abs(curve / curves["fastnn"] - 1).max()
        if worst > 0.02:
            raise SystemExit(f"{name}: the loss curve differs from fastnn's by {worst:.1%}: not the same training")
    turns = {name: epochs_of_a_turn(train) for name, train in trains.items()}
    times: dict[str, list[float]] = {name: [] for name in trains}
    for _ in range(rounds):
        for name, train in trains.items():
            time.sleep(SETTLE)
            began = time.perf_counter()
            train(turns[name])
            steps = turns[name] * (ROWS // work.batch) * count
            times[name].append((time.perf_counter() - began) / steps * 1e6)
    return times


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--networks", nargs="*", default=["2-16-16-2", "64-32-10"], choices=list(NETWORKS))
    options.add_argument("--count", type=int, nargs="*", default=[64])
    options.add_argument("--rounds", type=int, default=7)
    options.add_argument("--json", help="write the figures to this file too")
    chosen = options.parse_args()
    print(f"{platform.machine()}, {cores()} cores; microseconds a network and step, median and half the spread")
    results = []
    for key in chosen.networks:
        for count in chosen.count:
            times = compare(NETWORKS[key], count, chosen.rounds)
            middle = {name: statistics.median(t) for name, t in times.items()}
            cells = [
                f"{name} {middle[name]:.2f} +-{(max(t) - min(t)) / 2 / middle[name]:.0%}" for name, t in times.items()
            ]
            if "JAX vmap" in middle:
                cells.append(f"JAX / fastnn {middle['JAX vmap'] / middle['fastnn']:.2f}")
            print(f"{count} x {key}: " + "; ".join(cells), flush=True)
            results.append({"network": key, "count": count, "microseconds": times})
    if chosen.json:
        with open(chosen.json, "w") as file:
            json.dump(results, file)


if __name__ == "__main__":
    os.environ.setdefault("JAX_PLATFORMS", "cpu")
    main()
