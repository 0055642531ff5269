"""Backpropagation through time, looked at: what reaches each time step of a recurrent layer."""

from __future__ import annotations

import numpy as np

from fastnn.cpu.phases import Work
from fastnn.cpu.recurrent import CELL, DZ, SIZES, STEPS, SUMS, TOP, Z_ROW


def deltas(work: Work, rows: int) -> list[np.ndarray]:
    """Deltas of the sums (rows, T, sums) of each recurrent layer, after a batch of `rows` went through; copies."""
    found = []
    for e in work.unrolled[TOP:].reshape(-1, SIZES):
        if e[CELL]:
            start, steps, row = (int(e[field]) for field in (DZ, STEPS, Z_ROW))
            all_steps = work.buffer[start : start + steps * rows * row].reshape(steps, rows, row)
            found.append(all_steps[:, :, : int(e[SUMS])].transpose(1, 0, 2).copy())
    return found
