"""The plot adapter draws any numbers: plotext alone raises on infinities and on zeros on a log axis."""

import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tui.widgets.charts import MIN_HEIGHT, MIN_WIDTH, Line, histogram_chart, line_chart, linear_axis, log_axis

SGR = re.compile(r"\x1b\[[0-9;]*m")
HARD = {
    "one point": [1.5],
    "zero": [0.0],
    "constant": [2.0] * 50,
    "nan": [1.0, np.nan, 2.0],
    "infinities": [np.inf, 1.0, -np.inf, 3.0],
    "huge": [1e300, 1e301, 1.7e308],
    "both ends of float64": [-1.7e308, 1.7e308],
    "denormal": [5e-324, 1e-320, 2e-310],
    "tiny range": [1e16, 1e16 + 2],
    "zeros among numbers": [0.0, 1e-8, 0.0, 1.0],
    "negative": [-3.0, -1.0, -2.0],
    "many": list(np.exp(-np.arange(100_000) / 2e4)),
}
NOTHING_TO_DRAW = {"empty": [], "all nan": [np.nan] * 4, "all infinite": [np.inf, -np.inf]}


def plain(text: str) -> list[str]:
    """Lines without colors."""
    return SGR.sub("", text).rstrip("\n").split("\n")


def curve(values: list[float], **options: object) -> Line:
    return Line(np.arange(len(values)), np.array(values, np.float64), (1, 2, 3), **options)


def dots(lines: list[str]) -> int:
    return sum("\u2800" < c <= "\u28ff" for line in lines for c in line)


@pytest.mark.parametrize("size", [(78, 11), (158, 27), (MIN_WIDTH, MIN_HEIGHT), (13, 40), (240, 5)])
@pytest.mark.parametrize("log_y", [False, True])
@pytest.mark.parametrize("values", HARD.values(), ids=HARD)
def test_line_chart_draws_hard_values(values, log_y, size):
    width, height = size
    text = line_chart(width, height, [curve(values), curve(values, dashed=True)], log_y=log_y)
    positive = any(np.isfinite(v) and v > 0 for v in values)
    if not text:
        assert width < 20 or (log_y and not positive)
        return
    lines = plain(text)
    assert len(lines) == height
    assert {len(line) for line in lines} == {width}
    assert dots(lines) > 0


@pytest.mark.parametrize("values", NOTHING_TO_DRAW.values(), ids=NOTHING_TO_DRAW)
@pytest.mark.parametrize("log_y", [False, True])
def test_line_chart_without_a_finite_point_is_empty(values, log_y):
    assert line_chart(78, 11, [curve(values)], log_y=log_y) == ""


def test_log_axis_without_positive_values_is_empty():
    assert line_chart(78, 11, [curve([0.0, -1.0])], log_y=True) == ""


@pytest.mark.parametrize("size", [(0, 0), (1, 1), (5, 2), (MIN_WIDTH - 1, 20), (80, MIN_HEIGHT - 1)])
def test_too_small_for_a_plot_is_empty(size):
    assert line_chart(*size, [curve([1.0, 2.0])]) == ""


def test_falling_curve_falls_from_left_to_right():
    lines = plain(line_chart(78, 11, [curve(list(np.linspace(2, 0, 300)))]))
    first = next(row for row, line in enumerate(lines) if any(c > "\u2800" for c in line[8:12]))
    last = next(row for row, line in enumerate(lines) if any("\u2800" < c <= "\u28ff" for c in line[-4:]))
    assert first < 2 and last > 6


def test_axis_labels_are_short_and_increasing():
    for low, high in [(0, 2.31), (0.123456789, 0.1234999), (1e-7, 3e-7), (0, 123456), (-5, 5), (1e300, 3e300)]:
        axis = linear_axis(low, high, 5)
        assert 2 <= len(axis.ticks) <= 15
        assert all(len(label) <= 8 for _, label in axis.ticks)
        assert [t for t, _ in axis.ticks] == sorted({t for t, _ in axis.ticks})


def test_log_axis_has_decades():
    assert [label for _, label in log_axis(-3, 2, 6).ticks] == ["0.001", "0.01", "0.1", "1", "10", "100"]


@settings(max_examples=150, deadline=None)
@given(
    st.lists(st.floats(allow_nan=True, allow_infinity=True), max_size=40),
    st.lists(st.floats(allow_nan=True, allow_infinity=True), max_size=40),
    st.integers(0, 120),
    st.integers(0, 30),
    st.booleans(),
    st.sampled_from(["braille", "hd", "*"]),
)
def test_line_chart_takes_anything(xs, ys, width, height, log_y, marker):
    text = line_chart(width, height, [Line(np.array(xs), np.array(ys), None)], log_y=log_y, marker=marker)
    assert not text or {len(line) for line in plain(text)} == {width}


EDGES = np.linspace(-2.0, 3.0, 31)


@pytest.mark.parametrize(
    ("counts", "edges"),
    [
        (np.zeros(30, np.int64), EDGES),
        (np.full(30, 7), EDGES),
        (np.eye(30, dtype=np.int64)[3] * 2**62, EDGES),
        (np.full(30, np.nan), EDGES),
        (np.full(30, np.inf), EDGES),
        (np.full(30, 1e300), EDGES),
        (np.full(30, -5), EDGES),
        (np.ones(1), np.array([0.0, 1.0])),
        (np.ones(30), np.full(31, 2.0)),
        (np.ones(30), np.full(31, np.nan)),
        (np.ones(30), np.array([-1.7e308, 0.0, 1.7e308])),
    ],
)
@pytest.mark.parametrize("size", [(24, 6), (52, 12), (MIN_WIDTH, 2), (13, 9)])
def test_histogram_takes_anything(counts, edges, size):
    text = histogram_chart(*size, counts, edges, color=(1, 2, 3), tall_color=(3, 2, 1))
    lines = plain(text)
    assert len(lines) == size[1]
    assert {len(line) for line in lines} == {size[0]}


def test_histogram_without_bins_or_room_is_empty():
    assert histogram_chart(24, 6, np.array([]), np.array([]), color=None, tall_color=None) == ""
    assert histogram_chart(1, 1, np.ones(30), EDGES, color=None, tall_color=None) == ""


def test_histogram_is_filled_and_leaves_no_gap():
    lines = plain(histogram_chart(60, 6, np.arange(1, 31), EDGES, color=None, tall_color=None))
    assert " " not in lines[4]
    assert set(lines[3][-30:]) == {"\u2588"}


def test_one_towering_bin_is_cut_and_drawn_in_its_own_color():
    counts = np.full(30, 10)
    counts[0] = 5000
    text = histogram_chart(60, 6, counts, EDGES, color=(1, 2, 3), tall_color=(9, 8, 7))
    assert "38;2;9;8;7" in text
    assert "\u2588" in plain(text)[1][30:], "the other bins stay visible"


def test_histogram_marks_zero_between_the_ends():
    assert plain(histogram_chart(40, 5, np.ones(30), EDGES, color=None, tall_color=None))[-1].split() == [
        "-2",
        "0",
        "3",
    ]
