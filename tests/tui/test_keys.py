"""Every key, driven through Textual's Pilot on the fake trainer."""

import math

import pytest
from driving import opened, press, press_until, settle, text_of, until

from tui import numbers
from tui.config import RunConfig
from tui.screens.dialogs import Confirm, RateInput
from tui.screens.help import Help
from tui.theme import THEMES
from tui.widgets.drawer import Drawer
from tui.widgets.histogram import LayerRow
from tui.widgets.loss import LossPlot

RATE = RunConfig().learning_rate
LONG = RunConfig(epochs=100_000)


async def test_space_runs_and_pauses_and_says_what_it_would_do():
    async with opened(config=LONG, pace=0.01) as (pilot, app):
        assert "space starts training" in text_of(app)
        await press_until(pilot, "space", lambda: app.session.view.state == "running")
        await settle_text(pilot, app, "space Pause", "RUNNING")
        await press_until(pilot, "space", lambda: app.session.view.state == "paused")
        step = app.session.view.snapshot.step
        await settle_text(pilot, app, "space Run", "PAUSED", f"{step:,}")
        assert app.session.view.snapshot.step == step > 0


async def settle_text(pilot, app, *words):
    """Until all of the words are on the screen."""
    await until(pilot, lambda: all(word in text_of(app) for word in words), f"{words} on the screen")


async def test_s_adds_exactly_one_step():
    async with opened() as (pilot, app):
        for step in (1, 2, 3):
            await press_until(pilot, "s", lambda step=step: app.session.view.snapshot.step == step)
            assert app.session.view.state == "paused"


async def test_e_stops_at_the_end_of_the_epoch():
    async with opened() as (pilot, app):
        await press(pilot, "s")
        await press_until(pilot, "e", lambda: app.session.view.snapshot.step == 40)
        await until(pilot, lambda: app.session.view.state == "paused")


async def test_x_stops_and_space_takes_the_run_up_again():
    async with opened(config=LONG, pace=0.01) as (pilot, app):
        await press_until(pilot, "space", lambda: app.session.view.snapshot.step > 20)
        await press_until(pilot, "x", lambda: app.session.view.state == "stopped")
        step = app.session.view.snapshot.step
        await press_until(pilot, "space", lambda: app.session.view.snapshot.step > step)


async def test_r_asks_only_when_something_would_be_lost():
    async with opened() as (pilot, app):
        built = len(app.session._backend.trainers)
        await press_until(pilot, "r", lambda: len(app.session._backend.trainers) == built + 1)
        await press_until(pilot, "s", lambda: app.session.view.snapshot.step == 1)
        await press_until(pilot, "r", lambda: isinstance(app.screen, Confirm))
        await press_until(pilot, "n", lambda: not isinstance(app.screen, Confirm))
        assert app.session.view.snapshot.step == 1
        await press_until(pilot, "r", lambda: isinstance(app.screen, Confirm))
        await press_until(pilot, "y", lambda: app.session.view.snapshot.step == 0)
        assert app.session.view.state == "ready"


@pytest.mark.parametrize(
    ("key", "factor"),
    [
        ("left_square_bracket", 0.8),
        ("right_square_bracket", 1.25),
        ("left_curly_bracket", 0.1),
        ("right_curly_bracket", 10.0),
    ],
)
async def test_learning_rate_keys(key, factor):
    async with opened() as (pilot, app):
        await press_until(pilot, key, lambda: math.isclose(app.session.view.rate, RATE * factor))
        await until(pilot, lambda: math.isclose(app.session._run.trainer.learning_rate, RATE * factor))
        await settle_text(pilot, app, f"lr {numbers.rate(RATE * factor)}")


async def test_down_and_up_again_is_the_same_rate():
    async with opened() as (pilot, app):
        for _ in range(20):
            await press(pilot, "left_square_bracket")
        for _ in range(20):
            await press(pilot, "right_square_bracket")
        assert app.session.view.rate == pytest.approx(RATE, rel=1e-9)


async def test_l_takes_a_typed_rate_and_refuses_nonsense():
    async with opened() as (pilot, app):
        await press_until(pilot, "l", lambda: isinstance(app.screen, RateInput))
        await press(pilot, "x", "enter")
        await settle_text(pilot, app, "'x' is not a number")
        await press(pilot, "backspace", *"2e-2", "enter")
        await until(pilot, lambda: app.session.view.rate == 0.02)
        await press_until(pilot, "l", lambda: isinstance(app.screen, RateInput))
        await press_until(pilot, "escape", lambda: not isinstance(app.screen, RateInput))
        assert app.session.view.rate == 0.02


async def test_y_switches_the_loss_axis():
    async with opened(hold_at=200, config=LONG) as (pilot, app):
        await press_until(pilot, "space", lambda: app.session.view.snapshot.step == 200)
        await press(pilot, "y")
        assert app.base.query_one(LossPlot).log_y
        await settle_text(pilot, app, "log", "0.5")
        await press(pilot, "y")
        assert not app.base.query_one(LossPlot).log_y


async def test_d_freezes_the_display_while_training_goes_on():
    async with opened(config=LONG, pace=0.01) as (pilot, app):
        await press_until(pilot, "space", lambda: app.session.view.snapshot.step > 20)
        await press(pilot, "d")
        await settle_text(pilot, app, "FROZEN")
        shown = app.base.view.snapshot.step
        await settle_text(pilot, app, f"{shown:>7,}")  # the numbers are written some times a second
        await until(pilot, lambda: app.session.view.snapshot.step > shown + 50)
        assert f"{shown:>7,}" in text_of(app).splitlines()[2]
        await press(pilot, "d")
        await until(pilot, lambda: app.base.view.snapshot.step > shown and "FROZEN" not in text_of(app))


async def test_t_goes_through_the_themes():
    async with opened() as (pilot, app):
        for theme in (*THEMES[1:], THEMES[0]):
            await press_until(pilot, "t", lambda theme=theme: app.theme == theme.name)
        await settle(pilot)


async def test_arrows_scroll_the_layers():
    async with opened(config=RunConfig(layers=(8,) * 9)) as (pilot, app):
        row = app.base.query_one(LayerRow)
        assert len(row.plots) == 10
        await press_until(pilot, "greater_than_sign", lambda: row.scroll_x > 0)
        await press_until(pilot, "less_than_sign", lambda: row.scroll_x == 0)


async def test_c_opens_and_closes_the_drawer():
    async with opened() as (pilot, app):
        drawer = app.base.query_one(Drawer)
        await press_until(pilot, "c", lambda: drawer.display)
        await press_until(pilot, "c", lambda: not drawer.display)
        await press_until(pilot, "c", lambda: drawer.display)
        await press_until(pilot, "escape", lambda: not drawer.display)
        await press_until(pilot, "s", lambda: app.session.view.snapshot.step == 1)


async def test_question_mark_shows_help():
    async with opened() as (pilot, app):
        await press_until(pilot, "question_mark", lambda: isinstance(app.screen, Help))
        await press_until(pilot, "escape", lambda: not isinstance(app.screen, Help))


async def test_ctrl_p_opens_the_palette():
    async with opened() as (pilot, app):
        await press_until(pilot, "ctrl+p", lambda: len(app.screen_stack) == 2)
        await press(pilot, *"one step")
        await settle_text(pilot, app, "Do exactly one update")
        await press_until(pilot, "enter", lambda: app.session.view.snapshot.step == 1)


@pytest.mark.parametrize("key", ["q", "ctrl+c"])
async def test_quit_leaves_at_once_when_nothing_runs(key):
    async with opened() as (pilot, app):
        await press_until(pilot, key, lambda: app._exit)
    assert app.return_code == 0
    assert app.session.close(30)


async def test_q_asks_while_training_runs():
    async with opened(config=LONG, pace=0.01) as (pilot, app):
        await press_until(pilot, "space", lambda: app.session.view.state == "running")
        await press_until(pilot, "q", lambda: isinstance(app.screen, Confirm))
        await press_until(pilot, "escape", lambda: not isinstance(app.screen, Confirm))
        await press_until(pilot, "q", lambda: isinstance(app.screen, Confirm))
        await press_until(pilot, "q", lambda: app._exit)
    assert app.session.close(30)


async def test_keys_in_the_bar_can_be_clicked():
    async with opened() as (pilot, app):
        bar = text_of(app).splitlines()[-1]
        await pilot.click("#keys", offset=(bar.index("s Step"), 0))
        await until(pilot, lambda: app.session.view.snapshot.step == 1)
