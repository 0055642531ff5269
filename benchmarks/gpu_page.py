"""The page that `benchmarks.gpu` writes: what the CUDA engine must show, and all that was found."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from pathlib import Path

from benchmarks import recurrent
from benchmarks.recurrent import Sequences
from benchmarks.table import Work
from fastnn.cuda.target import SIMULATED
from fastnn.doctor import findings

LIMITS = {"float32": 1e-5, "float64": 1e-11}
SNAPSHOTS = 0.02  # what a UI's 30 a second may cost of a training's time
FRAMES = 28  # a second, where a timer asks for 30
LESS = 0.002  # test accuracy that is level with the CPU's: 20 of MNIST's 10,000 digits

NARROW = [Work((64, 64, 64, 64, 10), "relu", batch) for batch in (128, 1024, 16384)]
WIDE, WIDEST = Work((784, 512, 512, 10), "relu", 128), Work((784, 2048, 2048, 10), "relu", 4096)
ROWS_OF_IMAGES = recurrent.SEQUENCES["28x28-128-10"]
REHEARSAL = """
**A rehearsal: the machine had no GPU.** Numba's simulator ran every kernel, with small numbers: the errors, and whether
bits are the same, are what the kernels give; accuracies and times are the simulator's, and say nothing of a GPU.
"""


def label(work: Work | Sequences) -> str:
    if isinstance(work, Sequences):
        return f"{work.time}x{work.features}-{work.units}-{work.outputs} recurrent, batch {work.batch}"
    return f"{'-'.join(map(str, work.sizes))}, batch {work.batch}"


def at_least(figure: float, least: float) -> bool | None:
    """Whether it is; None where there is no figure."""
    return None if math.isnan(figure) else figure >= least


class Page:
    """What has been found so far; `write` writes all of it. `names` are the contenders', in their order."""

    def __init__(self, path: Path, names: list[str], began: float) -> None:
        self._path, self._names, self._began = path, names, began
        self._machine = [f"- {name}: {found}" for name, found in findings() if name != "cache"]
        self.checks: dict[str, dict[str, float]] = {}  # relative errors, by what was checked and dtype
        self.accuracy: dict[str, float] = {}
        self.others: dict[str, str] = {}  # how programs ended
        self.table: dict[Work | Sequences, dict[str, float | str]] = {}  # seconds a step, or why there are none
        self.watching = self.frames = self.beside_ui = math.nan

    def targets(self) -> Iterator[tuple[str, bool | None]]:
        """What the engine must show, and whether it does; None: there is no figure."""

        def seconds(work: Work | Sequences, name: str = "fastnn") -> float:
            found = self.table.get(work, {}).get(name)
            return found if isinstance(found, float) else math.nan

        def against(work: Work | Sequences, peer: str, times: float) -> bool | None:
            return at_least(seconds(work, peer) / seconds(work), times)

        def passed(name: str) -> bool | None:
            ended = [end for what, end in self.others.items() if what.startswith(name) and not end.startswith("not ")]
            return all(end == "passed" for end in ended) if ended else None

        accuracy = {
            device: self.accuracy.get(f"mnist: test accuracy, {device}", math.nan) for device in ("cpu", "cuda")
        }
        errors = [found.get("float32", 0.0) for what, found in self.checks.items() if what.startswith("gradient, ")]
        yield "MNIST 784-128-10: the CPU's accuracy", at_least(accuracy["cuda"] - accuracy["cpu"], -LESS)
        yield "gradients within 1e-5 of float64", at_least(-max(errors, default=math.nan), -LIMITS["float32"])
        yield "784-512-512-10, batch 128: under 30 us", at_least(-seconds(WIDE), -30e-6)
        yield "the same: 3 times PyTorch's CUDA graph", against(WIDE, "PyTorch graph", 3)
        for work in NARROW:
            yield f"width 64, batch {work.batch}: 10 times PyTorch eager", against(work, "PyTorch eager", 10)
            yield f"width 64, batch {work.batch}: 3 times PyTorch's CUDA graph", against(work, "PyTorch graph", 3)
        wide = "784-2048-2048-10, batch 4096: level with PyTorch eager (0.95 or more)"
        yield wide, against(WIDEST, "PyTorch eager", 0.95)
        yield "28x28-128-10, batch 64: 3 times cuDNN through PyTorch", against(ROWS_OF_IMAGES, "PyTorch eager", 3)
        yield "30 snapshots a second cost less than 2 %", at_least(-self.watching, -SNAPSHOTS)
        yield "the UI draws 30 frames a second", at_least(self.frames, FRAMES)
        yield "the UI costs less than 2 %", at_least(self.beside_ui, 1 - SNAPSHOTS)
        yield "the same bits from run to run", passed("the same bits")
        yield "compute-sanitizer finds nothing", passed("compute-sanitizer")

    def lines(self) -> Iterator[str]:
        yield "# fastnn on a GPU\n\nWritten by `python -m benchmarks.gpu`."
        yield REHEARSAL if SIMULATED else ""
        yield from self._machine
        yield "\n## What it must show on a GPU\n"
        for what, shown in self.targets():
            yield f"- {what}: {'not taken' if shown is None or SIMULATED else 'yes' if shown else 'no'}"
        yield "\n## A training step, microseconds\n\nSGD, cross entropy; medians of turns. JAX multiplies in TF32.\n"
        yield f"| network | {' | '.join(self._names)} |\n|---|{'---|' * len(self._names)}"
        for work, times in self.table.items():
            cells = [times.get(name, "not taken") for name in self._names]
            shown = [cell if isinstance(cell, str) else f"{cell * 1e6:.1f}" for cell in cells]
            yield f"| {label(work)} | {' | '.join(shown)} |"
        watching = "not taken" if math.isnan(self.watching) else f"{self.watching:.1%} of the time"
        yield f"\nWhat snapshots 30 times a second cost: {watching}."
        if not math.isnan(self.frames):
            yield f"The UI at 160x45: {self.frames:.0f} frames a second; training goes on at {self.beside_ui:.1%}."
        yield "\n## Checks\n"
        for name, reached in sorted(self.accuracy.items()):
            yield f"- {name}: {reached:.2%}"
        for name, ended in sorted(self.others.items()):
            yield f"- {name}: {ended}"
        yield "\nRelative error against the CPU in float64 (of trained parameters: a tenth of it).\n"
        yield "| check | float32 | float64 | |\n|---|---|---|---|"
        for name, errors in sorted(self.checks.items()):
            fine = all(error <= LIMITS[dtype] for dtype, error in errors.items())
            figures = [f"{errors[dtype]:.1e}" if dtype in errors else "not taken" for dtype in LIMITS]
            yield f"| {name} | {' | '.join(figures)} | {'passed' if fine else 'FAILED'} |"
        yield f"\nTook {time.perf_counter() - self._began:.0f} s so far."

    def write(self) -> None:
        self._path.write_text("\n".join(self.lines()) + "\n")
