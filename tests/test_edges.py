"""What callers do at the edges: integers of any type, commands that come early, early ends, sizes that cannot be."""

from __future__ import annotations

import json
import threading
from types import SimpleNamespace
from typing import Any

import numba
import numpy as np
import pytest

import fastnn as fnn
from fastnn import checkpoint
from fastnn.cpu.primitives import new_barrier, wait_for_all
from fastnn.cpu.team import Team
from fastnn.datasets.dataset import generator
from fastnn.initializers import INITIALIZERS

draw = np.random.default_rng(11)
X, Y = draw.standard_normal((300, 4)).astype(np.float32), draw.integers(0, 3, 300)
DATA = SimpleNamespace(x_train=X, y_train=Y, x_test=X[:50], y_test=Y[:50])


def net(**options: Any) -> fnn.Network:
    return fnn.Network([4, 16, 3], **({"seed": 2} | options))


# ---- integers of NumPy's types ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [np.int8, np.uint8, np.int16, np.uint32, np.int64])
def test_numpy_integers_are_integers(kind: type) -> None:
    # Sizes that are computed from them do not fit in their own type: 100 rows of 16 units wrap an int8.
    plain, other = net(), net()
    one = plain.fit(X, Y, batch_size=100, epochs=20, threads=2)
    two = other.fit(X, Y, batch_size=kind(100), epochs=kind(20), threads=kind(2))
    assert one.loss == two.loss and len(two.loss) == 20
    assert other.parameters.tobytes() == plain.parameters.tobytes()
    layers = [fnn.Input(kind(100)), fnn.Dense(kind(100), "tanh"), fnn.Dense(kind(3))]
    assert fnn.Network(layers).parameters.size == 100 * 100 + 100 + 100 * 3 + 3


def test_numpy_integers_compile_nothing_new() -> None:
    from fastnn import compiler

    net().fit(X, Y, batch_size=32)
    before = len(compiler.counts.misses)
    net().fit(X, Y, batch_size=np.int16(32), epochs=np.uint8(1), threads=np.int8(1))
    assert len(compiler.counts.misses) == before


# ---- prediction in compiled code -------------------------------------------------------------------------------------


@numba.njit
def compiled_predict(state, x, out):
    fnn.jit.predict(state, x, out)


@pytest.mark.parametrize(
    ("x", "out"),
    [
        (X.astype(np.float64), np.zeros((300, 3), np.float32)),
        (np.asfortranarray(X), np.zeros((300, 3), np.float32)),
        (X[:, ::2], np.zeros((300, 3), np.float32)),
        (X[0], np.zeros((1, 3), np.float32)),
        (X, np.zeros((300, 3))),
        (X, np.zeros((3, 300), np.float32).T),
    ],
    ids=["float64", "columns", "strided", "one dimension", "out float64", "out transposed"],
)
def test_predict_does_not_compile_for_another_type(x: np.ndarray, out: np.ndarray) -> None:
    with pytest.raises(numba.TypingError, match=r"expected a C-contiguous array"):
        compiled_predict(net().compiled(), x, out)


@pytest.mark.parametrize(
    ("x", "out", "message"),
    [
        (X[:, :1].copy(), np.zeros((300, 3), np.float32), "columns"),
        (X, np.zeros((299, 3), np.float32), "row"),
        (X, np.zeros((300, 4), np.float32), "column"),
    ],
)
def test_predict_checks_sizes(x: np.ndarray, out: np.ndarray, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        compiled_predict(net().compiled(), x, out)
    assert not out.any()


def test_predict_in_python_says_what_to_do() -> None:
    with pytest.raises(TypeError, match=r"call the network"):
        fnn.jit.predict(net().compiled(), X, np.zeros((300, 3), np.float32))


# ---- a team whose threads cannot all start ---------------------------------------------------------------------------


@numba.njit(nogil=True)
def meet(barrier, workers, worker):
    wait_for_all(barrier, workers)


def test_a_thread_that_cannot_start_leaves_nobody_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    barrier, team, starts = new_barrier(), Team(3), []
    meet(barrier, 1, 0)  # compiled
    original = threading.Thread.start

    def start(thread: threading.Thread) -> None:
        starts.append(thread)
        if len(starts) == 2:
            raise RuntimeError("can't start new thread")
        original(thread)

    monkeypatch.setattr(threading.Thread, "start", start)
    with pytest.raises(RuntimeError, match=r"can't start"):
        team.run(meet, barrier, 3, barrier=barrier)
    monkeypatch.undo()
    assert not starts[0].is_alive()
    team.run(meet, barrier, 3, barrier=barrier)  # and it works again
    team.close()


# ---- commands before and between snapshots ---------------------------------------------------------------------------


def test_a_command_before_the_first_snapshot_counts() -> None:
    trainer = fnn.Trainer(net(), DATA)
    run = trainer.run(3)
    trainer.stop()
    assert [snapshot.state for snapshot in run] == ["stopped"] and trainer.current_step == 0
    run = trainer.run(3)
    trainer.pause()
    assert next(run).state == "paused" and trainer.current_step == 0
    run.close()


def test_two_steps_asked_for_at_once_are_two_steps() -> None:
    trainer = fnn.Trainer(net(), DATA)
    run = trainer.run(3, paused=True)
    next(run)
    trainer.step()
    trainer.step()
    while (snapshot := next(run)).state != "paused":
        pass
    assert snapshot.step == 2
    run.close()


def test_an_interrupted_replay_goes_back(monkeypatch: pytest.MonkeyPatch) -> None:
    trainer = fnn.Trainer(net(), DATA, optimizer=fnn.SGD(1e38), observe=False)
    runner, before = trainer._runner, trainer.network.parameters.copy()
    chunk, calls = runner._chunk, []

    def interrupted(steps: int, *rest: Any) -> Any:
        calls.append(steps)
        result = chunk(steps, *rest)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return result

    monkeypatch.setattr(runner, "_chunk", interrupted)
    with pytest.raises(KeyboardInterrupt):
        runner.run(5, 1e38)
    assert len(calls) == 3, "the chunk, and two steps of its replay"
    np.testing.assert_array_equal(trainer.network.parameters, before)
    assert runner.step == 0


# ---- numbers that cannot be ------------------------------------------------------------------------------------------


def test_parameters_are_finite() -> None:
    network = net()
    before = network.parameters.copy()
    for bad in (np.nan, np.inf, 1e300):  # the last is not a float32
        with pytest.raises(ValueError, match=r"parameters: .* expected finite"):
            network.parameters = np.full(before.size, bad)
        with pytest.raises(ValueError, match=r"weight: .* expected finite"):
            network.layers[0].weight = np.full((4, 16), bad)
    network.parameters[5] = np.nan  # a view is the caller's own
    with pytest.raises(ValueError, match=r"network.parameters: nan at index 5"):
        network.fit(X, Y)


@pytest.mark.parametrize("sizes", [[2, 10**13, 2], [10**19, 2], [10**10, 10**10, 1]])
def test_sizes_beyond_any_memory(sizes: list[int]) -> None:
    with pytest.raises(ValueError, match=r"layers: .* parameters; at most"):
        fnn.Network(sizes)
    with pytest.raises(ValueError, match=r"lr: .* out of range"):
        fnn.SGD(10**400)


def test_a_file_whose_sizes_are_not_its_tensor(tmp_path: Any) -> None:
    network, path = net(), tmp_path / "x.safetensors"
    config = network.config()
    config["layers"][1]["units"] = 10**13
    checkpoint.write(path, config, network.parameters)
    with pytest.raises(fnn.DataError, match=r"does not describe a network .*parameters; expected 131"):
        fnn.load(path)


def test_weights_do_not_repeat_the_numbers_of_the_data() -> None:
    # Both are Philox keyed by the seed, which is 0 for both unless somebody chooses.
    data = generator(0).standard_normal(64)
    for layer in range(4):
        weights = INITIALIZERS["normal"].draw(8, 8, 0, layer).ravel()
        assert not np.isclose(weights, data, rtol=1e-12).any()


def test_an_infinite_test_loss_is_null_in_json(tmp_path: Any, capsys: pytest.CaptureFixture[str]) -> None:
    from fastnn.cli import main

    path = tmp_path / "far.csv"
    rows = [f"{k / 100:.2f},{np.sin(k):.3f}" for k in range(100)]
    split = fnn.datasets.load(_written(path, rows), task="regression")
    at = next(k for k in range(100) if np.isclose(split.x_test, k / 100).any())
    rows[at] = f"{at / 100:.2f},1e30"
    code = main(["train", "--data", _written(path, rows), "--layers", "4", "--epochs", "1", "--json"])
    result = json.loads(capsys.readouterr().out)
    assert code == 0 and result["test_loss"] is None and result["history"]["val_loss"] == [None]


def _written(path: Any, rows: list[str]) -> str:
    path.write_text("x,y\n" + "\n".join(rows) + "\n")
    return str(path)
