"""What the primitives of a layer are mistaken for, one node at a time or all alike at once."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import combinations

import numpy as np

from network.layers import INPUTS
from network.program import Expression, Program, continued, formula, rewritten
from parity.diagnosis.question import Question, Variant
from parity.oracle.primitives import RULES, Mistake
from parity.oracle.primitives.narrow import NARROWER
from parity.oracle.primitives.piecewise import TINY

SINGLE = 1
"""The rank of a change of one operation among several alike."""


def variants(question: Question) -> Iterator[Variant]:
    """Every mistake in every node of the layer, the same one in all alike nodes first."""
    program = question.program
    shapes = {index: np.shape(number.value) for index, number in question.nodes[0].items()}
    alike: dict[tuple[str, str, str, str], list[tuple[int, Mistake]]] = {}
    for index, node in enumerate(program.nodes):
        if node.primitive in ("input", "literal") or index not in shapes:
            continue
        given = [shapes[each] for each in node.operands]
        for mistake in RULES[node.primitive].mistakes(node.settings, given):
            operand = operand_of(program, index, mistake)
            of = mistake.of
            read = "" if of is None else f"{of} {program.nodes[node.operands[of]].primitive}"
            key = operand, node.primitive, mistake.change, read
            alike.setdefault(key, []).append((index, mistake))
        yield from bypassed(question, index, shapes)
        yield from _of_a_variance(question, index)
    for (operand, _, change, _), places in alike.items():
        of = places[0][1].of
        words = change.format(f"operand {(of or 0) + 1}")
        if len(places) > 1:
            yield _at_once(program, operand, f"{words} everywhere", places)
        if len(places) == 3:
            for pair in combinations(places, 2):
                where = " and ".join(formula(program, index, 2) for index, _ in pair)
                found = _at_once(program, operand, f"{words} in {where}", pair)
                yield replace(found, rank=SINGLE)
        for index, mistake in places:
            name = "" if of is None else formula(program, program.nodes[index].operands[of], 1)
            yield Variant(
                operand,
                f"{change.format(name)} in {formula(program, index)}",
                rewritten(program, index, mistake.write),
                rank=SINGLE if len(places) > 1 or mistake.rare else 0,
                whole=mistake.whole,
                start=index,
            )
    for kind, mistake in _of_the_result():
        changed = continued(program, lambda x, mistake=mistake: mistake.write([x]))  # type: ignore[misc]
        yield Variant(kind, mistake.change, changed)


def _at_once(
    program: Program, operand: str, change: str, places: Sequence[tuple[int, Mistake]]
) -> Variant:
    """One mistake in several nodes."""
    changed = program
    # From the last, so that the places of the others stay.
    for index, mistake in sorted(places, key=lambda each: -each[0]):
        changed = rewritten(changed, index, mistake.write)
    return Variant(
        operand, change, changed,
        rank=SINGLE if places[0][1].rare else 0,
        whole=any(mistake.whole for _, mistake in places),
        start=min(index for index, _ in places),
    )  # fmt: skip


def bypassed(
    question: Question, index: int, shapes: Mapping[int, tuple[int, ...]]
) -> Iterator[Variant]:
    """A node left out with all that leads to it from an activation of its shape."""
    program, node = question.program, question.program.nodes[index]
    if not node.role or node.primitive in ("detach", "index"):
        return
    for place in reached(program, index):
        first = program.nodes[place]
        if first.primitive != "input" or shapes[place] != shapes[index]:
            continue
        name = first.settings["name"]
        if name in question.activations:

            def write(operands: Sequence[Expression], place: int = place) -> Expression:
                # Inputs are written first: theirs are the same places.
                return Expression(operands[0].tape, place)

            yield Variant(
                node.role, f"{name} itself for {formula(program, index)}",
                rewritten(program, index, write), rank=SINGLE, start=index,
            )  # fmt: skip


def _of_a_variance(question: Question, index: int) -> Iterator[Variant]:
    """A variance as E[x²] − E[x]², and what is added under its root added to the root."""
    program, node = question.program, question.program.nodes[index]
    first = program.nodes[node.operands[0]]
    if node.primitive == "reduce_mean" and first.primitive == "square":
        away = program.nodes[first.operands[0]]
        if away.primitive == "subtract":
            place = away.operands[0]

            def moments(operands: Sequence[Expression]) -> Expression:
                tape = operands[0].tape
                # Nodes before this one have kept their places.
                x = Expression(tape, place)
                mean = tape.apply("reduce_mean", x, **node.settings)
                squares = tape.apply("reduce_mean", tape.apply("square", x), **node.settings)
                return squares - tape.apply("square", mean)

            yield Variant(node.role or "reduction", "a variance as E[x²] − E[x]²",
                          rewritten(program, index, moments), start=index)  # fmt: skip
    if node.primitive == "sqrt" and first.primitive == "add":
        value, floor = first.operands

        def outside(operands: Sequence[Expression]) -> Expression:
            tape = operands[0].tape
            root = tape.apply("sqrt", Expression(tape, value))
            return root + Expression(tape, floor)

        if program.nodes[floor].primitive == "literal":
            yield Variant("epsilon", "what is added under the root added to the root",
                          rewritten(program, index, outside), start=index)  # fmt: skip


def reached(program: Program, index: int) -> set[int]:
    """The nodes that a node is computed from."""
    found, todo = set(), list(program.nodes[index].operands)
    while todo:
        place = todo.pop()
        if place not in found:
            found.add(place)
            todo += program.nodes[place].operands
    return found


def _of_the_result() -> Iterator[tuple[str, Mistake]]:
    """What may be done to the layer's result once more."""
    yield "activation", Mistake("a ReLU", lambda x: x[0].tape.apply("relu", x[0]))
    for kind in NARROWER:
        yield (
            "precision",
            Mistake(f"the result rounded to {kind}",
                    lambda x, kind=kind: x[0].tape.apply("narrow", x[0], kind=kind)),  # type: ignore[misc]
        )  # fmt: skip


def operand_of(program: Program, index: int, mistake: Mistake) -> str:
    """What a diagnosis calls a mistake in a node."""
    if mistake.operand:
        return mistake.operand
    node = program.nodes[index]
    if mistake.of is not None:
        there = program.nodes[node.operands[mistake.of]]
        if there.primitive == "literal" and node.primitive == "add":
            return "epsilon" if abs(there.settings["value"]) <= TINY else "constant"
        if there.primitive == "input" and there.settings["name"] in INPUTS:
            return INPUTS[there.settings["name"]]
        if there.primitive == "input" and node.primitive in ("multiply", "divide"):
            return "missing factor"
        if there.primitive in RULES and RULES[there.primitive].absence:
            return RULES[there.primitive].absence
    return node.role or RULES[node.primitive].term
