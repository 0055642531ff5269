"""A small training that several modules of tests begin with."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np

import fastnn as fnn

N, BATCH = 75, 16  # 5 steps an epoch, the last of 11 samples
PER_EPOCH = 5


def data(features: int = 6, outputs: int = 3, n: int = N, regression: bool = False) -> SimpleNamespace:
    draw = np.random.default_rng(2)
    x = draw.standard_normal((n + 20, features))
    y: Any = draw.standard_normal((n + 20, outputs)) if regression else np.argmax(x[:, :outputs], axis=1)
    return SimpleNamespace(x_train=x[:n], y_train=y[:n], x_test=x[n:], y_test=y[n:])


def trainer(net: fnn.Network | None = None, on: Any = None, **options: Any) -> fnn.Trainer:
    net = fnn.Network([6, 8, 3], seed=1) if net is None else net
    return fnn.Trainer(net, data() if on is None else on, **{"batch_size": BATCH, "optimizer": fnn.SGD(0.1)} | options)


def bits(net: fnn.Network) -> bytes:
    return net.parameters.tobytes()
