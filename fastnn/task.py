"""What to train on and how, checked: the part that a Trainer and an Ensemble have in common."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from fastnn.errors import check_choice, check_int, shown
from fastnn.losses import LOSSES
from fastnn.network import Network
from fastnn.optimizers import Optimizer

Pair = tuple[np.ndarray, np.ndarray]


class Task(NamedTuple):
    """Data and options as the engine takes them."""

    data: Pair  # inputs (n, fan_in) and targets
    classes: bool  # whether the targets are classes, so that an accuracy means something
    validation: Pair | None
    batch: int
    shuffle: bool
    threads: int | None


def check_optimizer(argument: str, value: Any) -> Optimizer:
    """Return `value` if it is an optimizer; raises TypeError otherwise."""
    if not isinstance(value, Optimizer):
        raise TypeError(f"{argument}: {value!r}; expected an optimizer such as fastnn.SGD(0.1) or fastnn.Adam()")
    return value


def check_task(
    network: Network, x: Any, y: Any, *, loss: str, batch_size: int, shuffle: bool, validation: Any, threads: int | None
) -> Task:
    """The task of training `network`; raises TypeError and ValueError, naming the argument.

    `validation` is a pair (x, y), or None or False for none.
    """
    check_choice("loss", loss, LOSSES)
    if threads is not None:
        threads = check_int("threads", threads, 1, 1024)
    if not isinstance(shuffle, (bool, np.bool_)):
        raise TypeError(f"shuffle: expected True or False, got {shown(shuffle)}")
    inputs, targets, classes = network.check_data(("x", "y"), x, y, loss)
    batch_size = check_int("batch_size", batch_size)
    if batch_size > len(inputs):
        raise ValueError(
            f"batch_size: {batch_size} is more than the {len(inputs)} rows of data; expected at most as many"
        )
    checked = None
    if validation is not None and validation is not False:
        if not isinstance(validation, (tuple, list)) or len(validation) != 2:
            raise TypeError(f"validation: a {type(validation).__name__}; expected a pair (x, y), or None")
        val_x, val_y = validation
        checked = network.check_data(("validation x", "validation y"), val_x, val_y, loss)[:2]
    return Task((inputs, targets), classes, checked, batch_size, bool(shuffle), threads)
