"""A file that would take this process with it takes another one."""

from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from commands.compare import command
from parity.traces import probe as module
from parity.traces.probe import probe
from parity_tests.parity.conftest import Build
from weight_conversion.containers import hdf5
from weight_conversion.errors import InputError
from weight_conversion.formats import load_weights
from weight_conversion.probe import probe as probe_files


def endless(path: Path) -> Path:
    """Give the collection of texts in the file a size at which HDF5 never finds its end."""
    content = bytearray(path.read_bytes())
    heap = content.index(b"GCOL")
    end = heap + int.from_bytes(content[heap + 8 : heap + 16], "little")
    # The free block at the end: index 0, and a size that is 0 instead of what is left.
    place = heap + 16
    while int.from_bytes(content[place : place + 2], "little"):
        size = int.from_bytes(content[place + 8 : place + 16], "little")
        place += 16 + -(-size // 8) * 8
    assert place < end
    content[place + 8 : place + 16] = bytes(8)
    path.write_bytes(content)
    return path


def test_sound_traces_pass(build: Build) -> None:
    probe(build("reference"), build("candidate"))


def test_trace_that_never_ends_is_refused(build: Build) -> None:
    path = endless(build("candidate"))
    with pytest.raises(InputError) as caught:
        probe(build("reference"), path)
    assert str(caught.value) == (
        f"{path}: cannot be read (the HDF5 library does not come to an end); "
        "expected an undamaged trace"
    )


def test_compare_refuses_it_instead_of_hanging(build: Build, tmp_path: Path) -> None:
    paths = [str(build("reference")), str(endless(build("candidate")))]
    with pytest.raises(InputError, match="does not come to an end"):
        command.main([*paths, "--out", str(tmp_path / "report")], standalone_mode=False)
    assert not (tmp_path / "report").exists()


def test_process_that_ends_in_any_other_way_is_a_refusal(
    build: Build, monkeypatch: pytest.MonkeyPatch
) -> None:
    def elsewhere(_: str, *rest: Any) -> None:
        probe_files("no_such_module", *rest)

    monkeypatch.setattr(module, "probe_files", elsewhere)
    with pytest.raises(
        InputError, match=r"candidate\.h5: cannot be read .the HDF5 library crashes"
    ):
        probe(build("candidate"))


@pytest.mark.parametrize("kind", ["missing", "empty", "other schema"])
def test_what_is_refused_with_a_message_is_left_to_give_it(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "t.h5"
    if kind == "empty":
        path.write_bytes(b"")
    if kind == "other schema":
        with h5py.File(path, "w") as file:
            file["taps"] = np.ones(3)
    probe(path)


def test_foreign_weights_that_never_end_are_refused(tmp_path: Path) -> None:
    """Found by the way: a reader of weights followed any text of another program's file."""
    with h5py.File(tmp_path / "w.h5", "w") as file:
        file["a/W:0"] = np.ones(3, np.float32)
        file["a"].attrs["note"] = "text of variable length"
        file.attrs["step"] = "in the heap too"
    with pytest.raises(InputError, match="no known variables"):
        load_weights(endless(tmp_path / "w.h5"))


def test_a_crash_on_foreign_weights_is_a_refusal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with h5py.File(tmp_path / "w.h5", "w") as file:
        file["a"] = np.ones(3, np.float32)
    asked = []

    def crashing(module: str, kind: str, path: Path) -> None:
        asked.append((module, path))
        raise InputError(path, "cannot be read (the HDF5 library crashes)", kind)

    monkeypatch.setattr(hdf5, "probe", crashing)
    with pytest.raises(InputError, match="crashes"):
        load_weights(tmp_path / "w.h5")
    assert asked == [("weight_conversion.containers.hdf5", tmp_path / "w.h5")]
