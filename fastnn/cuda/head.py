"""The end of a wide network in one launch: its last layer, of few units, the loss, and the deltas of both its sides.

Alone each of the three is a launch that waits for one before it and leaves the GPU nearly empty: a layer of 10 units
has four tiles at batch 128. Here a block takes a few rows through them. Its weights lie in shared memory, as many of
them at once as there is room for: both sides read them, this one along a term's row and that one along the terms.
What a block is given and brings is in `head_block`, the loss in `row_loss`.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np

from fastnn.cuda import formulas, row_loss
from fastnn.cuda.dependent import await_previous
from fastnn.cuda.head_block import (
    BESIDE,
    COLUMNS,
    GROUPS,
    LINE,
    ROW,
    TEAM,
    TEAMS,
    TERMS,
    THREADS,
    Block,
    Shared,
    factors,
    layer_of,
    room_of,
    sample_of,
    targets,
)
from fastnn.cuda.phases import BATCH, SEED, SLOT, STEP, batch_of
from fastnn.cuda.row_loss import Row
from fastnn.cuda.shapes import BLOCKS
from fastnn.cuda.target import ALIGNED, cuda, device, kernel, meet, number
from fastnn.cuda.vectors import aligned, commit, in_vector, load, wait

WIDEST = 32  # units of the last layer
TALLEST = 32  # bytes of a column of a block's rows
U = np.uint32


def takes(sizes: tuple[int, ...]) -> bool:
    """Whether a network of these sizes ends as this launch does it: after a hidden layer, in few units."""
    return len(sizes) > 2 and sizes[-1] <= WIDEST


def height(F: type, batch: int) -> int:
    """Rows that a block takes: one where that gives an H100 no more blocks than it takes at once, else some more."""
    most = TALLEST // np.dtype(F).itemsize
    return next((rows for rows in (1, 2, 4) if rows < most and rows * BLOCKS >= batch), most)


@lru_cache
def _outputs(F: type, height: int) -> Any:
    """The function for the last layer's outputs f(x W + b), to the buffer and to z, and for the rows' targets.

    COLUMNS of them at a time, of each the sum over a slab of terms after the other. A group of threads has every
    GROUPS-th vector of the terms; the groups' sums are added in the end.
    """
    weights, inputs = factors(F, height)
    multiply, finish, kind, zero = _multiply(F, height), _finish_outputs(F, height), number(F), F(0)

    @device
    def outputs(block, layer, shared):
        sums, sample = cuda.local.array(height, kind), sample_of(block, U(cuda.threadIdx.x))
        # The launch before wrote no weights: where they are whole vectors they are on their way before it ends.
        if not aligned(block.parameters[layer.weight :], layer.fan_in * layer.width):
            await_previous()
        weights(block, layer, shared, U(0), U(min(shared.terms, layer.fan_in)))
        await_previous()
        n0 = U(0)
        while n0 < layer.width:
            for r in range(height):
                sums[r] = zero
            k0, bias, c = U(0), zero, U(n0 + U(cuda.threadIdx.x) % U(TEAM))
            if c < layer.width:  # on its way during the product
                bias = block.parameters[U(layer.weight + layer.fan_in * layer.width + c)]
            while k0 < layer.fan_in:
                there, first = U(min(shared.terms, U(layer.fan_in - k0))), k0 == U(0) and n0 == U(0)
                if not first:
                    weights(block, layer, shared, k0, there)
                inputs(block, layer, shared, k0, there)
                commit()
                if first:
                    targets(block, shared, sample)
                commit()
                wait(1)  # for the factors; targets arrive during the product
                cuda.syncthreads()
                multiply(block, layer, shared, n0, there, sums)
                wait(0)
                cuda.syncthreads()
                k0 = U(k0 + shared.terms)
            finish(block, layer, shared, n0, sums, bias)
            n0 = U(n0 + U(COLUMNS))
            if n0 < layer.width:
                cuda.syncthreads()

    return outputs


@lru_cache
def _multiply(F: type, height: int) -> Any:
    """The function that adds the group's terms of those that are in shared memory to the sums of its column."""
    room, line, V, kind = room_of(F), LINE, in_vector(F), number(F)

    @device
    def multiply(block, layer, shared, n0, there, sums):
        x, w, memory = cuda.local.array(V, kind), cuda.local.array(V, kind), shared.memory
        c = U(n0 + U(cuda.threadIdx.x) % U(COLUMNS))
        if c < layer.width:
            k = U(U(cuda.threadIdx.x) // U(COLUMNS) * block.vector)
            while k < there:
                for i in range(V):
                    w[i] = memory[U(U(k + U(i)) * layer.width + c)]
                for r in range(height):
                    load(memory, U(U(room + r * line) + k), x, 0)
                    for i in range(V):
                        sums[r] += x[i] * w[i]
                k = U(k + U(GROUPS) * block.vector)

    return multiply


@lru_cache
def _finish_outputs(F: type, height: int) -> Any:
    """The function for a row's outputs of columns n0 .. from the groups' sums, by its team."""
    value, room, V, kind, zero = formulas.activations(F)[0], room_of(F), in_vector(F), number(F), F(0)

    @device
    def finish(block, layer, shared, n0, sums, bias):
        part, total, memory = cuda.local.array(V, kind), cuda.local.array(V, kind), shared.memory
        e = U(cuda.threadIdx.x)
        for r in range(height):
            memory[U(U(room + r * LINE) + e % U(COLUMNS) * U(BESIDE) + e // U(COLUMNS))] = sums[r]
        cuda.syncthreads()
        row, lane, c = U(e // U(TEAM)), U(e % U(TEAM)), U(n0 + e % U(TEAM))
        while row < block.count:
            if lane < U(COLUMNS) and c < layer.width:
                for i in range(V):
                    total[i] = zero
                for g in range(0, GROUPS, V):  # sums of four, or two: to add one after the other takes longer
                    load(memory, U(U(room) + row * U(LINE) + lane * U(BESIDE) + U(g)), part, 0)
                    for i in range(min(V, GROUPS)):
                        total[i] += part[i]
                z = bias
                for i in range(V):
                    z += total[i]
                y = value(layer.code, z, layer.slope)
                shared.z[U(row * U(ROW) + c)], block.buffer[U(layer.wrote + row * layer.width + c)] = y, y
            row = U(row + U(TEAMS))

    return finish


@lru_cache
def _lose(F: type, loss: str, height: int) -> Any:
    """The function for the losses and hits of the block's rows and the deltas of the last layer, by a team a row."""
    lose_row, room, one = row_loss.of_team(F, loss, TEAM, True), room_of(F), F(1)

    @device
    def lose(block, layer, shared):
        row, lane, scale = U(U(cuda.threadIdx.x) // U(TEAM)), U(U(cuda.threadIdx.x) % U(TEAM)), one / F(block.batch)
        meet()
        while row < U(height):
            at, there = U(row * U(ROW)), row < block.count
            lost, right = lose_row(
                Row(
                    there, layer.width, U(ROW), shared.z, at, shared.z, at, shared.wanted, at, shared.deltas, row,
                    U(height), block.buffer, U(layer.delta + row * layer.width),
                ),
                layer.code, layer.slope, scale, shared.memory, U(U(room) + row * U(LINE)), lane,
            )  # fmt: skip
            if there and lane == U(0):
                block.losses[U(block.slot + row)], block.hits[U(block.slot + row)] = lost, right
            row = U(row + U(TEAMS))
        cuda.syncthreads()

    return lose


@lru_cache
def _before(F: type, height: int) -> Any:
    """The function for y (height,) <- outputs of the layer before, its column c."""
    zero = F(0)

    @device
    def outputs_before(block, before, c, y):
        at = U(before.wrote + c)
        for r in range(height):
            y[r] = block.buffer[U(at + U(r) * before.width)] if U(r) < block.count else zero

    return outputs_before


@lru_cache
def _deltas(F: type, height: int) -> Any:
    """The function for the deltas (d W^T) f'(y) of the layer before, a thread a column; y (height,) are the outputs in
    its first one, which were asked for before the loss."""
    (weights, _), outputs_before, multiply = factors(F, height), _before(F, height), _multiply_back(F, height)
    derivatives, kind = formulas.over(F, height)[1], number(F)

    @device
    def deltas(block, layer, before, shared, y):
        d, step, k0 = cuda.local.array(height, kind), block.threads, U(0)
        while k0 < before.width:
            there = U(min(shared.terms, U(before.width - k0)))
            if shared.terms < before.width:  # else all weights are there
                cuda.syncthreads()
                weights(block, layer, shared, k0, there)
                commit()
                wait(0)
                cuda.syncthreads()
            k = U(cuda.threadIdx.x)
            while k < there:
                c = U(k0 + k)
                if c != U(cuda.threadIdx.x):
                    outputs_before(block, before, c, y)
                multiply(block, layer, shared, k, d)
                derivatives(before.code, d, y, before.slope)
                for r in range(height):
                    if U(r) < block.count:
                        block.buffer[U(before.delta + c + U(r) * before.width)] = d[r]
                k = U(k + step)
            k0 = U(k0 + shared.terms)

    return deltas


@lru_cache
def _multiply_back(F: type, height: int) -> Any:
    """The function for sums (height,) <- d W^T, of the term that has the weights of number k in shared memory."""
    V, kind, zero = in_vector(F), number(F), F(0)

    @device
    def multiply(block, layer, shared, k, sums):
        d, w, width = cuda.local.array(V, kind), cuda.local.array(V, kind), layer.width
        for r in range(height):
            sums[r] = zero
        j = U(0)
        while j < width:
            for i in range(V):
                # Behind the last output come the next unit's weights, and deltas that are 0: where such a weight is
                # infinite, this unit's delta is not a number, either.
                w[i] = shared.memory[U(U(k * width + j) + U(i))]
            for i in range(0, height * V, V):
                load(shared.deltas, np.uint64(j) * np.uint64(height) + np.uint64(i), d, 0)
                for p in range(V):
                    sums[(i + p) % height] += d[p] * w[(i + p) // height]
            j = U(j + block.vector)

    return multiply


@lru_cache
def _drop(F: type) -> Any:
    """The function for the dropout between the two layers, of the deltas that the block's threads have written."""
    dropped = formulas.dropout(F)

    @device
    def drop(block, before):
        last, buffer = block.last, block.buffer
        edge, scale, seed, step = block.edges[last], block.scales[last], block.state[SEED], block.state[STEP] + block.s
        cuda.syncthreads()
        row = U(0)
        while row < block.count:
            k = U(cuda.threadIdx.x)
            while k < before.width:
                at = U(before.delta + row * before.width + k)
                buffer[at] = dropped(buffer[at], edge, scale, seed, step, last, U(block.begin + row), k)
                k = U(k + block.threads)
            row = U(row + U(1))

    return drop


@lru_cache
def rows(F: type, loss: str, height: int) -> Any:
    """Kernel: outputs, losses, hits and deltas of layer `last`, and the deltas of the layer before.

    A block takes `height` rows of the batch; the arrays are those of `phases`.
    """
    outputs, lose, deltas, drop = _outputs(F, height), _lose(F, loss, height), _deltas(F, height), _drop(F)
    outputs_before, kind, none, room, V = _before(F, height), number(F), np.uint64(0), room_of(F), in_vector(F)
    squares, numbers = ROW * height, room + height * LINE

    @kernel(THREADS, F, loss, height, blocks=8 // np.dtype(F).itemsize)
    def head_rows(
        parameters, targets, target_row, buffer, table, slopes, edges, scales, order, state, losses, hits, last, s
    ):
        memory = cuda.shared.array(numbers, kind, ALIGNED)
        z = cuda.shared.array(squares, kind, ALIGNED)
        wanted = cuda.shared.array(squares, kind, ALIGNED)
        by_columns = cuda.shared.array(squares, kind, ALIGNED)
        y, terms = cuda.local.array(height, kind), U(TERMS)
        begin, threads = U(cuda.blockIdx.x * U(height)), U(cuda.blockDim.x)
        # Before the batch is known, so that it is waited for at once with them.
        layer, before = layer_of(table, slopes, last, begin), layer_of(table, slopes, U(last - U(1)), begin)
        (first, batch), slot, drops = batch_of(state, s), (state[SLOT] + s) * state[BATCH], edges[last] != none
        if begin >= batch:
            await_previous()
            return
        block = Block(
            parameters, targets, target_row, buffer, edges, scales, order, state, losses, hits, last, s, first, batch,
            U(slot + begin), begin, U(min(U(height), U(batch - begin))), threads, U(threads // U(THREADS) * U(V)),
        )  # fmt: skip
        while terms * layer.width + U(V) > U(room):
            terms = U(terms // U(2))
        shared = Shared(memory, z, wanted, by_columns, terms)
        outputs(block, layer, shared)
        if cuda.threadIdx.x < before.width:  # on their way during the loss
            outputs_before(block, before, U(cuda.threadIdx.x), y)
        lose(block, layer, shared)
        deltas(block, layer, before, shared, y)
        if drops:
            drop(block, before)

    return head_rows
