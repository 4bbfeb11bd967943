"""``evaluate`` from options to tables: once whole, and a line for each way to misuse it."""

import json
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner

from commands.evaluate import command
from inputs.demo import demo_item_path
from inputs.seeded import seeded_weights
from parity_tests.commands.cli import Outcome, p2m
from parity_tests.evaluation.cheap import linked_dataset
from parity_tests.inputs.test_unlikely import on_ground, repaint
from weight_conversion.errors import InputError
from weight_conversion.formats import save_weights
from weight_conversion.weight_set import WeightSet

PORT = "parity_tests.evaluation.cheap:factory"


@dataclass(frozen=True)
class Done:
    """An evaluation of six items, two damaged and one a screenshot, and what it was given."""

    data: Path
    weights: Path
    out: Path
    outcome: Outcome


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Done:
    folder = tmp_path_factory.mktemp("evaluate")
    data, weights = folder / "data", folder / "weights.safetensors"
    save_weights(weights, WeightSet("coarse", seeded_weights("coarse"), 0, "seeded"))
    linked_dataset(data, 4)
    for name, broken in (("no-png", "07.png"), ("no-cameras", "rendering_metadata.txt")):
        shutil.copytree(demo_item_path("plane"), data / "02691156" / name)
        (data / "02691156" / name / "rendering" / broken).unlink()
    screenshot = data / "02691156" / "plane-2"
    screenshot.unlink()
    shutil.copytree(demo_item_path("plane"), screenshot)
    for view in (0, 6):
        repaint(screenshot, view, on_ground(128))
    out = folder / "out"
    words = ("--backend", PORT, "--workers", 2, "--out", out, "--json")
    return Done(data, weights, out, p2m("evaluate", data, "--weights", weights, *words))


@pytest.fixture(scope="module")
def report(done: Done) -> dict[str, Any]:
    assert done.outcome.status == 0, done.outcome
    found: dict[str, Any] = json.loads(done.outcome.stdout)
    return found


def test_every_item_has_a_row(done: Done, report: dict[str, Any]) -> None:
    rows = pq.ParquetFile(done.out / "items.parquet").read().to_pylist()
    assert [row["item"] for row in rows] == [
        "no-cameras", "no-png", "plane-0", "plane-2", "sofa-1", "sofa-3"
    ]  # fmt: skip
    assert [row["status"] for row in rows] == ["failed"] * 2 + ["done"] * 4
    assert "rendering_metadata.txt: no such file" in rows[0]["reason"]
    assert "07.png: no such file" in rows[1]["reason"]
    assert [row["item"] for row in report["failed"]] == ["no-cameras", "no-png"]
    times = pq.ParquetFile(done.out / "timings.parquet").read().to_pylist()
    assert [row["item"] for row in times] == [row["item"] for row in rows]
    assert all(row["seconds"] > 0 for row in times)


def test_unlikely_inputs_are_a_line_a_kind_and_a_cell(done: Done, report: dict[str, Any]) -> None:
    (line,) = done.outcome.stderr.splitlines()
    opaque = "an image without one transparent pixel, its ground not white"
    told = f"1 of 6 items with {opaque}; the first, 02691156/plane-2: plane-2/00.png (view 0): "
    assert line.startswith(f"p2m-parity: note: {told}")
    (note,) = report["notes"]
    assert (note["kind"], note["items"], note["first"]) == (opaque, 1, "02691156/plane-2")
    assert line.endswith(note["note"])
    rows = pq.ParquetFile(done.out / "items.parquet").read().to_pylist()
    assert [row["note_kinds"] for row in rows] == [None] * 3 + [f"{opaque} | {opaque}"] + [None] * 2
    assert "plane-2/06.png (view 6): not one transparent pixel" in rows[3]["notes"]
    for form in ("html", "md"):
        assert "plane-2/00.png (view 0)" in (done.out / f"report.{form}").read_text()


def test_means_are_those_of_the_rows(done: Done, report: dict[str, Any]) -> None:
    rows = pq.ParquetFile(done.out / "items.parquet").read().to_pylist()
    planes, sofas = report["categories"]
    assert (planes["name"], planes["items"], planes["failed"]) == ("plane", 4, 2)
    assert (sofas["name"], sofas["items"], sofas["failed"]) == ("couch", 2, 0)
    for name in ("chamfer_distance", "f_score_1e-4", "f_score_2e-4", "loss_laplace"):
        assert planes[name] == pytest.approx((rows[2][name] + rows[3][name]) / 2)
        mean = (planes[name] + sofas[name]) / 2
        assert report["mean_of_categories"][name] == pytest.approx(mean)
    assert report["verdict"] is None and report["parity"] == []
    worst = report["worst"]["chamfer_distance"]
    assert worst[0]["chamfer_distance"] == max(row["chamfer_distance"] or 0 for row in rows)


def test_all_forms_of_the_report_are_there(done: Done, report: dict[str, Any]) -> None:
    files = {str(path.relative_to(done.out)) for path in done.out.rglob("*") if path.is_file()}
    assert files == {
        ".lock", "categories.csv", "evaluation.json", "figures/distribution.pdf",
        "figures/distribution.png", "items.csv", "items.parquet", "report.html", "report.json",
        "report.md", "timings.parquet",
    }  # fmt: skip
    assert json.loads((done.out / "report.json").read_text()) == report
    page, words = ((done.out / f"report.{form}").read_text() for form in ("html", "md"))
    score = f"{report['mean_of_categories']['f_score_1e-4']:.2f}"
    for text in (page, words):
        assert "4 of 6 items evaluated, 2 items failed" in text
        assert score in text and "couch" in text and "no-cameras" in text
        assert f"p2m-parity losses --item {done.data}/" in text
    assert (done.out / "items.csv").read_text().count("\n") == 7
    assert repr(report["mean_of_items"]["loss_edge"]) in (done.out / "categories.csv").read_text()


def test_resumed_it_computes_nothing_again(done: Done, report: dict[str, Any]) -> None:
    table = (done.out / "items.parquet").read_bytes()
    words = [done.data, "--weights", done.weights, "--backend", PORT, "--out", done.out, "--resume"]
    assert "--workers: given with --scheduler" in trouble(
        *words, "--workers", 1, "--scheduler", "a"
    )
    # No scheduler is asked for when no item is left.
    words += ["--scheduler", "tcp://127.0.0.1:9", "--json"]
    again = CliRunner().invoke(command, [str(each) for each in words], standalone_mode=False)
    assert again.exception is None and again.return_value == 0
    assert json.loads(again.stdout) == report
    assert (done.out / "items.parquet").read_bytes() == table


def trouble(*words: object) -> str:
    """The line that the command ends with."""
    done = CliRunner().invoke(command, [str(each) for each in words], standalone_mode=False)
    assert isinstance(done.exception, InputError), done
    return str(done.exception)


def test_results_are_not_overwritten(done: Done) -> None:
    words = (done.data, "--weights", done.weights, "--out", done.out)
    assert "results are there; expected --resume" in trouble(*words)
    assert "seed is 0, and now 1" in trouble(*words, "--backend", PORT, "--resume", "--seed", 1)
    assert "backend is" in trouble(*words, "--resume")
    assert "--retry: given without --resume" in trouble(*words, "--retry")


def test_what_names_no_items_is_refused(done: Done, tmp_path: Path) -> None:
    words = (done.data, "--weights", done.weights, "--out", tmp_path / "out", "--list")
    empty = tmp_path / "list.txt"
    empty.write_text("\n")
    assert "list.txt: names no item" in trouble(*words, empty)
    empty.write_text("02691156/plane-0\n02691156_plane-0_00.dat\n")
    assert "line 2: 02691156/plane-0 again" in trouble(*words, empty)
    assert "no such folder" in trouble(tmp_path / "no", *words[1:], empty)
    assert not (tmp_path / "out").exists()


def test_refine_weights_need_coarse_ones(done: Done, tmp_path: Path) -> None:
    weights = tmp_path / "refine.safetensors"
    save_weights(weights, WeightSet("refine", seeded_weights("refine"), 0, "seeded"))
    words = (done.data, "--out", tmp_path / "out", "--weights", weights)
    assert "--weights: refine weights alone; expected coarse weights as well" in trouble(*words)
    assert "a second set of refine weights" in trouble(*words, "--weights", weights)


def test_a_backend_that_cannot_be_made_ends_it_at_once(done: Done, tmp_path: Path) -> None:
    broken = "parity_tests.evaluation.cheap:broken"
    line = trouble(
        done.data, "--weights", done.weights, "--out", tmp_path / "out", "--backend", broken,
        "--workers", 1,
    )  # fmt: skip
    assert line.startswith(f"backend {broken}: ") and "no such GPU" in line


def test_the_client_needs_no_framework() -> None:
    program = (
        "import sys, commands.actions.evaluate\n"
        "print(sorted({'torch', 'tensorflow', 'onnxruntime', 'pyvista'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines()[-1] == "[]"
