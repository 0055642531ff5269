"""A run as a TOML file: everything that fixes its bits. `fastnn train run.toml` trains it, `fastnn run.toml` opens it.

data = "spirals"                # or a table, { name = "spirals", noise = 0.1 }, or the path of a file or folder
layers = [64, 32]               # hidden layers; the data gives both ends
cell = "dense"                  # what they are made of: dense, recurrent, gru, lstm
masks = [{ kind = "random", density = 0.2 }]    # partially connected hidden layers, see below
activation = "tanh"             # of dense and recurrent layers; gru and lstm have their own
init = "xavier"
loss = "cross_entropy"
optimizer = { name = "adam", lr = 0.001 }
batch_size = 32
epochs = 20
seed = 0
dtype = "float32"
shuffle = true
device = "cpu"                  # or "cuda": an NVIDIA GPU rounds sums in another order
precision = "float"             # or "tf32" on a GPU: factors of products with 10 bits, see fastnn.Network.to

`masks` has a table for each hidden layer of dense ones, or one for all: { kind = "random", density = 0.2 } keeps a
fifth of the links, drawn by the run's seed or a `seed` of its own; { kind = "window", size = 9 } shows each unit 9
neighbors; { kind = "window", size = [3, 3], units = [6, 6] } puts 36 units in a square and shows each of them 3x3
pixels of an image, or of `inputs = [rows, columns]`; { kind = "full" } leaves nothing out.

Every key may be left out. A relative path begins at the folder of the file. How many threads train is no part of it:
the bits are the same.
"""

from __future__ import annotations

import dataclasses
import json
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fastnn.errors import DataError, check_choice, check_float, check_int, shown, unknown

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

if TYPE_CHECKING:
    from fastnn.datasets import Dataset
    from fastnn.network import Network
    from fastnn.optimizers import Optimizer
    from fastnn.training import Trainer

DEFAULT_RATE = 0.1  # of an optimizer without a default of its own
DEFAULT_BATCH = 32


@dataclass(frozen=True)
class RunFile:
    """What a run is. `layers` are the hidden widths, of dense layers or of a `cell` of fastnn.cells.CELLS; `masks` are
    tables of what connects dense ones (fastnn.stack.MASKS), for each of them or for all.

    A cell, loss or batch size of None is chosen by the data.

    `data` is a built-in name or a path, `data_options` and `optimizer_options` are what its loader and the optimizer
    take.
    """

    data: str = "digits"
    data_options: Mapping[str, Any] = field(default_factory=dict)
    layers: tuple[int, ...] = (32,)
    cell: str | None = None
    masks: tuple[Mapping[str, Any], ...] = ()
    activation: str = "relu"
    init: str = "he"
    loss: str | None = None
    optimizer: str = "adam"
    optimizer_options: Mapping[str, Any] = field(default_factory=dict)
    batch_size: int | None = None
    epochs: int = 20
    seed: int = 0
    dtype: str = "float32"
    shuffle: bool = True
    device: str = "cpu"
    precision: str = "float"

    def table(self) -> dict[str, Any]:
        """The run as the keys of a file; what is None is left out."""
        table = {
            "data": {"name": self.data, **self.data_options} if self.data_options else self.data,
            "layers": list(self.layers),
            "cell": self.cell,
            "masks": [dict(mask) for mask in self.masks] or None,
            "activation": self.activation,
            "init": self.init,
            "loss": self.loss,
            "optimizer": {"name": self.optimizer, **self.optimizer_options},
            "batch_size": self.batch_size,
            "epochs": self.epochs,
            "seed": self.seed,
            "dtype": self.dtype,
            "shuffle": self.shuffle,
            "device": None if self.device == "cpu" else self.device,
            "precision": None if self.precision == "float" else self.precision,
        }
        return {name: value for name, value in table.items() if value is not None}

    def text(self) -> str:
        """The run as TOML, a line a key."""
        return "".join(f"{name} = {_toml(value)}\n" for name, value in self.table().items())

    @classmethod
    def from_table(cls, table: Mapping[str, Any]) -> RunFile:
        """The run that the keys of a file describe; raises ValueError or TypeError, naming the key."""
        known = [entry.name for entry in dataclasses.fields(cls) if not entry.name.endswith("_options")]
        for name in table:
            if name not in known:
                raise unknown("key", name, known)
        values: dict[str, Any] = {}
        for name in ("data", "optimizer"):
            if name in table:
                values[name], values[f"{name}_options"] = _named(name, table[name])
        for name in ("cell", "activation", "init", "loss", "dtype", "device", "precision"):
            if name in table:
                values[name] = _text(name, table[name])
        for name, low in (("batch_size", 1), ("epochs", 1), ("seed", 0)):
            if name in table:
                values[name] = check_int(name, table[name], low)
        if "layers" in table:
            if not isinstance(table["layers"], list):
                raise TypeError(f"layers: {shown(table['layers'])}; expected a list of sizes such as [64, 32]")
            values["layers"] = tuple(check_int("layers", size) for size in table["layers"])
        if "masks" in table:
            given = table["masks"]
            if not isinstance(given, list) or not all(isinstance(mask, Mapping) for mask in given):
                expected = '[{ kind = "random", density = 0.2 }]'
                raise TypeError(f"masks: {shown(given)}; expected a list of tables such as {expected}")
            values["masks"] = tuple(dict(mask) for mask in given)
        if "shuffle" in table:
            if not isinstance(table["shuffle"], bool):
                raise TypeError(f"shuffle: {shown(table['shuffle'])}; expected true or false")
            values["shuffle"] = table["shuffle"]
        return cls(**values)


def read(path: str | os.PathLike[str]) -> RunFile:
    """The run of a file; raises DataError, naming the file, for one that cannot be read or has a key that does not fit.

    Names of activations and so on are checked when the run is built.
    """
    name = os.fspath(path)
    if os.path.exists(path) and not os.path.isfile(path):  # a pipe would wait for whoever writes
        raise DataError(f"{name}: not a file; expected a run in TOML")
    try:
        table = tomllib.loads(Path(path).read_bytes().decode())
    except FileNotFoundError:
        raise DataError(f"{name}: no such file; expected a run in TOML") from None
    except (OSError, ValueError) as reason:  # a bad encoding and bad TOML are ValueErrors
        raise DataError(f"{name}: cannot be read as TOML ({getattr(reason, 'strerror', None) or reason})") from None
    try:
        run = RunFile.from_table(table)
    except (ValueError, TypeError) as reason:
        raise DataError(f"{name}: {reason}") from None
    return dataclasses.replace(run, data=located(run.data, Path(path).parent))


def located(data: str, folder: Path) -> str:
    """`data` with a relative path made absolute, as seen from `folder`; a built-in name as it is."""
    from fastnn.datasets import DATASETS

    path = folder / os.path.expanduser(data)
    if not data or data in DATASETS or not (os.path.exists(path) or path.suffix or len(Path(data).parts) > 1):
        return data  # also a name that nothing has: the loader says so
    return str(path.absolute())


@dataclass(frozen=True)
class Prepared:
    """A run that is ready to train. `run` has no None: what was left to the data is written out."""

    run: RunFile
    data: Dataset
    network: Network
    trainer: Trainer


def load_data(run: RunFile) -> Dataset:
    """The run's data set; raises as fastnn.datasets.load does."""
    from fastnn import datasets

    return datasets.load(run.data, **run.data_options)


def build(run: RunFile, *, data: Dataset | None = None, threads: int | None = None) -> Prepared:
    """Load the data (unless given) and make network and trainer; raises ValueError, TypeError or FastnnError."""
    from fastnn.network import Network
    from fastnn.stack import chosen_cell, layers_of
    from fastnn.training import Trainer

    check_int("epochs", run.epochs)
    data = load_data(run) if data is None else data
    optimizer = make_optimizer(run.optimizer, run.optimizer_options)
    run = dataclasses.replace(
        run,
        cell=chosen_cell(run, data),
        optimizer_options=dataclasses.asdict(optimizer),
        loss=run.loss or ("cross_entropy" if data.classes else "mse"),
        batch_size=min(DEFAULT_BATCH, len(data.x_train)) if run.batch_size is None else run.batch_size,
    )
    assert run.loss is not None and run.batch_size is not None
    network = Network(
        layers_of(run, data), activation=run.activation, init=run.init, seed=run.seed, dtype=run.dtype,
        device=run.device, precision=run.precision,
    )  # fmt: skip
    trainer = Trainer(
        network, data, loss=run.loss, optimizer=optimizer, batch_size=run.batch_size, shuffle=run.shuffle,
        threads=threads,
    )  # fmt: skip
    return Prepared(run, data, network, trainer)


def make_optimizer(name: str, options: Mapping[str, Any]) -> Optimizer:
    """The optimizer of that name with these settings; raises ValueError or TypeError for a name or one it lacks."""
    from fastnn.optimizers import OPTIMIZERS

    kind = OPTIMIZERS[check_choice("optimizer", name, OPTIMIZERS)]
    fields = {entry.name: entry.default for entry in dataclasses.fields(kind)}
    for option in options:
        if option not in fields:
            raise ValueError(
                f"{option}: {shown(options[option])}, but it is no setting of the optimizer {name}; "
                f"expected {', '.join(fields)}"
            )
    settings = dict(options)
    if fields["lr"] is dataclasses.MISSING:
        settings.setdefault("lr", DEFAULT_RATE)
    for option, value in settings.items():
        if isinstance(value, int) and not isinstance(value, bool):
            settings[option] = check_float(option, value)
    return kind(**settings)


# ---- TOML ------------------------------------------------------------------------------------------------------------


def _text(name: str, value: Any) -> str:
    if not isinstance(value, str) or not value:
        raise TypeError(f"{name}: {shown(value)}; expected a name")
    return value


def _named(name: str, value: Any) -> tuple[str, dict[str, Any]]:
    """A name alone, or a table of a name and options."""
    if not isinstance(value, Mapping):
        return _text(name, value), {}
    options = {str(key): option for key, option in value.items() if key != "name"}
    return _text(f"{name}.name", value.get("name", "")), options


def _toml(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (int, float)):
        return repr(value)
    if isinstance(value, str):
        # JSON's escapes are TOML's, but for the one character that JSON leaves as it is.
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    if isinstance(value, Mapping):
        return "{ " + ", ".join(f"{_key(name)} = {_toml(item)}" for name, item in value.items()) + " }"
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(_toml(item) for item in value) + "]"
    raise TypeError(f"{shown(value)} of type {type(value).__name__} has no place in a run file")


def _key(name: str) -> str:
    return name if name.isascii() and name.replace("_", "a").isalnum() else _toml(name)
