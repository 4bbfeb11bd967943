"""Running a backend on an item and writing its trace."""

import fnmatch
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from inputs.constants import constants_of
from inputs.ground_truth import GroundTruth
from inputs.hypotheses import Hypotheses
from inputs.item import Item
from inputs.sampling import Samples, samples_on, step_draws
from inputs.template import Template
from network.registry import network_of
from parity.traces import layout
from parity.traces.array_inputs import ArrayInputs
from parity.traces.backends import Backend, BackendChoice, need
from parity.traces.by_vertices import (
    ByVertices,
    record_by_vertices,
    some_vertices,
    some_windows,
)
from parity.traces.gradients import OWN
from parity.traces.record_float64 import losses_and_gradients, record_float64
from parity.traces.trace import TraceHeader, inputs_sha256, open_trace
from parity.traces.writer import Recorder, TraceWriter
from weight_conversion.errors import InputError
from weight_conversion.formats import WeightSet, weights_sha256


@dataclass(frozen=True)
class RunInputs:
    """Everything both sides eat, apart from the weights.

    ``mesh``: (V, 3) float32, camera frame of view 0, of as many vertices as the network starts
    with. With ``ground_truth`` the losses are recorded too, at ``samples``, or, where there are
    none, at points drawn on the run's own meshes with ``seed``. ``notes`` say what is legal in
    the inputs and unlikely to be meant; the trace hands them on.
    """

    stage: str
    item: Item
    mesh: np.ndarray
    template: Template
    hypotheses: Hypotheses
    ground_truth: GroundTruth | None = None
    samples: Samples | None = None
    seed: int = 0
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        expected = network_of(self.stage).inputs["mesh"]
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
            template = self.template
            for level, faces in enumerate(template.faces, start=1):
                found[f"template/faces_{level}"] = faces
            for level in sorted(set(network_of(self.stage).levels)):
                found[f"template/laplace_{level + 1}"] = template.laplace[level]
                found[f"template/pairs_{level + 1}"] = template.supports[level][1].indices
        return {**found, **constants_of(self.stage, self.template, self.hypotheses)}

    def faces(self) -> np.ndarray | None:
        """The triangles of the network's output mesh."""
        levels = network_of(self.stage).levels
        return self.template.faces[levels[-1]] if levels else None


def record(
    choice: BackendChoice,
    inputs: RunInputs | ArrayInputs,
    weights: WeightSet,
    path: Path,
    *,
    dtype: str = "float32",
    device: str = "cpu",
    taps: str = "*",
    gradients: bool = False,
    float64: bool = True,
    whole: bool = True,
    vertices: int | None = None,
    on_tap: Callable[[str], None] | None = None,
    backend: Backend | None = None,
) -> ByVertices | None:
    """Run one stage and write its trace to ``path``.

    With ground truth among the inputs the losses are recorded, and with ``gradients`` those of
    their total by every variable and by the mesh, and at every tap where the backend tells them.
    With ``float64`` the same is recorded of a run in float64 beside the one in ``dtype``; where the
    backend cannot make it, the trace holds the reason and the place in the backend's code.

    Without ``whole``, and without gradients, the trace need not hold the run in float64 of a
    network whose layers mix nothing between vertices: it is made when it is read.

    With ``vertices``, of such a network, taps are recorded at so many of them, see
    ``parity.traces.by_vertices.some_windows``; the blocks' output meshes are whole.

    A ``backend`` that was made before, by ``made``, is run in place of another one.

    Returns:
        What is left to be run then, for ``parity.verdict.compare``; None where the trace is whole.

    Raises:
        InputError: the weights are of another stage, gradients are asked for without ground truth,
            the backend cannot be made or fails, the network mixes vertices and only some are asked
            for, or the trace cannot be written; ``path`` is then left as it was.
    """
    _check_stage(weights, inputs)
    if gradients and inputs.ground_truth is None:
        raise InputError("gradients", "asked for without ground truth", "losses to be those of")
    windows = some_windows(inputs.stage, vertices, gradients)
    if backend is None:
        methods = methods_of(inputs.ground_truth is not None, gradients)
        backend = made(choice, inputs.stage, dtype, device, methods)
    arrays = inputs.arrays()
    header = TraceHeader(
        stage=inputs.stage,
        backend=choice.name,
        dtype=dtype,
        device=device,
        weights_sha256=weights_sha256(weights.arrays),
        inputs_sha256=inputs_sha256(arrays),
        versions=choice.versions(device),
        requested=taps,
        unmatched=_unmatched(choice.name, backend),
        notes=inputs.notes,
        vertices=tuple((each.start, each.stop) for each in windows),
    )
    orders = {row.name: row.order for row in network_of(inputs.stage).taps}
    wanted = _wanted(inputs.stage, taps)
    with TraceWriter(path, header, orders) as writer:
        writer.inputs(arrays)
        faces = inputs.faces()
        if faces is not None:
            writer.faces(faces)
        for key, array in weights.arrays.items():
            writer.add(layout.WEIGHTS, key, np.asarray(array, np.float32))
        meshes = network_of(inputs.stage).meshes if inputs.ground_truth is not None else ()
        recorder = Recorder(writer, wanted, on_tap, keep=meshes)
        given, some = inputs.mapping(), None
        # Values of the gradients' own pass are stored where they have other bits than these taps:
        # it goes through the whole mesh.
        if not gradients:
            some = some_vertices(backend, inputs.stage, given, weights.arrays, recorder)
        if some is not None:
            record_by_vertices(some, inputs.stage, recorder)
        else:
            backend.run(given, weights.arrays, recorder)
        if not writer.count:
            raise InputError(
                "--taps", f"{taps!r} matched no tap of the run", "a tap's name or glob"
            )
        if isinstance(inputs, RunInputs) and inputs.ground_truth is not None:
            inputs = _record_losses(
                choice.name, backend, inputs, weights, recorder, writer, gradients
            )
        if not float64 or dtype == "float64":
            return None
        del backend
        return record_float64(
            choice.name, partial(choice.make, inputs.stage, "float64", device), inputs.stage,
            inputs.mapping(), weights.arrays, writer, recorder, gradients, whole or gradients,
            windows,
        )  # fmt: skip


def made(
    choice: BackendChoice, stage: str, dtype: str, device: str, methods: Sequence[str]
) -> Backend:
    """A backend that can be recorded: what is wrong with a port is said before anything is run.

    Raises:
        InputError: it cannot be made, or has not one of the optional ``methods``.
    """
    backend = choice.make(stage, dtype, device)
    need(choice.name, backend, methods)
    return backend


def methods_of(ground_truth: bool, gradients: bool) -> tuple[str, ...]:
    """What is called of a backend beside ``run``: losses where there is ground truth."""
    if not ground_truth:
        return ()
    return ("losses", "gradients") if gradients else ("losses",)


def _wanted(stage: str, glob: str) -> Callable[[str], bool]:
    """Which taps a trace needs: those that match, and what their layers read."""
    matching = {row.name for row in network_of(stage).taps if fnmatch.fnmatchcase(row.name, glob)}
    read = {name for row in network_of(stage).taps if row.name in matching for name in row.parents}
    return lambda tap: tap in matching or tap in read or fnmatch.fnmatchcase(tap, glob)


def _unmatched(name: str, backend: Backend) -> dict[str, str]:
    """The taps that a backend says it does not have, with its reasons."""
    declared = getattr(backend, "unmatched", None) or {}
    if not isinstance(declared, Mapping):
        raise InputError(
            f"backend {name}", f"unmatched is a {type(declared).__name__}", "a mapping tap: reason"
        )
    return {str(tap): str(reason) for tap, reason in declared.items()}


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
        blocks = [_kept(name, recorder, tap) for tap in network_of(inputs.stage).meshes]
        draws = step_draws(inputs.stage, inputs.seed, 0)
        samples = samples_on(inputs.stage, inputs.template, blocks, draws)
    for part, values in samples.items():
        writer.add("samples", part, np.asarray(values))
    inputs = replace(inputs, samples=samples)
    losses_and_gradients(
        backend, inputs.stage, inputs.mapping(), weights.arrays, recorder, writer, gradients, OWN,
        (layout.LOSSES, layout.GRADIENTS),
    )  # fmt: skip
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
    """The output mesh (V, 3) of one stage, nobody listening.

    Raises:
        InputError: the backend cannot be made, fails, or returns no finite mesh.
    """
    _check_stage(weights, inputs)
    backend = choice.make(inputs.stage, dtype, device)
    mesh = backend.run(inputs.mapping(), weights.arrays, None)
    expected = network_of(inputs.stage).row(network_of(inputs.stage).output).shape
    if mesh is None or np.shape(mesh) != expected:
        found = "no mesh" if mesh is None else f"a mesh of shape {np.shape(mesh)}"
        raise InputError(f"backend {choice.name}", f"returned {found}", f"a mesh {expected}")
    if not np.isfinite(mesh).all():
        raise InputError(
            f"backend {choice.name}", f"a {inputs.stage} mesh with NaN", "finite coordinates"
        )
    return mesh


def _check_stage(weights: WeightSet, inputs: RunInputs | ArrayInputs) -> None:
    if weights.stage != inputs.stage:
        raise InputError(
            weights.source,
            f"weights of the {weights.stage} stage",
            f"weights of the {inputs.stage} stage",
        )


def read_samples(path: Path) -> dict[str, np.ndarray]:
    """The samples that a trace's losses were taken at.

    Raises:
        InputError: the trace cannot be read.
    """
    with open_trace(path) as trace:
        return {name: trace.array("samples", name) for name in trace.names("samples")}


def read_output(path: Path) -> tuple[np.ndarray | None, np.ndarray | None]:
    """The output mesh (V, 3) of a trace and its triangles (F, 3), each None where not recorded.

    Raises:
        InputError: the trace cannot be read, or is of a network that is not known.
    """
    with open_trace(path) as trace:
        tap = trace.network.output
        vertices = trace.array("taps", tap) if trace.has("taps", tap) else None
        return vertices, trace.faces()
