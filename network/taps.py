"""The table of taps: every named activation, where it is computed and what it is computed from.

``metagraph_tensor`` is the node of the exported TensorFlow 1.12 graph whose output 0 is the tap;
shapes are that graph's (NHWC for the image network, three views first).
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from network.layers import KINDS, SUMS, program_of
from network.levels import VERTICES
from network.program import Program
from network.sources import SOURCES, Place
from network.weights import WEIGHTS

IMAGES = "inputs/images"
MESH = "inputs/mesh"
BLOCK_TAPS = {
    "coarse": (
        "graph_conv_blk1_14_layer_14",
        "graph_conv_blk2_14_layer_30",
        "graph_conv_blk3_15_layer_47",
    ),
    "refine": ("graph_drb_blk1_layer_2", "graph_drb_blk2_layer_5"),
}
"""The taps that are the output meshes of each stage's blocks."""

# Side length and channels of the 18 feature maps.
_MAPS: tuple[tuple[int, int], ...] = (
    *((224, 16),) * 2,
    *((112, 32),) * 3,
    *((56, 64),) * 3,
    *((28, 128),) * 3,
    *((14, 256),) * 3,
    *((7, 512),) * 4,
)
# The convolutions whose outputs the stage's projections read.
_PROJECTED = {"coarse": (8, 11, 14, 18), "refine": (2, 5, 8)}
# Block, its first graph convolution's layer number, how many it has, its vertices.
_COARSE_BLOCKS = tuple(zip((1, 2, 3), (1, 17, 33), (14, 14, 15), VERTICES, strict=True))
_HIDDEN = 192
_FEATURES = 2883
_HYPOTHESES = 43
_VERTICES = VERTICES[-1]


@dataclass(frozen=True)
class TapRow:
    """One tap.

    Attributes:
        stage: the network's name.
        order: position in the order of computation, from 0.
        name: the tap's name in traces and reports.
        metagraph_tensor: the node of the exported graph that computes it.
        module: dotted name of the module of the torch model that computes it.
        shape: the official shape.
        parents: the taps that it is computed from without another tap between, in the order in
            which the function reads them; ``inputs/images`` and ``inputs/mesh`` stand for the
            inputs that change through the network. Constants (cameras, supports, unpooling
            pairs, hypothesis offsets) and weights are not listed.
        layer: the kind of layer that computes it, a name in ``network.layers.PROGRAMS``.
        settings: what is fixed in the layer's program: strides, pixels a cell of each map.
        variables: the program's names of variables, to checkpoint keys.
        constants: the program's names of fixed arrays, to names under ``/inputs`` of a trace.
        block: 0 for the image network, then 1, 2, …
        rows_per_vertex: how many rows of the first axis belong to one vertex; None where the layer
            mixes vertices, or where there are none.
        formula: the layer's program where ``layer`` names none of ``network.layers.PROGRAMS``.
        title: the name in short, for pictures; without what the block says already.
        sources: by package of this project, where its layer is written: files and patterns of
            functions, the nearest to the tap first.
        channels: what the channels hold, where they are not all alike: words, with ``{}`` for the
            number within them, and how many channels they are for.
    """

    stage: str
    order: int
    name: str
    metagraph_tensor: str
    module: str
    shape: tuple[int, ...]
    parents: tuple[str, ...]
    layer: str
    settings: Mapping[str, Any] = field(default_factory=dict, hash=False)
    variables: Mapping[str, str] = field(default_factory=dict, hash=False)
    constants: Mapping[str, str] = field(default_factory=dict, hash=False)
    block: int = 0
    rows_per_vertex: int | None = None
    formula: Program | None = None
    title: str = ""
    sources: Mapping[str, tuple[Place, ...]] = field(default_factory=dict, hash=False)
    channels: tuple[tuple[str, int], ...] = ()

    @property
    def short(self) -> str:
        """A name that fits a node of a picture."""
        return self.title or self.name

    @property
    def alike(self) -> str:
        """The same for layers that are likely written once: they have the same variables.

        What is wrong with the first of them is likely wrong with the others too.
        """
        return " ".join(self.variables) or self.layer

    @property
    def kind(self) -> str:
        """What layers like this one are called, in the plural."""
        return KINDS.get(self.layer, f"layers of the kind {self.layer}")

    @property
    def is_sum(self) -> bool:
        """Whether it joins a residual to what it goes around."""
        return self.layer in SUMS

    def meaning(self, channel: int) -> str:
        """What a channel holds; empty where all channels are alike."""
        for words, count in self.channels:
            if channel < count:
                return words.format(channel)
            channel -= count
        return ""

    @property
    def is_projection(self) -> bool:
        """Whether it reads feature maps where points fall on the views."""
        return "cameras" in self.constants

    @property
    def is_map(self) -> bool:
        """Whether it is a feature map of the image network."""
        return self.block == 0

    @cached_property
    def program(self) -> Program:
        """The layer's program; its activations stand in the order of ``parents``."""
        if self.formula is not None:
            return self.formula
        return program_of(self.layer, len(self.parents), dict(self.settings))


@dataclass(frozen=True)
class _Draft:
    """A row before its stage and position are known."""

    name: str
    tensor: str
    module: str
    shape: tuple[int, ...]
    parents: tuple[str, ...]
    layer: str
    block: int = 0
    settings: Mapping[str, Any] = field(default_factory=dict)
    constants: Mapping[str, str] = field(default_factory=dict)
    rows_per_vertex: int | None = None
    title: str = ""
    channels: tuple[tuple[str, int], ...] = ()


def _supports(level: int) -> dict[str, str]:
    """The two supports of a level of the mesh, by the names that graph convolutions have."""
    return {f"support_{k}": f"template/support_{level}_{k}" for k in (0, 1)}


_CAMERAS = {"cameras": "cameras"}
_OFFSETS = {"offsets": "hypotheses/offsets"}
_LOCAL_SUPPORTS = {f"support_{k}": f"hypotheses/supports/{k}" for k in (0, 1)}


def _scales(stage: str) -> dict[str, Any]:
    """Pixels of the input image in a cell of each map that the stage's projections read."""
    return {"scales": tuple(_MAPS[0][0] // _MAPS[n - 1][0] for n in _PROJECTED[stage])}


def _maps(stage: str) -> tuple[str, ...]:
    return tuple(f"cnn.conv2d_{number}" for number in _PROJECTED[stage])


def _features(stage: str) -> tuple[tuple[str, int], ...]:
    """What the channels of a projection hold."""
    return (
        *((f"coordinate {axis}", 1) for axis in "xyz"),
        *(
            (f"{statistic} over views of {name}, channel {{}}", _MAPS[number - 1][1])
            for statistic in ("greatest", "mean", "deviation")
            for name, number in zip(_maps(stage), _PROJECTED[stage], strict=True)
        ),
    )


def _cnn() -> Iterator[_Draft]:
    """The 18 convolutions after their ReLU; the graph has them once per stage."""
    parent, before = IMAGES, _MAPS[0][0]
    for number, (side, channels) in enumerate(_MAPS, start=1):
        name = f"cnn.conv2d_{number}"
        tensor = f"meshnet/pixel2mesh/cnn/conv2d_{number}/Relu"
        yield _Draft(
            name, tensor, name, (3, side, side, channels), (parent,), "image_convolution",
            settings={"stride": before // side}, title=f"conv2d_{number}",
        )  # fmt: skip
        parent, before = name, side


def _number(layer: str) -> str:
    """The number that ends a layer's name."""
    return layer.rpartition("_")[2]


def _projection(layer: str, vertices: int, mesh: str, block: int) -> _Draft:
    """Coordinates and statistics of the maps over the views, (V, 2883)."""
    parents = (mesh, *_maps("coarse"))
    return _Draft(
        layer, f"{layer}/concat_1", layer, (vertices, _FEATURES), parents, "coarse_projection",
        block, _scales("coarse"), _CAMERAS, title=f"proj {_number(layer)}",
        channels=_features("coarse"),
    )  # fmt: skip


def _unpooled(number: int, vertices: int, mesh: str, hidden: str) -> Iterator[_Draft]:
    """Projection, concatenation with the last hidden features, unpooling, before a block.

    ``vertices`` counts the vertices before the unpooling; ``number`` is the block's.
    """
    layer = {2: "graph_proj_2_layer_15", 3: "graph_proj_3_layer_31"}[number]
    yield _projection(layer, vertices, mesh, number)
    concat = f"{layer}.concat"
    node = {2: "concat", 3: "concat_1"}[number]
    width = _FEATURES + _HIDDEN
    yield _Draft(
        concat, node, layer, (vertices, width), (layer, hidden), "concatenation", number,
        title=f"proj {_number(layer)} concat",
        channels=(*_features("coarse"), ("hidden feature {}", _HIDDEN)),
    )  # fmt: skip
    pool = {2: "graph_pool_1to2_layer_16", 3: "graph_pool_2to3_layer_32"}[number]
    after = VERTICES[number - 1]
    yield _Draft(
        pool, f"{pool}/concat", pool, (after, width), (concat,), "unpooling", number,
        constants={"pairs": f"template/unpooling_{number - 1}"}, title=f"pool {_number(pool)}",
    )  # fmt: skip


def _coarse_block(
    block: int, first: int, count: int, vertices: int, features: str
) -> Iterator[_Draft]:
    """The graph convolutions of a coarse block with their residuals, coordinates last."""
    current, kept = features, ""
    for index in range(count):
        layer = f"graph_conv_blk{block}_{index + 1}_layer_{first + index}"
        coordinates = index == count - 1
        node, width = ("add", 3) if coordinates else ("Relu", _HIDDEN)
        kind = "coordinates" if coordinates else "graph_convolution"
        yield _Draft(
            layer, f"{layer}/{node}", layer, (vertices, width), (current,), kind, block,
            constants=_supports(block), title=f"conv {first + index}",
        )  # fmt: skip
        current = layer
        if index == 0:
            kept = layer
        elif index % 2 == 0 and index <= 12 and not coordinates:
            # The graph numbers its products mul, mul_1, ... over all blocks, six to a block.
            product = 6 * (block - 1) + index // 2 - 1
            tensor = f"mul_{product}" if product else "mul"
            current = f"{layer}.residual"
            yield _Draft(
                current, tensor, layer, (vertices, _HIDDEN), (layer, kept), "halved_sum", block,
                title=f"conv {first + index} residual",
            )  # fmt: skip
            kept = current


def _coarse() -> Iterator[_Draft]:
    yield from _cnn()
    features = "graph_proj_1_layer_0"
    yield _projection(features, _COARSE_BLOCKS[0][3], MESH, 1)
    mesh, hidden, vertices = MESH, "", 0
    for block, first, count, after in _COARSE_BLOCKS:
        if block > 1:
            for draft in _unpooled(block, vertices, mesh, hidden):
                yield draft
                features = draft.name
        for draft in _coarse_block(block, first, count, after, features):
            yield draft
            if draft.name.endswith(".residual"):
                hidden = draft.name
            mesh = draft.name
        vertices = after


def _refine_block(block: int, first_layer: int, mesh: str) -> Iterator[_Draft]:
    """Hypotheses, their features, six local graph convolutions, scores, the moved mesh."""
    rows, wide = (_VERTICES, _HYPOTHESES), (_VERTICES, _HYPOTHESES, _HIDDEN)
    sample = f"graph_sample_hypothesis_{block}_layer_{first_layer}"
    yield _Draft(
        sample, f"{sample}/Add", sample, (*rows, 3), (mesh,), "hypotheses", block,
        constants=_OFFSETS, rows_per_vertex=1, title=f"hypotheses {first_layer}",
    )  # fmt: skip
    projection = f"graph_localproj_{block}_layer_{first_layer + 1}"
    flat = (_VERTICES * _HYPOTHESES, 339)
    parents = (sample, *_maps("refine"))
    yield _Draft(
        projection, f"{projection}/concat_1", projection, flat, parents, "refine_projection",
        block, _scales("refine"), _CAMERAS, _HYPOTHESES, f"localproj {first_layer + 1}",
        _features("refine"),
    )  # fmt: skip

    layer = f"graph_drb_blk{block}_layer_{first_layer + 2}"
    scope = f"{layer}/{layer}"
    numbers = range(6 * block - 5, 6 * block + 1)
    convolutions = [f"{layer}.localgconv_{number}" for number in numbers]
    residual_1, residual_2 = f"{layer}.residual_1", f"{layer}.residual_2"

    def convolution(index: int, parent: str) -> _Draft:
        tensor = f"{scope}/localgconv_{numbers[index]}/Relu"
        shape = (*rows, 1) if index == 5 else wide
        return _Draft(
            convolutions[index], tensor, convolutions[index], shape, (parent,),
            "local_graph_convolution", block, constants=_LOCAL_SUPPORTS, rows_per_vertex=1,
            title=f"localgconv_{numbers[index]}",
        )  # fmt: skip

    def sum_of(name: str, node: str, parents: tuple[str, str]) -> _Draft:
        return _Draft(
            name, f"{scope}/{node}", layer, wide, parents, "plain_sum", block, rows_per_vertex=1,
            title=name.rpartition(".")[2],
        )  # fmt: skip

    yield convolution(0, projection)
    yield convolution(1, convolutions[0])
    yield convolution(2, convolutions[1])
    yield sum_of(residual_1, "Add", (convolutions[2], convolutions[0]))
    yield convolution(3, residual_1)
    yield convolution(4, convolutions[3])
    yield sum_of(residual_2, "Add_1", (convolutions[4], residual_1))
    yield convolution(5, residual_2)
    score = f"{layer}.score"
    yield _Draft(
        score, f"{scope}/transpose_1", layer, (*rows, 1), (convolutions[5],), "softmax", block,
        rows_per_vertex=1, title="score",
    )  # fmt: skip
    yield _Draft(
        layer, f"{scope}/add_2", layer, (_VERTICES, 3), (score, mesh), "displaced_vertices", block,
        constants=_OFFSETS, rows_per_vertex=1, title=f"moved mesh {first_layer + 2}",
    )  # fmt: skip


def _refine() -> Iterator[_Draft]:
    yield from _cnn()
    mesh = MESH
    for block, first_layer in ((1, 0), (2, 3)):
        for draft in _refine_block(block, first_layer, mesh):
            yield draft
            last = draft.name
        mesh = last


def _variables(stage: str, draft: _Draft) -> dict[str, str]:
    """The variables that a layer's program names, by those names."""
    prefix = f"{draft.module}."
    names = set(program_of(draft.layer, len(draft.parents), dict(draft.settings)).inputs)
    found = {
        row.torch_key.removeprefix(prefix): row.key
        for row in WEIGHTS[stage]
        if row.torch_key.startswith(prefix)
    }
    return {name: key for name, key in found.items() if name in names}


def _rows(stage: str, drafts: Iterator[_Draft]) -> tuple[TapRow, ...]:
    return tuple(
        TapRow(
            stage, order, draft.name, draft.tensor, draft.module, draft.shape, draft.parents,
            draft.layer, draft.settings, _variables(stage, draft), draft.constants, draft.block,
            draft.rows_per_vertex, None, draft.title, SOURCES[draft.layer], draft.channels,
        )
        for order, draft in enumerate(drafts)
    )  # fmt: skip


TAPS: dict[str, tuple[TapRow, ...]] = {
    "coarse": _rows("coarse", _coarse()),
    "refine": _rows("refine", _refine()),
}
"""The taps of each stage, in the order of computation."""
