"""Same seed, same bits: for any number of threads, in any process, and however a run is cut into chunks."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

import fastnn as fnn
from fastnn import training
from fastnn.cpu import plan

# Each: what makes the network, the batch size of 203 samples (a last, smaller batch in all but one), the rest of fit.
CASES: dict[str, tuple[dict[str, Any], int, dict[str, Any]]] = {
    "one layer, sgd": ({"layers": [4, 3]}, 7, {"optimizer": fnn.SGD(0.1)}),
    "relu, momentum": ({"layers": [7, 19, 5]}, 10, {"optimizer": fnn.SGD(0.1, momentum=0.9)}),
    "tanh, adam": ({"layers": [20, 50, 33, 10], "activation": "tanh"}, 50, {"optimizer": fnn.Adam()}),
    "dropout, nesterov": (
        {
            "layers": [
                fnn.Input(9),
                fnn.Dropout(0.2),
                fnn.Dense(40, "sigmoid"),
                fnn.Dropout(0.5),
                fnn.Dense(17, "tanh"),
                fnn.Dense(4),
            ]
        },
        37,
        {"optimizer": fnn.SGD(0.1, momentum=0.9, nesterov=True)},
    ),
    "wide, weight decay": (
        {"layers": [64, 270, 100, 10], "activation": "leaky_relu"},
        96,
        {"optimizer": fnn.SGD(0.1, weight_decay=0.01)},
    ),
    "clipped": ({"layers": [20, 90, 70, 10]}, 37, {"optimizer": fnn.Adam(0.01, clip=0.05)}),
    "clipped, no memory": ({"layers": [6, 9, 3]}, 20, {"optimizer": fnn.SGD(0.2, weight_decay=0.1, clip=0.1)}),
    "regression, whole batch": ({"layers": [5, 31, 2]}, 203, {"optimizer": fnn.Adam(), "loss": "mse"}),
    "two classes, no shuffle": (
        {"layers": [3, 64, 1], "activation": "tanh"},
        64,
        {"optimizer": fnn.SGD(0.5), "loss": "binary_cross_entropy", "shuffle": False},
    ),
}
DTYPES = ("float32", "float64")
EPOCHS = 3


def make(case: str, dtype: str = "float32", seed: int = 5) -> tuple[fnn.Network, tuple[Any, Any], dict[str, Any]]:
    """A new network, its data, and the arguments of fit."""
    how, batch_size, options = CASES[case]
    net = fnn.Network(**how, seed=seed, dtype=dtype)
    draw = np.random.default_rng(1)
    x, outputs = draw.standard_normal((203, net.sizes[0])), net.sizes[-1]
    y: Any = draw.integers(0, max(2, outputs), 203)
    if options.get("loss") == "mse":
        y = draw.standard_normal((203, outputs))
    return net, (x, y), {"batch_size": batch_size, **options}


def bits(net: fnn.Network) -> str:
    return hashlib.sha256(net.parameters.tobytes()).hexdigest()


def fitted(case: str, dtype: str = "float32", **more: Any) -> tuple[fnn.Network, fnn.History]:
    net, data, options = make(case, dtype)
    return net, net.fit(*data, epochs=EPOCHS, **(options | more))


def trainer(case: str, **more: Any) -> fnn.Trainer:
    net, (x, y), options = make(case)
    data = SimpleNamespace(x_train=x, y_train=y, x_test=x[:50], y_test=y[:50])
    return fnn.Trainer(net, data, **(options | more))


@pytest.fixture(params=CASES)
def case(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


# ---- threads and processes -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", DTYPES)
def test_same_bits_for_any_number_of_threads(case: str, dtype: str) -> None:
    _, data, _ = make(case)
    one, history = fitted(case, dtype, threads=1, validation=data)
    assert bits(one) != bits(make(case, dtype)[0]), "nothing was trained"
    for threads in (2, 3, None):
        net, again = fitted(case, dtype, threads=threads, validation=data)
        assert bits(net) == bits(one), threads
        assert again == history, threads  # losses and accuracies too


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("optimizer", [fnn.SGD(0.1), fnn.SGD(0.1, momentum=0.9), fnn.Adam()], ids=["sgd", "m", "adam"])
def test_same_bits_where_spans_leave_gradients(dtype: str, optimizer: Any) -> None:
    """A long batch and a small network; the last batch has fewer spans."""
    stack = [
        fnn.Input(3),
        fnn.Dropout(0.1),
        fnn.Dense(50, "tanh"),
        fnn.Dropout(0.3),
        fnn.Dense(7, "relu"),
        fnn.Dense(2),
    ]
    assert plan.spans((3, 50, 7, 2), 1_100)[1] == 8
    draw = np.random.default_rng(1)
    x, y = draw.standard_normal((1_500, 3)), draw.integers(0, 2, 1_500)
    results = set()
    for threads in (1, 2, 3, 5):
        net = fnn.Network(stack, seed=1, dtype=dtype)
        history = net.fit(x, y, epochs=EPOCHS, batch_size=1_100, optimizer=optimizer, threads=threads)
        results.add((bits(net), *history.loss))
    assert len(results) == 1


def test_same_bits_in_another_process(python: Callable[..., tuple[str, str]]) -> None:
    """All cases at once, since a process takes a second to start."""
    here = {f"{case} {dtype}": bits(fitted(case, dtype, threads=1)[0]) for case in CASES for dtype in DTYPES}
    code = f"""
        import json, runpy
        there = runpy.run_path({__file__!r})
        cases = [(case, dtype) for case in there["CASES"] for dtype in there["DTYPES"]]
        print(json.dumps({{" ".join(of): there["bits"](there["fitted"](*of, threads=2)[0]) for of in cases}}))
    """
    out, _ = python("\n".join(line.strip() for line in code.splitlines()), PYTHONHASHSEED="1")
    assert json.loads(out) == here


def test_another_seed_gives_other_bits(case: str) -> None:
    one, data, options = make(case, seed=5)
    two, _, _ = make(case, seed=6)
    two.parameters = one.parameters
    for net in (one, two):
        net.fit(*data, **options)
    # The same weights to begin with: what is left to differ is the order of the samples, and dropout.
    whole = options["batch_size"] == 203 or not options.get("shuffle", True)
    if whole:
        np.testing.assert_allclose(one.parameters, two.parameters, rtol=1e-2, atol=1e-4)  # sums in another order
    else:
        assert bits(one) != bits(two)


# ---- chunks ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seconds", [1e-12, 1e9], ids=["a step each", "as large as can be"])
def test_same_bits_for_any_size_of_chunk(case: str, seconds: float, monkeypatch: pytest.MonkeyPatch) -> None:
    whole, history = fitted(case)
    monkeypatch.setattr(training, "CHUNK_SECONDS", seconds)
    cut = trainer(case, validation=None)
    snapshots = sum(1 for _ in cut.run(EPOCHS))
    assert bits(cut.network) == bits(whole)
    assert cut.history == history
    if seconds < 1:
        assert snapshots == cut.current_step


def commanded(trainer: fnn.Trainer, seed: int) -> Iterator[fnn.Snapshot]:
    """A run with a random command at every pause, and a pause after every few snapshots."""
    draw = np.random.default_rng(seed)
    for number, snapshot in enumerate(trainer.run(EPOCHS, paused=True)):
        yield snapshot
        if snapshot.state == "paused":
            command = draw.choice([trainer.step, trainer.step, trainer.finish_epoch, trainer.resume])
            command()
        elif snapshot.state == "running" and number % 3 == 0:
            trainer.pause()


@pytest.mark.parametrize("threads", [1, 2])
def test_same_bits_however_a_run_is_commanded(case: str, threads: int, monkeypatch: pytest.MonkeyPatch) -> None:
    whole, history = fitted(case)
    monkeypatch.setattr(training, "MOST_STEPS", 3)
    for seed in range(3):
        cut = trainer(case, threads=threads)
        last = list(commanded(cut, seed))[-1]
        assert last.state == "finished" and last.step == EPOCHS * cut.steps_per_epoch
        assert bits(cut.network) == bits(whole), seed
        assert cut.history.loss == history.loss


def test_same_bits_after_a_stop_in_the_middle(case: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The trainer keeps the optimizer's memory and its place in the epoch; it was left by `stop` or by `break`."""
    whole, _ = fitted(case)
    monkeypatch.setattr(training, "MOST_STEPS", 1)
    cut = trainer(case)
    for _ in cut.run(EPOCHS):
        cut.stop()
    at = cut.current_step
    assert cut.state == "stopped" and at == 1
    for snapshot in cut.run(EPOCHS):
        if snapshot.step == at + 1:
            break
    left = EPOCHS - cut.epoch
    for _ in cut.run(left):
        pass
    assert cut.current_step == EPOCHS * cut.steps_per_epoch
    assert bits(cut.network) == bits(whole)


@pytest.mark.parametrize("case", ["one layer, sgd", "wide, weight decay"])
def test_fit_goes_on_where_the_network_is(case: str, tmp_path: Path) -> None:
    """Without momentum there is nothing to remember but the epoch: 1 + 2 epochs are 3, through a file too."""
    whole, _ = fitted(case)
    net, data, options = make(case)
    net.fit(*data, epochs=1, **options)
    net.save(tmp_path / "net")
    again = fnn.load(tmp_path / "net")
    for one in (net, again):
        one.fit(*data, epochs=2, **options)
        assert bits(one) == bits(whole)


# ---- looking changes nothing -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("observe", [False, True])
def test_looking_changes_nothing(case: str, observe: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    plain, history = fitted(case)
    monkeypatch.setattr(training, "MOST_STEPS", 2)
    watched = trainer(case, observe=observe)
    net, loss = watched.network, CASES[case][2].get("loss", "cross_entropy")
    _, (x, y), _ = make(case)
    for snapshot in watched.run(EPOCHS):
        assert bool(snapshot.layers) == observe
        net(x)
        net.evaluate(x, y, loss)
        net.gradient(x, y, loss)
    assert bits(net) == bits(plain)
    assert watched.history.loss == history.loss


def test_validation_changes_nothing(case: str) -> None:
    _, data, _ = make(case)
    plain, history = fitted(case)
    checked, with_validation = fitted(case, validation=data)
    assert bits(checked) == bits(plain)
    assert with_validation.loss == history.loss
    assert len(with_validation.val_loss) == EPOCHS and history.val_loss == []
    loss = CASES[case][2].get("loss", "cross_entropy")
    assert with_validation.val_loss[-1] == pytest.approx(checked.evaluate(*data, loss)["loss"], rel=1e-12)
