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
from dataclasses import dataclass, field
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
    """

    primitive: str
    operands: tuple[int, ...] = ()
    settings: Mapping[str, Any] = field(default_factory=dict)


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


class Tape:
    """Collects nodes while a program is written."""

    def __init__(self, nodes: Sequence[Node] = ()) -> None:
        self.nodes = list(nodes)

    def apply(
        self, primitive: str, *operands: "Expression | Scalar", **settings: Any
    ) -> "Expression":
        """Append a node; numbers among the operands become literals."""
        indices = tuple(
            each.index if isinstance(each, Expression) else self.literal(each).index
            for each in operands
        )
        self.nodes.append(Node(primitive, indices, settings))
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

    def __neg__(self) -> "Expression":
        return self.tape.apply("multiply", -1.0, self)

    def __getitem__(self, where: Any) -> "Expression":
        """NumPy's basic indexing: integers, slices, ``None`` and ``...``."""
        return self.tape.apply("index", self, where=where if isinstance(where, tuple) else (where,))


def call(primitive: str, *operands: "Expression | Scalar", **settings: Any) -> Expression:
    """A primitive applied to expressions, at least one of which must be no number."""
    tape = next(each.tape for each in operands if isinstance(each, Expression))
    return tape.apply(primitive, *operands, **settings)


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
