"""The shape of the house: what imports what, and the registries that everything else reads."""

from __future__ import annotations

import ast
import json
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

import numpy as np
import pytest

import fastnn
from fastnn.activations import ACTIVATIONS
from fastnn.cells import CELLS
from fastnn.initializers import INITIALIZERS
from fastnn.losses import LOSSES
from fastnn.optimizers import OPTIMIZERS

PACKAGE = Path(fastnn.__file__).parent
TUI = PACKAGE.parent / "tui"

# Floor 3, what people use, is everything else: network, training, datasets, cli ...
FLOORS = {
    0: {"compiler", "linking", "elementary", "random", "errors", "version"},
    1: {"activations", "cells", "losses", "optimizers", "initializers"},
    2: {"cpu", "cuda", "ranks", "runner"},
}


def sources(*packages: Path) -> dict[str, Path]:
    """Every module by its full name."""
    found = {}
    for package in packages:
        for path in sorted(package.rglob("*.py")):
            parts = path.relative_to(package.parent).with_suffix("").parts
            found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


MODULES, UI_MODULES = sources(PACKAGE), sources(TUI)
ALL = MODULES | UI_MODULES


@cache
def tree_of(name: str) -> ast.AST:
    """A module's syntax."""
    return ast.parse(ALL[name].read_text())


def floor(module: str) -> int:
    """Which floor a module of fastnn is on."""
    first = [*module.split("."), ""][1]
    return next((number for number, names in FLOORS.items() if first in names), 3)


def imported(node: ast.AST, known: dict[str, Path]) -> Iterator[str]:
    """Full names of the modules that an import statement loads."""
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
        assert node.level == 0, "a relative import"
        for alias in node.names:
            inside = f"{node.module}.{alias.name}"
            yield inside if inside in known else str(node.module)


def at_import(tree: ast.AST) -> Iterator[ast.AST]:
    """The nodes that run when a module is imported: not those in functions, nor what only a type checker reads."""
    for node in ast.iter_child_nodes(tree):
        checker = isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)
        if not (checker or isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda))):
            yield node
            yield from at_import(node)


def test_floors_name_modules_that_exist() -> None:
    top = {path.stem if path.suffix == ".py" else path.name for path in PACKAGE.iterdir()}
    for names in FLOORS.values():
        assert names <= top
    assert [floor(f"fastnn.{name}") for name in ("compiler", "losses", "cpu.phases", "network", "datasets.idx")] == [
        0,
        1,
        2,
        3,
        3,
    ]
    assert floor("fastnn") == 3


def test_imports_point_down() -> None:
    """In functions too: an import that is hidden there is still an import."""
    for name in MODULES:
        for node in ast.walk(tree_of(name)):
            for target in imported(node, MODULES):
                if target.partition(".")[0] == "fastnn" and target != "fastnn.version":
                    floors = f"{name} (floor {floor(name)}) imports {target} ({floor(target)})"
                    assert floor(target) <= floor(name), floors
                    # Within floor 0 and 1 the modules stand side by side, except on the compiler and the formulas.
                    assert target != "fastnn" or floor(name) == 3, name


def test_nobody_imports_the_ui() -> None:
    for name in MODULES:
        tree = tree_of(name)
        anywhere = {target for node in ast.walk(tree) for target in imported(node, {})}
        loaded = {target for node in at_import(tree) for target in imported(node, {})}
        assert not any(target.partition(".")[0] in ("tui", "textual", "plotext") for target in loaded), name
        if name != "fastnn.cli":  # the command that opens it, when it is asked to
            assert not any(target.partition(".")[0] == "tui" for target in anywhere), name


def test_the_ui_uses_public_names_and_no_engine() -> None:
    assert UI_MODULES
    for name in UI_MODULES:
        for node in ast.walk(tree_of(name)):
            for target in imported(node, MODULES):
                assert not target.startswith(("fastnn.cpu", "numba")), f"{name} imports {target}"


def test_import_brings_only_what_is_needed(python: Callable[..., tuple[str, str]]) -> None:
    """The whole library, trained once, in a process of its own: no UI, no plots, no other framework, no CUDA."""
    code = """
import json, sys
import fastnn as fnn
for name in fnn.__all__:
    getattr(fnn, name)
data = fnn.datasets.load("digits")
fnn.Network([64, 8, 10]).fit(data.x_train, data.y_train)
print(json.dumps(sorted(sys.modules)))
"""
    python(code)  # Numba imports SciPy, where it is installed, when it compiles: kernels must be on disk
    out, _ = python(code)
    loaded = json.loads(out)
    assert {"fastnn.training", "fastnn.cpu.train", "numba"} <= set(loaded), "the test would prove nothing"
    # Numba imports SciPy where it is installed, and nobody can help it.
    out, _ = python("import json, sys, numba; print(json.dumps(sorted(sys.modules)))")
    loaded = sorted(set(loaded) - set(json.loads(out)))
    for name in (
        "tui",
        "textual",
        "plotext",
        "rich",
        "scipy",
        "sklearn",
        "torch",
        "jax",
        "pandas",
        "matplotlib",
        "pytest",
    ):
        assert not [m for m in loaded if m == name or m.startswith(name + ".")], name
    assert "fastnn.cli" not in loaded
    assert not [m for m in loaded if m.startswith(("numba.cuda", "fastnn.cuda."))]


def test_nothing_of_ours_imports_cuda() -> None:
    for name in ALL:
        if not name.startswith("fastnn.cuda"):
            for node in ast.walk(tree_of(name)):
                assert not [target for target in imported(node, {}) if target.startswith("numba.cuda")], name


def test_modules_are_short() -> None:
    lines = {name: path.read_text().count("\n") for name, path in ALL.items()}
    assert {name: count for name, count in lines.items() if count >= 400} == {}
    assert not {name.rpartition(".")[2] for name in ALL} & {"utils", "util", "helpers", "misc", "common"}


# What decides how Numba compiles, or where it keeps what it has compiled.
CONFIGURES = {
    "njit",
    "jit",
    "cfunc",
    "vectorize",
    "guvectorize",
    "generated_jit",
    "jitclass",
    "config",
    "CFunc",
    "stencil",
}


def test_only_the_compiler_configures_numba() -> None:
    for name in MODULES.keys() - {"fastnn.compiler"}:
        for node in ast.walk(tree_of(name)):
            if isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] == "numba":
                assert not CONFIGURES & {alias.name for alias in node.names}, f"{name}: {ast.unparse(node)}"
            if isinstance(node, ast.Attribute) and ast.unparse(node.value).partition(".")[0] == "numba":
                assert node.attr not in CONFIGURES, f"{name}: {ast.unparse(node)}"


# ---- registries ------------------------------------------------------------------------------------------------------

REGISTRIES = {
    "activations": ACTIVATIONS,
    "cells": CELLS,
    "losses": LOSSES,
    "optimizers": OPTIMIZERS,
    "initializers": INITIALIZERS,
}
ENTRIES = [(registry, name) for registry, entries in REGISTRIES.items() for name in entries]


@pytest.mark.parametrize(("registry", "name"), ENTRIES)
def test_entry_is_described(registry: str, name: str) -> None:
    entry = REGISTRIES[registry][name]
    assert entry.name == name == name.lower() and name.isidentifier()
    for text in (entry.formula, entry.source):
        assert isinstance(text, str) and text.strip() == text and "\n" not in text
    assert entry.formula and len(entry.source) >= 5
    if registry in ("activations", "losses"):
        assert (entry.derivative if registry == "activations" else entry.delta).strip()


def test_registries_hold_what_the_interface_promises() -> None:
    assert {"identity", "sigmoid", "tanh", "relu", "leaky_relu"} <= set(ACTIVATIONS)
    assert {"cross_entropy", "binary_cross_entropy", "mse"} <= set(LOSSES)
    assert {"sgd", "adam"} <= set(OPTIMIZERS)
    promised = {"zeros", "normal", "xavier", "he", "lecture_he", "xavier_uniform", "he_uniform", "lecun"}
    assert promised <= set(INITIALIZERS)
    for entry in ACTIVATIONS.values():
        low, high = entry.range
        assert low < high and set(entry.saturates) <= {low, high} and np.isfinite(entry.saturates).all()


def test_public_names() -> None:
    assert sorted(fastnn.__all__) == sorted(set(fastnn.__all__))
    for name in fastnn.__all__:
        assert getattr(fastnn, name) is not None
    assert set(fastnn.__all__) <= set(dir(fastnn))
    with pytest.raises(AttributeError, match="'fastnn' has no attribute 'nothing'"):
        _ = fastnn.nothing
    assert (PACKAGE / "py.typed").exists()


def test_benchmarks_are_found_without_the_peers_and_cuda(python: Callable[..., tuple[str, str]]) -> None:
    """asv imports every module of the folder."""
    folder = Path(__file__).parents[1] / "benchmarks"
    out, _ = python(
        """
import importlib, pkgutil, sys
sys.modules.update(dict.fromkeys(["numba_cuda", "torch", "jax", "sklearn", "onnx", "onnxruntime"]))
sys.path.append(sys.argv[1])
for module in pkgutil.iter_modules([sys.argv[1] + "/benchmarks"]):
    print(importlib.import_module(f"benchmarks.{module.name}").__name__)
""",
        str(folder.parent),
    )
    assert len(out.split()) == len(list(folder.glob("*.py"))) - 1
