"""New Python processes that import the same fastnn as the tests do, installed or not."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

# Compiles or loads everything there is for the number type named by its argument: a network with every activation,
# once with every loss and every kind of update.
COMPILE_ALL = """
import sys
from types import SimpleNamespace
import numpy as np
import fastnn as fnn
from fastnn import compiler
from fastnn.activations import ACTIVATIONS
from fastnn.cpu import train
from fastnn.losses import LOSSES

layers = [fnn.Input(2), fnn.Dropout(0.1), *(fnn.Dense(2, name) for name in ACTIVATIONS)]
x, y = np.zeros((4, 2)), {True: np.zeros(4, int), False: np.zeros((4, 2))}
optimizers = [fnn.SGD(0.1), fnn.SGD(0.1, momentum=0.9), fnn.Adam()]
with compiler.preparing():
    for loss, optimizer in zip(LOSSES, optimizers, strict=True):
        net = fnn.Network(layers, dtype=sys.argv[1])
        net.fit(x, y[LOSSES[loss].labels], loss=loss, optimizer=optimizer, batch_size=2)
    net(x)
    fnn.Ensemble([2, 2], 2, dtype=sys.argv[1]).fit(x, y[True], batch_size=2)
    data = SimpleNamespace(x_train=x, y_train=y[True])
    assert list(fnn.Trainer(net, data, batch_size=2, validation=None).run(1))[-1].layers
    train.fill_order(np.arange(2), 0, 0)
"""


def start(code: str, *arguments: str, folder: Path | str, environment: dict[str, str], **options: Any) -> Any:
    """Start a process that runs `code` in `folder`; `options` are subprocess.Popen's."""
    spec = importlib.util.find_spec("fastnn")
    assert spec is not None and spec.origin is not None
    path = [str(Path(spec.origin).parents[1]), os.environ.get("PYTHONPATH", "")]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, path))} | environment
    return subprocess.Popen([sys.executable, "-c", code, *arguments], cwd=folder, env=environment, **options)
