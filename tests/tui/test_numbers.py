"""Numbers keep their width, or nothing on the screen stands still."""

import math

import pytest

from tui import numbers


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0"), (1, "1"), (0.25, "0.25"), (0.0012, "0.0012"), (0.00002, "2e-5"), (0.000021, "2.1e-5"),
        (1234, "1.23k"), (20_000, "20k"), (999_600, "1M"), (3_000_000, "3M"), (1e9, "1e9"), (-4.5, "-4.5"),
        (1e300, "1e300"), (math.nan, "nan"), (math.inf, "inf"), (-math.inf, "-inf"), (999.6, "1k"),
    ],
)  # fmt: skip
def test_short(value, text):
    assert numbers.short(value) == text


@pytest.mark.parametrize(
    "value", [None, 0.0, 2.30259, 9.99999, 10.0, 99.9999, 123.456, 9999.99, 1e5, 1e30, math.nan, math.inf]
)
def test_loss_is_six_wide(value):
    assert len(numbers.loss(value)) == 6


def test_a_small_loss_is_not_zero():
    assert [numbers.loss(value) for value in (0.0, 0.001, 9.9e-4, 2.34e-5, 1.2e-10, -2.34e-5)] == [
        "0.0000", "0.0010", "9.9e-4", "2.3e-5", " 1e-10", " -2e-5"
    ]  # fmt: skip


@pytest.mark.parametrize("value", [None, 0.0, 0.0512, 0.841, 0.9996, 1.0, math.nan])
def test_percent_is_five_wide(value):
    assert len(numbers.percent(value)) == 5


@pytest.mark.parametrize(("seconds", "text"), [(0, "00:00"), (63.9, "01:03"), (3600, "1:00:00"), (math.nan, "00:00")])
def test_clock(seconds, text):
    assert numbers.clock(seconds) == text


def test_rate_and_count():
    assert numbers.rate(0.00125) == "0.00125"
    assert numbers.rate(1e-5) == "1e-5"
    assert numbers.rate(0.000125) == "1.25e-4"
    assert numbers.rate(9.9996e-4) == "1e-3"
    assert numbers.rate(1e6) == "1e6"
    assert numbers.count(1_234_567) == "1,234,567"
    assert numbers.count(12_340_000) == "12.3M"
