import numpy as np
import pytest

from tf_reference.decisions import OUTSIDE, as_int16, checked_pinned, decision_shapes
from weight_conversion.errors import InputError

COARSE = {
    "graph_proj_1_layer_0": (3, 156, 2),
    "graph_proj_2_layer_15": (3, 156, 2),
    "graph_proj_3_layer_31": (3, 618, 2),
}
REFINE = {
    "graph_localproj_1_layer_1": (3, 106038, 2, 2),
    "graph_localproj_2_layer_4": (3, 106038, 2, 2),
}


@pytest.mark.parametrize(("stage", "shapes"), [("coarse", COARSE), ("refine", REFINE)])
def test_shapes(stage: str, shapes: dict[str, tuple[int, ...]]) -> None:
    assert decision_shapes(stage) == shapes


@pytest.mark.parametrize(
    ("pixel", "recorded"),
    [(0.0, 0), (223.0, 223), (np.nan, OUTSIDE), (np.inf, OUTSIDE), (-(2**31), OUTSIDE), (-1, -1)],
)
def test_as_int16(pixel: float, recorded: int) -> None:
    assert as_int16(np.array([pixel]))[0] == recorded


@pytest.mark.parametrize(
    ("pinned", "message"),
    [
        (
            {"graph_conv_blk1_1_layer_1": np.zeros(3, int)},
            "graph_conv_blk1_1_layer_1: no projection",
        ),
        ({"graph_proj_1_layer_0": np.zeros((3, 157, 2), int)}, r"shape \(3, 157, 2\)"),
        ({"graph_proj_1_layer_0": np.zeros((3, 156, 2))}, "of float64; expected integers"),
    ],
)
def test_bad_pins(pinned: dict[str, np.ndarray], message: str) -> None:
    with pytest.raises(InputError, match=message):
        checked_pinned("coarse", pinned)


def test_no_pins() -> None:
    assert checked_pinned("coarse", None) == {}
