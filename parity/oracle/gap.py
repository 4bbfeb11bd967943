"""A layer's inputs where a run did not record them all: computed from what it recorded before.

A port may lack a tap that the official graph names, because it computes two layers in one. The taps
after it can be judged all the same: the missing one is evaluated from its own inputs, on both
sides, and what the run's own arithmetic may have made of it goes on as an error of the next layer's
input, by the rules of that layer's primitives. That holds always. It is far from sharp: each layer
loosens it by the factor between |W|·e and |W·e|.
"""

from collections.abc import Callable, Collection

import numpy as np

from network.registry import network_of
from network.taps import TapRow
from parity.oracle.chunks import Part
from parity.oracle.context import Context
from parity.oracle.local import alone
from parity.oracle.number import Number, exactly


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
        self._rows = {row.name: row for row in network_of(stage).taps}
        self._read, self._context, self._dtype, self._gap = read, context, dtype, frozenset(gap)
        self._made: dict[tuple[str, object], Number] = {}

    def of(self, row: TapRow, part: Part) -> dict[str, Number]:
        """The layer's inputs by name, with bounds on how far those that were computed may be off.

        What is undecided in them comes from pixels within rounding of a border.
        """
        return {name: self._one(name, part) for name in row.parents}

    def _one(self, name: str, part: Part) -> Number:
        # A feature map is the same for every part.
        whole = part is None or (name in self._rows and self._rows[name].is_map)
        if name not in self._gap and not whole:
            return exactly(self._read(name, part))
        key = name, None if whole or part is None else (part.start, part.stop)
        if key not in self._made:
            made = (
                self._evaluated(name, part)
                if name in self._gap
                else exactly(self._read(name, part))
            )
            self._made[key] = made
        return self._made[key]

    def _evaluated(self, name: str, part: Part) -> Number:
        row = self._rows[name]
        found = alone(row, self.of(row, part), self._context, None, self._dtype)
        with np.errstate(invalid="ignore"):
            undecided = np.where(found.limit > found.settled, found.limit - found.settled, 0.0)
        return Number(found.value, found.settled, undecided=undecided if undecided.any() else 0.0)


def before(row: TapRow, gap: Collection[str]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The nearest taps or inputs before a layer that are not in ``gap``, and those that are."""
    rows = {each.name: each for each in network_of(row.stage).taps}
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
