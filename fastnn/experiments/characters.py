"""Next-character prediction: a recurrent network reads a text, many to many."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from fastnn.datasets.sequences import MOST_CHARACTERS
from fastnn.errors import DataError
from fastnn.experiments.entry import EXPERIMENTS, Parameter, Question, register
from fastnn.experiments.parts import Checks, Curve, Curves, Part, Table, Text
from fastnn.experiments.sequences import CELLS, SEED, SLIDE, fitted, layer


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


def _read(file: str) -> str:
    """The text of a file; without one, what the lessons say."""
    if not file:
        return " ".join(entry.text for entry in EXPERIMENTS.values())
    try:
        text = Path(file).read_text("utf-8")
    except (OSError, UnicodeDecodeError) as reason:
        raise DataError(f"file: {file}: {getattr(reason, 'strerror', None) or reason}") from None
    if len(text) < 200:
        raise DataError(f"file: {file}: {len(text)} characters; expected 200 or more")
    text = text[:200_000]
    kinds = len(set(text))
    if not 2 <= kinds <= MOST_CHARACTERS:
        raise DataError(f"file: {file}: {kinds} different characters; expected from 2 to {MOST_CHARACTERS}")
    return text


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
        "Which character comes next depends on the last few: after q comes u.",
    ),
    parameters=(
        Parameter("cell", "gru", "the kind of layer", choices=CELLS),
        Parameter("units", 64, "of the recurrent layer", 4, 256, 2, factor=True),
        Parameter("epochs", 25, "of training", 1, 200, 5),
        Parameter("file", "", "a text file to read; the lessons' texts unless given"),
        SEED,
    ),
    train=lambda values: {
        "data": values["file"] or "digits", "cell": values["cell"], "layers": [values["units"]], "activation": "tanh",
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

    text = _read(file)
    characters = "".join(sorted(set(text)))
    codes = np.array([characters.index(char) for char in text])
    length, onehot = 32, np.eye(len(characters), dtype=np.float32)
    begins = np.arange(0, len(codes) - length - 1, 8 if len(codes) < 20_000 else length)
    windows = begins[:, None] + np.arange(length)
    stack: list[Any] = [fnn.Input(len(characters)), layer(cell, units, sequences=True), fnn.Dense(len(characters))]
    network = fnn.Network(stack, seed=seed)
    history = fitted(
        network, onehot[codes[windows]], codes[windows + 1], optimizer=fnn.Adam(0.005, clip=1.0), epochs=epochs
    )
    share = np.bincount(codes) / len(codes)
    begun = text[:20]
    written, seen = "", [characters.index(char) for char in begun]
    for _ in range(120):
        seen.append(int(network(onehot[seen[-60:]][None])[0, -1].argmax()))
        written += characters[seen[-1]]
    frequent = float(-(share * np.log(share)).sum())
    return NextCharacter(
        characters, np.array(history.loss), float(np.log(len(characters))), frequent, begun, written.replace("\n", " ")
    )
