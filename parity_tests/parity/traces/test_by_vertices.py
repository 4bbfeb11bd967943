"""A run in float64 that is made some vertices at a time, as it is read."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from inputs.demo import demo_item_path
from inputs.hypotheses import build_hypotheses
from inputs.item import load_item
from inputs.seeded import seeded_weights
from inputs.template import build_template
from network.registry import network_of, registered
from parity.oracle import chunks
from parity.oracle.chunks import parts_of
from parity.traces.backends import BackendChoice, Listen
from parity.traces.by_vertices import ByVertices
from parity.traces.port_guard import NarrowError
from parity.traces.record import record
from parity.verdict.compare import compare
from parity.verdict.pair import PairPaths
from parity.verdict.result import Comparison, Status, Verdict
from parity_tests.network import vertexwise
from weight_conversion.errors import InputError


@pytest.fixture(autouse=True)
def five_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """The small network is gone through as a large one is."""
    monkeypatch.setattr(chunks, "PART", vertexwise.PART)


Change = Callable[[dict[str, np.ndarray], slice], None]
"""What a run does to the taps of some vertices before it tells them."""


def unchanged(_taps: dict[str, np.ndarray], _vertices: slice) -> None:
    """A right run."""


class Some:
    """A run of the small network in float64 on some vertices at a time, which counts its calls."""

    def __init__(self, change: Change = unchanged) -> None:
        self.change, self.vertices = change, list[slice]()

    def __call__(self, vertices: slice, listen: Listen) -> None:
        self.vertices.append(vertices)
        run = vertexwise.factory("", "float64", "cpu").run
        found: dict[str, np.ndarray] = {}
        inputs = vertexwise.inputs().mapping()
        inputs["mesh"] = inputs["mesh"][vertices]
        run(inputs, vertexwise.weights().arrays, found.__setitem__)
        self.change(found, vertices)
        for name, value in found.items():
            listen(name, value)

    def later(self) -> ByVertices:
        """What ``record`` leaves; the network is known."""
        return ByVertices(vertexwise.NAME, self, lambda _: True)


@contextmanager
def recorded(folder: Path, **options: Any) -> Iterator[PairPaths]:
    """Two traces of the small network, alike."""
    paths = PairPaths.in_folder(folder)
    choice = BackendChoice("parity_tests.network.vertexwise:factory")
    with registered(vertexwise.NETWORK):
        for path in (paths.reference, paths.candidate):
            record(choice, vertexwise.inputs(), vertexwise.weights(), path, **options)
        yield paths


def test_every_part_is_that_of_the_whole_run() -> None:
    whole: dict[str, np.ndarray] = {}
    with registered(vertexwise.NETWORK):
        backend = vertexwise.factory("", "float64", "cpu")
        backend.run(vertexwise.inputs().mapping(), vertexwise.weights().arrays, whole.__setitem__)
        later = Some().later()
        # From the last to the first, so that what is held has to be made again.
        for row in vertexwise.NETWORK.taps:
            for part in reversed(parts_of(row, [slice(0, vertexwise.VERTICES)])):
                assert part is not None
                rows = row.rows_per_vertex or 1
                expected = whole[row.name][part.start * rows : part.stop * rows]
                np.testing.assert_allclose(later.values(row.name, part), expected, rtol=1e-14)


def test_all_vertices_are_judged_and_each_is_run_once(tmp_path: Path) -> None:
    sides = Some(), Some()
    with recorded(tmp_path, float64=False) as paths:
        later = sides[0].later(), sides[1].later()
        found = compare(paths.reference, paths.candidate, later=later)
    assert found.verdict is Verdict.AGREE and found.basis == "float64"
    assert [tap.float64_roundings is not None for tap in found.taps] == [True] * 3
    for side in sides:
        assert [(each.start, each.stop) for each in side.vertices] == [
            (0, 138),
            (138, 276),
            (276, 300),
        ]


@pytest.mark.parametrize("vertex", [3, vertexwise.VERTICES - 3])
@pytest.mark.parametrize("sides", ["both later", "candidate later"])
def test_a_fault_that_float64_alone_shows_is_found_wherever_it_is(
    tmp_path: Path, vertex: int, sides: str
) -> None:
    def wrong(taps: dict[str, np.ndarray], vertices: slice) -> None:
        if vertices.start <= vertex < vertices.stop:
            taps["summed"] = taps["summed"].copy()
            taps["summed"][vertex - vertices.start] *= 1 + 1e-9

    stored = sides == "candidate later"
    with recorded(tmp_path, float64=stored) as paths:
        later = None if stored else Some().later(), Some(wrong).later()
        found = compare(paths.reference, paths.candidate, later=later)
    assert found.verdict is Verdict.DIFFER
    assert found.first_divergence == "summed"
    assert found.taps[-1].cause == "function"
    assert found.taps[-1].mismatched == vertexwise.WIDTH


def test_what_differs_is_explained_by_the_part_where_it_does(tmp_path: Path) -> None:
    def biased(taps: dict[str, np.ndarray], vertices: slice) -> None:
        if vertices.start:  # in the last vertices alone
            taps[vertexwise.FLAT] = taps[vertexwise.FLAT] + 1e-9 * np.eye(vertexwise.WIDTH)[2]
            shape = (-1, vertexwise.PLACES, vertexwise.WIDTH)
            taps["summed"] = taps[vertexwise.FLAT].reshape(shape).sum(axis=1)

    with recorded(tmp_path, float64=False) as paths:
        later = Some().later(), Some(biased).later()
        found = compare(paths.reference, paths.candidate, later=later)
    assert found.first_divergence == vertexwise.FLAT
    assert found.diagnosis is not None and found.diagnosis.operand == "bias"


@pytest.mark.parametrize("many", [True, False], ids=["throughout", "in one vertex"])
def test_nan_of_both_in_float64_alone_is_not_compared(tmp_path: Path, many: bool) -> None:
    """In their own precision the runs agree there, but that is not what is asked of float64."""

    def undefined(taps: dict[str, np.ndarray], vertices: slice) -> None:
        taps["summed"] = taps["summed"].copy()
        if many:
            taps["summed"][:] = np.nan
        elif vertices.start == 0:
            taps["summed"][5] = np.nan

    with recorded(tmp_path, float64=False) as paths:
        later = Some(undefined).later(), Some(undefined).later()
        found = compare(paths.reference, paths.candidate, later=later)
    counted = vertexwise.WIDTH * (vertexwise.VERTICES if many else 1)
    assert (found.verdict, found.basis) == (Verdict.INVALID, "float64")
    assert found.taps[-1].status is Status.INVALID
    assert f"{counted} elements are NaN on both sides in float64 alone" in found.taps[-1].note
    assert {tap.status for tap in found.taps[:-1]} == {Status.AGREE}


def compared_with_nan(folder: Path, own: int) -> Comparison:
    """Both sides NaN in row 5 in float64, and in row ``own`` in the runs' own precision."""

    def undefined(taps: dict[str, np.ndarray], vertices: slice) -> None:
        if vertices.start == 0:
            taps["summed"] = taps["summed"].copy()
            taps["summed"][5] = np.nan

    with recorded(folder, float64=False) as paths:
        for path in paths.reference, paths.candidate:
            with h5py.File(path, "r+") as file:
                file["taps/summed"][own] = np.nan
        later = Some(undefined).later(), Some(undefined).later()
        return compare(paths.reference, paths.candidate, later=later)


def test_nan_elsewhere_in_the_runs_own_precision_hides_nothing(tmp_path: Path) -> None:
    """As many elements are NaN in both precisions, and not the same ones."""
    found = compared_with_nan(tmp_path, own=7)
    assert found.verdict is Verdict.INVALID
    assert f"{vertexwise.WIDTH} elements are NaN on both sides in float64 alone" in (
        found.taps[-1].note
    )


def test_nan_of_both_in_both_precisions_agrees(tmp_path: Path) -> None:
    found = compared_with_nan(tmp_path, own=5)
    assert found.verdict is Verdict.AGREE
    assert f"{vertexwise.WIDTH} elements NaN on both sides" in found.taps[-1].note


def lost(taps: dict[str, np.ndarray], _: slice) -> None:
    del taps["summed"]


def short(taps: dict[str, np.ndarray], _: slice) -> None:
    taps["summed"] = taps["summed"][1:]


def narrow(taps: dict[str, np.ndarray], _: slice) -> None:
    taps["summed"] = taps["summed"].astype(np.float32)


@pytest.mark.parametrize(
    ("change", "error", "said"),
    [
        (lost, InputError, r"tap summed of 138 vertices: no values; expected \(138, 6\)"),
        (short, InputError, r"tap summed of 138 vertices: \(137, 6\); expected \(138, 6\)"),
        (narrow, NarrowError, "tap summed: float32 in the run in float64"),
    ],
    ids=["lost", "short", "narrow"],
)
def test_what_is_no_tap_of_so_many_vertices_is_refused(
    change: Change, error: type[Exception], said: str
) -> None:
    with registered(vertexwise.NETWORK), pytest.raises(error, match=said):
        Some(change).later().values("summed", slice(0, 10))


def refine_inputs() -> dict[str, Any]:
    template, item = build_template(), load_item(demo_item_path("plane"))
    random = np.random.default_rng(2)
    mesh = random.normal((0, 0, -0.8), 0.1, size=(2466, 3))
    return {
        "images": item.images, "cameras": item.cameras, "mesh": mesh.astype(np.float32),
        "template": template, "hypotheses": build_hypotheses(),
    }  # fmt: skip


def taps_of(
    backend: Any, inputs: Mapping[str, Any], weights: Mapping[str, np.ndarray], vertices: slice
) -> dict[str, np.ndarray]:
    found: dict[str, np.ndarray] = {}

    def listen(name: str, value: np.ndarray) -> None:
        found[name] = np.array(value)

    backend.by_vertices(inputs, weights, listen)(vertices, listen)
    return found


@pytest.mark.parametrize("name", ["torch", "tf"])
def test_the_projects_own_run_some_vertices_of_the_refine_stage(name: str) -> None:
    if name == "tf":
        pytest.importorskip("tensorflow")
    inputs, weights = refine_inputs(), seeded_weights("refine")
    vertices = slice(7, 12)
    found = taps_of(BackendChoice(name).make("refine", "float64", "cpu"), inputs, weights, vertices)
    whole: dict[str, np.ndarray] = {}
    # PyTorch's takes any number of vertices as it is.
    BackendChoice("torch").make("refine", "float64", "cpu").run(
        {**inputs, "mesh": inputs["mesh"][vertices]}, weights,
        lambda tap, value: whole.__setitem__(tap, np.array(value)),
    )  # fmt: skip
    assert list(found) == list(whole) == [row.name for row in network_of("refine").taps]
    for tap, value in whole.items():
        np.testing.assert_allclose(found[tap], value, rtol=1e-9, atol=1e-12, err_msg=tap)


def test_a_port_is_judged_on_the_whole_mesh(tmp_path: Path) -> None:
    with recorded(tmp_path), registered(vertexwise.NETWORK):
        choice = BackendChoice("parity_tests.network.vertexwise:factory")
        left = record(
            choice, vertexwise.inputs(), vertexwise.weights(), tmp_path / "other.h5", whole=False
        )
    assert left is None
