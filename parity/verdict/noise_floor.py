"""Losses and gradients judged by the reference's own sensitivity to rounding.

No closed bound is known for a gradient through forty layers. But rounding errors are proportional
to the unit roundoff as long as no decision flips, so the reference shows by itself how much of it
there is: run at two precisions, it errs by e in float32, and by 2⁻²⁹·e in float64. Two
right implementations differ by about that; see ``docs/verdict.md``.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from network.registry import network_of
from parity.oracle.confidence import UNIT_ROUNDOFF, confidence, longest_sum
from parity.oracle.local import difference_of
from parity.verdict.findings import finite, greatest
from parity.verdict.result import Status


@dataclass(frozen=True)
class NoiseFloor:
    """How much rounding makes of one group, relative to each entry's scale.

    ``error``: the greatest relative float32 error of the reference over the group's entries;
    ``scales``: what each entry's error is relative to.
    """

    stage: str
    error: float
    scales: Mapping[str, float]

    def limit(self, name: str, dtype: str) -> float:
        """The greatest admitted difference of an entry, absolute."""
        precision = UNIT_ROUNDOFF[dtype] / UNIT_ROUNDOFF["float32"]
        return confidence(self.stage) * self.error * precision * self.scales[name]


def noise_floor(
    stage: str,
    group: str,
    run: Mapping[str, np.ndarray],
    truth: Mapping[str, np.ndarray],
) -> NoiseFloor:
    """Measure a reference.

    Args:
        stage: the network's name.
        group: "losses" or "gradients".
        run: the reference's values in float32, by name.
        truth: the same in float64.
    """
    scales = {name: finite(values) for name, values in truth.items()}
    if group == "gradients":
        # A gradient that cancels to nothing has no scale of its own but that of its layer's others.
        layers: dict[str, float] = {}
        for row in network_of(stage).variables:
            layer = row.torch_key.rpartition(".")[0]
            layers[layer] = max(layers.get(layer, 0.0), scales.get(row.key, 0.0))
        for row in network_of(stage).variables:
            if row.key in scales:
                scales[row.key] = layers[row.torch_key.rpartition(".")[0]]
    # No entry is more precise than a standard rounding of the longest sum behind it.
    least = UNIT_ROUNDOFF["float32"] * math.sqrt(longest_sum(stage))
    # An infinity would make every limit infinite: it is no measure of rounding.
    errors = [
        finite(difference_of(run[name], truth[name])) / scales[name]
        for name in truth
        if name in run and scales[name] and np.shape(run[name]) == np.shape(truth[name])
    ]
    return NoiseFloor(stage, max([least, *errors]), scales)


def status_of(
    reference: tuple[np.ndarray, np.ndarray],
    candidate: tuple[np.ndarray, np.ndarray],
    measured: NoiseFloor,
    name: str,
    dtype: str,
) -> tuple[Status, str, float]:
    """The status of one entry, its cause, and the float64 runs' greatest difference.

    ``reference`` and ``candidate`` are their values in ``dtype`` and in float64.
    """
    true = greatest(difference_of(candidate[1], reference[1]))
    own = greatest(difference_of(candidate[0], reference[0]))
    # Both sides err; what is not a number on one side only is infinitely far off.
    if not true <= 2 * measured.limit(name, "float64"):
        return Status.DIFFER, "function", true
    if not own <= 2 * measured.limit(name, dtype):
        return Status.DIFFER, "precision", true
    return (Status.AGREE if own == 0 else Status.ROUNDING), "", true
