"""What layers looked like over time: bounded, cut where a run goes back, and read as percentiles and heat."""

from types import SimpleNamespace

import numpy as np
import pytest

from tui.layerlog import BINS, CAPACITY, LayerLog, Series
from tui.widgets.heat import densities, heat_chart, value_range


def snapshot(step, low=0.0, high=3.0, counts=None, **kinds):
    counts = np.ones(BINS, np.int64) if counts is None else counts
    layer = SimpleNamespace(
        activations=SimpleNamespace(counts=counts, edges=np.linspace(low, high, BINS + 1)),
        gradients=kinds.get("gradients"), weights=None, updates=None,
    )  # fmt: skip
    return SimpleNamespace(layers=(layer,), looked_at=step)


def filled(steps):
    log = LayerLog()
    for step in steps:
        log.add(snapshot(step))
    return log


@pytest.mark.parametrize("count", [1, CAPACITY - 1, CAPACITY, CAPACITY + 1, 5 * CAPACITY + 3])
def test_it_is_bounded_even_and_has_the_newest(count):
    steps = filled(range(count)).series(0, "activations").steps
    assert min(count, CAPACITY // 2) <= len(steps) < CAPACITY and steps[0] < count / 64 and steps[-1] == count - 1
    gaps = np.diff(steps)
    assert (gaps > 0).all() and len(set(gaps[:-1])) <= 1


def test_looking_again_at_a_step_replaces_it():
    log = filled([0, 1])
    log.add(snapshot(1, high=9.0))
    series = log.series(0, "activations")
    assert series.steps.tolist() == [0, 1] and series.high.tolist() == [3.0, 9.0]


def test_it_is_cut_and_cleared():
    log = filled(range(600))
    log.cut(100)
    assert log.series(0, "activations").steps[-1] <= 100
    log.add(snapshot(101))
    assert log.series(0, "activations").steps[-1] == 101
    assert log.series(0, "gradients") is None and log.series(1, "activations") is None
    log.clear()
    assert log.series(0, "activations") is None


def series(counts, low, high):
    n = len(counts)
    return Series(np.arange(n) * 10.0, np.full(n, low), np.full(n, high), np.array(counts, np.float32))


def test_percentiles_are_those_of_the_values():
    values = np.random.default_rng(0).normal(2.0, 3.0, 100_000)
    counts, edges = np.histogram(values, BINS)
    found = series([counts], edges[0], edges[-1]).percentiles((0.05, 0.25, 0.5, 0.75, 0.95))
    assert np.abs(found[:, 0] - np.percentile(values, (5, 25, 50, 75, 95))).max() < 0.05
    empty = series([np.zeros(BINS), counts], -1.0, 1.0).percentiles((0.5,))
    assert np.isnan(empty[0, 0]) and np.isfinite(empty[0, 1])


def test_heat_misses_no_bin_and_shows_the_latest_moment():
    lone = np.zeros(BINS)
    lone[17] = 5
    found = densities(series([np.ones(BINS), lone], 0.0, 30.0), 4, 10, 0.0, 30.0)
    assert np.allclose(found[:, 0], 1.0), "even all over, at step 0"
    later = densities(series([lone, lone], 0.0, 30.0), 4, 10, 0.0, 30.0)
    assert (later.argmax(0) == 1).all() and np.isclose(later.sum(0), 1.0).all(), "17 of 30 is in the second from above"


def test_a_tower_is_cut_so_that_the_rest_is_seen():
    relu = np.linspace(30, 1, BINS)
    relu[0] = 10_000
    found = densities(series([relu], 0.0, 3.0), BINS, 1, 0.0, 3.0)[:, 0]
    assert found[-1] == 1.0 and found[-2] > 0.5


HARD = {
    "constant": (0.5, 0.5), "huge": (-1.7e308, 1.7e308), "nan": (np.nan, np.nan), "infinite": (-np.inf, np.inf),
    "tiny": (5e-324, 1e-320),
}  # fmt: skip


@pytest.mark.parametrize("size", [(1, 1), (12, 3), (40, 10)])
@pytest.mark.parametrize("plain", [False, True])
@pytest.mark.parametrize("ends", HARD.values(), ids=HARD)
def test_heat_draws_hard_values(ends, size, plain):
    cells = heat_chart(*size, series([np.ones(BINS)] * 3, *ends), ground=(0, 0, 0), plain=plain)
    assert cells.chars.shape == size[::-1]


def test_the_range_is_of_nearly_all_values():
    counts = np.zeros(BINS)
    counts[:3], counts[-1] = 1000, 1
    low, high = value_range(series([counts], 0.0, 30.0))
    assert 0.0 <= low < 0.01 and 2.9 < high < 3.1
