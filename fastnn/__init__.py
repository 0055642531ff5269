"""fastnn: neural networks compiled by Numba, driven from a terminal UI."""

from fastnn import datasets, jit
from fastnn.errors import DataError, DivergenceError, FastnnError
from fastnn.initializers import Initializer, Normal
from fastnn.layers import Dense, Dropout, Input
from fastnn.network import Network, load
from fastnn.optimizers import SGD, Adam
from fastnn.training import Histogram, History, LayerSnapshot, Snapshot, Trainer
from fastnn.version import __version__

__all__ = [
    "SGD",
    "Adam",
    "DataError",
    "Dense",
    "DivergenceError",
    "Dropout",
    "FastnnError",
    "Histogram",
    "History",
    "Initializer",
    "Input",
    "LayerSnapshot",
    "Network",
    "Normal",
    "Snapshot",
    "Trainer",
    "__version__",
    "datasets",
    "jit",
    "load",
]
