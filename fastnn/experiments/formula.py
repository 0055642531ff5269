"""Formulas that a person types, read into a computational graph: names, numbers, + - * / **, and a few functions.

`w * x + b`, or with names for its parts: `g = w * x; f = g + b`. Python's parser reads them, and only the nodes of its
tree that are listed here are taken: nothing is ever executed.
"""

from __future__ import annotations

import ast
import math
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import NoReturn

from fastnn.errors import shown, unknown

OPERATORS: dict[type[ast.AST], str] = {
    ast.Add: "+", ast.Sub: "-", ast.Mult: "*", ast.Div: "/", ast.Pow: "**", ast.USub: "neg",
}  # fmt: skip
ACTIVATIONS = ("sigmoid", "tanh", "relu", "leaky_relu")
FUNCTIONS = ("exp", "log", *ACTIVATIONS)
LONGEST = 200
EXAMPLE = 'something like "w * x + b"'
MOST_NODES = 60


class FormulaError(ValueError):
    """A formula that cannot be read or evaluated; `column` (from 0) is where in its text."""

    def __init__(self, message: str, text: str, column: int) -> None:
        self.column = min(max(column, 0), len(text))
        rest = text[self.column :].strip()
        where = f'at "{rest[:24]}"' if rest else "at its end"
        super().__init__(f"formula: {message} (column {self.column + 1}, {where})")


@dataclass(frozen=True)
class Node:
    """A number of the graph: an operation on the nodes `inputs`, a variable ("var") or a constant ("const").

    `name` is what the formula calls it, or "". `column` is where it stands.
    """

    op: str
    inputs: tuple[int, ...] = ()
    name: str = ""
    constant: float = math.nan
    column: int = 0


@dataclass(frozen=True)
class Formula:
    """A computational graph: every node comes after its inputs, the last one is the result."""

    text: str
    nodes: tuple[Node, ...]

    @property
    def variables(self) -> tuple[str, ...]:
        """The names that need a value, in the order in which they appear."""
        return tuple(node.name for node in self.nodes if node.op == "var")


class _Reader:
    """Builds the nodes of one formula."""

    def __init__(self, text: str) -> None:
        self.text, self.nodes = text, []  # type: tuple[str, list[Node]]
        self.named: dict[str, int] = {}
        # ^ is written for a power, too; to Python it is another operator, that binds less.
        self.places: list[int] = []
        for at, char in enumerate(text):
            self.places += [at, at] if char == "^" else [at]
        self.python = text.replace("^", "**")

    def fail(self, message: str, column: int) -> NoReturn:
        places = self.places
        raise FormulaError(message, self.text, places[column] if column < len(places) else len(self.text))

    def add(self, node: Node) -> int:
        if len(self.nodes) == MOST_NODES:
            self.fail(f"long; expected {MOST_NODES} operations and numbers at most", node.column)
        self.nodes.append(node)
        return len(self.nodes) - 1

    def read(self) -> Formula:
        if not self.text.strip():
            self.fail(f"empty; expected {EXAMPLE}", 0)
        begin = 0
        for part in self.python.split(";"):
            last = self.statement(part, begin)
            begin += len(part) + 1
        if last != len(self.nodes) - 1:
            self.fail("ends with a part that was computed before; expected something new", begin - len(part) - 1)
        return Formula(self.text, tuple(self.nodes))

    def statement(self, part: str, begin: int) -> int:
        blanks = len(part) - len(part.lstrip())
        begin, part = begin + blanks, part.strip()
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # as a part of a program it would have a fault
                tree = ast.parse(part)
        except (SyntaxError, ValueError, RecursionError, MemoryError) as reason:
            offset = getattr(reason, "offset", None) or 1
            self.fail(f"cannot be read here; expected {EXAMPLE}", begin + min(offset - 1, len(part)))
        if len(tree.body) != 1:
            self.fail('expected an expression between the ";"', begin)
        body = tree.body[0]
        if isinstance(body, ast.Expr):
            return self.visit(body.value, begin)
        if not (isinstance(body, ast.Assign) and len(body.targets) == 1 and isinstance(body.targets[0], ast.Name)):
            self.fail('expected an expression, or "name = expression"', begin + body.col_offset)
        name = body.targets[0].id
        if name in self.named or name in FUNCTIONS:
            self.fail(f"{name!r} has a meaning already; expected another name", begin + body.targets[0].col_offset)
        at = self.visit(body.value, begin)
        node = self.nodes[at]
        if node.op in ("var", "const") or node.name:
            self.fail(
                f"{name!r} would be another name for the same number; expected an operation",
                begin + body.targets[0].col_offset,
            )
        self.nodes[at] = Node(node.op, node.inputs, name, node.constant, node.column)
        self.named[name] = at
        return at

    def visit(self, tree: ast.AST, begin: int) -> int:
        column = begin + getattr(tree, "col_offset", 0)
        if isinstance(tree, ast.Name):
            if tree.id in FUNCTIONS:
                self.fail(f"{tree.id} is a function; expected {tree.id}(...)", column)
            if tree.id not in self.named:
                self.named[tree.id] = self.add(Node("var", (), tree.id, column=column))
            return self.named[tree.id]
        if isinstance(tree, ast.Constant):
            return self.constant(tree.value, column)
        if isinstance(tree, ast.BinOp) and type(tree.op) in OPERATORS:
            left, right = self.visit(tree.left, begin), self.visit(tree.right, begin)
            assert tree.left.end_col_offset is not None
            between = self.python[begin + tree.left.end_col_offset :]
            sign = begin + tree.left.end_col_offset + len(between) - len(between.lstrip(" )"))
            return self.add(Node(OPERATORS[type(tree.op)], (left, right), column=sign))
        if isinstance(tree, ast.UnaryOp) and isinstance(tree.op, (ast.USub, ast.UAdd)):
            if isinstance(tree.op, ast.UAdd):
                return self.visit(tree.operand, begin)
            if isinstance(tree.operand, ast.Constant):
                return self.constant(tree.operand.value, column, sign=-1)
            return self.add(Node("neg", (self.visit(tree.operand, begin),), column=column))
        if isinstance(tree, ast.Call):
            return self.call(tree, begin, column)
        self.fail("not understood; expected names, numbers, + - * / ** and functions only", column)

    def constant(self, value: object, column: int, sign: int = 1) -> int:
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            self.fail(f"{shown(value, 24)}; expected a number", column)
        try:
            number = sign * float(value)
        except OverflowError:
            number = math.inf
        if not math.isfinite(number):
            self.fail("the number is too large; expected less than 1.8e308", column)
        return self.add(Node("const", (), "", number, column))

    def call(self, tree: ast.Call, begin: int, column: int) -> int:
        name = tree.func.id if isinstance(tree.func, ast.Name) else ""
        if name not in FUNCTIONS:
            reason = str(unknown("function", name or ast.unparse(tree.func), FUNCTIONS)).removeprefix("function: ")
            self.fail(reason.replace("name", "function", 1), column)
        if len(tree.args) != 1 or tree.keywords or isinstance(tree.args[0], ast.Starred):
            self.fail(f"{shown(ast.unparse(tree), 24)}; expected one number, such as {name}(x)", column)
        return self.add(Node(name, (self.visit(tree.args[0], begin),), column=column))


def parse(text: str) -> Formula:
    """The graph of a formula; raises FormulaError (a ValueError), which says where, for what cannot be read."""
    text = text.replace("\n", ";")
    if len(text) > LONGEST:
        raise FormulaError(f"{len(text)} characters; expected {LONGEST} at most", text, LONGEST)
    if not text.isascii():
        at = next(k for k, char in enumerate(text) if not char.isascii())
        raise FormulaError(f"{text[at]!r} is not understood; expected ASCII", text, at)
    return _Reader(text.rstrip("; ")).read()


def read_values(formula: Formula, text: str, *, others: bool = False) -> dict[str, float]:
    """The variables' values in a text such as "x = 5, w = -2"; raises ValueError for one that is missing, and unless
    there may be `others`, for one that the formula does not have."""
    given: dict[str, float] = {}
    for part in text.replace(";", ",").split(","):
        name, sign, number = (piece.strip() for piece in part.partition("="))
        if not part.strip():
            continue
        if not sign:
            raise ValueError(f'values: {part.strip()!r}; expected "name = number"')
        if name not in formula.variables:
            if others:
                continue
            raise unknown("values", name, formula.variables)
        if name in given:
            raise ValueError(f"values: {name} is given twice; expected one value for each name")
        try:
            given[name] = float(number)
        except ValueError:
            raise ValueError(f"values: {name} = {number!r} is not a number") from None
        if not math.isfinite(given[name]):
            raise ValueError(f"values: {name} = {number}; expected a finite number")
    return check_values(formula, given)


def check_values(formula: Formula, values: Mapping[str, float]) -> dict[str, float]:
    """The values of the formula's variables in their order; raises ValueError naming those that are missing."""
    missing = [name for name in formula.variables if name not in values]
    if missing:
        raise ValueError(f"values: no value for {', '.join(missing)}; expected such as {missing[0]} = 1")
    return {name: float(values[name]) for name in formula.variables}
