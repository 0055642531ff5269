"""The host's side of the CPU engine: builds the tables that compiled code reads and runs chunks of steps."""

from __future__ import annotations

import time
from itertools import pairwise
from typing import Any

import numpy as np

from fastnn import compiler
from fastnn.cpu import blocks, plan, sequences, train
from fastnn.cpu.gemm import gemm_address, panel_columns, transpose_address
from fastnn.cpu.pace import Pace
from fastnn.cpu.phases import GRAIN, PART, ROWS, Data, Net, Work
from fastnn.cpu.predict import new_table
from fastnn.cpu.primitives import new_barrier
from fastnn.cpu.team import Team
from fastnn.optimizers import WIDTH
from fastnn.runner import Architecture, BaseRunner, Kept, Result, join

SPARE = 64  # numbers behind an array that a whole vector may read, and nobody uses
_EMPTY = Data(0, 0, 0, 0, 0)


def aligned(count: int, F: Any) -> np.ndarray:
    """`count` zeros that begin on a cache line, with SPARE more behind them."""
    size = np.dtype(F).itemsize
    raw = np.zeros((count + SPARE) * size + 64, np.uint8)
    start = -raw.ctypes.data % 64
    return raw[start : start + count * size].view(F)


def build(
    architecture: Architecture, parameters: np.ndarray, workers: int = 1, *, predicts: bool = False, steps: int = 1
) -> Net:
    """The network as compiled code sees it; shares `parameters`, which must come from `aligned`.

    `predicts`: with the table for prediction, which training does not need; over `steps` time steps where layers are
    recurrent.
    """
    F, sizes = architecture.F, architecture.sizes
    with compiler.preparing():
        pairs = [blocks.activation(name, F) for name in architecture.activations]
        gemm = gemm_address(F)
        drop = blocks.dropout(F) if any(architecture.dropout) else 0
    strides, vectors = np.array([plan.row(size, F) for size in sizes], np.int64).T.copy()
    weight, bias, _ = plan.offsets(sizes, architecture.loops)
    net = Net(
        parameters=parameters,
        sizes=np.array(sizes, np.int64),
        vectors=vectors,
        strides=strides,
        panel=panel_columns(F),
        weight=weight,
        bias=bias,
        forward=np.array([pair[0] for pair in pairs], np.int64),
        backward=np.array([pair[1] for pair in pairs], np.int64),
        slope=np.array(architecture.slopes, F),
        dropout=np.array(architecture.dropout, F),
        drop=drop,
        seed=architecture.seed,
        gemm=gemm,
        one=np.array([0, 1, 0], F),
        widest=int(strides.max()),
        scratch=aligned(2 * workers * ROWS * int(strides.max()), F),
        table=np.zeros(0, np.int64),
        own=np.zeros(0, np.int64),
    )
    if not predicts:
        return net
    if architecture.loops:
        with compiler.preparing():
            return sequences.for_prediction(architecture, net, steps, workers, aligned)
    return net._replace(table=new_table(net, workers))


def compiled(architecture: Architecture, parameters: np.ndarray, steps: int, threads: int) -> Net:
    """The network for a caller's own compiled code, in which one thread predicts with it."""
    if threads != 1:
        raise ValueError(f"threads: {threads} on the CPU; expected 1, and a network of its own for each thread")
    with compiler.preparing():
        return build(architecture, parameters, predicts=True, steps=steps)


def describe_data(inputs: np.ndarray, targets: np.ndarray) -> Data:
    """Addresses of C-contiguous arrays, which the caller keeps alive."""
    rows = inputs.shape[0]
    return Data(inputs.ctypes.data, inputs.size // rows, targets.ctypes.data, targets.nbytes // rows, rows)


class Runner(BaseRunner):
    """The CPU's: buffers for one batch size, the optimizer's memory, a team of threads."""

    def _build(
        self,
        data: tuple[np.ndarray, np.ndarray],
        validation: tuple[np.ndarray, np.ndarray] | None,
        loss: str,
        threads: int | None,
    ) -> None:
        architecture, parameters, optimizer, batch = self.architecture, self.parameters, self.optimizer, self.batch
        F, sizes = architecture.F, architecture.sizes
        time_steps = data[0].shape[1] if architecture.loops else 1
        flops = plan.flops(sizes, batch, architecture.loops, time_steps)
        self.pace = Pace(plan.candidates(flops, batch, threads))
        most = max(self.pace.candidates)
        self._kept = (data, validation)
        with compiler.preparing():
            evaluated = 1 if validation is None or not architecture.loops else validation[0].shape[1]
            self.net = build(architecture, parameters, most, predicts=bool(architecture.loops), steps=evaluated)
            loss_address = blocks.loss(loss, F)
            update = -1 if optimizer is None else blocks.update(optimizer.name, self.slots, F)
        self.memory = [aligned(parameters.size if self.slots > k else 0, F) for k in range(2)]
        target = parameters if self.target is None else self.target
        work, matrices = self._work(loss_address, update, target, most, time_steps)
        self.works = {n: work._replace(firsts=plan.firsts(work.tiles, matrices, n)) for n in {1, *self.pace.candidates}}
        self.data = describe_data(*data)
        self.validation = _EMPTY if validation is None else describe_data(*validation)
        self.order = np.arange(self.samples, dtype=np.int64)
        self.counting = np.arange(ROWS, dtype=np.int64)
        self.val_sums = np.zeros((-(-self.validation.samples // ROWS), 2))
        self.team = Team(most)
        # An evaluation of the validation data takes as long as so many steps.
        forward = 2 * self.validation.samples * sum(a * b for a, b in pairwise(sizes))
        self._evaluation = forward / plan.flops(sizes, batch)

    @property
    def workers(self) -> int:
        """How many threads train at present."""
        return self.pace.best

    @property
    def work(self) -> Work:
        return self.works[self.workers]

    def _work(
        self, loss: int, update: int, target: np.ndarray, most: int, time_steps: int
    ) -> tuple[Work, list[plan.Matrix]]:
        F, sizes, net, loops = self.architecture.F, self.architecture.sizes, self.net, self.architecture.loops
        self.time_steps = [1] * len(sizes)  # of each layer's outputs that the buffer holds
        if loops:
            unrolled = sequences.layout(self.architecture, net, time_steps, self.batch, training=True)
            places, matrices, end = unrolled.places, unrolled.matrices, unrolled.numbers
            self.time_steps = unrolled.steps
        else:
            places, matrices, end = self._places()
        clip = 0.0 if self.optimizer is None else float(self.optimizer.clip)
        packed, transposed, size = plan.panels(matrices, net.panel)
        rows = max(-(-self.batch // GRAIN) * GRAIN, most * ROWS)
        span, spans = (self.batch, 0) if loops else plan.spans(sizes, self.batch)
        sheets, end = plan.sheets(matrices, net.panel, self.batch, end, apart=not loops and not spans)
        # Where spans leave gradients, a tile and its biases are one row.
        widest = max(matrix.columns for matrix in matrices)
        block = max(4096, widest * (plan.TILE + 1 if spans else 1)) if update > 0 else 0
        work = Work(
            buffer=aligned(end, F),
            outputs=np.array(places["outputs"], np.int64),
            inputs=np.array(places["inputs"], np.int64),
            deltas=np.array(places["deltas"], np.int64),
            matrices=np.array(matrices, np.int64),
            sheets=np.array(sheets, np.int64),
            batch=self.batch,
            left=aligned(most * plan.TILE * self.batch if max(sheets) >= 0 else 0, F),
            panels=aligned(size, F),
            packed=np.array(packed, np.int64),
            transposed=np.array(transposed, np.int64),
            target=target,
            m=self.memory[0],
            v=self.memory[1],
            gradient=aligned(most * block, F),
            block=block,
            columns=aligned(most * 2 * (sizes[-1] + 1) * ROWS, F),
            losses=np.zeros(rows, F),
            hits=np.zeros(rows, F),
            span=span,
            partial=aligned(spans * self.parameters.size, F).reshape(spans, self.parameters.size),
            tiles=plan.tiles(matrices),
            firsts=np.zeros(2, np.int64),
            loss=loss,
            transpose=transpose_address(F),
            mask=plan.mask(sizes, self.architecture.masks, self.architecture.loops),
            clear=blocks.clear(F) if any(mask is not None for mask in self.architecture.masks) else 0,
            update=update,
            clip=clip,
            whole=aligned(self.parameters.size if clip else 0, F),
            squares=np.zeros(-(-self.parameters.size // PART) if clip else 0),
            unroll=0,
            unrolled=np.zeros(0, np.int64),
            places=np.zeros(0, np.int64),
            score=0,
            barrier=new_barrier(2 * most),
        )
        return (sequences.for_training(unrolled, net, work, self.batch) if loops else work), matrices

    def _places(self) -> tuple[dict[str, list[int]], list[plan.Matrix], int]:
        """Where the rows' numbers of dense layers begin in the buffer, the layers' matrices, and the buffer's size."""
        net, sizes = self.net, self.architecture.sizes
        places: dict[str, list[int]] = {"outputs": [], "inputs": [], "deltas": []}
        end = 0
        for layer, stride in enumerate(net.strides):
            for name in places:
                if name == "inputs" and not net.dropout[layer]:
                    places[name].append(places["outputs"][layer])
                    continue
                places[name].append(end)
                if name != "deltas" or layer > 0:
                    end += -(-self.batch * int(stride) // 16) * 16
        matrices = [
            plan.Matrix(
                int(net.weight[k]), fan_in, fan_out, int(net.bias[k]), places["inputs"][k], int(net.strides[k]), 0,
                places["deltas"][k + 1], int(net.strides[k + 1]), 0, 1, k > 0,
            )
            for k, (fan_in, fan_out) in enumerate(pairwise(sizes))
        ]  # fmt: skip
        return places, matrices, end

    def prepare(self) -> None:
        """Compile or load all that this runner calls, under one notice, before anything is timed."""
        with compiler.preparing():
            self._chunk(0, 0.0)

    # ---- running -----------------------------------------------------------------------------------------------------

    def _steps(self, steps: int, rate: float) -> Result:
        results = []
        for workers, some in self.pace.plan(steps):
            began = time.perf_counter()
            results.append(self._chunk(some, rate, workers))
            self.pace.note(workers, some + len(results[-1].validation) * self._evaluation, time.perf_counter() - began)
        return join(results, False)

    def keep(self, old: Kept | None = None) -> Kept:
        state = (self.parameters, *self.memory)
        arrays = tuple(np.empty_like(array) for array in state) if old is None else old.arrays
        for kept, array in zip(arrays, state, strict=True):
            np.copyto(kept, array)
        return Kept(self.step, arrays)

    def bring_back(self, kept: Kept) -> None:
        for array, old in zip((self.parameters, *self.memory), kept.arrays, strict=True):
            np.copyto(array, old)
        self.step = kept.step
        if self.shuffle:
            train.fill_order(self.order, self.net.seed, (self.first + kept.step) // self.per_epoch)

    def _chunk(self, steps: int, rate: float, workers: int | None = None, evaluate: bool = False) -> Result:
        if self.optimizer is None:
            table = np.eye(1, WIDTH)  # target <- 1 gradient + 0 target
        else:
            table = self.optimizer.coefficients(self.step + 1, steps, rate)
        ends = (self.step + steps) // self.per_epoch - self.step // self.per_epoch
        validation = np.zeros((max(ends, int(evaluate)) if self.validation.samples else 0, 2))
        workers = workers or self.workers
        result = self.call(steps, table, self.works[workers], workers, validation)
        self.step += steps
        return result

    def call(self, steps: int, table: np.ndarray, work: Work, workers: int, validation: np.ndarray) -> Result:
        """Run the compiled loop over `steps` steps with the optimizer's coefficients `table` (steps, WIDTH).

        Epochs that end are evaluated into `validation` (epochs, 2); none is when it has no rows.
        """
        result = Result(np.zeros(steps), np.zeros(steps), self._rows(steps), validation, False)
        run = self._run(result, table, workers)
        self.team.run(train.train, self.net, work, self.data, run, barrier=work.barrier, workers=workers)
        return result

    def _run(self, result: Result, table: np.ndarray, workers: int) -> train.Run:
        """The next steps, as many as `result` has room for, as compiled code takes them."""
        return train.Run(
            workers=workers,
            first=self.first + self.step,
            steps=len(result.losses),
            batch=self.batch,
            order=self.order,
            shuffle=int(self.shuffle),
            coefficients=self._rounded(table),
            losses=result.losses,
            hits=result.hits,
            validation=self.validation if len(result.validation) else _EMPTY,
            counting=self.counting,
            val_sums=self.val_sums,
            val_results=result.validation,
        )

    def _rounded(self, table: np.ndarray) -> np.ndarray:
        """An optimizer's coefficients in the network's type."""
        with np.errstate(over="ignore"):  # a rate that is too large for F diverges, as it should
            coefficients: np.ndarray = table.astype(self.architecture.F)
        return coefficients

    def gradient(self) -> float:
        """One pass over the whole data as one batch; the gradient goes to `target`. Returns the mean loss."""
        return float(self._chunk(1, 0.0).losses[0])

    def evaluate(self) -> tuple[float, float]:
        """Mean loss on the validation data, and the number of targets predicted right."""
        mean, hits = self._chunk(0, 0.0, evaluate=True).validation[0]
        return float(mean), float(hits)

    def deltas(self, rows: int) -> list[np.ndarray]:
        """Deltas of the sums (rows, T, sums) of each recurrent layer, after a batch of `rows` went through; copies."""
        return sequences.deltas(self.work, rows) if self.architecture.loops else []

    def close(self) -> None:
        self.team.close()
