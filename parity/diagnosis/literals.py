"""Single numbers of a layer, solved for: literals, and factors of what it reads."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

import numpy as np

from network.layers import INPUTS
from network.program import Program
from network.taps import IMAGES
from parity.diagnosis.factors import FITTED, NEAR, SOLVED, short
from parity.diagnosis.operands import changed
from parity.diagnosis.question import Part, Question, Variant
from parity.oracle.context import widened
from parity.oracle.number import exactly
from parity.oracle.primitives.piecewise import TINY
from parity.oracle.primitives.products import entries_of

SNAPPED = (NEAR, 2.0**-23, 0.0)
"""How near a number that was solved for has to be to a short one, tried in turn: 0.9961 may be
meant, or 255/256."""
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
            if node.primitive == "add" and value <= TINY:
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
        if number > 0 >= number + change:
            # Under a root the step for a smaller number goes beyond 0: by powers of ten instead.
            change = 0.1 * number - number
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
