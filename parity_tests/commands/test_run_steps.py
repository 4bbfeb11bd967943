"""``run --steps``: training steps of two backends compared, from the command line."""

import importlib.util
import json
from pathlib import Path

import pytest

from inputs.demo import demo_item_path
from inputs.seeded import seeded_weights
from parity_tests.commands.cli import Outcome, assert_trouble, p2m
from weight_conversion.formats import WeightSet, save_weights

PLANE = demo_item_path("plane")
PORT = '''
import torch
from torch_impl import training
from torch_impl.backend import factory as torch_factory

class TorchsEpsilon(training.Adam):
    """The paper's algorithm 1, as torch.optim.Adam."""
    taken = 0

    @torch.no_grad()
    def update(self, gradients):
        self.taken += 1
        first, second = (1 - beta**self.taken for beta in (training.BETA_1, training.BETA_2))
        for w, g, m, v in zip(self.variables, gradients, self.first_moments, self.second_moments):
            m.add_((g - m) * (1 - training.BETA_1))
            v.add_((g * g - v) * (1 - training.BETA_2))
            w.sub_(self.learning_rate / first * m / ((v / second).sqrt() + training.EPSILON))

class Port:
    def __init__(self, *choice):
        self.backend = torch_factory(*choice)
        self.run = self.backend.run
        self.losses = self.backend.losses

    def steps(self, inputs, weights, samples, learning_rate):
        settings, official = training.TrainingSettings(learning_rate), training.Adam
        training.Adam = TorchsEpsilon
        try:
            trainer = training.Trainer(self.backend, inputs, weights, settings)
        finally:
            training.Adam = official
        for drawn in samples:
            yield trainer.step(drawn).losses, vars(trainer.state())

class Still(Port):
    steps = None
'''


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    found = tmp_path_factory.mktemp("steps")
    save_weights(found / "w.safetensors", WeightSet("coarse", seeded_weights("coarse"), None, "s"))
    (found / "port.py").write_text(PORT)
    return found


def run(folder: Path, *arguments: object) -> Outcome:
    return p2m(
        "run", "coarse", "--weights", "w.safetensors", "--item", PLANE, "--taps", "*layer_47",
        *arguments, cwd=folder,
    )  # fmt: skip


TRUTH = ("--ground-truth", PLANE / "model_normal.xyz")


def test_the_two_implementations_stay_together(folder: Path) -> None:
    if importlib.util.find_spec("tensorflow") is None:
        pytest.skip("TensorFlow is not installed")
    done = run(folder, *TRUTH, "--dtype", "float64", "--steps", "2", "--out", "both", "--json")
    assert done.status == 0, done.stderr
    report = json.loads(done.stdout)
    assert report == json.loads((folder / "both" / "report.json").read_text())
    assert report["verdict"] == "agree"
    assert [step["optimiser"] for step in report["step_summaries"]] == ["right", "right"]
    # 17 terms; 165 variables with two moments each.
    assert len(report["steps"]) == 17 + 3 * 165
    assert max(entry["max_rel"] for entry in report["steps"]) < 1e-9
    assert "the two trainings stay together over 2 steps" in report["notes"]


def test_torchs_epsilon_is_named_in_float32(folder: Path) -> None:
    done = run(folder, *TRUTH, "--steps", "1", "--out", "port", "--json",
               "--reference", "torch", "--candidate", "port:Port")  # fmt: skip
    assert done.status == 1, done.stderr
    report = json.loads(done.stdout)
    assert report["verdict"] == "differ"
    assert report["first_divergence"].startswith("steps/1/meshnetmvp2m/")
    assert "epsilon inside the bias correction" in report["step_summaries"][0]["optimiser"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--steps", "2"), ("--steps", "--ground-truth")),
        ((*TRUTH, "--steps", "2", "--learning-rate", "-1"), ("learning rate",)),
        (
            (*TRUTH, "--steps", "1", "--reference", "torch", "--candidate", "port:Still"),
            ("port:Still", "cannot take training steps"),
        ),
    ],
    ids=["no-ground-truth", "no-rate", "no-steps"],
)
def test_trouble(folder: Path, arguments: tuple[object, ...], words: tuple[str, ...]) -> None:
    assert_trouble(run(folder, *arguments, "--out", "trouble"), *words)
    assert not (folder / "trouble").exists()
