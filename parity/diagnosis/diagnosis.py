"""What of a layer is wrong, tested by putting it into the layer.

At the first tap that differs the candidate's own inputs of that layer are right, so the layer alone
is to blame, or what it reads besides (images, weights, cameras). Layers are tried that differ from
the official one in a single operand, on those inputs. One that gives the candidate's output, all of
it and within the limit that its own rounding has, is what the candidate computes; as it differs
from the official layer in that operand alone, putting the official one back removes the difference.

The layers that are tried are the official program with a mistake in one of its primitives, with
another variable, constant or activation, or with numbers that are solved for.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain

import numpy as np

from network.layers import INPUTS
from network.taps import TapRow
from parity.diagnosis import (
    activations,
    arrays,
    factors,
    layers,
    literals,
    mistakes,
    operands,
    orders,
    pieces,
)
from parity.diagnosis.hints import hints
from parity.diagnosis.question import Part, Question, Variant, excess
from parity.oracle.confidence import arithmetic_of
from parity.oracle.context import Context
from parity.oracle.evaluate import evaluate
from parity.oracle.local import layer_inputs, local_error
from parity.oracle.number import Arithmetic, Number, exactly

MOST_ROWS = 64
"""Rows of a constant that are left out by turns."""
MOST_MATCHES = 12
"""Variants of a rank that are tried on all of a tap: more tell nothing else."""


@dataclass(frozen=True)
class Diagnosis:
    """What a layer does otherwise.

    Attributes:
        tap: its name.
        operand: the term for what is wrong: padding, bias, camera, …
        explanation: a sentence.
        confirmed: whether a counterfactual gave the candidate's output; otherwise the operand is
            only what the pattern of the error points to.
        evidence: what else was seen, a clause each.
    """

    tap: str
    operand: str
    explanation: str
    confirmed: bool
    evidence: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class _Match:
    """A variant that gives the output.

    ``share``: the greatest difference over the limit.
    """

    variant: Variant
    share: float


def diagnose(
    row: TapRow,
    parents: Mapping[str, np.ndarray],
    context: Context,
    observed: np.ndarray,
    dtype: str = "float64",
    *,
    others: Mapping[str, np.ndarray] | None = None,
) -> Diagnosis | None:
    """Name the operand that a candidate's layer has wrong.

    Args:
        row: the first tap that differs.
        parents: the candidate's own values of ``row.parents``; inputs of the network as given.
        context: weights, cameras and graphs of the official function.
        observed: the candidate's tap.
        dtype: the precision that the candidate was asked for. Names are surest in float64.
        others: more of the candidate's taps: maps or residuals read in place of the right ones can
            only be recognised among them.

    Returns:
        None if the layer is right within rounding, or if nothing can be said.
    """
    given = {name: np.asarray(parents[name], np.float64) for name in row.parents}
    observed = np.asarray(observed, np.float64)
    arithmetic = arithmetic_of(context.stage, dtype)
    inputs = layer_inputs(row, row.program, given, context)
    with np.errstate(invalid="ignore", over="ignore", divide="ignore"):
        # Probes may have fewer vertices than the table says; what follows is the same in all.
        if observed.shape[1:] != row.shape[1:]:
            return _of_another_shape(row, observed, inputs, arithmetic)
        official = local_error(row, given, context, observed, dtype)
        if official.worst <= 1.0:
            return None
        question = Question(
            row, row.program, inputs, context, observed.reshape(official.value.shape), official,
            arithmetic, {} if others is None else others,
        )  # fmt: skip
        matches = _matching(question)
        if not matches:
            return _pointed(question)
        variants = [match.variant for match in matches]
        count = matches[0].share * question.arithmetic.confidence
        said = (
            f"with {variants[0].change} the candidate's output is reproduced to {count:.2g} "
            "roundings"
        )
        removed = "; so putting back the official layer's {} removes the difference"
        return named(question.row.name, variants, said, removed)


def _matching(question: Question) -> list[_Match]:
    """The variants of the lowest rank of which any gives the output."""
    part = question.sample
    tried = chain(
        layers.variants(question), mistakes.variants(question), pieces.variants(question),
        operands.variants(question), activations.variants(question), orders.variants(question),
    )  # fmt: skip
    solved = chain(
        factors.variants(question), literals.variants(question), arrays.variants(question)
    )
    return _confirmed(question, tried, part) or _confirmed(question, solved, part)


def _confirmed(question: Question, variants: Iterable[Variant], part: Part) -> list[_Match]:
    fitting: dict[int, list[Variant]] = {}
    for variant in variants:
        where = Part(columns=part.columns) if variant.whole else part
        if question.excess(variant, where) <= 1.0:
            fitting.setdefault(variant.rank, []).append(variant)
    for rank in sorted(fitting):
        matches = [
            _Match(variant, share)
            for variant in fitting[rank][:MOST_MATCHES]
            if (share := question.everywhere(variant)) <= 1.0
        ]
        if matches:
            return matches
    return []


def named(tap: str, fitting: Sequence[Variant], said: str, removed: str) -> Diagnosis:
    """From the variants that give what was seen.

    Args:
        tap: what differs.
        fitting: the variants; the first is the most usual fault of them.
        said: that it gives what was seen.
        removed: what removes the difference, where it is one operand; ``{}`` stands for it.
    """
    names = list(dict.fromkeys(variant.operand for variant in fitting))
    also = tuple(f"so it is with {variant.change}" for variant in fitting[1:6])
    if len(names) > 1:
        either = " or ".join(names)
        said += (
            f", but not only so: the {either} may be wrong, which this input does not tell apart"
        )
        return Diagnosis(tap, either, said, False, also)
    return Diagnosis(tap, names[0], said + removed.format(names[0]), True, also)


def _pointed(question: Question) -> Diagnosis | None:
    found = list(hints(question))
    if not found:
        return None
    operand, seen = found[0]
    said = f"no change of one operand gives the output; that {seen} points to the {operand}"
    if operand == "not a number":
        said = f"no change of one operand gives the output: {seen}"
    evidence = tuple(f"{what} ({name})" for name, what in found)
    return Diagnosis(question.row.name, operand, said, False, evidence)


def _of_another_shape(
    row: TapRow, observed: np.ndarray, inputs: Mapping[str, Number], arithmetic: Arithmetic
) -> Diagnosis:
    """A constant with a row left out, where that gives the output; otherwise the shape alone."""
    said = f"the shape is {observed.shape} instead of {row.shape}"
    for name in row.constants:
        array = inputs[name].value
        for left in range(len(array)) if array.ndim == 2 and len(array) <= MOST_ROWS else ():
            given = {**inputs, name: exactly(np.delete(array, left, axis=0))}
            try:
                number = evaluate(row.program, given, arithmetic).number
            except (ValueError, IndexError):
                break
            if number.value.shape != observed.shape:
                break
            if excess(observed, number.value, arithmetic.limit(number)) <= 1.0:
                change = f"{said}: with row {left} of {name} left out the output is reproduced"
                return Diagnosis(row.name, INPUTS.get(name, name), change, True)
    return Diagnosis(row.name, "shape", said, False, (said,))
