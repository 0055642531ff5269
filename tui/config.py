"""What a run is made of, and how it is read from what a person types."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

BY_DATA = "by the data"  # a cell, or a task, that the data chooses
TASKS = ("classification", "regression")
TABLE = ("label", "task", "standardize")  # what the loader of a file's table takes, and a person may type
MAX_LAYERS = 32
MAX_WIDTH = 65_536
RATE_LOW, RATE_HIGH = 1e-12, 1e12


@dataclass(frozen=True)
class RunConfig:
    """One run: data, network and optimizer. `layers` are the hidden widths; the data set gives both ends.

    The rate is small on purpose: the digits train at 150,000 to 1.4 million samples a second, and at 0.05 they are
    learned before the first frame is drawn. At 0.001 the loss falls for a second or more, and 5,000 epochs last
    some 5 to 30 seconds.

    The rest comes from a run file (fastnn.runfile), and stays while the names stay that it belongs to: `loader` and
    `settings` are what else the data set's loader and the optimizer take, `cell` is what the layers are made of and
    `masks` what connects them; a cell or loss of "" is chosen by the data. `folder` is where a kept run lies that is to
    be gone on with.
    """

    data: str = "digits"
    layers: tuple[int, ...] = (64, 32)
    activation: str = "relu"
    init: str = "he"
    optimizer: str = "sgd"
    learning_rate: float = 0.001
    batch_size: int = 32
    epochs: int = 5000
    seed: int = 0
    loader: tuple[tuple[str, Any], ...] = ()
    settings: tuple[tuple[str, Any], ...] = ()
    loss: str = ""
    cell: str = ""
    masks: tuple[Mapping[str, Any], ...] = ()
    dtype: str = "float32"
    shuffle: bool = True
    device: str = "cpu"
    precision: str = "float"
    folder: str = ""

    def with_rest_of(self, other: RunConfig) -> RunConfig:
        """This configuration with what `other` has beside what a person types, where it still fits."""
        same = self.data == other.data
        rest = tuple(item for item in other.loader if item[0] not in TABLE)
        return replace(
            self,
            loader=(*self.loader, *rest) if same else self.loader,
            settings=other.settings if self.optimizer == other.optimizer else (),
            loss=other.loss if same else "",
            masks=other.masks if same and self.layers == other.layers else (),
            dtype=other.dtype,
            shuffle=other.shuffle,
        )


@dataclass(frozen=True)
class Choices:
    """The names that fastnn knows, read from its registries; `optimizers` maps a name to its default rate.

    `loaders` maps a built-in data set to its loader's options and their defaults; `features` are those of points.
    """

    data: tuple[str, ...] = ()
    cells: tuple[str, ...] = ()
    activations: tuple[str, ...] = ()
    initializers: tuple[str, ...] = ()
    optimizers: Mapping[str, float] = field(default_factory=dict)
    loaders: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    features: tuple[str, ...] = ()
    devices: tuple[str, ...] = ("cpu",)
    precisions: tuple[str, ...] = ("float",)


class FieldError(ValueError):
    """A field that cannot be used; `name` is the field's name in `RunConfig`."""

    def __init__(self, name: str, message: str) -> None:
        super().__init__(message)
        self.name = name


def read_int(name: str, label: str, text: str, low: int, high: int) -> int:
    """A whole number in [low, high]; raises FieldError with the label, the text and what was expected."""
    try:
        value = int(text.strip().replace("_", "").replace(",", ""))
    except ValueError:
        raise FieldError(name, f"{label}: {text.strip()!r} is not a whole number") from None
    if not low <= value <= high:
        raise FieldError(name, f"{label}: {value:,} is out of range; expected {low:,} to {high:,}")
    return value


def read_rate(text: str, name: str = "learning_rate") -> float:
    """A learning rate: a finite number above zero."""
    try:
        value = float(text.strip())
    except ValueError:
        raise FieldError(name, f"learning rate: {text.strip()!r} is not a number") from None
    if not (math.isfinite(value) and RATE_LOW <= value <= RATE_HIGH):
        raise FieldError(name, f"learning rate: {value:g} is out of range; expected {RATE_LOW:g} to {RATE_HIGH:g}")
    return value


def read_layers(text: str) -> tuple[int, ...]:
    """Hidden widths such as "64 32", "64,32" or "64-32"; empty for a network without hidden layers."""
    words = text.replace(",", " ").replace("-", " ").split()
    if len(words) > MAX_LAYERS:
        raise FieldError("layers", f"layers: {len(words)} layers; expected {MAX_LAYERS} at most")
    widths = []
    for word in words:
        if not word.isascii() or not word.isdigit():
            raise FieldError("layers", f'layers: {word!r} is not a width; expected numbers such as "64 32"')
        if not 1 <= int(word) <= MAX_WIDTH:
            raise FieldError("layers", f"layers: {int(word):,} is out of range; expected 1 to {MAX_WIDTH:,}")
        widths.append(int(word))
    return tuple(widths)


def read_loader(texts: Mapping[str, str]) -> tuple[tuple[str, Any], ...]:
    """What is to be known of a table in a file, of `TABLE`; nothing of a built-in data set."""
    if "label" not in texts:
        return ()
    label, task = texts["label"].strip(), texts["task"]
    number = label.removeprefix("-")
    column: str | int = int(label) if number.isascii() and number.isdigit() else label
    return (
        *((("label", column),) if label else ()),
        *((("task", task),) if task in TASKS else ()),
        *((("standardize", True),) if texts["standardize"] == "yes" else ()),
    )


def read_config(texts: Mapping[str, str]) -> RunConfig:
    """The configuration written in the drawer's fields (one text for each field of `RunConfig`).

    Raises FieldError for the first field that cannot be used. Names and files are checked later, by fastnn.
    """
    if not texts["data"].strip():
        raise FieldError("data", "data: expected a data set's name, or a file or folder")
    return RunConfig(
        data=texts["data"].strip(),
        loader=read_loader(texts),
        layers=read_layers(texts["layers"]),
        cell="" if texts["cell"] == BY_DATA else texts["cell"],
        activation=texts["activation"],
        init=texts["init"],
        optimizer=texts["optimizer"],
        learning_rate=read_rate(texts["learning_rate"]),
        batch_size=read_int("batch_size", "batch size", texts["batch_size"], 1, 10_000_000),
        epochs=read_int("epochs", "epochs", texts["epochs"], 1, 1_000_000),
        seed=read_int("seed", "seed", texts["seed"], 0, 2**63 - 1),
        device=texts["device"],
        precision=texts["precision"],
    )
