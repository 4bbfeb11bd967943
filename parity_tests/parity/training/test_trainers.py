"""Training a user's own port: what its ``steps()`` is given, and what is said of a wrong one."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from inputs.demo import demo_item_path
from inputs.ground_truth import load_ground_truth
from inputs.hypotheses import build_hypotheses
from inputs.item import load_item
from inputs.sampling import step_draws
from inputs.template import build_template
from network.taps import BLOCK_TAPS
from parity.traces.backends import BackendChoice
from parity.traces.port_guard import PortGuard
from parity.traces.record import RunInputs
from parity.training.trainers import PortTrainer, TrainerSettings, resumable_trainer, trainer_of
from weight_conversion.errors import InputError

WEIGHTS = {"a": np.arange(3, dtype=np.float32)}
SETTINGS = TrainerSettings(learning_rate=0.5, seed=3)


class Port:
    """Moves its variable by the learning rate; says what it was given."""

    def __init__(self, wrong: str = "") -> None:
        self.wrong = wrong
        self.seen: list[Mapping[str, Any]] = []
        self.drawn_at: list[np.ndarray] = []

    def run(self, inputs: Mapping[str, Any], weights: Mapping[str, Any], listen: Any) -> None:
        self.drawn_at.append(weights["a"])
        for tap, faces in zip(BLOCK_TAPS["coarse"], inputs["template"].faces, strict=True):
            count = int(faces.max()) + 1
            listen(tap, np.random.default_rng(0).random((count, 3)))

    def steps(
        self, _inputs: Any, weights: Mapping[str, Any], samples: Iterator[Any], rate: float
    ) -> Iterator[Any]:
        w = weights["a"].copy()
        for number, drawn in enumerate(samples, start=1):
            if self.wrong == "ends" and number == 2:
                return
            if self.wrong == "fails":
                raise ZeroDivisionError("by zero")
            self.seen.append(drawn)
            w = w - rate
            state = {"weights": {"a": w}, "first_moments": {"a": w}, "second_moments": {"a": w}}
            if self.wrong in state:
                del state[self.wrong]
            yield {"total": number}, state


@pytest.fixture(scope="module")
def inputs() -> RunInputs:
    item, template = load_item(demo_item_path("plane")), build_template()
    truth = load_ground_truth(demo_item_path("plane") / "model_normal.xyz", item.cameras[0])
    return RunInputs(
        "coarse", item, template.coordinates, template, build_hypotheses(), ground_truth=truth
    )


def own(inputs: RunInputs, port: Port) -> PortTrainer:
    guard = PortGuard("my:port", port)
    return PortTrainer("my:port", guard, inputs, dict(WEIGHTS), SETTINGS, guard)


def test_a_port_is_drawn_on_at_its_own_variables(inputs: RunInputs) -> None:
    port = Port()
    found = own(inputs, port)
    assert found.step() == {"total": 1.0}
    assert found.step() == {"total": 2.0}
    assert [array.tolist() for array in port.drawn_at] == [[0, 1, 2], [-0.5, 0.5, 1.5]]
    for number, drawn in enumerate(port.seen, start=1):
        np.testing.assert_array_equal(drawn["r1_2"], step_draws("coarse", 3, number)[1].r1)
    for name, array in found.samples.items():
        np.testing.assert_array_equal(port.seen[1][name], array)
        assert not port.seen[1][name].flags.writeable
    assert found.variable("a")[0].tolist() == [-1, 0, 1]
    assert found.gradients(WEIGHTS, {}) is None


def test_a_port_takes_given_draws(inputs: RunInputs) -> None:
    port, given = Port(), {"face_1": np.zeros(4)}
    own(inputs, port).step(given)
    assert [set(each) for each in port.seen] == [set(given)]
    np.testing.assert_array_equal(port.seen[0]["face_1"], given["face_1"])
    assert port.drawn_at == []


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ("ends", r"backend my:port: its steps\(\) ended after 1"),
        (
            "fails",
            r".*its steps\(\) failed at \S*test_trainers.py:\d+ \(ZeroDivisionError: by zero",
        ),
        ("second_moments", r"backend my:port: its steps\(\) give no second_moments"),
    ],
)
def test_a_wrong_port(wrong: str, message: str, inputs: RunInputs) -> None:
    found = own(inputs, Port(wrong))
    with pytest.raises(InputError, match=f"^{message}"):
        for _ in range(2):
            found.step({})


def test_a_variable_that_it_does_not_give(inputs: RunInputs) -> None:
    found = own(inputs, Port())
    found.step({})
    with pytest.raises(InputError, match="step 1: no weights of b; expected one a variable"):
        found.variable("b")


@pytest.mark.parametrize("name", ["onnx", "metagraph"])
def test_what_cannot_train_says_so(
    name: str, inputs: RunInputs, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(BackendChoice, "make", lambda *_: Port())
    with pytest.raises(InputError, match=f"^backend {name}: cannot take training steps; expected"):
        trainer_of(BackendChoice(name), "cpu", inputs, dict(WEIGHTS), SETTINGS, "float32")


def test_nothing_to_train_towards(inputs: RunInputs) -> None:
    with pytest.raises(InputError, match="--ground-truth"):
        resumable_trainer(
            "torch", "cpu", replace(inputs, ground_truth=None), dict(WEIGHTS), SETTINGS
        )
