"""Outputs as shares: sigmoid, normalization, softmax; and the cross entropy of a softmax."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal

import numpy as np

from fastnn.errors import check_choice
from fastnn.experiments.entry import Parameter, Question, register
from fastnn.experiments.parts import Bars, Curve, Curves, Part, Table, Text

CLASSES = ("frog", "bird", "dog", "cat")
LOGITS = (-5.0, -1.0, 1.0, 5.0)
DIGITS = 5  # that the slides print
_LOGITS = Parameter("logits", LOGITS, "outputs a of the last layer", -1000, 1000, 0.5, labels=CLASSES)


@dataclass(frozen=True, eq=False)
class Outputs:
    """`logits` a (n,), and of each of them sigmoid(a), that divided by its sum, and softmax(a).

    `slide_normalized` is the second from sigmoids that were rounded to five digits, as the slides print it: its last
    digits differ from those of the exact one.
    """

    logits: np.ndarray
    sigmoid: np.ndarray
    normalized: np.ndarray
    slide_normalized: np.ndarray
    softmax: np.ndarray


def _rounded(sigmoid: np.ndarray) -> np.ndarray:
    """Normalization by hand, with five digits at each step, halves to even."""
    printed = [Decimal(f"{value:.{DIGITS}f}") for value in sigmoid]
    total, unit = sum(printed), Decimal(1).scaleb(-DIGITS)
    return np.array([float((one / total).quantize(unit)) if total else math.nan for one in printed])


def _shares(logits: Sequence[float]) -> Outputs:
    a = np.asarray(logits, np.float64)
    power = np.exp(-np.abs(a))  # never of a large number: nothing overflows
    sigmoid = np.where(a >= 0, 1 / (1 + power), power / (1 + power))
    total = sigmoid.sum()
    normalized = sigmoid / total if total > 0 else np.full_like(a, math.nan)
    shifted = np.exp(a - a.max())
    return Outputs(a, sigmoid, normalized, _rounded(sigmoid), shifted / shifted.sum())


def _report_outputs(result: Outputs) -> tuple[Part, ...]:
    groups = (
        ("sigmoid", tuple(result.sigmoid)), ("normalized", tuple(result.normalized)),
        ("softmax", tuple(result.softmax)),
    )  # fmt: skip
    sums = " ".join(f"{name} {sum(values):.5f}" for name, values in groups)
    printed = "  ".join(f"{value:.{DIGITS}f}" for value in result.slide_normalized)
    lines = (
        (("sums over the classes: ", "muted"), (sums, "value")),
        (("the slide normalizes the rounded sigmoid: ", "muted"), (printed, "value")),
    )
    labels = tuple(f"{name} {logit:g}" for name, logit in zip(CLASSES, result.logits, strict=True))
    return (Bars("Outputs as shares", labels, groups, DIGITS, int(result.logits.argmax())), Text("", lines))


@register(
    title="Outputs: sigmoid or softmax",
    slide="Neural networks: Softmax vs Normalization",
    text="The last layer puts out any numbers a. To read them as shares, the sigmoid σ₁(a) = 1 / (1 + e⁻ᵃ) squeezes "
    "each into (0, 1) by itself: the four do not add up to 1. Dividing by their sum mends that, but keeps the "
    "squeeze. The softmax σ₂(aⱼ) = eᵃʲ / Σᵢ eᵃⁱ compares them: they add up to 1, and a lead in a becomes a large lead "
    "in share.",
    report=_report_outputs,
    question=Question(
        "cat's output is 5, dog's 1. What share does the softmax give to cat?",
        ("about 0.5, as normalization does", "about 0.83, as 5 / (5 + 1)", "about 0.98"),
        lambda result: int(np.abs(np.array([0.5, 5 / 6, 0.98]) - result.softmax[3]).argmin()),
        lambda result: (
            f"{result.softmax[3]:.5f}: the lead of {result.logits[3] - result.logits[2]:g} in a is a factor "
            f"of {result.softmax[3] / result.softmax[2]:.3g} in the softmax; the sigmoid makes {result.sigmoid[3]:.2f} "
            f"and {result.sigmoid[2]:.2f} of them."
        ),
    ),
    parameters=(_LOGITS,),
    train=lambda values, result: {"data": "digits", "layers": [32], "activation": "relu"},
)
def outputs(logits: Sequence[float] = LOGITS) -> Outputs:
    """Shares of (frog, bird, dog, cat) from the last layer's outputs."""
    return _shares(logits)


@dataclass(frozen=True, eq=False)
class CrossEntropy:
    """H(y) = -sum_i t_i ln y_i for the softmax y (n,) and a one-hot label t (n,).

    `rounded` is H as the slide prints it: from a softmax that was rounded to five digits. `gradient` (n,) is dH / da =
    y - t. H is infinite where rounding leaves nothing.
    """

    softmax: np.ndarray
    label: np.ndarray
    exact: float
    rounded: float
    gradient: np.ndarray


def _report_entropy(result: CrossEntropy) -> tuple[Part, ...]:
    label = int(result.label.argmax())
    rows = tuple(
        (name, f"{y:.{DIGITS}f}", f"{t:g}", f"{g:+.{DIGITS}f}")
        for name, y, t, g in zip(CLASSES, result.softmax, result.label, result.gradient, strict=True)
    )
    lines = (
        (("H(y) = -ln ", ""), (f"{round(result.softmax[label], DIGITS):.{DIGITS}f}", "value"), (" = ", ""),
         (f"{result.rounded:.6f}", "value"), ("  from the rounded softmax, as on the slide", "muted")),
        (("H(y) = ", ""), (f"{result.exact:.9f}", "value"), ("  from the exact one", "muted")),
        (("∂H/∂a = y - t", "gradient"), (": the error goes back as it stands", "muted")),
    )  # fmt: skip
    table = Table("Softmax y, label t", ("class", "y", "t", "∂H/∂a = y - t"), rows, label)
    share = np.linspace(0.002, 1, 500)
    curve = Curve("-ln y", share, -np.log(share))
    at = float(result.softmax[label])
    return table, Text("Cross entropy", lines), Curves("H over the true class's share", (curve,), "y", cursor=at)


def _nearest_entropy(result: CrossEntropy) -> int:
    return int(np.abs(np.array([0.0206, 0.98, 3.9]) - result.exact).argmin())


@register(
    title="Cross entropy with softmax",
    slide="Neural networks: Cross entropy with Softmax",
    text="The label of a picture of a cat is the one-hot vector t = (0, 0, 0, 1). The cross entropy H(y) = -Σᵢ tᵢ ln "
    "yᵢ measures the error between the softmax y and t: only the share of the true class counts. It is 0 when that "
    "share is 1 and grows without limit as it goes to 0. Its derivative with respect to the outputs is y - t.",
    report=_report_entropy,
    question=Question(
        "The softmax gives cat 0.97959, and cat is the label. How large is H(y)?",
        ("about 0.02", "about 0.98", "about 3.9"),
        _nearest_entropy,
        lambda result: (
            f"-ln {result.softmax[3]:.5f} = {result.exact:.4f}. Make the label another class and see how "
            "much a confident mistake costs."
        ),
    ),
    parameters=(_LOGITS, Parameter("label", "cat", "the true class", choices=CLASSES)),
    train=lambda values, result: {"data": "digits", "layers": [32], "activation": "relu", "loss": "cross_entropy"},
)
def cross_entropy(logits: Sequence[float] = LOGITS, label: str = "cat") -> CrossEntropy:
    """The error between softmax(logits) and the one-hot label."""
    shares = _shares(logits)
    at = CLASSES.index(check_choice("label", label, CLASSES))
    onehot = np.eye(len(CLASSES))[at]
    shifted = shares.logits - shares.logits.max()
    exact = float(np.log(np.exp(shifted).sum()) - shifted[at])
    y = round(float(shares.softmax[at]), DIGITS)
    return CrossEntropy(shares.softmax, onehot, exact, -math.log(y) if y > 0 else math.inf, shares.softmax - onehot)
