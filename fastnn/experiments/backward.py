"""Backpropagation by hand: one formula, its gradient, and what an update with it does."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from fastnn.errors import unknown
from fastnn.experiments import graph
from fastnn.experiments.entry import Parameter, Question, register
from fastnn.experiments.formula import Formula, FormulaError, parse, read_values
from fastnn.experiments.parts import Checks, Curve, Curves, Part, Table, Text

FORMULA = "g = w * x; f = g + b"
VALUES = "w = -2, x = 5, b = 3"
LEARN = "w b"
RATES = (0.1, 0.3, 0.5)  # the slides'
UPDATES = 20


@dataclass(frozen=True, eq=False)
class Backpropagation:
    """f, its gradient, and updates of the variables `learned`.

    `names` are the variables, with their `values`, `gradient` df / d(name) and central `differences`, all (n,).
    `rates` (m,) are learning rates, `updated` (m, learned) what the slide's rule w + eta df/dw makes of the variables
    in one update, `reached` (m,) f after it. `climbed` and `descended` (updates + 1,) are f when the slide's rule at
    the learning rate `eta`, and gradient descent on (f - target)^2 at `descent`, are applied again and again; NaN from
    where f has no value any more.
    """

    formula: str
    names: tuple[str, ...]
    values: np.ndarray
    gradient: np.ndarray
    differences: np.ndarray
    f: float
    target: float
    eta: float
    descent: float
    learned: tuple[str, ...]
    rates: np.ndarray
    updated: np.ndarray
    reached: np.ndarray
    climbed: np.ndarray
    descended: np.ndarray
    step: int


def _after(formula: Formula, values: dict[str, float], change: dict[str, float]) -> tuple[dict[str, float], float]:
    """The variables after an update, and f there; NaN where it has no value."""
    moved = {name: value + change.get(name, 0.0) for name, value in values.items()}
    try:
        return moved, float(graph.forward(formula, moved)[-1])
    except (FormulaError, OverflowError):
        return moved, math.nan


def _repeated(
    formula: Formula, values: dict[str, float], learned: list[str], scale: float, target: float | None
) -> np.ndarray:
    """f over the updates; `target` None: the slide's rule."""
    out = np.full(UPDATES + 1, math.nan)
    for k in range(UPDATES + 1):
        try:
            found = graph.evaluate(formula, values)
        except (FormulaError, OverflowError):
            break
        out[k] = found.result
        factor = scale if target is None else -scale * 2 * (found.result - target)
        change = {name: factor * found.gradient(name) for name in learned}
        if not all(math.isfinite(one) and abs(one) < 1e100 for one in change.values()):
            break
        values = {name: value + change.get(name, 0.0) for name, value in values.items()}
    return out


def _report(result: Backpropagation) -> tuple[Part, ...]:
    formula = parse(result.formula)
    evaluated = graph.evaluate(formula, dict(zip(result.names, result.values.tolist(), strict=True)))
    last = graph.steps(formula)
    step = last if result.step < 0 else min(result.step, last)
    title = (
        f"step {step} of {last}: {graph.reached(evaluated, step)[2]}"
        if step < last
        else "Values above, gradients below"
    )
    rows = tuple(
        (f"∂f/∂{name}", f"{exact:.6g}", "–" if math.isnan(near) else f"{near:.6g}")
        for name, exact, near in zip(result.names, result.gradient, result.differences, strict=True)
    )
    updates = tuple(
        (f"{eta:g}", *(f"{value:.4g}" for value in row), f"{f:.4g}", f"{abs(f - result.target):.4g}")
        for eta, row, f in zip(result.rates, result.updated, result.reached, strict=True)
    )
    at = np.arange(UPDATES + 1)
    curves = Curves(
        f"f over the updates (target {result.target:g})",
        (
            Curve(f"slide's rule, η = {result.eta:g}", at, result.climbed),
            Curve(f"descent on (f - target)², η = {result.descent:g}", at, result.descended),
        ),
        "updates",
    )
    columns = ("η", *(f"new {name}" for name in result.learned), "f", f"|f - {result.target:g}|")
    nearest = int(np.nanargmin(np.abs(result.reached - result.target))) if np.isfinite(result.reached).any() else None
    parts: tuple[Part, ...] = (
        Text(title, graph.drawn(evaluated, step)),
        Table("Gradient, by (f(x+h) - f(x-h)) / 2h", ("", "backward", "difference"), rows),
        Table("One update by the slide's rule, w + η ∂f/∂w", columns, updates, nearest),
        curves,
    )
    return (*parts, *_remarks(result))


def _remarks(result: Backpropagation) -> tuple[Part, ...]:
    down = result.descended[np.isfinite(result.descended)]
    closer = bool(down.size and abs(down[-1] - result.target) < abs(result.f - result.target))
    rises = bool(result.climbed[1] > result.f) if np.isfinite(result.climbed[1]) else False
    rows = (
        ("the slide's rule climbs: f rises, whatever the target is", rises),
        ("gradient descent on (f - target)² ends nearer to the target than it began", closer),
        ("the gradients agree with the differences to 6 digits", _agree(result)),
    )
    return (Checks("Seen here", rows),)


def _agree(result: Backpropagation) -> bool:
    there = np.isfinite(result.differences)
    return bool(np.allclose(result.gradient[there], result.differences[there], rtol=1e-6, atol=1e-6))


def _rise(result: Backpropagation) -> str:
    """How the slide's rule moves f, for the slides' formula."""
    gradient = [result.gradient[result.names.index(name)] for name in result.learned]
    told = " and ".join(f"∂f/∂{name} = {one:g}" for name, one in zip(result.learned, gradient, strict=True))
    *some, last = (f"{f:.3g}" for f in result.reached[: len(RATES)])
    return f"{told}: f rises by {sum(one * one for one in gradient):g} η, to {', '.join(some)} and {last}."


@register(
    title="Backpropagation by hand",
    slide="Backpropagation: a toy example",
    text="A formula is a graph. Forward, each node computes its value from its inputs; backward, each hands "
    "∂f/∂(itself) times its own derivative to its inputs: the chain rule, ∂f/∂w = ∂f/∂g · ∂g/∂w = x. f should become "
    "the target. The slide's rule w + η ∂f/∂w climbs: f rises by it, towards a target above, and past it when η is "
    "too large. What networks are trained with is descent on an error, here (f - target)²: w - η ∂(f - target)²/∂w.",
    report=_report,
    question=Question(
        "w = -2, x = 5, b = 3, so f = -7; it should be 3. After one update by the slide's rule, which η is nearest?",
        ("0.1", "0.3", "0.5"),
        lambda result: int(np.nanargmin(np.abs(result.reached[:3] - result.target))),
        lambda result: _rise(result),
    ),
    parameters=(
        Parameter("step", -1, "steps of the computation to show", -1, 120, lowest="all"),
        Parameter("eta", 0.1, "learning rate η of the slide's rule", 0, 1e6, 0.1),
        Parameter("target", 3.0, "what f should be", -1e6, 1e6, 0.5),
        Parameter("descent", 0.01, "learning rate of the descent on (f - target)²", 1e-9, 1e3, 2, factor=True),
        Parameter("formula", FORMULA, "+ - * / ** exp log and the activations; parts may have names"),
        Parameter("values", VALUES, "the variables' values"),
        Parameter("learn", LEARN, "the variables that are updated"),
    ),
    train=lambda values, result: {
        "data": "moons",
        "layers": [8],
        "activation": "tanh",
        "init": "xavier",
        "optimizer": "sgd",
    },
)
def backpropagation(
    step: int = -1,
    eta: float = 0.1,
    target: float = 3.0,
    descent: float = 0.01,
    formula: str = FORMULA,
    values: str = VALUES,
    learn: str = LEARN,
) -> Backpropagation:
    """The gradient of a formula, and updates with it; raises ValueError, which points at the place, for a formula that
    cannot be read or has no value (fastnn.experiments.formula)."""
    read = parse(formula)
    # What was not said is said of the slides' formula: of another one, it is of the variables that both have.
    own = formula == FORMULA
    given = read_values(read, values, others=values == VALUES and not own)
    found = graph.evaluate(read, given)
    learned = learn.replace(",", " ").split()
    if learn == LEARN and not own:
        learned = [name for name in learned if name in given] or list(given)
    for name in learned:
        if name not in given:
            raise unknown("learn", name, given)
    rates = [*RATES, *([eta] if eta not in RATES else [])]
    after = [_after(read, given, {name: rate * found.gradient(name) for name in learned}) for rate in rates]
    return Backpropagation(
        formula=formula,
        names=tuple(given),
        values=np.array(list(given.values())),
        gradient=np.array([found.gradient(name) for name in given]),
        differences=np.array([found.differences[name] for name in given]),
        f=found.result,
        target=target,
        eta=eta,
        descent=descent,
        learned=tuple(learned),
        rates=np.array(rates),
        updated=np.array([[moved[name] for name in learned] for moved, _ in after]),
        reached=np.array([f for _, f in after]),
        climbed=_repeated(read, given, learned, eta, None),
        descended=_repeated(read, given, learned, descent, target),
        step=step,
    )
