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

import inspect
from collections.abc import Callable, Sequence
from typing import Any

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


Place = Callable[..., np.ndarray]
Loader = Callable[..., Dataset]


def _of_the_plane(source: str, *, samples: int = 1000, noise: float = 0.15) -> Callable[[Place], Loader]:
    """Make a loader of `place(label, random, **own)`, which gives the points (n, 2) of labels (n,).

    The loader takes what `place` takes by keyword, `classes` (else there are 2) among it, beside what all take.
    """

    def of(place: Place) -> Loader:
        own = [p for p in inspect.signature(place).parameters.values() if p.kind is p.KEYWORD_ONLY]
        name = place.__name__.removeprefix("load_")

        def load(
            *,
            samples: int = samples,
            noise: float = noise,
            seed: int = 0,
            test_share: float = 0.2,
            features: Sequence[str] = COORDINATES,
            **options: Any,
        ) -> Dataset:
            options = {p.name: p.default for p in own} | options
            classes = check_int("classes", options.get("classes", 2), 2, MOST_CLASSES)
            check_int("samples", samples, 2 * classes, MOST_SAMPLES)
            label, random = np.arange(samples, dtype=np.int64) % classes, generator(seed)
            points = place(label, random, **options)
            points += check_float("noise", noise, 0, 10) * random.standard_normal(points.shape)
            return split_dataset(
                name,
                points.astype(np.float32),
                label,
                classes=tuple(map(str, range(classes))),
                source=f"generated: {source}",
                test_share=test_share,
                seed=seed,
                features=check_features(features),
            )

        shared = [p for p in inspect.signature(load).parameters.values() if p.kind is p.KEYWORD_ONLY]
        load.__name__, load.__doc__ = place.__name__, place.__doc__
        load.__signature__ = inspect.Signature([*shared, *own])  # type: ignore[attr-defined]
        return load

    return of


def _polar(radius: np.ndarray, angle: np.ndarray) -> np.ndarray:
    return np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=1)


@_of_the_plane(MOONS)
def load_moons(label: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Two interleaved half circles."""
    t = np.pi * random.random(len(label))
    x, y = np.cos(t), np.sin(t)
    return 1.2 * np.stack([np.where(label, 1 - x, x) - 0.5, np.where(label, 0.5 - y, y) - 0.25], axis=1)


@_of_the_plane(CIRCLES)
def load_circles(label: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """A circle inside another."""
    return _polar(np.where(label, 1.8, 0.8), 2 * np.pi * random.random(len(label)))


@_of_the_plane(SPIRALS, samples=1500, noise=0.05)
def load_spirals(label: np.ndarray, random: np.random.Generator, *, classes: int = 3, turns: float = 1.0) -> np.ndarray:
    """Interleaved spiral arms, one a class.

    classes: number of arms, from 2
    turns: how often an arm goes around the origin, from 0 to 10
    """
    turns = check_float("turns", turns, 0, 10)
    share = 0.05 + 0.95 * random.random(len(label))  # of the radius: at the origin itself all arms are one point
    return _polar(2.2 * share, 2 * np.pi * (label / classes + turns * share))


@_of_the_plane(XOR, noise=0.0)
def load_xor(label: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Four quadrants, opposite ones of the same class."""
    right = np.arange(len(label)) // 2 % 2 == 0
    points: np.ndarray = np.sqrt(3) * random.random((len(label), 2))
    points[~right, 0] *= -1
    points[right == (label == 1), 1] *= -1
    return points


@_of_the_plane(BLOBS, noise=0.35)
def load_blobs(label: np.ndarray, random: np.random.Generator, *, classes: int = 3) -> np.ndarray:
    """Round clouds, one a class; noise is their width.

    classes: number of clouds, from 2
    """
    return _polar(np.full(len(label), 1.4), 2 * np.pi * label / classes)


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
