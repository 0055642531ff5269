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


def micro_kernel(F: type, rows: int, vectors: int, masked: bool, fetches: bool, ones: bool = False) -> Any:
    """The intrinsic for a tile of rows x vectors; with `masked` the last vector has `columns` modulo lanes columns.

    Arguments: addresses A, B, S, C; the sum's length K; strides in elements: of A by row and by column, of the rows of
    B, S and C; how far ahead of B the next panel lies; `columns` of the tile; alpha and beta of type F. With
    `ones` A's numbers are all 1 and not read: C is one row, the sum of K times `rows` rows of B.
    """
    width = lanes(F)
    number = types.float32 if F is np.float32 else types.float64
    real = ir.FloatType() if F is np.float32 else ir.DoubleType()
    suffix = f"v{width}f{np.dtype(F).itemsize * 8}"
    align = np.dtype(F).itemsize
    vector, mask_of, integers = ir.VectorType(real, width), ir.VectorType(BIT, width), ir.VectorType(I32, width)

    def constant(n: int) -> ir.Constant:
        return ir.Constant(I64, n)

    def splat(b: ir.IRBuilder, x: Any, kind: ir.VectorType) -> Any:
        empty = ir.Constant(kind, ir.Undefined)
        return b.shuffle_vector(
            b.insert_element(empty, x, ir.Constant(I32, 0)), empty, ir.Constant(integers, [0] * width)
        )

    @intrinsic
    def kernel(typingctx, A, B, S, C, K, row_a, column_a, row_b, row_s, row_c, ahead, columns, alpha, beta):
        signature = types.void(*([types.intp] * 12 + [number] * 2))

        def codegen(context, b, signature, args):
            A, B, S, C = (b.inttoptr(p, real.as_pointer()) for p in args[:4])
            K, row_a, column_a, row_b, row_s, row_c, ahead, columns, alpha, beta = args[4:]
            module, zero = b.module, ir.Constant(vector, [0.0] * width)
            # fmuladd, not fma: without the instruction LLVM then multiplies and adds instead of calling libm.
            fma = cgutils.get_or_insert_function(
                module, ir.FunctionType(vector, [vector] * 3), f"llvm.fmuladd.{suffix}"
            )
            if masked:
                left = b.trunc(b.sub(columns, constant((vectors - 1) * width)), I32)
                mask = b.icmp_signed("<", ir.Constant(integers, list(range(width))), splat(b, left, integers))
                masked_load = cgutils.get_or_insert_function(
                    module,
                    ir.FunctionType(vector, [vector.as_pointer(), I32, mask_of, vector]),
                    f"llvm.masked.load.{suffix}.p0",
                )
                masked_store = cgutils.get_or_insert_function(
                    module,
                    ir.FunctionType(ir.VoidType(), [vector, vector.as_pointer(), I32, mask_of]),
                    f"llvm.masked.store.{suffix}.p0",
                )

            byte = ir.IntType(8).as_pointer()
            prefetch = cgutils.get_or_insert_function(
                module, ir.FunctionType(ir.VoidType(), [byte, I32, I32, I32]), "llvm.prefetch.p0"
            )

            def fetch(pointer):
                for n in range(0, vectors * width if fetches else 0, LINE // align):
                    address = b.bitcast(b.gep(pointer, [constant(n)]), byte)
                    b.call(prefetch, [address, ir.Constant(I32, 0), ir.Constant(I32, 3), ir.Constant(I32, 1)])

            def at(pointer, v):
                return b.bitcast(b.gep(pointer, [constant(v * width)]), vector.as_pointer())

            def load(pointer, v):
                if masked and v == vectors - 1:
                    return b.call(masked_load, [at(pointer, v), ir.Constant(I32, align), mask, zero])
                return b.load(at(pointer, v), align=align)

            def store(x, pointer, v):
                if masked and v == vectors - 1:
                    b.call(masked_store, [x, at(pointer, v), ir.Constant(I32, align), mask])
                else:
                    b.store(x, at(pointer, v), align=align)

            def store_ends(ends):
                """Write the first `left` numbers of each row's end: whole, or a half, quarter ... as its bits say.

                A masked store is microcode on AVX2 hardware of AMD: 32x10 with 32 terms 510 -> 405 ns, 16x2 237 -> 174.
                """
                places = [
                    b.gep(C, [b.add(b.mul(constant(i), row_c), constant((vectors - 1) * width))]) for i in range(height)
                ]
                size = width
                while size:
                    bit = b.and_(left, ir.Constant(I32, size))
                    written = b.icmp_signed("!=", bit, ir.Constant(I32, 0))
                    lower, upper = ends, ends
                    if size < width:
                        order = [ir.Constant(ir.VectorType(I32, size), list(range(n, n + size))) for n in (0, size)]
                        lower, upper = ([b.shuffle_vector(x, x, half) for x in ends] for half in order)
                    with b.if_then(written):
                        for x, place in zip(lower, places, strict=True):
                            b.store(x, b.bitcast(place, x.type.as_pointer()), align=align)
                    if size < width:
                        ends = [b.select(written, two, one) for one, two in zip(lower, upper, strict=True)]
                        places = [b.gep(place, [bit]) for place in places]
                    size //= 2

            height = 1 if ones else rows
            cells = [(i, v) for i in range(rows) for v in range(vectors)]
            a_rows = [b.gep(A, [b.mul(constant(i), row_a)]) for i in range(rows)]
            for i in range(rows):
                fetch(b.gep(C, [b.mul(constant(i), row_c)]))

            def term(k, sums):
                """The sums with term k."""
                row, column = b.gep(B, [b.mul(k, row_b)]), b.mul(k, column_a)
                if ones:
                    each = [b.gep(B, [b.mul(b.add(b.mul(k, constant(rows)), constant(i)), row_b)]) for i in range(rows)]
                    return {(i, v): b.fadd(load(each[i], v), sums[i, v]) for i, v in cells}
                b_row = [load(row, v) for v in range(vectors)]
                fetch(b.gep(row, [ahead]))
                longer = {}
                for i in range(rows):
                    a = splat(b, b.load(b.gep(a_rows[i], [column])), vector)
                    for v in range(vectors):
                        longer[i, v] = b.call(fma, [a, b_row[v], sums[i, v]])
                return longer

            def terms(begin, end, at_once, before):
                """The sums with terms begin .. end, a multiple of `at_once`."""
                entry, loop, done = b.block, b.append_basic_block("k"), b.append_basic_block("k.end")
                b.cbranch(b.icmp_signed("<", begin, end), loop, done)
                b.position_at_end(loop)
                k = b.phi(I64)
                sums = {cell: b.phi(vector) for cell in cells}
                longer = sums
                for n in range(at_once):
                    longer = term(b.add(k, constant(n)) if n else k, longer)
                # A step that LLVM does not know: unrolled by it, the loop walks from row to row of A by one pointer and
                # keeps sums in memory. row_b is not negative. 16x4, 640 terms: 2.87 -> 2.01 us; all compiles faster.
                after = b.add(k, b.add(constant(at_once), b.lshr(row_b, constant(63))))
                b.cbranch(b.icmp_signed("<", after, end), loop, done)
                b.position_at_end(done)
                total = {cell: b.phi(vector) for cell in cells}
                for phis, block, number, found in ((sums, entry, begin, before), (sums, loop, after, longer)):
                    if phis is sums:
                        k.add_incoming(number, block)
                    for cell in cells:
                        phis[cell].add_incoming(found[cell], block)
                for cell in cells:
                    total[cell].add_incoming(before[cell], entry)
                    total[cell].add_incoming(longer[cell], loop)
                return total

            # Without A's numbers four terms are few enough instructions for what comes next to begin meanwhile.
            most = b.and_(K, constant(-4)) if ones and rows == 1 else constant(0)
            total = dict.fromkeys(cells, zero)
            if ones and rows == 1:
                total = terms(constant(0), most, 4, total)
            total = terms(most, K, 1, total)
            for i, v in cells[vectors:] if ones else []:
                total[0, v] = b.fadd(total[0, v], total[i, v])
            alphas, betas = splat(b, alpha, vector), splat(b, beta, vector)
            in_parts, ends = masked and not machine().masks, []
            as_is = [b.fcmp_ordered("==", number, ir.Constant(real, 1.0)) for number in (alpha, beta)]
            with b.if_else(b.and_(*as_is)) as (added, scaled):
                for branch in (added, scaled):
                    with branch:
                        last = []
                        for i in range(height):
                            from_row = b.gep(S, [b.mul(constant(i), row_s)])
                            to_row = b.gep(C, [b.mul(constant(i), row_c)])
                            for v in range(vectors):
                                before, x = load(from_row, v), total[i, v]
                                if branch is added:
                                    x = b.fadd(before, x)
                                else:
                                    x = b.call(fma, [betas, before, b.fmul(alphas, x)])
                                if in_parts and v == vectors - 1:
                                    last.append(x)
                                else:
                                    store(x, to_row, v)
                        ends.append((last, b.block))
            if in_parts:
                rests = [b.phi(vector) for _ in range(height)]
                for last, block in ends:
                    for rest, x in zip(rests, last, strict=True):
                        rest.add_incoming(x, block)
                store_ends(rests)
            return context.get_dummy_value()

        return signature, codegen

    return kernel


def zeros_kernel(F: type, count: int) -> Any:
    """The intrinsic for the address of `count` zeros."""
    kind = ir.ArrayType(ir.FloatType() if F is np.float32 else ir.DoubleType(), count)

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
    width = lanes(F)
    real = ir.FloatType() if F is np.float32 else ir.DoubleType()
    align = np.dtype(F).itemsize
    vector, integers = ir.VectorType(real, width), ir.VectorType(I32, width)

    @intrinsic
    def transpose(typingctx, S, T, row_s, row_t, rows, columns):
        def codegen(context, b, signature, args):
            S, T = (b.inttoptr(p, real.as_pointer()) for p in args[:2])
            row_s, row_t, rows, columns = args[2:]
            last = b.sub(rows, ir.Constant(I64, 1))
            block = []
            for i in range(width):
                number = ir.Constant(I64, i)
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
                number = ir.Constant(I64, j)
                with b.if_then(b.icmp_signed("<", number, columns)):
                    b.store(block[j], b.bitcast(b.gep(T, [b.mul(number, row_t)]), vector.as_pointer()), align=align)
            return context.get_dummy_value()

        return types.void(*[types.intp] * 6), codegen

    return transpose
