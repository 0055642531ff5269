"""Plots take turns, and rest in proportion to what drawing costs."""

import gc
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from tui.config import RunConfig
from tui.litter import FEW, Litter
from tui.turns import CROWDED, LEAD, LONGEST_REST, PAINT, PATIENCE, PLOT_SECONDS, ROOMY, Turns, same
from tui.view import Run, View

PLOTS = ["loss", "L1", "L2"]


def keys(content, plots=PLOTS):
    return [(content,) for _ in plots]


def test_one_after_the_other_and_then_none_until_something_changes():
    turns, now, first, second = Turns(), 1.0, object(), object()
    order = []
    for _ in range(5):
        number = turns.pick(PLOTS, keys(first), now)
        if number is not None:
            turns.drew(PLOTS, number, (first,), now)
        order.append(number)
        now += PLOT_SECONDS
    assert order == [0, 1, 2, None, None]
    assert all(turns.current(plot, (first,)) for plot in PLOTS)
    assert turns.pick(PLOTS, keys(second), now) == 0


def test_no_plot_is_drawn_more_than_five_times_a_second():
    turns, drawn = Turns(), []
    for tick in range(100):
        now = tick * 0.02
        number = turns.pick(PLOTS, keys(object()), now)
        if number is not None:
            turns.drew(PLOTS, number, (object(),), now)
            drawn.append(number)
    assert max(drawn.count(n) for n in range(3)) <= 10 and min(drawn.count(n) for n in range(3)) >= 9


@pytest.mark.parametrize(("crowded", "times"), [(True, CROWDED), (False, ROOMY)])
def test_a_frame_rests_for_what_it_took_and_for_its_painting(crowded, times):
    turns = Turns()
    assert not turns.resting(1.0)
    turns.rest(1.0, 1.01, crowded=crowded)
    assert turns.resting(1.009 + times * (0.01 + PAINT)) and not turns.resting(1.011 + times * (0.01 + PAINT))
    turns.rest(2.0, 9.0, crowded=crowded)
    assert turns.resting(9.4) and not turns.resting(9.01 + LONGEST_REST)
    turns.rest(10.0, 10.01, crowded=crowded)
    turns.hurry("loss")
    assert not turns.resting(10.01), "a key has been pressed"


def test_a_plot_in_a_hurry_does_not_wait():
    turns, content = Turns(), object()
    for number in range(3):
        turns.drew(PLOTS, number, (content,), 9.0)
    assert turns.pick(PLOTS, keys(content), 9.0) is None
    turns.hurry("L1")
    assert turns.pick(PLOTS, keys(content), 9.0) == 1


def test_plots_that_are_gone_are_forgotten():
    turns = Turns()
    for number in range(3):
        turns.drew(PLOTS, number, (None,), 0.0)
    turns.drew(PLOTS[:1], 0, (None,), 0.0)
    assert set(turns._shown) == {"loss"}
    assert turns.pick([], [], 9.0) is None


def test_keys_are_compared_by_identity_and_small_ones_by_value():
    array = np.zeros(3)
    assert same((array, "a", 1.5), (array, "".join(["a"]), 3 / 2))
    assert not same((array,), (array.copy(),)) and not same((1,), (2,)) and not same((1,), (1, 1))


def test_there_is_time_for_other_things_between_a_painted_frame_and_the_next():
    turns = Turns()
    turns.rest(1.0, 1.01, crowded=True)
    assert not turns.idle(1.05) and turns.resting(1.05)  # it is being painted
    assert turns.idle(1.15)
    assert not turns.idle(2.0)  # the next one is due


def test_frames_are_rare_only_where_training_takes_the_processors():
    turns = Turns()
    turns.rest(1.0, 1.003, crowded=False)
    assert not turns.resting(1.0 + 1 / 30)
    run = Run(SimpleNamespace(threads=2), (1, 1), cores=3)
    assert View(RunConfig(), run=run).crowded and not View(RunConfig(), run=replace(run, cores=4)).crowded
    assert View(RunConfig()).crowded


def test_a_frame_begins_where_it_is_over_before_the_chunk_that_trains():
    turns, chunk, short = Turns(), (1.0, 1.035), (3.0, 3.0 + 3 * LEAD)
    assert turns.until(1.0, chunk) == pytest.approx(LEAD) and turns.until(1.0 + LEAD, chunk) == 0
    assert turns.until(1.034 - LEAD - PAINT, chunk) == 0
    late = 1.036 - LEAD - PAINT
    assert late + turns.until(late, chunk) == pytest.approx(1.035 + LEAD), "into the next one"
    assert turns.until(1.04, chunk) > 0, "which has not begun yet"
    assert turns.until(late + PATIENCE + 0.001, chunk) == 0, "nor will it"
    assert turns.until(3.0 + 1.5 * LEAD, short) == 0, "at its beginning"
    assert turns.until(3.0 + 2.5 * LEAD, short) > 0 and turns.until(3.0 + 2.5 * LEAD, None) == 0
    assert turns.until(3.0, (3.0, 3.0 + LEAD)) == 0, "there is no room anywhere"
    turns.rest(4.0, 4.02, crowded=False)
    rest = turns.until(4.02, (4.02, 9.0))
    assert 4.02 + rest == pytest.approx(4.02 + ROOMY * (0.02 + PAINT))
    assert turns.until(4.9, (4.8, 5.0)) == 0
    assert turns.until(4.98, (4.8, 5.0)) > 0, "as long as the last frame would take"


def test_the_collector_is_held_while_frames_are_drawn_and_given_back():
    before, litter = gc.get_threshold(), Litter()
    litter.begin()
    try:
        frozen = gc.get_freeze_count()
        keep = [[number] for number in range(2 * FEW)]
        assert not litter.collect()  # not through all that the app is made of
        assert gc.get_count()[0] >= FEW
        litter.keep()
        seen = gc.get_freeze_count()
        keep += [[number] for number in range(100)]
        litter.keep()
        assert seen > frozen and gc.get_freeze_count() <= seen
        gc.collect()
        keep += [[number] for number in range(FEW // 2)]
        assert not litter.collect()
        assert gc.get_count()[0] >= FEW // 2
        keep += [[number] for number in range(FEW)]
        assert litter.collect()
        assert gc.get_count()[0] < FEW
    finally:
        litter.end()
        gc.unfreeze()
    assert gc.get_threshold() == before
