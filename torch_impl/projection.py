"""From vertices to image features: cameras, pixels, the two kinds of pooling, view statistics.

The two stages read the feature maps differently, and both have quirks that are part of the
official function. They are kept here and named where they are.

The coarse stage reads the cell of the 56-map that a pixel falls into, and from it the cells of the
coarser maps by integer division; the refine stage reads between floor and ceil of a pixel in the
224-map, from which those in the coarser maps follow likewise. Both are int16.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from torch_impl.cnn import float32_constant

PI = float32_constant(torch.pi)
FOCAL, CENTRE, LAST_PIXEL = 248.0, 112.0, 223.0
VARIANCE_FLOOR = float32_constant(1e-6)
OUTSIDE = -32768
"""The cell of a coordinate that is no number: outside every map."""


def camera_frames(cameras: Tensor) -> tuple[Tensor, Tensor]:
    """Positions and rotations of cameras that look at the origin.

    Args:
        cameras: (views, 5) rows azimuth°, elevation°, in-plane rotation°, distance, field of
            view°; the third and fifth are not used.

    Returns:
        Positions (views, 3) in the world, and rotations (views, 3, 3) whose rows are the unit
        vectors right, up and backward (from the origin to the camera).
    """
    azimuth = cameras[:, 0] * PI / 180.0
    elevation = cameras[:, 1] * PI / 180.0
    height = cameras[:, 3] * torch.sin(elevation)
    level = cameras[:, 3] * torch.cos(elevation)
    position = torch.stack([level * torch.cos(azimuth), height, level * torch.sin(azimuth)], dim=1)
    up = torch.stack(
        [height * torch.cos(azimuth + PI), level, height * torch.sin(azimuth + PI)], dim=1
    )
    right = torch.linalg.cross(up, position)
    rows = torch.stack([right, up, position], dim=1)
    return position, rows / rows.square().sum(dim=2, keepdim=True).sqrt()


def pixels(points: Tensor, cameras: Tensor) -> Tensor:
    """Project points into every view.

    Args:
        points: (N, 3), camera frame of view 0, depth negative in front of the camera.
        cameras: (views, 5), see ``camera_frames``.

    Returns:
        (views, N, 2): row h and column w in pixels of the 224×224 image, clamped to [0, 223].
    """
    position, rotation = camera_frames(cameras)
    # Not ``inv``, which asks whether the matrix was singular: a GPU would have to be waited for.
    to_world = torch.linalg.inv_ex(rotation[0].T).inverse
    world = points @ to_world + position[0]
    seen = (world - position[:, None]) @ rotation.transpose(1, 2)
    x, y, z = seen.unbind(dim=2)
    h = FOCAL * (-y / -z) + CENTRE
    w = FOCAL * (x / -z) + CENTRE
    return torch.stack([h, w], dim=2).clamp(0.0, LAST_PIXEL)


def view_statistics(features: Tensor) -> Tensor:
    """Maximum, mean and standard deviation over views: (views, N, C) to (N, 3·C).

    The deviation is sqrt(population variance + 1e-6).
    """
    mean = features.mean(dim=0)
    variance = (features - mean).square().mean(dim=0)
    return torch.cat([features.amax(dim=0), mean, (variance + VARIANCE_FLOOR).sqrt()], dim=1)


def nearest_cells(pixel: Tensor) -> Tensor:
    """The coarse stage's cells (views, V, 2 = h, w) of the 56-map, from pixels (views, V, 2)."""
    return _integers(pixel / 4.0)


def nearest_features(maps: list[Tensor], cells: Tensor) -> Tensor:
    """Read the coarse stage's maps at the given cells.

    The official index is (view, h, w) divided by the map's scale as a whole and cast to int. The
    division hits the view number too, so views 1 and 2 read view 0's maps; only their cameras
    count.

    Args:
        maps: (1, 56, 56, 64), (1, 28, 28, 128), (1, 14, 14, 256), (1, 7, 7, 512).
        cells: (views, V, 2), see ``nearest_cells``.

    Returns:
        (views, V, 960).
    """
    gathered = []
    for level, feature_map in enumerate(maps):
        size, channels = feature_map.shape[1], feature_map.shape[3]
        index = cells.long() // 2**level
        # A cell outside the map, which only NaN coordinates give, reads 0 as the GPU kernel does.
        inside = ((index >= 0) & (index < size)).all(dim=2)
        flat = (index[..., 0] * size + index[..., 1]).where(inside, size * size)
        padded = F.pad(feature_map[0].reshape(size * size, channels), (0, 0, 0, 1))
        gathered.append(padded[flat])
    return torch.cat(gathered, dim=2)


def bilinear_corners(pixel: Tensor) -> Tensor:
    """Floor and ceil (views, N, 2 = h, w, 2 = floor, ceil) of the refine stage's pixels."""
    return _integers(torch.stack([pixel.floor(), pixel.ceil()], dim=3))


def with_border(feature_map: Tensor) -> Tensor:
    """A map (views, S, S, C) with a row and a column of zeros that stand for all beyond it."""
    return F.pad(feature_map, (0, 0, 0, 1, 0, 1))


def bilinear_features(maps: list[Tensor], pixel: Tensor, corners: Tensor) -> Tensor:
    """Read the refine stage's maps between four corners.

    Two consequences of the official arithmetic are kept. A coordinate that is exactly an integer
    has floor = ceil, so all four weights are 0 and the feature vanishes. A coordinate clamped at
    223 has, in the two coarser maps, a ceil outside the map, which reads 0 as the GPU kernel does.

    Args:
        maps: (views, 225, 225, 16), (…, 113, 113, 32), (…, 57, 57, 64), see ``with_border``.
        pixel: (views, N, 2), in pixels of the 224 image, see ``pixels``.
        corners: (views, N, 2, 2), see ``bilinear_corners``.

    Returns:
        (views, N, 112).
    """
    corners = corners.int()
    levels = []
    for level, feature_map in enumerate(maps):
        floor, ceil = corners[..., 0] >> level, -(-corners[..., 1] >> level)
        levels.append(_between_corners(feature_map, pixel / 2**level, floor, ceil))
    return torch.cat(levels, dim=2)


def _between_corners(feature_map: Tensor, at: Tensor, floor: Tensor, ceil: Tensor) -> Tensor:
    """Weigh four corners of a bordered map at coordinates (views, N, 2), in the official order."""
    views, size, _, channels = feature_map.shape
    # Beyond the border, either way, all is zero.
    h, w = torch.stack([floor, ceil], dim=3).clamp(0, size - 1).unbind(dim=2)
    h_weight, w_weight = torch.stack([ceil - at, at - floor], dim=3).unbind(dim=2)
    view = torch.arange(views, device=at.device, dtype=h.dtype)[:, None, None] * size
    # h runs fastest. Four reads, products and sums in one pass: apart they take twice as long.
    index = ((view + h) * size)[..., None, :] + w[..., None]
    weight = h_weight[..., None, :] * w_weight[..., None]
    features = F.embedding_bag(
        index.view(-1, 4),
        feature_map.reshape(-1, channels),
        per_sample_weights=weight.view(-1, 4),
        mode="sum",
    )
    return features.unflatten(0, at.shape[:2])


def _integers(value: Tensor) -> Tensor:
    # torch casts NaN to 0, which is a pixel; TensorFlow on the CPU to one outside.
    return value.nan_to_num(nan=OUTSIDE).to(torch.int16)
