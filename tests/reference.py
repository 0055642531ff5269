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


# ---- networks that go through time: lists of (n, units), a step each, and gradients that are sums over them ----------


@dataclass(frozen=True)
class Loop:
    """A recurrent layer: gates side by side in PyTorch's order, `own` the recurrent bias of a GRU."""

    cell: str
    weight: Array
    recurrent: Array
    bias: Array
    own: Array
    activation: str = "tanh"
    slope: float = 0.0
    sequences: bool = False
    truncate: int = 0


def copied_through_time(net: Any, dtype: type = np.float64) -> list[Layer | Loop]:
    """The layers of a fastnn network with recurrent ones, with parameters of their own."""
    result: list[Layer | Loop] = []
    for v in net.layers:
        if not v.activation:
            continue
        parts = {name: part.astype(dtype) for name, part in v.parts.items()}
        if "recurrent_weight" not in parts:
            result.append(Layer(parts["weight"], parts["bias"], v.activation, v.layer.constant))
            continue
        own = parts.get("recurrent_bias", np.zeros_like(parts["bias"]))
        given = v.layer.return_sequences, v.layer.truncate or 0
        arrays = parts["weight"], parts["recurrent_weight"], parts["bias"], own
        result.append(Loop(v.layer.cell, *arrays, v.activation, v.layer.constant, *given))
    return result


def _step(layer: Loop, x: Array, h: Array, c: Array) -> tuple[Array, Array, Array]:
    """(z of all gates and what the gates are, h, c) after one time step."""
    U = h.shape[1]
    z, s = x @ layer.weight + layer.bias, h @ layer.recurrent + layer.own
    if layer.cell == "recurrent":
        return z + s, ACTIVATIONS[layer.activation][0](z + s, layer.slope), c
    if layer.cell == "gru":
        r, u = sigmoid(z[:, :U] + s[:, :U]), sigmoid(z[:, U : 2 * U] + s[:, U : 2 * U])
        n = np.tanh(z[:, 2 * U :] + r * s[:, 2 * U :])
        return np.hstack([r, u, n, s[:, 2 * U :]]), (1 - u) * n + u * h, c
    i, f, g, o = np.split(z + s, 4, 1)
    i, f, g, o = sigmoid(i), sigmoid(f), np.tanh(g), sigmoid(o)
    c = f * c + i * g
    return np.hstack([i, f, g, o]), o * np.tanh(c), c


def _step_back(layer: Loop, kept: Array, before: Array, last: Array, c: Array, dh: Array, dc: Array) -> Any:
    """(d loss / d sums of inputs, / d sums of the recurrent product, / d h before without it, / d c before)."""
    none = np.zeros_like(dh)
    if layer.cell == "recurrent":
        dz = dh * ACTIVATIONS[layer.activation][1](kept, layer.slope)
        return dz, dz, none, none
    if layer.cell == "gru":
        r, u, n, s = np.split(kept, 4, 1)
        dn = dh * (1 - u) * (1 - n * n)
        dr, du = dn * s * r * (1 - r), dh * (before - n) * u * (1 - u)
        return np.hstack([dr, du, dn]), np.hstack([dr, du, dn * r]), dh * u, none
    i, f, g, o = np.split(kept, 4, 1)
    dc = dc + dh * o * (1 - np.tanh(c) ** 2)
    dz = np.hstack([dc * g * i * (1 - i), dc * last * f * (1 - f), dc * i * (1 - g * g), dh * np.tanh(c) * o * (1 - o)])
    return dz, dz, none, dc * f


def through_time(layers: Sequence[Layer | Loop], x: Array) -> tuple[Array, list[Any]]:
    """Outputs (n, T, units) or (n, units) for x (n, T, features), and what backpropagation needs of each layer."""
    values, kept = list(x.transpose(1, 0, 2)), []
    for layer in layers:
        if isinstance(layer, Layer):
            zs = [v @ layer.weight + layer.bias for v in values]
            kept.append((values, zs))
            values = [ACTIVATIONS[layer.activation][0](z, layer.slope) for z in zs]
            continue
        h = c = np.zeros((len(x), len(layer.recurrent)), x.dtype)
        steps = []
        for v in values:
            before, last = h, c
            z, h, c = _step(layer, v, h, c)
            steps.append((z, before, last, c, h))
        kept.append((values, steps))
        values = [step[-1] for step in steps] if layer.sequences else [h]
    every = all(layer.sequences for layer in layers if isinstance(layer, Loop))
    return (np.stack(values, 1) if every else values[0]), kept


def gradient_through_time(layers: Sequence[Layer | Loop], x: Array, y: Array, name: str) -> tuple[float, Array]:
    """Mean loss over sequences (and time steps), and its gradient in the order of the parameters."""
    out, kept = through_time(layers, x)
    wide = out.reshape(-1, out.shape[-1])
    rows, delta = LOSSES[name](wide, y.reshape(len(wide), *y.shape[out.ndim - 1 :]))
    deltas = [delta.reshape(out.shape)] if out.ndim == 2 else list(delta.reshape(out.shape).transpose(1, 0, 2))
    deltas = [d / len(wide) for d in deltas]
    parts: list[Array] = []
    for layer, (values, steps) in zip(reversed(layers), reversed(kept), strict=True):
        dz: list[Array] = []
        if isinstance(layer, Layer):
            slope = ACTIVATIONS[layer.activation][1]
            dz = [d * slope(z, layer.slope) for d, z in zip(deltas, steps, strict=True)]
            parts[:0] = [sum(v.T @ d for v, d in zip(values, dz, strict=True)).ravel(), sum(d.sum(0) for d in dz)]
        else:
            ds: list[Array] = []
            T, dh, dc = len(values), np.zeros_like(deltas[-1]), np.zeros_like(deltas[-1])
            for t in range(T - 1, -1, -1):
                if layer.sequences or t == T - 1:
                    dh = dh + deltas[t if layer.sequences else 0]
                z, before, last, c, _ = steps[t]
                one, two, leak, dc = _step_back(layer, z, before, last, c, dh, dc)
                dz.insert(0, one)
                ds.insert(0, two)
                dh = leak + two @ layer.recurrent.T
                if layer.truncate and (T - t) % layer.truncate == 0:
                    dh, dc = np.zeros_like(dh), np.zeros_like(dc)
            found = [
                sum(v.T @ d for v, d in zip(values, dz, strict=True)).ravel(),
                sum(step[1].T @ d for step, d in zip(steps, ds, strict=True)).ravel(),
                sum(d.sum(0) for d in dz),
            ]
            parts[:0] = [*found, sum(d.sum(0) for d in ds)] if layer.cell == "gru" else found
        deltas = [d @ layer.weight.T for d in dz]
    return float(rows.mean()), np.concatenate(parts)


# ---- optimizers, as torch.optim documents them -----------------------------------------------------------------------


def clipped(g: Array, clip: float) -> Array:
    """torch.nn.utils.clip_grad_norm_."""
    return g * min(1.0, clip / (np.linalg.norm(g) + 1e-6)) if clip else g


@dataclass
class SGD:
    lr: float
    momentum: float = 0.0
    nesterov: bool = False
    weight_decay: float = 0.0
    clip: float = 0.0
    memory: Array | None = None

    def step(self, w: Array, g: Array) -> Array:
        g = clipped(g, self.clip)
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
    clip: float = 0.0
    m: Any = 0.0
    v: Any = 0.0
    t: int = 0

    def step(self, w: Array, g: Array) -> Array:
        self.t += 1
        g = clipped(g, self.clip)
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
