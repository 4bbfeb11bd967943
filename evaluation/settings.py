"""What an evaluation is of: the same for all its items, and sent to every worker once."""

import hashlib
import importlib.metadata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from inputs.constants import constants_of
from inputs.dataset import Entry
from inputs.hypotheses import Hypotheses
from inputs.template import Template
from network.weights import STAGES
from parity.traces.backends import BackendChoice
from parity.traces.trace import inputs_sha256
from weight_conversion.weight_set import WeightSet, weights_sha256

EVALUATION_SCHEMA = "p2m-parity-evaluation/1"
_NUMBERS_FROM = ("torch", "tensorflow", "onnxruntime", "numpy", "scipy", "opencv-python-headless")
"""Distributions whose versions the figures may depend on."""


@dataclass(frozen=True, eq=False)
class Settings:
    """How every item is evaluated.

    Attributes:
        root: the data set's folder.
        truths: folder of the authors' ground truth; None for ``model_normal.xyz`` of each item.
        views: three view numbers.
        weights: by stage, the stages in order; figures are of the last one's mesh.
        backend: what is evaluated, by stage.
        reference: what its runs are held against, by stage; None for no comparison.
        template: the mesh template, and whether the user gave it.
        template_given: whether the user chose the template.
        hypotheses: of the refine stage.
        dtype: precision of the runs.
        device: of the runs.
        taps: glob of the taps that are compared; it admits the meshes of the last two blocks.
        float64: whether compared runs are also made in float64.
        seed: draws the samples of the loss terms.
        threads: of each worker's libraries.
    """

    root: Path
    truths: Path | None
    views: tuple[int, ...]
    weights: Mapping[str, WeightSet]
    backend: Mapping[str, BackendChoice]
    reference: Mapping[str, BackendChoice] | None
    template: Template
    template_given: bool
    hypotheses: Hypotheses
    dtype: str = "float32"
    device: str = "cpu"
    taps: str = "*"
    float64: bool = True
    seed: int = 0
    threads: int = 1

    @property
    def stages(self) -> tuple[str, ...]:
        return tuple(self.weights)

    def sides(self) -> dict[str, str]:
        """The backend of each side: the one evaluated, and the reference where there is one."""
        last = self.stages[-1]
        found = {"backend": self.backend[last].name}
        if self.reference is not None:
            found["reference"] = self.reference[last].name
        return found

    def identity(self, entries: Sequence[Entry]) -> dict[str, Any]:
        """All that the table depends on; an evaluation is resumed under the same alone."""
        names = "\n".join(entry.name for entry in entries)
        constants: dict[str, Any] = {"template/coordinates": self.template.coordinates}
        for stage in STAGES:
            constants |= constants_of(stage, self.template, self.hypotheses)
        graphs = {
            stage: str(choice.metagraph)
            for side in (self.backend, self.reference or {})
            for stage, choice in side.items()
            if choice.metagraph is not None
        }
        return {
            "schema": EVALUATION_SCHEMA,
            "dataset": str(self.root),
            "ground_truth": None if self.truths is None else str(self.truths),
            "items": len(entries),
            "items_sha256": hashlib.sha256(names.encode()).hexdigest(),
            "views": list(self.views),
            "stages": list(self.stages),
            "weights_sha256": {
                stage: weights_sha256(each.arrays) for stage, each in self.weights.items()
            },
            "reference": None,
            **self.sides(),
            "metagraph": graphs,
            "template": self.template.name,
            "hypotheses": self.hypotheses.name,
            "constants_sha256": inputs_sha256(constants),
            "dtype": self.dtype,
            "device": self.device,
            "taps": self.taps,
            "float64": self.float64 and self.reference is not None,
            "seed": self.seed,
            "threads": self.threads,
            "versions": {name: _version(name) for name in _NUMBERS_FROM},
        }


def _version(name: str) -> str | None:
    """Without importing it: the client needs no framework."""
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None
