"""The Log mode and the journal: lines from everywhere, scrolled, searched, limited; nothing over the screen."""

from __future__ import annotations

import time

import pytest
from driving import opened, press, press_until, settle, text_of, until
from fake_training import FakeBackend

from tui import journal as journals
from tui.app import FastnnApp
from tui.config import RunConfig
from tui.journal import MOST_CHARACTERS, MOST_ENTRIES, Journal


def test_lines_are_complete_and_bounded() -> None:
    journal = Journal()
    journal.write("stdout", "one\ntw")
    journal.write("stderr", "err\r\n\n   \n")
    journal.write("stdout", "o\n")
    assert [(e.source, e.level, e.text) for e in journal.entries()] == [
        ("stdout", "info", "one"), ("stderr", "warning", "err"), ("stdout", "info", "two"),
    ]  # fmt: skip
    journal.write("stdout", "x" * 3 * MOST_CHARACTERS)
    assert journal.entries()[-1].text == "x" * MOST_CHARACTERS
    for n in range(MOST_ENTRIES + 10):
        journal.add(str(n))
    assert len(journal.entries()) == MOST_ENTRIES and journal.entries()[-1].text == str(MOST_ENTRIES + 9)


async def open_log(pilot, app):
    await press_until(pilot, "6", lambda: app.base.NAME == "log")
    await settle(pilot)
    return app.base.pane


async def test_every_key() -> None:
    async with opened((80, 24)) as (pilot, app):
        for n in range(200):
            app.session.journal.add(
                f"line {n} " + "wide " * 30, "error" if n == 7 else "warning" if n % 50 == 0 else "info"
            )
        pane = await open_log(pilot, app)
        assert "line 199" in text_of(app) and "following" in text_of(app)
        await press(pilot, "up")
        assert pane.top == pane.last_top - 1 and "held" in text_of(app)
        await press(pilot, "down")
        assert pane.top is None
        await press(pilot, "pageup", "pageup", "pagedown", "pagedown")
        assert pane.top is None
        await press(pilot, "home")
        assert pane.top == 0 and "ready at step 0" in text_of(app)
        await press(pilot, "right", "right", "left")
        assert pane.left == 20
        await press(pilot, "left", "end")
        assert (pane.left, pane.top) == (0, None)
        await press(pilot, "v")
        await until(pilot, lambda: "warnings" in text_of(app) and "line 150" in text_of(app))
        assert "line 199" not in text_of(app)
        await press(pilot, "v")
        await until(pilot, lambda: "line 7 " in text_of(app) and "line 150" not in text_of(app))
        await press(pilot, "v")
        await press(pilot, "slash")
        await press(pilot, *"Line 12", "enter")
        await until(pilot, lambda: "11 found" in text_of(app))
        assert "line 129" in text_of(app) and pane.top is not None
        first = pane.found
        await press(pilot, "n")
        assert pane.found == first - 1
        await press(pilot, "N", "N")
        assert pane.found is not None and pane.found < first - 1, "around the end"
        await press(pilot, "slash")
        await press(pilot, *"nowhere", "enter")
        await until(pilot, lambda: any("no line has" in note.message for note in app._notifications))


async def test_new_lines_do_not_move_what_is_held() -> None:
    async with opened((80, 24)) as (pilot, app):
        for n in range(100):
            app.session.journal.add(f"line {n}")
        pane = await open_log(pilot, app)
        await press(pilot, "home")
        app.session.journal.add("something new")
        await until(pilot, lambda: f"{app.session.journal.version} lines" in text_of(app))
        assert pane.top == 0 and "something new" not in text_of(app)
        await press(pilot, "end")
        assert "something new" in text_of(app)


async def test_what_happens_is_told() -> None:
    async with opened((80, 24), RunConfig(epochs=2)) as (pilot, app):
        await press(pilot, "right_square_bracket")
        await press_until(pilot, "space", lambda: app.session.view.state == "finished")
        app.session.apply(RunConfig("broken"))
        texts = lambda: "\n".join(f"{e.level} {e.text}" for e in app.session.journal.entries())  # noqa: E731
        await until(pilot, lambda: "error data: unknown name 'broken'" in texts())
        for text in ("is ready at step 0", "learning rate 0.00125 from step 0", "finished at step 80"):
            assert f"{text}" in texts(), text


@pytest.mark.parametrize("size", [(80, 24), (160, 45)], ids=["80x24", "160x45"])
@pytest.mark.parametrize("look", ["dark", "light", "plain"])
def test_pictures(snap_compare, size, look: str, plain_terminal, monkeypatch: pytest.MonkeyPatch) -> None:
    if look == "plain":
        monkeypatch.setenv("NO_COLOR", "1")
    now = time.mktime((2026, 3, 1, 10, 15, 0, 0, 60, -1))
    monkeypatch.setattr(journals.time, "time", lambda: now)

    async def drive(pilot) -> None:
        await settle(pilot)
        journal = pilot.app.session.journal
        journal.write("stdout", "a line that a library printed\n")
        journal.write("stderr", "and one of its warnings, which is so long that it does not fit on a narrow screen\n")
        journal.add("training diverged to NaN or Inf at epoch 3, step 71", "error")
        pane = await open_log(pilot, pilot.app)
        pane.find("line")
        if look == "light":
            await press(pilot, "t")
        await pilot.pause(0.1)
        await settle(pilot)

    assert snap_compare(FastnnApp(FakeBackend(), RunConfig(epochs=12)), terminal_size=size, run_before=drive)
