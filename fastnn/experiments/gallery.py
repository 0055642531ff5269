"""The activation functions side by side, and the lecture's remarks about them, each measured."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from fastnn.experiments import kernels
from fastnn.experiments.entry import Parameter, Question, register
from fastnn.experiments.parts import Bars, Checks, Curve, Curves, Part, Table
from fastnn.experiments.structure import ACTIVATIONS

EDGE = 6.0


@dataclass(frozen=True, eq=False)
class Gallery:
    """Each activation and its derivative over x (n,), and at one point: `y` and `dy` (activations,).

    `slide_tanh` is (1 - e^-2x) / (1 + e^-2x) at the point, as the slides write tanh.
    """

    names: tuple[str, ...]
    x: np.ndarray
    values: np.ndarray
    derivatives: np.ndarray
    at: float
    y: np.ndarray
    dy: np.ndarray
    chosen: str
    slide_tanh: float


def _report_gallery(result: Gallery) -> tuple[Part, ...]:
    from fastnn.activations import ACTIVATIONS as ENTRIES

    rows = tuple(
        (name, ENTRIES[name].formula, f"{y:+.5f}", f"{dy:.5f}")
        for name, y, dy in zip(result.names, result.y, result.dy, strict=True)
    )
    chosen = result.names.index(result.chosen)
    curves = (
        Curve(f"{result.chosen} f(x)", result.x, result.values[chosen]),
        Curve("derivative f'(x)", result.x, result.derivatives[chosen]),
    )
    return (
        Curves(f"x = {result.at:g}: f = {result.y[chosen]:.5f}, f' = {result.dy[chosen]:.5f}", curves, "x",
               cursor=result.at),
        Table(f"All of them at x = {result.at:g}", ("", "f", "f(x)", "f'(x)"), rows, chosen),
    )  # fmt: skip


@register(
    title="Activation functions",
    slide="Neural networks: Activation function",
    text="f turns the weighted sum of a node into its output, and f' scales the gradient on its way back. Where f is "
    "flat, f' is nearly 0, and the layers below hear nothing. Move x and watch both: the sigmoid's derivative is 0.25 "
    "at most; tanh's reaches 1; relu's is 1 or 0; leaky relu's never is 0. The slides write tanh as (1 - e⁻²ˣ) / (1 + "
    "e⁻²ˣ).",
    report=_report_gallery,
    question=Question(
        "Which of these has the largest derivative at x = 3?",
        ("sigmoid", "tanh", "relu"),
        lambda result: int(np.argmax(_at_three(result))),
        lambda result: "At 3 the sigmoid's is {:.2g} and tanh's {:.2g}: both are flat there. relu's is {:g}, however "
        "far x goes.".format(*_at_three(result)),
    ),
    parameters=(
        Parameter("x", 1.0, "the point to look at", -EDGE, EDGE, 0.25),
        Parameter("activation", "sigmoid", "the function that is drawn", choices=ACTIVATIONS),
        Parameter("slope", 0.01, "of leaky relu, for x below 0", 0.001, 0.999, 2, factor=True),
    ),
    train=lambda values, result: {
        "data": "digits", "layers": [32, 32], "activation": values["activation"],
        "init": "he" if values["activation"].endswith("relu") else "xavier",
    },
)  # fmt: skip
def activations(x: float = 1.0, activation: str = "sigmoid", slope: float = 0.01) -> Gallery:
    """All activations over [-6, 6] and at one x, by the engine's own kernels in float64."""
    over = np.linspace(-EDGE, EDGE, 481)
    values = np.array([kernels.value(name, over, slope) for name in ACTIVATIONS])
    derivatives = np.array([kernels.derivative(name, y, slope) for name, y in zip(ACTIVATIONS, values, strict=True)])
    point = np.array([x])
    y = np.array([kernels.value(name, point, slope)[0] for name in ACTIVATIONS])
    dy = np.array([kernels.derivative(name, y[k : k + 1], slope)[0] for k, name in enumerate(ACTIVATIONS)])
    power = float(np.exp(-2 * x))
    return Gallery(ACTIVATIONS, over, values, derivatives, x, y, dy, activation, (1 - power) / (1 + power))


def _at_three(result: Gallery) -> list[float]:
    """The derivatives of sigmoid, tanh and relu at x = 3."""
    at = int(np.abs(result.x - 3).argmin())
    return [float(result.derivatives[result.names.index(name), at]) for name in ("sigmoid", "tanh", "relu")]


@dataclass(frozen=True, eq=False)
class Remarks:
    """The slides' remarks, measured. Arrays are (activations,), in the order of `names`.

    `collapse` is the largest difference between three linear layers and the one product of their matrices;
    `accuracy` what a network of two hidden layers reaches on rings within one another, which no line divides; `far` the
    derivative at x = -10 and `peak` its largest; `mean` and `lowest` of the outputs for inputs from N(0, 1); `grown`
    their standard deviation after five layers of 100 nodes with weights from N(0, 1); `nanoseconds` what one value
    takes here.
    """

    names: tuple[str, ...]
    collapse: float
    accuracy: np.ndarray
    peak: np.ndarray
    far: np.ndarray
    mean: np.ndarray
    lowest: np.ndarray
    grown: np.ndarray
    nanoseconds: np.ndarray


def _report_remarks(result: Remarks) -> tuple[Part, ...]:
    of = {name: k for k, name in enumerate(result.names)}
    rows = tuple(
        (name, f"{100 * result.accuracy[k]:.1f}%", f"{result.peak[k]:.3g}", f"{result.far[k]:.2g}",
         f"{result.mean[k]:+.3f}", f"{result.grown[k]:.2g}", f"{result.nanoseconds[k]:.2f}")
        for name, k in of.items()
    )  # fmt: skip
    linear, relu, tanh, sigmoid, leaky = (of[name] for name in ("identity", "relu", "tanh", "sigmoid", "leaky_relu"))
    same = result.peak[linear] == result.far[linear] == 1
    times = result.nanoseconds
    checks = (
        (f"linear cannot be stacked: 3 layers = 1 matrix, to {result.collapse:.0e}", result.collapse < 1e-12),
        ("linear: no better than a line on rings", bool(result.accuracy[linear] < 0.75)),
        ("linear: f' is 1 wherever x is, and tells backpropagation nothing", bool(same)),
        (f"linear does not rescale: σ is {result.grown[linear]:.0e} after 5 layers", bool(result.grown[linear] > 100)),
        ("sigmoid saturates: f' almost 0 at x = -10", bool(result.far[sigmoid] < 1e-3)),
        ("sigmoid is not zero-centered: its outputs are positive", bool(result.lowest[sigmoid] > 0)),
        ("tanh is zero-centered", bool(abs(result.mean[tanh]) < 0.02)),
        (f"exp is expensive: tanh takes {times[tanh] / times[relu]:.1f} × relu", bool(times[tanh] > 1.5 * times[relu])),
        ("leaky relu keeps a gradient below 0, relu none", bool(result.far[leaky] > result.far[relu] == 0)),
        (f"leaky relu is zero-centered (mean: {result.mean[leaky]:+.2f})", bool(abs(result.mean[leaky]) < 0.02)),
    )
    columns = ("", "rings", "max f'", "f'(-10)", "mean", "σ₅", "ns")
    return (
        Checks("The slides' remarks", checks),
        Table("Measured here", columns, rows),
        Bars("Time of one value", result.names, (("ns", tuple(times)),), 2),
    )


@register(
    title="The slides' remarks, measured",
    slide="Neural networks: Activation function",
    text="Linear: three layers in a row are one matrix, so nothing is gained by stacking; on rings within one another "
    "such a network guesses. Sigmoid: far from 0 it is flat, and all it puts out is positive, so the inputs of the "
    "next layer are never centered on 0. Tanh is centered, but exp() takes time. ReLU needs none. Leaky ReLU keeps a "
    "gradient where ReLU has lost it. Columns: accuracy on the rings, largest f', f' at -10, mean output for N(0, 1), "
    "σ after five layers, time of a value.",
    report=_report_remarks,
    question=Question(
        "tanh needs exp, relu only a comparison. How much longer does one tanh take here?",
        ("less than 1.5 times as long", "1.5 to 5 times as long", "more than 5 times as long"),
        lambda result: _slower(result),
        lambda result: "{:.2f} ns beside {:.2f}: the kernels compute several numbers at once, exp too.".format(
            *_times(result)
        ),
    ),
    parameters=(Parameter("seed", 0, "of inputs and networks", 0, 2**31),),
    train=lambda values, result: {"data": "circles", "layers": [16, 16], "activation": "identity"},
    slow=True,
)
def remarks(seed: int = 0) -> Remarks:
    """What the slides say about each activation, as numbers of this machine."""
    import fastnn as fnn

    rng = np.random.default_rng(seed)
    x = rng.standard_normal(100_000)
    deep = fnn.Network([8, 8, 8, 8], activation="identity", seed=seed, dtype="float64")
    rows = rng.standard_normal((64, 8))
    product = np.linalg.multi_dot([layer.weight for layer in deep.layers])
    data = fnn.datasets.load("circles", seed=seed)
    accuracy = []
    for name in ACTIVATIONS:
        net = fnn.Network([2, 16, 16, len(data.classes)], activation=name, seed=seed)
        net.fit(data.x_train, data.y_train, optimizer=fnn.Adam(0.01), epochs=30)
        accuracy.append(net.evaluate(data.x_test, data.y_test)["accuracy"])
    over = np.linspace(-10, 10, 2001)
    slopes = np.array([kernels.derivative(name, kernels.value(name, over)) for name in ACTIVATIONS])
    outputs = np.array([kernels.value(name, x) for name in ACTIVATIONS])
    times = kernels.nanoseconds(ACTIVATIONS)
    return Remarks(
        names=ACTIVATIONS,
        collapse=float(np.abs(deep(rows) - rows @ product).max()),
        accuracy=np.array(accuracy),
        peak=slopes.max(1),
        far=slopes[:, 0],
        mean=outputs.mean(1),
        lowest=outputs.min(1),
        grown=np.array([_grown(name, seed) for name in ACTIVATIONS]),
        nanoseconds=np.array([times[name] for name in ACTIVATIONS]),
    )


def _grown(name: str, seed: int) -> float:
    """The standard deviation of the outputs of five layers, for inputs and weights from N(0, 1)."""
    rng = np.random.default_rng(seed)
    y = rng.standard_normal((256, 100))
    for _ in range(5):
        y = kernels.value(name, y @ rng.standard_normal((100, 100)))
    return float(y.std())


def _times(result: Remarks) -> tuple[float, float]:
    """Nanoseconds of tanh and of relu."""
    tanh, relu = (float(result.nanoseconds[result.names.index(name)]) for name in ("tanh", "relu"))
    return tanh, relu


def _slower(result: Remarks) -> int:
    tanh, relu = _times(result)
    ratio = tanh / relu
    return 0 if ratio < 1.5 else 1 if ratio < 5 else 2
