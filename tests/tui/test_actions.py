"""One table of actions: whatever is in it is bound, shown, explained and in the palette, and nothing else is."""

from pathlib import Path

from driving import opened, text_of
from textual.binding import Binding

import tui
from tui.actions import ACTIONS
from tui.screens.train import TrainScreen


def test_names_and_keys_are_unique():
    assert len({action.name for action in ACTIONS}) == len(ACTIONS)
    keys = [key for action in ACTIONS for key in action.keys.split(",")]
    assert len(set(keys)) == len(keys)


def test_every_action_has_a_method_and_every_method_an_action():
    methods = {name.removeprefix("action_") for name in vars(TrainScreen) if name.startswith("action_")}
    assert methods == {action.name for action in ACTIONS}


def test_every_action_is_bound_to_its_keys():
    bound = {b.action: b.key for b in TrainScreen.BINDINGS if isinstance(b, Binding)}
    assert bound == {action.name: action.keys for action in ACTIONS if action.name != "palette"}


async def test_every_action_is_on_the_smallest_screen():
    async with opened((80, 24)) as (_, app):
        lines = text_of(app).splitlines()
        bar = lines[-1].split()
        border = next(line for line in lines if "freeze" in line).split()
        for action in ACTIONS:
            where = bar if action.place == "bar" else border
            assert action.shown in where, action.name
            assert not action.label or action.label in where, action.name


async def test_every_action_is_in_help():
    async with opened((80, 60)) as (pilot, app):
        await pilot.press("question_mark")
        await pilot.pause()
        text = text_of(app)
        for action in ACTIONS:
            assert action.help in text, action.name


async def test_the_palette_has_every_action_but_itself_and_nothing_more():
    async with opened() as (_, app):
        commands = list(app.get_system_commands(app.screen))
        assert [c.title for c in commands] == [a.title for a in ACTIONS if a.name != "palette"]


async def test_an_action_runs_from_the_palette():
    async with opened() as (pilot, app):
        for command in app.get_system_commands(app.screen):
            if command.title == "One step":
                await command.callback()
        from driving import until

        await until(pilot, lambda: app.session.view.snapshot.step == 1)


def test_modules_stay_small():
    for path in Path(tui.__file__).parent.rglob("*.py"):
        assert len(path.read_text().splitlines()) < 400, path.name
    assert len(Path(tui.__file__).parent.joinpath("app.py").read_text().splitlines()) < 200
