"""Keys of one's own: a TOML file, checked, and used by bindings, bars and help alike."""

import argparse

import pytest
from driving import opened_with, press_until, text_of
from fake_training import FakeBackend

from fastnn.options import UI_OPTIONS
from tui.actions import ACTIONS
from tui.app import FastnnApp
from tui.keymap import KeymapError, default_path, load_keys
from tui.options import Options, add_options, from_environment


def write(tmp_path, text):
    path = tmp_path / "keys.toml"
    path.write_text(text)
    return path


def test_a_file_gives_other_keys(tmp_path):
    path = write(tmp_path, '[keys]\ntoggle_run = "z, f5"\nmode_train = "f1"\n')
    assert load_keys(path) == {"toggle_run": "z,f5", "mode_train": "f1"}
    assert load_keys(write(tmp_path, "")) == {}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[keys", "keys.toml"),
        ('[keys]\nfly = "f"', "unknown action 'fly'"),
        ("[keys]\nstep = 3", "step = 3"),
        ('[keys]\nstep = "s,,"', "step = 's,,'"),
        ('[keys]\nstep = "e"', "'e' is for both step and epoch"),
        ("keys = 3", "expected a table"),
    ],
)
def test_what_is_wrong_in_a_file_is_named(tmp_path, text, said):
    with pytest.raises(KeymapError, match=r"keys\.toml") as caught:
        load_keys(write(tmp_path, text))
    assert said in str(caught.value)


def test_a_file_that_is_missing(tmp_path):
    assert load_keys(tmp_path / "none.toml", missing_ok=True) == {}
    with pytest.raises(KeymapError, match="no such file"):
        load_keys(tmp_path / "none.toml")


def test_where_the_file_is_looked_for(tmp_path, monkeypatch):
    path = write(tmp_path, '[keys]\nstep = "f2"\n')
    assert default_path({"FASTNN_KEYS": str(path)}) == path
    assert default_path({}).name == "keys.toml"
    monkeypatch.setenv("FASTNN_KEYS", str(path))
    assert from_environment().keys == {"step": "f2"}


async def test_other_keys_work_and_are_shown_everywhere():
    app = FastnnApp(FakeBackend(), options=Options(keys={"step": "f2", "help": "h"}))
    async with opened_with(app) as pilot:
        assert "f2 Step" in text_of(app) and "h Help" in text_of(app)
        await press_until(pilot, "f2", lambda: app.session.view.snapshot.step == 1)
        await press_until(pilot, "h", lambda: len(app.screen_stack) == 2)
        await pilot.pause()
        assert "f2  " + next(a.help for a in ACTIONS if a.name == "step") in text_of(app)


def test_the_command_line_opens_the_ui_for_every_option_that_it_reads():
    parser = argparse.ArgumentParser(add_help=False)
    add_options(parser)
    assert {name for action in parser._actions for name in action.option_strings} == set(UI_OPTIONS)


def test_options_of_the_command_line():
    options = from_environment(["--ascii", "--fps", "10", "--theme", "light"])
    assert (options.ascii, options.marker, options.fps, options.theme) == (True, "ascii", 10, "light")
    assert from_environment(["--marker", "block"]).marker == "block"
    with pytest.raises(SystemExit):
        from_environment(["--fps", "0"])
