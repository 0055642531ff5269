"""How networks are computed on an NVIDIA GPU. Nothing outside this package imports Numba's CUDA target.

`predict` is for a caller's own kernels.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fastnn.cuda.threadwise import predict

__all__ = ["predict"]


def __getattr__(name: str) -> Any:
    if name != "predict":
        raise AttributeError(f"module 'fastnn.cuda' has no attribute {name!r}")
    from fastnn.devices import check_package

    check_package()
    from fastnn.cuda.threadwise import predict

    globals()[name] = predict
    return predict
