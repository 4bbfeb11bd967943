"""What a loss term that differs points to, tried out on the meshes that it was taken of.

As for a layer (``parity.diagnosis.diagnosis``): the official term with one operand changed, on the
candidate's own meshes; the change that gives the candidate's value is what the candidate computes.
The primitives list most changes; what differs in more than one operation, or in what a term is
taken of, stands here. A term is one number, so nothing is solved for: a factor is believed where it
is a fraction of numbers so small that no other value would have had one.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from fractions import Fraction
from typing import Any

import numpy as np
import scipy.sparse as sp

from inputs.cameras import Camera, camera_from_row, camera_to_world
from network.program import Expression, Program, call, trace
from network.registry import network_of
from network.taps import TapRow
from network.terms import chamfer, edges, mean, square_length
from parity.diagnosis import mistakes
from parity.diagnosis.diagnosis import Diagnosis, named
from parity.diagnosis.question import Part, Question, Variant
from parity.oracle.context import Context, constant
from parity.oracle.local import Alone, Local
from parity.oracle.losses import Term, kind_of
from parity.oracle.number import Arithmetic, Number, exactly
from parity.oracle.primitives.products import entries_of

SINGLE = 2.0**-23
"""How near a variant must come, of the value: a port holds constants, and ground truth that it
brings into a frame, in float32 or not."""
LUCK = 1e-3
"""How likely a value without a factor may have one that is believed."""
MOST = 1000
"""The greatest denominator of such a factor."""


def diagnose(
    term: Term,
    meshes: Mapping[str, np.ndarray],
    seen: float,
    context: Context,
    arithmetic: Arithmetic,
) -> Diagnosis | None:
    """Name the operand of a loss term that a candidate has wrong.

    Args:
        term: the official one, with what it is measured with.
        meshes: the candidate's, (V, 3), by tap or ``inputs/mesh``.
        seen: the candidate's value.
        context: cameras and graphs of the official function.
        arithmetic: of the candidate's run.

    Returns:
        None where nothing gives what was seen, or where the value is right.
    """
    name = f"losses/{term.label}"
    number = term.value(meshes, arithmetic)
    official, limit = float(number.value), float(arithmetic.limit(number) + number.undecided)
    away = abs(seen - official)
    if not np.isfinite(seen) or away <= limit:
        return None
    if seen == 0.0:
        return Diagnosis(name, "missing term", "the term is 0", True)
    question = _question(term, meshes, seen, number, context, arithmetic)
    reach = max(limit, SINGLE * abs(seen))
    fits: dict[int, list[Variant]] = {}
    for variant in _variants(question, kind_of(term.label)) if away > reach else ():
        value = question.value(variant, Part())
        if value is not None and abs(float(value) - seen) <= reach:
            fits.setdefault(variant.rank, []).append(variant)
    if fits:
        fitting = fits[min(fits)]
        said = f"with {fitting[0].change} the candidate's value is reproduced"
        return named(name, fitting, said, "")
    factor = _factor(official, seen, limit)
    if factor is None:
        return None
    return Diagnosis(name, "constant", f"it is {float(factor):.6g} times the official value", True)


def less_precise(name: str) -> Diagnosis:
    """What is said of a term that is right in float64 and not in the run's own precision."""
    said = "in float64 the term is right: it is computed in less precision than was asked for"
    return Diagnosis(f"losses/{name}", "precision", said, True)


def diagnose_total(
    values: Mapping[str, float], seen: float, expected: float, limit: float
) -> Diagnosis | None:
    """Name what a total lacks; ``values``: the official terms, by name."""
    for term, value in values.items():
        if value and abs(expected - value - seen) <= limit < abs(value):
            return Diagnosis("losses/total", "missing term", f"the total is without {term}", True)
    return None


def diagnose_decay(context: Context, seen: float, limit: float) -> Diagnosis | None:
    """Name which variables decay otherwise than they should."""
    network = network_of(context.stage)
    kinds: dict[tuple[bool, str], list[str]] = {}
    for row in network.taps:
        for variable, key in row.variables.items():
            keys = kinds.setdefault((row.is_map, variable), [])
            if key not in keys:
                keys.append(key)
    rates = {in_maps: max((network.decay(key) for (maps, _), keys in kinds.items()
                           if maps == in_maps for key in keys), default=0.0)
             for in_maps in (True, False)}  # fmt: skip

    def decay(rate: Callable[[tuple[bool, str], str], float]) -> float:
        return sum(
            0.5 * rate(kind, key) * float(np.square(context.weights[key]).sum())
            for kind, keys in kinds.items()
            for key in keys
        )

    tried = {
        "without the factor ½": 2.0 * decay(lambda _, key: network.decay(key)),
        "of nothing": 0.0,
    }
    for kind, keys in kinds.items():
        place = "the image network" if kind[0] else "graph convolutions"
        on = any(network.decay(key) for key in keys)
        words = f"{'without' if on else 'with'} the {kind[1]} of {place}"
        tried[words] = decay(
            lambda other, key, kind=kind, on=on: (  # type: ignore[misc]
                network.decay(key) if other != kind else 0.0 if on else rates[kind[0]]
            )
        )
    reach = limit + SINGLE * abs(seen)
    for words, value in tried.items():
        if abs(value - seen) <= reach:
            return Diagnosis("losses/decay", "decay term", f"it is the decay {words}", True)
    return None


def _question(
    term: Term,
    meshes: Mapping[str, np.ndarray],
    seen: float,
    number: Number,
    context: Context,
    arithmetic: Arithmetic,
) -> Question:
    """The term as a layer without rows and channels."""
    row = TapRow(context.stage, 0, term.label, "", "", (), tuple(term.meshes.values()), "",
                 formula=term.program, block=1)  # fmt: skip
    limit = arithmetic.limit(number)
    official = Local(
        Alone(number.value, limit, limit, np.zeros(())), np.asarray(seen - number.value)
    )
    return Question(row, term.program, term.given(meshes), context, np.asarray(seen, np.float64),
                    official, arithmetic, {})  # fmt: skip


def _factor(official: float, seen: float, limit: float) -> Fraction | None:
    """A small fraction that the value is of the official one, if that is no luck."""
    if not official or not np.isfinite(official) or not np.isfinite(seen):
        return None
    error = max(limit / abs(official), np.finfo(np.float64).eps)
    # Of denominators up to n there are about 0.3 n² fractions between 0 and 1.
    most = int(min(MOST, np.sqrt(LUCK / (0.6 * error))))
    ratio = seen / official
    near = Fraction(ratio).limit_denominator(most) if most else Fraction()
    return near if near and abs(ratio - float(near)) <= error * abs(ratio) else None


def _variants(question: Question, kind: str) -> Iterator[Variant]:
    yield from mistakes.variants(question)
    for operand, change, program, inputs in _OTHERS[kind](question):
        yield Variant(operand, change, program or question.program, inputs)


Other = tuple[str, str, Program | None, Mapping[str, Number]]
"""Operand, what is otherwise, another program, other inputs."""


def _array(question: Question, name: str) -> np.ndarray:
    return np.asarray(question.inputs[name].value)


def _settings(question: Question) -> dict[str, Any]:
    """The factors that the term's programs take."""
    factors = network_of(question.row.stage).losses
    assert factors is not None, "a loss term of a network without any"
    kind = kind_of(question.row.name)
    found: dict[str, Any] = {"weight": float(getattr(factors, kind))}
    return {**found, "backward": factors.backward} if kind == "chamfer" else found


def _chamfer(question: Question) -> Iterable[Other]:
    # The factor of one direction, b, on the other: w (b·x + y) = w b (x + y / b).
    weight, factor = (_settings(question)[name] for name in ("weight", "backward"))
    turned = trace(chamfer, weight=weight * factor, backward=1.0 / factor)
    yield "constant", "the factor of one direction on the other", turned, {}
    for what, points in _frames(_array(question, "points"), question.context, place=True):
        yield "frame", f"ground truth {what}", None, {"points": exactly(points)}


def _normal(question: Question) -> Iterable[Other]:
    for what, normals in _frames(_array(question, "normals"), question.context, place=False):
        yield "frame", f"normals {what}", None, {"normals": exactly(normals)}
    ends = {"first": question.inputs["second"], "second": question.inputs["first"]}
    yield "index order", "the normal at the other end of each edge", None, ends
    yield from _proper(question)


def _frames(vectors: np.ndarray, context: Context, place: bool) -> Iterator[tuple[str, np.ndarray]]:
    """Points, or directions, as they were before they came into the first camera's frame."""
    first, *others = (camera_from_row(row) for row in context.cameras)
    world = _in_the_world(vectors, first, place)
    yield "left in the world's frame", world
    for number, camera in enumerate(others, start=1):
        here = world - camera.position if place else world
        yield f"in the frame of view {number}", here @ camera.rotation.T


def _in_the_world(vectors: np.ndarray, camera: Camera, place: bool) -> np.ndarray:
    world = camera_to_world(vectors, camera)
    return np.asarray(world if place else world - camera.position)


def _proper(question: Question) -> Iterable[Other]:
    """The pairs without those that join a vertex with itself; every edge in one direction."""
    first, second = _array(question, "first"), _array(question, "second")
    for words, kept in {
        "edges of length 0 not counted": first != second,
        "every edge counted once": first < second,
    }.items():
        inputs = {"first": exactly(first[kept]), "second": exactly(second[kept])}
        yield "reduction", words, None, inputs


def _edge(question: Question) -> Iterable[Other]:
    def lengths(
        after: Expression, *, first: Expression, second: Expression, weight: float
    ) -> Expression:
        return mean(call("sqrt", square_length(edges(after, first, second)))) * weight

    unsquared = trace(lengths, **_settings(question))
    yield "reduction", "lengths for their squares", unsquared, {}
    for _, words, _, pairs in _proper(question):
        yield "reduction", words, None, pairs
        yield "reduction", f"lengths for their squares, {words}", unsquared, pairs


def _laplace(question: Question) -> Iterable[Other]:
    degrees = _array(question, "degrees")
    near = sp.csr_array(entries_of(question.inputs["neighbours"].value))
    count = len(degrees)
    for words, other in {
        "the neighbours' sum divided by the columns of their table": np.full_like(degrees, COLUMNS),
        "a vertex counted in its degree": degrees + 1.0,
    }.items():
        yield "constant", words, None, {"degrees": exactly(other)}
    padding = COLUMNS - np.diff(near.indptr)
    for words, column in {"last": count - 1, "first": 0}.items():
        extra = sp.csr_array(
            (padding.astype(np.float64), (np.arange(count), np.full(count, column))),
            shape=(count, count),
        )
        yield (
            "index order", f"padding read as the {words} vertex", None,
            {"neighbours": constant(near + extra)},
        )  # fmt: skip
    own = {"neighbours": constant(near + sp.eye_array(count, format="csr"))}
    yield "index order", "a vertex among its own neighbours", None, own
    both = {**own, "degrees": exactly(degrees + 1.0)}
    yield "index order", "a vertex among its own neighbours, and counted", None, both


def _move(question: Question) -> Iterable[Other]:
    del question  # the primitives list all of it
    return ()


COLUMNS = 8
"""Of the table of neighbours that the official Laplace term reads, padded with −1."""
_OTHERS: dict[str, Callable[[Question], Iterable[Other]]] = {
    "chamfer": _chamfer,
    "normal": _normal,
    "edge": _edge,
    "laplace": _laplace,
    "move": _move,
}
"""Other terms that stand in place of the official ones, by kind."""
