"""A network that is formulas, and small data sets beside it: the same pictures on every machine."""

from __future__ import annotations

from functools import cache
from itertools import pairwise
from types import SimpleNamespace

import numpy as np

from fastnn.datasets import Dataset, load


@cache
def data_of(name: str, options: tuple = ()) -> Dataset:
    """The data set of that name, loaded once."""
    return load(name, **{key: list(value) if isinstance(value, tuple) else value for key, value in options})


class FakeNetwork:
    """Layers of weights between -1 and 1 that repeat every 13; their product is what comes out."""

    def __init__(self, config, sizes: tuple[int, ...]) -> None:
        self.config, self.sizes = config, sizes
        self.layers = []
        for fan_in, fan_out in pairwise(sizes):
            weight = ((np.arange(fan_in * fan_out) * 5 % 13) - 6) / 6
            layer = SimpleNamespace(weight=weight.reshape(fan_in, fan_out).astype(np.float32), activation="identity")
            layer.bias = np.zeros(fan_out, np.float32)
            self.layers.append(layer)
