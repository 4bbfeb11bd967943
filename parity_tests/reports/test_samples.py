"""Samples of traces in which the differences are planted."""

import base64
import math
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from parity.traces.trace import TraceHeader, open_trace
from parity.traces.writer import TraceWriter
from parity.verdict.result import Status, TapResult
from reports.page import samples
from reports.page.samples import ACROSS, BANDS, tap_sample

Sampled = Callable[[np.ndarray, np.ndarray], dict[str, Any]]
TAP = "cnn.conv2d_1"


def write(path: Path, values: np.ndarray) -> Path:
    dtype = str(values.dtype)
    header = TraceHeader("coarse", "torch", dtype, "cpu", "a" * 64, "b" * 64)
    with TraceWriter(path, header, {TAP: 0}) as writer:
        writer.tap(TAP, values)
    return path


@pytest.fixture
def sampled(tmp_path: Path) -> Sampled:
    """The sample of a tap that holds the given values on the two sides."""

    def sample(reference: np.ndarray, candidate: np.ndarray, vertices: int = 0) -> Any:
        paths = [
            write(tmp_path / f"{name}.h5", values)
            for name, values in (("reference", reference), ("candidate", candidate))
        ]
        finite = reference[np.isfinite(reference)]
        scale = float(np.abs(finite).max(initial=0.0))
        entry = TapResult(TAP, 0, Status.AGREE, reference.shape, "float32", scale=scale)
        with ExitStack() as stack:
            sides = [stack.enter_context(open_trace(path)) for path in paths]
            return tap_sample(*sides, entry, vertices)

    return sample


def noisy(shape: tuple[int, ...], dtype: str = "float32") -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(3)
    reference = generator.normal(size=shape).astype(dtype)
    candidate = (reference + generator.normal(size=shape) * 1e-5).astype(dtype)
    return reference, candidate


SHAPES = [(3, 70, 70, 5), (300, 7), (200, 9, 4), (900,), (3, 4, 4, 700)]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("slab", [2**17, 1500])
def test_worst_elements_and_histogram_are_those_of_the_whole_tap(
    sampled: Sampled,
    monkeypatch: pytest.MonkeyPatch,
    shape: tuple[int, ...],
    dtype: str,
    slab: int,
) -> None:
    monkeypatch.setattr(samples, "SLAB", slab)
    reference, candidate = noisy(shape, dtype)
    found = sampled(reference, candidate)
    r, c = reference.astype(np.float64), candidate.astype(np.float64)
    delta = np.abs(c - r)
    order = np.sort(delta.ravel())[::-1]
    assert [element["difference"] for element in found["worst"]] == order[:10].tolist()
    for element in found["worst"]:
        at = tuple(element["at"])
        assert (r[at], c[at]) == (element["reference"], element["candidate"])
    histogram = found["histogram"]
    assert sum(histogram["counts"]) + histogram["identical"] == delta.size
    assert histogram["identical"] == np.count_nonzero(delta == 0)
    unit = 2.0 ** histogram["unit_exponent"]
    assert unit / 2 <= np.abs(r).max() < unit
    low = unit * 2.0 ** (histogram["first"] - 1)
    # The pass over float32 takes the difference in float32: at an octave's border one may move.
    inside = np.count_nonzero((delta >= low) & (delta < 2 * low))
    assert histogram["counts"][0] == pytest.approx(inside, abs=1)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_the_overview_misses_no_element(sampled: Sampled, shape: tuple[int, ...]) -> None:
    reference, candidate = noisy(shape)
    row, channel = math.prod(shape[:-1]) - 1, shape[-1] - 1
    candidate.reshape(-1, shape[-1])[row, channel] += 1.0
    overview = sampled(reference, candidate)["overview"]
    height, width = overview["shape"]
    assert height <= BANDS
    assert width <= BANDS
    levels = np.frombuffer(base64.b64decode(overview["levels"]), np.uint8).reshape(height, width)
    assert levels.argmax() == levels.size - 1
    assert overview["top"] == pytest.approx(1.0, rel=1e-3)
    assert overview["rows"] * height > row
    assert overview["channels"] * width > channel


def picture(found: dict[str, Any], side: str) -> np.ndarray:
    levels = np.frombuffer(base64.b64decode(found[side]["shades"]), np.uint8)
    low, high = found[side]["low"], found[side]["high"]
    return np.asarray((low + (high - low) * levels / 254).reshape(found["shape"]))


def test_a_map_s_slices_show_the_pixel_that_differs(sampled: Sampled) -> None:
    reference, candidate = noisy((3, 112, 112, 4))
    candidate[1, 71, 33, 2] += 1.0
    slices = sampled(reference, candidate)["slices"]
    assert [found["title"] for found in slices] == [f"view {k}, channel 2" for k in range(3)]
    assert slices[1]["shape"] == [ACROSS, ACROSS]
    assert slices[1]["cell"] == [2, 2]
    difference = picture(slices[1], "difference")
    assert np.unravel_index(difference.argmax(), difference.shape) == (35, 16)
    # All three pictures show the same element of the cell.
    r = picture(slices[1], "reference")[35, 16]
    c = picture(slices[1], "candidate")[35, 16]
    assert c - r == pytest.approx(1.0, abs=0.05)
    assert r == pytest.approx(reference[1, 71, 33, 2], abs=0.05)


def test_rows_that_differ_are_shown_by_their_numbers(sampled: Sampled) -> None:
    reference, candidate = noisy((156, 192))
    for row in (3, 77, 150):
        candidate[row, 5] += 1.0
    (found,) = sampled(reference, candidate)["slices"]
    assert set(found["rows"]) >= {3, 77, 150}
    assert found["rows"] == sorted(found["rows"])
    shown = picture(found, "difference").max(axis=1)
    assert {found["rows"][i] for i in np.flatnonzero(shown > 0.5)} == {3, 77, 150}


def test_a_vertex_s_hypotheses_are_shown(sampled: Sampled) -> None:
    reference, candidate = noisy((50, 43, 12))
    candidate[31, 7, 4] -= 1.0
    (found,) = sampled(reference, candidate)["slices"]
    assert found["title"] == "vertex 31"
    difference = picture(found, "difference")
    assert np.unravel_index(difference.argmin(), difference.shape) == (7, 4)


@pytest.mark.parametrize(
    ("shape", "vertices", "rows"),
    [((156, 5), 2466, 156), ((30, 4, 5), 30, 30), ((90, 5), 30, 30), ((90, 5), 40, None),
     ((3, 4, 4, 5), 30, None), ((90, 5), 0, None)],
)  # fmt: skip
def test_each_vertex_has_its_greatest_difference(
    sampled: Any, shape: tuple[int, ...], vertices: int, rows: int | None
) -> None:
    reference, candidate = noisy(shape)
    found = sampled(reference, candidate, vertices)["greatest"]
    if rows is None:
        assert found is None
        return
    values = np.frombuffer(base64.b64decode(found), "<f4")
    delta = np.abs(candidate - reference).reshape(rows, -1).max(axis=1)
    np.testing.assert_allclose(values, delta, rtol=1e-6)


def test_nan_on_one_side_is_the_worst_and_on_both_is_nothing(sampled: Sampled) -> None:
    reference, candidate = noisy((20, 6))
    reference[4, 1] = candidate[4, 1] = np.nan
    reference[5, 1] = candidate[5, 1] = np.inf
    candidate[9, 2] = np.nan
    found = sampled(reference, candidate)
    assert found["worst"][0] == {
        "at": [9, 2], "difference": "inf", "reference": float(reference[9, 2]), "candidate": "NaN",
        "what": "",
    }  # fmt: skip
    assert all(element["at"] not in ([4, 1], [5, 1]) for element in found["worst"])
    assert found["histogram"]["not_finite"] == 1
    assert sum(found["histogram"]["counts"]) + found["histogram"]["identical"] == 119


def test_identical_sides(sampled: Sampled) -> None:
    reference, _ = noisy((20, 6))
    found = sampled(reference, reference.copy())
    assert found["worst"] == []
    assert found["histogram"]["counts"] == []
    assert found["histogram"]["identical"] == 120


@pytest.mark.parametrize("shapes", [((3, 4), (4, 3)), ((0, 3), (0, 3))])
def test_what_cannot_be_laid_side_by_side_has_no_sample(
    sampled: Sampled, shapes: tuple[tuple[int, ...], tuple[int, ...]]
) -> None:
    first, second = (np.ones(shape, np.float32) for shape in shapes)
    assert sampled(first, second) is None


def test_a_scalar_has_no_slices(sampled: Sampled) -> None:
    found = sampled(np.float32(1.0).reshape(()), np.float32(1.5).reshape(()))
    assert found["slices"] == []
    assert found["worst"] == [
        {"at": [], "difference": 0.5, "reference": 1.0, "candidate": 1.5, "what": ""}
    ]
