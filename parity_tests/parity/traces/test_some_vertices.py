"""Traces of some vertices of a network that mixes none, and what is judged by them."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from network.registry import network_of, registered
from parity.oracle import chunks
from parity.traces.backends import BackendChoice
from parity.traces.by_vertices import some_windows, windows_of
from parity.traces.record import record
from parity.traces.trace import open_trace
from parity.traces.writer import seal
from parity.verdict.compare import compare
from parity.verdict.measure import difference
from parity.verdict.pair import PairPaths
from parity.verdict.result import Status, Verdict
from parity_tests.network import vertexwise
from reports.page.samples import tap_sample
from reports.text.message import sentence
from reports.text.told import coverage_words
from weight_conversion.errors import InputError

WINDOWS = [(0, 138), (138, 276), (276, 300)]
ASKED = 140
"""Vertices asked for: two windows, the first and the one half way through."""
RECORDED = [(0, 138), (138, 276)]


@pytest.fixture(autouse=True)
def small_network(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(chunks, "PART", vertexwise.PART)
    with registered(vertexwise.NETWORK):
        yield


def traces(folder: Path, vertices: int | None = ASKED, **options: Any) -> PairPaths:
    """Two traces of the small network, alike."""
    paths = PairPaths.in_folder(folder)
    choice = BackendChoice("parity_tests.network.vertexwise:factory")
    for path in (paths.reference, paths.candidate):
        record(
            choice, vertexwise.inputs(), vertexwise.weights(), path, vertices=vertices, **options
        )
    return paths


def ranges(windows: list[slice]) -> list[tuple[int, int]]:
    return [(each.start, each.stop) for each in windows]


@pytest.mark.parametrize(
    ("vertices", "expected"),
    [
        (1, WINDOWS[:1]),
        (138, WINDOWS[:1]),
        (139, [WINDOWS[0], WINDOWS[1]]),
        (277, []),  # all of them
        (10**9, []),
        (None, []),
    ],
)
def test_windows_are_whole_and_of_as_many_vertices_as_are_asked_for(
    vertices: int | None, expected: list[tuple[int, int]]
) -> None:
    assert ranges(windows_of(vertexwise.NAME)) == WINDOWS
    assert ranges(some_windows(vertexwise.NAME, vertices)) == expected


@pytest.mark.parametrize("vertices", [1, 276, 1000, 2465])
def test_windows_are_spread_over_the_mesh(vertices: int) -> None:
    # With the true size of a part.
    chunks_, whole = some_windows("refine", vertices), windows_of("refine")
    starts = [each.start for each in chunks_] or [each.start for each in whole]
    assert starts[0] == 0
    steps = np.diff([*starts, network_of("refine").starts_with])
    assert steps.max() <= 2 * steps[:-1].min(initial=steps.max())


@pytest.mark.parametrize("float64", [True, False])
def test_what_was_not_asked_for_takes_no_room(tmp_path: Path, float64: bool) -> None:
    some, whole = tmp_path / "some", tmp_path / "whole"
    for folder in (some, whole):
        folder.mkdir()
    some, whole = traces(some, float64=float64), traces(whole, None, float64=float64)
    with open_trace(some.candidate) as few, open_trace(whole.candidate) as all_of_them:
        assert few.header.vertices == tuple(RECORDED)
        assert ranges(few.recorded) == RECORDED
        assert ranges(all_of_them.recorded) == [(0, 300)]
        for group in ("taps", "float64") if float64 else ("taps",):
            for row in vertexwise.NETWORK.taps:
                sides = (each.values(group, row.name, None) for each in (few, all_of_them))
                values, expected = sides
                end = 276 * (row.rows_per_vertex or 1)
                np.testing.assert_array_equal(values[:end], expected[:end])
                assert not values[end:].any()
                assert expected[end:].all()


def test_they_are_judged_there_and_the_report_says_so(tmp_path: Path) -> None:
    paths = traces(tmp_path)
    found = compare(paths.reference, paths.candidate)
    assert found.verdict is Verdict.AGREE
    assert found.basis == "float64"
    assert found.vertices == (276, 300)
    assert found.to_json()["vertices"] == [276, 300]
    note = "layers were judged at 276 of 300 vertices: what is wrong at others alone is not seen"
    assert note in found.notes
    assert ", at 276 of 300 vertices" in coverage_words(found)
    assert sentence(found) == "around: agree (3 taps compared at 276 of 300 vertices: 3 agree)"
    whole = compare(*vars(traces(tmp_path, None)).values())
    assert whole.vertices is None
    assert not [each for each in whole.notes if "vertices" in each]


def test_only_what_is_there_is_counted(tmp_path: Path) -> None:
    paths = traces(tmp_path)
    count = 276 * vertexwise.WIDTH
    found = compare(paths.reference, paths.candidate).taps[-1]
    assert (found.shape, found.size) == ((300, vertexwise.WIDTH), count)
    for path in vars(paths).values():
        with h5py.File(path, "r+") as file:
            file["taps/summed"][:276] = np.nan
    found = compare(paths.reference, paths.candidate)
    assert f"{count} elements NaN on both sides" in found.taps[-1].note
    # Nothing is known of a tap that is NaN wherever it was recorded.
    assert any(
        note.startswith("1 entries are NaN throughout on both sides") for note in found.notes
    )


@pytest.mark.parametrize("group", ["taps", "float64"])
@pytest.mark.parametrize(
    ("vertex", "verdict"), [(3, Verdict.DIFFER), (275, Verdict.DIFFER), (276, Verdict.AGREE)]
)
def test_a_fault_is_seen_where_there_are_vertices(
    tmp_path: Path, vertex: int, verdict: Verdict, group: str
) -> None:
    paths = traces(tmp_path)
    with h5py.File(paths.candidate, "r+") as file:
        file[f"{group}/summed"][vertex] *= 1.001
    found = compare(paths.reference, paths.candidate)
    assert found.verdict is verdict
    tap = found.taps[-1]
    if verdict is Verdict.DIFFER:
        assert tap.status is Status.DIFFER
        assert found.first_divergence == "summed"
        if group == "taps":
            assert tap.at is not None and tap.at[0] == vertex


def test_differences_and_pictures_leave_out_what_is_not_there(tmp_path: Path) -> None:
    paths = traces(tmp_path)
    with h5py.File(paths.candidate, "r+") as file:
        file["taps/summed"][:] += 1.0  # where nothing was recorded too
    found = compare(paths.reference, paths.candidate)
    with open_trace(paths.reference) as first, open_trace(paths.candidate) as second:
        measured = difference(first, second, "taps", "summed")
        assert measured.max_abs == pytest.approx(1.0)
        assert 0 < measured.rms_rel < 10
        sample = tap_sample(first, second, found.taps[-1], vertices=300)
    assert sample is not None
    assert "276 of 276 rows and 6 of 6 channels" in " ".join(sample["patterns"])
    assert all(each["at"][0] < 276 for each in sample["worst"])
    assert sample["histogram"]["identical"] == 0
    assert sum(sample["histogram"]["counts"]) == 276 * vertexwise.WIDTH


def test_two_traces_are_of_the_same_vertices(tmp_path: Path) -> None:
    some, few = traces(tmp_path), tmp_path / "few"
    few.mkdir()
    one, whole = traces(few, 1).candidate, tmp_path / "whole.h5"
    traces(few, None).candidate.rename(whole)
    one = traces(few, 1).candidate
    said = r"recorded at vertices 0 to 137; expected vertices 0 to 137, 138 to 275, as in"
    with pytest.raises(InputError, match=said):
        compare(some.reference, one)
    with pytest.raises(InputError, match=r"recorded at all vertices; expected vertices 0 to 137"):
        compare(some.reference, whole)


@pytest.mark.parametrize(
    "value",
    [
        "[[0, 301]]",
        "[[0, 138], [100, 200]]",
        "[[138, 276], [0, 138]]",
        "[[5, 5]]",
        "[[-1, 10]]",
        "[[0, 138.5]]",
        "[[0, true]]",
        "[[0]]",
        "[[0, 1, 2]]",
        '["0-138"]',
        "[0, 138]",
        "{}",
        "[[0, 138]",
    ],
)
def test_no_trace_says_nonsense_of_its_vertices(tmp_path: Path, value: str) -> None:
    path = traces(tmp_path).candidate
    with h5py.File(path, "r+") as file:
        file.attrs["vertices"] = value
        seal(file)
    with pytest.raises(InputError, match="root attribute 'vertices' is"), open_trace(path):
        pass


def test_a_network_that_mixes_vertices_has_no_such_trace(tmp_path: Path) -> None:
    path = traces(tmp_path).candidate
    with h5py.File(path, "r+") as file:
        file.attrs["stage"], file.attrs["vertices"] = "coarse", json.dumps([[0, 10]])
        seal(file)
    with pytest.raises(InputError, match="expected none in this stage"), open_trace(path):
        pass
    with pytest.raises(InputError, match="--vertices: given for the coarse stage alone"):
        some_windows("coarse", 10)
    with pytest.raises(InputError, match="--vertices: given with --gradients"):
        some_windows("refine", 10, gradients=True)
