"""Numba's CUDA target: the one place that imports it, and what its simulator needs to stand in for a GPU.

With NUMBA_ENABLE_CUDASIM=1 Numba runs kernels as Python, one Python thread a CUDA thread. That checks what they
compute on a machine without a GPU; scalar formulas are then the CPU's compiled ones.
"""

from __future__ import annotations

import sys
import threading
import warnings
from collections.abc import Callable
from functools import lru_cache
from typing import Any

import numpy as np
from numba import cuda, types
from numba.cuda.cudadrv import nvrtc, nvvm

from fastnn import compiler

SIMULATED = "simulator" in cuda.jit.__module__
ALIGNED = (
    None if SIMULATED else 16
)  # bytes: of shared memory that is read in whole vectors; the simulator has no notion
# A small network has small grids, and Numba says so at each launch, in bold where colorama is installed.
warnings.filterwarnings("ignore", message=".*Grid size .* will likely result in GPU under-utilization")

RECOVERING = (8, 0), (9, 0)  # compute capabilities of A100 and H100
NO_DRIVER = "the NVIDIA driver is not installed (libcuda cannot be found)"
NO_GPU = "the NVIDIA driver finds no GPU"

Device = Callable[[Callable[..., Any]], Any]


def missing() -> str | None:
    """What keeps this machine from using CUDA, in words; None where nothing does."""
    if SIMULATED:
        return None
    try:
        if not len(cuda.gpus):
            return NO_GPU
    except ImportError as reason:  # what Numba raises for a driver that does not start
        text = " ".join(str(reason).replace("Error at driver init:", "").split())
        if "NO_DEVICE" in text:
            return NO_GPU
        return NO_DRIVER if "cannot be found" in text else f"the NVIDIA driver does not start ({text.strip(' :')})"
    return toolkit_missing()


def toolkit_missing() -> str | None:
    """What the compiler lacks, in words; it needs no GPU."""
    try:
        nvvm.NVVM()
        nvrtc.get_supported_ccs()
    except (ImportError, RuntimeError):
        return "the compiler libraries of the CUDA toolkit are missing (the extras cuda12 and cuda13 bring them)"
    return None


def tensor_cores() -> bool:
    """Whether the GPU multiplies in TF32."""
    return SIMULATED or cuda.get_current_device().compute_capability >= (8, 0)


@lru_cache
def recovering_pays() -> bool:
    """Whether three products in TF32 take less time than one in float32: on an H100 33.2, not 38.7 us a step of
    784-512-512-10 at batch 128, 3,128, not 4,848 of 784-2048-2048-10 at 4,096. They should on an A100, too, whose
    mma.sync has 8 times the rate of FFMA; others of 8.x have about the same rate for both."""
    return missing() is None and (SIMULATED or cuda.get_current_device().compute_capability in RECOVERING)


def described() -> str:
    """The GPU, its driver and the toolkit, in words."""
    if SIMULATED:
        return "Numba's simulator, no GPU"
    from cuda.bindings import driver

    context, gpu = cuda.current_context(), cuda.get_current_device()
    name = gpu.name.decode() if isinstance(gpu.name, bytes) else gpu.name
    free, total = context.get_memory_info()
    version = driver.cuDriverGetVersion()[1]
    return (
        f"{name}, compute capability {'.'.join(map(str, gpu.compute_capability))}, "
        f"{'tf32 for gradients and dense networks with a layer above 128 units' if tensor_cores() else 'no tf32'}, "
        f"{'float32 by tensor cores for gradients and layers with a launch each, ' if recovering_pays() else ''}"
        f"{gpu.MULTIPROCESSOR_COUNT} multiprocessors, {free / 2**30:.1f} of {total / 2**30:.1f} GiB free; "
        f"driver for CUDA {version // 1000}.{version % 1000 // 10}, "
        f"toolkit {'.'.join(map(str, cuda.runtime.get_version()))}"
    )


def number(F: type) -> Any:
    """Numba's type for F."""
    return types.float32 if np.dtype(F).itemsize == 4 else types.float64


def kernel(threads: int, *made_from: Any, blocks: int = 2) -> Device:
    """Decorator for a kernel that is launched with blocks of `threads` threads, `blocks` of them on a multiprocessor.

    Without the second number ptxas keeps to 64 registers where it spills two of them. `made_from` is what the kernel
    is a closure over: its machine code is kept on disk under it.
    """
    if SIMULATED:
        return cuda.jit

    def compile_later(function: Callable[..., Any]) -> Any:
        from fastnn.cuda.disk import KernelCache

        dispatcher = cuda.jit(launch_bounds=(threads, blocks))(function)
        module = function.__module__.rpartition("fastnn.cuda.")[2]
        dispatcher._cache = KernelCache(f"{module}.{function.__name__}", (threads, *made_from))
        return dispatcher

    return compile_later


def device(function: Callable[..., Any]) -> Any:
    """A function that kernels call; it becomes part of them."""
    return cuda.jit(device=True)(function) if SIMULATED else cuda.jit(device=True, forceinline=True)(function)


@device
def meet():
    """A barrier of a warp's threads, all of which come to it; the simulator has no warps, and takes the block's."""
    if SIMULATED:
        cuda.syncthreads()
    else:
        cuda.syncwarp()


def callee(inner: Any) -> Any:
    """A function made with `compiler.inner`, for kernels to call."""
    return compiler.standalone(inner) if SIMULATED else inner


def of_few(inner: Any) -> Any:
    """The same for one that calls scalar formulas only: for few numbers Python is faster than to compile it."""
    return inner.py_func if SIMULATED else inner


if SIMULATED:
    from numba.cuda.np.numpy_support import as_dtype
    from numba.cuda.simulator.kernelapi import FakeCUDAShared

    first = threading.Lock()

    def one_for_all(self: Any, shape: Any, dtype: Any, alignment: None = None) -> np.ndarray:
        """The block's shared array of the line that asks; Numba's gives threads that ask at once one each."""
        caller = sys._getframe(1)
        with first:
            where = caller.f_code.co_filename, caller.f_lineno
            kind = as_dtype(dtype) if isinstance(dtype, types.Type) else dtype
            found: np.ndarray = self._allocations.setdefault(where, np.empty(shape, kind))
            return found

    FakeCUDAShared.array = one_for_all  # type: ignore[method-assign]

    def plain(array: Any) -> Any:
        """The NumPy array behind a view that a simulated kernel has made, for compiled code to take."""
        for name in ("_item", "_ary"):
            array = array.__dict__.get(name, array) if hasattr(array, "__dict__") else array
        return array
else:

    @device
    def plain(array):
        return array
