"""What ``overfit`` does."""

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

import click
import numpy as np

from commands.console import steps as progress_steps
from commands.console import tell
from commands.loading import load_sources
from commands.weights import read_weights
from inputs.initial import initial_weights
from inputs.meshes import save_obj
from network.registry import network_of
from parity.meshes.spikes.watch import Watch
from parity.traces.trace import inputs_sha256
from parity.training.finite import first_not_finite
from parity.training.jumps import Jumps
from parity.training.overfit import MESH, Overfit, Shown, overfit
from parity.training.trainers import TrainerSettings, TrainerState, resumable_trainer
from reports.figures.spikes import marked_spikes
from reports.wording import counted
from weight_conversion.errors import InputError
from weight_conversion.formats import weights_sha256


def perform(
    stage: str,
    item: Path,
    ground_truth: Path,
    out: Path,
    views: str,
    template: Path | None,
    hypotheses: Path | None,
    backend: str,
    device: str,
    weights: Path | None,
    mesh: Path | None,
    steps: int,
    learning_rate: float,
    seed: int,
    frozen_cnn: bool,
    loss_weight: tuple[str, ...],
    save_every: int,
    resume: bool,
) -> None:
    """Overfit STAGE on one item, by default with the official settings."""
    settings = TrainerSettings(learning_rate, seed, frozen_cnn, _factors(loss_weight) or None)
    sources = load_sources(item, views, template, hypotheses, mesh, ground_truth, stages=(stage,))
    inputs = sources.of(stage)
    tell(inputs.notes)
    start = _start(stage, weights, seed)
    run = Overfit(
        stage,
        backend,
        settings,
        inputs_sha256(inputs.arrays()),
        weights_sha256(start),
    )
    faces = inputs.template.faces[-1]
    trainer = resumable_trainer(backend, device, inputs, start, settings)
    if inputs.ground_truth is not None and inputs.ground_truth.normals is None:
        click.echo(f"{ground_truth}: no normals, so trained without the normal term", err=True)
    with progress_steps() as progress, progress.task(f"{stage} on {backend}", steps) as task:

        def on_step(number: int, losses: Mapping[str, float]) -> None:
            task.update(number, f"{stage} on {backend}, total {losses['total']:.4g}{spikes.seen}")
            if told := jumps.look(number, losses["total"]):
                progress.tell([told])

        def explain(state: TrainerState) -> str:
            return first_not_finite(backend, device, inputs, state.weights)

        jumps = Jumps()
        spikes = _Spikes(Watch(stage, faces, frozen_cnn), trainer.predict, progress.tell)
        overfit(run, trainer, steps, out, save_every=save_every, resume=resume, on_step=on_step,
                on_saved=spikes.look, explain=explain)  # fmt: skip
    save_obj(out / MESH, trainer.predict(), faces)
    click.echo(f"{out}: {steps} steps, mesh in {out / MESH}")


class _Spikes:
    """Looks at the mesh of each saved state, draws it, and tells what is likely not as meant."""

    def __init__(
        self,
        watch: Watch,
        predict: Callable[[], np.ndarray],
        say: Callable[[Iterable[str]], None],
    ) -> None:
        self._watch, self._predict, self._say = watch, predict, say
        self._drawn = True
        self.seen = ""

    def look(self, state: TrainerState) -> Shown:
        """What is kept of it."""
        seen, residuals, told = self._watch.look(state.step, self._predict(), state.weights)
        self.seen = f", {counted(seen.spikes, 'spike')} at step {state.step}"
        picture = None
        if self._drawn:
            picture, why = marked_spikes(residuals, self._watch.topology.faces)
            if picture is None:
                # Once is enough: it will not be otherwise after the next steps.
                self._drawn = False
                told.append(f"no pictures for TensorBoard: {why}")
        self._say(told)
        return Shown(vars(seen), picture)


def _start(stage: str, path: Path | None, seed: int) -> dict[str, np.ndarray]:
    if path is None:
        return dict(initial_weights(stage, seed))
    weights = read_weights(path)
    if weights.stage == stage:
        return weights.arrays
    if network_of(stage).follows == weights.stage:
        return dict(initial_weights(stage, seed, weights.arrays))
    raise InputError(path, f"weights of the {weights.stage} stage", f"weights of the {stage} stage")


def _factors(values: tuple[str, ...]) -> dict[str, float]:
    found = {}
    for value in values:
        name, _, number = value.partition("=")
        try:
            found[name] = float(number)
        except ValueError:
            raise InputError("--loss-weight", repr(value), "NAME=VALUE") from None
    return found
