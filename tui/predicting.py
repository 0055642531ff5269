"""What screens ask a network in training for: its outputs over the plane, on a line, and on the rows of the test part.

Every function here makes a probe (`Session.probe`): it is called on the training thread with a run, and what it returns
is never changed afterwards.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from tui.view import View

MOST_ROWS = 10_000  # of the test part that are judged: a pass over more would hold training up
MOST_UNITS = 64  # of a layer whose maps are drawn
LEAST_PROBABILITY = 1e-12

KINDS = ("plane", "line", "images", "table")


def kind_of(data: Any) -> str:
    """How predictions on a data set are shown: "plane" (points), "line" (one input), "images" or "table"."""
    if data is None or data.steps is not None:
        return "table"
    if data.plane is not None or (data.features == 2 and (data.classes or data.y_train.ndim == 1)):
        return "plane"
    if data.features == 1 and not data.classes:
        return "line"
    return "images" if data.image_shape is not None and data.classes else "table"


def data_of(view: View, kind: str) -> Any:
    """The data set that is trained on, if it is of this kind; else None.

    Panes of the kind before are on screen until the next layout, and may be drawn once more.
    """
    return view.data if kind_of(view.data) == kind else None


def points_of(data: Any) -> tuple[np.ndarray, np.ndarray]:
    """Points (n, 2) of the training and of the test part of a data set in the plane."""
    return (data.x_train, data.x_test) if data.plane is None else (data.plane.train, data.plane.test)


def probabilities(outputs: np.ndarray, loss: str) -> np.ndarray:
    """Each class's probability (n, classes) float32 from a network's outputs."""
    outputs = outputs.astype(np.float64)
    if loss == "cross_entropy":
        shares = np.exp(outputs - outputs.max(1, keepdims=True))
    elif loss == "binary_cross_entropy":
        shares = 1 / (1 + np.exp(-np.clip(outputs, -500, 500)))
    else:
        shares = np.clip(outputs, 0, 1)
    found: np.ndarray = shares / np.maximum(shares.sum(1, keepdims=True), LEAST_PROBABILITY)
    return found.astype(np.float32)


# ---- the plane -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Window:
    """A part of the plane that is drawn in `columns` x `rows` square pixels: its middle, and units a pixel."""

    columns: int
    rows: int
    x: float = 0.0
    y: float = 0.0
    unit: float = 0.1

    @classmethod
    def around(cls, points: np.ndarray, columns: int, rows: int, margin: float = 0.08) -> Window:
        """The window that all points lie in."""
        low, high = points.min(0).astype(float), points.max(0).astype(float)
        middle, size = (low + high) / 2, np.maximum(high - low, 1e-6) * (1 + 2 * margin)
        unit = max(size[0] / max(1, columns), size[1] / max(1, rows))
        return cls(columns, rows, float(middle[0]), float(middle[1]), float(unit))

    def sized(self, columns: int, rows: int) -> Window:
        """The same part, as much of it as fits, in other pixels."""
        unit = self.unit * max(self.columns / columns, self.rows / rows)
        return Window(columns, rows, self.x, self.y, unit)

    def points(self) -> np.ndarray:
        """The middles (rows * columns, 2) of its pixels, the top row first."""
        x = self.x + (np.arange(self.columns) + 0.5 - self.columns / 2) * self.unit
        y = self.y - (np.arange(self.rows) + 0.5 - self.rows / 2) * self.unit
        return np.stack([np.tile(x, self.rows), np.repeat(y, self.columns)], axis=1)

    def pixels(self, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Row and column of each point; they may lie outside."""
        column = np.floor((points[:, 0] - self.x) / self.unit + self.columns / 2)
        row = np.floor((self.y - points[:, 1]) / self.unit + self.rows / 2)
        return row.astype(np.int64), column.astype(np.int64)

    def point(self, row: float, column: float) -> tuple[float, float]:
        """The point in the middle of a pixel."""
        x = self.x + (column + 0.5 - self.columns / 2) * self.unit
        return x, self.y - (row + 0.5 - self.rows / 2) * self.unit


@dataclass(frozen=True, eq=False)
class PlaneFound:
    """Over a window: `values` (rows, columns, classes) probabilities, or (rows, columns, 1) outputs of a regression;
    `maps`, for each hidden layer its units' outputs (units, rows, columns) over a smaller window."""

    window: Window
    values: np.ndarray
    maps: tuple[np.ndarray, ...]


def _hidden(run: Any, layer: int, inputs: np.ndarray) -> np.ndarray:
    from fastnn.hidden import outputs_of  # brings the kernels: on the training thread alone

    return outputs_of(run.network, layer, inputs)


def _outputs(run: Any, points: np.ndarray, layer: int | None = None) -> np.ndarray:
    data = run.data
    inputs = points.astype(np.float32) if data.plane is None else data.plane.inputs(points)
    outputs: np.ndarray = run.network(inputs) if layer is None else _hidden(run, layer, inputs)
    return outputs


def plane_probe(window: Window, small: Window) -> Callable[[Any], PlaneFound]:
    """Ask for the network's outputs over a window, and for those of its hidden units over a small one."""
    large_points, small_points = window.points(), small.points()

    def look(run: Any) -> PlaneFound:
        outputs = _outputs(run, large_points)
        if run.data.classes:
            outputs = probabilities(outputs, run.network.loss_name)
        maps = []
        for layer in range(len(run.sizes) - 2):
            units = _outputs(run, small_points, layer)[:, :MOST_UNITS]
            maps.append(np.ascontiguousarray(units.T).reshape(-1, small.rows, small.columns))
        return PlaneFound(window, outputs.reshape(window.rows, window.columns, -1), tuple(maps))

    return look


# ---- one input -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class LineFound:
    """Over `x` (n,): the network's outputs `y` (n, outputs), and for each hidden layer its units' (n, units)."""

    x: np.ndarray
    y: np.ndarray
    units: tuple[np.ndarray, ...]


def line_probe(low: float, high: float, count: int) -> Callable[[Any], LineFound]:
    """Ask for the network's outputs at `count` places from low to high."""
    x = np.linspace(low, high, count).astype(np.float32)

    def look(run: Any) -> LineFound:
        units = [_hidden(run, layer, x[:, None])[:, :MOST_UNITS] for layer in range(len(run.sizes) - 2)]
        return LineFound(x, run.network(x[:, None]), tuple(units))

    return look


# ---- rows of the test part -------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Judged:
    """Rows of the test part: their `truth` (n, ...), what the network says of each, its loss, and `wrongest`, their
    numbers by falling loss. Where sequences have a target for each time step, each of them is a row.

    Of classes: `shares` (n, classes) and `predicted` (n,), and `confusion` (classes, classes), true by predicted. Of a
    regression `shares` are its outputs, and there is no confusion.
    """

    truth: np.ndarray
    shares: np.ndarray
    losses: np.ndarray
    wrongest: np.ndarray
    predicted: np.ndarray | None = None
    confusion: np.ndarray | None = None


def judge(run: Any) -> Judged:
    """A probe: judge the rows of the test part (the first 10,000)."""
    data = run.data
    count = max(1, MOST_ROWS // data.steps) if data.every_step else MOST_ROWS
    x, y = data.x_test[:count], data.y_test[:count]
    outputs = run.network(x)
    if data.every_step:
        outputs, y = outputs.reshape(-1, outputs.shape[-1]), y.reshape(-1, *y.shape[2:])
    if not data.classes:
        wanted = y.reshape(len(y), -1)
        losses = ((outputs.astype(np.float64) - wanted) ** 2).mean(1)
        return Judged(y, outputs, losses, np.argsort(-losses, kind="stable"))
    shares = probabilities(outputs, run.network.loss_name)
    rows, classes = np.arange(len(y)), data.n_classes
    losses = -np.log(np.maximum(shares[rows, y], LEAST_PROBABILITY))
    predicted = shares.argmax(1)
    confusion = np.bincount(y * classes + predicted, minlength=classes * classes).reshape(classes, classes)
    return Judged(y, shares, losses, np.argsort(-losses, kind="stable"), predicted, confusion)


# ---- weights ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class WeightsFound:
    """What goes into one unit: its `weights` (fan_in,) and its `bias`."""

    layer: int
    unit: int
    weights: np.ndarray
    bias: float


def weights_probe(layer: int, unit: int) -> Callable[[Any], WeightsFound | None]:
    """Ask for the weights into a unit; None where there is no such unit."""

    def look(run: Any) -> WeightsFound | None:
        views = dense(run.network)
        if layer >= len(views) or unit >= len(views[layer].bias):
            return None
        view = views[layer]
        return WeightsFound(layer, unit, view.weight[:, unit].copy(), float(view.bias[unit]))

    return look


def dense(network: Any) -> list[Any]:
    """The layers of a network that have weights."""
    return [view for view in network.layers if view.activation]


def set_weight(layer: int, unit: int, source: int | None, change: Callable[[float], float]) -> Callable[[Any], None]:
    """For `Session.do`: give the weight from `source` into a unit (its bias where that is None) the value that `change`
    makes of its own."""

    def give(run: Any) -> None:
        view = dense(run.network)[layer]
        if source is None:
            view.bias[unit] = change(float(view.bias[unit]))
        else:
            view.weight[source, unit] = change(float(view.weight[source, unit]))

    return give
