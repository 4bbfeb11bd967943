"""A layer whose output is not what it should be, and layers that differ from it in one operand."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np

from network.program import Program
from network.taps import TapRow
from parity.oracle.context import Context
from parity.oracle.evaluate import evaluate, run
from parity.oracle.local import Local
from parity.oracle.number import Arithmetic, Number, mapped
from parity.oracle.primitives import State

WORST, SPREAD, COLUMNS = 8, 8, 4
"""Rows that variants are first tried on, those with the greatest errors and others; channels."""
CHUNK = 12_000
"""Rows of a tap evaluated together, for memory's sake."""
ALIKE = 1e-9
"""How near two evaluations of the same rows in float64 are, of the greatest value."""

Inputs = Mapping[str, Number]


@dataclass(frozen=True)
class Part:
    """Rows (the first axis) and columns (the last) of a tap; all of them where None."""

    rows: np.ndarray | None = None
    columns: np.ndarray | None = None

    def of(self, array: np.ndarray) -> np.ndarray:
        """The part of an array that has the tap's axes."""
        some = self.of_rows(array)
        return some if self.columns is None else some[..., self.columns]

    def of_rows(self, array: np.ndarray) -> np.ndarray:
        """Its rows, whole."""
        return array if self.rows is None else array[self.rows]


@dataclass(frozen=True, eq=False)
class Variant:
    """A layer that differs from the official one in one operand.

    Attributes:
        operand: the term for what is changed.
        change: what is done, to be read after "with".
        program: the layer.
        inputs: of the program, where they are not the official ones.
        rows, columns: the official row and column that each one is, where they stand in another
            order.
        rank: variants of a higher rank are so general that they count only where none of a lower
            one fits.
        whole: whether a row may depend on rows that the official one does not depend on.
        start: the program's nodes before this one are the official ones.
    """

    operand: str
    change: str
    program: Program
    inputs: Inputs = field(default_factory=dict)
    rows: np.ndarray | None = None
    columns: np.ndarray | None = None
    rank: int = 0
    whole: bool = False
    start: int = 0


@dataclass(frozen=True, eq=False)
class Question:
    """One layer, the candidate's own inputs of it, and what it made of them.

    Attributes:
        row: its tap.
        program: the official layer.
        inputs: all that the program reads, by its names.
        context: weights, cameras and graphs of the official function.
        observed: the tap, float64, of the official output's shape.
        official: the official output and how far the observed one is from it.
        arithmetic: of the run.
        others: other taps of the run, as far as they are at hand.
    """

    row: TapRow
    program: Program
    inputs: Inputs
    context: Context
    observed: np.ndarray
    official: Local
    arithmetic: Arithmetic
    others: Mapping[str, np.ndarray]

    @property
    def activations(self) -> tuple[str, ...]:
        """The inputs that other layers compute."""
        return self.program.activations

    @property
    def parents(self) -> dict[str, str]:
        """By the program's names of the activations, the tap or input that each one is."""
        return dict(zip(self.activations, self.row.parents, strict=True))

    @cached_property
    def share(self) -> np.ndarray:
        """|error| over its limit, element by element."""
        found: np.ndarray = self.official.share()
        return found

    @cached_property
    def share_by_row(self) -> np.ndarray:
        """The greatest of ``share`` in each row: more than 1 is wrong."""
        return np.asarray(self.share.reshape(len(self.share), -1).max(axis=1))

    @cached_property
    def sliced(self) -> tuple[str, ...]:
        """The activations of which a row of the output reads the same row and no other.

        Found by trying: none if two rows alone do not give what they give among all.
        """
        if not self.observed.ndim:
            return ()  # a loss term
        names = tuple(
            name for name in self.activations
            if np.ndim(self.inputs[name].value)
            and len(self.inputs[name].value) == len(self.observed)
        )  # fmt: skip
        some = Part(rows=np.unique([0, len(self.observed) - 1]))
        return names if names and self._same(some, names, ()) else ()

    @cached_property
    def channelled(self) -> tuple[str, ...]:
        """The variables of which a channel of the output reads the same channel and no other."""
        if not self.observed.ndim:
            return ()
        names = tuple(
            name for name in self.row.variables
            if self.inputs[name].value.shape[-1] == self.observed.shape[-1] > 1
        )  # fmt: skip
        if len(names) < len(self.row.variables):
            return ()
        rows = np.array([0]) if self.sliced else None
        some = Part(rows, np.unique([0, self.observed.shape[-1] - 1]))
        return names if names and self._same(some, self.sliced, names) else ()

    def _cut(self, inputs: Inputs, part: Part) -> dict[str, Number]:
        """Inputs as far as they can be cut to a part."""
        return _cut(inputs, part, self.sliced, self.channelled)

    def _same(self, part: Part, sliced: tuple[str, ...], channelled: tuple[str, ...]) -> bool:
        inputs = _cut(self.inputs, part, sliced, channelled)
        try:
            found = evaluate(self.program, inputs, self.arithmetic, part.of(self.observed))
        except (ValueError, IndexError):
            return False
        expected, value = part.of(self.official.value), found.number.value
        if value.shape != expected.shape:
            return False
        with np.errstate(invalid="ignore"):
            near = np.abs(value - expected) <= ALIKE * np.nanmax(np.abs(expected), initial=0.0)
        return bool((near | (np.isnan(value) & np.isnan(expected))).all())

    @cached_property
    def nodes(self) -> tuple[dict[int, Number], bool]:
        """The official nodes' results on the sample, and whether no decision is close there."""
        state = State(self.arithmetic)
        found = self._every_node(self.sample, state)
        return found, not any(border.near.any() for border in state.borders.values())

    def at(self, row: int, program: Program) -> dict[int, Number]:
        """A program's nodes' results at one row, or at all where rows cannot be cut."""
        part = Part(rows=np.array([row])) if self.sliced else Part()
        return self._every_node(part, State(self.arithmetic), program)

    def _every_node(
        self, part: Part, state: State, program: Program | None = None
    ) -> dict[int, Number]:
        whole = self.program if program is None else program
        every = {str(index): index for index in range(len(whole.nodes))}
        found = run(
            Program(whole.nodes, every, whole.activations), self._cut(self.inputs, part), state
        )
        return {int(index): number for index, number in found.items()}

    @cached_property
    def sample(self) -> Part:
        """The worst rows and channels, and some more, as far as the layer can be cut."""
        rows = columns = None
        if self.sliced:
            by_row = self.share_by_row
            worst = np.argsort(-by_row, kind="stable")
            if self.row.is_map:
                rows = worst[:1]
            else:
                some = np.linspace(0, len(by_row) - 1, min(len(by_row), SPREAD)).astype(np.int64)
                rows = np.unique([*worst[:WORST], *some])
        if self.channelled:
            channels = self.share.shape[-1]
            by_channel = self.share.reshape(-1, channels).max(axis=0)
            worst = np.argsort(-by_channel, kind="stable")[: COLUMNS // 2]
            size = np.nan_to_num(np.abs(self.observed)).reshape(-1, channels).sum(axis=0)
            columns = np.unique([*worst, *np.argsort(-size, kind="stable")[: COLUMNS // 2]])
        return Part(rows, columns)

    def excess(self, variant: Variant, part: Part) -> float:
        """The greatest difference from a variant in multiples of its limit; infinite for none."""
        found = self.evaluated(variant, part)
        seen = part.of(self.observed)
        return float("inf") if found is None else excess(seen, *found)

    def everywhere(self, variant: Variant) -> float:
        """The same on all of the tap, a chunk at a time; it stops beyond 1."""
        count = len(self.observed)
        width = max(1, CHUNK // int(np.prod(self.observed.shape[1:-1], dtype=np.int64)))
        if not self.sliced or variant.whole or self.row.is_map or count <= width:
            return self.excess(variant, Part())
        worst = 0.0
        for start in range(0, count, width):
            part = Part(rows=np.arange(start, min(start + width, count)))
            worst = max(worst, self.excess(variant, part))
            if not worst <= 1.0:
                break
        return worst

    def evaluated(
        self, variant: Variant, part: Part, bounded: bool = True
    ) -> tuple[np.ndarray, np.ndarray] | None:
        """A variant's value and limit on a part; None where it has another shape or none.

        Where it is not ``bounded`` the limit says nothing, and close decisions are taken as they
        come.
        """
        arithmetic = replace(self.arithmetic, bounded=bounded)
        rows, columns = part.rows, part.columns
        if variant.rows is not None:
            rows = variant.rows if rows is None else variant.rows[rows]
        if variant.columns is not None:
            columns = variant.columns if columns is None else variant.columns[columns]
        cut_rows = self.sliced and not variant.whole and rows is not None
        inputs = self._cut(
            {**self.inputs, **variant.inputs}, Part(rows if cut_rows else None, columns)
        )
        known = None
        if variant.start and part is self.sample and self.nodes[1]:
            known = {index: self.nodes[0][index] for index in range(variant.start)}
        seen: np.ndarray | None = part.of(self.observed) if cut_rows else self.observed
        left = Part(None if cut_rows else rows, None if self.channelled else columns)
        if variant.columns is not None and not self.channelled and seen is not None:
            # Decisions are settled by the columns where they belong.
            seen = seen[..., np.argsort(variant.columns)] if part.columns is None else None
        try:
            number = evaluate(
                variant.program, inputs, arithmetic, _settling(seen, variant), known
            ).number
            value, limit = number.value, arithmetic.limit(number) + number.undecided
            value, limit = left.of(value), left.of(np.broadcast_to(limit, value.shape))
        except (ValueError, IndexError, np.linalg.LinAlgError):
            return None
        return (value, limit) if value.shape == part.of(self.observed).shape else None

    def value(self, variant: Variant, part: Part) -> np.ndarray | None:
        """A variant's value on a part."""
        found = self.evaluated(variant, part, bounded=False)
        return None if found is None else found[0]


def _cut(
    inputs: Inputs, part: Part, sliced: Collection[str], channelled: Collection[str]
) -> dict[str, Number]:
    """Inputs with some cut to a part's rows and some to its columns."""
    return {
        name: _taken(number, part.rows if name in sliced else None,
                     part.columns if name in channelled else None)
        for name, number in inputs.items()
    }  # fmt: skip


def _settling(seen: np.ndarray | None, variant: Variant) -> np.ndarray | None:
    """What settles a variant's decisions; only a program that takes any looks at it."""
    takes = any(node.primitive == "decide" for node in variant.program.nodes)
    return seen if takes else None


def _taken(number: Number, rows: np.ndarray | None, columns: np.ndarray | None) -> Number:
    """Rows and columns of an array with its bounds."""
    if rows is None and columns is None:
        return number
    return mapped(number, Part(rows, columns).of)


def excess(observed: np.ndarray, value: np.ndarray, limit: np.ndarray) -> float:
    """The greatest |observed − value| in multiples of the limit.

    Where a variant has no bound it gives nothing, so that nothing is confirmed by it.
    """
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        alike = (observed == value) | (np.isnan(observed) & np.isnan(value))
        share = np.abs(observed - value) / limit
    share = np.where(alike, 0.0, np.where(np.isnan(share) | ~(limit < np.inf), np.inf, share))
    return float(share.max(initial=0.0))
