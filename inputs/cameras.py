"""The network's camera model in NumPy: frames, and the pixels that points fall on.

For ground truth, reports and the margins of decisions. The implementations under comparison each
have a camera of their own and do not use this one.

Frames: *object* (ShapeNet's, unit bounding-box diagonal), *world* (object × 0.57), and one *camera
frame* a view, X to the right, Y up, Z towards the viewer, so that visible points have negative Z.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

OBJECT_TO_WORLD = 0.57
"""World units in an object unit."""

IMAGE_SIZE = 224
"""Width and height of the network's images, in pixels."""

FOCAL = 248.0
"""Focal length, in pixels of the 224 image."""

CENTRE = 112.0
"""Principal point, in pixels of the 224 image, both ways."""

# The exported graphs hold pi as a float32 constant, also where they compute in float64.
_PI = float(np.float32(np.pi))

Floats = npt.NDArray[Any]
"""Floating-point numbers in the precision that the caller asked for."""


@dataclass(frozen=True, eq=False)
class Camera:
    """Where a view is taken from.

    Attributes:
        position: (3,), world frame.
        rotation: (3, 3), rows right, up and backwards, unit vectors of the world frame.
    """

    position: Floats
    rotation: Floats


def camera_from_row(row: npt.ArrayLike, dtype: npt.DTypeLike = np.float64) -> Camera:
    """The camera of one row of ``rendering_metadata.txt``.

    With θ azimuth, φ elevation, d distance: position (d cos φ cos θ, d sin φ, d cos φ sin θ), as
    in the exported graphs, whose order of operations this keeps.

    Args:
        row: (5,) azimuth and elevation in degrees, in-plane rotation, distance, field of view; the
            third and the fifth are not used. Rounded to float32 first, as the network's feeds are.
        dtype: precision of the computation.
    """
    azimuth, elevation, _, distance, _ = np.asarray(row, np.float32).astype(dtype)
    pi = np.asarray(_PI, dtype)
    theta = azimuth * pi / np.asarray(180.0, dtype)
    phi = elevation * pi / np.asarray(180.0, dtype)
    height = distance * np.sin(phi)
    level = distance * np.cos(phi)
    position = np.stack([level * np.cos(theta), height, level * np.sin(theta)])
    up = np.stack([height * np.cos(theta + pi), level, height * np.sin(theta + pi)])
    axes = np.stack([np.cross(up, position), up, position])
    lengths = np.sqrt(np.sum(axes * axes, axis=1, keepdims=True))
    return Camera(position, axes / lengths)


def camera_to_world(points: Floats, camera: Camera) -> Floats:
    """Points (N, 3) from the camera's frame to the world: v · inv(Rᵀ) + p."""
    return points @ np.linalg.inv(camera.rotation.T) + camera.position


def world_to_camera(points: Floats, camera: Camera) -> Floats:
    """Points (N, 3) from the world to the camera's frame: (v − p) · Rᵀ."""
    return (points - camera.position) @ camera.rotation.T


def pixels(points: Floats, clamp: bool = True) -> Floats:
    """Where points fall on the 224 image.

    Args:
        points: (N, 3), frame of the camera that took the image.
        clamp: keep to [0, 223], as the network does.

    Returns:
        (N, 2): h (down) and w (to the right), in pixels; 112 is the middle of the image. NaN or
        infinite for points in the camera's plane.
    """
    focal, centre = points.dtype.type(FOCAL), points.dtype.type(CENTRE)
    with np.errstate(divide="ignore", invalid="ignore"):
        h = focal * (-points[:, 1] / -points[:, 2]) + centre
        w = focal * (points[:, 0] / -points[:, 2]) + centre
    both = np.stack([h, w], axis=1)
    return np.clip(both, 0.0, IMAGE_SIZE - 1.0) if clamp else both


def project(
    vertices: npt.ArrayLike,
    cameras: npt.ArrayLike,
    dtype: npt.DTypeLike = np.float64,
    clamp: bool = True,
) -> Floats:
    """Where the vertices of a mesh fall on the image of each view.

    Args:
        vertices: (V, 3), camera frame of the first view, rounded to float32 first.
        cameras: (K, 5) camera rows, the first view's first.
        dtype: precision of the computation.
        clamp: keep to [0, 223], as the network does.

    Returns:
        (K, V, 2): h and w, in pixels.
    """
    views = [camera_from_row(row, dtype) for row in np.asarray(cameras)]
    world = camera_to_world(np.asarray(vertices, np.float32).astype(dtype), views[0])
    return np.stack([pixels(world_to_camera(world, view), clamp) for view in views])
