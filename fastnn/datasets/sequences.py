"""Data sets of sequences, x (n, T, features): the adding problem, and the characters of a text file."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from fastnn.datasets.dataset import Dataset, check_seed, check_share, generator, split_rows
from fastnn.errors import DataError, check_int

ADDING = "the adding problem, Hochreiter and Schmidhuber 1997, as Le, Jaitly and Hinton 2015 have it"
LESSONS = "the texts of the Learn mode's lessons"
MOST_NUMBERS = 1 << 28  # of x: 1 GB
MOST_CHARACTERS = 1000  # that are different


def load_adding(*, steps: int = 50, samples: int = 10_000, seed: int = 0, test_share: float = 0.2) -> Dataset:
    """The adding problem: x (n, steps, 2), y (n, 1) the sum of two marked numbers, a regression.

    x[..., 0] are uniform in [0, 1); x[..., 1] is 1 at two steps, one in each half of the sequence, and 0 elsewhere.
    Always answering 1 has a mean squared error of 1/6; what is marked must be kept over many steps to do better. Raises
    TypeError or ValueError, naming the argument, for steps < 2 or samples < 2.
    """
    steps, samples = check_int("steps", steps, 2, MOST_NUMBERS // 4), check_int("samples", samples, 2)
    if samples * steps * 2 > MOST_NUMBERS:
        raise ValueError(f"samples: {samples} of {steps} steps; expected at most {MOST_NUMBERS // (2 * steps)}")
    random = generator(check_seed(seed))
    x = np.zeros((samples, steps, 2), np.float32)
    x[..., 0] = random.random((samples, steps), np.float32)
    rows, half = np.arange(samples), steps // 2
    # Products instead of bounded integers, whose stream NumPy may change.
    first = (random.random(samples) * half).astype(np.int64)
    second = half + (random.random(samples) * (steps - half)).astype(np.int64)
    x[rows, first, 1] = x[rows, second, 1] = 1
    y = (x[rows, first, 0] + x[rows, second, 0])[:, None]
    train, test = split_rows(samples, test_share=check_share(test_share), seed=seed)
    return Dataset("adding", x[train], y[train], x[test], y[test], source=f"generated: {ADDING}")


def load_text(
    path: str | os.PathLike[str], *, steps: int = 32, characters: int = 200_000, seed: int = 0, test_share: float = 0.1
) -> Dataset:
    """The next character of a UTF-8 text: x (n, steps, kinds) one-hot, y (n, steps) labels of the next ones.

    The first `characters` of the file are cut into windows of `steps`, one behind the other, which are shuffled and
    split. `classes` are the different characters, sorted. Raises DataError for a file that cannot be read, is too short
    or has too many different characters; TypeError or ValueError, naming the argument, for bad options.
    """
    steps, characters = check_int("steps", steps), check_int("characters", characters, 2)
    return _characters(Path(path).stem, str(path), read_text(path, characters), steps, seed, test_share)


def load_lessons(*, steps: int = 32, seed: int = 0, test_share: float = 0.1) -> Dataset:
    """The next character of what the lessons of the Learn mode say; options and result as those of `load_text`."""
    return _characters("lessons", LESSONS, lesson_text(), check_int("steps", steps), seed, test_share)


def _characters(name: str, source: str, text: str, steps: int, seed: int, test_share: float) -> Dataset:
    check_share(test_share)
    check_seed(seed)
    alphabet, codes = encoded(source, text)
    count = (len(codes) - 1) // steps
    if count < 2:
        raise DataError(f"{source}: has {len(text)} characters; expected at least {2 * steps + 1} for steps {steps}")
    x, y = windows(source, codes, len(alphabet), steps, steps)
    train, test = split_rows(count, test_share=test_share, seed=seed)
    return Dataset(name, x[train], y[train], x[test], y[test], classes=tuple(alphabet), source=source)


def read_text(path: str | os.PathLike[str], characters: int) -> str:
    """The first `characters` of a file in UTF-8; raises DataError."""
    try:
        with open(path, encoding="utf-8", newline=None) as file:
            return file.read(characters)
    except (OSError, ValueError) as reason:  # a bad encoding and a bad name are ValueErrors
        text = getattr(reason, "strerror", None) or reason
        raise DataError(f"{os.fspath(path)}: cannot be read as UTF-8 text ({text})") from None


def lesson_text() -> str:
    """The texts of the lessons, one behind the other."""
    from fastnn.experiments import EXPERIMENTS  # not before: they load data sets themselves

    return " ".join(entry.text for entry in EXPERIMENTS.values())


def encoded(source: str, text: str) -> tuple[str, np.ndarray]:
    """The different characters of a text, sorted, and its codes (n,), their numbers in that order.

    Raises DataError, naming the source, for a text of one character only, or of more than MOST_CHARACTERS.
    """
    alphabet = sorted(set(text))
    if not 2 <= len(alphabet) <= MOST_CHARACTERS:
        raise DataError(f"{source}: has {len(alphabet)} different characters; expected from 2 to {MOST_CHARACTERS}")
    return "".join(alphabet), np.searchsorted(np.array(alphabet), np.array(list(text)))


def windows(source: str, codes: np.ndarray, kinds: int, steps: int, stride: int) -> tuple[np.ndarray, np.ndarray]:
    """All windows of `steps` codes that begin `stride` apart: x (n, steps, kinds) float32, 1 at the code, and y
    (n, steps) int64, the codes that follow. Raises DataError, naming the source, for more than memory may hold."""
    begins = np.arange(0, len(codes) - steps, stride)
    if len(begins) * steps * kinds > MOST_NUMBERS:
        most = MOST_NUMBERS // (kinds * steps) * stride
        raise DataError(f"{source}: {len(codes)} characters of {kinds} kinds; expected characters={most} at most")
    places = begins[:, None] + np.arange(steps)
    return one_hot(codes[places], kinds), codes[places + 1].astype(np.int64)


def one_hot(codes: np.ndarray, kinds: int) -> np.ndarray:
    """(..., kinds) float32: 1 at each code, 0 elsewhere."""
    return np.eye(kinds, dtype=np.float32)[codes]
