"""What fastnn finds on this machine: for a report of a problem, and for whoever wonders why CUDA cannot be used."""

from __future__ import annotations

import platform
from collections.abc import Iterator
from importlib import metadata
from importlib.util import find_spec

from fastnn import compiler
from fastnn.cpu.machine import machine
from fastnn.cuda import EXTRAS
from fastnn.version import __version__

PACKAGES = ("numba", "llvmlite", "numpy", "textual", "numba-cuda", "cuda-core")


def findings() -> Iterator[tuple[str, str]]:
    """What was found: a name for each, and the finding in words."""
    yield "fastnn", __version__
    yield "python", f"{platform.python_version()} on {platform.platform()}"
    for name in PACKAGES:
        yield name, _version(name)
    has = machine()
    name, count, size = compiler.cpu_name(), compiler.cores(), 8 * has.bytes
    yield "CPU", f"{name}, {count} cores, {has.name}: {has.registers} registers of {size} bits"
    kernels = list(compiler.cache_folder().glob("*.kernel"))
    yield (
        "cache",
        f"{compiler.cache_folder()}, {len(kernels)} kernels, {sum(k.stat().st_size for k in kernels):,} bytes",
    )
    yield "CUDA", cuda()


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "not installed"


def cuda() -> str:
    """The GPU and its driver, or what is missing."""
    if find_spec("numba_cuda") is None:
        return f"cannot be used: the package numba-cuda is not installed: {EXTRAS}"
    from fastnn.cuda import target

    reason = target.missing()
    if reason is None:
        return target.described()
    compiles = target.toolkit_missing()
    return f"cannot be used: {reason}; " + ("kernels can be compiled" if compiles is None else compiles)
