"""The rows' data agree with each other, and a network is found by its name."""

import math
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest

from inputs.demo import demo_item_path
from inputs.hypotheses import build_hypotheses
from inputs.item import load_item
from inputs.template import build_template
from network.description import Network
from network.layers import PROGRAMS
from network.levels import EDGES, FACES, VERTICES
from network.registry import names, network_of, register, registered
from network.taps import IMAGES, MESH, TapRow
from parity.traces.record import RunInputs

STAGES = names()
ROWS = [row for stage in STAGES for row in network_of(stage).taps]
BY_ROW = pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row.stage}.{row.name}")
BY_STAGE = pytest.mark.parametrize("stage", STAGES)
HYPOTHESES = 43


@pytest.fixture(scope="module")
def arrays() -> dict[str, set[str]]:
    """The names under ``/inputs`` of each stage's runs."""
    item, template = load_item(demo_item_path("plane")), build_template()
    found = {}
    for stage in STAGES:
        mesh = np.zeros(network_of(stage).inputs["mesh"], np.float32)
        inputs = RunInputs(stage, item, mesh, template, build_hypotheses())
        found[stage] = set(inputs.arrays())
    return found


def shape_of(network: Network, name: str) -> tuple[int, ...]:
    given = {IMAGES: network.inputs["images"], MESH: network.inputs["mesh"]}
    return given[name] if name in given else network.row(name).shape


def computed_shape(row: TapRow) -> tuple[int, ...]:
    """The shape that follows from the parents, the settings and the variables."""
    network = network_of(row.stage)
    parents = [shape_of(network, name) for name in row.parents]
    first = parents[0]
    shapes = {name: network.variables_by_key[key].shape for name, key in row.variables.items()}
    match row.layer:
        case "image_convolution":
            stride = row.settings["stride"]
            assert shapes["weight"][2] == first[3]
            side = math.ceil(first[1] / stride)
            return (first[0], side, side, shapes["weight"][3])
        case "graph_convolution" | "coordinates" | "local_graph_convolution":
            assert shapes["weights_0"] == shapes["weights_1"]
            assert shapes["weights_0"][0] == first[-1]
            width = shapes["weights_0"][1]
            local = row.layer == "local_graph_convolution"
            vertices = math.prod(first[:-1]) // (HYPOTHESES if local else 1)
            return (vertices, HYPOTHESES, width) if local else (vertices, width)
        case "coarse_projection" | "refine_projection":
            for shape, scale in zip(parents[1:], row.settings["scales"], strict=True):
                assert shape[1] * scale == network.inputs["images"][1]
            channels = sum(shape[-1] for shape in parents[1:])
            return (math.prod(first[:-1]), first[-1] + 3 * channels)
        case "concatenation":
            return (first[0], sum(shape[-1] for shape in parents))
        case "unpooling":
            return (first[0] + EDGES[VERTICES.index(first[0])], first[1])
        case "hypotheses":
            return (first[0], HYPOTHESES, 3)
        case "halved_sum" | "plain_sum":
            assert parents[1] == first
            return first
        case "softmax":
            return first
        case "displaced_vertices":
            assert first[0] == parents[1][0]
            return parents[1]
    raise AssertionError(row.layer)


@BY_ROW
def test_shape_follows_from_what_the_row_says(row: TapRow) -> None:
    assert computed_shape(row) == row.shape


@BY_ROW
def test_a_layer_reads_what_its_program_names(row: TapRow) -> None:
    assert row.layer in PROGRAMS
    read = {*row.program.activations, *row.variables, *row.constants}
    assert read == set(row.program.inputs)


@BY_ROW
def test_rows_per_vertex_divide_the_first_axis(row: TapRow) -> None:
    if row.rows_per_vertex is not None:
        vertices = network_of(row.stage).vertices[row.block]
        assert row.shape[0] == vertices * row.rows_per_vertex


@BY_ROW
def test_constants_are_recorded(row: TapRow, arrays: dict[str, set[str]]) -> None:
    there = arrays[row.stage]
    for name in row.constants.values():
        stack, _, number = name.rpartition("/")
        one_of_a_stack = number.isdigit() and stack in there
        sparse = {f"{name}/indices", f"{name}/values"} <= there
        assert name in there or sparse or one_of_a_stack, name


@BY_STAGE
def test_every_variable_belongs_to_one_layer(stage: str) -> None:
    network = network_of(stage)
    counts = Counter(key for row in network.taps for key in row.variables.values())
    assert counts == Counter(row.key for row in network.variables)
    for key, reader in network.readers.items():
        variable = network.variables_by_key[key]
        module, _, name = variable.torch_key.rpartition(".")
        assert reader.module == module
        assert reader.variables[name] == key


@BY_STAGE
def test_blocks_end_in_their_meshes(stage: str) -> None:
    network = network_of(stage)
    assert network.output == network.meshes[-1] == network.taps[-1].name
    blocks = range(1, len(network.meshes) + 1)
    assert [network.row(name).block for name in network.meshes] == list(blocks)
    for block, name in enumerate(network.meshes, start=1):
        assert [row.name for row in network.taps if row.block == block][-1] == name
        assert network.row(name).shape == (network.vertices[block], 3)
        assert VERTICES[network.levels[block - 1]] == network.vertices[block]
    assert network.inputs["mesh"] == (network.vertices[0], 3)
    assert network.blocks == tuple(zip((MESH, *network.meshes[:-1]), network.meshes, strict=True))


@BY_STAGE
def test_consumers_are_the_parents_the_other_way(stage: str) -> None:
    network = network_of(stage)
    pairs = {(name, row.name) for name, rows in network.consumers.items() for row in rows}
    assert pairs == {(name, row.name) for row in network.taps for name in row.parents}
    assert network.consumers[network.output] == ()
    assert set(network.consumers) == {IMAGES, MESH, *network.rows}


def test_levels_are_the_templates() -> None:
    template = build_template()
    assert tuple(len(faces) for faces in template.faces) == FACES
    assert tuple(len(pairs) for pairs in template.unpooling) == EDGES[:2]
    for vertices, edges, after in zip(VERTICES, EDGES, VERTICES[1:], strict=False):
        assert vertices + edges == after


@pytest.fixture
def small() -> Iterator[Network]:
    """A network of one convolution, under a name of its own."""
    whole = network_of("coarse")
    row = whole.taps[0]
    variables = tuple(whole.variables_by_key[key] for key in row.variables.values())
    network = replace(
        whole, name="small", taps=(replace(row, stage="small"),), variables=variables,
        meshes=(), output=row.name, vertices=whole.vertices[:1], levels=(),
    )  # fmt: skip
    with registered(network):
        yield network


def test_a_third_network_is_found_by_its_name(small: Network) -> None:
    assert network_of("small") is small
    assert names() == (*STAGES, "small")
    assert small.row(small.output).stage == "small"


def test_a_name_is_given_once(small: Network) -> None:
    assert register(small) is small
    with pytest.raises(ValueError, match="another network is called small"):
        register(replace(small))


def test_an_unknown_name() -> None:
    with pytest.raises(KeyError):
        network_of("third")
