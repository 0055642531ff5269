"""How much more memory a training takes, at its most, than its data, its parameters and the optimizer's states.

    python -m benchmarks.memory

Each is measured in a new process, with the interpreter, NumPy, Numba and the kernels: what is left over of the peak of
resident memory when data, parameters and states are taken away.
"""

from __future__ import annotations

import subprocess
import sys

from benchmarks.table import NETWORKS, OPTIMIZERS

TRAINING = """
import sys
import fastnn as fnn
from benchmarks.memory import peak
from benchmarks.table import NETWORKS, OPTIMIZERS, data

work, optimizer = NETWORKS[sys.argv[1]], OPTIMIZERS[sys.argv[2]]
x, y = data(work._replace(rows=work.rows * int(sys.argv[3])))
net = fnn.Network(list(work.sizes), activation=work.activation)
net.fit(x, y, loss=work.loss, batch_size=work.batch, optimizer=optimizer)
known = x.nbytes + y.nbytes + net.parameters.nbytes * (1 + optimizer.slots)
print(peak() - known, known)
"""


def peak() -> int:
    """The most bytes that were resident at once since this process began."""
    try:
        with open("/proc/self/status") as file:  # getrusage would count the process that this one was forked from
            return next(int(line.split()[1]) * 1024 for line in file if line.startswith("VmHWM:"))
    except OSError:
        import resource

        most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return most if sys.platform == "darwin" else most * 1024


def beyond(network: str, optimizer: str, times: int = 1) -> tuple[float, float]:
    """MB beyond data, parameters and states, and MB of those; `times` as many rows as the table says."""
    command = [sys.executable, "-c", TRAINING, network, optimizer, str(times)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    over, known = (int(number) / 1e6 for number in done.stdout.split())
    return over, known


if __name__ == "__main__":
    for name in NETWORKS:
        for chosen in OPTIMIZERS:
            more, counted = beyond(name, chosen)
            print(f"{name:20} {chosen:10} {counted:8.1f} MB of data, parameters and states, {more:6.1f} MB more")
