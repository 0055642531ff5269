"""Compiled kernels on disk, in the folder and with the checks of the CPU's: the compiler takes seconds for a large one.

Numba's own cache is of no use here, see `compiler`: a kernel is a closure over its sizes and formulas, which it would
take for another in each process. An entry is named by what the kernel is made from, its arguments' types, the toolkit,
the compute capability and the sources of this package.
"""

from __future__ import annotations

import hashlib
from functools import lru_cache
from pathlib import Path
from typing import Any

import numba_cuda
from numba.cuda.dispatcher import _Kernel
from numba.cuda.serialize import dumps

from fastnn import compiler


@lru_cache(1)
def source_hash() -> str:
    """Hash of this package's sources, and of the compiler's version; that of all else is the folder's name."""
    digest = hashlib.sha256(numba_cuda.__version__.encode())
    for path in sorted(Path(__file__).parent.glob("*.py")):
        digest.update(path.name.encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()


class KernelCache(compiler.DiskCache):
    """What a kernel's dispatcher asks for machine code; `made_from` is all that tells it from its function's others."""

    def __init__(self, name: str, made_from: tuple[Any, ...]) -> None:
        super().__init__(f"cuda.{name}")
        self._made_from = repr(made_from)

    def path(self, sig: Any, codegen: Any) -> Path:
        key = repr((self.name, self._made_from, str(sig), codegen.magic_tuple(), source_hash()))
        return compiler.cache_folder() / f"{self.name}-{hashlib.sha256(key.encode()).hexdigest()[:16]}.kernel"

    @staticmethod
    def reduced(data: Any) -> bytes:
        payload: bytes = dumps(data._reduce_states())
        return payload

    @staticmethod
    def rebuilt(target_context: Any, found: Any) -> Any:
        return _Kernel._rebuild(**found)

    @staticmethod
    def codegen(data: Any) -> Any:
        return data._codelibrary.codegen
