"""A lesson of the Learn mode as two panes: its text and question, and what the experiment found."""

from __future__ import annotations

import textwrap
from collections.abc import Callable
from typing import Any

from textual import events
from textual.content import Content
from textual.message import Message

from tui.actions import Action, together, written
from tui.lessons import Course, Lesson
from tui.view import View
from tui.widgets.cells import Cells
from tui.widgets.plot import Plot
from tui.widgets.report import Brush, laid_out, page_cells, paste


class CoursePlot(Plot):
    """A pane of the course that is drawn again when the course has moved on."""

    def __init__(self, course: Course, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self.course = course

    def key(self, view: View) -> tuple[Any, ...]:
        """Drawn again with each result; keys draw at once."""
        lesson = self.course.lesson
        return (
            self.course.version,
            self.course.at,
            str(lesson.values),
            lesson.chosen,
            lesson.control,
            str(lesson.answer),
        )


class LessonText(CoursePlot):
    """Explanation, question and answers; below them, where there is room, the list of lessons. A click chooses."""

    class Chosen(Message):
        """A person points at an answer, or (`lesson`) at a lesson."""

        def __init__(self, number: int, *, lesson: bool) -> None:
            super().__init__()
            self.number, self.lesson = number, lesson

    def __init__(self, course: Course, *, id: str | None = None) -> None:
        super().__init__(course, id=id)
        self._rows: dict[int, tuple[int, bool]] = {}

    def title(self, actions: tuple[Action, ...]) -> None:
        """Where in the course, and the keys."""
        self.border_title = heading(self.course)
        self.border_subtitle = self.keys(actions) if actions else ""

    def draw(self, width: int, height: int) -> Cells | None:
        """From top to bottom, with a margin of one column."""
        cells, lesson = Cells(width, height), self.course.lesson
        fore, muted, key = (self.color(name) for name in ("foreground", "plot-axis", "key"))
        entry, room = lesson.experiment, max(20, width - 2)
        self._rows = {}
        y = 0
        for line in textwrap.wrap(entry.text, room):
            cells.text(1, y, line, fore)
            y += 1
        y += 1
        for line in textwrap.wrap(entry.question.text, room):
            cells.text(1, y, line, self.color("primary"), bold=True)
            y += 1
        for number, answer in enumerate(entry.question.answers):
            here = number == (lesson.answer if lesson.answered else lesson.chosen)
            mark, color = ("▶" if here else " "), (fore if here else muted)
            if lesson.answered and lesson.right is not None and number == lesson.right:
                mark, color = "✔", self.color("plot-bars")
            elif lesson.answered and here and lesson.right is not None:
                mark, color = "✖", self.color("error")
            self._rows[y] = (number, False)
            cells.text(1, y, mark, color if lesson.answered else key, bold=True)
            for line in textwrap.wrap(answer, room - 2):
                cells.text(3, y, line, color, bold=here)
                y += 1
        y += 1
        if lesson.answered and lesson.right is not None:
            for line in textwrap.wrap(verdict(lesson), room):
                cells.text(1, y, line, fore)
                y += 1
        elif lesson.answered:
            cells.text(1, y, waiting(lesson), muted)
        else:
            arrows, enter = together("up", "down", plain=self.plain), written("enter", plain=self.plain)
            for line in textwrap.wrap(f"Predict, then see: {arrows} choose an answer, {enter} takes it.", room):
                cells.text(1, y, line, muted)
                y += 1
        self._list(cells, y + 1, height)
        return cells

    def _list(self, cells: Cells, top: int, height: int) -> None:
        """All lessons, at the bottom."""
        lessons = self.course.lessons
        y = height - len(lessons) - 1
        if y <= top:
            return
        cells.text(1, y, f"Lessons: {self.course.done} of {len(lessons)} done", self.color("plot-axis"))
        for number, lesson in enumerate(lessons, 1):
            here = number - 1 == self.course.at
            mark = "✔" if lesson.answered else "▶" if here else "·"
            self._rows[y + number] = (number - 1, True)
            color = self.color("plot-bars" if lesson.answered else "key" if here else "plot-axis")
            cells.text(1, y + number, mark, color)
            text = f"{number:>2} {lesson.experiment.title}"
            cells.text(3, y + number, text, self.color("foreground" if here else "plot-axis"), bold=here)

    def on_click(self, event: events.Click) -> None:
        """Choose an answer or a lesson."""
        inside = event.get_content_offset(self)
        if inside is not None and inside.y in self._rows:
            number, lesson = self._rows[inside.y]
            self.post_message(self.Chosen(number, lesson=lesson))


class LessonReport(CoursePlot):
    """The verdict, the controls, and the parts of the report: a page of them where not all fit."""

    def __init__(self, course: Course, *, id: str | None = None) -> None:
        super().__init__(course, id=id)
        self.page = 0
        self.pages = 1
        self.alone = False  # whether the text is not beside it
        self._acting: Callable[[], tuple[Action, ...]] = tuple
        self._written: tuple[str, ...] = ()

    def key(self, view: View) -> tuple[Any, ...]:
        """Also when another page is shown."""
        return (*super().key(view), self.page, str(self.alone))

    def title(self, acting: Callable[[], tuple[Action, ...]]) -> None:
        """Where in the course, which page, and the keys of what acts, which a result may change."""
        self._acting = acting
        self._retitle()

    def _retitle(self) -> None:
        """After a drawing, too: it may have found other pages."""
        lesson = self.course.lesson
        parts: list[Any] = [heading(self.course) if self.alone else Content.styled(lesson.experiment.name, "bold")]
        if lesson.answered and self.pages > 1:
            parts.append(Content.styled(f"  view {self.page % self.pages + 1}/{self.pages}", "$text-muted"))
        if lesson.answered and lesson.computing:
            parts.append(Content.styled("  computing…", "$state-paused"))
        # Only a drawing knows whether there is another view.
        actions = tuple(action for action in self._acting() if action.name != "parts" or self.pages > 1)
        title, keys = Content.assemble(*parts), self.keys(actions)
        if (title.markup, keys.markup) != self._written:
            self._written = (title.markup, keys.markup)
            self.border_title, self.border_subtitle = title, keys

    def turn(self) -> None:
        """The next page."""
        self.page = (self.page + 1) % max(1, self.pages)

    def draw(self, width: int, height: int) -> Cells | None:
        """What may be shown of the lesson."""
        cells = self._drawn(width, height)
        self._retitle()
        return cells

    def _drawn(self, width: int, height: int) -> Cells:
        cells, lesson = Cells(width, height), self.course.lesson
        self.pages = 1
        if not lesson.answered:
            cells.centered("the numbers are here once you have predicted them", self.color("plot-axis"))
            return cells
        y = self._verdict(cells) if self.alone else 0
        y = self._controls(cells, y)
        if lesson.error:
            for line in textwrap.wrap(lesson.error, width - 2):
                cells.text(1, y, line, self.color("error"), bold=True)
                y += 1
            y += 1
        if lesson.parts:
            room = (width - 2, height - y)
            pages = laid_out(lesson.parts, *room)
            self.pages = len(pages)
            brush = Brush(self.color, self.marker, self.plain, self.gray)
            paste(cells, page_cells(pages[self.page % self.pages], *room, brush), 1, y)
        elif not lesson.error:
            cells.centered(waiting(lesson), self.color("plot-axis"))
        return cells

    def _verdict(self, cells: Cells) -> int:
        """One line or two; returns the row below."""
        lesson = self.course.lesson
        if lesson.right is None:
            return 0
        good = lesson.answer == lesson.right
        lines = textwrap.wrap(verdict(lesson), cells.width - 4)[:3]
        cells.text(1, 0, "✔" if good else "✖", self.color("plot-bars" if good else "error"), bold=True)
        for y, line in enumerate(lines):
            cells.text(3, y, line, self.color("foreground"))
        return len(lines)

    def _controls(self, cells: Cells, y: int) -> int:
        """The values that can be changed, the chosen one between arrows; returns the row below them and a gap."""
        lesson, x = self.course.lesson, 1
        for number, control in enumerate(lesson.controls):
            here = number == lesson.control % len(lesson.controls)
            value = control.written(lesson.values[control.parameter.name]) or "–"
            room = max(12, cells.width - len(control.label) - 8)
            value = value if len(value) <= room else value[: room - 1] + "…"
            text = f"{control.label} {'‹' if here else ' '}{value}{'›' if here else ' '}"
            if x > 1 and x + len(text) > cells.width:
                x, y = 1, y + 1
            cells.text(x, y, control.label, self.color("plot-axis"))
            shown = text[len(control.label) + 1 :]
            cells.text(x + len(control.label) + 1, y, shown, self.color("key" if here else "foreground"), bold=here)
            x += len(text) + 2
        return y + 1 + (cells.height > 20)


def heading(course: Course) -> Content:
    """Which lesson it is."""
    number = Content.styled(f"  {course.at + 1}/{len(course.lessons)}", "$text-muted")
    return Content.assemble(Content.styled(course.lesson.experiment.title, "bold"), number)


def waiting(lesson: Lesson) -> str:
    """What stands where numbers are to come."""
    return "computing… (some seconds)" if lesson.experiment.slow else "computing…"


def verdict(lesson: Lesson) -> str:
    """What the experiment says of the answer."""
    if lesson.right is None:
        return ""
    answer = lesson.experiment.question.answers[lesson.right]
    said = "Right." if lesson.answer == lesson.right else f'It is "{answer}".'
    return f"{said} {lesson.why}"
