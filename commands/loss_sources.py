"""What ``losses`` measures: items with ground truth, mesh files, and checkpoints run on the items.

Values of its options may carry a label, ``LABEL=PATH``: the name of an item, of an implementation,
or of both as ``ITEM/NAME``.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from commands.console import Steps
from commands.options import parse_views
from commands.weights import read_weights
from inputs.files import shown
from inputs.ground_truth import load_ground_truth, notes_on_truth
from inputs.hypotheses import Hypotheses
from inputs.item import Item, load_item
from inputs.meshes import load_mesh
from inputs.sampling import draw, load_samples
from inputs.template import Template
from inputs.unlikely import mesh_notes
from network.registry import network_of
from network.weights import STAGES
from parity.meshes.loss_columns import Before, Candidate, Sampling, Truth
from parity.meshes.losses import Samples
from parity.traces.backends import BackendChoice
from parity.traces.meshes import last_meshes
from parity.traces.record import RunInputs
from weight_conversion.containers import npz
from weight_conversion.errors import InputError
from weight_conversion.formats import WeightSet


def labelled(value: str) -> tuple[str, Path]:
    """``LABEL=PATH`` in two; the label is empty where there is none.

    A value that is the path of a file or folder as it stands has no label, even with a ``=``.
    """
    label, equals, path = value.partition("=")
    if not equals or Path(value).exists():
        return "", Path(value)
    return label, Path(path)


@dataclass(frozen=True, eq=False)
class Subject:
    """An item: its name, its ground truth, and its images and cameras where a folder was given."""

    name: str
    truth: Truth
    item: Item | None


def load_subjects(items: Sequence[str], truths: Sequence[str], views: str) -> dict[str, Subject]:
    """The items by name, each with its ground truth.

    An item's ground truth is ``--ground-truth`` of its name, or ``model_normal.xyz`` in its folder.

    Raises:
        InputError: no item, two of a name, one without ground truth, or a file that cannot be read.
    """
    folders = _named(items, "--item", lambda path: path.resolve().name)
    files = _named(truths, "--ground-truth", lambda path: path.stem)
    unnamed = [labelled(value) for value in truths if not labelled(value)[0]]
    if len(folders) == 1 and len(files) == 1 and unnamed:
        files = dict.fromkeys(folders, unnamed[0][1])
    if not folders and not files:
        raise InputError("losses", "no ground truth", "--ground-truth FILE, or --item FOLDER")
    found = {}
    for name in (*folders, *(name for name in files if name not in folders)):
        item = load_item(folders[name], parse_views(views)) if name in folders else None
        path = files.get(name) or folders[name] / "model_normal.xyz"
        if name not in files and not path.is_file():
            raise InputError(path, "no such file", f"--ground-truth {name}=FILE")
        if path.suffix.lower() == ".xyz" and item is None:
            expected = f"--item {name}=FOLDER: the first view's camera moves .xyz into its frame"
            raise InputError(path, "ground truth in the object's frame", expected)
        row = item.cameras[0] if item is not None else (0.0, 0.0, 0.0, 1.0, 25.0)
        points = load_ground_truth(path, row)
        cameras = None if item is None else item.cameras
        found[name] = Subject(name, Truth(points, str(path), cameras), item)
    return found


def subject_notes(
    subjects: Mapping[str, Subject], candidates: Sequence[Candidate], template: Template
) -> tuple[str, ...]:
    """What is legal in items, ground truth and mesh files and unlikely to be meant."""
    found: list[str] = []
    for subject in subjects.values():
        found += () if subject.item is None else subject.item.notes
        truth = subject.truth
        found += notes_on_truth(truth.points, Path(truth.source), template, subject.item)
    for candidate in candidates:
        cameras = subjects[candidate.item].truth.cameras
        if cameras is not None:
            name = f"{candidate.item}/{candidate.name}"
            found += mesh_notes(name, candidate.mesh, cameras)
    return tuple(found)


def _named(values: Sequence[str], option: str, default: Any) -> dict[str, Path]:
    found: dict[str, Path] = {}
    for value in values:
        label, path = labelled(value)
        name = label or default(path)
        if name in found:
            raise InputError(option, f"two of the name {shown(name)}", "NAME=PATH for each")
        found[name] = path
    return found


def load_candidates(
    meshes: Sequence[str], befores: Sequence[str], subjects: Mapping[str, Subject]
) -> list[Candidate]:
    """The mesh files as columns.

    Raises:
        InputError: a file cannot be read, or a label names no item or no mesh.
    """
    found = []
    before = dict.fromkeys(befores, False)
    for value in meshes:
        label, path = labelled(value)
        item, name = _item_and_name(value, label, path, subjects)
        mesh = load_mesh(path)
        choice = [b for b in befores if labelled(b)[0] in (name, f"{item}/{name}")]
        choice = choice or [b for b in befores if not labelled(b)[0]]
        if len(choice) > 1:
            raise InputError("--before", f"several for {item}/{name}", "one a mesh")
        start = None
        if choice:
            before[choice[0]] = True
            source = labelled(choice[0])[1]
            start = Before(load_mesh(source).vertices, str(source))
        found.append(Candidate(item, name, str(path), mesh.vertices, mesh.faces, start))
    for value, used in before.items():
        if not used:
            raise InputError("--before", f"{shown(value)} is for no mesh", "[ITEM/][NAME=]FILE")
    return found


def _item_and_name(
    value: str, label: str, path: Path, subjects: Mapping[str, Subject]
) -> tuple[str, str]:
    item, slash, name = label.partition("/")
    if slash and item in subjects:
        return item, name or path.stem
    if len(subjects) == 1:
        return next(iter(subjects)), label or path.stem
    if label in subjects:
        return label, path.stem
    raise InputError(
        f"--mesh {value}", "does not say of which item", f"ITEM/NAME=FILE, ITEM one of "
        f"{', '.join(subjects)}",
    )  # fmt: skip


def load_sampling(samples: Path | None, seed: int, vertices_only: bool) -> Sampling:
    """Which points stand beside the vertices.

    Raises:
        InputError: the file cannot be read or holds no samples, or two options exclude each other.
    """
    if samples is None:
        if vertices_only:
            return Sampling("vertices only, without samples")
        numbers = draw(np.random.default_rng(seed))
        count = len(numbers.place)
        return Sampling(f"vertices and {count:,} samples drawn with seed {seed}", numbers)
    if vertices_only:
        raise InputError("--vertices-only", "given with --samples", "one of the two")
    with npz.opened(samples) as contents:
        names = {variable.name for variable in contents.variables}
    blocks = sum(name.startswith("face_") for name in names)
    stage = next((each for each in STAGES if len(network_of(each).levels) == blocks), STAGES[0])
    arrays = load_samples(samples, stage)
    given = {}
    for block, level in enumerate(network_of(stage).levels, start=1):
        # Of the refine stage's two blocks, both on the last level, the later one counts.
        face, r1, r2 = (np.asarray(arrays[f"{kind}_{block}"]) for kind in ("face", "r1", "r2"))
        given[level] = Samples(face.astype(np.int64), r1, r2)
    return Sampling(f"vertices and the samples of {samples}", given=given)


@dataclass(frozen=True)
class Runs:
    """How checkpoints are run: backends by name, and what the runs read besides the items."""

    backends: tuple[str, ...]
    graphs: Mapping[str, Path]
    template: Template
    hypotheses: Hypotheses
    dtype: str
    device: str
    coarse_meshes: Mapping[str, Path]


def load_checkpoints(values: Sequence[str]) -> dict[str, dict[str, WeightSet]]:
    """Weights by label and stage.

    Raises:
        InputError: a label has two sets of one stage, or a file cannot be read.
    """
    found: dict[str, dict[str, WeightSet]] = {}
    for value in values:
        label, path = labelled(value)
        weights = read_weights(path)
        stages = found.setdefault(label, {})
        if weights.stage in stages:
            expected = "one a stage, or NAME=W to tell implementations apart"
            raise InputError(path, f"a second set of {weights.stage} weights", expected)
        stages[weights.stage] = weights
    return found


def run_checkpoints(
    checkpoints: Mapping[str, Mapping[str, WeightSet]],
    subjects: Mapping[str, Subject],
    runs: Runs,
    progress: Steps,
) -> list[Candidate]:
    """Every checkpoint on every backend and item, each a column.

    Raises:
        InputError: an item has no folder, refine weights have no mesh to start from, or a run
            fails.
    """
    found = []
    for subject in subjects.values():
        if subject.item is None:
            expected = f"--item {subject.name}=FOLDER, to run weights on"
            raise InputError("--weights", f"no images of {subject.name}", expected)
        for label, stages in checkpoints.items():
            for backend in runs.backends:
                with progress.task(f"{subject.name}: {label} on {backend}"):
                    shown_backend = backend if not label or len(runs.backends) > 1 else ""
                    name = f"{label} {shown_backend}".strip()
                    found.append(_run(subject.item, subject.name, name, backend, stages, runs))
    return found


def _run(
    item: Item,
    item_name: str,
    name: str,
    backend: str,
    stages: Mapping[str, WeightSet],
    runs: Runs,
) -> Candidate:
    mesh, before = None, None
    if all(network_of(stage).follows is not None for stage in stages):
        path = runs.coarse_meshes.get(item_name) or runs.coarse_meshes.get("")
        if path is None:
            expected = "coarse weights as well, or --coarse-mesh"
            raise InputError("--weights", "refine weights alone", expected)
        mesh = load_mesh(path).vertices
    for stage in STAGES:
        if stage in stages:
            start = runs.template.coordinates if network_of(stage).follows is None else mesh
            assert start is not None
            inputs = RunInputs(
                stage, item, start.astype(np.float32), runs.template, runs.hypotheses
            )
            choice = BackendChoice(backend, runs.graphs.get(stage))
            made = choice.make(stage, runs.dtype, runs.device)
            before, mesh = last_meshes(choice.name, made, inputs, stages[stage].arrays)
            last = stage
    assert mesh is not None and before is not None
    sources = ", ".join(weights.source for weights in stages.values())
    start_words = f"output of the {last} stage's last block but one ({network_of(last).meshes[-2]})"
    return Candidate(
        item_name,
        name,
        f"{last} mesh of {backend} with {sources}",
        mesh,
        runs.template.faces[-1],
        Before(before, start_words),
    )
