"""Pieces of a layer, of several operations each, in whose place another piece is often met.

Found by what they compute, in the layers of any network: an activation that is written with an
exponential or an error function, a normalisation by a mean and a variance that are variables.
"""

from collections.abc import Callable, Iterator, Sequence
from functools import partial

from network.program import Expression, Program, formula, rewritten
from parity.diagnosis.question import Question, Variant
from parity.oracle.primitives.piecewise import ACTIVATIONS, LEAKS, leaky

ARITHMETIC = {"add", "subtract", "multiply", "divide", "square", "sqrt", "clip", "abs"}
CURVES = {"exp", "log", "erf", "tanh", "relu"}
"""Functions that activations are written with."""
OF_ELEMENTS = ARITHMETIC | CURVES


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
            piece = _between(program, source, index)
            if len(piece) < 2 or not CURVES & {program.nodes[each].primitive for each in piece}:
                continue
            for words, function in _others().items():

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


def _others() -> dict[str, Callable[[Expression], Expression]]:
    return {
        "no activation": lambda x: 1.0 * x,
        "a ReLU": lambda x: x.tape.apply("relu", x),
        **{f"a ReLU that leaks {slope}": partial(_leaky, slope) for slope in LEAKS},
        **ACTIVATIONS,
    }


def _leaky(slope: float, x: Expression) -> Expression:
    return leaky(slope, [x])


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


def _between(program: Program, source: int, index: int) -> set[int]:
    """The nodes that lead from one to another, without the first."""
    found, todo = set[int](), [index]
    while todo:
        place = todo.pop()
        if place != source and place not in found and program.nodes[place].operands:
            found.add(place)
            todo += program.nodes[place].operands
    return found


def _normalisations(question: Question) -> Iterator[Variant]:
    """Mean and variance of what is normalised, in place of variables."""
    program = question.program
    for index, node in enumerate(program.nodes):
        if node.primitive != "subtract" or not _is_variable(question, node.operands[1]):
            continue
        source = node.operands[0]
        rank = question.nodes[0][source].value.ndim
        for root, other in enumerate(program.nodes):
            variance = _variance(question, root)
            if other.primitive != "sqrt" or variance is None or root < source or rank < 2:
                continue
            for words, axes in {
                "the mean and variance of this run's rows, as in training,": [*range(rank - 1)],
                "the mean and variance of each row, as in a layer normalisation,": [rank - 1],
            }.items():
                names = " and ".join(
                    program.nodes[each].settings["name"] for each in (node.operands[1], variance)
                )
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
    for place in nodes[root].operands:
        there = [place, *(nodes[place].operands if nodes[place].primitive == "add" else ())]
        for each in there:
            if _is_variable(question, each):
                return each
    return None


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
