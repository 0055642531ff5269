"""`fastnn warmup` compiles everything: what is trained, predicted or watched afterwards finds its kernels on disk."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from fastnn import cli, warmup
from fastnn.activations import ACTIVATIONS
from fastnn.losses import LOSSES
from fastnn.network import DTYPES
from fastnn.optimizers import OPTIMIZERS

# Prints the files of kernels that the code after it asks for.
ASKED = """
import json
from fastnn import compiler
asked, path = set(), compiler.DiskCache.path
def record(self, *arguments):
    asked.add(path(self, *arguments).name)
    return path(self, *arguments)
compiler.DiskCache.path = record
"""

# As people do it, and not through the code of the warm-up.
EVERYTHING = """
import numpy as np
import fastnn as fnn
from fastnn.activations import ACTIVATIONS
from fastnn.losses import LOSSES
from fastnn.warmup import Alone

rng = np.random.default_rng(0)
x, labels, numbers = rng.random((70, 5)), np.arange(70) % 3, rng.random((70, 3))
optimizers = [fnn.SGD(0.1), fnn.SGD(0.1, momentum=0.5, nesterov=True), fnn.SGD(0.1, weight_decay=0.1), fnn.Adam()]
for dtype in ("float32", "float64"):
    for activation in ACTIVATIONS:
        for loss in LOSSES:
            for optimizer in optimizers:
                y = labels if LOSSES[loss].labels else numbers
                layers = [fnn.Input(5), fnn.Dense(4, activation), fnn.Dropout(0.5), fnn.Dense(3, mask=np.eye(4, 3))]
                net = fnn.Network(layers, dtype=dtype)
                net.fit(x, y, loss=loss, optimizer=optimizer, batch_size=9, validation=(x, y))
    net(x.astype(dtype)), net(x), net(np.zeros((20000, 5), dtype)), net.evaluate(x, labels, "cross_entropy")
    net.loss(x, labels), net.gradient(x, labels), net.compiled()
    net.fit(x, labels, batch_size=9, comm=Alone())
    fnn.Ensemble([5, 4, 3], 3, dtype=dtype).fit(x, labels, batch_size=10)
    fnn.Ensemble([5, 700, 3], 2, dtype=dtype).fit(x, labels, batch_size=10, validation=(x, labels))
    try:
        fnn.Network([5, 3], dtype=dtype).fit(x * 1e30, numbers, loss="mse", optimizer=fnn.SGD(1e30), epochs=20)
        raise AssertionError("it should diverge")
    except fnn.DivergenceError:
        pass
    for layer in (fnn.Recurrent(4), fnn.GRU(4, return_sequences=True), fnn.LSTM(4, truncate=2)):
        net = fnn.Network([fnn.Input(5), layer, fnn.Dense(3)], dtype=dtype)
        y = np.zeros((70, 2), int) if layer.return_sequences else labels
        net.fit(np.zeros((70, 2, 5)), y, batch_size=9, validation=(np.zeros((70, 2, 5)), y))
        net(np.zeros((3, 8, 5)))
    data = fnn.datasets.load("digits")
    net = fnn.Network([64, 8, 10], dtype=dtype)
    trainer = fnn.Trainer(net, data, batch_size=500)
    assert list(trainer.run(1))[-1].layers
"""


def test_nothing_is_left_to_compile(python: Callable[..., tuple[str, str]]) -> None:
    """By the names of the kernels' files, so that it fails for one that an earlier run happened to leave there."""
    warm, _ = python(ASKED + "from fastnn.warmup import warm_up\nwarm_up()\nprint(json.dumps(sorted(asked)))")
    out, _ = python(ASKED + EVERYTHING + "print(json.dumps([compiler.counts.misses, sorted(asked)]))")
    compiled, asked = json.loads(out)
    assert len(asked) > 30
    assert set(asked) <= set(json.loads(warm))
    assert compiled == []


def test_second_run_compiles_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["warmup"]) == 0
    capsys.readouterr()
    assert cli.main(["warmup", "--dtype", "float32"]) == 0
    out, err = capsys.readouterr()
    assert out.startswith("nothing to compile (0 compiled): all ") and out.count("\n") == 1
    lines = err.splitlines()
    assert len(lines) == len(list(warmup.parts("float32")))
    assert lines[0] == f"1/{len(lines)} float32: training" and not any("float64" in line for line in lines)


def test_first_run_says_what_it_did(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(warmup, "warm_up", lambda dtypes, show: warmup.Warmth(43, 2, 61.2))
    assert cli.main(["warmup"]) == 0
    out = capsys.readouterr().out
    assert out.startswith("compiled 43 kernels in 61 s (2 were there before); they are kept in ")
    assert Path(out.rpartition(" in ")[2].strip()).is_dir()


def test_bad_arguments(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["warmup", "--dtype", "float16"]) == 2
    assert "dtype: unknown name 'float16'" in capsys.readouterr().err
    with pytest.raises(SystemExit) as ended:
        cli.main(["warmup", "--layers", "3"])
    assert ended.value.code == 2 and "unknown argument '--layers'" in capsys.readouterr().err


def test_every_entry_of_the_registries_has_its_part() -> None:
    for dtype in DTYPES:
        names = [name for name, _ in warmup.parts(dtype)]
        assert len(set(names)) == len(names)
        for registry in (ACTIVATIONS, LOSSES, OPTIMIZERS):
            assert all(any(f" {entry}" in f" {name}" for name in names) for entry in registry)
    assert {(o.name, o.slots) for o in warmup.every_optimizer()} >= {("sgd", 0), ("sgd", 1), ("adam", 2)}
