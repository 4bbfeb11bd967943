"""Exported stages, and runs of the coarse one in both, made once a session."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from inputs.demo import demo_item_path
from inputs.hypotheses import build_hypotheses
from inputs.item import load_item
from inputs.seeded import seeded_weights
from inputs.template import build_template
from network.weights import WEIGHTS
from parity_tests.torch_impl.onnx.heard import STAGES, Kept
from torch_impl.backend import factory as torch_factory
from torch_impl.onnx_backend import factory
from torch_impl.onnx_export import export
from weight_conversion.formats import WeightSet


@pytest.fixture(scope="session")
def weights() -> dict[str, WeightSet]:
    found = {}
    for stage in STAGES:
        arrays = seeded_weights(stage)
        # Bits that arithmetic, or a detour through text, would lose.
        first = arrays[WEIGHTS[stage][0].key]
        first.flat[:3] = -0.0, 1e-41, np.float32(0.1)
        found[stage] = WeightSet(stage, arrays, 7, "seed")
    return found


@pytest.fixture(scope="session")
def files(weights: dict[str, WeightSet], tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("onnx")
    for stage in STAGES:
        export(weights[stage], folder / f"{stage}.onnx")
    return folder


@pytest.fixture(scope="session")
def inputs() -> dict[str, Any]:
    item = load_item(demo_item_path("plane"))
    template = build_template()
    return {
        "images": item.images,
        "cameras": item.cameras,
        "mesh": template.coordinates,
        "template": template,
        "hypotheses": build_hypotheses(),
    }


@pytest.fixture(scope="session")
def runs(weights: dict[str, WeightSet], inputs: dict[str, Any]) -> dict[str, Kept]:
    """Torch and ONNX."""
    arrays = weights["coarse"].arrays
    found = {"torch": Kept(), "onnx": Kept()}
    torch_factory("coarse").run(inputs, arrays, found["torch"])
    factory("coarse").run(inputs, arrays, found["onnx"])
    return found
