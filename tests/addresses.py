"""The CUDA engine's own arithmetic of places, thread by thread in plain Python, for networks of any size.

    python addresses.py EVERY '{"layers": [784, 2048, 2048, 10], "batch": 4096, "rows": 4101}' ...

The host's side is the engine's, and so are tiles, grids and kernels, for a GPU and not for the simulator. An array
raises where a place is outside it (NumPy takes a negative one from its end), a vector of 16 bytes where it does not
begin at a multiple of them, an unsigned number where it does not fit into 32 bits. So does a kernel that graphs may
hold if it does not wait for the end of the launch before, or writes, or reads what that one wrote, before it waits.
Of each launch the blocks at the corners of the grid run, and of each of them the first and the last thread and of the
others one in EVERY. Formulas are left out. Prints how many threads ran.
"""

from __future__ import annotations

import itertools
import json
import math
import sys
from types import SimpleNamespace
from typing import Any

import numpy as np


def unsigned(number: Any) -> int:
    """np.uint32 that does not wrap around."""
    if not 0 <= number < 2**32:
        raise OverflowError(f"{number} in 32 bits")
    return int(number)


Regions = list[tuple[int, int]]
APART = 32 * 1009  # numbers between the arrays of a buffer


class Memory:
    """An array, or a part of one from `start` on, of which every place is checked; if it is in `regions`, too.

    One on the device has a `record` of what is done with it.
    """

    def __init__(
        self, array: np.ndarray, start: int = 0, regions: Regions | None = None, record: Record | None = None
    ) -> None:
        self.regions, self.record = regions, record
        self.array, self.start, self.size, self.shape, self.dtype = array, start, array.size, array.shape, array.dtype

    def _checked(self, place: Any) -> Any:
        for at, size in zip(place if isinstance(place, tuple) else (place,), self.shape, strict=False):
            if not 0 <= at < size:
                raise IndexError(f"place {at} of {size}")
        if self.regions is not None and not any(begin <= self.start + place < end for begin, end in self.regions):
            raise IndexError(f"place {self.start + place} between {self.regions}")
        return place

    def __getitem__(self, place: Any) -> Any:
        last, most = (place[-1], self.shape[-1]) if isinstance(place, tuple) else (place, self.shape[0])
        if isinstance(last, slice):
            begin, end = last.start or 0, most if last.stop is None else last.stop
            if not 0 <= begin <= end <= most:
                raise IndexError(f"places {begin} to {end} of {most}")
            return Memory(self.array[place], self.start + begin, self.regions, self.record)
        if self.record is not None:
            self.record.read()
        found = self.array[self._checked(place)]
        return Memory(found, record=self.record) if isinstance(found, np.ndarray) else found.item()

    def __setitem__(self, place: Any, number: Any) -> None:
        if self.record is not None:
            self.record.write()
        self.array[self._checked(place)] = number

    def __len__(self) -> int:
        return len(self.array)

    def copy_to_device(self, values: Any) -> None:
        values = getattr(values, "array", values)
        assert values.shape == self.shape, (values.shape, self.shape)
        self.array[...] = values

    def copy_to_host(self, into: np.ndarray | None = None) -> np.ndarray:
        if into is None:
            return self.array.copy()
        into[...] = self.array
        return into


class Record:
    """Which launch was the last to write an array."""

    def __init__(self, gpu: Gpu) -> None:
        self.gpu, self.written = gpu, 0

    def read(self) -> None:
        if not self.gpu.waited and self.written == self.gpu.launches - 1:
            raise IndexError("what the launch before wrote is read before its end")

    def write(self) -> None:
        if not self.gpu.waited:
            raise IndexError("an array is written before the end of the launch before")
        self.written = self.gpu.launches


class Local(dict[Any, Any]):
    """A thread's own array: a place that is made of what was never put there does not fit into anything."""

    def __init__(self, shape: Any) -> None:
        places = range(shape) if isinstance(shape, int) else itertools.product(*map(range, shape))
        super().__init__(dict.fromkeys(places, math.nan))

    def __setitem__(self, place: Any, number: Any) -> None:
        if place not in self:
            raise IndexError(f"place {place} of a thread's own")
        super().__setitem__(place, number)


class Gpu:
    """What kernels and the host's side ask Numba's CUDA target for."""

    def __init__(self, every: int) -> None:
        self.every, self.threads, self.buffers = every, 0, dict[Any, Regions]()
        self.launches, self.waited = 1, True
        self.threadIdx, self.blockIdx, self.blockDim, self.gridDim = (SimpleNamespace(x=0, y=0) for _ in range(4))
        self.shared, self.local = SimpleNamespace(array=self._shared), SimpleNamespace(array=self._local)
        self.atomic = SimpleNamespace(add=self._add)

    def _shared(self, shape: Any, kind: Any, alignment: int | None = None) -> Memory:
        code = sys._getframe(1)
        where = code.f_code.co_filename, code.f_lineno
        if where not in self._block:
            self._block[where] = Memory(np.zeros(shape))
        return self._block[where]

    def _local(self, shape: Any, kind: Any) -> Local:
        return Local(shape)

    def _add(self, array: Memory, place: Any, number: int) -> int:
        array[place] += 0
        return self.gridDim.y - 1  # each block is the last one to come

    def syncthreads(self) -> None: ...

    threadfence = synchronize = syncthreads

    def wait(self) -> None:
        self.waited = True

    def device_array(self, shape: Any, kind: Any) -> Memory:
        return Memory(np.zeros(shape, kind), regions=self.buffers.get(shape), record=Record(self))

    def to_device(self, array: np.ndarray) -> Memory:
        return Memory(array.copy(), record=Record(self))

    def kernel(self, threads: int, *made_from: Any, blocks: int = 2) -> Any:
        return lambda function: Kernel(self, function, threads)

    def launch(self, function: Any, grid: Any, threads: int, in_graphs: bool, arguments: tuple[Any, ...]) -> None:
        self.launches += 1
        across = (*grid, 1) if isinstance(grid, tuple) else (grid, 1)
        self.gridDim.x, self.gridDim.y, self.blockDim.x = *across[:2], threads
        for block in itertools.product(*({0, size - 2, size - 1} - {-1} for size in across[:2])):
            self.blockIdx.x, self.blockIdx.y = block
            self._block: dict[Any, Memory] = {}
            for thread in sorted({*range(0, threads, self.every), threads - 1}):
                self.threadIdx.x, self.multiplied, self.threads = thread, set(), self.threads + 1
                self.waited = not in_graphs
                try:
                    function(*arguments)
                    if not self.waited:
                        raise IndexError("no wait for the end of the launch before")
                except (IndexError, KeyError, OverflowError, TypeError) as reason:
                    where = f"{function.__name__}, grid {grid}, block {block}, thread {thread}"
                    raise type(reason)(f"{reason}; {where}") from reason


class Kernel:
    def __init__(self, gpu: Gpu, function: Any, threads: int) -> None:
        self._gpu, self._function, self._threads = gpu, function, threads

    def __getitem__(self, launch: Any) -> Any:
        grid, threads, *stream = launch  # what graphs record is launched on a stream
        assert threads == self._threads
        return lambda *arguments: self._gpu.launch(self._function, grid, threads, bool(stream), arguments)


def stand_in(gpu: Gpu) -> None:
    """Let the engine's modules, which are not yet imported, be made with what is here."""
    from fastnn.cuda import target

    target.cuda, target.kernel = gpu, gpu.kernel  # type: ignore[assignment]
    target.device = target.plain = target.callee = lambda function: function  # type: ignore[assignment]
    target.meet = lambda: None
    from fastnn import losses
    from fastnn.cuda import dependent, formulas, tensor, vectors

    V = vectors.BYTES // 4

    def load(array: Any, at: Any, into: Any, place: Any) -> None:
        if (array.start + at) % V:
            raise IndexError(f"a vector at {array.start} + {at}")
        for i in range(V):
            into[place + i] = array[at + i]

    def store(array: Any, at: Any, values: Any, place: Any) -> None:
        if (array.start + at) % V:
            raise IndexError(f"a vector at {array.start} + {at}")
        for i in range(V):
            array[at + i] = values[place + i]

    def copy_vector(memory: Any, at: Any, array: Any, start: Any, there: bool) -> None:
        if at % V:
            raise IndexError(f"a vector in shared memory at {at}")
        load(array, start if there else 0, values := Local(V), 0)
        store(memory, at, values, 0)

    def copy_number(memory: Any, at: Any, array: Any, start: Any, there: bool) -> None:
        memory[at] = array[start] if there else 0

    def load_pair(array: Any, at: Any, into: Any, place: Any) -> None:
        if (array.start + at) % (V // 2):
            raise IndexError(f"half a vector at {array.start} + {at}")
        for i in range(V // 2):
            into[place + i] = array[at + i]

    vectors.load_pair, vectors.load, vectors.store, vectors.copy_vector, vectors.copy_number = (
        load_pair, load, store, copy_vector, copy_number
    )  # fmt: skip
    vectors.commit, vectors.wait, vectors.kept = lambda: None, lambda groups: None, lambda x: x
    vectors.based = lambda array: array
    dependent.await_previous = gpu.wait
    vectors.aligned = lambda array, row: array.start % V == 0 and row % V == 0
    tensor.rounded, tensor.multiply = lambda x: x, lambda *numbers: numbers[6:]
    tensor.thread_number = lambda: gpu.threadIdx.x
    formulas.activations = lambda F: (lambda code, x, slope: x, lambda code, y, slope: 1.0)
    formulas.over = lambda F, count: (lambda *numbers: None,) * 2
    formulas.dropout = lambda F: lambda x, *rest: x
    formulas.rule = lambda name, F: lambda w, g, m, v, c: (w, m, v)

    def over_columns(z: Any, target: Any, width: Any, step: int, lost: Any, hit: Any, space: Any, part: Any) -> None:
        for c in range(width):
            z[c] = z[c] * 0
        lost[0], hit[0], space[0], space[1] = target[0], 0, 0, 0

    formulas.loss = lambda name, F: over_columns
    terms = losses.Terms(lambda *x: x, lambda *x: x[:2], lambda *x: x[0], lambda *x: x[0])
    formulas.loss_terms = lambda name, F: (terms, losses.LOSSES[name].labels)
    from fastnn.cuda import (
        fetch,
        fused,
        head,
        head_block,
        held,
        layout,
        memory,
        partial_sums,
        phases,
        products,
        row_loss,
        slabs,
        tensor_groups,
        tensor_lanes,
        tensor_tiles,
        weights,
    )

    for module in (
        fetch, fused, head, head_block, held, partial_sums, phases, row_loss, tensor_groups, tensor_lanes, tensor_tiles,
        weights,
    ):  # fmt: skip
        module.U = unsigned
    products.np = slabs.np = SimpleNamespace(uint32=unsigned, uint64=int, dtype=np.dtype)
    tensor_groups.products = lambda *made_from: lambda *numbers: None
    memory.room = lambda: 2**40
    take = layout.Space.take

    def take_apart(space: Any, rows: int, units: int) -> int:
        begin, found = take(space, rows, units), vars(space).setdefault("regions", [])
        found.append((begin, begin + rows * units))
        space.end += APART
        gpu.buffers[space.end] = found
        return begin

    layout.Space.take = take_apart  # type: ignore[method-assign]
    multiply = products._multiply

    def once(F: type, shape: Any, *transposed: bool) -> Any:
        """A slab's places in shared memory depend on where it begins, in one of few places, and on nothing else."""
        add_slab = multiply(F, shape, *transposed)

        def add(memory: Any, a: Any, b: Any, within: Any, sums: Any) -> None:
            if (a, b) not in gpu.multiplied:
                gpu.multiplied.add((a, b))
                add_slab(memory, a, b, within, sums)

        return add

    products._multiply = once


def check(
    gpu: Gpu,
    layers: list[int],
    batch: int,
    rows: int,
    *,
    tf32: bool = False,
    large: bool = False,
    recovered: bool = False,
) -> None:
    """All launches of an epoch, a gradient and a validation; `large`: by the tiles of long batches and wide layers, and
    `recovered`: by tensor cores."""
    import fastnn as fnn
    from fastnn.cuda import engine, shapes, weights

    if large:
        shapes.MANY = weights.LONG = weights.WIDE = 1
    shapes.RECOVERED = recovered
    net = fnn.Network(layers)
    data = np.zeros((rows, layers[0]), np.float32), np.zeros(rows, np.int64)
    runner = engine.Runner(
        net.architecture._replace(tf32=tf32), net.storage, data, loss="cross_entropy", optimizer=fnn.Adam(),
        batch=batch, validation=data,
    )  # fmt: skip
    runner.prepare()
    for _ in range(runner.per_epoch):
        runner._aim(runner._slots - 1)
        runner._launch(0)
        runner.step += 1
    assert runner._scored is not None
    runner._scored.score()


def main(every: str, *cases: str) -> None:
    stand_in(gpu := Gpu(int(every)))
    for case in cases:
        check(gpu, **json.loads(case))
    sys.stdout.write(str(gpu.threads))


if __name__ == "__main__":
    main(*sys.argv[1:])
