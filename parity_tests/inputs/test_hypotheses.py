"""The 43 hypotheses: the project's own, the official ones, and files that hold none."""

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from inputs.graphs import convex_triangles, edges_of
from inputs.hypotheses import Hypotheses, build_hypotheses, load_hypotheses
from weight_conversion.errors import InputError

OWN = build_hypotheses()


def check(hypotheses: Hypotheses) -> None:
    offsets, (identity, scaled) = hypotheses.offsets, hypotheses.supports
    assert offsets.shape == (43, 3)
    assert hypotheses.supports.shape == (2, 43, 43)
    assert offsets.dtype == hypotheses.supports.dtype == np.float32
    np.testing.assert_array_equal(offsets[0], 0)
    np.testing.assert_allclose(np.linalg.norm(offsets[1:], axis=1), 0.02, atol=1e-7)
    np.testing.assert_array_equal(identity, np.eye(43))
    np.testing.assert_array_equal(scaled, scaled.T)
    # 42 spokes and the 120 edges of the hull; twice each, and the diagonal.
    assert np.count_nonzero(scaled) == 43 + 2 * (42 + 120)
    assert np.count_nonzero(scaled[0]) == 43
    assert set(np.count_nonzero(scaled[1:], axis=1)) == {7, 8}
    values = np.linalg.eigvalsh(scaled.astype(np.float64))
    assert values[0] == pytest.approx(-1, abs=1e-6)
    assert values[-1] == pytest.approx(1, abs=1e-6)
    assert values[1] > -0.9


def test_own() -> None:
    check(OWN)


def test_own_is_spread_evenly() -> None:
    distances = np.linalg.norm(OWN.offsets[1:, None] - OWN.offsets[None, 1:], axis=2)
    nearest = np.sort(distances, axis=1)[:, 1]
    np.testing.assert_allclose(nearest.min(), nearest.max(), rtol=1e-5)


def test_official(official: Path) -> None:
    path = official / "template" / "pami_p2mpp.dat"
    hypotheses = load_hypotheses(path)
    check(hypotheses)
    with path.open("rb") as stream:
        data = pickle.load(stream)
    np.testing.assert_allclose(hypotheses.offsets[1:], data["sample_coord"], atol=1e-9)
    # The hull's edges are those of the graph that the file has for the 42 points.
    pairs = data["sample_cheb"][1][0]
    listed = {tuple(pair) for pair in pairs.tolist() if pair[0] < pair[1]}
    hull = edges_of(convex_triangles(hypotheses.offsets[1:].astype(np.float64)))
    assert {tuple(pair) for pair in hull.tolist()} == listed


POINTS = OWN.offsets.astype(np.float64)
DENSE = list(OWN.supports)
SPOILED: dict[str, tuple[Any, str]] = {
    "list": ([POINTS], "holds a list, no hypotheses"),
    "no-points": ({"a": 1}, "has no entry 'sample_coord' (it has 'a')"),
    "two-columns": ({"sample_coord": POINTS[1:, :2]}, "sample_coord: has shape (42, 2)"),
    "41-points": ({"sample_coord": POINTS[2:]}, "sample_coord: has 41 points; expected 43, or 42"),
    "nan": ({"sample_coord": POINTS[1:] * np.nan}, "sample_coord: 126 of 126 values are NaN"),
    "one-inside": (
        {"sample_coord": np.vstack([POINTS[1:42], POINTS[1:2] / 2])},
        "sample_coord: some points are not corners of the convex hull",
    ),
    "on-a-plane": ({"sample_coord": POINTS[1:] * [1, 1, 0]}, "convex hull"),
    "no-supports": ({"sample_coord": POINTS}, "has no entry 'sample_cheb_dense'"),
    "one-support": (
        {"sample_coord": POINTS, "sample_cheb_dense": DENSE[:1]},
        "sample_cheb_dense: has 1 items; expected 2",
    ),
    "small-support": (
        {"sample_coord": POINTS, "sample_cheb_dense": [DENSE[0], DENSE[1][1:, 1:]]},
        "sample_cheb_dense[1]: has shape (42, 42)",
    ),
    "inf-support": (
        {"sample_coord": POINTS, "sample_cheb_dense": [DENSE[0], DENSE[1] + np.inf]},
        "sample_cheb_dense[1]: 1849 of 1849 values are NaN",
    ),
}


@pytest.mark.parametrize("name", SPOILED)
def test_refuses(name: str, tmp_path: Path) -> None:
    value, message = SPOILED[name]
    path = tmp_path / "h.dat"
    path.write_bytes(pickle.dumps(value))
    with pytest.raises(InputError) as caught:
        load_hypotheses(path)
    assert message in str(caught.value)


def test_one_array_of_both_supports_will_do(tmp_path: Path) -> None:
    data = {"sample_coord": POINTS, "sample_cheb_dense": OWN.supports}
    (tmp_path / "h.dat").write_bytes(pickle.dumps(data))
    np.testing.assert_array_equal(load_hypotheses(tmp_path / "h.dat").supports, OWN.supports)
