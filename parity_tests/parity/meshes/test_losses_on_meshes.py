"""Every loss term of both implementations on the exported graph's own meshes, against its terms."""

import importlib.util
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from inputs.ground_truth import load_ground_truth
from inputs.hypotheses import load_hypotheses
from inputs.item import load_item
from inputs.meshes import load_mesh
from inputs.sampling import samples_on, step_draws
from inputs.seeded import seeded_weights
from inputs.template import load_template
from network.taps import BLOCK_TAPS
from parity.traces.backends import BackendChoice
from parity.traces.record import RunInputs

GRAPHS = {
    "coarse": "checkpoint_graphs/coarse_mvp2m/meshnetmvp2m.ckpt-50.meta",
    "refine": "checkpoint_graphs/refine_p2mpp/meshnet.ckpt-10.meta",
}
LIMIT = 1e-6
"""Relative, in float32: some ten roundings of a mean of thousands of terms, summed in blocks."""
BLOCKS = {"coarse": 3, "refine": 2}


@dataclass(frozen=True)
class Case:
    """What the exported graph made of an item: meshes before and after each block, its terms."""

    stage: str
    mapping: Mapping[str, Any]
    weights: Mapping[str, np.ndarray]
    befores: list[np.ndarray]
    meshes: list[np.ndarray]
    terms: Mapping[str, float]

    def torch_terms(self) -> dict[str, float]:
        from torch_impl.backend import factory
        from torch_impl.coarse import BlockMeshes
        from torch_impl.evaluation import block_samples, block_surfaces, truth_of
        from torch_impl.losses import LossWeights, stage_losses

        backend = factory(self.stage, "float32")
        pairs = zip(self.befores, self.meshes, strict=True)
        found = stage_losses(
            backend.load(self.weights),
            [BlockMeshes(*map(backend.tensor, pair)) for pair in pairs],
            block_surfaces(self.stage, self.mapping["template"], backend.tensor),
            block_samples(self.mapping["samples"], backend.tensor),
            truth_of(self.mapping["ground_truth"], backend.tensor),
            LossWeights.of(self.stage),
        )
        return {name: term.item() for name, term in found.items()}

    def tf_terms(self) -> dict[str, float]:
        from tf_reference.losses import loss_terms
        from tf_reference.measured import checked_measured
        from tf_reference.parameters import network_weights
        from tf_reference.runtime import tf

        found = loss_terms(
            self.stage,
            [tf.constant(mesh) for mesh in self.befores],
            [tf.constant(mesh) for mesh in self.meshes],
            checked_measured(self.stage, self.mapping),
            network_weights(self.stage, self.weights, tf.float32),
        )
        return {name: float(term) for name, term in found.items()}


class Listening:
    """Keeps the blocks' meshes and asks for nothing else."""

    def __init__(self, stage: str) -> None:
        self.stage = stage
        self.found: dict[str, np.ndarray] = {}

    def wants(self, tap: str) -> bool:
        return tap in BLOCK_TAPS[self.stage]

    def __call__(self, tap: str, value: np.ndarray) -> None:
        self.found[tap] = np.array(value)


@pytest.fixture(scope="module", params=BLOCKS)
def terms(request: pytest.FixtureRequest, official: Path) -> dict[str, dict[str, float]]:
    """The terms of all three sides on the exported graph's meshes, by side."""
    if importlib.util.find_spec("tensorflow") is None:
        pytest.skip("TensorFlow is not installed")
    stage = request.param
    (folder,) = (official / "shapenet_item").glob("*/*")
    item = load_item(folder)
    template = load_template(official / "template" / "info_ellipsoid.dat")
    # The refine stage moves any mesh of its level: the official demo's needs no coarse run.
    mesh = template.coordinates
    if stage == "refine":
        mesh = load_mesh(official / "demo" / "predict.obj").vertices
    inputs = RunInputs(
        stage, item, mesh, template,
        load_hypotheses(official / "template" / "pami_p2mpp.dat"),
        ground_truth=load_ground_truth(folder / "model_normal.xyz", item.cameras[0]),
    )  # fmt: skip
    weights = seeded_weights(stage)
    backend = BackendChoice("metagraph", official / GRAPHS[stage]).make(stage, "float32", "cpu")
    heard = Listening(stage)
    backend.run(inputs.mapping(), weights, heard)
    meshes = [heard.found[tap] for tap in BLOCK_TAPS[stage]]
    befores = [mesh.astype(np.float32), *meshes[:-1]]
    if stage == "coarse":
        for block, pairs in enumerate(template.unpooling, start=1):
            ends = befores[block][pairs]
            middles = np.float32(0.5) * (ends[:, 0] + ends[:, 1])
            befores[block] = np.concatenate([befores[block], middles])
    samples = samples_on(stage, template, meshes, step_draws(stage, 0, 0))
    mapping = {**inputs.mapping(), "samples": samples}
    case = Case(stage, mapping, weights, befores, meshes, backend.losses(mapping, weights))
    return {"metagraph": dict(case.terms), "torch": case.torch_terms(), "tf": case.tf_terms()}


@pytest.mark.parametrize("side", ["torch", "tf"])
def test_every_term_is_the_graphs(terms: dict[str, dict[str, float]], side: str) -> None:
    graph = terms["metagraph"]
    assert set(terms[side]) == set(graph)
    assert len(graph) in (17, 12)
    off = {name: abs(terms[side][name] - value) / value for name, value in graph.items()}
    assert {name: value for name, value in off.items() if not value <= LIMIT} == {}
