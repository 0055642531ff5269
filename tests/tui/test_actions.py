"""One table of actions: whatever is in it is bound, shown, explained and in the palette, and nothing else is."""

from functools import partialmethod
from importlib import import_module
from pathlib import Path

import pytest
from driving import opened, settle, text_of, until
from textual.binding import Binding

import tui
from tui.actions import ACTIONS, MODES, of_mode
from tui.screens.mode import ModeScreen
from tui.widgets.drawer import Drawer


@pytest.mark.parametrize("mode", MODES, ids=lambda mode: mode.name)
def test_names_and_keys_are_unique(mode):
    actions = of_mode(ACTIONS, mode.name)
    assert len({action.id for action in actions}) == len(actions)
    keys = [key for action in actions for key in action.keys.split(",")]
    assert len(set(keys)) == len(keys)


def screens() -> dict[str, type[ModeScreen]]:
    """The class of each mode."""
    found = {}
    for mode in MODES:
        module, _, name = mode.screen.partition(":")
        found[mode.name] = getattr(import_module(module), name)
    return found


@pytest.mark.parametrize("mode", MODES, ids=lambda mode: mode.name)
def test_every_action_has_a_method_and_every_method_an_action(mode):
    screen = screens()[mode.name]
    ours = [kind for kind in screen.__mro__ if kind.__module__.startswith("tui.")]
    methods = {n.removeprefix("action_") for kind in ours for n in vars(kind) if n.startswith("action_")}
    assert mode.name == screen.NAME
    assert methods == {action.name for action in of_mode(ACTIONS, mode.name)}


@pytest.mark.parametrize("mode", MODES, ids=lambda mode: mode.name)
def test_every_action_is_bound_to_its_keys(mode):
    bound = {b.action: b.key for b in screens()[mode.name].BINDINGS if isinstance(b, Binding)}
    assert bound == {a.call: a.keys for a in of_mode(ACTIONS, mode.name) if a.name != "palette"}


def test_actions_are_placed_where_there_is_a_place():
    assert {action.place for action in ACTIONS} <= {"tabs", "status", "bar", "main", ""}
    assert all(mode in {m.name for m in MODES} for action in ACTIONS for mode in action.modes)


# Learn shows what acts at the moment: tests/tui/test_learn_mode.py.
@pytest.mark.parametrize("mode", [m for m in MODES if m.name != "learn"], ids=lambda mode: mode.name)
async def test_every_placed_action_is_on_the_smallest_screen(mode):
    async with opened((80, 24)) as (pilot, app):
        app.open_mode(mode.name)
        await settle(pilot)
        if mode.name == "predict":  # the pane where there is something to choose, the last
            await pilot.press("o", "o")
        lines = text_of(app).splitlines()
        main = next(line for line in lines if " freeze" in line and "\u2570" in line)
        where = {"tabs": lines[0], "status": lines[1], "bar": lines[-1], "main": main}
        for action in of_mode(ACTIONS, mode.name):
            if action.place:
                words = where[action.place].split()
                assert action.shown in words, action.name
                assert not action.label or action.label in words, action.name


async def test_every_action_is_in_help():
    async with opened((100, len(ACTIONS) + 60)) as (pilot, app):
        await pilot.press("question_mark")
        await pilot.pause()
        text = text_of(app)
        for action in ACTIONS:
            assert action.help in text and action.shown in text, action.name


async def test_the_palette_has_every_action_but_itself_and_nothing_more():
    async with opened() as (_, app):
        commands = list(app.get_system_commands(app.screen))
        assert [c.title for c in commands] == [a.title for a in of_mode(ACTIONS, "train") if a.name != "palette"]


@pytest.mark.parametrize("mode", MODES, ids=lambda mode: mode.name)
async def test_every_entry_of_the_palette_runs_its_action(mode, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)  # where an export goes
    monkeypatch.setenv("FASTNN_RUNS", str(tmp_path))
    screen, ran = screens()[mode.name], []
    # What all modes have is run in the first.
    wanted = {action.title: action.name for action in of_mode(ACTIONS, mode.name) if action.modes or mode is MODES[0]}
    wanted.pop("Command palette", None)
    for name in wanted.values():
        real = getattr(screen, f"action_{name}")
        monkeypatch.setattr(screen, f"action_{name}", partialmethod(noted, ran, name, real))
    async with opened() as (pilot, app):
        app.open_mode(mode.name)
        await settle(pilot)
        commands = {command.title: command.callback for command in app.get_system_commands(app.screen)}
        for title in sorted(wanted, key=lambda title: title == "Quit"):  # the last
            ran.clear()
            app.open_mode(mode.name)
            await pilot.pause(0.01)
            await commands[title]()
            assert ran[:1] == [wanted[title]], title
            await until(pilot, lambda: app.screen.is_mounted and bool(app.base.query(Drawer)), "a screen")
            while len(app.screen_stack) > 1:
                app.pop_screen()
                await pilot.pause(0.01)
            app.base.close_drawer()
        assert app._exit == ("Quit" in wanted)


def noted(self, ran, name, real, *arguments):
    """An action that is noted, and done."""
    ran.append(name)
    return real(self, *arguments)


def test_modules_stay_small():
    for path in Path(tui.__file__).parent.rglob("*.py"):
        assert len(path.read_text().splitlines()) < 400, path.name
    assert len(Path(tui.__file__).parent.joinpath("app.py").read_text().splitlines()) < 200
