"""What fastnn computes, written once more from the formulas: plain NumPy, nothing fused, nothing of fastnn's.

A network here is a list of layers (weight (fan_in, fan_out), bias (fan_out,), activation's name, slope). The arithmetic
has the type of the arrays it is given: float64 is the yardstick. B rows of a batch, z a layer's sums, y = f(z).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

Array = np.ndarray


# ---- activations: f(z) and f'(z), both from z (fastnn has the derivative from y) -------------------------------------


def sigmoid(z: Array) -> Array:
    with np.errstate(over="ignore"):
        return 1 / (1 + np.exp(-z))


ACTIVATIONS: dict[str, tuple[Callable[[Array, float], Array], Callable[[Array, float], Array]]] = {
    "identity": (lambda z, slope: z, lambda z, slope: np.ones_like(z)),
    "sigmoid": (lambda z, slope: sigmoid(z), lambda z, slope: sigmoid(z) * sigmoid(-z)),
    "tanh": (lambda z, slope: np.tanh(z), lambda z, slope: 1 - np.tanh(z) ** 2),
    "relu": (lambda z, slope: np.maximum(z, 0), lambda z, slope: (z > 0).astype(z.dtype)),
    "leaky_relu": (lambda z, slope: np.where(z > 0, z, slope * z), lambda z, slope: np.where(z > 0, 1.0, slope)),
}


# ---- losses: (loss of each row, d loss / d z of each row), PyTorch's definitions -------------------------------------


def cross_entropy(z: Array, labels: Array) -> tuple[Array, Array]:
    rows = np.arange(len(z))
    shifted = z - z.max(1, keepdims=True)
    log_softmax = shifted - np.log(np.exp(shifted).sum(1, keepdims=True))
    onehot = np.zeros_like(z)
    onehot[rows, labels] = 1
    return -log_softmax[rows, labels], np.exp(log_softmax) - onehot


def binary_cross_entropy(z: Array, t: Array) -> tuple[Array, Array]:
    # -t ln(sigmoid(z)) - (1 - t) ln(1 - sigmoid(z)), with ln(sigmoid(z)) = -ln(1 + e^-z)
    each = t * np.logaddexp(0, -z) + (1 - t) * np.logaddexp(0, z)
    return each.mean(1), (sigmoid(z) - t) / z.shape[1]


def mse(z: Array, t: Array) -> tuple[Array, Array]:
    return ((z - t) ** 2).mean(1), 2 * (z - t) / z.shape[1]


LOSSES: dict[str, Callable[[Array, Array], tuple[Array, Array]]] = {
    "cross_entropy": cross_entropy,
    "binary_cross_entropy": binary_cross_entropy,
    "mse": mse,
}


# ---- a network -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Layer:
    weight: Array
    bias: Array
    activation: str
    slope: float = 0.0


def copied(net: Any, dtype: type = np.float64) -> list[Layer]:
    """The Dense layers of a fastnn network, dropout left out, with parameters of their own."""
    dense = [view for view in net.layers if view.activation]
    return [Layer(v.weight.astype(dtype), v.bias.astype(dtype), v.activation, v.layer.constant) for v in dense]


def flat(layers: Sequence[Layer]) -> Array:
    """Weight and bias of each layer in turn."""
    return np.concatenate([part.ravel() for layer in layers for part in (layer.weight, layer.bias)])


def filled(layers: Sequence[Layer], parameters: Array) -> list[Layer]:
    """The layers with the numbers of `parameters`, which are laid out as `flat` does."""
    result, at = [], 0
    for layer in layers:
        w, b = layer.weight.size, layer.bias.size
        weight = parameters[at : at + w].reshape(layer.weight.shape)
        result.append(replace(layer, weight=weight, bias=parameters[at + w : at + w + b]))
        at += w + b
    return result


def sums(layers: Sequence[Layer], x: Array, masks: Sequence[Array | None] = ()) -> tuple[list[Array], list[Array]]:
    """What each layer reads, and its z. masks[l], if any, is multiplied to what layer l reads."""
    inputs, zs = [], []
    for number, layer in enumerate(layers):
        if number < len(masks) and masks[number] is not None:
            x = x * masks[number]
        inputs.append(x)
        zs.append(x @ layer.weight + layer.bias)
        x = ACTIVATIONS[layer.activation][0](zs[-1], layer.slope)
    return inputs, zs


def forward(layers: Sequence[Layer], x: Array) -> Array:
    last = layers[-1]
    return ACTIVATIONS[last.activation][0](sums(layers, x)[1][-1], last.slope)


def loss(layers: Sequence[Layer], x: Array, y: Array, name: str) -> float:
    return float(LOSSES[name](forward(layers, x), y)[0].mean())


def gradient(
    layers: Sequence[Layer], x: Array, y: Array, name: str, masks: Sequence[Array | None] = ()
) -> tuple[float, Array]:
    """Mean loss over the batch, and its gradient as `flat` lays parameters out."""
    inputs, zs = sums(layers, x, masks)
    value, slope_of = ACTIVATIONS[layers[-1].activation]
    rows, delta = LOSSES[name](value(zs[-1], layers[-1].slope), y)
    delta = delta / len(x) * slope_of(zs[-1], layers[-1].slope)
    parts: list[Array] = []
    for number in range(len(layers) - 1, -1, -1):
        parts[:0] = [(inputs[number].T @ delta).ravel(), delta.sum(0)]
        if number:
            below = layers[number - 1]
            delta = delta @ layers[number].weight.T
            if number < len(masks) and masks[number] is not None:
                delta = delta * masks[number]
            delta = delta * ACTIVATIONS[below.activation][1](zs[number - 1], below.slope)
    return float(rows.mean()), np.concatenate(parts)


# ---- optimizers, as torch.optim documents them -----------------------------------------------------------------------


@dataclass
class SGD:
    lr: float
    momentum: float = 0.0
    nesterov: bool = False
    weight_decay: float = 0.0
    memory: Array | None = None

    def step(self, w: Array, g: Array) -> Array:
        if self.weight_decay:
            g = g + self.weight_decay * w
        if self.momentum:
            self.memory = g.copy() if self.memory is None else self.momentum * self.memory + g
            g = g + self.momentum * self.memory if self.nesterov else self.memory
        return w - self.lr * g


@dataclass
class Adam:
    lr: float = 1e-3
    beta1: float = 0.9
    beta2: float = 0.999
    eps: float = 1e-8
    m: Any = 0.0
    v: Any = 0.0
    t: int = 0

    def step(self, w: Array, g: Array) -> Array:
        self.t += 1
        self.m = self.beta1 * self.m + (1 - self.beta1) * g
        self.v = self.beta2 * self.v + (1 - self.beta2) * g**2
        m_hat = self.m / (1 - self.beta1**self.t)
        v_hat = self.v / (1 - self.beta2**self.t)
        return w - self.lr * m_hat / (np.sqrt(v_hat) + self.eps)


OPTIMIZERS: dict[str, type] = {"sgd": SGD, "adam": Adam}


def batches(order: Array, size: int) -> Iterator[Array]:
    """Runs of `size` samples; the last is smaller when they do not divide."""
    for start in range(0, len(order), size):
        yield order[start : start + size]


def train(
    layers: Sequence[Layer], x: Array, y: Array, name: str, optimizer: Any, orders: Sequence[Array], size: int
) -> tuple[list[Layer], list[float]]:
    """Layers after an epoch for each of `orders`, and each epoch's mean of the losses that its updates started from."""
    parameters, history = flat(layers), []
    for order in orders:
        total = 0.0
        for batch in batches(order, size):
            value, g = gradient(filled(layers, parameters), x[batch], y[batch], name)
            parameters = optimizer.step(parameters, g)
            total += value * len(batch)
        history.append(total / len(order))
    return filled(layers, parameters), history
