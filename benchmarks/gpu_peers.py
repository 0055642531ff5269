"""PyTorch and JAX on the GPU, for `benchmarks.gpu`: each function builds a contender and returns its steps.

An ImportError says that a peer is missing or sees no GPU.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from benchmarks import recurrent
from benchmarks.frameworks import jax_scan, start, torch_network
from benchmarks.recurrent import Sequences
from benchmarks.table import OPTIMIZERS, Work
from fastnn.cuda.target import SIMULATED

Step = Callable[[int], Any]  # trains so many steps and waits for them


def torch_model(work: Work | Sequences) -> Any:
    """The network in PyTorch; a recurrent layer is cuDNN's there. Its weights have no say in the time."""
    import torch

    if isinstance(work, Work):
        return torch_network(work.sizes, work.activation, start(work))

    class LastStep(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.rnn = torch.nn.RNN(work.features, work.units, batch_first=True)
            self.linear = torch.nn.Linear(work.units, work.outputs)

        def forward(self, x: Any) -> Any:
            return self.linear(self.rnn(x)[0][:, -1])

    return LastStep()


def in_graph(step: Callable[[Any, Any], None], x: Any, y: Any) -> Callable[[Any, Any], None]:
    """`step` on a batch as one CUDA graph, which reads the batch in `x` and `y`."""
    import torch

    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        for _ in range(3):
            step(x, y)
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        step(x, y)

    def replay(xb, yb):
        x.copy_(xb)
        y.copy_(yb)
        graph.replay()

    # A graph has addresses only. Without this the network and its gradients are freed, the next capture gives their
    # memory back to the GPU, and the next replay writes there: an illegal address, or into others' numbers.
    replay.captured = step  # type: ignore[attr-defined]
    return replay


def torch_steps(kind: str, tf32: bool, work: Work | Sequences, x: np.ndarray, y: np.ndarray) -> Step:
    import torch

    def choose_precision() -> None:
        torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = tf32

    choose_precision()  # a graph keeps what it was captured with
    where = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if where.type == "cpu" and (kind == "graph" or not SIMULATED):
        raise ImportError("PyTorch sees no GPU")
    net = torch_model(work).to(where)
    updates = torch.optim.SGD(net.parameters(), lr=OPTIMIZERS["sgd"].lr, fused=True)
    criterion = torch.nn.CrossEntropyLoss()
    xs = torch.from_numpy(x).to(where).split(work.batch)
    ys = torch.from_numpy(y).to(where).split(work.batch)

    def forward(xb, yb):
        return criterion(net(xb), yb)

    if kind == "compile":
        forward = torch.compile(forward)

    def step(xb, yb):
        updates.zero_grad(set_to_none=kind != "graph")
        forward(xb, yb).backward()
        updates.step()

    if kind == "graph":
        step = in_graph(step, xs[0].clone(), ys[0].clone())

    def run(steps: int) -> None:
        choose_precision()  # again: the contenders of one round differ in it
        for s in range(steps):
            step(xs[s % len(xs)], ys[s % len(ys)])
        if where.type == "cuda":
            torch.cuda.synchronize()

    return run


def jax_steps(work: Work | Sequences, x: np.ndarray, y: np.ndarray) -> Step:
    import jax

    if jax.default_backend() != "gpu" and not SIMULATED:
        raise ImportError("JAX sees no GPU")
    if isinstance(work, Sequences):
        contender = recurrent.jax_scan(work, x, y)
    else:
        contender = jax_scan(work, start(work), x, y, "sgd")
    return lambda steps: contender.train(max(1, steps // work.steps))
