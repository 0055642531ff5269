"""A curve of any length stays small and keeps its shape."""

import math

import numpy as np
import pytest

from tui.history import Curve, Recent


def test_short_curve_is_exact():
    curve = Curve(16)
    for i in range(10):
        curve.add(i, i * 2.0)
    x, y = curve.points()
    assert x.tolist() == list(range(10))
    assert y.tolist() == [i * 2.0 for i in range(10)]


def test_long_curve_is_thinned_and_keeps_shape_and_newest_point():
    curve = Curve(64)
    for i in range(1, 100_001):
        curve.add(i, math.exp(-i / 20_000))
    x, y = curve.points()
    assert 32 <= x.size <= 65 and len(curve) == x.size
    assert np.all(np.diff(x) > 0) and x[-1] == 100_000
    np.testing.assert_allclose(y[:-1], np.exp(-x[:-1] / 20_000), rtol=0.08)


def test_points_that_are_not_finite_are_left_out():
    curve = Curve(8)
    for y in (1.0, math.nan, math.inf, -math.inf, 2.0):
        curve.add(1, y)
    curve.add(math.nan, 3.0)
    assert curve.points()[1].tolist() == [1.0, 2.0]


def test_huge_values_do_not_overflow():
    curve = Curve(4)
    for i in range(100):
        curve.add(i, 1.7e308)
    assert np.isfinite(curve.points()[1]).all()


def test_clear():
    curve = Curve(4)
    curve.add(1, 1)
    curve.clear()
    assert len(curve) == 0 and curve.points()[0].size == 0


@pytest.mark.parametrize("capacity", [0, 1, 3])
def test_capacity_must_be_even(capacity):
    with pytest.raises(ValueError, match="capacity"):
        Curve(capacity)


def test_a_column_counts_all_values_and_forgets_the_oldest():
    column = Recent(most=4)
    for value in range(100):
        column.append(float(value))
        assert len(column) == value + 1 and column[-1] == column[value] == value and len(column._values) <= 8
    assert column[97] == 97 and math.isnan(column[3])
    with pytest.raises(IndexError):
        column[100]
    for count in (98, 50, 0):
        back = column[:count]
        assert len(back) == count and (not count or back[-1] == count - 1 or math.isnan(back[-1]))
        back.append(-1.0)
        assert len(back) == count + 1 and back[count] == -1 and len(column) == 100
    assert list(column[97:]) == [97, 98, 99] and list(column[97:98]) == [97]
    late = list(column[90:])
    assert len(late) == 10 and math.isnan(late[0]) and late[-1] == 99
