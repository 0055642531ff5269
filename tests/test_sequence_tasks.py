"""Recurrent networks learn what they are for: digits row by row, sums over many steps, the next character."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import fastnn as fnn
from fastnn import cli, runfile
from fastnn.errors import DataError
from fastnn.runfile import RunFile

VERSE = "the rain in spain stays mainly in the plain; " * 60


@pytest.mark.parametrize("layer", [fnn.Recurrent(32), fnn.GRU(24), fnn.LSTM(24)], ids=["recurrent", "gru", "lstm"])
def test_digits_row_by_row(layer: fnn.Recurrent) -> None:
    data = fnn.datasets.load("digits")
    net = fnn.Network([fnn.Input(8, steps=8), layer, fnn.Dense(10)], seed=0)
    net.fit(data.x_train, data.y_train, optimizer=fnn.Adam(5e-3, clip=1.0), epochs=25, batch_size=32)
    assert net.evaluate(data.x_test, data.y_test)["accuracy"] > 0.94


def test_a_gru_adds_what_is_steps_apart() -> None:
    data = fnn.datasets.load_adding(steps=12, samples=3000)
    net = fnn.Network([fnn.Input(2), fnn.GRU(16), fnn.Dense(1)], seed=0)
    net.fit(data.x_train, data.y_train, loss="mse", optimizer=fnn.Adam(1e-2, clip=1.0), epochs=25)
    # Answering the mean has an error of 1/6.
    assert net.evaluate(data.x_test, data.y_test)["loss"] < 0.01


def test_the_next_character_from_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "verse.txt").write_text(VERSE)
    options = ["--cell", "lstm", "--layers", "24", "--init", "xavier", "--lr", "0.02", "--clip", "1"]
    options += ["--epochs", "30", "--no-keep", "--json"]
    assert cli.main(["train", "--data", str(tmp_path / "verse.txt"), *options]) == 0
    result = json.loads(capsys.readouterr().out)
    assert result["test_accuracy"] > 0.85
    assert result["config"]["cell"] == "lstm" and result["config"]["layers"] == [14, 24, 14]


def test_the_adding_problem_from_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Sequences have a GRU unless it is said; a run in two parts has the bits of one in one part."""
    run = RunFile(data="adding", data_options={"steps": 6, "samples": 200}, layers=(8,), epochs=4)
    path = tmp_path / "run.toml"
    path.write_bytes(run.text().encode())

    def trained(*arguments: str) -> dict[str, Any]:
        assert cli.main(["train", *arguments, "--json"]) == 0
        return json.loads(capsys.readouterr().out)

    whole, half = trained(str(path)), trained(str(path), "--epochs", "2")
    assert (whole["config"]["cell"], whole["config"]["loss"]) == ("gru", "mse")
    assert trained("--resume", half["folder"])["history"] == whole["history"]
    assert trained("--data", "adding", "--epochs", "1", "--no-keep")["config"]["layers"] == [2, 32, 1]


def test_a_run_file_names_its_cell(tmp_path: Path) -> None:
    (tmp_path / "run.toml").write_text('data = "digits"\ncell = "recurrent"\nactivation = "tanh"\nlayers = [6, 5]\n')
    run = runfile.read(tmp_path / "run.toml")
    network = runfile.build(run).network
    assert [type(layer) for layer in network.dense] == [fnn.Recurrent, fnn.Recurrent, fnn.Dense]
    assert network.architecture.loops[0].sequences and not network.architecture.loops[1].sequences
    assert runfile.RunFile.from_table(run.table()) == run


@pytest.mark.parametrize(
    ("run", "message"),
    [
        (RunFile(cell="grü"), "cell: unknown name 'grü'; did you mean 'gru'"),
        (RunFile(data="moons", cell="gru"), "cell: 'gru' for moons, whose rows are neither sequences nor images"),
        (RunFile(cell="lstm", layers=()), "layers: none; expected at least one for the cell 'lstm'"),
    ],
)
def test_cells_that_do_not_fit(run: RunFile, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        runfile.build(run)


def test_text_needs_a_cell(tmp_path: Path) -> None:
    (tmp_path / "verse.txt").write_text(VERSE)
    with pytest.raises(
        ValueError, match="cell: 'dense' for verse, which are sequences; expected one of recurrent, gru"
    ):
        runfile.build(RunFile(data=str(tmp_path / "verse.txt"), cell="dense"))
    with pytest.raises(DataError, match="no such file"):
        runfile.build(RunFile(data=str(tmp_path / "nothing.txt"), cell="gru"))
