"""What ``spikes`` does."""

from pathlib import Path

import click
import numpy as np
from rich.console import Console

from commands.console import print_json, steps, tell
from commands.options import parse_views
from inputs.ground_truth import GroundTruth, load_ground_truth, notes_on_truth
from inputs.item import Item, load_item
from inputs.levelled import levelled, save_template
from inputs.meshes import save_obj
from inputs.template import template_at
from parity.meshes.spikes.judge import Against, judge, source_of
from parity.meshes.spikes.repair import repair
from reports.tables import spikes as spikes_report
from weight_conversion.atomic import staging
from weight_conversion.errors import InputError


def load_against(
    template: Path | None, item: Path | None, views: str, ground_truth: Path | None
) -> Against:
    """What the meshes are held against."""
    shape = template_at(template)
    loaded: Item | None = None if item is None else load_item(item, parse_views(views))
    notes = () if loaded is None else loaded.notes
    truth: GroundTruth | None = None
    if ground_truth is not None:
        if ground_truth.suffix.lower() == ".xyz" and loaded is None:
            raise InputError(ground_truth, "ground truth in the object's frame", "--item as well")
        row = (0.0, 0.0, 0.0, 1.0, 25.0) if loaded is None else loaded.cameras[0]
        truth = load_ground_truth(ground_truth, row)
        notes += notes_on_truth(truth, ground_truth, shape, loaded)
    return Against(shape, template is not None, loaded, truth, notes)


def judge_meshes(
    meshes: tuple[Path, ...],
    template: Path | None,
    item: Path | None,
    views: str,
    ground_truth: Path | None,
    out: Path | None,
    as_json: bool,
) -> None:
    """Count the spikes of meshes (.obj, .npy) and say what they have in common."""
    against = load_against(template, item, views, ground_truth)
    reasons: list[str] = []
    with steps() as progress, progress.task("judging", len(meshes)) as task:
        judged = []
        for path in meshes:
            judged.append(judge(source_of(path), against))
            task.advance()
        if out is not None:
            with staging(out, last="spikes.json") as folder:
                reasons = spikes_report.write(judged, folder)
    if as_json:
        print_json([each.report for each in judged])
        return
    console = Console()
    for each in judged:
        spikes_report.show(each.report, console)
    for reason in reasons:
        click.echo(reason)
    if out is not None:
        click.echo(f"written: {out / 'spikes.md'}")


def repair_mesh(
    mesh: Path,
    out: Path,
    method: str,
    template: Path | None,
    item: Path | None,
    views: str,
    ground_truth: Path | None,
    as_json: bool,
) -> None:
    """Take the spikes out of a mesh, and say which vertices moved and how far."""
    if out.suffix.lower() != ".obj":
        raise InputError(out, f"has suffix {out.suffix!r}", "a mesh to write: .obj")
    against = load_against(template, item, views, ground_truth)
    judged = judge(source_of(mesh), against)
    truth = None if against.ground_truth is None else against.ground_truth.points.astype(np.float64)
    tell(judged.report["notes"])
    done = repair(judged.residuals.vertices, judged.topology, method, truth)
    save_obj(out, done.vertices, judged.topology.faces)
    report = {"mesh": str(mesh), "written": str(out), **done.report}
    if as_json:
        print_json(report)
        return
    for line in spikes_report.repair_lines(report):
        click.echo(line)


def level_template(destination: Path, template: Path | None) -> None:
    """Write a template without the mode that makes spikes."""
    given = template_at(template)
    save_template(destination, levelled(given))
    click.echo(
        f"{destination}: rows of the second supports sum to -1; for training with --template"
        f" {destination}, and for everything that is done with such a network"
    )
