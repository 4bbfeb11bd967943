"""What of a way back is wrong, tested by putting it there.

At the gradient nearest to the loss that differs, one layer's way back is to blame, or the losses'.
Ways back that differ from the official one in a single operand are tried on the candidate's own
values and gradients. One that gives the candidate's gradient, all of it and within the limit of its
rounding, is what the candidate computes, and names the layer where several read the tap.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from network.kinds import variables_of
from network.taps import MESH, TAPS, TapRow
from parity.diagnosis.backward_ways import other_ways
from parity.oracle.backward.loss import CHAMFER_PATHS, chamfer, measured_of
from parity.oracle.backward.sums import Sum, zeros
from parity.oracle.backward.walk import (
    LOSS,
    THROUGH,
    Backward,
    BackwardRun,
    Walk,
    backward_of,
    backwards,
    decay_of,
    direct_terms,
)
from parity.oracle.chunks import Part
from parity.oracle.context import Context
from parity.oracle.layers.evaluate import share_of
from parity.verdict.gradients import Gradient


def diagnose(context: Context, run: BackwardRun, wrong: Gradient, label: str) -> Any:
    """What the candidate's way back does otherwise: a ``parity.diagnosis`` diagnosis, or None.

    Args:
        context: the reference's weights.
        run: the candidate.
        wrong: the first gradient that differs.
        label: its entry's name.
    """
    from parity.diagnosis.diagnosis import Diagnosis  # which reads the layers, as this does

    question = _Question.of(context, run, wrong)
    with np.errstate(invalid="ignore", over="ignore", divide="ignore"):
        for names in _groups(context.stage, wrong.layers):
            for operand, explanation, value in question.alternatives(names):
                if question.explained(value):
                    where = f"the way back through {' and '.join(names)}"
                    if names == (LOSS,):
                        where = "the losses' gradient at the mesh"
                    return Diagnosis(
                        label, operand, f"in {where} {explanation}", True, question.evidence(names)
                    )
    told = f"the way back through {wrong.layers[0]} is another"
    if len(wrong.layers) > 1:
        told = f"the way back through one of {', '.join(wrong.layers)} is another"
    return Diagnosis(label, "gradient", told, False)


def _groups(stage: str, layers: tuple[str, ...]) -> list[tuple[str, ...]]:
    """Each layer by itself, then all of a kind together: what is wrong in one may be in all."""
    kinds: dict[Any, list[str]] = {}
    for row in TAPS[stage]:
        if row.name in layers:
            kinds.setdefault(backward_of(row), []).append(row.name)
    together = [tuple(names) for names in kinds.values() if len(names) > 1]
    return [*((name,) for name in layers), *together]


@dataclass(eq=False)
class _Question:
    """One gradient that is not what it should be.

    Attributes:
        seen: the candidate's, where it is farthest from the official one.
        expected: the official one there, of the candidate's own values.
    """

    context: Context
    run: BackwardRun
    wrong: Gradient
    part: Part
    seen: np.ndarray
    expected: Sum

    @classmethod
    def of(cls, context: Context, run: BackwardRun, wrong: Gradient) -> "_Question":
        name = MESH if wrong.name == "mesh" else wrong.name
        variable = name in context.weights
        part = None if variable else wrong.part
        seen = run.variable(name) if variable else run.gradient(name, part)
        walk = Walk(context, run)
        readers = set(wrong.layers)
        for row, piece in backwards(context.stage, run.vertices):
            if row.name in readers and (part is None or _same(piece, part)):
                walk.step(row, piece)
        expected = walk.expected_variable(name) if variable else walk.expected(
            name, part, seen.shape
        )  # fmt: skip
        return cls(context, run, wrong, part, seen, expected)

    def alternatives(self, layers: tuple[str, ...]) -> Iterator[tuple[str, str, Sum]]:
        """What the gradient would be with other ways back through layers of one kind."""
        if layers == (LOSS,):
            yield from self._of_losses()
            return
        rows = [row for row in TAPS[self.context.stage] if row.name in layers]
        own = self._share(rows, backward_of(rows[0]))
        key = self.wrong.name if self.wrong.name in self.context.weights else ""
        rate = decay_of(self.context.stage, key) if key else 0.0
        if rate:
            weights = self.context.weights[key]
            yield "decay term", "the variable's decay is missing", own
            yield (
                "decay term",
                "the variable's decay has another factor",
                self._fitted(own, Sum(rate * weights, np.abs(rate * weights), 3)),
            )
        rest = replace(self.expected, value=self.expected.value - own.value)
        yield "detach", "nothing is handed back (stopped or detached)", rest
        yield "constant", "what is handed back has another factor", self._fitted(rest, own)
        for way in other_ways(rows[0]):
            there = self._share(rows, way.back)
            yield (
                way.operand,
                way.explanation,
                replace(
                    self.expected,
                    value=rest.value + there.value,
                    magnitude=self.expected.magnitude + there.magnitude,
                    fixed=self.expected.fixed + there.fixed,
                    undecided=self.expected.undecided + there.undecided,
                ),
            )

    def _of_losses(self) -> Iterator[tuple[str, str, Sum]]:
        name = MESH if self.wrong.name == "mesh" else self.wrong.name
        terms = dict(direct_terms(self.context, self.run).get(name, []))
        through = [term for term in terms if term.endswith(THROUGH)]
        if len(through) > 1:
            both = terms[through[0]] + terms[through[1]]
            terms[f"both {' and '.join(through)}"] = both
        for term, own in terms.items():
            rows = own if self.part is None else own.rows(self.part)
            rest = replace(self.expected, value=self.expected.value - rows.value)
            operand = "detach" if THROUGH in term else "missing term"
            yield operand, f"that of {term} is missing", rest
            yield "constant", f"{term} has another factor", self._fitted(rest, rows)

        yield from self._of_chamfer(name, terms)

    def _of_chamfer(self, name: str, terms: Mapping[str, Sum]) -> Iterator[tuple[str, str, Sum]]:
        """With one path of the chamfer term left out."""
        block, official = next(
            (int(term.rpartition("_")[2]), own)
            for term, own in terms.items()
            if term.startswith("chamfer_")
        )
        mesh, to = self.run.value(name, None), measured_of(self.run.measured, block)
        for left_out, explanation in CHAMFER_PATHS.items():
            changed = chamfer(mesh, to, left_out) + replace(official, value=-official.value)
            rows = changed if self.part is None else changed.rows(self.part)
            yield (
                "detach",
                f"no gradient passes {explanation}",
                replace(self.expected, value=self.expected.value + rows.value),
            )

    def _fitted(self, rest: Sum, own: Sum) -> Sum:
        """``rest`` and as much of ``own`` as fits best."""
        away = self.seen - rest.value
        square = float(np.square(own.value).sum())
        factor = float((away * own.value).sum()) / square if square else 0.0
        return replace(
            rest,
            value=rest.value + factor * own.value,
            magnitude=rest.magnitude + abs(factor) * np.abs(own.value),
        )

    def _share(self, rows: list[TapRow], back: Backward) -> Sum:
        """What layers of one kind hand back to the gradient in question."""
        name = MESH if self.wrong.name == "mesh" else self.wrong.name
        keys = {key: short for row in rows for short, key in variables_of(row).items()}
        total: Sum | None = None
        for each, piece in backwards(self.context.stage, self.run.vertices):
            if each not in rows or not (self.part is None or _same(piece, self.part)):
                continue
            parents = [self.run.value(parent, piece) for parent in each.parents]
            gradient = self.run.gradient(each.name, piece)
            out = self.run.value(each.name, piece).reshape(gradient.shape)
            found = back(each, parents, out, gradient, self.context)
            if name in keys:
                shares: list[Sum | None] = [found.variables[keys[name]]]
            else:
                shares = [
                    share
                    for parent, share in zip(each.parents, found.parents, strict=True)
                    if parent == name
                ]
            for share in shares:
                if share is not None:
                    total = share if total is None else total + share
        return zeros(self.seen.shape) if total is None else total.shaped(self.seen.shape)

    def explained(self, value: Sum) -> bool:
        """Whether the candidate's gradient is this one, all of it."""
        limit = value.limit(self.context.stage) + value.undecided
        expected = self.expected.limit(self.context.stage) + self.expected.undecided
        share = share_of(self.seen - value.value, limit + expected)
        return bool(share <= 1)

    def evidence(self, layers: tuple[str, ...]) -> tuple[str, ...]:
        """What else speaks for it."""
        others = [name for name in self.wrong.layers if name not in layers]
        if not others:
            return ()
        return (f"the ways back through {', '.join(others)} are the official ones",)


def _same(piece: Part, part: Part) -> bool:
    return piece is None or part is None or (piece.start, piece.stop) == (part.start, part.stop)
