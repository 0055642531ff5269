"""What training looks like from outside: frozen objects that a trainer hands out."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

BINS = 30
NOTHING = float("nan")


@dataclass(frozen=True)
class Histogram:
    """`counts` (30,) int64 of the values between `edges` (31,) float64, their mean, standard deviation and Euclidean
    norm, and the share of them that is exactly zero."""

    counts: np.ndarray
    edges: np.ndarray
    mean: float = NOTHING
    std: float = NOTHING
    norm: float = NOTHING
    zeros: float = 0.0


@dataclass(frozen=True)
class LayerSnapshot:
    """A layer with weights: its outputs on the last batch, and what else `Trainer.watch` was asked for, or None.

    `mean` and `std` are of the outputs. `zeros` and `saturated` are shares of all values: exact zeros, and those within
    1 % of the range from an end that the activation only approaches; `dead` is the share of units that put out zero for
    every row. `gradients` and `updates` (what the next step adds) are of the weights, on the next batch; `ratio` is
    the norm of the update over the norm of the weights.
    """

    name: str
    activations: Histogram
    mean: float
    std: float
    zeros: float
    saturated: float
    dead: float = 0.0
    gradients: Histogram | None = None
    weights: Histogram | None = None
    updates: Histogram | None = None

    @property
    def ratio(self) -> float | None:
        """Update-to-weight ratio; 1e-3 is usual, and far more or less a sign of a learning rate that does not fit."""
        if self.updates is None or self.weights is None or not self.weights.norm > 0:
            return None
        return self.updates.norm / self.weights.norm


@dataclass(frozen=True)
class Snapshot:
    """What training looks like after a chunk. Losses are means over samples; `seconds` leaves pauses out.

    `step` counts updates since the trainer was made, `epoch` is the one being trained or just completed, from 1.
    `loss` and `accuracy` are of the samples trained since the snapshot before (dropout included); the `val_` ones of
    the latest epoch's end. Accuracies are None where targets are not classes. `layers` and `gradient_norm` are as of
    step `looked_at`; the norm is None unless watched. `culprit`: where a run that diverged would have left the finite
    numbers, as the layer's number (0 is the first with weights) and "outputs", "loss" or "weights".
    """

    step: int
    epoch: int
    epochs: int
    loss: float
    accuracy: float | None
    val_loss: float | None
    val_accuracy: float | None
    learning_rate: float
    samples_per_second: float
    seconds: float
    state: str
    message: str = ""
    layers: tuple[LayerSnapshot, ...] = ()
    epoch_ended: bool = False
    gradient_norm: float | None = None
    looked_at: int = -1
    culprit: tuple[int, str] | None = None


@dataclass
class History:
    """One number for each completed epoch; the accuracies are empty where targets are not classes."""

    loss: list[float] = field(default_factory=list)
    accuracy: list[float] = field(default_factory=list)
    val_loss: list[float] = field(default_factory=list)
    val_accuracy: list[float] = field(default_factory=list)


@dataclass(frozen=True)
class State:
    """A moment of training, to go back to: `Trainer.restore` continues from it with the same bits.

    `step` counts updates; `parameters` and the optimizer's `memory` are flat copies; the rest is what a trainer shows.
    Of `history`, which grows on with the trainer, the first `epochs` numbers are of this moment: a copy in each of some
    hundred states was most of their memory after ten thousand epochs.
    """

    step: int
    parameters: np.ndarray
    memory: tuple[np.ndarray, ...]
    learning_rate: float
    seconds: float
    epoch_sums: np.ndarray
    history: History
    epochs: int
    snapshot: Snapshot

    @property
    def loss(self) -> float:
        """The loss that its snapshot shows; NaN before the first step."""
        return self.snapshot.loss

    @property
    def nbytes(self) -> int:
        """Memory that it takes, but for what all states share."""
        return sum(array.nbytes for array in (self.parameters, *self.memory))
