"""The compiled entry points: many steps of training, evaluation, histograms. No GIL, nothing allocated."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from fastnn.compiler import inlined, inner, kernel
from fastnn.cpu.phases import COLUMNS, PART, ROWS, WEIGHT, Data, forward, lose, rows_phase
from fastnn.cpu.primitives import call, flush_subnormals, replacing, restore, wait_for_all
from fastnn.cpu.weights import clear, pack, tiles_phase
from fastnn.random import shuffle


class Run(NamedTuple):
    """A chunk of steps: what to do, and where its results go."""

    workers: int
    first: int  # steps of the network's run before this chunk
    steps: int
    batch: int
    order: np.ndarray  # (n,) int64: the samples of the epoch in the order of training
    shuffle: int
    coefficients: np.ndarray  # F (steps, WIDTH): the optimizer's, for each step
    losses: np.ndarray  # float64 (steps,): mean loss of each batch before its update
    hits: np.ndarray  # float64 (steps,): targets predicted right
    validation: Data
    counting: np.ndarray  # int64 (ROWS,) 0, 1, 2 ...
    val_sums: np.ndarray  # float64 (blocks, 2): loss and hits of each block of validation rows
    val_results: np.ndarray  # float64 (epochs, 2): mean loss and hits at each epoch's end; a row for 0 steps


@inner
def evaluate(net, work, run, result, worker):
    """Mean loss on the validation data and how many targets are predicted right, into run.val_results[result]."""
    evaluate_blocks(net, work, run.validation, run.counting, run.val_sums, worker, run.workers)
    if wait_for_all(work.barrier, run.workers) and worker == 0:
        loss, hits = 0.0, 0.0
        for b in range(run.val_sums.shape[0]):
            loss += run.val_sums[b, 0]
            hits += run.val_sums[b, 1]
        run.val_results[result, 0], run.val_results[result, 1] = loss / run.validation.samples, hits


@inner
def evaluate_blocks(net, work, data, counting, sums, worker, workers):
    """Loss and hits of every block of ROWS rows of `data`, into sums (blocks, 2); workers share the blocks."""
    F = net.one.itemsize
    blocks = sums.shape[0]
    losses, hits = work.losses[worker * ROWS :], work.hits[worker * ROWS :]
    for b in range(worker * blocks // workers, (worker + 1) * blocks // workers):
        rows = min(ROWS, data.samples - b * ROWS)
        if work.score != 0:
            call(work.score, (net.table.ctypes.data, net.slope.ctypes.data, data.inputs + b * ROWS * data.row * F,
                              data.targets + b * ROWS * data.target_row, rows, losses.ctypes.data, hits.ctypes.data,
                              work.loss, worker))  # fmt: skip
            add_up(sums, b, losses, hits, rows)
            continue
        at = forward(net, data.inputs + b * ROWS * data.row * F, data.row, rows, worker)
        z = net.scratch.ctypes.data + at * F
        targets = data.targets + b * ROWS * data.target_row
        index = counting.ctypes.data
        lose(net, work, z, 0, targets, index, losses.ctypes.data, hits.ctypes.data, rows, net.one[0], worker)
        add_up(sums, b, losses, hits, rows)


@inner
def add_up(sums, b, losses, hits, rows):
    """The loss and hits of block b, in the order of its rows."""
    loss, hit = 0.0, 0.0
    for r in range(rows):
        loss += losses[r]
        hit += hits[r]
    sums[b, 0], sums[b, 1] = loss, hit


gradient_only = replacing("target", "update", "clip")


@inner
def update_clipped(net, work, coefficients, worker, workers):
    """The update after the tile phase, where it needs the norm of the whole gradient; False if the work was aborted.

    Squares of the gradient's parts, updates of the same parts, panels: three barriers more.
    """
    if not wait_for_all(work.barrier, workers):
        return False
    if not update_parts(net, work, coefficients, worker, workers):
        return False
    if not wait_for_all(work.barrier, workers):
        return False
    for t in range(work.firsts[worker], work.firsts[worker + 1]):
        pack(net, work, work.tiles[t, 0], work.tiles[t, 1], work.tiles[t, 2])
    return True


@inner
def update_parts(net, work, coefficients, worker, workers):
    """Update the target, part by part, by the gradient in work.whole, clipped to work.clip; False if aborted."""
    F, address = net.one.itemsize, work.whole.ctypes.data
    count, parts = work.whole.size, work.squares.size
    first, last = worker * parts // workers, (worker + 1) * parts // workers
    scale = net.one[1]
    if work.clip > 0.0:
        for p in range(first, last):
            work.squares[p] = squares(work.whole, p * PART, min(count, (p + 1) * PART))
        if not wait_for_all(work.barrier, workers):
            return False
        total = 0.0
        for p in range(parts):
            total += work.squares[p]
        factor = work.clip / (np.sqrt(total) + 1e-6)  # torch.nn.utils.clip_grad_norm_
        scale = net.one.dtype.type(1.0 if factor > 1.0 else factor)
    for p in range(first, last):
        at, some = p * PART * F, min(PART, count - p * PART)
        w, g, one = work.target.ctypes.data + at, address + at, net.one.ctypes.data + F
        if work.update == 0:
            call(net.gemm, (one, 0, 0, g, 0, net.panel, w, 0, w, 0, 1, some, 1, coefficients[0] * scale,
                            coefficients[1]))  # fmt: skip
        else:
            call(net.gemm, (one, 0, 0, g, 0, net.panel, g, 0, g, 0, 1, some, 1, scale, net.one[0]))
            m, v = work.m.ctypes.data + at, work.v.ctypes.data + at
            call(work.update, (w, g, m, v, some, coefficients.ctypes.data))
    return True


@inner
def squares(values, begin, end):
    """Sum of the squares of values[begin:end], as four sums of every fourth."""
    a, b, c, d = 0.0, 0.0, 0.0, 0.0
    i = begin
    while i + 4 <= end:
        a += np.float64(values[i]) * np.float64(values[i])
        b += np.float64(values[i + 1]) * np.float64(values[i + 1])
        c += np.float64(values[i + 2]) * np.float64(values[i + 2])
        d += np.float64(values[i + 3]) * np.float64(values[i + 3])
        i += 4
    while i < end:
        a += np.float64(values[i]) * np.float64(values[i])
        i += 1
    return (a + b) + (c + d)


@kernel
def train(net, work, data, run, worker):
    """run.steps steps from step run.first on, worker's share of them; with 0 steps only the validation asked for."""
    before: int = flush_subnormals()
    train_steps(net, work, data, run, worker)
    restore(before)


@inlined
def train_steps(net, work, data, run, worker):
    """What `train` does."""
    workers, batch = run.workers, run.batch
    samples = run.order.size
    per_epoch = (samples + batch - 1) // batch
    ended = 0
    for t in range(work.firsts[worker], work.firsts[worker + 1]):  # a caller may have written new weights
        number, low, high = work.tiles[t, 0], work.tiles[t, 1], work.tiles[t, 2]
        if work.update >= 0:
            start = work.matrices[number, WEIGHT] + low * work.matrices[number, COLUMNS]
            address = net.parameters.ctypes.data + start * net.one.itemsize
            clear(work, address, start, (high - low) * work.matrices[number, COLUMNS])
        pack(net, work, number, low, high)
    if not wait_for_all(work.barrier, workers):
        return
    tiles_work = gradient_only(work, (work.whole, -1, 0.0)) if work.clip > 0.0 else work
    for s in range(run.steps):
        step = run.first + s
        epoch, position = step // per_epoch, step % per_epoch
        if position == 0 and run.shuffle != 0:
            if worker == 0:
                shuffle(run.order, net.seed, epoch)
            if not wait_for_all(work.barrier, workers):
                return
        index = run.order[position * batch : min((position + 1) * batch, samples)]
        rows = index.size
        scale = net.one[1] / net.one.dtype.type(rows)
        rows_phase(net, work, data, index, scale, step, worker, workers)
        if not wait_for_all(work.barrier, workers):
            return
        coefficients = run.coefficients[s]
        tiles_phase(net, tiles_work, rows, net.one[1:] if work.clip > 0.0 else coefficients, worker, workers)
        if work.clip > 0.0 and not update_clipped(net, work, coefficients, worker, workers):
            return
        if worker == 0:
            loss, hits = 0.0, 0.0
            for r in range(rows):
                loss += work.losses[r]
                hits += work.hits[r]
            run.losses[s], run.hits[s] = loss / rows, hits
        if not wait_for_all(work.barrier, workers):
            return
        if position == per_epoch - 1 and run.validation.samples > 0:
            evaluate(net, work, run, ended, worker)
            ended += 1
    if run.steps == 0 and run.val_results.shape[0] > 0:
        evaluate(net, work, run, 0, worker)


@kernel
def update_by_whole(net, work, coefficients, workers, worker):
    """Update the parameters by the gradient in work.whole; the panels are those of before."""
    before: int = flush_subnormals()
    update_parts(net, work, coefficients, worker, workers)
    restore(before)


@kernel
def fill_order(order, seed, epoch):
    """The order of training of an epoch, counted from 0."""
    shuffle(order, seed, epoch)


@kernel
def fill_orders(orders, seed, epoch):
    """The same of `epoch` and those behind it, a row each."""
    for e in range(len(orders)):
        shuffle(orders[e], seed, epoch + e)


@kernel
def describe(values, start, rows, width, stride, low_end, high_end, counts, summary):
    """Histogram and summary of rows x width values from values[start], rows `stride` apart.

    counts (bins,) int64; summary (6,) float64: smallest, largest, mean, standard deviation, share of zeros, share
    within 1 % of the saturated ends low_end and high_end (NaN where there is none). The bins span smallest .. largest.
    """
    smallest, largest = np.inf, -np.inf
    total, squares, zeros, saturated = 0.0, 0.0, 0, 0
    margin = 0.01 * (high_end - low_end)
    for r in range(rows):
        for c in range(width):
            x = np.float64(values[start + r * stride + c])
            smallest, largest = min(smallest, x), max(largest, x)
            total += x
            squares += x * x
            zeros += x == 0.0
            saturated += (x < low_end + margin) or (x > high_end - margin)
    n = rows * width
    mean = total / n
    summary[0], summary[1], summary[2] = smallest, largest, mean
    summary[3] = np.sqrt(max(0.0, squares / n - mean * mean))
    summary[4], summary[5] = zeros / n, saturated / n
    bins = counts.size
    counts[:] = 0
    span = largest - smallest
    if not span > 0.0:
        counts[bins // 2] = n
        return
    for r in range(rows):
        for c in range(width):
            at = np.int64((np.float64(values[start + r * stride + c]) - smallest) / span * bins)
            counts[min(max(at, 0), bins - 1)] += 1
