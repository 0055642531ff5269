"""When and what to look at while a network trains, so that looking costs training next to nothing."""

from __future__ import annotations

import math
import time
from dataclasses import replace
from itertools import starmap
from typing import Any

import numpy as np

from fastnn import compiler
from fastnn.activations import ACTIVATIONS
from fastnn.cpu.observer import Summary
from fastnn.layers import Looped
from fastnn.network import Network
from fastnn.snapshots import BINS, Histogram, LayerSnapshot, Snapshot

KINDS = ("activations", "gradient_norm", "gradients", "weights", "updates")
PASSES = frozenset({"gradient_norm", "gradients", "updates"})  # the kinds that send a batch through the network
SHARE = 0.015  # of the time that those may take


class Watch:
    """Looks at a network in training; everything but `choose` is called from the thread that trains."""

    def __init__(self, network: Network, runner: Any) -> None:
        self._network, self._observer = network, network.engine.Observer(runner)
        with compiler.preparing():
            self._observer.prepare(BINS)
        self._wanted: tuple[frozenset[str], float] = (frozenset({"activations"}), 0.0)
        self._seen: tuple[int, float, frozenset[str]] = (-1, 0.0, frozenset())  # step, learning rate, kinds
        self._next = 0.0
        self._fresh = True  # whether the buffer holds the last batch that was trained

    def forget(self) -> None:
        """The network has gone elsewhere: what was seen is no more."""
        self._fresh, self._seen = False, (-1, 0.0, frozenset())

    def choose(self, kinds: frozenset[str], seconds: float) -> None:
        """Look at these kinds, every `seconds` (0: whenever asked)."""
        self._wanted = (kinds, seconds)

    def due(self, step: int) -> bool:
        """Whether it is time to look while training runs."""
        kinds, seconds = self._wanted
        return not seconds or kinds - self._seen[2] != frozenset() or time.perf_counter() >= self._next

    def look(self, latest: Snapshot, step: int, rate: float) -> Snapshot:
        """`latest` with its layers as they are now.

        The outputs are those of the last batch that was trained (before any was, and after `forget`, of the next).
        """
        kinds, seconds = self._wanted
        old = latest.layers if latest.looked_at == step else ()
        if old and self._seen == (step, rate, kinds):
            return latest
        began = time.perf_counter()
        # The outputs first: the passes below put others in their place.
        ahead = not old and not (self._fresh and step)
        gradient = self._observer.gradient() if ahead else None
        batch = step if ahead else step - 1
        outputs = () if old else self._outputs(batch)
        passing = kinds & PASSES
        if gradient is None and passing & {"gradient_norm", "gradients"}:
            gradient = self._observer.gradient()
        update = self._observer.update(rate) if "updates" in kinds else None
        gradients = self._weights(gradient if "gradients" in kinds else None)
        weights = self._weights(self._network.storage if {"weights", "updates"} & kinds else None)
        updates = self._weights(update)
        layers = [
            replace(layer, gradients=gradients[number], weights=weights[number], updates=updates[number])
            for number, layer in enumerate(old or outputs)
        ]
        length = (
            self._observer.norm(gradient) if gradient is not None and passing & {"gradient_norm", "gradients"} else None
        )
        ended = time.perf_counter()
        self._next = ended + max(seconds, (ended - began) / SHARE if passing and seconds else 0.0)
        self._seen, self._fresh = (step, rate, kinds), True
        return replace(latest, layers=tuple(layers), gradient_norm=length, looked_at=step)

    def _outputs(self, batch: int) -> tuple[LayerSnapshot, ...]:
        entries = [ACTIVATIONS[layer.activation] for layer in self._network.dense]
        ends = [entry.range if entry.saturates else (math.nan, math.nan) for entry in entries]
        found = self._observer.outputs(batch, ends, BINS)
        return tuple(starmap(_layer, zip(range(1, len(found) + 1), self._network.dense, found, strict=True)))

    def _weights(self, flat: Any) -> list[Histogram] | list[None]:
        if flat is None:
            return [None] * len(self._network.dense)
        return [replace(_histogram(found), norm=norm) for found, norm in self._observer.weights(flat, BINS)]


def _layer(number: int, layer: Any, found: Summary) -> LayerSnapshot:
    name = f"L{number} {layer.cell if isinstance(layer, Looped) else layer.activation} {layer.units}"
    shown = _histogram(found)
    return LayerSnapshot(name, shown, found.mean, found.std, found.zeros, found.saturated, found.dead)


def _histogram(found: Summary) -> Histogram:
    counts, low, high = found.counts, found.low, found.high
    if not np.isfinite(high - low):  # beyond what a number can hold: nothing to draw
        counts, low, high = np.zeros(BINS, np.int64), -0.5, 0.5
    elif not high > low:
        low, high = low - 0.5, high + 0.5
    count = int(counts.sum())
    length = math.sqrt(count) * math.hypot(found.mean, found.std) if count else math.nan
    return Histogram(counts, np.linspace(low, high, BINS + 1), found.mean, found.std, length, found.zeros)
