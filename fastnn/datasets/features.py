"""What a network may be told of a point in the plane: its coordinates, their squares, product and sines.

After the input features of TensorFlow Playground (Smilkov et al. 2017, arXiv:1708.03788), here by their formulas.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from fastnn.errors import check_choice, shown

COORDINATES = ("x1", "x2")
FEATURES: dict[str, Callable[[np.ndarray, np.ndarray], np.ndarray]] = {
    "x1": lambda x1, x2: x1,
    "x2": lambda x1, x2: x2,
    "x1^2": lambda x1, x2: x1 * x1,
    "x2^2": lambda x1, x2: x2 * x2,
    "x1*x2": lambda x1, x2: x1 * x2,
    "sin x1": lambda x1, x2: np.sin(x1),
    "sin x2": lambda x1, x2: np.sin(x2),
}


def check_features(features: Any) -> tuple[str, ...]:
    """The features as names of FEATURES; raises TypeError or ValueError unless they are one or more, each once."""
    if isinstance(features, str) or not isinstance(features, Sequence):
        raise TypeError(f"features: {shown(features)}; expected a list of names such as {list(COORDINATES)}")
    names = tuple(check_choice("features", name, FEATURES) for name in features)
    if not names or len(set(names)) < len(names):
        raise ValueError(f"features: {shown(features)}; expected one name or more, each of them once")
    return names


def features_of(points: np.ndarray, names: Sequence[str]) -> np.ndarray:
    """The features (n, len(names)) float32 of points (n, 2), C-contiguous; computed in float64."""
    x1, x2 = np.asarray(points, np.float64).T
    return np.stack([FEATURES[name](x1, x2) for name in names], axis=1).astype(np.float32)


@dataclass(frozen=True, eq=False)
class Plane:
    """Where the rows of a data set lie: points `train` and `test` (n, 2) float32, of which `features` are its x."""

    train: np.ndarray
    test: np.ndarray
    features: tuple[str, ...] = COORDINATES

    def inputs(self, points: np.ndarray) -> np.ndarray:
        """What a network is told of points (n, 2): x (n, features) float32."""
        return features_of(points, self.features)
