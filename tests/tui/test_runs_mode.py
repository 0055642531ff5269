"""The Runs mode: list, filter, sort, overlay, compare, take up again, delete."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from driving import opened, opened_with, press, press_in_one_breath, press_until, settle, text_of, until
from fake_training import FakeBackend
from shelves import RUNS, add, fill

from fastnn import runfile, runs
from fastnn.runlock import RunLock
from tui.app import FastnnApp
from tui.config import RunConfig
from tui.shelf import MOST_MARKED, ORDERS, Shelf, compared, facts, summary
from tui.widgets.runs import RunsChart, RunsTable

NEWEST = "20260303-081900-moons-aa05"


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("FASTNN_RUNS", str(tmp_path / "runs"))
    fill(tmp_path / "runs")
    return tmp_path / "runs"


@pytest.fixture
def shelf(root: Path) -> Shelf:
    shelf = Shelf()
    shelf.take(runs.list_runs(root))
    return shelf


def names(shelf: Shelf) -> list[str]:
    return [info.name[-4:] for info in shelf.runs]


# ---- the shelf -------------------------------------------------------------------------------------------------------


def test_orders(shelf: Shelf) -> None:
    assert shelf.order == "newest" and names(shelf) == ["aa05", "aa04", "aa03", "aa02", "aa01", "aa00"]
    found = {}
    for _ in ORDERS:
        shelf.sort()
        found[shelf.order] = names(shelf)
    assert found["loss"][:3] == ["aa01", "aa02", "aa03"] and found["loss"][-1] == "aa00"
    assert found["accuracy"][0] == "aa01" and found["steps"][:2] == ["aa02", "aa01"]
    assert found["data"][0] == "aa01" and found["data"][-1] == "aa04"
    assert found["newest"] == ["aa05", "aa04", "aa03", "aa02", "aa01", "aa00"]


@pytest.mark.parametrize(
    ("words", "expected"),
    [("sgd", ["aa05", "aa03"]), ("MOONS adam finished", ["aa02"]), ("tanh", ["aa04"]), ("nothing", []),
     ("interrupted", ["aa04"]), ("64-32", ["aa01"])],
)  # fmt: skip
def test_the_filter(shelf: Shelf, words: str, expected: list[str]) -> None:
    shelf.choose(words)
    assert names(shelf) == expected and shelf.total == 6
    assert (shelf.selected is None) == (not expected)
    shelf.choose("")
    assert len(shelf.runs) == 6


def test_selection_stays_with_its_run(shelf: Shelf, root: Path) -> None:
    shelf.move(2)
    assert shelf.selected is not None and shelf.selected.name.endswith("aa03")
    add(root, "20260304-000000-moons-bb01", RUNS[1][1], "finished", 2, 0.5)
    shelf.take(runs.list_runs(root))
    assert shelf.selected.name.endswith("aa03") and shelf.at == 3
    runs.delete(shelf.selected.path)
    shelf.take(runs.list_runs(root))
    assert shelf.selected.name.endswith("aa02")
    shelf.move(99)
    assert shelf.at == 5
    shelf.move(-99)
    assert shelf.at == 0


def test_marks(shelf: Shelf, root: Path) -> None:
    for row in range(6):
        shelf.select(row)
        assert shelf.mark()
    add(root, "20260304-000000-moons-bb01", RUNS[1][1], "finished", 2, 0.5)
    shelf.take(runs.list_runs(root))
    shelf.select(0)
    assert len(shelf.marked) == MOST_MARKED and not shelf.mark()
    assert [info.name for info in shelf.shown] == shelf.marked
    shelf.unmark()
    assert [info.name[-4:] for info in shelf.shown] == ["bb01"]


def test_what_differs_is_told(shelf: Shelf) -> None:
    infos = [info for info in shelf.runs if info.name[-4:] in ("aa02", "aa03")]
    rows = compared(infos)
    differing = {name for name, _, differs in rows if differs}
    assert differing == {"val loss", "val accuracy", "steps", "optimizer", "lr"}
    assert [name for name, _, _ in rows[:3]] == ["val loss", "val accuracy", "steps"]
    assert {name: texts for name, texts, _ in rows}["lr"] == ["0.5", "0.01"]
    assert facts(infos[0])["layers"] == "8-8"
    gated = replace(infos[0], run=replace(infos[0].run, cell="gru"))
    assert [summary(info)["network"] for info in (infos[0], gated)] == ["8-8 relu", "8-8 gru"]


def test_curves_are_read_again_when_the_run_has_more(shelf: Shelf, root: Path) -> None:
    info = next(info for info in shelf.runs if info.name.endswith("aa03"))
    x, y = shelf.curve(info, "val_loss")
    assert x.tolist() == [25.0 * n for n in range(1, 26)] and y.size == 25
    with open(info.path / "metrics.csv", "a") as file:
        file.write("26,650,0.3,0.9,0.33,0.9,0.01,13.0\n")
    again = runs.read_info(info.path)
    assert again is not None and shelf.curve(again, "val_loss")[0].size == 26
    (info.path / "metrics.csv").unlink()
    gone = runs.read_info(info.path)
    assert gone is not None and shelf.curve(gone, "val_loss")[0].size == 0


# ---- the screen ------------------------------------------------------------------------------------------------------


def notes(app: FastnnApp) -> str:
    """What the app has notified (Pilot shows no toasts)."""
    return " ".join(notification.message for notification in app._notifications)


async def open_runs(pilot, app) -> Shelf:
    await press_until(pilot, "4", lambda: app.base.NAME == "runs")
    await settle(pilot)
    return app.base.shelf


async def test_every_key(root: Path) -> None:
    async with opened((80, 24)) as (pilot, app):
        shelf = await open_runs(pilot, app)
        assert "03-03 08:19" in text_of(app) and "by newest" in text_of(app)
        await press(pilot, "down", "down", "up")
        assert shelf.at == 1
        await press(pilot, "end")
        assert shelf.at == 5
        await press(pilot, "home", "m", "down", "m")
        assert len(shelf.marked) == 2 and "▶2" in text_of(app)
        await press(pilot, "M")
        assert shelf.marked == []
        await press(pilot, "o")
        await until(pilot, lambda: "by loss" in text_of(app))
        await press(pilot, "a")
        await until(pilot, lambda: "Training loss" in text_of(app))
        await press(pilot, "y")
        assert app.base.query_one(RunsChart).log_y
        await press(pilot, "v")
        await until(pilot, lambda: "Configuration" in text_of(app))
        await press(pilot, "m", "down", "m")
        await until(pilot, lambda: "Compare" in text_of(app))
        await press_in_one_breath(pilot, "slash", *"digits", "enter", "M")
        await until(pilot, lambda: "1 of 6" in text_of(app) and shelf.marked == [])
        await press(pilot, "slash", "escape")
        assert shelf.filter == "digits"


async def test_a_click_selects_and_a_second_one_marks(root: Path) -> None:
    async with opened((80, 24)) as (pilot, app):
        shelf = await open_runs(pilot, app)
        await pilot.click(RunsTable, offset=(20, 4))
        await until(pilot, lambda: shelf.at == 2)
        await pilot.click(RunsTable, offset=(20, 4))
        await until(pilot, lambda: len(shelf.marked) == 1)


async def test_deleting_asks(root: Path) -> None:
    async with opened((80, 24)) as (pilot, app):
        shelf = await open_runs(pilot, app)
        await press(pilot, "delete")
        await until(pilot, lambda: "Delete the run" in text_of(app))
        await press(pilot, "n")
        assert (root / NEWEST).exists()
        await press(pilot, "delete", "y")
        await until(pilot, lambda: shelf.total == 5)
        assert not (root / NEWEST).exists()


async def test_an_open_run_is_not_deleted(root: Path) -> None:
    lock = RunLock(root / NEWEST)
    async with opened((80, 24)) as (pilot, app):
        await open_runs(pilot, app)
        await press(pilot, "delete")
        await until(pilot, lambda: "this run is open" in notes(app))
        assert len(app.screen_stack) == 1 and (root / NEWEST).exists()
    lock.release()


async def test_no_runs_and_a_folder_that_cannot_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FASTNN_RUNS", str(tmp_path / "none"))
    async with opened((80, 24)) as (pilot, app):
        await open_runs(pilot, app)
        assert "no runs yet" in text_of(app)
        await press(pilot, "enter", "delete", "m", "n", "down", "v")
        assert len(app.screen_stack) == 1
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("FASTNN_RUNS", str(tmp_path / "file"))
    async with opened((80, 24)) as (pilot, app):
        await press(pilot, "4")
        await until(pilot, lambda: "cannot be read" in notes(app))


async def test_a_run_is_opened_trained_and_begun_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FASTNN_RUNS", str(tmp_path))
    prepared = runfile.build(runfile.RunFile(data="moons", layers=(4,), epochs=4, seed=9))
    folder = runs.RunFolder.create(prepared.run)
    for snapshot in prepared.trainer.run(2):
        folder.follow(prepared.trainer, snapshot)
    folder.close(prepared.trainer, snapshot)
    app = FastnnApp(config=RunConfig("blobs", (4,), epochs=2))
    async with opened_with(app) as pilot:
        await open_runs(pilot, app)
        await press(pilot, "enter")
        await until(pilot, lambda: app.base.NAME == "train")
        view = app.session.view
        assert (view.state, view.snapshot.step, view.config.seed) == ("paused", 50, 9)
        await press_until(pilot, "space", lambda: app.session.view.state == "finished")
        assert app.session.view.snapshot.step == 100
        shelf = await open_runs(pilot, app)
        await press(pilot, "enter")  # it is open here already
        await until(pilot, lambda: app.base.NAME == "train")
        await open_runs(pilot, app)
        await press(pilot, "n")
        await until(pilot, lambda: app.base.NAME == "train")
        assert app.session.view.state == "ready" and app.session.view.config.seed == 9
        await open_runs(pilot, app)
        assert [info.step for info in shelf.runs] == [100] and not shelf.runs[0].live


async def test_what_cannot_be_opened_is_said(root: Path) -> None:
    (root / NEWEST / "config.toml").write_text("data = 'nowhere.csv'")
    app = FastnnApp(config=RunConfig("blobs", (4,), epochs=2))
    async with opened_with(app) as pilot:
        await open_runs(pilot, app)
        await press(pilot, "enter")
        await until(pilot, lambda: "no such file or folder" in notes(app))
        assert app.base.NAME == "runs" and app.session.view.state == "ready"


@pytest.mark.parametrize("size", [(80, 24), (100, 30), (160, 45)])
async def test_sizes(root: Path, size: tuple[int, int]) -> None:
    async with opened(size) as (pilot, app):
        await open_runs(pilot, app)
        await press(pilot, "m", "down", "m")
        text = text_of(app)
        assert "epochs" in text and "del" in text
        assert ("Compare" in text) == (size[0] >= 120)


# ---- pictures --------------------------------------------------------------------------------------------------------


pytestmark = pytest.mark.usefixtures("plain_terminal")


@pytest.mark.parametrize("look", ["dark", "light", "plain"])
@pytest.mark.parametrize("size", [(80, 24), (160, 45)], ids=["80x24", "160x45"])
def test_pictures(snap_compare, root: Path, size, look: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if look == "plain":
        monkeypatch.setenv("NO_COLOR", "1")

    async def drive(pilot) -> None:
        await settle(pilot)
        await open_runs(pilot, pilot.app)
        await press(pilot, "down", "m", "down", "m", "down", "m", *(["t"] if look == "light" else []))
        if size[0] == 80 and look != "dark":
            await press(pilot, "v")
        await pilot.pause(0.1)
        await settle(pilot)

    app = FastnnApp(FakeBackend(), RunConfig(epochs=12))
    assert snap_compare(app, terminal_size=size, run_before=drive)
