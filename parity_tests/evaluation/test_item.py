"""One item's row: the figures that the other commands give, and reasons where there are none."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

from commands import losses
from evaluation.columns import F_SCORES, LOSSES, columns
from evaluation.item import Evaluator
from evaluation.settings import Settings
from inputs.dataset import Entry
from inputs.demo import demo_item_path
from inputs.hypotheses import build_hypotheses
from inputs.seeded import seeded_weights
from inputs.template import build_template
from network.registry import network_of
from parity.meshes.loss_weights import TERMS
from parity.traces.backends import Backend, BackendChoice
from parity.verdict.pair import run_pair
from parity_tests.evaluation.cheap import linked_dataset
from weight_conversion.formats import save_weights
from weight_conversion.weight_set import WeightSet

TEMPLATE, HYPOTHESES = build_template(), build_hypotheses()
WEIGHTS = WeightSet("coarse", seeded_weights("coarse"), 0, "seeded")
CHEAP = "parity_tests.evaluation.cheap:factory"
MESHES, LAST = "graph_conv_blk[23]_1[45]_layer_[34][07]", network_of("coarse").meshes[-1]


def settings(
    root: Path, backend: str = CHEAP, reference: str | None = None, **options: Any
) -> Settings:
    return Settings(
        root=root, truths=options.pop("truths", None), views=(0, 6, 7),
        weights={"coarse": WEIGHTS}, backend={"coarse": BackendChoice(backend)},
        reference=None if reference is None else {"coarse": BackendChoice(reference)},
        template=TEMPLATE, template_given=False, hypotheses=HYPOTHESES, **options,
    )  # fmt: skip


class Shifted:
    """The project's own implementation, the last mesh 0.001 aside."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend

    def run(self, inputs: Any, weights: Any, listen: Any) -> Any:
        def tell(tap: str, value: np.ndarray) -> None:
            last = tap == LAST
            listen(tap, value + np.float32(0.001) if last else value)

        if hasattr(listen, "wants"):
            tell.wants = listen.wants  # type: ignore[attr-defined]
        found = self._backend.run(inputs, weights, tell)
        return None if found is None else found + np.float32(0.001)


def shifted(stage: str, dtype: str, device: str) -> Shifted:
    return Shifted(BackendChoice("torch").make(stage, dtype, device))


def test_the_figures_are_those_of_losses_and_run(tmp_path: Path) -> None:
    (entry,) = linked_dataset(tmp_path / "data", 1)
    item = tmp_path / "data" / entry.name
    weights = tmp_path / "weights.safetensors"
    save_weights(weights, WEIGHTS)
    port = f"{__name__}:shifted"
    given = settings(tmp_path / "data", port, "torch", taps=MESHES, float64=False)
    row = Evaluator(given, tmp_path)(entry)
    assert isinstance(row, dict) and row["status"] == "done", row
    assert set(row) == set(columns(["coarse"], ["backend", "reference"]))
    words = ["--item", item, "--weights", weights, "--backend", port, "--no-frames", "--json"]
    done = CliRunner().invoke(losses.command, list(map(str, words)), standalone_mode=False)
    assert done.exception is None
    (column,) = json.loads(done.stdout)["columns"]
    assert [row[name] for name in LOSSES] == [column["terms"][term] for term in TERMS]

    # What `run` does, without its report.
    found = run_pair(weights, item, reference="torch", candidate=port, taps=MESHES, float64=False)
    assert row["coarse_verdict"] == found.verdict.value == "differ"
    assert row["coarse_first_divergence"] == found.first_divergence == LAST
    last = next(tap for tap in found.taps if tap.tap == LAST)
    assert row["coarse_max_abs"] == last.max_abs
    assert row["coarse_max_abs"] == pytest.approx(0.001, rel=1e-3)
    assert row["coarse_vertex_distance"] == pytest.approx(0.001 * 3**0.5, rel=1e-3)
    assert not list(tmp_path.glob("tmp*")), "traces are left"


class Lost(Shifted):
    """A port whose last mesh is no number."""

    def run(self, inputs: Any, weights: Any, listen: Any) -> Any:
        def lost(value: Any) -> Any:
            return np.full_like(np.asarray(value), np.nan)

        def hear(tap: str, value: Any) -> None:
            listen(tap, lost(value) if tap == LAST else value)

        if hasattr(listen, "wants"):
            hear.wants = listen.wants  # type: ignore[attr-defined]
        return lost(self._backend.run(inputs, weights, None if listen is None else hear))


def lost(stage: str, dtype: str, device: str) -> Lost:
    return Lost(BackendChoice("torch").make(stage, dtype, device))


def test_a_mesh_that_cannot_be_scored_has_its_verdict_all_the_same(own: tuple[Path, Entry]) -> None:
    root, entry = own
    port = f"{__name__}:lost"
    row = Evaluator(settings(root, port, "torch", taps=MESHES, float64=False), root)(entry)
    assert isinstance(row, dict) and row["status"] == "failed"
    assert row["reason"] == f"backend {port}: a mesh with NaN; expected finite coordinates to score"
    assert (row["coarse_verdict"], row["coarse_first_divergence"]) == ("differ", LAST)
    assert row["coarse_vertex_distance"] is None
    assert "chamfer_distance" not in row


@pytest.fixture
def own(tmp_path: Path) -> tuple[Path, Entry]:
    """A data set whose one item may be damaged."""
    entry = Entry("02691156", "plane")
    shutil.copytree(demo_item_path("plane"), tmp_path / entry.name)
    return tmp_path, entry


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda folder: (folder / "rendering/06.png").write_bytes(b"\x89PNG\r\n"), "06.png"),
        (
            lambda folder: (folder / "rendering/rendering_metadata.txt").unlink(),
            "rendering_metadata.txt: no such file",
        ),
        (lambda folder: (folder / "model_normal.xyz").unlink(), "model_normal.xyz: no such file"),
        (lambda folder: shutil.rmtree(folder), "no such folder; expected an item"),
    ],
)
def test_an_item_that_fails_has_its_reason(
    own: tuple[Path, Entry], damage: Any, words: str
) -> None:
    root, entry = own
    evaluator = Evaluator(settings(root), root)
    good = evaluator(entry)
    assert isinstance(good, dict) and good["status"] == "done" and good["reason"] is None
    assert good["chamfer_distance"] > 0 and 0 <= good[F_SCORES[0]] <= 100
    damage(root / entry.name)
    row = evaluator(entry)
    assert isinstance(row, dict) and row["status"] == "failed"
    assert words in row["reason"]
    assert set(row) == {"category", "item", "status", "reason"}


def test_ground_truth_of_the_authors(own: tuple[Path, Entry], tmp_path: Path) -> None:
    root, entry = own
    row = Evaluator(settings(root, truths=tmp_path), root)(entry)
    assert isinstance(row, dict)
    assert row["reason"].startswith(f"{tmp_path}/02691156_plane_00.dat: no such file")


def test_a_backend_that_cannot_be_made_is_no_items_fault(tmp_path: Path) -> None:
    broken = "parity_tests.evaluation.cheap:broken"
    assert "no such GPU" in str(Evaluator(settings(tmp_path, broken), tmp_path)(None))
    assert Evaluator(settings(tmp_path), tmp_path)(None) == ""


def test_a_port_without_the_other_taps_is_not_judged(own: tuple[Path, Entry]) -> None:
    root, entry = own
    row = Evaluator(settings(root, reference=CHEAP, float64=False), root)(entry)
    assert isinstance(row, dict)
    assert row["status"] == "done" and row["coarse_verdict"] == "invalid"


def test_taps_without_meshes_are_told(own: tuple[Path, Entry]) -> None:
    root, entry = own
    given = settings(root, "torch", "torch", taps="cnn_1*", float64=False)
    row = Evaluator(given, root)(entry)
    assert isinstance(row, dict) and "--taps" in row["reason"]


def test_identity_tells_what_the_table_depends_on(tmp_path: Path) -> None:
    one = settings(tmp_path).identity([Entry("a", "b")])
    assert one == settings(tmp_path).identity([Entry("a", "b")])
    assert json.loads(json.dumps(one)) == one
    for other in (
        settings(tmp_path).identity([Entry("a", "c")]),
        settings(tmp_path, "torch").identity([Entry("a", "b")]),
        settings(tmp_path, threads=2).identity([Entry("a", "b")]),
        settings(tmp_path, reference="torch").identity([Entry("a", "b")]),
    ):
        assert other != one
