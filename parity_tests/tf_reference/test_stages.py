"""Both stages as wholes, on what the project carries itself: names, shapes, order, quirks."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from network.taps import TAPS, TapRow
from parity_tests.tf_reference.few import FEW, few_vertices
from tf_reference.backend import factory
from weight_conversion.errors import InputError

Of = Callable[[str], dict[str, Any]]


def _run(
    stage: str, inputs: Any, weights: Any, listener: Any = None, dtype: str = "float32"
) -> Any:
    return factory(stage, dtype, "cpu").run(inputs, weights, listener)


@pytest.fixture(scope="module")
def coarse_run(inputs_of: Of, weights: Of, kept: Any) -> Any:
    listener = kept()
    mesh = _run("coarse", inputs_of("coarse"), weights("coarse"), listener)
    return mesh, listener


@pytest.fixture(scope="module")
def refine_run(inputs_of: Of, weights: Of, kept: Any) -> Any:
    listener = kept()
    with few_vertices(inputs_of("refine")) as inputs:
        mesh = _run("refine", inputs, weights("refine"), listener)
    return mesh, listener


@pytest.mark.parametrize("row", TAPS["coarse"], ids=lambda row: row.name)
def test_coarse_tap(coarse_run: Any, row: TapRow) -> None:
    array = coarse_run[1].taps[row.name]
    assert (array.shape, array.dtype.name) == (row.shape, "float32")
    assert np.isfinite(array).all()


@pytest.mark.parametrize("row", TAPS["refine"], ids=lambda row: row.name)
def test_refine_tap(refine_run: Any, row: TapRow) -> None:
    array = refine_run[1].taps[row.name]
    rows = row.shape[:1] if row.rows_per_vertex is None else (FEW * row.rows_per_vertex,)
    assert (array.shape, array.dtype.name) == ((*rows, *row.shape[1:]), "float32")
    assert np.isfinite(array).all()


def test_coarse_order(coarse_run: Any) -> None:
    assert coarse_run[1].order == [row.name for row in TAPS["coarse"]]


def test_refine_order(refine_run: Any) -> None:
    assert refine_run[1].order == [row.name for row in TAPS["refine"]]


@pytest.mark.parametrize(("after", "kept_tap"), [(3, "1_layer_1"), (5, "3_layer_3.residual")])
def test_coarse_residuals(coarse_run: Any, after: int, kept_tap: str) -> None:
    taps = coarse_run[1].taps
    layer = f"graph_conv_blk1_{after}_layer_{after}"
    expected = (taps[layer] + taps[f"graph_conv_blk1_{kept_tap}"]) * np.float32(0.5)
    assert np.array_equal(taps[f"{layer}.residual"], expected)


def test_the_last_tap_is_the_mesh(coarse_run: Any, refine_run: Any) -> None:
    assert np.array_equal(coarse_run[0], coarse_run[1].taps["graph_conv_blk3_15_layer_47"])
    assert np.array_equal(refine_run[0], refine_run[1].taps["graph_drb_blk2_layer_5"])


@pytest.mark.parametrize("block", ["graph_drb_blk1_layer_2", "graph_drb_blk2_layer_5"])
def test_scores_weigh_the_offsets(refine_run: Any, inputs_of: Of, block: str) -> None:
    inputs, taps = inputs_of("refine"), refine_run[1].taps
    score = taps[f"{block}.score"].astype(np.float64)
    np.testing.assert_allclose(score.sum(axis=1), 1, rtol=1e-5)
    before = inputs["mesh"][:FEW] if "blk1" in block else taps["graph_drb_blk1_layer_2"]
    expected = (score * inputs["hypotheses"].offsets).sum(axis=1) + before
    np.testing.assert_allclose(taps[block], expected, atol=1e-6)


def test_coarse_reads_the_first_views_image_alone(
    coarse_run: Any, inputs_of: Of, weights: Of
) -> None:
    inputs = inputs_of("coarse")
    images = inputs["images"].copy()
    images[1:] = 1 - images[1:]
    same = _run("coarse", inputs | {"images": images}, weights("coarse"))
    assert np.array_equal(same, coarse_run[0])
    cameras = inputs["cameras"].copy()
    cameras[1, 0] += 40
    other = _run("coarse", inputs | {"cameras": cameras}, weights("coarse"))
    assert not np.array_equal(other, coarse_run[0])


def test_taps_do_not_change_the_result(coarse_run: Any, inputs_of: Of, weights: Of) -> None:
    assert np.array_equal(_run("coarse", inputs_of("coarse"), weights("coarse")), coarse_run[0])


def test_float64_is_close_and_wide(coarse_run: Any, inputs_of: Of, weights: Of) -> None:
    wide = _run("coarse", inputs_of("coarse"), weights("coarse"), dtype="float64")
    assert wide.dtype == np.float64
    np.testing.assert_allclose(wide, coarse_run[0], atol=1e-5)
    assert not np.array_equal(wide, coarse_run[0])


def test_prepared_is_the_same_run(coarse_run: Any, inputs_of: Of, weights: Of) -> None:
    forward = factory("coarse", "float32", "cpu").prepared(inputs_of("coarse"), weights("coarse"))
    assert np.array_equal(forward(), coarse_run[0])


def test_a_listeners_error_ends_the_run(inputs_of: Of, weights: Of, kept: Any) -> None:
    listener = kept(until="cnn.conv2d_2")
    with pytest.raises(kept.EnoughError):
        _run("coarse", inputs_of("coarse"), weights("coarse"), listener)
    assert listener.order == ["cnn.conv2d_1", "cnn.conv2d_2"]


@pytest.mark.parametrize(
    ("stage", "dtype", "device", "message"),
    [
        ("fine", "float32", "cpu", "stage: 'fine'; expected coarse or refine"),
        ("coarse", "half", "cpu", "dtype: 'half'"),
        ("coarse", "float32", "tpu", "device: 'tpu'"),
    ],
)
def test_bad_factory_arguments(stage: str, dtype: str, device: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        factory(stage, dtype, device)
