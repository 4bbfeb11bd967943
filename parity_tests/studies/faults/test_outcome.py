"""The figures that sum a run up, on judgements made up for the purpose."""

import csv
import io
from collections.abc import Mapping

import pytest

from studies.faults.fault import PIPELINE, Fault
from studies.faults.faults import FAULTS
from studies.faults.harmless import HARMLESS
from studies.faults.outcome import Judged, Outcome, gather
from studies.faults.table import csv_text, markdown, summary

BY_ID = {fault.id: fault for fault in FAULTS}
CHOSEN = [BY_ID[name] for name in ("rgb", "no_relu", "wrong_faces", "order.ends")]
VARIATIONS = [each for each in HARMLESS if each.id in ("gcn.split", "threads.1")]


def right(fault: Fault, stage: str) -> Judged:
    expected = fault.expected[stage]
    if not expected:
        return Judged("fault", fault.id, stage, "agree", identical=True)
    return Judged("fault", fault.id, stage, "differ", expected, fault.operand)


def outcome(changed: Mapping[tuple[str, str], Judged] | None = None) -> Outcome:
    """Everything judged right but what is given."""
    judged = {("fault", each.id, stage): right(each, stage)
              for each in CHOSEN for stage in each.stages}  # fmt: skip
    judged |= {("harmless", each.id, stage): Judged("harmless", each.id, stage, "agree")
               for each in VARIATIONS for stage in each.stages}  # fmt: skip
    for (name, stage), found in (changed or {}).items():
        judged[found.kind, name, stage] = found
    return gather(CHOSEN, VARIATIONS, judged)


def test_all_right() -> None:
    found = outcome()
    assert found.sound
    assert (found.recall, found.localised_exactly, found.operands_right) == (1.0, 1.0, 1.0)
    assert [each.fault.id for each in found.equivalent] == ["order.ends"]
    value = found.to_json()
    assert value["false_alarms"] == 0
    assert [each["id"] for each in value["faults"]] == [each.id for each in CHOSEN]
    first = value["faults"][0]
    assert {"id", "detected", "first_divergence", "expected", "operand"} <= set(first)
    assert first["first_divergence"] == first["expected"] == "cnn.conv2d_1"
    assert [each["verdict"] for each in value["harmless"]] == ["agree", "agree"]


def test_a_fault_missed_on_one_of_two_stages_is_missed() -> None:
    missed = Judged("fault", "rgb", "refine", "agree", identical=False)
    found = outcome({("rgb", "refine"): missed})
    assert found.missed == ["rgb"]
    assert found.recall == pytest.approx(2 / 3)
    assert found.localised_exactly == 0.5
    assert not found.sound
    assert found.to_json()["faults"][0]["first_divergence"] is None
    assert any("missed: rgb" in line for line in summary(found))


def test_found_one_tap_too_late_is_found_and_not_exact() -> None:
    late = Judged("fault", "rgb", "coarse", "differ", "cnn.conv2d_2", "bias")
    found = outcome({("rgb", "coarse"): late})
    assert found.recall == 1.0
    assert found.localised_exactly == 0.5
    assert len(found.elsewhere) == 1
    assert found.sound
    assert "found elsewhere: rgb, cnn.conv2d_2 instead of cnn.conv2d_1" in summary(found)


def test_a_wrong_operand_counts_against_the_operands_alone() -> None:
    wrong = Judged("fault", "no_relu", "coarse", "differ", "graph_conv_blk1_1_layer_1", "bias")
    found = outcome({("no_relu", "coarse"): wrong})
    assert (found.recall, found.localised_exactly, found.operands_right) == (1.0, 1.0, 0.5)


def test_faults_of_data_and_files_count_for_the_recall_alone() -> None:
    missed = Judged("fault", "wrong_faces", PIPELINE, "agree", identical=False)
    found = outcome({("wrong_faces", PIPELINE): missed})
    assert found.recall == pytest.approx(2 / 3)
    assert found.localised_exactly == 1.0


@pytest.mark.parametrize("verdict", ["differ", "invalid"])
def test_a_variation_that_does_not_pass_is_a_false_alarm(verdict: str) -> None:
    stage = VARIATIONS[0].stages[-1]
    alarm = Judged("harmless", VARIATIONS[0].id, stage, verdict, "graph_proj_1_layer_0")
    found = outcome({(VARIATIONS[0].id, stage): alarm})
    assert found.false_alarms == [VARIATIONS[0].id]
    assert found.to_json()["false_alarms"] == 1
    assert not found.sound


def test_an_equivalent_fault_that_is_found_is_a_false_alarm() -> None:
    proved = BY_ID["clamp.per_level"]
    alarm = Judged("fault", proved.id, "coarse", "differ", "graph_proj_1_layer_0", "constant")
    found = gather([proved], [], {("fault", proved.id, "coarse"): alarm})
    assert found.false_alarms == [proved.id]


def test_what_could_not_be_run_is_neither_found_nor_let_pass() -> None:
    broken = Judged("fault", "no_relu", "coarse", "invalid", note="RuntimeError: shapes")
    found = outcome({("no_relu", "coarse"): broken})
    assert found.missed == ["no_relu"]
    assert "RuntimeError: shapes" in csv_text(found)


def test_nothing_to_judge_has_no_share() -> None:
    assert gather([], [], {}).to_json()["recall"] is None


def test_tables_have_a_row_for_everything() -> None:
    found = outcome()
    rows = list(csv.DictReader(io.StringIO(csv_text(found))))
    stages = sum(len(each.stages) for each in (*CHOSEN, *VARIATIONS))
    assert len(rows) == stages
    text = markdown(found)
    for each in (*CHOSEN, *VARIATIONS):
        assert f"| {each.id} |" in text
    assert "| equivalent |" in text
