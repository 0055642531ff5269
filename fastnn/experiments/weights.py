"""The weight initialization experiment: five layers, and how their outputs are distributed for each way to begin."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np

from fastnn.experiments.entry import Parameter, Question, register
from fastnn.experiments.parts import Checks, Histograms, Panel, Part, Table

INPUTS, LAYERS, BINS = 1000, 5, 30
STEADY = 1 / 3  # of the first layer's standard deviation that the fifth keeps
# What is compared: a name, the activation, the initializer, and how it is written.
SCHEMES: dict[str, tuple[str, str, str]] = {
    "normal": ("tanh", "normal", "tanh N(0, 1)"),
    "small": ("tanh", "small_normal", "tanh N(0, 0.01)"),
    "xavier": ("tanh", "xavier", "tanh Xavier"),
    "he_slide": ("relu", "lecture_he", "relu He √(4/(in+out))"),
    "he": ("relu", "he", "relu He √(2/in)"),
    "xavier_relu": ("relu", "xavier", "relu Xavier"),
}


@dataclass(frozen=True, eq=False)
class Initialization:
    """Outputs of five layers for 1,000 inputs from N(0, 1), for each of `schemes`.

    `std`, `mean` and `saturated` are (schemes, layers): standard deviation, mean, and share of the outputs within 1 %
    of tanh's ends (0 for relu); `zeros` those that are exactly 0. `counts` (layers, bins) and `edges` (layers,
    bins + 1) are histograms of the scheme `chosen`.
    """

    schemes: tuple[str, ...]
    width: int
    std: np.ndarray
    mean: np.ndarray
    saturated: np.ndarray
    zeros: np.ndarray
    chosen: str
    counts: np.ndarray
    edges: np.ndarray


@lru_cache(16)
def _outputs(scheme: str, width: int, seed: int) -> tuple[np.ndarray, ...]:
    """(std, mean, saturated, zeros) (4, layers), counts and edges of one scheme."""
    import fastnn as fnn

    activation, init, _ = SCHEMES[scheme]
    stack: list[Any] = [fnn.Input(width), *[fnn.Dense(width, activation, init)] * LAYERS]
    deep, one = fnn.Network(stack, seed=seed), fnn.Network(stack[:2])
    y = np.random.default_rng(seed).standard_normal((INPUTS, width)).astype(np.float32)
    ends = (-1.0, 1.0) if activation == "tanh" else None
    facts, counts, edges = [], [], []
    for layer in deep.layers:
        one.layers[0].weight = layer.weight
        y = one(y)
        near = np.mean(np.abs(y) > 1 - 0.02) if ends else 0.0  # 1 % of the range of tanh
        facts.append((float(y.std(dtype=np.float64)), float(y.mean(dtype=np.float64)), float(near), np.mean(y == 0)))
        low, high = ends or (0.0, max(float(y.max()), 1e-30))
        found = np.histogram(y, BINS, (low, high))
        counts.append(found[0])
        edges.append(found[1])
    return np.array(facts).T, np.array(counts), np.array(edges)


def _report(result: Initialization) -> tuple[Part, ...]:
    chosen = result.schemes.index(result.chosen)
    tanh = SCHEMES[result.chosen][0] == "tanh"
    panels = tuple(
        Panel(
            f"layer {k + 1}", result.counts[k], result.edges[k],
            f"σ {result.std[chosen, k]:.2g} " + (f"sat {100 * result.saturated[chosen, k]:.0f}%" if tanh else
            f"=0 {100 * result.zeros[chosen, k]:.0f}%"),
        )
        for k in range(LAYERS)
    )  # fmt: skip
    rows = tuple(
        (SCHEMES[name][2], *(f"{value:.2g}" for value in result.std[k]), f"{100 * result.saturated[k].mean():.0f}%")
        for k, name in enumerate(result.schemes)
    )
    columns = ("σ of the outputs", "layer 1", *(f"{k + 1}" for k in range(1, LAYERS)), "saturated")
    return (
        Histograms(f"Outputs of the layers: {SCHEMES[result.chosen][2]}", panels),
        Table(f"{INPUTS:,} inputs from N(0, 1), {LAYERS} layers of {result.width}", columns, rows, chosen),
        Checks("The slides' conclusions", conclusions(result)),
    )


def conclusions(result: Initialization) -> tuple[tuple[str, bool], ...]:
    """What the slides conclude, and whether it holds here."""
    of = {name: k for k, name in enumerate(result.schemes)}
    kept = result.std[:, -1] / np.maximum(result.std[:, 0], 1e-300)
    return (
        ("N(0, 1): most outputs lie near -1 and 1", bool((result.saturated[of["normal"]] > 0.5).all())),
        ("N(0, 0.01): they shrink to 0 layer by layer", bool(kept[of["small"]] < 0.01)),
        ("Xavier keeps tanh steady", bool(kept[of["xavier"]] > STEADY)),
        ("He keeps relu steady", bool(kept[of["he"]] > STEADY)),
        ("Xavier on relu shrinks", bool(kept[of["xavier_relu"]] < STEADY)),
    )


@register(
    title="Weight initialization",
    slide="Neural networks: Weight initialization experiment",
    text="1,000 inputs from N(0, 1) go through five layers; below are the outputs of each. Weights from N(0, 1) push "
    "tanh to its flat ends: no gradient comes back. Smaller ones, σ = 0.01, shrink the outputs to 0 layer by layer: "
    "f' is 1 there, as the slide has it, but so small weights shrink the gradient, too. Xavier's σ = √(2 / (fan_in + "
    "fan_out)) depends on the layer's size and keeps tanh's outputs spread. ReLU halves what passes, so He doubles the "
    "variance: √(4 / (fan_in + fan_out)) on the slide, √(2 / fan_in) in the paper, the same here.",
    report=_report,
    question=Question(
        "Weights from N(0, 1), 500 inputs to each node, tanh. Where will most outputs lie?",
        ("near 0", "evenly between -1 and 1", "near -1 and 1"),
        lambda result: 2 if result.saturated[0].min() > 0.5 else 0 if result.std[0, -1] < 0.1 else 1,
        lambda result: f"A sum of {result.width} products has σ = √{result.width} ≈ {result.width**0.5:.0f}, and tanh "
        f"is flat from 3 on: {100 * result.saturated[0].min():.0f} % or more lie at its ends.",
    ),
    parameters=(
        Parameter("scheme", "normal", "the weights that the histograms are of", choices=tuple(SCHEMES)),
        Parameter("width", 500, "nodes of each layer", 2, 2000, 50),
        Parameter("seed", 0, "of inputs and weights", 0, 2**31),
    ),
    train=lambda values, result: {
        "data": "digits", "layers": [100] * LAYERS, "activation": SCHEMES[values["scheme"]][0],
        "init": SCHEMES[values["scheme"]][1],
    },
    slow=True,
)  # fmt: skip
def initialization(scheme: str = "normal", width: int = 500, seed: int = 0) -> Initialization:
    """The slides' experiment with every scheme of theirs; `scheme` chooses whose histograms are returned."""
    found = {name: _outputs(name, width, seed) for name in SCHEMES}
    facts = np.array([found[name][0] for name in SCHEMES])
    return Initialization(
        tuple(SCHEMES), width, facts[:, 0], facts[:, 1], facts[:, 2], facts[:, 3], scheme, found[scheme][1],
        found[scheme][2],
    )  # fmt: skip
