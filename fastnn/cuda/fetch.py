"""What a block of `fused` copies to shared memory: the rows that the network reads, and the right factors of products.

A copy is on its way when the function returns; after `wait` and a barrier it is there. Numbers lie as they do in the
GPU's memory, in rows of whole vectors with PAD more, so that no thread waits for what it copies.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np

from fastnn.cuda.held import Cut, padded
from fastnn.cuda.phases import GATHERED, IN, OUT, READ, WEIGHT
from fastnn.cuda.shapes import PAD
from fastnn.cuda.target import cuda, device
from fastnn.cuda.vectors import aligned, commit, copy_number, copy_vector, in_vector

U = np.uint32


class Step(NamedTuple):
    """What a launch of `fused` is given, see `phases`; its batch has `batch` rows, from `first` of order on."""

    parameters: Any
    inputs: Any
    targets: Any
    target_row: Any
    buffer: Any
    table: Any
    slopes: Any
    edges: Any
    scales: Any
    order: Any
    state: Any
    losses: Any
    hits: Any
    partial: Any
    s: Any
    first: Any
    batch: Any


class Rows(NamedTuple):
    """The rows of the batch that a block has at once: `count` of them, from `begin` on. The block's partial sums of the
    gradient begin at `partial`; if it has been through other rows before (`again`), theirs are there."""

    begin: Any
    count: Any
    partial: Any
    again: Any


@lru_cache
def forward(F: type, cut: Cut) -> Any:
    """The function for `slab` lines of a layer's W from line k0 on; of layer 0 also for the columns of x they meet."""
    columns, slab, tile = cut.columns, cut.slab, cut.tile
    copy_rows, copy_lines = _copying(F, cut, cut.rows, columns, True), _copying(F, cut, slab, columns, False)

    @device
    def fetch(step, rows, layer, k0, memory):
        fan_in, fan_out = step.table[layer, IN], step.table[layer, OUT]
        if layer == U(0) and k0 % U(columns) == U(0):
            gathered = step.table[layer, GATHERED] != U(0)
            x = step.inputs if gathered else step.buffer[step.table[layer, READ] :]
            copy_rows(
                memory, U(0), x, fan_in, step.order[step.first :], gathered, rows.begin, k0, rows.count,
                U(min(U(columns), fan_in - k0)),
            )  # fmt: skip
        w = step.parameters[step.table[layer, WEIGHT] :]
        copy_lines(memory, U(tile), w, fan_out, step.order, False, k0, U(0), U(min(U(slab), fan_in - k0)), fan_out)
        commit()

    return fetch


@lru_cache
def backward(F: type, cut: Cut) -> Any:
    """The function for `slab` columns of a layer's W from `column` on."""
    slab, tile, copy = cut.slab, cut.tile, _copying(F, cut, cut.columns, cut.slab, True)

    @device
    def fetch(step, layer, column, memory):
        fan_in, fan_out, w = step.table[layer, IN], step.table[layer, OUT], step.parameters[step.table[layer, WEIGHT] :]
        copy(memory, U(tile), w, fan_out, step.order, False, U(0), column, fan_in, U(min(U(slab), fan_out - column)))
        commit()

    return fetch


@lru_cache
def gradient(F: type, cut: Cut) -> Any:
    """The function for as many columns of a layer's x as a block has rows, from `column` on."""
    height, tile, copy = cut.rows, cut.tile, _copying(F, cut, cut.rows, cut.rows, False)

    @device
    def fetch(step, rows, layer, column, memory):
        fan_in, gathered = step.table[layer, IN], step.table[layer, GATHERED] != U(0)
        x = step.inputs if gathered else step.buffer[step.table[layer, READ] :]
        copy(
            memory, U(tile), x, fan_in, step.order[step.first :], gathered, rows.begin, column, rows.count,
            U(min(U(height), fan_in - column)),
        )  # fmt: skip
        commit()

    return fetch


@lru_cache
def _copying(F: type, cut: Cut, tall: int, wide: int, deep: bool) -> Any:
    """The function that begins to copy a tile of a matrix to shared memory, in rows of `wide` numbers and PAD more.

    memory[start ..] <- lines `line` .. and columns `column` .. of x, whose lines have `row` numbers each: `lines` times
    `columns`, `tall` times `wide` at most. The terms of sums (the columns if `deep`) are `padded` with zeros. Where
    `gathered`, the line l is order[l] in x.
    """
    V, threads = in_vector(F), cut.threads
    across = min(wide // V, threads)  # threads beside each other
    down = threads // across
    count, next_row = -(-tall // down), down * (wide + PAD)

    @device
    def copy(memory, start, x, row, order, gathered, line, column, lines, columns):
        whole, places = aligned(x, row), cuda.local.array(count, np.uint32)
        r, c = U(U(cuda.threadIdx.x) // U(across)), U(U(cuda.threadIdx.x) % U(across) * U(V))
        end_row, end = (lines, padded(columns)) if deep else (padded(lines), columns)
        for i in range(count):
            places[i] = U(line + r + U(i * down))
            if gathered:
                places[i] = U(order[places[i]]) if r + U(i * down) < lines else U(0)
        while c < end:
            left, at = U(columns - c) if c < columns else U(0), U(start + r * U(wide + PAD) + c)
            if whole:
                for i in range(count):
                    if r + U(i * down) < end_row:
                        there = r + U(i * down) < lines and left > U(0)
                        copy_vector(memory, U(at + U(i * next_row)), x, U(places[i] * row + column + c), there)
            else:
                k = r
                while k < end_row:
                    there, place = k < lines and left > U(0), U(line + k)
                    if gathered and there:
                        place = U(order[place])
                    for j in range(V):
                        copy_number(
                            memory, U(start + k * U(wide + PAD) + c + U(j)), x, U(place * row + column + c + U(j)),
                            there and U(j) < left,
                        )  # fmt: skip
                    k = U(k + U(down))
            c = U(c + U(across * V))

    return copy
