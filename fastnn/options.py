"""What the command line takes: its commands, their options, and errors of one line for what cannot be read."""

from __future__ import annotations

import argparse
import contextlib
import difflib
import sys
from collections.abc import Callable, Iterable
from typing import Any, NoReturn

from fastnn.version import __version__

BAD_INPUT = 2
UI_OPTIONS = ("--ascii", "--marker", "--theme", "--fps", "--keys", "--web", "--port")  # read by tui.options


def fail(reason: object, code: int = BAD_INPUT) -> int:
    """Print `reason` in one line on standard error and return `code`."""
    # The one argument of the library's that has another name as an option.
    line = " ".join(str(reason).replace("name_or_path:", "data:").split())
    print("fastnn:", line, file=sys.stderr)
    return code


class Parser(argparse.ArgumentParser):
    """argparse with errors of one line, and an end of its help that `names` gives when help is asked for."""

    names: Callable[[], str] | None = None

    def format_help(self) -> str:
        if self.names is not None:
            self.epilog = self.names()
        return super().format_help()

    def error(self, message: str) -> NoReturn:
        raise SystemExit(fail(f"{message} (`{self.prog} --help` lists what there is)"))


class _Version(argparse.Action):
    def __call__(self, parser: argparse.ArgumentParser, *_: Any, **__: Any) -> NoReturn:
        names = (f"{name} {version}" for name, version in versions().items())
        print(", ".join(names))
        parser.exit()


def versions() -> dict[str, str]:
    from importlib import metadata  # not `import numba`: 0.6 s to learn a number
    from platform import python_version

    found = {"fastnn": __version__}
    for name in ("numba", "numpy"):
        with contextlib.suppress(metadata.PackageNotFoundError):
            found[name] = metadata.version(name)
    return found | {"python": python_version()}


def _choices() -> str:
    """The names of all registries; importing them takes 0.6 s."""
    from fastnn.activations import ACTIVATIONS
    from fastnn.cells import CELLS
    from fastnn.datasets import DATASETS
    from fastnn.initializers import INITIALIZERS
    from fastnn.losses import LOSSES
    from fastnn.optimizers import OPTIMIZERS

    registries: dict[str, Iterable[str]] = {
        "data": DATASETS,
        "cell": ("dense", *CELLS),
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


def parse(arguments: list[str]) -> argparse.Namespace:
    parser = Parser(
        prog="fastnn",
        description="Dense and recurrent neural networks on compiled kernels. Without arguments it opens the terminal "
        "UI, which takes --ascii, --marker, --theme, --fps, --keys FILE and a run file (TOML) to open; --web shows it "
        "in a browser.",
        allow_abbrev=False,
    )
    parser.add_argument("--version", action=_Version, nargs=0, help="the versions of fastnn, numba, numpy and python")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True, parser_class=Parser)
    train = commands.add_parser(
        "train",
        help="train a network without the terminal UI",
        description="Train a network and print its test accuracy. Options go before what the run file says.\n"
        "The run is kept in a folder of $FASTNN_RUNS, or of the user's data folder.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    train.names = _choices
    known = _add_train_options(train)
    warmup = commands.add_parser(
        "warmup",
        help="compile everything once, so that nothing waits for it later",
        description="Compile every kernel for this machine; they are kept on disk.",
        allow_abbrev=False,
    )
    warmup.add_argument("--dtype", help="float32 or float64 (default: both)", metavar="NAME")
    commands.add_parser(
        "doctor",
        help="what this machine has: versions, CPU, cache folder, GPU",
        description="Print what fastnn finds on this machine, and what CUDA lacks, if anything.",
        allow_abbrev=False,
    )
    commands.add_parser("lab", help="the computations of the lecture, as text, as JSON or drawn")  # read by fastnn.lab
    first, own = arguments[0].partition("=")[0], ("-h", "--help", "--version", *commands.choices)
    if first in known and first not in own:
        parser.error(f"{first}: goes after a command, as in `fastnn train {first}`")
    if first not in own:
        parser.error(_unknown("command or option", arguments[0], (*own, *UI_OPTIONS)))
    options, unknown = parser.parse_known_args(arguments)
    if unknown:
        commands.choices[options.command].error(
            _unknown("argument", unknown[0], known if options.command == "train" else ())
        )
    return options


def _unknown(what: str, given: str, known: Iterable[str]) -> str:
    near = difflib.get_close_matches(given.partition("=")[0], known, n=1)
    hint = f"; did you mean {near[0]}?" if near else ""
    return f"unknown {what} {given!r}{hint}"


def _add_train_options(train: argparse.ArgumentParser) -> list[str]:
    known: list[str] = ["--help"]

    def add(option: str, help: str, **settings: Any) -> None:
        known.extend(train.add_argument(option, help=help, **settings).option_strings)

    train.add_argument("run", nargs="?", metavar="RUN.toml", help="a run file; what it lacks is as below")
    add(
        "--data",
        "a built-in data set, a CSV, NPY or text file or a folder of IDX files (default: digits)",
        metavar="DATA",
    )
    add("--label", "name or number of a file's label column (default: the last)", type=_column, metavar="COLUMN")
    add("--task", "classification or regression (default: what the label column looks like)", metavar="NAME")
    add("--standardize", "rescale a file's features to mean 0 and deviation 1", action="store_true", default=None)
    add("--layers", "sizes of the hidden layers, such as 128,64, or none (default: 32)", type=_sizes, metavar="SIZES")
    add("--cell", "what they are made of (default: dense, for sequences gru); images go row by row", metavar="NAME")
    add("--activation", "of dense and recurrent hidden layers (default: relu)", metavar="NAME")
    add("--init", "how the weights start (default: he)", metavar="NAME")
    add("--loss", "default: cross_entropy for classes, mse for numbers", metavar="NAME")
    add("--optimizer", "default: adam", metavar="NAME")
    add("--lr", "learning rate (default: the optimizer's own; 0.1 for sgd)", type=float, metavar="RATE")
    add("--momentum", "of the optimizer sgd", type=float, metavar="SHARE")
    add("--nesterov", "Nesterov's momentum, of the optimizer sgd", action="store_true", default=None)
    add("--weight-decay", "of the optimizer sgd", type=float, metavar="RATE")
    add("--clip", "the gradient's greatest norm (default: any)", type=float, metavar="NORM")
    add("--epochs", "passes over the training part (default: 20)", type=int, metavar="N")
    add("--batch-size", "rows a step (default: 32, or all where there are fewer)", type=int, metavar="N")
    add("--seed", "of initialization and shuffling (default: 0)", type=int, metavar="N")
    add("--dtype", "float32 or float64 (default: float32)", metavar="NAME")
    add("--device", "cpu or cuda (default: cpu; `fastnn doctor` shows what cuda lacks)", metavar="NAME")
    add("--precision", "float, or tf32 for cuda's tensor cores: faster and rounder (default: float)", metavar="NAME")
    add("--threads", "default: chosen by what steps take; the results are the same bits", type=int, metavar="N")
    add("--resume", "go on with the run kept in this folder, to the bit", metavar="FOLDER")
    add("--no-keep", "keep no folder of this run", action="store_true")
    add("--save", "save the trained network to this file (safetensors)", metavar="FILE")
    add("--json", "print one JSON object and nothing else on standard output", action="store_true")
    return known
