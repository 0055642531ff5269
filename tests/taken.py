"""What the CUDA engine takes of a GPU's memory beside what it says that it needs, in Numba's simulator.

    NUMBA_ENABLE_CUDASIM=1 python taken.py

Prints a JSON object: of some trainings the bytes taken, the bytes that were said, and what they were for. Each array is
then refused in turn. Kernels do nothing here: which arrays there are does not depend on what is computed.
"""

from __future__ import annotations

import gc
import json
import sys
import weakref
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
from numba import cuda
from numba.cuda.cudadrv.driver import CudaAPIError
from numba.cuda.simulator.kernel import FakeCUDAKernel

import fastnn as fnn
from fastnn.cuda import held, memory

ROWS, FREE = 9, 1000
LABELS = np.arange(ROWS) % 3
X = np.random.default_rng(1).standard_normal((ROWS, 4))
CASES: dict[str, dict[str, Any]] = {
    "narrow": {"layers": [fnn.Dense(5)], "optimizer": fnn.SGD(0.1)},
    "split sums": {"layers": [fnn.Dense(9)], "optimizer": fnn.SGD(0.1, momentum=0.9), "validation": True},
    "recurrent": {"layers": [fnn.Recurrent(3)], "optimizer": fnn.Adam(0.1, clip=0.1), "validation": True},
    "watched": {"layers": [fnn.Dense(9)], "optimizer": fnn.Adam(0.1), "watched": ["gradient_norm", "updates"]},
}


class Taken:
    """The arrays on the device, and what was said to be needed; the array `refused` is one too many."""

    def __init__(self) -> None:
        self.arrays: list[Any] = []
        self.begin(-1)
        to_device, memory.MIB, memory.room = cuda.to_device, 1, lambda: FREE
        cuda.to_device = lambda array: self.take(to_device(array))
        cuda.device_array = lambda shape, F: self.take(to_device(np.zeros(shape, F)))
        memory.check_room = lambda what, needed: self.said.append((what, needed))

    def begin(self, refused: int) -> None:
        self.refused, self.said, self.sizes = refused, list[tuple[str, int]](), list[tuple[str, int]]()

    def take(self, array: Any) -> Any:
        if len(self.sizes) == self.refused:
            full = CudaAPIError(memory.OUT_OF_MEMORY, "CUDA_ERROR_OUT_OF_MEMORY")
            full.code = memory.OUT_OF_MEMORY  # which the simulator's has not
            raise full
        self.arrays.append(weakref.ref(array))
        self.sizes.append((self.said[-1][0], array.size * array.dtype.itemsize))
        return array


def training(layers: list[Any], watched: list[str] | None = None, **options: Any) -> str:
    """Two steps of a training; the error, if there is one."""
    steps = 2 if isinstance(layers[0], fnn.Recurrent) else 1
    x = X.reshape(ROWS, 2, 2) if steps > 1 else X
    net = fnn.Network([fnn.Input(4 // steps), *layers, fnn.Dense(3)], device="cuda")
    before, data = net.parameters.copy(), SimpleNamespace(x_train=x, y_train=LABELS, x_test=x, y_test=LABELS)
    options = {"batch_size": 6, "validation": None, "observe": watched is not None} | options
    try:
        trainer = fnn.Trainer(net, data, **options)
        trainer.watch(*watched or ())
        list(trainer.run(1))
    except fnn.DeviceError as reason:
        return str(reason)
    finally:
        assert (net.parameters == before).all()
    return ""


def main(say: Callable[[str], Any]) -> None:
    FakeCUDAKernel.__call__ = lambda *arguments: None
    held.WIDEST = 8
    taken, found = Taken(), {}
    for name, case in CASES.items():
        taken.begin(-1)
        assert training(**case) == ""
        purposes = [what for what, _ in taken.sizes]
        found[name] = [sum(size for _, size in taken.sizes), sum(size for _, size in taken.said), sorted({*purposes})]
        for refused, purpose in enumerate(purposes):
            if purpose == "training" or purposes.index(purpose) == refused:
                taken.begin(refused)
                error, (what, needed) = training(**case), taken.said[-1]
                expected = f"device: {what} needs {needed:,} MiB of the GPU's memory, and {FREE:,} MiB are free; "
                assert error.startswith(expected) and what == purpose, (refused, error)
        gc.collect()
        assert not any(array() is not None for array in taken.arrays)
    say(json.dumps(found))


if __name__ == "__main__":
    main(sys.stdout.write)
