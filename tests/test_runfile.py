"""Run files: what is written reads back as it was, what does not fit is named, and the command line trains them."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import fastnn as fnn
from fastnn import runfile
from fastnn.cli import main
from fastnn.errors import DataError
from fastnn.runfile import RunFile

FULL = RunFile(
    data="spirals", data_options={"noise": 0.15, "classes": 4, "samples": 200}, layers=(16, 8), activation="tanh",
    init="xavier", loss="cross_entropy", optimizer="sgd",
    optimizer_options={"lr": 1e-05, "momentum": 0.9, "nesterov": True},
    batch_size=16, epochs=3, seed=7, dtype="float64", shuffle=False,
)  # fmt: skip


MASKED = RunFile(
    layers=(36, 16), masks=({"kind": "window", "size": [3, 3], "units": [6, 6]}, {"kind": "random", "density": 0.2}),
    epochs=2, seed=4,
)  # fmt: skip


@pytest.mark.parametrize("run", [RunFile(), FULL, MASKED, RunFile(layers=()), RunFile(data="a b/ü\\\"\x7f'.csv")])
def test_what_is_written_reads_back(run: RunFile, tmp_path: Path) -> None:
    path = tmp_path / "run.toml"
    path.write_bytes(run.text().encode())
    again = runfile.read(path)
    if run.data.endswith("csv"):  # a path is made absolute, as seen from the file
        assert again.data == str(tmp_path / run.data)
    else:
        assert again == run


def test_the_prepared_run_leaves_nothing_open() -> None:
    prepared = runfile.build(RunFile(data="moons", layers=(4,), optimizer="sgd"))
    run = prepared.run
    assert (run.loss, run.batch_size, run.optimizer_options["lr"]) == ("cross_entropy", 32, 0.1)
    assert RunFile.from_table(run.table()) == run
    assert prepared.network.sizes == (2, 4, 2)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("epoch = 3", "unknown name 'epoch'; did you mean 'epochs'?"),
        ("epochs = 0", "epochs: 0 is out of range"),
        ("epochs = 2.5", "epochs: expected an integer, got 2.5"),
        ("layers = 64", "layers: 64; expected a list of sizes"),
        ('layers = ["64"]', "layers: expected an integer, got '64'"),
        ("data = {}", "data.name: ''; expected a name"),
        ("optimizer = 3", "optimizer: 3; expected a name"),
        ('shuffle = "no"', "shuffle: 'no'; expected true or false"),
        ("seed = -1", "seed: -1 is out of range"),
        ("data = ", "cannot be read as TOML"),
        ("activation = ''", "activation: ''; expected a name"),
        ('masks = { kind = "full" }', "expected a list of tables such as [{"),
    ],
)
def test_a_key_that_does_not_fit_is_named_with_the_file(text: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "run.toml"
    path.write_text(text)
    with pytest.raises(DataError) as caught:
        runfile.read(path)
    assert str(caught.value).startswith(f"{path}: ") and message in str(caught.value)


def test_no_file_and_no_text(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such file; expected a run in TOML"):
        runfile.read(tmp_path / "run.toml")
    (tmp_path / "run.toml").write_bytes(b"data = '\xff'")
    with pytest.raises(DataError, match="cannot be read as TOML"):
        runfile.read(tmp_path / "run.toml")
    if hasattr(os, "mkfifo"):
        os.mkfifo(tmp_path / "pipe.toml")  # whoever reads it waits for a writer
        with pytest.raises(DataError, match=r"pipe\.toml: not a file; expected a run in TOML"):
            runfile.read(tmp_path / "pipe.toml")


@pytest.mark.parametrize(
    ("run", "message"),
    [
        (RunFile(data="moon"), "did you mean 'moons'"),
        (RunFile(data="moons", data_options={"nois": 1}), "did you mean 'noise'"),
        (RunFile(optimizer="sdg"), "did you mean 'sgd'"),
        (RunFile(optimizer_options={"momentum": 0.9}), "momentum: 0.9, but it is no setting of the optimizer adam"),
        (RunFile(activation="rely"), "did you mean 'relu'"),
        (RunFile(dtype="float16"), "float16"),
        (RunFile(loss="mes"), "did you mean 'mse'"),
        (RunFile(layers=(8, 4, 2), masks=MASKED.masks), "masks: 2 for 3 hidden layers; expected one for each, or one"),
        (RunFile(layers=(), masks=MASKED.masks[:1]), "masks: 1 for 0 hidden layers"),
        (RunFile(masks=({"density": 0.5},)), r"masks\[0\]: kind: none given; expected one of full, random"),
        (RunFile(masks=({"kind": "randon"},)), r"masks\[0\]: kind: unknown name 'randon'; did you mean 'random'"),
        (RunFile(masks=({"kind": "random"},)), r"masks\[0\]: density: none given for the kind 'random'"),
        (RunFile(masks=({"kind": "random", "density": 2},)), r"masks\[0\]: density: 2 is out of range"),
        (RunFile(masks=({"kind": "random", "size": 2},)), r"masks\[0\]: settings of random: unknown name 'size'"),
        (RunFile(masks=({"kind": "window", "size": 65},)), r"masks\[0\]: size: 65 is out of range"),
        (RunFile(masks=({"kind": "window", "size": [3, 3]},)), r"masks\[0\]: units: none given; expected rows and"),
        (RunFile(masks=({"kind": "window", "size": [3, 3], "units": [5, 6]},)), "columns of the layer's 32 units"),
        (RunFile(data="moons", masks=({"kind": "window", "size": [1, 1], "units": [4, 8]},)), "inputs: none given"),
        (RunFile(masks=({"kind": "window", "size": [9, 3], "units": [4, 8]},)), r"masks\[0\]: size: 9 is out of range"),
        (RunFile(cell="gru", masks=MASKED.masks[:1]), "masks: given for the cell 'gru'; expected none"),
    ],
)
def test_building_names_what_does_not_fit(run: RunFile, message: str) -> None:
    with pytest.raises((ValueError, TypeError), match=message):
        runfile.build(run)


def test_masks_of_a_run_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path, saved = tmp_path / "run.toml", str(tmp_path / "net.safetensors")
    path.write_bytes(MASKED.text().encode())
    result = trained(capsys, str(path), "--save", saved)
    assert trained(capsys, str(path))["history"] == result["history"]
    network = fnn.load(saved)
    wanted = fnn.masks.window((8, 8), (6, 6), (3, 3)), fnn.masks.random(36, 16, 0.2, seed=5)
    for view, mask in zip(network.layers, wanted, strict=False):
        assert np.array_equal(view.weight != 0, mask)
    line = replace(MASKED, masks=({"kind": "window", "size": 3}, {"kind": "full"}))
    first, second, _ = runfile.build(line).network.layers
    assert np.array_equal(first.weight != 0, fnn.masks.window(64, 36, 3)) and (second.weight != 0).all()
    one = runfile.build(replace(MASKED, layers=(8, 8), masks=({"kind": "random", "density": 0.5, "seed": 9},)))
    assert np.array_equal(one.network.layers[1].weight != 0, fnn.masks.random(8, 8, 0.5, seed=9))


def test_a_relative_path_begins_at_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "points.csv").write_text("x,y,label\n" + "".join(f"{i % 3},{i % 5},{i % 2}\n" for i in range(40)))
    (tmp_path / "run.toml").write_text('data = { name = "points.csv", label = "label" }\nepochs = 1\n')
    monkeypatch.chdir("/")
    run = runfile.read(tmp_path / "run.toml")
    assert run.data == str(tmp_path / "points.csv") and run.data_options == {"label": "label"}
    assert runfile.build(run).data.n_classes == 2


def trained(capsys: pytest.CaptureFixture[str], *arguments: str) -> dict:
    assert main(["train", *arguments, "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def test_the_command_line_trains_a_run_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "run.toml"
    path.write_bytes(FULL.text().encode())
    result = trained(capsys, str(path))
    assert result["config"] == FULL.table() | {
        "data": "spirals", "layers": [2, 16, 8, 4], "cell": "dense", "threads": None,
        "optimizer": {"name": "sgd", **FULL.optimizer_options, "weight_decay": 0.0, "clip": 0.0},
    }  # fmt: skip
    assert trained(capsys, str(path))["history"] == result["history"]
    assert runfile.read(Path(result["folder"]) / "config.toml") == runfile.build(FULL).run


def test_options_come_before_the_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "run.toml"
    path.write_bytes(FULL.text().encode())
    config = trained(capsys, str(path), "--epochs", "1", "--lr", "0.02", "--layers", "4")["config"]
    assert config["optimizer"] | {"lr": 0.02, "momentum": 0.9} == config["optimizer"]
    assert (config["epochs"], config["layers"], config["seed"]) == (1, [2, 4, 4], 7)
    config = trained(capsys, str(path), "--epochs", "1", "--optimizer", "adam", "--data", "moons")["config"]
    assert (config["optimizer"]["name"], config["optimizer"]["lr"], config["data"]) == ("adam", 1e-3, "moons")
