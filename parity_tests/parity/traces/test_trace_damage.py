"""Damaged bytes: a refusal or a true verdict, never a crash and never a false agreement."""

import json
from pathlib import Path

import h5py
import numpy as np
import pytest

from parity.verdict.compare import compare
from parity.verdict.result import Verdict
from parity_tests.parity.conftest import LAST, Build, values
from weight_conversion.errors import InputError

FRACTIONS = [0.0, 0.001, 0.01, 0.1, 0.25, 0.5, 0.75, 0.9, 0.99, 0.999]


@pytest.fixture
def whole(build: Build) -> Path:
    return build("whole", {LAST: values(LAST, (156, 3))})


@pytest.mark.parametrize("fraction", FRACTIONS)
def test_truncated_trace_is_refused(whole: Path, tmp_path: Path, fraction: float) -> None:
    content = whole.read_bytes()
    cut = tmp_path / "cut.h5"
    cut.write_bytes(content[: int(len(content) * fraction)])
    for pair in ((whole, cut), (cut, whole)):
        with pytest.raises(
            InputError, match=r"cut\.h5: not a readable HDF5 file; expected a trace"
        ):
            compare(*pair)


@pytest.mark.parametrize("lost", [1, 8, 512, 4096])
def test_trace_that_lost_its_end_is_refused(whole: Path, tmp_path: Path, lost: int) -> None:
    cut = tmp_path / "cut.h5"
    cut.write_bytes(whole.read_bytes()[:-lost])
    with pytest.raises(InputError, match=r"cut\.h5: not a readable HDF5 file"):
        compare(whole, cut)


@pytest.mark.parametrize("seed", range(40))
def test_overwritten_bytes_never_make_a_false_agreement(
    whole: Path, tmp_path: Path, seed: int
) -> None:
    generator = np.random.default_rng(seed)
    content = bytearray(whole.read_bytes())
    with h5py.File(whole) as file:
        datasets = [file[f"taps/{LAST}"]]
        file.visititems(lambda _, d: datasets.append(d) if isinstance(d, h5py.Dataset) else None)
        spans = [
            (d.id.get_offset(), d.id.get_offset() + d.nbytes)
            for d in datasets
            if d.id.get_offset() is not None
        ]
    # Everything but the numbers themselves: the structure that leads to them.
    structure = np.ones(len(content), bool)
    for start, end in spans:
        structure[start:end] = False
    for place in generator.choice(np.flatnonzero(structure), size=1 + seed % 20):
        content[place] = generator.integers(256)
    damaged = tmp_path / "damaged.h5"
    damaged.write_bytes(content)
    try:
        comparison = compare(whole, damaged)
    except InputError as error:
        assert str(error).startswith(str(tmp_path))
        return
    if comparison.verdict is Verdict.AGREE:
        with h5py.File(whole) as first, h5py.File(damaged) as second:
            assert np.array_equal(first[f"taps/{LAST}"][()], second[f"taps/{LAST}"][()])
        assert comparison.compared == 1


@pytest.mark.parametrize("seed", range(20))
def test_overwritten_numbers_are_seen(whole: Path, tmp_path: Path, seed: int) -> None:
    generator = np.random.default_rng(seed)
    content = bytearray(whole.read_bytes())
    with h5py.File(whole) as file:
        start = file[f"taps/{LAST}"].id.get_offset()
    # The high byte of one float32: sign and exponent.
    content[start + 4 * int(generator.integers(156 * 3)) + 3] ^= 0x42
    damaged = tmp_path / "damaged.h5"
    damaged.write_bytes(content)
    comparison = compare(whole, damaged)
    assert comparison.first_divergence == LAST
    assert comparison.taps[0].mismatched == 1


def test_damaged_packing_is_refused(build: Build) -> None:
    packed = np.zeros((156, 3), np.float32)
    packed[:, 0] = np.arange(156)

    def edit(file: h5py.File) -> None:
        del file[f"taps/{LAST}"]
        file.create_dataset(f"taps/{LAST}", data=packed, compression="gzip", fletcher32=True)

    first, second = (build(name, edit=edit) for name in ("reference", "candidate"))
    assert compare(first, second).verdict is Verdict.AGREE
    with h5py.File(second) as file:
        chunk = file[f"taps/{LAST}"].id.get_chunk_info(0)
    content = bytearray(second.read_bytes())
    content[chunk.byte_offset + chunk.size // 2] ^= 0xFF
    second.write_bytes(content)
    with pytest.raises(InputError, match=rf"/taps/{LAST} cannot be read .*an undamaged trace"):
        compare(first, second)


def test_surprising_json_is_told(build: Build) -> None:
    path = build("t", attributes={"unmatched": json.dumps({"\x1b[31m": ["a", {"b": 1}]})})
    comparison = compare(path, path)
    assert comparison.unmatched == {"\x1b[31m": "['a', {'b': 1}]"}
