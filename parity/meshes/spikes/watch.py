"""A training run's mesh as it goes, and what is likely not as it was meant."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from inputs.files import Float64, Int64
from network.registry import network_of
from parity.meshes.spikes.residuals import Residuals, free_degree_mode_of, residuals_of
from parity.meshes.spikes.topology import REGULAR, Topology, topology_of

GROWN = 0.05
"""By how much a mode's strength grows from one look to the next for a person to be told."""
STRONG = 0.5
"""Strength from which on it is told: the template has 0, a mesh wholly in the mode 1."""
PAGE = "docs/spikes.md"


@dataclass(frozen=True)
class Look:
    """The output mesh after a step.

    Attributes:
        step: steps taken.
        spikes: vertices that are spikes.
        irregular_spikes: those of them that have another number of neighbours than six.
        mode_strength: of the graph convolution's smoothest mode at the irregular vertices, about
            the point that fits best; see ``parity.meshes.spikes.residuals.DegreeMode``.
    """

    step: int
    spikes: int
    irregular_spikes: int
    mode_strength: float


class Watch:
    """Looks at a run every so many steps; what it warns of it says once."""

    def __init__(self, stage: str, faces: Int64, frozen: bool) -> None:
        """Watch a run.

        Args:
            stage: "coarse" or "refine".
            faces: (F, 3) of the output mesh.
            frozen: whether the image encoder is kept as it is.
        """
        self.topology: Topology = topology_of(faces, int(faces.max()) + 1)
        kept = {row.key for row in network_of(stage).encoder} if frozen else set()
        self._biases = [
            key
            for row in network_of(stage).taps
            if (key := row.variables.get("bias", "")) and key not in kept
        ]
        self._last: Look | None = None
        self._said: set[str] = set()

    def look(
        self, step: int, mesh: Float64, weights: Mapping[str, np.ndarray]
    ) -> tuple[Look, Residuals, list[str]]:
        """Look at the mesh (V, 3) that the weights after a step give.

        Returns:
            What is seen, vertex by vertex too, and what a person should be told of it.
        """
        found = residuals_of(mesh, self.topology)
        irregular = self.topology.degrees != REGULAR
        mode = free_degree_mode_of(found, self.topology)[0]
        seen = Look(step, int(found.spiky.sum()), int(found.spiky[irregular].sum()), mode.strength)
        told = [*self._of_biases(step, weights), *self._of_mode(seen, int(irregular.sum()))]
        self._last = seen
        return seen, found, told

    def _of_biases(self, step: int, weights: Mapping[str, np.ndarray]) -> list[str]:
        still = [key for key in self._biases if not np.any(weights[key])]
        if not still or self._once("biases"):
            return []
        some = ", ".join(still[:3]) + (", …" if len(still) > 3 else "")
        return [
            f"step {step}: {len(still)} of {len(self._biases)} biases are still exactly zero "
            f"({some}): no gradient reaches them, as where a ReLU lets nothing through; "
            "another seed begins otherwise"
        ]

    def _of_mode(self, seen: Look, irregular: int) -> list[str]:
        # A run begins with the template, which has none of it.
        last = self._last or Look(0, 0, 0, 0.0)
        strength = seen.mode_strength
        grown = strength > last.mode_strength + GROWN
        if not grown or not strength > STRONG or not seen.irregular_spikes or self._once("mode"):
            return []
        return [
            f"step {seen.step}: {seen.irregular_spikes} of the {irregular} vertices without six "
            f"neighbours are spikes, and the mode that makes them grows: strength {strength:.2f}, "
            f"{last.mode_strength:.2f} at step {last.step}; a template from "
            f"`p2m-parity spikes level` trains without it ({PAGE})"
        ]

    def _once(self, kind: str) -> bool:
        """Whether it was said before; it counts as said from now on."""
        said = kind in self._said
        self._said.add(kind)
        return said
