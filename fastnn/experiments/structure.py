"""What a network is made of: layers, links and their weights w_ij^(l), and what one node computes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from fastnn.experiments import kernels
from fastnn.experiments.entry import Parameter, Question, register
from fastnn.experiments.parts import Checks, Curve, Curves, Diagram, Part, Table, Text

WIDEST = 1024
SIZES = "3 4 4 2"
EDGE = 8  # of the digits
ACTIVATIONS = ("identity", "sigmoid", "tanh", "relu", "leaky_relu")
_SUPERSCRIPT = str.maketrans("0123456789", "⁰¹²³⁴⁵⁶⁷⁸⁹")


@dataclass(frozen=True, eq=False)
class Structure:
    """A network of `sizes` (inputs, hidden ..., outputs), drawn with weights from a seed.

    `weights` has an array (fan_in + 1, fan_out) for each layer, whose row 0 is the bias: w_0j is the weight of an input
    x_0 = 1. `name` is the link that was asked for, w_ij^(l), and `weight` its value.
    """

    sizes: tuple[int, ...]
    layers: int
    hidden: int
    weights: tuple[np.ndarray, ...]
    parameters: int
    link: tuple[int, int, int]
    name: str
    weight: float


def link_name(layer: int, i: int, j: int) -> str:
    """w_ij^(l) as it is written in a terminal."""
    return f"w_{i},{j}{'⁽' + str(layer).translate(_SUPERSCRIPT) + '⁾'}"


def read_sizes(text: str) -> tuple[int, ...]:
    """Sizes of layers such as "3 4 2" or "3-4-2"; raises ValueError."""
    words = text.replace(",", " ").replace("-", " ").split()
    if len(words) < 2:
        raise ValueError(f"sizes: {text!r}; expected an input and an output, such as {SIZES!r}")
    for word in words:
        if not (word.isascii() and word.isdigit() and 1 <= int(word) <= WIDEST):
            raise ValueError(f"sizes: {word!r}; expected whole numbers from 1 to {WIDEST}")
    if len(words) > 12:
        raise ValueError(f"sizes: {len(words)} layers; expected 12 at most")
    return tuple(map(int, words))


def _report_network(result: Structure) -> tuple[Part, ...]:
    names = ["input", *(f"hidden {k}" for k in range(1, result.hidden + 1)), "output"]
    rows = [(names[0], "–", str(result.sizes[0]), "–", "–")]
    rows += [
        (name, str(k), str(size), f"{weights.shape[0] - 1} × {size} + {size}", f"{weights.size:,}")
        for k, (name, size, weights) in enumerate(zip(names[1:], result.sizes[1:], result.weights, strict=True), 1)
    ]
    layer, i, j = result.link
    source = "the input x_0 = 1 (a bias)" if i == 0 else f"node {i}"
    told = ((
        (result.name, "name"), (" = ", ""), (f"{result.weight:+.4f}", "value"),
        (f"  from {source} to node {j} at layer {layer}", "muted"),
    ),)  # fmt: skip
    title = f"A {result.layers}-layer network: {result.hidden} hidden and the output layer"
    return (
        Diagram(title, result.sizes, result.weights, (None,) * result.layers, result.link),
        Text("", told),
        Table("Layers", ("", "ℓ", "nodes", "weights + biases", "parameters"), tuple(rows), layer),
    )


@register(
    title="Layers, nodes, links",
    slide="Neural networks: Terminology in neural networks",
    text="A standard L-layer network has an input layer, L - 1 hidden layers and an output layer: the input layer is "
    "not counted, for nothing is computed there. w_ij at layer ℓ is the weight on the link from node i to node j. The "
    "bias of a node is a weight as well: w_0j, on a link from an input x_0 that is always 1. Links are shaded by "
    "their weight: blue below 0, orange above; dark and light without colors.",
    report=_report_network,
    question=Question(
        "3 inputs, two hidden layers of 4 nodes, 2 outputs. How many layers does this network have?",
        ("2", "3", "4"),
        lambda result: result.layers - 2,
        lambda result: (
            f"{result.hidden} hidden layers and the output layer: a {result.layers}-layer network. The "
            "inputs are not counted."
        ),
    ),
    parameters=(
        Parameter("layer", 1, "ℓ of the link to name", 1, 11),
        Parameter("i", 1, "the node it comes from; 0 is the bias", 0, WIDEST),
        Parameter("j", 1, "the node it goes to", 1, WIDEST),
        Parameter("sizes", SIZES, "nodes of each layer, inputs first"),
        Parameter("seed", 0, "of the random weights", 0, 2**31),
    ),
    train=lambda values, result: {
        "data": "moons",
        "layers": list(read_sizes(values["sizes"])[1:-1]),
        "activation": "tanh",
        "init": "xavier",
    },
)
def network(layer: int = 1, i: int = 1, j: int = 1, sizes: str = SIZES, seed: int = 0) -> Structure:
    """The network of `sizes`, and its weight from node i to node j at a layer (all counted from 1, i = 0: the bias);
    a number beyond the network's own is taken for its last."""
    from fastnn.initializers import INITIALIZERS

    read = read_sizes(sizes)
    xavier = INITIALIZERS["xavier"]
    # A bias is drawn here like a weight, so that there is something to see; training begins with 0.
    weights = tuple(xavier.draw(read[k] + 1, read[k + 1], seed, k) for k in range(len(read) - 1))
    layer = min(layer, len(weights))
    i, j = min(i, read[layer - 1]), min(j, read[layer])
    return Structure(
        read, len(weights), len(weights) - 1, weights, sum(one.size for one in weights), (layer, i, j),
        link_name(layer, i, j), float(weights[layer - 1][i, j - 1]),
    )  # fmt: skip


@dataclass(frozen=True, eq=False)
class Partial:
    """A network whose hidden layer is partially connected: its `mask` (inputs, nodes) is 1 where there is a link.

    `weights` has an array (fan_in + 1, fan_out) for each layer, row 0 the bias; `connections` of `possible` links
    exist. `accuracy` is what 64-64-10 reaches on the digits with a mask of this kind and density, `full` without one;
    `zeros` the largest weight found where the mask is 0, after training.
    """

    kind: str
    mask: np.ndarray
    weights: tuple[np.ndarray, ...]
    connections: int
    possible: int
    links: int
    full_links: int
    accuracy: float
    full: float
    zeros: float


def _report_partial(result: Partial) -> tuple[Part, ...]:
    inputs, nodes = result.mask.shape
    sizes = (inputs, nodes, result.weights[1].shape[1])
    link = next(iter(np.argwhere(result.mask)), (0, 0))
    rows = (
        ("fully connected", f"{result.full_links:,}", f"{100 * result.full:.1f}%"),
        (f"partially, {result.kind}", f"{result.links:,}", f"{100 * result.accuracy:.1f}%"),
    )
    checks = (
        ("weights without a link stay exactly 0 in training", result.zeros == 0),
        ("fewer links, and less than 10 % of the accuracy lost", result.full - result.accuracy < 0.1),
    )
    title = f"{result.connections} of {result.possible} links in the first layer"
    return (
        Diagram(title, sizes, result.weights, (result.mask, None), (1, int(link[0]) + 1, int(link[1]) + 1)),
        Table("64-64-10 on the digits", ("first layer", "links in all", "accuracy"), rows, 1),
        Checks("Seen here", checks),
    )


@register(
    title="Fully and partially connected",
    slide="Neural networks: Model - Bias and weight",
    text="In a fully connected layer every node is linked to all inputs. In a partially connected one some links do "
    "not exist: a mask of 0 and 1 says which. Their weights are 0 and stay 0: they get no gradient and no update. A "
    "node that sees a window of neighboring inputs looks at a part of a picture; random masks just save links. The "
    "table trains a network for the digits with and without a mask of this kind and density.",
    report=_report_partial,
    question=Question(
        "A quarter of the first layer's links are kept, at random. How well are the digits still recognized?",
        ("hardly: near 10 %", "about half of them", "nearly as well"),
        lambda result: 0 if result.accuracy < 0.3 else 1 if result.accuracy < 0.75 else 2,
        lambda result: (
            f"{100 * result.accuracy:.1f} %, beside {100 * result.full:.1f} % with all links: each node "
            "still sees a part of the picture, and together they see all."
        ),
    ),
    parameters=(
        Parameter("kind", "random", "which links exist", choices=("random", "window")),
        Parameter("density", 0.25, "share of the links that exist", 0.02, 1, 1.25, factor=True),
        Parameter("inputs", 6, "of the network that is drawn", 2, 12),
        Parameter("nodes", 6, "of its hidden layer", 1, 12),
        Parameter("seed", 0, "of mask and weights", 0, 2**31),
    ),
    train=lambda values, result: {
        "data": "digits",
        "layers": [64],
        "activation": "relu",
        "masks": [_mask(values["kind"], values["density"])],
    },
    slow=True,
)
def partial(kind: str = "random", density: float = 0.25, inputs: int = 6, nodes: int = 6, seed: int = 0) -> Partial:
    """A network with a masked first layer, drawn small, and trained on the digits beside one without a mask."""
    import fastnn as fnn
    from fastnn.initializers import INITIALIZERS

    def masked(many: int, units: int, edge: int = 0) -> np.ndarray:
        if kind == "random":
            return fnn.masks.random(many, units, density, seed)
        if edge:  # of a picture
            return fnn.masks.window((edge, edge), (edge, edge), (_wide(density, edge),) * 2)
        return fnn.masks.window(many, units, max(1, round(density * many)))

    data = fnn.datasets.load("digits")
    size, classes = data.x_train.shape[1], len(data.classes)
    accuracy, links, zeros = [], [], 0.0
    for mask in (None, masked(size, size, EDGE)):
        stack: list[Any] = [fnn.Input(size), fnn.Dense(size, "relu", mask=mask), fnn.Dense(classes)]
        net = fnn.Network(stack, seed=seed)
        net.fit(data.x_train, data.y_train, optimizer=fnn.Adam(0.003), epochs=12)
        accuracy.append(net.evaluate(data.x_test, data.y_test)["accuracy"])
        first = size * size if mask is None else int(mask.sum())
        links.append(first + size * classes)
        if mask is not None:
            zeros = float(np.abs(net.layers[0].weight[mask == 0]).max(initial=0.0))
    mask, xavier = masked(inputs, nodes), INITIALIZERS["xavier"]
    weights = [xavier.draw(inputs + 1, nodes, seed, 0), xavier.draw(nodes + 1, 2, seed, 1)]
    weights[0][1:] = np.where(mask, weights[0][1:], 0.0)
    return Partial(
        kind, mask, tuple(weights), int(mask.sum()), mask.size, links[1], links[0], accuracy[1], accuracy[0], zeros
    )


def _wide(density: float, edge: int) -> int:
    """How wide a window is that shows such a share of a picture with this edge."""
    return max(1, round(edge * density**0.5))


def _mask(kind: str, density: float) -> dict[str, Any]:
    """The same mask in a run file."""
    if kind == "random":
        return {"kind": kind, "density": density}
    return {"kind": kind, "size": [_wide(density, EDGE)] * 2, "units": [EDGE, EDGE]}


@dataclass(frozen=True, eq=False)
class Neuron:
    """One node: a = w_11 x_1 + w_21 x_2 + w_01 x_0 with x_0 = 1, and y = f(a). `over` (n,) and `curve` (n,) are f."""

    x: np.ndarray
    weights: np.ndarray
    terms: np.ndarray
    a: float
    activation: str
    y: float
    over: np.ndarray
    curve: np.ndarray


def _report_neuron(result: Neuron) -> tuple[Part, ...]:
    rows = tuple(
        (f"x{k} = {x:g}", f"w{k}₁ = {w:g}", f"{term:+.4g}")
        for k, x, w, term in zip("₁₂₀", result.x, result.weights, result.terms, strict=True)
    )
    told = ((
        ("a = ", ""), (f"{result.a:.5g}", "value"), (f"   y = {result.activation}(a) = ", ""),
        (f"{result.y:.5g}", "value"),
    ),)  # fmt: skip
    curve = Curve(result.activation, result.over, result.curve)
    return (
        Table("Weighted inputs", ("input", "weight", "product"), rows),
        Text("Their sum, and the output", told),
        Curves("The activation function, and where a lies", (curve,), "a", cursor=result.a),
    )


@register(
    title="One node: weights, bias, activation",
    slide="Neural networks: Model - Bias and weight",
    text="A node multiplies each input by the weight of its link and adds them up: a = w₁₁x₁ + w₂₁x₂ + w₀₁x₀. The "
    "last product is the bias: x₀ is always 1, so that w₀₁ shifts the sum whatever the inputs are. The activation "
    "function makes the node's output y = f(a) of it; without one, all that layers could compute together is another "
    "weighted sum.",
    report=_report_neuron,
    question=Question(
        "x₁ = x₂ = 0. What can the node put out?",
        ("only f(0): nothing comes in", "f(w₀₁): the bias is still there", "nothing"),
        lambda result: int(result.terms[2] != 0),
        lambda result: (
            f"x₀ = 1 does not depend on the inputs: a = w₀₁ = {result.weights[2]:g}. Set both inputs to 0 "
            "and move the bias."
        ),
    ),
    parameters=(
        Parameter("x", (1.0, 2.0), "the inputs", -100, 100, 0.5, labels=("x1", "x2")),
        Parameter(
            "weights",
            (0.5, -1.0, 0.5),
            "of the links; the last is the bias",
            -100,
            100,
            0.25,
            labels=("w11", "w21", "bias w01"),
        ),
        Parameter("activation", "tanh", "f", choices=ACTIVATIONS),
    ),
    train=lambda values, result: {"data": "blobs", "layers": [], "activation": "tanh", "init": "xavier"},
)
def neuron(
    x: tuple[float, ...] = (1.0, 2.0), weights: tuple[float, ...] = (0.5, -1.0, 0.5), activation: str = "tanh"
) -> Neuron:
    """What one node computes of two inputs; `weights` are (w_11, w_21, w_01)."""
    inputs = np.array([*x, 1.0])
    terms = np.array(weights) * inputs
    a = float(terms.sum())
    edge = max(6.0, abs(a) * 1.25)
    over = np.linspace(-edge, edge, 241)
    y = float(kernels.value(activation, np.array([a]))[0])
    return Neuron(inputs, np.array(weights), terms, a, activation, y, over, kernels.value(activation, over))
