from dataclasses import replace

import pytest

from network.taps import IMAGES, MESH, TAPS
from parity.verdict.result import Status
from parity_tests.reports.conftest import HOSTILE, entry
from reports.page.layers import Node, layer_graph, short_name


def overlaps(a: Node, b: Node) -> bool:
    return (
        a.x < b.x + b.width
        and b.x < a.x + a.width
        and a.y < b.y + b.height
        and b.y < a.y + a.height
    )


@pytest.mark.parametrize("stage", ["coarse", "refine"])
def test_every_tap_and_every_edge_is_there(stage: str) -> None:
    taps = [entry(row.name, row.order, row.shape) for row in TAPS[stage]]
    graph = layer_graph(stage, taps)
    assert sorted(node.entry for node in graph.nodes if node.entry >= 0) == list(range(len(taps)))
    named = {
        (graph.nodes[parent].name, graph.nodes[child].name) for _, parent, child in graph.edges
    }
    assert named == {(parent, row.name) for row in TAPS[stage] for parent in row.parents}
    assert {node.name for node in graph.nodes if node.entry < 0} == {IMAGES, MESH}


@pytest.mark.parametrize("stage", ["coarse", "refine"])
def test_nodes_lie_apart_and_within_the_picture(stage: str) -> None:
    graph = layer_graph(stage, [entry(row.name, row.order, row.shape) for row in TAPS[stage]])
    nodes = graph.nodes
    assert not [(a.name, b.name) for i, a in enumerate(nodes) for b in nodes[:i] if overlaps(a, b)]
    assert max(node.x + node.width for node in nodes) <= graph.width
    assert max(node.y + node.height for node in nodes) <= graph.height


def test_columns_are_the_image_network_and_the_blocks() -> None:
    taps = [entry(row.name, row.order, row.shape) for row in TAPS["coarse"]]
    titles = [title for title, _ in layer_graph("coarse", taps).columns]
    assert titles == ["image network", "block 1", "block 2", "block 3"]


def test_status_and_hostile_names_are_kept() -> None:
    taps = [entry(name, order, (2, 3)) for order, name in enumerate(HOSTILE)]
    taps[3] = replace(taps[3], status=Status.DIFFER)
    graph = layer_graph("coarse", taps)
    strangers = [node for node in graph.nodes if node.entry >= 0]
    assert [node.status for node in strangers].index(Status.DIFFER) == 3
    assert all(node.name.isprintable() and node.short.isprintable() for node in strangers)
    assert graph.edges == ()
    assert ("others" in dict(graph.columns)) is True


def test_edges_only_between_taps_that_are_there() -> None:
    rows = TAPS["coarse"][18:22]
    graph = layer_graph("coarse", [entry(row.name, row.order, row.shape) for row in rows])
    assert len(graph.edges) == 4  # the mesh to the projection, and three layers in a row


@pytest.mark.parametrize("stage", ["coarse", "refine"])
def test_short_names_fit_and_tell_the_taps_of_a_column_apart(stage: str) -> None:
    shorts = [(row.name[:14], short_name(row)) for row in TAPS[stage]]
    assert len(set(shorts)) == len(shorts)
    assert max(len(short) for _, short in shorts) <= 17
