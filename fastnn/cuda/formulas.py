"""The registries' formulas as functions that kernels call: nothing is written twice.

A kernel serves every architecture, so it takes all activations, and which one is a number of the layer. Of the losses
and update rules it takes the one of the run.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any

import numpy as np

from fastnn.activations import ACTIVATIONS
from fastnn.cells import CELLS
from fastnn.cuda.target import callee, device, of_few
from fastnn.losses import LOSSES
from fastnn.optimizers import OPTIMIZERS
from fastnn.random import dropout_draws

CODES = {name: np.uint32(code) for code, name in enumerate(ACTIVATIONS)}
KINDS = {name: np.uint32(1 + code) for code, name in enumerate(CELLS)}  # 0: none, a dense layer


@lru_cache
def activations(F: type) -> tuple[Any, Any]:
    """value(code, z, slope) and derivative(code, y, slope) of the activation whose number is `code`."""
    pairs = {CODES[name]: entry.make(F) for name, entry in ACTIVATIONS.items()}
    both: list[Any] = [None, None]
    for which in (0, 1):
        for code, pair in pairs.items():
            both[which] = _either(F, code, pair[which], both[which])
    return both[0], both[1]


def _either(F: type, code: Any, formula: Any, others: Any) -> Any:
    """The choice between `formula` for `code` and `others` for the rest."""
    if others is None:

        @device
        def only(which, x, slope):
            return F(formula(x, slope))

        return only

    @device
    def choose(which, x, slope):
        if which == code:
            return F(formula(x, slope))
        return F(others(which, x, slope))

    return choose


@lru_cache
def over(F: type, count: int) -> tuple[Any, Any]:
    """values(code, z, y, slope) and derivatives(code, d, y, slope): z <- f(z), and d <- d f'(y), of `count` numbers.

    Which activation it is, is asked once for all of them. `y` has no meaning for the first.
    """
    values: Any = None
    derivatives: Any = None
    for name, entry in ACTIVATIONS.items():
        value, derivative = entry.make(F)
        values = _chosen(CODES[name], _one_by_one(_value(F, value), count), values)
        derivatives = _chosen(CODES[name], _one_by_one(_derivative(F, derivative), count), derivatives)
    return values, derivatives


def _value(F: type, formula: Any) -> Any:
    @device
    def one(z, y, at, slope):
        z[at] = F(formula(z[at], slope))

    return one


def _derivative(F: type, formula: Any) -> Any:
    @device
    def one(d, y, at, slope):
        d[at] *= F(formula(y[at], slope))

    return one


def _one_by_one(one: Any, count: int) -> Any:
    """The function that does `one` at each of so many places from `at` on, without a loop: registers have no index."""
    if count == 1:
        return one
    half, rest = _one_by_one(one, count // 2), _one_by_one(one, count - count // 2)

    @device
    def both(z, y, at, slope):
        half(z, y, at, slope)
        rest(z, y, at + count // 2, slope)

    return both


def _chosen(code: Any, formula: Any, others: Any) -> Any:
    @device
    def choose(which, z, y, slope):
        if others is None or which == code:
            formula(z, y, 0, slope)
        else:
            others(which, z, y, slope)

    return choose


@lru_cache
def cells(F: type) -> tuple[Any, Any]:
    """forward(code, ...) and backward(code, ...) of the cell whose number is `code`, over one row as in the registry.

    With U = 1 they are those of one unit, whose gates and sums stand side by side.
    """
    pairs = {KINDS[name]: cell.make(F) for name, cell in CELLS.items() if cell.make is not None}
    forward: Any = None
    backward: Any = None
    for code, (there, back) in pairs.items():
        forward = _which_forward(code, of_few(there), forward)
        backward = _which_backward(code, of_few(back), backward)
    return forward, backward


@device
def _no_forward(which, z, s, before, h, c, last, U, first):
    pass


def _which_forward(code: Any, formula: Any, others: Any) -> Any:
    others = _no_forward if others is None else others

    @device
    def choose(which, z, s, before, h, c, last, U, first):
        if which == code:
            formula(z, s, before, h, c, last, U, first)
        else:
            others(which, z, s, before, h, c, last, U, first)

    return choose


@device
def _no_backward(which, z, s, before, c, last, dh, dc, dz, ds, U, first):
    pass


def _which_backward(code: Any, formula: Any, others: Any) -> Any:
    others = _no_backward if others is None else others

    @device
    def choose(which, z, s, before, c, last, dh, dc, dz, ds, U, first):
        if which == code:
            formula(z, s, before, c, last, dh, dc, dz, ds, U, first)
        else:
            others(which, z, s, before, c, last, dh, dc, dz, ds, U, first)

    return choose


@lru_cache
def loss(name: str, F: type) -> Callable[..., None]:
    """The loss over columns, as in the registry."""
    function: Callable[..., None] = callee(LOSSES[name].make(F))
    return function


@lru_cache
def loss_terms(name: str, F: type) -> tuple[Any, bool]:
    """The loss's formulas on single numbers, and whether its targets are labels."""
    return LOSSES[name].terms(F), LOSSES[name].labels


@lru_cache
def rule(name: str, F: type) -> Any:
    """update(w, g, m, v, c) -> (w, m, v) of an optimizer with a memory, as in the registry."""
    return OPTIMIZERS[name].rule(F)


@lru_cache
def dropout(F: type) -> Any:
    """dropped(x, edge, scale, seed, step, unit, row, column): x * scale where it is kept, else 0.

    `edge` is the share that is dropped as a part of 2**32. The draws are those of the CPU.
    """
    zero, draws_of = F(0), callee(dropout_draws)

    @device
    def dropped(x, edge, scale, seed, step, unit, row, column):
        lane = column & np.uint32(3)
        draws = draws_of(seed, step, unit, row, column - lane)
        draw = draws[0]
        if lane == np.uint32(1):
            draw = draws[1]
        elif lane == np.uint32(2):
            draw = draws[2]
        elif lane == np.uint32(3):
            draw = draws[3]
        return x * scale if draw >= edge else zero

    return dropped
