"""The command line: `fastnn` opens the terminal UI, `fastnn train` trains without it.

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
from typing import TYPE_CHECKING, Any, NoReturn

from fastnn.version import __version__

if TYPE_CHECKING:
    from types import FrameType

    from fastnn.datasets import Dataset
    from fastnn.network import Network
    from fastnn.progress import Progress
    from fastnn.training import Snapshot, Trainer

DEFAULT_RATE = 0.1  # of an optimizer without a default of its own
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
        if not arguments or arguments[0] in UI_OPTIONS:
            return _open_ui(arguments)
        options = _parse(arguments)
        return _train(options)
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
        "which takes --ascii, --marker, --theme, --fps and --keys FILE.",
        allow_abbrev=False,
    )
    parser.add_argument("--version", action=_Version, nargs=0, help="the versions of fastnn, numba, numpy and python")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True, parser_class=_TrainParser)
    train = commands.add_parser(
        "train",
        help="train a network without the terminal UI",
        description="Train a network and print its test accuracy.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    known = _add_train_options(train)
    options, unknown = parser.parse_known_args(arguments)
    if unknown:
        near = difflib.get_close_matches(unknown[0].partition("=")[0], known, n=1)
        hint = f"; did you mean {near[0]}?" if near else ""
        train.error(f"unknown argument {unknown[0]!r}{hint}")
    return options


def _add_train_options(train: argparse.ArgumentParser) -> list[str]:
    known: list[str] = ["--help"]

    def add(option: str, help: str, **settings: Any) -> None:
        known.extend(train.add_argument(option, help=help, **settings).option_strings)

    add("--data", "a built-in data set, a CSV or NPY file or a folder of IDX files", default="digits", metavar="DATA")
    add("--label", "name or number of a file's label column (default: the last)", type=_column, metavar="COLUMN")
    add("--layers", "sizes of the hidden layers, such as 128,64, or none (default: 32)", type=_sizes, default=[32])
    add("--activation", "of the hidden layers (default: relu)", default="relu", metavar="NAME")
    add("--init", "how the weights start (default: he)", default="he", metavar="NAME")
    add("--loss", "default: cross_entropy for classes, mse for numbers", metavar="NAME")
    add("--optimizer", "default: adam", default="adam", metavar="NAME")
    add("--lr", "learning rate (default: the optimizer's own; 0.1 for sgd)", type=float)
    add("--momentum", "of the optimizer sgd", type=float)
    add("--nesterov", "Nesterov's momentum, of the optimizer sgd", action="store_true", default=None)
    add("--weight-decay", "of the optimizer sgd", type=float)
    add("--epochs", "passes over the training part (default: 20)", type=int, default=20, metavar="N")
    add("--batch-size", "rows a step (default: 32, or all where there are fewer)", type=int, metavar="N")
    add("--seed", "of initialization and shuffling (default: 0)", type=int, default=0, metavar="N")
    add("--threads", "default: chosen by what steps take; the results are the same bits", type=int, metavar="N")
    add("--dtype", "float32 or float64 (default: float32)", default="float32", metavar="NAME")
    add("--save", "save the trained network to this file (safetensors)", metavar="FILE")
    add("--json", "print one JSON object and nothing else on standard output", action="store_true")
    return known


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

    last = run.follow(open_progress(run.config["epochs"] * run.trainer.steps_per_epoch, quiet=options.json))
    if last.state == "diverged":
        return _fail(f"{last.message}; nothing is saved" if options.save else last.message)
    if options.save:
        try:
            run.network.save(options.save)
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
    """A training that is ready to start, and what it was asked to be."""

    config: dict[str, Any]
    data: Dataset
    network: Network
    trainer: Trainer

    def follow(self, progress: Progress) -> Snapshot:
        """Train to the end, showing `progress`; Ctrl-C ends it after the chunk that is being computed."""
        with _ctrl_c() as pressed, progress:
            for snapshot in self.trainer.run(self.config["epochs"]):
                if pressed.is_set():
                    self.trainer.stop()
                progress.show(snapshot)
        return snapshot

    def result(self, last: Snapshot, saved: str | None) -> dict[str, Any]:
        """What `--json` prints."""
        rows, epochs = len(self.data.x_train), self.trainer.epoch
        rest = last.step - epochs * self.trainer.steps_per_epoch  # of an epoch that was interrupted
        history = {name: [_or_null(x) for x in xs] for name, xs in dataclasses.asdict(self.trainer.history).items()}
        return {
            "config": self.config,
            "history": history,
            "state": last.state,
            "test_loss": _or_null(last.val_loss),
            "test_accuracy": last.val_accuracy,
            "seconds": last.seconds,
            "steps": last.step,
            "samples_per_second": (epochs * rows + rest * self.trainer.batch_size) / last.seconds,
            "saved": saved,
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
    from fastnn import checkpoint, datasets
    from fastnn.errors import check_int
    from fastnn.network import Network
    from fastnn.training import Trainer

    check_int("epochs", options.epochs)
    if options.save is not None:
        checkpoint.check_writable(options.save)  # now, and not after an hour of training
    data = datasets.load(options.data, **({} if options.label is None else {"label": options.label}))
    optimizer = _optimizer(options)
    outputs = data.n_classes or (data.y_train.shape[1] if data.y_train.ndim == 2 else 1)
    config = {
        "data": data.name,
        "layers": [data.features, *options.layers, outputs],
        "activation": options.activation,
        "init": options.init,
        "loss": options.loss or ("cross_entropy" if data.classes else "mse"),
        "optimizer": {"name": options.optimizer, **dataclasses.asdict(optimizer)},
        "epochs": options.epochs,
        "batch_size": min(32, len(data.x_train)) if options.batch_size is None else options.batch_size,
        "seed": options.seed,
        "threads": options.threads,
        "dtype": options.dtype,
    }
    shape = {name: config[name] for name in ("activation", "init", "seed", "dtype")}
    network = Network(config["layers"], **shape)
    how = {name: config[name] for name in ("loss", "batch_size", "threads")}
    return _Run(config, data, network, Trainer(network, data, optimizer=optimizer, **how))


def _optimizer(options: argparse.Namespace) -> Any:
    """The optimizer that the options name, with those of its settings that were given."""
    from fastnn.errors import check_choice
    from fastnn.optimizers import OPTIMIZERS

    kind = OPTIMIZERS[check_choice("optimizer", options.optimizer, OPTIMIZERS)]
    settings = {
        name: value
        for name in ("lr", "momentum", "nesterov", "weight_decay")
        if (value := getattr(options, name)) is not None
    }
    fields = {entry.name: entry.default for entry in dataclasses.fields(kind)}
    for name in settings:
        if name not in fields:
            raise ValueError(
                f"{name}: not a setting of the optimizer {options.optimizer}; expected {', '.join(fields)}"
            )
    if fields["lr"] is dataclasses.MISSING:
        settings.setdefault("lr", DEFAULT_RATE)
    return kind(**settings)


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
