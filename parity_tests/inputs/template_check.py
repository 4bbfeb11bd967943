"""Whether a template is what it claims: a closed surface, halved twice, with its own Laplacians."""

from collections.abc import Iterator
from itertools import pairwise

import numpy as np
import scipy.sparse as sp
from scipy.sparse.csgraph import connected_components

from inputs.files import Array, Float64, Int64
from inputs.graphs import (
    directed_edges,
    edges_of,
    enclosed_volume,
    extreme_eigenvalues,
    neighbours_of,
    scaled_laplacian,
)
from inputs.template import MOST_NEIGHBOURS, SparseMatrix, Template
from network.levels import EDGES, FACES, VERTICES

# The values are float32: a scaled eigenvalue of exactly ±1 may come out this far beyond.
_SPECTRUM_TOLERANCE = 1e-5
_VALUE_TOLERANCE = 1e-6


def check_template(template: Template) -> tuple[str, ...]:
    """What is wrong with a template, in sentences; empty when it is sound.

    Checked on every level: indices in range; each edge in exactly two faces, in opposite
    directions, faces wound outwards; Euler's formula V − E + F = 2; one connected part (exactly one
    zero eigenvalue of the Laplacian); the supports are the identity and 2L/λmax − I of the faces'
    edges, its spectrum in [−1, 1]; the Laplace table lists the faces' neighbours. Between levels:
    new vertices halve every edge once and faces split in four. Coordinates must be finite.

    The official file is sound but for its winding: about half of the faces of levels 2 and 3 look
    inward.
    """
    return tuple(_findings(template))


def _findings(template: Template) -> Iterator[str]:
    if not np.isfinite(template.coordinates).all():
        yield "coordinates are NaN or infinite"
        return
    points = template.coordinates.astype(np.float64)
    if points.shape != (VERTICES[0], 3):
        yield f"coordinates have shape {points.shape}, not {(VERTICES[0], 3)}"
        return
    for level, vertices in enumerate(VERTICES):
        at = f"level {level + 1}"
        faces = template.faces[level]
        if faces.shape != (FACES[level], 3) or faces.min() < 0 or faces.max() >= vertices:
            yield f"{at}: faces are not {FACES[level]} triples of vertices below {vertices}"
            return
        yield from (f"{at}: {finding}" for finding in _surface(points, faces, EDGES[level]))
        edges = edges_of(faces)
        if len(np.unique(faces)) != vertices:
            yield f"{at}: some vertices are in no face"
            return
        yield from (
            f"{at}: {finding}" for finding in _supports(template.supports[level], edges, vertices)
        )
        yield from (
            f"{at}: {finding}" for finding in _laplace(template.laplace[level], edges, vertices)
        )
        if level < 2:
            pairs = template.unpooling[level].astype(np.int64)
            if pairs.shape != (EDGES[level], 2) or pairs.min() < 0 or pairs.max() >= vertices:
                yield f"{at}: unpooling is not {EDGES[level]} pairs of vertices below {vertices}"
                return
            if not np.array_equal(np.unique(np.sort(pairs, axis=1), axis=0), edges):
                yield f"{at}: unpooling does not halve each edge of the faces once"
                return
            if not _splits(faces, pairs, template.faces[level + 1], vertices):
                yield f"{at}: the next level's faces are not these, each split in four"
            points = np.concatenate([points, points[pairs].mean(axis=1)])


def _surface(points: Float64, faces: Int64, edge_count: int) -> Iterator[str]:
    vertices = len(points)
    sides = directed_edges(faces)
    _, uses = np.unique(np.sort(sides, axis=1), axis=0, return_counts=True)
    if (uses != 2).any():
        yield f"{int((uses != 2).sum())} edges are not in exactly two faces"
    if vertices - len(uses) + len(faces) != 2 or len(uses) != edge_count:
        yield f"V − E + F is {vertices - len(uses) + len(faces)} with {len(uses)} edges, not 2"
    parts = connected_parts(edges_of(faces), vertices)
    if parts != 1:
        yield f"falls into {parts} parts: the Laplacian has as many zero eigenvalues"
    if len(np.unique(sides, axis=0)) != len(sides):
        yield "faces are wound inconsistently"
    elif enclosed_volume(points - points.mean(axis=0), faces) <= 0:
        yield "faces are wound inwards"


def _supports(support: tuple[SparseMatrix, ...], edges: Int64, vertices: int) -> Iterator[str]:
    if len(support) != 2 or any(each.shape != (vertices, vertices) for each in support):
        yield f"the supports are not two {vertices}×{vertices} matrices"
        return
    for each in support:
        if not np.isfinite(each.values).all():
            yield "a support is NaN or infinite"
            return
        if each.indices.min() < 0 or each.indices.max() >= vertices:
            yield "a support has indices out of range"
            return
    identity, scaled = (_matrix(each) for each in support)
    if abs(identity - sp.csr_array(sp.eye(vertices))).max() != 0:
        yield "the first support is not the identity"
    if abs(scaled - scaled_laplacian(edges, vertices)).max() > _VALUE_TOLERANCE:
        yield "the second support is not 2L/λmax − I of the faces' edges"
    low, high = extreme_eigenvalues(((scaled + scaled.T) / 2).tocsr())
    if low < -1 - _SPECTRUM_TOLERANCE or high > 1 + _SPECTRUM_TOLERANCE:
        yield f"the second support's eigenvalues reach from {low:.6f} to {high:.6f}, beyond ±1"


def _laplace(table: Array, edges: Int64, vertices: int) -> Iterator[str]:
    if table.shape != (vertices, MOST_NEIGHBOURS + 2):
        yield f"the Laplace table has shape {table.shape}"
        return
    listed = table[:, :MOST_NEIGHBOURS].astype(np.int64)
    own = table[:, -2] == np.arange(vertices)
    counted = table[:, -1] == (listed >= 0).sum(axis=1)
    neighbours = neighbours_of(edges, vertices)
    wrong = [
        vertex
        for vertex, row in enumerate(listed)
        if not (own[vertex] and counted[vertex])
        or sorted(row[row >= 0].tolist()) != neighbours[vertex].tolist()
    ]
    if wrong:
        yield f"the Laplace table is wrong for {len(wrong)} vertices, the first {wrong[0]}"


def _splits(faces: Int64, pairs: Int64, children: Int64, vertices: int) -> bool:
    """Whether ``children`` are the faces' quarters, in any order and winding."""
    number_of = {frozenset(pair): vertices + number for number, pair in enumerate(pairs.tolist())}
    quarters = set()
    for corners in faces.tolist():
        middles = [number_of[frozenset(side)] for side in pairwise([*corners, corners[0]])]
        quarters.add(frozenset(middles))
        for corner in range(3):
            quarters.add(frozenset((corners[corner], middles[corner], middles[corner - 1])))
    return {frozenset(child) for child in children.tolist()} == quarters


def _matrix(support: SparseMatrix) -> sp.csr_array:
    values = support.values.astype(np.float64)
    return sp.csr_array((values, (support.indices[:, 0], support.indices[:, 1])), support.shape)


def connected_parts(edges: Int64, vertices: int) -> int:
    """How many parts a graph falls into: the multiplicity of L's eigenvalue 0."""
    ones = np.ones(len(edges))
    adjacency = sp.csr_array((ones, (edges[:, 0], edges[:, 1])), shape=(vertices, vertices))
    return int(connected_components(adjacency, directed=False)[0])
