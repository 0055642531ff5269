"""Training on a file of 1 GB through a memory map: resident memory, and the rate beside the same data in memory.

    python -m benchmarks.mapped [--gigabytes 1] [--network 784-128-10]

Makes the file in a temporary folder. Each training is an epoch in a new process; the figures are those of Linux's
/proc/self/status: the most that was ever resident (VmHWM), and what is the process's own at the end (RssAnon).
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

from benchmarks.table import NETWORKS

TRAINING = """
import sys, time
import numpy as np
import fastnn as fnn
from benchmarks.table import NETWORKS

work, mode = NETWORKS[sys.argv[1]], sys.argv[3]
x = np.load(sys.argv[2], mmap_mode=None if mode == "memory" else "r")
y = np.arange(len(x)) % work.sizes[-1]
net = fnn.Network(list(work.sizes), activation=work.activation)
options = {"batch_size": work.batch, "optimizer": fnn.SGD(0.01)}
net.fit(x[: work.batch], y[: work.batch], **options)
began = time.perf_counter()
net.fit(x, y, **options)
took = time.perf_counter() - began
with open("/proc/self/status") as file:
    status = dict(line.split(":", 1) for line in file)
peak, own = (int(status[name].split()[0]) / 1024 for name in ("VmHWM", "RssAnon"))
steps = -(-len(x) // work.batch)
print(f"{mode:8} {took:6.2f} s an epoch with the check of the data, {steps / took:8.0f} steps/s, "
      f"{peak:6.0f} MB resident at most, {own:6.0f} MB of them its own")
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--gigabytes", type=float, default=1.0)
    parser.add_argument("--network", choices=NETWORKS, default="784-128-10")
    options = parser.parse_args()
    columns = NETWORKS[options.network].sizes[0]
    rows = int(options.gigabytes * 1e9) // (4 * columns)
    with tempfile.TemporaryDirectory(prefix="fastnn-mapped-") as folder:
        path = Path(folder) / "x.npy"
        x = np.lib.format.open_memmap(path, "w+", np.float32, (rows, columns))
        for begin in range(0, rows, 8192):
            some = x[begin : begin + 8192]
            some[...] = np.random.default_rng(begin).standard_normal(some.shape, dtype=np.float32)
        x.flush()
        for mode in ("memory", "mapped", "memory", "mapped"):
            command = [sys.executable, "-c", TRAINING, options.network, str(path), mode]
            print(subprocess.run(command, capture_output=True, text=True, check=True).stdout, end="", flush=True)


if __name__ == "__main__":
    main()
