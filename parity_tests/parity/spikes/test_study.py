"""The study: its runs are what their names say, go on where they were, and are judged rightly."""

from itertools import combinations
from pathlib import Path

import numpy as np
import pytest

from commands.options import load_sources
from inputs.demo import demo_item_path
from inputs.initial import initial_weights
from parity.learners import LearningSettings, TorchLearner
from parity.record import RunInputs
from parity.spikes import study
from parity.spikes.study import run_plan
from parity.spikes.study_design import Plan, factorial, plans
from parity.spikes.study_results import effects_of, study_result
from parity.spikes.study_training import FACTORS, INTERVENTIONS, RunSettings, StudyTrainer
from weight_conversion.errors import InputError

FROZEN = frozenset({"frozen_cnn"})


@pytest.fixture(scope="module")
def inputs() -> RunInputs:
    folder = demo_item_path("plane")
    truth = folder / "model_normal.xyz"
    return load_sources(folder, ground_truth=truth, stages=("coarse",)).coarse()


def two_steps(
    inputs: RunInputs, switched_on: frozenset[str]
) -> tuple[dict[str, float], np.ndarray]:
    trainer = StudyTrainer(inputs, RunSettings(switched_on, blocks=1))
    trainer.step()
    losses = trainer.step()
    return losses, trainer.meshes()[-1]


@pytest.fixture(scope="module")
def official(inputs: RunInputs) -> tuple[dict[str, float], np.ndarray]:
    return two_steps(inputs, FROZEN)


def test_nothing_switched_on_is_the_official_training(inputs: RunInputs) -> None:
    trainer = StudyTrainer(inputs, RunSettings(FROZEN, learning_rate=1e-4))
    learner = TorchLearner(
        "cpu", inputs, dict(initial_weights("coarse", 0)), LearningSettings(1e-4, 0, True)
    )
    for _ in range(2):
        assert trainer.step() == learner.step()


@pytest.mark.parametrize(
    "name", [name for name in (*FACTORS, *INTERVENTIONS) if name != "frozen_cnn"]
)
def test_every_setting_changes_the_run(
    inputs: RunInputs, official: tuple[dict[str, float], np.ndarray], name: str
) -> None:
    losses, mesh = two_steps(inputs, FROZEN | {name})
    assert not np.array_equal(mesh, official[1])
    if name == "block1_unregularised":
        assert losses["move_1"] == 0.0
        # The weights have moved differently in the first step too, if only a little.
        assert losses["laplace_1"] == pytest.approx(0.2 * official[0]["laplace_1"], rel=0.05)


def test_changes_end_with_the_run(
    inputs: RunInputs, official: tuple[dict[str, float], np.ndarray]
) -> None:
    again = two_steps(inputs, FROZEN)
    assert again[0] == official[0]
    assert np.array_equal(again[1], official[1])


def test_levelled_rows_take_the_degree_mode_away(inputs: RunInputs, tmp_path: Path) -> None:
    rows = {}
    for name, on in (("official", FROZEN), ("level_rows", FROZEN | {"level_rows"})):
        plan = Plan(name, "small", "plane", RunSettings(on, 0, 3e-4, 1), 12)
        rows[name] = run_plan(plan, inputs, tmp_path / name)
    spiky, smooth = rows["official"]["history"][-1], rows["level_rows"]["history"][-1]
    assert spiky["strength"] > 0.8
    assert spiky["strength_r2"] > 0.9
    assert abs(smooth["strength"]) < 0.05
    assert spiky["irregular_spikes"] > 10 * max(1, smooth["irregular_spikes"])
    # And the other way, without any training: levelling the finished network's supports.
    afterwards = rows["official"]["afterwards"]["level_rows"]
    assert abs(afterwards["strength"]) < 0.05
    assert (
        rows["official"]["afterwards"]["official_rows"]
        == (rows["official"]["afterwards"]["as_trained"])
    )
    assert rows["level_rows"]["afterwards"]["official_rows"]["strength"] > 0.5
    result = study_result(tmp_path)
    assert [run["name"] for run in result["runs"]] == ["level_rows", "official"]


def test_an_interrupted_run_goes_on_to_the_bit(
    inputs: RunInputs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(study, "SAVE_EVERY", 2)
    monkeypatch.setattr(study, "MEASURE_EVERY", 1)
    plan = Plan("run", "small", "plane", RunSettings(FROZEN, 0, 3e-4, 1), 4)
    whole = run_plan(plan, inputs, tmp_path / "whole")

    def interrupt(number: int, _: dict[str, float]) -> None:
        if number == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_plan(plan, inputs, tmp_path / "parts", interrupt)
    assert (tmp_path / "parts/state.npz").exists()
    numbers: list[int] = []
    again = run_plan(plan, inputs, tmp_path / "parts", lambda number, _: numbers.append(number))
    assert numbers == [3, 4]
    assert again == whole
    assert not (tmp_path / "parts/state.npz").exists()
    other = Plan("run", "small", "plane", RunSettings(FROZEN, 1, 3e-4, 1), 4)
    with pytest.raises(InputError, match="holds another run"):
        run_plan(other, inputs, tmp_path / "parts")


def test_damaged_results_are_named(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run/result.json").write_text('{"schema": ')
    with pytest.raises(InputError, match=r"run/result\.json: damaged"):
        study_result(tmp_path)


def test_factorial_has_resolution_four() -> None:
    rows = factorial(frozen_cnn=False)
    assert len(set(rows)) == 16
    signs = {f: np.array([1 if f in row else -1 for row in rows]) for f in FACTORS}
    for column in signs.values():
        assert column.sum() == 0
    for one, two in combinations(signs.values(), 2):
        assert one @ two == 0
        for third in signs.values():
            if third is not one and third is not two:
                assert (one * two) @ third == 0


def test_effects_are_recovered() -> None:
    random = np.random.default_rng(0)
    rows = [
        {
            "switched_on": sorted(row),
            "irregular_spikes": 40.0 + 12.0 * ("no_gcn_bias" in row) + random.normal(0, 0.5),
            "strength": 0.5,
            "chamfer": 2.0,
        }
        for row in factorial(frozen_cnn=True)
    ]
    found = {e.factor: e for e in effects_of(rows) if e.response == "irregular_spikes"}
    assert set(found) == set(FACTORS) - {"frozen_cnn"}
    strongest = found.pop("no_gcn_bias")
    assert strongest.low is not None
    assert strongest.high is not None
    assert strongest.low < 12.0 < strongest.high
    assert strongest.high - strongest.low < 3
    assert max(abs(each.estimate) for each in found.values()) < 1.5


def test_plans_are_made_once() -> None:
    made = plans(["interventions", "confirmation"], ["plane", "sofa"], [0, 1], 10, 1e-4, 2, True)
    names = [plan.name for plan in made]
    assert len(names) == len(set(names)) == 11 * 4
    assert all("frozen_cnn" in plan.settings.switched_on for plan in made)
    with pytest.raises(InputError, match="--design: 'none'"):
        plans(["none"], ["plane"], [0], 10, 1e-4, 1, True)


def test_unknown_settings_are_refused() -> None:
    with pytest.raises(InputError, match="no setting 'no_bias'"):
        RunSettings(frozenset({"no_bias"}))
