"""The terminal UI beside training: `python -m benchmarks.ui` opens it in a pseudo-terminal and measures.

What it prints, each as a line of JSON:
  rate     steps a second with the Train screen open at 160x45, against a trainer of the same process while the screen
           rests, for one training thread and for two: turns of a second each, and the median of their ratios, for on a
           machine that others use too speeds of separate runs differ by a fifth; and how many frames a second it drew
  lag      how late the event loop's own timer is while training runs: p50, p95, p99, in milliseconds; and the share
           of one core that the UI's own thread takes meanwhile
  key      from a key to the end of the frame that shows its effect: p50, p95, in milliseconds; and (whole) of the frame
           that shows it in every plot that it changes
  start    from starting the process to the first frame, with a warm cache, in seconds
  memory   growth of the process over `--seconds` of training on screen, in megabytes; half an hour beside other work:
           `python -m benchmarks.ui memory --threads 1 --seconds 1800 --limit 2000`
A part of them: `python -m benchmarks.ui rate --threads 1`. Rate, lag and key with another mode open, by its key, or on
other data: `python -m benchmarks.ui rate --mode 3 --data spirals`. All but start on a GPU: `--device cuda`; or with a
training that only waits as for one, on a machine that has none, and processors to spare: `--device waits`.
"""

from __future__ import annotations

import argparse
import json
import os
import pty
import resource
import select
import statistics
import struct
import subprocess
import sys
import tempfile
import time
from array import array
from typing import Any

import numpy as np

SIZE = (160, 45)
MODE, DATA = os.environ.get("FASTNN_UI_MODE", "1"), os.environ.get("FASTNN_UI_DATA", "digits")
DEVICE = os.environ.get("FASTNN_UI_DEVICE", "cpu")
CONFIG: dict[str, Any] = {
    "data": DATA, "layers": (128, 64), "learning_rate": 0.001, "epochs": 1_000_000,
    "device": "cpu" if DEVICE == "waits" else DEVICE,
}  # fmt: skip


# ---- inside the pseudo-terminal --------------------------------------------------------------------------------------


def wait_for_steps() -> None:
    """Have training wait where it would compute: 50 us a step, after a dozen calls that let go of Python's lock."""
    from fastnn.cpu.engine import Runner
    from fastnn.runner import Result
    from tui.view import View

    def call(self: Any, steps: int, table: Any, work: Any, workers: int, validation: Any) -> Result:
        ends = time.perf_counter() + steps * 50e-6
        self._rounded(table)
        result = Result(np.full(steps, 0.5), np.zeros(steps), self._rows(steps), validation, False)
        for _ in range(12):
            os.sched_yield()
        time.sleep(max(0.0, ends - time.perf_counter()))
        return result

    Runner.call = call  # type: ignore[method-assign]
    View.crowded = property(lambda self: False)  # type: ignore[assignment,method-assign]


def app_with(threads: int) -> Any:
    """The app on the real engine."""
    from tui.app import FastnnApp
    from tui.config import RunConfig
    from tui.engine import Engine

    return FastnnApp(Engine(threads), RunConfig(**CONFIG))


def child(part: str, threads: int, seconds: float, limit: float | None) -> dict[str, Any]:
    """One measurement with the screen open; the result goes to a file whose name is in the environment."""
    if DEVICE == "waits":
        wait_for_steps()
    app = app_with(threads)
    result: dict[str, Any] = {}

    async def drive() -> None:
        import asyncio

        session = app.session
        while session.view.state != "ready":
            await asyncio.sleep(0.02)
        session.set_limit(limit)
        app.simulate_key(MODE)
        await asyncio.sleep(0.5)
        if part == "rate":
            result.update(await turns(app, threads, seconds))
            app.exit()
            return
        app.simulate_key("space")
        await asyncio.sleep(1.0)
        if part == "key":
            result.update(await keys(app, seconds))
        else:
            pause = 0.005 if part == "lag" else 0.1
            first, began = session.view.snapshot, time.perf_counter()
            memory, lags, worked = resident(), array("f"), time.thread_time()
            while time.perf_counter() - began < seconds:
                before = time.perf_counter()
                await asyncio.sleep(pause)
                lags.append(time.perf_counter() - before - pause)
            last, took = session.view.snapshot, time.perf_counter() - began
            drawing = (time.thread_time() - worked) / took
            if session.view.state != "running":
                raise RuntimeError(f"{session.view.state} at step {last.step}: {session.view.message}")
            result.update(
                rate=(last.step - first.step) / took, lags=lags.tolist(), grown=resident() - memory, drawing=drawing
            )
        app.exit()

    app.call_after_refresh(lambda: app.run_worker(drive()))
    app.run()
    return result


async def turns(app: Any, threads: int, seconds: float) -> dict[str, Any]:
    """Steps a second on screen and without one, in turns of a second after a fifth of one to settle; and frames."""
    import asyncio

    from tui.config import RunConfig
    from tui.engine import Engine

    session, chunks = app.session, []
    add = session.record.add
    session.record.add = lambda snapshot: (chunks.append((time.perf_counter(), snapshot.step)), add(snapshot))
    display, frames = app._display, []
    app._display = lambda *what: (display(*what), frames.append(time.perf_counter()))
    engine = Engine(threads)
    engine.load(lambda _message: None)
    plain = engine.build(RunConfig(**CONFIG)).trainer
    plain.watch("activations", seconds=1000.0)
    going = plain.run(CONFIG["epochs"])

    def alone() -> float:
        end = time.perf_counter() + 1.2
        seen = [(time.perf_counter(), snapshot.step) for snapshot in iter_until(going, end)]
        return speed(seen, end - 1.0)

    pairs, drawn, until = [], [], time.perf_counter() + seconds
    while time.perf_counter() < until:
        app.simulate_key("space")
        await asyncio.sleep(1.2)
        begin = time.perf_counter() - 1.0
        shown = speed(chunks, begin)
        drawn.append(sum(frame >= begin for frame in frames))
        app.simulate_key("space")
        while session.view.state != "paused":
            await asyncio.sleep(0.02)
        await asyncio.sleep(0.3)  # the last frame is drawn
        pairs.append((await asyncio.to_thread(alone), shown))
        chunks.clear()
        frames.clear()
    return {"pairs": pairs[1:], "frames": drawn[1:]}


def iter_until(going: Any, end: float) -> Any:
    """Items of an iterator until a time."""
    while time.perf_counter() < end:
        yield next(going)


def speed(chunks: list[tuple[float, int]], begin: float) -> float:
    """Steps a second between the first and the last chunk since a time."""
    seen = [chunk for chunk in chunks if chunk[0] >= begin]
    return (seen[-1][1] - seen[0][1]) / (seen[-1][0] - seen[0][0])


# Keys of each mode that draw at once, pressed in turn, what they change, and what shows it: the loss axis, the view of
# all layers, the cursor of a decision or the row of a test part (which soon meets the edge with one key alone).
KEYS: dict[str, tuple[tuple[str, ...], Any, str]] = {
    "1": (("y",), lambda screen: screen.display_as.log_y, "#main"),
    "2": (("v",), lambda screen: screen.query_one("LayerGrid").form, "LayerPlot"),
    "3": (
        ("right", "left"),
        lambda screen: (str(screen.query_one("BoundaryMap").cursor), screen.selection.at),
        ".-active",
    ),
}


async def keys(app: Any, seconds: float) -> dict[str, Any]:
    """How long a key takes to reach the screen: the first plot that shows it, and all of those that do."""
    import asyncio

    first, whole, began, (names, changed, where) = [], [], time.perf_counter(), KEYS[MODE]
    frames: list[tuple[float, list[bool]]] = []
    display, plots = app._display, []

    def noted(*what: Any) -> None:
        display(*what)
        frames.append((time.perf_counter(), [plot._strips is not old for plot, old in plots]))

    app._display = noted
    while time.perf_counter() - began < seconds:
        pressed, look = time.perf_counter(), changed(app.base)
        plots = [(plot, plot._strips) for plot in app.base.query(where) if plot.region]
        frames.clear()
        app.simulate_key(names[len(first) % len(names)])
        while changed(app.base) == look or not (frames and all(frames[-1][1])):
            await asyncio.sleep(0.001)
        for enough, took in ((any, first), (all, whole)):
            took.append(next(painted for painted, shown in frames if enough(shown)) - pressed)
        await asyncio.sleep(0.15)
    return {"keys": first, "whole": whole}


def resident() -> float:
    """Memory of this process now, in megabytes."""
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * resource.getpagesize() / 1e6


# ---- outside ---------------------------------------------------------------------------------------------------------


def in_terminal(arguments: list[str], *, until: bytes | None = None) -> tuple[bytes, float]:
    """Run this module in a pseudo-terminal of SIZE; its output, and the seconds to `until` (or to its end)."""
    parent, child_end = pty.openpty()
    import fcntl
    import termios

    fcntl.ioctl(child_end, termios.TIOCSWINSZ, struct.pack("HHHH", SIZE[1], SIZE[0], 0, 0))
    environment = {**os.environ, "TERM": "xterm-256color", "COLORTERM": "truecolor", "LANG": "C.UTF-8"}
    for name in ("NO_COLOR", "LC_ALL", "COLUMNS", "LINES"):
        environment.pop(name, None)
    began = time.perf_counter()
    process = subprocess.Popen(arguments, stdin=child_end, stdout=child_end, stderr=child_end, env=environment)
    os.close(child_end)
    output, seen = b"", 0.0
    while True:
        ready, _, _ = select.select([parent], [], [], 0.2)
        try:
            new = os.read(parent, 1 << 16) if ready else b""
        except OSError:
            break
        output += new
        if until is not None and not seen and until in output:
            seen = time.perf_counter() - began
            os.write(parent, b"q")
        if process.poll() is not None and not new:
            break
    os.close(parent)
    return output, seen or time.perf_counter() - began


def screen(part: str, threads: int, seconds: float, limit: float | None = None) -> dict[str, Any]:
    """A child's result."""
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "result.json")
        os.environ |= {"FASTNN_UI_RESULT": path, "FASTNN_RUNS": folder}
        command = [sys.executable, "-m", "benchmarks.ui", part, "--child"]
        command += ["--threads", str(threads), "--seconds", str(seconds)]
        output, _ = in_terminal(command if limit is None else [*command, "--limit", str(limit)])
        if not os.path.exists(path):
            raise SystemExit(f"the UI ended without a result: {output[-2000:].decode(errors='replace')}")
        with open(path) as file:
            result: dict[str, Any] = json.load(file)
        return result


def quantiles(values: list[float]) -> dict[str, float]:
    """p50, p95, p99 and the number of values, in milliseconds."""
    cuts = statistics.quantiles(values, n=100)
    return {"p50": cuts[49] * 1e3, "p95": cuts[94] * 1e3, "p99": cuts[98] * 1e3, "n": len(values)}


def measure(part: str, threads: list[int], seconds: float, rounds: int, limit: float | None) -> None:
    """Measure and print one part."""
    if part == "start":
        command = [sys.executable, "-m", "tui"]
        took = [in_terminal(command, until=b"Train")[1] for _ in range(rounds)]
        print(json.dumps({"part": part, "seconds": sorted(took)}))
        return
    for count in threads:
        if part == "rate":
            seen = screen(part, count, seconds)
            pairs = seen["pairs"]
            alone, shown = (statistics.median(column) for column in zip(*pairs, strict=True))
            shares = statistics.quantiles([shown / alone for alone, shown in pairs], n=4)
            told = {"headless": alone, "on_screen": shown, "share": shares[1], "quartiles": shares, "turns": len(pairs)}
            told["frames"] = statistics.median(seen["frames"])
        elif part == "key":
            seen = screen(part, count, seconds)
            told = {**quantiles(seen["keys"]), "whole": quantiles(seen["whole"])}
        elif part == "lag":
            seen = screen(part, count, seconds)
            told = {**quantiles(seen["lags"]), "drawing": seen["drawing"]}
        else:
            seen = screen(part, count, seconds, limit)
            told = {"grown_mb": seen["grown"], "steps": seen["rate"] * seconds, "seconds": seconds}
        print(json.dumps({"part": part, "threads": count, **told}), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("part", nargs="?", choices=("rate", "lag", "key", "start", "memory"))
    parser.add_argument("--threads", type=int, action="append")
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--limit", type=float, help="of memory: train so many steps a second at most")
    parser.add_argument("--mode", default=MODE, choices=KEYS, help="the key of the mode that is open")
    parser.add_argument("--data", default=DATA, help="the data set that is trained on")
    parser.add_argument("--device", default=DEVICE, choices=("cpu", "cuda", "waits"), help="what trains")
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    threads = options.threads or [1, 2]
    os.environ |= {"FASTNN_UI_MODE": options.mode, "FASTNN_UI_DATA": options.data, "FASTNN_UI_DEVICE": options.device}
    if options.child:
        result = child(options.part, threads[0], options.seconds, options.limit)
        if result:
            with open(os.environ["FASTNN_UI_RESULT"], "w") as file:
                json.dump(result, file)
        return
    for part in [options.part] if options.part else ["rate", "lag", "key", "start", "memory"]:
        measure(part, threads, options.seconds, options.rounds, options.limit)


if __name__ == "__main__":
    main()
