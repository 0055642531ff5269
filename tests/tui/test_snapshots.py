"""The screens as stored pictures (`pytest --snapshot-update` draws them anew; look at them before you commit)."""

import pytest
from driving import press, press_until, settle, until
from fake_training import FakeBackend

from tui.app import FastnnApp
from tui.config import RunConfig
from tui.options import Options

SIZES = [(80, 24), (160, 45)]
NAMES = ["80x24", "160x45"]
RUN = RunConfig(epochs=12)


@pytest.fixture(params=SIZES, ids=NAMES)
def size(request):
    return request.param


pytestmark = pytest.mark.usefixtures("plain_terminal")


def test_ready(snap_compare, size):
    assert snap_compare(FastnnApp(FakeBackend(), RUN), terminal_size=size, run_before=settle)


def test_running(snap_compare, size):
    async def drive(pilot):
        await settle(pilot)
        await press_until(pilot, "space", lambda: pilot.app.session.view.snapshot.step == 300)
        await settle(pilot)

    assert snap_compare(FastnnApp(FakeBackend(hold_at=300), RUN), terminal_size=size, run_before=drive)


def test_finished_log_light(snap_compare, size):
    async def drive(pilot):
        await settle(pilot)
        await press_until(pilot, "space", lambda: pilot.app.session.view.state == "finished")
        await press(pilot, "y", "t")
        await settle(pilot)

    assert snap_compare(FastnnApp(FakeBackend(), RUN), terminal_size=size, run_before=drive)


def test_drawer_with_a_wrong_field(snap_compare, size):
    async def drive(pilot):
        await settle(pilot)
        await press(pilot, "c", "tab")
        await until(pilot, lambda: getattr(pilot.app.focused, "id", "") == "field-layers")
        await press(pilot, *"64 zwei", "enter")
        pilot.app.focused.cursor_blink = False
        await until(pilot, lambda: pilot.app.base.query_one("#wrong").display)
        await settle(pilot)

    assert snap_compare(FastnnApp(FakeBackend(), RUN), terminal_size=size, run_before=drive)


def test_diverged(snap_compare, size):
    async def drive(pilot):
        await settle(pilot)
        pilot.app.session.set_rate(1e6)
        await press_until(pilot, "space", lambda: pilot.app.session.view.state == "diverged")
        await settle(pilot)

    assert snap_compare(FastnnApp(FakeBackend(), RUN), terminal_size=size, run_before=drive)


def test_help(snap_compare, size):
    async def drive(pilot):
        await settle(pilot)
        await press(pilot, "question_mark")
        await pilot.pause()

    assert snap_compare(FastnnApp(FakeBackend(), RUN), terminal_size=size, run_before=drive)


@pytest.mark.parametrize("kind", ["light", "no_color", "ascii", "block"])
def test_running_in_other_looks(snap_compare, size, kind, monkeypatch):
    if kind == "no_color":
        monkeypatch.setenv("NO_COLOR", "1")
    looks = {
        "light": Options(theme="light"),
        "ascii": Options(ascii=True, marker="ascii"),
        "block": Options(marker="block"),
    }
    app = FastnnApp(FakeBackend(hold_at=300), RUN, looks.get(kind))

    async def drive(pilot):
        await settle(pilot)
        await press_until(pilot, "space", lambda: pilot.app.session.view.snapshot.step == 300)
        await settle(pilot)

    assert snap_compare(app, terminal_size=size, run_before=drive)


def test_all_of_it(snap_compare, size):
    """Ghost, mark, smoothing, cursor and gradients at once."""

    async def drive(pilot):
        app = pilot.app
        await settle(pilot)
        await press_until(pilot, "space", lambda: app.session.view.snapshot.step == 300)
        await settle(pilot)
        await press(pilot, "p", "m", "v")
        app.session.set_rate(0.01)
        app.session._run.trainer.hold_at = 420
        await until(pilot, lambda: app.session.view.snapshot.step == 420)
        await settle(pilot)
        for _ in range(31):
            app.simulate_key("left")
        await pilot.pause()
        await settle(pilot)

    app = FastnnApp(FakeBackend(hold_at=300), RUN)
    assert snap_compare(app, terminal_size=size, run_before=drive)


def test_too_small(snap_compare):
    async def drive(pilot):
        await until(pilot, lambda: pilot.app.session.view.state == "ready")
        await pilot.pause()

    assert snap_compare(FastnnApp(FakeBackend(), RUN), terminal_size=(60, 20), run_before=drive)
