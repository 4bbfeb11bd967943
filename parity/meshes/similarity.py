"""Rigid moves with scale."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from inputs.files import Float64


@dataclass(frozen=True, eq=False)
class Similarity:
    """x ↦ scale · rotation · x + translation.

    Attributes:
        rotation: (3, 3), orthogonal; its determinant is −1 where the move mirrors.
        scale: greater than 0.
        translation: (3,), in the units of the result.
    """

    rotation: Float64
    scale: float
    translation: Float64

    @property
    def mirrored(self) -> bool:
        return bool(np.linalg.det(self.rotation) < 0)

    @property
    def axis(self) -> Float64:
        """(3,): the unit axis of the rotation; of a mirroring move, that of its negative."""
        return self._axis_angle()[0]

    @property
    def degrees(self) -> float:
        """The angle around ``axis``, counter-clockwise seen against it, from 0 to 180."""
        return self._axis_angle()[1]

    def apply(self, points: npt.ArrayLike) -> Float64:
        """The moved points, (N, 3)."""
        return self.scale * (np.asarray(points, np.float64) @ self.rotation.T) + self.translation

    def inverse(self) -> "Similarity":
        """The move that undoes this one."""
        back = self.rotation.T
        return Similarity(back, 1.0 / self.scale, -(back @ self.translation) / self.scale)

    def then(self, after: "Similarity") -> "Similarity":
        """This move and then another."""
        return Similarity(
            after.rotation @ self.rotation,
            after.scale * self.scale,
            after.scale * (after.rotation @ self.translation) + after.translation,
        )

    def to_json(self) -> dict[str, Any]:
        return {
            "axis": self.axis.tolist(),
            "degrees": self.degrees,
            "mirrored": self.mirrored,
            "rotation": self.rotation.tolist(),
            "scale": self.scale,
            "translation": self.translation.tolist(),
        }

    def _axis_angle(self) -> tuple[Float64, float]:
        turn = -self.rotation if self.mirrored else self.rotation
        twice_sine = np.array(
            [turn[2, 1] - turn[1, 2], turn[0, 2] - turn[2, 0], turn[1, 0] - turn[0, 1]]
        )
        angle = np.arctan2(np.linalg.norm(twice_sine), np.trace(turn) - 1.0)
        # (1 − cos) a aᵀ + cos I has the axis as its last eigenvector, at half a turn as well,
        # where the antisymmetric part vanishes and leaves the sign open.
        axis = np.linalg.eigh((turn + turn.T) / 2.0)[1][:, -1]
        sense = axis @ twice_sine
        if abs(sense) < 1e-12:
            sense = axis[np.argmax(np.abs(axis))]
        return axis * np.sign(sense), float(np.rad2deg(angle))
