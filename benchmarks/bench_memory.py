"""Memory of a training, in a new process."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from benchmarks.memory import beyond
from benchmarks.table import NETWORKS


class Training:
    params = [list(NETWORKS)]
    param_names = ["network"]
    timeout = 300

    def setup(self, network: str) -> None:
        # The new process finds `benchmarks` where this one did, whatever folder asv has made the current one.
        os.environ["PYTHONPATH"] = os.pathsep.join([str(Path(__file__).parents[1]), *filter(None, sys.path)])

    def track_beyond(self, network: str) -> float:
        """Peak of resident memory less data, parameters and states."""
        return beyond(network, "adam")[0]

    track_beyond.unit = "MB"  # type: ignore[attr-defined]
