"""Plots take turns, and rest in proportion to what drawing costs."""

from tui.turns import PLOT_SECONDS, Turns

PLOTS = ["loss", "L1", "L2"]


def test_one_after_the_other_and_then_none_until_something_changes():
    turns, now, first, second = Turns(), 1.0, object(), object()
    order = []
    for _ in range(5):
        number = turns.pick(PLOTS, first, "", now)
        if number is not None:
            turns.drew(PLOTS, number, first, "", now, now)
        order.append(number)
        now += PLOT_SECONDS
    assert order == [0, 1, 2, None, None]
    assert all(turns.current(plot, first, "") for plot in PLOTS)
    assert turns.pick(PLOTS, second, "", now) == 0


def test_no_plot_is_drawn_more_than_five_times_a_second():
    turns, drawn = Turns(), []
    for tick in range(100):
        now = tick * 0.02
        number = turns.pick(PLOTS, object(), "", now)
        if number is not None:
            turns.drew(PLOTS, number, object(), "", now, now)
            drawn.append(number)
    assert max(drawn.count(n) for n in range(3)) <= 10 and min(drawn.count(n) for n in range(3)) >= 9


def test_costly_drawing_rests():
    turns = Turns()
    turns.drew(PLOTS, 0, None, "", 1.0, 1.1)
    assert turns.pick(PLOTS, object(), "", 1.45) is None
    assert turns.pick(PLOTS, object(), "", 1.51) is not None


def test_plots_that_are_gone_are_forgotten():
    turns = Turns()
    for number in range(3):
        turns.drew(PLOTS, number, None, "", 0.0, 0.0)
    turns.drew(PLOTS[:1], 0, None, "", 0.0, 0.0)
    assert set(turns._shown) == {"loss"}
    assert turns.pick([], None, "", 9.0) is None
