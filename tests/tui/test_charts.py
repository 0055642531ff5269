"""Charts draw any numbers, in any size, with any marker."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tui.widgets.axes import linear_axis, log_axis
from tui.widgets.charts import MIN_HEIGHT, MIN_WIDTH, STYLES, Chart, Line, Look, histogram_chart, line_chart, smoothed
from tui.widgets.dots import MARKERS

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
BLANK = {"braille": " \u2800", "block": " ", "ascii": " "}


def curve(values: list[float], **options: object) -> Line:
    return Line(np.arange(len(values)), np.array(values, np.float64), (1, 2, 3), **options)


def inked(chart: Chart) -> int:
    """Cells in a curve's color."""
    return int((chart.cells.front == 0x010203).sum())


@pytest.mark.parametrize("marker", MARKERS)
@pytest.mark.parametrize("size", [(78, 11), (158, 27), (MIN_WIDTH, MIN_HEIGHT), (13, 40), (240, 5)])
@pytest.mark.parametrize("log_y", [False, True])
@pytest.mark.parametrize("values", HARD.values(), ids=HARD)
def test_line_chart_draws_hard_values(values, log_y, size, marker):
    lines = [curve(values, faint=(9, 9, 9), smooth=5.0), curve(values, style=1)]
    chart = line_chart(
        *size, lines, Look(log_y=log_y, marker=marker), marks=[0.5, np.nan], cursor=0.3 if size[0] > 20 else None
    )
    assert chart.cells.chars.shape == size[::-1]
    positive = any(np.isfinite(v) and v > 0 for v in values)
    assert (inked(chart) > 0) == (positive or not log_y)


@pytest.mark.parametrize("values", NOTHING_TO_DRAW.values(), ids=NOTHING_TO_DRAW)
@pytest.mark.parametrize("log_y", [False, True])
def test_line_chart_without_a_finite_point_is_empty(values, log_y):
    chart = line_chart(78, 11, [curve(values)], Look(log_y=log_y))
    assert chart.x_axis is None and set("".join(chart.cells.lines())) == {" "}


def test_a_single_point_at_the_start_has_no_steps_below_0():
    axis = line_chart(78, 11, [curve([2.0])]).x_axis
    assert (axis.low, axis.high) == (0, 1) and [label for _, label in axis.ticks] == ["0", "1"]


def test_log_axis_without_positive_values_is_empty():
    assert line_chart(78, 11, [curve([0.0, -1.0])], Look(log_y=True)).x_axis is None


@pytest.mark.parametrize("size", [(0, 0), (1, 1), (5, 2), (MIN_WIDTH - 1, 20), (80, MIN_HEIGHT - 1)])
def test_too_small_for_a_plot_is_empty(size):
    chart = line_chart(*size, [curve([1.0, 2.0])])
    assert inked(chart) == 0 and chart.cells.chars.shape == size[::-1]
    histogram_chart(*size, np.ones(30), np.linspace(0, 1, 31), color=None, tall_color=None)


@pytest.mark.parametrize("marker", MARKERS)
def test_falling_curve_falls_from_left_to_right(marker):
    cells = line_chart(78, 11, [curve(list(np.linspace(2, 0, 300)))], Look(marker=marker)).cells
    rows = [np.flatnonzero(cells.front[:, x] == 0x010203) for x in range(8, 78)]
    tops = [row[0] for row in rows if row.size]
    assert tops == sorted(tops) and tops[0] < 2 and tops[-1] > 6 and len(tops) > 65


@pytest.mark.parametrize("marker", MARKERS)
def test_a_curve_has_no_gaps_and_a_dashed_one_has(marker):
    y = list(2 * np.exp(-np.arange(40) / 3.0))
    for dashed in (False, True):
        cells = line_chart(78, 20, [curve(y, style=int(dashed))], Look(marker=marker)).cells
        filled = (cells.front == 0x010203).any(axis=0)[8:78]
        assert filled.all() != dashed


@pytest.mark.parametrize("marker", MARKERS)
def test_styles_differ_without_colors(marker):
    y = list(2 * np.exp(-np.arange(40) / 3.0))
    looks = [Look(marker=marker)] * len(STYLES)
    drawn = ["\n".join(line_chart(78, 20, [curve(y, style=k)], look).cells.lines()) for k, look in enumerate(looks)]
    assert len(set(drawn)) == len({style.mark for style in STYLES}) == len({style.letter for style in STYLES}) == 6


def test_columns_show_the_mean_and_faintly_the_extremes():
    y = np.tile([0.0, 1.0], 2000)
    cells = line_chart(78, 22, [curve(list(y), faint=(9, 9, 9), smooth=10.0)]).cells
    rows = np.flatnonzero((cells.front == 0x010203).any(axis=1))
    assert rows.size <= 2 and 8 <= rows[0] <= 12, "the curve lies in the middle"
    low_and_high = np.flatnonzero((cells.front == 0x090909).sum(axis=1) > 60)
    assert low_and_high.tolist() == [0, 19], "dots at 0 and 1 in every column"


def test_marks_lie_behind_the_curve_and_the_cursor_before():
    look = Look(mark_color=(0, 0, 7), cursor_color=(0, 0, 8))
    chart = line_chart(78, 11, [curve([1.0] * 100)], look, marks=[50.0], cursor=25.0)
    marks, cursor = (chart.cells.front == 7), (chart.cells.front == 8)
    assert marks.any(axis=0).sum() == cursor.any(axis=0).sum() == 1
    assert marks.sum() == 8 and cursor.sum() == 9, "the curve's own cell is not the mark's"
    assert chart.x_at(int(np.flatnonzero(cursor.any(axis=0))[0])) == pytest.approx(25, abs=1)


def test_a_window_shows_a_part():
    chart = line_chart(78, 11, [curve(list(range(1000)))], window=(900.0, 999.0))
    assert (chart.x_axis.low, chart.x_axis.high) == (900.0, 999.0)
    assert "900" in chart.cells.lines()[-1] and inked(chart) > 60
    shares = line_chart(78, 11, [curve([0.0, 1.0])], window=(0.002, 1.0))  # no steps, which are whole
    assert [label for _, label in shares.x_axis.ticks] == ["0.2", "0.4", "0.6", "0.8", "1"]


def test_smoothing_is_a_moving_average_that_starts_right():
    y = np.array([1.0, 1.0, np.nan, 1.0, 5.0])
    out = smoothed(y, 10)
    assert out[0] == out[1] == 1.0 and np.isnan(out[2]) and 1 < out[4] < 3
    np.testing.assert_array_equal(smoothed(y, 1), y)


@pytest.mark.parametrize(
    ("low", "high"), [(0, 1), (-3, 8), (0.0012, 0.0013), (1e-9, 1e9), (5, 5), (0, 0), (-1e308, 1e308)]
)
def test_linear_ticks_are_few_round_and_inside(low, high):
    axis = linear_axis(low, high, 5)
    places = [axis.place(t) for t, _ in axis.ticks]
    assert 1 <= len(axis.ticks) <= 18
    assert all(-1e-9 <= place <= 1 + 1e-9 for place in places)
    assert all(len(label) <= 8 for _, label in axis.ticks)


@pytest.mark.parametrize(
    ("low", "high"),
    [
        (-4, 4), (-2.99, 2.99), (0.3, 0.39), (1.001, 1.002), (10_200, 10_300), (5.1e-4, 5.2e-4), (-5e-4, -4.9e-4),
        (1.01e-5, 1.02e-5), (1e9, 1.01e9), (-1e12, -1.01e12), (1e300, 1.1e300),
    ],
)  # fmt: skip
def test_linear_ticks_are_two_at_least_and_told_apart(low, high):
    labels = [label for _, label in linear_axis(low, high, 2).ticks]
    assert len(labels) == len(set(labels)) >= 2


@pytest.mark.parametrize(
    ("high", "labels"), [(0.0015, "0 0.0005 0.0010 0.0015"), (1e-4, "0 5e-5 1e-4"), (1500, "0 500 1k 1.5k")]
)
def test_linear_ticks_are_written_in_one_way(high, labels):
    assert [label for _, label in linear_axis(0, high, 3).ticks] == labels.split()


@pytest.mark.parametrize(("low", "high"), [(-3, 2), (0, 0.1), (-320, -310), (300, 308.2), (-300, 300)])
def test_log_ticks_are_few_and_inside(low, high):
    axis = log_axis(low, high, 5)
    assert 2 <= len(axis.ticks) <= 12
    assert all(-1e-6 <= axis.place(t) <= 1 + 1e-6 for t, _ in axis.ticks)


# ---- histograms ------------------------------------------------------------------------------------------------------


def histogram(width, height, counts, edges=None, **options):
    counts = np.asarray(counts)
    edges = np.linspace(-1, 1, counts.size + 1) if edges is None else edges
    return histogram_chart(width, height, counts, edges, color=(1, 2, 3), tall_color=(4, 5, 6), **options)


def test_histogram_is_filled_and_labeled():
    lines = histogram(40, 8, [1, 2, 3, 4, 3, 2, 1] * 3).lines()
    assert len(lines) == 8 and lines[-1].split() == ["-1", "0", "1"]
    assert sum(c != " " for line in lines[:-1] for c in line) > 100


def test_every_bin_that_has_something_shows_something():
    counts = np.zeros(30, int)
    counts[3], counts[20] = 1_000_000, 1
    cells = histogram(60, 6, counts)
    assert (cells.chars[:-1] != " ").any(axis=0).sum() == 4
    assert histogram(60, 6, np.zeros(30)).lines() == [" " * 60] * 6


def test_a_bin_that_towers_is_cut_and_colored():
    cells = histogram(60, 8, [4000, *([50, 60, 70] * 9)])
    assert (cells.front == 0x040506).sum() and (cells.front == 0x010203).sum()
    heights = (cells.chars[:-1] != " ").sum(axis=0)
    assert heights.max() == 7 and np.median(heights) >= 4


def test_histogram_in_ascii():
    assert "".join(histogram(40, 8, [1, 2, 3, 4], marker="ascii").lines()).isascii()


# ---- any numbers whatsoever ------------------------------------------------------------------------------------------

numbers = st.lists(st.floats(width=64), max_size=60)
sizes = st.tuples(st.integers(0, 180), st.integers(0, 50))
somewhere = st.one_of(st.none(), st.floats())


@settings(max_examples=150, deadline=None)
@given(
    numbers, numbers, sizes, st.booleans(), st.sampled_from(sorted(MARKERS)), st.floats(0, 100), somewhere, somewhere
)
def test_line_chart_takes_anything(x, y, size, log_y, marker, smooth, low, high):
    lines = [Line(np.sort(np.array(x)), np.array(y), (1, 2, 3), faint=(4, 5, 6), smooth=smooth), curve(y, style=1)]
    window = None if low is None or high is None else (low, high)
    look = Look(log_y=log_y, marker=marker)
    chart = line_chart(*size, lines, look, window=window, marks=list(x), cursor=low)
    assert chart.cells.chars.shape == size[::-1]
    assert all(len(line) == size[0] for line in chart.cells.lines())


@settings(max_examples=150, deadline=None)
@given(numbers, numbers, sizes, st.sampled_from(sorted(MARKERS)))
def test_histogram_takes_anything(counts, edges, size, marker):
    cells = histogram(*size, counts, np.array(edges), marker=marker)
    assert cells.chars.shape == size[::-1]
