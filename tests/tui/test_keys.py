"""Every key, driven through Textual's Pilot on the fake trainer."""

import asyncio
import csv
import math
import zipfile

import numpy as np
import pytest
from driving import opened, press, press_in_one_breath, press_until, settle, text_of, until
from textual.events import Key

from tui import keystrokes, numbers
from tui.config import RunConfig
from tui.screens.commands import SPEEDS
from tui.screens.dialogs import Confirm, RateInput
from tui.screens.help import Help
from tui.theme import THEMES
from tui.widgets.cells import packed
from tui.widgets.drawer import Drawer
from tui.widgets.histogram import LayerRow
from tui.widgets.slider import Slider
from tui.widgets.trends import MOST_GHOSTS, TRENDS

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
        assert app.base.display_as.log_y
        await settle_text(pilot, app, "log", "0.5")
        await press(pilot, "y")
        assert not app.base.display_as.log_y


async def trained(pilot, app, step=200):
    """Train to `step` and hold there."""
    await press_until(pilot, "space", lambda: app.session.view.snapshot.step == step)
    await settle(pilot)


async def test_m_smooths_and_keeps_the_values_faint_behind():
    async with opened(hold_at=200, config=LONG) as (pilot, app):
        await trained(pilot, app)
        main = app.base.main

        def faint():
            return int((main.draw(76, 9).front == packed(main.color("plot-faint"))).sum())

        assert faint() == 0
        for word in ("smooth", "smoother"):
            await press(pilot, "m")
            await settle_text(pilot, app, f"  {word}")
            assert faint() > 0
        await press(pilot, "m")
        assert app.base.display_as.smooth == 0


async def test_w_shows_the_latest_part():
    async with opened(hold_at=200, config=LONG) as (pilot, app):
        await trained(pilot, app)
        await press(pilot, "w")
        await settle_text(pilot, app, "recent")
        assert app.base.main.chart.x_axis.low == pytest.approx(180)
        await press(pilot, "w")
        assert app.base.main.chart.x_axis.low == 0


async def test_a_goes_through_the_trends_and_comes_back():
    async with opened((160, 45), hold_at=200, config=LONG) as (pilot, app):
        await trained(pilot, app)
        assert all(trend.title in text_of(app) for trend in TRENDS.values())
        for name in [*list(TRENDS)[1:], "loss"]:
            await press(pilot, "a")
            await settle(pilot)
            assert app.base.main.trend is TRENDS[name] and app.base.main.curves[0][0].size > 5
            assert all(trend.title in text_of(app) for trend in TRENDS.values())


async def test_arrows_and_clicks_read_the_curves():
    async with opened(hold_at=200, config=LONG) as (pilot, app):
        await press(pilot, "left")
        assert app.base.display_as.cursor is None, "nothing to read yet"
        await trained(pilot, app)
        await press(pilot, "left")
        assert app.base.display_as.cursor == 200
        x, y = app.session.record.curve("loss")
        await settle_text(pilot, app, "step 200", numbers.loss(float(y[-1])).strip())
        await press(pilot, *["left"] * 20)
        step = app.base.display_as.cursor
        assert 130 < step < 170
        value = float(y[np.searchsorted(x, step, side="right") - 1])
        await settle_text(pilot, app, f"step {round(step)}", numbers.loss(value).strip())
        await pilot.click("#main", offset=(44, 5))
        await until(pilot, lambda: 90 < app.base.display_as.cursor < 110)
        await press(pilot, "right", "escape")
        assert app.base.display_as.cursor is None


async def test_p_pins_a_run_behind_those_to_come():
    async with opened((160, 45), hold_at=200, config=LONG) as (pilot, app):
        await press(pilot, "p")
        assert app.base.display_as.ghosts == ()
        await trained(pilot, app)
        for number in range(1, 6):
            await press(pilot, "p")
            ghosts = app.base.display_as.ghosts
            assert len(ghosts) == min(number, MOST_GHOSTS) and len({g.color for g in ghosts}) == len(ghosts)
        await settle_text(pilot, app, "64-32 relu sgd 0.001")
        await press(pilot, "r", "y")
        await until(pilot, lambda: app.session.view.snapshot.step == 0)
        await settle(pilot)
        cells = app.base.main.draw(90, 15)
        assert (cells.front == packed(app.base.display_as.ghosts[-1].color)).sum() > 20
        await press(pilot, "P")
        assert app.base.display_as.ghosts == ()


async def test_v_shows_outputs_gradients_weights_and_updates():
    async with opened(hold_at=200, config=LONG) as (pilot, app):
        await trained(pilot, app)
        for kind, caption in (("gradients", "|g|"), ("weights", "|w|"), ("updates", "/w"), ("relu 64", "=0")):
            await press(pilot, "v")
            await settle_text(pilot, app, f"L1 {kind}", caption)
            await settle(pilot)
            assert all((plot.draw(24, 6).chars != " ").sum() > 20 for plot in app.base.query_one(LayerRow).plots)


async def test_f_gives_one_pane_the_screen():
    async with opened((160, 45), hold_at=200, config=LONG) as (pilot, app):
        await trained(pilot, app)
        row, more, heights = app.base.query_one(LayerRow), app.base.query_one("#more-trends"), []
        for _ in range(3):
            await press(pilot, "f")
            await settle(pilot)
            heights.append((app.base.main.size.height, row.size.height, more.size.height))
        assert heights[0][0] > 35 and heights[0][1:] == (0, 0)
        assert heights[1][0] == 0 and heights[1][1] > 35
        assert min(heights[2]) > 0


async def test_u_undoes_a_step_and_b_rewinds_to_the_cursor():
    async with opened(hold_at=200, config=LONG) as (pilot, app):
        for key, step in (("s", 1), ("s", 2), ("u", 1), ("u", 0)):
            await press_until(pilot, key, lambda step=step: app.session.view.snapshot.step == step)
        await press(pilot, "b")
        await until(pilot, lambda: "cursor" in told(app))
        await trained(pilot, app)
        await press(pilot, "left", *["left"] * 40, "b")
        await until(pilot, lambda: app.session.view.state in ("paused", "ready"))
        assert app.session.view.snapshot.step < 200 and app.base.display_as.cursor is None


async def test_a_slider_takes_a_run_through_its_moments_and_it_goes_on_from_there():
    async with opened((120, 36), hold_at=200, config=LONG) as (pilot, app):
        slider = app.base.query_one(Slider)
        assert not slider.display
        await press(pilot, *"ssssssss")
        await until(pilot, lambda: app.session.view.snapshot.step == 8)
        await press_until(pilot, "u", lambda: slider.display and app.session.view.snapshot.step == 7)
        await pilot.pause()  # it is laid out
        begin, columns = slider._bar()
        await pilot.click(slider, (begin + columns // 2, 0))
        await until(pilot, lambda: app.session.view.snapshot.step == 4)
        await settle_text(pilot, app, "rewound", "step 4", "goes on")
        await pilot.mouse_down(slider, (begin, 0))
        await until(pilot, lambda: app.session.view.snapshot.step == 0)
        await pilot.hover(slider, (begin + columns - 1, 0))
        await until(pilot, lambda: app.session.view.snapshot.step == 8)
        await pilot.mouse_up(slider, (begin + columns - 1, 0))
        await until(pilot, lambda: not slider.display)
        for key, step in (("u", 7), ("u", 6), ("U", 7)):
            await press_until(pilot, key, lambda step=step: app.session.view.snapshot.step == step)
        await until(pilot, lambda: app.base.main.cursor == 7)
        await press_until(pilot, "s", lambda: app.session.view.snapshot.step == 8)
        await until(pilot, lambda: not slider.display)
        assert app.session.view.moments == ()


async def test_speed_is_limited_and_set_free_again():
    async with opened(config=LONG, pace=0.001, chunk=1000, per_epoch=1000) as (pilot, app):
        await press_until(pilot, "space", lambda: app.session.view.snapshot.step > 3000)
        await press_until(pilot, "minus", lambda: app.session.view.limit is not None)
        for _ in SPEEDS:
            await press(pilot, "minus")
        await until(pilot, lambda: app.session._run.trainer.most_steps == 1)
        assert app.session.view.limit == SPEEDS[0]
        await settle_text(pilot, app, "speed 1/s")
        await press_until(pilot, "space", lambda: app.session.view.state == "paused")
        for _ in SPEEDS:
            await press(pilot, "plus")
        await settle_text(pilot, app, "speed full")
        assert app.session.view.limit is None


async def test_g_goes_on_after_a_divergence_with_a_tenth_of_the_rate():
    async with opened(config=LONG, hold_at=50) as (pilot, app):
        await press(pilot, "g")
        app.session.set_rate(5e3)
        await press_until(pilot, "space", lambda: app.session.view.state == "diverged")
        await settle_text(pilot, app, "diverged at step 11: layer 2 weights NaN or Inf", "g goes on")
        await press_until(pilot, "g", lambda: app.session.view.state == "running")
        assert app.session.view.rate == pytest.approx(500) and app.session._run.trainer.learning_rate == 500


async def test_k_changes_the_markers():
    async with opened(hold_at=200, config=LONG) as (pilot, app):
        await trained(pilot, app)
        for kind, some in (
            ("block", "\u2584\u2596\u259e\u259d"),
            ("ascii", "*"),
            ("braille", "\u2801\u2802\u2812\u2880"),
        ):
            await press(pilot, "k")
            assert app.marker == kind
            await until(pilot, lambda some=some: any(c in text_of(app) for c in some))


async def test_ctrl_s_writes_picture_curves_and_the_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    run = tmp_path / "20260301-digits-aa01"
    (run / "checkpoints").mkdir(parents=True)
    for file in ("config.toml", "checkpoints/40.safetensors", "lock"):
        (run / file).write_text("kept")
    async with opened(hold_at=200, config=LONG) as (pilot, app):
        await trained(pilot, app)
        await press(pilot, "ctrl+s")
        await until(pilot, lambda: "fastnn-digits-step200.svg and its .csv are in" in told(app))
        app.session.view.run.keeper.path = str(run)
        await press(pilot, "ctrl+s")
        await until(pilot, lambda: ".csv and .zip are in" in told(app))
        with zipfile.ZipFile(tmp_path / "fastnn-digits-step200.zip") as archive:
            assert archive.namelist() == [f"{run.name}/checkpoints/40.safetensors", f"{run.name}/config.toml"]
        assert (tmp_path / "fastnn-digits-step200.svg").read_text().startswith("<svg")
        with (tmp_path / "fastnn-digits-step200.csv").open() as file:
            rows = list(csv.DictReader(file))
        x, y = app.session.record.curve("loss")
        assert [float(row["step"]) for row in rows if row["loss"]] == x.tolist()
        assert [float(row["loss"]) for row in rows if row["loss"]] == y.tolist()
        assert sum(bool(row["val_loss"]) for row in rows) == 5
        monkeypatch.setattr("tui.screens.commands.write_csv", refuse)
        await press(pilot, "ctrl+s")
        await until(pilot, lambda: "nothing is written: no room" in told(app))


def told(app):
    """What the app has notified (Pilot shows no toasts)."""
    return " ".join(notification.message for notification in app._notifications)


def refuse(*_):
    raise OSError("no room")


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
        await until(pilot, lambda: [plot.outer_size.width for plot in row.plots] == [26] * 10)  # three of them on 80
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


async def test_an_answer_in_one_breath_with_ctrl_p_is_taken_once_the_palette_is_gone():
    async with opened() as (pilot, app):
        await press_until(pilot, "l", lambda: isinstance(app.screen, RateInput))
        asked = app.screen
        await press_until(pilot, "ctrl+p", lambda: len(app.screen_stack) == 3)
        asked.dismiss(0.5)
        assert len(app.screen_stack) == 3
        await press_until(pilot, "escape", lambda: len(app.screen_stack) == 1)
        await until(pilot, lambda: app.session.view.rate == 0.5)


async def test_a_dialog_its_text_its_end_and_the_next_key_in_one_breath():
    async with opened() as (pilot, app):
        keys = ("l", *"2e-2", "enter", "s", "l", "escape", "right_square_bracket", "question_mark", "escape", "s")
        await press_in_one_breath(pilot, *keys)
        await until(pilot, lambda: app.session.view.snapshot.step == 2)
        assert app.session.view.rate == pytest.approx(0.025) and len(app.screen_stack) == 1


async def test_keys_in_one_breath_are_drawn_together(monkeypatch):
    async with opened(hold_at=200) as (pilot, app):
        await press_until(pilot, "space", lambda: app.session.view.snapshot.step == 200)
        await settle(pilot)
        plot, drawn = app.base.main, []
        monkeypatch.setattr(plot, "draw", lambda *size: drawn.append(size) or type(plot).draw(plot, *size))
        for _ in range(3):
            app.base.action_cursor_left()
        assert not drawn, "a held key would go on after it is let go"
        await until(pilot, lambda: bool(drawn))


@pytest.mark.parametrize("key", ["q", "ctrl+c"])
async def test_quit_leaves_at_once_when_nothing_runs(key):
    async with opened() as (pilot, app):
        await press_until(pilot, key, lambda: app._exit)
    assert app.return_code == 0
    assert app.session.close(30)


@pytest.mark.parametrize("key", ["2", "question_mark"])
async def test_a_key_in_one_breath_with_q_does_nothing(key):
    async with opened() as (pilot, app):
        app.simulate_key("q")
        app.simulate_key(key)
        await until(pilot, lambda: app._exit)
    assert app.return_code == 0


async def test_a_key_that_ends_the_app_comes_through_where_another_is_stuck(monkeypatch):
    monkeypatch.setattr(keystrokes, "PATIENCE", 0.05)
    async with opened() as (pilot, app):
        stuck = asyncio.Event()
        app.screen.call_later(stuck.wait)
        app.simulate_key("s")
        await until(pilot, lambda: app.typing)
        await asyncio.sleep(0.1)
        app.simulate_key("ctrl+q")
        try:
            await until(pilot, lambda: app._exit, "an end")
        finally:
            stuck.set()


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


async def test_esc_and_a_letter_in_one_breath_are_two_keys():
    async with opened() as (pilot, app):
        await press_until(pilot, "question_mark", lambda: isinstance(app.screen, Help))
        app.post_message(Key("alt+s", "s"))
        await until(pilot, lambda: not isinstance(app.screen, Help) and app.session.view.snapshot.step == 1)
