"""The vanilla RNN of the lecture, by hand and in tasks that need a memory: digits row by row, sums, characters."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from fastnn.experiments import kernels
from fastnn.experiments.entry import Parameter, Question, register
from fastnn.experiments.parts import Checks, Curve, Curves, Part, Table

CELLS = ("recurrent", "gru", "lstm")
SLIDE = "Another type of neural network: Vanilla RNN"
BATCHES = {"digits": 32, "mnist": 64}
SEQUENCES = 2500  # of the adding problem, a fifth of them the test part
_CELL = Parameter("cell", "recurrent", "the kind of layer", choices=CELLS)
SEED = Parameter("seed", 0, "of weights and data", 0, 2**31)


def layer(cell: str, units: int, *, sequences: bool = False) -> Any:
    import fastnn as fnn

    return {"recurrent": fnn.Recurrent, "gru": fnn.GRU, "lstm": fnn.LSTM}[cell](units, return_sequences=sequences)


def fitted(network: Any, x: np.ndarray, y: np.ndarray, *, epochs: int, **options: Any) -> tuple[np.ndarray, np.ndarray]:
    """Loss and accuracy (epochs,) of a training, NaN from where it diverged, and for the accuracy of a regression."""
    import fastnn as fnn

    try:
        history = network.fit(x, y, epochs=epochs, **options)
    except fnn.DivergenceError as reason:
        history = reason.history
    found = np.full((2, epochs), np.nan)
    for row, values in zip(found, (history.loss, history.accuracy), strict=True):
        row[: len(values)] = values
    return found[0], found[1]


# ---- by hand ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Recurrence:
    """One unit over T steps: h_t = tanh(w_xh x_t + w_hh h_(t-1) + b), h_0 = 0.

    `x` (T,) and `h` (T,); `terms` (T - 1,) are dh_(t+1)/dh_t = w_hh (1 - h_(t+1)^2), `reach` (T,) dh_T/dh_t, the
    product of the terms from t on; `differences` (T,) the same by central differences.
    """

    x: np.ndarray
    h: np.ndarray
    terms: np.ndarray
    reach: np.ndarray
    differences: np.ndarray


def _report_recurrence(result: Recurrence) -> tuple[Part, ...]:
    t = np.arange(1.0, len(result.h) + 1)
    size = np.abs(result.reach)
    shown = np.unique(np.linspace(0, len(t) - 2, min(5, len(t) - 1)).astype(int))
    rows = tuple(
        (f"{k + 1}", f"{result.h[k]:+.4f}", f"{result.terms[k]:+.4f}", f"{result.reach[k]:+.3e}") for k in shown
    )
    agree = bool(np.allclose(result.reach, result.differences, rtol=1e-5, atol=1e-9))
    reach = Curve("product of terms", t, np.where(size > 0, size, np.nan))
    return (
        Curves("h over the time steps", (Curve("h_t", t, result.h), Curve("x_t", t, result.x)), "t"),
        Curves("|∂h_T/∂h_t|, what reaches step t", (reach,), "t", log_y=True),
        Table("The product", ("t", "h_t", "∂h_(t+1)/∂h_t", "∂h_T/∂h_t"), rows),
        Checks("Seen here", (("the product is what finite differences find", agree),)),
    )  # fmt: skip


@register(
    title="Vanilla RNN: one unit over time",
    slide=SLIDE,
    text="A recurrent layer reads a sequence and keeps a state: h_t = tanh(W_xh x_t + W_hh h_(t-1) + b). The same "
    "weights are used at every step, so the network is as deep as the sequence is long. On its way back to step t the "
    "gradient is multiplied by ∂h_(t+1)/∂h_t = w_hh (1 - h_(t+1)²) at each step: below 1 it vanishes, above 1 it "
    "explodes. Here is one unit that hears a 1 at the first step, and nothing afterwards.",
    report=_report_recurrence,
    question=Question(
        "w_hh = 0.5, 12 steps. How much of the gradient of h at the end reaches the first step?",
        ("about as much", "about a tenth", "less than a thousandth"),
        lambda result: int(np.searchsorted(-np.array([0.3, 0.005]), -abs(result.reach[0]))),
        lambda result: f"{len(result.terms)} factors, of {np.abs(result.terms).max():.2f} or less: "
        f"{abs(result.reach[0]):.1g} is left. Try w_hh = 1, and 1.5.",
    ),
    parameters=(
        Parameter("w_hh", 0.5, "from the state to itself", -3, 3, 0.1),
        Parameter("w_xh", 1.0, "from the input", -3, 3, 0.1),
        Parameter("b", 0.0, "bias", -3, 3, 0.1),
        Parameter("steps", 12, "T", 2, 200),
    ),
    train=lambda values, result: {
        "data": "digits", "cell": "recurrent", "layers": [8], "activation": "tanh", "init": "xavier",
    },
)  # fmt: skip
def recurrence(w_hh: float = 0.5, w_xh: float = 1.0, b: float = 0.0, steps: int = 12) -> Recurrence:
    """One recurrent unit that hears an impulse, and the gradient on its way back through time."""
    x = np.zeros(steps)
    x[0] = 1.0

    def run(state: float, first: int) -> np.ndarray:
        out = np.zeros(steps - first)
        for k in range(first, steps):
            state = float(np.tanh(w_xh * x[k] + w_hh * state + b))
            out[k - first] = state
        return out

    h = run(0.0, 0)
    terms = w_hh * kernels.derivative("tanh", h[1:])
    reach = np.append(np.cumprod(terms[::-1])[::-1], 1.0)
    e = 1e-6
    ends = [(run(h[k] + e, k + 1)[-1] - run(h[k] - e, k + 1)[-1]) / (2 * e) for k in range(steps - 1)]
    return Recurrence(x, h, terms, reach, np.array([*ends, 1.0]))


# ---- digits row by row -----------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class DigitRows:
    """Images read row by row, a step a row: `accuracy` (epochs,) on the training part, `test` at the end.

    `before` and `after` (steps,) are |dE/da_t| before and after training, a_t the layer's weighted sums at row t, as
    Network.step_gradients gives them.
    """

    data: str
    cell: str
    accuracy: np.ndarray
    test: float
    before: np.ndarray
    after: np.ndarray


def _report_rows(result: DigitRows) -> tuple[Part, ...]:
    epochs = np.arange(1.0, len(result.accuracy) + 1)
    t = np.arange(1.0, len(result.before) + 1)
    fades = bool(result.before[0] < result.before[-1])
    reached = (Curve("before training", t, result.before), Curve("after", t, result.after))
    return (
        Curves(f"Accuracy, {result.cell}: {100 * result.test:.1f} % of the test part of {result.data} at the end",
               (Curve("training", epochs, result.accuracy),), "epochs"),
        Curves("|∂E/∂a_t|, what reaches row t", reached, "t", log_y=True),
        Checks("Seen here", (
            ("four of five digits are read right by their rows", result.test > 0.8),
            ("before training, the first row gets less of the gradient than the last", fades),
        )),
    )  # fmt: skip


@register(
    title="Digits, row by row",
    slide=SLIDE,
    text="An image of 8 × 8 as a sequence: the network sees one row after the other, and has to remember what it saw. "
    "After the last row a dense layer reads the digit from the state. Trained by backpropagation through time: the "
    "chain rule over all steps. The second plot shows the length of the gradient at each step: the first rows get the "
    "least of it. MNIST has 28 steps of 28; it is fetched unless FASTNN_DATA names the folder that has it.",
    report=_report_rows,
    question=Question(
        "A network that sees one row at a time, 32 units. How many test digits will it read right?",
        ("about a half", "two of three", "more than nine of ten"),
        lambda result: 0 if result.test < 0.6 else 1 if result.test < 0.85 else 2,
        lambda result: f"{100 * result.test:.1f} %: what the state holds is enough to tell ten shapes apart after "
        f"{len(result.before)} rows.",
    ),
    parameters=(
        Parameter("data", "digits", "the images; mnist takes a second an epoch", choices=("digits", "mnist")),
        _CELL,
        Parameter("units", 32, "of the recurrent layer", 2, 128, 2, factor=True),
        Parameter("rate", 0.005, "learning rate of Adam", 1e-5, 1, 2, factor=True),
        Parameter("epochs", 15, "of training", 1, 100, 5),
        SEED,
    ),
    train=lambda values, result: {
        "data": values["data"], "cell": values["cell"], "layers": [values["units"]], "activation": "tanh",
        "init": "xavier", "batch_size": BATCHES[values["data"]],
        "optimizer": {"name": "adam", "lr": values["rate"], "clip": 1.0},
    },
    slow=True,
)  # fmt: skip
def digit_rows(
    data: str = "digits", cell: str = "recurrent", units: int = 32, rate: float = 0.005, epochs: int = 15, seed: int = 0
) -> DigitRows:
    """Images read row by row by a recurrent layer; raises DataError for mnist where it is not and cannot be fetched."""
    import fastnn as fnn

    images = fnn.datasets.load(data)
    assert images.image_shape is not None
    x, held = (part.reshape(len(part), *images.image_shape) for part in (images.x_train, images.x_test))
    stack: list[Any] = [fnn.Input(x.shape[2]), layer(cell, units), fnn.Dense(len(images.classes))]
    network = fnn.Network(stack, seed=seed)

    def gradients() -> np.ndarray:
        (sums,) = network.step_gradients(x[:256], images.y_train[:256])
        return np.linalg.norm(sums.astype(np.float64), axis=(0, 2))

    before = gradients()
    # Over 28 steps the gradient explodes now and then: MNIST fell from 85 % to 62 without a bound.
    optimizer, batch = fnn.Adam(rate, clip=1.0), BATCHES[data]
    _, accuracy = fitted(network, x, images.y_train, optimizer=optimizer, epochs=epochs, batch_size=batch)
    test = network.evaluate(held, images.y_test)["accuracy"]
    return DigitRows(data, cell, accuracy, test, before, gradients())


# ---- the adding problem ----------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Adding:
    """The adding problem (Hochreiter and Schmidhuber 1997): of T numbers in [0, 1] two are marked, and the target is
    their sum.

    `loss` (cells, epochs) is the mean squared error; `baseline` that of always answering 1, whose expectation is 1/6.
    """

    cells: tuple[str, ...]
    steps: int
    loss: np.ndarray
    baseline: float


def _report_adding(result: Adding) -> tuple[Part, ...]:
    epochs = np.arange(1.0, result.loss.shape[1] + 1)
    curves = tuple(Curve(name, epochs, row) for name, row in zip(result.cells, result.loss, strict=True))
    level = Curve("answering 1", epochs, np.full(len(epochs), result.baseline))
    rows = tuple((name, f"{row[-1]:.2g}", f"{row[-1] / result.baseline:.2g}") for name, row in
                 zip(result.cells, result.loss, strict=True))  # fmt: skip
    solved = [name for name, row in zip(result.cells, result.loss, strict=True) if row[-1] < 0.1 * result.baseline]
    return (
        Curves(f"Mean squared error, T = {result.steps}", (*curves, level), "epochs", log_y=True),
        Table("At the end", ("", "error", "÷ answering 1"), rows),
        Checks("Seen here", (
            (f"solved, to a tenth of the baseline's error: {', '.join(solved) or 'none'}", bool(solved)),
            ("a gated cell ends better than the vanilla RNN", bool(result.loss[1:, -1].min() < result.loss[0, -1])),
        )),
    )  # fmt: skip


@register(
    title="Remembering: the adding problem",
    slide=SLIDE,
    text="A sequence of numbers, two of them marked: the answer is the sum of the two. Nothing but memory helps. "
    "Whoever always answers 1 has a mean squared error of 1/6. A vanilla RNN must carry what it saw through a product "
    "of factors; GRU and LSTM add to their state instead, through gates, so that the gradient has a way back that is "
    "not multiplied.",
    report=_report_adding,
    question=Question(
        "30 steps, 32 units, the same training for each. Which cell ends with the largest error?",
        CELLS,
        lambda result: int(np.argmax(np.where(np.isnan(result.loss[:, -1]), np.inf, result.loss[:, -1]))),
        lambda result: "Errors: " + ", ".join(f"{name} {row[-1]:.2g}" for name, row in
                                              zip(result.cells, result.loss, strict=True))
        + ". The longer the sequence, the clearer it is: try 10 steps, and 60.",
    ),
    parameters=(
        Parameter("steps", 30, "T", 4, 200, 10),
        Parameter("units", 32, "of the recurrent layer", 2, 128, 2, factor=True),
        Parameter("rate", 0.01, "learning rate of Adam", 1e-5, 1, 2, factor=True),
        Parameter("epochs", 25, "of training", 1, 200, 5),
        SEED,
    ),
    train=lambda values, result: {
        "data": {"name": "adding", "steps": values["steps"], "samples": SEQUENCES}, "cell": "gru",
        "layers": [values["units"]], "optimizer": {"name": "adam", "lr": values["rate"], "clip": 1.0},
    },
    slow=True,
)  # fmt: skip
def adding(steps: int = 30, units: int = 32, rate: float = 0.01, epochs: int = 25, seed: int = 0) -> Adding:
    """Each cell on the adding problem, 2,000 sequences."""
    import fastnn as fnn

    data = fnn.datasets.load("adding", steps=steps, samples=SEQUENCES, seed=seed)
    x, y = data.x_train, data.y_train
    losses = []
    for cell in CELLS:
        stack: list[Any] = [fnn.Input(2), layer(cell, units), fnn.Dense(1)]
        network = fnn.Network(stack, seed=seed)
        losses.append(fitted(network, x, y, epochs=epochs, loss="mse", optimizer=fnn.Adam(rate, clip=1.0))[0])
    return Adding(CELLS, steps, np.array(losses), float(np.mean((y - 1) ** 2)))
