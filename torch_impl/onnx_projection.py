"""``projection`` as ONNX: the same functions in the same order, quirks included.

Arguments and results are names of values in a ``GraphWriter``'s graph. What is a tensor over views
there is a list of a value a view here where a runtime would otherwise need a reduction over them:
not every runtime's maximum over an axis keeps a NaN, the maximum of several values does.
"""

from dataclasses import dataclass

import numpy as np

from torch_impl.onnx_writer import GraphWriter
from torch_impl.projection import CENTRE, FOCAL, LAST_PIXEL, OUTSIDE, PI, VARIANCE_FLOOR

VIEWS = 3


@dataclass(frozen=True)
class Maps:
    """One feature map: its value, (views, size, size, channels) NHWC, and its extents."""

    value: str
    size: int
    channels: int


@dataclass(frozen=True)
class Cameras:
    """Cameras computed once.

    ``position``: (views, 3); ``rotation``: (views, 3, 3), rows right, up and backward;
    ``to_world``: (3, 3), inv(Rᵀ) of view 0.
    """

    position: str
    rotation: str
    to_world: str


def camera_frames(graph: GraphWriter, cameras: str) -> Cameras:
    """Positions and rotations of ``cameras`` (3, 5), see ``projection.camera_frames``."""
    add = graph.add

    def column(index: int) -> str:
        return graph.squeeze(add("Gather", cameras, graph.constant([index]), axis=1), 1)

    def radians(index: int) -> str:
        return add("Div", add("Mul", column(index), graph.constant(PI)), graph.constant(180.0))

    azimuth, elevation, distance = radians(0), radians(1), column(3)
    height = add("Mul", distance, add("Sin", elevation))
    level = add("Mul", distance, add("Cos", elevation))
    opposite = add("Add", azimuth, graph.constant(PI))
    position = _stacked(
        graph,
        [add("Mul", level, add("Cos", azimuth)), height, add("Mul", level, add("Sin", azimuth))],
    )
    up = _stacked(
        graph,
        [add("Mul", height, add("Cos", opposite)), level, add("Mul", height, add("Sin", opposite))],
    )
    rows = _stacked(graph, [_cross(graph, up, position), up, position])
    lengths = add("Sqrt", _sum(graph, add("Mul", rows, rows), 2))
    rotation = add("Div", rows, lengths)
    return Cameras(position, rotation, _inverse_of_transposed(graph, rotation))


def _inverse_of_transposed(graph: GraphWriter, rotation: str) -> str:
    """inv(Rᵀ) for the first R of ``rotation`` (views, 3, 3), by Cramer's rule.

    ONNX has no inverse. With rows r, u, b of R, the rows of inv(Rᵀ) are u×b, b×r and r×u, each
    divided by r·(u×b); for a rotation that is as good as a factorisation.
    """
    first = graph.squeeze(graph.add("Gather", rotation, graph.constant([0]), axis=0), 0)
    right, up, backward = graph.split(first, 0, [1] * 3)
    first_row = _cross(graph, up, backward)
    adjugate = graph.add(
        "Concat",
        first_row,
        _cross(graph, backward, right),
        _cross(graph, right, up),
        axis=0,
    )
    return graph.add("Div", adjugate, _sum(graph, graph.add("Mul", right, first_row), 1))


def pixels(graph: GraphWriter, points: str, cameras: Cameras) -> str:
    """Project points (N, 3) into every view: (views, N, 2 = h, w), clamped to [0, 223]."""
    add = graph.add
    origin = add("Gather", cameras.position, graph.constant([0]), axis=0)
    world = add("Add", add("MatMul", points, cameras.to_world), origin)
    seen = add(
        "MatMul",
        add("Sub", world, graph.unsqueeze(cameras.position, 1)),
        add("Transpose", cameras.rotation, perm=[0, 2, 1]),
    )
    x, y, z = graph.split(seen, 2, [1] * 3)
    depth = add("Neg", z)

    def on_image(ratio: str) -> str:
        return add("Add", add("Mul", graph.constant(FOCAL), ratio), graph.constant(CENTRE))

    h, w = on_image(add("Div", add("Neg", y), depth)), on_image(add("Div", x, depth))
    bounds = graph.constant(0.0), graph.constant(LAST_PIXEL)
    return add("Clip", add("Concat", h, w, axis=2), *bounds)


def nearest_cells(graph: GraphWriter, pixel: str) -> str:
    """The coarse stage's cells, see ``projection.nearest_cells``."""
    return _integers(graph, graph.add("Div", pixel, graph.constant(4.0)))


def nearest_features(graph: GraphWriter, maps: list[Maps], cells: str) -> list[str]:
    """Read the coarse stage's maps of view 0 at ``cells`` (views, V, 2): (V, 960) for each view."""
    add = graph.add
    h, w = (graph.squeeze(part, 2) for part in graph.split(graph.cast(cells, np.int64), 2, [1, 1]))
    gathered: list[list[str]] = [[] for _ in range(VIEWS)]
    for level, feature_map in enumerate(maps):
        size = feature_map.size
        at_h, at_w = (add("Div", cell, graph.constant([2**level])) for cell in (h, w))
        inside = add("And", _inside(graph, at_h, size), _inside(graph, at_w, size))
        flat = add("Add", add("Mul", at_h, graph.constant([size])), at_w)
        index = add("Where", inside, flat, graph.constant([size * size]))
        # One row of zeros stands for everything outside the map.
        rows = graph.reshape(feature_map.value, [size * size, feature_map.channels])
        padded = add("Pad", rows, graph.constant([0, 0, 1, 0]), mode="constant")
        for view, of_view in enumerate(graph.split(index, 0, [1] * VIEWS)):
            gathered[view].append(add("Gather", padded, graph.squeeze(of_view, 0), axis=0))
    return [add("Concat", *levels, axis=1) for levels in gathered]


def bilinear_corners(graph: GraphWriter, pixel: str) -> str:
    """Floor and ceil of the refine stage's pixels, see ``projection.bilinear_corners``."""
    corners = [graph.unsqueeze(graph.add(side, pixel), 3) for side in ("Floor", "Ceil")]
    return _integers(graph, graph.add("Concat", *corners, axis=3))


def bilinear_features(graph: GraphWriter, maps: list[Maps], pixel: str, corners: str) -> list[str]:
    """Read the refine stage's maps between ``corners``: (N, 112) for each view.

    Args:
        graph: where.
        maps: (3, 224, 224, 16), (3, 112, 112, 32), (3, 56, 56, 64).
        pixel: (3, N, 2), see ``pixels``.
        corners: (3, N, 2, 2), see ``projection.bilinear_corners``.
    """
    by_level = [
        (feature_map, graph.split(feature_map.value, 0, [1] * VIEWS)) for feature_map in maps
    ]
    views = []
    for view in range(VIEWS):
        at = graph.squeeze(graph.add("Gather", pixel, graph.constant([view]), axis=0), 0)
        sides = graph.add("Gather", corners, graph.constant([view]), axis=0)
        sides = graph.squeeze(graph.cast(sides, np.int64), 0)
        floor, ceil = (graph.squeeze(side, 2) for side in graph.split(sides, 2, [1, 1]))
        levels = []
        for level, (feature_map, parts) in enumerate(by_level):
            of_view = Maps(parts[view], feature_map.size, feature_map.channels)
            levels.append(_between_corners(graph, of_view, at, floor, ceil, 2**level))
        views.append(graph.add("Concat", *levels, axis=1))
    return views


def _between_corners(
    graph: GraphWriter, feature_map: Maps, at: str, floor: str, ceil: str, scale: int
) -> str:
    """Weigh four corners of one view's map at coordinates (N, 2) of the 224 map: (N, channels)."""
    add, size = graph.add, feature_map.size
    divisor = graph.constant([scale])
    at = add("Div", at, graph.constant(float(scale)))
    floor = add("Div", floor, divisor)
    # Rounded up, as integers divide towards 0.
    ceil = add("Div", add("Add", ceil, graph.constant([scale - 1])), divisor)
    below = graph.split(add("Sub", at, graph.cast(floor, np.float32)), 1, [1, 1])
    above = graph.split(add("Sub", graph.cast(ceil, np.float32), at), 1, [1, 1])
    # One row and column of zeros stand for everything beyond the border.
    padded = add(
        "Pad", feature_map.value, graph.constant([0, 0, 0, 0, 0, 1, 1, 0]), mode="constant"
    )
    flat = graph.reshape(padded, [(size + 1) ** 2, feature_map.channels])

    def clamped(cells: str) -> list[str]:
        positive = add("Max", cells, graph.constant([0]))
        return graph.split(add("Min", positive, graph.constant([size])), 1, [1, 1])

    (h0, w0), (h1, w1) = clamped(floor), clamped(ceil)
    result: str | None = None
    for h, w, part_h, part_w in (
        (h0, w0, above[0], above[1]),
        (h1, w0, below[0], above[1]),
        (h0, w1, above[0], below[1]),
        (h1, w1, below[0], below[1]),
    ):
        index = add("Add", add("Mul", h, graph.constant([size + 1])), w)
        corner = add("Gather", flat, graph.squeeze(index, 1), axis=0)
        weighed = add("Mul", add("Mul", part_h, part_w), corner)
        result = weighed if result is None else add("Add", result, weighed)
    assert result is not None
    return result


def view_statistics(graph: GraphWriter, views: list[str]) -> list[str]:
    """Maximum, mean and standard deviation over views of (N, C), each (N, C)."""
    add, count = graph.add, graph.constant(float(VIEWS))
    mean = add("Div", add("Sum", *views), count)
    deviations = [add("Sub", view, mean) for view in views]
    squares = [add("Mul", deviation, deviation) for deviation in deviations]
    variance = add("Div", add("Sum", *squares), count)
    deviation = add("Sqrt", add("Add", variance, graph.constant(VARIANCE_FLOOR)))
    return [add("Max", *views), mean, deviation]


def _integers(graph: GraphWriter, value: str) -> str:
    # What a NaN becomes as an integer is undefined in ONNX.
    outside = graph.constant(float(OUTSIDE))
    number = graph.add("Where", graph.add("IsNaN", value), outside, value)
    return graph.cast(number, np.int16)


def _inside(graph: GraphWriter, cell: str, size: int) -> str:
    return graph.add(
        "And",
        graph.add("GreaterOrEqual", cell, graph.constant([0])),
        graph.add("Less", cell, graph.constant([size])),
    )


def _stacked(graph: GraphWriter, parts: list[str]) -> str:
    """Parts (views, …) side by side on a new second axis."""
    return graph.add("Concat", *(graph.unsqueeze(part, 1) for part in parts), axis=1)


def _sum(graph: GraphWriter, value: str, axis: int) -> str:
    """The sum along ``axis``, which stays."""
    return graph.add("ReduceSum", value, graph.constant([axis]), keepdims=1)


def _cross(graph: GraphWriter, a: str, b: str) -> str:
    """Cross products of the rows of two (N, 3)."""

    def turned(vector: str, order: list[int]) -> str:
        return graph.add("Gather", vector, graph.constant(order), axis=1)

    after, before = [1, 2, 0], [2, 0, 1]
    return graph.add(
        "Sub",
        graph.add("Mul", turned(a, after), turned(b, before)),
        graph.add("Mul", turned(a, before), turned(b, after)),
    )
