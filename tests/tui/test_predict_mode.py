"""The Predict mode: every key and the mouse for each kind of data, and stored pictures."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from driving import opened, press, press_until, settle, text_of, until
from fake_network import warm
from fake_training import FakeBackend

import fastnn as fnn
from tui.app import FastnnApp
from tui.config import RunConfig
from tui.options import Options
from tui.predicting import judge
from tui.view import Found
from tui.widgets.curve import LinePlot
from tui.widgets.judged import ORDERS, Browser, Confusion, ImageView
from tui.widgets.plane import SHOWN, BoundaryMap, NeuronMaps
from tui.widgets.weights import WeightList

MOONS = RunConfig(data="moons", layers=(8, 6), activation="tanh", epochs=12)
DIGITS = RunConfig(layers=(12,), epochs=12)
SINE = RunConfig(data="sine", layers=(6,), activation="tanh", epochs=12)


@pytest.fixture(scope="module", autouse=True)
def kernels():
    warm()


async def open_predict(pilot, app):
    await press_until(pilot, "3", lambda: app.base.NAME == "predict")
    await settle(pilot)
    return app.base


async def test_panes_of_other_data_may_be_drawn_before_they_are_hidden():
    async with opened((160, 45), MOONS) as (pilot, app):
        screen = await open_predict(pilot, app)
        await press(pilot, "right")  # a cursor, which reads the nearest point
        view = app.session.view
        sine = replace(view, run=SimpleNamespace(data=fnn.datasets.load("sine")))
        for pane, other in ((screen.query_one(BoundaryMap), sine), (screen.query_one(LinePlot), view)):
            pane.take(other)
            assert pane.data is None and pane.found is None and pane.draw(20, 10) is None


async def test_the_cursor_reads_value_and_loss_of_the_plane():
    async with opened((160, 45), MOONS) as (pilot, app):
        screen = await open_predict(pilot, app)
        pane = screen.query_one(BoundaryMap)
        assert pane.found.values.shape == (2 * pane.size.height, pane.size.width, 2) and screen.active is pane
        await press(pilot, "right", "up", "up", "left", "left", "left", "down")
        x, y = pane.cursor
        unit = pane.window.unit
        assert x == pytest.approx(pane.window.x - 2 * unit, abs=unit) and y == pytest.approx(
            pane.window.y + 2 * unit, abs=2 * unit
        )
        values, nearest, loss = pane.read()
        network, data = app.session._run.network, app.session._run.data
        row, column = pane.window.pixels(np.array([[x, y]]))
        exact = network(np.array([pane.window.point(row[0], column[0])], np.float32))
        shares = np.exp(exact[0]) / np.exp(exact[0]).sum()
        assert np.allclose(values, shares, atol=1e-5)
        assert nearest == int(((data.x_train - [x, y]) ** 2).sum(1).argmin())
        assert loss == pytest.approx(-np.log(max(values[data.y_train[nearest]], 1e-12)))
        await until(pilot, lambda: f"({x:.2f}, {y:.2f})" in text_of(app) and "loss" in text_of(app))
        await press(pilot, "escape")
        assert pane.cursor is None


async def test_v_shows_all_test_or_no_points():
    async with opened((80, 24), MOONS) as (pilot, app):
        screen = await open_predict(pilot, app)
        pane, seen = screen.query_one(BoundaryMap), []
        for shown in (*SHOWN[1:], SHOWN[0]):
            seen.append(pane.draw(*pane.size))
            await press(pilot, "v")
            assert pane.shown == shown
            await until(pilot, lambda shown=shown: shown in text_of(app))
        blank = seen[2]
        changed = [int((cells.front != blank.front).sum()) for cells in seen]
        assert changed[0] > changed[1] > changed[2] == 0


async def test_o_goes_to_the_units_and_their_weights():
    async with opened((80, 24), MOONS) as (pilot, app):
        screen = await open_predict(pilot, app)
        units, weights = screen.query_one(NeuronMaps), screen.query_one(WeightList)
        assert units.display and not weights.display
        await press(pilot, "o", "right", "right", "down", "down", "down", "left")
        assert screen.active is units and units.selected[0] == 1 and screen.unit == units.selected
        await press(pilot, "o")
        await until(pilot, lambda: weights.display and not units.display)
        await settle(pilot)
        layer, unit = screen.unit
        await until(pilot, lambda: weights.found is not None and weights.found.unit == unit)
        view = app.session._run.network.layers[layer]
        assert np.array_equal(weights.found.weights, view.weight[:, unit])
        await press(pilot, "down", "down", "down", "up")
        assert weights.at == 2 and weights.value == view.weight[1, unit]
        await until(pilot, lambda: f"Into L{layer + 1}.{unit + 1}" in text_of(app) and "▶ L1.2" in text_of(app))
        await press(pilot, "o", "o")  # past the playground's settings
        assert screen.active is screen.query_one(BoundaryMap)
        await until(pilot, lambda: not weights.display)


async def test_clicks_in_the_plane():
    async with opened((160, 45), MOONS) as (pilot, app):
        screen = await open_predict(pilot, app)
        await pilot.click(BoundaryMap, offset=(20, 10))
        pane = screen.query_one(BoundaryMap)
        await until(pilot, lambda: pane.cursor == pane.window.point(18.5, 19))
        units = screen.query_one(NeuronMaps)
        line, sheet = units._blocks[1]
        row, column = sheet.corner(2)
        await pilot.click(NeuronMaps, offset=(column + 2, line + row // 2 + 2))
        await until(pilot, lambda: screen.unit == (1, 2) and screen.active is units)
        await until(pilot, lambda: screen.query_one(WeightList).found.unit == 2)
        await pilot.click(WeightList, offset=(4, 3))
        await until(pilot, lambda: screen.query_one(WeightList).at == 2)


async def test_a_browser_of_images_the_wrongest_first():
    async with opened((160, 45), DIGITS) as (pilot, app):
        screen = await open_predict(pilot, app)
        browser, image = screen.query_one(Browser), screen.query_one(ImageView)
        judged, data = judge(app.session._run), app.session._run.data
        wrong = int((judged.predicted != data.y_test).sum())
        assert image.row == judged.wrongest[0] and f"{wrong} wrong" in text_of(app)
        await press(pilot, "right", "right", "down", "left")
        await settle(pilot)
        assert image.row == judged.wrongest[1 + browser.sheet.side]
        row = image.row
        assert f"Row {row} is {data.y_test[row]} said {judged.predicted[row]}" in text_of(app)
        for order in (*ORDERS[1:], ORDERS[0]):
            await press(pilot, "v")
            await until(pilot, lambda order=order: order in text_of(app))
            first = {ORDERS[0]: judged.wrongest[0], ORDERS[1]: judged.wrongest[-1], ORDERS[2]: 0}[order]
            assert image.row == first
        await pilot.click(Browser, offset=(browser.sheet.corner(3)[1] + 3, 3))
        await until(pilot, lambda: screen.selection.at == 3)


async def test_a_cell_of_the_confusion_matrix_chooses_its_rows():
    async with opened((80, 24), DIGITS) as (pilot, app):
        screen = await open_predict(pilot, app)
        confusion, browser = screen.query_one(Confusion), screen.query_one(Browser)
        judged, data = judge(app.session._run), app.session._run.data
        assert not confusion.display
        await press_until(pilot, "o", lambda: confusion.display and not browser.display)
        off = judged.confusion - np.diag(np.diag(judged.confusion))
        truth, said = np.unravel_index(off.argmax(), off.shape)
        await press(pilot, *["down"] * int(truth), *["right"] * int(said))
        assert confusion.at == (truth, said)
        await press(pilot, "enter")
        await until(pilot, lambda: browser.display and len(browser.rows) == off.max())
        assert (data.y_test[browser.rows] == truth).all() and (judged.predicted[browser.rows] == said).all()
        await until(pilot, lambda: f"{truth} said to be" in text_of(app))
        await press(pilot, "enter")
        await until(pilot, lambda: len(browser.rows) == len(data.y_test))


async def test_a_click_on_the_confusion_matrix():
    async with opened((160, 45), DIGITS) as (pilot, app):
        screen = await open_predict(pilot, app)
        left, top, wide, high = screen.query_one(Confusion)._place
        await pilot.click(Confusion, offset=(1 + left + 4 * wide, 1 + top + 2 * high))
        await until(pilot, lambda: screen.selection.cell == (2, 4))


async def test_a_curve_with_a_cursor():
    async with opened((80, 24), SINE) as (pilot, app):
        screen = await open_predict(pilot, app)
        pane = screen.query_one(LinePlot)
        assert pane.display and not screen.query_one(BoundaryMap).display
        assert "Regression" in text_of(app) and "network" in text_of(app)
        await press(pilot, "right", "right")
        assert pane.cursor > (pane.x_axis.low + pane.x_axis.high) / 2
        await until(pilot, lambda: f"x {pane.cursor:.2f}" in text_of(app) and "loss" in text_of(app))
        await pilot.click(LinePlot, offset=(12, 4))
        await until(pilot, lambda: pane.cursor < 0)


async def test_a_regression_that_comes_to_the_panes_of_classes_is_not_drawn():
    async with opened((160, 45), DIGITS) as (pilot, app):
        screen = await open_predict(pilot, app)
        regression = FakeBackend().build(SINE)
        view = replace(app.session.view, run=regression, found={"judged": Found(0, judge(regression))})
        for kind in (ImageView, Browser, Confusion):
            screen.query_one(kind).show(view)


async def test_another_data_set_shows_other_panes_and_another_mode_asks_nothing():
    async with opened((160, 45), MOONS) as (pilot, app):
        screen = await open_predict(pilot, app)
        for config, kind in ((DIGITS, ImageView), (SINE, LinePlot), (MOONS, BoundaryMap)):
            app.session.apply(config)
            await until(pilot, lambda config=config: app.session.view.config.data == config.data)
            await until(pilot, lambda kind=kind: screen.query_one(kind).display)
            await settle(pilot)
            assert all(not found.error for found in app.session.view.found.values())
        await press_until(pilot, "1", lambda: app.base.NAME == "train")
        await until(pilot, lambda: not app.session._probes._probes)


# ---- pictures --------------------------------------------------------------------------------------------------------

LOOKS = {
    "plane-80x24": (MOONS, (80, 24), ("right", "up"), {}), "plane-160x45": (MOONS, (160, 45), ("o", "right"), {}),
    "images-80x24": (DIGITS, (80, 24), ("right",), {}), "images-160x45": (DIGITS, (160, 45), ("o",), {}),
    "line-160x45": (SINE, (160, 45), ("left",), {}), "light-160x45": (MOONS, (160, 45), (), {"theme": "light"}),
    "ascii-80x24": (MOONS, (80, 24), ("right",), {"ascii": True, "marker": "ascii"}),
    "plain-80x24": (DIGITS, (80, 24), ("o",), {}), "plain-plane-80x24": (MOONS, (80, 24), (), {}),
}  # fmt: skip


@pytest.mark.parametrize("look", LOOKS)
def test_pictures(snap_compare, look, plain_terminal, monkeypatch):
    if look.startswith("plain"):
        monkeypatch.setenv("NO_COLOR", "1")
    config, size, keys, options = LOOKS[look]

    async def drive(pilot):
        await settle(pilot)
        await open_predict(pilot, pilot.app)
        await press(pilot, *keys)
        await settle(pilot)

    assert snap_compare(FastnnApp(FakeBackend(), config, Options(**options)), terminal_size=size, run_before=drive)
