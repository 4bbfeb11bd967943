"""How the demo's network is trained: the official function, resumable, and what came of it."""

from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.spatial import cKDTree

from inputs.demo import DEMO_ITEMS, demo_item_path
from inputs.demo.network import demo_weights, start_weights
from inputs.ground_truth import load_ground_truth
from inputs.hypotheses import build_hypotheses
from inputs.item import load_item
from inputs.template import build_template
from network.weights import WEIGHTS
from parity.meshes.spikes.spike import spikes
from parity.traces.record import RunInputs
from studies.demo_training import CoarseTrainer, DemoTraining, evened, neighbour_differences
from torch_impl.backend import factory
from weight_conversion.errors import InputError

TRAINING = DemoTraining(steps=(0, 4, 0), learning_rate=0.01, warm_up=2)


def _inputs() -> dict[str, RunInputs]:
    template, hypotheses = build_template(), build_hypotheses()
    return {
        name: RunInputs(
            "coarse", load_item(demo_item_path(name)), template.coordinates, template, hypotheses
        )
        for name in DEMO_ITEMS
    }


def _target() -> np.ndarray:
    """The template's finest level with a wave on it."""
    template = build_template()
    mesh = template.coordinates.astype(np.float64)
    for pairs in template.unpooling:
        mesh = np.concatenate([mesh, mesh[pairs].mean(axis=1)])
    return (mesh + 0.02 * np.sin(40 * mesh[:, [1, 2, 0]])).astype(np.float32)


def _trainer(training: DemoTraining = TRAINING) -> CoarseTrainer:
    targets = dict.fromkeys(DEMO_ITEMS, _target())
    return CoarseTrainer(training, _inputs(), targets, start_weights("coarse"))


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[CoarseTrainer, list[float], Path]:
    """A finished training, its losses, and its state after two steps."""
    path = tmp_path_factory.mktemp("training") / "state.npz"
    trainer, losses = _trainer(), []
    while found := trainer.step():
        losses.append(found["loss"])
        if len(losses) == 2:
            trainer.save(path)
    return trainer, losses, path


def test_learns(trained: tuple[CoarseTrainer, list[float], Path]) -> None:
    trainer, losses, _ = trained
    assert trainer.done
    assert len(losses) == 4
    assert losses[-1] < losses[0]


def test_what_was_learned_is_what_the_official_network_does(
    trained: tuple[CoarseTrainer, list[float], Path],
) -> None:
    weights = trained[0].weights()
    inputs = _inputs()["sofa"].mapping()
    backend = factory("coarse")
    with torch.no_grad():
        blocks = backend.forward(backend.load(weights), inputs)
    target = torch.from_numpy(_target())
    # The first block's last layer can fit all its vertices.
    assert (blocks[0].after - target[:156]).norm(dim=1).max() < 1e-3
    assert (blocks[1].after - target[:618]).norm(dim=1).mean() < 8e-3


def test_goes_on_bit_for_bit(trained: tuple[CoarseTrainer, list[float], Path]) -> None:
    through, _, path = trained
    again = _trainer()
    again.restore(path)
    assert (again.block, again.taken) == (1, 2)
    while again.step():
        pass
    expected, found = through.weights(), again.weights()
    for key, array in expected.items():
        np.testing.assert_array_equal(found[key], array, err_msg=key)


def test_the_encoder_stays_as_it_is(trained: tuple[CoarseTrainer, list[float], Path]) -> None:
    start, found = start_weights("coarse"), trained[0].weights()
    for row in WEIGHTS["coarse"]:
        if row.torch_key.startswith("cnn."):
            np.testing.assert_array_equal(found[row.key], start[row.key])


def test_a_state_of_another_training_or_a_damaged_one_is_refused(
    trained: tuple[CoarseTrainer, list[float], Path], tmp_path: Path
) -> None:
    other = _trainer(DemoTraining(steps=(0, 5, 0), learning_rate=0.01))
    with pytest.raises(InputError, match="to go on with it"):
        other.restore(trained[2])
    path = tmp_path / "state.npz"
    path.write_bytes(trained[2].read_bytes()[:1000])
    with pytest.raises(InputError, match="the state of a training"):
        other.restore(path)


def test_the_learning_rate_rises_and_falls() -> None:
    training = DemoTraining(steps=(0, 100, 0), learning_rate=1.0)
    rates = [training.rate(1, step) for step in range(1, 101)]
    assert rates[0] < 0.11
    assert max(rates) > 0.9
    assert 0 < rates[-1] < 0.001


@pytest.mark.parametrize("shape", [(40, 30), (30, 40)])
def test_evening_out_keeps_the_singular_vectors(shape: tuple[int, int]) -> None:
    matrix = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    found = evened(matrix)
    values = torch.linalg.svdvals(found)
    assert 0.4 < values.min() <= values.max() < 1.3
    left, _, right = torch.linalg.svd(matrix, full_matrices=False)
    turned = left.T @ found @ right.T
    assert (turned - turned.diagonal().diag()).abs().max() < 1e-4


def test_differences_from_the_neighbours() -> None:
    faces = np.array([[0, 1, 2], [0, 2, 3], [0, 3, 1], [1, 3, 2]])
    points = torch.tensor([[3.0], [0.0], [0.0], [6.0]])
    found = neighbour_differences(faces) @ points
    torch.testing.assert_close(found[:, 0], torch.tensor([1.0, -3.0, -3.0, 5.0]))


@pytest.mark.parametrize("name", DEMO_ITEMS)
def test_the_demos_mesh_is_the_items_shape(name: str) -> None:
    inputs = _inputs()[name]
    mesh = factory("coarse").run(inputs.mapping(), demo_weights("coarse").arrays, None)
    truth = load_ground_truth(demo_item_path(name) / "model_normal.xyz", inputs.item.cameras[0])
    size = np.linalg.norm(np.ptp(truth.points, axis=0))
    to_truth, _ = cKDTree(truth.points).query(mesh)
    from_truth, _ = cKDTree(mesh).query(truth.points)
    assert np.sqrt((to_truth**2).mean()) < 0.03 * size
    assert np.sqrt((from_truth**2).mean()) < 0.03 * size
    assert spikes(mesh.astype(np.float64), inputs.template.faces[2]).sum() <= 20
