"""The README's examples run as they are printed there."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

README = Path(__file__).parents[1] / "README.md"


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", README.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)


def test_the_script_examples(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {}
    for block in blocks("python"):
        exec(compile(block, str(README), "exec"), names)
    assert "accuracy" in capsys.readouterr().out
    assert (tmp_path / "digits.safetensors").exists()


def test_the_command_lines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from fastnn.cli import main
    from fastnn.runs import list_runs

    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("FASTNN_RUNS", str(tmp_path / "runs"))
    (run_file,) = blocks("toml")
    (tmp_path / "run.toml").write_text(run_file, encoding="utf-8")
    (tmp_path / "book.txt").write_text("Call me Ishmael. " * 60, encoding="utf-8")
    main(["train", "run.toml"])
    (kept,) = [info.path for info in list_runs() if info.run and info.run.seed == 1]
    lines = [shlex.split(line, comments=True) for block in blocks("sh") for line in block.splitlines()]
    trainings = [line[1:] for line in lines if line[:2] == ["fastnn", "train"]]
    assert len(trainings) >= 3
    for arguments in trainings:
        assert main([str(kept) if word == "FOLDER" else word for word in arguments]) == 0, arguments
    assert (tmp_path / "moons.safetensors").exists()


def test_installing_and_testing_take_one_line_each() -> None:
    lines = [line.partition("#")[0].strip() for block in blocks("sh") for line in block.splitlines()]
    assert lines.count("pip install . && fastnn") == 1
    assert lines.count("pip install '.[test]' && pytest") == 1
