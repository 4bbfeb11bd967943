"""Running a backend on an item and writing its trace."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from inputs.hypotheses import Hypotheses
from inputs.item import Item
from inputs.template import Template
from parity.backends import Backend, BackendChoice
from parity.trace import Recorder, TraceHeader, TraceWriter, inputs_sha256, open_trace
from weight_conversion.errors import InputError
from weight_conversion.formats import WeightSet, weights_sha256
from weight_conversion.taps import TAPS

VERTICES = {"coarse": 156, "refine": 2466}
"""Vertices of each stage's input mesh."""
OUTPUT_TAP = {stage: rows[-1].name for stage, rows in TAPS.items()}
"""The tap that is each stage's output mesh."""


@dataclass(frozen=True)
class RunInputs:
    """Everything both sides eat, apart from the weights.

    ``mesh``: (156, 3) for the coarse stage, (2466, 3) for the refine stage, float32, camera frame
    of view 0.
    """

    stage: str
    item: Item
    mesh: np.ndarray
    template: Template
    hypotheses: Hypotheses
    pinned: Mapping[str, np.ndarray] | None = None

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
        return found

    def arrays(self) -> dict[str, np.ndarray]:
        """What the stage reads, by its name under ``/inputs``, all of it hashed."""
        found = {
            "images": self.item.images,
            "cameras": self.item.cameras,
            "mesh": self.mesh,
        }
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
    on_tap: Callable[[str], None] | None = None,
) -> None:
    """Run one stage and write its trace to ``path``.

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
        unmatched=dict(getattr(backend, "unmatched", {})),
        pinned=inputs_sha256(inputs.pinned) if inputs.pinned is not None else "",
    )
    orders = {row.name: row.order for row in TAPS[inputs.stage]}
    with TraceWriter(path, header, orders) as writer:
        writer.inputs(arrays)
        writer.faces(inputs.template.faces[2])
        recorder = Recorder(writer, taps, on_tap)
        _run(choice.name, backend, inputs, weights, recorder)
        if not writer.count:
            raise InputError(
                "--taps", f"{taps!r} matched no tap of the run", "a tap's name or glob"
            )


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
    mesh = _run(choice.name, backend, inputs, weights, None)
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


def _run(
    name: str, backend: Backend, inputs: RunInputs, weights: WeightSet, recorder: Recorder | None
) -> np.ndarray | None:
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


def read_output(path: Path) -> tuple[np.ndarray | None, np.ndarray | None]:
    """The output mesh (V, 3) of a trace and its triangles (F, 3), each None where not recorded."""
    with open_trace(path) as trace:
        tap = OUTPUT_TAP[trace.header.stage]
        vertices = trace.array("taps", tap) if trace.has("taps", tap) else None
        return vertices, trace.faces()
