"""The Learn mode: the course without a screen, every key, the pages at both sizes, and their pictures."""

from __future__ import annotations

import dataclasses
import textwrap
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fixed_results
import pytest
from driving import LIMIT, opened_with, press, press_until, settle, text_of, until
from fake_training import FakeBackend
from pytest_textual_snapshot import SVGImageExtension
from short import shorten
from textual.content import Content

from fastnn.experiments import EXPERIMENTS
from tui.app import FastnnApp
from tui.config import RunConfig
from tui.lessons import Course, Lesson
from tui.options import Options
from tui.widgets.lesson import CoursePlot, LessonReport, LessonText, verdict
from tui.widgets.report import Brush, laid_out, least, page_cells

NAMES = list(EXPERIMENTS)


@pytest.fixture(autouse=True)
def _quick(plain_terminal: None, monkeypatch: pytest.MonkeyPatch) -> None:
    shorten(monkeypatch)
    fixed_results.use(monkeypatch)


def app_of(options: Options | None = None) -> FastnnApp:
    return FastnnApp(FakeBackend(), RunConfig(epochs=12), options)


async def open_learn(pilot: Any, lesson: str = "network") -> Course:
    """The Learn mode at a lesson."""
    app = pilot.app
    await press_until(pilot, "5", lambda: app.base.NAME == "learn")
    course: Course = app.base.course
    await go_to(pilot, lesson)
    return course


async def go_to(pilot: Any, lesson: str) -> None:
    """To a lesson, as a click on it does: opening one after the other would compute them all."""
    screen = pilot.app.base
    screen.post_message(LessonText.Chosen(NAMES.index(lesson), lesson=True))
    await until(pilot, lambda: screen.course.at == NAMES.index(lesson), lesson)
    await settle(pilot)


# ---- the course, without a screen ------------------------------------------------------------------------------------


def computed(course: Course) -> Lesson:
    end = time.monotonic() + LIMIT
    course.ask()
    while not course.settled:
        assert time.monotonic() < end
        time.sleep(0.001)
    return course.lesson


def at(name: str) -> Course:
    course = Course()
    course.at = NAMES.index(name)
    return course


def test_a_lesson_is_answered_and_changed() -> None:
    course = at("outputs")
    course.choose(1)
    course.choose(1)
    course.choose(1)
    lesson = computed(course)
    assert lesson.chosen == 0 and lesson.right == 2 and not lesson.answered
    course.change(1)  # nothing is changed before the answer
    assert lesson.values == EXPERIMENTS["outputs"].defaults
    lesson.answer = 2
    assert verdict(lesson).startswith("Right. ") and course.done == 1
    assert [control.label for control in lesson.controls] == ["frog", "bird", "dog", "cat"]
    course.choose(-1)
    course.change(1)
    assert computed(course).values["logits"] == (-5, -1, 1, 5.5) and lesson.right == 2
    course.set("7")
    assert computed(course).result.logits.tolist() == [-5, -1, 1, 7]
    course.restore()
    assert computed(course).result.logits[3] == 5


@pytest.mark.parametrize(
    ("lesson", "control", "text", "reason"),
    [
        ("outputs", 1, "many", "bird: 'many' is not a number"),
        ("outputs", 0, "", "frog: '' is not a number"),
        ("outputs", 0, "1e9", "frog: 1000000000.0 is out of range"),
        ("initialization", 1, "2.5", "width: '2.5' is not a whole number"),
        ("initialization", 0, "best", "scheme: unknown name 'best'"),
    ],
)
def test_what_is_typed_wrong_changes_nothing(lesson: str, control: int, text: str, reason: str) -> None:
    course = at(lesson)
    course.lesson.control, before = control, course.lesson.values
    with pytest.raises(ValueError, match=reason):
        course.set(text)
    assert course.lesson.values is before


def test_an_error_keeps_the_last_result_and_goes_away() -> None:
    course = at("backpropagation")
    lesson = computed(course)
    before = lesson.parts
    lesson.values = {**lesson.values, "formula": "w / (x - x) + b"}
    assert (
        computed(course).error == 'formula: division by zero; expected another divisor (column 3, at "/ (x - x) + b")'
    )
    assert lesson.parts is before
    lesson.values = {**lesson.values, "formula": "w * x + b"}
    assert computed(course).error == "" and lesson.parts is not before


def test_only_the_newest_values_are_computed() -> None:
    seen: list[float] = []
    first, began, go = threading.Event(), threading.Event(), threading.Event()

    def slow(x: float) -> Any:
        seen.append(x)
        if len(seen) == 1:
            first.wait(LIMIT)
        elif len(seen) == 2:
            began.set()
            go.wait(LIMIT)
        return EXPERIMENTS["activations"].compute(x=x)

    entry = EXPERIMENTS["activations"]
    course = Course({"activations": dataclasses.replace(entry, compute=slow, parameters=entry.parameters[:1])})
    course.lesson.answer = 0
    course.ask()
    course.change(1)  # nothing is changed before the answer is judged, by the question's own values
    assert not course.lesson.changed
    first.set()
    computed(course)
    course.change(1)
    assert began.wait(LIMIT)
    for _ in range(14):
        course.change(1)
    go.set()
    computed(course)
    assert seen[-1] == course.lesson.values["x"] == 4.75 and len(seen) == 3


def test_a_value_that_goes_there_and_back_while_it_is_computed() -> None:
    began, go = threading.Event(), threading.Event()

    def slow(x: float) -> Any:
        if x == 2:
            began.set()
            go.wait(LIMIT)
        return EXPERIMENTS["activations"].compute(x=x)

    entry = EXPERIMENTS["activations"]
    first = dataclasses.replace(entry.parameters[0], step=1.0)
    course = Course({"activations": dataclasses.replace(entry, compute=slow, parameters=(first,))})
    computed(course).answer = 0
    course.change(1)
    assert began.wait(LIMIT)
    course.restore()
    go.set()
    end = time.monotonic() + LIMIT
    while course.version < 3:
        assert time.monotonic() < end
        time.sleep(0.001)
    assert course.lesson.result.at == 1 and course.settled


@pytest.mark.parametrize("name", NAMES)
def test_text_and_verdict_fit_the_smallest_screen(name: str) -> None:
    entry = EXPERIMENTS[name]
    lines = textwrap.wrap(entry.text, 76) + textwrap.wrap(entry.question.text, 76) + list(entry.question.answers)
    assert len(lines) <= 15 and all(len(answer) <= 74 for answer in entry.question.answers)
    why = entry.question.why(entry.run())
    for right in range(len(entry.question.answers)):
        lesson = Lesson(entry, answer=(right + 1) % 3, right=right, why=why)
        assert len(textwrap.wrap(verdict(lesson), 74)) <= 2


# ---- the pages -------------------------------------------------------------------------------------------------------


def sizes() -> Iterator[tuple[int, int]]:
    yield from ((1, 1), (12, 3), (40, 8), (76, 13), (104, 39), (180, 50))


@pytest.mark.parametrize("name", NAMES)
def test_reports_are_drawn_in_any_size(name: str) -> None:
    parts = EXPERIMENTS[name].report(EXPERIMENTS[name].run())
    brush = Brush(lambda color: (200, 100, 50), "braille", plain=False)
    for width, height in sizes():
        for look in (brush, dataclasses.replace(brush, plain=True))[: 1 + (width == 76)]:
            pages = laid_out(parts, width, height)
            assert [part for page in pages for row in page for part in row] == list(parts)
            for page in pages:
                cells = page_cells(page, width, height, look)
                assert (cells.width, cells.height) == (width, height)
    for page in laid_out(parts, 76, 13):  # the least that there is: everything is whole
        for row in page:
            assert sum(least(part)[0] + 3 for part in row) - 3 <= 76, name
        assert sum(max(least(part)[1] for part in row) + 1 for row in page) - 1 <= 13, name


# ---- keys and pictures -----------------------------------------------------------------------------------------------


def keys_of(app: FastnnApp) -> list[str]:
    """The words beside the keys in the border of the pane that is shown: what acts now."""
    pane = next(pane for pane in app.base.query(CoursePlot) if pane.region)
    shown = f"{Content.from_markup(str(pane.border_subtitle)).plain} "
    words = {action.label for action in app.base.placed("main") if action.label} | {"answer", "type"}
    return sorted((word for word in words if f" {word} " in shown), key=shown.index)


class Pictures:
    """Screens of one app beside the stored ones: each app that is started takes a second."""

    def __init__(self, snapshot: Any, folder: Path) -> None:
        self.stored, self.folder = snapshot.use_extension(SVGImageExtension), folder
        self.differ: list[str] = []

    async def take(self, pilot: Any, name: str) -> None:
        """Compare the screen with the picture of that name."""
        await pilot.wait_for_scheduled_animations()
        await pilot.pause()
        drawn = pilot.app.export_screenshot(title=pilot.app.title, simplify=True)
        if self.stored(name=name) != drawn:
            (self.folder / f"{name}.svg").write_text(drawn, "utf-8")
            self.differ.append(name)


@pytest.fixture
def pictures(snapshot: Any, tmp_path: Path) -> Iterator[Pictures]:
    found = Pictures(snapshot, tmp_path)
    yield found
    assert not found.differ, f"other pictures than those stored: {found.differ}; as they are now: {tmp_path}"


async def test_the_course_is_completed_by_keys_alone(pictures: Pictures) -> None:
    """At 80x24, with a picture of each lesson."""
    async with opened_with(app_of()) as pilot:
        course = await open_learn(pilot)
        app = pilot.app
        for name in NAMES:
            assert course.lesson.experiment.name == name
            assert "Predict, then see" in text_of(app) and app.base.query_one(LessonText).size.width > 70
            await press(pilot, "down", "enter")
            await settle(pilot)
            lesson = course.lesson
            assert lesson.answer == 1 and lesson.right is not None
            text = text_of(app)
            assert ("Right." in text) == (lesson.right == 1) and ('It is "' in text) == (lesson.right != 1)
            await pictures.take(pilot, name)
            before = lesson.values
            await press(pilot, "right")
            assert lesson.values != before
            await press(pilot, "backspace")
            await settle(pilot)
            assert lesson.values == EXPERIMENTS[name].defaults
            await press(pilot, "n")
            await settle(pilot)
        assert course.done == len(NAMES) and course.at == 0
        await press(pilot, "p")
        assert course.at == len(NAMES) - 1


async def test_pages_steps_and_what_is_typed(pictures: Pictures) -> None:
    async with opened_with(app_of()) as pilot:
        course = await open_learn(pilot, "backpropagation")
        app = pilot.app
        await press(pilot, "v", "b")  # nothing yet
        assert "Predict, then see" in text_of(app)
        await pictures.take(pilot, "question")
        assert keys_of(app) == ["choose", "answer", "lesson", "try"]
        await press(pilot, "down", "enter")
        await settle(pilot)
        assert keys_of(app) == ["choose", "change", "type", "view", "text", "lesson", "try"]
        assert "view 1/" in text_of(app) and "×──" in text_of(app)
        await press(pilot, "v")
        assert "view 2/" in text_of(app) and "-4.4" in text_of(app)
        await press(pilot, "b")
        assert "the chain rule" in text_of(app) and keys_of(app) == ["text", "lesson", "try"]
        await press(pilot, "b")
        assert "-4.4" in text_of(app)
        for _ in range(app.base.query_one(LessonReport).pages - 1):
            await press(pilot, "v")
        assert "view 1/" in text_of(app)
        # A graph step by step, and a formula that is typed.
        await press(pilot, "right", "right")
        await settle(pilot)
        assert "step 1 of 5: forward: g (×) of -2, 5 is -10" in text_of(app)
        await press(pilot, "down", "down", "down", "down")
        assert course.lesson.current is not None and course.lesson.current.label == "formula"
        assert keys_of(app) == ["choose", "type", "view", "text", "lesson", "try", "as before"]  # a text has no steps
        for formula, told in (("tanh(w * x) / (b - b)", "division by zero"), ("tanh(w * x) / b", "tanh──")):
            await press(pilot, "enter")
            app.screen.query_one("#text").value = formula
            await press(pilot, "enter")
            await settle(pilot)
            assert told in text_of(app)
        assert "division by zero" not in text_of(app)
        # A wrong number is asked for again.
        await go_to(pilot, "outputs")
        await press(pilot, "enter", "enter")
        app.screen.query_one("#text").value = "much"
        await press(pilot, "enter")
        await until(pilot, lambda: "frog: 'much' is not a number" in text_of(app))
        app.screen.query_one("#text").value = "-2.5"
        await press(pilot, "enter")
        await settle(pilot)
        assert course.lesson.values["logits"] == (-2.5, -1, 1, 5) and "0.07586" in text_of(app)


async def test_clicks_and_wide_screens(pictures: Pictures) -> None:
    async with opened_with(app_of(), (160, 45)) as pilot:
        course = await open_learn(pilot)
        app = pilot.app
        lines = [line[:50] for line in text_of(app).splitlines()]
        row = next(k for k, line in enumerate(lines) if line.startswith("│   3"))
        await pilot.click(offset=(4, row))
        await until(pilot, lambda: course.lesson.answer == 1)
        row = next(k for k, line in enumerate(lines) if " Backpropagation" in line)
        await pilot.click(offset=(8, row))
        await until(pilot, lambda: course.lesson.experiment.name == "backpropagation")
        await settle(pilot)
        await press(pilot, "down", "enter")
        await settle(pilot)
        await pictures.take(pilot, "wide")
        await press(pilot, "t")
        await settle(pilot)
        await pictures.take(pilot, "light")


async def test_without_colors(pictures: Pictures, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    async with opened_with(app_of(), (160, 45)) as pilot:
        await open_learn(pilot)
        await press(pilot, "down", "enter")
        await settle(pilot)
        await pictures.take(pilot, "plain")


async def test_ascii_and_a_training_that_shows_it() -> None:
    async with opened_with(app_of(Options(ascii=True, marker="ascii"))) as pilot:
        await open_learn(pilot)
        assert "up dn choose an answer" in text_of(pilot.app)
        await press(pilot, "enter")
        await settle(pilot)
        text = text_of(pilot.app)
        assert text.isascii() and "x1" in text and "y2" in text
        await go_to(pilot, "initialization")
        app = pilot.app
        await press_until(pilot, "o", lambda: app.base.NAME == "train")
        config = app.session.view.config
        assert (config.data, config.layers, config.activation, config.init) == ("digits", (100,) * 5, "tanh", "normal")
