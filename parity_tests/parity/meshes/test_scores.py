"""The official scores against the formula spelled out, distance by distance."""

import numpy as np
import pytest

from parity.meshes.scores import THRESHOLDS, official_scores


def spelled_out(mesh: np.ndarray, points: np.ndarray) -> tuple[float, ...]:
    """As ``cd_distance.py`` and ``f_score.py`` of the authors, without a tree."""
    squared = ((mesh[:, None] - points[None]) ** 2).sum(axis=2)
    there, back = squared.min(axis=1), squared.min(axis=0)
    scores = []
    for threshold in (0.0001, 0.0002):
        p = 100.0 * sum(there <= threshold) / len(mesh)
        r = 100.0 * sum(back <= threshold) / len(points)
        scores.append((2 * p * r) / (p + r + 1e-6))
    return (float(np.mean(there) + np.mean(back)), *scores)


def test_are_the_official_formula() -> None:
    draw = np.random.default_rng(0)
    mesh = draw.uniform(0.0, 0.1, (300, 3))
    points = mesh[:200] + draw.normal(0.0, 0.008, (200, 3))
    found = official_scores(mesh, points)
    expected = spelled_out(mesh, points)
    assert THRESHOLDS == (1e-4, 2e-4)
    assert (found.chamfer_distance, *found.f_scores) == pytest.approx(expected, rel=1e-12)
    assert 10 < found.f_scores[0] < found.f_scores[1] < 95


def test_a_perfect_mesh_and_one_far_off() -> None:
    points = np.random.default_rng(1).uniform(size=(50, 3))
    same = official_scores(points, points)
    assert same.chamfer_distance == 0.0
    assert same.f_scores == pytest.approx((100.0, 100.0), abs=1e-5)
    off = official_scores(points + 3.0, points)
    assert off.f_scores == (0.0, 0.0)
    assert off.chamfer_distance > 1.0
