"""Running a backend on an item and writing its trace."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from inputs.ground_truth import GroundTruth
from inputs.hypotheses import Hypotheses
from inputs.item import Item
from inputs.sampling import Samples, samples_on, step_draws
from inputs.template import Template
from network.taps import BLOCK_TAPS, TAPS
from parity.traces.backends import Backend, BackendChoice, Listen
from parity.traces.gradients import WritingWatch, write_measured
from parity.traces.trace import TraceHeader, inputs_sha256, open_trace
from parity.traces.writer import Recorder, TraceWriter
from parity.verdict.truth import TruthListener, add_isolated, unpinned
from weight_conversion.errors import InputError
from weight_conversion.formats import WeightSet, weights_sha256

VERTICES = {"coarse": 156, "refine": 2466}
"""Vertices of each stage's input mesh."""
OUTPUT_TAP = {stage: rows[-1].name for stage, rows in TAPS.items()}
"""The tap that is each stage's output mesh."""


@dataclass(frozen=True)
class RunInputs:
    """Everything both sides eat, apart from the weights.

    ``mesh``: (156, 3) for the coarse stage, (2466, 3) for the refine stage, float32, camera frame
    of view 0. With ``ground_truth`` the losses are recorded too, at ``samples``, or, where there
    are none, at points drawn on the run's own meshes with ``seed``.
    """

    stage: str
    item: Item
    mesh: np.ndarray
    template: Template
    hypotheses: Hypotheses
    pinned: Mapping[str, np.ndarray] | None = None
    ground_truth: GroundTruth | None = None
    samples: Samples | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        expected = (VERTICES[self.stage], 3)
        if self.mesh.shape != expected:
            raise InputError(
                "--mesh", f"shape {self.mesh.shape}", f"{expected} for the {self.stage} stage"
            )

    def mapping(self) -> dict[str, Any]:
        """The ``inputs`` argument of ``Backend.run``."""
        found: dict[str, Any] = {
            "images": self.item.images,
            "cameras": self.item.cameras,
            "mesh": self.mesh,
            "template": self.template,
            "hypotheses": self.hypotheses,
        }
        if self.pinned is not None:
            found["pinned"] = self.pinned
        if self.ground_truth is not None:
            found["ground_truth"] = self.ground_truth
        if self.samples is not None:
            found["samples"] = self.samples
        return found

    def arrays(self) -> dict[str, np.ndarray]:
        """What the stage reads, by its name under ``/inputs``, all of it hashed."""
        found = {
            "images": self.item.images,
            "cameras": self.item.cameras,
            "mesh": self.mesh,
        }
        if self.ground_truth is not None:
            found["ground_truth/points"] = self.ground_truth.points
            if self.ground_truth.normals is not None:
                found["ground_truth/normals"] = self.ground_truth.normals
            for level, faces in enumerate(self.template.faces, start=1):
                found[f"template/faces_{level}"] = faces
        if self.stage == "refine":
            found["hypotheses/offsets"] = self.hypotheses.offsets
            found["hypotheses/supports"] = self.hypotheses.supports
            return found
        for level, pair in enumerate(self.template.supports, start=1):
            for number, matrix in enumerate(pair):
                found[f"template/support_{level}_{number}/indices"] = matrix.indices
                found[f"template/support_{level}_{number}/values"] = matrix.values
        for level, pairs in enumerate(self.template.unpooling, start=1):
            found[f"template/unpooling_{level}"] = pairs
        return found


def record(
    choice: BackendChoice,
    inputs: RunInputs,
    weights: WeightSet,
    path: Path,
    *,
    dtype: str = "float32",
    device: str = "cpu",
    taps: str = "*",
    gradients: bool = False,
    truth: bool = False,
    on_tap: Callable[[str], None] | None = None,
) -> None:
    """Run one stage and write its trace to ``path``.

    With ground truth among the inputs the losses are recorded, and with ``gradients`` those of
    their total by every variable and by the mesh; with ``truth`` what ``parity.verdict.truth``
    describes.

    Raises:
        InputError: the weights are of another stage, the backend cannot be made or fails, or the
            trace cannot be written; ``path`` is then left as it was.
    """
    _check_stage(weights, inputs)
    backend = choice.make(inputs.stage, dtype, device)
    arrays = inputs.arrays()
    header = TraceHeader(
        stage=inputs.stage,
        backend=choice.name,
        dtype=dtype,
        device=device,
        weights_sha256=weights_sha256(weights.arrays),
        inputs_sha256=inputs_sha256(arrays),
        versions=choice.versions(),
        requested=taps,
        unmatched=_unmatched(choice.name, backend),
        pinned=inputs_sha256(inputs.pinned) if inputs.pinned is not None else "",
    )
    orders = {row.name: row.order for row in TAPS[inputs.stage]}
    with TraceWriter(path, header, orders) as writer:
        writer.inputs(arrays)
        writer.faces(inputs.template.faces[2])
        meshes = BLOCK_TAPS[inputs.stage] if inputs.ground_truth is not None else ()
        recorder = Recorder(writer, taps, on_tap, keep=meshes)
        run_backend(choice.name, backend, inputs, weights, recorder)
        if not writer.count:
            raise InputError(
                "--taps", f"{taps!r} matched no tap of the run", "a tap's name or glob"
            )
        if inputs.ground_truth is not None:
            inputs = _record_losses(
                choice.name, backend, inputs, weights, recorder, writer, gradients
            )
        if truth:
            del backend
            _record_truth(choice, inputs, weights, writer, device, recorder, gradients)
            add_isolated(writer, inputs, weights.arrays, dtype)


def _unmatched(name: str, backend: Backend) -> dict[str, str]:
    """The taps that a backend says it does not have, with its reasons."""
    declared = getattr(backend, "unmatched", None) or {}
    if not isinstance(declared, Mapping):
        raise InputError(
            f"backend {name}", f"unmatched is a {type(declared).__name__}", "a mapping tap: reason"
        )
    return {str(tap): str(reason) for tap, reason in declared.items()}


def _record_truth(
    choice: BackendChoice,
    inputs: RunInputs,
    weights: WeightSet,
    writer: TraceWriter,
    device: str,
    recorder: Recorder,
    gradients: bool,
) -> None:
    """Run the stage again in float64, on its own pixel decisions, losses at the same samples.

    Gradients are recorded at every tap too, where the backend tells them.
    """
    backend = choice.make(inputs.stage, "float64", device)
    own = unpinned(inputs)
    listener = TruthListener(writer, recorder.requests)
    run_backend(choice.name, backend, own, weights, listener)
    if inputs.ground_truth is None:
        return
    watched = getattr(backend, "watched_gradients", None)
    if gradients and watched is not None:
        watch = WritingWatch(writer, inputs.stage, recorder.requests)
        losses, found = watched(own.mapping(), weights.arrays, watch)
        watch.finish()
        write_measured(writer, inputs.stage, inputs.template)
        results = {"losses": losses, "gradients": found}
    else:
        results = {
            group: getattr(backend, group)(own.mapping(), weights.arrays)
            for group in (("losses", "gradients") if gradients else ("losses",))
        }
    for group, values in results.items():
        for key, value in values.items():
            writer.add(f"truth_{group}", key, np.asarray(value))


def _record_losses(
    name: str,
    backend: Backend,
    inputs: RunInputs,
    weights: WeightSet,
    recorder: Recorder,
    writer: TraceWriter,
    gradients: bool,
) -> RunInputs:
    """Add the losses, and the gradients of their total, at samples that the trace also holds.

    Returns:
        The inputs with those samples.
    """
    samples = inputs.samples
    if samples is None:
        blocks = [_kept(name, recorder, tap) for tap in BLOCK_TAPS[inputs.stage]]
        draws = step_draws(inputs.stage, inputs.seed, 0)
        samples = samples_on(inputs.stage, inputs.template, blocks, draws)
    for part, values in samples.items():
        writer.add("samples", part, np.asarray(values))
    inputs = replace(inputs, samples=samples)
    mapping = inputs.mapping()
    for group in ("losses", "gradients") if gradients else ("losses",):
        compute = getattr(backend, group, None)
        if compute is None:
            raise InputError(f"backend {name}", f"has no {group}()", "a backend that computes them")
        for key, value in compute(mapping, weights.arrays).items():
            writer.add(group, key, np.asarray(value))
    return inputs


def _kept(name: str, recorder: Recorder, tap: str) -> np.ndarray:
    if tap not in recorder.kept:
        raise InputError(
            f"backend {name}", f"gave no tap {tap}", "every block's mesh, to draw samples on"
        )
    return recorder.kept[tap]


def predict(
    choice: BackendChoice,
    inputs: RunInputs,
    weights: WeightSet,
    dtype: str = "float32",
    device: str = "cpu",
) -> np.ndarray:
    """The output mesh (2466, 3) of one stage, nobody listening.

    Raises:
        InputError: the backend cannot be made, fails, or returns no finite mesh.
    """
    _check_stage(weights, inputs)
    backend = choice.make(inputs.stage, dtype, device)
    mesh = run_backend(choice.name, backend, inputs, weights, None)
    if mesh is None or np.shape(mesh) != (VERTICES["refine"], 3):
        found = "no mesh" if mesh is None else f"a mesh of shape {np.shape(mesh)}"
        raise InputError(f"backend {choice.name}", f"returned {found}", "a mesh (2466, 3)")
    if not np.isfinite(mesh).all():
        raise InputError(
            f"backend {choice.name}", f"a {inputs.stage} mesh with NaN", "finite coordinates"
        )
    return mesh


def _check_stage(weights: WeightSet, inputs: RunInputs) -> None:
    if weights.stage != inputs.stage:
        raise InputError(
            weights.source,
            f"weights of the {weights.stage} stage",
            f"weights of the {inputs.stage} stage",
        )


def run_backend(
    name: str, backend: Backend, inputs: RunInputs, weights: WeightSet, recorder: Listen | None
) -> np.ndarray | None:
    """Run a backend; whatever a user's own port raises becomes an ``InputError``."""
    if ":" not in name:
        return backend.run(inputs.mapping(), weights.arrays, recorder)
    try:
        return backend.run(inputs.mapping(), weights.arrays, recorder)
    except InputError:
        raise
    except Exception as error:
        # A user's own port: whatever it raises is about the port, not about this program.
        reason = f"{type(error).__name__}: {error}"
        raise InputError(f"backend {name}", f"its run failed ({reason})", "") from error


def read_decisions(path: Path) -> dict[str, np.ndarray]:
    """The pixel decisions of a trace, by tap, to pin another run to.

    Raises:
        InputError: the trace cannot be read or records no decisions.
    """
    with open_trace(path) as trace:
        found = {name: trace.array("decisions", name) for name in trace.names("decisions")}
    if not found:
        raise InputError(path, "a trace without pixel decisions", "one of a built-in backend")
    return found


def read_samples(path: Path) -> dict[str, np.ndarray]:
    """The samples that a trace's losses were taken at.

    Raises:
        InputError: the trace cannot be read.
    """
    with open_trace(path) as trace:
        return {name: trace.array("samples", name) for name in trace.names("samples")}


def read_output(path: Path) -> tuple[np.ndarray | None, np.ndarray | None]:
    """The output mesh (V, 3) of a trace and its triangles (F, 3), each None where not recorded."""
    with open_trace(path) as trace:
        tap = OUTPUT_TAP[trace.header.stage]
        vertices = trace.array("taps", tap) if trace.has("taps", tap) else None
        return vertices, trace.faces()
