"""Every tap against torch: the coarse stage whole, the refine stage on a few vertices."""

from typing import Any

import numpy as np
import pytest
import torch

from network.taps import TAPS, TapRow
from parity_tests.torch_impl.onnx.evaluated import GraphWriter, evaluated
from parity_tests.torch_impl.onnx.heard import Kept, close
from torch_impl import onnx_network, onnx_projection
from torch_impl.loading import load_network
from torch_impl.onnx_backend import stage_inputs
from weight_conversion.conversion import to_state_dict
from weight_conversion.formats import WeightSet


@pytest.mark.parametrize("row", TAPS["coarse"], ids=lambda row: f"coarse.{row.name}")
def test_coarse_tap(row: TapRow, runs: dict[str, Kept]) -> None:
    close(runs["onnx"].taps[row.name], runs["torch"].taps[row.name])


def test_taps_come_in_order(runs: dict[str, Kept]) -> None:
    assert runs["onnx"].order == runs["torch"].order


@pytest.fixture(scope="module")
def refined(weights: dict[str, WeightSet], inputs: dict[str, Any]) -> dict[str, Kept]:
    state = to_state_dict("refine", weights["refine"].arrays)
    mesh = np.ascontiguousarray(inputs["mesh"][::12])
    hypotheses = inputs["hypotheses"]
    network = load_network("refine", weights["refine"].arrays)
    expected = Kept()

    class Listen:
        def tap(self, name: str, value: torch.Tensor) -> None:
            expected(name, value.contiguous().numpy())

    tensors = [
        torch.from_numpy(array)
        for array in (inputs["images"], inputs["cameras"], mesh, hypotheses.offsets)
    ]
    first, second = torch.from_numpy(hypotheses.supports)
    with torch.no_grad():
        network(*tensors, (first, second), Listen())

    names = [row.name for row in TAPS["refine"]]

    def build(graph: GraphWriter) -> list[str]:
        cameras = onnx_projection.camera_frames(graph, "cameras")
        onnx_network.refine(graph, "images", cameras, len(mesh))
        return names

    feeds = stage_inputs("refine", {**inputs, "mesh": mesh})
    found = Kept()
    for name, value in zip(names, evaluated(build, feeds, state), strict=True):
        found(name, value)
    return {"torch": expected, "onnx": found}


@pytest.mark.parametrize("row", TAPS["refine"], ids=lambda row: f"refine.{row.name}")
def test_refine_tap(row: TapRow, refined: dict[str, Kept]) -> None:
    close(refined["onnx"].taps[row.name], refined["torch"].taps[row.name])
