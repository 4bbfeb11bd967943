"""Bytes that nobody wrote: read, or refused in one line; the blind, seeded form of the harness."""

import json
import runpy
import sys
import time
from pathlib import Path

import pytest
from click.testing import CliRunner

from benchmarks import fuzzing
from benchmarks.fuzz_mutations import mutants
from benchmarks.fuzz_targets import BY_NAME, TARGETS, Target, feed
from weight_conversion.containers import hdf5
from weight_conversion.errors import InputError

COUNT = 150
BLIND = [target for target in TARGETS if target.guard is None]
"""A damaged trace may keep this very process busy for ever: ``test_damage`` has another one."""


@pytest.mark.parametrize("target", BLIND, ids=lambda target: target.name)
def test_readers_read_or_refuse(
    target: Target, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hdf5, "probe", lambda *_: None)  # a process for each file
    corpus = list(target.corpus())
    found, slowest = [], 0.0
    for content in mutants(corpus, COUNT, seed=5):
        start = time.process_time()
        found.append(feed(target, tmp_path, content))
        slowest = max(slowest, time.process_time() - start)
    assert "refused" in found
    assert slowest < fuzzing.PATIENCE


READ = ("trace", "training state", "report", "png", "png chunks", "obj", "ply", "stl", "off",
        "port map", "cameras", "xyz", "samples", "item")  # fmt: skip


@pytest.mark.parametrize("name", READ)
def test_sound_files_are_read(name: str, tmp_path: Path) -> None:
    target = BY_NAME[name]
    assert "read" in {feed(target, tmp_path, content) for content in target.corpus()}


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (InputError("elsewhere", "bad", "good"), "no path"),
        (InputError("{path}", "bad"), "nothing said to be expected"),
        (ValueError("a reader's own"), "a reader's own"),
    ],
)
def test_a_reader_that_lets_something_through_is_found_out(
    error: Exception, words: str, tmp_path: Path
) -> None:
    def read(path: Path) -> None:
        error.args = (str(error).replace("{path}", str(path)),)
        raise error

    target = Target("bad", lambda: iter([b"x"]), lambda folder, _: folder / "x", read)
    with pytest.raises((AssertionError, ValueError), match=words):
        feed(target, tmp_path, b"x")


def test_mutants_are_the_same_every_time() -> None:
    first, second = (list(mutants([b"0123456789", b"abc"], 200, 1)) for _ in range(2))
    assert first == second
    assert len(set(first)) > 150


def test_what_stops_the_fuzzer_is_given_once_more_to_the_program(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where the harness is run by ``python -m``, which names the module ``__main__``."""
    monkeypatch.delitem(sys.modules, "benchmarks.fuzzing")
    harness = runpy.run_path(fuzzing.__file__, run_name="__name_of_a_program__")
    (tmp_path / "x").write_bytes(b"0 30 0 0.8 25\n0 no number\n")
    assert harness["_confirmed"]("cameras", tmp_path / "x") is None


@pytest.mark.slow
def test_with_atheris() -> None:
    pytest.importorskip("atheris", reason="fuzzing with coverage needs the package atheris")
    done = CliRunner().invoke(
        fuzzing.main, ["--runs", "200", "--target", "cameras", "--target", "trace", "--json"]
    )
    cameras, trace = json.loads(done.stdout)
    assert (done.exit_code, cameras["faults"], trace["faults"]) == (0, [], [])
    assert cameras["inputs"] >= 200
    assert cameras["coverage"] > 20
