"""Programs: what a layer computes, as plain data.

A program is a list of nodes, each a primitive applied to earlier nodes, as a computational graph of
any framework is. It says nothing of how a primitive is computed or how it rounds: those are the
rules of ``parity.oracle.primitives``. Programs are written as functions of expressions and traced:

    def halved_sum(x, r):
        return 0.5 * (x + r)

    trace(halved_sum)

A positional parameter is an activation that the layer reads (``*maps`` stands for several), a
keyword-only one a variable, a constant array or, where a value is given to ``trace``, a setting.
"""

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import wraps
from typing import Any

Scalar = int | float


@dataclass(frozen=True)
class Node:
    """A primitive applied to earlier nodes.

    Attributes:
        primitive: its name in ``parity.oracle.primitives``; ``input`` and ``literal`` have no
            operands.
        operands: indices of earlier nodes.
        settings: what is fixed when the program is written: axes, strides, names, numbers.
        role: what the node is part of in the layer, in the words of a diagnosis ("camera"); see
            ``role``.
    """

    primitive: str
    operands: tuple[int, ...] = ()
    settings: Mapping[str, Any] = field(default_factory=dict)
    role: str = ""


@dataclass(frozen=True)
class Program:
    """A layer's function.

    Attributes:
        nodes: in an order in which each comes after its operands.
        outputs: what is computed, by name; a layer's program has one, ``value``.
        activations: names of the inputs that are activations, in the order of ``TapRow.parents``.
    """

    nodes: tuple[Node, ...]
    outputs: Mapping[str, int]
    activations: tuple[str, ...]

    @property
    def inputs(self) -> tuple[str, ...]:
        """Names of all inputs: activations, variables and constants."""
        return tuple(node.settings["name"] for node in self.nodes if node.primitive == "input")

    def uses(self, primitive: str) -> bool:
        """Whether a primitive is among its nodes."""
        return any(node.primitive == primitive for node in self.nodes)

    def read_by(self, primitive: str) -> tuple[str, ...]:
        """Names of the inputs that are operands of a primitive, as they are."""
        operands = [self.nodes[each] for node in self.nodes for each in node.operands
                    if node.primitive == primitive]  # fmt: skip
        return tuple(node.settings["name"] for node in operands if node.primitive == "input")


class Tape:
    """Collects nodes while a program is written."""

    def __init__(self, nodes: Sequence[Node] = ()) -> None:
        self.nodes = list(nodes)
        self.roles = [""]

    def apply(
        self, primitive: str, *operands: "Expression | Scalar", **settings: Any
    ) -> "Expression":
        """Append a node; numbers among the operands become literals."""
        indices = tuple(
            each.index if isinstance(each, Expression) else self.literal(each).index
            for each in operands
        )
        self.nodes.append(Node(primitive, indices, settings, self.roles[-1]))
        return Expression(self, len(self.nodes) - 1)

    def input(self, name: str) -> "Expression":
        """An array that is given when the program is evaluated."""
        return self.apply("input", name=name)

    def literal(self, value: Scalar) -> "Expression":
        """A number that both precisions hold exactly, or that is float32 in both."""
        return self.apply("literal", value=float(value))


@dataclass(frozen=True)
class Expression:
    """A node of a program that is being written, with the operators of arithmetic."""

    tape: Tape
    index: int

    def __add__(self, other: "Expression | Scalar") -> "Expression":
        return self.tape.apply("add", self, other)

    def __sub__(self, other: "Expression | Scalar") -> "Expression":
        return self.tape.apply("subtract", self, other)

    def __mul__(self, other: "Expression | Scalar") -> "Expression":
        return self.tape.apply("multiply", self, other)

    def __truediv__(self, other: "Expression | Scalar") -> "Expression":
        return self.tape.apply("divide", self, other)

    def __matmul__(self, other: "Expression") -> "Expression":
        return self.tape.apply("matmul", self, other)

    def __radd__(self, other: Scalar) -> "Expression":
        return self.tape.apply("add", other, self)

    def __rsub__(self, other: Scalar) -> "Expression":
        return self.tape.apply("subtract", other, self)

    def __rmul__(self, other: Scalar) -> "Expression":
        return self.tape.apply("multiply", other, self)

    def __rtruediv__(self, other: Scalar) -> "Expression":
        return self.tape.apply("divide", other, self)

    def __neg__(self) -> "Expression":
        return self.tape.apply("multiply", -1.0, self)

    def __getitem__(self, where: Any) -> "Expression":
        """NumPy's basic indexing: integers, slices, ``None`` and ``...``."""
        return self.tape.apply("index", self, where=where if isinstance(where, tuple) else (where,))


def call(primitive: str, *operands: "Expression | Scalar", **settings: Any) -> Expression:
    """A primitive applied to expressions, at least one of which must be no number."""
    tape = next(each.tape for each in operands if isinstance(each, Expression))
    return tape.apply(primitive, *operands, **settings)


Written = Callable[..., Expression]


def role(name: str) -> Callable[[Written], Written]:
    """Say what the nodes that a function of expressions writes are part of.

    A diagnosis calls a mistake in one of them by this name, where it has none of its own.
    """

    def decorate(function: Written) -> Written:
        @wraps(function)
        def written(*operands: Any, **named: Any) -> Expression:
            every = (*operands, *named.values())
            tape = next(each.tape for each in every if isinstance(each, Expression))
            tape.roles.append(name)
            try:
                return function(*operands, **named)
            finally:
                tape.roles.pop()

        return written

    return decorate


def rewritten(
    program: Program, index: int, write: Callable[[Sequence[Expression]], Expression]
) -> Program:
    """The program with one node replaced by what ``write`` makes of the node's operands."""
    tape = Tape()
    places: list[int] = []
    for number, node in enumerate(program.nodes):
        operands = tuple(places[each] for each in node.operands)
        if number == index:
            tape.roles.append(node.role)
            places.append(write([Expression(tape, each) for each in operands]).index)
            tape.roles.pop()
        else:
            tape.nodes.append(replace(node, operands=operands))
            places.append(len(tape.nodes) - 1)
    outputs = {name: places[number] for name, number in program.outputs.items()}
    return Program(tuple(tape.nodes), outputs, program.activations)


def continued(program: Program, write: Callable[[Expression], Expression]) -> Program:
    """The program with ``write`` applied to its value."""
    tape = Tape(program.nodes)
    value = write(Expression(tape, program.outputs["value"]))
    return Program(tuple(tape.nodes), {"value": value.index}, program.activations)


SIGNS = {"add": "+", "subtract": "−", "multiply": "·", "divide": "/"}


def formula(program: Program, index: int, depth: int = 3) -> str:
    """A node as a formula, ``depth`` operations deep."""
    node = program.nodes[index]
    if node.primitive == "input":
        return str(node.settings["name"])
    if node.primitive == "literal":
        return f"{node.settings['value']:.6g}"
    if node.primitive in ("materialise", "detach", "decide"):
        return formula(program, node.operands[0], depth)
    if depth == 0:
        return "…"
    parts = [formula(program, each, depth - 1) for each in node.operands]
    if node.primitive in SIGNS:
        return f"({parts[0]} {SIGNS[node.primitive]} {parts[1]})"
    if node.primitive == "index":
        return f"{parts[0]}[{_index(node.settings['where'])}]"
    return f"{node.primitive}({', '.join(parts)})"


def _index(where: tuple[Any, ...]) -> str:
    names = {type(None): lambda _: "None", type(...): lambda _: "…", slice: lambda _: ":"}
    return ", ".join(names.get(type(each), str)(each) for each in where)


def trace(function: Callable[..., Expression], activations: int = 0, **settings: Any) -> Program:
    """Write a program down.

    Args:
        function: the layer as a function of expressions.
        activations: how many expressions a variadic parameter (``*maps``) stands for.
        settings: values of keyword parameters that are no arrays.
    """
    tape = Tape()
    positional: list[Expression] = []
    named: dict[str, Any] = dict(settings)
    for parameter in inspect.signature(function).parameters.values():
        if parameter.kind is parameter.VAR_POSITIONAL:
            positional += [
                tape.input(f"{parameter.name}_{number}") for number in range(activations)
            ]
        elif parameter.kind is parameter.KEYWORD_ONLY:
            if parameter.name not in settings:
                named[parameter.name] = tape.input(parameter.name)
        else:
            positional.append(tape.input(parameter.name))
    names = tuple(tape.nodes[each.index].settings["name"] for each in positional)
    value = function(*positional, **named)
    return Program(tuple(tape.nodes), {"value": value.index}, names)
