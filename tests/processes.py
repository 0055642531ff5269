"""New Python processes that import the same fastnn as the tests do, installed or not."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

# Compiles or loads everything there is for the number type named by its argument.
COMPILE_ALL = """
import sys
from fastnn.warmup import warm_up
warm_up([sys.argv[1]])
"""


def start(code: str, *arguments: str, folder: Path | str, environment: dict[str, str], **options: Any) -> Any:
    """Start a process that runs `code` in `folder`; `options` are subprocess.Popen's."""
    spec = importlib.util.find_spec("fastnn")
    assert spec is not None and spec.origin is not None
    path = [str(Path(spec.origin).parents[1]), os.environ.get("PYTHONPATH", "")]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, path))} | environment
    return subprocess.Popen([sys.executable, "-c", code, *arguments], cwd=folder, env=environment, **options)
