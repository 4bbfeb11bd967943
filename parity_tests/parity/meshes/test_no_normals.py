"""Ground truth without normals: no backend computes a normal term, and every report says so."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from inputs.demo import demo_item_path
from inputs.ground_truth import GroundTruth, load_ground_truth
from inputs.hypotheses import build_hypotheses
from inputs.item import load_item
from inputs.sampling import step_draws
from inputs.seeded import seeded_weights
from inputs.template import build_template
from network.levels import FACES
from parity.traces.backends import BackendChoice
from parity.traces.record import RunInputs, record
from parity.verdict.compare import compare
from weight_conversion.errors import InputError
from weight_conversion.formats import WeightSet

BACKENDS = ("torch", "tf", "metagraph")
META = "checkpoint_graphs/coarse_mvp2m/meshnetmvp2m.ckpt-50.meta"


@pytest.fixture(scope="module")
def weights() -> WeightSet:
    return WeightSet("coarse", seeded_weights("coarse"), None, "seeded")


@pytest.fixture(scope="module")
def inputs() -> RunInputs:
    """The demo plane with 500 of its points, and samples that depend on no backend."""
    item, template = load_item(demo_item_path("plane")), build_template()
    path = demo_item_path("plane") / "model_normal.xyz"
    truth = load_ground_truth(path, item.cameras[0])
    assert truth.normals is not None
    samples = {}
    for block, draw in enumerate(step_draws("coarse", 0, 0), start=1):
        samples[f"face_{block}"] = (draw.place * FACES[block - 1]).astype(np.int64)
        samples |= {f"r1_{block}": draw.r1, f"r2_{block}": draw.r2}
    return RunInputs(
        "coarse",
        item,
        template.coordinates,
        template,
        build_hypotheses(),
        ground_truth=GroundTruth(truth.points[::15], truth.normals[::15]),
        samples=samples,
    )


def choice(name: str, request: pytest.FixtureRequest) -> BackendChoice:
    if name != "torch":
        pytest.importorskip("tf_reference", reason="the extra 'tf' is not installed")
    graph: Path | None = None
    if name == "metagraph":
        graph = request.getfixturevalue("official") / META
    return BackendChoice(name, graph)


def bare(inputs: RunInputs) -> RunInputs:
    assert inputs.ground_truth is not None
    return replace(inputs, ground_truth=GroundTruth(inputs.ground_truth.points, None))


@pytest.mark.parametrize("name", BACKENDS)
def test_no_backend_makes_up_a_normal_term(
    name: str, inputs: RunInputs, weights: WeightSet, request: pytest.FixtureRequest
) -> None:
    backend = choice(name, request).make("coarse", "float32", "cpu")
    with_normals = backend.losses(inputs.mapping(), weights.arrays)
    without = backend.losses(bare(inputs).mapping(), weights.arrays)
    normals = [f"normal_{block}" for block in (1, 2, 3)]
    assert set(with_normals) == {*without, *normals}
    assert all(with_normals[term] > 0 for term in normals)
    assert {term: without[term] for term in without if term != "total"} == {
        term: with_normals[term] for term in without if term != "total"
    }
    expected = with_normals["total"] - sum(with_normals[term] for term in normals)
    assert without["total"] == pytest.approx(expected, rel=1e-6)
    with pytest.raises(InputError, match="normal_1"):
        backend.gradients(bare(inputs).mapping(), weights.arrays, "normal_1")


def test_a_comparison_says_so(inputs: RunInputs, weights: WeightSet, tmp_path: Path) -> None:
    paths = [tmp_path / name for name in ("one.h5", "other.h5")]
    for path in paths:
        record(BackendChoice("torch"), bare(inputs), weights, path, taps="*layer_47")
    found = compare(*paths, taps="*loss*")
    assert len(found.losses) == 14
    assert not [entry.tap for entry in found.losses if "normal" in entry.tap]
    assert any("no normals" in note for note in found.notes)
