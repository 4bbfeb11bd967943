"""Running pairs of backends into a folder, stage by stage: what ``run`` and ``demo`` share."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from commands.allocator import give_back_freed_memory
from commands.console import Steps
from commands.reporting import at, drawing_meshes, write
from network.registry import network_of
from parity.traces.array_inputs import ArraySources
from parity.traces.backends import BUILT_IN, BackendChoice
from parity.traces.networks import command_line
from parity.traces.record import RunInputs, made, methods_of, read_output
from parity.traces.sources import Sources
from parity.training.steps import Training, add_steps
from parity.training.trainers import check_trains
from parity.verdict.compare import compare
from parity.verdict.pair import Advance, PairPaths, record_pair
from parity.verdict.result import Comparison
from weight_conversion.errors import InputError
from weight_conversion.formats import WeightSet


@dataclass(frozen=True)
class Settings:
    """How every pair of a command is run.

    ``reference`` and ``candidate`` are backends by stage; ``devices`` theirs in that order. Stages
    that do not mix vertices are judged at so many ``vertices``, at all by default.
    """

    reference: dict[str, BackendChoice]
    candidate: dict[str, BackendChoice]
    dtype: str = "float32"
    devices: tuple[str, str] = ("cpu", "cpu")
    taps: str = "*"
    unmatched: dict[str, str] = field(default_factory=dict)
    gradients: bool = False
    float64: bool = True
    vertices: int | None = None
    training: Training | None = None
    keep_traces: bool = False
    figures: bool = False


def check_ports(stage: str, sources: Sources | ArraySources, settings: Settings) -> None:
    """Make the ports of a stage once, so that what they lack is said before any stage is run.

    Raises:
        InputError: a port cannot be made, or has not what is asked of it.
    """
    methods = methods_of(sources.ground_truth is not None, settings.gradients)
    sides = ((settings.candidate, settings.devices[1]), (settings.reference, settings.devices[0]))
    for choices, device in sides:
        choice = choices[stage]
        if choice.name not in BUILT_IN:
            made(choice, stage, settings.dtype, device, methods)
        if settings.training is not None:
            check_trains(choice, stage, settings.dtype, device)


def run_stage(
    stage: str,
    sources: Sources | ArraySources,
    weights: WeightSet,
    settings: Settings,
    folder: Path,
    final: Path,
    progress: Steps,
    commands: list[str],
    mesh: np.ndarray | None = None,
) -> tuple[Comparison, np.ndarray | None]:
    """Run one stage on both sides and write its report.

    Args:
        stage: the network's name.
        sources: what both sides read.
        weights: the stage's.
        settings: backends and precision.
        folder: where files are written now.
        final: where they will stand, for the paths in the report.
        progress: shows how far it is.
        commands: shell lines that repeat the run.
        mesh: the stage's input mesh, if not the one given by option.

    Returns:
        The comparison, and the reference's output mesh (V, 3) if it was recorded.
    """

    @contextmanager
    def task(description: str, total: int) -> Iterator[Advance]:
        with progress.task(description, total) as line:
            yield line.advance
        give_back_freed_memory()

    inputs = sources.of(stage, mesh)
    paths, shown = PairPaths.in_folder(folder), PairPaths.in_folder(final)
    later = record_pair(
        settings.reference[stage],
        settings.candidate[stage],
        inputs,
        weights,
        paths,
        progress=task,
        dtype=settings.dtype,
        devices=settings.devices,
        taps=settings.taps,
        gradients=settings.gradients,
        float64=settings.float64,
        whole=settings.keep_traces,
        vertices=settings.vertices if network_of(stage).vertexwise else None,
    )
    with drawing_meshes(paths.reference, paths.candidate) as drawn:
        with progress.task(f"{stage} compared", 1):
            comparison = compare(
                paths.reference, paths.candidate, taps=settings.taps,
                unmatched=settings.unmatched, later=later,
            )  # fmt: skip
        if settings.training is not None:
            assert isinstance(inputs, RunInputs)  # others have no ground truth to train towards
            with progress.task(f"{stage} steps", settings.training.steps) as line:
                comparison = add_steps(
                    comparison,
                    settings.reference[stage],
                    settings.candidate[stage],
                    inputs,
                    weights,
                    settings.training,
                    dtype=settings.dtype,
                    devices=settings.devices,
                    on_step=line.advance,
                )
        again = list(commands)
        if not settings.keep_traces:
            comparison = at(comparison, None, None)
        else:
            comparison = at(comparison, shown.reference, shown.candidate)
            again.append(command_line("compare", shown.reference, shown.candidate))
        with progress.task(f"{stage} report", 1):
            write(
                comparison, folder, paths.reference, paths.candidate, again,
                figures=settings.figures, drawn=drawn,
            )  # fmt: skip
    output, _ = read_output(paths.reference)
    if not settings.keep_traces:
        for path in vars(paths).values():
            path.unlink(missing_ok=True)
    return comparison, output


def run_stages(
    stages: tuple[str, ...],
    sources: Sources | ArraySources,
    weights: dict[str, WeightSet],
    settings: Settings,
    folder: Path,
    final: Path,
    progress: Steps,
    commands: list[str],
) -> dict[str, Comparison]:
    """Run the stages in order, each into a folder of its name, the refine stage of both sides on
    the reference's coarse mesh unless a mesh was given.
    """  # noqa: D205 - one sentence
    found = {}
    mesh: np.ndarray | None = None
    for stage in stages:
        before = network_of(stage).follows
        if before in stages and mesh is None:
            raise InputError(
                "--taps", f"leaves out the {before} mesh",
                f"a glob that admits the {before} stage's last",
            )  # fmt: skip
        found[stage], output = run_stage(
            stage, sources, weights[stage], settings, folder / stage, final / stage, progress,
            commands, mesh if before in stages else None,
        )  # fmt: skip
        mesh = output
    return found
