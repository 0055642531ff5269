"""The configuration drawer: choices from the registries, clear messages, the old run kept until the new one works."""

from driving import opened, press, press_in_one_breath, press_until, text_of, until
from textual.widgets import Input, OptionList, Select

from tui.config import BY_DATA, Choices, RunConfig
from tui.widgets.drawer import OTHER, Drawer
from tui.widgets.histogram import LayerRow


async def opened_drawer(pilot, app):
    drawer = app.base.query_one(Drawer)
    await press_until(pilot, "c", lambda: drawer.display)
    return drawer


def put(drawer, field, value):
    drawer.query_one(f"#field-{field}").value = value


async def test_shows_the_configuration_and_the_choices_of_the_backend():
    async with opened() as (pilot, app):
        drawer = await opened_drawer(pilot, app)
        assert drawer.texts() == {
            "data": "digits", "layers": "64 32", "cell": BY_DATA, "activation": "relu", "init": "he",
            "optimizer": "sgd", "learning_rate": "0.001", "batch_size": "32", "epochs": "5000", "seed": "0",
            "device": "cpu", "precision": "float",
        }  # fmt: skip
        select = drawer.query_one("#field-data", Select)
        assert {value for _, value in select._options if isinstance(value, str)} == {
            "digits",
            "moons",
            "spirals",
            OTHER,
        }
        assert all(isinstance(value, str) for select in drawer.query(Select) for _, value in select._options)


async def test_apply_builds_a_new_network_and_closes():
    async with opened() as (pilot, app):
        await press_until(pilot, "s", lambda: app.session.view.snapshot.step == 1)
        drawer = await opened_drawer(pilot, app)
        put(drawer, "data", "moons")
        put(drawer, "layers", "16 16 8")
        put(drawer, "activation", "tanh")
        put(drawer, "seed", "7")
        put(drawer, "cell", "gru")
        drawer.query_one("#field-seed").focus()
        await press_until(pilot, "enter", lambda: not drawer.display)
        view = app.session.view
        assert view.config == RunConfig(data="moons", layers=(16, 16, 8), activation="tanh", seed=7, cell="gru")
        assert view.state == "ready" and view.snapshot.step == 0
        await until(pilot, lambda: len(app.base.query_one(LayerRow).plots) == 4)
        await until(pilot, lambda: "2-16-16-8-2 tanh/he sgd" in text_of(app))


async def test_text_that_cannot_be_read_is_named_and_nothing_changes():
    async with opened() as (pilot, app):
        await press_until(pilot, "s", lambda: app.session.view.snapshot.step == 1)
        drawer = await opened_drawer(pilot, app)
        before = app.session.view
        for field, text, said in [
            ("layers", "64 zwei", "'zwei'"),
            ("learning_rate", "fast", "'fast'"),
            ("batch_size", "0", "out of range"),
            ("epochs", "many", "'many'"),
            ("seed", "1.5", "'1.5'"),
        ]:
            put(drawer, field, text)
            drawer.action_apply()
            await until(pilot, lambda said=said: said in text_of(app))
            wanted = drawer.query_one(f"#field-{field}")
            await until(pilot, lambda wanted=wanted: app.focused is wanted)
            drawer.fill(before.choices, before.config)
        assert app.session.view is before


async def test_what_the_engine_refuses_is_told_and_the_running_network_goes_on():
    async with opened(config=RunConfig(epochs=100_000), pace=0.01) as (pilot, app):
        await press_until(pilot, "space", lambda: app.session.view.snapshot.step > 10)
        drawer = await opened_drawer(pilot, app)
        put(drawer, "batch_size", "5000")
        drawer.action_apply()
        await until(pilot, lambda: "1437" in text_of(app))
        step = app.session.view.snapshot.step
        await until(pilot, lambda: app.session.view.snapshot.step > step)
        assert drawer.display and app.focused is drawer.query_one("#field-batch_size")
        assert app.session.view.state == "running" and app.session.view.config.batch_size == 32


async def test_a_file_of_ones_own_can_be_named():
    async with opened() as (pilot, app):
        drawer = await opened_drawer(pilot, app)
        path = drawer.query_one("#field-path", Input)
        assert not drawer.query_one("#row-path").display
        put(drawer, "data", OTHER)
        await until(pilot, lambda: app.focused is path)
        await press(pilot, *"no.csv", "enter")
        await until(pilot, lambda: "'no.csv'" in text_of(app))
        assert app.session.view.config.data == "digits"
        put(drawer, "task", "regression")
        assert drawer.texts() | {"data": "no.csv", "label": "", "task": "regression"} == drawer.texts()
        put(drawer, "data", "moons")
        await until(pilot, lambda: not drawer.query_one("#row-task").display)
        assert "task" not in drawer.texts()


async def test_a_rate_that_nobody_typed_follows_the_optimizer():
    async with opened(config=RunConfig(optimizer="sgd", learning_rate=0.05)) as (pilot, app):
        drawer = await opened_drawer(pilot, app)
        rate = drawer.query_one("#field-learning_rate", Input)
        put(drawer, "optimizer", "adam")
        await until(pilot, lambda: rate.value == "0.001")
        put(drawer, "optimizer", "sgd")
        await until(pilot, lambda: rate.value == "0.05")
        rate.value = "0.02"
        put(drawer, "optimizer", "adam")
        await pilot.pause()
        assert rate.value == "0.02"


async def test_keys_typed_into_a_field_stay_in_it():
    async with opened() as (pilot, app):
        drawer = await opened_drawer(pilot, app)
        field = drawer.query_one("#field-layers", Input)
        field.focus()
        await pilot.press("s", "e", "x", "q", "space", "2")
        await until(pilot, lambda: field.value == "sexq 2")
        assert app.session.view.snapshot.step == 0 and not app._exit


async def test_tab_and_what_is_typed_in_one_breath_reach_the_next_field():
    async with opened() as (pilot, app):
        drawer = await opened_drawer(pilot, app)
        first, second = (drawer.query_one(f"#field-{name}", Input) for name in ("batch_size", "epochs"))
        first.focus()
        keys = ("1", "7", "backspace", "tab", "2", "3", "left", "5", "shift+tab", "4", "2", "backspace")
        await press_in_one_breath(pilot, *keys)
        assert second.value == "253" and first.value == "4" and app.focused is first


async def test_a_page_key_does_nothing_before_a_list_is_laid_out_and_a_page_after():
    async with opened() as (pilot, app):
        drawer = await opened_drawer(pilot, app)
        select = drawer.query_one("#field-activation", Select)
        names = select.query_one(OptionList)
        select.focus()
        names.highlighted = 0
        names.action_page_down()  # it has never been shown
        assert names.highlighted == 0
        await press_until(pilot, "enter", lambda: names.region)
        names.highlighted = 0
        await press_until(pilot, "pagedown", lambda: names.highlighted)


async def test_asked_for_while_loading_the_drawer_opens_once_there_is_something_to_choose_from():
    async with opened() as (pilot, app):
        drawer, choices = app.base.query_one(Drawer), app.session.view.choices
        app.session._change(choices=Choices())
        await press_until(pilot, "c", lambda: app.base.configuring)
        assert not drawer.display
        app.session._change(choices=choices)
        await until(pilot, lambda: drawer.display)
        assert drawer.texts()["data"] == "digits" and drawer.texts()["activation"] == "relu"


async def test_esc_closes_the_drawer_after_the_terminal_was_too_small_for_it():
    async with opened() as (pilot, app):
        drawer = await opened_drawer(pilot, app)
        await pilot.resize_terminal(20, 5)
        await until(pilot, lambda: app.base.focused is None)
        await pilot.resize_terminal(80, 24)
        await until(pilot, lambda: app.base.focused is not None)
        await press_until(pilot, "escape", lambda: not drawer.display)
