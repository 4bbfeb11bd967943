"""Arrays of a template and of hypotheses by the names that layers and traces know them by."""

import numpy as np

from inputs.hypotheses import Hypotheses
from inputs.template import Template
from network.registry import network_of


def constants_of(stage: str, template: Template, hypotheses: Hypotheses) -> dict[str, np.ndarray]:
    """What a network's layers read of template and hypotheses, by its name under ``/inputs``."""
    found: dict[str, np.ndarray] = {
        "hypotheses/offsets": hypotheses.offsets,
        "hypotheses/supports": hypotheses.supports,
    }
    for level, pair in enumerate(template.supports, start=1):
        for number, matrix in enumerate(pair):
            found[f"template/support_{level}_{number}/indices"] = matrix.indices
            found[f"template/support_{level}_{number}/values"] = matrix.values
    for level, pairs in enumerate(template.unpooling, start=1):
        found[f"template/unpooling_{level}"] = pairs
    # A constant may be a sparse matrix of two arrays, or one of a stack of matrices.
    constants = network_of(stage).constants
    wanted = {*constants, *(name.rpartition("/")[0] for name in constants)}
    return {
        name: array
        for name, array in found.items()
        if name in wanted or name.rpartition("/")[0] in constants
    }
