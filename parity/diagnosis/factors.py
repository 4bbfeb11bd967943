"""Factors of the terms of a layer's outermost sum, solved for."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from network.layers import INPUTS
from network.program import Expression, Node, Program, rewritten
from parity.diagnosis.question import Part, Question, Variant
from parity.oracle.evaluate import run
from parity.oracle.number import exactly
from parity.oracle.primitives import State

FITTED, SOLVED = 2, 3
"""Ranks: a number that fits explains less than a mistake that people make, a whole array less."""
NEAR = 1e-5
"""How near a fitted factor has to be to a short number; whether that is right the limit says."""
FIT_ROWS = 4096


@dataclass(frozen=True)
class Term:
    """A term of the outermost sum.

    Attributes:
        index: its node.
        factor: what it has in the sum; 0 for what a port may add to it.
        reader: the node that adds it.
    """

    index: int
    factor: float
    reader: int


def outermost(program: Program) -> tuple[list[Term], bool]:
    """The terms of a program's value, and whether a ReLU is taken of their sum."""
    place, rectified = program.outputs["value"], False
    node = program.nodes[place]
    if node.primitive == "relu":
        (place,), rectified = node.operands, True
    return _flat(program.nodes, place, 1.0, place), rectified


def _flat(nodes: Sequence[Node], place: int, factor: float, reader: int) -> list[Term]:
    node = nodes[place]
    if node.primitive in ("add", "subtract"):
        first, second = node.operands
        sign = -1.0 if node.primitive == "subtract" else 1.0
        return _flat(nodes, first, factor, place) + _flat(nodes, second, sign * factor, place)
    if node.primitive == "multiply" and nodes[node.operands[0]].primitive == "literal":
        by = float(nodes[node.operands[0]].settings["value"])
        return _flat(nodes, node.operands[1], factor * by, place)
    return [Term(place, factor, reader)]


def values_of(question: Question, places: Sequence[int], part: Part) -> list[np.ndarray]:
    """The official values of nodes on some rows."""
    outputs = {str(place): place for place in places}
    program = Program(question.program.nodes, outputs, question.program.activations)
    inputs = {
        name: exactly(part.of_rows(number.value)) if name in question.sliced
        and part.rows is not None else number
        for name, number in question.inputs.items()
    }  # fmt: skip
    found = run(program, inputs, State(question.arithmetic))
    return [found[str(place)].value for place in places]


def shown(question: Question, terms: Sequence[Term], part: Part) -> tuple[list[np.ndarray], Any]:
    """The values of terms on some rows, each of the output's shape, and what was observed there."""
    seen = part.of_rows(question.observed)
    values = values_of(question, [term.index for term in terms], part)
    return [np.broadcast_to(value, seen.shape) for value in values], seen


def some_rows(question: Question) -> Part:
    """Enough rows for a fit."""
    count = len(question.observed)
    if not question.sliced or question.row.is_map:
        return Part()
    width = max(1, FIT_ROWS // int(np.prod(question.observed.shape[1:-1], dtype=np.int64)))
    return Part(np.unique(np.linspace(0, count - 1, min(count, width)).astype(np.int64)))


def variants(question: Question) -> Iterator[Variant]:
    """Other factors of the terms, where the activation lets them be seen.

    What a matrix of a graph is multiplied by may be a term itself: a matrix with another diagonal.
    """
    terms, rectified = outermost(question.program)
    if len(terms) < 2:
        return
    nodes = question.program.nodes
    bare = [
        Term(nodes[term.index].operands[1], 0.0, term.index)
        for term in terms
        if nodes[term.index].primitive == "sparse_matmul"
    ][1:]
    for each in (terms, terms + bare) if bare else (terms,):
        yield from _with_factors(question, each, rectified)


def _with_factors(question: Question, terms: Sequence[Term], rectified: bool) -> Iterator[Variant]:
    parts, seen = shown(question, terms, some_rows(question))
    on = seen > 0 if rectified else np.isfinite(seen)
    scales = [term.factor or 1.0 for term in terms]
    parts = [scale * part[on] for scale, part in zip(scales, parts, strict=True)]
    factors = fitted(parts, seen[on])
    right = np.array([1.0 if term.factor else 0.0 for term in terms])
    if factors is None or (factors == right).all():
        return
    by_reader: dict[int, dict[Term, float]] = {}
    of = {term.index: float(factor) for term, factor in zip(terms, factors, strict=True)}
    for term, factor, official in zip(terms, factors, right, strict=True):
        # What is added to a term that has a factor itself goes through that factor.
        own = float(factor) if term.factor else float(factor) / (of[term.reader] or np.nan)
        if factor != official:
            by_reader.setdefault(term.reader, {})[term] = own
    program = question.program
    # From the last, so that the places of the others stay.
    for reader in sorted(by_reader, reverse=True):
        program = _with_factors_at(program, reader, by_reader[reader])
    names = [_name(question, term.index) for term in terms]
    words = " and ".join(f"{f:.4g} of {n}" for n, f in zip(names, factors, strict=True))
    yield Variant(_of_factors(question, terms, factors != right, factors), words, program,
                  rank=FITTED)  # fmt: skip


def _with_factors_at(program: Program, reader: int, factors: Mapping[Term, float]) -> Program:
    """Terms with factors where they are added; one with none before is added as well."""
    read = program.nodes[reader]

    def written(operands: Sequence[Expression]) -> Expression:
        given, added = list(operands), []
        for term, factor in factors.items():
            place = read.operands.index(term.index)
            if term.factor:
                given[place] = factor * given[place]
            else:
                added.append(factor * given[place])
        found = operands[0].tape.apply(read.primitive, *given, **read.settings)
        return sum(added, found)

    return rewritten(program, reader, written)


def _name(question: Question, index: int) -> str:
    node = question.program.nodes[index]
    return str(node.settings["name"]) if node.primitive == "input" else f"the {node.primitive}"


def _of_factors(
    question: Question, terms: Sequence[Term], wrong: np.ndarray, factors: np.ndarray
) -> str:
    """What is wrong where terms have these factors."""
    nodes = question.program.nodes
    of_variables = np.array(
        [nodes[term.index].settings.get("name") in question.row.variables for term in terms]
    )
    if not (wrong & ~of_variables).any():
        return INPUTS.get(_name(question, terms[int(np.argmax(wrong))].index), "bias")
    role = nodes[question.program.outputs["value"]].role
    if role:
        return role
    own = ~of_variables & np.array([term.factor != 0.0 for term in terms])
    if own.sum() > 1 and len(set(factors[own])) == 1 and not (wrong & ~own & ~of_variables).any():
        return "reduction"
    kinds = {
        nodes[term.index].primitive if term.factor else "sparse_matmul"
        for term, off in zip(terms, wrong & ~of_variables, strict=True) if off
    }  # fmt: skip
    if kinds == {"sparse_matmul"}:
        return "support"
    return "missing term" if (factors[own] == 0.0).any() else "constant"


def fitted(parts: Sequence[np.ndarray], target: np.ndarray) -> np.ndarray | None:
    """The factors with which parts add up to a target, by least squares; None where undetermined.

    All arrays have one shape. A factor is brought to the number of four digits beside it, as a
    person writes it into a program, or its reciprocal, where one is as near as float32 can tell.
    """
    matrix = np.stack([part.ravel() for part in parts], axis=1)
    right = np.isfinite(matrix).all(axis=1) & np.isfinite(target.ravel())
    if np.count_nonzero(right) < 2 * len(parts):
        return None
    factors, _, rank, _ = np.linalg.lstsq(matrix[right], target.ravel()[right], rcond=1e-10)
    if rank < len(parts):
        return None
    sizes = np.abs(matrix[right]).max(axis=0) * np.abs(factors)
    near = np.array([short(float(factor)) for factor in factors])
    found = np.where(np.abs(factors - near) <= NEAR * np.abs(near), near, factors)
    # What adds nothing that float32 can tell has no factor.
    return np.where(sizes <= NEAR * sizes.max(), 0.0, found)


def short(number: float, digits: int = 4) -> float:
    """A number of few significant digits, or the reciprocal of one, whichever is nearer."""
    if number == 0 or not np.isfinite(number):
        return number
    plain = float(f"{number:.{digits - 1}e}")
    inverse = 1.0 / float(f"{1.0 / number:.{digits - 1}e}")
    return plain if abs(plain - number) <= abs(inverse - number) else inverse
