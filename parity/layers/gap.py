"""A layer's inputs where a run did not record them all: computed from what it recorded before.

A port may lack a tap that the official graph names, because it computes two layers in one. The taps
after it can be judged all the same: the missing one is evaluated from its own inputs, on both
sides, and what the run's own arithmetic may have made of it is carried on (``layers.carried``).
"""

from collections.abc import Callable, Collection

import numpy as np

from parity.layers.context import Context
from parity.layers.evaluate import evaluate
from parity.parts import Part
from weight_conversion.taps import TAPS, TapRow


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
        self._made: dict[tuple[str, object], tuple[np.ndarray, np.ndarray | None]] = {}

    def of(self, row: TapRow, part: Part) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
        """The values of a layer's inputs, and how far those that had to be computed may be off."""
        values, errors = {}, {}
        for name in row.parents:
            values[name], error = self._one(name, part)
            if error is not None:
                errors[name] = error
        return values, errors

    def _one(self, name: str, part: Part) -> tuple[np.ndarray, np.ndarray | None]:
        # A feature map is the same for every part.
        whole = part is None or name.startswith("cnn.")
        if name not in self._gap and not whole:
            return self._read(name, part), None
        key = name, None if whole or part is None else (part.start, part.stop)
        if key not in self._made and name not in self._gap:
            self._made[key] = self._read(name, part), None
        if key not in self._made:
            row = self._rows[name]
            values, errors = self.of(row, part)
            exact, limit = evaluate(row, values, self._context, None, self._dtype, errors)
            self._made[key] = exact.value, limit
        return self._made[key]


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
