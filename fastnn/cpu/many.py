"""Many networks of one architecture trained side by side: workers take whole networks, and nobody waits at a barrier.

A worker copies the next network's parameters and the optimizer's memory into arrays of its own, trains it there with
the engine's own loop as if it were alone, and copies the result back where all of it is finite. So a network's bits
are those that it would have by itself, whatever the number of workers, of networks, or the length of a chunk, and a
network that has diverged or stalled is simply not taken again.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from fastnn import compiler
from fastnn.compiler import inner, kernel
from fastnn.cpu import engine, train
from fastnn.cpu.primitives import add, copy, new_barrier, replacing, store, wait_until
from fastnn.cpu.team import Team, cores
from fastnn.optimizers import WIDTH, Optimizer
from fastnn.random import shuffle

TRAINING, STALLED, DIVERGED = 0, 1, 2
STATES = ("training", "stalled", "diverged")
LOSS, HITS, VAL_LOSS, VAL_HITS = 0, 1, 2, 3  # columns of Many.results

CHUNK_SECONDS = 0.2  # of one compiled call: long enough that what happens once a call is nothing beside it
MOST_STEPS = 500_000  # of all networks in a chunk: bounds the table of coefficients (32 bytes a step in float32)
FIRST_STEPS = 256  # of all networks in the first chunk, which is timed
TEAM_SECONDS = 0.0005  # work that is shorter than this is done before a second thread has begun
TURNS = 8  # turns for each worker in a chunk, so that they end together


class Many(NamedTuple):
    """N networks and where each of them stands; a row of a 2-D array belongs to a network."""

    parameters: np.ndarray  # F (N, P or more)
    m: np.ndarray  # F (N, P or 0): what the optimizer remembers
    v: np.ndarray  # F
    seeds: np.ndarray  # int64 (N,)
    first: np.ndarray  # int64 (N,): steps of the network's run before this training
    steps: np.ndarray  # int64 (N,): steps of this training that are done
    state: np.ndarray  # int64 (N,): TRAINING, STALLED or DIVERGED
    sums: np.ndarray  # float64 (N, 3): loss, hits and rows of the epoch so far
    best: np.ndarray  # float64 (N,): the smallest loss of an epoch so far
    waited: np.ndarray  # int64 (N,): epochs since then
    results: np.ndarray  # float64 (N, epochs, 2 or 4): an epoch's mean loss and share of hits, the same of validation
    patience: int  # epochs without a loss smaller by more than `least` until a network has stalled
    least: float
    # The chunk that is being trained.
    begin: int  # every network in the queue has done as many steps
    goal: int  # and is to come to as many
    queue: np.ndarray  # int64 (k,): the networks that train
    turns: int  # in how many pieces each of them goes through the chunk
    next: np.ndarray  # int64 (1,): the piece that a worker takes next
    done: np.ndarray  # int64 (N,): pieces that a network has behind it
    table: np.ndarray  # int64 (N,): whose coefficients the network has
    coefficients: np.ndarray  # F (tables, steps, WIDTH)


with_seed = replacing("seed")
of_chunk = replacing("first", "steps", "coefficients")


@kernel
def train_many(net, work, data, run, many, worker):
    """Bring the networks of the queue to step many.goal; net, work and run are the worker's own."""
    size = (many.goal - many.begin + many.turns - 1) // many.turns
    while True:
        turn = add(many.next.ctypes.data, 1)
        if turn >= many.queue.size * many.turns:
            return
        n, piece = many.queue[turn % many.queue.size], turn // many.queue.size
        done = many.done.ctypes.data + n * 8
        wait_until(done, piece)  # whoever has the piece before is at work on it: pieces are taken in order
        train_one(net, work, data, run, many, n, min(many.goal, many.begin + (piece + 1) * size))
        store(done, piece + 1)


@inner
def train_one(net, work, data, run, many, n, goal):
    """Train network n until it has done `goal` steps, or must stop."""
    if many.steps[n] >= goal or many.state[n] != TRAINING:
        return
    net = with_seed(net, (many.seeds[n],))
    per_epoch = (run.order.size + run.batch - 1) // run.batch
    exchange(net, work, many, n, False)
    if run.shuffle != 0 and many.steps[n] % per_epoch != 0:
        shuffle(run.order, net.seed, (many.first[n] + many.steps[n]) // per_epoch)
    most = per_epoch
    while many.steps[n] < goal and many.state[n] == TRAINING:
        step = many.steps[n]
        count = min(most, goal - step, per_epoch - step % per_epoch)
        rows = many.coefficients[many.table[n]][step - many.begin : step - many.begin + count]
        train.train(net, work, data, of_chunk(run, (many.first[n] + step, count, rows)), 0)
        if finite(run.losses, count) and finite(net.parameters, net.parameters.size):
            exchange(net, work, many, n, True)
            record(run, many, n, count, per_epoch)
        else:  # back, and step by step up to the one that goes wrong
            exchange(net, work, many, n, False)
            if count == 1:
                many.state[n] = DIVERGED
            most = 1


@inner
def exchange(net, work, many, n, back):
    """Bring network n's numbers into the worker's own arrays, or `back` from them."""
    ours, theirs = net.parameters.ctypes.data, many.parameters[n].ctypes.data
    size = net.parameters.size * net.one.itemsize
    copy(theirs if back else ours, ours if back else theirs, size)
    if work.m.size > 0:
        ours, theirs = work.m.ctypes.data, many.m[n].ctypes.data
        copy(theirs if back else ours, ours if back else theirs, size)
    if work.v.size > 0:
        ours, theirs = work.v.ctypes.data, many.v[n].ctypes.data
        copy(theirs if back else ours, ours if back else theirs, size)


@inner
def finite(values, count):
    """Whether values[:count] are all finite."""
    bad = 0
    for i in range(count):
        bad |= not np.isfinite(values[i])
    return bad == 0


@inner
def record(run, many, n, count, per_epoch):
    """Account for `count` steps of network n, which do not go beyond an epoch's end."""
    samples, position = run.order.size, many.steps[n] % per_epoch
    for s in range(count):  # apart from the sum: fused, the product would not be rounded as History's is
        run.losses[s] *= min(run.batch, samples - (position + s) * run.batch)
    for s in range(count):
        many.sums[n, 0] += run.losses[s]
        many.sums[n, 1] += run.hits[s]
        many.sums[n, 2] += min(run.batch, samples - (position + s) * run.batch)
    many.steps[n] += count
    if position + count < per_epoch:
        return
    epoch = many.steps[n] // per_epoch - 1
    result, rows = many.results[n, epoch], many.sums[n, 2]
    result[LOSS], result[HITS] = many.sums[n, 0] / rows, many.sums[n, 1] / rows
    many.sums[n, 0], many.sums[n, 1], many.sums[n, 2] = 0.0, 0.0, 0.0
    loss = result[LOSS]
    if run.validation.samples > 0:
        loss = run.val_results[0, 0]
        result[VAL_LOSS], result[VAL_HITS] = loss, run.val_results[0, 1] / run.validation.samples
    if loss < many.best[n] - many.least:
        many.best[n], many.waited[n] = loss, 0
    else:
        many.waited[n] += 1
        if many.waited[n] >= many.patience:
            many.state[n] = STALLED


class ManyRunner:
    """Trains the networks whose parameters are the rows of `parameters` (N, P or more) for `epochs` epochs.

    `trained` (N,) are the epochs that each has been trained before, `optimizers` one for each, all of one kind. Data
    and numbers have been checked.
    """

    def __init__(
        self,
        architecture: engine.Architecture,
        parameters: np.ndarray,
        data: tuple[np.ndarray, np.ndarray],
        *,
        seeds: Sequence[int],
        trained: Sequence[int],
        loss: str,
        optimizers: Sequence[Optimizer],
        epochs: int,
        batch: int,
        shuffle: bool = True,
        validation: tuple[np.ndarray, np.ndarray] | None = None,
        threads: int | None = None,
        patience: int | None = None,
        least: float = 0.0,
    ) -> None:
        count, self.F = len(parameters), architecture.F
        workers = min(count, threads or cores())
        size = engine.plan.offsets(architecture.sizes)[2]
        with compiler.preparing():
            # Each worker's own tables and arrays are those of a network that trains alone.
            self._alone = [
                engine.Runner(
                    architecture, engine.aligned(size, self.F), data, loss=loss, optimizer=optimizers[0], batch=batch,
                    shuffle=shuffle, validation=validation, threads=1,
                )
                for _ in range(workers)
            ]  # fmt: skip
            self.per_epoch = self._alone[0].per_epoch
            self._runs = [self._run(alone) for alone in self._alone]
            slots = optimizers[0].slots
            self.many = Many(
                parameters=parameters,
                m=np.zeros((count, size if slots > 0 else 0), self.F),
                v=np.zeros((count, size if slots > 1 else 0), self.F),
                seeds=np.array(seeds, np.int64),
                first=np.array(trained, np.int64) * self.per_epoch,
                steps=np.zeros(count, np.int64),
                state=np.zeros(count, np.int64),
                sums=np.zeros((count, 3)),
                best=np.full(count, np.inf),
                waited=np.zeros(count, np.int64),
                results=np.full((count, epochs, 2 if validation is None else 4), np.nan),
                patience=2**62 if patience is None else patience,
                least=float(least),
                begin=0,
                goal=0,
                queue=np.arange(count),
                turns=1,
                next=np.zeros(1, np.int64),
                done=np.zeros(count, np.int64),
                table=np.zeros(count, np.int64),
                coefficients=np.zeros((1, 0, WIDTH), self.F),
            )
            tables = {optimizer: k for k, optimizer in enumerate(dict.fromkeys(optimizers))}
            self.many.table[:] = [tables[optimizer] for optimizer in optimizers]
            self._distinct = list(tables)
            self.goal = epochs * self.per_epoch
            self._threads, self._seconds = threads, 0.0  # of a step of one network in one thread
            self._barrier, self._team = new_barrier(), Team(workers)
            self._enter(1)  # compiles

    def _run(self, alone: engine.Runner) -> train.Run:
        return train.Run(
            workers=1,
            first=0,
            steps=0,
            batch=alone.batch,
            order=alone.order,
            shuffle=int(alone.shuffle),
            coefficients=np.zeros((0, WIDTH), self.F),
            losses=np.zeros(alone.per_epoch),
            hits=np.zeros(alone.per_epoch),
            validation=alone.validation,
            counting=alone.counting,
            val_sums=alone.val_sums,
            val_results=np.zeros((int(alone.validation.samples > 0), 2)),
        )

    def _enter(self, workers: int) -> None:
        def enter(worker: int) -> None:
            alone = self._alone[worker]
            train_many(alone.net, alone.works[1], alone.data, self._runs[worker], self.many, worker)

        self._team.run(enter, barrier=self._barrier, workers=workers)

    def chunks(self) -> Iterator[None]:
        """Train; stops after each chunk. An exception (Ctrl-C) leaves every network as some step of it left it."""
        steps = max(1, FIRST_STEPS // len(self.many.queue))
        begin = 0
        try:
            while begin < self.goal and (queue := np.flatnonzero(self.many.state == TRAINING)).size:
                goal = min(self.goal, begin + steps)
                took = self._chunk(queue, begin, goal)
                wanted = int(CHUNK_SECONDS / max(took / (goal - begin), 1e-9))
                # At most eight times more at once: the first chunk may have been slowed by anything.
                steps = max(1, min(wanted, 8 * (goal - begin), MOST_STEPS // len(queue)))
                begin = goal
                left = -begin % self.per_epoch
                if steps > left + self.per_epoch:  # whole epochs: an order that is cut is drawn once more
                    steps -= (steps - left) % self.per_epoch
                yield
        finally:
            self._team.close()

    def _chunk(self, queue: np.ndarray, begin: int, goal: int) -> float:
        """Bring the networks of the queue from step `begin` to `goal`; returns the seconds that it took."""
        began = time.perf_counter()
        workers = min(len(queue), self._team.workers)
        if self._threads is None and self._seconds * len(queue) * (goal - begin) < TEAM_SECONDS:
            workers = 1
        # Pieces, where networks are so few that a worker would wait for another one's last.
        turns = 1 if workers == 1 else min(goal - begin, -(-TURNS * workers // len(queue)))
        tables = [optimizer.coefficients(begin + 1, goal - begin, optimizer.lr) for optimizer in self._distinct]
        with np.errstate(over="ignore"):  # a rate that is too large for F diverges, as it should
            coefficients: np.ndarray = np.array(tables, self.F)
        self.many.next[:] = self.many.done[:] = 0
        self.many = self.many._replace(begin=begin, goal=goal, queue=queue, turns=turns, coefficients=coefficients)
        self._enter(workers)
        took = time.perf_counter() - began
        self._seconds = took * workers / (len(queue) * (goal - begin))
        return took

    def columns(self) -> np.ndarray:
        """(2 or 4, epochs, N): LOSS, HITS ... of each epoch and network, NaN where a network had stopped."""
        epochs = int(self.many.steps.max()) // self.per_epoch
        return np.ascontiguousarray(self.many.results[:, :epochs].transpose(2, 1, 0))

    def states(self) -> tuple[str, ...]:
        """What became of each network."""
        finished = self.many.steps == self.goal
        return tuple("finished" if end else STATES[state] for end, state in zip(finished, self.many.state, strict=True))

    @property
    def epochs(self) -> np.ndarray:
        """(N,): epochs that each network has completed in this training."""
        return self.many.steps // self.per_epoch


def new_parameters(count: int, size: int, F: Any) -> np.ndarray:
    """Zeros for `count` networks of `size` parameters: rows (count, size or more) as `engine.aligned` makes one."""
    line = 64 // np.dtype(F).itemsize
    pitch = -(-(size + engine.SPARE) // line) * line
    return engine.aligned(count * pitch, F).reshape(count, pitch)
