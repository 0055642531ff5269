"""The vanishing gradient: what reaches each layer while a deep network learns, and the product that it comes from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from fastnn.experiments import kernels
from fastnn.experiments.entry import Parameter, Question, register
from fastnn.experiments.parts import Checks, Curve, Curves, Part, Table

COMPARED = ("sigmoid", "tanh", "relu", "leaky_relu")
ROWS = 256  # of the training part that gradients are computed for


@dataclass(frozen=True, eq=False)
class Vanishing:
    """Gradients of a network with `layers` layers of weights.

    `norms` (epochs + 1, layers) are |dE/dW_l| / sqrt(number of weights), the root mean square, before training and
    after each epoch; `loss` (epochs + 1,) is E. The rest is of the network before training, (layers,) from the first
    layer on: `slope` is the factor by which f' changes the length of the gradient on its way back through a layer,
    `weight` the one by which the layer's weights do, and `delta` the length of dE/da of that layer, which is the last
    layer's times all the factors between. `ratios` compares activations: first layer's norm over the last one's.
    """

    activation: str
    init: str
    norms: np.ndarray
    loss: np.ndarray
    slope: np.ndarray
    weight: np.ndarray
    delta: np.ndarray
    compared: tuple[str, ...]
    ratios: np.ndarray


def layer_norms(network: Any, gradient: np.ndarray) -> np.ndarray:
    """Root mean square of a flat gradient's weights, (layers,)."""
    from fastnn import Network

    shaped = Network.from_config(network.config(), gradient)
    return np.array([float(np.sqrt(np.mean(np.square(view.weight, dtype=np.float64)))) for view in shaped.layers])


def terms(network: Any, x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(slope, weight, delta) as in `Vanishing`, for the mean cross entropy over x (n, inputs) and classes y (n,)."""
    outputs, layers = [x.astype(np.float64)], network.layers
    weights = [view.weight.astype(np.float64) for view in layers]
    for view, w in zip(layers, weights, strict=True):
        outputs.append(kernels.value(view.activation, outputs[-1] @ w + view.bias))
    shifted = np.exp(outputs[-1] - outputs[-1].max(1, keepdims=True))
    error = (shifted / shifted.sum(1, keepdims=True) - np.eye(shifted.shape[1])[y]) / len(x)
    count = len(layers)
    slope, weight, delta = (np.ones(count) for _ in range(3))
    delta[-1] = np.linalg.norm(error)
    for k in range(count - 2, -1, -1):
        before = error @ weights[k + 1].T
        error = before * kernels.derivative(layers[k].activation, outputs[k + 1])
        weight[k] = np.linalg.norm(before) / max(delta[k + 1], np.finfo(float).tiny)
        delta[k] = np.linalg.norm(error)
        slope[k] = delta[k] / max(float(np.linalg.norm(before)), np.finfo(float).tiny)
    return slope, weight, delta


def _report(result: Vanishing) -> tuple[Part, ...]:
    layers = result.norms.shape[1]
    epochs = np.arange(len(result.norms), dtype=np.float64)
    curves = tuple(
        Curve(f"W{k + 1}", epochs, np.where(result.norms[:, k] > 0, result.norms[:, k], np.nan)) for k in range(layers)
    )
    rows = tuple(
        (f"{k + 1}", f"{result.weight[k]:.3g}" if k < layers - 1 else "–", f"{result.slope[k]:.3g}" if k < layers - 1
         else "–", f"{result.delta[k]:.2e}", f"{result.norms[0, k]:.2e}", f"{result.norms[-1, k]:.2e}")
        for k in range(layers - 1, -1, -1)
    )  # fmt: skip
    chosen = result.compared.index(result.activation)
    compared = tuple((name, f"{ratio:.2e}") for name, ratio in zip(result.compared, result.ratios, strict=True))
    product = result.delta[-1] * np.prod(result.slope[:-1] * result.weight[:-1])
    checks = (
        ("|∂E/∂a₁| is the product of all the terms", bool(np.isclose(product, result.delta[0], rtol=1e-9))),
        ("sigmoid: the first layer hears less than a hundredth", bool(result.ratios[0] < 0.01)),
        ("relu with He: the first layer hears as much as the last, within 10 ×", bool(0.1 < result.ratios[2] < 10)),
    )
    columns = ("layer", "× weights", "× f'", "|∂E/∂a|", "∂E/∂W before", "after")
    return (
        Curves(f"∂E/∂W of each layer, {result.activation}: root mean square", curves, "epochs", log_y=True),
        Table("From the output back to the input, before training", columns, rows),
        Table("First layer's ∂E/∂W over the last one's", ("", "ratio"), compared, chosen),
        Checks("Seen here", checks),
    )


@register(
    title="The vanishing gradient",
    slide="Neural networks: Activation function; weight initialization experiment",
    text="∂E/∂w₁ = ∂E/∂σ · ∂σ/∂a · ∂a/∂w₁: a product, and every layer on the way back multiplies it by its weights "
    "and by its f'. With the sigmoid f' is 0.25 at most, so six layers leave little of it, and the first layers learn "
    "next to nothing. The table takes the length of the gradient from layer to layer: × weights, × f', and the "
    "product so far.",
    report=_report,
    question=Question(
        "Six layers of sigmoids, Xavier's weights. What is left of the gradient at the first layer, beside the last?",
        ("about as much", "about a tenth", "less than a hundredth"),
        lambda result: 0 if result.ratios[0] > 0.3 else 1 if result.ratios[0] > 0.01 else 2,
        lambda result: f"{result.ratios[0]:.1g} of it: each f' alone takes away a factor of "
        f"{1 / result.slope[:-1].max():.1f} or more. See how relu and tanh fare, and other weights.",
    ),
    parameters=(
        Parameter("activation", "sigmoid", "of the hidden layers", choices=COMPARED),
        Parameter("layers", 6, "layers of weights", 2, 20),
        Parameter("width", 32, "nodes of a hidden layer", 2, 256, 2, factor=True),
        Parameter("init", "default", "initial weights; default: He for relu, else Xavier",
                  choices=("default", "xavier", "he", "normal", "small_normal")),
        Parameter("rate", 0.1, "learning rate", 1e-6, 100, 2, factor=True),
        Parameter("epochs", 15, "of training on the digits", 1, 200, 5),
        Parameter("seed", 0, "of the weights", 0, 2**31),
    ),
    train=lambda values, result: {
        "data": "digits", "layers": [values["width"]] * (values["layers"] - 1), "activation": values["activation"],
        "init": _init(values["activation"], values["init"]), "seed": values["seed"],
        "optimizer": {"name": "sgd", "lr": values["rate"]},
    },
    slow=True,
)  # fmt: skip
def vanishing(
    activation: str = "sigmoid",
    layers: int = 6,
    width: int = 32,
    init: str = "default",
    rate: float = 0.1,
    epochs: int = 15,
    seed: int = 0,
) -> Vanishing:
    """Gradients of each layer while a network learns the digits by SGD, and the product behind them."""
    import fastnn as fnn

    data = fnn.datasets.load("digits")
    x, y = data.x_train[:ROWS], data.y_train[:ROWS]

    def made(name: str) -> Any:
        sizes = [data.x_train.shape[1], *[width] * (layers - 1), len(data.classes)]
        return fnn.Network(sizes, activation=name, init=_init(name, init), seed=seed)

    network = made(activation)
    slope, weight, delta = terms(network, x, y)
    norms, loss = [layer_norms(network, network.gradient(x, y))], [network.loss(x, y)]
    for _ in range(epochs):
        try:
            network.fit(data.x_train, data.y_train, optimizer=fnn.SGD(rate))
        except fnn.DivergenceError:
            break
        norms.append(layer_norms(network, network.gradient(x, y)))
        loss.append(network.loss(x, y))
    ratios = []
    for name in COMPARED:
        other = made(name)
        found = layer_norms(other, other.gradient(x, y))
        ratios.append(found[0] / found[-1] if found[-1] > 0 else np.nan)
    return Vanishing(
        activation, _init(activation, init), np.array(norms), np.array(loss), slope, weight, delta, COMPARED,
        np.array(ratios),
    )  # fmt: skip


def _init(activation: str, init: str) -> str:
    if init != "default":
        return init
    return "he" if "relu" in activation else "xavier"
