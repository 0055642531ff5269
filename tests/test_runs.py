"""Runs on disk: a folder that says what happened, survives a kill, and is gone on with to the bit."""

from __future__ import annotations

import json
import signal
import subprocess
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from processes import start

import fastnn as fnn
from fastnn import checkpoint, runfile, runs
from fastnn.cli import main
from fastnn.errors import DataError
from fastnn.runfile import RunFile
from fastnn.runs import RunFolder

RUN = RunFile(data="moons", layers=(8,), epochs=6, seed=3)
SGD = replace(RUN, optimizer="sgd", optimizer_options={"lr": 0.1, "momentum": 0.9}, dtype="float64")
MASKED = replace(RUN, layers=(8, 6), masks=({"kind": "random", "density": 0.4},))
SCORES = ("epoch", "step", "loss", "accuracy", "val_loss", "val_accuracy", "learning_rate")


def train(prepared: Any, folder: RunFolder, epochs: int, *, most_steps: int = 50_000, stop_at: int = 0) -> Any:
    """Train, keeping the run, to the end or to a step."""
    trainer = prepared.trainer
    trainer.most_steps = most_steps
    for snapshot in trainer.run(epochs):
        folder.follow(trainer, snapshot)
        if stop_at and snapshot.step >= stop_at and snapshot.state == "running":
            trainer.stop()
    folder.close(trainer, snapshot)
    return snapshot


def whole(run: RunFile, root: Path) -> tuple[Path, Any]:
    """A run without a break."""
    prepared = runfile.build(run)
    folder = RunFolder.create(prepared.run, root)
    train(prepared, folder, run.epochs)
    return folder.path, prepared


def same(first: Path, second: Path) -> None:
    """Two runs have the same numbers, but for the time they took."""
    one, two = runs.read_metrics(first), runs.read_metrics(second)
    for name in SCORES:
        assert one[name].tobytes() == two[name].tobytes(), name
    a, b = (checkpoint.read_training(runs.checkpoints(path)[-1][1]) for path in (first, second))
    for name in ("step", "learning_rate", "epoch_sums"):  # the rest is of the last chunk, and chunks differ
        assert a[0][name] == b[0][name], name
    assert a[1].tobytes() == b[1].tobytes() and [m.tobytes() for m in a[2]] == [m.tobytes() for m in b[2]]


def test_a_run_keeps_what_it_was_and_what_it_did(tmp_path: Path) -> None:
    path, prepared = whole(RUN, tmp_path)
    assert runfile.read(path / "config.toml") == prepared.run
    metrics = runs.read_metrics(path)
    assert metrics["epoch"].tolist() == [1, 2, 3, 4, 5, 6]
    history = prepared.trainer.history
    for name in ("loss", "accuracy", "val_loss", "val_accuracy"):
        assert metrics[name].tolist() == getattr(history, name)
    (info,) = runs.list_runs(tmp_path)
    assert (info.state, info.live, info.step, info.epochs, info.run) == ("finished", False, 150, 6, prepared.run)
    assert info.val_accuracy == history.val_accuracy[-1] and info.error == ""
    network = fnn.load(runs.checkpoints(path)[-1][1])  # a checkpoint is a network's file, too
    assert network.parameters.tobytes() == prepared.network.parameters.tobytes()


@pytest.mark.parametrize("run", [RUN, SGD, MASKED], ids=["adam", "sgd", "masked"])
@pytest.mark.parametrize("stop_at", [1, 60, 75])
def test_a_run_that_was_stopped_goes_on_with_the_same_bits(run: RunFile, stop_at: int, tmp_path: Path) -> None:
    straight, _ = whole(run, tmp_path / "a")
    prepared = runfile.build(run)
    folder = RunFolder.create(prepared.run, tmp_path / "b")
    last = train(prepared, folder, run.epochs, most_steps=7, stop_at=stop_at)
    assert last.state == "stopped" and stop_at <= last.step < 150
    folder, prepared = runs.resume(folder.path)
    assert prepared.trainer.current_step == last.step
    train(prepared, folder, run.epochs - prepared.trainer.epoch, most_steps=11)
    same(straight, folder.path)


def test_going_back_takes_away_what_came_after(tmp_path: Path) -> None:
    prepared = runfile.build(RUN)
    trainer = prepared.trainer
    folder = RunFolder.create(prepared.run, tmp_path)
    trainer.most_steps = 30
    state = None
    for snapshot in trainer.run(6):
        folder.follow(trainer, snapshot)
        if snapshot.step >= 60 and state is None:
            state = trainer.keep()
    assert state is not None and state.step < 150
    folder.back(trainer, trainer.restore(state))
    assert runs.read_metrics(folder.path)["epoch"].size == state.step // 25
    assert all(step <= state.step for step, _ in runs.checkpoints(folder.path))
    train(prepared, folder, 6 - trainer.epoch)
    same(folder.path, whole(RUN, tmp_path / "straight")[0])


def test_checkpoints_are_few(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runs, "CHECKPOINT_SECONDS", 0)
    monkeypatch.setattr(runs, "SHARE", 1e9)
    prepared = runfile.build(RUN)
    folder = RunFolder.create(prepared.run, tmp_path)
    train(prepared, folder, 6, most_steps=5)
    steps = [step for step, _ in runs.checkpoints(folder.path)]
    assert len(steps) == runs.MOST_CHECKPOINTS and steps[-1] == 150


def test_a_damaged_checkpoint_is_passed_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runs, "CHECKPOINT_SECONDS", 0)
    monkeypatch.setattr(runs, "SHARE", 1e9)
    prepared = runfile.build(RUN)
    folder = RunFolder.create(prepared.run, tmp_path)
    train(prepared, folder, 6, most_steps=25, stop_at=100)
    (before, _), (step, newest) = runs.checkpoints(folder.path)[-2:]
    newest.write_bytes(newest.read_bytes()[:-3])
    folder, prepared = runs.resume(folder.path)
    assert prepared.trainer.current_step == before < step and not newest.exists()
    assert "is passed over" in (folder.path / "log.txt").read_text()
    train(prepared, folder, 6 - prepared.trainer.epoch)
    same(folder.path, whole(RUN, tmp_path / "straight")[0])


def test_a_run_without_a_checkpoint_begins_again(tmp_path: Path) -> None:
    prepared = runfile.build(RUN)
    folder = RunFolder.create(prepared.run, tmp_path)
    (folder.path / "metrics.csv").write_text("head\n1,25,0.5,,,,0.1,1\n2,50,0.4")
    folder.close(prepared.trainer, prepared.trainer.look())
    for _, file in runs.checkpoints(folder.path):
        file.unlink()
    folder, prepared = runs.resume(folder.path)
    assert prepared.trainer.current_step == 0
    train(prepared, folder, 6)
    same(folder.path, whole(RUN, tmp_path / "straight")[0])


def fewer_layers(path: Path) -> None:
    (path / "config.toml").write_text((path / "config.toml").read_text().replace("[8]", "[5]"))


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (fewer_layers, "expected one of this run, or no checkpoint to begin again"),
        (lambda path: (path / "metrics.csv").unlink(), "metrics.csv: cannot be read"),
        (lambda path: (path / "log.txt").mkdir(), ""),
    ],
    ids=["config", "metrics", "log"],
)
def test_a_damaged_folder_stays_as_it_was(damage: Callable[[Path], Any], reason: str, tmp_path: Path) -> None:
    path, _ = whole(RUN, tmp_path)
    damage(path)
    before = {file: file.read_bytes() for file in path.rglob("*") if file.is_file()}
    if reason:
        for _ in range(2):  # the lock is let go of
            with pytest.raises(DataError, match=reason):
                runs.resume(path)
        assert {file: file.read_bytes() for file in path.rglob("*") if file.is_file()} == before
    else:  # a log that cannot be written ends no training
        folder, prepared = runs.resume(path)
        assert train(prepared, folder, 1).state == "finished"
        folder.note("finished")
        assert "log.txt" in folder.problem


def test_a_line_cut_short_is_left_out(tmp_path: Path) -> None:
    path, _ = whole(RUN, tmp_path)
    with open(path / "metrics.csv", "a") as file:
        file.write("7,175,0.1")
    assert runs.read_metrics(path)["epoch"].tolist() == [1, 2, 3, 4, 5, 6]
    (path / "metrics.csv").write_text("head\n1,2\n1,2,3\n")
    with pytest.raises(DataError, match=r"metrics.csv: cannot be read"):
        runs.read_metrics(path)


KILLED = """
import sys
from pathlib import Path
from fastnn import runfile, runs
runs.CHECKPOINT_SECONDS, runs.SHARE = 0.05, 1e9
prepared = runfile.build(runfile.RunFile(data="moons", layers=(8,), epochs=10**6, seed=3))
folder = runs.RunFolder.create(prepared.run, Path(sys.argv[1]))
print(folder.path, flush=True)
for snapshot in prepared.trainer.run(10**6):
    folder.follow(prepared.trainer, snapshot)
"""


def test_a_kill_leaves_a_run_that_goes_on(tmp_path: Path) -> None:
    with start(KILLED, str(tmp_path), folder=tmp_path, environment={}, stdout=subprocess.PIPE, text=True) as process:
        path = Path(process.stdout.readline().strip())
        end = time.monotonic() + 120
        while len(runs.checkpoints(path)) < 3:
            assert time.monotonic() < end and process.poll() is None
            time.sleep(0.01)
        (info,) = runs.list_runs(tmp_path)
        assert info.live and info.state == "running"
        with pytest.raises(DataError, match="is open"):
            runs.delete(path)
        with pytest.raises(DataError, match="is open already"):
            runs.resume(path)
        process.kill()
        process.wait()
    (info,) = runs.list_runs(tmp_path)
    assert (info.state, info.live) == ("interrupted", False) and info.step > 0
    folder, prepared = runs.resume(path)
    done = prepared.trainer.epoch
    assert done > 0 and len(runs.read_metrics(path)["epoch"]) == done
    straight = runfile.build(prepared.run)
    assert list(straight.trainer.run(done))
    assert straight.trainer.history == prepared.trainer.history
    folder.close(prepared.trainer, prepared.trainer.look())


def test_a_full_disk_does_not_end_the_training(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    prepared = runfile.build(RUN)
    folder = RunFolder.create(prepared.run, tmp_path)

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(runs, "replace_file", full)
    last = train(prepared, folder, 6)
    assert last.state == "finished" and "No space left" in folder.problem
    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(DataError, match="a folder for the run cannot be made"):
        RunFolder.create(prepared.run, tmp_path / "another")
    assert list((tmp_path / "another").iterdir()) == []


def test_the_list_shows_damaged_runs_and_passes_over_the_rest(tmp_path: Path) -> None:
    assert runs.list_runs(tmp_path / "nowhere") == []
    path, _ = whole(RUN, tmp_path)
    (tmp_path / "a file").write_text("")
    (tmp_path / "another folder").mkdir()
    (tmp_path / ".new-abc").mkdir()
    assert [info.name for info in runs.list_runs(tmp_path)] == [path.name]
    (path / "run.json").write_text("{")
    (info,) = runs.list_runs(tmp_path)
    assert info.state == "damaged" and info.error and info.run is not None
    (path / "config.toml").write_text("epochs = many")
    (info,) = runs.list_runs(tmp_path)
    assert info.state == "damaged" and info.run is None and "config.toml" in info.error


def test_deleting(tmp_path: Path) -> None:
    path, _ = whole(RUN, tmp_path)
    other = tmp_path / "documents"
    other.mkdir()
    with pytest.raises(DataError, match="no run is kept there"):
        runs.delete(other)
    runs.delete(path)
    assert list(tmp_path.iterdir()) == [other]


def test_the_root_is_where_the_environment_says(tmp_path: Path) -> None:
    assert runs.default_root({"FASTNN_RUNS": str(tmp_path)}) == tmp_path
    assert runs.default_root({}).parts[-2:] == ("fastnn", "runs")


# ---- the command line ------------------------------------------------------------------------------------------------


def told(capsys: pytest.CaptureFixture[str]) -> Any:
    return json.loads(capsys.readouterr().out)


def test_a_run_is_not_gone_on_with_over_other_data(tmp_path: Path) -> None:
    points = tmp_path / "points.csv"
    points.write_text("x,y,label\n" + "".join(f"{i % 3},{i % 5},{i % 2}\n" for i in range(40)))
    path, _ = whole(replace(RUN, data=str(points), epochs=1), tmp_path / "runs")
    runs.resume(path)[0]._lock.release()
    points.write_text(points.read_text().replace("2,", "1,"))
    with pytest.raises(DataError, match=rf"points\.csv: has changed since {path.name} was trained on it"):
        runs.resume(path)
    points.unlink()
    with pytest.raises(DataError, match=r"points\.csv: no such file"):
        runs.resume(path)


def test_the_command_line_keeps_and_resumes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("FASTNN_RUNS", str(tmp_path))
    options = ["train", "--data", "moons", "--layers", "8", "--json"]
    assert main([*options, "--epochs", "6"]) == 0
    straight = told(capsys)
    assert main([*options, "--epochs", "3"]) == 0
    half = told(capsys)["folder"]
    assert main(["train", "--resume", half, "--json"]) == 0  # a finished run: as many epochs again
    assert told(capsys)["history"] == straight["history"]
    assert main([*options, "--epochs", "1", "--no-keep"]) == 0
    assert told(capsys)["folder"] is None and len(runs.list_runs(tmp_path)) == 2
    prepared = runfile.build(RunFile(data="moons", layers=(8,), epochs=6))
    folder = RunFolder.create(prepared.run, tmp_path)
    train(prepared, folder, 6, most_steps=1, stop_at=60)  # in the third epoch
    assert main(["train", "--resume", str(folder.path), "--json"]) == 0  # a run that was stopped: to its end
    assert told(capsys)["history"] == straight["history"]
    assert main(["train", "--resume", half, "--epochs", "3"]) == 2
    assert "resume: given with epochs" in capsys.readouterr().err
    assert main(["train", "--resume", str(tmp_path)]) == 2
    assert "no run is kept there" in capsys.readouterr().err


LONG = "import sys; from fastnn.cli import main; sys.exit(main())"


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="sends SIGINT")
def test_ctrl_c_leaves_a_run_that_goes_on(tmp_path: Path, python: Callable[..., tuple[str, str]]) -> None:
    options = ["train", "--data", "moons", "--layers", "8", "--epochs", "1000000"]
    environment = {"FASTNN_RUNS": str(tmp_path)}
    with start(LONG, *options, folder=tmp_path, environment=environment, stderr=subprocess.PIPE, text=True) as process:
        for line in process.stderr:
            if line.startswith("epoch "):
                break
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=60)
    (info,) = runs.list_runs(tmp_path)
    assert (process.returncode, info.state) == (130, "stopped")
    folder, prepared = runs.resume(info.path)
    assert prepared.trainer.current_step == info.step > 0
    assert np.isfinite(prepared.network.parameters).all()
    folder.close(prepared.trainer, prepared.trainer.look())
