"""What trainings and clocks gave once, by formulas: pictures of the lessons are then the same on every machine.

The numbers themselves are tested, with tolerances, in tests/test_experiments.py.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest

from fastnn.experiments import EXPERIMENTS
from fastnn.experiments.characters import NextCharacter
from fastnn.experiments.depth import COMPARED, Vanishing
from fastnn.experiments.gallery import Remarks
from fastnn.experiments.race import ENTRANTS, RATES, Convergence
from fastnn.experiments.sequences import CELLS, Adding, DigitRows
from fastnn.experiments.structure import Partial


def partial(kind: str, inputs: int, nodes: int, **_: Any) -> Partial:
    """A checkered mask, with weights that rise from link to link."""
    mask = (np.add.outer(np.arange(inputs), np.arange(nodes)) % 3 == 0).astype(np.uint8)
    weights = [np.linspace(-1, 1, (a + 1) * b).reshape(a + 1, b) for a, b in ((inputs, nodes), (nodes, 2))]
    weights[0][1:] *= mask
    return Partial(kind, mask, tuple(weights), int(mask.sum()), mask.size, 1664, 4736, 0.953, 0.975, 0.0)


def remarks(**_: Any) -> Remarks:
    names = ("identity", "sigmoid", "tanh", "relu", "leaky_relu")
    far, mean = np.array([1, 4.5e-5, 8.2e-9, 0, 0.01]), np.array([0, 0.5, 0, 0.399, 0.395])
    peak, lowest = np.array([1, 0.25, 1, 1, 1]), np.array([-4, 0.02, -1, 0, -0.04])
    accuracy, times = np.array([0.55, 1, 1, 1, 1]), np.array([0, 2.04, 1.97, 1.02, 1.05])
    grown = np.array([1e5, 0.49, 0.97, 1.4e4, 1.4e4])
    return Remarks(names, 9e-16, accuracy, peak, far, mean, lowest, grown, times)


def vanishing(activation: str, layers: int, epochs: int, **_: Any) -> Vanishing:
    """Every layer on the way back takes away a factor of 4, and training brings a little of it back."""
    depth, at = np.arange(layers)[::-1], np.arange(epochs + 1)
    norms = 0.02 * 0.25 ** (depth - np.outer(at, depth) / (4 * epochs))
    slope, weight = np.full(layers, 0.25), np.ones(layers)
    slope[-1] = 1.0
    ratios = np.array([0.25 ** (layers - 1), 0.5, 0.9, 0.95])
    return Vanishing(
        activation, "xavier", norms, 2.3 * 0.9**at, slope, weight, 0.06 * 0.25**depth, COMPARED, ratios
    )  # fmt: skip


def convergence(target: float, epochs: int, **_: Any) -> Convergence:
    at, rates = np.arange(1.0, epochs + 1), np.array(RATES)
    error = np.array([0.9 * np.exp(-at / scale) for scale in (3, 3.2, 2.4, 10)])
    best = np.array([1.0 + np.argmax(row <= target) for row in error])
    table = np.where(rates == 0.2, best[:, None], np.inf)
    return Convergence(ENTRANTS, rates, target, table, best, np.full(4, 0.2), error, float(best[2] / best[0]))


def digit_rows(data: str, cell: str, epochs: int, **_: Any) -> DigitRows:
    at, rows = np.arange(1.0, epochs + 1), np.arange(8)
    return DigitRows(data, cell, 1 - 0.8 * np.exp(-at / 3), 0.953, 0.001 * 1.6**rows, 0.004 * 1.2**rows)


def adding(steps: int, epochs: int, **_: Any) -> Adding:
    at = np.arange(1.0, epochs + 1)
    loss = np.array([0.17 - 0.0005 * at, 0.17 * np.exp(-at / 4), 0.17 * np.exp(-at / 8)])
    return Adding(CELLS, steps, loss, 1 / 6)


def next_character(epochs: int, **_: Any) -> NextCharacter:
    at, written = np.arange(1.0, epochs + 1), "the sum of its inputs and the weights of a layer are what "
    return NextCharacter(" abcdefghijklmnopqrstuvwxyz", 1.1 + 2.2 * np.exp(-at / 5), 3.3, 2.9, "A network is ", written)


def use(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make these what the registry's entries compute."""
    for compute in (partial, remarks, vanishing, convergence, digit_rows, adding, next_character):
        name = compute.__name__
        monkeypatch.setitem(EXPERIMENTS, name, dataclasses.replace(EXPERIMENTS[name], compute=compute))
