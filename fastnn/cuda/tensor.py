"""Tensor cores: products of numbers whose mantissas are rounded from 23 to 10 bits (TF32), with float32 sums.

Each number is off by 2^-11 of it at most, and so is a product by 2^-10. One instruction of a warp multiplies 16 x 8 by
8 x 8 numbers; which of them a lane holds is the layout of mma.m16n8k8 in NVIDIA's PTX manual: lane = 4 g + t has of A
the rows g and g + 8 at k = t and t + 4, of B the column g there, and of the sums rows g and g + 8, columns 2 t and
2 t + 1.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from fastnn.cuda.target import SIMULATED, device

DEEP = 8  # terms of a sum that one instruction takes

SHIFT = np.float32(2**13)  # by 13 of 23 bits


@device
def rounded(x):
    """x with a mantissa of 10 bits, half to even; from 2^114 on, and infinity, not a number.

    Two multiply-adds: cvt.rna.tf32 becomes four instructions on sm_80 and sm_90, which have none for it.
    """
    raised = x * SHIFT + x
    return raised - x * SHIFT


@device
def recovered(x, y):
    """x y of nearly single precision by three products of rounded numbers: see `tensor_lanes`."""
    high_x, high_y = rounded(x), rounded(y)
    return (x - high_x) * high_y + high_x * (y - high_y) + high_x * high_y


if SIMULATED:
    # The simulator has no warps: products there are those of single threads, of rounded numbers.
    multiply: Any = None
    thread_number: Any = None
else:
    from llvmlite import ir
    from numba import types
    from numba.cuda.extending import intrinsic

    _REAL, _BITS = ir.FloatType(), ir.IntType(32)

    @intrinsic
    def thread_number(typingctx):
        """The thread's number in its block, asked for anew: what is made of it does not wait in registers."""

        def codegen(context, builder, signature, args):
            asm = ir.InlineAsm(ir.FunctionType(_BITS, []), "mov.u32 $0, %tid.x;", "=r", side_effect=True)
            return builder.call(asm, [])

        return types.uint32(), codegen

    @intrinsic
    def multiply(typingctx, a0, a1, a2, a3, b0, b1, c0, c1, c2, c3):
        """The lane's four sums c + A B; of the factors' bits the last 13 are not looked at."""
        signature = types.UniTuple(types.float32, 4)(*[types.float32] * 10)

        def codegen(context, builder, signature, args):
            result = ir.LiteralStructType([_REAL] * 4)
            function = ir.FunctionType(result, [_BITS] * 6 + [_REAL] * 4)
            text = (
                "mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 "
                "{$0,$1,$2,$3},{$4,$5,$6,$7},{$8,$9},{$10,$11,$12,$13};"
            )
            factors = [builder.bitcast(x, _BITS) for x in args[:6]]
            asm = ir.InlineAsm(function, text, "=f,=f,=f,=f,r,r,r,r,r,r,f,f,f,f")
            found = builder.call(asm, [*factors, *args[6:]])
            parts = [builder.extract_value(found, i) for i in range(4)]
            return context.make_tuple(builder, signature.return_type, parts)

        return signature, codegen
