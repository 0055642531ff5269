"""The Learn mode: the lecture, a lesson at a time. Read, predict, then play with the numbers."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from textual import on
from textual.app import ComposeResult
from textual.containers import Horizontal

from tui.actions import Action
from tui.lessons import Course
from tui.screens.dialogs import TextInput
from tui.screens.mode import ModeScreen
from tui.view import explain
from tui.widgets.lesson import CoursePlot, LessonReport, LessonText

EPOCHS = 1000  # of a training that a lesson opens and that does not say how long
BESIDE = 130  # columns from which text and numbers are side by side: the numbers want 76


class LearnScreen(ModeScreen):
    """Explanation and question at one side, experiment at the other; one after the other where there is no room."""

    NAME = "learn"

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.course = Course()
        self.course.journal = self.session.journal.add
        self.reading = False  # the text again, where there is no room for both

    def panes(self) -> ComposeResult:
        """Both; the style sheet shows what there is room for."""
        with Horizontal(id="learn"):
            yield LessonText(self.course, id="lesson")
            yield LessonReport(self.course, id="report")

    def on_mount(self) -> None:
        """Compute the first lesson."""
        self._arrange()
        self.course.ask()

    def on_resize(self) -> None:
        """Side by side, or not."""
        self._arrange()

    @property
    def report(self) -> LessonReport:
        """The pane of the experiment."""
        return self.query_one(LessonReport)

    def _arrange(self) -> None:
        """Show the pane that is wanted, with the keys in its border, and draw."""
        alone = self.app.size.width < BESIDE
        text = not self.course.lesson.answered or self.reading
        panes = self.query_one("#learn")
        panes.set_class(alone and text, "-text")
        panes.set_class(alone and not text, "-numbers")
        self.report.alone = alone
        self._titles()
        for plot in self.query(CoursePlot):
            self.turns.hurry(plot)
            if plot.size.width:
                plot.show(self.view)

    def _titles(self) -> None:
        beside = not self.report.alone
        self.query_one(LessonText).title(() if beside else self._acting())
        self.report.title(self._acting)

    def _acting(self) -> tuple[Action, ...]:
        """The actions that do something now, with the word for what ⏎ does."""
        lesson = self.course.lesson
        control = lesson.current
        now = {"lesson_before", "lesson_next", "try"}
        if not lesson.answered:
            now |= {"choose_up", "choose_down", "take"}
        elif self.report.alone:
            now.add("text")
        if lesson.open and not self.reading:
            now |= {"parts"}
            now |= {"restore"} if lesson.changed else set()
        if lesson.open and control is not None and not self.reading:
            now |= {"take"}
            now |= {"choose_up", "choose_down"} if len(lesson.controls) > 1 else set()
            now |= {"value_less", "value_more"} if control.steps else set()
        word = "type" if lesson.answered else "answer"
        return tuple(
            replace(action, label=word) if action.name == "take" else action
            for action in self.placed("main")
            if action.name in now
        )

    @property
    def settled(self) -> bool:
        """Whether the lesson's result is shown."""
        return self.course.settled and super().settled

    # Moving

    def _go(self, direction: int) -> None:
        self.course.move(direction)
        self.report.page, self.reading = 0, False
        self._arrange()

    def action_lesson_next(self) -> None:
        """The next lesson."""
        self._go(1)

    def action_lesson_before(self) -> None:
        """The lesson before."""
        self._go(-1)

    def action_choose_up(self) -> None:
        """The answer, or the control, above."""
        self.course.choose(-1)
        self._arrange()

    def action_choose_down(self) -> None:
        """The answer, or the control, below."""
        self.course.choose(1)
        self._arrange()

    def action_value_less(self) -> None:
        """The chosen value a step back."""
        self.course.change(-1)
        self._arrange()

    def action_value_more(self) -> None:
        """The chosen value a step on."""
        self.course.change(1)
        self._arrange()

    def action_take(self) -> None:
        """Answer; once answered, type a value."""
        lesson = self.course.lesson
        if not lesson.answered:
            lesson.answer = lesson.chosen
            self.course.ask()
            self._arrange()
        elif lesson.open and lesson.current is not None:
            self._type()

    def _type(self, text: str | None = None, note: str = "") -> None:
        control = self.course.lesson.current
        assert control is not None
        value = control.written(self.course.lesson.values[control.parameter.name])

        def taken(text: str | None) -> None:
            if text is None:
                return
            try:
                self.course.set(text)
            except ValueError as reason:
                self._type(text, str(reason))
            self._arrange()

        shown = value if text is None else text
        self.app.push_screen(TextInput(control.label, shown, note or control.parameter.help), taken)

    def action_restore(self) -> None:
        """All values of the lesson as they were."""
        self.course.restore()
        self._arrange()

    def action_parts(self) -> None:
        """The next page of what was found."""
        self.report.turn()
        self._arrange()

    def action_text(self) -> None:
        """Text or numbers, where there is room for one of them."""
        if self.course.lesson.answered:
            self.reading = not self.reading
            self._arrange()

    @on(LessonText.Chosen)
    def _chosen(self, event: LessonText.Chosen) -> None:
        if event.lesson:
            self._go(event.number - self.course.at)
        elif not self.course.lesson.answered:
            self.course.lesson.chosen = event.number
            self.action_take()

    # Trying it

    def action_try(self) -> None:
        """Load a configuration that shows the lesson in a training."""
        from fastnn.runfile import RunFile
        from tui.keeping import config_of

        lesson = self.course.lesson
        try:
            table = lesson.experiment.train(lesson.values, lesson.result)
            config = config_of(RunFile.from_table({"epochs": EPOCHS, **table}))
        except (ValueError, TypeError) as reason:
            self.notify(explain(reason), severity="error", markup=False)
        else:
            self.open_in_train(replace(config, folder=""))
