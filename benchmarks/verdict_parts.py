"""What each process of ``benchmarks.verdict`` measures: passes, a whole run, peers, faults."""

import subprocess
import sys
from pathlib import Path

import numpy as np

from benchmarks.measuring import Result, Times, memory_mb
from benchmarks.peers import first_found
from commands.reporting import drawing_meshes, write
from inputs.demo import demo_item_path
from inputs.demo.network import demo_weights
from inputs.hypotheses import build_hypotheses
from inputs.item import load_item
from inputs.seeded import seeded_weights
from inputs.template import build_template
from network.weights import STAGES
from parity.traces.backends import BackendChoice
from parity.traces.record import RunInputs, predict, record
from parity.verdict.compare import compare
from parity.verdict.pair import PairPaths, record_pair, silent
from weight_conversion.formats import WeightSet

BACKENDS = ("tf", "torch")
DTYPES = ("float32", "float64")
FAULTS = (
    "half_camera",
    "symmetric_pad",
    "no_gcn_bias",
    "no_relu",
    "centre_111_5",
    "own_view_maps",
    "no_std",
    "transpose.inverse",
    "epsilon.variance",
    "drop.end",
)
"""Of the catalogue: ten operands of the coarse stage, from gross to a few last bits."""
HEALTHY = "none"
"""A candidate without a fault: what is found in it is a false alarm."""

IMPORTS = (
    "import commands.actions.run; from parity.traces.backends import BackendChoice\n"
    f"for name in {BACKENDS}: BackendChoice(name).make('coarse', 'float32', 'cpu')"
)
"""What `run` loads, in a process that does nothing else; Python's own start is counted too."""


def inputs_of(stage: str, folder: Path) -> RunInputs:
    """The plane's inputs of a stage, the refine stage's on the demo network's own coarse mesh."""
    template, hypotheses = build_template(), build_hypotheses()
    item = load_item(demo_item_path("plane"))
    mesh = template.coordinates
    kept = folder / f"{stage}-mesh.npy"
    if kept.exists():
        mesh = np.load(kept)
    else:
        for before in STAGES[: STAGES.index(stage)]:
            inputs = RunInputs(before, item, mesh, template, hypotheses)
            mesh = predict(BackendChoice("torch"), inputs, demo_weights(before))
        np.save(kept, mesh)
    return RunInputs(stage, item, mesh, template, hypotheses)


def passes(stage: str, _taps: str, folder: Path) -> Result:
    """Seconds of the plain passes: networks loaded, nobody listening, the first one not counted."""
    times = Times()
    inputs, weights = inputs_of(stage, folder).mapping(), demo_weights(stage).arrays
    for backend in BACKENDS:
        for dtype in DTYPES:
            made = BackendChoice(backend).make(stage, dtype, "cpu")
            made.run(inputs, weights, None)
            with times.of(f"{backend} {dtype}"):
                made.run(inputs, weights, None)
    return {**vars(times), "memory_mb": memory_mb()}


def run(stage: str, taps: str, folder: Path) -> Result:
    """Seconds of what ``run`` does with a stage, its traces left in ``folder``."""
    times = Times()
    inputs, weights = inputs_of(stage, folder), demo_weights(stage)
    with times.of("imports"):
        # S603: this interpreter and a text of ours, no shell.
        subprocess.run([sys.executable, "-c", IMPORTS], check=True)  # noqa: S603
    for backend in BACKENDS:
        BackendChoice(backend).make(stage, "float32", "cpu")
    folder.mkdir(parents=True, exist_ok=True)
    paths = PairPaths.in_folder(folder)
    reference, candidate = (BackendChoice(backend) for backend in BACKENDS)
    with times.of("recording"):
        later = record_pair(
            reference, candidate, inputs, weights, paths, progress=silent, taps=taps
        )
    disk = sum(path.stat().st_size for path in vars(paths).values())
    with drawing_meshes(paths.reference, paths.candidate) as drawn:
        with times.of("judging"):
            comparison = compare(paths.reference, paths.candidate, taps=taps, later=later)
        with times.of("report"):
            write(
                comparison, folder / "report", paths.reference, paths.candidate, [],
                figures=False, drawn=drawn,
            )  # fmt: skip
    return {
        **vars(times),
        "memory_mb": memory_mb(),
        "disk_mb": disk // 2**20,
        "verdict": comparison.verdict.value,
        "first": comparison.first_divergence,
    }


def peer(name: str, folder: Path) -> Result:
    """Seconds that a peer, or the verdict, takes with the traces in ``folder``."""
    paths, times = PairPaths.in_folder(folder), Times()
    with times.of(name):
        differs, first = first_found(name, paths.reference, paths.candidate)
    return {**vars(times), "memory_mb": memory_mb(), "differs": differs, "first": first}


def planted(fault: str, taps: str, folder: Path) -> Result:
    """Record the reference and a candidate with a fault, on the sofa with seeded weights."""
    from studies.faults.faults import FAULTS as CATALOGUE

    template, hypotheses = build_template(), build_hypotheses()
    item = load_item(demo_item_path("sofa"))
    inputs = RunInputs("coarse", item, template.coordinates, template, hypotheses)
    weights = WeightSet("coarse", seeded_weights("coarse"), None, "seed")
    folder.mkdir(parents=True, exist_ok=True)
    paths = PairPaths.in_folder(folder)
    if not paths.reference.exists():
        record(BackendChoice("tf"), inputs, weights, paths.reference, taps=taps)
    known = {each.id: each for each in CATALOGUE}
    chosen = BackendChoice("torch")
    if fault != HEALTHY:
        chosen = BackendChoice.of_factory(known[fault].backend)
    record(chosen, inputs, weights, paths.candidate, taps=taps)
    if fault == HEALTHY:
        return {"operand": "", "expected": None}
    return {"operand": known[fault].operand, "expected": known[fault].expected["coarse"]}
