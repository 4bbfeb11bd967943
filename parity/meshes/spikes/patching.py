"""Activation patching: the reference's values put into a run, and what is left of its spikes.

(Vig et al., "Investigating gender bias in language models using causal mediation analysis", 2020;
Meng et al., "Locating and editing factual associations in GPT", 2022, there from the clean run into
the corrupted one, as here.)
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from inputs.files import Float64
from parity.meshes.spikes.runs import Taken

REMOVED = 0.5
"""Share of a spike that counts as most of it, where one tap is to be named."""

Umbrella = Callable[[Float64], Float64]
"""Residual vectors of the diagnosed vertices from a run's output rows."""


@dataclass(frozen=True)
class Patched:
    """What patching does to one vertex's spike.

    Attributes:
        bisected: the first tap up to which the reference's values remove most of the spike while
            they do not up to the tap before it: there it enters; None where even the whole
            reference does not, or where there is nothing to remove.
        single: per tap the share that this tap's reference values alone remove.
    """

    bisected: str | None
    single: dict[str, float]


class Patching:
    """Runs with taps of the reference in place of the run's own."""

    def __init__(self, run: Taken, reference: Taken, umbrella: Umbrella) -> None:
        self._run, self._reference, self._umbrella = run, reference, umbrella
        self._names = [row.name for row in run.replay.rows]
        self._mine = umbrella(run.replay.output(run.values))
        self._theirs = umbrella(reference.replay.output(reference.values))
        self._cuts: dict[int, Float64] = {}

    def of(
        self,
        places: Sequence[int],
        taps: Sequence[str],
        on_run: Callable[[], Any] | None = None,
    ) -> list[Patched]:
        """Bisection and single taps for some of the diagnosed vertices.

        Args:
            places: which of the diagnosed vertices.
            taps: taps to patch singly.
            on_run: told every patched run.
        """
        tell = on_run or (lambda: None)
        bisected = [self._bisect(place, tell) for place in places]
        single: dict[str, Float64] = {}
        for name in taps:
            theirs = self._reference.values[name]
            if torch.equal(theirs, self._run.values[name]):
                single[name] = np.zeros(len(self._mine))
            else:
                single[name] = self._removed({name: theirs})
            tell()
        return [
            Patched(found, {name: float(share[place]) for name, share in single.items()})
            for place, found in zip(places, bisected, strict=True)
        ]

    def _bisect(self, place: int, tell: Callable[[], Any]) -> str | None:
        def removed(count: int) -> float:
            if count not in self._cuts:
                names = self._names[:count]
                values = {name: self._reference.values[name] for name in names}
                self._cuts[count] = self._removed(values)
                tell()
            return float(self._cuts[count][place])

        low, high = 0, len(self._names)
        if not removed(high) >= REMOVED:
            return None
        while high - low > 1:
            middle = (low + high) // 2
            if removed(middle) >= REMOVED:
                high = middle
            else:
                low = middle
        return self._names[high - 1]

    def _removed(self, replaced: dict[str, Tensor]) -> Float64:
        """Per diagnosed vertex, how much nearer the residual vector is to the reference's."""
        run = self._run
        values = run.replay.run(replaced, run.values, run.departures)
        left = np.linalg.norm(self._umbrella(run.replay.output(values)) - self._theirs, axis=1)
        whole = np.linalg.norm(self._mine - self._theirs, axis=1)
        return np.where(whole > 0, 1.0 - left / np.where(whole > 0, whole, 1.0), 0.0)
