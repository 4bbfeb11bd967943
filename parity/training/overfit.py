"""Overfitting one item: steps, a log, checkpoints, and going on after an interruption.

The state is written in one piece every so many steps, and everything else follows from it: a run
that is killed at any moment goes on from the last state as if nothing had happened, because a
step's draws depend on the seed and its number alone, and log rows after the state are dropped.
"""

import csv
import json
import sys
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from parity.training.trainers import Arrays, Learner, LearningSettings, LearningState
from weight_conversion.atomic import replacing
from weight_conversion.errors import InputError
from weight_conversion.formats import WeightSet, save_weights

STATE = "training-state.npz"
LOG = "log.csv"


@dataclass(frozen=True)
class Overfit:
    """What one overfitting run is, so that only the same run is ever continued.

    ``inputs_sha256`` digests everything read; ``start_sha256`` the starting weights.
    """

    stage: str
    backend: str
    settings: LearningSettings
    inputs_sha256: str
    start_sha256: str

    def to_json(self) -> str:
        return json.dumps(asdict(self), sort_keys=True)


def overfit(
    run: Overfit,
    learner: Learner,
    steps: int,
    folder: Path,
    *,
    save_every: int = 50,
    resume: bool = False,
    on_step: Callable[[int, Mapping[str, float]], None] | None = None,
) -> None:
    """Train until ``steps`` steps are taken.

    ``folder`` gets ``log.csv`` with a row a step, ``step-NNNNNN.safetensors`` and the TensorFlow 1
    checkpoint ``step-NNNNNN`` of the newest saved step, TensorBoard events in ``tensorboard/``, and
    the state to go on from.

    Raises:
        InputError: ``folder`` holds a run already and ``resume`` is false, or holds another run.
    """
    state_path = folder / STATE
    taken = 0
    if state_path.exists():
        if not resume:
            raise InputError(folder, "holds a training run", "an empty folder, or --resume")
        state = read_state(state_path, run)
        learner.restore(state)
        taken = state.step
    elif (folder / LOG).exists() and not resume:
        raise InputError(folder, "holds a training log", "an empty folder, or --resume")
    folder.mkdir(parents=True, exist_ok=True)
    rows = _rows_until(folder / LOG, taken)
    if taken:
        _save_weights(folder, run.stage, learner.state())
    with _Log(folder, rows, taken) as log:
        for number in range(taken + 1, steps + 1):
            losses = learner.step()
            log.add(number, losses)
            if on_step is not None:
                on_step(number, losses)
            if number % save_every == 0 or number == steps:
                state = learner.state()
                _write_state(state_path, run, state)
                _save_weights(folder, run.stage, state)


def read_state(path: Path, run: Overfit) -> LearningState:
    """The state of a run.

    Raises:
        InputError: damaged, or the state of another run than ``run``.
    """
    try:
        with np.load(path, allow_pickle=False) as file:
            found = json.loads(str(file["run"]))
            parts: dict[str, Arrays] = {"weights": {}, "first": {}, "second": {}}
            for name in file.files:
                part, _, key = name.partition("|")
                if key:
                    parts[part][key] = file[name]
            step, powers = int(file["step"]), file["beta_powers"].tolist()
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise InputError(path, "damaged", "the state of a training run") from error
    expected = json.loads(run.to_json())
    for name, value in expected.items():
        if found.get(name) != value:
            raise InputError(
                path, f"a run with {name} {found.get(name)}", f"{value}, to go on with it"
            )
    return LearningState(
        step, parts["weights"], parts["first"], parts["second"], (powers[0], powers[1])
    )


def _write_state(path: Path, run: Overfit, state: LearningState) -> None:
    arrays: dict[str, Any] = {
        "run": np.array(run.to_json()),
        "step": np.array(state.step),
        "beta_powers": np.array(state.beta_powers, dtype=np.float64),
    }
    for part, values in (
        ("weights", state.weights),
        ("first", state.first_moments),
        ("second", state.second_moments),
    ):
        arrays |= {f"{part}|{key}": value for key, value in values.items()}
    with replacing(path) as temporary, temporary.open("wb") as stream:
        np.savez(stream, **arrays)


def _save_weights(folder: Path, stage: str, state: LearningState) -> None:
    """Write the newest weights in both formats, then remove older ones."""
    name = f"step-{state.step:06d}"
    weights = WeightSet(stage, state.weights, state.step, "training")
    save_weights(folder / f"{name}.safetensors", weights)
    save_weights(folder / name, weights)
    for path in folder.glob("step-*"):
        if not path.name.startswith(f"{name}."):
            path.unlink()


def _rows_until(path: Path, step: int) -> list[list[str]]:
    """The log's header and its rows up to a step; a half-written last row is dropped."""
    if not path.exists() or step == 0:
        return []
    with path.open(newline="") as stream:
        rows = list(csv.reader(stream))
    return [*rows[:1], *(row for row in rows[1:] if row and int(row[0]) <= step)]


def _board(folder: Path, purge_step: int) -> Any:
    """A writer of TensorBoard events that does not load TensorFlow.

    TensorBoard imports it where it is installed, for its files alone, with half a screen of its
    log; if there is a module ``notf`` it takes its own stand-in (``tensorboard.compat.tf``).
    """
    sys.modules.setdefault("tensorboard.compat.notf", ModuleType("notf"))
    from torch.utils.tensorboard import SummaryWriter

    return SummaryWriter(str(folder), purge_step=purge_step)


class _Log:
    """``log.csv`` and TensorBoard events, a row a step."""

    def __init__(self, folder: Path, rows: list[list[str]], taken: int) -> None:
        self._path, self._rows = folder / LOG, rows
        self._events = (folder / "tensorboard", taken)

    def __enter__(self) -> "_Log":
        with replacing(self._path) as temporary, temporary.open("w", newline="") as stream:
            csv.writer(stream).writerows(self._rows)
        self._stream = self._path.open("a", newline="")
        self._writer = csv.writer(self._stream)
        folder, taken = self._events
        self._board = _board(folder, purge_step=taken + 1)
        return self

    def add(self, number: int, losses: Mapping[str, float]) -> None:
        names = [name for name in losses if name != "total"]
        if not self._rows:
            self._rows.append(["step", "total", *names])
            self._writer.writerow(self._rows[0])
        values = [repr(float(losses[name])) for name in ("total", *names)]
        self._writer.writerow([number, *values])
        self._stream.flush()
        for name, value in losses.items():
            self._board.add_scalar(f"loss/{name}", value, number)

    def __exit__(self, *_: object) -> None:
        self._stream.close()
        self._board.close()
