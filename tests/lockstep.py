"""Tiles of products by tensor cores, as `fastnn.cuda` computes them, in plain Python.

    python lockstep.py

The threads of a block go one after the other, twice: in the first turn they bring both slabs of large tiles to shared
memory, and what they read of it counts in the second. What a warp multiplies is known when its 32 lanes have gone:
then each instruction is carried out as NVIDIA's manual lays mma.m16n8k8 out. Numbers are whole, and are rounded to
multiples of 16, so that it shows exactly which products are left out. Prints the products that were checked.
"""

from __future__ import annotations

import json
import sys
from types import SimpleNamespace
from typing import Any

import numpy as np

LANES = 32


class Later:
    """A number of which an instruction's part is known when the other lanes have gone."""

    def __init__(self, *parts: Any) -> None:
        self.parts = parts

    def __add__(self, other: Any) -> Later:
        return Later(self, other)

    __radd__ = __add__

    def value(self) -> float:
        return sum(map(known, self.parts))


class Instruction:
    """A lane's factors and sums of one; `found`, its four sums, are there when the warp has carried it out."""

    def __init__(self, numbers: tuple[Any, ...]) -> None:
        self.numbers, self.found = numbers, [0.0] * 4


class OneOf(Later):
    def __init__(self, instruction: Instruction, which: int) -> None:
        self.instruction, self.which = instruction, which

    def value(self) -> float:
        return self.instruction.found[self.which]


def known(number: Any) -> float:
    return number.value() if isinstance(number, Later) else float(number)


class Block:
    """What a tile asks Numba's CUDA target for, and the instructions of each lane of the warp that goes."""

    def __init__(self) -> None:
        self.threadIdx, self.lanes, self.turn = SimpleNamespace(x=0), list[list[Instruction]](), 0
        self.local = SimpleNamespace(array=lambda shape, kind: dict.fromkeys(range(shape), np.nan))

    def syncthreads(self) -> None: ...

    def multiply(self, *numbers: Any) -> tuple[Any, ...]:
        if not self.turn:
            return (0,) * 4
        self.lanes[-1].append(Instruction(numbers))
        return tuple(OneOf(self.lanes[-1][-1], which) for which in range(4))

    def carry_out(self) -> None:
        for warp in zip(*self.lanes, strict=True):
            a, b, c = np.zeros((16, 8)), np.zeros((8, 8)), np.zeros((16, 8))
            for lane, one in enumerate(warp):
                g, t, numbers = lane >> 2, lane & 3, [known(number) for number in one.numbers]
                a[g, t], a[g + 8, t], a[g, t + 4], a[g + 8, t + 4], b[t, g], b[t + 4, g] = numbers[:6]
                c[g, 2 * t : 2 * t + 2], c[g + 8, 2 * t : 2 * t + 2] = numbers[6:8], numbers[8:]
            c += a @ b
            for lane, one in enumerate(warp):
                g, t = lane >> 2, lane & 3
                one.found = [*c[g, 2 * t : 2 * t + 2], *c[g + 8, 2 * t : 2 * t + 2]]
        self.lanes = []


def stand_in(block: Block) -> None:
    """Let what tiles are made of be made with what is here."""
    from fastnn.cuda import target

    target.cuda, target.device = block, lambda function: function  # type: ignore[assignment]
    from fastnn.cuda import tensor, vectors

    def load(count: int) -> Any:
        def load_some(array: Any, at: Any, into: Any, place: Any) -> None:
            assert at % count == 0
            for i in range(count):
                into[place + i] = array[at + i]

        return load_some

    def copy(count: int) -> Any:
        def copy_some(memory: Any, at: Any, array: Any, start: Any, there: bool) -> None:
            assert at % count == 0 and (not there or start % count == 0)
            memory[at : at + count] = array[start : start + count] if there else 0

        return copy_some

    def store(array: Any, at: Any, values: Any, place: Any) -> None:
        assert at % 4 == 0
        array[at : at + 4] = [known(values[place + i]) for i in range(4)]

    vectors.store, vectors.based = store, lambda array: array
    vectors.load, vectors.load_pair, vectors.copy_vector, vectors.copy_number = load(4), load(2), copy(4), copy(1)
    vectors.commit, vectors.wait = lambda: None, lambda groups: None
    vectors.aligned, vectors.kept = lambda array, row: row % 4 == 0, lambda x: x
    tensor.rounded, tensor.multiply = lambda x: x // 16 * 16, block.multiply
    tensor.thread_number = lambda: block.threadIdx.x


def check(block: Block, tile: str, tensor: int, a: bool, b: bool, sizes: tuple[int, int, int], late: int) -> None:
    """C = A B with rows of A gathered and, if it is transposed (`a`), a last row of ones and `late` columns of 0."""
    from fastnn.cuda import products, shapes, slabs, tensor_groups, tensor_lanes, tensor_tiles

    plain = SimpleNamespace(uint32=int, uint64=int, dtype=np.dtype)
    products.np = slabs.np = plain  # type: ignore[assignment,attr-defined]
    for module in (tensor_groups, tensor_lanes, tensor_tiles):
        module.U = int  # type: ignore[assignment,misc]
    M, N, K = sizes
    shape, rng = getattr(shapes.OF_TENSOR, tile)._replace(tensor=tensor), np.random.default_rng(0)
    spread = max(M, K) + 7
    left, right = rng.integers(0, 99, (spread, M if a else K)), rng.integers(0, 99, (N, K) if b else (K, N))
    order, gathered = rng.permutation(spread)[: K if a else M], late == 0
    lines = left[order] if gathered else left[: len(order) - late if a else len(order)]
    if a:
        lines = np.concatenate([np.vstack([np.zeros((late, M)), lines]), np.ones((K, 1))], axis=1)
    A, B = (lines.T if a else lines), (right.T if b else right)
    memory = np.full(shapes.room(shape, a, b), np.nan)
    found = np.full((shape.rows, shape.columns), np.nan)
    accumulate, add_groups = products.product(np.float32, shape, a, b)
    row, column = products.place(np.float32, shape, a, b)
    given = left.ravel(), left.shape[1], right.ravel(), right.shape[1], order, gathered, late, len(A), N, 0, K, 0, 0
    sums: list[dict[int, Any]] = []
    for block.turn in range(2):
        sums = []
        for first in range(0, shape.threads, LANES):
            for block.threadIdx.x in range(first, first + LANES):
                block.lanes.append([])
                accumulate(*given, memory, own := {})
                sums.append(own)
            block.carry_out()
    for _ in range(2):  # what groups leave to each other is there in the second turn
        for block.threadIdx.x, own in enumerate(sums):
            add_groups(memory, own, out := {})
            for (i, j), number in out.items():
                found[row(i), column(j)] = known(number)
    expected = A @ B - (A % 16) @ (B % 16) if tensor == 3 else (A - A % 16) @ (B - B % 16)
    np.testing.assert_array_equal(found[: len(A), :N], expected[: shape.rows])


def main() -> None:
    stand_in(block := Block())
    cases: list[tuple[str, int, bool, bool, tuple[int, int, int], int]] = [
        ("large", 3, False, False, (52, 96, 28), 0),
        ("large", 3, False, True, (64, 128, 32), 0),
        ("large", 3, True, False, (52, 96, 28), 3),
        ("large", 1, True, False, (36, 128, 20), 0),
        ("large", 3, True, False, (50, 10, 23), 0),
        ("large", 3, False, True, (64, 121, 30), 0),
        ("slim", 3, False, False, (16, 32, 276), 0),
        ("slim", 1, False, True, (13, 28, 40), 0),
        ("slim", 3, False, True, (16, 31, 39), 0),
        ("small", 3, False, False, (27, 10, 141), 0),
        ("small", 3, False, True, (32, 32, 136), 0),
        ("short", 3, True, False, (28, 64, 37), 3),
        ("short", 3, True, False, (31, 44, 40), 0),
        ("short", 1, True, False, (31, 64, 20), 0),
        ("short", 3, True, False, (24, 10, 24), 0),
    ]
    for case in cases:
        check(block, *case)
    sys.stdout.write(json.dumps(len(cases)))


if __name__ == "__main__":
    main()
