"""Where a training run stops being finite."""

from collections.abc import Mapping

import numpy as np

from parity.traces.backends import BackendChoice
from parity.traces.record import RunInputs


def first_not_finite(
    backend: str, device: str, inputs: RunInputs, weights: Mapping[str, np.ndarray]
) -> str:
    """Where a run stops being finite, in the order of computation.

    Args:
        backend: "torch" or "tf".
        device: where it runs.
        inputs: of the run.
        weights: by checkpoint key.
    """
    for key, values in weights.items():
        if not np.isfinite(values).all():
            return f"the variable {key} holds what is no finite number before it"
    found: list[str] = []

    def listen(tap: str, value: np.ndarray) -> None:
        if not found and not np.isfinite(value).all():
            found.append(tap)

    BackendChoice(backend).make(inputs.stage, "float32", device).run(
        inputs.mapping(), weights, listen
    )
    if found:
        return f"{found[0]} is the first layer that gives what is no finite number"
    return "all layers are finite, so that it is the loss of their meshes"
