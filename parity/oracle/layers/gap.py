"""A layer's inputs where a run did not record them all: computed from what it recorded before.

A port may lack a tap that the official graph names, because it computes two layers in one. The taps
after it can be judged all the same: the missing one is evaluated from its own inputs, on both
sides, and what the run's own arithmetic may have made of it is carried on (``layers.carried``).
"""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace

import numpy as np

from network.taps import TAPS, TapRow
from parity.oracle.chunks import Part
from parity.oracle.context import Context
from parity.oracle.layers.evaluate import evaluate
from parity.oracle.layers.reading import Read

Values = dict[str, np.ndarray]


class Inputs:
    """The inputs of a run's layers, recorded or computed; of one part after the other."""

    def __init__(
        self,
        stage: str,
        read: Callable[[str, Part], np.ndarray],
        context: Context,
        dtype: str,
        gap: Collection[str],
    ) -> None:
        """``read`` gives what was recorded; the taps in ``gap`` are computed."""
        self._rows = {row.name: row for row in TAPS[stage]}
        self._read, self._context, self._dtype, self._gap = read, context, dtype, frozenset(gap)
        self._made: dict[tuple[str, object], _Made] = {}

    def of(self, row: TapRow, part: Part) -> tuple[Values, Values]:
        """The values of a layer's inputs, and how far those that had to be computed may be off."""
        made = {name: self._one(name, part) for name in row.parents}
        values = {name: each.value for name, each in made.items()}
        return values, _given({name: each.error for name, each in made.items()})

    def settled(self, row: TapRow, part: Part) -> Values | None:
        """How far they may be off where no pixel is near a border; None where that is the same."""
        made = {name: self._one(name, part) for name in row.parents}
        if all(each.settled is None for each in made.values()):
            return None
        return _given(
            {
                name: each.error if each.settled is None else each.settled
                for name, each in made.items()
            }
        )

    def _one(self, name: str, part: Part) -> "_Made":
        # A feature map is the same for every part.
        whole = part is None or name.startswith("cnn.")
        if name not in self._gap and not whole:
            return _Made(self._read(name, part))
        key = name, None if whole or part is None else (part.start, part.stop)
        if key not in self._made:
            missing = name in self._gap
            made = self._evaluated(name, part) if missing else _Made(self._read(name, part))
            self._made[key] = made
        return self._made[key]

    def _evaluated(self, name: str, part: Part) -> "_Made":
        row = self._rows[name]
        values, errors = self.of(row, part)
        exact, limit = evaluate(row, values, self._context, None, self._dtype, errors)
        if isinstance(exact, Read) and exact.settled is not None:
            nominal = replace(exact, fixed=exact.settled.reshape(exact.value.shape))
            return _Made(exact.value, limit, nominal.limit(row.stage, self._dtype))
        settled = self.settled(row, part)
        if settled is None:
            return _Made(exact.value, limit)
        narrow = evaluate(row, values, self._context, None, self._dtype, settled)[1]
        return _Made(exact.value, limit, narrow)


@dataclass(frozen=True)
class _Made:
    """A layer's input: exact as recorded, or off by at most ``error``.

    ``settled`` is what would be left of that if no pixel decision were open; None where none is.
    """

    value: np.ndarray
    error: np.ndarray | None = None
    settled: np.ndarray | None = None


def _given(errors: Mapping[str, np.ndarray | None]) -> Values:
    return {name: error for name, error in errors.items() if error is not None}


def before(row: TapRow, gap: Collection[str]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The nearest taps or inputs before a layer that are not in ``gap``, and those that are."""
    rows = {each.name: each for each in TAPS[row.stage]}
    found: dict[str, None] = {}
    across: dict[str, None] = {}
    todo = list(row.parents)
    while todo:
        name = todo.pop(0)
        if name not in gap:
            found[name] = None
        elif name not in across:
            across[name] = None
            todo += rows[name].parents
    return tuple(found), tuple(sorted(across, key=lambda name: rows[name].order))
