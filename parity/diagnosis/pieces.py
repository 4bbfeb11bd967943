"""Pieces of a layer, of several operations each, in whose place another piece is often met.

Found by what they compute, in the layers of any network: an activation that is written with an
exponential or an error function, a normalisation by a mean and a variance that are variables.
"""

from collections.abc import Callable, Iterator, Sequence
from itertools import product

from network.program import Expression, Program, call, formula, rewritten
from parity.diagnosis.mistakes import reached
from parity.diagnosis.question import Question, Variant
from parity.oracle.primitives.piecewise import ACTIVATIONS

ARITHMETIC = {"add", "subtract", "multiply", "divide", "square", "sqrt", "clip", "abs"}
CURVES = {"exp", "log", "erf", "tanh", "relu"}
"""Functions that activations are written with."""
OF_ELEMENTS = ARITHMETIC | CURVES
OTHERS: dict[str, Callable[[Expression], Expression]] = {
    "no activation": lambda x: 1.0 * x,
    "a ReLU": lambda x: call("relu", x),
    **ACTIVATIONS,
}
"""What may stand in place of an activation."""


def variants(question: Question) -> Iterator[Variant]:
    """The layer with another piece in place of one of its own."""
    yield from _activations(question.program)
    yield from _normalisations(question)


def _activations(program: Program) -> Iterator[Variant]:
    """Another activation in place of one that is written with several operations."""
    sources = _sources(program)
    inside = {each for index, found in enumerate(sources) for each in found if each != index}
    for index, found in enumerate(sources):
        if index in inside:
            continue
        for source in sorted(found - {index}):
            piece = {index} | reached(program, index) - reached(program, source) - {source}
            kinds = [
                program.nodes[each].primitive for each in piece if program.nodes[each].operands
            ]
            if len(kinds) < 2 or not CURVES & {*kinds}:
                continue
            for words, function in OTHERS.items():

                def write(
                    operands: Sequence[Expression],
                    source: int = source,
                    function: Callable[[Expression], Expression] = function,
                ) -> Expression:
                    # Nodes before this one have kept their places.
                    return function(Expression(operands[0].tape, source))

                yield Variant(
                    "activation", f"{words} in place of {formula(program, index)}",
                    rewritten(program, index, write), start=source,
                )  # fmt: skip


def _sources(program: Program) -> list[frozenset[int]]:
    """Of each node, the nodes of which alone it is a function, element by element; itself too."""
    found: list[frozenset[int]] = []
    for index, node in enumerate(program.nodes):
        above = [
            found[each] for each in node.operands if program.nodes[each].primitive != "literal"
        ]
        common = frozenset[int]()
        if above and node.primitive in OF_ELEMENTS:
            common = above[0].intersection(*above[1:])
        found.append(common | {index})
    return found


def _normalisations(question: Question) -> Iterator[Variant]:
    """Mean and variance of what is normalised, in place of variables."""
    program = question.program
    means = [
        index for index, node in enumerate(program.nodes)
        if node.primitive == "subtract" and _is_variable(question, node.operands[1])
    ]  # fmt: skip
    roots = [index for index, node in enumerate(program.nodes) if node.primitive == "sqrt"]
    for index, root in product(means, roots):
        source, mean = program.nodes[index].operands
        rank, variance = question.nodes[0][source].value.ndim, _variance(question, root)
        if variance is None or root < source or rank < 2:
            continue
        names = " and ".join(program.nodes[each].settings["name"] for each in (mean, variance))
        for words, axes in {
            "the mean and variance of this run's rows, as in training,": range(rank - 1),
            "the mean and variance of each row, as in a layer normalisation,": [rank - 1],
        }.items():
            yield Variant(
                "statistics", f"{words} in place of {names}",
                _of_itself(program, (index, root), (source, variance), axes),
                whole=True, start=min(index, root),
            )  # fmt: skip


def _is_variable(question: Question, place: int) -> bool:
    node = question.program.nodes[place]
    return node.primitive == "input" and node.settings["name"] in question.row.variables


def _variance(question: Question, root: int) -> int | None:
    """The variable under a square root, with or without a number that is added to it."""
    nodes = question.program.nodes
    (under,) = nodes[root].operands
    there = [under, *(nodes[under].operands if nodes[under].primitive == "add" else ())]
    return next((each for each in there if _is_variable(question, each)), None)


def _of_itself(
    program: Program, places: tuple[int, int], read: tuple[int, int], axes: Sequence[int]
) -> Program:
    """A program that normalises by what it finds in ``source`` itself.

    Args:
        program: the layer's.
        places: the subtraction of the mean, and the square root.
        read: what is normalised, and the variance under the root.
        axes: that mean and variance are taken over.
    """
    source, variance = read

    def mean(x: Expression) -> Expression:
        for axis in axes:
            x = x.tape.apply("reduce_mean", x, axis=axis)
        return x

    def centred(operands: Sequence[Expression]) -> Expression:
        x = Expression(operands[0].tape, source)
        return x - mean(x)

    def rooted(operands: Sequence[Expression]) -> Expression:
        tape = operands[0].tape
        x = Expression(tape, source)
        found = mean(tape.apply("square", x - mean(x)))
        under = program.nodes[places[1]].operands[0]
        if under != variance:
            floor = next(each for each in program.nodes[under].operands if each != variance)
            found = found + Expression(tape, floor)
        return tape.apply("sqrt", found)

    writes = dict(zip(places, (centred, rooted), strict=True))
    for place in sorted(places, reverse=True):  # from the last, so that earlier places stay
        program = rewritten(program, place, writes[place])
    return program
