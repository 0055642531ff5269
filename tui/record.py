"""What a run has left behind: its curves, and the steps where the learning rate was changed."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import Any

import numpy as np

from tui.history import Curve
from tui.layerlog import LayerLog

Points = tuple[np.ndarray, np.ndarray]
CURVES = ("loss", "val_loss", "accuracy", "val_accuracy", "learning_rate", "gradient_norm")
MOST_MARKS = 64


class Record:
    """Curves and layers over steps, in bounded memory; written by the training thread, read by any."""

    def __init__(self) -> None:
        self.layers = LayerLog()
        self._lock = threading.Lock()
        self._curves = {name: Curve() for name in CURVES}
        self._marks: list[tuple[float, float]] = []
        self._seen = (0, -1)
        self._rate = 0.0

    def clear(self) -> None:
        """Forget everything: a new run begins."""
        self.layers.clear()
        with self._lock:
            for curve in self._curves.values():
                curve.clear()
            self._marks, self._seen, self._rate = [], (0, -1), 0.0

    def add(self, snapshot: Any) -> None:
        """Take what a snapshot has that is new."""
        step, looked = snapshot.step, snapshot.looked_at
        self.layers.add(snapshot)
        with self._lock:
            if looked > self._seen[1] and snapshot.gradient_norm is not None:
                self._curves["gradient_norm"].add(looked, snapshot.gradient_norm)
                self._seen = (self._seen[0], looked)
            if step <= self._seen[0] or snapshot.state == "diverged":
                return
            self._seen = (step, self._seen[1])
            for name in ("loss", "accuracy", "learning_rate"):
                value = getattr(snapshot, name)
                if value is not None:
                    self._curves[name].add(step, value)
            if snapshot.epoch_ended:
                for name in ("val_loss", "val_accuracy"):
                    value = getattr(snapshot, name)
                    if value is not None:
                        self._curves[name].add(step, value)
            if self._rate and snapshot.learning_rate != self._rate:
                self._marks = [*self._marks, (float(step), snapshot.learning_rate)][-MOST_MARKS:]
            self._rate = snapshot.learning_rate

    def load(self, metrics: Mapping[str, np.ndarray]) -> None:
        """Take the metrics of a kept run: it goes on behind them."""
        with self._lock:
            steps = metrics.get("step", np.empty(0))
            for name in CURVES:
                for x, y in zip(steps, metrics.get(name, ()), strict=False):
                    self._curves[name].add(float(x), float(y))
            if steps.size:
                self._seen, self._rate = (int(steps[-1]), int(steps[-1])), float(metrics["learning_rate"][-1])

    def cut(self, step: int) -> None:
        """Forget what came after a step: the run has gone back to it."""
        self.layers.cut(step)
        with self._lock:
            for curve in self._curves.values():
                curve.cut(step)
            self._marks = [mark for mark in self._marks if mark[0] <= step]
            self._seen = (min(step, self._seen[0]), min(step, self._seen[1]))

    def curve(self, name: str) -> Points:
        """Steps and values of one of CURVES, thinned; copies."""
        with self._lock:
            return self._curves[name].points()

    @property
    def marks(self) -> list[tuple[float, float]]:
        """Steps where the learning rate was changed, and to what."""
        return self._marks
