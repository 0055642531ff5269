"""Numbers that lie side by side, moved 16 bytes at a time: one instruction instead of four of single precision."""

from __future__ import annotations

import numpy as np

from fastnn.cuda.target import SIMULATED

BYTES = 16


def in_vector(F: type) -> int:
    """Numbers of type F in 16 bytes."""
    return BYTES // np.dtype(F).itemsize


if SIMULATED:

    def aligned(array, row):
        """Whether rows of `row` numbers begin at a multiple of 16 bytes, as `array` itself does."""
        return row % in_vector(array.dtype) == 0

    def load(array, at, into, place):
        """into[place ..] <- the numbers of `array` from `at` on, which are 16 bytes there, at a multiple of 16."""
        for i in range(in_vector(array.dtype)):
            into[place + i] = array[at + i]

    def store(array, at, values, place):
        """The other way round."""
        for i in range(in_vector(array.dtype)):
            array[at + i] = values[place + i]

else:
    from llvmlite import ir
    from numba import types
    from numba.cuda.extending import intrinsic

    def _pointer(context, builder, array_type, array, at):
        """To number `at`; the simplest form, which keeps what is known of the array's memory space."""
        return builder.gep(context.make_array(array_type)(context, builder, value=array).data, [at])

    def _vector(builder, pointer, count):
        """The pointer to `count` numbers at once."""
        return builder.bitcast(pointer, ir.VectorType(pointer.type.pointee, count).as_pointer(pointer.type.addrspace))

    def _moved(context, builder, signature, args, reads):
        array, _, local, _ = signature.args
        count = BYTES // np.dtype(str(array.dtype)).itemsize
        there = _vector(builder, _pointer(context, builder, array, args[0], args[1]), count)
        here = [
            _pointer(context, builder, local, args[2], builder.add(args[3], ir.Constant(args[3].type, i)))
            for i in range(count)
        ]
        if reads:
            found = builder.load(there, align=BYTES)
            for i, place in enumerate(here):
                builder.store(builder.extract_element(found, ir.Constant(ir.IntType(32), i)), place)
        else:
            vector = ir.Constant(there.type.pointee, ir.Undefined)
            for i, place in enumerate(here):
                vector = builder.insert_element(vector, builder.load(place), ir.Constant(ir.IntType(32), i))
            builder.store(vector, there, align=BYTES)
        return context.get_dummy_value()

    @intrinsic
    def load(typingctx, array, at, into, place):
        """into[place ..] <- the numbers of `array` from `at` on, which are 16 bytes there, at a multiple of 16."""

        def codegen(context, builder, signature, args):
            return _moved(context, builder, signature, args, True)

        return types.void(array, types.uint64, into, types.uint64), codegen

    @intrinsic
    def store(typingctx, array, at, values, place):
        """The other way round."""

        def codegen(context, builder, signature, args):
            return _moved(context, builder, signature, args, False)

        return types.void(array, types.uint64, values, types.uint64), codegen

    @intrinsic
    def aligned(typingctx, array, row):
        """Whether rows of `row` numbers begin at a multiple of 16 bytes, as `array` itself does."""

        def codegen(context, builder, signature, args):
            data = context.make_array(signature.args[0])(context, builder, value=args[0]).data
            size = ir.Constant(ir.IntType(64), np.dtype(str(array.dtype)).itemsize)
            bits = builder.or_(builder.ptrtoint(data, ir.IntType(64)), builder.mul(args[1], size))
            low = builder.and_(bits, ir.Constant(ir.IntType(64), BYTES - 1))
            return builder.icmp_unsigned("==", low, ir.Constant(ir.IntType(64), 0))

        return types.boolean(array, types.uint64), codegen
