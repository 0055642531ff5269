"""Tensor cores: products of numbers whose mantissas are rounded from 23 to 10 bits (TF32), with float32 sums.

Each number is off by 2^-11 of it at most, and so is a product by 2^-10. One instruction of a warp multiplies 16 x 8 by
8 x 8 numbers; which of them a lane holds is the layout of mma.m16n8k8 in NVIDIA's PTX manual: lane = 4 g + t has of A
the rows g and g + 8 at k = t and t + 4, of B the column g there, and of the sums rows g and g + 8, columns 2 t and
2 t + 1.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from fastnn.cuda.target import SIMULATED

DEEP = 8  # terms of a sum that one instruction takes

if SIMULATED:

    def rounded(x):
        """x with a mantissa of 10 bits; half goes away from 0."""
        bits = (np.asarray(x, np.float32).view(np.uint32) + np.uint32(0x1000)) & np.uint32(0xFFFFE000)
        return bits.view(np.float32)[()]

    multiply: Any = None  # the simulator has no warps: products there are those of single threads, of rounded numbers
else:
    from llvmlite import ir
    from numba import types
    from numba.cuda.extending import intrinsic

    _REAL, _BITS = ir.FloatType(), ir.IntType(32)

    @intrinsic
    def rounded(typingctx, x):
        """The bits of x in TF32, half away from 0."""

        def codegen(context, builder, signature, args):
            function = ir.FunctionType(_BITS, [_REAL])
            return builder.call(ir.InlineAsm(function, "cvt.rna.tf32.f32 $0, $1;", "=r,f"), args)

        return types.uint32(types.float32), codegen

    @intrinsic
    def multiply(typingctx, a0, a1, a2, a3, b0, b1, c0, c1, c2, c3):
        """The lane's four sums c + A B."""
        signature = types.UniTuple(types.float32, 4)(*[types.uint32] * 6, *[types.float32] * 4)

        def codegen(context, builder, signature, args):
            result = ir.LiteralStructType([_REAL] * 4)
            function = ir.FunctionType(result, [_BITS] * 6 + [_REAL] * 4)
            text = (
                "mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 "
                "{$0,$1,$2,$3},{$4,$5,$6,$7},{$8,$9},{$10,$11,$12,$13};"
            )
            found = builder.call(ir.InlineAsm(function, text, "=f,=f,=f,=f,r,r,r,r,r,r,f,f,f,f"), args)
            parts = [builder.extract_value(found, i) for i in range(4)]
            return context.make_tuple(builder, signature.return_type, parts)

        return signature, codegen
