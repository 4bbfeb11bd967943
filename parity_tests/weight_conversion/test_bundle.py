import struct
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from network.weights import WEIGHTS
from weight_conversion.bundle import (
    BundleIndex,
    data_path,
    index_path,
    read_bundle,
    read_index,
    write_bundle,
)
from weight_conversion.crc32c import crc32c, mask
from weight_conversion.errors import InputError
from weight_conversion.protos import EntryProto, encode_entry, encode_header
from weight_conversion.sstable import write_table
from weight_conversion.varint import write_varint

OFFICIAL = {
    "coarse": "coarse_mvp2m/meshnetmvp2m.ckpt-50",
    "refine": "refine_p2mpp/meshnet.ckpt-10",
}
ARRAYS: dict[str, np.ndarray] = {
    "a/W:0": np.arange(12, dtype=np.float32).reshape(2, 2, 3),
    "a/b:0": np.array([-0.0, 1e-45, np.inf], np.float32),
    "empty": np.zeros((0, 5), np.float32),
    "global_step": np.array(50, np.int64),
}


def everything(index: BundleIndex) -> dict[str, np.ndarray]:
    return read_bundle(index, [entry.key for entry in index.entries])


def field(number: int, value: int | bytes) -> bytes:
    """A protocol buffer's field: a number, or a message or 4 raw bytes for the checksum."""
    if isinstance(value, int):
        return write_varint(number << 3) + write_varint(value)
    return write_varint(number << 3 | 2) + write_varint(len(value)) + value


def dims(*sizes: int) -> bytes:
    return field(2, b"".join(field(2, field(1, size)) for size in sizes))


def checksum(data: bytes) -> bytes:
    return b"\x35" + struct.pack("<I", mask(crc32c(data)))


def plant(folder: Path, entries: dict[bytes, bytes], data: bytes, header: bytes = b"") -> Path:
    """A checkpoint of hand-made entries, its index's checksums right; its prefix."""
    prefix = folder / "planted"
    table = [(b"", header or encode_header()), *sorted(entries.items())]
    index_path(prefix).write_bytes(write_table(table))
    data_path(prefix).write_bytes(data)
    return prefix


def test_round_trip(tmp_path: Path) -> None:
    prefix = tmp_path / "model.ckpt-50"
    write_bundle(prefix, ARRAYS)
    assert {path.name for path in tmp_path.iterdir()} == {
        "model.ckpt-50.index",
        "model.ckpt-50.data-00000-of-00001",
    }
    found = everything(read_index(prefix))
    assert found.keys() == ARRAYS.keys()
    for key, array in ARRAYS.items():
        assert (found[key].dtype, found[key].shape) == (array.dtype, array.shape)
        assert found[key].tobytes() == array.tobytes()


def test_foreign_byte_order_and_strides_are_written_as_values(tmp_path: Path) -> None:
    odd = np.arange(12, dtype=">f4").reshape(3, 4).T
    write_bundle(tmp_path / "x", {"v": odd})
    np.testing.assert_array_equal(everything(read_index(tmp_path / "x"))["v"], odd)


def test_the_same_arrays_make_the_same_bytes(tmp_path: Path) -> None:
    write_bundle(tmp_path / "x", ARRAYS)
    write_bundle(tmp_path / "y", dict(reversed(ARRAYS.items())))
    for path in (index_path, data_path):
        assert path(tmp_path / "x").read_bytes() == path(tmp_path / "y").read_bytes()


@pytest.mark.parametrize("stage", OFFICIAL)
def test_official_index_is_accepted_whole(stage: str, official: Path) -> None:
    index = read_index(official / "checkpoint_graphs" / OFFICIAL[stage])
    found = {(entry.key, entry.shape, entry.dtype) for entry in index.entries}
    assert found == {(row.key, row.shape, "float32") for row in WEIGHTS[stage]}
    assert len(index.entries) == len(WEIGHTS[stage])
    assert not any(path.exists() for path in index.data_paths)


@pytest.mark.parametrize("stage", OFFICIAL)
def test_official_index_is_reproduced_byte_for_byte(stage: str, official: Path) -> None:
    prefix = official / "checkpoint_graphs" / OFFICIAL[stage]
    entries = [
        (entry.key.encode(), encode_entry(EntryProto(**fields)))
        for entry in read_index(prefix).entries
        for fields in [{name: value for name, value in vars(entry).items() if name != "key"}]
    ]
    table = write_table([(b"", encode_header()), *entries])
    assert table == index_path(prefix).read_bytes()


def test_several_data_files(tmp_path: Path) -> None:
    raw = np.arange(6, dtype="<f4").tobytes()
    header = field(1, 2) + field(3, field(1, 1))
    prefix = tmp_path / "sharded"
    table = [
        (b"", header),
        (b"a", encode_entry(EntryProto("float32", (2,), 0, 0, 8, mask(crc32c(raw[:8]))))),
        (b"b", encode_entry(EntryProto("float32", (4,), 1, 0, 16, mask(crc32c(raw[8:]))))),
    ]
    index_path(prefix).write_bytes(write_table(table))
    data_path(prefix, 0, 2).write_bytes(raw[:8])
    with pytest.raises(InputError, match=r"sharded\.data-00001-of-00002: no such file"):
        everything(read_index(prefix))
    data_path(prefix, 1, 2).write_bytes(raw[8:])
    found = everything(read_index(prefix))
    assert {key: array.tolist() for key, array in found.items()} == {
        "a": [0.0, 1.0],
        "b": [2.0, 3.0, 4.0, 5.0],
    }


@pytest.mark.parametrize("name", ["index", "data-00000-of-00001"])
def test_no_changed_byte_goes_unnoticed(name: str, tmp_path: Path) -> None:
    write_bundle(tmp_path / "x", ARRAYS)
    path = tmp_path / f"x.{name}"
    data = path.read_bytes()
    unnoticed = []
    for position in range(len(data)):
        path.write_bytes(data[:position] + bytes([data[position] ^ 0x40]) + data[position + 1 :])
        try:
            everything(read_index(tmp_path / "x"))
        except InputError as error:
            assert str(path) in str(error)
        else:
            unnoticed.append(position)
    assert data
    assert unnoticed == []


@pytest.mark.parametrize("name", ["index", "data-00000-of-00001"])
def test_no_truncation_goes_unnoticed(name: str, tmp_path: Path) -> None:
    write_bundle(tmp_path / "x", ARRAYS)
    path = tmp_path / f"x.{name}"
    data = path.read_bytes()
    for length in range(0, len(data), 5):
        path.write_bytes(data[:length])
        with pytest.raises(InputError, match=name):
            everything(read_index(tmp_path / "x"))
    path.write_bytes(data + b"\0")
    with pytest.raises(InputError, match=name):
        everything(read_index(tmp_path / "x"))


def test_changed_value_is_named(tmp_path: Path) -> None:
    write_bundle(tmp_path / "x", ARRAYS)
    path = data_path(tmp_path / "x")
    data = bytearray(path.read_bytes())
    data[50] ^= 1
    path.write_bytes(bytes(data))
    with pytest.raises(InputError, match="checksum of variable a/b:0 does not match its data"):
        everything(read_index(tmp_path / "x"))


RAW = bytes(range(16))
GOOD = field(1, 1) + dims(4) + field(5, 16) + checksum(RAW)


def test_the_planted_entry_is_good(tmp_path: Path) -> None:
    prefix = plant(tmp_path, {b"v": GOOD}, RAW)
    assert everything(read_index(prefix))["v"].tobytes() == RAW


def test_unknown_fields_are_skipped(tmp_path: Path) -> None:
    unknown = field(99, 5) + field(98, b"text") + b"\xa9\x06" + bytes(8) + b"\xad\x06" + bytes(4)
    prefix = plant(tmp_path, {b"v": unknown + GOOD}, RAW)
    assert everything(read_index(prefix))["v"].tobytes() == RAW


HOSTILE = {
    "wrong size": (field(1, 1) + dims(3) + field(5, 16), "of 16 bytes; expected 12 for 3 float32"),
    "absurd shape": (field(1, 1) + dims(1 << 20, 1 << 30) + field(5, 16), "the absurd shape"),
    "absurd beside zero": (field(1, 1) + dims(0, 1 << 62), "the absurd shape"),
    "unknown dimension": (field(1, 1) + dims((1 << 64) - 1), "the absurd shape"),
    "many dimensions": (field(1, 1) + dims(*[1] * 300) + field(5, 4), "300 dimensions"),
    "unknown rank": (field(1, 1) + field(2, field(3, 1)), "unknown rank"),
    "sliced": (GOOD + field(7, field(1, b"")), "variable v: stored in slices"),
    "unknown type": (field(1, 77) + dims(4) + field(5, 16), "the unknown element type 77"),
    "no type": (dims(4) + field(5, 16), "the unknown element type 0"),
    "data file 3": (GOOD + field(3, 3), "in data file 3; expected one of 1"),
    "past its message": (b"\x12\x7f", "runs past its message"),
    "group": (b"\x0b", "wire type 3"),
    "field 0": (b"\x00\x00", "field of number 0"),
    "number as bytes": (field(1, b"x"), "should be a number"),
    "message as number": (field(2, 3), "should be a message"),
    "checksum as number": (field(6, 3), "not a 32-bit number"),
    "no number": (b"\x08", "bad variable-length integer"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_entry(name: str, tmp_path: Path) -> None:
    entry, message = HOSTILE[name]
    prefix = plant(tmp_path, {b"v": entry}, RAW)
    with pytest.raises(InputError, match=message) as raised:
        read_index(prefix)
    assert str(raised.value).startswith(f"{index_path(prefix)}: ")
    assert "; expected " in str(raised.value)


@pytest.mark.parametrize(
    ("header", "message"),
    [
        (field(1, 1) + field(2, 1), "big-endian data"),
        (field(3, b""), "a header with 0 data files"),
        (field(1, 1 << 40), "data files"),
        (field(1, 1) + field(3, field(2, 9)), "readers of version 9"),
        (b"\xff", "bad variable-length integer"),
    ],
    ids=["big-endian", "no shards", "many shards", "newer", "garbage"],
)
def test_hostile_header(header: bytes, message: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=message):
        read_index(plant(tmp_path, {}, b"", header))


def test_table_without_header(tmp_path: Path) -> None:
    index_path(tmp_path / "x").write_bytes(write_table([(b"v", GOOD)]))
    with pytest.raises(InputError, match="without a checkpoint's header"):
        read_index(tmp_path / "x")


def test_overlapping_variables(tmp_path: Path) -> None:
    shifted = field(1, 1) + dims(1) + field(4, 12) + field(5, 4) + checksum(RAW[12:])
    prefix = plant(tmp_path, {b"v": GOOD, b"w": shifted}, RAW)
    with pytest.raises(InputError, match="variables v and w overlap in data file 0"):
        read_index(prefix)


def test_offset_past_the_data(tmp_path: Path) -> None:
    prefix = plant(tmp_path, {b"v": GOOD + field(4, 1 << 50)}, RAW)
    with pytest.raises(InputError, match=f"16 bytes; expected {(1 << 50) + 16} as the index says"):
        everything(read_index(prefix))


def test_name_that_is_no_text(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"the key b'\\xff'; expected names in UTF-8"):
        read_index(plant(tmp_path, {b"\xff": GOOD}, RAW))


@pytest.mark.parametrize(("number", "name"), [(7, "string"), (12, "quint8"), (20, "resource")])
def test_types_without_numbers_are_listed_and_not_read(
    number: int, name: str, tmp_path: Path
) -> None:
    odd = field(1, number) + dims(4) + field(4, 16) + field(5, 9)
    prefix = plant(tmp_path, {b"odd": odd, b"v": GOOD}, RAW + bytes(9))
    index = read_index(prefix)
    assert [entry.dtype for entry in index.entries] == [name, "float32"]
    assert read_bundle(index, ["v"])["v"].tobytes() == RAW
    with pytest.raises(InputError, match=f"variable odd of type {name}; expected a numeric type"):
        read_bundle(index, ["odd"])


def test_bfloat16_is_read_as_float32(tmp_path: Path) -> None:
    values = np.array([1.5, -0.0, 3.3895314e38, 1e-40], np.float32)
    raw = (values.view("<u4") >> 16).astype("<u2").tobytes()
    entry = EntryProto("bfloat16", (2, 2), 0, 0, 8, mask(crc32c(raw)))
    prefix = plant(tmp_path, {b"v": encode_entry(entry)}, raw)
    found = read_bundle(read_index(prefix), ["v"])["v"]
    assert (found.dtype, found.shape) == (np.float32, (2, 2))
    assert (found.view("<u4").ravel() >> 16).astype("<u2").tobytes() == raw
    assert found[0].tolist() == [1.5, 0] and np.signbit(found[0, 1])
    short = encode_entry(EntryProto("bfloat16", (2, 2), 0, 0, 16, 0))
    with pytest.raises(InputError, match="variable v of 16 bytes; expected 8 for 2x2 bfloat16"):
        read_index(plant(tmp_path, {b"v": short}, raw + raw))


def test_unknown_variable(tmp_path: Path) -> None:
    write_bundle(tmp_path / "x", ARRAYS)
    with pytest.raises(InputError, match="no variable nothing"):
        read_bundle(read_index(tmp_path / "x"), ["nothing"])


@pytest.mark.parametrize("place", ["nowhere/x", "folder", "n" * 300])
def test_missing_index(place: str, tmp_path: Path) -> None:
    (tmp_path / "folder.index").mkdir()
    with pytest.raises(InputError, match="expected the index of a TensorFlow checkpoint"):
        read_index(tmp_path / place)


def test_a_large_stranger_is_not_read_whole(tmp_path: Path) -> None:
    with (tmp_path / "x.index").open("wb") as stream:
        stream.truncate(1 << 40)
    with pytest.raises(InputError, match="its last 8 bytes are 0x0000000000000000"):
        read_index(tmp_path / "x")


@pytest.mark.parametrize(
    "arrays", [{"": np.zeros(1, np.float32)}, {"v": np.array(["text"])}], ids=["no name", "text"]
)
def test_what_cannot_be_written(arrays: dict[str, np.ndarray], tmp_path: Path) -> None:
    with pytest.raises(InputError, match="expected a numeric type"):
        write_bundle(tmp_path / "x", arrays)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_in_the_way_keeps_the_old_checkpoint(tmp_path: Path) -> None:
    index_path(tmp_path / "x").mkdir()
    data_path(tmp_path / "x").write_bytes(b"old")
    with pytest.raises(InputError, match="a folder is in the way"):
        write_bundle(tmp_path / "x", ARRAYS)
    assert data_path(tmp_path / "x").read_bytes() == b"old"


def test_failure_while_writing_keeps_the_old_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_bundle(tmp_path / "x", {"v": np.ones(3, np.float32)})

    def fail(*_: object) -> bytes:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("weight_conversion.bundle.write_table", fail)
    with pytest.raises(InputError, match="No space left on device"):
        write_bundle(tmp_path / "x", ARRAYS)
    assert everything(read_index(tmp_path / "x"))["v"].tolist() == [1, 1, 1]
    assert len(list(tmp_path.iterdir())) == 2


def test_data_of_another_checkpoint_are_refused(tmp_path: Path) -> None:
    write_bundle(tmp_path / "old", {"v": np.zeros(3, np.float32)})
    write_bundle(tmp_path / "new", {"v": np.ones(3, np.float32)})
    data_path(tmp_path / "new").replace(data_path(tmp_path / "old"))
    with pytest.raises(InputError, match="the checksum of variable v does not match"):
        everything(read_index(tmp_path / "old"))


def test_the_index_goes_first_and_comes_last(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_bundle(tmp_path / "x", {"v": np.ones(3, np.float32)})
    moved = []
    rename = Path.rename

    def record(self: Path, target: Path) -> Path:
        moved.append((self.name, target.parent == tmp_path))
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", record)
    write_bundle(tmp_path / "x", ARRAYS)
    index, data = "x.index", "x.data-00000-of-00001"
    assert moved == [(index, False), (data, False), (data, True), (index, True)]


@settings(
    deadline=None, max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(entry=st.binary(max_size=60), header=st.binary(max_size=12) | st.just(b""))
def test_any_entry_is_read_or_refused(entry: bytes, header: bytes, tmp_path: Path) -> None:
    prefix = plant(tmp_path, {b"v": entry}, RAW, header)
    try:
        everything(read_index(prefix))
    except InputError as error:
        assert str(error).startswith(str(tmp_path))


@settings(
    deadline=None, max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(data=st.binary(max_size=200), magic=st.booleans())
def test_any_index_is_read_or_refused(data: bytes, magic: bool, tmp_path: Path) -> None:
    tail = struct.pack("<Q", 0xDB4775248B80FB57) if magic else b""
    index_path(tmp_path / "x").write_bytes(data + tail)
    with pytest.raises(InputError):
        read_index(tmp_path / "x")


@settings(
    deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    arrays=st.dictionaries(
        st.text(min_size=1, max_size=12).filter(lambda name: name.isprintable()),
        st.tuples(
            st.sampled_from(["float32", "float64", "int64", "bool", "float16"]),
            st.lists(st.integers(0, 4), max_size=4),
        ),
        max_size=6,
    )
)
def test_any_numeric_arrays_come_back(
    arrays: dict[str, tuple[str, list[int]]], tmp_path: Path
) -> None:
    generator = np.random.default_rng(0)
    made = {
        name: generator.integers(0, 2, shape).astype(dtype)
        for name, (dtype, shape) in arrays.items()
    }
    write_bundle(tmp_path / "x", made)
    found = everything(read_index(tmp_path / "x"))
    assert {name: array.tobytes() for name, array in found.items()} == {
        name: array.tobytes() for name, array in made.items()
    }
    assert all(found[name].shape == made[name].shape for name in made)
