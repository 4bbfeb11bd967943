"""The list itself: complete, consistent, the same every time, before anything is judged."""

import re
from itertools import pairwise
from pathlib import Path

import pytest

from network.registry import names, network_of
from network.taps import TAPS
from network.weights import WEIGHTS
from studies.faults.catalogue import CATALOGUE
from studies.faults.fault import GROUPS, OPERANDS, PIPELINE, Fault
from studies.faults.faults import FAULTS, PIPELINES
from studies.faults.harmless import HARMLESS, Harmless
from studies.faults.harness import jobs
from studies.faults.order import gradient_order, step_order
from studies.faults.probes import PROBES, tap_shape
from studies.faults.rules import RULES, layer_mutations

TERMS = {
    stage: {f"{term}_{block}" for term in ("chamfer", "edge", "normal", "laplace", "move")
            for block in range(1, len(network_of(stage).levels) + 1)} | {"decay", "total"}
    for stage in names()
}  # fmt: skip
CHECKS = {"data/order", "data/views", "data/ground_truth", "data/coarse_mesh", "export/faces"}


def by_id(subjects: tuple[Fault, ...] | tuple[Harmless, ...]) -> dict[str, object]:
    return {each.id: each for each in subjects}


def test_there_are_as_many_as_promised() -> None:
    real = [each for each in FAULTS if not each.equivalent_because]
    assert len(real) >= 60
    assert len(HARMLESS) >= 30
    assert len(by_id(FAULTS)) == len(FAULTS)
    assert len(by_id(HARMLESS)) == len(HARMLESS)


def test_every_observed_deviation_is_in_the_catalogue(shared: Path) -> None:
    page = shared / "DEVIATIONS.md"
    if not page.is_file():
        pytest.skip("DEVIATIONS.md is not beside this clone")
    observed = re.findall(r"^\| ([a-z][a-z0-9_]+) \| ", page.read_text("utf-8"), re.MULTILINE)
    observed.remove("id")
    assert len(observed) > 30
    assert not set(observed) - {each.id for each in CATALOGUE}


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.id)
def test_a_fault_says_where_it_shows(fault: Fault) -> None:
    assert fault.probe in PROBES
    assert fault.operand in OPERANDS
    assert fault.description
    assert fault.dtype in ("float64", "float32")
    assert fault.shows_in
    assert set(fault.shows_in) <= set(GROUPS)
    assert list(fault.shows_in) == sorted(fault.shows_in, key=GROUPS.index)
    for stage, name in fault.expected.items():
        assert is_a_result(stage, fault.group, name) or (not name and fault in equivalent())


def is_a_result(stage: str, group: str, name: str) -> bool:
    if stage == PIPELINE:
        return group in ("data", "export") and name in CHECKS
    kind, _, rest = name.partition("/")
    if group == "forward":
        return name in {row.name for row in TAPS[stage]}
    if group == "loss":
        return kind == "losses" and rest in TERMS[stage]
    if group == "gradient":
        return kind == "gradients" and rest in gradient_order(stage)
    number, _, key = rest.partition("/")
    return kind == "steps" and number in ("1", "2") and key in step_order(stage)


def equivalent() -> list[Fault]:
    return [each for each in FAULTS if not any(each.expected.values())]


def test_faults_that_show_nowhere_are_few_and_reordered_or_proved() -> None:
    assert 0 < len(equivalent()) < 10
    assert any(each.equivalent_because for each in equivalent())


def test_every_operand_class_and_both_stages_are_mutated() -> None:
    operators = {rule.name.partition(".")[0] for rule in RULES}
    operators |= {each.source.partition(".")[0] for each in FAULTS}
    wanted = {"pad", "stride", "transpose", "drop", "swap", "constant", "reduction", "order",
              "detach", "epsilon", "precision"}  # fmt: skip
    assert wanted <= operators
    for stage in WEIGHTS:
        assert sum(stage in each.stages for each in layer_mutations()) > 10
        layers = {name for each in layer_mutations() for name in each.expected.values()}
        assert len(layers) > 20, "the rules' layers do not spread"


def test_every_operand_has_a_fault() -> None:
    assert {each.operand for each in FAULTS} == set(OPERANDS)


def test_the_list_is_the_same_every_time() -> None:
    first, second = layer_mutations(), layer_mutations()
    assert [each.id for each in first] == [each.id for each in second]
    assert [each.expected for each in first] == [each.expected for each in second]


def test_pipelines_belong_to_the_faults_of_data_and_files() -> None:
    assert set(PIPELINES) == {each.id for each in FAULTS if PIPELINE in each.stages}


def test_jobs_that_share_a_reference_run_stand_together() -> None:
    places = [job.place for job in jobs(FAULTS, HARMLESS)]
    changes = sum(before != after for before, after in pairwise(places))
    assert changes == len(set(places)) - 1


@pytest.mark.parametrize("stage", WEIGHTS)
def test_gradients_are_gone_through_once_each_from_the_loss_back(stage: str) -> None:
    order = gradient_order(stage)
    assert sorted(order) == sorted([row.key for row in WEIGHTS[stage]] + ["mesh"])
    last = WEIGHTS[stage][-1].torch_key.rpartition(".")[0]
    first_layer = next(row for row in WEIGHTS[stage] if row.key == order[0])
    assert first_layer.torch_key.startswith(last)
    assert order[-1] == "mesh"
    assert order[-3] == WEIGHTS[stage][0].key


@pytest.mark.parametrize("stage", TAPS)
def test_a_probes_taps_differ_from_the_official_ones_in_their_vertices_alone(stage: str) -> None:
    for row in TAPS[stage]:
        shape = tap_shape(row)
        assert shape[1:] == row.shape[1:]
        ratio = row.shape[0] / shape[0]
        assert ratio == (2466 / 156 if stage == "refine" and "cnn" not in row.name else 1)
