"""Overfitting one item: steps, a log, checkpoints, and going on after an interruption.

The state is written in one piece every so many steps, and everything else follows from it: a run
that is killed at any moment goes on from the last state as if nothing had happened, because a
step's draws depend on the seed and its number alone, and log rows after the state are cut off. A
run holds its log locked, so that no other one writes into the same folder.
"""

import fcntl
import json
import os
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from os.path import samestat
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from parity.training.events import Events
from parity.training.trainers import ResumableTrainer, TrainerSettings, TrainerState
from weight_conversion.atomic import replacing
from weight_conversion.containers import npz
from weight_conversion.containers.contents import parsing
from weight_conversion.errors import InputError
from weight_conversion.formats import WeightSet, save_weights

STATE = "training-state.npz"
LOG = "log.csv"
LOOKS = "mesh.csv"
MESH = "mesh.obj"
"""What the trained network predicts; the command writes it when all steps are taken."""


@dataclass(frozen=True)
class Overfit:
    """What one overfitting run is, so that only the same run is ever continued.

    ``inputs_sha256`` digests everything read; ``start_sha256`` the starting weights.
    """

    stage: str
    backend: str
    settings: TrainerSettings
    inputs_sha256: str
    start_sha256: str

    def to_json(self) -> str:
        return json.dumps(asdict(self), sort_keys=True)


@dataclass(frozen=True)
class Shown:
    """What is kept of a look at a saved state.

    Attributes:
        values: the row of ``mesh.csv``, ``step`` first.
        picture: a PNG, or None.
    """

    values: Mapping[str, float]
    picture: bytes | None = None


def overfit(
    run: Overfit,
    trainer: ResumableTrainer,
    steps: int,
    folder: Path,
    *,
    save_every: int = 50,
    resume: bool = False,
    on_step: Callable[[int, Mapping[str, float]], None] | None = None,
    on_saved: Callable[[TrainerState], Shown] | None = None,
    explain: Callable[[TrainerState], str] | None = None,
) -> None:
    """Train until ``steps`` steps are taken.

    ``folder`` gets ``log.csv`` with a row a step, ``step-NNNNNN.safetensors`` and the TensorFlow 1
    checkpoint ``step-NNNNNN`` of the newest saved step, TensorBoard events in ``tensorboard/``, and
    the state to go on from; with ``on_saved`` also ``mesh.csv``, a row a saved step.

    Args:
        run: which run it is.
        trainer: takes the steps.
        steps: how many in all.
        folder: the run's own.
        save_every: after how many steps the state is written.
        resume: whether to go on with the run in ``folder``.
        on_step: told each step's losses.
        on_saved: looks at each saved state and says what to keep of it.
        explain: where the run with a state's weights stops being finite.

    Raises:
        InputError: a loss is not finite; ``folder`` holds a run already and ``resume`` is false,
            holds another run, is written to by another process, cannot be written to or vanishes,
            or the disk is full.
    """
    state_path = folder / STATE
    _check_free(folder, resume)
    with _Log(folder) as log:
        _check_free(folder, resume)  # once more, now that no other process can write there
        if state_path.exists():
            state = read_state(state_path, run)
            trainer.restore(state)
            _save_weights(folder, run.stage, state)
        else:
            state = trainer.state()
        log.go_on_after(state.step)
        for number in range(state.step + 1, steps + 1):
            losses = trainer.step()
            log.add(number, losses)
            bad = [name for name, value in losses.items() if not np.isfinite(value)]
            if bad:
                why = "" if explain is None else f": {explain(_before(trainer, state, number))}"
                found = f"{', '.join(bad[:3])} not finite in step {number}{why}"
                raise InputError(folder, found, "finite losses; a smaller learning rate may help")
            if on_step is not None:
                on_step(number, losses)
            if number % save_every == 0 or number == steps:
                log.flush()
                (folder / MESH).unlink(missing_ok=True)  # of an earlier step
                state = trainer.state()
                _write_state(state_path, run, state)
                _save_weights(folder, run.stage, state)
                if on_saved is not None:
                    log.look(number, on_saved(state))


def _before(trainer: ResumableTrainer, state: TrainerState, number: int) -> TrainerState:
    """The state before a step, taken once more from the last one that was kept."""
    trainer.restore(state)
    for _ in range(state.step + 1, number):
        trainer.step()
    return trainer.state()


def _check_free(folder: Path, resume: bool) -> None:
    """Raise if the folder holds a run and none is to be resumed."""
    if resume:
        return
    if (folder / STATE).exists():
        raise InputError(folder, "holds a training run", "an empty folder, or --resume")
    if (folder / LOG).exists() and (folder / LOG).stat().st_size:
        raise InputError(folder, "holds a training log", "an empty folder, or --resume")


def read_state(path: Path, run: Overfit) -> TrainerState:
    """The state of a run.

    Raises:
        InputError: damaged, or the state of another run than ``run``.
    """
    parts: dict[str, dict[str, NDArray[Any]]] = {"weights": {}, "first": {}, "second": {}}
    with npz.opened(path) as contents, parsing(path, "the state of a training run"):
        names = {variable.name for variable in contents.variables}
        found = json.loads(str(contents.read("run")))
        for name in names:
            part, _, key = name.partition("|")
            if key:
                parts[part][key] = contents.read(name)
        step, powers = int(contents.read("step")), contents.read("beta_powers").tolist()
        first, second = (float(power) for power in powers)
    expected = json.loads(run.to_json())
    for name, value in expected.items():
        if found.get(name) != value:
            raise InputError(
                path, f"a run with {name} {found.get(name)}", f"{value}, to go on with it"
            )
    return TrainerState(step, parts["weights"], parts["first"], parts["second"], (first, second))


def _write_state(path: Path, run: Overfit, state: TrainerState) -> None:
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


def _save_weights(folder: Path, stage: str, state: TrainerState) -> None:
    """Write the newest weights in both formats, then remove older ones."""
    name = f"step-{state.step:06d}"
    weights = WeightSet(stage, state.weights, state.step, "training")
    save_weights(folder / f"{name}.safetensors", weights)
    save_weights(folder / name, weights)
    _remove_older(folder, name)


_SAVED = re.compile(r"step-\d{6,}\.(safetensors|index|data-\d{5}-of-\d{5})")
"""The files of a saved step; what else a user keeps in the folder is not touched."""


def _remove_older(folder: Path, newest: str) -> None:
    """Remove the weights of all steps but the one of this name.

    A checkpoint's index goes before its data: killed in between, there is no torn checkpoint.
    """
    older = [
        path for path in folder.iterdir()
        if _SAVED.fullmatch(path.name) and not path.name.startswith(f"{newest}.")
    ]  # fmt: skip
    for path in sorted(older, key=lambda path: path.suffix != ".index"):
        path.unlink()


class _Log:
    """``log.csv`` and TensorBoard events, a row a step, both of this process alone."""

    def __init__(self, folder: Path) -> None:
        self._folder, self._path = folder, folder / LOG
        self._events: Events | None = None

    def __enter__(self) -> "_Log":
        with _telling(self._folder):
            self._folder.mkdir(parents=True, exist_ok=True)
            self._stream = self._path.open("a+b")
        try:
            fcntl.flock(self._stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            self._stream.close()
            found = "another process trains into it"
            raise InputError(self._folder, found, "a folder of its own for each run") from error
        except OSError:
            pass  # a filesystem without locks
        return self

    def go_on_after(self, step: int) -> None:
        """Cut off what stands after the row of a step, half a row among it.

        Raises:
            InputError: rows before it are missing.
        """
        rows = end = 0
        with _telling(self._folder):
            self._stream.seek(0)
            for line in self._stream if step else ():
                begins = f"{rows or 'step'},".encode()
                if rows > step or not (line.startswith(begins) and line.endswith(b"\n")):
                    break
                rows, end = rows + 1, end + len(line)
            if step and rows <= step:
                found = f"{max(rows - 1, 0)} whole rows"
                raise InputError(self._path, found, f"one for each of the {step} steps taken")
            self._stream.truncate(end)
            self._empty = end == 0
            self._looks = _rows_until(self._folder / LOOKS, step)
            self._events = Events(self._folder / "tensorboard", purge_step=step + 1)

    def add(self, number: int, losses: Mapping[str, float]) -> None:
        """Write the row of a step.

        Raises:
            InputError: the folder has vanished, or the disk is full.
        """
        names = [name for name in losses if name != "total"]
        lines = [",".join(["step", "total", *names])] if self._empty else []
        values = [repr(float(losses[name])) for name in ("total", *names)]
        lines.append(",".join([str(number), *values]))
        self._empty = False
        with _telling(self._folder):
            if not samestat(self._path.stat(), os.fstat(self._stream.fileno())):
                raise InputError(self._path, "another file than at the start", "to be left alone")
            self._stream.write("".join(f"{line}\r\n" for line in lines).encode())
            self._stream.flush()
            assert self._events is not None
            self._events.add(number, {f"loss/{name}": value for name, value in losses.items()})

    def look(self, number: int, shown: Shown) -> None:
        """Write what a saved state looks like: a row, and all of it as events."""
        if not self._looks:
            self._looks = [",".join(shown.values)]
        self._looks.append(",".join(repr(value) for value in shown.values.values()))
        text = "".join(f"{row}\r\n" for row in self._looks)
        with _telling(self._folder):
            with replacing(self._folder / LOOKS) as temporary:
                temporary.write_text(text, encoding="utf-8", newline="")
            assert self._events is not None
            values = {f"mesh/{name}": value for name, value in shown.values.items()}
            values.pop("mesh/step", None)
            self._events.add(number, values)
            if shown.picture is not None:
                self._events.picture(number, "mesh", shown.picture)

    def flush(self) -> None:
        """Bring what was written to the disk."""
        with _telling(self._folder):
            os.fsync(self._stream.fileno())

    def __exit__(self, kind: object, *_: object) -> None:
        with suppress(Exception) if kind else _telling(self._folder):  # the first error is told
            if self._events is not None:
                self._events.close()
        self._stream.close()


def _rows_until(path: Path, step: int) -> list[str]:
    """The rows of ``mesh.csv`` up to a step, its names first; none where there are none."""
    if not step or not path.exists():
        return []
    rows = path.read_text(encoding="utf-8", errors="replace").splitlines()
    kept = [row for row in rows[1:] if (first := row.partition(",")[0]).isdecimal()
            and int(first) <= step]  # fmt: skip
    return [rows[0], *kept] if kept else []


@contextmanager
def _telling(folder: Path) -> Iterator[None]:
    """Tell errors of the system about the run's folder.

    Raises:
        InputError: in place of an ``OSError``.
    """
    try:
        yield
    except FileNotFoundError as error:
        found = "the folder vanished while it was written to"
        raise InputError(folder, found, "a folder that stays") from error
    except OSError as error:
        found = str(error.strerror or error)
        raise InputError(folder, found, "a writable folder with room") from error
