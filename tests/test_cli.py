"""The command line: what it prints where, its exit codes, and one line for every error a caller can cause."""

from __future__ import annotations

import errno
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from fastnn import checkpoint, datasets, runfile
from fastnn.cli import _ctrl_c, main
from fastnn.progress import open_progress
from fastnn.snapshots import Snapshot
from fastnn.version import __version__

FASTNN = [sys.executable, "-c", "import sys; from fastnn.cli import main; sys.exit(main())"]
QUICK = ["train", "--data", "moons", "--layers", "8", "--epochs", "2"]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    """Run the command line in this process: (exit code, standard output, standard error)."""

    def run(*arguments: str) -> tuple[int, str, str]:
        try:
            code = main(arguments)
        except SystemExit as end:
            code = int(str(end.code))
        return code, *capsys.readouterr()

    return run


Runner = Callable[..., tuple[int, str, str]]


# ---- without training ------------------------------------------------------------------------------------------------


def test_version(run: Runner) -> None:
    code, out, err = run("--version")
    assert (code, err) == (0, "")
    words = out.replace(",", "").split()
    assert words[::2] == ["fastnn", "numba", "numpy", "python"]
    assert words[1] == __version__ and words[5] == np.__version__


@pytest.mark.parametrize("arguments", [["--version"], ["--help"]])
def test_version_and_help_import_nothing_heavy(arguments: list[str]) -> None:
    script = f"""
import contextlib, sys
from fastnn.cli import main
with contextlib.suppress(SystemExit), contextlib.redirect_stdout(None):
    main({arguments})
print(sorted({{"numba", "numpy", "textual", "rich", "safetensors", "tui"}} & set(sys.modules)))
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_help_lists_options_and_the_registries_names(run: Runner) -> None:
    from fastnn.activations import ACTIVATIONS
    from fastnn.datasets import DATASETS
    from fastnn.initializers import INITIALIZERS
    from fastnn.losses import LOSSES
    from fastnn.optimizers import OPTIMIZERS

    code, out, err = run("train", "--help")
    assert (code, err) == (0, "")
    for option in (
        "--data",
        "--layers",
        "--epochs",
        "--optimizer",
        "--lr",
        "--batch-size",
        "--seed",
        "--save",
        "--json",
    ):
        assert option in out
    for name in (*DATASETS, *ACTIVATIONS, *INITIALIZERS, *LOSSES, *OPTIMIZERS):
        assert name in out
    code, out, err = run("warmup", "--help")
    assert "--dtype" in out and "names:" not in out
    code, out, err = run("--help")
    assert (code, err) == (0, "") and "train" in out


def test_the_ui_needs_a_terminal(run: Runner, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TEXTUAL_DRIVER", raising=False)
    monkeypatch.setattr("tui.app.main", lambda arguments: 0)
    for redirected, given in (("stdin", []), ("stdout", ["--theme", "light"]), ("stderr", ["--theme=light"])):
        for name in ("stdin", "stdout", "stderr"):
            monkeypatch.setattr(getattr(sys, name), "isatty", lambda there=name != redirected: there)
        code, out, err = run(*given)
        assert (code, out) == (2, "")
        assert err.startswith("fastnn: the terminal UI needs a terminal for standard input, output and error;")


def test_python_m_tui_needs_a_terminal_too(environment: dict[str, str]) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tui"], stdin=subprocess.DEVNULL, capture_output=True, text=True, env=environment,
        timeout=60,
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (2, "") and "needs a terminal" in done.stderr


# ---- training --------------------------------------------------------------------------------------------------------


def test_a_training_ends_with_accuracy_and_seconds(run: Runner) -> None:
    code, out, _ = run(*QUICK)
    assert code == 0
    assert out.startswith("test accuracy ") and out.count("\n") == 1
    assert " after 2 epochs (50 steps) in " in out and out.endswith(" s\n")


def test_json_is_one_object_with_everything(run: Runner, tmp_path: Path) -> None:
    path = str(tmp_path / "net.safetensors")
    code, out, _ = run(*QUICK, "--layers", "8,4", "--optimizer", "sgd", "--momentum", "0.5", "--json", "--save", path)
    result = json.loads(out)
    assert code == 0
    assert result["config"] == {
        "data": "moons",
        "layers": [2, 8, 4, 2],
        "activation": "relu",
        "init": "he",
        "loss": "cross_entropy",
        "cell": "dense",
        "optimizer": {"name": "sgd", "lr": 0.1, "momentum": 0.5, "nesterov": False, "weight_decay": 0.0, "clip": 0.0},
        "epochs": 2,
        "batch_size": 32,
        "seed": 0,
        "threads": None,
        "dtype": "float32",
        "shuffle": True,
    }
    assert runfile.read(Path(result["folder"]) / "config.toml").layers == (8, 4)
    assert {name: len(values) for name, values in result["history"].items()} == {
        "loss": 2,
        "accuracy": 2,
        "val_loss": 2,
        "val_accuracy": 2,
    }
    assert result["state"] == "finished" and result["steps"] == 50 and result["saved"] == path
    assert result["test_accuracy"] == result["history"]["val_accuracy"][-1]
    assert result["seconds"] > 0 and result["samples_per_second"] > 0
    assert set(result["versions"]) == {"fastnn", "numba", "numpy", "python"}
    assert checkpoint.read(path)[1].size == 2 * 8 + 8 + 8 * 4 + 4 + 4 * 2 + 2


def test_the_same_seed_gives_the_same_numbers_with_any_threads(run: Runner) -> None:
    def history(*arguments: str) -> object:
        return json.loads(run(*QUICK, "--json", *arguments)[1])["history"]

    first = history("--seed", "5")
    assert history("--seed", "5", "--threads", "2") == first
    assert history("--seed", "6") != first


def test_numbers_are_a_regression(run: Runner, tmp_path: Path) -> None:
    x = np.linspace(-1, 1, 40)
    table = tmp_path / "line.csv"
    table.write_text("y,x\n" + "".join(f"{0.5 * v + 0.01},{v}\n" for v in x))
    code, out, _ = run(
        "train", "--data", str(table), "--label", "y", "--layers", "none", "--lr", "0.1", "--epochs", "60"
    )
    assert code == 0
    assert out.startswith("test loss ")
    assert float(out.split()[2]) < 1e-3


def test_a_file_of_whole_numbers(run: Runner, tmp_path: Path) -> None:
    table = tmp_path / "whole.csv"
    table.write_text("y,x\n" + "".join(f"{v % 37},{1000 + v}\n" for v in range(40)))
    command = ["train", "--data", str(table), "--label", "y", "--layers", "none", "--epochs", "1"]
    code, _, err = run(*command)
    assert code == 2 and "the option task set to one of classification, regression" in err
    losses = [run(*command, "--task", "regression", *more)[1] for more in ([], ["--standardize"])]
    assert all(" after 1 epoch (1 step) in " in out for out in losses)
    raw, standardized = (float(out.split()[2]) for out in losses)
    assert standardized < raw / 10  # with x of a thousand, weights of about 1 are far off


def test_a_loss_that_is_not_finite_is_null(run: Runner, tmp_path: Path) -> None:
    table = tmp_path / "numbers.csv"
    lines = [f"{row},{row / 64 + 0.001}\n" for row in range(40)]
    table.write_text("".join(lines))
    row = int(datasets.load(table).x_test[0, 0])
    lines[row] = f"{row},1e30\n"  # its square is no float32
    table.write_text("".join(lines))
    code, out, _ = run("train", "--data", str(table), "--layers", "none", "--epochs", "1", "--json")
    assert code == 0 and json.loads(out)["test_loss"] is None and json.loads(out)["history"]["val_loss"] == [None]


def test_fewer_rows_than_a_batch(run: Runner, tmp_path: Path) -> None:
    np.save(tmp_path / "few.npy", np.array([[0, 0, 0], [0, 1, 1], [1, 0, 1], [1, 1, 0], [1, 0, 1]], np.float64))
    code, out, _ = run("train", "--data", str(tmp_path / "few.npy"), "--layers", "4", "--epochs", "3", "--json")
    assert code == 0
    assert json.loads(out)["config"]["batch_size"] <= 4


# ---- errors: exit code 2, one line, nothing on standard output -------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["trian"], "unknown command or option 'trian'; did you mean train?"),
        (["--thme", "light"], "unknown command or option '--thme'; did you mean --theme?"),
        (["--data", "mnist"], "--data: goes after a command, as in `fastnn train --data`"),
        (["train", "--epoch", "3"], "unknown argument '--epoch'; did you mean --epochs?"),
        (["train", "digits"], "run: 'digits'; expected a run file (.toml); a data set goes after --data"),
        (["train", "--epochs"], "--epochs: expected one argument"),
        (["train", "--epochs", "x"], "--epochs: invalid int value: 'x'"),
        (["train", "--epochs", "0"], "epochs: 0 is out of range; expected 1 or more"),
        (["train", "--epochs", "1.5"], "--epochs: invalid int value: '1.5'"),
        (["train", "--layers", "3,x"], "--layers: '3,x': expected sizes like 64 or 128,64"),
        (["train", "--layers", ""], "--layers: '': expected sizes"),
        (["train", "--layers", "8,0"], "layers"),
        (["train", "--layers=-5"], "layers"),
        (
            ["train", "--layers", "1000000000000"],
            "layers: (64, 1000000000000, 10) have 75,000,000,000,010 parameters; at most",
        ),
        (["train", "--data", "digit"], "unknown name 'digit'; did you mean 'digits'?"),
        (["train", "--data", "nowhere.csv"], "nowhere.csv: no such file"),
        (["train", "--data", ""], "data: unknown name ''"),
        (["train", "--data", "x" * 300 + ".csv"], "x.csv: no such file or folder; expected a .csv"),
        (["train", "--label", "y"], "options of digits: unknown name 'label'"),
        (["train", "--activation", "rleu"], "activation: unknown name 'rleu'; did you mean 'relu'?"),
        (["train", "--cell", "gru", "--activation", "relu"], "activation: 'relu' for the cell 'gru'; expected none"),
        (["train", "--data", "adding", "--activation", "tanh"], "activation: 'tanh' for the cell 'gru'"),
        (["train", "--init", "hee"], "init: unknown name 'hee'; did you mean 'he'?"),
        (["train", "--loss", "msee"], "loss: unknown name 'msee'; did you mean 'mse'?"),
        (["train", "--optimizer", "adams"], "optimizer: unknown name 'adams'; did you mean 'adam'?"),
        (["train", "--optimizer", "adam", "--momentum", "0.9"], "momentum: 0.9, but it is no setting of the optimizer"),
        (["train", "--optimizer", "sgd", "--momentum", "1.5"], "momentum: 1.5 is out of range"),
        (["train", "--optimizer", "sgd", "--nesterov"], "nesterov: True with momentum 0"),
        (["train", "--lr", "nan"], "lr: nan is out of range"),
        (["train", "--lr", "-1"], "lr: -1.0 is out of range"),
        (["train", "--clip", "nan"], "clip: nan is out of range; expected a finite number in [0, inf)"),
        (["train", "--batch-size", "0"], "batch_size: 0 is out of range"),
        (["train", "--batch-size", "99999"], "batch_size: 99999"),
        (["train", "--seed", "-1"], "seed: -1 is out of range"),
        (["train", "--threads", "0"], "threads: 0 is out of range"),
        (["train", "--dtype", "float16"], "dtype: "),
        (["train", "--save", "no/such/folder/net"], "there is no folder"),
        (["train", "--save", "."], "is a folder"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_bad_input(run: Runner, arguments: list[str], message: str) -> None:
    code, out, err = run(*arguments)
    assert code == 2
    assert out == ""
    assert err.startswith("fastnn: ") and err.count("\n") == 1, err
    assert message in err


def test_a_damaged_table_names_file_and_line(run: Runner, tmp_path: Path) -> None:
    path = tmp_path / "bad.csv"
    path.write_text("1,2,0\n3,nan,1\n")
    code, out, err = run("train", "--data", str(path))
    assert (code, out) == (2, "") and err.count("\n") == 1
    assert "bad.csv" in err and "line 2" in err


def test_an_error_of_a_run_file_names_it_unless_an_option_may_have_caused_it(run: Runner, tmp_path: Path) -> None:
    path = tmp_path / "masked.toml"
    path.write_text('masks = [{ kind = "random", density = 2.0 }]')
    reason = "masks[0]: density: 2.0 is out of range; expected a finite number in (0, 1]\n"
    assert run("train", str(path)) == (2, "", f"fastnn: {path}: {reason}")
    assert run("train", str(path), "--seed", "1") == (2, "", f"fastnn: {reason}")


def test_divergence_names_epoch_and_step_and_saves_nothing(run: Runner, tmp_path: Path) -> None:
    path = tmp_path / "net.safetensors"
    code, out, err = run(
        *QUICK, "--loss", "mse", "--activation", "identity", "--optimizer", "sgd", "--lr", "1e30", "--save", str(path)
    )
    assert (code, out) == (2, "")
    assert "diverged" in err and "epoch 1, step " in err
    assert not path.exists()


# ---- the process -----------------------------------------------------------------------------------------------------


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    return {**os.environ, "COLUMNS": "80", "TERM": "xterm-256color"}


def test_progress_is_on_standard_error_and_json_alone_on_standard_output(environment: dict[str, str]) -> None:
    done = subprocess.run([*FASTNN, *QUICK, "--json"], capture_output=True, text=True, env=environment, timeout=120)
    assert done.returncode == 0
    assert json.loads(done.stdout)["state"] == "finished"
    assert "\r" not in done.stderr and "\x1b" not in done.stderr


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="a device that is always full is Linux's")
@pytest.mark.parametrize("arguments", [["doctor"], ["lab", "network"]], ids=" ".join)
def test_standard_output_that_cannot_be_written(arguments: list[str], environment: dict[str, str]) -> None:
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [*FASTNN, *arguments], stdout=full, stderr=subprocess.PIPE, text=True, env=environment, timeout=120
        )
    assert done.returncode == 2
    assert done.stderr == "fastnn: standard output: cannot be written (No space left on device)\n"


def test_other_files_are_not_taken_for_standard_output(monkeypatch: pytest.MonkeyPatch) -> None:
    def findings() -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("fastnn.doctor.findings", findings)
    with pytest.raises(OSError, match="No space left on device"):
        main(["doctor"])


def test_standard_output_that_was_closed(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(sys, "stdout", None)
    assert main(["lab", "network"]) == 0 and capsys.readouterr().err == ""
    assert main([]) == 2 and "terminal" in capsys.readouterr().err


LONG = ["train", "--data", "digits", "--layers", "64", "--epochs", "1000000"]


@pytest.mark.skipif(os.name != "posix", reason="sends SIGINT")
def test_ctrl_c_stops_and_says_what_was_saved(tmp_path: Path, environment: dict[str, str]) -> None:
    path = tmp_path / "net.safetensors"
    with subprocess.Popen(
        [*FASTNN, *LONG, "--save", str(path)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
    ) as child:
        assert child.stderr is not None
        for line in child.stderr:  # before the first line of progress there may be one of compiling
            if line.startswith("epoch "):
                break
        else:
            pytest.fail("the training ended by itself")
        child.send_signal(signal.SIGINT)
        out, err = child.communicate(timeout=60)
    assert child.returncode == 130
    assert out == ""
    last = err.splitlines()[-1]
    assert last.startswith("fastnn: interrupted in epoch ")
    assert last.endswith(f"; the network so far is saved to {path}")
    checkpoint.read(path)


def test_a_line_of_progress_names_the_epoch_that_has_ended(capsys: pytest.CaptureFixture[str]) -> None:
    lines = open_progress(200, quiet=False)
    lines._next = 0.0
    common = {"epoch": 2, "epochs": 2, "loss": 0.5, "accuracy": None, "val_loss": 0.25, "val_accuracy": None}
    rest = {"learning_rate": 0.1, "samples_per_second": 1.0, "seconds": 1.0, "state": "running", "epoch_ended": True}
    lines.show(Snapshot(step=130, **common, **rest))  # a chunk that ended in the second epoch
    assert capsys.readouterr().err == "epoch 1/2: loss 0.5, test loss 0.25\n"


def test_a_second_ctrl_c_ends_it_at_once() -> None:
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with _ctrl_c() as pressed:
            signal.raise_signal(signal.SIGINT)
            assert pressed.is_set()
            with pytest.raises(KeyboardInterrupt):
                signal.raise_signal(signal.SIGINT)
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    finally:
        signal.signal(signal.SIGINT, before)


@pytest.mark.skipif(os.name != "posix", reason="needs a pseudo-terminal")
def test_the_progress_line_on_a_terminal_is_gone_at_the_end(environment: dict[str, str]) -> None:
    import pexpect

    child = pexpect.spawn(
        FASTNN[0], [*FASTNN[1:], *QUICK, "--epochs", "200"], env=environment, dimensions=(24, 80), encoding="utf-8"
    )
    child.expect(pexpect.EOF, timeout=120)
    text = child.before
    child.close()
    assert child.exitstatus == 0
    assert re.search("epoch [0-9]+/200 .*test accuracy", text)
    assert "\x1b[?25h" in text  # the cursor is shown again
    assert text.rstrip().splitlines()[-1].lstrip("\x1b[2K1A\r").startswith("test accuracy ")
