"""The cells of recurrent layers: one entry each, with PyTorch's formulas and order of gates.

A cell of U units has `gates` blocks of U sums a step: z = x W + b of its inputs, to which the product of its outputs of
the step before with a matrix of its own is added (or, with `apart`, kept beside it, with a bias of its own). `make(F)`
gives what is done to the sums of one row: forward, in place, and backward. PyTorch adds a second bias to every sum;
where it would only be added to the first, there is one here, the sum of both.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from fastnn import elementary
from fastnn.compiler import inner

Pair = tuple[Callable[..., None], Callable[..., None]]


@dataclass(frozen=True)
class Cell:
    """`make(F)` returns (forward, backward) over one row, for F = np.float32 or np.float64; they write in place.

    forward(z, s, before, h, c, last, U, first): z are the sums, which become the gates' values; s, with `apart`, the
    sums of the recurrent product; h the outputs, to be written, and `before` those of the step before; with `memory`, c
    the memory, to be written, and `last` that of the step before. `first`: there is no step before.

    backward(z, s, before, c, last, dh, dc, dz, ds, U, first): dh is the loss's derivative by h; dz and, with `apart`,
    ds are to be written: those by the sums z and s. dc, with `memory`, is what comes from the step behind, and becomes
    what goes to the step before. With `leak`, dh becomes what goes to the outputs before besides the product.
    """

    name: str
    gates: int
    formula: str
    source: str
    make: Callable[[type], Pair] | None  # None: one gate, the layer's activation
    apart: bool = False
    memory: bool = False
    leak: bool = False


@dataclass(frozen=True)
class Loop:
    """How a layer goes through time."""

    cell: str  # a name of CELLS
    sequences: bool  # whether all steps' outputs go on, or the last step's only
    truncate: int = 0  # steps through which gradients flow back, counted from the last; 0: all


def _lstm(F: type) -> Pair:
    sigmoid, tanh, one, zero = elementary.sigmoid(F), elementary.tanh(F), F(1), F(0)

    # Each loop has few arrays: LLVM makes vectors of a loop only where it can check that they do not overlap.
    @inner
    def forward(z, s, before, h, c, last, U, first):
        for i in range(2 * U):
            z[i] = sigmoid(z[i])
        for i in range(2 * U, 3 * U):
            z[i] = tanh(z[i])
        for i in range(3 * U, 4 * U):
            z[i] = sigmoid(z[i])
        if first:
            for i in range(U):
                c[i] = z[i] * z[2 * U + i]
        else:
            for i in range(U):
                c[i] = z[U + i] * last[i] + z[i] * z[2 * U + i]
        for i in range(U):
            h[i] = z[3 * U + i] * tanh(c[i])

    @inner
    def backward(z, s, before, c, last, dh, dc, dz, ds, U, first):
        for i in range(U):
            t, o = tanh(c[i]), z[3 * U + i]
            dz[3 * U + i] = dh[i] * t * o * (one - o)
            dc[i] += dh[i] * o * (one - t * t)
        for i in range(U):
            dz[i] = dc[i] * z[2 * U + i] * z[i] * (one - z[i])
        for i in range(U):
            dz[2 * U + i] = dc[i] * z[i] * (one - z[2 * U + i] * z[2 * U + i])
        if first:
            for i in range(U):
                dz[U + i] = zero
        else:
            for i in range(U):
                dz[U + i] = dc[i] * last[i] * z[U + i] * (one - z[U + i])
        for i in range(U):
            dc[i] = dc[i] * z[U + i]

    return forward, backward


def _gru(F: type) -> Pair:
    sigmoid, tanh, one, zero = elementary.sigmoid(F), elementary.tanh(F), F(1), F(0)

    @inner
    def forward(z, s, before, h, c, last, U, first):
        for i in range(2 * U):
            z[i] = sigmoid(z[i] + s[i])
        for i in range(U):
            z[2 * U + i] = tanh(z[2 * U + i] + z[i] * s[2 * U + i])
        if first:
            for i in range(U):
                h[i] = z[2 * U + i] - z[U + i] * z[2 * U + i]
        else:
            for i in range(U):
                h[i] = z[2 * U + i] + z[U + i] * (before[i] - z[2 * U + i])

    @inner
    def backward(z, s, before, c, last, dh, dc, dz, ds, U, first):
        for i in range(U):
            n, u = z[2 * U + i], z[U + i]
            dz[2 * U + i] = dh[i] * (one - u) * (one - n * n)
        for i in range(U):
            ds[2 * U + i] = dz[2 * U + i] * z[i]
        for i in range(U):
            dz[i] = dz[2 * U + i] * s[2 * U + i] * z[i] * (one - z[i])
        for i in range(U):
            h = zero if first else before[i]
            dz[U + i] = dh[i] * (h - z[2 * U + i]) * z[U + i] * (one - z[U + i])
        for i in range(2 * U):
            ds[i] = dz[i]
        for i in range(U):
            dh[i] = dh[i] * z[U + i]

    return forward, backward


_ELMAN = "Elman 1990; lecture: vanilla RNN"
_ENTRIES = (
    Cell("recurrent", 1, "h = f(x W + h' W_h + b)", _ELMAN, None),
    Cell(
        "gru", 3, "r, u = sigmoid(z + s); n = tanh(z + r s); h = (1 - u) n + u h'; s = h' W_h + b_h",
        "Cho et al. 2014, with the reset behind the product, as cuDNN and PyTorch have it", _gru, apart=True, leak=True,
    ),
    Cell(
        "lstm", 4, "i, f, o = sigmoid(z); g = tanh(z); c = f c' + i g; h = o tanh(c); z = x W + h' W_h + b",
        "Hochreiter and Schmidhuber 1997; forget gate: Gers, Schmidhuber and Cummins 2000", _lstm, memory=True,
    ),
)  # fmt: skip

CELLS: dict[str, Cell] = {entry.name: entry for entry in _ENTRIES}
