"""Next-character prediction: a recurrent network reads a text, many to many."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from fastnn.datasets.sequences import encoded, lesson_text, one_hot, read_text, windows
from fastnn.errors import DataError
from fastnn.experiments.entry import Parameter, Question, register
from fastnn.experiments.parts import Checks, Curve, Curves, Part, Table, Text
from fastnn.experiments.sequences import CELLS, SEED, SLIDE, fitted, layer

LEAST, MOST = 200, 200_000  # characters of a text
STEPS = 32


@dataclass(frozen=True, eq=False)
class NextCharacter:
    """Next-character prediction. `loss` (epochs,) is the mean cross entropy a character, in nats; `uniform` that of
    guessing evenly among the characters, `frequent` that of knowing how often each is. `written` goes on from `begun`,
    the likeliest character each time."""

    characters: str
    loss: np.ndarray
    uniform: float
    frequent: float
    begun: str
    written: str


def _read(file: str) -> tuple[str, str, np.ndarray]:
    """The text of a file, or without one what the lessons say; its characters and its codes (n,)."""
    try:
        text = read_text(file, MOST) if file else lesson_text()
        if len(text) < LEAST:
            raise DataError(f"{file}: has {len(text)} characters; expected {LEAST} or more")
        return text, *encoded(file, text)
    except DataError as reason:
        raise DataError(f"file: {reason}") from None


def _report_characters(result: NextCharacter) -> tuple[Part, ...]:
    epochs = np.arange(1.0, len(result.loss) + 1)
    levels = (("RNN", result.loss), ("by frequency", np.full(len(epochs), result.frequent)))
    lines = tuple(
        ((piece, "value"),) for piece in (result.written[k : k + 60] for k in range(0, len(result.written), 60))
    )
    rows = (
        ("guessing evenly", f"{result.uniform:.3f}", f"{np.exp(result.uniform):.1f}"),
        ("by frequency", f"{result.frequent:.3f}", f"{np.exp(result.frequent):.1f}"),
        ("RNN", f"{result.loss[-1]:.3f}", f"{np.exp(result.loss[-1]):.1f}"),
    )
    return (
        Curves("Cross entropy a character", tuple(Curve(name, epochs, row) for name, row in levels), "epochs"),
        Table(f"{len(result.characters)} characters", ("", "nats", "choices left"), rows, 2),
        Text(f'Goes on from "{result.begun}"', lines),
        Checks("Seen here", (("better than by frequency", bool(result.loss[-1] < result.frequent)),)),
    )


@register(
    title="The next character",
    slide=SLIDE,
    text="The network reads a text and predicts, after each character, the one that follows: a softmax over all "
    "characters, the cross entropy as its error, at every step of the sequence (many to many). No file given, it "
    "reads the texts of these lessons. e to the power of the cross entropy is the number of characters that it still "
    "wavers between.",
    report=_report_characters,
    question=Question(
        "After some epochs: between how many characters does it waver, on average, before each?",
        ("fewer than 10", "about 20, as when it knew their frequencies", "all of them"),
        lambda result: 0 if np.exp(result.loss[-1]) < 12 else 1 if result.loss[-1] < 0.9 * result.uniform else 2,
        lambda result: f"{np.exp(result.loss[-1]):.1f} of {len(result.characters)}. Which character comes next depends "
        "on the last few: after q comes u.",
    ),
    parameters=(
        Parameter("cell", "gru", "the kind of layer", choices=CELLS),
        Parameter("units", 64, "of the recurrent layer", 4, 256, 2, factor=True),
        Parameter("epochs", 25, "of training", 1, 200, 5),
        Parameter("file", "", "a text file to read; the lessons' texts unless given"),
        SEED,
    ),
    train=lambda values, result: {
        "data": values["file"] or "lessons", "cell": values["cell"], "layers": [values["units"]], "activation": "tanh",
        "init": "xavier",
        "optimizer": {"name": "adam", "lr": 0.005},
    },
    slow=True,
)  # fmt: skip
def next_character(
    cell: str = "gru", units: int = 64, epochs: int = 25, file: str = "", seed: int = 0
) -> NextCharacter:
    """A recurrent network that predicts the next character; raises DataError for a file that cannot be read."""
    import fastnn as fnn

    text, characters, codes = _read(file)
    kinds = len(characters)
    x, y = windows(file, codes, kinds, STEPS, 8 if len(codes) < 20_000 else STEPS)
    stack: list[Any] = [fnn.Input(kinds), layer(cell, units, sequences=True), fnn.Dense(kinds)]
    network = fnn.Network(stack, seed=seed)
    loss, _ = fitted(network, x, y, epochs=epochs, optimizer=fnn.Adam(0.005, clip=1.0))
    share = np.bincount(codes) / len(codes)
    begun = text[:20]
    written, seen = "", codes[:20].tolist()
    for _ in range(120):
        seen.append(int(network(one_hot(np.array([seen[-60:]]), kinds))[0, -1].argmax()))
        written += characters[seen[-1]]
    frequent = float(-(share * np.log(share)).sum())
    return NextCharacter(characters, loss, float(np.log(kinds)), frequent, begun, written.replace("\n", " "))
