"""Cameras, pixels and the features that a vertex finds at its pixels in the three views.

The order of the arithmetic is the exported graph's, operation by operation: which pixel a vertex
falls into is decided by the last bit.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tf_reference.graph import chunks
from tf_reference.runtime import tf

# Float32 values, widened in float64 as well.
PI = float(np.float32(np.pi))
_EPSILON = float(np.float32(1e-6))

_VIEWS = 3
_FOCAL = 248.0
_CENTRE = 112.0
_LAST_PIXEL = 223.0
_COARSE_DIVISORS = (4, 8, 16, 32)
_REFINE_DIVISORS = (1, 2, 4)
_ROWS_AT_ONCE = 32768


@dataclass(frozen=True)
class CameraFrame:
    """A camera's place.

    Attributes:
        position: (3,), metres, world frame.
        rotation: (3, 3), rows right, up and towards the camera, each of length 1.
    """

    position: "tf.Tensor"
    rotation: "tf.Tensor"


def camera_frame(camera: "tf.Tensor") -> CameraFrame:
    """The place of a camera from its row azimuth, elevation (degrees), _, distance (metres), _."""
    azimuth = camera[0] * PI / 180.0
    elevation = camera[1] * PI / 180.0
    distance = camera[3]
    height = distance * tf.sin(elevation)
    level = distance * tf.cos(elevation)
    position = tf.stack([level * tf.cos(azimuth), height, level * tf.sin(azimuth)])
    opposite = azimuth + PI
    up = tf.stack([height * tf.cos(opposite), level, height * tf.sin(opposite)])
    right = tf.linalg.cross(up, position)
    return CameraFrame(position, tf.stack([_unit(right), _unit(up), _unit(position)]))


def _unit(vector: "tf.Tensor") -> "tf.Tensor":
    return vector / tf.sqrt(tf.reduce_sum(vector * vector))


def pixels(points: "tf.Tensor", cameras: "tf.Tensor", view: int) -> tuple["tf.Tensor", "tf.Tensor"]:
    """Where ``view`` sees the points: rows h and columns w of the 224 x 224 image.

    Args:
        points: (N, 3), metres, camera frame of view 0.
        cameras: (3, 5).
        view: 0, 1 or 2.

    Returns:
        h and w, (N,) each, in pixels, clamped to [0, 223].
    """
    first, seen_by = camera_frame(cameras[0]), camera_frame(cameras[view])
    world = tf.matmul(points, tf.linalg.inv(tf.transpose(first.rotation))) + first.position
    seen = tf.matmul(world - seen_by.position, tf.transpose(seen_by.rotation))
    x, y, depth = seen[:, 0], seen[:, 1], seen[:, 2]
    h = _FOCAL * (-y / -depth) + _CENTRE
    w = _FOCAL * (x / -depth) + _CENTRE
    return (
        tf.minimum(tf.maximum(h, 0.0), _LAST_PIXEL),
        tf.minimum(tf.maximum(w, 0.0), _LAST_PIXEL),
    )


@dataclass(frozen=True)
class _Pixels:
    """Feature maps as a list of pixels, each map with a row and a column of zeros after it.

    A pixel outside the map has features 0, as in the official GPU kernel: a coordinate clamped
    at 223 is 111.5 in the 112 map, whose ceil is not one of its rows.

    Attributes:
        values: (views * (height + 1) * (width + 1), C).
        starts: (views, 1), where each view's map starts in the list.
        height: rows of a map.
        width: columns of a map.
    """

    values: "tf.Tensor"
    starts: "tf.Tensor"
    height: int
    width: int

    @classmethod
    def of(cls, maps: "tf.Tensor") -> "_Pixels":
        """From (views, H, W, C) maps."""
        views, height, width, channels = maps.shape
        padded = tf.pad(maps, ((0, 0), (0, 1), (0, 1), (0, 0)))
        starts = tf.range(views)[:, None] * ((height + 1) * (width + 1))
        return cls(tf.reshape(padded, (-1, channels)), starts, height, width)

    def row(self, h: "tf.Tensor") -> "tf.Tensor":
        """Where row ``h`` (views, N) starts in the list; any row outside is the one of zeros."""
        inside = (h >= 0) & (h < self.height)
        return self.starts + tf.where(inside, h, self.height) * (self.width + 1)

    def column(self, w: "tf.Tensor") -> "tf.Tensor":
        """What column ``w`` (views, N) adds to the row's start."""
        inside = (w >= 0) & (w < self.width)
        return tf.where(inside, w, self.width)

    def at(self, row: "tf.Tensor", column: "tf.Tensor") -> "tf.Tensor":
        """The features (views, N, C) at the places that ``row`` and ``column`` gave."""
        return tf.gather(self.values, row + column)


def _statistics(features: "tf.Tensor") -> list["tf.Tensor"]:
    """Greatest, mean and standard deviation over the views: (3, N, C) to three (N, C)."""
    mean = tf.reduce_mean(features, axis=0)
    deviation = features - tf.reduce_mean(features, axis=0, keepdims=True)
    variance = tf.reduce_mean(tf.square(deviation), axis=0)
    return [tf.reduce_max(features, axis=0), mean, tf.sqrt(variance + _EPSILON)]


def coarse_projection(
    mesh: "tf.Tensor", cameras: "tf.Tensor", maps: Sequence["tf.Tensor"]
) -> "tf.Tensor":
    """Coordinates and statistics over the views of the features at each vertex's cells.

    Official quirk: the index (view, h, w) is divided as a whole, by 4 or more, so that the view
    number becomes 0. Every view reads the maps of view 0 (at its own pixels).

    Args:
        mesh: (V, 3), metres, camera frame of view 0.
        cameras: (3, 5).
        maps: (3, H, W, C) each, of sides 56, 28, 14, 7.

    Returns:
        (V, 3 + 3 * 960).
    """
    # The cells (3, V, 2 = h, w) of the 56 map.
    cells = tf.stack(
        [
            tf.cast(tf.stack(pixels(mesh, cameras, view), axis=1) / 4.0, tf.int32)
            for view in range(_VIEWS)
        ]
    )
    levels = []
    for divisor, level in zip(_COARSE_DIVISORS, maps, strict=True):
        # int(h / 8) is int(h / 4) // 2, and so on down: h is not negative.
        h, w = tf.unstack(cells // (divisor // 4), axis=2)
        of_view_0 = _Pixels.of(level[:1])
        levels.append(of_view_0.at(of_view_0.row(h), of_view_0.column(w)))
    return tf.concat([mesh, *_statistics(tf.concat(levels, axis=2))], axis=1)


@dataclass(frozen=True)
class _Coordinates:
    """Continuous pixel coordinates, and their floors and ceils, (3 views, N) each."""

    value: "tf.Tensor"
    below: "tf.Tensor"
    above: "tf.Tensor"

    def scaled(self, divisor: int) -> "_Coordinates":
        """The same in a map that is smaller by a power of two: all divisions are exact."""
        return _Coordinates(
            self.value / float(divisor),
            tf.floor(self.below / float(divisor)),
            tf.math.ceil(self.above / float(divisor)),
        )

    def part(self, rows: slice) -> "_Coordinates":
        return _Coordinates(self.value[:, rows], self.below[:, rows], self.above[:, rows])


def _bilinear(features: _Pixels, h: _Coordinates, w: _Coordinates) -> "tf.Tensor":
    """The official interpolation between four pixels, (3, N, C).

    Official quirk: where a coordinate is an integer, its floor is its ceil, both its weights are
    0, and the features vanish.
    """
    h_below = h.above - h.value, features.row(tf.cast(h.below, tf.int32))
    h_above = h.value - h.below, features.row(tf.cast(h.above, tf.int32))
    w_below = w.above - w.value, features.column(tf.cast(w.below, tf.int32))
    w_above = w.value - w.below, features.column(tf.cast(w.above, tf.int32))
    corners = ((h_below, w_below), (h_above, w_below), (h_below, w_above), (h_above, w_above))
    return tf.add_n(
        [
            tf.expand_dims(h_weight * w_weight, 2) * features.at(row, column)
            for (h_weight, row), (w_weight, column) in corners
        ]
    )


def _coordinates(points: "tf.Tensor", cameras: "tf.Tensor") -> tuple[_Coordinates, _Coordinates]:
    """The pixel coordinates h and w of every point in every view."""
    views = [pixels(points, cameras, view) for view in range(_VIEWS)]
    found = []
    for axis in range(2):
        value = tf.stack([view[axis] for view in views])
        found.append(_Coordinates(value, tf.floor(value), tf.math.ceil(value)))
    return found[0], found[1]


def local_projection(
    hypotheses: "tf.Tensor", cameras: "tf.Tensor", maps: Sequence["tf.Tensor"]
) -> "tf.Tensor":
    """Coordinates and statistics over the views of the features around each hypothesis.

    Args:
        hypotheses: (V, 43, 3), metres, camera frame of view 0.
        cameras: (3, 5).
        maps: (3, H, W, C) each, of sides 224, 112, 56; each view reads its own.

    Returns:
        (V * 43, 3 + 3 * 112).
    """
    points = tf.reshape(hypotheses, (-1, 3))
    h, w = _coordinates(points, cameras)
    levels = [
        (divisor, _Pixels.of(level)) for divisor, level in zip(_REFINE_DIVISORS, maps, strict=True)
    ]

    def features(rows: slice) -> "tf.Tensor":
        scaled = [
            _bilinear(pixel_list, h.part(rows).scaled(divisor), w.part(rows).scaled(divisor))
            for divisor, pixel_list in levels
        ]
        return tf.concat([points[rows], *_statistics(tf.concat(scaled, axis=2))], axis=1)

    return tf.concat([features(rows) for rows in chunks(points.shape[0], _ROWS_AT_ONCE)], axis=0)
