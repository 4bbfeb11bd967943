"""The loss terms of a block as programs, weighted as they enter the total.

Formulas as in ``docs/losses.md``. ``before`` is the block's input mesh, ``after`` its output mesh;
where the block unpools, ``before`` is the mesh before that, and ``pairs`` the ends of its edges.
"""

from functools import cache

from network.layers import concatenate, edge_means
from network.losses import SQUARE_FLOOR, LossFactors
from network.program import Expression, Program, call, role, trace


def chamfer(
    after: Expression,
    *,
    points: Expression,
    corner_a: Expression,
    corner_b: Expression,
    corner_c: Expression,
    r1: Expression,
    r2: Expression,
    weight: float,
    backward: float,
) -> Expression:
    """Mean squared distances between the ground truth and the mesh's vertices and samples."""
    cloud = with_samples(after, surface_points(after, corner_a, corner_b, corner_c, r1, r2))
    from_truth = mean(call("nearest_square", points, cloud))
    from_cloud = mean(call("nearest_square", cloud, points))
    return (from_truth + from_cloud * backward) * weight


@role("samples")
def with_samples(mesh: Expression, samples: Expression) -> Expression:
    """The points of a mesh that are compared: its vertices, then its samples."""
    return concatenate(mesh, samples, axis=0)


@role("samples")
def surface_points(
    mesh: Expression,
    corner_a: Expression,
    corner_b: Expression,
    corner_c: Expression,
    r1: Expression,
    r2: Expression,
) -> Expression:
    """(1 − √r1)·A + √r1·(1 − r2)·B + √r1·r2·C of the corners of S triangles; r1, r2 (S, 1)."""
    a, b, c = (call("gather", mesh, corner) for corner in (corner_a, corner_b, corner_c))
    root = call("materialise", call("sqrt", r1))
    return (1.0 - root) * a + root * (1.0 - r2) * b + root * r2 * c


def edge(after: Expression, *, first: Expression, second: Expression, weight: float) -> Expression:
    """Mean squared length of the pairs of vertices, those of one vertex with itself included."""
    return mean(square_length(edges(after, first, second))) * weight


def normal(
    after: Expression,
    *,
    points: Expression,
    normals: Expression,
    first: Expression,
    second: Expression,
    weight: float,
) -> Expression:
    """Mean |cosine| between a pair's edge and the ground truth's normal nearest to its start."""
    near = call("nearest_gather", after, points, unit(normals))
    along = call("gather", near, first) * unit(edges(after, first, second))
    return mean(magnitude(call("reduce_sum", along, axis=-1, keep=False))) * weight


def laplace(
    before: Expression,
    after: Expression,
    *,
    neighbours: Expression,
    degrees: Expression,
    weight: float,
) -> Expression:
    """Mean squared change of the vertices' distances from the mean of their neighbours."""
    change = from_neighbours(before, neighbours, degrees) - from_neighbours(
        after, neighbours, degrees
    )
    return mean(square_length(change)) * weight


def move(before: Expression, after: Expression, *, weight: float) -> Expression:
    """Mean squared way of a vertex."""
    return mean(square_length(before - after)) * weight


def unpooled_laplace(
    before: Expression,
    after: Expression,
    *,
    pairs: Expression,
    neighbours: Expression,
    degrees: Expression,
    weight: float,
) -> Expression:
    """``laplace`` of a block that unpools."""
    whole = unpooled(before, pairs)
    return laplace(whole, after, neighbours=neighbours, degrees=degrees, weight=weight)


def unpooled_move(
    before: Expression, after: Expression, *, pairs: Expression, weight: float
) -> Expression:
    """``move`` of a block that unpools."""
    return move(unpooled(before, pairs), after, weight=weight)


def unpooled(mesh: Expression, pairs: Expression) -> Expression:
    """Vertices, then the mean of each edge's two ends."""
    return concatenate(mesh, edge_means(mesh, pairs), axis=0)


def edges(mesh: Expression, first: Expression, second: Expression) -> Expression:
    """From the second vertex of every pair to the first: (n, 3)."""
    return call("gather", mesh, first) - call("gather", mesh, second)


def from_neighbours(mesh: Expression, neighbours: Expression, degrees: Expression) -> Expression:
    """Each vertex minus the mean of its neighbours; a matrix of zeros and ones, degrees (V, 1)."""
    around = call("sparse_matmul", neighbours, mesh) / degrees
    return mesh - around


def unit(vectors: Expression) -> Expression:
    """Vectors (n, 3) over their lengths, which are at least √floor."""
    squares = call("reduce_sum", vectors * vectors, axis=-1)
    return vectors / call("sqrt", floored(squares))


@role("epsilon")
def floored(squares: Expression) -> Expression:
    """At least the floor, so that a vector of no length is divided by no zero."""
    return call("clip", squares, low=SQUARE_FLOOR)


@role("reduction")
def magnitude(values: Expression) -> Expression:
    """|x|."""
    return call("abs", values)


@role("reduction")
def square_length(vectors: Expression) -> Expression:
    """Σ x² of vectors (n, 3): (n,)."""
    squares = call("square", vectors)
    return call("materialise", call("reduce_sum", squares, axis=-1, keep=False))


@role("reduction")
def mean(values: Expression) -> Expression:
    """Over the only axis."""
    return call("reduce_mean", values, axis=0, keep=False)


@cache
def terms_of(factors: LossFactors, unpools: bool, normals: bool) -> dict[str, Program]:
    """The programs of a block's terms, by the names that traces give them, less the number."""
    found = {
        "chamfer": trace(chamfer, weight=factors.chamfer, backward=factors.backward),
        "edge": trace(edge, weight=factors.edge),
        "laplace": trace(unpooled_laplace if unpools else laplace, weight=factors.laplace),
        "move": trace(unpooled_move if unpools else move, weight=factors.move),
    }
    if normals:
        found["normal"] = trace(normal, weight=factors.normal)
    return found
