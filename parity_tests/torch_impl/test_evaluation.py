import numpy as np
import pytest
import torch

from inputs.sampling import load_samples
from network.weights import WEIGHTS
from torch_impl import graph
from torch_impl.backend import factory
from torch_impl.evaluation import block_samples, block_surfaces, truth_of
from torch_impl.losses import BLOCK_TERMS, LossWeights, stage_losses
from weight_conversion.errors import InputError

BLOCKS = {"coarse": 3, "refine": 2}
STEP = 1e-9
"""So short that next to no ReLU and no nearest neighbour changes on the way."""
STAGES = pytest.mark.parametrize("stage", ["coarse", "refine"])


@pytest.fixture(scope="module")
def evaluated(small_inputs, seeded):
    """Float64 evaluations with the gradient of the total."""
    return {
        stage: factory(stage, "float64").evaluate(small_inputs[stage], seeded[stage], term="total")
        for stage in BLOCKS
    }


@STAGES
def test_losses_have_their_trace_names(stage, evaluated):
    expected = [f"{kind}_{n}" for n in range(1, BLOCKS[stage] + 1) for kind in BLOCK_TERMS]
    assert list(evaluated[stage].losses) == [*expected, "decay", "total"]
    assert all(np.isfinite(value) for value in evaluated[stage].losses.values())


@STAGES
def test_no_gradient_is_missing(stage, evaluated):
    found = evaluated[stage].gradients
    shapes = {row.key: row.shape for row in WEIGHTS[stage]}
    mesh = (12, 3) if stage == "coarse" else (162, 3)
    assert {name: array.shape for name, array in found.items()} == {**shapes, "mesh": mesh}
    assert {array.dtype for array in found.values()} == {np.dtype(np.float64)}


def test_what_the_refine_stage_does_not_reach(evaluated, seeded):
    found = evaluated["refine"].gradients
    for number in range(9, 19):
        assert (found[f"meshnet/cnn/conv2d_{number}/b:0"] == 0).all()
        kernel = seeded["refine"][f"meshnet/cnn/conv2d_{number}/W:0"].astype(np.float64)
        decay = float(np.float32(0.3)) * float(np.float32(1e-5)) * kernel
        np.testing.assert_allclose(found[f"meshnet/cnn/conv2d_{number}/W:0"], decay, rtol=1e-12)
    for number in range(1, 9):
        assert (found[f"meshnet/cnn/conv2d_{number}/b:0"] != 0).any()


@STAGES
@pytest.mark.parametrize("group", ["cnn", "graph", "mesh"])
def test_gradients_are_slopes(stage, group, evaluated, small_inputs, seeded):
    """All variables of a group move at once, each along half of its own gradient's entries."""
    found, inputs = evaluated[stage], small_inputs[stage]
    backend = factory(stage, "float64")
    network, mesh = backend.load(seeded[stage]), backend.tensor(inputs["mesh"])
    variables = {"mesh": mesh} if group == "mesh" else dict(network.named_parameters())
    keys = {"mesh": "mesh", **{row.torch_key: row.key for row in WEIGHTS[stage]}}
    layouts = {row.torch_key: row.layout for row in WEIGHTS[stage]}
    random = np.random.default_rng(0)
    directions, slope = {}, 0.0
    for name in variables:
        gradient = found.gradients[keys[name]]
        if name in layouts:
            gradient = layouts[name].to_torch(gradient)
        if name.startswith("cnn.") != (group == "cnn") or not gradient.any():
            continue
        direction = gradient * (random.random(gradient.shape) < 0.5)
        direction /= np.linalg.norm(direction) or 1.0
        directions[name] = torch.from_numpy(direction)
        slope += float((gradient * direction).sum())
    assert len(directions) == {"mesh": 1, "cnn": {"coarse": 36, "refine": 26}[stage]}.get(
        group, {"coarse": 129, "refine": 36}[stage]
    )
    fixed = (
        block_surfaces(stage, inputs["template"], backend.tensor),
        block_samples(found.samples, backend.tensor),
        truth_of(inputs["ground_truth"], backend.tensor),
        LossWeights.of(stage),
    )
    maps = None
    totals = []
    with torch.no_grad():
        if group != "cnn":
            maps = network.encode(backend.tensor(inputs["images"]))
        for step in (STEP, -STEP):
            for name, direction in directions.items():
                variables[name].add_(direction, alpha=step)
            blocks = backend.forward(network, inputs, mesh=mesh, maps=maps)
            totals.append(stage_losses(network, blocks, *fixed)["total"].item())
            for name, direction in directions.items():
                variables[name].sub_(direction, alpha=step)
    assert (totals[0] - totals[1]) / (2 * STEP) == pytest.approx(slope, rel=1e-5)


def test_the_gradient_of_a_part_of_the_total(small_inputs, seeded):
    found = factory("coarse", "float64").gradients(
        small_inputs["coarse"], seeded["coarse"], term="decay"
    )
    assert (found["mesh"] == 0).all()
    for row in WEIGHTS["coarse"]:
        image = row.torch_key.startswith("cnn.")
        rate = float(np.float32(0.3)) * float(np.float32(1e-5)) if image else np.float32(5e-6)
        decays = row.torch_key.endswith(".weight") or not image
        expected = float(rate) * seeded["coarse"][row.key].astype(np.float64) * decays
        np.testing.assert_allclose(found[row.key], expected, rtol=1e-12, err_msg=row.key)


def test_gradients_are_the_same_in_every_run(small_inputs, seeded):
    backend = factory("coarse", "float32")
    first, again = (backend.gradients(small_inputs["coarse"], seeded["coarse"]) for _ in range(2))
    for name, array in first.items():
        np.testing.assert_array_equal(array, again[name], err_msg=name)


def test_a_differentiated_pass_has_the_forward_passs_bits(small_inputs, seeded):
    backend = factory("refine")
    found = backend.evaluate(small_inputs["refine"], seeded["refine"], term="total")
    mesh = backend.run(small_inputs["refine"], seeded["refine"], None)
    np.testing.assert_array_equal(found.meshes[-1], mesh)


def test_gradients_are_those_of_all_vertices_at_once(small_inputs, seeded, evaluated, monkeypatch):
    """A slice of vertices passes through a block by itself; 162 vertices are several."""
    monkeypatch.setattr(graph, "VERTICES_AT_ONCE", 162)
    whole = factory("refine", "float64").gradients(small_inputs["refine"], seeded["refine"])
    for name, gradient in evaluated["refine"].gradients.items():
        scale = np.abs(whole[name]).max()
        np.testing.assert_allclose(gradient, whole[name], rtol=0, atol=1e-12 * scale, err_msg=name)


def test_samples_are_drawn_or_given(tmp_path, evaluated, small_inputs, seeded, monkeypatch):
    inputs, backend = small_inputs["coarse"], factory("coarse", "float64")
    other = backend.evaluate({**inputs, "sampling_seed": 1}, seeded["coarse"])
    assert other.losses["chamfer_1"] != evaluated["coarse"].losses["chamfer_1"]
    assert other.losses["edge_1"] == evaluated["coarse"].losses["edge_1"]
    np.savez(tmp_path / "s.npz", **evaluated["coarse"].samples)
    monkeypatch.setattr("inputs.sampling.FACES", (20, 80, 320))
    given = {**inputs, "samples": load_samples(tmp_path / "s.npz", "coarse")}
    assert backend.losses(given, seeded["coarse"]) == evaluated["coarse"].losses


def test_loss_weights_are_taken(evaluated, small_inputs, seeded):
    weights = LossWeights(edge=700.0)
    found = factory("coarse", "float64").losses(
        small_inputs["coarse"], seeded["coarse"], loss_weights=weights
    )
    assert found["edge_2"] == pytest.approx(2 * evaluated["coarse"].losses["edge_2"], rel=1e-14)


def test_an_unknown_term_is_refused(small_inputs, seeded):
    with pytest.raises(InputError, match=r"^loss term: 'chamfer'; expected chamfer_1, edge_1,"):
        factory("coarse").gradients(small_inputs["coarse"], seeded["coarse"], term="chamfer")


def test_deterministic_mode_is_left_as_it_was(small_inputs, seeded):
    before = torch.get_deterministic_debug_mode()
    factory("coarse").losses(small_inputs["coarse"], seeded["coarse"])
    assert torch.get_deterministic_debug_mode() == before
