"""Data sets of sequences: the adding problem and text files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fastnn.datasets import digest, load, load_adding, load_text
from fastnn.datasets.idx import FOUR_FILES
from fastnn.errors import DataError

TEXT = "Two things fill the mind with ever new and increasing admiration.\n" * 9


def test_adding_adds_what_is_marked() -> None:
    data = load_adding(steps=11, samples=500, seed=3)
    assert (data.steps, data.features, data.every_step, data.n_classes) == (11, 2, False, 0)
    assert (
        len(data.x_test) == 100
        and repr(data) == "Dataset('adding', 400 train, 100 test, 11 steps of 2 features, regression)"
    )
    for x, y in ((data.x_train, data.y_train), (data.x_test, data.y_test)):
        assert (x[:, :5, 1].sum(1) == 1).all() and (x[:, 5:, 1].sum(1) == 1).all()
        np.testing.assert_allclose((x[..., 0] * x[..., 1]).sum(1), y[:, 0], rtol=1e-6)
    places = data.x_train[..., 1].argmax(1)
    assert set(places) == set(range(5)), "every place is marked"
    again, other = load_adding(steps=11, samples=500, seed=3), load_adding(steps=11, samples=500, seed=4)
    assert np.array_equal(again.x_train, data.x_train) and not np.array_equal(other.x_train, data.x_train)


def test_built_in_sequences() -> None:
    data = load("adding", steps=8, samples=50)
    assert data.x_train.tobytes() == load_adding(steps=8, samples=50).x_train.tobytes() and not data.classes
    data = load("lessons", steps=16)
    assert data.steps == 16 and data.every_step and {"q", "u", " "} < set(data.classes)


def test_a_digest_is_of_what_is_read(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("one")
    first = digest(str(path))
    assert len(first) == 64 and first == digest(str(path)) and digest("digits") == digest("no such thing") == ""
    path.write_text("two")
    assert digest(str(path)) != first
    for name in FOUR_FILES:
        (tmp_path / name).write_text("one")
    folder = digest(str(tmp_path))
    (tmp_path / "more").mkdir()
    (tmp_path / "more.txt").write_text("three")
    assert folder == digest(str(tmp_path)) != ""
    (tmp_path / FOUR_FILES[3]).write_text("two")
    assert digest(str(tmp_path)) != folder


def test_text_becomes_windows(tmp_path: Path) -> None:
    path = tmp_path / "kant.txt"
    path.write_text(TEXT, "utf-8")
    data = load(path, steps=20)
    assert data.name == "kant" and data.classes == tuple(sorted(set(TEXT))) and data.every_step
    count = (len(TEXT) - 1) // 20
    assert len(data.x_train) + len(data.x_test) == count
    windows = {TEXT[20 * k : 20 * k + 21] for k in range(count)}
    for x, y in ((data.x_train, data.y_train), (data.x_test, data.y_test)):
        assert (x.sum(2) == 1).all()
        for codes, following in zip(x.argmax(2), y, strict=True):
            assert "".join(data.classes[c] for c in [*codes, following[-1]]) in windows
            assert np.array_equal(codes[1:], following[:-1])
    assert len(load_text(str(path), steps=20, characters=81).x_train) == 3


@pytest.mark.parametrize(
    ("content", "options", "error", "message"),
    [
        (b"short", {}, DataError, r"has 5 characters; expected at least 65 for steps 32"),
        (b"\xff\xfe" * 99, {}, DataError, "cannot be read as UTF-8 text"),
        (b"a" * 999, {}, DataError, "has 1 different characters; expected from 2"),
        (b"ab" * 99, {"steps": 0}, ValueError, "steps: 0 is out of range"),
        (b"ab" * 99, {"stepz": 3}, ValueError, "options of text.txt: unknown name 'stepz'; did you mean 'steps'"),
    ],
)
def test_bad_text(content: bytes, options: dict[str, Any], error: type, message: str, tmp_path: Path) -> None:
    (tmp_path / "text.txt").write_bytes(content)
    with pytest.raises(error, match=message):
        load(tmp_path / "text.txt", **options)


def test_bad_adding() -> None:
    for options, message in (
        ({"steps": 1}, "steps: 1 is"),
        ({"steps": 10**30}, "expected from 2 to"),
        ({"samples": 2**40}, "samples: 1099511627776 of 50 steps"),
    ):
        with pytest.raises(ValueError, match=message):
            load_adding(**options)
