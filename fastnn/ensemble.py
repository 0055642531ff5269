"""Ensemble: many networks of one architecture, trained side by side over one data set."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from fastnn import samples
from fastnn.cpu.many_runner import ManyRunner, new_parameters
from fastnn.cpu.predictor import Predictor
from fastnn.errors import check_finite, check_float, check_int, shown
from fastnn.initializers import Initializer
from fastnn.layers import Layer
from fastnn.network import MOST_PARAMETERS, Network
from fastnn.optimizers import SGD, Optimizer
from fastnn.task import check_optimizer, check_task
from fastnn.views import LayerView


@dataclass(frozen=True)
class EnsembleHistory:
    """What `Ensemble.fit` gave: arrays (epochs, count), a column for each network, NaN from where it had stopped.

    The accuracies have no rows where targets are not classes, the `val_` ones where there was no validation. `epochs`
    and `steps` (count,) are what each network has completed and taken. A `state` is "finished", "stalled" or
    "diverged" ("training" while it goes on).
    """

    loss: np.ndarray
    accuracy: np.ndarray
    val_loss: np.ndarray
    val_accuracy: np.ndarray
    epochs: np.ndarray
    steps: np.ndarray
    state: tuple[str, ...]

    @property
    def last_loss(self) -> np.ndarray:
        """(count,): the loss of each network's last epoch, of validation where there was one; NaN for no epoch."""
        losses = self.val_loss if len(self.val_loss) else self.loss
        last = np.full(len(self.state), np.nan)
        some = self.epochs > 0
        last[some] = losses[self.epochs[some] - 1, some]
        return last

    def best(self) -> int:
        """The network with the smallest `last_loss`; those that diverged come last."""
        loss = self.last_loss
        diverged = np.array([state == "diverged" for state in self.state])
        return int(np.lexsort((np.where(np.isnan(loss), np.inf, loss), diverged))[0])


class Ensemble:
    """`count` networks of one architecture that differ in their seeds.

    `networks` are fastnn.Network objects whose parameters are the rows of `parameters` (count, P); they can be looked
    at, saved, evaluated and trained like any other. `seeds` are 0, 1 ... count - 1 unless given; the other arguments
    are Network's, but `device` can only be "cpu": ensembles train nowhere else. Raises TypeError and ValueError, naming
    the argument.
    """

    def __init__(
        self,
        layers: Sequence[int | Layer],
        count: int,
        *,
        activation: str = "relu",
        init: str | Initializer | None = None,
        seeds: Sequence[int] | None = None,
        dtype: Any = "float32",
        device: str = "cpu",
    ) -> None:
        if device != "cpu":
            raise ValueError(f"device: {shown(device)}; expected 'cpu': an ensemble trains nowhere else")
        count = check_int("count", count)
        options: dict[str, Any] = {"activation": activation, "init": init, "dtype": dtype}
        first = Network(layers, **options)
        if first.architecture.loops:
            raise ValueError(f"layers: {shown(first.dense)}; expected no recurrent layers in an ensemble")
        size = first.parameters.size
        if count * size > MOST_PARAMETERS:
            raise ValueError(f"count: {count} networks of {size:,} parameters; at most {MOST_PARAMETERS:,} fit")
        chosen = range(count) if seeds is None else _one_each("seeds", seeds, count, "integers")
        chosen = [check_int(f"seeds[{k}]", seed, 0, 2**63 - 1) for k, seed in enumerate(chosen)]
        self.networks = tuple(Network(layers, seed=seed, **options) for seed in chosen)
        self._move_in()
        self.history: EnsembleHistory | None = None

    def _move_in(self) -> None:
        """Make every network's parameters a row of one array."""
        first = self.networks[0]
        self._rows = new_parameters(len(self.networks), first.parameters.size, first.architecture.F)
        for row, network in zip(self._rows, self.networks, strict=True):
            storage = row[: network.parameters.size]
            storage[:] = network.parameters
            network.keep_in(storage)

    @classmethod
    def _of(cls, networks: tuple[Network, ...], history: EnsembleHistory | None) -> Ensemble:
        made = cls.__new__(cls)
        made.networks, made.history = networks, history
        made._move_in()
        return made

    def __reduce__(self) -> Any:
        return Ensemble._of, (self.networks, self.history)

    def __len__(self) -> int:
        return len(self.networks)

    def __repr__(self) -> str:
        return f"Ensemble of {len(self)} {self.networks[0]!r}"

    @property
    def parameters(self) -> np.ndarray:
        """View (count, P) of every network's parameters; writing to it changes the networks."""
        return self._rows[:, : self.networks[0].parameters.size]

    @parameters.setter
    def parameters(self, value: Any) -> None:
        LayerView.assign("parameters", self.parameters, value)
        for network in self.networks:
            for view in network.layers:
                view.disconnect()

    # ---- prediction --------------------------------------------------------------------------------------------------

    def __call__(self, x: Any) -> np.ndarray:
        """Outputs (count, n, fan_out) of every network for x (n, fan_in); errors as those of Network."""
        first = self.networks[0]
        inputs = samples.inputs("x", x, first.sizes[0], first.architecture.F)
        out = np.empty((len(self), len(inputs), first.sizes[-1]), first.dtype)
        predictor = Predictor(first.architecture, first.storage)
        for network, outputs in zip(self.networks, out, strict=True):
            predictor.aim(network.storage)
            predictor.rows(inputs, outputs)
        return out

    def mean(self, x: Any) -> np.ndarray:
        """Mean (n, fan_out) of the outputs of the networks that have not diverged, in float64."""
        outputs = self(x)[self._sound()]
        with np.errstate(invalid="ignore"):  # Inf - Inf, where all have diverged
            mean: np.ndarray = outputs.mean(0, dtype=np.float64)
        return mean

    def vote(self, x: Any) -> np.ndarray:
        """The class (n,) int64 that most networks predict, of those that have not diverged; of equals the first.

        With one output the classes are 0 and 1, as a network's accuracy has it.
        """
        outputs = self(x)[self._sound()]
        if outputs.shape[2] > 1:
            votes = outputs.argmax(2)
        else:
            votes = (outputs[..., 0] > (0.5 if self.networks[0].loss_name == "mse" else 0)).astype(np.int64)
        counts = [(votes == label).sum(0) for label in range(max(2, outputs.shape[2]))]
        return np.argmax(counts, axis=0)

    def evaluate(self, x: Any, y: Any, loss: str | None = None) -> dict[str, np.ndarray]:
        """{"loss": (count,), "accuracy": (count,)}, what `Network.evaluate` gives for each network."""
        each = [network.evaluate(x, y, loss) for network in self.networks]
        return {name: np.array([result[name] for result in each]) for name in each[0]}

    def best(self) -> Network:
        """The network with the smallest loss at the end of the latest `fit`; raises ValueError before there is one."""
        if self.history is None:
            raise ValueError("best: the ensemble has not been trained; expected a fit before")
        return self.networks[self.history.best()]

    def _sound(self) -> list[int]:
        """The networks that have not diverged in the latest fit; all, if all of them have."""
        states = ("",) * len(self) if self.history is None else self.history.state
        return [k for k, state in enumerate(states) if state != "diverged"] or list(range(len(self)))

    # ---- training ----------------------------------------------------------------------------------------------------

    def fit(
        self,
        x: Any,
        y: Any,
        *,
        loss: str = "cross_entropy",
        optimizer: Optimizer | Sequence[Optimizer] | None = None,
        epochs: int = 1,
        batch_size: int = 32,
        shuffle: bool = True,
        validation: tuple[Any, Any] | None = None,
        patience: int | None = None,
        min_delta: float = 0.0,
        threads: int | None = None,
        progress: Callable[[EnsembleHistory], object] | None = None,
    ) -> EnsembleHistory:
        """Train every network for `epochs` epochs from where it is; the same bits as `Network.fit` gives it alone.

        `optimizer` is one for all, or a sequence of one for each, of one kind. A network whose loss (of validation, if
        there is one) has not become smaller by more than `min_delta` for `patience` epochs is stalled; one that would
        reach NaN or Inf has diverged and keeps its last finite parameters. Both leave, and cost nothing afterwards.
        `threads` share out the networks. `progress` is called with the history so far some times a second; what it
        raises ends the training, as Ctrl-C does, with every network as its latest step left it.

        Other arguments are Network.fit's. Raises TypeError and ValueError, naming the argument, before anything is
        changed.
        """
        optimizers = self._optimizers(optimizer)
        epochs = check_int("epochs", epochs)
        patience = None if patience is None else check_int("patience", patience)
        least = check_float("min_delta", min_delta, 0)
        if progress is not None and not callable(progress):
            raise TypeError(f"progress: {shown(progress)}; expected a function of the history, or None")
        first = self.networks[0]
        task = check_task(
            first, x, y, loss=loss, batch_size=batch_size, shuffle=shuffle, validation=validation, threads=threads
        )
        for k, network in enumerate(self.networks):
            check_finite(f"networks[{k}].parameters", network.storage)
        trained = [network.epochs for network in self.networks]
        runner = ManyRunner(
            first.architecture, self._rows, task.data, seeds=[network.seed for network in self.networks],
            trained=trained, loss=loss, optimizers=optimizers, epochs=epochs, batch=task.batch, shuffle=task.shuffle,
            validation=task.validation, threads=task.threads, patience=patience, least=least,
        )  # fmt: skip
        try:
            for _ in runner.chunks():
                if progress is not None:
                    progress(self._history(runner, task.classes))
        finally:
            self.history = self._history(runner, task.classes)
            for network, before, more in zip(self.networks, trained, self.history.epochs, strict=True):
                network.epochs, network.loss_name = before + int(more), loss
        return self.history

    def _optimizers(self, given: Any) -> list[Optimizer]:
        """One optimizer for each network, all of one kind: so many numbers remembered, the same update rule."""
        if given is None or isinstance(given, Optimizer):
            return [SGD(0.1) if given is None else given] * len(self)
        if not isinstance(given, (list, tuple)):
            check_optimizer("optimizer", given)
        chosen = [
            check_optimizer(f"optimizer[{k}]", one)
            for k, one in enumerate(_one_each("optimizer", given, len(self), "optimizers"))
        ]
        for k, one in enumerate(chosen):
            if (one.name, one.slots, one.clip) != (chosen[0].name, chosen[0].slots, chosen[0].clip):
                raise ValueError(
                    f"optimizer[{k}]: {one!r}; expected the kind of optimizer[0], {chosen[0]!r} (with momentum or "
                    "without, for all of them, and one clip)"
                )
        return chosen

    @staticmethod
    def _history(runner: ManyRunner, classes: bool) -> EnsembleHistory:
        columns = runner.columns()
        none = np.zeros((0, columns.shape[2]))
        validated = len(columns) > 2
        return EnsembleHistory(
            loss=columns[0],
            accuracy=columns[1] if classes else none,
            val_loss=columns[2] if validated else none,
            val_accuracy=columns[3] if validated and classes else none,
            epochs=runner.epochs,
            steps=runner.many.steps.copy(),
            state=runner.states(),
        )


def _one_each(argument: str, value: Any, count: int, kind: str) -> list[Any]:
    """`value` as a list if it is a sequence of `count`; raises TypeError or ValueError otherwise."""
    if isinstance(value, (str, bytes)) or not isinstance(value, (Sequence, np.ndarray)):
        raise TypeError(f"{argument}: {shown(value)}; expected a sequence of {count} {kind}, one for each network")
    if len(value) != count:
        raise ValueError(f"{argument}: a sequence of {len(value)}; expected {count} {kind}, one for each network")
    return list(value)
