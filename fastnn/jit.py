"""What a caller's own `@numba.njit` functions may call on the NamedTuple that `Network.compiled()` returns."""

from fastnn.cpu.predict import predict

__all__ = ["predict"]
