"""Both stages as ONNX graphs, to be read beside ``cnn``, ``graph``, ``coarse`` and ``refine``.

Every tap is a value of its own name, and the inputs are named as the arrays under ``/inputs`` of a
trace. Arguments and results are names of values in a ``GraphWriter``'s graph.
"""

from dataclasses import dataclass

import numpy as np

from torch_impl.cnn import CONVOLUTIONS, ConvSpec
from torch_impl.coarse import CNN_MAPS as COARSE_MAPS
from torch_impl.coarse import HIDDEN, LAYERS, layer_name, projection_name
from torch_impl.onnx_projection import (
    VIEWS,
    Cameras,
    Maps,
    bilinear_corners,
    bilinear_features,
    camera_frames,
    nearest_cells,
    nearest_features,
    pixels,
    view_statistics,
)
from torch_impl.onnx_writer import GraphWriter
from torch_impl.refine import CNN_MAPS as REFINE_MAPS
from torch_impl.refine import CONVOLUTIONS as LOCAL_CONVOLUTIONS

IMAGE_SIZE = 224
VERTICES = (156, 618, 2466)
EDGES = (462, 1848)
HYPOTHESES = 43


@dataclass(frozen=True)
class Sparse:
    """A sparse (V, V) matrix of n entries: ``rows`` (n, 1), ``columns`` (n,), ``values`` (n, 1)."""

    rows: str
    columns: str
    values: str
    vertices: int


def stage(graph: GraphWriter, name: str) -> str:
    """Write one stage, "coarse" or "refine": its output mesh (2466, 3)."""
    images = graph.input("images", np.float32, (VIEWS, IMAGE_SIZE, IMAGE_SIZE, 3))
    cameras = camera_frames(graph, graph.input("cameras", np.float32, (VIEWS, 5)))
    write = coarse if name == "coarse" else refine
    return write(graph, images, cameras)


def cnn(graph: GraphWriter, images: str, wanted: tuple[int, ...], views: int) -> list[Maps]:
    """The image encoder: the ``wanted`` maps of the first ``views``, NHWC.

    The later views are convolved by themselves, so that they can be left out unless their taps are
    asked for.
    """
    groups = [images]
    if views < VIEWS:
        groups = graph.split(images, 0, [views, VIEWS - views])
    encoded = [graph.add("Transpose", group, perm=[0, 3, 1, 2]) for group in groups]
    maps = []
    size = IMAGE_SIZE
    for number, spec in enumerate(CONVOLUTIONS, start=1):
        layer = f"cnn.conv2d_{number}"
        with graph.scope(layer):
            size //= spec.stride
            encoded = [_convolution(graph, layer, spec, group) for group in encoded]
            if len(encoded) == 1:
                read = graph.add("Transpose", encoded[0], perm=[0, 2, 3, 1], name=layer)
            else:
                last = [graph.add("Transpose", group, perm=[0, 2, 3, 1]) for group in encoded]
                read = last[0]
                graph.add("Concat", *last, axis=0, name=layer)
        if number in wanted:
            maps.append(Maps(read, size, spec.channels_out))
    return maps


def _convolution(graph: GraphWriter, layer: str, spec: ConvSpec, x: str) -> str:
    # TensorFlow's SAME: at stride 2 on an even size one less before than after.
    after = spec.kernel // 2
    before = after if spec.stride == 1 else after - 1
    result = graph.add(
        "Conv",
        x,
        graph.weight(f"{layer}.weight"),
        graph.weight(f"{layer}.bias"),
        kernel_shape=[spec.kernel, spec.kernel],
        strides=[spec.stride, spec.stride],
        pads=[before, before, after, after],
    )
    return graph.add("Relu", result)


def coarse(graph: GraphWriter, images: str, cameras: Cameras) -> str:
    """MVP2M, see ``coarse.Coarse``."""
    mesh = graph.input("mesh", np.float32, (VERTICES[0], 3))
    maps = cnn(graph, images, COARSE_MAPS, views=1)
    hidden: str | None = None
    for block, vertices in enumerate(VERTICES):
        name = projection_name(block)
        with graph.scope(name):
            cells = nearest_cells(graph, pixels(graph, mesh, cameras))
            read = view_statistics(graph, nearest_features(graph, maps, cells))
        features = graph.add("Concat", mesh, *read, axis=1, name=name)
        if hidden is not None:
            features = graph.add("Concat", features, hidden, axis=1, name=f"{name}.concat")
            features = _unpool(graph, block, features)
        hidden, mesh = _deform(graph, block, features, _supports(graph, block + 1, vertices))
    return mesh


def _supports(graph: GraphWriter, level: int, vertices: int) -> list[Sparse]:
    supports = []
    for number in range(2):
        name, count = f"template/support_{level}_{number}", f"entries_{level}_{number}"
        indices = graph.input(f"{name}/indices", np.int64, (count, 2))
        values = graph.input(f"{name}/values", np.float32, (count,))
        with graph.scope(name):
            rows, columns = graph.split(indices, 1, [1, 1])
            columns = graph.squeeze(columns, 1)
            supports.append(Sparse(rows, columns, graph.unsqueeze(values, 1), vertices))
    return supports


def _unpool(graph: GraphWriter, block: int, features: str) -> str:
    """Put a vertex on every edge, see ``graph.unpool``."""
    name = f"graph_pool_{block}to{block + 1}_layer_{16 * block}"
    pairs = graph.input(f"template/unpooling_{block}", np.int32, (EDGES[block - 1], 2))
    with graph.scope(name):
        ends = graph.add("Gather", features, pairs, axis=0)
        sums = graph.add("ReduceSum", ends, graph.constant([1]), keepdims=0)
        middles = graph.add("Mul", graph.constant(0.5), sums)
    return graph.add("Concat", features, middles, axis=0, name=name)


def _deform(
    graph: GraphWriter, block: int, features: str, supports: list[Sparse]
) -> tuple[str, str]:
    """The last residual (V, 192) and the new coordinates (V, 3) of a block."""
    x = residual = _graph_convolution(graph, layer_name(block, 0), features, supports)
    last = LAYERS[block] - 1
    for index in range(1, last):
        name = layer_name(block, index)
        x = _graph_convolution(graph, name, x, supports)
        if index % 2 == 0:
            with graph.scope(f"{name}.residual"):
                total = graph.add("Add", x, residual)
            x = residual = graph.add("Mul", total, graph.constant(0.5), name=f"{name}.residual")
    return residual, _graph_convolution(graph, layer_name(block, last), x, supports, relu=False)


def _graph_convolution(
    graph: GraphWriter, layer: str, x: str, supports: list[Sparse], relu: bool = True
) -> str:
    """Σ_k S_k (X W_k) + b, see ``graph.GraphConvolution``: the value ``layer``."""
    with graph.scope(layer):
        parts = []
        for number, support in enumerate(supports):
            product = graph.add("MatMul", x, graph.weight(f"{layer}.weights_{number}"))
            parts.append(_mix(graph, support, product, HIDDEN if relu else 3))
        total = graph.add("Add", *parts)
    bias = graph.weight(f"{layer}.bias")
    if not relu:
        return graph.add("Add", total, bias, name=layer)
    with graph.scope(layer):
        biased = graph.add("Add", total, bias)
    return graph.add("Relu", biased, name=layer)


def _mix(graph: GraphWriter, matrix: Sparse, x: str, channels: int) -> str:
    """A sparse matrix times features (V, channels).

    By ``ScatterElements``, which adds one after the other: ``ScatterND`` adds whole rows faster,
    but onnxruntime lets its threads race for rows that occur more than once.
    """
    nothing = graph.add("Expand", graph.constant(0.0), graph.constant([matrix.vertices, channels]))
    places = graph.add("Expand", matrix.rows, graph.constant([1, channels]))
    terms = graph.add("Mul", matrix.values, graph.add("Gather", x, matrix.columns, axis=0))
    return graph.add("ScatterElements", nothing, places, terms, axis=0, reduction="add")


def refine(
    graph: GraphWriter,
    images: str,
    cameras: Cameras,
    vertices: int = VERTICES[-1],
) -> str:
    """P2MPP, see ``refine.Refine``; any number of vertices will do."""
    mesh = graph.input("mesh", np.float32, (vertices, 3))
    offsets = graph.input("hypotheses/offsets", np.float32, (HYPOTHESES, 3))
    both = graph.input("hypotheses/supports", np.float32, (2, HYPOTHESES, HYPOTHESES))
    supports = [graph.squeeze(matrix, 0) for matrix in graph.split(both, 0, [1, 1])]
    maps = cnn(graph, images, REFINE_MAPS, views=VIEWS)
    for block in range(2):
        name = f"graph_sample_hypothesis_{block + 1}_layer_{3 * block}"
        hypotheses = graph.add("Add", graph.unsqueeze(mesh, 1), offsets, name=name)
        features = _project(graph, block, maps, cameras, hypotheses, vertices)
        name = f"graph_drb_blk{block + 1}_layer_{3 * block + 2}"
        score = _reason(graph, name, LOCAL_CONVOLUTIONS * block + 1, features, supports)
        with graph.scope(name):
            steps = graph.add("Mul", score, offsets)
            moved = graph.add("ReduceSum", steps, graph.constant([1]), keepdims=0)
        mesh = graph.add("Add", moved, mesh, name=name)
    return mesh


def _project(
    graph: GraphWriter,
    block: int,
    maps: list[Maps],
    cameras: Cameras,
    hypotheses: str,
    vertices: int,
) -> str:
    """Coordinates and view statistics between four pixels: (V, 43, 339)."""
    name = f"graph_localproj_{block + 1}_layer_{3 * block + 1}"
    count = vertices * HYPOTHESES
    with graph.scope(name):
        points = graph.reshape(hypotheses, [count, 3])
        at = pixels(graph, points, cameras)
        corners = bilinear_corners(graph, at)
        read = view_statistics(graph, bilinear_features(graph, maps, at, corners))
    rows = graph.add("Concat", points, *read, axis=1, name=name)
    with graph.scope(name):
        return graph.reshape(rows, [vertices, HYPOTHESES, -1])


def _reason(graph: GraphWriter, block: str, first: int, features: str, supports: list[str]) -> str:
    """Weights (V, 43, 1) of the hypotheses, see ``refine.ReasoningBlock``."""

    def convolve(index: int, x: str) -> str:
        layer = f"{block}.localgconv_{first + index}"
        with graph.scope(layer):
            parts = []
            for number, support in enumerate(supports):
                product = graph.add("MatMul", x, graph.weight(f"{layer}.weights_{number}"))
                parts.append(graph.add("MatMul", support, product))
            total = graph.add("Add", graph.add("Add", *parts), graph.weight(f"{layer}.bias"))
        return graph.add("Relu", total, name=layer)

    x1 = convolve(0, features)
    x3 = convolve(2, convolve(1, x1))
    x3 = graph.add("Add", x3, x1, name=f"{block}.residual_1")
    x5 = convolve(4, convolve(3, x3))
    x5 = graph.add("Add", x5, x3, name=f"{block}.residual_2")
    return graph.add("Softmax", convolve(5, x5), axis=1, name=f"{block}.score")
