"""What a differentiated run tells, on its way into a trace."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from network.taps import TAPS
from parity.traces.gradients import DOUBLE, WritingWatch
from parity.traces.layout import FLOAT64, FLOAT64_TAP_GRADIENTS, FLOAT64_TAP_VALUES
from parity.traces.trace import TraceHeader
from parity.traces.writer import TraceWriter
from parity.verdict.gradient_comparison import _origins, with_layers
from parity.verdict.gradients import Gradient
from parity.verdict.result import Status, TapResult

HEADER = TraceHeader("coarse", "torch", "float32", "cpu", "w", "i")
TAP = "graph_conv_blk1_3_layer_3"
IMAGE = "cnn.conv2d_18"


@pytest.fixture
def run() -> dict[str, np.ndarray]:
    shapes = {row.name: row.shape for row in TAPS["coarse"]}
    draw = np.random.default_rng(0)
    return {name: draw.normal(size=shapes[name]) for name in (TAP, IMAGE)}


@pytest.fixture
def writer(tmp_path: Path, run: dict[str, np.ndarray]) -> Iterator[TraceWriter]:
    with TraceWriter(tmp_path / "t.h5", HEADER, {}) as writer:
        for name, values in run.items():
            writer.add(FLOAT64, name, values)
        yield writer


def watching(writer: TraceWriter) -> WritingWatch:
    return WritingWatch(writer, "coarse", lambda tap: tap in (TAP, IMAGE), DOUBLE)


def test_values_of_the_same_bits_are_not_kept_twice(
    writer: TraceWriter, run: dict[str, np.ndarray]
) -> None:
    watch = watching(writer)
    watch.value(TAP, None, run[TAP])
    watch.value(IMAGE, slice(1, 2), run[IMAGE][1:2])
    assert not writer.has(FLOAT64_TAP_VALUES, TAP)
    assert not writer.has(FLOAT64_TAP_VALUES, IMAGE)


def test_values_of_other_bits_are_kept_beside_the_rest(
    writer: TraceWriter, run: dict[str, np.ndarray]
) -> None:
    watch = watching(writer)
    other = np.nextafter(run[IMAGE][1:2], 9.0)
    watch.value(IMAGE, slice(0, 1), run[IMAGE][0:1])
    watch.value(IMAGE, slice(1, 2), other)
    watch.value(IMAGE, slice(2, 3), run[IMAGE][2:3])
    kept = writer.dataset(FLOAT64_TAP_VALUES, IMAGE)[()]
    np.testing.assert_array_equal(kept[1:2], other)
    np.testing.assert_array_equal(kept[0::2], run[IMAGE][0::2])


def test_rows_that_nobody_tells_have_gradient_0(writer: TraceWriter) -> None:
    watch = watching(writer)
    watch.gradient(IMAGE, slice(0, 1), np.ones((1, 7, 7, 512)))
    watch.finish()
    found = writer.dataset(FLOAT64_TAP_GRADIENTS, IMAGE)[()]
    assert found[0].all()
    assert not found[1:].any()
    assert not writer.dataset(FLOAT64_TAP_GRADIENTS, TAP)[()].any()


def test_another_shape_is_left_out(writer: TraceWriter) -> None:
    watch = watching(writer)
    watch.gradient(TAP, None, np.ones((156, 3)))
    watch.gradient("another tap", None, np.ones(3))
    watch.gradient("graph_conv_blk1_4_layer_4", None, np.ones((156, 192)))
    watch.finish()
    assert not writer.has(FLOAT64_TAP_GRADIENTS, TAP)
    assert not writer.has(FLOAT64_TAP_GRADIENTS, "another tap")
    # Not asked for.
    assert not writer.has(FLOAT64_TAP_GRADIENTS, "graph_conv_blk1_4_layer_4")


def test_what_flips_in_the_runs_own_precision_is_no_origin() -> None:
    def entry(tap: str, status: Status, **more: str) -> TapResult:
        return TapResult(tap, 0, status, (), "float32", **more)

    taps = (
        entry("a", Status.FLIP),
        entry("b", Status.INHERITED, origin="a"),
        entry("c", Status.DIFFER, cause="precision"),
        entry("d", Status.INHERITED, origin="c"),
        entry("e", Status.DIFFER, cause="function"),
        entry("f", Status.INHERITED, origin="e"),
        entry("g", Status.ROUNDING),
    )
    assert dict(_origins(taps, "float64")) == {"e": "e", "f": "e"}


@pytest.mark.parametrize(
    ("alone", "beyond", "status"),
    [
        (True, True, Status.INVALID),
        (False, True, Status.ROUNDING),
        (True, False, Status.ROUNDING),
    ],
)
def test_backward_passes_alone_vouch_for_no_values(
    alone: bool, beyond: bool, status: Status
) -> None:
    """Rightly differentiated values of another forward pass: nobody has compared those."""
    layer = Gradient("tap", ("next",), 9.0, Status.ROUNDING, difference=1.0, beyond=beyond)
    entry = TapResult("gradients/tap", 0, Status.AGREE, (3,), "float32")
    found = with_layers(entry, {"float64": layer}, alone)
    assert found.status is status
    assert ("forward passes that were not compared" in found.note) == (status is Status.INVALID)
