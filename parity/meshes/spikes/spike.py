"""What a spike is: a vertex whose triangles' angles there add up to less than half a turn.

The angle sum of a vertex is 2π on a flat surface, whatever the triangles' shapes and sizes, and
2π sin α at the tip of a cone of half-angle α. A spike is a vertex below π: a tip sharper than 30°
to its axis, which is higher than √3 times the radius of its foot.

The bound is derived and not tuned. The deficits 2π − sum of all vertices of a closed sphere add up
to 4π (Descartes; Gauss and Bonnet), so that of a convex surface at most three vertices can have
more than π: below the bound are vertices sharper than the corners of a regular tetrahedron, the
sharpest that a convex solid can be made of. A right-angled corner of a thin plate, front and back
together, is exactly on it, so that wing tips are no spikes. The sum knows no length, no frame and
no winding, and no tangential unevenness: a vertex anywhere in the plane of its neighbours has 2π.
"""

import numpy as np

from inputs.files import Float64, Int64

SPIKE = np.pi
"""Angle sum below which a vertex is a spike, in radians."""

# A regular tetrahedron's corners come out on either side of the bound by rounding alone.
_ROUNDING = 1e-9


def angle_sums(vertices: Float64, faces: Int64) -> Float64:
    """The sum of the triangles' angles at each vertex.

    Args:
        vertices: (V, 3), any frame and unit.
        faces: (F, 3), either winding.

    Returns:
        (V,) radians; NaN where a triangle has no angle there, because one of its sides there has
        no length, and where a vertex has no triangle.
    """
    total = np.zeros(len(vertices))
    used = np.zeros(len(vertices), dtype=bool)
    for corner in range(3):
        at, left, right = (faces[:, (corner + turn) % 3] for turn in range(3))
        total += np.bincount(
            at,
            _angle(vertices[left] - vertices[at], vertices[right] - vertices[at]),
            minlength=len(vertices),
        )
        used[at] = True
    return np.where(used, total, np.nan)


def spikes(vertices: Float64, faces: Int64) -> np.ndarray:
    """Which vertices are spikes, (V,) bool. Where no angle sum is defined there is none."""
    return np.asarray(angle_sums(vertices, faces) < SPIKE - _ROUNDING)


def _angle(left: Float64, right: Float64) -> Float64:
    """The angle between vectors (n, 3) each, NaN where one of them is zero."""
    # Unit vectors first: squares of differences of float32 coordinates may underflow nothing here,
    # but products of very long and very short sides lose the short one.
    lengths = [np.linalg.norm(vectors, axis=1, keepdims=True) for vectors in (left, right)]
    with np.errstate(invalid="ignore", divide="ignore"):
        a, b = left / lengths[0], right / lengths[1]
    across = np.linalg.norm(np.cross(a, b), axis=1)
    return np.asarray(np.arctan2(across, np.einsum("ni,ni->n", a, b)))
