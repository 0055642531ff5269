"""The course of the Learn mode: which lesson is open, what its reader answered, and a thread that computes.

No widget here. The screen changes a lesson's values and asks for the result; the thread computes the newest that was
asked for and leaves the rest, so that a key that is held down does not pile up work. It is a daemon: quitting does not
wait for it.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

from fastnn.experiments import EXPERIMENTS, Experiment, Parameter
from tui.view import explain


@dataclass(frozen=True)
class Control:
    """One value that a reader may change: a parameter, or the number `at` of a tuple."""

    parameter: Parameter
    at: int = 0

    @property
    def label(self) -> str:
        """Its name."""
        labels = self.parameter.labels
        return labels[self.at] if labels else self.parameter.name

    @property
    def steps(self) -> bool:
        """Whether there are values beside its own: a text is typed."""
        return bool(self.parameter.choices) or not isinstance(self.parameter.default, str)

    def written(self, value: Any) -> str:
        """Its value, as it is shown."""
        return self.parameter.written(value[self.at] if isinstance(value, tuple) else value)


def controls_of(experiment: Experiment) -> tuple[Control, ...]:
    """A control for each parameter, several for one of several numbers."""
    out: list[Control] = []
    for parameter in experiment.parameters:
        count = len(parameter.default) if isinstance(parameter.default, tuple) else 1
        out += [Control(parameter, at) for at in range(count)]
    return tuple(out)


@dataclass
class Lesson:
    """One experiment and its reader. `answer` is the number that was chosen, None before; `right` what the experiment
    bears out, and `why` what it says of it, once it has been computed as it is unless changed."""

    experiment: Experiment
    values: dict[str, Any] = field(default_factory=dict)
    chosen: int = 0
    answer: int | None = None
    right: int | None = None
    why: str = ""
    control: int = 0
    result: Any = None
    parts: tuple[Any, ...] = ()
    shown: dict[str, Any] | None = None  # the values that the result is of
    error: str = ""

    @property
    def answered(self) -> bool:
        """Whether the numbers may be shown."""
        return self.answer is not None

    @property
    def controls(self) -> tuple[Control, ...]:
        """What can be changed."""
        return controls_of(self.experiment)

    @property
    def current(self) -> Control | None:
        """The control that keys change."""
        controls = self.controls
        return controls[self.control % len(controls)] if controls else None

    @property
    def open(self) -> bool:
        """Whether values may be changed: the answer is judged by the values that the question is about."""
        return self.answered and self.right is not None

    @property
    def changed(self) -> bool:
        """Whether a value is other than at first."""
        return self.values != self.experiment.defaults

    @property
    def computing(self) -> bool:
        """Whether the result is still that of other values."""
        return self.shown != self.values


class Course:
    """The lessons in the lecture's order, and the thread behind them; `version` changes with every result."""

    def __init__(self, experiments: dict[str, Experiment] | None = None) -> None:
        self.lessons = [Lesson(entry, dict(entry.defaults)) for entry in (experiments or EXPERIMENTS).values()]
        self.at = 0
        self.version = 0
        self.journal: Callable[[str, str], None] = lambda text, level: None
        self._changed = threading.Condition()
        self._wanted: tuple[Lesson, dict[str, Any]] | None = None
        self._thread: threading.Thread | None = None

    @property
    def lesson(self) -> Lesson:
        """The one that is open."""
        return self.lessons[self.at]

    @property
    def done(self) -> int:
        """How many have been answered."""
        return sum(lesson.answered for lesson in self.lessons)

    @property
    def settled(self) -> bool:
        """Whether nothing is to be computed for the open lesson."""
        return not self.lesson.computing

    def move(self, direction: int) -> None:
        """To the lesson after or before this one."""
        self.at = (self.at + direction) % len(self.lessons)
        self.ask()

    def choose(self, direction: int) -> None:
        """Another answer before answering, another control afterwards."""
        lesson = self.lesson
        if not lesson.answered:
            lesson.chosen = (lesson.chosen + direction) % len(lesson.experiment.question.answers)
        elif lesson.controls:
            lesson.control = (lesson.control + direction) % len(lesson.controls)

    def change(self, direction: int) -> None:
        """The chosen control's value one step on."""
        lesson, control = self.lesson, self.lesson.current
        if lesson.open and control is not None:
            name = control.parameter.name
            lesson.values = {
                **lesson.values, name: control.parameter.moved(lesson.values[name], direction, control.at)
            }  # fmt: skip
            self.ask()

    def set(self, text: str) -> None:
        """The chosen control's value as it was typed; raises ValueError."""
        lesson, control = self.lesson, self.lesson.current
        assert control is not None
        parameter, name = control.parameter, control.parameter.name
        value: Any = lesson.values[name]
        if isinstance(value, tuple):
            number = replace(parameter, name=control.label, default=0.0, labels=()).read(text)
            value = (*value[: control.at], number, *value[control.at + 1 :])
        else:
            value = parameter.read(text)
        lesson.values = {**lesson.values, name: value}
        self.ask()

    def restore(self) -> None:
        """All values of the lesson as they were at first."""
        self.lesson.values = dict(self.lesson.experiment.defaults)
        self.ask()

    # Computing

    def ask(self) -> None:
        """Have the open lesson computed as it is now, unless it is."""
        lesson = self.lesson
        if not lesson.computing:
            return
        with self._changed:
            self._wanted = (lesson, lesson.values)
            self._changed.notify_all()
        if self._thread is None:
            self._thread = threading.Thread(target=self._work, name="fastnn-lessons", daemon=True)
            self._thread.start()

    def _work(self) -> None:
        while True:
            with self._changed:
                while self._wanted is None:
                    self._changed.wait()
                lesson, values = self._wanted
                self._wanted = None
            entry = lesson.experiment
            try:
                result = entry.run(**values)
                parts = entry.report(result)
            except Exception as reason:  # noqa: BLE001 - the thread outlives what a reader types
                lesson.error = explain(reason)
                if not isinstance(reason, (ValueError, TypeError)):
                    self.journal(f"{entry.name}: {lesson.error}", "error")
            else:
                lesson.result, lesson.parts, lesson.error = result, parts, ""
                if lesson.right is None:
                    lesson.right, lesson.why = entry.question.right(result), entry.question.why(result)
            lesson.shown = values
            self.version += 1
            self._look_again(lesson)

    def _look_again(self, lesson: Lesson) -> None:
        """A value that went there and back while it was computed was not asked for again."""
        with self._changed:
            if self._wanted is None and lesson.computing:
                self._wanted = (lesson, lesson.values)
