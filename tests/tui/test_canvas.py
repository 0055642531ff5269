"""Half blocks and color scales."""

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from rich.style import Style

from tui.colors import COOL, GRAYS, WARM, diverging, mixed, sequential
from tui.widgets.canvas import paint, stretch
from tui.widgets.cells import DEFAULT, Cells

RED, BLUE = (255, 0, 0), (0, 0, 255)


def test_a_cell_shows_two_pixels():
    cells = Cells(2, 2)
    paint(cells, np.array([[RED, BLUE], [BLUE, RED], [RED, RED]], np.uint8))
    assert cells.lines() == ["▀▀", "▀▀"]
    assert cells.front.tolist() == [[0xFF0000, 0xFF], [0xFF0000, 0xFF0000]]
    assert cells.back.tolist() == [[0xFF, 0xFF0000], [DEFAULT, DEFAULT]]


def test_pixels_can_be_left_out():
    cells = Cells(3, 1)
    mask = np.array([[True, False, False], [False, True, False]])
    paint(cells, np.full((2, 3, 3), 255, np.uint8), mask=mask)
    assert cells.lines() == ["▀▄ "] and (cells.back == DEFAULT).all()


def test_plain_pixels_are_ascii_and_ordered():
    cells = Cells(3, 1)
    paint(cells, np.array([[(0, 0, 0), (128, 128, 128), (255, 255, 255)]] * 2, np.uint8), plain=True)
    assert cells.lines() == [" =@"] or cells.lines()[0].isascii()
    assert cells.lines()[0][0] == " " and cells.lines()[0][2] == "@"


def test_runs_of_one_color_are_one_segment():
    cells = Cells(80, 2)
    paint(cells, np.full((4, 80, 3), 7, np.uint8))
    cells.text(10, 1, "here", (1, 2, 3), bold=True)
    strips = cells.strips(Style())
    assert [len(list(strip)) for strip in strips] == [1, 3]
    assert [strip.cell_length for strip in strips] == [80, 80] and "here" in strips[1].text


@settings(max_examples=100, deadline=None)
@given(
    st.integers(0, 30), st.integers(0, 12), st.integers(0, 40), st.integers(0, 40), st.integers(-3, 40), st.booleans()
)
def test_painting_is_cut_off_at_the_edges(width, height, rows, columns, x, plain):
    cells = Cells(width, height)
    paint(cells, np.full((rows, columns, 3), 9, np.uint8), x, x // 2, plain=plain)
    cells.text(x, x, "some text")
    assert [strip.cell_length for strip in cells.strips(Style())] == [width] * height


@settings(max_examples=100, deadline=None)
@given(arrays(np.float64, (4, 5), elements=st.floats()), st.floats(), st.floats())
@example(np.zeros((4, 5)), 0.0, 5e-324)
def test_scales_take_anything(values, low, high):
    for colors in (sequential(values, low, high), diverging(values, high, GRAYS), mixed(values, (0, 0, 0))):
        assert colors.dtype == np.uint8 and colors.shape[-1] == 3


def test_scales_have_their_ends():
    ground = (14, 19, 24)
    colors = diverging(np.array([-2.0, 0.0, 2.0]), 2.0, (COOL, ground, WARM))
    assert [tuple(c) for c in colors.tolist()] == [COOL, ground, WARM]
    light = sequential(np.linspace(0, 1, 9), 0, 1) @ np.array([0.299, 0.587, 0.114])
    assert (np.diff(light) > 0).all(), "lighter is more"


@pytest.mark.parametrize("size", [(8, 8), (3, 20), (1, 1), (28, 28)])
def test_stretching_keeps_the_corners(size):
    image = np.arange(64).reshape(8, 8)
    out = stretch(image, *size)
    assert out.shape == size
    if min(size) >= 8:
        assert out[0, 0] == 0 and out[-1, -1] == 63
