"""Every tap against torch: the coarse stage whole, the refine stage on a few vertices."""

from typing import Any

import numpy as np
import pytest
import torch

from network.taps import TAPS, TapRow
from parity_tests.torch_impl.onnx.evaluated import GraphWriter, evaluated
from parity_tests.torch_impl.onnx.heard import Kept, close
from torch_impl import onnx_network, onnx_projection
from torch_impl.backend import load_network
from torch_impl.onnx_backend import factory, stage_inputs
from weight_conversion.conversion import to_state_dict
from weight_conversion.formats import WeightSet


@pytest.mark.parametrize("row", TAPS["coarse"], ids=lambda row: f"coarse.{row.name}")
def test_coarse_tap(row: TapRow, runs: dict[str, Kept]) -> None:
    close(runs["onnx"].taps[row.name], runs["torch"].taps[row.name])


def test_taps_come_in_order_with_decisions_before_projections(runs: dict[str, Kept]) -> None:
    assert runs["onnx"].order == runs["torch"].order


def test_own_decisions_are_torchs_but_for_ties(runs: dict[str, Kept]) -> None:
    for tap, cells in runs["torch"].decisions.items():
        own = runs["onnx"].decisions[tap]
        assert own.dtype == np.int16
        assert own.shape == cells.shape
        assert (own != cells).mean() < 0.005, tap


def test_pinned_decisions_are_used(
    weights: dict[str, WeightSet], inputs: dict[str, Any], runs: dict[str, Kept]
) -> None:
    tap = "graph_proj_1_layer_0"
    cells = np.full_like(runs["torch"].decisions[tap], 20)
    heard = Kept(lambda name: name == tap)
    arrays = weights["coarse"].arrays
    factory("coarse").run({**inputs, "pinned": {tap: cells}}, arrays, heard)
    greatest = heard.taps[tap][:, 3 : 3 + 64]
    at_cell = runs["onnx"].taps["cnn.conv2d_8"][0, 20, 20]
    close(greatest, np.broadcast_to(at_cell, greatest.shape))
    # What is reported stays the run's own choice.
    np.testing.assert_array_equal(heard.decisions[tap], runs["onnx"].decisions[tap])
    assert set(heard.taps) == {tap}


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

        def decide(self, name: str, decisions: torch.Tensor) -> None:
            expected.decide(name, decisions.numpy())

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
        onnx_network.refine(graph, "images", cameras, expected.decisions, len(mesh))
        return names

    feeds = stage_inputs("refine", {**inputs, "mesh": mesh, "pinned": expected.decisions})
    found = Kept()
    for name, value in zip(names, evaluated(build, feeds, state), strict=True):
        found(name, value)
    return {"torch": expected, "onnx": found}


@pytest.mark.parametrize("row", TAPS["refine"], ids=lambda row: f"refine.{row.name}")
def test_refine_tap(row: TapRow, refined: dict[str, Kept]) -> None:
    close(refined["onnx"].taps[row.name], refined["torch"].taps[row.name])
