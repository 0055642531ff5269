"""fastnn: neural networks compiled by Numba, driven from a terminal UI.

A public name is imported when it is first used: `fastnn --version` and the terminal UI's first screen need none of
them, and importing the engine takes 0.6 s.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from fastnn.version import __version__

if TYPE_CHECKING:
    from fastnn import cuda, datasets, jit, masks
    from fastnn.ensemble import Ensemble, EnsembleHistory
    from fastnn.errors import DataError, DeviceError, DivergenceError, FastnnError
    from fastnn.initializers import Initializer, Normal
    from fastnn.layers import GRU, LSTM, Dense, Dropout, Input, Recurrent
    from fastnn.network import Network, load
    from fastnn.optimizers import SGD, Adam
    from fastnn.training import Histogram, History, LayerSnapshot, Snapshot, Trainer

_NAMES = {
    "ensemble": ("Ensemble", "EnsembleHistory"),
    "errors": ("DataError", "DeviceError", "DivergenceError", "FastnnError"),
    "initializers": ("Initializer", "Normal"),
    "layers": ("GRU", "LSTM", "Dense", "Dropout", "Input", "Recurrent"),
    "network": ("Network", "load"),
    "optimizers": ("SGD", "Adam"),
    "training": ("Histogram", "History", "LayerSnapshot", "Snapshot", "Trainer"),
}
_HOME = {name: module for module, names in _NAMES.items() for name in names}

__all__ = [
    "GRU",
    "LSTM",
    "SGD",
    "Adam",
    "DataError",
    "Dense",
    "DeviceError",
    "DivergenceError",
    "Dropout",
    "Ensemble",
    "EnsembleHistory",
    "FastnnError",
    "Histogram",
    "History",
    "Initializer",
    "Input",
    "LayerSnapshot",
    "Network",
    "Normal",
    "Recurrent",
    "Snapshot",
    "Trainer",
    "__version__",
    "cuda",
    "datasets",
    "jit",
    "load",
    "masks",
]


def __getattr__(name: str) -> Any:
    if name in ("cuda", "datasets", "jit", "masks"):
        return import_module(f"fastnn.{name}")
    if name not in _HOME:
        raise AttributeError(f"module 'fastnn' has no attribute {name!r}")
    value = getattr(import_module(f"fastnn.{_HOME[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
