import numpy as np
import pytest
import torch

from inputs.sampling import load_samples
from network.weights import WEIGHTS
from torch_impl.backend import factory
from torch_impl.evaluation import block_samples, block_surfaces, truth_of
from torch_impl.losses import BLOCK_TERMS, LossWeights, stage_losses
from torch_impl.pinning import rectifying
from weight_conversion.errors import InputError

BLOCKS = {"coarse": 3, "refine": 2}
STEP = 1e-7
STAGES = pytest.mark.parametrize("stage", ["coarse", "refine"])


@pytest.fixture(scope="module")
def evaluated(small_inputs, seeded):
    """Float64 evaluations with the gradient of the total and everything recorded."""
    return {
        stage: factory(stage, "float64").evaluate(
            small_inputs[stage], seeded[stage], term="total", record=True
        )
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
    pins = {name: backend.tensor(index) for name, index in found.nearest.items()}
    masks = {tap: backend.tensor(mask) for tap, mask in found.rectified.items()}
    fixed = (
        block_surfaces(stage, inputs["template"], backend.tensor),
        block_samples(found.samples, backend.tensor),
        truth_of(inputs["ground_truth"], backend.tensor),
        LossWeights.of(stage),
        pins,
    )
    maps = None
    totals = []
    with torch.no_grad():
        if group != "cnn":
            maps = network.encode(backend.tensor(inputs["images"]))
        for step in (STEP, -STEP):
            for name, direction in directions.items():
                variables[name].add_(direction, alpha=step)
            with rectifying(network, masks):
                blocks = backend.forward(network, inputs, mesh=mesh, maps=maps)
                totals.append(stage_losses(network, blocks, *fixed).terms["total"].item())
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


@STAGES
def test_pinned_decisions_are_the_runs_own(stage, evaluated, small_inputs, seeded):
    found = evaluated[stage]
    pins = {**found.rectified, **found.nearest}
    inputs = {**small_inputs[stage], "samples": found.samples}
    term = "total" if stage == "coarse" else None
    same = factory(stage, "float64").evaluate(inputs, seeded[stage], term=term, pins=pins)
    assert same.losses == found.losses
    assert set(same.flips) == set(pins)
    assert all(flips.count == 0 for flips in same.flips.values())
    for name, array in same.gradients.items():
        # A mask multiplies where a ReLU selects, so sums may run in another order: rounding only.
        scale = np.abs(found.gradients[name]).max()
        difference = np.abs(array - found.gradients[name])
        assert (difference <= 1e-12 * scale).all(), name


def test_masks_are_the_positive_taps(evaluated, small_inputs, seeded):
    taps: dict[str, np.ndarray] = {}
    factory("refine", "float64").run(small_inputs["refine"], seeded["refine"], taps.__setitem__)
    masks = evaluated["refine"].rectified
    assert len(masks) == 8 + 12
    for tap, mask in masks.items():
        np.testing.assert_array_equal(mask, taps[tap] > 0, err_msg=tap)


def test_pinned_float32_is_nearer_to_float64(evaluated, small_inputs, seeded):
    found = evaluated["coarse"]
    inputs = {**small_inputs["coarse"], "samples": found.samples}
    pins = {**found.rectified, **found.nearest}
    pinned = factory("coarse", "float32").evaluate(
        inputs, seeded["coarse"], term="total", pins=pins
    )
    for name, flips in pinned.flips.items():
        assert flips.margin < 1e-4, name
    for name, array in found.gradients.items():
        error = np.abs(pinned.gradients[name] - array).max()
        assert error <= 1e-3 * np.abs(array).max(), name


def test_a_wrong_mask_shows_in_losses_and_flips(evaluated, small_inputs, seeded):
    found = evaluated["coarse"]
    tap = "graph_conv_blk2_4_layer_20"
    mask = found.rectified[tap].copy()
    mask[3] = ~mask[3]
    inputs = {**small_inputs["coarse"], "samples": found.samples}
    wrong = factory("coarse", "float64").evaluate(inputs, seeded["coarse"], pins={tap: mask})
    assert wrong.losses["chamfer_1"] == found.losses["chamfer_1"]
    assert wrong.losses["chamfer_2"] != found.losses["chamfer_2"]
    assert wrong.flips[tap].count == 192
    assert wrong.flips[tap].total == 42 * 192
    assert wrong.flips[tap].margin > 1e-3
    # Afterwards the network decides for itself again.
    again = factory("coarse", "float64").losses(inputs, seeded["coarse"])
    assert again == found.losses


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
