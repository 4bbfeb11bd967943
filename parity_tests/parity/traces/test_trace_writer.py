"""Writing: whole and under its name, or not at all; what a backend may not give."""

import resource
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from parity.traces.trace import TraceHeader, inputs_sha256, open_trace
from parity.traces.writer import Recorder, TraceWriter
from weight_conversion.errors import InputError

HEADER = TraceHeader(
    "coarse", "torch", "float32", "cpu", "w", "i", {"numpy": "2"}, "*", {"t": "no"}, "", ("a note",)
)
ORDERS = {"first": 0, "second": 1}


def test_written_trace_reads_back(tmp_path: Path) -> None:
    path = tmp_path / "folder" / "t.h5"
    with TraceWriter(path, HEADER, ORDERS) as writer:
        writer.inputs({"images": np.zeros((2, 2)), "template/unpooling_1": np.ones(3)})
        writer.faces(np.array([[0, 1, 2]]))
        writer.tap("second", np.arange(3, dtype=np.float32))
        writer.tap("first", np.array(1.5, np.float32))
        writer.tap("another", np.ones(2))
        writer.add("losses", "total", np.float32(2.5))
        assert writer.count == 3
    with open_trace(path) as trace:
        assert trace.header == HEADER
        assert trace.names("taps") == ["first", "second", "another"]
        assert trace.names("inputs") == ["images", "template/unpooling_1"]
        assert trace.array("taps", "first") == 1.5
        assert trace.array("taps", "second").tolist() == [0, 1, 2]
        assert trace.array("losses", "total") == 2.5
        faces = trace.faces()
        assert faces is not None and faces.tolist() == [[0, 1, 2]]
    with h5py.File(path) as file:
        assert file.attrs["complete"]
        assert [file[f"taps/{tap}"].attrs["order"] for tap in ("first", "second")] == [0, 1]


@pytest.mark.parametrize("before", [None, b"an older trace"])
def test_failed_recording_leaves_what_was_there(tmp_path: Path, before: bytes | None) -> None:
    path = tmp_path / "t.h5"
    if before is not None:
        path.write_bytes(before)
    with pytest.raises(ZeroDivisionError), TraceWriter(path, HEADER, ORDERS) as writer:
        writer.tap("first", np.ones(3))
        raise ZeroDivisionError
    assert [p.name for p in tmp_path.iterdir()] == ([] if before is None else ["t.h5"])
    if before is not None:
        assert path.read_bytes() == before


def test_header_that_cannot_be_written_leaves_nothing(tmp_path: Path) -> None:
    header = TraceHeader("coarse", "a\0b", "float32", "cpu", "w", "i")
    with pytest.raises(ValueError, match="NULL"), TraceWriter(tmp_path / "t.h5", header, ORDERS):
        pass
    assert list(tmp_path.iterdir()) == []


FULL = """
import resource, signal, sys
from pathlib import Path
import numpy as np
from parity.traces.trace import TraceHeader
from parity.traces.writer import TraceWriter
from weight_conversion.errors import InputError
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[2]), -1))
try:
    with TraceWriter(Path(sys.argv[1]), TraceHeader("coarse", *"bcdef"), {}) as writer:
        for tap in range(3):
            writer.tap(f"tap{tap}", np.ones(50_000))
except InputError as error:
    print(error)
"""


@pytest.mark.parametrize("room", [100, 5_000, 500_000, 1_200_000])
def test_full_disk_is_told_and_leaves_what_was_there(tmp_path: Path, room: int) -> None:
    path = tmp_path / "t.h5"
    path.write_bytes(b"an older trace")
    done = subprocess.run(
        [sys.executable, "-c", FULL, str(path), str(room)],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.stdout.startswith(f"{path}: ")
    assert "room to write" in done.stdout
    assert done.stderr == ""
    assert path.read_bytes() == b"an older trace"
    assert [p.name for p in tmp_path.iterdir()] == ["t.h5"]


@pytest.mark.parametrize(
    "value",
    [np.array(["a"]), np.array([True]), np.array([1j]), np.ones(2, np.longdouble), None, "text"],
    ids=repr,
)  # fmt: skip
def test_what_is_no_number_is_refused(tmp_path: Path, value: Any) -> None:
    with (
        pytest.raises(
            InputError, match=r"^tap first: dtype .*; expected numbers of at most 64 bits$"
        ),
        TraceWriter(tmp_path / "t.h5", HEADER, ORDERS) as writer,
    ):
        writer.tap("first", value)


def test_tap_given_twice_is_refused(tmp_path: Path) -> None:
    with (
        pytest.raises(
            InputError, match=r"^tap first: given twice by the backend; expected one call"
        ),
        TraceWriter(tmp_path / "t.h5", HEADER, ORDERS) as writer,
    ):
        for _ in range(2):
            writer.tap("first", np.ones(3, int))


def test_a_scalar_has_a_checksum_that_is_checked(tmp_path: Path) -> None:
    path = tmp_path / "t.h5"
    with TraceWriter(path, HEADER, ORDERS) as writer:
        writer.tap("first", np.ones(3))
        writer.add("losses", "total", np.float64(2.5))
    with h5py.File(path, "r+") as file:
        file["losses/total"][()] = 2.5000001
    with open_trace(path) as trace, pytest.raises(InputError, match="losses/total has not its"):
        trace.array("losses", "total")


@pytest.mark.parametrize(
    "text", ["0123456789abcdef", "torch", "chamfer", '"numpy": "2"', '"t": "no"']
)
def test_a_flipped_bit_of_a_root_attribute_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "t.h5"
    digest = "0123456789abcdef" * 4
    header = replace(HEADER, weights_sha256=digest, requested="chamfer*")
    with TraceWriter(path, header, ORDERS) as writer:
        writer.tap("first", np.ones(3))
    content = bytearray(path.read_bytes())
    content[content.index(text.encode()) + 2] ^= 1
    path.write_bytes(content)
    message = r"t\.h5: the root attributes have not their checksum; expected an undamaged trace"
    with pytest.raises(InputError, match=message), open_trace(path):
        pass


def test_a_flipped_bit_of_an_order_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "t.h5"
    with TraceWriter(path, HEADER, {"first": 0x1234567}) as writer:
        writer.tap("first", np.ones(3))
    content = bytearray(path.read_bytes())
    content[content.index(bytes([0x67, 0x45, 0x23, 0x01]))] ^= 1
    path.write_bytes(content)
    message = r"cannot be read .*; expected an undamaged trace"
    with pytest.raises(InputError, match=message), open_trace(path):
        pass


def test_what_others_add_to_the_root_is_not_covered(tmp_path: Path) -> None:
    path = tmp_path / "t.h5"
    with TraceWriter(path, HEADER, ORDERS) as writer:
        writer.tap("first", np.ones(3))
    with h5py.File(path, "r+") as file:
        file.attrs["remark"] = "of a user"
    with open_trace(path) as trace:
        assert trace.header == HEADER


def test_a_flipped_bit_of_an_array_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "t.h5"
    with TraceWriter(path, HEADER, ORDERS) as writer:
        writer.tap("first", np.arange(1000, dtype=np.float32))
    with h5py.File(path) as file:
        chunk = file["taps/first"].id.get_chunk_info(0)
    content = bytearray(path.read_bytes())
    content[chunk.byte_offset + chunk.size // 2] ^= 1
    path.write_bytes(content)
    with open_trace(path) as trace, pytest.raises(InputError, match="/taps/first cannot be read"):
        trace.array("taps", "first")


def test_recorder_writes_what_was_asked_for_and_tells_all(tmp_path: Path) -> None:
    told: list[str] = []
    with TraceWriter(tmp_path / "t.h5", HEADER, ORDERS) as writer:
        recorder = Recorder(writer, lambda tap: tap.startswith("s"), told.append)
        recorder("first", np.ones(3))
        recorder("second", np.ones(3))
    with open_trace(tmp_path / "t.h5") as trace:
        assert trace.names("taps") == ["second"]
    assert told == ["first", "second"]


def test_digest_tells_names_shapes_and_numbers_apart() -> None:
    base = {"a": np.arange(6.0).reshape(2, 3), "b": np.ones(2)}
    digests = [
        inputs_sha256(arrays)
        for arrays in (
            base,
            {**base, "a": base["a"].reshape(3, 2)},
            {**base, "a": base["a"] + 1},
            {"a": base["a"], "c": base["b"]},
            {"a": base["a"]},
            {},
        )
    ]
    assert len(set(digests)) == len(digests)


@pytest.mark.parametrize("dtype", [">f4", "<f8", "i8", "u1", "f2"])
def test_digest_is_of_float32_values(dtype: str) -> None:
    numbers = np.arange(6).reshape(2, 3)
    assert inputs_sha256({"a": numbers.astype(dtype)}) == inputs_sha256({"a": numbers})
    assert inputs_sha256({"a": numbers.astype(dtype).T.copy().T}) == inputs_sha256({"a": numbers})


def test_digest_does_not_depend_on_the_order_of_names() -> None:
    a, b = np.ones(2), np.zeros(3)
    assert inputs_sha256({"a": a, "b": b}) == inputs_sha256({"b": b, "a": a})


def test_limits_of_the_full_disk_test_are_this_systems() -> None:
    assert hasattr(signal, "SIGXFSZ") and hasattr(resource, "RLIMIT_FSIZE")


@pytest.mark.parametrize(
    ("names", "said"),
    [
        (["./first"], "a name that no trace can hold"),
        (["first/"], "a name that no trace can hold"),
        (["a/../first"], "a name that no trace can hold"),
        (["\ud800"], "a name that no trace can hold"),
        (["/".join("abcdefghi")], "a name that no trace can hold"),
        (["first", "first/x"], "below first, which is a tap too"),
    ],
    ids=ascii,
)
def test_a_tap_without_a_place_of_its_own_is_refused(
    names: list[str], said: str, tmp_path: Path
) -> None:
    with (
        pytest.raises(InputError, match=said),
        TraceWriter(tmp_path / "t.h5", HEADER, ORDERS) as writer,
    ):
        for name in names:
            writer.tap(name, np.ones(3))
    assert not any(tmp_path.iterdir())


def test_a_tap_may_lie_as_deep_as_readers_look(tmp_path: Path) -> None:
    name = "/".join("abcdefgh")
    with TraceWriter(tmp_path / "t.h5", HEADER, ORDERS) as writer:
        writer.tap(name, np.ones(3))
    with open_trace(tmp_path / "t.h5") as trace:
        assert trace.names("taps") == [name]
