"""`fastnn lab`: what it prints and writes, and one line for every error a caller can cause."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from short import shorten

from fastnn.cli import main
from fastnn.experiments import EXPERIMENTS

Runner = Callable[..., tuple[int, str, str]]
pytestmark = pytest.mark.xdist_group("experiments")  # whose worker computes them once


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    shorten(monkeypatch)


@pytest.fixture
def lab(capsys: pytest.CaptureFixture[str]) -> Runner:
    """Run `fastnn lab`: (exit code, standard output, standard error but for notices of compiling)."""

    def run(*arguments: str) -> tuple[int, str, str]:
        try:
            code = main(["lab", *arguments])
        except SystemExit as end:
            code = int(str(end.code))
        out, err = capsys.readouterr()
        return code, out, "".join(line for line in err.splitlines(True) if "compiling its kernels" not in line)

    return run


def test_without_a_name_it_lists_them(lab: Runner) -> None:
    code, out, err = lab()
    assert (code, err) == (0, "")
    for entry in EXPERIMENTS.values():
        assert entry.name in out


def test_help_has_every_parameter(lab: Runner) -> None:
    assert lab("--help")[0] == 0
    for name, entry in EXPERIMENTS.items():
        code, out, _ = lab(name, "--help")
        assert code == 0
        for parameter in entry.parameters:
            assert f"--{parameter.name} VALUE" in out and parameter.help.split("%")[0][:20] in re.sub(r"\s+", " ", out)


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_text(lab: Runner, name: str) -> None:
    code, out, err = lab(name)
    assert (code, err) == (0, "") and EXPERIMENTS[name].title in out and "\x1b" not in out
    assert max(map(len, out.splitlines())) <= 80


def test_the_slides_numbers_are_in_the_text(lab: Runner) -> None:
    assert "0.97959" in lab("outputs")[1] and "0.020621" in lab("cross_entropy")[1]
    rows = [line.split() for line in lab("backpropagation")[1].splitlines()]
    assert ["0.1", "-1.5", "3.1", "-4.4", "7.4"] in rows and ["0.3", "-0.5", "3.3", "0.8", "2.2"] in rows
    assert ["0.5", "0.5", "3.5", "6", "3"] in rows


def test_json(lab: Runner) -> None:
    code, out, _ = lab("outputs", "--json", "--logits", "-1,2,3.5,-4")
    found = json.loads(out)
    assert code == 0 and out.count("\n") == 1
    assert found["parameters"] == {"logits": [-1, 2, 3.5, -4]} and found["result"]["logits"] == [-1, 2, 3.5, -4]
    assert found["title"] == EXPERIMENTS["outputs"].title and found["checks"] == {}
    assert json.loads(lab("backpropagation", "--json")[1])["checks"]


def test_all_as_json_has_every_number(lab: Runner) -> None:
    code, out, err = lab("all", "--json")
    found = json.loads(out)
    assert (code, err) == (0, "") and list(found) == list(EXPERIMENTS)
    assert f"{found['cross_entropy']['result']['rounded']:.6f}" == "0.020621"
    assert found["backpropagation"]["result"]["gradient"] == [5, -2, 1]
    assert found["initialization"]["result"]["width"] == 60


@pytest.mark.parametrize("name", ["partial", "outputs", "backpropagation", "initialization"])  # each kind of part
def test_a_picture_of_each(lab: Runner, name: str, tmp_path: Path) -> None:
    path = tmp_path / f"{name}.svg"
    code, out, err = lab(name, "--plot", str(path))
    assert (code, err) == (0, "") and str(path) in out
    assert "<svg" in path.read_text(encoding="utf-8")[:1000]


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["softmax"], "lab: unknown name 'softmax'; "),
        (["output"], "did you mean 'outputs'?"),
        (["outputs", "--logits", "-5,-1"], "logits: 2 numbers; expected 4"),
        (["outputs", "--logits", "a,b,c,d"], "logits: 'a' is not a number"),
        (["outputs", "--logits", "1,2,3,inf"], "logits: inf is out of range"),
        (["outputs", "--logits"], "expected one argument"),
        (["outputs", "--wrong", "1"], "unknown argument '--wrong'"),
        (["cross_entropy", "--label", "cow"], "label: unknown name 'cow'"),
        (["initialization", "--width", "1"], "width: 1 is out of range"),
        (["initialization", "--width", "many"], "width: 'many' is not a whole number"),
        (
            ["backpropagation", "--formula", "w x"],
            'formula: cannot be read here; expected something like "w * x + b" (column 3, at "x")',
        ),
        (
            ["backpropagation", "--formula", "w / (x - x)", "--values", "w=1,x=2"],
            "formula: division by zero; expected another divisor (column 3",
        ),
        (["backpropagation", "--formula", "x/0"], "formula: division by zero; expected another divisor (column 2"),
        (["backpropagation", "--formula", "a * b"], "values: no value for a; expected such as a = 1"),
        (["backpropagation", "--values", "w = 1"], "values: no value for x, b"),
        (["network", "--sizes", "3"], "sizes: '3'"),
        (["next_character", "--file", "nowhere.txt"], "file: nowhere.txt: cannot be read as UTF-8 text (No such file"),
        (["all", "--plot", "x.png"], "unknown argument '--plot'"),
        (["outputs", "--plot", "x.nothing"], "plot: 'x.nothing'; expected a name that ends in"),
        (["outputs", "--plot", "nowhere/x.png"], "plot: nowhere: no such folder"),
    ],
)
def test_errors_are_one_line(lab: Runner, arguments: list[str], reason: str) -> None:
    code, out, err = lab(*arguments)
    assert (code, out) == (2, "") and reason in err
    assert err.startswith("fastnn: ") and err.count("\n") == 1


def test_without_matplotlib(lab: Runner, monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "matplotlib.backend_bases", None)
    code, _, err = lab("outputs", "--plot", "x.png")
    assert code == 2 and "pip install 'fastnn[plot]'" in err


def test_the_list_and_help_bring_no_kernels(python: Callable[..., tuple[str, str]]) -> None:
    out, _ = python("""
import contextlib, io, sys
from fastnn.cli import main
with contextlib.redirect_stdout(io.StringIO()):
    main(["lab"])
    main(["lab", "outputs"])
print(sorted({"numba", "matplotlib", "textual", "tui", "plotext"} & set(sys.modules)))
""")
    assert out.strip() == "[]"
