"""What all tests share: a way to run a new process, and kernels that are compiled once, not by every xdist worker."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest
from processes import COMPILE_ALL, start

_RUNS = pytest.StashKey[str]()


def pytest_configure(config: pytest.Config) -> None:
    """Runs that the tests keep, and those of processes that they start, stay out of the user's own."""
    config.stash[_RUNS] = os.environ["FASTNN_RUNS"] = tempfile.mkdtemp(prefix="fastnn-runs-")


def pytest_unconfigure(config: pytest.Config) -> None:
    shutil.rmtree(config.stash[_RUNS], ignore_errors=True)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int | None:
    """One more than there are processors: a screen's test waits for a quarter of its time, for the screen and for
    processes. 110 of them took 36 s with three workers on two processors, 43 with two. None: as xdist itself has it."""
    if "PYTEST_XDIST_AUTO_NUM_WORKERS" in os.environ:
        return None
    return (len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1) + 1


@pytest.hookimpl(tryfirst=True)
def pytest_sessionstart(session: pytest.Session) -> None:
    option = session.config.option
    if hasattr(session.config, "workerinput") or option.collectonly or not getattr(option, "tx", ()):
        # No workers: with -n 0, or without xdist.
        return
    with tempfile.TemporaryDirectory() as folder:
        running = [start(COMPILE_ALL, dtype, folder=folder, environment={}) for dtype in ("float32", "float64")]
        for process in running:  # one that fails says why, and the tests will say the same
            process.wait()


@pytest.fixture
def python(tmp_path: Path) -> Callable[..., tuple[str, str]]:
    """python(code, *arguments, NAME=value ...) -> (stdout, stderr) of a new process, which must succeed."""

    def run(code: str, *arguments: str, **environment: str) -> tuple[str, str]:
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        with start(code, *arguments, folder=tmp_path, environment=environment, **pipes) as process:
            out, err = process.communicate(timeout=300)
        assert process.returncode == 0, err
        return out, err

    return run


@pytest.fixture
def one_step_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    """A snapshot after every step."""
    from fastnn import training

    monkeypatch.setattr(training, "MOST_STEPS", 1)
