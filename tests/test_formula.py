"""Formulas: what is read, what is not and where it says so, values, gradients against differences, the drawing."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fastnn.experiments import graph
from fastnn.experiments.formula import FUNCTIONS, FormulaError, parse, read_values

X = {"x": 0.7, "y": -1.3, "w": 2.0}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("x + y * w", 0.7 - 2.6), ("x - y - w", 0.0), ("-x ** 2", -0.49), ("x^2 * w", 0.98), ("2 ^ -w", 0.25),
        ("+x / -y", 0.7 / 1.3), ("exp(log(x))", 0.7), ("g = x * y; h = g * g; h + g", 0.91**2 - 0.91),
        ("tanh(x)", math.tanh(0.7)), ("sigmoid(y)", 1 / (1 + math.exp(1.3))), ("relu(y) + relu(x)", 0.7),
        ("leaky_relu(y)", -0.013), ("1e3", 1000.0), ("g = w * x\nf = g + y", 0.1),
    ],
)  # fmt: skip
def test_values(text: str, expected: float) -> None:
    assert graph.forward(parse(text), X)[-1] == pytest.approx(expected, rel=1e-12, abs=1e-12)


@pytest.mark.parametrize(
    ("text", "reason", "column"),
    [
        ("", "empty", 0), ("  ;", "empty", 0), ("w x", "cannot be read", 2), ("w * (x + ", "cannot be read", 4),
        ("w +", "cannot be read", 3), ("w + sin(x)", "unknown function 'sin'", 4), ("x.real", "expected names", 0),
        ("__import__('os').system('ls')", "unknown function", 0), ("[x for x in y]", "expected names", 0),
        ("(lambda: x)()", "unknown function", 0), ("x if w else y", "expected", 0), ("x < y", "expected names", 0),
        ("x // y", "expected names", 0), ("'x'", "'x'; expected", 0), ("True + x", "expected a number", 0),
        ("exp(x, y)", "expected one", 0), ("exp(*x)", "expected one", 0), ("exp + 1", "is a function", 0),
        ("1e999 + x", "too large", 0), ("a = b", "another name", 0), ("a = x * y; a = x", "a meaning already", 11),
        ("a.b = x", 'or "name = expression"', 0), ("import os", 'or "name = expression"', 0),
        ("x @ y", "expected names", 0),
        ("x + é", "not understood", 4), ("x + " * 60 + "x", "at most", 200), ("x+" * 90 + "x", "60 operations", 119),
        ("a = x + y; b = a * 2; a", "computed before", 21), ("x^2 + sin(x)", "unknown function", 6),
        ("1; 2 3", "cannot be read", 5), ("w:=3", "cannot be read", 1), ("x[0]", "expected names", 0),
        ("1or x", "expected names", 0),
    ],
)  # fmt: skip
def test_what_cannot_be_read_says_where(text: str, reason: str, column: int, recwarn: pytest.WarningsRecorder) -> None:
    with pytest.raises(FormulaError, match=reason.replace("(", r"\(")) as caught:
        parse(text)
    assert not recwarn
    assert caught.value.column == column and "\n" not in str(caught.value)
    assert "expected" in str(caught.value) or "known:" in str(caught.value)


@pytest.mark.parametrize(
    ("text", "reason", "column"),
    [
        ("w + x / (y - y)", "division by zero", 6), ("log(y)", "log of -1.3", 0),
        ("0 ** y", "negative power of zero", 2),
        ("y ** 0.5", "not a real number", 2), ("exp(2000 * x)", "too large", 0),
        ("(1e200 * x) * 1e200", "too large", 12),
        ("w ^ 4000", "too large", 2),
    ],
)  # fmt: skip
def test_what_has_no_value_says_where(text: str, reason: str, column: int) -> None:
    with pytest.raises(FormulaError, match=reason) as caught:
        graph.evaluate(parse(text), X)
    assert caught.value.column == column and "expected" in str(caught.value)


def test_a_derivative_that_does_not_exist_is_an_error() -> None:
    with pytest.raises(FormulaError, match=r"derivative of 0 \*\* 0.5") as caught:
        graph.evaluate(parse("w + x ** 0.5"), {"w": 1, "x": 0})
    assert caught.value.column == 6
    assert graph.evaluate(parse("x ** 2 + x ** 1 + x ** 0"), {"x": 0.0}).gradient("x") == 1.0


@pytest.mark.parametrize(
    ("text", "reason"),
    [("w = 1", "no value for x"), ("w = 1, x = 2, q = 3", "unknown name 'q'"), ("w = 1, x = two", "not a number"),
     ("w = 1, x", "expected"), ("w = 1, x = inf", "finite"), ("w = 1, x = 1, x = 2", "x is given twice; expected one")],
)  # fmt: skip
def test_values_that_cannot_be_used(text: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        read_values(parse("w * x"), text)


@st.composite
def formulas(draw: st.DrawFn, depth: int = 3) -> str:
    if depth == 0 or draw(st.integers(0, 4)) == 0:
        return draw(st.sampled_from(["x", "y", "w", "0.5", "3"]))
    kind = draw(st.sampled_from(["binary", "function", "power", "minus"]))
    inner = formulas(depth=depth - 1)
    if kind == "function":
        return f"{draw(st.sampled_from(FUNCTIONS))}({draw(inner)})"
    if kind == "power":
        return f"({draw(inner)}) ** {draw(st.sampled_from(['2', '3', '-1', 'w']))}"
    if kind == "minus":
        return f"(-{draw(inner)})"
    return f"({draw(inner)} {draw(st.sampled_from('+-*/'))} {draw(inner)})"


@given(formulas())
@settings(max_examples=80, deadline=None)
def test_any_formula_has_the_gradient_of_its_differences_or_an_error(text: str) -> None:
    if len(text) > 200:
        return
    try:
        found = graph.evaluate(parse(text), X)
    except FormulaError:
        return
    assert np.isfinite(found.gradients).all()
    if np.abs(found.values).max() < 1e4 and np.abs(found.gradients).max() < 1e4:
        for name in found.formula.variables:
            difference = found.differences[name]
            if math.isfinite(difference):
                assert found.gradient(name) == pytest.approx(difference, rel=2e-4, abs=2e-4), name
    for step in (-1, graph.steps(found.formula) // 2):
        assert graph.drawn(found, step)


def test_the_steps_and_the_drawing_of_the_slides() -> None:
    found = graph.evaluate(parse("g = w * x; f = g + b"), {"w": -2, "x": 5, "b": 3})
    assert graph.steps(found.formula) == 5
    told = [graph.reached(found, step)[2] for step in range(6)]
    assert told[1:3] == ["forward: g (×) of -2, 5 is -10", "forward: f (+) of -10, 3 is -7"]
    assert told[4:] == ["backward: f (+) hands 1, 1 to its inputs", "backward: g (×) hands 5, -2 to its inputs"]
    lines = ["".join(text for text, _ in line).rstrip() for line in graph.drawn(found)]
    assert lines[:6] == [
        "   -2",
        "w ───────────┐ g = -10",
        "   5         ×──────────┐",
        "   5         │ 1        │ -7",
        "x ───────────┘          +── f",
        "   -2                   │ 1",
    ]
    before = ["".join(text for text, role in line if role == "gradient") for line in graph.drawn(found, 2)]
    assert not any(before)


def test_a_gradient_is_known_once_all_its_parts_are() -> None:
    found = graph.evaluate(parse("g = a * a; h = g * g; h + g"), {"a": 2})
    g = next(k for k, node in enumerate(found.formula.nodes) if node.name == "g")
    known = [g in graph.reached(found, step)[1] for step in range(graph.steps(found.formula) + 1)]
    assert known == [False] * 6 + [True] * 2 and found.gradients[g] == 9
