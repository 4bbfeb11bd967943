"""Parts of meshes are as large as a cache likes them, whatever a network's vertices hold."""

import pytest

from benchmarks.growth import NAME, WIDTH, Size, network_of_size
from network.registry import network_of, registered
from parity.oracle.chunks import PART, parts_of, vertices_at_once


def test_the_refine_stage_has_sixty_nine_vertices_at_once() -> None:
    assert vertices_at_once("refine") == 69
    row = network_of("refine").rows["graph_drb_blk1_layer_2.localgconv_1"]
    parts = parts_of(row, [slice(0, 2466)])
    assert [parts[0], parts[-1]] == [slice(0, 69), slice(2415, 2466)]
    some = parts_of(row, [slice(0, 138), slice(1242, 1300)])
    assert some == [slice(0, 69), slice(69, 138), slice(1242, 1300)]


def test_a_stage_that_mixes_vertices_is_whole() -> None:
    assert parts_of(network_of("coarse").taps[-1], [slice(0, 2466)]) == [None]


@pytest.mark.parametrize("rows", [1, 43, 1_000_000])
def test_vertices_that_hold_more_are_fewer_at_once(rows: int) -> None:
    with registered(network_of_size(Size(10, rows))):
        assert vertices_at_once(NAME) == max(1, int(PART // (8 * WIDTH * rows)))
