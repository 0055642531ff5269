"""The command line: `fastnn` opens the terminal UI, `fastnn train` trains without it, `fastnn warmup` compiles,
`fastnn doctor` says what this machine has, `fastnn lab` computes what the lecture does.

Only argparse is imported before the arguments are read, so that `--help` and `--version` answer at once (0.05 s; the
engine takes Numba's 0.6 s to import). What is measured and saved goes to standard output, progress and errors to
standard error. Exit codes: 0, 2 for an error that the caller can mend (one line), 130 after Ctrl-C.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import json
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fastnn.options import UI_OPTIONS, fail, parse, versions

if TYPE_CHECKING:
    from types import FrameType

    from fastnn.progress import Progress
    from fastnn.runfile import Prepared, RunFile
    from fastnn.runs import RunFolder
    from fastnn.training import Snapshot

INTERRUPTED = 130  # what a shell reports for SIGINT: 128 + 2


def main(argv: Sequence[str] | None = None) -> int:
    """Run `fastnn` with `argv` (default: the process's own arguments) and return the exit code.

    Raises SystemExit where argparse ends a program: after --help and --version, and with code 2 for an argument
    that cannot be read.
    """
    arguments = list(sys.argv[1:] if argv is None else argv)
    options = argparse.Namespace(save=None)
    try:
        if not arguments or arguments[0].partition("=")[0] in UI_OPTIONS or arguments[0].endswith(".toml"):
            return _open_ui(arguments)
        if arguments[0] == "lab":
            from fastnn.lab import main as lab

            return _written(lab, arguments[1:])
        options = parse(arguments)
        return _written({"warmup": _warm_up, "doctor": _doctor, "train": _train}[options.command], options)
    except KeyboardInterrupt:  # while loading or compiling, or a second one
        return fail("interrupted; nothing is saved" if options.save else "interrupted", INTERRUPTED)


class _OutputError(Exception):
    """Standard output is full, or its reader has gone, as behind `| head`."""


class _Output:
    """Standard output, whose errors are told from those of other files."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        return self._told(self._stream.write, text)

    def flush(self) -> None:
        self._told(self._stream.flush)

    def _told(self, do: Callable[..., Any], *given: Any) -> Any:
        try:
            return do(*given)
        except OSError as reason:
            # What is left in it would be written when Python ends.
            with contextlib.suppress(OSError):
                os.dup2(os.open(os.devnull, os.O_WRONLY), self._stream.fileno())
            raise _OutputError(f"standard output: cannot be written ({reason.strerror})") from None


def _written(command: Callable[[Any], int], options: Any) -> int:
    """What `command` returns, once all that it printed is written; an error of standard output is one line, too."""
    output: Any = None if sys.stdout is None else _Output(sys.stdout)  # None: closed by the caller
    try:
        with contextlib.redirect_stdout(output):
            code = command(options)
            print(end="", flush=True)
    except _OutputError as reason:
        return fail(reason)
    return code


def _open_ui(arguments: list[str]) -> int:
    # A driver that is named replaces the terminal: textual-serve shows the UI in a browser that way.
    served = "--web" in arguments or "TEXTUAL_DRIVER" in os.environ
    streams = (sys.stdin, sys.stdout, sys.stderr)  # Textual draws on the last; None: closed
    if not served and not all(stream and stream.isatty() for stream in streams):
        where = "standard input, output and error"
        return fail(f"the terminal UI needs a terminal for {where}; `fastnn train` works without one")
    from tui.app import main as open_ui

    return int(open_ui(arguments) or 0)


# ---- compiling -------------------------------------------------------------------------------------------------------


def _warm_up(options: argparse.Namespace) -> int:
    from fastnn import compiler
    from fastnn.errors import check_choice
    from fastnn.network import DTYPES
    from fastnn.progress import show_parts
    from fastnn.warmup import warm_up

    try:
        dtypes = DTYPES if options.dtype is None else [check_choice("dtype", options.dtype, DTYPES)]
    except ValueError as reason:
        return fail(reason)
    with show_parts() as show:
        compiled, loaded, seconds = warm_up(dtypes, show)
    folder = compiler.cache_folder()
    if compiled:
        print(f"compiled {compiled} kernels in {seconds:.0f} s ({loaded} were there before); they are kept in {folder}")
    else:
        print(f"nothing to compile (0 compiled): all {loaded} kernels are in {folder}")
    return 0


def _doctor(options: argparse.Namespace) -> int:
    from fastnn.doctor import findings

    for name, found in findings():
        print(f"{name:<12}{found}")
    return 0


# ---- training --------------------------------------------------------------------------------------------------------


def _train(options: argparse.Namespace) -> int:
    from fastnn.errors import FastnnError
    from fastnn.progress import open_progress

    try:
        run = _prepare(options)
    except (FastnnError, ValueError, TypeError) as reason:
        return fail(reason)
    except MemoryError as reason:
        return fail(f"layers, data: too large for this machine's memory ({reason})")

    trainer = run.prepared.trainer
    steps = (trainer.epoch + run.epochs) * trainer.steps_per_epoch
    last = run.follow(open_progress(steps, quiet=options.json))
    if run.folder is not None and run.folder.problem:
        print("fastnn:", run.folder.problem, file=sys.stderr)
    if last.state == "diverged":
        return fail(f"{last.message}; nothing is saved" if options.save else last.message)
    if options.save:
        try:
            run.prepared.network.save(options.save)
        except FastnnError as reason:
            return fail(reason)
    if options.json:
        print(json.dumps(run.result(last, options.save), allow_nan=False))
    if last.state == "stopped":
        saved = f"; the network so far is saved to {options.save}" if options.save else ""
        return fail(f"interrupted in epoch {last.epoch} of {last.epochs}, after step {last.step}{saved}", INTERRUPTED)
    if not options.json:
        print(_summary(last))
    return 0


@dataclass(frozen=True)
class _Run:
    """A training that is ready to start, and where it is kept."""

    prepared: Prepared
    folder: RunFolder | None
    threads: int | None

    @property
    def config(self) -> dict[str, Any]:
        """What was asked for, with what was left to the data; the layers are all of them."""
        run, network = self.prepared.run, self.prepared.network
        table = run.table() | {"data": self.prepared.data.name, "layers": list(network.sizes)}
        return {**table, "threads": self.threads}

    @property
    def epochs(self) -> int:
        """Epochs to go: the rest of a run that is taken up again, or as many again after a finished one."""
        wanted = self.prepared.run.epochs
        left = wanted - self.prepared.trainer.epoch
        return left if left > 0 else wanted

    def follow(self, progress: Progress) -> Snapshot:
        """Train to the end, showing `progress`; Ctrl-C ends it after the chunk that is being computed."""
        trainer, folder = self.prepared.trainer, self.folder
        with _ctrl_c() as pressed, progress:
            for snapshot in trainer.run(self.epochs):
                if pressed.is_set():
                    trainer.stop()
                if folder is not None:
                    folder.follow(trainer, snapshot)
                progress.show(snapshot)
        if folder is not None:
            folder.note(snapshot.message or f"{snapshot.state} at step {snapshot.step}")
            folder.close(trainer, snapshot)
        return snapshot

    def result(self, last: Snapshot, saved: str | None) -> dict[str, Any]:
        """What `--json` prints."""
        from fastnn.runs import or_none

        trainer = self.prepared.trainer
        rows, epochs = len(self.prepared.data.x_train), trainer.epoch
        rest = last.step - epochs * trainer.steps_per_epoch  # of an epoch that was interrupted
        history = {name: [or_none(x) for x in xs] for name, xs in dataclasses.asdict(trainer.history).items()}
        return {
            "config": self.config,
            "history": history,
            "state": last.state,
            "test_loss": or_none(last.val_loss),
            "test_accuracy": last.val_accuracy,
            "seconds": last.seconds,
            "steps": last.step,
            "samples_per_second": (epochs * rows + rest * trainer.batch_size) / last.seconds,
            "saved": saved,
            "folder": None if self.folder is None else str(self.folder.path),
            "versions": versions(),
        }


def _summary(last: Snapshot) -> str:
    """The line a person reads at the end."""
    score = f"loss {last.val_loss:.4g}" if last.val_accuracy is None else f"accuracy {last.val_accuracy:.2%}"
    seconds = f"{last.seconds:.2f}" if last.seconds >= 1 else f"{last.seconds:.2g}"
    counts = [f"{n} {what}{'' if n == 1 else 's'}" for n, what in ((last.epochs, "epoch"), (last.step, "step"))]
    return f"test {score} after {counts[0]} ({counts[1]}) in {seconds} s"


def _prepare(options: argparse.Namespace) -> _Run:
    """Load the data and make network and trainer; raises ValueError, TypeError or FastnnError for bad options."""
    from fastnn import checkpoint, runfile, runs
    from fastnn.errors import FastnnError
    from fastnn.stack import check_activation

    if options.save is not None:
        checkpoint.check_writable(options.save)  # now, and not after an hour of training
    if options.resume is not None:
        given = [name for name in ("run", *_RUN_OPTIONS) if getattr(options, name) is not None]
        if given or options.no_keep:
            what = given[0].replace("_", "-") if given else "no-keep"
            raise ValueError(f"resume: given with {what}; a run goes on as it is")
        folder, prepared = runs.resume(Path(options.resume), threads=options.threads)
        return _Run(prepared, folder, options.threads)
    asked = _asked(options)
    try:
        data = runfile.load_data(asked)
        if options.activation is not None:
            check_activation(asked, data)
        prepared = runfile.build(asked, data=data, threads=options.threads)
    except (FastnnError, ValueError, TypeError) as reason:
        if options.run is None or any(getattr(options, name) is not None for name in ("threads", *_RUN_OPTIONS)):
            raise  # it may be about an option
        raise ValueError(f"{options.run}: {reason}") from None
    return _Run(prepared, None if options.no_keep else runs.RunFolder.create(prepared.run), options.threads)


_SETTINGS = ("lr", "momentum", "nesterov", "weight_decay", "clip")
_PLAIN = (
    "layers",
    "cell",
    "activation",
    "init",
    "loss",
    "epochs",
    "batch_size",
    "seed",
    "dtype",
    "device",
    "precision",
)
_OF_DATA = ("label", "task", "standardize")
_RUN_OPTIONS = ("data", *_OF_DATA, "optimizer", *_SETTINGS, *_PLAIN)


def _asked(options: argparse.Namespace) -> RunFile:
    """The run file, if there is one, with what the options change in it."""
    from fastnn import runfile

    if options.run is not None and not options.run.endswith(".toml"):
        raise ValueError(f"run: {options.run!r}; expected a run file (.toml); a data set goes after --data")
    run = runfile.RunFile() if options.run is None else runfile.read(options.run)
    given = {name: getattr(options, name) for name in _RUN_OPTIONS if getattr(options, name) is not None}
    changes = {name: given[name] for name in _PLAIN if name in given}
    if "layers" in changes:
        changes["layers"] = tuple(changes["layers"])
    if "data" in given:
        changes |= {"data": runfile.located(given["data"], Path.cwd()), "data_options": {}}
    of_data = {name: given[name] for name in _OF_DATA if name in given}
    changes["data_options"] = {**changes.get("data_options", run.data_options), **of_data}
    if given.get("optimizer", run.optimizer) != run.optimizer:
        changes |= {"optimizer": given["optimizer"], "optimizer_options": {}}
    settings = {name: given[name] for name in _SETTINGS if name in given}
    changes["optimizer_options"] = {**changes.get("optimizer_options", run.optimizer_options), **settings}
    return dataclasses.replace(run, **changes)


@contextlib.contextmanager
def _ctrl_c() -> Iterator[threading.Event]:
    """Within: the first Ctrl-C sets the event; a second one raises KeyboardInterrupt, as outside."""
    pressed = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield pressed  # Python delivers signals to the main thread only
        return

    def set_once(_signal: int, _frame: FrameType | None) -> None:
        signal.signal(signal.SIGINT, before)
        pressed.set()

    before = signal.signal(signal.SIGINT, set_once)
    try:
        yield pressed
    finally:
        signal.signal(signal.SIGINT, before)
