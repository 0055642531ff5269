"""Divergence stops a training before the step that goes wrong."""

from __future__ import annotations

import pickle
from typing import Any

import numpy as np
import pytest
from trainings import BATCH, PER_EPOCH, bits, data, trainer

import fastnn as fnn
from fastnn import training
from fastnn.cpu.engine import Runner


def found_by_hand(run: fnn.Trainer, rate: float) -> tuple[int, bytes]:
    """The first step that makes the loss or a parameter non-finite, and the bits before it; by single raw steps."""
    runner: Runner = run._runner
    for step in range(1, 10_000):
        before = bits(run.network)
        result = runner._chunk(1, rate)
        if not (np.isfinite(result.losses).all() and np.isfinite(run.network.parameters).all()):
            return step, before
    raise AssertionError("did not diverge")


def diverging(name: str) -> tuple[fnn.Trainer, float]:
    """Trainers that diverge: at once, after some steps, or after hundreds in the middle of a large chunk."""
    if name == "sgd 1e6":
        return trainer(optimizer=fnn.SGD(1e6)), 1e6
    if name == "momentum 1e6":
        return trainer(optimizer=fnn.SGD(1e6, momentum=0.9)), 1e6
    if name == "adam 1e20":
        return trainer(optimizer=fnn.Adam(1e20)), 1e20
    if name == "update overflows":
        return trainer(optimizer=fnn.SGD(1e300, momentum=0.5)), 1e300  # more than a float32 holds
    on = data(regression=True)
    if name == "scaled inputs":
        on.x_train = on.x_train * 1e4
        return trainer(on=on, loss="mse", optimizer=fnn.SGD(0.1)), 0.1
    assert name == "slowly"
    return trainer(fnn.Network([6, 3]), on, loss="mse", optimizer=fnn.SGD(2.6)), 2.6


DIVERGING = ["sgd 1e6", "momentum 1e6", "adam 1e20", "update overflows", "scaled inputs", "slowly"]


@pytest.mark.parametrize("name", DIVERGING)
@pytest.mark.parametrize("chunk", [1, 50_000])
def test_divergence_stops_before_the_step_that_goes_wrong(
    name: str, chunk: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    by_hand, rate = diverging(name)
    step, kept = found_by_hand(by_hand, rate)
    monkeypatch.setattr(training, "MOST_STEPS", chunk)
    run, _ = diverging(name)
    *_, last = run.run(1000)
    epoch = (step - 1) // PER_EPOCH + 1
    assert last.state == run.state == "diverged"
    assert f"epoch {epoch}, step {step};" in last.message and "\n" not in last.message
    assert last.step == run.current_step == step - 1
    assert np.isfinite(run.network.parameters).all()
    assert bits(run.network) == kept
    assert len(run.history.loss) == (step - 1) // PER_EPOCH == run.network.epochs
    assert np.isfinite(run.history.loss).all()
    for layer in last.layers:
        assert np.isfinite(layer.activations.edges).all() and layer.activations.counts.sum() > 0
    # A run that is stopped right before that step is where the diverged one was left.
    stopped, _ = diverging(name)
    for snapshot in stopped.run(1000, paused=True):
        if snapshot.step == step - 1:
            break
        stopped.step()
    assert bits(stopped.network) == kept
    if name == "slowly":
        assert step > 5 * PER_EPOCH, "in one chunk, epochs after it began"


@pytest.mark.parametrize("threads", [1, 2])
def test_fit_raises_divergence(threads: int) -> None:
    step, kept = found_by_hand(*diverging("sgd 1e6"))
    on, net = data(), fnn.Network([6, 8, 3], seed=1)
    with pytest.raises(fnn.DivergenceError, match=f"epoch 1, step {step};") as caught:
        net.fit(on.x_train, on.y_train, optimizer=fnn.SGD(1e6), batch_size=BATCH, epochs=9, threads=threads)
    assert (caught.value.epoch, caught.value.step) == ((step - 1) // PER_EPOCH + 1, step)
    assert isinstance(caught.value, fnn.FastnnError) and isinstance(caught.value, ArithmeticError)
    copy = pickle.loads(pickle.dumps(caught.value))
    assert (copy.step, copy.history, str(copy)) == (step, caught.value.history, str(caught.value))
    assert bits(net) == kept
    net.parameters[...] = fnn.Network([6, 8, 3], seed=1).parameters
    history = net.fit(on.x_train, on.y_train, optimizer=fnn.SGD(0.1), batch_size=BATCH, epochs=3, threads=threads)
    assert history.loss[-1] < history.loss[0]


@pytest.mark.parametrize(
    "optimizer",
    [fnn.SGD(0.05), fnn.SGD(0.05, momentum=0.9), fnn.Adam(0.01)],
    ids=["sgd", "momentum", "adam"],
)
def test_training_goes_on_with_a_smaller_rate(optimizer: Any) -> None:
    """The step that went wrong left nothing behind: weights, memory, order and count are those before it."""
    calm, wild = trainer(optimizer=optimizer), trainer(optimizer=optimizer)
    for run in (calm, wild):
        for snapshot in run.run(4, paused=True):
            if snapshot.step == 7:
                break
            run.step()
    wild.set_learning_rate(1e300)  # more than a float32 holds
    last = list(wild.run(1))[-1]
    assert last.state == "diverged" and last.step == 7
    wild.set_learning_rate(optimizer.lr)
    for run in (calm, wild):
        last = list(run.run(2))[-1]
        assert last.state == "finished" and last.step == 15 and last.message == ""
    assert bits(calm.network) == bits(wild.network)
    assert calm.history == wild.history
