"""The Layers mode: every key, the mouse, and stored pictures."""

from types import SimpleNamespace

import pytest
from driving import opened, press, press_until, reach, settle, text_of, until
from fake_training import FakeBackend

from tui.app import FastnnApp
from tui.config import RunConfig
from tui.layerlog import KINDS
from tui.options import Options
from tui.view import Run
from tui.widgets.layers import FORMS, LayerGrid, LayerPlot, WeightImages, first_weights, has_images

RUN = RunConfig(epochs=12)
DEEP = RunConfig(data="moons", layers=(8,) * 9, epochs=12)


async def open_layers(pilot, app):
    """Train a little, with the mode open."""
    await press_until(pilot, "2", lambda: app.base.NAME == "layers")
    await press_until(pilot, "space", lambda: app.session.view.snapshot.step == 300)
    await settle(pilot)
    return app.base.query_one(LayerGrid)


async def test_every_kind_of_every_layer_is_there_with_captions():
    async with opened((160, 45), RUN, hold_at=300) as (pilot, app):
        grid = await open_layers(pilot, app)
        assert [(p.number, p.kind) for p in grid.plots] == [(n, kind) for kind in KINDS for n in range(3)]
        text = text_of(app)
        for word in ("L1 outputs relu 64", "L3 updates", "/w 0.001", "σ 0.28"):
            assert word in text, word
        assert set(app.session._run.trainer.kinds) == {"gradient_norm", *KINDS}


async def test_v_and_a_and_f_choose_what_is_shown():
    async with opened((160, 45), RUN, hold_at=300) as (pilot, app):
        grid = await open_layers(pilot, app)
        for form in (*FORMS[1:], FORMS[0]):
            await press(pilot, "v")
            assert {p.form for p in grid.plots} == {form}
            await until(pilot, lambda form=form: form in text_of(app))
        await press(pilot, "a")
        assert [p.kind for p in grid.plots[::3]] == [*KINDS[1:], KINDS[0]]
        await press(pilot, "f")
        await until(pilot, lambda: [p.form for p in grid.plots[::3]] == list(FORMS))
        assert {p.kind for p in grid.plots} == {"gradients"}
        await until(pilot, lambda: "Layers: gradients  all views" in text_of(app))
        await press(pilot, "f")
        await until(pilot, lambda: len(grid.plots) == 12)


async def test_a_key_in_one_breath_with_a_network_of_fewer_layers():
    async with opened((160, 45), RUN, hold_at=300) as (pilot, app):
        grid = await open_layers(pilot, app)
        number = app.session.apply(RunConfig(layers=()))
        reach(app.session, lambda view: view.answered == number)
        app.base.draw_now()
        for plot in grid.plots:
            plot.show(app.base.view)
        await settle(pilot)
        assert [plot.number for plot in grid.plots] == [0] * len(KINDS)


async def test_arrows_go_through_the_layers_of_a_deep_network():
    async with opened((80, 24), DEEP, hold_at=300) as (pilot, app):
        grid = await open_layers(pilot, app)
        assert len(grid.plots) == 6 and "7 more →" in text_of(app)
        for _ in range(9):
            await press(pilot, "right")
        await settle(pilot)
        assert grid.first == 7 and "L10 outputs" in text_of(app) and "← 7 more" in text_of(app)
        await press(pilot, "left")
        assert grid.first == 6 and [p.number for p in grid.plots[:3]] == [6, 7, 8]


async def test_i_shows_the_weights_of_the_first_layer_where_there_are_images():
    async with opened((80, 24), RUN, hold_at=300) as (pilot, app):
        await open_layers(pilot, app)
        images = app.base.query_one(WeightImages)
        assert not images.display
        await press_until(pilot, "i", lambda: images.display)
        await settle(pilot)
        assert images.images.shape == (64, 8, 8) and "weights as images" in text_of(app)
        assert images.images[3, 0, 5] == app.session._run.network.layers[0].weight[5, 3]
        await press_until(pilot, "i", lambda: not images.display)
    async with opened((80, 24), DEEP, hold_at=300) as (pilot, app):
        await open_layers(pilot, app)
        await press(pilot, "i")
        assert not app.base.query_one(WeightImages).display


def test_rows_of_an_image_one_after_the_other_are_no_images():
    by_rows = Run(None, (8, 24, 10), data=SimpleNamespace(image_shape=(8, 8)), cell="gru")
    assert not has_images(by_rows) and first_weights(400)(by_rows) is None
    assert has_images(Run(None, (64, 24, 10), data=by_rows.data))


async def test_a_click_on_a_plot_shows_its_kind_in_all_views():
    async with opened((160, 45), RUN, hold_at=300) as (pilot, app):
        grid = await open_layers(pilot, app)
        weights = next(p for p in app.base.query(LayerPlot) if p.kind == "weights")
        await pilot.click(weights)
        await until(pilot, lambda: grid.whole and grid.kind == "weights")


async def test_another_network_and_another_mode():
    async with opened((160, 45), RUN, hold_at=300) as (pilot, app):
        grid = await open_layers(pilot, app)
        app.session.apply(RunConfig(data="moons", layers=(8, 8), epochs=12))
        await until(pilot, lambda: app.session.view.config.data == "moons")
        await settle(pilot)
        assert not app.base.query_one(WeightImages).display and len(grid.plots) == 12
        assert "L1 outputs relu 8" in text_of(app)
        await press_until(pilot, "1", lambda: app.base.NAME == "train")
        await until(pilot, lambda: not app.session._probes._probes)


async def test_a_frozen_display_holds_the_past_too():
    async with opened((160, 45), RUN, hold_at=300) as (pilot, app):
        grid = await open_layers(pilot, app)
        await press(pilot, "v", "d")
        series = grid.plots[0].series
        app.session._run.trainer.hold_at = 400
        await until(pilot, lambda: app.session.view.snapshot.step == 400)
        await until(pilot, lambda: "FROZEN" in text_of(app))
        assert grid.plots[0].series is series and series.steps[-1] == 300


# ---- pictures --------------------------------------------------------------------------------------------------------

LOOKS = {
    "now-80x24": ((80, 24), (), {}), "now-160x45": ((160, 45), (), {}), "time-160x45": ((160, 45), "v", {}),
    "all-80x24": ((80, 24), "vf", {}), "light-160x45": ((160, 45), "vvf", {"theme": "light"}),
    "ascii-80x24": ((80, 24), "v", {"ascii": True, "marker": "ascii"}), "plain-80x24": ((80, 24), "v", {}),
}  # fmt: skip


@pytest.mark.parametrize("look", LOOKS)
def test_pictures(snap_compare, look, plain_terminal, monkeypatch):
    if look.startswith("plain"):
        monkeypatch.setenv("NO_COLOR", "1")
    size, keys, options = LOOKS[look]
    app = FastnnApp(FakeBackend(hold_at=300), RUN, Options(**options))

    async def drive(pilot):
        await settle(pilot)
        await open_layers(pilot, app)
        await press(pilot, *keys)
        await settle(pilot)

    assert snap_compare(app, terminal_size=size, run_before=drive)
