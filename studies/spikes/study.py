"""Running the study: a folder a run, resumable at any moment, one JSON file a finished run."""

import json
import zipfile
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from parity.meshes.spikes.residuals import residuals_of, summary
from parity.meshes.spikes.topology import Topology, topology_of
from parity.traces.record import RunInputs
from parity.traces.trace import inputs_sha256
from parity.verdict.result import jsonable
from studies.spikes.design import Plan
from studies.spikes.training import StudyTrainer
from weight_conversion.atomic import replacing
from weight_conversion.errors import InputError
from weight_conversion.formats import WeightSet, save_weights

RUN_SCHEMA = "p2m-parity-spike-run/2"
RESULT, STATE = "result.json", "state.npz"
MEASURE_EVERY = 20
SAVE_EVERY = 100

_ROWS = frozenset({"level_rows", "level_rows_coordinates", "level_rows_hidden"})

AFTERWARDS: dict[str, tuple[frozenset[str], frozenset[str]]] = {
    "as_trained": (frozenset(), frozenset()),
    "level_rows": (frozenset({"level_rows"}), frozenset()),
    "level_rows_coordinates": (frozenset({"level_rows_coordinates"}), frozenset()),
    "level_rows_hidden": (frozenset({"level_rows_hidden"}), frozenset()),
    "official_rows": (frozenset(), _ROWS),
}
"""Changes of the finished network, switched on and off, without any further training."""

OnStep = Callable[[int, dict[str, float]], None]


def run_plan(
    plan: Plan,
    inputs: RunInputs,
    folder: Path,
    on_step: OnStep | None = None,
    keep_weights: bool = False,
) -> dict[str, Any]:
    """Make one run, or go on with it, or read it where it is finished.

    Args:
        plan: what to run.
        inputs: the item with its ground truth, and the template.
        folder: the run's own.
        on_step: told every step's number and losses.
        keep_weights: leave ``weights.safetensors`` beside the result, to run or diagnose.

    Returns:
        What ``result.json`` holds: the plan, ``history`` with a row every 20 steps (``step``,
        ``losses``, the mesh's ``summary``, and the loss terms' ``slopes`` after the step),
        ``afterwards``, and ``by_layer``.

    Raises:
        InputError: the folder holds another run, or its state is damaged.
    """
    identity = _identity(plan, inputs)
    finished = read_result(folder)
    if finished is not None:
        if finished["run"] != identity:
            raise InputError(folder, "holds another run", f"{plan.name} as asked for")
        return finished
    trainer = StudyTrainer(inputs, plan.settings)
    level = plan.settings.blocks - 1
    topology = topology_of(inputs.template.faces[level], len(inputs.template.laplace[level]))
    history = _restore(trainer, folder, identity)
    while trainer.taken < plan.steps:
        losses = trainer.step()
        number = trainer.taken
        if number % MEASURE_EVERY == 0 or number in (1, plan.steps):
            measured = _measured(trainer, topology)
            slopes = trainer.slopes()
            history.append({"step": number, "losses": losses, "slopes": slopes, **measured})
        if number % SAVE_EVERY == 0 and number < plan.steps:
            _save(trainer, folder, identity, history)
        if on_step is not None:
            on_step(number, losses)
    result = {
        "schema": RUN_SCHEMA,
        "run": identity,
        "history": history,
        "afterwards": {
            name: _measured(trainer, topology, *changes) for name, changes in AFTERWARDS.items()
        },
        "by_layer": _by_layer(trainer, topology),
    }
    with replacing(folder / RESULT) as temporary:
        temporary.write_text(json.dumps(jsonable(result), indent=1))
    if keep_weights:
        weights = WeightSet("coarse", trainer.weights(), plan.steps, "study")
        save_weights(folder / "weights.safetensors", weights)
    (folder / STATE).unlink(missing_ok=True)
    return result


def read_result(folder: Path) -> dict[str, Any] | None:
    """A finished run's result, or None where there is none."""
    path = folder / RESULT
    if not path.exists():
        return None
    try:
        found = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise InputError(path, "damaged", "the result of a run") from error
    if not isinstance(found, dict) or found.get("schema") != RUN_SCHEMA:
        raise InputError(path, "no result of a run", f"schema {RUN_SCHEMA}")
    return found


def _identity(plan: Plan, inputs: RunInputs) -> dict[str, Any]:
    settings = asdict(plan.settings)
    settings["switched_on"] = sorted(settings["switched_on"])
    return {
        "name": plan.name,
        "design": plan.design,
        "item": plan.item,
        "template": inputs.template.name,
        "steps": plan.steps,
        **settings,
        "inputs_sha256": inputs_sha256(inputs.arrays()),
    }


def _measured(
    trainer: StudyTrainer,
    topology: Topology,
    extra: frozenset[str] = frozenset(),
    without: frozenset[str] = frozenset(),
    levelled: frozenset[str] | None = None,
) -> dict[str, Any]:
    mesh = trainer.meshes(extra, without, levelled)[-1]
    return summary(residuals_of(mesh, topology), topology)


def _by_layer(trainer: StudyTrainer, topology: Topology) -> list[dict[str, Any]]:
    """What levelling takes away layer by layer, in the finished network, nothing trained again.

    A row a graph convolution of the blocks that are run: the mode's strength and the irregular
    spikes where it ``alone`` is levelled, where all ``others`` are, and where it and all layers
    before it are (``up_to``).
    """
    layers = trainer.layers()
    rows = []
    for place, name in enumerate(layers):
        sets = {
            "alone": {name},
            "others": set(layers) - {name},
            "up_to": set(layers[: place + 1]),
        }
        row: dict[str, Any] = {"layer": name}
        for key, chosen in sets.items():
            found = _measured(trainer, topology, without=_ROWS, levelled=frozenset(chosen))
            row[key] = {each: found[each] for each in ("strength", "irregular_spikes")}
        rows.append(row)
    return rows


def _save(
    trainer: StudyTrainer, folder: Path, identity: dict[str, Any], history: list[dict[str, Any]]
) -> None:
    words = {"run": json.dumps(identity), "history": json.dumps(jsonable(history))}
    arrays: dict[str, Any] = {name: np.array(text) for name, text in words.items()}
    arrays |= trainer.arrays()
    with replacing(folder / STATE) as temporary, temporary.open("wb") as stream:
        np.savez(stream, **arrays)


def _restore(trainer: StudyTrainer, folder: Path, identity: dict[str, Any]) -> list[dict[str, Any]]:
    """Put the trainer where the folder's state is; the history until then."""
    path = folder / STATE
    if not path.exists():
        return []
    try:
        with np.load(path, allow_pickle=False) as file:
            if json.loads(str(file["run"])) != identity:
                raise InputError(path, "the state of another run", str(identity["name"]))
            trainer.restore(file)
            history: list[dict[str, Any]] = json.loads(str(file["history"]))
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise InputError(path, "damaged", "the state of a run; remove it to begin again") from error
    return history
