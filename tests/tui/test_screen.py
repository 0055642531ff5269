"""What the screen shows: states, sizes, compiling, divergence, prints, terminals without color or Unicode."""

import gc
import random
import threading

import pytest
from driving import opened, press, press_in_one_breath, press_until, resize, settle, text_of, until
from fake_training import FakeBackend
from textual._compositor import Compositor
from textual.geometry import Region
from textual.widget import Widget

from tui.actions import ACTIONS
from tui.app import FastnnApp
from tui.config import RunConfig
from tui.frames import Frames
from tui.glyphs import wants_ascii
from tui.options import Options
from tui.record import CURVES
from tui.view import Run, View
from tui.widgets.drawer import Drawer
from tui.widgets.histogram import LayerRow
from tui.widgets.plot import Plot
from tui.widgets.status import Status, network

SIZES = [(80, 24), (120, 36), (160, 45), (250, 70)]


@pytest.mark.parametrize("size", SIZES)
async def test_loss_histograms_status_and_keys_are_on_the_screen(size):
    async with opened(size, RunConfig(epochs=100), hold_at=300) as (pilot, app):
        await press_until(pilot, "space", lambda: app.session.view.snapshot.step == 300)
        await settle(pilot)
        text = text_of(app)
        for word in (
            "1 Train",
            "RUNNING",
            "digits",
            "64-64-32-10",
            "300",
            "0.2188",
            "87.8%",
            "0.001",
            "41.2k",
            "8/100",
        ):
            assert word in text
        assert "00:15" in text and "space" in text and "\u03bc" in text
        assert sum("\u2800" < c <= "\u28ff" for c in text) > 20, "a loss curve in braille"
        assert text.count("\u2588") > 30, "filled histograms"
        assert max(map(len, text.splitlines())) <= size[0]


@pytest.mark.parametrize(("size", "line"), [((80, 24), 2), ((160, 45), 1)])
async def test_a_regression_has_no_accuracy(size, line):
    for data, shown in (("sine", False), ("moons", True)):
        async with opened(size, RunConfig(data=data, epochs=2)) as (pilot, app):
            await press_until(pilot, "space", lambda app=app: app.session.view.state == "finished")
            await settle(pilot)
            figures, text = text_of(app).splitlines()[line], text_of(app)
            assert "loss" in figures and (" acc" in figures) == shown == ("%" in figures)
            assert ("a regression has no accuracy" in text) == (not shown and size == (160, 45))


async def test_stays_open_when_training_ends():
    async with opened(config=RunConfig(epochs=2)) as (pilot, app):
        await press_until(pilot, "space", lambda: app.session.view.state == "finished")
        await until(pilot, lambda: "finished 2 epochs" in text_of(app) and "FINISHED" in text_of(app))


async def test_divergence_is_shown_and_reset_recovers():
    async with opened() as (pilot, app):
        for _ in range(9):
            await press(pilot, "right_curly_bracket")
        await press_until(pilot, "space", lambda: app.session.view.state == "diverged")
        await until(pilot, lambda: "DIVERGED" in text_of(app) and "diverged at step" in text_of(app))
        await press(pilot, "r", "y")
        await until(pilot, lambda: app.session.view.state == "ready")


async def test_compiling_is_said_while_the_keys_stay_alive():
    backend = FakeBackend()
    backend.gate = threading.Event()
    app = FastnnApp(backend)
    async with app.run_test(size=(80, 24)) as pilot:
        await until(pilot, lambda: "compiling" in text_of(app))
        await press_until(pilot, "question_mark", lambda: len(app.screen_stack) == 2)
        await press_until(pilot, "escape", lambda: len(app.screen_stack) == 1)
        await press(pilot, "space")
        backend.gate.set()
        await until(pilot, lambda: app.session.view.state in ("running", "finished"))
        await until(pilot, lambda: "compiling" not in text_of(app))


@pytest.mark.parametrize("size", [(79, 24), (80, 23), (60, 20), (20, 5), (1, 1)])
async def test_too_small_is_said(size):
    app = FastnnApp(FakeBackend())
    async with app.run_test(size=size) as pilot:
        await until(pilot, lambda: app.session.view.state == "ready")
        await pilot.pause()
        if size[0] >= 20:
            assert "too small" in text_of(app)
        await pilot.resize_terminal(80, 24)
        await until(pilot, lambda: "too small" not in text_of(app) and "READY" in text_of(app))


async def test_a_storm_of_resizes_while_running():
    chance = random.Random(0)
    async with opened(config=RunConfig(epochs=100_000), pace=0.01) as (pilot, app):
        await press_until(pilot, "space", lambda: app.session.view.state == "running")
        for _ in range(40):
            await resize(pilot, chance.randint(20, 250), chance.randint(5, 70))
            if chance.random() < 0.3:
                await press(pilot, chance.choice(["y", "t", "right", "d", "c", "escape", "f", "m", "k", "a"]))
        await resize(pilot, 1, 1)
        await resize(pilot, 160, 45)
        await until(pilot, lambda: "RUNNING" in text_of(app))


@pytest.mark.slow
async def test_two_thousand_random_keys_never_break_it():
    chance = random.Random(1)
    left_out = {"quit", "export"}  # one ends it, the other writes files
    keys = [key for action in ACTIONS if action.name not in left_out for key in action.keys.split(",")]
    keys += ["n", "tab", "enter", "escape", "7", "down", "up", "backspace"]
    async with opened((120, 40), config=RunConfig(epochs=100), pace=0.01) as (pilot, app):
        app.actions = tuple(action for action in app.actions if action.name not in left_out)  # nor from the palette
        for _ in range(100):
            await press_in_one_breath(pilot, *chance.choices(keys, k=20))
        for _ in range(3):
            await press(pilot, "escape")
        assert app.session._thread.is_alive() and not app._exit
        number = app.session.reset()
        await until(pilot, lambda: app.session.view.answered == number)
        assert sum(thread.name == "fastnn-training" for thread in threading.enumerate()) == 1


async def test_a_million_steps_a_second_leave_no_backlog_and_take_no_memory():
    fast = {"chunk": 10_000, "per_epoch": 1_000_000, "pace": 0.01}
    async with opened((160, 45), config=RunConfig(epochs=10_000), **fast) as (pilot, app):
        waiting, sizes = [], []
        await press(pilot, "space")
        for million in (1, 3):
            await until(pilot, lambda million=million: app.session.view.snapshot.step > million * 1_000_000)
            waiting.append(max(pump._message_queue.qsize() for pump in (app, app.base, *app.base.query("*"))))
            gc.collect()
            sizes.append(len(gc.get_objects()))
        assert max(waiting) < 20, "messages wait"
        assert sizes[1] - sizes[0] < 2000, "objects pile up"
        assert all(app.session.record.curve(name)[0].size <= 2049 for name in CURVES)
        assert app.session.view.state == "running"


async def test_no_color_is_readable(monkeypatch):
    monkeypatch.setenv("NO_COLOR", "1")
    async with opened((80, 24)) as (_, app):
        assert app.no_color and not app.native_ansi_color
        for strip in app.screen._compositor.render_strips():
            for text, style, _control in strip:
                if not text.strip() or style is None or style.color is None:
                    continue
                front, back = style.color.get_truecolor(), style.bgcolor.get_truecolor(foreground=False)
                assert sum(front) != sum(back), f"{text!r} is invisible"


async def test_ascii_terminals_get_ascii():
    app = FastnnApp(FakeBackend(hold_at=100), RunConfig(epochs=100), options=Options(ascii=True, marker="ascii"))
    async with app.run_test(size=(80, 24)) as pilot:
        await settle(pilot)
        await press_until(pilot, "space", lambda: app.session.view.snapshot.step == 100)
        await settle(pilot)
        text = text_of(app)
        assert text.isascii()
        assert "RUNNING" in text and text.count("#") > 50 and text.count("*") > 20 and "o" in text and "Loss" in text
        await press_until(pilot, "question_mark", lambda: "up dn scroll" in text_of(app))


@pytest.mark.parametrize(
    ("environment", "wanted"),
    [
        ({}, False),
        ({"LC_ALL": "C"}, True),
        ({"LC_ALL": "C.UTF-8", "LANG": "C"}, False),
        ({"LANG": "en_US.utf8"}, False),
        ({"LANG": "de_DE.ISO-8859-1"}, True),
        ({"LC_ALL": "", "LANG": "C.UTF-8"}, False),
    ],
)
def test_only_a_locale_that_is_set_asks_for_ascii(environment, wanted):
    assert wants_ascii(environment) is wanted


@pytest.mark.parametrize("room", [0, 10, 24, 60])
def test_long_networks_are_shortened(room):
    view = View(RunConfig(layers=(128,) * 12), sizes=(64, *(128,) * 12, 10))
    assert len(network(view, room)) <= room


@pytest.mark.parametrize(
    ("cell", "told"), [("dense", "tanh/he"), ("recurrent", "recurrent tanh/he"), ("gru", "gru/he")]
)
def test_the_cell_is_told_and_its_activation_where_it_has_one(cell, told):
    view = View(RunConfig(activation="tanh"), run=Run(None, (1, 8, 1), cell=cell), sizes=(1, 8, 1))
    assert network(view, 60) == f"1-8-1 {told} {view.config.optimizer}"


async def test_nothing_is_drawn_at_rest(monkeypatch):
    async with opened() as (pilot, app):
        drawn = []
        for plot in app.base.query(Plot):
            monkeypatch.setattr(plot, "redraw", lambda plot=plot: drawn.append(plot))
        await pilot.pause(0.5)
        assert drawn == []


async def test_frames_leave_nothing_to_the_collector():
    async with opened((160, 45), RunConfig(epochs=12), hold_at=300) as (pilot, app):
        await press_until(pilot, "space", lambda: app.session.view.snapshot.step == 300)
        await settle(pilot)
        gc.collect()
        for _ in range(5):
            for plot in app.base.plots():
                plot.redraw()
            await pilot.pause(0.05)
        assert gc.collect() < 100, "it was 9,000, lines that held themselves"


def painted(update):
    """What a partial update paints: of each line, where, and which segments."""
    return [
        (y, x, strip)
        for y, low, high in update.spans
        for end, (x, strip) in zip(update.chop_ends[y], update.chops[y].items(), strict=False)
        if x < high and end > low
    ]


async def test_a_frame_renders_what_has_changed_and_paints_what_textual_would(monkeypatch):
    rng, asked = random.Random(3), []
    async with opened((160, 45), RunConfig(epochs=12), hold_at=300) as (pilot, app):
        await press_until(pilot, "space", lambda: app.session.view.snapshot.step == 300)
        await settle(pilot)
        compositor, size = app.base._compositor, Region(0, 0, 160, 45)
        lines = Widget.render_lines
        monkeypatch.setattr(Widget, "render_lines", lambda self, crop: (asked.append(self), lines(self, crop))[1])
        status, plot = app.base.query_one(Status), app.base.plots()[-1]
        cases = [{status.region, plot.region}, {size}]
        for _ in range(30):
            corners = [(rng.randrange(160), rng.randrange(45)) for _ in range(3)]
            cases.append({Region(x, y, rng.randrange(1, 60), 3).intersection(size) for x, y in corners})
        for number, regions in enumerate(cases):
            updates = []
            for kind in (Frames, Compositor):
                asked.clear()
                compositor._dirty_regions = set(regions)
                updates.append(painted(kind.render_partial_update(compositor)))
                if number == 0 and kind is Frames:
                    assert set(asked) == {status, plot}
            assert updates[0] == updates[1] and all(strip is not None for _, _, strip in updates[0])


async def test_who_asks_for_a_place_before_a_layout_keeps_nobody_from_hearing_of_it():
    async with opened((80, 24)) as (pilot, app):
        await press_until(pilot, "c", lambda: app.base.query_one(Drawer).has_class("-open"))
        row = app.base.query_one(LayerRow)
        await until(pilot, lambda: {plot.size.width for plot in row.plots} == {38}, "they are beside the drawer")
        app.base.query_one(Drawer).styles.display = "none"
        app.base._compositor._full_map_invalidated = True  # as after scrolling
        assert row.region.width == 80
        await until(pilot, lambda: {plot.size.width for plot in row.plots} < {23, 24, 25}, "they take the whole row")


async def test_numbers_do_not_move_while_they_change():
    async with opened(hold_at=30, config=RunConfig(epochs=1000), chunk=1000, per_epoch=1000) as (pilot, app):
        columns = set()
        trainer = app.session._run.trainer
        for hold in (30, 1200, 11_990):
            trainer.hold_at = hold
            if hold == 30:
                await press(pilot, "space")
            await until(pilot, lambda hold=hold: app.session.view.snapshot.step == hold)
            await settle(pilot)
            line = text_of(app).splitlines()[2]
            columns.add(tuple(line.index(word) for word in ("loss", "val", "acc", "|g|", "samp/s")))
        assert len(columns) == 1
