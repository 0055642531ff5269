"""The vector registers of the CPU that Numba compiles for, and the tiles of a product that fit in them."""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numba.core import registry


class Tile(NamedTuple):
    """A rows x (vectors * lanes) block of a product that is held in registers over a whole sum."""

    rows: int
    vectors: int


class Machine(NamedTuple):
    name: str
    bytes: int  # width of a vector register
    registers: int
    masks: bool  # masked loads and stores at full speed (a masked store is microcode on AVX2 hardware of AMD)


def describe(target: str, features: str) -> Machine:
    """Read the target triple and feature list that LLVM compiles for."""
    have = {f[1:] for f in features.split(",") if f.startswith("+")}
    if "avx512f" in have:
        return Machine("AVX-512", 64, 32, True)
    if "avx2" in have and "fma" in have:
        return Machine("AVX2", 32, 16, False)
    if target.startswith(("aarch64", "arm64")):
        return Machine("NEON", 16, 32, False)
    return Machine("SSE2", 16, 16, False)


@lru_cache(1)
def machine() -> Machine:
    """The machine that compiled code is for; Numba's NUMBA_CPU_NAME and NUMBA_CPU_FEATURES are obeyed."""
    triple, _, features = registry.cpu_target.target_context.codegen().magic_tuple()[:3]
    return describe(triple, features)


def lanes(F: type) -> int:
    """How many numbers of type F a vector register holds."""
    return machine().bytes // np.dtype(F).itemsize


def tiles() -> dict[int, tuple[int, ...]]:
    """For each number of vectors in a row of a tile, the numbers of rows that kernels are made for, largest first.

    The accumulators must leave registers for a row of B and one broadcast element of A.
    """
    if machine().registers >= 32:
        return {4: (6, 2, 1), 3: (8, 2, 1), 2: (12, 4, 1), 1: (16, 4, 1)}
    return {2: (6, 4, 1), 1: (8, 4, 1)}
