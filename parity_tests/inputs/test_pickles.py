"""The restricted pickle reader: plain data comes through, nothing is run, no bomb goes off."""

import io
import os
import pickle
import pickletools
import random
import struct
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from inputs.pickles import load_pickle
from weight_conversion.errors import InputError

PLAIN: dict[str, Any] = {
    "float64": np.arange(12.0).reshape(3, 4),
    "float32": np.arange(12, dtype=np.float32).reshape(2, 3, 2),
    "fortran": np.asfortranarray(np.arange(12.0).reshape(3, 4)),
    "big-endian": np.arange(5, dtype=">i4"),
    "bool": np.array([True, False]),
    "no-axes": np.array(2.5),
    "no-rows": np.zeros((0, 3)),
    "shared": [np.ones(2)] * 3,
    "containers": {"a": [1, (2.5, None, True), -(2**40)], "b": {"c": "ü", "d": b"\xff\0"}, 3: ()},
    "long-string": "x" * 70000,
    "scalar": [np.float32(1.5), np.int64(-7)],
}


def same(one: Any, other: Any) -> bool:
    if isinstance(other, np.ndarray):
        return one.dtype == other.dtype.newbyteorder("=") and np.array_equal(one, other)
    if isinstance(other, list | tuple):
        return type(one) is type(other) and all(map(same, one, other))
    if isinstance(other, dict):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in other)
    return bool(one == other)


@pytest.mark.parametrize("protocol", range(6))
@pytest.mark.parametrize("name", PLAIN)
def test_reads_plain_data(name: str, protocol: int, tmp_path: Path) -> None:
    path = tmp_path / "a.dat"
    path.write_bytes(pickle.dumps(PLAIN[name], protocol))
    assert same(load_pickle(path), PLAIN[name])


def test_reads_what_python_2_wrote(tmp_path: Path, python2_pickle: Callable[[Any], bytes]) -> None:
    value = {b"coord": np.arange(6, dtype="<f4").reshape(2, 3), b"l": [np.arange(300.0), (1, None)]}
    content = python2_pickle(value)
    # The fabricated file is a real one: Python's own reader agrees.
    assert same(pickle.loads(content, encoding="bytes"), value)
    (tmp_path / "a.dat").write_bytes(content)
    assert same(load_pickle(tmp_path / "a.dat"), {key.decode(): value[key] for key in value})


def test_reads_protocol_0_of_python_2(tmp_path: Path) -> None:
    # Strings are quoted there, with escapes: \x00 \n \\ and an apostrophe inside.
    raw = np.array([0x270A5C00, 1], dtype="<i4")
    text = (
        b"cnumpy.core.multiarray\n_reconstruct\np1\n(cnumpy\nndarray\np2\n(I0\ntp3\nS'b'\np4\ntp5\n"
        b"Rp6\n(I1\n(I2\ntp7\ncnumpy\ndtype\np8\n(S'i4'\np9\nI0\nI1\ntp10\nRp11\n(I3\nS'<'\np12\n"
        b'NNNI-1\nI-1\nI0\ntp13\nbI00\nS"\\x00\\\\\\n\'\\x01\\x00\\x00\\x00"\np14\ntp15\nb.'
    )
    assert np.array_equal(pickle.loads(text, encoding="latin1"), raw)
    (tmp_path / "a.dat").write_bytes(text)
    assert np.array_equal(load_pickle(tmp_path / "a.dat"), raw)


def test_arrays_can_be_written_to(tmp_path: Path) -> None:
    (tmp_path / "a.dat").write_bytes(pickle.dumps(np.zeros(3)))
    array = load_pickle(tmp_path / "a.dat")
    array[:] = 1


@pytest.mark.parametrize("name", ["info_ellipsoid.dat", "pami_p2mpp.dat"])
def test_reads_the_official_files(name: str, official: Path) -> None:
    path = official / "template" / name
    with path.open("rb") as stream:
        expected = pickle.load(stream, encoding="latin1")
    assert same(load_pickle(path), expected)


class Reduces:
    """Pickles as whatever call it is given."""

    def __init__(self, *call: Any) -> None:
        self.call = call

    def __reduce__(self) -> Any:
        return self.call


def system(path: Path) -> Any:
    return Reduces(os.system, (f"touch {path}",))


def global_call(module: str, name: str, argument: bytes = b"N") -> bytes:
    return f"c{module}\n{name}\n".encode() + b"(" + argument + b"tR."


def array(shape: bytes, raw: bytes = b"C\x00", code: bytes = b"\x8c\x02f8") -> bytes:
    dtype = b"cnumpy\ndtype\n" + code + b"\x89\x88\x87R(K\x03\x8c\x01<NNNJ\xff\xff\xff\xff"
    dtype += b"J\xff\xff\xff\xffK\x00tb"
    blank = b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\nK\x00\x85C\x01btR"
    return blank + b"(K\x01" + shape + dtype + b"\x89" + raw + b"tb"


def doubled(depth: int) -> bytes:
    """A list of twice a list of twice …: small on disk, astronomic if it is written out."""
    return b"]q\x00" + b"]q\x01(h\x00h\x00eq\x00" * depth


HOSTILE: dict[str, tuple[bytes, str]] = {
    "text": (b"hello world", "is damaged or not a pickle"),
    "no-end": (pickle.dumps([1, 2])[:-1], "ends too early"),
    "end-only": (b".", "is damaged or not a pickle"),
    "eval": (global_call("builtins", "eval", b"\x8c\x011"), "asks for 'builtins.eval'"),
    "python2-eval": (global_call("__builtin__", "eval"), "asks for '__builtin__.eval'"),
    "getattr": (global_call("builtins", "getattr"), "asks for 'builtins.getattr'"),
    "numpy-f2py": (global_call("numpy.f2py", "compile"), "asks for 'numpy.f2py.compile'"),
    "numpy-load": (global_call("numpy", "load"), "asks for 'numpy.load'"),
    "numpy-runstring": (
        global_call("numpy.testing._private.utils", "runstring"),
        "asks for 'numpy.testing._private.utils.runstring'",
    ),
    "dotted": (b"\x8c\x05numpy\x8c\x10ndarray.__init__\x93.", "asks for 'numpy.ndarray.__init__'"),
    "codec": (
        b"c_codecs\nencode\n(\x8c\x01a\x8c\x03zip" + b"tR.",
        "calls encode with other arguments",
    ),
    "inst": (b"(ios\nsystem\n.", "instruction b'i'"),
    "obj": (b"(cnumpy\nndarray\no.", "instruction b'o'"),
    "newobj": (b"cnumpy\nndarray\n)\x81.", r"instruction b'\x81'"),
    "persistent": (b"Pid\n.", "instruction b'P'"),
    "extension": (b"\x82\x01.", r"instruction b'\x82'"),
    "next-buffer": (b"\x97.", r"instruction b'\x97'"),
    "subclass": (
        b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\ndtype\nK\x00\x85C\x01btR.",
        "calls reconstruct with other arguments",
    ),
    "huge-blank": (
        b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\nJ\xff\xff\xff\x7f\x85C\x01btR.",
        "calls reconstruct with other arguments",
    ),
    "call-of-data": (b"K\x01)R.", "calls something that is no function"),
    "state-of-a-name": (b"cnumpy\nndarray\n}b.", "sets the state of something that is no array"),
    "state-of-a-list": (b"]}b.", "sets the state of something that is no array"),
    "name-as-data": (b"cnumpy\nndarray\nK\x01R.", "calls something that is no function"),
    "object-array": (array(b"K\x01\x85", b"]", b"\x8c\x02O8") + b".", "an array of dtype 'O8'"),
    "void": (array(b"K\x01\x85", code=b"\x8c\x0bV9999999999") + b".", "dtype 'V9999999999'"),
    "structured": (array(b"K\x01\x85", code=b"\x8c\x05f4,i4") + b".", "dtype 'f4,i4'"),
    "dtype-of-a-list": (array(b"K\x01\x85", code=b"]") + b".", "dtype list"),
    "too-few-bytes": (array(b"K\x02\x85") + b".", "shape (2,) with 0 bytes of data"),
    "absurd-shape": (
        array(b"J\xff\xff\xff\x7fJ\xff\xff\xff\x7f\x86") + b".",
        "with 0 bytes of data",
    ),
    "negative-shape": (array(b"J\xff\xff\xff\xff\x85") + b".", "shape is not a few sizes"),
    "float-shape": (
        array(b"G@\x00\x00\x00\x00\x00\x00\x00\x85") + b".",
        "shape is not a few sizes",
    ),
    "many-axes": (array(b"(" + b"K\x01" * 40 + b"t") + b".", "shape is not a few sizes"),
    "list-of-lists-shape": (
        b"(" + doubled(60) + array(b"(h\x00t") + b"t.",
        "shape is not a few sizes",
    ),
    "no-bytes": (array(b"K\x02\x85", b"N") + b".", "with no bytes of data"),
    "unfilled": (
        b"](cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\nK\x00\x85C\x01btRe.",
        "uses an array before it has content",
    ),
    "filled-twice": (array(b"K\x00\x85")[:-1] + b"b" + b"}b.", "sets the state of something"),
    "memo-bomb": (b"N" + b"r\xff\xff\xff\xff" + b"j\xfe\xff\xff\xff.", "unknown number"),
    "string-bomb": (b"T\xff\xff\xff\x7f.", "ends too early"),
    "negative-string": (b"T\xff\xff\xff\xff.", "ends too early"),
    "bytes-bomb": (b"\x8e" + struct.pack("<Q", 2**62) + b".", "ends too early"),
    "bytearray-bomb": (b"\x96" + struct.pack("<Q", 2**40) + b".", "ends too early"),
    "copies-bomb": (
        b"("
        + b"B"
        + struct.pack("<I", 800000)
        + bytes(800000)
        + b"q\x00"
        + array(b"J\xa0\x86\x01\x00\x85", b"h\x00") * 200
        + b"t.",
        "far more array data than the file has bytes",
    ),
    "text-copies-bomb": (
        b"(X"
        + struct.pack("<I", 800000)
        + b"a" * 800000
        + b"q\x00"
        + b"c_codecs\nencode\n(h\x00\x8c\x06latin1tR" * 200
        + b"t.",
        "far more array data than the file has bytes",
    ),
    "long-integer": (
        b"\x8b" + struct.pack("<i", 100000) + b"\x7f" * 100000 + b".",
        "absurd length",
    ),
    "long-decimal": (b"L" + b"9" * 100000 + b"L\n.", "absurd length"),
    "endless": (b"N0" * 600_000, "has more than 1000000 instructions"),
    "list-as-key": (b"}]Ns.", "keys that are no strings or numbers"),
    "odd-dict": (b"}(K\x01u.", "sets items of something that is no dict"),
    "append-to-dict": (b"}Na.", "appends to something that is no list"),
    "name-of-a-list": (doubled(60) + b"h\x00\x93.", "whose name is no string"),
    "bare-string": (b"Sabc\n.", "a string without quotes"),
    "octal-escape": (b"S'\\101'\n.", "an unknown escape"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_refuses(name: str, tmp_path: Path) -> None:
    content, message = HOSTILE[name]
    path = tmp_path / "a.dat"
    path.write_bytes(content)
    tracemalloc.start()
    try:
        with pytest.raises(InputError) as caught:
            load_pickle(path)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert str(caught.value).startswith(f"{path}: ")
    assert message in str(caught.value)
    assert "expected a pickle of NumPy arrays" in str(caught.value)
    assert len(str(caught.value)) < 600
    assert peak < 10 * len(content) + 2_000_000


@pytest.mark.parametrize("protocol", range(6))
@pytest.mark.parametrize("place", ["alone", "in-a-list", "in-an-array"])
def test_nothing_is_run(place: str, protocol: int, tmp_path: Path) -> None:
    witness = tmp_path / "witness"
    hostile = system(witness)
    objects = np.empty(1, dtype=object)
    objects[0] = hostile
    value = {"alone": hostile, "in-a-list": [1, {"a": hostile}], "in-an-array": objects}[place]
    (tmp_path / "a.dat").write_bytes(pickle.dumps(value, protocol))
    with pytest.raises(InputError, match=r"asks for 'posix.system'|dtype 'O8'"):
        load_pickle(tmp_path / "a.dat")
    assert not witness.exists()


def test_deep_nesting_is_only_data(tmp_path: Path) -> None:
    (tmp_path / "a.dat").write_bytes(b"]" * 200_000 + b"a" * 199_999 + b".")
    assert type(load_pickle(tmp_path / "a.dat")) is list


def test_a_list_that_holds_itself_is_only_data(tmp_path: Path) -> None:
    (tmp_path / "a.dat").write_bytes(b"]q\x00h\x00a.")
    value = load_pickle(tmp_path / "a.dat")
    assert value[0] is value


def test_refuses_a_file_that_is_too_large(tmp_path: Path) -> None:
    path = tmp_path / "a.dat"
    with path.open("wb") as stream:
        stream.truncate((64 << 20) + 1)
    with pytest.raises(InputError, match="has 67108865 bytes"):
        load_pickle(path)


@pytest.mark.parametrize("protocol", range(6))
def test_damage_is_an_input_error_or_data(protocol: int, tmp_path: Path) -> None:
    content = pickle.dumps({"a": [np.arange(6.0).reshape(2, 3), (1, 2.5)], "b": "x"}, protocol)
    draw, path, refused = random.Random(protocol), tmp_path / "a.dat", 0
    for _ in range(400):
        spoiled = bytearray(content)
        for _ in range(draw.randint(1, 4)):
            spoiled[draw.randrange(len(spoiled))] = draw.randrange(256)
        path.write_bytes(spoiled)
        try:
            load_pickle(path)
        except InputError:
            refused += 1
    assert refused > 200


def test_every_instruction_is_one_of_pythons() -> None:
    from inputs.pickles import _INSTRUCTIONS

    known = {opcode.code.encode("latin-1") for opcode in pickletools.opcodes}
    assert set(_INSTRUCTIONS) <= known
    stream = io.BytesIO(pickle.dumps(PLAIN["containers"], 0))
    used = {opcode.code.encode("latin-1") for opcode, _, _ in pickletools.genops(stream)}
    assert used - {b"."} <= set(_INSTRUCTIONS)
