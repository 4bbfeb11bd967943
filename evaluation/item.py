"""One item, evaluated: what a worker does."""

import math
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from evaluation.columns import BETWEEN, DONE, FAILED, LOSSES, NOTES, SCORES, of_side, of_stage
from evaluation.settings import Settings
from inputs.dataset import Entry, truth_path
from inputs.ground_truth import load_ground_truth, notes_on_truth
from inputs.item import load_item
from inputs.sampling import draw
from inputs.unlikely import Note
from network.registry import network_of
from parity.meshes.loss_columns import Before, Candidate, Sampling, Truth, measure
from parity.meshes.loss_weights import TERMS
from parity.meshes.scores import official_scores
from parity.traces.backends import Backend
from parity.traces.meshes import last_meshes
from parity.traces.record import RunInputs
from parity.traces.sources import Sources, notes_on_start
from parity.traces.trace import open_trace
from parity.verdict.pair import PairPaths, compare_pair, silent
from weight_conversion.errors import InputError

Row = dict[str, Any]
Meshes = tuple[np.ndarray, np.ndarray]
"""Before and after the last block."""


class Evaluator:
    """Evaluates items under settings; makes each backend once.

    Args:
        settings: what is the same for all items.
        scratch: a folder for the traces of compared runs, one item's at a time.
    """

    def __init__(self, settings: Settings, scratch: Path) -> None:
        self._settings, self._scratch = settings, scratch
        self._backends: dict[str, Backend] = {}
        self._sampling = Sampling("drawn", draw(np.random.default_rng(settings.seed)))

    def __call__(self, entry: Entry | None) -> Row | str:
        """An item's row; or, for no item, why none can be evaluated, empty where all can."""
        if entry is None:
            return self._trouble()
        row: Row = {"category": entry.category, "item": entry.item, "status": DONE, "reason": None}
        try:
            self._figures(entry, row)
            return row
        except InputError as error:
            reason = str(error)
        except Exception as error:  # an item that fails is a row, not the end
            reason = f"internal error, {type(error).__name__}: {' '.join(str(error).split())}"
        return row | {"status": FAILED, "reason": reason}

    def _trouble(self) -> str:
        """Make all backends, whose faults are no item's."""
        settings = self._settings
        try:
            for side in (settings.backend, settings.reference or {}):
                for stage in settings.stages:
                    if stage in side:
                        side[stage].make(stage, settings.dtype, settings.device)
        except InputError as error:
            return str(error)
        return ""

    def _figures(self, entry: Entry, row: Row) -> None:
        """Put into the row what is found, as soon as it is: a verdict outlives failing scores."""
        settings = self._settings
        item = load_item(settings.root / entry.name, settings.views)
        place = truth_path(settings.root, entry, settings.truths)
        points = load_ground_truth(place, item.cameras[0])
        template = settings.template
        sources = Sources(
            item, template, settings.hypotheses, mesh=None,
            mesh_notes=notes_on_start(item, template),
            truth_notes=notes_on_truth(points, place, template, item),
        )  # fmt: skip
        row |= _noted(sources.notes)
        if settings.reference is None:
            meshes = {"backend": self._run(sources)}
        else:
            meshes = self._compared(sources, row)
        for side, (before, mesh) in meshes.items():
            row |= self._scored(side, mesh, before, Truth(points, str(place), item.cameras))

    def _run(self, sources: Sources) -> Meshes:
        """The last stage's meshes, each stage on the one before's."""
        mesh, meshes = None, None
        for stage in self._settings.stages:
            weights = self._settings.weights[stage].arrays
            name = self._settings.backend[stage].name
            meshes = last_meshes(name, self._backend(stage), sources.of(stage, mesh), weights)
            mesh = meshes[1]
        assert meshes is not None
        return meshes

    def _backend(self, stage: str) -> Backend:
        settings = self._settings
        if stage not in self._backends:
            choice = settings.backend[stage]
            self._backends[stage] = choice.make(stage, settings.dtype, settings.device)
        return self._backends[stage]

    def _compared(self, sources: Sources, row: Row) -> dict[str, Meshes]:
        """Both sides' last meshes; the verdict of each stage goes into the row.

        As in ``run``, both sides' refine stage starts from the reference's coarse mesh.
        """
        mesh, meshes = None, None
        for stage in self._settings.stages:
            meshes, found = self._pair(sources.of(stage, mesh))
            mesh = meshes["reference"][1]
            row |= {of_stage(stage, name): value for name, value in found.items()}
        assert meshes is not None
        return meshes

    def _pair(self, inputs: RunInputs) -> tuple[dict[str, Meshes], Row]:
        settings, stage = self._settings, inputs.stage
        assert settings.reference is not None
        with TemporaryDirectory(dir=self._scratch) as folder:
            paths = PairPaths.in_folder(Path(folder))
            comparison = compare_pair(
                settings.reference[stage], settings.backend[stage], inputs,
                settings.weights[stage], paths,
                progress=silent, dtype=settings.dtype, devices=(settings.device,) * 2,
                taps=settings.taps, float64=settings.float64,
            )  # fmt: skip
            meshes = {
                "backend": _recorded(paths.candidate), "reference": _recorded(paths.reference)
            }  # fmt: skip
        ours, theirs = (meshes[side][1].astype(np.float64) for side in ("backend", "reference"))
        output = next(tap for tap in comparison.taps if tap.tap == network_of(stage).output)
        return meshes, {
            "verdict": comparison.verdict.value,
            "first_divergence": comparison.first_divergence,
            "vertex_distance": _finite(float(np.linalg.norm(ours - theirs, axis=1).max())),
            "max_abs": _finite(output.max_abs),
        }

    def _scored(self, side: str, mesh: np.ndarray, before: np.ndarray, truth: Truth) -> Row:
        settings = self._settings
        name = settings.sides()[side]
        if not np.isfinite(mesh).all():
            raise InputError(f"backend {name}", "a mesh with NaN", "finite coordinates to score")
        scores = official_scores(mesh.astype(np.float64), truth.points.points.astype(np.float64))
        faces = settings.template.faces[-1]
        candidate = Candidate("item", name, f"mesh of {name}", mesh, faces, Before(before, name))
        column = measure(
            candidate, truth, settings.template,
            template_given=settings.template_given, sampling=self._sampling, frames=False,
        )  # fmt: skip
        figures = (
            scores.chamfer_distance,
            *scores.f_scores,
            *(column.losses.values[term] for term in TERMS),
        )
        names = (of_side(side, name) for name in (*SCORES, *LOSSES))
        return dict(zip(names, figures, strict=True))


def _finite(value: float | None) -> float | None:
    """A figure; None where it is no number that means and orders can be taken of."""
    return value if value is not None and math.isfinite(value) else None


def _noted(notes: Sequence[Note]) -> Row:
    if not notes:
        return dict.fromkeys(NOTES)
    texts = (BETWEEN.join(note.kind.value for note in notes), BETWEEN.join(notes))
    return dict(zip(NOTES, texts, strict=True))


def _recorded(path: Path) -> Meshes:
    """The meshes before and after the last block in a trace."""
    with open_trace(path) as trace:
        before, after = network_of(trace.header.stage).meshes[-2:]
        for tap in (before, after):
            if not trace.has("taps", tap):
                raise InputError(
                    f"backend {trace.header.backend}", f"recorded no {tap}", "--taps that admits it"
                )
        return trace.array("taps", before), trace.array("taps", after)
