"""The study: its runs are what their names say, go on where they were, and are judged rightly."""

import json
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest

from commands.loading import load_sources
from inputs.demo import demo_item_path
from inputs.initial import initial_weights
from parity.traces.record import RunInputs
from parity.training.trainers import TorchTrainer, TrainerSettings
from parity.verdict.result import jsonable
from studies.spikes import study
from studies.spikes.design import (
    INTERVENTION_RUNS,
    NAMED_RUNS,
    PUBLISHED,
    Plan,
    factorial,
    plans,
    published_plans,
)
from studies.spikes.designs import DESIGNS
from studies.spikes.effects import (
    differences,
    effects_of,
    lenth_margins,
    mean_interval,
    pooled_effects,
    sign_flip_p,
)
from studies.spikes.results import plan_key, read_study, run_key, study_result
from studies.spikes.study import run_plan
from studies.spikes.training import FACTORS, INTERVENTIONS, RunSettings, StudyTrainer
from weight_conversion.errors import InputError

FROZEN = frozenset({"frozen_cnn"})


@pytest.fixture(scope="module")
def inputs() -> RunInputs:
    folder = demo_item_path("plane")
    truth = folder / "model_normal.xyz"
    return load_sources(folder, ground_truth=truth, stages=("coarse",)).of("coarse")


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


def test_every_design_has_a_name_that_can_be_asked_for() -> None:
    assert {*NAMED_RUNS, "factorial"} == set(DESIGNS)


def test_nothing_switched_on_is_the_official_training(inputs: RunInputs) -> None:
    trainer = StudyTrainer(inputs, RunSettings(FROZEN, learning_rate=1e-4))
    other = TorchTrainer(
        "cpu", inputs, dict(initial_weights("coarse", 0)), TrainerSettings(1e-4, 0, True)
    )
    for _ in range(2):
        assert trainer.step() == other.step()


@pytest.mark.parametrize(
    "name", [name for name in (*FACTORS, *INTERVENTIONS) if name != "frozen_cnn"]
)
def test_every_setting_changes_the_run(
    inputs: RunInputs, official: tuple[dict[str, float], np.ndarray], name: str
) -> None:
    losses, mesh = two_steps(inputs, FROZEN | {name})
    assert not np.array_equal(mesh, official[1])
    term, _, times = name.rpartition("_x")
    if name.startswith("no_") and f"{name[3:]}_1" in losses:
        assert losses[f"{name[3:]}_1"] == 0.0
    elif times == "5":
        assert losses[f"{term}_1"] == pytest.approx(5.0 * official[0][f"{term}_1"], rel=0.25)
    elif name == "irregular_mean":
        # Irregular vertices have more of the fault than all; the total is of the changed terms.
        assert losses["laplace_1"] > 1.1 * official[0]["laplace_1"]
        terms = [value for each, value in losses.items() if each != "total"]
        assert losses["total"] == pytest.approx(sum(terms), rel=1e-5)
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
    # The layers one by one: nothing left with all of them, as much as ever without any.
    layers = rows["official"]["by_layer"]
    assert len(layers) == 14
    assert layers[-1]["up_to"] == {key: afterwards[key] for key in ("strength", "irregular_spikes")}
    assert layers[0]["alone"]["strength"] > 0.8
    result = study_result(tmp_path)
    assert [run["name"] for run in result["runs"]] == ["level_rows", "official"]
    # Written down, it is an earlier study, whose runs are known again.
    earlier = tmp_path / "study.json"
    earlier.write_text(json.dumps(jsonable(result)))
    assert [run_key(row) for row in read_study(earlier)] == [run_key(r) for r in result["runs"]]
    plan = Plan("another name", "small", "plane", RunSettings(FROZEN, 0, 3e-4, 1), 12)
    assert plan_key(plan, inputs) in {run_key(row) for row in read_study(earlier)}
    assert study_result(tmp_path, [earlier])["runs"] == result["runs"]


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


def test_an_earlier_study_is_one(tmp_path: Path) -> None:
    path = tmp_path / "study.json"
    for text in ("{", '{"schema": "other/1"}', "[]"):
        path.write_text(text)
        with pytest.raises(InputError, match=r"study\.json"):
            read_study(path)


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


def designed_rows(**added: float) -> list[dict[str, object]]:
    """A factorial's runs whose response is noise, and what some factors add to it."""
    random = np.random.default_rng(0)
    return [
        {
            "switched_on": sorted(row),
            "irregular": 82,
            "irregular_spikes": 40.0
            + sum(by for factors, by in added.items() if set(factors.split("__")) <= row)
            + random.normal(0, 0.5),
            "strength": 0.5,
            "chamfer": 2.0,
            "history": [
                {"step": 1, "irregular_spikes": 80, "strength": 0.1},
                {"step": 20, "irregular_spikes": 8, "strength": 0.3},
                {"step": 40, "irregular_spikes": 0, "strength": 0.1 + 0.4 * ("edge_359" in row)},
            ],
        }
        for row in factorial(frozen_cnn=True)
    ]


def test_effects_are_recovered() -> None:
    found = effects_of(designed_rows(no_gcn_bias=12.0))
    rates = {e.factors: e for e in found if e.response == "irregular_spike_rate"}
    assert len(rates) == 15
    assert {e.factors[0] for e in found if e.main} == set(FACTORS) - {"frozen_cnn"}
    strongest = rates.pop(("no_gcn_bias",))
    assert strongest.estimate == pytest.approx(12.0 / 82, abs=strongest.margin)
    assert strongest.estimate > strongest.simultaneous
    assert all(abs(each.estimate) < each.simultaneous for each in rates.values())
    assert {e.estimate for e in found if e.response == "strength"} == {0.0}
    along = {e.factors: e.estimate for e in found if e.response == "strength_along"}
    assert along.pop(("edge_359",)) == pytest.approx(0.2)
    assert all(estimate == pytest.approx(0.0) for estimate in along.values())


def test_an_interaction_is_named_with_what_it_cannot_be_told_from() -> None:
    # 20 only where both are on: half of it is the interaction, half a main effect of each.
    found = effects_of(designed_rows(no_gcn_bias__edge_359=20.0))
    rates = [e for e in found if e.response == "irregular_spike_rate"]
    beyond = [e for e in rates if abs(e.estimate) > e.simultaneous]
    assert {e.factors for e in beyond if e.main} == {("no_gcn_bias",), ("edge_359",)}
    (pair,) = [e for e in beyond if not e.main]
    assert "no_gcn_bias×edge_359" in pair.factors
    assert "block1_unregularised×coupled_l2" in pair.factors
    assert pair.estimate == pytest.approx(10.0 / 82, abs=pair.margin)


def test_a_part_of_a_factorial_has_no_effects() -> None:
    rows = designed_rows()
    assert effects_of(rows[:15]) == []
    assert effects_of([*rows[:15], rows[0]]) == []


def test_lenths_margins_are_those_of_his_paper() -> None:
    # By hand: median 1, s0 1.5, all below 3.75 but the 40; their median is 1, so the error is 1.5.
    sizes = [1.0, -1.0, 1.0, 1.0, -2.0, 0.5, 0.5, 1.0, 2.0, -0.5, 2.0, 1.0, 0.5, 1.0, 40.0]
    margin, together = lenth_margins(sizes)
    assert margin == pytest.approx(2.570582 * 1.5, rel=1e-5)  # t(0.975; 5)
    assert together == pytest.approx(5.218760 * 1.5, rel=1e-4)  # t((1 + 0.95^(1/15)) / 2; 5)


def test_repeated_factorials_give_intervals_from_their_differences() -> None:
    sets = [effects_of(designed_rows(no_gcn_bias=by)) for by in (10.0, 14.0)]
    pooled = {e.factors: e for e in pooled_effects(sets) if e.response == "irregular_spike_rate"}
    assert len(pooled) == 15
    bias = pooled[("no_gcn_bias",)]
    assert bias.estimate == pytest.approx(
        np.mean([e.estimate for found in sets for e in found
                 if e.factors == ("no_gcn_bias",) and e.response == "irregular_spike_rate"])
    )  # fmt: skip
    # The noise is the same in both, so that all scatter is the 4/82 that this factor adds.
    # One contrast of fifteen differs by that: s² = (4/82)²/2 / 15, half = t(0.975; 15)·s/√2.
    assert bias.margin == pytest.approx(2.131450 * (4 / 82) / 2 / 15**0.5, rel=1e-5)
    assert pooled_effects(sets[:1]) == []


def arm(name: str, item: str, seed: int, spikes: int, levelled: int = 0) -> dict[str, object]:
    states = {"as_trained": spikes, "level_rows": levelled, "official_rows": spikes}
    return {
        "name": f"{name}.{item}.seed{seed}",
        "design": "confirmation",
        "switched_on": sorted(INTERVENTION_RUNS[name] | FROZEN),
        "item": item,
        "seed": seed,
        "blocks": 1,
        "steps": 200,
        "learning_rate": 3e-4,
        "template": "t",
        "irregular": 80,
        "history": [{"step": 20, "irregular_spikes": 2 * spikes}],
        "afterwards": {
            state: {"irregular_spikes": count, "strength": count / 80}
            for state, count in states.items()
        },
    }


def test_differences_are_paired_by_item_and_seed() -> None:
    rows = [arm("official", "sofa", seed, 10 * seed) for seed in (1, 2, 3)]
    rows += [arm("level_rows", "sofa", seed, 2 * seed) for seed in (1, 2, 4)]
    found = {
        each["name"]: each
        for each in differences(rows)
        if each["response"] == "irregular_spike_rate"
    }
    removing = found["removing"]
    assert removing["pairs"] == (("sofa", 1, 10 / 80, 2 / 80), ("sofa", 2, 20 / 80, 4 / 80))
    assert removing["estimate"] == pytest.approx(0.15)
    assert removing["low"] < 0.15 < removing["high"]
    assert removing["sign_p"] == 0.5
    along = [each for each in differences(rows) if each["response"].endswith("rate_along")]
    assert [each["estimate"] for each in along if each["name"] == "removing"] == [
        pytest.approx(0.3)
    ]
    assert found["removing, not trained again"]["estimate"] == pytest.approx(0.25)
    assert found["bringing"]["estimate"] == 0.0
    assert "removing, port" not in found


def test_intervals_and_sign_flips() -> None:
    low, high = mean_interval(np.array([1.0, 2.0, 3.0]))
    assert (low, high) == pytest.approx((2.0 - 2.484138, 2.0 + 2.484138))  # t(0.975; 2) / √3
    assert mean_interval(np.array([1.0])) == (None, None)
    assert sign_flip_p(np.array([1.0, 2.0, 3.0])) == 2 / 8
    assert sign_flip_p(np.array([1.0, -1.0])) == 1.0


def test_plans_are_made_once() -> None:
    made = plans(["interventions", "confirmation"], ["plane", "sofa"], [0, 1], 10, 1e-4, 2, True)
    names = [plan.name for plan in made]
    assert len(names) == len(set(names)) == len(INTERVENTION_RUNS) * 4
    assert all("frozen_cnn" in plan.settings.switched_on for plan in made)
    with pytest.raises(InputError, match="--design: 'none'"):
        plans(["none"], ["plane"], [0], 10, 1e-4, 1, True)


def test_published_plans_are_those_of_the_items_given() -> None:
    whole = published_plans(["plane", "sofa", "shapenet"], 3e-4)
    assert len({plan.name for plan in whole}) == len(whole)
    assert {plan.item for plan in whole} == {item for part in PUBLISHED for item in part.items}
    here = published_plans(["plane", "other"], 3e-4)
    assert here == [plan for plan in whole if plan.item == "plane"]
    assert len({plan.name for plan in here if plan.design == "factorial"}) == 16


def test_slopes_are_the_terms_own(inputs: RunInputs) -> None:
    trainer = StudyTrainer(inputs, RunSettings(FROZEN, blocks=1))
    trainer.step()
    slopes = trainer.slopes()
    assert set(slopes) == {f"{term}_1" for term in ("chamfer", "edge", "normal", "laplace", "move")}
    assert trainer.slopes() == slopes
    # Lighter terms have slopes lighter by as much.
    port = StudyTrainer(inputs, RunSettings(FROZEN | {"block1_unregularised"}, blocks=1))
    port.restore(trainer.arrays())
    lighter = port.slopes()
    assert lighter["laplace_1"] == pytest.approx(0.2 * slopes["laplace_1"], rel=1e-4)
    assert lighter["move_1"] == 0.0
    assert lighter["edge_1"] == pytest.approx(slopes["edge_1"], rel=1e-4)


def test_unknown_settings_are_refused() -> None:
    with pytest.raises(InputError, match="no setting 'no_bias'"):
        RunSettings(frozenset({"no_bias"}))
