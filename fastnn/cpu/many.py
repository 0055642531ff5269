"""Many networks of one architecture trained side by side: workers take whole networks, and nobody waits at a barrier.

Small networks are taken by the group and trained abreast (see `abreast`). Otherwise a worker copies the next network's
parameters and the optimizer's memory into arrays of its own, trains it there with the engine's own loop as if it were
alone, and copies the result back where all of it is finite. Either way a network's bits are those that it would have
by itself, whatever the number of workers, of networks, or the length of a chunk, and a network that has diverged or
stalled is simply not taken again.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from fastnn.compiler import inlined, inner, kernel
from fastnn.cpu import abreast, train
from fastnn.cpu.primitives import add, copy, flush_subnormals, replacing, restore, store, wait_until
from fastnn.random import shuffle

TRAINING, STALLED, DIVERGED = 0, 1, 2
STATES = ("training", "stalled", "diverged")
LOSS, HITS, VAL_LOSS, VAL_HITS = 0, 1, 2, 3  # columns of Many.results


class Many(NamedTuple):
    """N networks and where each of them stands; a row of a 2-D array belongs to a network."""

    parameters: np.ndarray  # F (N, P or more)
    m: np.ndarray  # F (N, P or 0): what the optimizer remembers
    v: np.ndarray  # F
    seeds: np.ndarray  # int64 (N,)
    first: np.ndarray  # int64 (N,): steps of the network's run before this training
    steps: np.ndarray  # int64 (N,): steps of this training that are done
    state: np.ndarray  # int64 (N,): TRAINING, STALLED or DIVERGED
    sums: np.ndarray  # float64 (N, 3): loss, hits and rows of the epoch so far
    best: np.ndarray  # float64 (N,): the smallest loss of an epoch so far
    waited: np.ndarray  # int64 (N,): epochs since then
    results: np.ndarray  # float64 (N, epochs, 2 or 4): an epoch's mean loss and share of hits, the same of validation
    patience: int  # epochs without a loss smaller by more than `least` until a network has stalled
    least: float
    # The chunk that is being trained.
    begin: int  # every network in the queue has done as many steps
    goal: int  # and is to come to as many
    queue: np.ndarray  # int64 (k,): the networks that train
    groups: np.ndarray  # int64 (groups + 1,): where in the queue each group begins, which a worker takes together
    abreast: int  # 1: a group trains abreast, 0: one after the other
    turns: int  # in how many pieces each group goes through the chunk
    next: np.ndarray  # int64 (1,): the piece that a worker takes next
    done: np.ndarray  # int64 (N,): pieces that a group has behind it
    table: np.ndarray  # int64 (N,): whose coefficients the network has
    coefficients: np.ndarray  # F (tables, steps, WIDTH)


with_seed = replacing("seed")
of_chunk = replacing("first", "steps", "coefficients")
of_lane = replacing("losses", "hits")


@kernel
def train_many(net, work, data, run, many, lanes, worker):
    """Bring the networks of the queue to step many.goal; net, work, run and lanes are the worker's own."""
    before: int = flush_subnormals()
    train_queue(net, work, data, run, many, lanes, worker)
    restore(before)


@inlined
def train_queue(net, work, data, run, many, lanes, worker):
    """What `train_many` does."""
    size = (many.goal - many.begin + many.turns - 1) // many.turns
    groups = many.groups.size - 1
    while True:
        turn = add(many.next.ctypes.data, 1)
        if turn >= groups * many.turns:
            return
        group, piece = turn % groups, turn // groups
        done = many.done.ctypes.data + group * 8
        wait_until(done, piece)  # whoever has the piece before is at work on it: pieces are taken in order
        begin, goal = many.begin + piece * size, min(many.goal, many.begin + (piece + 1) * size)
        train_group(net, work, data, run, many, lanes, many.groups[group], many.groups[group + 1], begin, goal)
        store(done, piece + 1)


@inlined
def train_group(net, work, data, run, many, lanes, first, end, begin, goal):
    """Train the networks queue[first : end] to step `goal`; abreast, if they are many that are at `begin`."""
    L, alive = lanes.ones.size, 0
    for lane in range(min(L, end - first)):
        n = many.queue[first + lane]
        if many.state[n] == TRAINING and many.steps[n] == begin:
            lanes.network[alive] = n
            alive += 1
    if many.abreast == 0 or alive * 2 < L:
        for i in range(first, end):
            train_one(net, work, data, run, many, many.queue[i], goal)
        return
    for lane in range(L):
        lanes.live[lane] = lane < alive
        lanes.network[lane] = lanes.network[min(lane, alive - 1)]  # an idle lane does what a live one does
        enter(many, lanes, lane)
    per_epoch = (run.order.size + run.batch - 1) // run.batch
    step = begin
    while step < goal and alive > 0:
        position = step % per_epoch
        count = min(goal - step, per_epoch - position)
        if run.shuffle != 0 and (step == begin or position == 0):
            for lane in range(L):
                n = lanes.network[lane]
                shuffle(lanes.orders[lane], many.seeds[n], (many.first[n] + step) // per_epoch)
        for s in range(count):
            step_abreast(net, work, data, run, many, lanes, step, s, position)
        for lane in range(L):
            if lanes.live[lane] != 0:
                lanes.live[lane] = leave(net, work, data, run, many, lanes, lane, count, goal)
                alive -= lanes.live[lane] == 0
        step += count


@inlined
def step_abreast(net, work, data, run, many, lanes, step, s, position):
    """Step `step` + `s`, batch `position` + `s` of the epoch, of the networks in the lanes."""
    L = lanes.ones.size
    first = (position + s) * run.batch
    rows = min(run.batch, run.order.size - first)
    for lane in range(L):
        row = many.coefficients[many.table[lanes.network[lane]]][step + s - many.begin]
        lanes.alpha[lane], lanes.beta[lane] = row[0], row[1]
        for r in range(rows):
            lanes.samples[r * L + lane] = lanes.orders[lane, first + r]
    abreast.step(net, work, data, lanes, rows)
    for lane in range(L):
        loss, hits = 0.0, 0.0
        for r in range(rows):
            loss += lanes.row_losses[r * L + lane]
            hits += lanes.row_hits[r * L + lane]
        lanes.losses[lane, s], lanes.hits[lane, s] = loss / rows, hits
        if work.update > 0:
            row = many.coefficients[many.table[lanes.network[lane]]][step + s - many.begin]
            abreast.update(work, lanes, lane, row)


@inner
def enter(many, lanes, lane):
    """Bring the numbers of the lane's network into the lane."""
    n, L, size = lanes.network[lane], lanes.ones.size, lanes.own_gradient.size
    for i in range(size):
        lanes.own[lane, i] = many.parameters[n, i]
        lanes.parameters[i * L + lane] = many.parameters[n, i]
    for i in range(lanes.m.shape[1]):
        lanes.m[lane, i] = many.m[n, i]
    for i in range(lanes.v.shape[1]):
        lanes.v[lane, i] = many.v[n, i]


@inner
def leave(net, work, data, run, many, lanes, lane, count, goal):
    """Account for `count` steps of the lane's network, as long as they are finite; returns whether it goes on."""
    n, L, size = lanes.network[lane], lanes.ones.size, lanes.own_gradient.size
    for i in range(size):
        lanes.own[lane, i] = lanes.parameters[i * L + lane]
    if not (finite(lanes.losses[lane], count) and finite(lanes.own[lane], size)):
        train_one(net, work, data, run, many, n, goal)  # which finds the step that goes wrong
        return 0
    for i in range(size):
        many.parameters[n, i] = lanes.own[lane, i]
    for i in range(lanes.m.shape[1]):
        many.m[n, i] = lanes.m[lane, i]
    for i in range(lanes.v.shape[1]):
        many.v[n, i] = lanes.v[lane, i]
    per_epoch = (run.order.size + run.batch - 1) // run.batch
    if run.validation.samples > 0 and (many.steps[n] + count) % per_epoch == 0:
        exchange(net, work, many, n, False)
        # The worker is no literal 0: of that, train would be compiled again.
        train.train(net, work, data, of_chunk(run, (0, 0, many.coefficients[0][:0])), np.int64(0))
    record(of_lane(run, (lanes.losses[lane], lanes.hits[lane])), many, n, count, per_epoch)
    return int(many.state[n] == TRAINING)


@inner
def train_one(net, work, data, run, many, n, goal):
    """Train network n until it has done `goal` steps, or must stop."""
    if many.steps[n] >= goal or many.state[n] != TRAINING:
        return
    net = with_seed(net, (many.seeds[n],))
    per_epoch = (run.order.size + run.batch - 1) // run.batch
    exchange(net, work, many, n, False)
    if run.shuffle != 0 and many.steps[n] % per_epoch != 0:
        shuffle(run.order, net.seed, (many.first[n] + many.steps[n]) // per_epoch)
    most = per_epoch
    while many.steps[n] < goal and many.state[n] == TRAINING:
        step = many.steps[n]
        count = min(most, goal - step, per_epoch - step % per_epoch)
        rows = many.coefficients[many.table[n]][step - many.begin : step - many.begin + count]
        train.train(net, work, data, of_chunk(run, (many.first[n] + step, count, rows)), np.int64(0))
        if finite(run.losses, count) and finite(net.parameters, net.parameters.size):
            exchange(net, work, many, n, True)
            record(run, many, n, count, per_epoch)
        else:  # back, and step by step up to the one that goes wrong
            exchange(net, work, many, n, False)
            if count == 1:
                many.state[n] = DIVERGED
            most = 1


@inner
def exchange(net, work, many, n, back):
    """Bring network n's numbers into the worker's own arrays, or `back` from them."""
    ours, theirs = net.parameters.ctypes.data, many.parameters[n].ctypes.data
    size = net.parameters.size * net.one.itemsize
    copy(theirs if back else ours, ours if back else theirs, size)
    if work.m.size > 0:
        ours, theirs = work.m.ctypes.data, many.m[n].ctypes.data
        copy(theirs if back else ours, ours if back else theirs, size)
    if work.v.size > 0:
        ours, theirs = work.v.ctypes.data, many.v[n].ctypes.data
        copy(theirs if back else ours, ours if back else theirs, size)


@inner
def finite(values, count):
    """Whether values[:count] are all finite."""
    bad = 0
    for i in range(count):
        bad |= not np.isfinite(values[i])
    return bad == 0


@inner
def record(run, many, n, count, per_epoch):
    """Account for `count` steps of network n, which do not go beyond an epoch's end."""
    samples, position = run.order.size, many.steps[n] % per_epoch
    for s in range(count):  # apart from the sum: fused, the product would not be rounded as History's is
        run.losses[s] *= min(run.batch, samples - (position + s) * run.batch)
    for s in range(count):
        many.sums[n, 0] += run.losses[s]
        many.sums[n, 1] += run.hits[s]
        many.sums[n, 2] += min(run.batch, samples - (position + s) * run.batch)
    many.steps[n] += count
    if position + count < per_epoch:
        return
    epoch = many.steps[n] // per_epoch - 1
    result, rows = many.results[n, epoch], many.sums[n, 2]
    result[LOSS], result[HITS] = many.sums[n, 0] / rows, many.sums[n, 1] / rows
    many.sums[n, 0], many.sums[n, 1], many.sums[n, 2] = 0.0, 0.0, 0.0
    loss = result[LOSS]
    if run.validation.samples > 0:
        loss = run.val_results[0, 0]
        result[VAL_LOSS], result[VAL_HITS] = loss, run.val_results[0, 1] / run.validation.samples
    if loss < many.best[n] - many.least:
        many.best[n], many.waited[n] = loss, 0
    else:
        many.waited[n] += 1
        if many.waited[n] >= many.patience:
            many.state[n] = STALLED
