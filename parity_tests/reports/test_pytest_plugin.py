"""The plugin in pytest processes of their own, on tests that compare planted traces."""

import json
import os
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import numpy as np
import pytest

from inputs.hypotheses import build_hypotheses
from inputs.item import Item
from inputs.seeded import seeded_weights
from inputs.template import build_template
from network.taps import TAPS
from parity.traces.record import RunInputs
from parity.traces.trace import TraceHeader
from parity.traces.writer import TraceWriter

ROOT = Path(__file__).resolve().parents[2]
ROW = TAPS["coarse"][21]
CAMERAS = np.array([[0, 25, 0, 0.8, 25], [165, 25, 0, 0.8, 25], [195, 29, 0, 0.9, 25]], np.float32)

TESTS = """
def test_same(p2m_report):
    assert p2m_report.compare("reference.h5", "reference.h5", label="itself").compared == 2

def test_port(p2m_report):
    p2m_report.compare("reference.h5", "candidate.h5")

def test_one_tap(p2m_report):
    from parity.verdict.compare import compare
    found = compare(Path("reference.h5"), Path("candidate.h5"))
    p2m_report.add(found, label="itself")
    p2m_report.check(found, "graph_conv_blk1_2_layer_2")
    p2m_report.check(found, "graph_conv_blk1_3_layer_3")

from pathlib import Path
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two traces, the second off at one element of its second tap, and tests that compare them."""
    for side in (0, 1):
        name = ("reference", "candidate")[side]
        header = TraceHeader(
            "coarse", ("tf", "torch")[side], "float32", "cpu", "a" * 64, "b" * 64,
            requested="graph_conv_blk1_[23]_layer_[23]",
        )  # fmt: skip
        orders = {row.name: row.order for row in TAPS["coarse"]}
        with TraceWriter(tmp_path / f"{name}.h5", header, orders) as writer:
            item = Item("item", np.zeros((3, 224, 224, 3), np.float32), CAMERAS)
            template = build_template()
            hypotheses = build_hypotheses()
            inputs = RunInputs("coarse", item, template.coordinates, template, hypotheses)
            writer.inputs(inputs.arrays())
            for key, value in seeded_weights("coarse").items():
                writer.add("weights", key, value)
            # The first is read by the second's layer, and was not asked for.
            for number in (1, 2, 3):
                tap = f"graph_conv_blk1_{number}_layer_{number}"
                values = np.ones((156, 192), np.float32)
                values[88, 17] += np.float32(0.25 * side * tap.endswith("3"))
                writer.tap(tap, values)
    (tmp_path / "test_them.py").write_text(TESTS)
    return tmp_path


def run(folder: Path, *arguments: str, **environment: str) -> tuple[int, str]:
    variables = {
        **os.environ, "PYTHONPATH": str(ROOT), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", **environment
    }  # fmt: skip
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "reports.pytest_plugin", "-c", os.devnull,
         "--rootdir", str(folder), "-W", "error", *arguments],
        cwd=folder, env=variables, capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    return done.returncode, done.stdout + done.stderr


def test_failures_show_the_message_and_nothing_else(folder: Path) -> None:
    status, output = run(folder)
    assert status == 1
    assert "2 failed, 1 passed" in output
    assert "coarse: differ, first at graph_conv_blk1_3_layer_3 (2 taps compared" in output
    assert "graph_conv_blk1_3_layer_3  differ  (156, 192) float32\n" in output
    assert "mismatched 1 of 29952 (< 0.01 %), greatest |Δ| 2.50e-01 at [88, 17]" in output
    assert "again: p2m-parity compare reference.h5 candidate.h5 --taps" in output
    assert "Traceback" not in output
    assert "pytest_plugin.py" not in output
    assert {path.name for path in folder.iterdir()} >= {"test_them.py"}
    assert not list(folder.glob("**/report.json"))


def test_the_report_of_a_test_run(folder: Path) -> None:
    status, output = run(folder, "--p2m-report", "out", "--junitxml", "junit.xml",
                         GITHUB_STEP_SUMMARY=str(folder / "summary.md"))  # fmt: skip
    assert status == 1
    assert "differ, first at graph_conv_blk1_3_layer_3 of test_them.py::test_port" in output
    assert f"report: {folder / 'out' / 'report.html'}" in output
    assert "parity: " in output
    assert "numpy " in output
    report = json.loads((folder / "out" / "report.json").read_text())
    assert report["verdicts"] == {
        "itself": "agree", "test_them.py::test_port": "differ", "itself (2)": "differ",
    }  # fmt: skip
    for part in report["parts"]:
        own = json.loads((folder / "out" / part["report"]).read_text())
        assert own["verdict"] == part["verdict"]
    assert "graph_conv_blk1_3_layer_3" in (folder / "out" / "report.html").read_text()
    cases = {
        str(case.get("name")): {
            str(found.get("name")): found.get("value") for found in case.iter("property")
        }
        for case in ElementTree.parse(folder / "junit.xml").iter("testcase")  # noqa: S314 - ours
    }
    assert cases["test_same"]["p2m_verdict"] == "agree"
    assert cases["test_port"]["p2m_first_divergence"] == "graph_conv_blk1_3_layer_3"
    summary = (folder / "summary.md").read_text()
    assert summary.startswith("# Parity tests\n")
    assert "| `test_them.py::test_port` | differ | 2 | `graph_conv_blk1_3_layer_3` |" in summary
    assert "](" not in summary.split("## ")[0]  # links would lead nowhere there


def test_workers_of_xdist_report_together(folder: Path) -> None:
    pytest.importorskip("xdist")
    status, output = run(folder, "-p", "xdist", "-n", "2", "--p2m-report", "out", "-k",
                         "same or port")  # fmt: skip
    assert status == 1, output
    report = json.loads((folder / "out" / "report.json").read_text())
    assert set(report["verdicts"].values()) == {"agree", "differ"}
    for part in report["parts"]:
        assert (folder / "out" / part["report"]).is_file()
    assert "report.html" in output


def test_nothing_compared_writes_nothing(folder: Path) -> None:
    (folder / "test_them.py").write_text("def test_nothing(): pass\n")
    status, output = run(folder, "--p2m-report", "out")
    assert status == 0
    assert "no test compared anything: no report" in output
    assert not (folder / "out").exists()


def test_a_folder_that_cannot_be_written_to_is_one_line(folder: Path) -> None:
    (folder / "out").write_text("mine")
    status, output = run(folder, "--p2m-report", "out", "-k", "same")
    assert status != 0
    assert "out" in output
    assert (folder / "out").read_text() == "mine"


def test_loading_it_imports_nothing_heavy() -> None:
    program = (
        "import sys, reports.pytest_plugin; "
        "sys.exit(bool({'numpy', 'h5py', 'torch', 'matplotlib'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, check=False)
    assert done.returncode == 0
