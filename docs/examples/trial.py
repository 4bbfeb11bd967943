"""Reports on faults that whoever reads them does not know: a trial of the page.

``python docs/examples/trial.py --out trial --seed 7`` draws one fault of each kind from the
catalogue and writes a report on each into ``trial/1`` to ``trial/6``. What was planted is in
``trial/key.json``, to be opened last. ``docs/trial.md`` says what came of it.
"""

import hashlib
import json
import random
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import click

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from commands.loading import load_sources
from commands.reporting import drawing_meshes, write
from inputs.demo import demo_item_path
from inputs.seeded import seeded_weights
from parity.traces.backends import BackendChoice
from parity.traces.record import RunInputs, read_samples, record
from parity.training.steps import Training, add_steps
from parity.verdict.compare import compare
from studies.faults.fault import Fault
from studies.faults.faults import FAULTS
from studies.faults.injection import Mutant
from torch_impl.training import TrainingSettings
from weight_conversion.formats import WeightSet, load_weights

STAGE = "coarse"
STEPS = 3
KINDS: dict[str, Callable[[Fault], bool]] = {
    "image network": lambda fault: fault.part == "cnn",
    "graph network": lambda fault: fault.part in ("gcn", "mesh"),
    "views and projection": lambda fault: fault.part in ("camera", "projection", "pooling"),
    "loss": lambda fault: fault.group == "loss",
    "gradient": lambda fault: fault.group == "gradient",
    "optimiser": lambda fault: fault.group == "step",
}


def code(fault: Fault) -> str:
    """A name for a fault that does not say what it is."""
    return "case_" + hashlib.sha256(fault.id.encode()).hexdigest()[:6]


class Port:
    """The faulty implementation with the training steps that a port of one's own offers."""

    def __init__(self, backend: Mutant) -> None:
        self._backend = backend

    def __getattr__(self, name: str) -> Any:
        return getattr(self._backend, name)

    def steps(
        self, inputs: Any, weights: Any, _samples: Any, learning_rate: float
    ) -> Iterator[tuple[dict[str, float], dict[str, Any]]]:
        """See ``PortTrainer`` of the harness; ``inputs`` hold the samples of all steps."""
        settings = TrainingSettings(learning_rate=learning_rate)
        for step, state in self._backend.steps(inputs, weights, STEPS, settings=settings):
            yield step.losses, vars(state)


def __getattr__(name: str) -> Callable[..., Port]:
    """``trial:case_NNNNNN`` is a backend factory, as any port's is."""
    for fault in FAULTS:
        if code(fault) == name:
            return lambda stage, dtype, device: Port(fault.backend(stage, dtype, device))
    raise AttributeError(name)


def drawn(seed: int) -> dict[str, Fault]:
    """One fault of each kind that can be seen on the demo's items."""
    generator = random.Random(seed)  # noqa: S311 - a draw, no cryptography
    fit = [
        fault
        for fault in FAULTS
        if STAGE in fault.stages
        and fault.probe in ("sofa", "plane")
        and not fault.equivalent_because
        and fault.dtype == "float64"
    ]
    return {kind: generator.choice([f for f in fit if of(f)]) for kind, of in KINDS.items()}


@click.command()
@click.option("--out", type=click.Path(path_type=Path), required=True)
@click.option("--seed", type=int, default=1, show_default=True)
@click.option("--only", multiple=True, metavar="ID", help="These faults and no draw.")
@click.option("--weights", type=click.Path(path_type=Path), help="Coarse weights; seeded if none.")
def main(out: Path, seed: int, only: tuple[str, ...], weights: Path | None) -> None:
    """Write a report on each fault, and the key."""
    named = {fault.id: fault for fault in FAULTS}
    chosen = [named[name] for name in only] if only else list(drawn(seed).values())
    order = sorted(chosen, key=code)  # says nothing of the kinds
    out.mkdir(parents=True, exist_ok=True)
    item = demo_item_path("sofa")
    sources = load_sources(item=item, ground_truth=item / "model_normal.xyz", stages=(STAGE,))
    given = load_weights(weights) if weights else WeightSet(STAGE, seeded_weights(STAGE), 0, "seed")
    reference, inputs = out / "reference.h5", sources.of("coarse")
    if not reference.exists():  # else it is left from a run that was interrupted
        record(BackendChoice("tf"), inputs, given, reference, gradients=True)
    inputs = replace(inputs, samples=read_samples(reference))
    for number, fault in enumerate(order, 1):
        folder = out / str(number)
        folder.mkdir(exist_ok=True)
        _report(fault, folder, given, inputs, reference)
        click.echo(f"{folder / 'report.html'}")
    reference.unlink()
    key = {number: {"id": f.id, "what": f.description, "operand": f.operand,
                    "first": f.expected[STAGE]} for number, f in enumerate(order, 1)}  # fmt: skip
    (out / "key.json").write_text(json.dumps(key, indent=1) + "\n")


def _report(
    fault: Fault, folder: Path, weights: WeightSet, inputs: RunInputs, reference: Path
) -> None:
    """Judge a fault as ``run`` judges any port, with everything that a run can record."""
    choice, candidate = BackendChoice(f"trial:{code(fault)}"), folder / "candidate.h5"
    record(choice, inputs, weights, candidate, gradients=True)
    comparison = compare(reference, candidate)
    if fault.group == "step":
        comparison = add_steps(
            comparison, BackendChoice("tf"), choice, inputs, weights, Training(STEPS, 1e-5),
            dtype="float64", devices=("cpu", "cpu"),
        )  # fmt: skip
    with drawing_meshes(reference, candidate) as drawn:
        write(comparison, folder, reference, candidate, [], figures=False, drawn=drawn)
    candidate.unlink()


if __name__ == "__main__":
    main()
