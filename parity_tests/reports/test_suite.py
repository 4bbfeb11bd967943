"""The suite in pytest processes of its own: on planted comparisons, and on ports that are run."""

import json
import os
import re
import shutil
import xml.etree.ElementTree as ElementTree
from collections import Counter
from pathlib import Path

import pytest

from inputs.seeded import seeded_weights
from network.taps import TAPS
from reports.pytest_plugin import ParityReport
from reports.suite import asked, items, runs  # noqa: F401 - pytester forgets what it imports
from reports.suite.names import KINDS, checks_of
from weight_conversion.formats import WeightSet, save_weights

pytest_plugins = ["pytester"]
ROOT = Path(__file__).resolve().parents[2]
EXAMPLE = ROOT / "docs" / "examples" / "my_port.py"
GRAPH_CONVOLUTIONS = [row.name for row in TAPS["coarse"] if "support_0" in row.constants]
STRIDED = [row.name for row in TAPS["coarse"] if row.settings.get("stride") == 2]
PORTS = """
class Taps:
    def run(self, inputs, weights, listen): ...

class Full(Taps):
    def losses(self, inputs, weights): ...
    def gradients(self, inputs, weights): ...
    def steps(self, inputs, weights, samples, rate): ...

class Unmapped(Full):
    lacks = {"gradients": "maps no parameters"}

def full(stage, dtype, device): return Full()
def taps(stage, dtype, device): return Taps()
def unmapped(stage, dtype, device): return Unmapped()
def nothing(stage, dtype, device): raise NotImplementedError("the other stage only")
def broken(stage, dtype, device): raise ValueError("no such device")
failing = full
"""
PLANT = """
from dataclasses import replace
from pathlib import Path
import reports.suite.runs as runs
from network.registry import network_of
from parity.traces.port_guard import PortError
from parity.traces.trace import Side
from parity.training.steps import StepSummary
from parity.verdict.result import Comparison, Status, TapResult, Verdict
from reports.pytest_plugin import ParityReport

ROWS = network_of("coarse").taps

def entry(name, status=Status.ROUNDING, **more):
    return TapResult(tap=name, order=0, status=status, shape=(2,), dtype="float32", size=2,
                     max_abs=0.5, reference=1.0, candidate=1.5, at=(0,), local_roundings=7.0,
                     roundings_limit=5.0, **more)

def compare_pair(reference, candidate, inputs, weights, paths, *, gradients, **more):
    with Path(__file__).with_name("recorded").open("a") as file:
        file.write(f"{candidate.name} {gradients}\\n")
    if candidate.name == "ports:failing" and gradients:
        raise PortError(candidate.name, "its gradients() failed at ports.py:3")
    taps = {row.name: entry(row.name) for row in ROWS}
    tie, after = ROWS[1].name, ROWS[2].name
    taps[tie] = entry(tie, Status.FLIP)
    taps[after] = entry(after, Status.INHERITED, origin=tie)
    wrong, later, lacking = (ROWS[number].name for number in (4, 5, 22))
    taps[wrong] = entry(wrong, Status.DIFFER)
    taps[later] = entry(later, Status.INHERITED, origin=wrong)
    taps[lacking] = replace(entry(lacking, Status.MISSING), note="not in the candidate")
    side = Side("", "x", "float32", "cpu", "", "")
    keys = [row.key for row in network_of("coarse").variables]
    found = [replace(entry(f"gradients/{key}"), status=Status.DIFFER if key == keys[0]
                     else Status.ROUNDING) for key in keys]
    found.append(replace(entry("gradients/mesh", Status.DIFFER), local_roundings=None, limit=0.1))
    losses = [entry(f"losses/{t}_{n}", Status.INHERITED, origin=wrong) for n in (1, 2, 3)
              for t in ("chamfer", "edge", "normal", "laplace", "move")]
    losses += [entry("losses/total", Status.INHERITED, origin=wrong), entry("losses/decay")]
    return Comparison("coarse", Verdict.DIFFER, wrong, tuple(taps.values()), tuple(losses),
                      tuple(found) if gradients else (), (), (), {lacking: "fused"}, (), side, side)

def add_steps(comparison, *args, **more):
    steps = (entry("steps/1/losses/total", Status.DIFFER), entry("steps/2/KEY", Status.DIFFER))
    sums = [StepSummary(n, 9, {}, said, (1, 1), {}) for n, said in ((1, "right"), (2, "AdamW (3)"))]
    return replace(comparison, steps=steps, step_summaries=tuple(sums))

runs.compare_pair, runs.add_steps = compare_pair, add_steps
add = ParityReport.add  # there are no traces
ParityReport.add = lambda report, found, traces=None, **more: add(report, found, **more)
"""


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("weights") / "coarse.npz"
    save_weights(path, WeightSet("coarse", seeded_weights("coarse"), 0, "seed 0"))
    return path


@pytest.fixture
def folder(
    pytester: pytest.Pytester, weights: Path, monkeypatch: pytest.MonkeyPatch
) -> pytest.Pytester:
    """The ports, and what is recorded of them, in a folder that is the working one."""
    pytester.makepyfile(ports=PORTS, plant=PLANT)
    (pytester.path / "coarse.npz").symlink_to(weights)
    pytester.syspathinsert()
    for name in ("compare_pair", "add_steps"):
        monkeypatch.setattr(runs, name, getattr(runs, name))  # what is planted goes again
    monkeypatch.setattr(ParityReport, "add", ParityReport.add)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join((str(ROOT), str(pytester.path))))
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    return pytester


def run(
    folder: pytest.Pytester, *arguments: str, plugins: str = "-pplant", apart: bool = False
) -> tuple[int, str, list]:
    """Exit status, output, and the test cases of the JUnit file.

    ``apart``: in a process of its own, as PyTorch cannot be imported twice in one.
    """
    apart |= "-n" in arguments  # workers are processes: let what starts them be one too
    done = (folder.runpytest_subprocess if apart else folder.runpytest_inprocess)(
        "-p", "reports.pytest_plugin", plugins, "-c", os.devnull, "--rootdir", str(folder.path),
        "-W", "error", "--junitxml", "junit.xml", *arguments,
    )  # fmt: skip
    junit = folder.path / "junit.xml"
    cases = [*ElementTree.parse(junit).iter("testcase")] if junit.exists() else []  # noqa: S314
    return int(done.ret), f"{done.stdout}\n{done.stderr}", cases


def suite(folder: pytest.Pytester, port: str, *more: str) -> tuple[int, str, list]:
    return run(
        folder, "--p2m-candidate", f"ports:{port}", "--p2m-reference", "ports:full",
        "--p2m-item", "plane", "--p2m-weights", "coarse.npz", *more,
    )  # fmt: skip


def names(cases: list, outcome: str) -> list[str]:
    return [case.get("name") for case in cases if case.find(outcome) is not None]


def reasons(cases: list) -> Counter:
    skipped = (case.find("skipped") for case in cases)
    return Counter(each.get("message") for each in skipped if each is not None)


def test_there_is_a_test_for_everything() -> None:
    found = [test.name for test in checks_of("coarse", normals=True, steps=2)]
    assert len({*found}) == len(found) == 86 + 17 + (86 + 1 + 165) + 2
    assert not [each for each in checks_of("coarse", False, 0) if each.subject.startswith("normal")]


def test_what_is_wrong_itself_fails_and_nothing_else(folder: pytest.Pytester) -> None:
    status, output, cases = suite(folder, "full")
    assert status == 1
    key = "meshnetmvp2m/cnn/conv2d_1/W:0"
    assert names(cases, "failure") == ["tap[cnn.conv2d_5]", f"gradient[{key}]", "step[2]"]
    assert "cnn.conv2d_5  differ  (2) float32\n" in output
    assert "the layer's own error in roundings: 7 in own precision" in output
    assert "step[2]: 1 number of 9 differ; the optimiser's own step is AdamW (3)" in output
    assert "Traceback" not in output
    assert reasons(cases) == {
        "the port does not have it: fused": 1,
        "the gradient at this tap is not told, or the loss does not reach it": 86,
        "judged as a whole alone, and what it is of differs at cnn.conv2d_5": 1,
    }
    assert re.search(r"3 failed, \d+ passed, 88 skipped, 18 inherited", output)
    inherited = {
        case.get("name"): each.get("value")
        for case in cases for each in case.iter("property") if each.get("name") == "p2m_inherited"
    }  # fmt: skip
    assert inherited["tap[cnn.conv2d_6]"] == "cnn.conv2d_5"
    # What a decision that rounding took otherwise leads to is right.
    assert "tap[cnn.conv2d_3]" not in inherited
    assert inherited["step[1]"] == "cnn.conv2d_5"


@pytest.mark.parametrize(
    ("port", "kinds", "why"),
    [
        ("taps", ("loss", "gradient", "step"), "the candidate has no"),
        ("unmapped", ("gradient",), "the candidate maps no parameters"),
    ],
)
def test_what_a_port_lacks_is_skipped_with_the_reason(
    port: str, kinds: tuple[str, ...], why: str, folder: pytest.Pytester
) -> None:
    status, output, cases = suite(folder, port, "-rs")
    assert status == 1
    assert {name.partition("[")[0] for name in names(cases, "skipped")} == {"tap", *kinds}
    assert sum(count for each, count in reasons(cases).items() if each.startswith(why)) == sum(
        test.kind in kinds for test in checks_of("coarse", True, 2)
    )
    assert why in output


def test_a_stage_that_is_not_there_is_no_success(folder: pytest.Pytester) -> None:
    status, _, cases = suite(folder, "nothing")
    assert status == pytest.ExitCode.NO_TESTS_COLLECTED
    assert {*reasons(cases)} == {"the other stage only"}


def test_what_fails_is_told_and_the_rest_judged(folder: pytest.Pytester) -> None:
    _, output, cases = suite(folder, "failing")
    assert len(names(cases, "failure")) == 1 + 252 + 1
    assert "its gradients() failed at ports.py:3" in output
    assert (folder.path / "recorded").read_text() == "ports:failing True\nports:failing False\n"
    status, output, cases = suite(folder, "broken", "-k", "tap")
    assert status == 1
    assert len(names(cases, "failure")) == 86
    assert "its factory failed at" in output


def test_workers_share_one_recording(folder: pytest.Pytester) -> None:
    pytest.importorskip("xdist")
    status, output, cases = suite(
        folder, "full", "-p", "xdist", "-n", "2", "-k", "tap", "--p2m-report", "out"
    )
    assert status == 1, output
    assert len(cases) == 86
    assert (folder.path / "recorded").read_text() == "ports:full False\n"
    report = json.loads((folder.path / "out" / "report.json").read_text())
    assert report["verdicts"] == {"plane, coarse": "differ"}
    assert "1 inherited" in output


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--p2m-candidate", "nowhere:factory"), "backend nowhere:factory: cannot be imported"),
        (("--p2m-candidate", "ports:none_such"), "backend ports:none_such: cannot be imported"),
        (("--p2m-candidate", "ports:full", "--p2m-weights", "none.npz"), "none.npz"),
        (("--p2m-candidate", "ports:full", "--p2m-weights", "coarse.npz", "--p2m-steps", "0"),
         "--p2m-steps: 0; expected 1 or more"),
    ],
)  # fmt: skip
def test_wrong_options_are_one_line(
    options: tuple[str, ...], said: str, folder: pytest.Pytester
) -> None:
    status, output, _ = run(folder, *options)
    assert status == pytest.ExitCode.USAGE_ERROR
    (line,) = filter(None, output.splitlines())
    assert line.startswith("ERROR: --p2m-candidate: ")
    assert said in line


def test_other_tests_run_only_where_they_are_named(folder: pytest.Pytester) -> None:
    folder.makepyfile(test_mine="def test_mine(): pass\n")
    only = ("-k", "mine or conv2d_12")
    assert "1 passed" in suite(folder, "taps", *only)[1]
    assert "2 passed" in suite(folder, "taps", *only, "test_mine.py")[1]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("port", "wrong"),
    [("example", STRIDED + GRAPH_CONVOLUTIONS), ("mended", []), ("torch", [])],
)
def test_ports_that_are_run(
    port: str, wrong: list[str], pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The plugin is named; where it is installed it would be there a second time.
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join((str(ROOT), str(pytester.path))))
    text = EXAMPLE.read_text("utf-8")
    if port == "mended":
        text = re.sub(r"(SAME_PADDING|GCN_BIAS) = False", r"\1 = True", text)
    pytester.makepyfile(my_port=text)
    shutil.copy(EXAMPLE.with_suffix(".toml"), pytester.path)
    candidate = "torch" if port == "torch" else "my_port:factory"
    status, output, cases = run(
        pytester, "--p2m-candidate", candidate, "--p2m-item", "plane", "-k", "coarse",
        plugins="-pno:plant", apart=True,
    )  # fmt: skip
    failed = names(cases, "failure")
    assert [name for name in failed if name.startswith("tap")] == [f"tap[{tap}]" for tap in wrong]
    assert status == (1 if wrong else 0), output
    assert len({name.partition("[")[0] for name in (case.get("name") for case in cases)}) == len(
        KINDS
    )
    if port == "torch":
        assert not [case for case in cases if case.find("skipped") is not None]
    elif port == "mended":
        assert {*reasons(cases)} >= {"the candidate has no steps()"}
