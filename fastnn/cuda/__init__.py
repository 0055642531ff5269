"""How networks are computed on an NVIDIA GPU. Nothing outside this package imports Numba's CUDA target.

`predict` is for a caller's own kernels.
"""

from __future__ import annotations

from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from fastnn.errors import DeviceError

if TYPE_CHECKING:
    from fastnn.cuda.threadwise import predict

__all__ = ["predict"]

EXTRAS = "pip install 'fastnn[cuda13]' (or cuda12, for a driver of CUDA 12)"


def check_package() -> None:
    """Raises DeviceError where the package is missing that CUDA needs."""
    if find_spec("numba_cuda") is None:
        raise DeviceError(f"device: 'cuda' needs the package numba-cuda, which is not installed: {EXTRAS}")


def __getattr__(name: str) -> Any:
    if name != "predict":
        raise AttributeError(f"module 'fastnn.cuda' has no attribute {name!r}")
    check_package()
    from fastnn.cuda.threadwise import predict

    globals()[name] = predict
    return predict
