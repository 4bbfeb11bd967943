"""What the suites of the TensorFlow side share: inputs, probe weights, a listener that keeps."""

import importlib.util
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from inputs.ground_truth import GroundTruth, load_ground_truth
from inputs.hypotheses import build_hypotheses, load_hypotheses
from inputs.item import load_item
from inputs.template import Template, build_template, load_template
from network.weights import WEIGHTS

if importlib.util.find_spec("tensorflow") is None:
    # Not importorskip, which would import it before ``tf_reference`` has silenced it.
    pytest.skip("the extra 'tf' is not installed", allow_module_level=True)

CAMERAS = np.array(
    [[20, 25, 0, 1.2, 25], [250, 33, 0, 1.35, 25], [130, 12, 0, 1.1, 25]], np.float32
)
_COORDINATE_LAYERS = ("_layer_14_vars", "_layer_30_vars", "_layer_47_vars")
_SCORE_LAYERS = ("localgconv_6_vars", "localgconv_12_vars")


def probe_weights(stage: str, seed: int = 0) -> dict[str, np.ndarray]:
    """Random weights under which the meshes stay in view and half of the logits are clipped."""
    random = np.random.default_rng(seed)
    weights = {}
    for row in WEIGHTS[stage]:
        if len(row.shape) == 4:
            array = random.normal(0, np.sqrt(2 / np.prod(row.shape[:3])), row.shape)
        elif len(row.shape) == 2:
            limit = np.sqrt(6 / sum(row.shape))
            array = random.uniform(-limit, limit, row.shape)
        else:
            array = random.normal(0, 0.02, row.shape)
        if any(layer in row.key for layer in _COORDINATE_LAYERS):
            array = array * 0.1 if len(row.shape) == 2 else np.array([0, 0, -0.8])
        if any(layer in row.key for layer in _SCORE_LAYERS) and len(row.shape) == 1:
            array = np.array([0.3])
        weights[row.key] = array.astype(np.float32)
    return weights


def unpooled(template: Template) -> np.ndarray:
    """The template's 156 vertices unpooled twice: 2466."""
    mesh = template.coordinates.astype(np.float64)
    for pairs in template.unpooling:
        mesh = np.concatenate([mesh, mesh[pairs].mean(axis=1)])
    return mesh


def stage_inputs(
    stage: str, template: Template, hypotheses: Any, images: np.ndarray, cameras: np.ndarray
) -> dict[str, Any]:
    random = np.random.default_rng(7)
    mesh = template.coordinates
    if stage == "refine":
        mesh = unpooled(template)
        mesh = (mesh + random.normal(0, 0.005, mesh.shape)).astype(np.float32)
    return {
        "images": images,
        "cameras": cameras,
        "mesh": mesh,
        "template": template,
        "hypotheses": hypotheses,
    }


class Kept:
    """A listener that keeps what it hears.

    Args:
        wants: the taps it asks for; None for all.
        until: the tap after which it stops the run by raising ``EnoughError``.
    """

    class EnoughError(Exception):
        pass

    def __init__(self, wants: set[str] | None = None, until: str | None = None) -> None:
        self.taps: dict[str, np.ndarray] = {}
        self.order: list[str] = []
        self._wants, self._until = wants, until

    def wants(self, tap: str) -> bool:
        return self._wants is None or tap in self._wants

    def __call__(self, tap: str, array: np.ndarray) -> None:
        self.order.append(tap)
        self.taps[tap] = array
        if tap == self._until:
            raise Kept.EnoughError


@pytest.fixture(scope="session")
def kept() -> type[Kept]:
    return Kept


@pytest.fixture(scope="session")
def weights() -> Callable[[str], dict[str, np.ndarray]]:
    """Probe weights of a stage."""
    made: dict[str, dict[str, np.ndarray]] = {}

    def of(stage: str) -> dict[str, np.ndarray]:
        if stage not in made:
            made[stage] = probe_weights(stage)
        return made[stage]

    return of


@pytest.fixture(scope="session")
def inputs_of() -> Callable[[str], dict[str, Any]]:
    """Inputs that the project carries itself, of a stage."""
    images = np.random.default_rng(3).uniform(0, 1, (3, 224, 224, 3)).astype(np.float32)
    template, hypotheses = build_template(), build_hypotheses()
    return lambda stage: stage_inputs(stage, template, hypotheses, images, CAMERAS)


@pytest.fixture(scope="session")
def official_inputs(official: Path) -> Callable[[str], dict[str, Any]]:
    """The official item, template and hypotheses, of a stage."""
    item = load_item(next((official / "shapenet_item").glob("*/*")))
    template = load_template(official / "template" / "info_ellipsoid.dat")
    hypotheses = load_hypotheses(official / "template" / "pami_p2mpp.dat")
    return lambda stage: stage_inputs(stage, template, hypotheses, item.images, item.cameras)


def drawn_samples(stage: str, template: Template, seed: int = 1) -> dict[str, np.ndarray]:
    """4000 draws a block; triangles uniformly, which is as good as by area for a test."""
    random = np.random.default_rng(seed)
    levels = {"coarse": (0, 1, 2), "refine": (2, 2)}[stage]
    samples: dict[str, np.ndarray] = {}
    for block, level in enumerate(levels, start=1):
        samples[f"face_{block}"] = random.integers(0, len(template.faces[level]), 4000)
        samples[f"r1_{block}"] = random.random(4000, np.float32)
        samples[f"r2_{block}"] = random.random(4000, np.float32)
    return samples


@pytest.fixture(scope="session")
def measured_inputs(inputs_of: Callable[[str], dict[str, Any]]) -> Callable[[str], dict[str, Any]]:
    """``inputs_of`` with ground truth, around the ellipsoid, and samples."""
    random = np.random.default_rng(9)
    directions = random.normal(size=(3000, 3))
    normals = directions / np.linalg.norm(directions, axis=1, keepdims=True)
    normals[::50] = 0
    points = directions / np.linalg.norm(directions, axis=1, keepdims=True) * [0.3, 0.2, 0.25]
    points[:, 2] -= 0.8
    truth = GroundTruth(points.astype(np.float32), normals.astype(np.float32))

    def of(stage: str) -> dict[str, Any]:
        inputs = inputs_of(stage)
        samples = drawn_samples(stage, inputs["template"])
        return {**inputs, "ground_truth": truth, "samples": samples}

    return of


@pytest.fixture(scope="session")
def official_measured_inputs(
    official: Path, official_inputs: Callable[[str], dict[str, Any]]
) -> Callable[[str], dict[str, Any]]:
    """``official_inputs`` with the item's ground truth, and samples."""
    path = next((official / "shapenet_item").glob("*/*/model_normal.xyz"))

    def of(stage: str) -> dict[str, Any]:
        inputs = official_inputs(stage)
        samples = drawn_samples(stage, inputs["template"])
        truth = load_ground_truth(path, inputs["cameras"][0])
        return {**inputs, "ground_truth": truth, "samples": samples}

    return of


@pytest.fixture(scope="session")
def metagraph_path(official: Path) -> Callable[[str], Path]:
    folders = {"coarse": "coarse_mvp2m", "refine": "refine_p2mpp"}
    return lambda stage: next((official / "checkpoint_graphs" / folders[stage]).glob("*.meta"))
