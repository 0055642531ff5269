"""Small networks abreast: one in each lane of a vector, all of them in the same step.

Rows of a small network are shorter than a vector and its loops end before they have begun; numbers of as many networks
as a vector has lanes, side by side, make every product and every function of a step whole vectors, and no weight needs
a transposed copy. Each lane does what `phases` does for a network alone, sum by sum in the same order: the same bits.

Legend: L lanes, P parameters, R rows of a batch, I and O units before and after a layer. Buffers are (R, units, L) and
parameters (P, L); update rules with a memory, whose coefficients are those of one network, get their numbers network by
network.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from fastnn.compiler import block, inner, once
from fastnn.cpu import blocks
from fastnn.cpu.machine import lanes, machine
from fastnn.cpu.primitives import call, move

I64 = ir.IntType(64)


class Abreast(NamedTuple):
    """What a step of L networks writes. Offsets count numbers in `buffer`."""

    parameters: np.ndarray  # F (P * L,)
    gradient: np.ndarray  # F (P * L,), empty where the update is part of the product
    own: np.ndarray  # F (L, P): parameters network by network, for the update rule
    own_gradient: np.ndarray  # F (P,)
    m: np.ndarray  # F (L, P or 0): what the optimizer remembers
    v: np.ndarray  # F
    buffer: np.ndarray  # F
    outputs: np.ndarray  # (layers + 1,) where the batch's outputs of units l begin
    deltas: np.ndarray  # (layers + 1,)
    samples: np.ndarray  # int64 (R * L,): the samples of each network's batch
    space: np.ndarray  # F (2 * R * L,), for the loss
    columns: np.ndarray  # F (O * R * L,), for the loss: its outputs
    wanted: np.ndarray  # F (O * R * L,): and targets
    row_losses: np.ndarray  # F (R * L,)
    row_hits: np.ndarray  # F
    orders: np.ndarray  # int64 (L, n): each network's order of samples
    network: np.ndarray  # int64 (L,): who is in the lane
    live: np.ndarray  # int64 (L,): 0 for a lane whose results nobody wants
    losses: np.ndarray  # float64 (L, steps of an epoch)
    hits: np.ndarray  # float64
    ones: np.ndarray  # F (L,)
    alpha: np.ndarray  # F (L,): coefficients of gradient and parameter in each lane's update
    beta: np.ndarray  # F (L,)
    product: int  # address
    loss: int  # address


@inner
def step(net, work, data, a, rows):
    """One update of all lanes from the batches whose samples are a.samples (rows, L)."""
    L, F, last = a.ones.size, net.one.itemsize, net.sizes.size - 1
    base, ones, weights = a.buffer.ctypes.data, a.ones.ctypes.data, a.parameters.ctypes.data
    width = net.sizes[0]
    for lane in range(L):
        for r in range(rows):
            source = data.inputs + a.samples[r * L + lane] * data.row * F
            to = base + (a.outputs[0] + r * width * L + lane) * F
            for i in range(width):
                move(to + i * L * F, source + i * F, net.one[0])
    for layer in range(last):
        fan_in, fan_out = net.sizes[layer], net.sizes[layer + 1]
        x, z = base + a.outputs[layer] * F, base + a.outputs[layer + 1] * F
        weight, bias = weights + net.weight[layer] * L * F, weights + net.bias[layer] * L * F
        call(a.product, (x, fan_in, 1, weight, fan_out, 1, bias, 0, z, fan_out, rows, fan_out, fan_in, ones, ones))
        if net.forward[layer] != 0:
            call(net.forward[layer], (z, rows * fan_out * L, net.slope[layer]))

    width = net.sizes[last]
    z, dz = base + a.outputs[last] * F, base + a.deltas[last] * F
    call(a.loss, (z, dz, width, data.targets, a.samples.ctypes.data, a.row_losses.ctypes.data, a.row_hits.ctypes.data,
                  rows, L, net.one[1] / net.one.dtype.type(rows), a.space.ctypes.data, a.columns.ctypes.data,
                  a.wanted.ctypes.data))  # fmt: skip
    if net.backward[last - 1] != 0:
        call(net.backward[last - 1], (z, dz, rows * width * L, net.slope[last - 1]))

    for layer in range(last - 1, 0, -1):
        # z = x W  =>  dx = dz W^T; then y = f(z)  =>  dz = dy f'(z)
        fan_in, fan_out = net.sizes[layer], net.sizes[layer + 1]
        dz, dx = base + a.deltas[layer + 1] * F, base + a.deltas[layer] * F
        weight = weights + net.weight[layer] * L * F
        call(a.product, (dz, fan_out, 1, weight, 1, fan_out, 0, 0, dx, fan_in, rows, fan_in, fan_out, ones, 0))
        if net.backward[layer - 1] != 0:
            y = base + a.outputs[layer] * F
            call(net.backward[layer - 1], (y, dx, rows * fan_in * L, net.slope[layer - 1]))

    target, alpha, beta = np.int64(weights), np.int64(a.alpha.ctypes.data), np.int64(a.beta.ctypes.data)
    if work.update > 0:  # the rule comes later
        target, alpha, beta = np.int64(a.gradient.ctypes.data), np.int64(ones), np.int64(0)
    for layer in range(last):
        # z = x W + b  =>  dW = x^T dz and db = 1^T dz
        fan_in, fan_out = net.sizes[layer], net.sizes[layer + 1]
        x, dz = base + a.outputs[layer] * F, base + a.deltas[layer + 1] * F
        w, b = target + net.weight[layer] * L * F, target + net.bias[layer] * L * F
        call(a.product, (x, 1, fan_in, dz, fan_out, 1, w, fan_out, w, fan_out, fan_in, fan_out, rows, alpha, beta))
        call(a.product, (ones, 0, 0, dz, fan_out, 1, b, 0, b, 0, 1, fan_out, rows, alpha, beta))


@inner
def update(work, a, lane, coefficients):
    """The update of one lane's parameters by a rule that has a memory."""
    L, F, size = a.ones.size, a.ones.itemsize, a.own_gradient.size
    own = a.own[lane]
    for i in range(size):
        a.own_gradient[i] = a.gradient[i * L + lane]
    m, v = a.m.ctypes.data + lane * a.m.shape[1] * F, a.v.ctypes.data + lane * a.v.shape[1] * F
    call(work.update, (own.ctypes.data, a.own_gradient.ctypes.data, m, v, size, coefficients.ctypes.data))
    for i in range(size):
        a.parameters[i * L + lane] = own[i]


# ---- the product -----------------------------------------------------------------------------------------------------


def tile_kernel(F: type, rows: int, columns: int) -> Any:
    """The intrinsic for a tile of C[i, j] = beta S[i, j] + alpha sum_k A[i, k] B[k, j], whose elements are vectors.

    Arguments: addresses A, B, S, C; the sum's length; strides in elements: of A by row and by column, of B by row and
    by column, of the rows of S and C; addresses of alpha and beta, which are vectors too; no beta: S is not read.
    """
    width, size = lanes(F), np.dtype(F).itemsize
    real = ir.FloatType() if F is np.float32 else ir.DoubleType()
    vector = ir.VectorType(real, width)

    @intrinsic
    def kernel(typingctx, A, B, S, C, K, row_a, column_a, row_b, column_b, row_s, row_c, alpha, beta):
        def codegen(context, b, signature, args):
            A, B, S, C = (b.inttoptr(p, vector.as_pointer()) for p in args[:4])
            K, row_a, column_a, row_b, column_b, row_s, row_c, alpha, beta = args[4:]
            fma = cgutils.get_or_insert_function(
                b.module, ir.FunctionType(vector, [vector] * 3), f"llvm.fmuladd.v{width}f{size * 8}"
            )
            zero = ir.Constant(vector, [0.0] * width)

            def constant(n: int) -> ir.Constant:
                return ir.Constant(I64, n)

            def place(pointer, row, i, column, j):
                return b.gep(pointer, [b.add(b.mul(row, constant(i)), b.mul(column, constant(j)))])

            cells = [(i, j) for i in range(rows) for j in range(columns)]
            entry, loop, done = b.block, b.append_basic_block("k"), b.append_basic_block("k.end")
            b.branch(loop)
            b.position_at_end(loop)
            k = b.phi(I64)
            k.add_incoming(constant(0), entry)
            sums = {cell: b.phi(vector) for cell in cells}
            a_k, b_k = b.gep(A, [b.mul(k, column_a)]), b.gep(B, [b.mul(k, row_b)])
            b_row = [b.load(place(b_k, row_b, 0, column_b, j), align=size) for j in range(columns)]
            longer = {}
            for i in range(rows):
                x = b.load(place(a_k, row_a, i, column_a, 0), align=size)
                for j in range(columns):
                    longer[i, j] = b.call(fma, [x, b_row[j], sums[i, j]])
            after = b.add(k, constant(1))
            k.add_incoming(after, loop)
            for cell in cells:
                sums[cell].add_incoming(zero, entry)
                sums[cell].add_incoming(longer[cell], loop)
            b.cbranch(b.icmp_signed("<", after, K), loop, done)

            b.position_at_end(done)
            alphas = b.load(b.inttoptr(alpha, vector.as_pointer()), align=size)
            with b.if_else(b.icmp_signed("==", beta, constant(0))) as (overwrite, combine):
                for branch, reads in ((overwrite, False), (combine, True)):
                    with branch:
                        betas = b.load(b.inttoptr(beta, vector.as_pointer()), align=size) if reads else None
                        for i, j in cells:
                            x = b.fmul(alphas, longer[i, j])
                            if reads:
                                x = b.call(fma, [betas, b.load(place(S, row_s, i, constant(1), j), align=size), x])
                            b.store(x, place(C, row_c, i, constant(1), j), align=size)
            return context.get_dummy_value()

        return types.void(*[types.intp] * 13), codegen

    return kernel


@once
def product_address(F: type) -> int:
    """Address of C = beta S + alpha A B in every lane, all K >= 1: sums run over k in order, as those of `simd`.

    Arguments: A, row_a, column_a, B, row_b, column_b, S, row_s, C, row_c (addresses, then strides in vectors), M, N, K,
    and the addresses of alpha (L,) and beta (L,); beta 0 does not read S.
    """
    size = lanes(F) * np.dtype(F).itemsize
    height, width = (6, 4) if machine().registers >= 32 else (4, 2)
    large, tall, wide, one = (
        tile_kernel(F, *shape) for shape in ((height, width), (height, 1), (1, 2 * width), (1, 1))
    )
    widest = 2 * width

    def product(A, row_a, column_a, B, row_b, column_b, S, row_s, C, row_c, M, N, K, alpha, beta):
        i = 0
        while i < M:
            a, s, c = A + i * row_a * size, S + i * row_s * size, C + i * row_c * size
            j = 0
            if i + height <= M:
                while j + width <= N:
                    large(a, B + j * column_b * size, s + j * size, c + j * size, K,
                          row_a, column_a, row_b, column_b, row_s, row_c, alpha, beta)  # fmt: skip
                    j += width
                while j < N:
                    tall(a, B + j * column_b * size, s + j * size, c + j * size, K,
                         row_a, column_a, row_b, column_b, row_s, row_c, alpha, beta)  # fmt: skip
                    j += 1
                i += height
            else:
                while j + widest <= N:
                    wide(a, B + j * column_b * size, s + j * size, c + j * size, K,
                         row_a, column_a, row_b, column_b, row_s, row_c, alpha, beta)  # fmt: skip
                    j += widest
                while j < N:
                    one(a, B + j * column_b * size, s + j * size, c + j * size, K,
                        row_a, column_a, row_b, column_b, row_s, row_c, alpha, beta)  # fmt: skip
                    j += 1
                i += 1

    return block(f"abreast.{np.dtype(F).name}", types.void(*[types.intp] * 15), product)


# ---- the host's side -------------------------------------------------------------------------------------------------


def build(sizes: tuple[int, ...], samples: int, batch: int, *, loss: str, slots: int, F: Any, aligned: Any) -> Abreast:
    """Buffers of one worker; `aligned` makes arrays."""
    L = lanes(F)
    P = sum(fan_in * fan_out + fan_out for fan_in, fan_out in pairwise(sizes))
    ends = np.cumsum([0, *(batch * units * L for units in (*sizes, *sizes[1:]))])
    per_epoch = -(-samples // batch)
    return Abreast(
        parameters=aligned(P * L, F),
        gradient=aligned(P * L if slots else 0, F),
        own=np.zeros((L, P), F),
        own_gradient=np.zeros(P, F),
        m=np.zeros((L, P if slots > 0 else 0), F),
        v=np.zeros((L, P if slots > 1 else 0), F),
        buffer=aligned(int(ends[-1]), F),
        outputs=ends[: len(sizes)].astype(np.int64),
        deltas=np.concatenate([[0], ends[len(sizes) : -1]]).astype(np.int64),
        samples=np.zeros(batch * L, np.int64),
        space=aligned(2 * batch * L, F),
        columns=aligned(batch * sizes[-1] * L, F),
        wanted=aligned(batch * sizes[-1] * L, F),
        row_losses=aligned(batch * L, F),
        row_hits=aligned(batch * L, F),
        orders=np.tile(np.arange(samples, dtype=np.int64), (L, 1)),
        network=np.zeros(L, np.int64),
        live=np.zeros(L, np.int64),
        losses=np.zeros((L, per_epoch)),
        hits=np.zeros((L, per_epoch)),
        ones=np.ones(L, F),
        alpha=np.zeros(L, F),
        beta=np.zeros(L, F),
        product=product_address(F),
        loss=blocks.loss_abreast(loss, F),
    )
