"""What ``demo`` does."""

import shlex
from collections.abc import Mapping
from pathlib import Path

from rich.console import Console

from commands.console import Steps, steps
from commands.loading import load_sources
from commands.pairs import Settings, run_stages
from inputs.demo import DEMO_ITEMS, demo_item_path
from inputs.demo.network import demo_weights
from network.weights import STAGES
from parity.traces.backends import BackendChoice
from reports.tables.summary import Part, overall, worse
from reports.wording import printable
from reports.write import REPORT, result_files, write_summary
from weight_conversion.atomic import staging
from weight_conversion.conversion import convert
from weight_conversion.errors import InputError
from weight_conversion.formats import WeightSet, load_weights, save_weights, weights_sha256

_PLACES = (
    "",
    *(f"{place}/{stage}".lstrip("/") for place in ("", *DEMO_ITEMS[1:]) for stage in STAGES),
)
"""Where reports are in the folder, the one on all of them first."""


VERTICES = 276
"""At which the refine stage is judged: two windows, of eighteen."""


def perform(out: Path, keep_traces: bool, figures: bool, all_vertices: bool) -> int:
    """Run both stages in TensorFlow and PyTorch on a plane and a sofa, and compare."""
    settings = Settings(
        reference={stage: BackendChoice("tf") for stage in STAGES},
        candidate={stage: BackendChoice("torch") for stage in STAGES},
        keep_traces=keep_traces,
        figures=figures,
        vertices=None if all_vertices else VERTICES,
    )
    parts: list[Part] = []
    with steps() as progress, staging(out, result_files(*_PLACES), REPORT) as folder:
        weights = _checkpoints(folder / "weights", progress)
        for item in DEMO_ITEMS:
            place = "" if item == DEMO_ITEMS[0] else item
            sources = load_sources(demo_item_path(item))
            again = _again(item, out, weights, settings.vertices)
            found = run_stages(
                STAGES, sources, weights, settings, folder / place, out / place, progress, [again]
            )
            for stage, comparison in found.items():
                link = f"{place}/{stage}" if place else stage
                parts.append(Part(f"{item}, {stage}", comparison, link))
        title = "Pixel2Mesh++ in PyTorch against TensorFlow: a plane and a sofa"
        write_summary(parts, folder, title=title, commands=["p2m-parity demo"])
    console = Console()
    for part in parts:
        console.print(f"{part.label}: {part.comparison.verdict.value}", highlight=False)
    for line in (overall(parts), f"report: {out / 'report.html'}"):
        console.print(printable(line), markup=False, highlight=False, emoji=False, soft_wrap=True)
    return worse([part.comparison.verdict for part in parts]).exit_status


def _checkpoints(folder: Path, progress: Steps) -> dict[str, WeightSet]:
    """The demo network's two stages: written as checkpoints, converted, and read back."""
    found = {}
    for stage in STAGES:
        with progress.task(f"{stage} weights, converted", 1):
            trained = demo_weights(stage)
            checkpoint = folder / checkpoint_name(trained)
            save_weights(checkpoint, trained)
            convert(checkpoint, folder / f"{stage}.safetensors")
            found[stage] = load_weights(folder / f"{stage}.safetensors")
            if weights_sha256(found[stage].arrays) != weights_sha256(trained.arrays):
                raise InputError(checkpoint, "changed by the conversion", "the same numbers")
    return found


def checkpoint_name(weights: WeightSet) -> str:
    """The prefix of a stage's checkpoint, as the official ones are named."""
    return f"{weights.stage}.ckpt-{weights.step}"


def _again(item: str, out: Path, weights: Mapping[str, WeightSet], vertices: int | None) -> str:
    """The command that repeats one item of the demo."""
    given = [word for each in weights.values()
             for word in ("--weights", str(out / "weights" / checkpoint_name(each)))]  # fmt: skip
    return shlex.join(
        ["p2m-parity", "run", "both", *given, "--item", str(demo_item_path(item)),
         *([] if vertices is None else ["--vertices", str(vertices)]),
         "--out", f"{item}-again"]
    )  # fmt: skip
