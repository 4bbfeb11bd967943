"""Numbers in a layer that are solved for: factors of its terms, literals; orders that are found."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from network.layers import INPUTS
from network.program import Expression, Node, Program, rewritten
from network.taps import IMAGES
from parity.diagnosis.operands import changed
from parity.diagnosis.question import Part, Question, Variant
from parity.oracle.context import widened
from parity.oracle.evaluate import run
from parity.oracle.number import exactly
from parity.oracle.primitives import State
from parity.oracle.primitives.piecewise import TINY
from parity.oracle.primitives.products import entries_of

FITTED, SOLVED = 2, 3
"""Ranks: a number that fits explains less than a mistake that people make, a whole array less."""
NEAR = 1e-5
"""How near a fitted factor has to be to a short number; whether that is right the limit says."""
SNAPPED = (NEAR, 2.0**-23, 0.0)
"""How near a number that was solved for has to be to a short one, tried in turn: 0.9961 may be
meant, or 255/256."""
FIT_ROWS = 4096
NEWTON = 10
"""Steps of Gauss–Newton for one number."""
WORSE = 4.0
"""By how much a step may make it worse before the search ends."""
GAIN = 1e-2
"""By how much a number must bring the error down to be worth a trial."""
SCANNED = (1.0, 0.5, 0.1, 0.01)
"""Steps between the numbers tried for one that coordinates depend on; finer ones near the best."""
SCANNED_ROWS = 48
REACH = 0.2
"""How far from its right value such a number is looked for, relatively."""


def variants(question: Question) -> Iterator[Variant]:
    """Layers with other numbers, those that fit best."""
    yield from _terms(question)
    yield from _numbers(question)


# Factors of the terms of a layer's outermost sum


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


def _terms(question: Question) -> Iterator[Variant]:
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


# Single numbers: literals, and factors of inputs


def _numbers(question: Question) -> Iterator[Variant]:
    """Literals of other values, inputs times a factor: those that bring the error down."""
    part, program = question.sample, question.program
    literals: dict[tuple[float, str], list[int]] = {}
    for index, node in enumerate(program.nodes):
        if node.primitive == "literal" and node.settings["value"] != 0.0:
            literals.setdefault((node.settings["value"], node.role), []).append(index)
    cells = _before_cells(program)
    for (value, _), places in literals.items():
        groups = [tuple(places)] if len(places) > 1 else []
        groups += [(place,) for place in places]
        for group in groups:
            operand = _of_literal(program, group)

            def other(
                number: float, group: tuple[int, ...] = group, operand: str = operand,
                value: float = value,
            ) -> Variant:  # fmt: skip
                return Variant(operand, instead(number, value),
                               _with_literals(program, group, number), rank=FITTED)  # fmt: skip

            found = _newton(question, part, other, value)
            if found is None and group[0] in cells and abs(value) > 1:
                found = _scan(question, other, value)
            if found is not None:
                yield found
    for name in (*question.activations, *question.row.constants):
        array = entries_of(question.inputs[name].value)
        if np.ndim(array) == 0 or INPUTS.get(name) in ("camera", "index order", "support"):
            continue
        if np.ndim(array) == 4 and not question.row.is_map:
            continue

        # What is read in place of it says more than a factor of all that the layer does.
        rank = SOLVED if name in question.activations else FITTED

        def times(
            factor: float, name: str = name, array: np.ndarray = array, rank: int = rank
        ) -> Variant:
            return changed(question, "constant", f"{name} times {factor:.6g}", rank=rank,
                           inputs={name: factor * array})  # fmt: skip

        def held(factor: float, name: str = name, times: Make = times) -> Variant:
            """As float32 holds it: what is done to images is done before the network."""
            found = times(factor)
            given = {name: exactly(widened(found.inputs[name].value))}
            return replace(found, inputs=given, rank=FITTED)

        for make in (times, held) if question.parents.get(name) == IMAGES else (times,):
            found = _newton(question, part, make, 1.0)
            if found is not None:
                yield found


def instead(number: float, official: float) -> str:
    """Both numbers, to as many digits as tell them apart."""
    for digits in range(6, 18):
        first, second = (f"{each:.{digits}g}" for each in (number, official))
        if first != second:
            break
    return f"{first} instead of {second}"


def _of_literal(program: Program, places: Sequence[int]) -> str:
    """What a diagnosis calls a wrong literal."""
    for node in program.nodes:
        if set(node.operands) & set(places):
            value = abs(program.nodes[places[0]].settings["value"])
            if node.primitive == "add" and value < TINY:
                return "epsilon"
            return node.role if node.role in ("residual", "reduction") else "constant"
    return "constant"


def _with_literals(program: Program, places: Sequence[int], number: float) -> Program:
    nodes = list(program.nodes)
    for place in places:
        nodes[place] = replace(nodes[place], settings={"value": number})
    return Program(tuple(nodes), program.outputs, program.activations)


def _before_cells(program: Program) -> set[int]:
    """The nodes on which a coordinate depends of which only the cell counts that it falls into."""
    found: set[int] = set()
    for index in range(len(program.nodes) - 1, -1, -1):
        node = program.nodes[index]
        cell = node.primitive == "decide" and not node.settings["at_border"]
        if cell or index in found:
            found |= set(node.operands)
    return found


Make = Callable[[float], Variant]


def _newton(question: Question, part: Part, make: Make, start: float) -> Variant | None:
    """The variant of the number that fits best, by Gauss–Newton; None where none does."""
    seen = part.of(question.observed)
    number, first, last = start, None, np.inf
    for _ in range(NEWTON):
        step = 1e-4 * number
        value = question.value(make(number), part)
        moved = question.value(make(number + step), part)
        if value is None or moved is None:
            return None
        slope, away = (moved - value) / step, seen - value
        right = np.isfinite(slope) & np.isfinite(away)
        square = float(np.square(slope[right]).sum())
        size = float(np.abs(away[right]).max(initial=0.0))
        first = size if first is None else first
        if not 0 < square < np.inf or size >= WORSE * last:
            return None
        last = size
        change = float((slope[right] * away[right]).sum()) / square
        number += change
        if abs(change) <= 1e-12 * abs(number) or not np.isfinite(number):
            break
    if not last <= GAIN * (first or 0.0) or number == start:
        return None
    found = [make(each) for each in dict.fromkeys(_simplest(number, near) for near in SNAPPED)]
    return next((each for each in found if question.excess(each, part) <= 1.0), found[0])


def _simplest(number: float, tolerance: float) -> float:
    """The number of fewest digits that is as near as a tolerance."""
    for digits in range(1, 8):
        near = short(number, digits)
        if abs(near - number) <= tolerance * abs(near):
            return near
    return number


def _scan(question: Question, make: Make, start: float) -> Variant | None:
    """The variant of the number with which most elements are right.

    For coordinates that are rounded: what a cell holds fits or does not.
    """
    count = len(question.observed)
    some = np.linspace(0, count - 1, min(count, SCANNED_ROWS)).astype(np.int64)
    part = Part(rows=np.union1d(some, np.arange(0) if question.sample.rows is None
                                else question.sample.rows))  # fmt: skip
    seen = part.of(question.observed)
    scale = float(np.nanmax(np.abs(seen), initial=0.0))

    def misfit(number: float) -> float:
        value = question.value(make(number), part)
        if value is None:
            return 1.0
        with np.errstate(invalid="ignore"):
            return float(np.mean(~(np.abs(value - seen) <= NEAR * scale)))

    official = misfit(start)
    best, found = start, official
    low, high = (float(round(start + way * REACH * abs(start))) for way in (-1.0, 1.0))
    for step in SCANNED:
        for value in np.arange(low, high + step / 2, step):
            off = misfit(float(value))
            if off < found:
                best, found = float(round(value, 2)), off
        if found == 0:
            break
        low, high = best - step, best + step
    return make(best) if best != start and found < 0.5 * official else None


# Whole arrays


def orders(question: Question) -> Iterator[Variant]:
    """Rows or channels of the result in another order, found by looking for every one."""
    value, seen = question.official.value, question.observed
    limit = float(np.nanmax(question.official.limit, initial=0.0))
    if not np.isfinite(limit):
        return
    channels = seen.shape[-1]
    if channels > 1:
        flat = seen.reshape(-1, channels)
        order = same_order(flat, value.reshape(-1, channels), limit)
        # Zeros in place of channels are found somewhere else too, and are no evidence of an order.
        if (
            order is not None
            and (np.ptp(flat[:, order != np.arange(channels)], axis=0) > limit).any()
        ):
            yield Variant("channel order", f"output channels in another order{told(order)}",
                          question.program, columns=order)  # fmt: skip
    if question.row.is_map or len(seen) > FIT_ROWS:
        return
    flat, right = (each.reshape(len(each), -1).T for each in (seen, value))
    order = same_order(flat, right, limit)
    # Rows that occur twice are copies, and no other order.
    if order is None or (order == np.arange(len(order))).all():
        return
    if len(set(order.tolist())) == len(order):
        yield Variant("index order", f"rows in another order{told(order)}",
                      question.program, rows=order)  # fmt: skip


def told(order: np.ndarray) -> str:
    """Where few things changed their places: which, to be read after a name."""
    moved = np.flatnonzero(order != np.arange(len(order)))
    if len(moved) > 4:
        return ""
    return f" ({', '.join(f'{order[i]} at {i}' for i in moved)})"


def same_order(columns: np.ndarray, official: np.ndarray, tolerance: float) -> np.ndarray | None:
    """Which official column each observed one is, (n,), None where some match none.

    Arrays are (rows, n) and (rows, m); ``tolerance`` is absolute. Constant columns that cannot be
    told apart are taken in their own place where they fit there.
    """
    if len(columns) == 0 or columns.shape[1] > official.shape[1]:
        return None
    found = np.arange(columns.shape[1])
    own = official[:, : columns.shape[1]]
    with np.errstate(invalid="ignore"):
        wrong = np.flatnonzero(~(np.abs(columns - own).max(axis=0) <= tolerance))
    some = np.unique(np.linspace(0, len(columns) - 1, min(len(columns), 64)).astype(np.int64))
    for index in wrong:
        # Few rows tell which columns alone can be meant.
        away = np.abs(official[some] - columns[some, index : index + 1]).max(axis=0)
        near = np.flatnonzero(away <= tolerance)
        full = np.abs(official[:, near] - columns[:, index : index + 1]).max(axis=0, initial=0.0)
        if not len(near) or not full.min() <= tolerance:
            return None
        found[index] = near[int(np.argmin(full))]
    return found
