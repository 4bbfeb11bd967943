"""Pairs of triangles of one mesh that pass through each other."""

import numpy as np

from inputs.files import Float64, Int64

_CHUNK = 400_000


def intersecting_pairs(vertices: Float64, faces: Int64) -> Int64:
    """All pairs of triangles that intersect, neighbours along an edge left out.

    Two triangles intersect where a side of one passes through the inside of the other. For two
    that share a corner only the sides away from it count. Triangles that merely touch, or lie in
    one plane, do not count: in floating point that is not decided.

    Args:
        vertices: (V, 3).
        faces: (F, 3), either winding.

    Returns:
        (n, 2) triangles, the smaller number first.
    """
    found = [np.zeros((0, 2), dtype=np.int64)]
    for pairs in _boxes_meeting(vertices[faces]):
        shared = (faces[pairs[:, 0]][:, :, None] == faces[pairs[:, 1]][:, None, :]).sum(axis=(1, 2))
        pairs = pairs[shared < 2]
        if len(pairs):
            hit = _sides_through(vertices, faces, pairs) | _sides_through(
                vertices, faces, pairs[:, ::-1]
            )
            found.append(pairs[hit])
    return np.unique(np.sort(np.concatenate(found), axis=1), axis=0)


def _boxes_meeting(corners: Float64) -> list[Int64]:
    """Pairs whose bounding boxes meet: sorted along the longest axis, swept, then filtered."""
    low, high = corners.min(axis=1), corners.max(axis=1)
    axis = int(np.argmax(np.ptp(corners.reshape(-1, 3), axis=0)))
    order = np.argsort(low[:, axis], kind="stable")
    low, high = low[order], high[order]
    ends = np.searchsorted(low[:, axis], high[:, axis], side="right")
    counts = np.maximum(ends - np.arange(len(order)) - 1, 0)
    found = []
    bounds = np.concatenate([[0], np.cumsum(counts)])
    start = 0
    while start < len(order):
        stop = max(start + 1, int(np.searchsorted(bounds, bounds[start] + _CHUNK)) - 1)
        rows = np.repeat(np.arange(start, stop), counts[start:stop])
        inside = np.arange(len(rows)) - np.repeat(
            bounds[start:stop] - bounds[start], counts[start:stop]
        )
        columns = rows + 1 + inside
        meets = ((low[rows] <= high[columns]) & (low[columns] <= high[rows])).all(axis=1)
        found.append(np.stack([order[rows[meets]], order[columns[meets]]], axis=1))
        start = stop
    return found


def _sides_through(vertices: Float64, faces: Int64, pairs: Int64) -> np.ndarray:
    """Whether a side of each pair's first triangle passes through its second one.

    Signed volumes of the corner tetrahedra: a side crosses the plane where its ends lie on either
    side, and the inside where it passes all three edges on the same hand.
    """
    first, second = faces[pairs[:, 0]], faces[pairs[:, 1]]
    a, b, c = (vertices[second[:, corner]] for corner in range(3))
    hit = np.zeros(len(pairs), dtype=bool)
    for corner in range(3):
        ends = first[:, [corner, (corner + 1) % 3]]
        apart = ~(ends[:, :, None] == second[:, None, :]).any(axis=(1, 2))
        p, q = vertices[ends[:, 0]], vertices[ends[:, 1]]
        crosses = _volume(p, a, b, c) * _volume(q, a, b, c) < 0
        hands = [_volume(p, q, *edge) for edge in ((a, b), (b, c), (c, a))]
        same = (hands[0] * hands[1] > 0) & (hands[1] * hands[2] > 0)
        hit |= apart & crosses & same
    return hit


def _volume(a: Float64, b: Float64, c: Float64, d: Float64) -> Float64:
    return np.asarray(np.einsum("ni,ni->n", b - a, np.cross(c - a, d - a)))
