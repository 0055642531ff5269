"""The folder of compiled code: private, and another one for other sources or another compiler."""

from __future__ import annotations

import ast
import importlib.util
import os
import shutil
import sys
from pathlib import Path
from types import ModuleType

import pytest

import fastnn
from fastnn import compiler

POSIX = pytest.mark.skipif(os.name != "posix", reason="permissions as POSIX has them")
PACKAGE = Path(fastnn.__file__).parent


@pytest.fixture
def chosen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder that FASTNN_CACHE_DIR names, and temporary folders beside it."""
    chosen = tmp_path / "chosen"
    monkeypatch.setenv("FASTNN_CACHE_DIR", str(chosen))
    monkeypatch.setattr(compiler.tempfile, "tempdir", str(tmp_path))
    return chosen


def find_folder() -> Path:
    return compiler.cache_folder.__wrapped__()


@POSIX
def test_folder_is_private(chosen: Path) -> None:
    previous = os.umask(0)
    try:
        folder = find_folder()
    finally:
        os.umask(previous)
    assert folder == chosen / "kernels" / compiler.source_hash()
    assert folder.stat().st_mode & 0o777 == folder.parent.stat().st_mode & 0o777 == 0o700


@POSIX
@pytest.mark.parametrize("mode", [0o770, 0o777, 0o755, 0o707])
def test_folder_that_others_can_use_is_mended(mode: int, chosen: Path) -> None:
    folder = find_folder()
    for path in (folder, folder.parent):
        path.chmod(mode)
    assert find_folder() == folder
    assert folder.stat().st_mode & 0o777 == folder.parent.stat().st_mode & 0o777 == 0o700


def spoil(how: str, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if how == "file":
        path.write_text("")
    elif how == "link":
        (path.parent / "elsewhere").mkdir()
        path.symlink_to(path.parent / "elsewhere", target_is_directory=True)
    else:
        path.mkdir(mode=0o700)
        mine = os.geteuid()
        monkeypatch.setattr(os, "geteuid", lambda: mine + 1)


@POSIX
@pytest.mark.parametrize("how", ["file", "link", "another user's"])
@pytest.mark.parametrize("where", ["kernels", "hash"])
def test_folder_that_cannot_be_trusted(how: str, where: str, chosen: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = chosen / "kernels"
    if where == "hash":
        path = path / compiler.source_hash()
    path.parent.mkdir(parents=True, mode=0o700)
    spoil(how, path, monkeypatch)
    with pytest.warns(RuntimeWarning, match="FASTNN_CACHE_DIR") as told:
        folder = find_folder()
    assert chosen not in folder.parents and str(chosen) in str(told[0].message)
    assert folder.is_dir() and folder.stat().st_mode & 0o777 == 0o700
    assert list(folder.iterdir()) == []


def copied(package: Path) -> ModuleType:
    """The compiler module of a copy of fastnn."""
    spec = importlib.util.spec_from_file_location("copied_compiler", package / "compiler.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


COMPILED = sorted(path.relative_to(PACKAGE).as_posix() for path in compiler.compiled_sources())


def test_folder_is_another_when_a_compiled_source_changes(tmp_path: Path) -> None:
    package = tmp_path / "fastnn"
    shutil.copytree(PACKAGE, package, ignore=shutil.ignore_patterns("__pycache__"))
    seen = {compiler.source_hash()}
    assert copied(package).source_hash() in seen, "the place where fastnn is installed does not matter"
    for name in COMPILED:
        path = package / name
        path.write_text(path.read_text() + "# a comment\n")
        changed = copied(package).source_hash()
        assert changed not in seen, name
        seen.add(changed)
    (package / "cpu" / "new.py").write_text("")
    assert copied(package).source_hash() not in seen


def test_all_that_compiled_code_reads_is_in_the_hash() -> None:
    """What a compiled source imports may be compiled into it: a function, or a constant that is frozen."""
    assert {"compiler.py", "elementary.py", "random.py", "activations.py", "losses.py", "optimizers.py"} <= set(
        COMPILED
    )
    assert {path.relative_to(PACKAGE).as_posix() for path in (PACKAGE / "cpu").glob("*.py")} <= set(COMPILED)
    hashed = {"fastnn." + name.removesuffix(".py").replace("/", ".") for name in COMPILED} | {"fastnn", "fastnn.cpu"}
    for name in COMPILED:
        for node in ast.walk(ast.parse((PACKAGE / name).read_text())):
            if isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] == "fastnn":
                inside = [f"{node.module}.{alias.name}" for alias in node.names]
                modules = [m for m in inside if (PACKAGE.parent / (m.replace(".", "/") + ".py")).exists()]
                for module in modules or [node.module]:
                    host = ("fastnn.errors", "fastnn.ranks", "fastnn.runner")  # of which nothing is compiled
                    assert module in hashed or module in host, f"{name} imports {module}"


@pytest.mark.parametrize("what", ["numba", "llvmlite", "python", "BOUNDSCHECK", "OPT"])
def test_folder_is_another_for_another_compiler(what: str, monkeypatch: pytest.MonkeyPatch) -> None:
    before = compiler.source_hash()
    if what in ("numba", "llvmlite"):
        monkeypatch.setattr(getattr(compiler, what), "__version__", "0.0")
    elif what == "python":
        monkeypatch.setattr(sys, "version", "2.7")
    else:
        monkeypatch.setattr(compiler.config, what, "other")
    assert compiler.source_hash.__wrapped__() != before
