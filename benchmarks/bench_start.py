"""From nothing to the first training step, in a new process: with the kernels on disk, and with none.

`python -m benchmarks.bench_start` prints the first, the median of nine processes.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile

FIRST_STEP = """
import time
began = time.perf_counter()
import numpy as np
import fastnn as fnn
x = np.random.default_rng(0).random((64, 17), dtype=np.float32)
fnn.Network([17, 33, 5]).fit(x, np.arange(64) % 5, batch_size=64, epochs=1)
print(time.perf_counter() - began)
"""


def seconds(folder: str | None = None) -> float:
    """Seconds from the import to the end of the first step, in a process that keeps its kernels in `folder`.

    Modules' bytecode may be kept, as that of an installed package is: compiling it takes 0.07 s each time.
    """
    environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": "", **({"FASTNN_CACHE_DIR": folder} if folder else {})}
    done = subprocess.run(
        [sys.executable, "-c", FIRST_STEP], env=environment, capture_output=True, text=True, check=True
    )
    return float(done.stdout)


class FirstStep:
    timeout = 300

    def setup_cache(self) -> str:
        """asv runs this, and the benchmarks, in a folder that it removes."""
        folder = os.path.abspath("kernels")
        seconds(folder)
        return folder

    setup_cache.timeout = 300  # type: ignore[attr-defined]

    def track_warm(self, folder: str) -> float:
        return min(seconds(folder) for _ in range(3))

    def track_cold(self, folder: str) -> float:
        with tempfile.TemporaryDirectory(prefix="fastnn-asv-") as empty:
            return seconds(empty)

    track_warm.unit = track_cold.unit = "seconds"  # type: ignore[attr-defined]


if __name__ == "__main__":
    seconds()  # compiles, where nothing is on disk
    times = [seconds() for _ in range(9)]
    print(f"import and first step: {statistics.median(times):.2f} s ({min(times):.2f} to {max(times):.2f})")
