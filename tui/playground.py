"""What a person changes at the playground: settings of a run, each with the next smaller and the next larger choice.

A change makes another `RunConfig`, which a run file holds: what was played with can be trained by `fastnn train`.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from tui.config import MAX_LAYERS, Choices, RunConfig
from tui.view import Run

NOISES = (0.0, 0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.35, 0.4, 0.5, 0.6, 0.8, 1.0)
SAMPLES = (20, 50, 100, 200, 300, 500, 1000, 1500, 2000, 5000, 10_000)
TRAIN_SHARES = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
CLASSES = (2, 3, 4, 5, 6, 7)
TURNS = (0.25, 0.5, 0.75, 1.0, 1.25, 1.5, 2.0)
UNITS = (*range(1, 17), 20, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512)
BATCHES = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024)
NEW_UNITS = 8  # of the first layer that is added


@dataclass(frozen=True)
class Row:
    """A setting as it is shown, and the configurations to its left and right (None at an end)."""

    name: str
    label: str
    text: str
    left: RunConfig | None
    right: RunConfig | None


def neighbors(values: Sequence[Any], now: Any) -> tuple[Any, Any]:
    """The next smaller and the next larger of rising values; None at an end."""
    below, above = bisect_left(values, now), bisect_right(values, now)
    return (values[below - 1] if below else None), (values[above] if above < len(values) else None)


def option(config: RunConfig, choices: Choices, name: str) -> Any:
    """An option of the data set's loader as it is now; None when it has none of this name."""
    known = choices.loaders.get(config.data, {})
    return dict(config.loader).get(name, known.get(name))


def with_option(config: RunConfig, **options: Any) -> RunConfig:
    """The configuration with other options of the loader."""
    return replace(config, loader=tuple({**dict(config.loader), **options}.items()), folder="")


def regenerated(config: RunConfig, choices: Choices) -> RunConfig | None:
    """With other points (or another split); None where the data has no seed."""
    seed = option(config, choices, "seed")
    return None if seed is None else with_option(config, seed=seed + 1)


def with_layers(config: RunConfig, layers: tuple[int, ...]) -> RunConfig:
    """The configuration with other hidden layers, fully connected."""
    return replace(config, layers=layers, masks=(), folder="")


def with_one_more(config: RunConfig) -> RunConfig | None:
    """One more hidden layer, as wide as the last; None when there are too many."""
    if len(config.layers) >= MAX_LAYERS:
        return None
    return with_layers(config, (*config.layers, config.layers[-1] if config.layers else NEW_UNITS))


def with_one_less(config: RunConfig) -> RunConfig | None:
    """Without the last hidden layer; None when there is none."""
    return with_layers(config, config.layers[:-1]) if config.layers else None


def resized(config: RunConfig, layer: int, direction: int) -> RunConfig | None:
    """A hidden layer with the next smaller or larger width; None at an end."""
    if not 0 <= layer < len(config.layers):
        return None
    width = neighbors(UNITS, config.layers[layer])[direction > 0]
    return None if width is None else with_layers(config, (*config.layers[:layer], width, *config.layers[layer + 1 :]))


def toggled(config: RunConfig, choices: Choices, feature: str) -> RunConfig | None:
    """With a feature of the points, or without it; None when it is the only one."""
    now = tuple(option(config, choices, "features"))
    chosen = tuple(name for name in choices.features if (name in now) != (name == feature))
    return with_option(config, features=chosen) if chosen else None


def other_data(config: RunConfig, choices: Choices, direction: int) -> RunConfig | None:
    """The data set before or after this one in the list, with the cell that suits it."""
    names = choices.data
    at = names.index(config.data) + direction if config.data in names else 0
    return replace(config, data=names[at], loader=(), cell="", loss="", folder="") if 0 <= at < len(names) else None


def _named(config: RunConfig, field: str, names: Sequence[str]) -> tuple[RunConfig | None, RunConfig | None]:
    at = names.index(getattr(config, field)) if getattr(config, field) in names else 0
    sides: tuple[dict[str, Any], dict[str, Any]] = {field: names[at - 1]}, {field: names[min(at + 1, len(names) - 1)]}
    left = replace(config, **sides[0], folder="") if at else None
    return left, replace(config, **sides[1], folder="") if at + 1 < len(names) else None


def cells_of(run: Run | None, choices: Choices) -> tuple[str, ...]:
    """What the layers over a run's data may be made of; none where there is no choice: neither sequences nor images."""
    if run is None or (run.data.steps is None and run.data.image_shape is None):
        return ()
    return tuple(cell for cell in choices.cells if run.data.steps is None or cell != "dense")


def rows(config: RunConfig, choices: Choices, run: Run | None = None) -> Iterator[Row]:
    """All settings that this configuration has, from data to optimizer; `run` has the data."""
    yield Row("data", "data", config.data, other_data(config, choices, -1), other_data(config, choices, 1))
    for name, label, values, form in (
        ("noise", "noise", NOISES, "{:g}"),
        ("samples", "points", SAMPLES, "{:,}"),
        ("classes", "classes", CLASSES, "{}"),
        ("turns", "turns", TURNS, "{:g}"),
    ):
        now = option(config, choices, name)
        if now is not None:
            sides = (None if v is None else with_option(config, **{name: v}) for v in neighbors(values, now))
            yield Row(name, label, form.format(now), *sides)
    test = option(config, choices, "test_share")
    if test is not None:
        sides = (
            None if v is None else with_option(config, test_share=round(1 - v, 6))
            for v in neighbors(TRAIN_SHARES, round(1 - test, 6))
        )
        yield Row("train_share", "train share", f"{(1 - test) * 100:.0f}%", *sides)
    now = option(config, choices, "features")
    for feature in choices.features if now is not None else ():
        other = toggled(config, choices, feature)
        yield Row(f"input {feature}", f"  {feature}", "on" if feature in now else "off", other, other)
    yield Row("layers", "layers", str(len(config.layers)), with_one_less(config), with_one_more(config))
    for layer, width in enumerate(config.layers):
        yield Row(
            f"layer {layer}", f"  L{layer + 1}", str(width), resized(config, layer, -1), resized(config, layer, 1)
        )
    cells = cells_of(run, choices)
    if run is not None and cells:
        cell = config.cell or run.cell
        yield Row("cell", "cell", cell, *_named(replace(config, cell=cell), "cell", cells))
    yield Row("activation", "activation", config.activation, *_named(config, "activation", choices.activations))
    yield Row("init", "initializer", config.init, *_named(config, "init", choices.initializers))
    others = _named(config, "optimizer", tuple(choices.optimizers))
    rated = (s and replace(s, learning_rate=choices.optimizers[s.optimizer], settings=()) for s in others)
    yield Row("optimizer", "optimizer", config.optimizer, *rated)
    sizes = (s and replace(config, batch_size=s, folder="") for s in neighbors(BATCHES, config.batch_size))
    yield Row("batch", "batch", str(config.batch_size), *sizes)


# ---- presets ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Preset:
    """A run to start from, what to watch in it, and whether it goes well."""

    name: str
    watch: str
    good: bool
    config: RunConfig


def _preset(name: str, watch: str, good: bool, data: str, layers: tuple[int, ...], **rest: Any) -> Preset:
    base: dict[str, Any] = {"activation": "tanh", "init": "xavier", "optimizer": "adam", "learning_rate": 0.01}
    loader = tuple(rest.pop("loader", {}).items())
    return Preset(name, watch, good, RunConfig(data=data, layers=layers, loader=loader, **{**base, **rest}))


PRESETS: tuple[Preset, ...] = (
    _preset("Two moons", "the border bends between the moons within a second", True, "moons", (8, 8)),
    _preset(
        "Three spirals", "the first layer's units draw lines, the second's bend them", True, "spirals", (16, 16),
        learning_rate=0.003,
    ),
    _preset(
        "A circle without hidden layers", "a line in the squares is a circle here", True, "circles", (),
        learning_rate=0.03, loader={"features": ("x1^2", "x2^2")},
    ),
    _preset("Exclusive or", "four units, a line each, share the work", True, "xor", (4,), learning_rate=0.03),
    _preset("A sine", "six units, six bends, one curve", True, "sine", (6,), learning_rate=0.02),
    _preset(
        "All weights zero", "every unit stays like its neighbor, and nothing is learned", False,
        "moons", (8, 8), init="zeros", optimizer="sgd", learning_rate=0.1,
    ),
    _preset(
        "Learning rate too high", "the loss jumps and does not fall; { [ lower it", False, "moons", (8, 8),
        optimizer="sgd", learning_rate=20.0,
    ),
    _preset(
        "Learning rate too low", "the border hardly moves; } raises the rate", False, "moons", (8, 8),
        optimizer="sgd", learning_rate=1e-5,
    ),
    _preset(
        "Deep sigmoid", "mode 2: gradients shrink from layer to layer toward the input", False, "spirals", (8,) * 6,
        activation="sigmoid", optimizer="sgd", learning_rate=0.1,
    ),
    _preset(
        "Dying relu", "mode 2: dead units put out zero for every point, and learn no more", False, "spirals", (16, 16),
        activation="relu", init="he", optimizer="sgd", learning_rate=1.5,
    ),
    _preset("Too small for spirals", "three units, three lines: > and . add what is missing", False, "spirals", (3,)),
    _preset(
        "No nonlinearity", "layers without activation are one line, however many", False, "xor", (8, 8),
        activation="identity",
    ),
    _preset(
        "Memorizing noise", "validation loss rises while training loss falls: islands", False,
        "moons", (64, 64), activation="relu", init="he", loader={"samples": 100, "noise": 0.5, "test_share": 0.5},
    ),
)  # fmt: skip
