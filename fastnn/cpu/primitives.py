"""What Numba's language lacks and the engine needs: calls and copies by address, and a barrier between workers.

Data, blocks and products are passed as addresses, so that one compiled engine takes any of them: read-only and
memory-mapped arrays too, whose Numba type would be another and would compile everything again.
"""

from __future__ import annotations

import ctypes
import os
from typing import Any

import llvmlite.binding as llvm
import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from fastnn.compiler import inner

BYTE, I32, I64, VOID = ir.IntType(8), ir.IntType(32), ir.IntType(64), ir.VoidType()


@intrinsic
def call(typingctx: Any, address: Any, arguments: Any) -> Any:
    """Call the function at `address` with a tuple of integers (passed as 64 bits) and floats; it returns nothing."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        values = []
        for value, kind in zip(cgutils.unpack_tuple(builder, args[1]), arguments.types, strict=True):
            if isinstance(kind, types.Integer):
                value = context.cast(builder, value, kind, types.int64)
            values.append(value)
        function = ir.FunctionType(ir.VoidType(), [value.type for value in values])
        builder.call(builder.inttoptr(args[0], function.as_pointer()), values)
        return context.get_dummy_value()

    return types.void(types.intp, arguments), codegen


@intrinsic
def _copy(typingctx: Any, target: Any, source: Any, size: Any) -> Any:
    """Copy `size` bytes from address `source` to address `target`."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        byte = BYTE.as_pointer()
        cgutils.raw_memcpy(builder, builder.inttoptr(args[0], byte), builder.inttoptr(args[1], byte), args[2], 1)
        return context.get_dummy_value()

    return types.void(types.intp, types.intp, types.intp), codegen


SHORT, VECTOR, HALF = 512, 32, 16  # bytes


@inner
def copy(target, source, size):
    """Copy `size` bytes, a multiple of 4, from address `source` to address `target`.

    Of a short row, memcpy's call takes as long as its bytes: 64 numbers in 25 cycles instead of 10.
    """
    if size > SHORT:
        _copy(target, source, size)
        return
    i = 0
    while i + VECTOR <= size:
        _copy(target + i, source + i, VECTOR)
        i += VECTOR
    if i + HALF <= size:
        _copy(target + i, source + i, HALF)
        i += HALF
    while i < size:
        _copy(target + i, source + i, 4)
        i += 4


@intrinsic
def move(typingctx: Any, target: Any, source: Any, like: Any) -> Any:
    """Copy one number of the type of `like` from address `source` to address `target`."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        number = context.get_value_type(like)
        value = builder.load(builder.inttoptr(args[1], number.as_pointer()))
        builder.store(value, builder.inttoptr(args[0], number.as_pointer()))
        return context.get_dummy_value()

    return types.void(types.intp, types.intp, like), codegen


@intrinsic
def ahead(typingctx: Any, pointer: Any, count: Any) -> Any:
    """The pointer `count` numbers ahead of `pointer`."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.gep(args[0], [args[1]])

    return pointer(pointer, types.intp), codegen


@intrinsic
def at_address(typingctx: Any, like: Any, address: Any) -> Any:
    """A pointer of the type of `like` to what is at `address`."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.inttoptr(args[1], args[0].type)

    return like(like, types.intp), codegen


def replacing(*names: str) -> Any:
    """replace(of, values): the NamedTuple `of` with a tuple of other values of the same types in its fields `names`."""

    @intrinsic
    def replace(typingctx, of, values):
        places = [of.fields.index(name) for name in names]

        def codegen(context, builder, signature, args):
            result = args[0]
            new = cgutils.unpack_tuple(builder, args[1])
            for place, value, kind in zip(places, new, values.types, strict=True):
                value = context.cast(builder, value, kind, of.types[place])
                result = builder.insert_value(result, value, place)
            return result

        return of(of, values), codegen

    return replace


def _yield_function() -> int:
    if os.name == "nt":
        return ctypes.cast(ctypes.windll.kernel32.SwitchToThread, ctypes.c_void_p).value or 0
    return ctypes.cast(ctypes.CDLL(None).sched_yield, ctypes.c_void_p).value or 0


llvm.add_symbol("fastnn_yield", _yield_function())
_yield_thread = types.ExternalFunction("fastnn_yield", types.int32())


def _atomic(name: str) -> Any:
    @intrinsic
    def operation(typingctx, address, value):
        def codegen(context, builder, signature, args):
            place = builder.inttoptr(args[0], I64.as_pointer())
            if name == "load":
                return builder.load_atomic(place, "seq_cst", 8)
            if name == "store":
                builder.store_atomic(args[1], place, "seq_cst", 8)
                return args[1]
            return builder.atomic_rmw("add", place, args[1], "seq_cst")

        return types.int64(types.intp, types.int64), codegen

    return operation


load, store, add = _atomic("load"), _atomic("store"), _atomic("add")  # of an int64 at an address; add gives the old


def _is_x86(context: Any) -> bool:
    return str(context.codegen().magic_tuple()[0]).startswith(("x86_64", "i686", "amd64"))


def _is_arm64(context: Any) -> bool:
    return str(context.codegen().magic_tuple()[0]).startswith(("aarch64", "arm64"))


# The bits of a thread's floating-point control that make subnormal operands and results 0.
_X86_FLUSH, _ARM64_FLUSH = 0x8040, 1 << 24


@intrinsic
def flush_subnormals(typingctx: Any) -> Any:
    """Let this thread take subnormal numbers for 0; returns how it was before, for `restore`.

    What an optimizer remembers of gradients that are 0 decays into them and stays there: 0.9 times the smallest few
    rounds to itself. Of 784-128-10 with Adam, half of its units dead, a step took 413 us, and without them 372.
    """

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        if _is_x86(context):
            place = cgutils.alloca_once(builder, I32)
            address = builder.bitcast(place, BYTE.as_pointer())
            _call(builder, VOID, "llvm.x86.sse.stmxcsr", address)
            before = builder.load(place)
            builder.store(builder.or_(before, ir.Constant(I32, _X86_FLUSH)), place)
            _call(builder, VOID, "llvm.x86.sse.ldmxcsr", address)
            return builder.zext(before, I64)
        if _is_arm64(context):
            before = _call(builder, I64, "llvm.aarch64.get.fpcr")
            _call(builder, VOID, "llvm.aarch64.set.fpcr", builder.or_(before, ir.Constant(I64, _ARM64_FLUSH)))
            return before
        return ir.Constant(I64, 0)

    return types.int64(), codegen


@intrinsic
def restore(typingctx: Any, before: Any) -> Any:
    """Set this thread's floating-point control as `flush_subnormals` found it."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        if _is_x86(context):
            place = cgutils.alloca_once(builder, I32)
            builder.store(builder.trunc(args[0], I32), place)
            _call(builder, VOID, "llvm.x86.sse.ldmxcsr", builder.bitcast(place, BYTE.as_pointer()))
        elif _is_arm64(context):
            _call(builder, VOID, "llvm.aarch64.set.fpcr", args[0])
        return context.get_dummy_value()

    return types.void(types.int64), codegen


def _call(builder: ir.IRBuilder, result: ir.Type, name: str, *args: Any) -> Any:
    """Call one of LLVM's intrinsics for a machine."""
    kind = ir.FunctionType(result, [arg.type for arg in args])
    return builder.call(cgutils.get_or_insert_function(builder.module, kind, name), args)


@intrinsic
def _pause(typingctx: Any) -> Any:
    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        if _is_x86(context):
            _call(builder, VOID, "llvm.x86.sse2.pause")
        elif _is_arm64(context):
            _call(builder, VOID, "llvm.aarch64.hint", ir.Constant(I32, 1))
        return context.get_dummy_value()

    return types.void(), codegen


# A barrier's state: three int64 on cache lines of their own.
_ARRIVED, _ROUND, _ABORT, _LINE = 0, 64, 128, 64
# About 20 us of looking before the core is offered to another thread: more threads than cores still get on.
_LOOKS = 2000


def new_barrier(counters: int = 0) -> np.ndarray:
    """The state of a barrier at which nobody waits, with `counters` for `take` behind it."""
    return np.zeros((3 + counters) * _LINE // 8, np.int64)


def abort(barrier: np.ndarray) -> None:
    """Make everybody who waits, or comes to wait, go home."""
    barrier[_ABORT // 8] = 1


@inner
def wait_for_all(barrier, workers):
    """Return True when all `workers` have come here; False when the work was aborted."""
    if workers == 1:
        return True
    at = barrier.ctypes.data
    turn = load(at + _ROUND, 0)
    if add(at + _ARRIVED, 1) == workers - 1:
        store(at + _ARRIVED, 0)
        store(at + _ROUND, turn + 1)
        return True
    looks = 0
    while load(at + _ROUND, 0) == turn:
        if load(at + _ABORT, 0) != 0:
            return False
        looks += 1
        if looks < _LOOKS:
            _pause()
        else:
            _yield_thread()
    return True


@inner
def take(barrier, counter, workers):
    """What the counter was (0 at first), which is one more then: whoever gets a number does that piece of work."""
    at = 3 * _LINE + counter * _LINE
    if workers == 1:
        number = barrier[at // 8]
        barrier[at // 8] = number + 1
        return number
    return add(barrier.ctypes.data + at, 1)


@inner
def begin_again(barrier, counter):
    """Set a counter to 0, while nobody takes from it; the next barrier tells the others."""
    barrier[3 * _LINE // 8 + counter * _LINE // 8] = 0


@inner
def wait_until(address, least):
    """Return when the int64 at `address` is `least` or more."""
    looks = 0
    while load(address, 0) < least:
        looks += 1
        if looks < _LOOKS:
            _pause()
        else:
            _yield_thread()
