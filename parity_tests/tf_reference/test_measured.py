from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from tf_reference.measured import checked_measured
from weight_conversion.errors import InputError

Of = Callable[[str], dict[str, Any]]


def test_surfaces_follow_the_template(measured_inputs: Of) -> None:
    inputs = measured_inputs("coarse")
    template, samples = inputs["template"], inputs["samples"]
    measured = checked_measured("coarse", inputs)
    assert [len(surface.edges) for surface in measured.surfaces] == [
        len(template.supports[level][1].indices) for level in range(3)
    ]
    for level, surface in enumerate(measured.surfaces):
        drawn = template.faces[level][samples[f"face_{level + 1}"]]
        assert np.array_equal(surface.triangles, drawn)
        table = template.laplace[level]
        for row in (0, len(table) - 1):
            listed = [n for n in surface.neighbours[row] if n < len(table)]
            assert len(listed) == surface.degrees[row]
            assert listed == [n for n in table[row, :8] if n >= 0]


def test_both_refine_blocks_are_measured_on_the_finest_level(measured_inputs: Of) -> None:
    inputs = measured_inputs("refine")
    measured = checked_measured("refine", inputs)
    assert [len(surface.degrees) for surface in measured.surfaces] == [2466, 2466]
    second = inputs["template"].faces[2][inputs["samples"]["face_2"]]
    assert np.array_equal(measured.surfaces[1].triangles, second)


def test_missing_normals_stay_missing(measured_inputs: Of) -> None:
    inputs = measured_inputs("coarse")
    bare = SimpleNamespace(points=inputs["ground_truth"].points, normals=None)
    assert checked_measured("coarse", inputs | {"ground_truth": bare}).normals is None


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("face_2", None, "samples/face_2: missing"),
        ("face_1", np.array([308]), "samples/face_1: triangle 308; expected 0 to 307"),
        ("face_1", np.array([-1]), "samples/face_1: triangle -1"),
        ("face_1", np.array([0.5]), "samples/face_1: shape .* of float64; expected a list"),
        ("face_1", np.zeros(0, int), "samples/face_1: shape"),
        ("r1_1", np.zeros(3), r"samples/r1_1: shape \(3,\)"),
        ("r2_3", np.full(4000, 1.5), r"samples/r2_3: numbers outside \[0, 1\)"),
        ("r2_3", np.full(4000, np.nan), r"samples/r2_3: numbers outside \[0, 1\)"),
    ],
)
def test_bad_samples(measured_inputs: Of, name: str, value: Any, message: str) -> None:
    inputs = measured_inputs("coarse")
    samples = {**inputs["samples"], name: value}
    with pytest.raises(InputError, match=message):
        checked_measured("coarse", inputs | {"samples": samples})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"ground_truth": None}, "inputs/ground_truth: missing"),
        ({"samples": None}, "inputs/samples: missing"),
        ({"samples": [1, 2]}, "inputs/samples: list"),
        ({"template": 4}, "inputs/template: int"),
        (
            {"ground_truth": SimpleNamespace(points=np.zeros((0, 3)), normals=None)},
            "inputs/ground_truth: no points",
        ),
        (
            {"ground_truth": SimpleNamespace(points=np.ones((4, 3)), normals=np.ones((3, 3)))},
            "inputs/ground_truth normals: shape",
        ),
    ],
)
def test_bad_inputs(measured_inputs: Of, change: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        checked_measured("coarse", measured_inputs("coarse") | change)
