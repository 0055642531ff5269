"""A computational graph evaluated forward and backward, checked by finite differences, and drawn as text.

Rumelhart, Hinton and Williams 1986: forward, each node computes its value from those of its inputs; backward, it hands
df / d(itself) times its local derivative to each input.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from fastnn.experiments import kernels
from fastnn.experiments.formula import ACTIVATIONS, Formula, FormulaError, Node, check_values

LEVEL = 11  # columns between two levels of the drawing
SPACING = 3  # rows a leaf: value, line, gradient
Line = tuple[tuple[str, str], ...]


@dataclass(frozen=True, eq=False)
class Evaluated:
    """Values and gradients of a formula's nodes.

    `values` (n,) and `gradients` (n,) = df / d(node), in the order of `formula.nodes`; `edges` has for each node what
    it hands back to each of its inputs. `differences` are (f(x + h) - f(x - h)) / 2h for each variable, by its name.
    """

    formula: Formula
    values: np.ndarray
    gradients: np.ndarray
    edges: tuple[tuple[float, ...], ...]
    differences: dict[str, float]

    @property
    def result(self) -> float:
        """f."""
        return float(self.values[-1])

    def gradient(self, name: str) -> float:
        """df / d(name)."""
        return float(self.gradients[[node.name for node in self.formula.nodes].index(name)])


_TOO_LARGE = "the value is too large; expected less than 1.8e308"
_VALUES: dict[str, Callable[..., Any]] = {
    "+": operator.add, "-": operator.sub, "*": operator.mul, "/": operator.truediv, "**": operator.pow,
    "neg": operator.neg, "exp": math.exp, "log": math.log,
}  # fmt: skip


def _apply(formula: Formula, node: Node, inputs: list[float]) -> float:
    """The value of an operation; raises FormulaError where there is none."""
    a, b = (*inputs, 0.0)[:2]
    try:
        if node.op in ACTIVATIONS:
            value = float(kernels.value(node.op, np.array([a]))[0])
        else:
            value = _VALUES[node.op](*inputs)
    except ZeroDivisionError:
        what, wanted = ("division by zero", "divisor") if node.op == "/" else ("a negative power of zero", "base")
        reason = f"{what}; expected another {wanted}"
        raise FormulaError(reason, formula.text, node.column) from None
    except (OverflowError, ValueError):
        reason = f"log of {a:g}; expected a number above 0" if node.op == "log" else _TOO_LARGE
        raise FormulaError(reason, formula.text, node.column) from None
    if isinstance(value, complex):
        reason = f"{a:g} to the power of {b:g} is not a real number; expected a base of 0 or more"
        raise FormulaError(reason, formula.text, node.column)
    if not math.isfinite(value):
        raise FormulaError(_TOO_LARGE, formula.text, node.column)
    return value


def forward(formula: Formula, values: Mapping[str, float]) -> np.ndarray:
    """The values (n,) of all nodes; raises FormulaError, which says where, for a division by zero and the like."""
    given = check_values(formula, values)
    out: list[float] = []
    for node in formula.nodes:
        if node.op in ("var", "const"):
            out.append(given[node.name] if node.op == "var" else node.constant)
        else:
            out.append(_apply(formula, node, [out[k] for k in node.inputs]))
    return np.array(out)


def _local(formula: Formula, node: Node, inputs: list[float], y: float) -> tuple[float, ...]:
    """d(node) / d(input) for each of its inputs."""
    a, b = (*inputs, 0.0)[:2]
    if node.op in ACTIVATIONS:
        return (float(kernels.derivative(node.op, np.array([y]))[0]),)
    if node.op == "**":
        try:
            base = 0.0 if b == 0 else b * a ** (b - 1)
            power = 0.0 if formula.nodes[node.inputs[1]].op == "const" else y * math.log(a)
        except (ZeroDivisionError, OverflowError, ValueError):
            reason = f"the derivative of {a:g} ** {b:g} is not a number; expected a base above 0"
            raise FormulaError(reason, formula.text, node.column) from None
        return base, power
    return {
        "+": (1.0, 1.0), "-": (1.0, -1.0), "*": (b, a), "/": (1 / b, -a / (b * b)) if node.op == "/" else (),
        "neg": (-1.0,), "exp": (y,), "log": (1 / a,) if node.op == "log" else (),
    }[node.op]  # fmt: skip


def evaluate(formula: Formula, values: Mapping[str, float]) -> Evaluated:
    """Forward, backward, and the check; raises FormulaError where a value or a derivative does not exist."""
    found = forward(formula, values)
    gradients = np.zeros(len(found))
    gradients[-1] = 1.0
    edges: list[tuple[float, ...]] = [()] * len(found)
    for at in range(len(found) - 1, -1, -1):
        node = formula.nodes[at]
        if node.inputs:
            local = _local(formula, node, [float(found[k]) for k in node.inputs], float(found[at]))
            edges[at] = tuple(float(gradients[at]) * one for one in local)
            for k, part in zip(node.inputs, edges[at], strict=True):
                gradients[k] += part
    return Evaluated(formula, found, gradients, tuple(edges), _differences(formula, values))


def _differences(formula: Formula, values: Mapping[str, float]) -> dict[str, float]:
    """Central differences; NaN where the formula has no value beside the point."""
    out = {}
    for name in formula.variables:
        x = float(values[name])
        h = np.cbrt(np.finfo(np.float64).eps) * max(1.0, abs(x))
        try:
            high, low = (forward(formula, {**values, name: x + side})[-1] for side in (h, -h))
        except FormulaError:
            out[name] = math.nan
        else:
            out[name] = float((high - low) / ((x + h) - (x - h)))
    return out


# ---- step by step ----------------------------------------------------------------------------------------------------


def steps(formula: Formula) -> int:
    """How many steps there are: an operation each forward, df/df = 1, an operation each backward."""
    operations = sum(bool(node.inputs) for node in formula.nodes)
    return 2 * operations + 1


def reached(evaluated: Evaluated, step: int) -> tuple[set[int], set[int], str]:
    """The nodes whose value, and those whose gradient is known after `step` steps, and what the last step did."""
    nodes = evaluated.formula.nodes
    operations = [k for k, node in enumerate(nodes) if node.inputs]
    ahead = operations[: max(0, step)]
    known = {k for k, node in enumerate(nodes) if not node.inputs} | set(ahead)
    done = step - len(operations)
    if done <= 0:
        return known, set(), f"forward: {_told(evaluated, ahead[-1])}" if ahead else "the inputs are given"
    back = operations[::-1][: done - 1]
    # A gradient is known once everything that the node goes into has handed its part back.
    pending = {k for at in operations if at not in back for k in nodes[at].inputs}
    gradients = {len(nodes) - 1} | {k for at in back for k in nodes[at].inputs if k not in pending}
    if not back:
        return known, gradients, "backward begins: ∂f/∂f = 1"
    at = back[-1]
    parts = ", ".join(f"{part:.4g}" for part in evaluated.edges[at])
    return (
        known,
        gradients,
        f"backward: {_sign(nodes[at])} hands {parts} to its input{'s' * (len(nodes[at].inputs) > 1)}",
    )


def _sign(node: Node) -> str:
    sign = {"neg": "-", "*": "×", "/": "÷", "**": "^"}.get(node.op, node.op)
    return f"{node.name} ({sign})" if node.name else sign


def _told(evaluated: Evaluated, at: int) -> str:
    node = evaluated.formula.nodes[at]
    parts = ", ".join(f"{evaluated.values[k]:.4g}" for k in node.inputs)
    return f"{_sign(node)} of {parts} is {evaluated.values[at]:.4g}"


# ---- drawing ---------------------------------------------------------------------------------------------------------


class _Paper:
    """Characters with roles, that grow as they are written."""

    def __init__(self) -> None:
        self.rows: dict[int, dict[int, tuple[str, str]]] = {}

    def write(self, x: int, y: int, text: str, role: str) -> None:
        row = self.rows.setdefault(y, {})
        for k, char in enumerate(text):
            row[x + k] = (char, role)

    def lines(self) -> tuple[Line, ...]:
        out = []
        for y in range(max(self.rows, default=-1) + 1):
            row, pieces = self.rows.get(y, {}), []  # type: dict[int, tuple[str, str]], list[tuple[str, str]]
            for x in range(max(row, default=-1) + 1):
                char, role = row.get(x, (" ", ""))
                if pieces and pieces[-1][1] == role:
                    pieces[-1] = (pieces[-1][0] + char, role)
                else:
                    pieces.append((char, role))
            out.append(tuple(pieces))
        return tuple(out)


class _Drawing:
    """Lays the graph out as a tree: leaves at the left, the result at the right; a shared part is drawn once."""

    def __init__(self, evaluated: Evaluated, known: set[int], gradients: set[int]) -> None:
        self.evaluated, self.known, self.gradients = evaluated, known, gradients
        self.nodes, self.paper, self.leaves, self.seen = evaluated.formula.nodes, _Paper(), 0, set()  # type: ignore[var-annotated]
        self.lead = 1 + max((len(self.label(k)) for k, node in enumerate(self.nodes) if not node.inputs), default=1)

    def label(self, at: int) -> str:
        node = self.nodes[at]
        return f"{node.constant:.4g}" if node.op == "const" else node.name

    def place(self, at: int) -> tuple[int, int, int]:
        """Draw a node and what is left of it; returns where its output begins: x, row, level."""
        node = self.nodes[at]
        if not node.inputs or (at in self.seen and node.name):
            row = SPACING * self.leaves + 1
            self.leaves += 1
            self.paper.write(0, row, self.label(at).rjust(self.lead - 1), "name")
            return self.lead, row, 0
        self.seen.add(at)
        parts = [self.place(k) for k in node.inputs]
        level = 1 + max(level for _, _, level in parts)
        x = self.lead + level * LEVEL
        rows = [row for _, row, _ in parts]
        row = (rows[0] + rows[-1]) // 2
        for k, (begin, at_row, _), part in zip(node.inputs, parts, self.evaluated.edges[at], strict=True):
            self.edge(begin, x, at_row, k, part if at in self._handed else None)
            if at_row != row:
                self.paper.write(x, at_row, "┐" if at_row < row else "┘", "muted")
                for y in range(min(at_row, row) + 1, max(at_row, row)):
                    self.paper.write(x, y, "│", "muted")
        sign = {"neg": "−", "*": "×", "/": "÷", "**": "^"}.get(node.op, node.op)
        if len(parts) == 1:
            self.paper.write(x - len(sign) + 1, row, sign, "name")
        else:
            self.paper.write(x, row, sign, "name")
        return x + 1, row, level

    @property
    def _handed(self) -> set[int]:
        """Operations that have handed their gradients back."""
        return {at for at, node in enumerate(self.nodes) if node.inputs and all(k in self.gradients or
                self.nodes[k].op == "const" for k in node.inputs)}  # fmt: skip

    def edge(self, begin: int, end: int, row: int, child: int, part: float | None) -> None:
        """A line with the child's value above it, and what is handed back below."""
        self.paper.write(begin, row, "─" * (end - begin), "muted")
        name = self.nodes[child].name if self.nodes[child].inputs else ""
        if child in self.known:
            text = f"{self.evaluated.values[child]:.4g}"
            self.paper.write(begin + 1, row - 1, f"{name} = {text}"[: LEVEL - 1] if name else text, "value")
        if part is not None:
            self.paper.write(begin + 1, row + 1, f"{part:.4g}", "gradient")

    def draw(self) -> tuple[Line, ...]:
        last = len(self.nodes) - 1
        x, row, _ = self.place(last)
        self.paper.write(x, row, "──", "muted")
        self.paper.write(x + 3, row, self.nodes[last].name or "f", "name")
        if last in self.known:
            self.paper.write(x + 1, row - 1, f"{self.evaluated.values[last]:.4g}", "value")
        if last in self.gradients:
            self.paper.write(x + 1, row + 1, "1", "gradient")
        return self.paper.lines()


def drawn(evaluated: Evaluated, step: int = -1) -> tuple[Line, ...]:
    """The graph as lines: values above its edges, gradients below; after `step` steps, or -1 for all of them."""
    known, gradients, _ = reached(evaluated, steps(evaluated.formula) if step < 0 else step)
    return _Drawing(evaluated, known, gradients).draw()
