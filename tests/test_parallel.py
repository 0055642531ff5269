"""Training over several ranks: what it learns alone, the same bits on every rank and in every run."""

from __future__ import annotations

import importlib.util
import itertools
import json
import os
import shutil
import subprocess
import sys
import threading
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from ranks import Rank, on_ranks

import fastnn as fnn
from fastnn.cpu.parallel import Runner
from fastnn.ranks import Shared

X = np.random.default_rng(1).standard_normal((53, 6))
Y = np.random.default_rng(2).integers(0, 4, 53)
PAIR = (X[:20], Y[:20])
MASK = np.arange(6 * 9).reshape(6, 9) % 3 > 0
STACKS: dict[str, list[Any]] = {
    "dense": [fnn.Input(6), fnn.Dense(9, "tanh", mask=MASK), fnn.Dense(700, "relu"), fnn.Dense(4)],
    "lstm": [fnn.Input(2), fnn.LSTM(5), fnn.Dense(4)],
}


def fitted(comm: Any, stack: str = "dense", dtype: str = "float64", **options: Any) -> tuple[fnn.Network, fnn.History]:
    """Batches of 10 and a last one of 3 rows, twice over, in two calls."""
    net = fnn.Network(STACKS[stack], seed=4, dtype=dtype)
    x = X.reshape(53, 3, 2) if stack == "lstm" else X
    pair = (x[:20], Y[:20])
    options = {"batch_size": 10, "validation": pair, "comm": comm} | options
    net.fit(x, Y, epochs=1, **options)
    return net, net.fit(x, Y, epochs=2, **options)


@pytest.mark.parametrize("ranks", [1, 2, 3, 5, 8])
def test_every_row_has_one_rank_and_fewer_rows_give_none_of_them_more(ranks: int) -> None:
    before = [0] * ranks
    for rows in range(1, 50):
        shares = [Shared.share(SimpleNamespace(_rank=rank, _ranks=ranks), rows) for rank in range(ranks)]
        assert [row for begin, end in shares for row in range(begin, end)] == list(range(rows))
        taken = [end - begin for begin, end in shares]
        assert all(some >= fewer for some, fewer in zip(taken, before, strict=True)) and max(taken) - min(taken) <= 1
        before = taken


def test_no_two_ranks_and_no_two_steps_have_the_same_draws() -> None:
    draws = []
    for rank in range(3):
        shared = object.__new__(Shared)
        shared.first, shared._rank, shared._ranks = 20, rank, 3
        for step in range(10):
            shared.step = step
            draws.append(shared.draw)
    assert len(set(draws)) == 30


@pytest.mark.parametrize("stack", STACKS)
@pytest.mark.parametrize(
    "optimizer",
    [fnn.SGD(0.1, weight_decay=0.01), fnn.SGD(0.1, momentum=0.9), fnn.Adam(0.01), fnn.SGD(0.5, clip=0.1),
     fnn.Adam(0.01, clip=0.1)],
    ids=repr,
)  # fmt: skip
def test_ranks_learn_what_one_learns_alone(optimizer: fnn.Optimizer, stack: str) -> None:
    alone, expected = fitted(None, stack, optimizer=optimizer)
    runs = [on_ranks(size, lambda comm: fitted(comm, stack, optimizer=optimizer)) for size in (2, 2, 4)]
    for ranks in runs:  # of 4 ranks, one has no row of the last batch
        for net, history in ranks:
            assert np.abs(net.parameters - alone.parameters).max() < 1e-12
            assert net.epochs == alone.epochs
            assert history.accuracy == expected.accuracy and history.val_accuracy == expected.val_accuracy
            np.testing.assert_allclose(history.loss, expected.loss, rtol=1e-12)
            np.testing.assert_allclose(history.val_loss, expected.val_loss, rtol=1e-12)
            assert history == ranks[0][1]
            assert net.parameters.tobytes() == ranks[0][0].parameters.tobytes()
    assert runs[0][0][0].parameters.tobytes() == runs[1][0][0].parameters.tobytes()
    assert runs[0][0][1] == runs[1][0][1]


def test_one_rank_has_the_loss_of_one_alone_with_dropout() -> None:
    """Dropout included, whose draws are those of a training alone where there is one rank, and others where not."""
    stack = [fnn.Input(6), fnn.Dropout(0.3), fnn.Dense(20), fnn.Dropout(0.5), fnn.Dense(4)]

    def dropped(comm: Any) -> fnn.Network:
        net = fnn.Network(stack, dtype="float64")
        net.fit(X, Y, epochs=2, batch_size=10, comm=comm)
        return net

    alone = dropped(None).parameters
    (one,) = on_ranks(1, dropped)
    two, other = on_ranks(2, dropped)
    assert np.abs(one.parameters - alone).max() < 1e-12
    assert two.parameters.tobytes() == other.parameters.tobytes()
    assert np.abs(two.parameters - alone).max() > 1e-3


def test_float32_and_threads() -> None:
    """Threads of a rank change no bit, and need not be as many on each."""
    results = [
        on_ranks(2, lambda comm, more=more: fitted(comm, dtype="float32", threads=1 + more * comm.Get_rank()))
        for more in (0, 1, 2)
    ]
    assert len({net.parameters.tobytes() for ranks in results for net, _ in ranks}) == 1


def test_divergence_is_found_by_every_rank() -> None:
    def diverge(comm: Any) -> fnn.Network:
        net = fnn.Network([6, 5, 4])
        with pytest.raises(fnn.DivergenceError, match="epoch 1, step 2") as caught:
            net.fit(1e15 * X, 1e15 * X[:, :4], loss="mse", optimizer=fnn.SGD(1.0), batch_size=10, comm=comm)
        assert caught.value.step == 2
        return net

    one, other = on_ranks(2, diverge)
    assert np.isfinite(one.parameters).all()
    assert one.parameters.tobytes() == other.parameters.tobytes()


def test_snapshots_come_at_the_same_steps_and_may_be_stopped_at() -> None:
    def run(comm: Any) -> list[Any]:
        net = fnn.Network([6, 5, 4])
        data = type("Data", (), {"x_train": X, "y_train": Y})
        trainer = fnn.Trainer(net, data, batch_size=10, validation=None, comm=comm)
        if comm.Get_rank():
            trainer.most_steps = 3
        seen = []
        for snapshot in trainer.run(10_000):
            seen.append((snapshot.step, snapshot.loss, snapshot.state, snapshot.layers))
            if snapshot.step > 20:
                trainer.stop()
        return seen

    one, other = on_ranks(2, run)
    assert one == other
    assert one[0][0] <= 3 and one[-1][2] == "stopped" and one[-1][0] < 30


# ---- errors ----------------------------------------------------------------------------------------------------------


def changed(comm: Any, **of_rank_1: Any) -> Any:
    """A short training in which rank 1 has other arguments."""
    given = {"seed": 0, "x": X, "y": Y, "epochs": 1, "batch_size": 10, "shuffle": True, "validation": PAIR}
    given |= {"optimizer": fnn.Adam(), "loss": "cross_entropy", "shift": 0.0}
    given |= of_rank_1 if comm.Get_rank() == 1 else {}
    net = fnn.Network([6, 5, 4], seed=given.pop("seed"))
    net.parameters += given.pop("shift")
    before = net.parameters.copy()
    try:
        net.fit(given.pop("x"), given.pop("y"), **given, comm=comm)
    finally:
        assert (net.parameters == before).all()


@pytest.mark.parametrize(
    ("other", "named"),
    [
        ({"seed": 1}, "network"),
        ({"shift": 1e-3}, "network.parameters"),
        ({"x": X + 1e-6}, "x"),
        ({"x": X[:50], "y": Y[:50]}, "x"),
        ({"y": 3 - Y}, "y"),
        ({"validation": None}, "validation"),
        ({"optimizer": fnn.Adam(0.1)}, "optimizer"),
        ({"batch_size": 11}, "batch_size"),
        ({"shuffle": False}, "shuffle"),
        ({"epochs": 2}, "epochs"),
    ],
    ids=str,
)
def test_ranks_that_differ(other: dict[str, Any], named: str) -> None:
    for error in on_ranks(3, lambda comm: changed(comm, **other)):
        assert isinstance(error, ValueError)
        assert str(error) == f"{named}: rank 1 has another than rank 0; expected the same on every rank"


@pytest.mark.parametrize("other", [{"x": X[:, :5]}, {"epochs": 0}, {"batch_size": 54}, {"validation": True}], ids=str)
def test_an_error_of_one_rank_is_raised_on_all(other: dict[str, Any]) -> None:
    errors = on_ranks(3, lambda comm: changed(comm, **other))
    name = next(iter(other))
    assert str(errors[1]).startswith(f"{name}:")
    for error in (errors[0], errors[2]):
        assert isinstance(error, ValueError)
        assert str(error) == "comm: rank 1 found an error in its arguments; expected the same on every rank"


@pytest.mark.parametrize(
    ("owner", "what", "at"),
    [
        *itertools.product([Runner], ["_find_gradient", "_update"], [1, 4, 6]),
        *itertools.product([Rank], ["Alltoall"], [1, 4, 6]),
        *itertools.product([Runner], ["keep"], [1, 3]),
        *itertools.product([np], ["column_stack"], [1, 2]),
    ],
)
def test_a_rank_that_fails_while_it_trains_keeps_no_other_waiting(
    owner: Any, what: str, at: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    method, calls = getattr(owner, what), threading.local()

    def failing(*args: Any) -> Any:
        found = method(*args)
        if hasattr(calls, "made"):
            calls.made += 1
            if calls.made == at:
                raise MemoryError("no more")
        return found

    def train(comm: Any) -> tuple[str, int, bytes]:
        net = fnn.Network([6, 5, 4])
        trainer = fnn.Trainer(net, SimpleNamespace(x_train=X, y_train=Y), batch_size=10, validation=None, comm=comm)
        trainer.most_steps = 6
        told = ""
        try:
            for snapshot in trainer.run(4):
                step, kept = snapshot.step, net.parameters.tobytes()
                if comm.Get_rank() == 1 and not hasattr(calls, "made"):  # it is prepared, and one chunk is done
                    calls.made = 0
        except (MemoryError, fnn.DeviceError) as reason:
            told = str(reason)
        assert net.parameters.tobytes() == kept
        return told, step, kept

    on_ranks(3, train)
    monkeypatch.setattr(owner, what, failing)
    others = "comm: rank 1 failed while training; the parameters are as before its chunk"
    found = on_ranks(3, train)
    assert [told for told, *_ in found] == [others, "no more", others]
    assert len({(step, kept) for _, step, kept in found}) == 1


@pytest.mark.parametrize(("what", "at"), [("keep", 2), ("keep", 3), ("bring_back", 1)])
def test_a_rank_that_fails_before_the_steps_of_a_chunk_that_diverged(
    what: str, at: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    method, calls = getattr(Runner, what), threading.local()

    def failing(runner: Runner, *args: Any) -> Any:
        if runner._rank == 1:
            calls.made = getattr(calls, "made", 0) + 1
            if calls.made == at:
                raise MemoryError("no more")
        return method(runner, *args)

    def train(comm: Any) -> tuple[str, bytes]:
        net = fnn.Network([6, 5, 4])
        try:
            net.fit(1e15 * X, 1e15 * X[:, :4], loss="mse", optimizer=fnn.SGD(1.0), batch_size=10, comm=comm)
        except (MemoryError, fnn.DeviceError) as reason:
            assert np.isfinite(net.parameters).all()
            return str(reason), net.parameters.tobytes()
        return "", b""

    monkeypatch.setattr(Runner, what, failing)
    others = "comm: rank 1 failed while training; the parameters are as before its chunk"
    found = on_ranks(3, train)
    assert [told for told, _ in found] == [others, "no more", others]
    assert len({parameters for _, parameters in found}) == 1


def test_batch_smaller_than_the_ranks() -> None:
    for error in on_ranks(3, lambda comm: fnn.Network([6, 4]).fit(X, Y, batch_size=2, comm=comm)):
        assert isinstance(error, ValueError)
        assert str(error) == "batch_size: 2 for 3 ranks; expected a row for each, or more"


def test_what_is_no_communicator() -> None:
    with pytest.raises(TypeError, match="comm: 3; expected a communicator of mpi4py"):
        fnn.Network([6, 4]).fit(X, Y, comm=3)


# ---- MPI -------------------------------------------------------------------------------------------------------------

SCRIPT = """
import json, sys
from mpi4py import MPI
sys.path.insert(0, sys.argv[1])
from test_parallel import fitted
net, history = fitted(MPI.COMM_WORLD, optimizer=__import__("fastnn").Adam(0.01))
found = MPI.COMM_WORLD.gather([net.parameters.tobytes().hex(), history.loss])
if MPI.COMM_WORLD.Get_rank() == 0:
    print(json.dumps(found))
"""


def mpiexec() -> str | None:
    """The launcher that belongs to mpi4py's MPI: of this environment, or of the system."""
    if importlib.util.find_spec("mpi4py") is None:
        return None
    return shutil.which("mpiexec", path=os.path.dirname(sys.executable)) or shutil.which("mpiexec")


@pytest.mark.skipif(mpiexec() is None, reason="mpi4py, or an MPI's mpiexec, is not installed")
def test_two_processes() -> None:
    """The same bits as two threads have."""
    (net, history), _ = on_ranks(2, lambda comm: fitted(comm, optimizer=fnn.Adam(0.01)))
    command = [str(mpiexec()), "-n", "2", sys.executable, "-m", "mpi4py", "-c", SCRIPT, os.path.dirname(__file__)]
    # Open MPI's and its launcher's: as root, and with fewer cores than ranks.
    allowed = {"OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1"}
    allowed |= {f"{name}_MCA_rmaps_default_mapping_policy": ":oversubscribe" for name in ("PRTE", "OMPI")}
    done = subprocess.run(command, env=os.environ | allowed, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    for parameters, losses in json.loads(done.stdout):
        assert parameters == net.parameters.tobytes().hex()
        assert losses == history.loss
