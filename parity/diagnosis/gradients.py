"""What of a backward pass is wrong, tested by putting it there.

At the gradient nearest to the loss that differs, the backward pass of one layer is to blame, or of
the losses. Vector–Jacobian products that differ from the official one in a single operand are tried
on the candidate's own values and gradients. One that gives the candidate's gradient, all of it and
within the limit of its rounding, is what the candidate computes, and names the layer where several
read the tap.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from network.program import Expression, Program, formula, rewritten
from network.registry import network_of
from network.taps import MESH, TapRow
from parity.diagnosis.diagnosis import Diagnosis
from parity.oracle.chunks import Part, rows_in
from parity.oracle.confidence import backward_arithmetic_of
from parity.oracle.context import Context
from parity.oracle.local import share_of
from parity.oracle.losses import loss_terms
from parity.oracle.number import Arithmetic, Number
from parity.oracle.primitives import RULES
from parity.oracle.vjp import derived
from parity.oracle.walk import (
    LOSS,
    THROUGH,
    BackwardRun,
    Walk,
    backwards,
    direct_terms,
    handed_back,
    meshes_of,
    rows_of,
)


class Wrong(Protocol):
    """A gradient that differs: what ``parity.verdict.gradients`` says of it."""

    @property
    def name(self) -> str:
        """A tap, ``mesh``, or a checkpoint key."""

    @property
    def layers(self) -> tuple[str, ...]:
        """Whose backward pass it is: those that read the tap, or the variable's own."""

    @property
    def part(self) -> Part:
        """Where it is worst."""


def diagnose(context: Context, run: BackwardRun, wrong: Wrong, label: str) -> Diagnosis:
    """What the candidate's backward pass does otherwise.

    Args:
        context: the reference's weights.
        run: the candidate.
        wrong: the first gradient that differs.
        label: its entry's name.
    """
    question = _Question.of(context, run, wrong)
    if question.untrained:
        said = "the gradient there is right, and none is taken of the variable: it is not trained"
        return Diagnosis(label, "training", said, True)
    with np.errstate(invalid="ignore", over="ignore", divide="ignore"):
        for names in _groups(context.stage, wrong.layers):
            for found in question.alternatives(names):
                if question.explained(found):
                    where = f"the backward pass of {' and '.join(names)}"
                    if names == (LOSS,):
                        where = "the losses' gradient at the mesh"
                    return Diagnosis(
                        label, found.operand, f"in {where} {found.words}", True,
                        question.evidence(names),
                    )  # fmt: skip
    told = f"the backward pass of {wrong.layers[0]} is another"
    if len(wrong.layers) > 1:
        told = f"the backward pass of one of {', '.join(wrong.layers)} is another"
    return Diagnosis(label, "gradient", told, False)


def _groups(stage: str, layers: tuple[str, ...]) -> list[tuple[str, ...]]:
    """Each layer by itself, then all of a kind together: what is wrong in one may be in all."""
    kinds: dict[str, list[str]] = {}
    for row in network_of(stage).taps:
        if row.name in layers:
            kinds.setdefault(row.layer, []).append(row.name)
    together = [tuple(names) for names in kinds.values() if len(names) > 1]
    return [*((name,) for name in layers), *together]


@dataclass(frozen=True, eq=False)
class _Bounded:
    """A gradient, and how far rounding may put a run from it."""

    value: np.ndarray
    limit: np.ndarray

    @classmethod
    def of(cls, number: Number, arithmetic: Arithmetic) -> "_Bounded":
        limit = arithmetic.limit(number) + number.undecided
        return cls(number.value, np.where(np.isnan(limit), np.inf, limit))

    def __add__(self, other: "_Bounded") -> "_Bounded":
        return _Bounded(self.value + other.value, self.limit + other.limit)

    def __sub__(self, other: "_Bounded") -> "_Bounded":
        return _Bounded(self.value - other.value, self.limit + other.limit)

    def times(self, factor: float) -> "_Bounded":
        return _Bounded(factor * self.value, abs(factor) * self.limit)

    def shaped(self, shape: tuple[int, ...]) -> "_Bounded":
        return _Bounded(self.value.reshape(shape), self.limit.reshape(shape))


@dataclass(frozen=True, eq=False)
class _Alternative:
    """What a gradient would be with one operand of the backward pass changed."""

    operand: str
    words: str
    gradient: _Bounded


@dataclass(eq=False)
class _Question:
    """One gradient that is not what it should be.

    Attributes:
        seen: the candidate's, where it is farthest from the official one.
        expected: the official one there, of the candidate's own values.
    """

    context: Context
    run: BackwardRun
    wrong: Wrong
    name: str
    part: Part
    arithmetic: Arithmetic
    seen: np.ndarray
    expected: _Bounded

    @classmethod
    def of(cls, context: Context, run: BackwardRun, wrong: Wrong) -> "_Question":
        name = MESH if wrong.name == "mesh" else wrong.name
        variable = name in context.weights
        part = None if variable else wrong.part
        seen = run.variable(name) if variable else run.gradient(name, part)
        walk = Walk(context, run)
        readers = set(wrong.layers)
        for row, piece in backwards(context.stage, run.vertices):
            if row.name in readers and (part is None or _same(piece, part)):
                walk.step(row, piece)
        number = walk.expected_variable(name) if variable else walk.expected(
            name, part, seen.shape
        )  # fmt: skip
        arithmetic = backward_arithmetic_of(context.stage, run.dtype)
        expected = _Bounded.of(number, arithmetic)
        return cls(context, run, wrong, name, part, arithmetic, np.asarray(seen), expected)

    @property
    def untrained(self) -> bool:
        """Whether it is a variable's gradient, and there is none."""
        return self.name in self.context.weights and not self.seen.any()

    def alternatives(self, layers: tuple[str, ...]) -> Iterator[_Alternative]:
        """What the gradient would be with other backward passes of layers of one kind."""
        if layers == (LOSS,):
            yield from self._of_losses()
            return
        rows = [row for row in network_of(self.context.stage).taps if row.name in layers]
        own = self._share(rows)
        network = network_of(self.context.stage)
        rate = network.decay(self.name) if self.name in self.context.weights else 0.0
        if rate:
            decay = _Bounded(rate * self.context.weights[self.name], np.zeros(self.seen.shape))
            yield _Alternative("decay term", "the variable's decay is missing", own)
            yield _Alternative("decay term", "the variable's decay has another factor",
                               self._fitted(own, decay))  # fmt: skip
        rest = self.expected - own
        yield _Alternative("detach", "nothing is handed back (stopped or detached)", rest)
        yield _Alternative("constant", "what is handed back has another factor",
                           self._fitted(rest, own))  # fmt: skip
        for operand, words, forward, backward in _others(rows[0].program, self._inputs_of(rows[0])):
            there = self._share(rows, forward, backward)
            yield _Alternative(operand, words, rest + there)

    def _inputs_of(self, row: TapRow) -> tuple[str, ...]:
        """The names of a program's inputs that get the gradient in question."""
        names = [name for name, key in row.variables.items() if key == self.name]
        names += [
            name for name, parent in zip(row.program.activations, row.parents, strict=True)
            if parent == self.name
        ]  # fmt: skip
        return tuple(names)

    def _of_losses(self) -> Iterator[_Alternative]:
        terms = dict(direct_terms(self.context, self.run, self.arithmetic).get(self.name, []))
        bounded = {label: self._piece(own) for label, own in terms.items()}
        through = [label for label in bounded if label.endswith(THROUGH)]
        groups = dict(bounded)
        if len(through) > 1:
            groups[f"both {' and '.join(through)}"] = bounded[through[0]] + bounded[through[1]]
        for label, own in groups.items():
            rest = self.expected - own
            operand = "detach" if THROUGH in label else "missing term"
            yield _Alternative(operand, f"that of {label} is missing", rest)
            yield _Alternative("constant", f"{label} has another factor", self._fitted(rest, own))
        meshes = meshes_of(self.context.stage, self.run)
        for term in loss_terms(self.context, self.run.measured):
            if self.name not in term.meshes.values():
                continue
            label = term.label + (THROUGH if term.meshes.get("before") == self.name else "")
            rest = self.expected - bounded[label]
            wanted = tuple(term.meshes)
            for operand, words, forward, backward in _others(term.program, wanted):
                found = term.gradients(meshes, self.arithmetic, forward, backward)[self.name]
                yield _Alternative(operand, f"of {label} {words}", rest + self._piece(found))

    def _piece(self, number: Number) -> _Bounded:
        """A gradient at a whole mesh, where the question is."""
        if self.part is not None:
            rows = network_of(self.context.stage).rows_per_vertex(self.name) or 1
            number = rows_of(number, rows_in(rows, self.part))
        return _Bounded.of(number, self.arithmetic)

    def _fitted(self, rest: _Bounded, own: _Bounded) -> _Bounded:
        """``rest`` and as much of ``own`` as fits best."""
        square = float(np.square(own.value).sum())
        factor = float(((self.seen - rest.value) * own.value).sum()) / square if square else 0.0
        return rest + own.times(factor)

    def _share(
        self, rows: list[TapRow], forward: Program | None = None, backward: Program | None = None
    ) -> _Bounded:
        """What layers of one kind hand back to the gradient in question."""
        total: _Bounded | None = None
        for each, piece in backwards(self.context.stage, self.run.vertices):
            if each not in rows or not (self.part is None or _same(piece, self.part)):
                continue
            parents = {parent: self.run.value(parent, piece) for parent in each.parents}
            found = handed_back(
                each, parents, self.run.value(each.name, piece),
                self.run.gradient(each.name, piece), self.context, self.run.dtype,
                forward, backward,
            )  # fmt: skip
            for name in self._inputs_of(each):
                share = _Bounded.of(found[name], self.arithmetic).shaped(self.seen.shape)
                total = share if total is None else total + share
        zeros = np.zeros(self.seen.shape)
        return _Bounded(zeros, zeros) if total is None else total

    def explained(self, found: _Alternative) -> bool:
        """Whether the candidate's gradient is this one, all of it."""
        value, limit = found.gradient.value, found.gradient.limit + self.expected.limit
        return bool(share_of(self.seen - value, limit) <= 1)

    def evidence(self, layers: tuple[str, ...]) -> tuple[str, ...]:
        """What else speaks for it."""
        others = [name for name in self.wrong.layers if name not in layers]
        if not others:
            return ()
        return (f"the backward passes of {', '.join(others)} are the official ones",)


def _same(piece: Part, part: Part) -> bool:
    return piece is None or part is None or (piece.start, piece.stop) == (part.start, part.stop)


Other = tuple[str, str, Program | None, Program]
"""Operand, words, the layer and its vector–Jacobian product."""


def _others(program: Program, wanted: Sequence[str]) -> Iterator[Other]:
    """Backward passes of a layer or a loss term that are not the official one.

    The primitives list what is wrong in their own; any edge of the layer may let nothing through;
    a factor may have been forgotten.
    """
    for index, node in enumerate(program.nodes):
        if node.primitive in ("input", "literal"):
            continue
        for operand, words, back in RULES[node.primitive].wrong_vjps(node.settings):
            yield operand, words, None, derived(program, wanted, {index: back})
    for index, node in enumerate(program.nodes):
        if node.primitive == "multiply" and program.nodes[node.operands[0]].primitive == "literal":
            without = rewritten(program, index, lambda operands: 1.0 * operands[1])
            words = f"the factor of {formula(program, index)} is missing"
            yield "constant", words, without, derived(without, wanted)
        if node.primitive in ("input", "literal", "detach"):
            continue
        for place, read in enumerate(node.operands):
            source = program.nodes[read]
            # Within a camera every edge leads to the points alone: the last one stands for all.
            inner = node.role and node.role == source.role and len(set(node.operands)) == 1
            if source.primitive == "literal" or (inner and source.primitive != "input"):
                continue
            if not _leads_to(program, read, wanted):
                continue

            def cut(operands: Sequence[Expression], place: int = place) -> Expression:
                given = list(operands)
                given[place] = given[place].tape.apply("detach", given[place])
                return given[0].tape.apply(node.primitive, *given, **node.settings)  # noqa: B023

            stopped = rewritten(program, index, cut)
            words = f"no gradient passes from {formula(program, index)} to {formula(program, read)}"
            yield "detach", words, stopped, derived(stopped, wanted)


def _leads_to(program: Program, index: int, wanted: Sequence[str]) -> bool:
    """Whether a node depends on an input that is asked for."""
    todo, seen = [index], set[int]()
    while todo:
        place = todo.pop()
        if place in seen:
            continue
        seen.add(place)
        node = program.nodes[place]
        if node.settings.get("name") in wanted:
            return True
        todo += node.operands
    return False
