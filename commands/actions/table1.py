"""What ``table1`` does."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from rich.console import Console

from commands.console import Steps, print_json, steps
from commands.loss_sources import (
    Runs,
    Subject,
    labelled,
    load_checkpoints,
    load_sampling,
    load_subjects,
    run_checkpoints,
)
from commands.options import by_stage
from inputs.demo import DEMO_ITEMS, demo_item_path
from inputs.demo.network import demo_weights
from inputs.hypotheses import hypotheses_at
from inputs.sampling import draw
from inputs.template import Template, template_at
from network.weights import STAGES
from parity.meshes.difference import mesh_difference
from parity.meshes.loss_columns import Candidate, Column, LossTable, Sampling, measure
from parity.meshes.loss_weights import PRESETS
from parity.meshes.losses import Samples
from parity.verdict.result import jsonable
from reports.figures.differences import image
from reports.figures.renderer import NotDrawnError
from reports.figures.table1 import curves_figure, item_figure, read_log
from reports.meshes import Meshes
from reports.tables.comparison import json_text
from reports.tables.table1 import (
    KINDS,
    SIDES,
    Pair,
    csv_text,
    latex_text,
    markdown_text,
    table1_json,
)
from reports.text.table1_text import show
from weight_conversion.atomic import staging
from weight_conversion.errors import InputError
from weight_conversion.formats import WeightSet

Weights = Mapping[str, Mapping[str, WeightSet]]
"""By item, "" for all others, and stage."""
_SEED = 0
_FINEST = 2
"""The template's level of every output mesh."""


@dataclass(frozen=True)
class _Sides:
    """Weights of ours and of the original, and what runs them."""

    weights: tuple[Weights, Weights]
    backends: tuple[str, str]


def perform(
    items: tuple[str, ...],
    weights: tuple[Path, ...],
    ours: tuple[str, ...],
    original: tuple[str, ...],
    backends: tuple[str, str],
    metagraph: tuple[str, ...],
    template: Path | None,
    hypotheses: Path | None,
    views: str,
    stage: str,
    out: Path | None,
    as_json: bool,
) -> None:
    """Set ours against the original: losses, mesh differences, the paper's numbers."""
    if bool(ours) is not bool(original):
        raise InputError("table1", "one of --ours and --original", "both, or neither")
    names = items or tuple(f"{name}={demo_item_path(name)}" for name in DEMO_ITEMS)
    subjects = load_subjects(names, (), views)
    chosen = _chosen(weights, ours, original, backends, stage)
    shape = template_at(template)
    runs = Runs(
        backends=(),
        graphs=by_stage("--metagraph", metagraph),
        template=shape,
        hypotheses=hypotheses_at(hypotheses),
        dtype="float32",
        device="cpu",
        coarse_meshes={},
    )
    sampling = load_sampling(None, _SEED, vertices_only=False)
    sampling = replace(
        sampling, described=f"{sampling.described} on the original's mesh, the same on ours"
    )
    with steps() as progress:
        candidates = {
            kind: _candidates(sides, subjects, runs, progress) for kind, sides in chosen.items()
        }
        with progress.task("measuring"):
            pairs = [
                _pair(kind, two, subjects, shape, template is not None, sampling)
                for kind, found in candidates.items()
                for two in found
            ]
    table = LossTable(
        tuple(column for pair in pairs for column in (pair.ours, pair.original)),
        PRESETS["paper"], sampling.described, frames_checked=True,
    )  # fmt: skip
    value = jsonable(table1_json(pairs, table))
    if out is not None:
        with staging(out, last="table1.json") as folder:
            texts = {"csv": csv_text(pairs), "md": markdown_text(pairs),
                     "tex": latex_text(pairs), "json": json_text(value)}  # fmt: skip
            for ending, text in texts.items():
                (folder / f"table1.{ending}").write_text(text, encoding="utf-8")
            for kind, found in candidates.items():
                for two in found:
                    _figure(folder / "figures", kind, two, subjects)
            _curves(folder / "figures", subjects, ours, original)
    if as_json:
        print_json(value)
    else:
        show(pairs, Console())


def _chosen(
    weights: Sequence[Path],
    ours: Sequence[str],
    original: Sequence[str],
    backends: tuple[str, str],
    stage: str,
) -> dict[str, _Sides]:
    """Which weights each side runs, by kind."""
    found = {}
    if weights or not ours:
        if weights:
            both: Weights = load_checkpoints([str(path) for path in weights])
        else:
            stages = STAGES if stage == "both" else (stage,)
            both = {"": {name: demo_weights(name) for name in stages}}
        found["same"] = _Sides((both, both), backends)
    if ours:
        found["apart"] = _Sides((load_checkpoints(ours), load_checkpoints(original)), backends)
    return found


def _candidates(
    sides: _Sides, subjects: Mapping[str, Subject], runs: Runs, progress: Steps
) -> list[tuple[Candidate, Candidate]]:
    """Ours and the original of each item."""
    found = []
    for name, subject in subjects.items():
        two = []
        for weights, backend in zip(sides.weights, sides.backends, strict=True):
            chosen = weights.get(name) or weights.get("")
            if chosen is None:
                raise InputError(
                    "table1", f"no weights for {name}", f"{name}=W, or W for all items"
                )
            two += run_checkpoints(
                {"": chosen}, {name: subject}, replace(runs, backends=(backend,)), progress
            )
        found.append((two[0], two[1]))
    return found


def _pair(
    kind: str,
    two: tuple[Candidate, Candidate],
    subjects: Mapping[str, Subject],
    template: Template,
    template_given: bool,
    sampling: Sampling,
) -> Pair:
    def column(side: str, candidate: Candidate, sampling: Sampling) -> Column:
        named = replace(candidate, name=f"{side}, {kind}")
        truth = subjects[candidate.item].truth
        return measure(
            named, truth, template, template_given=template_given, sampling=sampling
        )  # fmt: skip

    mesh = two[1].mesh.astype(np.float64)
    numbers = draw(np.random.default_rng(_SEED))
    original = column(SIDES[1], two[1], sampling)
    # The same places of the same triangles: drawn on each mesh by itself, a few would change
    # triangles with the last bits of the areas, and the losses with them.
    places = Samples.drawn("original", mesh, original.surface, numbers)
    ours = column(SIDES[0], two[0], replace(sampling, draw=None, given={_FINEST: places}))
    apart = mesh_difference(two[1].mesh, two[0].mesh, ours.surface, numbers)
    return Pair(two[0].item, kind, ours, original, apart)


def _figure(
    folder: Path, kind: str, two: tuple[Candidate, Candidate], subjects: Mapping[str, Subject]
) -> None:
    ours, original = two
    item = subjects[ours.item].item
    assert ours.faces is not None
    meshes = Meshes(original.mesh, ours.mesh, ours.faces)
    try:
        figure = item_figure(
            f"{ours.item}: {KINDS[kind]}", None if item is None else item.images, meshes,
            ("original", "ours"),
        )  # fmt: skip
    except NotDrawnError as problem:
        folder.mkdir(exist_ok=True)
        (folder / "not_drawn.txt").write_text(f"{problem}\n", encoding="utf-8")
        return
    folder.mkdir(exist_ok=True)
    for form in ("png", "pdf"):
        (folder / f"{ours.item}_{kind}.{form}").write_bytes(image(figure, form))


def _curves(
    folder: Path, subjects: Mapping[str, Subject], ours: Sequence[str], original: Sequence[str]
) -> None:
    """The losses of each item's training, where both sides' logs lie beside their weights."""
    logs = []
    for values in (ours, original):
        given = dict(labelled(value) for value in values)
        logs.append({name: path.parent / "log.csv" for name, path in given.items()})
    for name in subjects:
        both = [found.get(name) or found.get("") for found in logs]
        if all(path is not None and path.is_file() for path in both):
            figure = curves_figure(name, dict(zip(SIDES, (read_log(path) for path in both if path),
                                                  strict=True)))  # fmt: skip
            folder.mkdir(exist_ok=True)
            for form in ("png", "pdf"):
                (folder / f"{name}_training.{form}").write_bytes(image(figure, form))
