"""Runs kept by the UI: the same bits as `fastnn train`, whatever is pressed in between, and taken up again."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from driving import opened_with, press, reach, until
from textual.pilot import Pilot

from fastnn import runfile, runs
from fastnn.cli import main
from fastnn.runfile import RunFile
from fastnn.training import Trainer
from tui.app import FastnnApp, run_config
from tui.config import RunConfig
from tui.engine import Engine
from tui.keeping import Keeper, config_of, run_of
from tui.session import Session

RUN = RunFile(
    data="spirals", data_options={"noise": 0.2, "samples": 300}, layers=(8, 4), activation="tanh", init="xavier",
    optimizer="sgd", optimizer_options={"lr": 0.05, "momentum": 0.9}, epochs=40, seed=5, dtype="float64", shuffle=True,
)  # fmt: skip


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("FASTNN_RUNS", str(tmp_path / "runs"))
    return tmp_path / "runs"


@pytest.fixture
def headless(root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> tuple[Path, dict]:
    """A run file, and what `fastnn train` made of it."""
    path = tmp_path / "run.toml"
    path.write_text(RUN.text(), "utf-8")
    assert main(["train", str(path), "--json", "--no-keep"]) == 0
    return path, json.loads(capsys.readouterr().out)["history"]


def history(path: Path) -> dict:
    """The scores of a kept run."""
    metrics = runs.read_metrics(path)
    return {name: metrics[name].tolist() for name in ("loss", "accuracy", "val_loss", "val_accuracy")}


def newest(root: Path) -> runs.RunInfo:
    return runs.list_runs(root)[0]


def test_what_can_wait_is_kept_while_the_next_chunk_trains(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As a GPU has it: metrics and status then, checkpoints between two chunks; a pause leaves nothing to be kept."""
    monkeypatch.setattr(runs, "STATUS_SECONDS", 0.0)
    calls: list = []
    monkeypatch.setattr(Trainer, "meanwhile", lambda self, call: calls.append(call) or True)
    prepared = runfile.build(RUN)
    keeper = Keeper(RUN, prepared.trainer, lambda text, level: None)
    trainer, (catch_up,) = prepared.trainer, calls
    going = trainer.run(RUN.epochs)
    keeper.follow(next(going))  # makes the folder
    path = Path(keeper.path)
    before = len(runs.checkpoints(path)), len(history(path)["loss"])
    snapshot = next(snapshot for snapshot in going if snapshot.epoch_ended)
    keeper.follow(snapshot)
    assert before == (len(runs.checkpoints(path)), len(history(path)["loss"]))
    catch_up()
    assert history(path)["loss"] == list(trainer.history.loss) != []
    assert newest(root).step == snapshot.step and before[0] == len(runs.checkpoints(path))
    keeper.follow(next(going))
    trainer.pause()
    paused = next(snapshot for snapshot in going if snapshot.state == "paused")
    keeper.follow(paused)
    assert history(path)["loss"] == list(trainer.history.loss) and newest(root).state == "paused"
    monkeypatch.setattr(runs.RunFolder, "catch_up", None)
    catch_up()
    keeper.close(paused)


def test_a_configuration_is_a_run_file_and_back() -> None:
    config = config_of(RUN)
    assert run_of(config) == RUN.__class__(**{**vars(RUN), "batch_size": 32})
    assert config_of(run_of(RunConfig())) == RunConfig()
    typed = RunConfig(data="spirals", optimizer="sgd", layers=(3,)).with_rest_of(config)
    assert (typed.loader, typed.settings, typed.dtype) == (config.loader, config.settings, "float64")
    other = RunConfig(data="moons", optimizer="adam").with_rest_of(config)
    assert (other.loader, other.settings, other.loss) == ((), (), "")


async def test_the_ui_gives_the_bits_of_the_command_line(headless: tuple[Path, dict], root: Path) -> None:
    path, expected = headless
    app = FastnnApp(config=run_config(str(path)))

    def step() -> int:
        return int(app.session.view.snapshot.step)

    async with opened_with(app) as pilot:
        await press(pilot, "s", "s", "s")
        await until(pilot, lambda: step() == 3)
        await press(pilot, "e")
        await until(pilot, lambda: app.session.view.state == "paused" and step() > 3)
        app.session.set_limit(100)
        await press(pilot, "space")
        await until(pilot, lambda: step() > 20)
        await press(pilot, "space")
        await until(pilot, lambda: app.session.view.state == "paused")
        await press(pilot, "u", "x")
        await until(pilot, lambda: app.session.view.state == "stopped")
        app.session.set_limit(None)
        await press(pilot, "space")
        await until(pilot, lambda: app.session.view.state == "finished")
    kept = newest(root)
    assert kept.state == "finished" and kept.run is not None and kept.run.seed == 5
    assert history(kept.path) == expected


def test_a_run_is_taken_up_again_where_it_was_left(headless: tuple[Path, dict], root: Path) -> None:
    path, expected = headless
    config = run_config(str(path))
    for _ in range(3):
        session = Session(Engine(), config)
        session.start()
        begun = reach(session, lambda v: v.state in ("ready", "paused")).snapshot.step
        session.step()
        session.step()
        session.finish_epoch()
        view = reach(session, lambda v: v.state == "paused" and v.snapshot.step > begun + 2)  # noqa: B023
        assert session.close(60)
        kept = newest(root)
        assert kept.step == view.snapshot.step and not kept.live
        config = config_of(kept.run, str(kept.path))
    session = Session(Engine(), config)
    session.start()
    view = reach(session, lambda v: v.state == "paused")
    assert view.config.folder == "" and session.record.curve("val_loss")[0].size == 3
    session.toggle()
    reach(session, lambda v: v.state == "finished")
    assert session.close(60)
    assert len(runs.list_runs(root)) == 1 and history(newest(root).path) == expected


def test_nothing_is_kept_of_what_was_not_trained(root: Path) -> None:
    session = Session(Engine(), RunConfig("moons", (4,), epochs=3))
    session.start()
    reach(session, lambda v: v.state == "ready")
    session.reset()
    assert session.close(60)
    assert runs.list_runs(root) == []


def test_a_run_that_cannot_be_kept_is_trained_and_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("FASTNN_RUNS", str(tmp_path / "file"))
    engine = Engine()
    session = Session(engine, RunConfig("moons", (4,), epochs=3))
    engine.tell = session.journal.add
    session.start()
    reach(session, lambda v: v.state == "ready")
    session.toggle()
    reach(session, lambda v: v.state == "finished")
    assert session.close(60)
    told = [entry for entry in session.journal.entries() if entry.level == "error"]
    assert len(told) == 1 and "a folder for the run cannot be made" in told[0].text


def test_a_run_that_is_open_is_not_opened_again(headless: tuple[Path, dict], root: Path) -> None:
    config = run_config(str(headless[0]))
    first = Session(Engine(), config)
    first.start()
    reach(first, lambda v: v.state == "ready")
    first.step()
    reach(first, lambda v: v.snapshot.step == 1)
    kept = newest(root)
    number = first.apply(config_of(kept.run, str(kept.path)))
    view = reach(first, lambda v: v.answered == number)
    assert "is open already" in view.answer and view.snapshot.step == 1
    assert first.close(60)


def test_a_relative_path_is_kept_whole(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "points.csv").write_text("x,y,label\n" + "".join(f"{i % 3},{i % 5},{i % 2}\n" for i in range(60)))
    monkeypatch.chdir(tmp_path)
    session = Session(Engine(), RunConfig("points.csv", (4,), epochs=3))
    session.start()
    reach(session, lambda v: v.state == "ready")
    session.step()
    reach(session, lambda v: v.snapshot.step == 1)
    assert session.close(60)
    kept = newest(root)
    assert kept.run is not None and kept.run.data == str(tmp_path / "points.csv")
    folder, prepared = runs.resume(kept.path)
    assert prepared.trainer.current_step == 1
    folder.close(prepared.trainer, prepared.trainer.look())


async def test_prints_go_to_the_journal(root: Path) -> None:
    app = FastnnApp(config=RunConfig("moons", (4,)))
    async with opened_with(app) as pilot:
        assert isinstance(pilot, Pilot)
        app.session.do(lambda run: print("a line\nand half", end=""))  # noqa: T201
        texts = lambda: [(entry.source, entry.text) for entry in app.session.journal.entries()]  # noqa: E731
        await until(pilot, lambda: ("stdout", "a line") in texts())
        assert ("stdout", "and half") not in texts()
        app.session.do(lambda run: print(" more"))  # noqa: T201
        await until(pilot, lambda: ("stdout", "and half more") in texts())
