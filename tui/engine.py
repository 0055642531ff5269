"""The door to fastnn: the only module of the UI that imports it, and only from the training thread."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tui.config import Choices, RunConfig
from tui.view import Run


class Engine:
    """Builds real runs; nothing is imported before `load`. `threads` train (None: chosen by what steps take)."""

    def __init__(self, threads: int | None = None) -> None:
        self._fastnn: Any = None
        self._data: tuple[str, Any] | None = None
        self._threads = threads

    def load(self, on_compile: Callable[[str | None], None]) -> Choices:
        """Import fastnn and read the names from its registries."""
        import fastnn
        from fastnn import activations, compiler, datasets, initializers, optimizers

        compiler.on_compile(on_compile)
        self._fastnn = fastnn
        return Choices(
            data=tuple(datasets.DATASETS),
            activations=tuple(activations.ACTIVATIONS),
            initializers=tuple(initializers.INITIALIZERS),
            optimizers={name: default_rate(entry) for name, entry in optimizers.OPTIMIZERS.items()},
        )

    def build(self, config: RunConfig) -> Run:
        """Load the data and make network, optimizer and trainer."""
        fnn = self._fastnn
        from fastnn.optimizers import OPTIMIZERS

        data = self._load(config.data)
        outputs = data.n_classes or (1 if data.y_train.ndim == 1 else data.y_train.shape[1])
        sizes = (data.features, *config.layers, outputs)
        network = fnn.Network(list(sizes), activation=config.activation, init=config.init, seed=config.seed)
        trainer = fnn.Trainer(
            network,
            data,
            loss="cross_entropy" if data.n_classes else "mse",
            optimizer=OPTIMIZERS[config.optimizer](config.learning_rate),
            batch_size=config.batch_size,
            threads=self._threads,
        )
        return Run(trainer, sizes, network, data)

    def _load(self, name: str) -> Any:
        """The data set, kept while the name stays the same: a reset does not read MNIST again."""
        if self._data is None or self._data[0] != name:
            self._data = (name, self._fastnn.datasets.load(name))
        return self._data[1]


def default_rate(optimizer: Any) -> float:
    """The learning rate that an optimizer suggests, 0.1 where it leaves the choice to the user."""
    field = getattr(optimizer, "__dataclass_fields__", {}).get("lr")
    return field.default if field is not None and isinstance(field.default, float) else 0.1
