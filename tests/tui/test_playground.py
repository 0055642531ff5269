"""The playground: settings as data, presets that do what they say, and every key of it on the screen."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from driving import opened, press, press_in_one_breath, press_until, settle, text_of, until
from fake_network import warm
from fake_training import CHOICES, FakeBackend

from fastnn import runfile
from tui import playground
from tui.app import FastnnApp
from tui.config import RunConfig
from tui.keeping import config_of, run_of
from tui.playground import PRESETS, neighbors, rows
from tui.screens.dialogs import TextInput
from tui.screens.play import STEP
from tui.screens.presets import PresetList
from tui.widgets.controls import Controls
from tui.widgets.weights import WeightList

MOONS = RunConfig(data="moons", layers=(8, 6), activation="tanh", epochs=100_000)


# ---- settings --------------------------------------------------------------------------------------------------------


def named(config):
    return {row.name: row for row in rows(config, CHOICES)}


def test_neighbors():
    assert neighbors((1, 2, 4), 2) == (1, 4) and neighbors((1, 2, 4), 3) == (2, 4)
    assert neighbors((1, 2, 4), 1) == (None, 2) and neighbors((1, 2, 4), 9) == (4, None)


def test_every_setting_goes_both_ways_and_fits_a_run_file():
    """To the right and to the left again is where it began, and each step is a run that a file holds."""
    found = named(MOONS)
    assert {"data", "noise", "samples", "train_share", "input x1*x2", "layers", "layer 1", "activation"} <= set(found)
    for name, row in found.items():
        for side in ("left", "right"):
            config = getattr(row, side)
            if config is None or name in ("optimizer", "data"):  # these bring their own rate and options
                continue
            back = getattr(named(config)[name], "left" if side == "right" else "right")
            assert back is not None and named(back)[name].text == row.text, name
            table = runfile.tomllib.loads(run_of(config).text())
            again = config_of(runfile.RunFile.from_table(table))
            assert named(again)[name].text == named(config)[name].text, name


def test_the_cell_is_a_choice_for_images_and_sequences_alone():
    run = FakeBackend().build(RunConfig())
    found = {row.name: row for row in rows(RunConfig(), CHOICES, run)}
    assert (found["cell"].text, found["cell"].left, found["cell"].right.cell) == ("dense", None, "gru")
    assert playground.other_data(found["cell"].right, CHOICES, 1).cell == ""
    steps = replace(run, data=SimpleNamespace(steps=8, image_shape=None), cell="gru")
    assert playground.cells_of(steps, CHOICES) == ("gru",)
    assert "cell" not in {row.name for row in rows(MOONS, CHOICES, FakeBackend().build(MOONS))}


def test_inputs_layers_and_units():
    assert playground.toggled(MOONS, CHOICES, "x1*x2").loader == (("features", ("x1", "x2", "x1*x2")),)
    one = playground.toggled(MOONS, CHOICES, "x1")
    assert one.loader == (("features", ("x2",)),) and playground.toggled(one, CHOICES, "x2") is None
    assert playground.with_one_more(MOONS).layers == (8, 6, 6) and playground.with_one_less(MOONS).layers == (8,)
    assert playground.with_one_more(RunConfig(layers=())).layers == (8,)
    assert playground.with_one_less(RunConfig(layers=())) is None
    assert playground.with_one_more(RunConfig(layers=(2,) * 32)) is None
    assert playground.resized(MOONS, 1, -1).layers == (8, 5) and playground.resized(MOONS, 2, 1) is None
    assert playground.resized(RunConfig(layers=(1,)), 0, -1) is None
    again = playground.regenerated(playground.regenerated(MOONS, CHOICES), CHOICES)
    assert dict(again.loader)["seed"] == 2
    assert playground.regenerated(RunConfig(data="mnist"), CHOICES) is None


# ---- presets ---------------------------------------------------------------------------------------------------------


def trained(name, epochs):
    """A preset after some epochs, through its run file."""
    preset = next(preset for preset in PRESETS if preset.name == name)
    run = runfile.RunFile.from_table(runfile.tomllib.loads(run_of(preset.config).text()))
    prepared = runfile.build(run, threads=1)
    prepared.trainer.watch("activations", "gradients")
    *_, last = prepared.trainer.run(epochs)
    return last, prepared.trainer.history


@pytest.mark.parametrize(
    ("name", "epochs", "accuracy"),
    [("Two moons", 20, 0.98), ("Three spirals", 80, 0.97), ("A circle without hidden layers", 10, 0.99),
     ("Exclusive or", 60, 0.95)],
)  # fmt: skip
def test_good_presets_are_learned(name, epochs, accuracy):
    assert trained(name, epochs)[0].val_accuracy >= accuracy


def test_the_sine_is_learned():
    assert trained("A sine", 120)[0].val_loss < 0.04, "the noise alone has 0.01"


BAD = {
    "All weights zero": (20, lambda last, history: last.val_accuracy == 0.5),
    "Learning rate too high": (20, lambda last, history: last.val_loss > 2),
    "Learning rate too low": (20, lambda last, history: history.val_loss[0] - last.val_loss < 0.02),
    "Deep sigmoid": (
        20, lambda last, history: last.layers[0].gradients.norm * 100 < last.layers[-1].gradients.norm
    ),
    "Dying relu": (100, lambda last, history: last.layers[1].dead > 0.9),
    "Too small for spirals": (80, lambda last, history: last.val_accuracy < 0.7),
    "No nonlinearity": (20, lambda last, history: last.val_accuracy < 0.7),
    "Memorizing noise": (
        200, lambda last, history: last.loss < 0.1 and last.val_loss > 3 * min(history.val_loss)
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD)
def test_bad_presets_go_wrong_as_they_say(name):
    epochs, wrong = BAD[name]
    assert wrong(*trained(name, epochs))


def test_presets_are_told_in_a_line():
    assert {preset.name for preset in PRESETS if not preset.good} == set(BAD)
    assert len({preset.name for preset in PRESETS}) == len(PRESETS)
    assert all(len(preset.name) + len(preset.watch) + 2 <= 78 for preset in PRESETS), "the message at 80x24"


# ---- the screen ------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module", autouse=True)
def kernels():
    warm()


def told(app):
    """What notifications say."""
    return " ".join(note.message for note in app._notifications)


async def open_play(pilot, app):
    await press_until(pilot, "3", lambda: app.base.NAME == "predict")
    await settle(pilot)
    return app.base


async def changes(pilot, app, key, condition):
    """Press a key; the configuration then is as `condition` says, and the run is there."""
    await press_until(pilot, key, lambda: condition(app.session.view.config))
    await until(pilot, lambda: not app.base._tried)
    await settle(pilot)


async def test_keys_of_data_layers_and_units():
    async with opened((160, 45), MOONS) as (pilot, app):
        screen = await open_play(pilot, app)
        before = screen.view.run.data.x_train
        await changes(pilot, app, "n", lambda c: dict(c.loader).get("seed") == 1)
        assert not np.array_equal(screen.view.run.data.x_train, before)
        await changes(pilot, app, "greater_than_sign", lambda c: c.layers == (8, 6, 6))
        await changes(pilot, app, "less_than_sign", lambda c: c.layers == (8, 6))
        await changes(pilot, app, "full_stop", lambda c: c.layers == (9, 6))
        await press(pilot, "o", "down", "down", "down")
        assert screen.unit[0] == 1
        await changes(pilot, app, "comma", lambda c: c.layers == (9, 5))
        assert "2-9-5-2" in text_of(app)


async def test_settings_change_with_the_arrows_and_the_run_goes_on():
    async with opened((80, 24), MOONS, pace=0.002) as (pilot, app):
        screen = await open_play(pilot, app)
        controls = screen.query_one(Controls)
        await press_until(pilot, "space", lambda: app.session.view.state == "running")
        assert not controls.display
        await press_until(pilot, "o", lambda: screen.active is not controls)
        await press_in_one_breath(pilot, "o", "o", "down", "right")  # before the settings were ever drawn
        await until(pilot, lambda: dict(app.session.view.config.loader).get("noise") == 0.2)
        assert screen.active is controls and controls.display
        await until(pilot, lambda: app.session.view.state == "running" and app.session.view.snapshot.step > 0)
        names = [row.name for row in controls.rows]
        await press(pilot, *["down"] * (names.index("input x1^2") - 1))
        await press_until(pilot, "enter", lambda: app.session.view.sizes[0] == 3)
        assert app.session.view.run.data.plane.features == ("x1", "x2", "x1^2")
        await until(pilot, lambda: "on" in controls.rows[controls.at].text)
        names = [row.name for row in controls.rows]
        await press(pilot, *["down"] * (names.index("layers") - controls.at))
        await press_in_one_breath(pilot, "right", "right")  # each goes on from what was asked for last
        await until(pilot, lambda: app.session.view.config.layers == (8, 6, 6, 6))
        await press_until(pilot, "left", lambda: app.session.view.config.layers == (8, 6, 6))
        await press_in_one_breath(pilot, "greater_than_sign", "full_stop", "greater_than_sign")
        await until(pilot, lambda: app.session.view.config.layers == (9, 6, 6, 6, 6))


async def test_a_click_changes_a_setting():
    async with opened((160, 45), MOONS) as (pilot, app):
        screen = await open_play(pilot, app)
        controls = screen.query_one(Controls)
        await pilot.click(Controls, offset=(controls.size.width, 2))
        await until(pilot, lambda: dict(app.session.view.config.loader).get("noise") == 0.2)
        await settle(pilot)
        row = [row.name for row in controls.rows].index("input sin x1")
        await pilot.click(Controls, offset=(4, 1 + row))
        await until(pilot, lambda: app.session.view.sizes[0] == 3)


async def test_a_setting_that_does_not_fit_is_told_and_changes_nothing():
    async with opened((160, 45), MOONS) as (pilot, app):
        screen = await open_play(pilot, app)
        screen.play(RunConfig(data="broken"))
        await until(pilot, lambda: "unknown name 'broken'" in told(app))
        assert app.session.view.config == MOONS and screen.config == MOONS
        await until(pilot, lambda: screen.query_one(Controls).config is None)


async def test_a_weight_is_nudged_and_typed():
    async with opened((160, 45), MOONS) as (pilot, app):
        screen = await open_play(pilot, app)
        weights, view = screen.query_one(WeightList), app.session._run.network.layers[0]
        await press(pilot, "o", "o", "down", "down")
        before = float(view.weight[1, 0])
        assert abs(before) + STEP < 1.0
        await press_in_one_breath(pilot, "right", "right", "left", "right")
        await until(pilot, lambda: view.weight[1, 0] == pytest.approx(before + 2 * STEP))
        await press_until(pilot, "enter", lambda: isinstance(app.screen, TextInput))
        await press(pilot, *"-2.5", "enter")
        await until(pilot, lambda: view.weight[1, 0] == -2.5)
        await until(pilot, lambda: weights.value == -2.5 and "-2.5" in text_of(app))
        await press(pilot, "up", "up")
        await press_until(pilot, "enter", lambda: isinstance(app.screen, TextInput))
        await press(pilot, *"much", "enter")
        await until(pilot, lambda: "'much' is no weight" in told(app))
        await press_until(pilot, "left", lambda: view.bias[0] != 0.0)


async def test_a_preset_runs_and_says_what_to_watch():
    async with opened((80, 24), MOONS, pace=0.002) as (pilot, app):
        screen = await open_play(pilot, app)
        await press_until(pilot, "p", lambda: isinstance(app.screen, PresetList))
        await press_until(pilot, "escape", lambda: not isinstance(app.screen, PresetList))
        await press_until(pilot, "p", lambda: isinstance(app.screen, PresetList))
        await press(pilot, "down", "enter")
        await until(pilot, lambda: app.session.view.config == PRESETS[1].config and app.session.view.state == "running")
        await until(pilot, lambda: PRESETS[1].watch in text_of(app))
        assert app.session.view.limit == 500 and app.session.view.rate == PRESETS[1].config.learning_rate
        await press_until(pilot, "greater_than_sign", lambda: len(app.session.view.config.layers) == 3)
        await until(pilot, lambda: screen.preset is None and PRESETS[1].watch not in text_of(app))


def test_picture_of_the_presets(snap_compare, plain_terminal):
    async def drive(pilot):
        await open_play(pilot, pilot.app)
        await press_until(pilot, "p", lambda: isinstance(pilot.app.screen, PresetList))
        await pilot.pause()

    assert snap_compare(FastnnApp(FakeBackend(), MOONS), terminal_size=(80, 24), run_before=drive)
