"""The optimizers, from simple to complex: one class each, with PyTorch's formulas and names.

An optimizer is frozen: what it remembers between steps (`slots` arrays like the parameters, zero at first) belongs to
the training run. All that changes from step to step is in `coefficients`, a row of numbers a step made on the host;
`rule(F)` is the update of one parameter. Plain SGD needs no rule: w <- c1 w + c0 g is the epilogue of the gradient's
own matrix product, and no gradient is ever stored.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from fastnn.compiler import scalar
from fastnn.errors import check_float

WIDTH = 8  # numbers in a row of coefficients


@dataclass(frozen=True)
class Optimizer:
    """Base of the optimizers; `learning_rate` is the field `lr`, which a trainer may override step by step.

    With a `clip` above 0, a gradient whose norm over all parameters is more is scaled down to it before anything else
    is done with it (Pascanu, Mikolov and Bengio 2013), as torch.nn.utils.clip_grad_norm_ does.
    """

    name: ClassVar[str]
    formula: ClassVar[str]
    source: ClassVar[str]
    lr: float
    clip = 0.0  # a field of each, behind its own

    @property
    def slots(self) -> int:
        """How many numbers are remembered for each parameter (at most 2)."""
        raise NotImplementedError

    def coefficients(self, first: int, count: int, rate: float) -> np.ndarray:
        """(count, WIDTH) float64: those of updates first, first + 1 ... (counted from 1) at learning rate `rate`."""
        raise NotImplementedError

    @staticmethod
    def rule(F: type) -> Callable[..., Any]:
        """The compiled update(w, g, m, v, c) -> (w, m, v) of one parameter; c is a row of coefficients."""
        raise NotImplementedError


@dataclass(frozen=True)
class SGD(Optimizer):
    """Stochastic gradient descent: m <- momentum m + g + weight_decay w; w <- w - lr m, or with Nesterov's look-ahead.

    Momentum: Polyak 1964; Nesterov: Sutskever et al. 2013. `clip`: the gradient's greatest norm, 0 for any. Raises
    ValueError for lr < 0, momentum outside [0, 1), weight_decay < 0, clip < 0, or nesterov without momentum.
    """

    name: ClassVar[str] = "sgd"
    formula: ClassVar[str] = "m = momentum m + g + decay w; w = w - lr m"
    source: ClassVar[str] = "Robbins and Monro 1951; momentum: Polyak 1964; Nesterov: Sutskever et al. 2013"
    lr: float
    momentum: float = 0.0
    nesterov: bool = False
    weight_decay: float = 0.0
    clip: float = 0.0

    def __post_init__(self) -> None:
        check_float("lr", self.lr, 0)
        check_float("momentum", self.momentum, 0, 1, below=True)
        check_float("weight_decay", self.weight_decay, 0)
        check_float("clip", self.clip, 0)
        if not isinstance(self.nesterov, (bool, np.bool_)):
            raise TypeError(f"nesterov: expected True or False, got {self.nesterov!r}")
        if self.nesterov and not self.momentum:
            raise ValueError("nesterov: True with momentum 0; expected a momentum above 0")

    @property
    def slots(self) -> int:
        return 1 if self.momentum else 0

    def coefficients(self, first: int, count: int, rate: float) -> np.ndarray:
        if not self.momentum:
            row = (-rate, 1 - rate * self.weight_decay)
        else:
            of_gradient, of_memory = (1.0, self.momentum) if self.nesterov else (0.0, 1.0)
            row = (rate * of_gradient, rate * of_memory, self.momentum, self.weight_decay)  # type: ignore[assignment]
        table = np.zeros((count, WIDTH))
        table[:, : len(row)] = row
        return table

    @staticmethod
    def rule(F: type) -> Callable[..., Any]:
        @scalar
        def update(w, g, m, v, c):
            g = g + c[3] * w
            m = c[2] * m + g
            return w - (c[0] * g + c[1] * m), m, v

        return update


@dataclass(frozen=True)
class Adam(Optimizer):
    """Steps scaled by running means of the gradient (m) and of its square (v), both corrected for their start at 0.

    Kingma and Ba 2015, https://arxiv.org/abs/1412.6980. `clip`: the gradient's greatest norm, 0 for any. Raises
    ValueError for lr < 0, a beta outside [0, 1), eps < 0, clip < 0.
    """

    name: ClassVar[str] = "adam"
    formula: ClassVar[str] = "m = b1 m + (1 - b1) g; v = b2 v + (1 - b2) g^2; w = w - lr m^ / (sqrt(v^) + eps)"
    source: ClassVar[str] = "Kingma and Ba 2015, arXiv 1412.6980"
    lr: float = 1e-3
    beta1: float = 0.9
    beta2: float = 0.999
    eps: float = 1e-8
    clip: float = 0.0

    def __post_init__(self) -> None:
        check_float("lr", self.lr, 0)
        check_float("beta1", self.beta1, 0, 1, below=True)
        check_float("beta2", self.beta2, 0, 1, below=True)
        check_float("eps", self.eps, 0)
        check_float("clip", self.clip, 0)

    @property
    def slots(self) -> int:
        return 2

    def coefficients(self, first: int, count: int, rate: float) -> np.ndarray:
        t = np.arange(first, first + count, dtype=np.float64)
        table = np.empty((count, WIDTH))
        table[:, 0] = rate / (1 - self.beta1**t)
        table[:, 1] = 1 / np.sqrt(1 - self.beta2**t)
        table[:, 2:] = (self.beta1, 1 - self.beta1, self.beta2, 1 - self.beta2, self.eps, 0)
        return table

    @staticmethod
    def rule(F: type) -> Callable[..., Any]:
        @scalar
        def update(w, g, m, v, c):
            m = c[2] * m + c[3] * g
            v = c[4] * v + c[5] * (g * g)
            return w - c[0] * m / (math.sqrt(v) * c[1] + c[6]), m, v

        return update


OPTIMIZERS: dict[str, type[Optimizer]] = {entry.name: entry for entry in (SGD, Adam)}
