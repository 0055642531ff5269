"""Chunks of steps on the GPU, simulated: the graphs that they are made of, and what the host does meanwhile."""

from __future__ import annotations

from collections.abc import Callable
from importlib.util import find_spec

import pytest

if find_spec("numba_cuda") is None:
    pytest.skip("numba-cuda is not installed", allow_module_level=True)

Python = Callable[..., tuple[str, str]]


def test_ctrl_c_waits_for_the_graphs_that_run(python: Python) -> None:
    code = """
from types import SimpleNamespace
from fastnn.cuda.graphs import Graphs
class Recorded(dict):
    def __missing__(self, part):
        return SimpleNamespace(launch=lambda stream: self.launch("-".join(map(str, part))))
    def __contains__(self, part):
        return True
def graphs_of(launch, per_epoch, score, scored):
    graphs = Graphs(None, None, per_epoch, score, scored)
    graphs._recorded = Recorded()
    graphs._recorded.launch = launch
    graphs.recording, graphs._stream = True, SimpleNamespace(sync=lambda: done.append("waited"))
    return graphs
def score(stream):
    done.append("scored")
for per_epoch, score, scored, position, steps in (
    (70, None, 0, 69, 143), (600, score, 1, 599, 603), (9, score, 1, 2, 80), (9, score, 600, 8, 11)
):
    done = []
    graphs_of(done.append, per_epoch, score, scored).run(position, steps, lambda: done.append("meanwhile"))
    print(*done)
done = []
def interrupted(part):
    if done:
        raise KeyboardInterrupt
    done.append(part)
try:
    graphs_of(interrupted, 100, None, 0).run(0, 9, lambda: done.append("meanwhile"))
except KeyboardInterrupt:
    print(*done)
"""
    lines = python(code, NUMBA_ENABLE_CUDASIM="1")[0].splitlines()
    assert [line.split() for line in lines] == [
        # 0: steps, 1: whole epochs, 2: a score; and how many
        ["0-1", "1-1", "1-1", "0-1", "0-1", "meanwhile", "waited"],
        ["0-1", "2-1", "0-512", "0-64", "0-16", "0-4", "0-4", "2-1", "0-1", "0-1", "meanwhile", "waited"],
        ["0-4", "0-1", "0-1", "0-1", "2-1", "1-4", "1-4", "0-1", "meanwhile", "waited"],
        ["0-1", "scored", "0-4", "0-4", "0-1", "scored", "0-1", "meanwhile", "waited"],
        ["0-4", "waited"],
    ]


def test_chunks_of_several_epochs(python: Python) -> None:
    """Their orders and scores are those of steps that run one by one, wherever the ring of orders ends."""
    code = """
import sys, numpy as np, fastnn as fnn
from fastnn.cuda import engine
rng = np.random.default_rng(0)
x, y = rng.standard_normal((5, 3)).astype(np.float32), np.arange(5) % 2
def trained(device, most, chunks, shuffle):
    engine.MOST_ORDERS = most
    net = fnn.Network([3, 2], seed=3, device=device)
    Runner = net.start_training(None)
    runner = Runner(
        net.architecture, net.storage, (x, y), loss="cross_entropy", optimizer=fnn.SGD(0.1), batch=3, shuffle=shuffle,
        validation=(x[:3], y[:3]), first_epoch=4,
    )
    runner.prepare()
    found = [runner.run(steps, 0.1) for steps in chunks]
    return [np.concatenate([getattr(f, part) for f in found]) for part in ("losses", "hits", "rows", "validation")], net
for shuffle in (True, False):
    expected, one = trained("cuda", 5, [1] * 9, shuffle)
    cpu = trained("cpu", 5, [9], shuffle)[0]
    assert all(np.allclose(a, b, rtol=1e-5) for a, b in zip(expected, cpu)) and expected[3].shape == (4, 2)
    for most, chunks in ((10, [6, 3]), (2**20, [9]))[: 1 + shuffle]:
        found, net = trained("cuda", most, chunks, shuffle)
        assert all((a == b).all() for a, b in zip(expected, found)) and (one.parameters == net.parameters).all()
print("the same")
"""
    assert python(code, NUMBA_ENABLE_CUDASIM="1")[0].strip() == "the same"


def test_what_a_chunk_asks_of_the_driver(python: Python) -> None:
    """At each call another thread, such as a UI's, may take Python's lock: as few of them, however many epochs."""
    code = """
import numpy as np, fastnn as fnn
from fastnn.cuda import engine, target
from numba.cuda.simulator.cudadrv.devicearray import FakeCUDAArray
copies, contexts, while_it_trains = [], [], []
for name in ("copy_to_device", "copy_to_host"):
    def noted(*args, copy=getattr(FakeCUDAArray, name), name=name, **options):
        copies.append(name)
        return copy(*args, **options)
    setattr(FakeCUDAArray, name, noted)
target.cuda.require_context = lambda function: contexts.append(function.__name__) or function
x, y = np.ones((7, 3), np.float32), np.arange(7) % 2
net = fnn.Network([3, 2], device="cuda")
runner = net.start_training(None)(
    net.architecture, net.storage, (x, y), loss="cross_entropy", optimizer=fnn.Adam(), batch=3, validation=(x, y),
)
runner.prepare()
runner.meanwhile = lambda: while_it_trains.append(len(copies))
for steps in 3, 17:
    copies.clear(), contexts.clear(), while_it_trains.clear()
    runner.run(steps, 0.1)
    # The optimizer's two, parameters, coefficients, orders, two states; counts and sums, twice; parameters.
    assert len(copies) <= 12 and copies[:6] == ["copy_to_device"] * 6, copies
    assert contexts == ["run"] and len(while_it_trains) == 1 and while_it_trains[0] < len(copies)
print("few")
"""
    assert python(code, NUMBA_ENABLE_CUDASIM="1")[0].strip() == "few"


def test_what_is_called_while_a_gpu_trains(python: Python) -> None:
    """In each chunk, until it is told not to be; what it raises ends the run as it was before the chunk."""
    code = """
import numpy as np, fastnn as fnn
from types import SimpleNamespace
from fastnn.cuda import parallel
data, calls = SimpleNamespace(x_train=np.eye(4, dtype=np.float32), y_train=np.arange(4) % 2), []
def trainer_on(device):
    net = fnn.Network([4, 2], device=device)
    return fnn.Trainer(net, data, batch_size=2, validation=None, observe=False)
trainer = trainer_on("cuda")
assert trainer.meanwhile(lambda: calls.append(trainer.current_step)) and not trainer_on("cpu").meanwhile(print)
assert not parallel.Runner.waiting
chunks = trainer.run(50)
first = next(chunks)
assert calls == [0]
def failed():
    raise ValueError("cannot be written")
trainer.meanwhile(failed)
before, step = trainer.network.parameters.copy(), trainer.current_step
try:
    next(chunks)
except ValueError as reason:
    print(reason)
assert (trainer.network.parameters == before).all() and trainer.current_step == step and trainer.state == "stopped"
trainer.meanwhile(None)
assert [s.state for s in trainer.run(1)][-1] == "finished" and calls == [0]
"""
    assert python(code, NUMBA_ENABLE_CUDASIM="1")[0].strip() == "cannot be written"
