"""The micro-kernel of every matrix product, written as LLVM vector code.

    C[i, j] = beta * S[i, j] + alpha * sum_k A[i, k] B[k, j]        i < rows, j < vectors * lanes

A tile of C stays in vector registers over the whole sum, which runs over k in order, one fused multiply-add a term: an
element's bits do not depend on the tile that computes it. A's two strides are free, so X W (forward), D W^T
(backward) and X^T D (weight gradient) are one kernel. S is a matrix (the weights that an update changes), or with a row
stride of 0 one row added to all (the bias, or zeros).

A kernel that `fetches` brings its tile's place in C into the first cache before the sum, and the next panel of B
meanwhile. Where the last cache is shared with others, 784-512-512-10 takes 5 to 30 % less (medians of 41 to 81 turns).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from fastnn.cpu.machine import lanes, machine

LINE = 64  # bytes of a cache line
BIT, I32, I64 = ir.IntType(1), ir.IntType(32), ir.IntType(64)
BYTES = ir.IntType(8).as_pointer()
Sums = dict[tuple[int, int], Any]  # a tile's vectors by row and number


def real(F: type) -> ir.Type:
    """LLVM's name of F."""
    return ir.FloatType() if F is np.float32 else ir.DoubleType()


def whole(n: int) -> ir.Constant:
    """A constant of 64 bits."""
    return ir.Constant(I64, n)


class _Rows:
    """Instructions on rows of `vectors` vectors of F; with `masked` the last has `columns` modulo lanes numbers."""

    def __init__(self, b: ir.IRBuilder, F: type, vectors: int, masked: bool, columns: Any) -> None:
        self.b, self.vectors, self.masked = b, vectors, masked
        self.width, self.size, self.real = lanes(F), np.dtype(F).itemsize, real(F)
        self.vector, self.integers = ir.VectorType(self.real, self.width), ir.VectorType(I32, self.width)
        self.zero = ir.Constant(self.vector, [0.0] * self.width)
        suffix, mask = f"v{self.width}f{self.size * 8}", ir.VectorType(BIT, self.width)
        place = self.vector.as_pointer()
        # fmuladd, not fma: without the instruction LLVM then multiplies and adds instead of calling libm.
        self._fma = self._function(f"llvm.fmuladd.{suffix}", self.vector, [self.vector] * 3)
        self._prefetch = self._function("llvm.prefetch.p0", ir.VoidType(), [BYTES, I32, I32, I32])
        if masked:
            self._left = b.trunc(b.sub(columns, whole((vectors - 1) * self.width)), I32)
            every = ir.Constant(self.integers, list(range(self.width)))
            self._mask = b.icmp_signed("<", every, self.splat(self._left, self.integers))
            self._masked_load = self._function(
                f"llvm.masked.load.{suffix}.p0", self.vector, [place, I32, mask, self.vector]
            )
            self._masked_store = self._function(
                f"llvm.masked.store.{suffix}.p0", ir.VoidType(), [self.vector, place, I32, mask]
            )

    def _function(self, name: str, result: ir.Type, arguments: list[ir.Type]) -> Any:
        return cgutils.get_or_insert_function(self.b.module, ir.FunctionType(result, arguments), name)

    def splat(self, x: Any, kind: ir.VectorType | None = None) -> Any:
        """A vector of one number."""
        empty, first = ir.Constant(kind or self.vector, ir.Undefined), ir.Constant(I32, 0)
        return self.b.shuffle_vector(
            self.b.insert_element(empty, x, first), empty, ir.Constant(self.integers, [0] * self.width)
        )

    def fma(self, a: Any, x: Any, y: Any) -> Any:
        """a x + y."""
        return self.b.call(self._fma, [a, x, y])

    def fetch(self, row: Any) -> None:
        """Bring a row into the first cache."""
        for n in range(0, self.vectors * self.width, LINE // self.size):
            address = self.b.bitcast(self.b.gep(row, [whole(n)]), BYTES)
            self.b.call(self._prefetch, [address, ir.Constant(I32, 0), ir.Constant(I32, 3), ir.Constant(I32, 1)])

    def _at(self, row: Any, v: int) -> Any:
        return self.b.bitcast(self.b.gep(row, [whole(v * self.width)]), self.vector.as_pointer())

    def _is_part(self, v: int) -> bool:
        return self.masked and v == self.vectors - 1

    def load(self, row: Any, v: int) -> Any:
        """Vector v of a row; zeros where it has no numbers."""
        if self._is_part(v):
            align = ir.Constant(I32, self.size)
            return self.b.call(self._masked_load, [self._at(row, v), align, self._mask, self.zero])
        return self.b.load(self._at(row, v), align=self.size)

    def store(self, x: Any, row: Any, v: int) -> None:
        """Write vector v of a row."""
        if self._is_part(v):
            self.b.call(self._masked_store, [x, self._at(row, v), ir.Constant(I32, self.size), self._mask])
        else:
            self.b.store(x, self._at(row, v), align=self.size)

    def store_ends(self, ends: list[Any], rows: list[Any]) -> None:
        """Write the last vector of each row, which has no more than `left` numbers: whole, or a half, quarter ... as
        the bits of `left` say.

        A masked store is microcode on AVX2 hardware of AMD: 32x10 with 32 terms 510 -> 405 ns, 16x2 237 -> 174.
        """
        b, size = self.b, self.width
        places = [b.gep(row, [whole((self.vectors - 1) * self.width)]) for row in rows]
        while size:
            bit = b.and_(self._left, ir.Constant(I32, size))
            written = b.icmp_signed("!=", bit, ir.Constant(I32, 0))
            lower, upper = ends, ends
            if size < self.width:
                order = [ir.Constant(ir.VectorType(I32, size), list(range(n, n + size))) for n in (0, size)]
                lower, upper = ([b.shuffle_vector(x, x, half) for x in ends] for half in order)
            with b.if_then(written):
                for x, place in zip(lower, places, strict=True):
                    b.store(x, b.bitcast(place, x.type.as_pointer()), align=self.size)
            if size < self.width:
                ends = [b.select(written, two, one) for one, two in zip(lower, upper, strict=True)]
                places = [b.gep(place, [bit]) for place in places]
            size //= 2


class _Tile:
    """A tile of C in registers: the sum of its terms, and what is written. `args` are the kernel's."""

    def __init__(self, line: _Rows, rows: int, fetches: bool, args: list[Any]) -> None:
        self.line, self.b, self.rows, self.height, self.fetches = line, line.b, rows, rows, fetches
        self.A, self.B, self.S, self.C = (self.b.inttoptr(p, line.real.as_pointer()) for p in args[:4])
        self.K, self.row_a, self.column_a, self.row_b, self.row_s, self.row_c, self.ahead = args[4:11]
        self.alpha, self.beta = args[12:]
        self.cells = [(i, v) for i in range(rows) for v in range(line.vectors)]

    def rows_of(self, matrix: Any, stride: Any, count: int) -> list[Any]:
        """Where the first `count` rows of a matrix begin."""
        return [self.b.gep(matrix, [self.b.mul(whole(i), stride)]) for i in range(count)]

    def sum(self) -> Sums:
        """All terms, in order."""
        self._a_rows = self.rows_of(self.A, self.row_a, self.rows)
        for row in self.rows_of(self.C, self.row_c, self.rows) if self.fetches else []:
            self.line.fetch(row)
        return self.terms(whole(0), self.K, 1, dict.fromkeys(self.cells, self.line.zero))

    def term(self, k: Any, sums: Sums) -> Sums:
        """The sums with term k."""
        b, line = self.b, self.line
        row, column = b.gep(self.B, [b.mul(k, self.row_b)]), b.mul(k, self.column_a)
        b_row = [line.load(row, v) for v in range(line.vectors)]
        if self.fetches:
            line.fetch(b.gep(row, [self.ahead]))
        longer = {}
        for i in range(self.rows):
            a = line.splat(b.load(b.gep(self._a_rows[i], [column])))
            for v in range(line.vectors):
                longer[i, v] = line.fma(a, b_row[v], sums[i, v])
        return longer

    def terms(self, begin: Any, end: Any, at_once: int, before: Sums) -> Sums:
        """The sums with terms begin .. end, a multiple of `at_once`."""
        b = self.b
        entry, loop, done = b.block, b.append_basic_block("k"), b.append_basic_block("k.end")
        b.cbranch(b.icmp_signed("<", begin, end), loop, done)
        b.position_at_end(loop)
        k = b.phi(I64)
        sums = {cell: b.phi(self.line.vector) for cell in self.cells}
        longer = sums
        for n in range(at_once):
            longer = self.term(b.add(k, whole(n)) if n else k, longer)
        # A step that LLVM does not know: unrolled by it, the loop walks from row to row of A by one pointer and
        # keeps sums in memory. row_b is not negative. 16x4, 640 terms: 2.87 -> 2.01 us; all compiles faster.
        after = b.add(k, b.add(whole(at_once), b.lshr(self.row_b, whole(63))))
        b.cbranch(b.icmp_signed("<", after, end), loop, done)
        b.position_at_end(done)
        total = {cell: b.phi(self.line.vector) for cell in self.cells}
        for block, number, found in ((entry, begin, before), (loop, after, longer)):
            k.add_incoming(number, block)
            for cell in self.cells:
                sums[cell].add_incoming(found[cell], block)
                total[cell].add_incoming(found[cell], block)
        return total

    def write(self, total: Sums) -> None:
        """beta S + alpha times the sums; S + the sums, where both are 1."""
        b, line = self.b, self.line
        from_rows, to_rows = (self.rows_of(*of, self.height) for of in ((self.S, self.row_s), (self.C, self.row_c)))
        alphas, betas = line.splat(self.alpha), line.splat(self.beta)
        whole_rows = line.vectors - (line.masked and not machine().masks)  # what is left is written in parts
        as_is = [b.fcmp_ordered("==", factor, ir.Constant(line.real, 1.0)) for factor in (self.alpha, self.beta)]
        ends = []
        with b.if_else(b.and_(*as_is)) as (added, scaled):
            for branch in (added, scaled):
                with branch:
                    written = {}
                    for i in range(self.height):
                        for v in range(line.vectors):
                            before, x = line.load(from_rows[i], v), total[i, v]
                            if branch is added:
                                written[i, v] = b.fadd(before, x)
                            else:
                                written[i, v] = line.fma(betas, before, b.fmul(alphas, x))
                            if v < whole_rows:
                                line.store(written[i, v], to_rows[i], v)
                    ends.append((written, b.block))
        if whole_rows < line.vectors:
            rests = [b.phi(line.vector) for _ in range(self.height)]
            for written, block in ends:
                for i, rest in enumerate(rests):
                    rest.add_incoming(written[i, whole_rows], block)
            line.store_ends(rests, to_rows)


class _Ones(_Tile):
    """A tile whose A is all 1 and not read: C is one row, the sum of all rows of B, `rows` of them a term."""

    def __init__(self, line: _Rows, rows: int, fetches: bool, args: list[Any]) -> None:
        super().__init__(line, rows, fetches, args)
        self.height = 1

    def sum(self) -> Sums:
        """All terms in order, those of each of `rows` runs; then the runs."""
        total = dict.fromkeys(self.cells, self.line.zero)
        most = whole(0)
        if self.rows == 1:
            # Without A's numbers four terms are few enough instructions for what comes next to begin meanwhile.
            most = self.b.and_(self.K, whole(-4))
            total = self.terms(whole(0), most, 4, total)
        total = self.terms(most, self.K, 1, total)
        for i, v in self.cells[self.line.vectors :]:
            total[0, v] = self.b.fadd(total[0, v], total[i, v])
        return total

    def term(self, k: Any, sums: Sums) -> Sums:
        """The sums with rows k * rows ... of B."""
        b = self.b
        first = b.mul(k, whole(self.rows))
        each = [b.gep(self.B, [b.mul(b.add(first, whole(i)), self.row_b)]) for i in range(self.rows)]
        return {(i, v): b.fadd(self.line.load(each[i], v), sums[i, v]) for i, v in self.cells}


def micro_kernel(F: type, rows: int, vectors: int, masked: bool, fetches: bool, ones: bool = False) -> Any:
    """The intrinsic for a tile of rows x vectors; with `masked` the last vector has `columns` modulo lanes columns.

    Arguments: addresses A, B, S, C; the sum's length K; strides in elements: of A by row and by column, of the rows of
    B, S and C; how far ahead of B the next panel lies; `columns` of the tile; alpha and beta of type F. With
    `ones` A's numbers are all 1 and not read: C is one row, the sum of K times `rows` rows of B.
    """
    number = types.float32 if F is np.float32 else types.float64

    @intrinsic
    def kernel(typingctx, A, B, S, C, K, row_a, column_a, row_b, row_s, row_c, ahead, columns, alpha, beta):
        def codegen(context, b, signature, args):
            line = _Rows(b, F, vectors, masked, args[11])
            tile = (_Ones if ones else _Tile)(line, rows, fetches, args)
            tile.write(tile.sum())
            return context.get_dummy_value()

        return types.void(*([types.intp] * 12 + [number] * 2)), codegen

    return kernel


def zeros_kernel(F: type, count: int) -> Any:
    """The intrinsic for the address of `count` zeros."""
    kind = ir.ArrayType(real(F), count)

    @intrinsic
    def zeros(typingctx):
        def codegen(context, b, signature, args):
            return b.ptrtoint(cgutils.global_constant(b, "zeros", ir.Constant(kind, None)), I64)

        return types.intp(), codegen

    return zeros


def transpose_kernel(F: type) -> Any:
    """The intrinsic that writes a block's transpose: T[j, i] = S[i, j] for i < lanes and j < min(columns, lanes).

    Arguments: addresses S and T, their strides from row to row in elements, rows, columns. Of rows i >= `rows` S has
    none: the last one stands in for them.
    """
    width, align = lanes(F), np.dtype(F).itemsize
    vector, integers = ir.VectorType(real(F), width), ir.VectorType(I32, width)

    @intrinsic
    def transpose(typingctx, S, T, row_s, row_t, rows, columns):
        def codegen(context, b, signature, args):
            S, T = (b.inttoptr(p, real(F).as_pointer()) for p in args[:2])
            row_s, row_t, rows, columns = args[2:]
            last = b.sub(rows, whole(1))
            block = []
            for i in range(width):
                number = whole(i)
                row = b.select(b.icmp_signed("<", number, last), number, last)
                block.append(b.load(b.bitcast(b.gep(S, [b.mul(row, row_s)]), vector.as_pointer()), align=align))
            distance = width // 2
            while distance:
                # Rows i and i + distance swap the elements that lie `distance` off the diagonal.
                for i in range(width):
                    if not i & distance:
                        one, two = block[i], block[i + distance]
                        above = [j - distance + width if j & distance else j for j in range(width)]
                        below = [j + width if j & distance else j + distance for j in range(width)]
                        block[i] = b.shuffle_vector(one, two, ir.Constant(integers, above))
                        block[i + distance] = b.shuffle_vector(one, two, ir.Constant(integers, below))
                distance //= 2
            for j in range(width):
                number = whole(j)
                with b.if_then(b.icmp_signed("<", number, columns)):
                    b.store(block[j], b.bitcast(b.gep(T, [b.mul(number, row_t)]), vector.as_pointer()), align=align)
            return context.get_dummy_value()

        return types.void(*[types.intp] * 6), codegen

    return transpose
