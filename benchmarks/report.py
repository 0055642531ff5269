"""What benchmarks.peers found, as the tables of RESULTS.md and the chart of the README.

    python -m benchmarks.report benchmarks/results.json [--markdown benchmarks/RESULTS.md] [--chart benchmarks/FILE.svg]

A table stands in the Markdown file between the lines `<!-- NAME -->` and `<!-- /NAME -->`, and is written there anew.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import statistics
import sys
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import fastnn as fnn
from benchmarks.frameworks import FRAMEWORKS
from benchmarks.mnist import TARGET
from benchmarks.recurrent import FRAMEWORKS as RECURRENT
from benchmarks.table import COMPARED, NETWORKS
from fastnn.compiler import cores

Results = dict[str, Any]  # tables by name: rows by key
PACKAGES = ("numba", "numpy", "jax", "torch", "scikit-learn")


def machine() -> dict[str, Any]:
    """The processor, its cores, the system, and the versions of all that is compared."""
    from llvmlite.binding import get_host_cpu_name

    found = {"python": platform.python_version(), "fastnn": fnn.__version__}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "-"
    processor = f"{platform.machine()} {get_host_cpu_name()}"
    return {"processor": processor, "cores": cores(), "system": platform.system(), "versions": found}


def processor_times() -> list[int]:
    """Linux's count of what all cores did since the system began; empty elsewhere."""
    try:
        with open("/proc/stat") as file:
            return [int(count) for count in file.readline().split()[1:9]]
    except OSError:
        return []


def stolen(before: list[int], after: list[int]) -> float | None:
    """The share of the time in which a core had work that a virtual machine's host gave to others."""
    spent = [b - a for a, b in zip(before, after, strict=True)]
    idle, steal = (spent[3] + spent[4], spent[7]) if len(spent) == 8 else (0, 0)
    return steal / (sum(spent) - idle) if sum(spent) > idle else None


def versions_in_words(versions: dict[str, str]) -> str:
    return ", ".join(f"{name} {number}" for name, number in versions.items())


def read(path: str | None) -> Results:
    """The results in the file, none where there is no file."""
    return json.loads(Path(path).read_text()) if path and os.path.exists(path) else {}


def add(path: str, table: str, key: str, entry: dict[str, Any]) -> None:
    """Put one row into the file of results, in place of the one of that key."""
    results = read(path)
    results["machine"] = machine()
    results.setdefault(table, {})[key] = entry
    Path(path).write_text(json.dumps(results, indent=1, default=float) + "\n")


# ---- tables ----------------------------------------------------------------------------------------------------------


def _row(first: str, cells: list[str]) -> str:
    return f"| {first:<30} | " + " | ".join(f"{cell:>15}" for cell in cells) + " |"


def _table(first: str, heads: list[str], rows: list[str]) -> list[str]:
    return [_row(first, heads), "|---" * (len(heads) + 1) + "|", *rows]


def _time(microseconds: float) -> str:
    return f"{microseconds:.0f}" if microseconds >= 100 else f"{microseconds:.1f}"


def middle(times: list[float] | None) -> float | None:
    return statistics.median(times) if times else None


def _cell(times: list[float] | None, mark: str = "") -> str:
    """Median, and the distance between the quartiles in parts of it."""
    if not times:
        return "-"
    low, half, high = statistics.quantiles(times, n=4, method="inclusive") if len(times) > 1 else times * 3
    return f"{_time(half)}{mark} ({(high - low) / half:.0%})"


def _ratio(other: float | None, ours: float | None) -> str:
    return f"{other / ours:.2f}" if other and ours else "-"


def best_peer(microseconds: dict[str, list[float]]) -> tuple[str, float] | None:
    """The fastest framework beside fastnn and its median."""
    peers = {name: statistics.median(times) for name, times in microseconds.items() if name != "fastnn"}
    return min(peers.items(), key=lambda item: item[1]) if peers else None


def describe(key: str, optimizer: str) -> str:
    work = NETWORKS[key]
    return f"{key} {work.activation}, {work.batch}, {optimizer}"


def in_order(entries: dict[str, Any]) -> list[dict[str, Any]]:
    """The rows of `steps` in the order of the table of what is compared."""
    keys = [f"{key} {optimizer}" for key, optimizer in COMPARED]
    return [entries[key] for key in keys if key in entries]


def steps_table(results: Results) -> list[str]:
    rows = []
    for entry in in_order(results["steps"]):
        times = entry["microseconds"]
        marks = {name: "*" if setting == "1 thread" else "" for name, setting in entry["settings"].items()}
        cells = [_cell(times.get(name), marks.get(name, "")) for name in FRAMEWORKS]
        best, ours = best_peer(times), middle(times["fastnn"])
        cells += [_ratio(best[1] if best else None, ours), _ratio(middle(times.get("PyTorch eager")), ours)]
        cells += [f"{entry['gflops']:.1f}", f"{entry['gflops'] / entry['peak']:.0%}"]
        cells.append("-" if entry.get("stolen") is None else f"{entry['stolen']:.0%}")
        rows.append(_row(describe(entry["network"], entry["optimizer"]), cells))
    heads = [*FRAMEWORKS, "best / fastnn", "eager / fastnn", "GFLOP/s", "of peak", "stolen"]
    return _table("network, batch, optimizer", heads, rows)


def recurrent_table(results: Results) -> list[str]:
    rows = []
    for entry in results["recurrent"].values():
        times = entry["microseconds"]
        marks = {name: "*" if setting == "1 thread" else "" for name, setting in entry["settings"].items()}
        ours = middle(times["fastnn"])
        cells = [_cell(times.get(name), marks.get(name, "")) for name in RECURRENT]
        cells += [_ratio(middle(times.get(name)), ours) for name in RECURRENT if name != "fastnn"]
        cells += [f"{entry['gflops']:.1f}", f"{entry['gflops'] / entry['peak']:.0%}"]
        cells.append("-" if entry.get("stolen") is None else f"{entry['stolen']:.0%}")
        rows.append(_row(f"RNN {entry['network']} tanh, {entry['batch']}, sgd", cells))
    heads = [*RECURRENT, *(f"{name} / fastnn" for name in RECURRENT if name != "fastnn")]
    return _table("network, batch, optimizer", [*heads, "GFLOP/s", "of peak", "stolen"], rows)


def threads_table(results: Results) -> list[str]:
    rows, heads = [], []
    for key in NETWORKS:
        if key not in results["threads"]:
            continue
        entry = results["threads"][key]
        times = entry["microseconds"]
        one, many, own = (middle(each) for each in times.values())
        cells = [*map(_cell, times.values()), _ratio(one, many), _ratio(one, own), f"{entry['peak']:.2f}"]
        rows.append(_row(describe(key, entry["optimizer"]), cells))
        heads = [*times, "1 / all", "1 / own choice", "peak all / 1"]
    return _table("network, batch, optimizer", heads, rows)


def mnist_table(results: Results) -> list[str]:
    entries = sorted(results["mnist"].values(), key=lambda entry: int(entry["seed"]))
    rows = []
    for entry in entries:
        runs = entry["runs"]
        cells = []
        for name in FRAMEWORKS:
            run = runs.get(name)
            late = run and run["accuracy"] < TARGET
            cells.append(f"{run['seconds']:.2f} s, {run['epochs']}{'!' * bool(late)}" if run else "-")
        ours, torch = runs.get("fastnn", {}).get("seconds"), runs.get("PyTorch eager", {}).get("seconds")
        compiled = runs.get("PyTorch compile", {}).get("seconds")
        cells += [_ratio(torch, ours), _ratio(compiled, ours)]
        rows.append(_row(f"{entry['seed']}", cells))
    return _table("seed", [*FRAMEWORKS, "eager / fastnn", "compile / fastnn"], rows)


# What was asked for: the best peer's time over fastnn's, and the share of the FMA peak of all cores.
WANTED = {
    ("2-16-16-2", "sgd"): (4.0, None),
    ("64-32-10", "sgd"): (3.0, None),
    ("64-32-10", "adam"): (3.0, None),
    ("4-32-16-4", "adam"): (4.0, None),
    ("784-128-10", "sgd"): (2.0, None),
    ("784-128-10", "adam"): (2.0, None),
    ("784-512-512-10", "sgd"): (1.4, 0.8),
    ("784-512-512-10", "adam"): (1.4, 0.8),
    ("784-2048-2048-10", "sgd"): (1.2, 0.85),
}
WANTED_RECURRENT = {
    ("28x28-128-10", "JAX scan"): 2.0,
    ("28x28-128-10", "PyTorch eager"): 3.0,
    ("8x8-32-10", "JAX scan"): 4.0,
    ("8x8-32-10", "PyTorch eager"): 30.0,
}
EAGER = 100  # times PyTorch eager, for the smallest network
TWO_THREADS, OWN_CHOICE = 1.8, 1 / 1.03  # one thread's time over that of two, of the wide; and of fastnn's own choice
RACE_SECONDS, RACE = 3.0, 5.0


def _seen(what: str, wanted: str, seen: float, enough: bool, form: str = "{:.2f}", most: float | None = None) -> str:
    """A row of the table; `most` is what would be seen at the machine's peak, where that is known."""
    return _row(what, [wanted, form.format(seen), form.format(most) if most else "", "yes" if enough else "no"])


def targets_table(results: Results) -> list[str]:
    """What was asked for beside what was seen, of all that the other tables hold."""
    rows = []
    for entry in in_order(results.get("steps", {})):
        (ratio, share), times = WANTED[entry["network"], entry["optimizer"]], entry["microseconds"]
        what = describe(entry["network"], entry["optimizer"])
        ours, best, eager = middle(times["fastnn"]), best_peer(times), middle(times.get("PyTorch eager"))
        if ours and best:
            seen, most = best[1] / ours, best[1] * entry["peak"] / (ours * entry["gflops"])
            rows.append(_seen(f"{what}: best peer ({best[0]})", f"{ratio:g}", seen, seen >= ratio, most=most))
        if ours and eager and entry["network"] == "2-16-16-2":
            rows.append(_seen(f"{what}: PyTorch eager", f"{EAGER}", eager / ours, eager / ours >= EAGER, "{:.0f}"))
        if share:
            of_peak = entry["gflops"] / entry["peak"]
            rows.append(_seen(f"{what}: share of the peak", f"{share:.0%}", of_peak, of_peak >= share, "{:.0%}"))
    for (key, name), ratio in WANTED_RECURRENT.items():
        times = results.get("recurrent", {}).get(key, {}).get("microseconds", {})
        ours, other = middle(times.get("fastnn")), middle(times.get(name))
        if ours and other:
            rows.append(_seen(f"RNN {key}, sgd: {name}", f"{ratio:g}", other / ours, other / ours >= ratio))
    for key, entry in results.get("threads", {}).items():
        one, many, own = (statistics.median(times) for times in entry["microseconds"].values())
        what = describe(key, entry["optimizer"])
        if WANTED[key, entry["optimizer"]][1]:
            seen, most = one / many, entry["peak"]
            rows.append(_seen(f"{what}: all cores over one", f"{TWO_THREADS}", seen, seen >= TWO_THREADS, most=most))
        else:
            rows.append(_seen(f"{what}: own choice over one", f"{OWN_CHOICE:.2f}", one / own, one / own >= OWN_CHOICE))
    runs = [entry["runs"] for entry in results.get("mnist", {}).values()]
    ours = middle([each["fastnn"]["seconds"] for each in runs if "fastnn" in each])
    torch = middle(
        [
            min(run["seconds"] for name, run in each.items() if "PyTorch" in name)
            for each in runs
            if "PyTorch eager" in each
        ]
    )
    if ours:
        rows.append(_seen("MNIST to 98 %: seconds, at most", f"{RACE_SECONDS:g}", ours, ours <= RACE_SECONDS))
    if ours and torch:
        rows.append(_seen("MNIST to 98 %: the faster PyTorch", f"{RACE:g}", torch / ours, torch / ours >= RACE))
    return _table("work", ["asked for", "seen", "at the peak", "reached"], rows)


TABLES: dict[str, Callable[[Results], list[str]]] = {
    "steps": steps_table,
    "recurrent": recurrent_table,
    "threads": threads_table,
    "mnist": mnist_table,
}


def machine_lines(results: Results) -> list[str]:
    found = results["machine"]
    peaks = [entry["peak"] for entry in results.get("steps", {}).values()]
    peak = f"; FMA peak of all cores {min(peaks):.0f} to {max(peaks):.0f} GFLOP/s in float32" if peaks else ""
    return [f"{found['processor']}, {found['cores']} cores{peak}; {versions_in_words(found['versions'])}."]


def rewrite(path: Path, results: Results) -> None:
    """Write every table that there are results for into its place in the Markdown file."""
    text = path.read_text()
    blocks = {name: make(results) for name, make in TABLES.items() if name in results}
    for name, lines in {"machine": machine_lines(results), "targets": targets_table(results), **blocks}.items():
        # Cells are padded for the terminal; Markdown needs none of it.
        body = "\n".join(re.sub(r" {2,}", " ", line) for line in lines)
        text, count = re.subn(
            rf"(<!-- {name} -->\n).*?(<!-- /{name} -->)", lambda m, body=body: f"{m[1]}{body}\n{m[2]}", text, flags=re.S
        )
        if count != 1:
            raise SystemExit(f"{path}: expected one pair of lines <!-- {name} --> and <!-- /{name} -->, found {count}")
    path.write_text(text)


def main() -> int:
    from benchmarks import chart

    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("results", type=Path)
    options.add_argument("--markdown", type=Path, help="write the tables into this file")
    options.add_argument("--chart", type=Path, help="write the chart of ratios to this file, as SVG")
    chosen = options.parse_args()
    results = json.loads(chosen.results.read_text())
    if chosen.markdown:
        rewrite(chosen.markdown, results)
    if chosen.chart:
        chosen.chart.write_text(chart.svg(results))
    if not chosen.markdown and not chosen.chart:
        print("\n\n".join("\n".join(make(results)) for name, make in TABLES.items() if name in results))
    return 0


if __name__ == "__main__":
    sys.exit(main())
