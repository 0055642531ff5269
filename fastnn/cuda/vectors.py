"""Numbers that lie side by side, moved 16 bytes at a time: one instruction instead of four of single precision.

Also copies to shared memory that a thread does not wait for (cp.async; from compute capability 8.0 on, before it they
are loads and stores). A thread's copies since its last `commit` are a group; `wait(n)` waits until all of its groups
but the last n have arrived. What other threads copied is there after a barrier that they came to when they had waited.
"""

from __future__ import annotations

import threading
from functools import lru_cache
from typing import Any

import numpy as np

from fastnn.cuda.target import SIMULATED, device

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

    def load_pair(array, at, into, place):
        """The same for 8 bytes."""
        for i in range(in_vector(array.dtype) // 2):
            into[place + i] = array[at + i]

    def store(array, at, values, place):
        """The other way round."""
        for i in range(in_vector(array.dtype)):
            array[at + i] = values[place + i]

    _own = threading.local()  # each thread's groups of copies that are on their way, the last one not yet whole

    def _groups():
        return _own.__dict__.setdefault("groups", [[]])

    def kept(x):
        """x, which stays in its register: the compiler does not know how to find it again."""
        return x

    def based(array):
        """The array, whose beginning is one number for the compiler: it does not add to what that was made of."""
        return array

    def copy_vector(memory, at, array, start, there):
        """memory[at ..] <- 16 bytes of `array` from `start` on, both at multiples of 16; 0 unless they are `there`.

        It arrives as late as it may: what does not wait for it reads what was there before.
        """
        _groups()[-1].append((memory, at, array, start, there, in_vector(array.dtype)))

    def copy_number(memory, at, array, start, there):
        """The same for one number."""
        _groups()[-1].append((memory, at, array, start, there, 1))

    def commit():
        """The end of a group of copies."""
        _groups().append([])

    def wait(groups):
        """Until all of the thread's groups but the last `groups` have arrived."""
        while len(_groups()) - 1 > groups:
            for memory, at, array, start, there, count in _groups().pop(0):
                for i in range(count):
                    memory[at + i] = array[start + i] if there else 0

else:
    from llvmlite import ir
    from numba import types
    from numba.cuda.core.targetconfig import ConfigStack
    from numba.cuda.extending import intrinsic

    def _pointer(context, builder, array_type, array, at):
        """To number `at`; the simplest form, which keeps what is known of the array's memory space."""
        return builder.gep(context.make_array(array_type)(context, builder, value=array).data, [at])

    def _vector(builder, pointer, count):
        """The pointer to `count` numbers at once."""
        return builder.bitcast(pointer, ir.VectorType(pointer.type.pointee, count).as_pointer(pointer.type.addrspace))

    def _moved(context, builder, signature, args, reads, size=BYTES):
        array, _, local, _ = signature.args
        count = size // np.dtype(str(array.dtype)).itemsize
        there = _vector(builder, _pointer(context, builder, array, args[0], args[1]), count)
        here = [
            _pointer(context, builder, local, args[2], builder.add(args[3], ir.Constant(args[3].type, i)))
            for i in range(count)
        ]
        if reads:
            found = builder.load(there, align=size)
            for i, place in enumerate(here):
                builder.store(builder.extract_element(found, ir.Constant(ir.IntType(32), i)), place)
        else:
            vector = ir.Constant(there.type.pointee, ir.Undefined)
            for i, place in enumerate(here):
                vector = builder.insert_element(vector, builder.load(place), ir.Constant(ir.IntType(32), i))
            builder.store(vector, there, align=size)
        return context.get_dummy_value()

    @intrinsic
    def load(typingctx, array, at, into, place):
        """into[place ..] <- the numbers of `array` from `at` on, which are 16 bytes there, at a multiple of 16."""

        def codegen(context, builder, signature, args):
            return _moved(context, builder, signature, args, True)

        return types.void(array, types.uint64, into, types.uint64), codegen

    @intrinsic
    def load_pair(typingctx, array, at, into, place):
        """The same for 8 bytes."""

        def codegen(context, builder, signature, args):
            return _moved(context, builder, signature, args, True, BYTES // 2)

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

    _ADDRESS, _GLOBAL, _SHARED = ir.IntType(32), 1, 3

    def _asynchronous():
        """Whether the GPU that is compiled for copies on its own."""
        return ConfigStack().top().compute_capability >= (8, 0)

    def assembly(builder, text, constraints, *values):
        """Inline PTX that stays where it is, memory accesses around it too."""
        function = ir.FunctionType(ir.VoidType(), [value.type for value in values])
        clobbers = [*constraints, "~{memory}"]
        builder.call(ir.InlineAsm(function, text, ",".join(clobbers), side_effect=True), values)

    def _copied(context, builder, signature, args, count):
        memory, _, array, _, _ = signature.args
        to = _pointer(context, builder, memory, args[0], args[1])
        start = _pointer(context, builder, array, args[2], args[3])
        size = count * np.dtype(str(array.dtype)).itemsize
        if _asynchronous():
            way, bits = "cg" if size == BYTES else "ca", ir.IntType(32)
            there = builder.select(args[4], ir.Constant(bits, size), ir.Constant(bits, 0))
            address = builder.ptrtoint(builder.addrspacecast(to, to.type.pointee.as_pointer(_SHARED)), _ADDRESS)
            text = f"cp.async.{way}.shared.global [$0], [$1], {size}, $2;"
            assembly(builder, text, ("r", "l", "r"), address, builder.ptrtoint(start, ir.IntType(64)), there)
            return context.get_dummy_value()
        if count > 1:
            to, start = _vector(builder, to, count), _vector(builder, start, count)
        with builder.if_else(args[4]) as (found, missing):
            with found:
                builder.store(builder.load(start, align=size), to, align=size)
            with missing:
                builder.store(ir.Constant(to.type.pointee, None), to, align=size)
        return context.get_dummy_value()

    @intrinsic
    def kept(typingctx, x):
        """x, which stays in its register: the compiler does not know how to find it again."""

        def codegen(context, builder, signature, args):
            word = ir.IntType(32)
            asm = ir.InlineAsm(ir.FunctionType(word, [word]), "mov.u32 $0, $1;", "=r,r", side_effect=True)
            return builder.call(asm, args)

        return types.uint32(types.uint32), codegen

    @intrinsic
    def based(typingctx, array):
        """The array, whose beginning is one number for the compiler: it does not add to what that was made of."""

        def codegen(context, builder, signature, args):
            found = context.make_array(array)(context, builder, value=args[0])
            kind, long = found.data.type, ir.IntType(64)
            asm = ir.InlineAsm(ir.FunctionType(long, [long]), "cvta.to.global.u64 $0, $1;", "=l,l", side_effect=True)
            there = builder.inttoptr(
                builder.call(asm, [builder.ptrtoint(found.data, long)]), kind.pointee.as_pointer(_GLOBAL)
            )
            found.data = builder.addrspacecast(there, kind)
            return found._getvalue()

        return array(array), codegen

    @intrinsic
    def copy_vector(typingctx, memory, at, array, start, there):
        """memory[at ..] <- 16 bytes of `array` from `start` on, both at multiples of 16; 0 unless they are `there`."""

        def codegen(context, builder, signature, args):
            return _copied(context, builder, signature, args, BYTES // np.dtype(str(array.dtype)).itemsize)

        return types.void(memory, types.uint64, array, types.uint64, types.boolean), codegen

    @intrinsic
    def copy_number(typingctx, memory, at, array, start, there):
        """The same for one number."""

        def codegen(context, builder, signature, args):
            return _copied(context, builder, signature, args, 1)

        return types.void(memory, types.uint64, array, types.uint64, types.boolean), codegen

    @intrinsic
    def commit(typingctx):
        """The end of a group of copies."""

        def codegen(context, builder, signature, args):
            if _asynchronous():
                assembly(builder, "cp.async.commit_group;", ())
            return context.get_dummy_value()

        return types.void(), codegen

    @intrinsic
    def wait(typingctx, groups):
        """Until all of the thread's groups but the last `groups` have arrived."""
        if not isinstance(groups, types.IntegerLiteral):
            return None

        def codegen(context, builder, signature, args):
            if _asynchronous():
                assembly(builder, f"cp.async.wait_group {groups.literal_value};", ())
            return context.get_dummy_value()

        return types.void(groups), codegen


@lru_cache
def moving(F: type, count: int) -> tuple[Any, Any]:
    """read(array, at, left, whole, into, place) and write(array, at, left, whole, values, place) of `count` numbers.

    `left` is how many there are from `at` to the end of their row, one at least; where rows are `whole` vectors they go
    by these.
    """
    V, U, vectors = in_vector(F), np.uint32, count % in_vector(F) == 0

    @device
    def read(array, at, left, whole, into, place):
        if vectors and whole:
            for j in range(0, count, V):
                if j == 0 or U(j) < left:
                    load(array, U(at + U(j)), into, place + j)
        else:
            for j in range(count):
                if U(j) < left:
                    into[place + j] = array[at + U(j)]

    @device
    def write(array, at, left, whole, values, place):
        if vectors and whole:
            for j in range(0, count, V):
                if j == 0 or U(j) < left:
                    store(array, U(at + U(j)), values, place + j)
        else:
            for j in range(count):
                if U(j) < left:
                    array[at + U(j)] = values[place + j]

    return read, write
