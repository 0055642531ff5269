"""What the layers within a network put out."""

from __future__ import annotations

from typing import Any

import numpy as np

from fastnn import samples
from fastnn.cpu.predictor import Predictor
from fastnn.errors import check_int
from fastnn.network import Network


def outputs_of(network: Network, layer: int, x: Any) -> np.ndarray:
    """Outputs (n, units) of a Dense layer (0 is the first) for x (n, fan_in): after its activation, without dropout.

    Raises TypeError or ValueError for a layer that there is not, another shape or dtype, NaN or Inf, and for a network
    with recurrent layers.
    """
    if network.architecture.loops:
        raise ValueError(f"network: {network!r} has recurrent layers; expected Dense ones alone")
    count = check_int("layer", layer, 0, len(network.sizes) - 2) + 1
    whole = network.architecture
    # A network that ends at the layer: its parameters are the first of the whole one's.
    part = whole._replace(
        sizes=whole.sizes[: count + 1],
        activations=whole.activations[:count],
        slopes=whole.slopes[:count],
        dropout=whole.dropout[: count + 1],
        masks=whole.masks[:count],
    )
    inputs = samples.inputs("x", x, whole.sizes[0], whole.F)
    out = np.empty((len(inputs), part.sizes[-1]), network.dtype)
    Predictor(part, network.storage).rows(inputs, out)
    return out
