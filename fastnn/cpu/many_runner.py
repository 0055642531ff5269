"""The host's side of many networks trained side by side: workers' buffers, and chunks of steps for all of them."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from fastnn import compiler
from fastnn.cpu import abreast, engine, train
from fastnn.cpu.gemm import LONGEST
from fastnn.cpu.machine import lanes, machine
from fastnn.cpu.many import STATES, TRAINING, Many, train_many
from fastnn.cpu.primitives import new_barrier
from fastnn.cpu.team import Team
from fastnn.optimizers import WIDTH, Optimizer
from fastnn.runner import Architecture

CHUNK_SECONDS = 0.2  # of one compiled call: long enough that what happens once a call is nothing beside it
MOST_STEPS = 500_000  # of all networks in a chunk: bounds the table of coefficients (32 bytes a step in float32)
FIRST_STEPS = 256  # of all networks in the first chunk, which is timed
TEAM_SECONDS = 0.0005  # work that is shorter than this is done before a second thread has begun
# Bytes that a group abreast works on: parameters, outputs and deltas of a network, in every lane. On a core with 512 KB
# of second cache 85 KB were 1.4 times faster than one network after the other, 294 KB as fast, 480 KB slower.
MOST_ABREAST = 192 * 1024
TURNS = 8  # turns for each worker in a chunk, so that they end together


class ManyRunner:
    """Trains the networks whose parameters are the rows of `parameters` (N, P or more) for `epochs` epochs.

    `trained` (N,) are the epochs that each has been trained before, `optimizers` one for each, all of one kind. Data
    and numbers have been checked.
    """

    def __init__(
        self,
        architecture: Architecture,
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
        workers = min(count, threads or compiler.cores())
        size = engine.plan.offsets(architecture.sizes, architecture.loops)[2]
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
            # Where networks cannot go abreast nobody looks at these buffers.
            self._fits = fits(architecture, batch) and not optimizers[0].clip
            shape = (architecture.sizes, self._alone[0].samples, batch) if self._fits else ((1, 1), 1, 1)
            how: dict[str, Any] = {"loss": loss, "slots": optimizers[0].slots, "F": self.F, "aligned": engine.aligned}
            self._lanes = [abreast.build(*shape, **how) for _ in range(workers)]
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
                groups=np.array([0, count]),
                abreast=0,
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
            run, lanes = self._runs[worker], self._lanes[worker]
            train_many(alone.net, alone.works[1], alone.data, run, self.many, lanes, worker)

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
        groups = self._groups(len(queue), workers)
        # Pieces, where groups are so few that a worker would wait for another one's last.
        turns = 1 if workers == 1 else min(goal - begin, -(-TURNS * workers // (len(groups) - 1)))
        tables = [optimizer.coefficients(begin + 1, goal - begin, optimizer.lr) for optimizer in self._distinct]
        with np.errstate(over="ignore"):  # a rate that is too large for F diverges, as it should
            coefficients: np.ndarray = np.array(tables, self.F)
        self.many.next[:] = self.many.done[:] = 0
        self.many = self.many._replace(
            begin=begin, goal=goal, queue=queue, groups=groups, abreast=int(len(groups) <= len(queue)), turns=turns,
            coefficients=coefficients,
        )  # fmt: skip
        self._enter(workers)
        took = time.perf_counter() - began
        self._seconds = took * workers / (len(queue) * (goal - begin))
        return took

    def _groups(self, count: int, workers: int) -> np.ndarray:
        """Where each group of a queue of `count` networks begins: of one, or of as many as go abreast."""
        width = lanes(self.F)
        groups = -(-count // width)
        even = -(-groups // workers) * workers  # as many for each worker, unless that leaves half the lanes empty
        groups = even if 2 * count >= even * width else groups
        if not self._fits or 2 * count < groups * width:
            groups = count
        return np.arange(groups + 1) * count // groups

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


def fits(architecture: Architecture, batch: int) -> bool:
    """Whether networks of this kind may go abreast, and are so small that they gain by it."""
    P = engine.plan.offsets(architecture.sizes, architecture.loops)[2]
    units = sum(architecture.sizes)
    longest = max(batch, *architecture.sizes) <= LONGEST  # beyond, a sum is cut, and has other bits
    plain = not any(architecture.dropout) and all(mask is None for mask in architecture.masks)
    return longest and plain and (P + 2 * batch * units) * machine().bytes <= MOST_ABREAST


def new_parameters(count: int, size: int, F: Any) -> np.ndarray:
    """Zeros for `count` networks of `size` parameters: rows (count, size or more) as `engine.aligned` makes one."""
    line = 64 // np.dtype(F).itemsize
    pitch = -(-(size + engine.SPARE) // line) * line
    return engine.aligned(count * pitch, F).reshape(count, pitch)
