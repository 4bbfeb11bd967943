"""What an error looks like where no changed layer gives the output: a hint, or nothing.

A hint needs evidence of its own, which an error of another operand would not show. What is only
likely is not said.
"""

from collections.abc import Iterator

import numpy as np

from network.program import Program, formula
from network.registry import network_of
from network.taps import IMAGES
from parity.diagnosis import mistakes
from parity.diagnosis.question import Question
from parity.oracle.context import PREFIX
from parity.oracle.local import pixels_of
from parity.oracle.primitives.narrow import NARROWER, narrowed

ALIKE = 0.1
"""Of a pattern, what may be left unexplained: its root mean square over that of the error."""
ENOUGH = 100
"""Values of which a narrower type is proved."""
DROPPED = 0.05
"""How near a factor is to the reciprocal of the share that dropout kept: draws vary."""
NOISE = 1e-3
"""By how much the factor of elements may vary, relatively."""
BORDER = 3
"""Pixels from the border that padding reaches: the greatest kernel is 5×5, at stride 2."""


def hints(question: Question) -> Iterator[tuple[str, str]]:
    """Operand and what was seen, the most telling first."""
    observed, official, wrong = question.observed, question.official.value, question.share > 1.0
    yield from _not_numbers(question)
    kind = representable(observed)
    if kind is not None and representable(official) is None:
        yield "precision", f"all values are exactly representable in {kind}"
    if question.row.is_map and official.ndim == 4:
        views = IMAGES.removeprefix(PREFIX) in network_of(question.row.stage).inputs
        yield from _of_an_image(official, wrong, views)
    if any(node.primitive == "decide" for node in question.program.nodes):
        yield from _of_a_projection(question, wrong)
    last = question.program.nodes[question.program.outputs["value"]]
    if last.primitive == "relu" and (observed < 0).any():
        yield "activation", "there are negative values, which a ReLU never leaves"
    yield from _of_dropout(question)
    if "bias" in question.row.variables:
        yield from _of_a_bias(question)


def _not_numbers(question: Question) -> Iterator[tuple[str, str]]:
    """What one side alone has no number for: made of finite inputs, or replaced by a number."""
    seen, official = question.observed, question.official.value
    found = np.isnan(official) & np.isfinite(seen)
    if found.any():
        at = np.argwhere(found)[0].tolist()
        yield (
            "not a number",
            f"{np.count_nonzero(found)} elements, the first at {at}, have numbers where there is "
            "none",
        )
    lost = ~np.isfinite(seen) & np.isfinite(official)
    if not lost.any():
        return
    inputs = [
        number.value for name, number in question.inputs.items()
        if name in question.activations or name in question.row.variables
    ]  # fmt: skip
    at = np.argwhere(lost)[0].tolist()
    what = "NaN" if np.isnan(seen[tuple(at)]) else "infinite"
    if all(np.isfinite(array).all() for array in inputs):
        where = _operation(question, int(at[0]))
        yield (
            "not a number",
            (
                f"{np.count_nonzero(lost)} elements, the first at {at}, are {what}, though what "
                f"the layer reads is finite{f': {where}' if where else ''}"
            ),
        )


def _operation(question: Question, row: int) -> str:
    """The operation that can make what is no number in a row; empty where none can.

    Of the official layer what rounding or the type's range may undo; then what overflows, or is a
    division by 0, where a mistake is made.
    """
    told = _undefined(question, row, question.program, slack=True)
    if told:
        return told
    for variant in mistakes.variants(question):
        if not variant.whole and (told := _undefined(question, row, variant.program, slack=False)):
            return f"with {variant.change} {told}"
    return ""


def _undefined(question: Question, row: int, program: Program, slack: bool) -> str:
    """The first operation of a program that has no finite result, with ``slack`` by rounding."""
    most = np.finfo(question.arithmetic.holds).max
    try:
        found = question.at(row, program)
    except (ValueError, IndexError, np.linalg.LinAlgError):
        return ""
    for index, node in enumerate(program.nodes):
        if index not in found or node.primitive in ("input", "literal"):
            continue
        words = formula(program, index, 2)
        if (np.abs(found[index].value) > most).any() and node.primitive != "divide":
            return f"{words} overflows"
        if node.primitive not in ("divide", "sqrt", "log"):
            continue
        number = found[node.operands[-1]]
        reach = question.arithmetic.limit(number) if slack else 0.0
        if node.primitive == "divide" and (np.abs(number.value) <= reach).any():
            return f"{words} divides by 0, or what rounding may make of it"
        if node.primitive != "divide" and (number.value < reach).any():
            return f"{words} is of a negative number, or of what rounding may make of 0"
    return ""


def _of_dropout(question: Question) -> Iterator[tuple[str, str]]:
    """Some elements 0, and all others the right ones over the share that was kept."""
    seen, official = question.observed, question.official.value
    there = np.isfinite(official) & (official != 0)
    lost = there & (seen == 0)
    share = float(lost.sum()) / max(float(there.sum()), 1.0)
    kept = there & ~lost
    if not (0.0 < share < 1.0 and kept.any()):
        return
    ratio = seen[kept] / official[kept]
    factor = float(np.median(ratio))
    if abs(factor * (1.0 - share) - 1.0) < DROPPED and np.ptp(ratio) <= NOISE * abs(factor):
        yield (
            "dropout",
            f"{share:.0%} of all elements are 0 and the others {factor:.4g} times right",
        )


def _of_an_image(official: np.ndarray, wrong: np.ndarray, views: bool) -> Iterator[tuple[str, str]]:
    """What errors of feature maps (N, H, W, C) point to; ``views``: whether the first are views."""
    some = wrong.any(axis=(1, 2, 3))
    if views and not some.all():
        yield "view order", f"only views {np.flatnonzero(some).tolist()} are wrong"
    height, width = official.shape[1:3]
    inner = wrong[:, BORDER : height - BORDER, BORDER : width - BORDER]
    if inner.size and not inner.any():
        rows, columns = (np.asarray(wrong.any(axis=axes)) for axes in ((0, 2, 3), (0, 1, 3)))
        yield "padding", f"errors only in rows {_ends(rows)} and columns {_ends(columns)}"


def _of_a_projection(question: Question, wrong: np.ndarray) -> Iterator[tuple[str, str]]:
    flat = wrong.reshape(-1, wrong.shape[-1])
    blocks = np.array_split(np.arange(3, flat.shape[1]), 3)
    bad = [bool(flat[:, block].any()) for block in blocks]
    names = ("maximum", "mean", "deviation")
    if not flat[:, :3].any() and any(bad) and not all(bad):
        found = [name for name, each in zip(names, bad, strict=True) if each]
        yield "pooling statistic", f"only {' and '.join(found)} over views wrong"
        return
    points = question.inputs[question.activations[0]].value
    at = pixels_of(question.row, points, question.context)
    with np.errstate(invalid="ignore"):
        beyond = ((at.value >= 222.0) | (at.value <= 1.0)).any(axis=(1, 2))
        inside = np.clip(at.value, 0.0, 223.0)
        whole = (np.abs(inside - np.round(inside)) <= at.error).any(axis=(1, 2))
    rows = flat.any(axis=1)
    if rows.all():
        return
    # Rows of the kind that are all wrong, and no others, are evidence; a few of many are none.
    if beyond.any() and not (rows & ~beyond).any():
        yield "border pixels", f"all {np.count_nonzero(rows)} wrong rows lie at the border"
    elif whole.any() and not (rows & ~whole).any():
        yield "integer pixels", f"all {np.count_nonzero(rows)} wrong rows have an integer pixel"


def _of_a_bias(question: Question) -> Iterator[tuple[str, str]]:
    """An error that is the same wherever the activation lets a channel through."""
    channels = question.observed.shape[-1]
    seen = question.observed.reshape(-1, channels)
    official = question.official.value.reshape(-1, channels)
    error = question.official.error.reshape(-1, channels)
    on = (seen > 0) & (official > 0) & np.isfinite(error)
    counts = on.sum(axis=0)
    told = counts >= 2
    if not told.any():
        return
    error = np.where(on, error, 0.0)
    mean = error.sum(axis=0) / np.maximum(counts, 1)
    left = np.where(on, error - mean, 0.0)[:, told]
    size = np.sqrt(np.square(np.where(on, mean, 0.0)[:, told]).sum())
    limit = question.official.limit.reshape(-1, channels)[:, told]
    if size and np.sqrt(np.square(left).sum()) <= ALIKE * size and (np.abs(left) <= limit).all():
        yield "bias", "the error is the same at every place of a channel"


def _ends(wrong: np.ndarray) -> str:
    found = np.flatnonzero(wrong).tolist()
    return str(found if len(found) <= 6 else [*found[:3], "...", *found[-3:]])


def representable(values: np.ndarray) -> str | None:
    """The narrowest of bfloat16, float16 and TF32 that holds all values; None if none does.

    Zeros and what is not finite count for nothing, and fewer than ``ENOUGH`` other values prove
    nothing.
    """
    counted = values[np.isfinite(values) & (values != 0)]
    if counted.size < ENOUGH:
        return None
    for kind in sorted(NARROWER, key=lambda name: -NARROWER[name]):
        if np.array_equal(narrowed(counted, kind), counted):
            return kind
    return None
