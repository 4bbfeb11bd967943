"""Pairs of runs, made when a test first asks for one of its taps."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from inputs.demo import demo_item_path
from inputs.hypotheses import build_hypotheses, load_hypotheses
from inputs.item import load_item
from inputs.template import build_template, load_template
from network.taps import TAPS
from parity.oracle.context import Context
from parity.traces.backends import BackendChoice
from parity.traces.record import RunInputs, predict
from parity.verdict.judgement import Judged, TapJudge
from parity.verdict.pair import PairPaths, compare_pair
from parity.verdict.result import Comparison, TapResult
from parity_tests.tf_reference.few import FEW, few_vertices
from reports.pytest_plugin import ParityReport
from studies.faults.memory import MemoryRun
from weight_conversion.formats import WeightSet

GRAPHS = {
    "coarse": "checkpoint_graphs/coarse_mvp2m/meshnetmvp2m.ckpt-50.meta",
    "refine": "checkpoint_graphs/refine_p2mpp/meshnet.ckpt-10.meta",
}


@dataclass(frozen=True)
class Case:
    """Two backends on one item.

    ``item`` is a demo item's name, or "shapenet" or "planes": the official ones, which also take
    the official template and hypotheses. The mesh is scaled by ``zoom`` about the camera's axis.
    """

    reference: str
    candidate: str
    item: str
    dtype: str = "float32"
    zoom: float = 1.0

    def __str__(self) -> str:
        zoom = f"-x{self.zoom:g}" if self.zoom != 1 else ""
        return f"{self.candidate}-{self.reference}-{self.item}-{self.dtype}{zoom}"

    @property
    def official(self) -> bool:
        return self.item in ("shapenet", "planes")


class FewRun(MemoryRun):
    """A refine run of few vertices, all of them judged."""

    @property
    def recorded(self) -> list[slice]:
        return [slice(0, FEW)]


class Pairs:
    """Runs a case when a test first asks for it, and keeps the comparison, not the traces."""

    def __init__(
        self,
        folder: Path,
        shared: Path | None,
        weights: Callable[[str], WeightSet],
        report: ParityReport,
    ):
        self._folder, self._shared, self._weights = folder, shared, weights
        self._report = report
        self._found: dict[tuple[Case, str], dict[str, TapResult]] = {}
        self.comparisons: dict[tuple[Case, str], Comparison] = {}
        self._few: dict[Case, dict[str, Judged]] = {}
        self._meshes: dict[tuple[str, float], np.ndarray] = {}

    def few(self, case: Case) -> dict[str, Judged]:
        """The refine stage's taps by name, of the first ``FEW`` vertices, without traces."""
        if case not in self._few:
            self._few[case] = self._judge_few(case)
        return self._few[case]

    def tap(self, case: Case, stage: str, tap: str) -> TapResult:
        if (case, stage) not in self._found:
            comparison = self._compare(case, stage)
            self.comparisons[case, stage] = comparison
            self._found[case, stage] = {entry.tap: entry for entry in comparison.taps}
        return self._found[case, stage][tap]

    def comparison(self, case: Case, stage: str) -> Comparison:
        if (case, stage) not in self.comparisons:
            self.tap(case, stage, "cnn.conv2d_1")
        return self.comparisons[case, stage]

    def inputs(self, case: Case, stage: str) -> RunInputs:
        """What both sides of a case read: the refine stage starts from torch's coarse mesh."""
        if not case.official:
            item, template = load_item(demo_item_path(case.item)), build_template()
            hypotheses = build_hypotheses()
        else:
            if self._shared is None:
                pytest.skip("the official material (../shared/official) is not beside this clone")
            official = self._shared / "official"
            folder = official / "demo"
            if case.item == "shapenet":
                (folder,) = (official / "shapenet_item").glob("*/*")
            item = load_item(folder)
            template = load_template(official / "template" / "info_ellipsoid.dat")
            hypotheses = load_hypotheses(official / "template" / "pami_p2mpp.dat")
        coarse = RunInputs("coarse", item, template.coordinates, template, hypotheses)
        if stage == "coarse":
            mesh = _zoomed(template.coordinates, case.zoom)
        else:
            key = (case.item, case.zoom)
            if key not in self._meshes:
                found = predict(BackendChoice("torch"), coarse, self._weights("coarse"))
                self._meshes[key] = _zoomed(found, case.zoom)
            mesh = self._meshes[key]
        return RunInputs(stage, item, mesh, template, hypotheses)

    def _choice(self, name: str, stage: str) -> BackendChoice:
        graph = None
        if name == "metagraph" and self._shared is not None:
            graph = self._shared / "official" / GRAPHS[stage]
        return BackendChoice(name, graph)

    def _judge_few(self, case: Case) -> dict[str, Judged]:
        inputs, weights = self.inputs(case, "refine"), self._weights("refine").arrays
        context = Context.of("refine", {**inputs.arrays(), "mesh": inputs.mesh[:FEW]}, weights)
        wide = case.dtype == "float64"
        runs = []
        for name in (case.reference, case.candidate):
            run = FewRun(context, case.dtype)
            taps = run.exact if wide else run.taps
            backend = self._choice(name, "refine").make("refine", case.dtype, "cpu")
            with few_vertices(inputs.mapping()) as given:
                backend.run(
                    given, weights, lambda tap, value, taps=taps: taps.update({tap: +value})
                )
            assert list(taps) == [row.name for row in TAPS["refine"]]
            runs.append(run)
        assert all(run.recorded == [slice(0, FEW)] for run in runs)
        judge = TapJudge(context, *runs, own=not wide, float64=wide)
        return {row.name: judge.judge(row) for row in TAPS["refine"]}

    def _compare(self, case: Case, stage: str) -> Comparison:
        inputs = self.inputs(case, stage)
        paths = PairPaths.in_folder(self._folder)

        @contextmanager
        def silent(_description: str, _total: int) -> Iterator[Callable[[str], None]]:
            yield lambda _tap: None

        try:
            found = compare_pair(
                self._choice(case.reference, stage),
                self._choice(case.candidate, stage),
                inputs,
                self._weights(stage),
                paths,
                progress=silent,
                dtype=case.dtype,
                # One case is in float64 itself: the others are judged in their own precision.
                float64=False,
            )
            traces = paths.reference, paths.candidate
            self._report.add(found, label=f"{case}, {stage}", traces=traces)
            return found
        finally:
            for path in vars(paths).values():
                path.unlink(missing_ok=True)


def _zoomed(mesh: np.ndarray, zoom: float) -> np.ndarray:
    """``mesh`` scaled across the camera's axis, so that its border leaves the frame."""
    return (mesh * np.array([zoom, zoom, 1.0])).astype(np.float32)
