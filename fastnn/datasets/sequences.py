"""Data sets of sequences, x (n, T, features): the adding problem, and the characters of a text file."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from fastnn.datasets.dataset import Dataset, check_seed, check_share, generator, split_rows
from fastnn.errors import DataError, check_int

ADDING = "the adding problem, Hochreiter and Schmidhuber 1997, as Le, Jaitly and Hinton 2015 have it"
MOST_NUMBERS = 1 << 28  # of x: 1 GB
MOST_CHARACTERS = 1000  # that are different


def load_adding(*, steps: int = 50, samples: int = 10_000, seed: int = 0, test_share: float = 0.2) -> Dataset:
    """The adding problem: x (n, steps, 2), y (n, 1) the sum of two marked numbers, a regression.

    x[..., 0] are uniform in [0, 1); x[..., 1] is 1 at two steps, one in each half of the sequence, and 0 elsewhere.
    Always answering 1 has a mean squared error of 1/6; what is marked must be kept over many steps to do better. Raises
    TypeError or ValueError, naming the argument, for steps < 2 or samples < 2.
    """
    steps, samples = check_int("steps", steps, 2), check_int("samples", samples, 2)
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
    check_share(test_share)
    check_seed(seed)
    path = Path(path)
    try:
        with open(path, encoding="utf-8", newline=None) as file:
            text = file.read(characters)
    except (OSError, UnicodeDecodeError) as reason:
        raise DataError(f"{path}: cannot be read as UTF-8 text ({reason})") from None
    count = (len(text) - 1) // steps
    if count < 2:
        raise DataError(f"{path}: has {len(text)} characters; expected at least {2 * steps + 1} for steps {steps}")
    alphabet = tuple(sorted(set(text)))
    if not 2 <= len(alphabet) <= MOST_CHARACTERS:
        raise DataError(f"{path}: has {len(alphabet)} different characters; expected from 2 to {MOST_CHARACTERS}")
    if count * steps * len(alphabet) > MOST_NUMBERS:
        most = MOST_NUMBERS // len(alphabet)
        raise DataError(f"{path}: {len(text)} characters of {len(alphabet)} kinds; expected characters={most} at most")
    codes = np.searchsorted(np.array(alphabet), np.array(list(text[: count * steps + 1])))
    x = one_hot(codes[:-1].reshape(count, steps), len(alphabet))
    y = np.ascontiguousarray(codes[1:].reshape(count, steps), np.int64)
    train, test = split_rows(count, test_share=test_share, seed=seed)
    return Dataset(path.stem, x[train], y[train], x[test], y[test], classes=alphabet, source=str(path))


def one_hot(codes: np.ndarray, kinds: int) -> np.ndarray:
    """(..., kinds) float32: 1 at each code, 0 elsewhere."""
    return np.eye(kinds, dtype=np.float32)[codes]
