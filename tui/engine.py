"""The door to fastnn's kernels: the only module of the UI that brings them, and only on the training thread."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from tui.config import Choices, RunConfig
from tui.history import Recent
from tui.view import Run


class Engine:
    """Builds real runs; nothing is imported before `load`. `threads` train (None: chosen by what steps take).

    `tell(text, level)` is told what a person should know of the runs that are kept; `built()` is called after each run.
    """

    def __init__(self, threads: int | None = None) -> None:
        self._fastnn: Any = None
        self._data: tuple[Any, Any] | None = None
        self._threads = threads
        self.tell: Callable[[str, str], None] = lambda text, level: None
        self.built: Callable[[], None] = lambda: None

    def load(self, on_compile: Callable[[str | None], None]) -> Choices:
        """Import fastnn and read the names from its registries."""
        import fastnn
        from fastnn import activations, cells, compiler, datasets, devices, initializers, optimizers
        from fastnn.datasets.features import FEATURES

        compiler.on_compile(on_compile)
        self._fastnn = fastnn
        return Choices(
            data=tuple(datasets.DATASETS),
            cells=("dense", *cells.CELLS),
            activations=tuple(activations.ACTIVATIONS),
            initializers=tuple(initializers.INITIALIZERS),
            optimizers={name: default_rate(entry) for name, entry in optimizers.OPTIMIZERS.items()},
            loaders={name: entry.options for name, entry in datasets.DATASETS.items()},
            features=tuple(FEATURES),
            devices=devices.DEVICES,
            precisions=devices.PRECISIONS,
        )

    def build(self, config: RunConfig) -> Run:
        """Load the data and make network, optimizer and trainer; or open a kept run where it was left."""
        from fastnn import compiler, runfile, runs
        from fastnn.stack import chosen_cell
        from tui.keeping import Keeper, curves, run_of

        run, folder, kept = run_of(config), None, {}
        run = replace(run, data=runfile.located(run.data, Path.cwd()))  # its folder lies elsewhere
        data = self._load(run)
        if config.folder:
            folder, prepared = runs.resume(Path(config.folder), data=data, threads=self._threads)
            kept = curves(config.folder)
        else:
            prepared = runfile.build(run, data=data, threads=self._threads)
        keeper = Keeper(prepared.run, prepared.trainer, self.tell, folder)
        bound(prepared.trainer)
        self.built()
        network = prepared.network
        cell, sizes = chosen_cell(prepared.run, data), tuple(network.sizes)
        return Run(prepared.trainer, sizes, network, data, keeper, kept, cell, compiler.cores())

    def _load(self, run: Any) -> Any:
        """The data set, kept while it stays the same: a reset does not read MNIST again."""
        from fastnn.runfile import load_data

        asked = (run.data, run.data_options)
        if self._data is None or self._data[0] != asked:
            self._data = (asked, load_data(run))
        return self._data[1]


def bound(trainer: Any) -> None:
    """Have a trainer remember its latest epochs: at full speed a thousand epochs a second took 200 MB in half an hour.

    What is drawn is in the session's record, and all epochs in the run's folder.
    """
    trainer.history = type(trainer.history)(*(Recent(values) for values in vars(trainer.history).values()))


def default_rate(optimizer: Any) -> float:
    """The learning rate that an optimizer suggests, 0.1 where it leaves the choice to the user."""
    field = getattr(optimizer, "__dataclass_fields__", {}).get("lr")
    return field.default if field is not None and isinstance(field.default, float) else 0.1
