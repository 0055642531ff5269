"""fastnn beside its peers: the same networks, data, batches, optimizer and precision, interleaved in one run.

    pip install '.[peers]'
    python -m benchmarks.peers steps [--networks 64-32-10 ...] [--optimizers sgd adam] [--rounds 7]
    python -m benchmarks.peers recurrent [--networks 28x28-128-10 ...] [--rounds 7]
    python -m benchmarks.peers mnist [--seeds 0 1 2]
    python -m benchmarks.peers threads [--networks 64-32-10 ...] [--rounds 7]

with [--json FILE] to add the figures to a file, from which benchmarks.report writes its tables and its chart.

steps: the frameworks take turns (A B C A B C ...), so a busy moment hits all of them. A turn is a rest of 0.3 s, in
which the threads of the one before go to sleep, an untimed epoch, which wakes the core up, and then as many epochs as
fill at least 0.1 s; how many is found once for each framework, and so are its threads (all cores or one, the faster).
Their loss curves must agree, or the run stops. A peer that is not installed is a dash.

recurrent: the same for a simple RNN (benchmarks.recurrent). mnist: benchmarks.mnist. threads: fastnn with one thread,
with all, and with its own choice, which take turns as above.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from benchmarks import report
from benchmarks.frameworks import FRAMEWORKS, Contender, fastnn_engine, start
from benchmarks.peak import peak_gflops
from benchmarks.recurrent import FRAMEWORKS as RECURRENT
from benchmarks.recurrent import SEQUENCES
from benchmarks.table import COMPARED, NETWORKS, data
from fastnn.compiler import cores
from fastnn.cpu.plan import flops

SETTLE = 0.3  # seconds: OpenMP's threads spin for 0.2 s after their last work, on the next one's cores
TURN = 0.12  # seconds that a turn's timed epochs are planned to take, so that they take at least 0.1
CHECKED = 8  # steps, at least, over which the loss curves are compared
DIFFERENCE = 0.02  # allowed between two loss curves
Turn = Callable[[], float]


def _seconds_an_epoch(contender: Contender) -> float:
    contender.train(1)
    epochs, began = 0, time.perf_counter()
    while True:
        contender.train(1)
        epochs += 1
        took = time.perf_counter() - began
        if took > TURN / 3:
            return took / epochs


def _turn(contender: Contender, steps: int) -> tuple[Turn, str]:
    """A function that takes a turn and returns microseconds a step, and the name of the setting it uses."""
    seconds = {}
    for name, use in contender.settings.items():
        use()
        seconds[name] = _seconds_an_epoch(contender)
    best = min(seconds, key=lambda name: seconds[name])
    epochs = max(1, round(TURN / seconds[best] + 0.5))
    contender.train(epochs)  # JAX compiles for this number

    def turn() -> float:
        time.sleep(SETTLE)
        contender.settings[best]()
        contender.train(1)
        began = time.perf_counter()
        contender.train(epochs)
        return (time.perf_counter() - began) / epochs / steps * 1e6

    return turn, best


def _in_turns(turns: dict[str, Turn], rounds: int) -> dict[str, list[float]]:
    times: dict[str, list[float]] = {name: [] for name in turns}
    for _ in range(rounds):
        for name, turn in turns.items():
            times[name].append(turn())
    return times


def _peak(workers: int | None = None) -> float:
    """The FMA peak takes its turns too: what other users leave of a shared machine changes from minute to minute."""
    return peak_gflops(workers=workers, seconds=0.1)


def compare(builders: dict[str, Callable[[], Contender | None]], steps: int, rounds: int) -> dict[str, Any]:
    """What one row of the table tells: microseconds a step of each framework, one number a round, and the rest.

    `builders` make the frameworks by name, which have `steps` steps in an epoch.
    """
    turns: dict[str, Turn] = {}
    settings: dict[str, str] = {}
    curves: dict[str, np.ndarray] = {}
    for name, build in builders.items():
        try:
            contender = build()
        except ImportError:
            continue
        if contender is None:
            continue
        losses = contender.train(-(-CHECKED // steps))
        if losses is not None:
            curves[name] = np.asarray(losses, np.float64)
        turns[name], settings[name] = _turn(contender, steps)
    for name, curve in curves.items():
        worst = np.abs(curve / curves["fastnn"] - 1).max()
        if not worst <= DIFFERENCE:
            raise SystemExit(f"{name}: the loss curve differs from fastnn's by {worst:.1%}: not the same training")
    before = report.processor_times()
    found = _in_turns({**turns, "peak": _peak}, rounds)
    stolen = report.stolen(before, report.processor_times())
    return {"peak": statistics.median(found.pop("peak")), "stolen": stolen, "settings": settings, "microseconds": found}


def steps(chosen: argparse.Namespace) -> None:
    names = ["fastnn", *(name for name in chosen.peers if name != "fastnn")]
    for key, optimizer in COMPARED:
        if key not in chosen.networks or optimizer not in chosen.optimizers:
            continue
        work = NETWORKS[key]
        x, y = data(work)
        builders = {name: partial(FRAMEWORKS[name], work, start(work), x, y, optimizer) for name in names}
        found = compare(builders, work.steps, chosen.rounds)
        gflops = flops(work.sizes, work.batch) / statistics.median(found["microseconds"]["fastnn"]) / 1e3
        entry = {"network": key, "optimizer": optimizer, **found, "gflops": gflops}
        _tell(chosen, "steps", f"{key} {optimizer}", entry)


def recurrent(chosen: argparse.Namespace) -> None:
    for key, work in SEQUENCES.items():
        if key not in chosen.networks:
            continue
        x, y = work.data()
        builders = {name: partial(build, work, x, y) for name, build in RECURRENT.items()}
        found = compare(builders, work.steps, chosen.rounds)
        gflops = work.flops() / statistics.median(found["microseconds"]["fastnn"]) / 1e3
        _tell(chosen, "recurrent", key, {"network": key, "batch": work.batch, **found, "gflops": gflops})


def threads(chosen: argparse.Namespace) -> None:
    counts = {"1 thread": 1, f"{cores()} threads": cores(), "own choice": None}
    for key in chosen.networks:
        work = NETWORKS[key]
        x, y = data(work)
        optimizer = "adam" if work.loss == "mse" else "sgd"
        contenders = {name: fastnn_engine(work, start(work), x, y, optimizer, count) for name, count in counts.items()}
        turns = {name: _turn(contender, work.steps)[0] for name, contender in contenders.items()}
        peaks = {"peak, 1 thread": partial(_peak, 1), "peak": _peak}
        times = _in_turns({**turns, **peaks}, chosen.rounds)
        one, many = (statistics.median(times.pop(name)) for name in peaks)
        entry = {"network": key, "optimizer": optimizer, "peak": many / one, "microseconds": times}
        _tell(chosen, "threads", key, entry)


def mnist(chosen: argparse.Namespace) -> None:
    from benchmarks.mnist import race

    for seed in chosen.seeds:
        kept = report.read(chosen.json).get("mnist", {}).get(str(seed), {})
        entry: dict[str, Any] = {"seed": seed, "runs": kept.get("runs", {})}  # of the peers of an earlier call too
        for name, run in race(seed, chosen.peers):
            entry["runs"][name] = run
            print(
                f"seed {seed}: {name:16} {run['seconds']:6.2f} s, {run['epochs']} epochs, {run['accuracy']:.2%}",
                flush=True,
            )
        _tell(chosen, "mnist", str(seed), entry)


def _tell(chosen: argparse.Namespace, table: str, key: str, entry: dict[str, Any]) -> None:
    """Print one row of a table, and keep it."""
    shown = {table: {key: entry}}
    lines = report.TABLES[table](shown)
    if not chosen.headed:
        print("\n".join(lines[:2]))
        chosen.headed = True
    print(lines[2], flush=True)
    if chosen.json:
        report.add(chosen.json, table, key, entry)


def main() -> int:
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    commands = options.add_subparsers(required=True)
    for run in (steps, recurrent, mnist, threads):
        command = commands.add_parser(run.__name__)
        command.set_defaults(run=run, headed=False)
        command.add_argument("--json", help="add the figures to this file, which is made if it is not there")
        if run is mnist:
            command.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
        else:
            names = list(SEQUENCES if run is recurrent else NETWORKS)
            command.add_argument("--networks", nargs="+", default=names, choices=names)
            command.add_argument("--rounds", type=int, default=7)
        if run is steps:
            command.add_argument("--optimizers", nargs="+", default=["sgd", "adam"], choices=["sgd", "adam"])
        if run in (steps, mnist):
            command.add_argument("--peers", nargs="+", default=list(FRAMEWORKS), choices=list(FRAMEWORKS))
    chosen = options.parse_args()
    machine = report.machine()
    print(f"{machine['processor']}, {machine['cores']} cores; {report.versions_in_words(machine['versions'])}\n")
    chosen.run(chosen)
    return 0


if __name__ == "__main__":
    os.environ.setdefault("JAX_PLATFORMS", "cpu")
    sys.exit(main())
