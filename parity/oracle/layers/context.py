"""What layers need beside the activations they read: weights, cameras, graphs."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import scipy.sparse as sp

from network.weights import WEIGHTS

if TYPE_CHECKING:
    from parity.traces.record import RunInputs


@dataclass(frozen=True, eq=False)
class Context:
    """The constants of a run, float32 values widened to float64.

    Attributes:
        stage: "coarse" or "refine".
        weights: variables by checkpoint key, in the checkpoint's layout.
        inputs: ``inputs/images`` (3, 224, 224, 3), ``inputs/mesh`` (V, 3), by the names that
            ``TapRow.parents`` has for them.
        cameras: (3, 5).
        supports: a pair of sparse (V, V) matrices a level (coarse), or one pair of dense (43, 43).
        unpooling: (462, 2) and (1848, 2) vertex pairs (coarse).
        offsets: (43, 3) (refine).
    """

    stage: str
    weights: Mapping[str, np.ndarray]
    inputs: Mapping[str, np.ndarray]
    cameras: np.ndarray
    supports: tuple[tuple[sp.csr_array | np.ndarray, sp.csr_array | np.ndarray], ...]
    unpooling: tuple[np.ndarray, ...] = ()
    offsets: np.ndarray = field(default_factory=lambda: np.zeros((0, 3)))

    @classmethod
    def of(
        cls, stage: str, arrays: Mapping[str, np.ndarray], weights: Mapping[str, np.ndarray]
    ) -> "Context":
        """From inputs named as under ``/inputs`` of a trace, and weights by checkpoint key."""
        wide = {name: _widened(array) for name, array in arrays.items()}
        common: dict[str, Any] = {
            "stage": stage,
            "weights": {key: _widened(array) for key, array in weights.items()},
            "inputs": {"inputs/images": wide["images"], "inputs/mesh": wide["mesh"]},
            "cameras": wide["cameras"],
        }
        if stage == "refine":
            first, second = wide["hypotheses/supports"]
            return cls(**common, supports=((first, second),), offsets=wide["hypotheses/offsets"])
        vertices = (156, 618, 2466)
        levels = tuple(
            (_sparse(wide, level, 0, size), _sparse(wide, level, 1, size))
            for level, size in enumerate(vertices, start=1)
        )
        pairs = tuple(arrays[f"template/unpooling_{level}"].astype(np.int64) for level in (1, 2))
        return cls(**common, supports=levels, unpooling=pairs)

    @classmethod
    def of_run(cls, inputs: "RunInputs", weights: Mapping[str, np.ndarray]) -> "Context":
        """Of what a backend is given."""
        return cls.of(inputs.stage, inputs.arrays(), weights)

    def variables(self, module: str) -> dict[str, np.ndarray]:
        """A module's variables by the last part of their state-dict key."""
        prefix = f"{module}."
        return {
            row.torch_key.removeprefix(prefix): self.weights[row.key]
            for row in WEIGHTS[self.stage]
            if row.torch_key.startswith(prefix)
        }


def _widened(array: np.ndarray) -> np.ndarray:
    return np.asarray(array).astype(np.float32).astype(np.float64)


def _sparse(arrays: Mapping[str, np.ndarray], level: int, number: int, size: int) -> sp.csr_array:
    name = f"template/support_{level}_{number}"
    rows, columns = arrays[f"{name}/indices"].astype(np.int64).T
    return sp.csr_array((arrays[f"{name}/values"], (rows, columns)), shape=(size, size))
