"""What a run reads from files besides its weights: loaded once, for both sides and both stages."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from inputs.ground_truth import GroundTruth, load_ground_truth, notes_on_truth
from inputs.hypotheses import Hypotheses, hypotheses_at
from inputs.item import DEFAULT_VIEWS, Item, load_item
from inputs.meshes import Mesh, load_mesh
from inputs.sampling import Samples, load_samples
from inputs.template import Template, template_at
from inputs.unlikely import Note, mesh_notes
from network.registry import network_of
from parity.traces.record import RunInputs
from weight_conversion.errors import InputError


@dataclass(frozen=True)
class Sources:
    """What both stages read from files, loaded and checked.

    ``mesh_notes`` are about the mesh that the first stage run starts from, ``truth_notes`` about
    the ground truth: what is legal there and unlikely to be meant.
    """

    item: Item
    template: Template
    hypotheses: Hypotheses
    mesh: np.ndarray | None
    ground_truth: GroundTruth | None = None
    samples: Mapping[str, Samples] = field(default_factory=dict)
    mesh_notes: tuple[Note, ...] = ()
    truth_notes: tuple[Note, ...] = ()

    @property
    def notes(self) -> tuple[Note, ...]:
        """What a person should know about all of them."""
        return self.item.notes + self.mesh_notes + self.truth_notes

    def of(self, stage: str, mesh: np.ndarray | None = None) -> RunInputs:
        """The inputs of one stage on ``mesh``, or on the mesh that was given.

        Without either the first stage starts from the template's ellipsoid.

        Raises:
            InputError: there is no mesh for a stage that another one comes before.
        """
        found = self.mesh if mesh is None else mesh
        if found is None:
            before = network_of(stage).follows
            if before is not None:
                expected = f"the {before} mesh that the {stage} stage starts from"
                raise InputError("--mesh", "not given", expected)
            found = self.template.coordinates
        return RunInputs(
            stage,
            self.item,
            found.astype(np.float32),
            self.template,
            self.hypotheses,
            self.ground_truth,
            self.samples.get(stage),
            # A mesh that a stage computed is no input of the user's.
            notes=self.notes if mesh is None else self.item.notes + self.truth_notes,
        )


def read_sources(
    item: Path | str,
    *,
    views: tuple[int, ...] = DEFAULT_VIEWS,
    template: Path | None = None,
    hypotheses: Path | None = None,
    mesh: Path | None = None,
    ground_truth: Path | None = None,
    samples: Mapping[str, Path] | None = None,
) -> Sources:
    """Load the files; the project's own template and hypotheses where none are given.

    Args:
        item: folder of one item.
        views: three view numbers.
        template: the official mesh template (``.dat``).
        hypotheses: the official hypotheses (``.dat``).
        mesh: the input mesh, see ``inputs.meshes``.
        ground_truth: points that the losses are computed against.
        samples: by stage, the points on the meshes that they are computed at.

    Raises:
        InputError: a file cannot be read, or samples are given without ground truth.
    """
    loaded = load_item(Path(item), views)
    if samples and ground_truth is None:
        raise InputError("--samples", "given without --ground-truth", "both, for the losses")
    shape = template_at(template)
    start = None if mesh is None else load_mesh(mesh)
    truth: GroundTruth | None = None
    about_truth: tuple[Note, ...] = ()
    if ground_truth is not None:
        truth = load_ground_truth(ground_truth, loaded.cameras[0])
        about_truth = notes_on_truth(truth, ground_truth, shape, loaded)
    return Sources(
        item=loaded,
        template=shape,
        hypotheses=hypotheses_at(hypotheses),
        mesh=None if start is None else start.vertices,
        ground_truth=truth,
        samples={stage: load_samples(path, stage) for stage, path in (samples or {}).items()},
        mesh_notes=notes_on_start(loaded, shape, mesh, start),
        truth_notes=about_truth,
    )


def notes_on_start(
    item: Item, template: Template, path: Path | None = None, mesh: Mesh | None = None
) -> tuple[Note, ...]:
    """Notes on the mesh that a run starts from: the one given, or the template's."""
    if mesh is None or path is None:
        return tuple(mesh_notes("the initial mesh", template.coordinates, item.cameras))
    name = Path(path).name
    return tuple(mesh_notes(name, mesh.vertices, item.cameras, mesh.faces, template.faces))
