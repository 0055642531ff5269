"""Plots take turns, and rest in proportion to what drawing costs."""

import gc

import numpy as np

from tui.litter import FEW, Litter
from tui.turns import LONGEST_REST, PAINT, PLOT_SECONDS, REST, Turns, same

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


def test_a_frame_rests_for_what_it_took_and_for_its_painting():
    turns = Turns()
    assert not turns.resting(1.0)
    turns.rest(1.0, 1.01)
    assert turns.resting(1.005 + REST * (0.01 + PAINT)) and not turns.resting(1.015 + REST * (0.01 + PAINT))
    turns.rest(2.0, 9.0)
    assert turns.resting(9.4) and not turns.resting(9.01 + LONGEST_REST)
    turns.rest(10.0, 10.01)
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
    turns.rest(1.0, 1.01)
    assert not turns.idle(1.05) and turns.resting(1.05)  # it is being painted
    assert turns.idle(1.15)
    assert not turns.idle(2.0)  # the next one is due


def test_the_collector_is_held_while_frames_are_drawn_and_given_back():
    before, litter = gc.get_threshold(), Litter()
    litter.begin()
    try:
        frozen = gc.get_freeze_count()
        keep = [[number] for number in range(2 * FEW)]
        litter.collect()  # not through all that the app is made of
        assert gc.get_count()[0] >= FEW
        litter.keep()
        seen = gc.get_freeze_count()
        keep += [[number] for number in range(100)]
        litter.keep()
        assert seen > frozen and gc.get_freeze_count() <= seen
        gc.collect()
        keep += [[number] for number in range(FEW // 2)]
        litter.collect()
        assert gc.get_count()[0] >= FEW // 2
        keep += [[number] for number in range(FEW)]
        litter.collect()
        assert gc.get_count()[0] < FEW
    finally:
        litter.end()
        gc.unfreeze()
    assert gc.get_threshold() == before
