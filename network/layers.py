"""The layers of the official network as programs (see ``network.program``).

Each reads like its formula in ``docs/network.md``. Rows come first in every array: vertices, or
hypotheses of vertices, or pixels of views. What a port gets wrong in a layer follows from the
primitives in it.
"""

import inspect
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any

import numpy as np

from network.program import Expression, Program, call, role, trace

VARIANCE_FLOOR = float(np.float32(1e-6))
PI = float(np.float32(np.pi))
FOCAL, CENTRE = 248.0, 112.0
LAST_PIXEL = 223.0
"""Pixels of the 224 image are clamped to [0, 223] before a map is read."""


def image_convolution(
    x: Expression, *, weight: Expression, bias: Expression, stride: int
) -> Expression:
    """ReLU(x * W + b) with TensorFlow's SAME padding; x (views, H, W, C)."""
    return relu(call("conv2d", x, weight, stride=stride) + bias)


def graph_sum(
    x: Expression,
    weights_0: Expression,
    weights_1: Expression,
    bias: Expression,
    support_0: Expression,
    support_1: Expression,
) -> Expression:
    """Σ_k S_k (x W_k) + b over the two supports; x (V, C) or (V, 43, C)."""
    return (
        call("sparse_matmul", support_0, x @ weights_0)
        + call("sparse_matmul", support_1, x @ weights_1)
        + bias
    )


def graph_convolution(
    x: Expression,
    *,
    weights_0: Expression,
    weights_1: Expression,
    bias: Expression,
    support_0: Expression,
    support_1: Expression,
) -> Expression:
    """ReLU(Σ_k S_k (x W_k) + b)."""
    return relu(graph_sum(x, weights_0, weights_1, bias, support_0, support_1))


def coordinates(
    x: Expression,
    *,
    weights_0: Expression,
    weights_1: Expression,
    bias: Expression,
    support_0: Expression,
    support_1: Expression,
) -> Expression:
    """Σ_k S_k (x W_k) + b: a block's vertices (V, 3)."""
    return graph_sum(x, weights_0, weights_1, bias, support_0, support_1)


@role("residual")
def halved_sum(x: Expression, r: Expression) -> Expression:
    """(x + r)·0.5: a residual of the coarse stage."""
    return 0.5 * (x + r)


@role("residual")
def plain_sum(x: Expression, r: Expression) -> Expression:
    """A residual of the refine stage, x + r."""
    return x + r


def concatenation(x: Expression, hidden: Expression) -> Expression:
    """Features and hidden features side by side."""
    return concatenate(x, hidden, axis=1)


def unpooling(x: Expression, *, pairs: Expression) -> Expression:
    """Parents first, then the mean of each edge's two ends."""
    return concatenate(x, edge_means(x, pairs), axis=0)


@role("reduction")
def edge_means(x: Expression, pairs: Expression) -> Expression:
    """(x_a + x_b)·0.5 of the ends a, b of every edge (E, 2)."""
    return 0.5 * (call("gather", x, pairs[:, 0]) + call("gather", x, pairs[:, 1]))


def hypotheses(mesh: Expression, *, offsets: Expression) -> Expression:
    """Every vertex with the 43 offsets added: (V, 43, 3)."""
    return mesh[:, None] + offsets


@role("reduction")
def softmax(x: Expression) -> Expression:
    """exp(x − max) over its sum along the hypotheses: (V, 43, 1).

    The maximum is shifted out: the result does not depend on it, nor does the gradient.
    """
    power = call("exp", x - call("detach", call("reduce_max", x, axis=1)))
    return power / call("reduce_sum", power, axis=1)


def displaced_vertices(score: Expression, mesh: Expression, *, offsets: Expression) -> Expression:
    """Σ score·offset + old vertex: (V, 3)."""
    return call("reduce_sum", score * offsets, axis=1, keep=False) + mesh


def coarse_projection(
    points: Expression, *maps: Expression, cameras: Expression, scales: tuple[int, ...]
) -> Expression:
    """Coordinates and statistics over the views of the cells that points (N, 3) fall into.

    The official index is divided as a whole, the view's number too, so that every view reads the
    maps of view 0.
    """
    inside = call("clip", pixels(points, cameras), low=0.0, high=LAST_PIXEL)
    at = call("decide", inside, every=float(scales[0]), low=0.0, high=LAST_PIXEL, at_border=False)
    features = [
        call("gather_pixels", each, call("floor", at * (1.0 / scale)), view=0)
        for each, scale in zip(maps, scales, strict=True)
    ]
    return concatenate(points, view_statistics(concatenate(*features, axis=2)), axis=1)


def refine_projection(
    points: Expression, *maps: Expression, cameras: Expression, scales: tuple[int, ...]
) -> Expression:
    """The same between the four corners around each pixel (N = V·43 hypotheses).

    A coordinate that is an integer has floor = ceil, so that all its weights are 0; beyond a map's
    last row or column there are zeros.
    """
    inside = call("clip", pixels(points, cameras), low=0.0, high=LAST_PIXEL)
    at = call("decide", inside, every=1.0, low=0.0, high=LAST_PIXEL, at_border=True)
    features = []
    for each, scale in zip(maps, scales, strict=True):
        place = at * (1.0 / scale)
        first, last = call("floor", place), call("ceil", place)
        corners = [
            call("gather_pixels", each, corner, view=None)
            for corner in (
                first,
                stack(last[..., 0], first[..., 1]),
                stack(first[..., 0], last[..., 1]),
                last,
            )
        ]
        features.append(call("bilinear", place, first, last, *corners))
    return concatenate(points, view_statistics(concatenate(*features, axis=2)), axis=1)


@role("pooling statistic")
def view_statistics(features: Expression) -> Expression:
    """Maximum, mean and deviation over the views: (N, views, C) to (N, 3·C).

    The mean that a variance is taken about hands back Σ (x − mean) = 0: it is left out there.
    """
    top = call("reduce_max", features, axis=1, keep=False)
    mean = call("reduce_mean", features, axis=1)
    squares = call("square", features - call("detach", mean))
    variance = call("reduce_mean", squares, axis=1, keep=False)
    deviation = call("sqrt", variance + VARIANCE_FLOOR)
    return concatenate(top, mean[:, 0], deviation, axis=1)


@role("camera")
def pixels(points: Expression, cameras: Expression) -> Expression:
    """Pixels (N, views, 2), h and w, of points (N, 3) in the camera frame of view 0."""
    position, rows = camera_frames(cameras)
    inverse = call("inverse", call("transpose", rows[0], axes=(1, 0)))
    world = dot(points[:, None, :], call("transpose", inverse, axes=(1, 0))[None]) + position[0]
    away = call("materialise", world)[:, None, :] - position
    seen = dot(away[:, :, None, :], rows)
    depth = 0.0 - seen[..., 2]
    h = times(FOCAL, (0.0 - seen[..., 1]) / depth) + CENTRE
    w = times(FOCAL, seen[..., 0] / depth) + CENTRE
    return stack(h, w)


def camera_frames(cameras: Expression) -> tuple[Expression, Expression]:
    """Positions (views, 3) and the unit rows right, up, backward (views, 3, 3) of the cameras."""
    azimuth, elevation, distance = (cameras[:, column] for column in (0, 1, 3))
    theta, phi = azimuth * PI / 180.0, elevation * PI / 180.0
    height, level = distance * sin(phi), distance * cos(phi)
    position = [level * cos(theta), height, level * sin(theta)]
    opposite = theta + PI
    up = [height * cos(opposite), level, height * sin(opposite)]
    right = [
        times(up[1], position[2]) - times(up[2], position[1]),
        times(up[2], position[0]) - times(up[0], position[2]),
        times(up[0], position[1]) - times(up[1], position[0]),
    ]
    rows = stack(*(unit(stack(*row)) for row in (right, up, position)), axis=1)
    return stack(*position), rows


def unit(row: Expression) -> Expression:
    """Vectors (…, 3) divided by their lengths."""
    return row / call("sqrt", call("reduce_sum", row * row, axis=-1))


def times(a: Expression | float, b: Expression) -> Expression:
    """a·b, an intermediate result."""
    return call("materialise", a * b)


def dot(a: Expression, b: Expression) -> Expression:
    """Σ a_i·b_i over the last axis, an intermediate result."""
    return call("materialise", call("reduce_sum", a * b, axis=-1, keep=False))


def relu(x: Expression) -> Expression:
    """max(x, 0)."""
    return call("relu", x)


def sin(x: Expression) -> Expression:
    """The sine of an angle in radians."""
    return call("sin", x)


def cos(x: Expression) -> Expression:
    """The cosine of an angle in radians."""
    return call("cos", x)


def concatenate(*parts: Expression, axis: int) -> Expression:
    """Join along an axis."""
    return call("concatenate", *parts, axis=axis)


def stack(*parts: Expression, axis: int = -1) -> Expression:
    """Join along a new axis."""
    return call("stack", *parts, axis=axis)


INPUTS: dict[str, str] = {
    "bias": "bias",
    "weight": "weights",
    "weights_0": "weights",
    "weights_1": "weights",
    "support_0": "support",
    "support_1": "support",
    "cameras": "camera",
    "offsets": "hypothesis order",
    "pairs": "index order",
}
"""What a diagnosis calls a mistake in a variable or a constant, by its name in programs."""


PROGRAMS: dict[str, Callable[..., Expression]] = {
    each.__name__: each
    for each in (
        image_convolution,
        graph_convolution,
        coordinates,
        halved_sum,
        plain_sum,
        concatenation,
        unpooling,
        hypotheses,
        softmax,
        displaced_vertices,
        coarse_projection,
        refine_projection,
    )
}
"""The layers by their names in ``TapRow.layer``."""
PROGRAMS["local_graph_convolution"] = graph_convolution
KINDS = {
    "image_convolution": "convolutions of the image network",
    "graph_convolution": "graph convolutions",
    "coordinates": "graph convolutions",
    "local_graph_convolution": "local graph convolutions",
    "halved_sum": "residuals",
    "plain_sum": "residuals",
    "concatenation": "concatenations",
    "unpooling": "unpoolings",
    "hypotheses": "hypotheses",
    "softmax": "scores",
    "displaced_vertices": "displaced meshes",
    "coarse_projection": "projections",
    "refine_projection": "projections",
}
"""What the layers are called, in the plural."""
SUMS = ("halved_sum", "plain_sum")
"""The layers that join a residual to what it goes around."""


@cache
def _program(layer: str, maps: int, settings: tuple[tuple[str, Any], ...]) -> Program:
    return trace(PROGRAMS[layer], maps, **dict(settings))


def program_of(layer: str, parents: int, settings: Mapping[str, Any]) -> Program:
    """The program of a layer that reads so many activations; the same object for the same ones."""
    code = inspect.unwrap(PROGRAMS[layer]).__code__
    variadic = bool(code.co_flags & inspect.CO_VARARGS)
    return _program(layer, parents - code.co_argcount if variadic else 0, tuple(settings.items()))
