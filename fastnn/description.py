"""Layers as plain JSON-able data, as a network's file keeps them, and back."""

from __future__ import annotations

from typing import Any

from fastnn.errors import check_choice, check_int
from fastnn.initializers import INITIALIZERS
from fastnn.layers import GRU, LSTM, Dense, Dropout, Input, Layer, Looped, Recurrent, Weighted
from fastnn.masks import Mask

KINDS: dict[str, type[Layer]] = {
    "input": Input,
    "dropout": Dropout,
    "dense": Dense,
    "recurrent": Recurrent,
    "gru": GRU,
    "lstm": LSTM,
}
ZEROS = INITIALIZERS["zeros"]  # nothing is drawn that a file's parameters replace at once


def describe(layer: Layer) -> dict[str, Any]:
    """What `built` makes the layer from, but for its initializer."""
    kind = next(name for name, one in KINDS.items() if type(layer) is one)
    entry: dict[str, Any] = {"kind": kind}
    if isinstance(layer, Input):
        return entry | {"size": int(layer.size)} | ({} if layer.steps is None else {"steps": int(layer.steps)})
    if isinstance(layer, Dropout):
        return entry | {"rate": float(layer.rate)}
    assert isinstance(layer, Weighted)
    entry["units"] = int(layer.units)
    if isinstance(layer, (Dense, Recurrent)):
        entry |= {"activation": layer.activation, "slope": layer.constant}
    if isinstance(layer, Looped):
        entry |= {"return_sequences": layer.return_sequences, "truncate": layer.truncate}
    elif layer.mask is not None:
        entry["mask"] = layer.mask.text()
    return entry


def built(entries: list[dict[str, Any]]) -> list[Layer]:
    """The layers that `describe` was given; raises ValueError, TypeError or KeyError for anything else."""
    stack: list[Layer] = []
    units = 0  # that the next layer reads
    for entry in entries:
        kind = KINDS[check_choice("kind", entry["kind"], KINDS)]
        if kind is Input:
            stack.append(Input(entry["size"], entry.get("steps")))
            units = entry["size"]
            continue
        if kind is Dropout:
            stack.append(Dropout(entry["rate"]))
            continue
        wide = check_int("units", entry["units"])
        slope = entry["slope"] if entry.get("activation") == "leaky_relu" else None
        if kind is Dense:
            mask = Mask.from_text(entry["mask"], (units, wide)) if "mask" in entry else None
            stack.append(Dense(wide, entry["activation"], ZEROS, slope, mask))
        elif kind is Recurrent:
            loop = entry["return_sequences"], entry["truncate"]
            stack.append(Recurrent(wide, entry["activation"], *loop, ZEROS, slope))
        else:
            stack.append((GRU if kind is GRU else LSTM)(wide, entry["return_sequences"], entry["truncate"], ZEROS))
        units = wide
    return stack
