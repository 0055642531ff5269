"""The command line: `fastnn` opens the terminal UI, `fastnn train` trains without it, `fastnn warmup` compiles.

Only argparse is imported before the arguments are read, so that `--help` and `--version` answer at once (0.05 s; the
engine takes Numba's 0.6 s to import). What is measured and saved goes to standard output, progress and errors to
standard error. Exit codes: 0, 2 for an error that the caller can mend (one line), 130 after Ctrl-C.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import difflib
import json
import math
import os
import signal
import sys
import threading
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from fastnn.version import __version__

if TYPE_CHECKING:
    from types import FrameType

    from fastnn.progress import Progress
    from fastnn.runfile import Prepared, RunFile
    from fastnn.runs import RunFolder
    from fastnn.training import Snapshot

BAD_INPUT = 2
UI_OPTIONS = ("--ascii", "--marker", "--theme", "--fps", "--keys")  # read by tui.options
INTERRUPTED = 130  # what a shell reports for SIGINT: 128 + 2


def main(argv: Sequence[str] | None = None) -> int:
    """Run `fastnn` with `argv` (default: the process's own arguments) and return the exit code.

    Raises SystemExit where argparse ends a program: after --help and --version, and with code 2 for an argument
    that cannot be read.
    """
    arguments = list(sys.argv[1:] if argv is None else argv)
    options = argparse.Namespace(save=None)
    try:
        if not arguments or arguments[0] in UI_OPTIONS or arguments[0].endswith(".toml"):
            return _open_ui(arguments)
        options = _parse(arguments)
        return _warm_up(options) if options.command == "warmup" else _train(options)
    except KeyboardInterrupt:  # while loading or compiling, or a second one
        return _fail("interrupted; nothing is saved" if options.save else "interrupted", INTERRUPTED)


def _open_ui(arguments: list[str]) -> int:
    # A driver that is named replaces the terminal: textual-serve shows the UI in a browser that way.
    if not (sys.stdin.isatty() and sys.stdout.isatty()) and "TEXTUAL_DRIVER" not in os.environ:
        return _fail("the terminal UI needs a terminal; `fastnn train` works without one")
    from tui.app import main as open_ui

    return int(open_ui(arguments) or 0)


def _fail(reason: object, code: int = BAD_INPUT) -> int:
    """Print `reason` in one line on standard error and return `code`."""
    # The one argument of the library's that has another name as an option.
    line = " ".join(str(reason).replace("name_or_path:", "data:").split())
    print("fastnn:", line, file=sys.stderr)
    return code


# ---- arguments -------------------------------------------------------------------------------------------------------


class _Parser(argparse.ArgumentParser):
    """argparse with errors of one line, and the names of choices read from the registries when help is asked for."""

    def error(self, message: str) -> NoReturn:
        raise SystemExit(_fail(f"{message} (`{self.prog} --help` lists what there is)"))


class _TrainParser(_Parser):
    def format_help(self) -> str:
        self.epilog = _choices()
        return super().format_help()


class _Version(argparse.Action):
    def __call__(self, parser: argparse.ArgumentParser, *_: Any, **__: Any) -> NoReturn:
        names = (f"{name} {version}" for name, version in _versions().items())
        print(", ".join(names))
        parser.exit()


def _versions() -> dict[str, str]:
    from importlib import metadata  # not `import numba`: 0.6 s to learn a number
    from platform import python_version

    found = {"fastnn": __version__}
    for name in ("numba", "numpy"):
        with contextlib.suppress(metadata.PackageNotFoundError):
            found[name] = metadata.version(name)
    return found | {"python": python_version()}


def _choices() -> str:
    from fastnn.activations import ACTIVATIONS
    from fastnn.datasets import DATASETS
    from fastnn.initializers import INITIALIZERS
    from fastnn.losses import LOSSES
    from fastnn.optimizers import OPTIMIZERS

    registries: dict[str, Iterable[str]] = {
        "data": DATASETS,
        "activation": ACTIVATIONS,
        "init": INITIALIZERS,
        "loss": LOSSES,
        "optimizer": OPTIMIZERS,
    }
    return "\n".join(["names:", *(f"  --{option:<11}{', '.join(names)}" for option, names in registries.items())])


def _sizes(text: str) -> list[int]:
    """The hidden layers' sizes: "64" or "128,64"; "none" for a network without hidden layers."""
    if text == "none":
        return []
    try:
        return [int(size) for size in text.split(",")]
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r}: expected sizes like 64 or 128,64, or none") from None


def _column(text: str) -> str | int:
    try:
        return int(text)
    except ValueError:
        return text


def _parse(arguments: list[str]) -> argparse.Namespace:
    parser = _Parser(
        prog="fastnn",
        description="Dense neural networks on compiled kernels. Without arguments it opens the terminal UI, "
        "which takes --ascii, --marker, --theme, --fps and --keys FILE, and a run file (TOML) to open.",
        allow_abbrev=False,
    )
    parser.add_argument("--version", action=_Version, nargs=0, help="the versions of fastnn, numba, numpy and python")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True, parser_class=_TrainParser)
    train = commands.add_parser(
        "train",
        help="train a network without the terminal UI",
        description="Train a network and print its test accuracy. Options come before what the run file says. The run "
        "is kept in a folder of $FASTNN_RUNS, or of the user's data folder.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    known = _add_train_options(train)
    warmup = commands.add_parser(
        "warmup",
        help="compile everything once, so that nothing waits for it later",
        description="Compile every kernel for this machine; they are kept on disk.",
        allow_abbrev=False,
    )
    warmup.add_argument("--dtype", help="float32 or float64 (default: both)", metavar="NAME")
    options, unknown = parser.parse_known_args(arguments)
    if unknown and options.command == "warmup":
        warmup.error(f"unknown argument {unknown[0]!r}")
    if unknown:
        near = difflib.get_close_matches(unknown[0].partition("=")[0], known, n=1)
        hint = f"; did you mean {near[0]}?" if near else ""
        train.error(f"unknown argument {unknown[0]!r}{hint}")
    return options


def _add_train_options(train: argparse.ArgumentParser) -> list[str]:
    known: list[str] = ["--help"]

    def add(option: str, help: str, **settings: Any) -> None:
        known.extend(train.add_argument(option, help=help, **settings).option_strings)

    train.add_argument("run", nargs="?", metavar="RUN.toml", help="a run file; what it lacks is as below")
    add("--data", "a built-in data set, a CSV or NPY file or a folder of IDX files (default: digits)", metavar="DATA")
    add("--label", "name or number of a file's label column (default: the last)", type=_column, metavar="COLUMN")
    add("--layers", "sizes of the hidden layers, such as 128,64, or none (default: 32)", type=_sizes)
    add("--activation", "of the hidden layers (default: relu)", metavar="NAME")
    add("--init", "how the weights start (default: he)", metavar="NAME")
    add("--loss", "default: cross_entropy for classes, mse for numbers", metavar="NAME")
    add("--optimizer", "default: adam", metavar="NAME")
    add("--lr", "learning rate (default: the optimizer's own; 0.1 for sgd)", type=float)
    add("--momentum", "of the optimizer sgd", type=float)
    add("--nesterov", "Nesterov's momentum, of the optimizer sgd", action="store_true", default=None)
    add("--weight-decay", "of the optimizer sgd", type=float)
    add("--epochs", "passes over the training part (default: 20)", type=int, metavar="N")
    add("--batch-size", "rows a step (default: 32, or all where there are fewer)", type=int, metavar="N")
    add("--seed", "of initialization and shuffling (default: 0)", type=int, metavar="N")
    add("--dtype", "float32 or float64 (default: float32)", metavar="NAME")
    add("--threads", "default: chosen by what steps take; the results are the same bits", type=int, metavar="N")
    add("--resume", "go on with the run kept in this folder, to the bit", metavar="FOLDER")
    add("--no-keep", "keep no folder of this run", action="store_true")
    add("--save", "save the trained network to this file (safetensors)", metavar="FILE")
    add("--json", "print one JSON object and nothing else on standard output", action="store_true")
    return known


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
        return _fail(reason)
    with show_parts() as show:
        compiled, loaded, seconds = warm_up(dtypes, show)
    folder = compiler.cache_folder()
    if compiled:
        print(f"compiled {compiled} kernels in {seconds:.0f} s ({loaded} were there before); they are kept in {folder}")
    else:
        print(f"nothing to compile (0 compiled): all {loaded} kernels are in {folder}")
    return 0


# ---- training --------------------------------------------------------------------------------------------------------


def _train(options: argparse.Namespace) -> int:
    from fastnn.errors import FastnnError
    from fastnn.progress import open_progress

    try:
        run = _prepare(options)
    except (FastnnError, ValueError, TypeError) as reason:
        return _fail(reason)
    except MemoryError as reason:
        return _fail(f"layers, data: too large for this machine's memory ({reason})")

    trainer = run.prepared.trainer
    steps = (trainer.epoch + run.epochs) * trainer.steps_per_epoch
    last = run.follow(open_progress(steps, quiet=options.json))
    if run.folder is not None and run.folder.problem:
        print("fastnn:", run.folder.problem, file=sys.stderr)
    if last.state == "diverged":
        return _fail(f"{last.message}; nothing is saved" if options.save else last.message)
    if options.save:
        try:
            run.prepared.network.save(options.save)
        except FastnnError as reason:
            return _fail(reason)
    if options.json:
        print(json.dumps(run.result(last, options.save), allow_nan=False))
    if last.state == "stopped":
        saved = f"; the network so far is saved to {options.save}" if options.save else ""
        return _fail(f"interrupted in epoch {last.epoch} of {last.epochs}, after step {last.step}{saved}", INTERRUPTED)
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
        trainer = self.prepared.trainer
        rows, epochs = len(self.prepared.data.x_train), trainer.epoch
        rest = last.step - epochs * trainer.steps_per_epoch  # of an epoch that was interrupted
        history = {name: [_or_null(x) for x in xs] for name, xs in dataclasses.asdict(trainer.history).items()}
        return {
            "config": self.config,
            "history": history,
            "state": last.state,
            "test_loss": _or_null(last.val_loss),
            "test_accuracy": last.val_accuracy,
            "seconds": last.seconds,
            "steps": last.step,
            "samples_per_second": (epochs * rows + rest * trainer.batch_size) / last.seconds,
            "saved": saved,
            "folder": None if self.folder is None else str(self.folder.path),
            "versions": _versions(),
        }


def _or_null(number: float | None) -> float | None:
    """JSON has no NaN and no infinity: a loss that is one is null."""
    return number if number is not None and math.isfinite(number) else None


def _summary(last: Snapshot) -> str:
    """The line a person reads at the end."""
    score = f"loss {last.val_loss:.4g}" if last.val_accuracy is None else f"accuracy {last.val_accuracy:.2%}"
    seconds = f"{last.seconds:.2f}" if last.seconds >= 1 else f"{last.seconds:.2g}"
    return f"test {score} after {last.epochs} epochs ({last.step} steps) in {seconds} s"


def _prepare(options: argparse.Namespace) -> _Run:
    """Load the data and make network and trainer; raises ValueError, TypeError or FastnnError for bad options."""
    from fastnn import checkpoint, runfile, runs

    if options.save is not None:
        checkpoint.check_writable(options.save)  # now, and not after an hour of training
    if options.resume is not None:
        given = [name for name in ("run", *_RUN_OPTIONS) if getattr(options, name) is not None]
        if given or options.no_keep:
            what = given[0].replace("_", "-") if given else "no-keep"
            raise ValueError(f"resume: given with {what}; a run goes on as it is")
        folder, prepared = runs.resume(Path(options.resume), threads=options.threads)
        return _Run(prepared, folder, options.threads)
    prepared = runfile.build(_asked(options), threads=options.threads)
    return _Run(prepared, None if options.no_keep else runs.RunFolder.create(prepared.run), options.threads)


_SETTINGS = ("lr", "momentum", "nesterov", "weight_decay")
_PLAIN = ("layers", "activation", "init", "loss", "epochs", "batch_size", "seed", "dtype")
_RUN_OPTIONS = ("data", "label", "optimizer", *_SETTINGS, *_PLAIN)


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
    if "label" in given:
        changes["data_options"] = {**changes.get("data_options", run.data_options), "label": given["label"]}
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
