"""How Numba's compiled functions become machine code: those that only kernels call as a part of theirs."""

from __future__ import annotations

from functools import lru_cache, partial
from types import SimpleNamespace
from typing import Any

from llvmlite.binding import Linkage, parse_assembly, parse_bitcode
from numba.core.codegen import JITCodeLibrary
from numba.core.compiler import Compiler


class _Linked(JITCodeLibrary):
    """Optimized code that others link into theirs: no machine code is made of it alone."""

    codegen = SimpleNamespace(set_env=lambda name, environment: None)  # where Python's objects would be noted

    def _finalize_final_module(self) -> None:
        self._finalize_dynamic_globals()  # type: ignore[no-untyped-call]
        self._verify_declare_only_symbols()  # type: ignore[no-untyped-call]
        self._finalized = True


class _Own(JITCodeLibrary):
    """Machine code in which the inner functions have no name that others see.

    Numba tells functions of one name and one signature apart by a number that every process counts from 1. Two of them
    that two processes have kept on disk may have the same, and in a third the second was linked to the first's code.
    """

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)  # type: ignore[no-untyped-call]
        self.enable_object_caching()  # type: ignore[no-untyped-call]

    def _finalize_final_module(self) -> None:
        for function in self._final_module.functions:
            if not function.is_declaration and function.linkage == Linkage.linkonce_odr:
                function.linkage = Linkage.internal
        super()._finalize_final_module()  # type: ignore[no-untyped-call]


Stored = tuple[str, str, tuple[bytes, bytes]]


def without_bitcode(library: Stored) -> Stored:
    """What Numba keeps of a library, with names in place of the code that callers inline.

    Few kernels have callers that are compiled, and parsing that code took 20 ms of a first step and 6 MB. Names that it
    defines are those that Python asks for, names that it declares are of what it calls.
    """
    name, kind, (machine_code, bitcode) = library
    module = parse_bitcode(bitcode)
    seen = (Linkage.linkonce_odr, Linkage.common)  # what Numba makes of all that was to be seen
    names = [f'define void @"{found.name}"() {{ ret void }}' for found in module.functions if found.linkage in seen]
    names += [f'@"{found.name}" = global i8 0' for found in module.global_variables if found.linkage in seen]
    called = [found.name for found in module.functions if found.is_declaration]
    names += [f'declare void @"{found}"()' for found in called if not found.startswith("llvm.")]
    return name, kind, (machine_code, parse_assembly("\n".join(names)).as_bitcode())


def parse_when_called(library: Any, bitcode: bytes) -> None:
    """Give a library made of machine code and names its code, to be parsed for the first caller that is compiled."""
    library._get_module_for_linking = lru_cache(None)(partial(parse_bitcode, bitcode))


class InnerCompiler(Compiler):
    """Numba's, with machine code left to the kernels that call the function."""

    library: Any = _Linked

    def __init__(self, typing: Any, target: Any, library: Any, *rest: Any) -> None:
        made = library or self.library(target.codegen(), "fastnn")
        super().__init__(typing, target, made, *rest)  # type: ignore[no-untyped-call]


class OuterCompiler(InnerCompiler):
    """Numba's, for kernels and blocks."""

    library = _Own
