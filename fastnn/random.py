"""Counter-based random numbers: a draw is a function of what it is for, never of who drew before.

Philox-4x32-10 (Salmon, Moraes, Dror and Shaw, "Parallel random numbers: as easy as 1, 2, 3", SC 2011) for compiled
code; NumPy's own Philox for what runs once on the host. So results do not depend on threads, chunks or pauses.
"""

from __future__ import annotations

import numpy as np

from fastnn.compiler import inner

# What a draw is for: the last word of the counter, so that no two uses share a stream.
SHUFFLE, DROPOUT = 1, 2

_M0, _M1 = np.uint64(0xD2511F53), np.uint64(0xCD9E8D57)
_W0, _W1 = np.uint64(0x9E3779B9), np.uint64(0xBB67AE85)
_LOW, _32 = np.uint64(0xFFFFFFFF), np.uint64(32)


# NumPy's Philox is keyed by (seed, stream): 0 and 1 are the data sets', the weights of layer l have WEIGHTS + l,
# masks MASKS.
WEIGHTS = 1 << 32
MASKS = 1 << 48


def host_generator(seed: int, stream: int) -> np.random.Generator:
    """NumPy's Philox for `stream` of `seed`."""
    return np.random.Generator(np.random.Philox(key=[seed, stream]))


@inner
def philox(k0, k1, c0, c1, c2, c3):
    """Four uniform 32-bit numbers for a key of two and a counter of four, all of them carried as uint64."""
    k0, k1 = np.uint64(k0) & _LOW, np.uint64(k1) & _LOW
    c0, c1, c2, c3 = np.uint64(c0) & _LOW, np.uint64(c1) & _LOW, np.uint64(c2) & _LOW, np.uint64(c3) & _LOW
    for _ in range(10):
        p0, p1 = c0 * _M0, c2 * _M1
        c0, c1, c2, c3 = (p1 >> _32) ^ c1 ^ k0, p1 & _LOW, (p0 >> _32) ^ c3 ^ k1, p0 & _LOW
        k0, k1 = (k0 + _W0) & _LOW, (k1 + _W1) & _LOW
    return c0, c1, c2, c3


@inner
def dropout_draws(seed, step, layer, row, column):
    """What decides whether `column` (a multiple of 4) and the next three of a row are dropped: below the rate, as a
    share of 2**32, they are. Forward and backward pass draw the same."""
    return philox(seed, seed >> 32, column, row, step, DROPOUT | (layer << 8))


@inner
def shuffle(order, seed, epoch):
    """Fill `order` (n,) with (seed, epoch)'s permutation of range(n): Fisher and Yates, from the end."""
    n = order.size
    for i in range(n):
        order[i] = i
    draws = philox(seed, seed >> 32, 0, epoch, epoch >> 32, SHUFFLE)
    for i in range(n - 1, 0, -1):
        lane = i & 3
        if lane == 3 or i == n - 1:
            draws = philox(seed, seed >> 32, i >> 2, epoch, epoch >> 32, SHUFFLE)
        # The high word of a product instead of a remainder: no division, and a bias below (i + 1) / 2**32.
        j = np.int64((draws[lane] * np.uint64(i + 1)) >> _32)
        kept = order[i]
        order[i] = order[j]
        order[j] = kept
