"""The built-in data sets by name: the one list that `load`, the command line and the terminal UI read."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from fastnn.datasets import digits, generators, mnist, sequences
from fastnn.datasets.dataset import Dataset


@dataclass(frozen=True)
class Entry:
    """A built-in data set.

    name: what `load` takes
    description: one line
    kind: "shipped" (inside the package), "generated", or "fetched" (once, where the user has no files of it)
    source: where the data comes from, its licence or its formula
    loader: the function that makes the Dataset; its keyword arguments are the options of `load`
    """

    name: str
    description: str
    kind: str
    source: str
    loader: Callable[..., Dataset]

    @property
    def options(self) -> dict[str, Any]:
        """The options by name, with their defaults."""
        return options_of(self.loader)


def options_of(loader: Callable[..., Dataset]) -> dict[str, Any]:
    """The keyword-only arguments of a loader, with their defaults."""
    parameters = inspect.signature(loader).parameters.values()
    return {p.name: p.default for p in parameters if p.kind is inspect.Parameter.KEYWORD_ONLY}


_ENTRIES = (
    Entry("digits", "1,797 handwritten digits, 8x8 pixels", "shipped", digits.SOURCE, digits.load_digits),
    Entry("moons", "two interleaved half circles", "generated", generators.MOONS, generators.load_moons),
    Entry("circles", "a circle inside another", "generated", generators.CIRCLES, generators.load_circles),
    Entry("spirals", "interleaved spiral arms, one a class", "generated", generators.SPIRALS, generators.load_spirals),
    Entry("xor", "four quadrants, opposite ones alike", "generated", generators.XOR, generators.load_xor),
    Entry("blobs", "round clouds, one a class", "generated", generators.BLOBS, generators.load_blobs),
    Entry("sine", "a noisy sine, a regression over one input", "generated", generators.SINE, generators.load_sine),
    Entry("steps", "a noisy staircase, another one", "generated", generators.STEPS, generators.load_steps),
    Entry("adding", "sequences: the sum of two marked numbers", "generated", sequences.ADDING, sequences.load_adding),
    Entry("lessons", "sequences: the next character", "shipped", sequences.LESSONS, sequences.load_lessons),
    Entry("mnist", "70,000 handwritten digits, 28x28 pixels", "fetched", mnist.SOURCE, mnist.load_mnist),
)

DATASETS: dict[str, Entry] = {entry.name: entry for entry in _ENTRIES}
