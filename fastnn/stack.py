"""The layers of a run: what its widths, its cell and its masks make for a data set."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from fastnn import masks
from fastnn.cells import CELLS
from fastnn.errors import check_choice, check_int, shown, unknown
from fastnn.layers import GRU, LSTM, Dense, Input, Recurrent

if TYPE_CHECKING:
    from fastnn.datasets import Dataset
    from fastnn.runfile import RunFile

DENSE = "dense"
# What a run file says of a mask beside its kind: the settings that it must have, and those that it may.
MASKS: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "full": ((), ()),
    "random": (("density",), ("seed",)),
    "window": (("size",), ("units", "inputs")),
}


def chosen_cell(run: RunFile, data: Dataset) -> str:
    """What the layers are made of: what the run says, else GRUs for sequences and dense layers for rows."""
    if run.cell is None:
        return DENSE if data.steps is None else "gru"
    return check_choice("cell", run.cell, (DENSE, *CELLS))


def check_activation(run: RunFile, data: Dataset) -> None:
    """See that the run's activation, which was asked for, is that of its hidden layers; raises ValueError if not."""
    cell = chosen_cell(run, data)
    if cell != DENSE and CELLS[cell].make is not None:
        raise ValueError(f"activation: {run.activation!r} for the cell {cell!r}; expected none: it has its own")


def layers_of(run: RunFile, data: Dataset) -> list[Any]:
    """The network's layers; raises ValueError or TypeError, naming the key, for what does not fit the data."""
    outputs = data.n_classes or (data.y_train.shape[-1] if data.y_train.ndim > 1 else 1)
    cell = chosen_cell(run, data)
    if cell == DENSE:
        return _dense(run, data, outputs)
    if run.masks:
        raise ValueError(f"masks: given for the cell {cell!r}; expected none: only dense layers have them")
    return _recurrent(run, data, outputs, cell)


def _dense(run: RunFile, data: Dataset, outputs: int) -> list[Any]:
    if data.steps is not None:
        raise ValueError(f"cell: 'dense' for {data.name}, which are sequences; expected one of {', '.join(CELLS)}")
    if not run.masks:
        return [data.features, *run.layers, outputs]
    if len(run.masks) not in (1, len(run.layers)) or not run.layers:
        raise ValueError(
            f"masks: {len(run.masks)} for {len(run.layers)} hidden layers; expected one for each, or one for all"
        )
    each = run.masks if len(run.masks) > 1 else run.masks * len(run.layers)
    layers: list[Any] = [Input(data.features)]
    fan_in, plane = data.features, data.image_shape
    for number, (units, entry) in enumerate(zip(run.layers, each, strict=True)):
        try:
            mask, plane = _mask(entry, fan_in, units, plane, (run.seed + number) % 2**63)
        except (ValueError, TypeError) as reason:
            raise type(reason)(f"masks[{number}]: {reason}") from None
        layers.append(Dense(units, run.activation, run.init, mask=mask))
        fan_in = units
    return [*layers, Dense(outputs, "identity", run.init)]


def _mask(
    entry: Mapping[str, Any], fan_in: int, units: int, plane: tuple[int, int] | None, seed: int
) -> tuple[np.ndarray | None, tuple[int, int] | None]:
    """One layer's mask (fan_in, units), and the rows and columns that its units lie in, if they do.

    `plane` are those of its inputs, `seed` is what draws a random mask without one of its own.
    """
    if "kind" not in entry:
        raise ValueError(f"kind: none given; expected one of {', '.join(MASKS)}")
    kind = check_choice("kind", entry["kind"], MASKS)
    needed, more = MASKS[kind]
    for name in entry:
        if name not in ("kind", *needed, *more):
            raise unknown(f"settings of {kind}", name, (*needed, *more))
    for name in needed:
        if name not in entry:
            raise ValueError(f"{name}: none given for the kind {kind!r}; expected {name}")
    if kind == "full":
        return None, None
    if kind == "random":
        return masks.random(fan_in, units, entry["density"], entry.get("seed", seed)), None
    if not isinstance(entry["size"], (list, tuple)):
        if "units" in entry or "inputs" in entry:
            raise ValueError(f"size: {entry['size']!r}; expected rows and columns, as units and inputs are")
        return masks.window(fan_in, units, check_int("size", entry["size"], 1, fan_in)), None
    inputs, places = entry.get("inputs", plane), entry.get("units")
    for name, value, count in (("inputs", inputs, fan_in), ("units", places, units)):
        if value is None:
            raise ValueError(f"{name}: none given; expected rows and columns of the layer's {count} {name}")
        pair = isinstance(value, (list, tuple)) and len(value) == 2 and all(isinstance(one, int) for one in value)
        if not pair or value[0] * value[1] != count:
            raise ValueError(f"{name}: {shown(value)}; expected rows and columns of the layer's {count} {name}")
    return masks.window(tuple(inputs), tuple(places), tuple(entry["size"])), tuple(places)  # type: ignore[arg-type]


def _recurrent(run: RunFile, data: Dataset, outputs: int, cell: str) -> list[Any]:
    """Recurrent layers over the data's time steps, or an image's rows.

    All of them give all their steps, and the last one its last step unless each has a target.
    """
    if data.steps is None and data.image_shape is None:
        raise ValueError(f"cell: {cell!r} for {data.name}, whose rows are neither sequences nor images")
    if not run.layers:
        raise ValueError(f"layers: none; expected at least one for the cell {cell!r}")
    layers: list[Any] = [Input(data.features)]
    if data.steps is None:
        assert data.image_shape is not None
        layers = [Input(data.image_shape[1], steps=data.image_shape[0])]
    for number, units in enumerate(run.layers, 1):
        every = number < len(run.layers) or data.every_step
        if cell == "recurrent":
            layers.append(Recurrent(units, run.activation, every, init=run.init))
        else:
            layers.append((GRU if cell == "gru" else LSTM)(units, every, init=run.init))
    return [*layers, Dense(outputs, "identity", run.init)]
