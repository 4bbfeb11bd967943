"""A training run's folder: its log, who may write there, and what happens to it meanwhile."""

import errno
import math
import shutil
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest

from parity.training import overfit as module
from parity.training.overfit import (
    LOG,
    LOOKS,
    MESH,
    STATE,
    Overfit,
    Shown,
    _Log,
    overfit,
    read_state,
)
from parity.training.trainers import TrainerSettings, TrainerState
from weight_conversion.errors import InputError

RUN = Overfit("coarse", "torch", TrainerSettings(1e-5, 0, False, None), "a" * 64, "b" * 64)


class Counting:
    """A trainer that counts its steps."""

    def __init__(self) -> None:
        self.taken = 0

    def step(self) -> Mapping[str, float]:
        self.taken += 1
        return {"total": 1.0 / self.taken, "chamfer_1": 0.5}

    def state(self) -> TrainerState:
        arrays = {"v": np.full(3, self.taken, np.float32)}
        return TrainerState(self.taken, arrays, arrays, arrays, (0.9, 0.999))

    def restore(self, state: TrainerState) -> None:
        self.taken = state.step


@pytest.fixture(autouse=True)
def no_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    """The newest weights in both formats are 150 MB of a real stage."""
    monkeypatch.setattr(module, "_save_weights", lambda *_: None)


def train(folder: Path, steps: int, *, resume: bool = False, every: int = 2) -> None:
    overfit(RUN, Counting(), steps, folder, save_every=every, resume=resume)


def rows(folder: Path) -> list[str]:
    return [line.partition(",")[0] for line in (folder / LOG).read_text().splitlines()]


@pytest.mark.parametrize(
    "rest",
    [b"", b"3,0.3,0.5\r\n", b"3,0.3,0.5\r\n4,0.2", b"1", b"5,0.1,0.5\r\n"],
    ids=["nothing", "a row", "a row and half of one", "half a number", "a row of another run"],
)
def test_rows_after_the_state_are_cut_off(rest: bytes, tmp_path: Path) -> None:
    train(tmp_path, 2)
    before = (tmp_path / LOG).read_bytes()
    (tmp_path / LOG).write_bytes(before + rest)
    train(tmp_path, 4, resume=True)
    assert rows(tmp_path) == ["step", "1", "2", "3", "4"]
    assert (tmp_path / LOG).read_bytes().startswith(before)


def shown(state: TrainerState) -> Shown:
    return Shown({"step": state.step, "spikes": 10 * state.step})


def test_looks_have_a_row_each_and_later_ones_are_cut_off(tmp_path: Path) -> None:
    overfit(RUN, Counting(), 4, tmp_path, save_every=2, on_saved=shown)
    expected = "step,spikes\r\n2,20\r\n4,40\r\n"
    assert (tmp_path / LOOKS).read_bytes().decode() == expected
    with (tmp_path / LOOKS).open("a", newline="") as stream:
        stream.write("6,60\r\n8,8")
    overfit(RUN, Counting(), 6, tmp_path, save_every=2, resume=True, on_saved=shown)
    assert (tmp_path / LOOKS).read_bytes().decode() == expected + "6,60\r\n"


@pytest.mark.parametrize(("bad", "resumed"), [(1, False), (2, False), (5, False), (6, True)])
def test_a_loss_that_is_no_number_ends_the_run_and_is_explained(
    bad: int, resumed: bool, tmp_path: Path
) -> None:
    class Broken(Counting):
        def step(self) -> Mapping[str, float]:
            found = super().step()
            return {**found, "chamfer_1": math.nan} if self.taken == bad else found

    if resumed:
        overfit(RUN, Counting(), 4, tmp_path, save_every=2)
    asked = []

    def explain(state: TrainerState) -> str:
        asked.append(state.step)
        return "layer 7"

    words = rf"chamfer_1 not finite in step {bad}: layer 7; expected finite losses"
    with pytest.raises(InputError, match=words):
        overfit(RUN, Broken(), 8, tmp_path, save_every=2, resume=resumed, explain=explain)
    assert asked == [bad - 1]  # the weights that the step began with
    assert rows(tmp_path)[-1] == str(bad)
    assert not (tmp_path / STATE).exists() or read_state(tmp_path / STATE, RUN).step < bad


@pytest.mark.parametrize("content", [b"", b"step,total,chamfer_1\r\n1,1.0,0.5\r\n2,0."])
def test_a_log_without_the_state_s_rows_is_refused(content: bytes, tmp_path: Path) -> None:
    train(tmp_path, 2)
    (tmp_path / LOG).write_bytes(content)
    words = r"log\.csv: [01] whole rows; expected one for each of the 2 steps taken"
    with pytest.raises(InputError, match=words):
        train(tmp_path, 4, resume=True)


def test_a_run_that_was_killed_before_its_first_row_is_no_run(tmp_path: Path) -> None:
    (tmp_path / LOG).touch()
    train(tmp_path, 2)
    assert rows(tmp_path) == ["step", "1", "2"]


def test_another_process_trains_into_it(tmp_path: Path) -> None:
    with (
        _Log(tmp_path),
        pytest.raises(InputError, match=f"^{tmp_path}: another process trains into it"),
    ):
        train(tmp_path, 2)
    train(tmp_path, 2)


def test_the_mesh_of_an_earlier_step_goes(tmp_path: Path) -> None:
    train(tmp_path, 2)
    (tmp_path / MESH).write_text("of step 2")
    train(tmp_path, 2, resume=True)
    assert (tmp_path / MESH).exists()
    train(tmp_path, 4, resume=True)
    assert not (tmp_path / MESH).exists()


@pytest.mark.parametrize("removed", range(4))
def test_killed_among_the_older_weights_no_index_lacks_its_data(
    removed: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = ".data-00000-of-00001"
    for step in (1, 2):
        for ending in (".index", data, ".safetensors"):
            (tmp_path / f"step-{step:06d}{ending}").touch()
    unlink, listed, left = Path.unlink, Path.iterdir, [removed]

    def killed(path: Path) -> None:
        if not left[0]:
            raise KeyboardInterrupt
        left[0] -= 1
        unlink(path)

    monkeypatch.setattr(Path, "iterdir", lambda where: iter(sorted(listed(where))))  # data first
    monkeypatch.setattr(Path, "unlink", killed)
    if removed < 3:
        with pytest.raises(KeyboardInterrupt):
            module._remove_older(tmp_path, "step-000002")
    else:
        module._remove_older(tmp_path, "step-000002")
    monkeypatch.undo()
    names = {path.name for path in tmp_path.iterdir()}
    assert len(names) == 6 - removed
    assert all(name.replace(".index", data) in names for name in names)


def test_what_a_user_keeps_in_the_folder_stays(tmp_path: Path) -> None:
    mine = {"step-by-step.md", "step-sizes.csv", "step-000001.txt", "step-1.safetensors"}
    for name in {*mine, "step-000001.safetensors", "step-000002.safetensors"}:
        (tmp_path / name).touch()
    module._remove_older(tmp_path, "step-000002")
    assert {path.name for path in tmp_path.iterdir()} == {*mine, "step-000002.safetensors"}


def test_the_folder_vanishes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder, step = tmp_path / "out", Counting.step

    def vanish(trainer: Counting) -> Mapping[str, float]:
        if trainer.taken == 2:
            shutil.rmtree(folder)
        return step(trainer)

    monkeypatch.setattr(Counting, "step", vanish)
    with pytest.raises(InputError, match=f"^{folder}: the folder vanished"):
        train(folder, 4, every=10)
    assert not folder.exists()


def test_another_file_takes_the_log_s_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    step = Counting.step

    def replaced(trainer: Counting) -> Mapping[str, float]:
        (tmp_path / LOG).unlink()
        (tmp_path / LOG).write_text("of someone else")
        return step(trainer)

    monkeypatch.setattr(Counting, "step", replaced)
    with pytest.raises(InputError, match=r"log\.csv: another file than at the start"):
        train(tmp_path, 2)
    assert (tmp_path / LOG).read_text() == "of someone else"


def test_a_full_disk_is_told_and_the_next_run_works(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(np, "savez", full)
        with pytest.raises(InputError, match="No space left on device; expected room to write it"):
            train(tmp_path, 2)
    assert not (tmp_path / STATE).exists()
    train(tmp_path, 2, resume=True)
    assert rows(tmp_path) == ["step", "1", "2"]


@pytest.mark.parametrize("damage", [b"PK", b"", b"\x80\x04"])
def test_a_damaged_state_is_refused(damage: bytes, tmp_path: Path) -> None:
    (tmp_path / STATE).write_bytes(damage)
    with pytest.raises(InputError, match=r"training-state\.npz: .*; expected"):
        read_state(tmp_path / STATE, RUN)


def test_the_state_of_another_run_is_refused(tmp_path: Path) -> None:
    train(tmp_path, 2)
    other = Overfit("coarse", "tf", RUN.settings, RUN.inputs_sha256, RUN.start_sha256)
    with pytest.raises(InputError, match="a run with backend torch; expected tf"):
        read_state(tmp_path / STATE, other)
