"""What of a layer is wrong, tested by putting it into the layer.

At the first tap that differs the candidate's own inputs of that layer are right, so the layer alone
is to blame, or what it reads besides (images, weights, cameras). Layers are tried that differ from
the official one in a single operand, on those inputs. One that gives the candidate's output, all of
it and within the limit that its own rounding has, is what the candidate computes; as it differs
from the official layer in that operand alone, putting the official one back removes the difference.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

import numpy as np

from network.taps import TapRow
from parity.diagnosis import graphs, images, pointwise, projections
from parity.diagnosis.patterns import patterns
from parity.diagnosis.variant import Part, Question, Variant, Variants, excess
from parity.oracle.context import Context
from parity.oracle.layers.evaluate import Local, local_error
from parity.oracle.layers.rounding import spread

WORST, SPREAD = 8, 8
"""Rows that variants are first tried on: those with the greatest errors, and others."""
CHUNK = 12_000
"""Rows of a tap evaluated together, for memory's sake."""


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
    question = Question(
        row,
        [np.asarray(parents[name], dtype=np.float64) for name in row.parents],
        context,
        np.asarray(observed, dtype=np.float64),
        dtype,
        {} if others is None else others,
    )
    with np.errstate(invalid="ignore", over="ignore", divide="ignore"):
        local = _official(question, parents)
        if local is not None and local.worst <= 1.0:
            return None
        if local is not None:
            share = local.share().reshape(len(question.observed), -1)
            question = replace(question, wrong=share.max(axis=1) > 1.0)
        matches = list(_matching(question, local))
        if matches:
            return _named(question, matches)
        if local is None:
            return _other_shape(question)
        return _pointed(question, local)


def _official(question: Question, parents: Mapping[str, np.ndarray]) -> Local | None:
    """How far the tap is from the official one; None where it has not even its size."""
    # Probes may have fewer vertices than the table says; what follows is the same in all.
    if question.observed.shape[1:] != question.row.shape[1:]:
        return None
    return local_error(question.row, parents, question.context, question.observed, question.dtype)


def _family(row: TapRow) -> tuple[Variants, str]:
    """The variants of a tap's layer, and what a part of it is made of."""
    name, kind = row.name, row.name.rsplit(".", 1)[-1]
    if name.startswith("cnn."):
        return images.variants, "columns"
    if kind == "concat":
        return pointwise.concatenations, "rows"
    if row.parents[-1].startswith("cnn."):
        return projections.variants, "rows"
    if name.startswith("graph_pool"):
        return pointwise.unpoolings, "rows"
    if kind.startswith("residual"):
        return pointwise.sums, "rows"
    if name.startswith("graph_sample_hypothesis"):
        return pointwise.hypotheses, "rows"
    if kind == "score":
        return pointwise.scores, "rows"
    if kind.startswith("localgconv_"):
        return graphs.variants, "rows"
    return (graphs.variants, "columns") if row.stage == "coarse" else (pointwise.moves, "rows")


def _matching(question: Question, local: Local | None) -> Iterator[_Match]:
    variants, axis = _family(question.row)
    part = _part(question, local, axis)
    seen = part.of(question.observed)
    found = False
    for variant in variants(question):
        if variant.last_resort and found:
            continue
        if excess(seen, variant.evaluate(part), question) <= 1.0:
            share = _everywhere(question, variant, axis)
            if share <= 1.0:
                found = True
                yield _Match(variant, share)


def _everywhere(question: Question, variant: Variant, axis: str) -> float:
    count = len(question.observed)
    if axis == "columns" or count <= CHUNK:
        return excess(question.observed, variant.evaluate(Part()), question)
    width = max(1, CHUNK // int(np.prod(question.observed.shape[1:-1], dtype=np.int64)))
    worst = 0.0
    for start in range(0, count, width):
        part = Part(rows=np.arange(start, min(start + width, count)))
        worst = max(worst, excess(part.of(question.observed), variant.evaluate(part), question))
        if worst > 1.0:
            break
    return worst


def _part(question: Question, local: Local | None, axis: str) -> Part:
    """The worst rows or channels, and some more."""
    if local is None:
        count = min(len(question.observed), WORST)
        return Part(rows=np.arange(count)) if axis == "rows" else Part()
    share: np.ndarray = local.share().reshape(question.observed.shape)
    if axis == "columns":
        by_channel = share.reshape(-1, share.shape[-1]).max(axis=0)
        worst = np.argsort(-by_channel, kind="stable")[:2]
        size = np.nan_to_num(np.abs(question.observed)).reshape(-1, share.shape[-1]).sum(axis=0)
        columns = np.unique([*worst, *np.argsort(-size, kind="stable")[:2]])
        if not question.row.name.startswith("cnn."):
            return Part(columns=columns)
        by_view = share.reshape(len(share), -1).max(axis=1)
        return Part(np.array([np.argmax(by_view)]), columns)
    by_row = share.reshape(len(share), -1).max(axis=1)
    worst = np.argsort(-by_row, kind="stable")[:WORST]
    some = np.linspace(0, len(share) - 1, min(len(share), SPREAD)).astype(np.int64)
    return Part(rows=np.unique([*worst, *some]))


def _named(question: Question, matches: list[_Match]) -> Diagnosis:
    """From the variants that give the output; the first is the most usual fault of them."""
    first = matches[0]
    operands = list(dict.fromkeys(match.variant.operand for match in matches))
    count = first.share * spread(question.row.stage)
    also = tuple(f"so it is with {match.variant.change}" for match in matches[1:6])
    said = (
        f"with {first.variant.change} the candidate's output is reproduced to {count:.2g} roundings"
    )
    if len(operands) > 1:
        names = " or ".join(operands)
        said += f", but not only so: the {names} may be wrong, which this input does not tell apart"
        return Diagnosis(question.row.name, operands[0], said, False, also)
    said += f"; so putting back the official layer's {operands[0]} removes the difference"
    return Diagnosis(question.row.name, operands[0], said, True, also)


def _other_shape(question: Question) -> Diagnosis:
    found, expected = question.observed.shape, question.row.shape
    said = f"the shape is {found} instead of {expected}"
    operand = "hypothesis order" if question.row.stage == "refine" else "index order"
    return Diagnosis(question.row.name, operand, said, False, (said,))


def _pointed(question: Question, local: Local) -> Diagnosis | None:
    hints = list(patterns(question, local))
    if not hints:
        return None
    operand, seen = hints[0]
    said = f"no change of one operand gives the output; that {seen} points to the {operand}"
    evidence = tuple(f"{what} ({operand})" for operand, what in hints)
    return Diagnosis(question.row.name, operand, said, False, evidence)
