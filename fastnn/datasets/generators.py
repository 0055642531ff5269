"""Data sets that are drawn: points in the plane, labeled by a formula, and curves over one input.

Row i belongs to class i % classes before the shuffle, so that class sizes differ by at most one. Features have about
mean 0 and standard deviation 1 without being rescaled, so that `noise` (the standard deviation of the normal
noise added to each coordinate) is in the units of the plot. Every generator takes

samples: rows in both parts together, at least 2 a class and at most MOST_SAMPLES
noise: standard deviation of the noise, from 0 to 10
seed: fixes points and split, the same in every process
test_share: share of the rows in the test part, in (0, 1), stratified where there are classes

Those of the plane take `features`, what a network is told of a point (names of fastnn.datasets.features.FEATURES), and
return x (n, features) float32 and y (n,) int64. Curves return x (n, 1) and y (n,) float32; their noise is added to y.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from fastnn.datasets.dataset import Dataset, generator, split_dataset
from fastnn.datasets.features import COORDINATES, check_features
from fastnn.errors import check_float, check_int

MOST_SAMPLES = 10_000_000
MOST_CLASSES = 1_000

MOONS = "two half circles of radius 1.2: (cos t, sin t) and (1 - cos t, 1/2 - sin t), 0 <= t <= pi, centered"
CIRCLES = "two circles around the origin, of radius 0.8 and 1.8"
SPIRALS = "one arm a class from the origin to radius 2.2, angle 2 pi (class / classes + turns radius / 2.2)"
XOR = "uniform in the square of side 2 sqrt(3), class 1 where the signs of the coordinates differ"
SINE = "y = sin(3 x), x uniform from -sqrt(3) to sqrt(3)"
STEPS = "y = the nearest whole number to 1.5 x, x uniform from -sqrt(3) to sqrt(3)"
BLOBS = "one normal cloud a class, their centers equally spaced on a circle of radius 1.4"


def load_moons(
    *,
    samples: int = 1000,
    noise: float = 0.15,
    seed: int = 0,
    test_share: float = 0.2,
    features: Sequence[str] = COORDINATES,
) -> Dataset:
    """Two interleaved half circles."""
    label, random = _start(samples, 2, seed)
    t = np.pi * random.random(samples)
    x, y = np.cos(t), np.sin(t)
    points = np.stack([np.where(label, 1 - x, x) - 0.5, np.where(label, 0.5 - y, y) - 0.25], axis=1)
    return _finish("moons", 1.2 * points, label, 2, random, noise, MOONS, seed, test_share, features)


def load_circles(
    *,
    samples: int = 1000,
    noise: float = 0.15,
    seed: int = 0,
    test_share: float = 0.2,
    features: Sequence[str] = COORDINATES,
) -> Dataset:
    """A circle inside another."""
    label, random = _start(samples, 2, seed)
    points = _polar(np.where(label, 1.8, 0.8), 2 * np.pi * random.random(samples))
    return _finish("circles", points, label, 2, random, noise, CIRCLES, seed, test_share, features)


def load_spirals(
    *,
    samples: int = 1500,
    noise: float = 0.05,
    classes: int = 3,
    turns: float = 1.0,
    seed: int = 0,
    test_share: float = 0.2,
    features: Sequence[str] = COORDINATES,
) -> Dataset:
    """Interleaved spiral arms, one a class.

    classes: number of arms, from 2
    turns: how often an arm goes around the origin, from 0 to 10
    """
    label, random = _start(samples, classes, seed)
    turns = check_float("turns", turns, 0, 10)
    share = 0.05 + 0.95 * random.random(samples)  # of the radius: at the origin itself all arms are one point
    points = _polar(2.2 * share, 2 * np.pi * (label / classes + turns * share))
    return _finish("spirals", points, label, classes, random, noise, SPIRALS, seed, test_share, features)


def load_xor(
    *,
    samples: int = 1000,
    noise: float = 0.0,
    seed: int = 0,
    test_share: float = 0.2,
    features: Sequence[str] = COORDINATES,
) -> Dataset:
    """Four quadrants, opposite ones of the same class."""
    label, random = _start(samples, 2, seed)
    right = np.arange(samples) // 2 % 2 == 0
    points = np.sqrt(3) * random.random((samples, 2))
    points[~right, 0] *= -1
    points[right == (label == 1), 1] *= -1
    return _finish("xor", points, label, 2, random, noise, XOR, seed, test_share, features)


def load_blobs(
    *,
    samples: int = 1000,
    noise: float = 0.35,
    classes: int = 3,
    seed: int = 0,
    test_share: float = 0.2,
    features: Sequence[str] = COORDINATES,
) -> Dataset:
    """Round clouds, one a class; noise is their width.

    classes: number of clouds, from 2
    """
    label, random = _start(samples, classes, seed)
    points = _polar(np.full(samples, 1.4), 2 * np.pi * label / classes)
    return _finish("blobs", points, label, classes, random, noise, BLOBS, seed, test_share, features)


def load_sine(*, samples: int = 300, noise: float = 0.1, seed: int = 0, test_share: float = 0.2) -> Dataset:
    """A sine with noise, to be learned as a curve."""
    return _curve("sine", lambda x: np.sin(3 * x), samples, noise, SINE, seed, test_share)


def load_steps(*, samples: int = 300, noise: float = 0.1, seed: int = 0, test_share: float = 0.2) -> Dataset:
    """A staircase with noise, to be learned as a curve."""
    return _curve("steps", lambda x: np.rint(1.5 * x), samples, noise, STEPS, seed, test_share)


def _curve(
    name: str,
    formula: Callable[[np.ndarray], np.ndarray],
    samples: int,
    noise: float,
    source: str,
    seed: int,
    test_share: float,
) -> Dataset:
    check_int("samples", samples, 2, MOST_SAMPLES)
    random = generator(seed)
    x = np.sqrt(3) * (2 * random.random(samples) - 1)
    y = formula(x) + check_float("noise", noise, 0, 10) * random.standard_normal(samples)
    return split_dataset(
        name,
        x[:, None].astype(np.float32),
        y.astype(np.float32),
        source=f"generated: {source}",
        test_share=test_share,
        seed=seed,
    )


def _start(samples: int, classes: int, seed: int) -> tuple[np.ndarray, np.random.Generator]:
    check_int("classes", classes, 2, MOST_CLASSES)
    check_int("samples", samples, 2 * classes, MOST_SAMPLES)
    return np.arange(samples, dtype=np.int64) % classes, generator(seed)


def _polar(radius: np.ndarray, angle: np.ndarray) -> np.ndarray:
    return np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=1)


def _finish(
    name: str,
    points: np.ndarray,
    label: np.ndarray,
    classes: int,
    random: np.random.Generator,
    noise: float,
    source: str,
    seed: int,
    test_share: float,
    features: Sequence[str],
) -> Dataset:
    points += check_float("noise", noise, 0, 10) * random.standard_normal(points.shape)
    names = tuple(map(str, range(classes)))
    return split_dataset(
        name,
        points.astype(np.float32),
        label,
        classes=names,
        source=f"generated: {source}",
        test_share=test_share,
        seed=seed,
        features=check_features(features),
    )
