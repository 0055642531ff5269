"""The registry of experiments: `fastnn lab`, the Learn mode, the docs and the tests read it; nothing else lists them.

An experiment is a function that computes something of the lecture and returns it as a frozen dataclass of numbers and
arrays, and what is said about it. To add one: write the function and its report in a module of fastnn.experiments,
register the entry there, and name the module in fastnn.experiments.
"""

from __future__ import annotations

import dataclasses
import functools
import inspect
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from fastnn.errors import check_choice, check_float, check_int, shown
from fastnn.experiments.parts import Part

Value = float | int | str | tuple[float, ...]


@dataclass(frozen=True)
class Parameter:
    """A value that an experiment takes; its kind is that of `default`, or a name when there are `choices`.

    `step` is what an arrow key adds; with `factor` it multiplies. `labels` name the numbers of a tuple, `lowest` is the
    word for the number `low`.
    """

    name: str
    default: Value
    help: str
    low: float = -math.inf
    high: float = math.inf
    step: float = 1.0
    factor: bool = False
    choices: tuple[str, ...] = ()
    labels: tuple[str, ...] = ()
    lowest: str = ""

    def check(self, value: Any) -> Value:
        """The value if it can be used; raises TypeError or ValueError, naming the parameter."""
        if self.choices:
            return check_choice(self.name, value, self.choices)
        if isinstance(self.default, str):
            if not isinstance(value, str):
                raise TypeError(f"{self.name}: expected a text, got {shown(value)} of type {type(value).__name__}")
            return value
        if isinstance(self.default, tuple):
            return self._check_tuple(value)
        if isinstance(self.default, int):
            return check_int(self.name, value, int(self.low), None if self.high == math.inf else int(self.high))
        return check_float(self.name, value, self.low, self.high)

    def _check_tuple(self, value: Any) -> tuple[float, ...]:
        if isinstance(value, str) or not hasattr(value, "__len__"):
            raise TypeError(f"{self.name}: {shown(value)}; expected a sequence of numbers")
        assert isinstance(self.default, tuple)
        if len(value) != len(self.default):
            raise ValueError(
                f"{self.name}: {len(value)} numbers; expected {len(self.default)}: {', '.join(self.labels)}"
            )
        return tuple(check_float(self.name, number, self.low, self.high) for number in value)

    def read(self, text: str) -> Value:
        """The value that a person has typed; raises ValueError, naming the parameter."""
        text = text.strip()
        if self.lowest and text == self.lowest:
            return self.check(int(self.low))
        if isinstance(self.default, str):
            return self.check(text)
        kind = int if isinstance(self.default, int) else float
        what = "a whole number" if kind is int else "a number"
        words = text.replace(",", " ").split() if isinstance(self.default, tuple) else [text]
        numbers = []
        for word in words:
            try:
                numbers.append(kind(word))
            except ValueError:
                raise ValueError(f"{self.name}: {word!r} is not {what}") from None
        return self.check(tuple(numbers) if isinstance(self.default, tuple) else numbers[0])

    def written(self, value: Value) -> str:
        """The value as `read` takes it."""
        if isinstance(value, tuple):
            return ",".join(f"{number:g}" for number in value)
        if self.lowest and value == self.low:
            return self.lowest
        return f"{value:g}" if isinstance(value, float) else str(value)

    def moved(self, value: Value, direction: int, at: int = 0) -> Value:
        """The value that lies a step beside this one, within the limits; `at` is the number of a tuple's."""
        if self.choices:
            assert isinstance(value, str)
            return self.choices[(self.choices.index(value) + direction) % len(self.choices)]
        if isinstance(value, tuple):
            return tuple(self._beside(n, direction) if k == at else n for k, n in enumerate(value))
        return value if isinstance(value, str) else self._beside(value, direction)

    def _beside(self, value: float, direction: int) -> Any:
        new = value * self.step**direction if self.factor else value + self.step * direction
        new = min(max(new, self.low), self.high)
        return round(new) if isinstance(self.default, int) else float(f"{new:.6g}")


@dataclass(frozen=True)
class Question:
    """What a reader predicts before the numbers are shown. `right(result)` is the number of the answer that the
    experiment bears out; `why(result)` says it in a sentence or two, with the result's own figures."""

    text: str
    answers: tuple[str, ...]
    right: Callable[[Any], int]
    why: Callable[[Any], str]


@dataclass(frozen=True)
class Experiment:
    """An entry of the registry.

    `slide` is the title of the slides that it computes, `text` explains it to a student. `train(values, result)` gives
    keys of a run file (fastnn.runfile) that show the same in a training; the result is None before there is one.
    `slow`: it takes seconds.
    """

    name: str
    title: str
    slide: str
    text: str
    compute: Callable[..., Any]
    report: Callable[[Any], tuple[Part, ...]]
    question: Question
    train: Callable[[Mapping[str, Any], Any], dict[str, Any]]
    parameters: tuple[Parameter, ...] = ()
    slow: bool = False

    @property
    def defaults(self) -> dict[str, Value]:
        """The parameters as they are unless given."""
        return {parameter.name: parameter.default for parameter in self.parameters}

    def run(self, **values: Any) -> Any:
        """Compute it with these parameters; raises TypeError or ValueError, naming the one that does not fit."""
        known = {parameter.name: parameter for parameter in self.parameters}
        for name in values:
            check_choice(f"{self.name}: parameter", name, known)
        checked = {name: known[name].check(value) for name, value in values.items()}
        return self.compute(**{**self.defaults, **checked})


EXPERIMENTS: dict[str, Experiment] = {}


def register(**entry: Any) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Add the decorated function to the registry, under its name; whoever calls it has the arguments checked."""

    def add(compute: Callable[..., Any]) -> Callable[..., Any]:
        experiment = Experiment(name=compute.__name__, compute=compute, **entry)
        EXPERIMENTS[experiment.name] = experiment
        signature = inspect.signature(compute)

        @functools.wraps(compute)
        def checked(*arguments: Any, **named: Any) -> Any:
            return experiment.run(**signature.bind(*arguments, **named).arguments)

        return checked

    return add


def plain(value: Any) -> Any:
    """A result as JSON can hold it: dataclasses as objects, arrays as lists, what is not finite as null."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {entry.name: plain(getattr(value, entry.name)) for entry in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {str(key): plain(entry) for key, entry in value.items()}
    if isinstance(value, np.ndarray):
        return plain(value.tolist())
    if isinstance(value, (list, tuple)):
        return [plain(entry) for entry in value]
    if isinstance(value, np.generic):
        return plain(value.item())
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
