"""Damaged files of every format that is written: refused, or read as if they were whole."""

import json
from collections import Counter
from pathlib import Path

import pytest
from click.testing import CliRunner

import benchmarks.damage as damage
from benchmarks.damage import SAMPLES, Damage, Reader, Sample, damages
from weight_conversion.formats import FORMATS

FLIPS, CUTS = 200, 20
BY_NAME = {sample.name: sample for sample in SAMPLES}


def test_every_format_that_is_written_is_tried() -> None:
    assert set(BY_NAME) == {form.name for form in FORMATS} | {"trace"}


# A trace's texts lie in a heap whose damage can make the HDF5 library loop for ever, which only
# another process survives: its flips are tried below.
@pytest.mark.parametrize("name", [name for name in BY_NAME if name != "trace"])
def test_no_damage_changes_a_value(name: str, tmp_path: Path) -> None:
    reader = Reader(BY_NAME[name], tmp_path)
    found = {planned: reader.outcome(planned) for planned in damages(reader.files, FLIPS, CUTS, 3)}
    assert {d: o for d, o in found.items() if o not in ("refused", "unchanged")} == {}
    assert Counter(found.values())["refused"] > FLIPS / 4
    assert all(outcome == "refused" for d, outcome in found.items() if d.bit is None)


def test_damage_to_a_trace_in_another_process() -> None:
    found = damage.study(BY_NAME["trace"], 100, 20, seed=4)
    assert found["faults"] == []
    assert sum(found["flips"].values()) == 100
    assert found["flips"]["refused"] > 30
    assert found["cuts"]["refused"] == 20


def trusting(path: Path) -> dict[str, object]:
    """A reader that checks nothing; it crashes on some files."""
    content = path.read_bytes()
    if content[2] != 2:
        raise ValueError("a reader's own trouble")
    return {"first": content[0]}


def six_bytes(path: Path) -> None:
    path.write_bytes(bytes(range(6)))


TRUSTING = Sample("NumPy", six_bytes, trusting)


@pytest.mark.parametrize(
    ("planned", "outcome"),
    [
        (Damage("x.npz", 0, 3), "changed"),
        (Damage("x.npz", 1, 3), "unchanged"),
        (Damage("x.npz", 2, 0), "crashed"),
        (Damage("x.npz", 1, None), "crashed"),
        (Damage("x.npz", 4, None), "unchanged"),
    ],
)
def test_a_reader_that_checks_nothing_is_found_out(
    planned: Damage, outcome: str, tmp_path: Path
) -> None:
    reader = Reader(TRUSTING, tmp_path)
    assert reader.outcome(planned) == outcome
    assert (tmp_path / "x.npz").read_bytes() == bytes(range(6))  # and whole again


def test_each_bit_is_flipped_once_before_any_is_twice() -> None:
    files = {"a": b"xy", "b": b"z"}
    flips = list(damages(files, 24, 0, 0))
    assert len(set(flips)) == 24
    assert {planned.file for planned in flips} == {"a", "b"}
    cuts = list(damages(files, 0, 50, 0))
    assert {(planned.file, planned.at) for planned in cuts} == {("a", 0), ("a", 1), ("b", 0)}
    assert Damage("a", 1, 0).done_to(b"xy") == b"xx"
    assert Damage("a", 1, None).done_to(b"xy") == b"x"


def test_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(damage, "SAMPLES", (BY_NAME["TensorFlow 1 checkpoint"],))
    done = CliRunner().invoke(damage.main, ["--flips", "5", "--cuts", "2", "--json"])
    (found,) = json.loads(done.stdout)
    assert (done.exit_code, found["format"]) == (0, "TensorFlow 1 checkpoint")
    assert found["flips"] == {"refused": 5} | dict.fromkeys(damage.OUTCOMES[1:], 0)
    fault = {"faults": [{"file": "x", "at": 0, "bit": 0, "outcome": "changed"}]}
    monkeypatch.setattr(damage, "study", lambda *_: found | fault)
    assert CliRunner().invoke(damage.main, ["--json"]).exit_code == 1
