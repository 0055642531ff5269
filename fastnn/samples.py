"""Inputs and targets as the engine takes them: checked, contiguous, of the network's type. What fits is not copied."""

from __future__ import annotations

from typing import Any

import numpy as np

from fastnn import mapped
from fastnn.errors import check_finite, is_finite, shown
from fastnn.losses import LOSSES


def numeric(argument: str, value: Any) -> np.ndarray:
    """`value` as an array of real numbers or bools.

    Raises TypeError for others, ValueError for uneven rows, and where numbers are masked: the arrays that compiled code
    takes have no masks, and what lies below one may be anything.
    """
    try:
        array = np.asarray(value)
    except ValueError as reason:
        raise ValueError(f"{argument}: cannot be read as an array ({reason}); expected rows of equal length") from None
    except (TypeError, RuntimeError) as reason:  # of what has an __array__ that refuses, as PyTorch's tensors have
        raise TypeError(f"{argument}: cannot be read as an array ({reason}); expected real numbers") from None
    if array.dtype.kind not in "fiub":
        what = f"has dtype {array.dtype}" if array.ndim else shown(value)
        raise TypeError(f"{argument}: {what}; expected real numbers")
    rows = value if isinstance(value, (list, tuple)) else [value]
    count = sum(int(np.ma.getmask(row).sum()) for row in rows if isinstance(row, np.ma.MaskedArray))
    if count:
        raise ValueError(f"{argument}: an array in which {count} are masked; expected numbers only, see its filled()")
    return array


def inputs(argument: str, value: Any, features: int, F: type) -> np.ndarray:
    """`value` as a C-contiguous (n, features) array of type F, n of 1 or more, all finite.

    Raises TypeError for another dtype, ValueError for another shape, no rows, NaN or Inf (also those that arise when
    a large float64 becomes a float32).
    """
    array = numeric(argument, value)
    if array.ndim != 2 or array.shape[1] != features:
        raise ValueError(f"{argument}: has shape {array.shape}; expected (n, {features})")
    if array.shape[0] == 0:
        raise ValueError(f"{argument}: is empty, shape {array.shape}; expected at least one row")
    return _converted(argument, array, F)


def sequences(argument: str, value: Any, features: int, steps: int | None, F: type) -> np.ndarray:
    """`value` as a C-contiguous (n, T, features) array of type F, n and T of 1 or more, all finite.

    If `steps` is given, T is that, and it may also be (n, steps * features).
    Raises as `inputs` does, also for sequences of uneven lengths.
    """
    try:
        array = numeric(argument, value)
    except ValueError:
        if isinstance(value, np.ndarray):  # numbers are masked
            raise
        lengths = sorted({len(each) for each in value if hasattr(each, "__len__")})
        if len(lengths) < 2:  # it is something inside of them
            raise
        raise ValueError(
            f"{argument}: has sequences of {shown(lengths)} time steps; expected one length, (n, T, {features})"
        ) from None
    if steps is not None and array.ndim == 2 and array.shape[1] == steps * features:
        array = array.reshape(len(array), steps, features)
    if array.ndim != 3 or array.shape[2] != features or steps not in (None, array.shape[1]):
        wanted = f"(n, T, {features}), n sequences of T time steps" if steps is None else f"(n, {steps}, {features})"
        raise ValueError(f"{argument}: has shape {array.shape}; expected {wanted}")
    if 0 in array.shape:
        what = "sequences of length 0" if array.shape[0] else "no sequence"
        raise ValueError(
            f"{argument}: has shape {array.shape}, {what}; expected at least one time step of one sequence"
        )
    return _converted(argument, array, F)


def _converted(argument: str, array: np.ndarray, F: type) -> np.ndarray:
    for some in mapped.blocks(array):
        if not is_finite(some):
            check_finite(argument, array)
    with np.errstate(over="ignore"):
        converted: np.ndarray = np.ascontiguousarray(array, dtype=F)
    if array.dtype.kind == "f" and array.dtype.itemsize > converted.itemsize:
        check_finite(f"{argument} as {np.dtype(F)}", converted)
    return converted


def targets(argument: str, value: Any, rows: int, outputs: int, loss: str, F: type) -> tuple[np.ndarray, bool]:
    """`value` as the loss takes it, and whether it names classes (so that an accuracy means something).

    For a loss on labels: (rows,) int64 in [0, outputs), from integers or one-hot rows. Else (rows, outputs) of type F,
    from such an array, from (rows,) where there is one output, or from integer labels, which become one-hot rows.
    Raises TypeError for another dtype; ValueError for another shape, a label outside the classes, NaN or Inf.
    """
    array = numeric(argument, value)
    if array.ndim not in (1, 2) or array.shape[0] != rows:
        raise ValueError(f"{argument}: has shape {array.shape}; expected {rows} rows, as many as there are inputs")
    integer = array.dtype.kind in "iub"
    if LOSSES[loss].labels:
        return _labels(argument, array, outputs, loss), True
    if array.ndim == 1 and integer and outputs > 1:
        labels = _in_range(argument, array, outputs)
        return np.eye(outputs, dtype=F)[labels], True
    if array.ndim == 1 and outputs == 1:
        array = array[:, None]
    if array.shape != (rows, outputs):
        raise ValueError(f"{argument}: has shape {array.shape}; expected {(rows, outputs)}, one number for each output")
    check_finite(argument, array)
    if loss == "binary_cross_entropy" and (array.min() < 0 or array.max() > 1):
        worst = array.min() if array.min() < 0 else array.max()
        raise ValueError(f"{argument}: {worst} is out of range; expected probabilities from 0 to 1 for {loss}")
    with np.errstate(over="ignore"):
        converted: np.ndarray = np.ascontiguousarray(array, dtype=F)
    check_finite(f"{argument} as {np.dtype(F)}", converted)
    classes = (outputs == 1 and integer and bool(np.isin(array, (0, 1)).all())) or (outputs > 1 and _one_hot(array))
    return converted, classes or (loss == "binary_cross_entropy" and outputs == 1)


def step_targets(
    argument: str, value: Any, rows: int, steps: int, outputs: int, loss: str, F: type
) -> tuple[np.ndarray, bool]:
    """The same for targets of every time step: (rows, steps) int64, or (rows, steps, outputs)."""
    array = numeric(argument, value)
    labels = LOSSES[loss].labels or outputs == 1 or array.dtype.kind != "f"  # whether one number a step will do
    if array.shape != (rows, steps, outputs) and not (labels and array.shape == (rows, steps)):
        wanted = f"({rows}, {steps}) or ({rows}, {steps}, {outputs})" if labels else f"({rows}, {steps}, {outputs})"
        raise ValueError(
            f"{argument}: has shape {array.shape}; expected {wanted}, a target for each time step of each sequence"
        )
    check_finite(argument, array)
    if array.ndim == 2 and outputs > 1 and array.dtype.kind in "iub":
        _in_range(argument, array, outputs)  # here, where a label's place is that of the caller's
    flat, classes = targets(argument, array.reshape(rows * steps, *array.shape[2:]), rows * steps, outputs, loss, F)
    return flat.reshape(rows, steps, *flat.shape[1:]), classes


def _labels(argument: str, array: np.ndarray, outputs: int, loss: str) -> np.ndarray:
    if outputs < 2:
        raise ValueError(f"loss: {loss!r} with {outputs} output; expected a network of 2 outputs or more, one a class")
    if array.ndim == 2:
        wanted = f"integer labels (n,) or one-hot rows (n, {outputs})"
        if array.shape[1] != outputs:
            raise ValueError(f"{argument}: has shape {array.shape}; expected {wanted}")
        check_finite(argument, array)
        bad = np.flatnonzero(~(np.isin(array, (0, 1)).all(1) & (array.sum(1) == 1)))
        if bad.size:
            raise ValueError(f"{argument}: row {bad[0]} is {shown(array[bad[0]].tolist())}; expected {wanted}")
        return np.ascontiguousarray(array.argmax(1), np.int64)
    if array.dtype.kind == "f":
        raise TypeError(f"{argument}: has dtype {array.dtype}; expected integer labels or one-hot rows for {loss}")
    return _in_range(argument, array, outputs)


def _one_hot(array: np.ndarray) -> bool:
    return bool((np.isin(array, (0, 1)).all()) and (array.sum(1) == 1).all())


def _in_range(argument: str, labels: np.ndarray, outputs: int) -> np.ndarray:
    bad = np.argwhere((labels < 0) | (labels >= outputs))
    if bad.size:
        at = tuple(bad[0].tolist())
        where = at[0] if len(at) == 1 else at
        value = shown(labels[at].item())
        raise ValueError(f"{argument}: label {value} at index {where}; expected classes from 0 to {outputs - 1}")
    return np.ascontiguousarray(labels, np.int64)
