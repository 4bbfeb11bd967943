from collections.abc import Callable

import numpy as np
import pytest

from parity.verdict.result import Comparison
from reports.figures.differences import image
from reports.figures.ulps import ulp_counts, ulps_figure

Planted = Callable[[str], Comparison]


@pytest.fixture
def counted(planted: Planted) -> tuple[Comparison, np.ndarray]:
    """The state "differ", tap k's elements in the classes 0 to k mod 7."""
    comparison = planted("differ")
    samples = [
        {"ulps": {"counts": [10**5 >> k for k in range(1 + tap.order % 7)], "not_finite": 0}}
        for tap in comparison.taps
    ]
    samples[3] = None
    samples[4] = {"ulps": None}  # the sides are of two types
    counts = ulp_counts(samples)
    assert counts is not None
    return comparison, counts


def test_counts_by_class_and_tap(counted: tuple[Comparison, np.ndarray]) -> None:
    _, counts = counted
    assert counts.shape == (7, 86)
    assert counts[:, 2].tolist() == [100000, 50000, 25000, 0, 0, 0, 0]
    assert not counts[:, 3:5].any()


@pytest.mark.parametrize("samples", [[], [None], [{}], [{"ulps": {"counts": []}}]])
def test_without_counts_there_is_no_figure(samples: list[dict[str, object] | None]) -> None:
    assert ulp_counts(samples) is None


def test_shares_are_those_of_each_tap(counted: tuple[Comparison, np.ndarray]) -> None:
    comparison, counts = counted
    upper, lower, _ = ulps_figure(comparison, counts).axes
    (mesh,) = upper.collections
    shown = np.ma.filled(mesh.get_array(), np.nan).reshape(counts.shape)
    for place in (0, 6, 85):
        column = counts[:, place] / counts[:, place].sum()
        assert shown[:, place] == pytest.approx(np.where(column > 0, column, np.nan), nan_ok=True)
    assert np.isnan(shown[:, 3:5]).all()
    lines = {line.get_label(): line.get_ydata() for line in lower.get_lines()}
    assert list(lines) == ["CNN", "block 1", "block 2", "block 3"]
    network = counts[:, :18].sum(axis=1)
    assert lines["CNN"] == pytest.approx(network / network.sum())


def test_twice_the_same_picture(counted: tuple[Comparison, np.ndarray]) -> None:
    assert image(ulps_figure(*counted), "pdf") == image(ulps_figure(*counted), "pdf")
