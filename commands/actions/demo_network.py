"""What ``demo-network`` does."""

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

import click
import numpy as np

from commands.console import Steps, steps
from commands.loading import load_sources
from inputs.cameras import camera_from_row
from inputs.demo import DEMO_ITEMS, demo_item_path
from inputs.demo.fit import fitted_mesh
from inputs.demo.network import demo_weights, save_graph_weights, start_weights
from inputs.meshes import save_obj
from network.weights import STAGES
from parity.traces.backends import BackendChoice
from parity.traces.sources import Sources
from studies.demo_training import CoarseTrainer, DemoTraining
from weight_conversion.errors import InputError

LEARNING_RATE = 0.01
"""What made the weights that the project carries, with the command's usual steps. The first block's
312 equations have 385 unknowns in its last layer alone, and need no training."""


def perform(out: Path, resume: bool, counts: tuple[int, int, int], save_every: int) -> None:
    """Overfit one network on the plane and the sofa: the weights that `demo` runs."""
    state = out / "coarse-state.npz"
    if state.exists() and not resume:
        raise InputError(state, "a training's state", "an empty folder, or --resume")
    if min(counts) < 0:
        raise InputError("--steps", str(counts), "numbers from 0 up")
    training = DemoTraining(counts, LEARNING_RATE)
    sources = {
        name: load_sources(path, ground_truth=path / "model_normal.xyz")
        for name, path in ((name, demo_item_path(name)) for name in DEMO_ITEMS)
    }
    out.mkdir(parents=True, exist_ok=True)
    with steps() as progress:
        with progress.task("meshes fitted to the points"):
            targets = {name: _fitted(source) for name, source in sources.items()}
        for name, mesh in targets.items():
            save_obj(out / f"{name}-target.obj", mesh, sources[name].template.faces[-1])
        inputs = {name: source.of(STAGES[0]) for name, source in sources.items()}
        trainer = CoarseTrainer(training, inputs, targets, start_weights("coarse"))
        if state.exists():
            trainer.restore(state)
        _train(trainer, state, save_every, progress)
        described = asdict(training)
        count = sum(counts)
        save_graph_weights(_kept(out, "coarse"), "coarse", trainer.weights(), count, described)
        save_graph_weights(_kept(out, "refine"), "refine", start_weights("refine"), 0, {})
        _meshes(sources, out, progress)
    for stage in STAGES:
        click.echo(f"{_kept(out, stage)}: {demo_weights(stage, _kept(out, stage)).step} steps")


def _kept(out: Path, stage: str) -> Path:
    """Where a stage's graph convolutions are written."""
    return out / f"{stage}.safetensors"


def _fitted(source: Sources) -> np.ndarray:
    assert source.ground_truth is not None
    rotation = np.asarray(camera_from_row(source.item.cameras[0]).rotation)
    return np.asarray(fitted_mesh(source.template, source.ground_truth, rotation))


def _train(trainer: CoarseTrainer, state: Path, save_every: int, progress: Steps) -> None:
    total = sum(trainer.training.steps)
    with progress.task("coarse", total) as task:
        while losses := trainer.step():
            done = sum(trainer.training.steps[: trainer.block]) + trainer.taken
            words = ", ".join(f"{name} {value:.4g}" for name, value in losses.items())
            task.update(done, f"coarse, block {trainer.block + 1}: {words}")
            if trainer.taken % save_every == 0:
                trainer.save(state)


def _meshes(sources: Mapping[str, Sources], out: Path, progress: Steps) -> None:
    """The items' meshes with the weights as they are kept."""
    weights = {stage: demo_weights(stage, _kept(out, stage)).arrays for stage in STAGES}
    for name, source in sources.items():
        mesh = None
        for stage in STAGES:
            inputs = source.of(stage, mesh)
            backend = BackendChoice("torch").make(stage, "float32", "cpu")
            with progress.task(f"{stage} mesh of the {name}"):
                mesh = backend.run(inputs.mapping(), weights[stage], None)
            assert mesh is not None
            save_obj(out / f"{name}-{stage}.obj", mesh, source.template.faces[-1])
