"""Threads that work on one kernel: they end, nobody is left waiting, and runs beside each other do not meet."""

from __future__ import annotations

import gc
import hashlib
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

import fastnn as fnn
from fastnn.compiler import cores
from fastnn.cpu import train
from fastnn.cpu.plan import candidates, flops
from fastnn.cpu.primitives import abort, new_barrier
from fastnn.cpu.team import Team

draw = np.random.default_rng(4)
DATA = SimpleNamespace(x_train=draw.standard_normal((203, 12)), y_train=draw.integers(0, 5, 203))
DATA.x_test, DATA.y_test = DATA.x_train[:60], DATA.y_train[:60]


def trainer(threads: int | None, batch_size: int = 64, **options: Any) -> fnn.Trainer:
    net = fnn.Network([12, 40, 5], seed=8, activation="tanh")
    options = {"optimizer": fnn.SGD(0.1, momentum=0.9)} | options
    return fnn.Trainer(net, DATA, batch_size=batch_size, threads=threads, **options)


def run(trainer: fnn.Trainer, epochs: int = 3) -> str:
    for _ in trainer.run(epochs):
        pass
    return bits(trainer)


def bits(trainer: fnn.Trainer) -> str:
    return hashlib.sha256(trainer.network.parameters.tobytes()).hexdigest()


def ours() -> set[threading.Thread]:
    return {thread for thread in threading.enumerate() if thread.name.startswith("fastnn")}


@pytest.fixture(scope="module")
def wanted() -> str:
    """The bits of three epochs in one thread."""
    return run(trainer(1))


def in_time(work: Callable[[], Any], barrier: np.ndarray, seconds: float = 20) -> BaseException | None:
    """Call `work` in a thread; returns what it raised. One that hangs is sent home, and fails the test."""
    raised: list[BaseException | None] = []

    def guarded() -> None:
        try:
            work()
            raised.append(None)
        except BaseException as error:  # noqa: BLE001  a KeyboardInterrupt too is what some tests wait for
            raised.append(error)

    thread = threading.Thread(target=guarded)
    thread.start()
    thread.join(seconds)
    hung = thread.is_alive()
    while thread.is_alive():
        abort(barrier)
        thread.join(0.1)
    assert not hung, "somebody waits for ever"
    return raised[0]


# ---- every worker works ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("workers", [1, 2, 3, 7])
def test_each_worker_is_called_once(workers: int) -> None:
    team, called, barrier = Team(workers), [], new_barrier()
    lock = threading.Lock()

    def kernel(a: int, b: str, worker: int) -> None:
        with lock:
            called.append((a, b, worker, threading.get_ident()))

    for _ in range(3):
        called.clear()
        team.run(kernel, 1, "two", barrier=barrier)
        assert sorted(c[2] for c in called) == list(range(workers))
        assert {c[:2] for c in called} == {(1, "two")}
        assert next(c[3] for c in called if c[2] == 0) == threading.get_ident(), "the caller is worker 0"
    team.close()


@pytest.mark.parametrize("threads", [2, cores() + 1, 2 * cores() + 3])
def test_more_threads_than_cores(threads: int, wanted: str) -> None:
    many = trainer(threads)
    assert many.threads == threads
    assert run(many) == wanted


def test_more_threads_than_there_is_work(wanted: str) -> None:
    """A batch of one row and a layer of one tile: most workers have nothing to do but come to the barriers."""
    small, alone = trainer(6, batch_size=1), trainer(1, batch_size=1)
    assert run(small, 1) == run(alone, 1)


def test_numbers_of_threads_worth_trying_come_from_the_work() -> None:
    tiny, small, large = (2, 16, 2), (64, 128, 10), (784, 512, 512, 10)
    assert candidates(flops(tiny, 32), 32, None) == (1,)
    assert candidates(flops(large, 1), 1, None) == (1,), "nothing to share"
    assert candidates(flops(tiny, 32), 32, 5) == (5,) == candidates(flops(large, 128), 128, 5), "a number is obeyed"
    if cores() > 1:
        assert candidates(flops(small, 32), 32, None) == (1, 2)
        assert candidates(flops(large, 128), 128, None) == (min(cores(), 8), 1)


# ---- threads end -----------------------------------------------------------------------------------------------------


def test_threads_end_with_the_run() -> None:
    before = ours()
    three = trainer(3)
    seen = set()
    for _ in three.run(2):
        seen = ours() - before
    assert len(seen) == 2
    assert ours() <= before and not any(thread.is_alive() for thread in seen)
    run(three, 1)  # they start again
    assert ours() <= before


@pytest.mark.parametrize("how", ["break", "stop", "diverge", "dropped"])
def test_threads_end_however_a_run_ends(how: str) -> None:
    before = ours()
    three = trainer(3, optimizer=fnn.SGD(1e300 if how == "diverge" else 0.1))
    if how != "dropped":
        for _ in three.run(100):
            if how == "break":
                break
            three.stop()
        assert three.state == {"break": "stopped", "stop": "stopped", "diverge": "diverged"}[how]
    del three
    gc.collect()
    limit = time.monotonic() + 10
    while ours() - before and time.monotonic() < limit:
        time.sleep(0.01)
    assert ours() <= before


def test_fit_and_evaluate_leave_no_thread() -> None:
    before = set(threading.enumerate())
    net = fnn.Network([12, 40, 5])
    net.fit(DATA.x_train, DATA.y_train, threads=3)
    net.evaluate(DATA.x_test, DATA.y_test)
    net.gradient(DATA.x_test, DATA.y_test)
    net(DATA.x_test)
    assert set(threading.enumerate()) <= before


# ---- nobody waits for ever -------------------------------------------------------------------------------------------


@pytest.fixture
def three() -> Iterator[fnn.Trainer]:
    made = trainer(3)
    yield made
    abort(made._runner.work.barrier)  # whoever still waits in a test that has failed
    made._runner.close()


def failing(trainer: fnn.Trainer, error: type[BaseException], worker: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have one worker fail before it enters the kernel, when the others may already be inside."""
    real = train.train

    def kernel(*args: Any) -> None:
        if args[-1] == worker:
            time.sleep(0.05)
            raise error("before the kernel")
        real(*args)

    monkeypatch.setattr(train, "train", kernel)


@pytest.mark.parametrize("error", [KeyboardInterrupt, MemoryError])
@pytest.mark.parametrize("worker", [0, 1, 2])
def test_exception_before_the_kernel(
    error: type[BaseException], worker: int, three: fnn.Trainer, wanted: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = bits(three)
    with monkeypatch.context() as patch:
        failing(three, error, worker, patch)
        raised = in_time(lambda: run(three), three._runner.work.barrier)
    assert isinstance(raised, error) and str(raised) == "before the kernel"
    assert bits(three) == before and three.current_step == 0 and three.state in ("idle", "stopped")
    # And the trainer is as good as new.
    assert in_time(lambda: run(three), three._runner.work.barrier) is None
    assert bits(three) == wanted


def test_exception_in_the_middle_of_a_run(three: fnn.Trainer, wanted: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fastnn.training.MOST_STEPS", 3)
    monkeypatch.setattr("fastnn.training.CHUNK_SECONDS", 60.0)  # a step and then three, however long they take
    barrier = three._runner.work.barrier
    with pytest.raises(KeyboardInterrupt):  # noqa: PT012
        for snapshot in three.run(3):
            if snapshot.step == 4:
                failing(three, KeyboardInterrupt, 0, monkeypatch)
    assert three.current_step == 4 and three.epoch == 1 and three.state == "stopped"
    monkeypatch.undo()
    assert in_time(lambda: run(three, 2), barrier) is None
    assert bits(three) == wanted


def test_thread_that_cannot_be_started(three: fnn.Trainer, monkeypatch: pytest.MonkeyPatch) -> None:
    barrier, pool = three._runner.work.barrier, three._runner.team._pool
    submit, times = pool.submit, []

    def refuse(*args: Any) -> Any:
        times.append(1)
        if len(times) == 2:
            raise RuntimeError("can't start new thread")
        return submit(*args)

    monkeypatch.setattr(pool, "submit", refuse)
    assert str(in_time(lambda: run(three), barrier)) == "can't start new thread"


@pytest.mark.skipif(os.name != "posix", reason="signals as POSIX has them")
@pytest.mark.skipif(threading.current_thread() is not threading.main_thread(), reason="signals reach the main thread")
@pytest.mark.parametrize("threads", [1, 2])
def test_ctrl_c_while_compiled_code_runs(threads: int) -> None:
    """It is heard when the chunk is over, 50 ms at most; the chunk is as if it had not been."""
    interrupted = trainer(threads)
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # xdist's workers ignore it
    timer = threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGINT))
    timer.start()
    begin = time.process_time()  # of this process: what else runs does not count
    try:
        with pytest.raises(KeyboardInterrupt):
            run(interrupted, 10**6)
        assert time.process_time() - begin < 5
    finally:
        timer.join()
        signal.signal(signal.SIGINT, before)
    # A chunk is trained whole or not at all: single steps lead to the same place.
    again = trainer(1, validation=None)
    again._runner.run(interrupted.current_step, 0.1)
    assert bits(again) == bits(interrupted)


# ---- beside each other -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("threads", [1, 2])
def test_two_trainers_at_once(threads: int, wanted: str) -> None:
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        got: dict[int, str] = {}
        start = threading.Barrier(3)

        def work(number: int) -> None:
            start.wait()
            got[number] = run(trainer(threads))

        workers = [threading.Thread(target=work, args=(number,)) for number in range(3)]
        for thread in workers:
            thread.start()
        for thread in workers:
            thread.join(60)
        assert got == dict.fromkeys(range(3), wanted)
    finally:
        sys.setswitchinterval(interval)


def test_predictions_from_many_threads_at_once() -> None:
    """One network's scratch memory is not shared by two predictions."""
    net = fnn.Network([12, 300, 300, 5], seed=1)
    parts = [DATA.x_train[i::4] for i in range(4)]
    wanted = [net(part).tobytes() for part in parts]
    wrong: list[int] = []

    def work(number: int) -> None:
        for _ in range(100):
            wrong.extend([number] * (net(parts[number]).tobytes() != wanted[number]))

    workers = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in workers:
        thread.start()
    for thread in workers:
        thread.join(60)
    assert wrong == []


def test_training_leaves_the_interpreter_to_others() -> None:
    """Compiled code holds no GIL: another thread gets on while one call trains for a while."""
    one = trainer(1, validation=None)
    runner = one._runner
    ticks: list[float] = []
    done = threading.Event()

    def tick() -> None:
        while not done.is_set():
            ticks.append(time.perf_counter())
            time.sleep(0.001)

    thread = threading.Thread(target=tick)
    thread.start()
    steps, took, middle = 64, 0.0, 0
    while middle <= 3 and took < 20:  # longer and longer: on a busy machine the other thread has its turn late
        begin = time.perf_counter()
        runner.run(steps, 0.0)
        took = time.perf_counter() - begin
        middle = sum(begin + 0.2 * took < t < begin + 0.8 * took for t in list(ticks))
        steps *= 2
    done.set()
    thread.join()
    assert middle > 3, "the other thread stood still"
