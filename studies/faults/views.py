"""Faults between vertices and image features: cameras, pixels, both poolings, statistics."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from studies.faults.injection import Injection, Inputs, replaced, replacing
from torch_impl import projection
from torch_impl.projection import camera_frames

Read = Callable[[Tensor, Tensor], Tensor]


@dataclass(frozen=True)
class CameraModel:
    """The official camera with parts that can be wrong; right by default.

    Attributes:
        world: what the points in the world, (N, 3), go through.
        frames: what positions (views, 3) and rotations (views, 3, 3) go through.
        inverse: how the first view's frame is left: "inverse", "none" or "forward" (its rotation
            applied once more instead of undone).
        downwards: sign of y in h.
        depth: sign of the depth in w.
        centre: principal point, pixels.
        clamp: lower and upper bound, pixels.
    """

    world: Callable[[Tensor], Tensor] = lambda world: world
    frames: Callable[[Tensor, Tensor], tuple[Tensor, Tensor]] = lambda at, turn: (at, turn)
    inverse: str = "inverse"
    downwards: float = -1.0
    depth: float = -1.0
    centre: float = 112.0
    clamp: tuple[float, float] | None = (0.0, 223.0)

    def pixels(self, points: Tensor, cameras: Tensor) -> Tensor:
        """As ``torch_impl.projection.pixels``: (N, 3) to (views, N, 2)."""
        position, rotation = self.frames(*camera_frames(cameras))
        if self.inverse == "none":
            world = points
        elif self.inverse == "forward":
            world = points @ rotation[0].T + position[0]
        else:
            world = points @ torch.linalg.inv(rotation[0].T) + position[0]
        world = self.world(world)
        seen = (world - position[:, None]) @ rotation.transpose(1, 2)
        x, y, z = seen.unbind(dim=2)
        h = projection.FOCAL * (self.downwards * y / -z) + self.centre
        w = projection.FOCAL * (x / (self.depth * z)) + self.centre
        found = torch.stack([h, w], dim=2)
        return found if self.clamp is None else found.clamp(*self.clamp)


def camera(model: CameraModel) -> Injection:
    """Pixels computed by another camera model."""
    return replacing("projection.pixels", lambda _: model.pixels)


def unit_distance(position: Tensor, rotation: Tensor) -> tuple[Tensor, Tensor]:
    """Cameras at distance 1."""
    return position / position.norm(dim=1, keepdim=True), rotation


def first_position(position: Tensor, rotation: Tensor) -> tuple[Tensor, Tensor]:
    """Every view taken from where the first one was."""
    return position[:1].expand_as(position), rotation


def unnormalised(position: Tensor, rotation: Tensor) -> tuple[Tensor, Tensor]:
    """Right and up of the length they come out with: that of up × position, and of position."""
    lengths = position.norm(dim=1)
    scale = torch.stack([lengths**2, lengths, torch.ones_like(lengths)], dim=1)
    return position, rotation * scale[..., None]


def pixels_through(edit: Callable[[Tensor], Tensor]) -> Injection:
    """An edit of the pixels (views, N, 2)."""
    return replacing("projection.pixels", lambda old: lambda *given: edit(old(*given)))


def cells_from(function: Callable[[Tensor], Tensor]) -> Injection:
    """Cells of the coarse stage, (views, V, 2) int16, from pixels by another rule."""
    return replacing(
        "projection.nearest_cells", lambda _: lambda pixel: function(pixel).to(torch.int16)
    )


def statistics(function: Callable[[Tensor], list[Tensor]]) -> Injection:
    """Other statistics over views: features (views, N, C) to three of (N, C)."""
    return replacing(
        "projection.view_statistics", lambda _: lambda features: torch.cat(function(features), 1)
    )


def official_statistics(features: Tensor) -> list[Tensor]:
    """Maximum, mean and deviation, as the network's own."""
    mean = features.mean(dim=0)
    variance = (features - mean).square().mean(dim=0)
    return [features.amax(dim=0), mean, (variance + projection.VARIANCE_FLOOR).sqrt()]


def encoded(edit: Callable[[list[Tensor]], list[Tensor]]) -> Injection:
    """An edit of the maps (views, H, W, C) after the taps were told, before they are read."""

    def change(network: Any) -> None:
        encode = network.encode
        network.encode = lambda *given, **named: edit(encode(*given, **named))

    return Injection(network=change)


def as_if_channels_last(feature_map: Tensor) -> Tensor:
    """The memory of a channels-first map read as if its channels came last."""
    return feature_map.permute(0, 3, 1, 2).reshape(feature_map.shape)


def other_maps(numbers: tuple[int, ...], channels: tuple[int, ...]) -> Injection:
    """The first channels of other convolutions' outputs read in place of the official ones."""

    def change(network: Any) -> None:
        def encode(images: Tensor, listen: Any = None) -> list[Tensor]:
            maps = network.cnn(images, numbers, views=3, listen=listen)
            pairs = zip(maps, channels, strict=True)
            return [feature_map[..., :count] for feature_map, count in pairs]

        network.encode = encode

    return Injection(network=change)


def maps_of_each_view() -> Injection:
    """The coarse stage's views each read from their own maps instead of from view 0's."""

    def change(network: Any) -> None:
        from torch_impl.coarse import CNN_MAPS

        network.encode = lambda images, listen=None: network.cnn(
            images, CNN_MAPS, views=3, listen=listen
        )

    def make(read: Callable[..., Tensor]) -> Callable[..., Tensor]:
        def reading(maps: list[Tensor], cells: Tensor) -> Tensor:
            parts = [
                read([each[view : view + 1] for each in maps], cells[view : view + 1])
                for view in range(len(cells))
            ]
            return torch.cat(parts)

        return reading

    around = (lambda: replaced("projection.nearest_features", make),)
    return Injection(network=change, around=around)


def channels_read(edit: Callable[[Tensor], Tensor], function: str) -> Injection:
    """An edit of the features (views, N, C) that a stage's reader returns."""
    return replacing(f"projection.{function}", lambda old: lambda *given: edit(old(*given)))


def levels_backwards(features: Tensor) -> Tensor:
    """The coarse stage's 64, 128, 256 and 512 channels with the last level first."""
    return torch.cat(features.split((64, 128, 256, 512), dim=2)[::-1], dim=2)


def interpolated(read: Read, unclamped: bool = False) -> Injection:
    """Another reader of the refine stage's maps.

    ``read`` is given a map (S, S, C) without border and coordinates (N, 2) in it, h and w, and
    returns (N, C). With ``unclamped`` the coordinates may lie beyond the image.
    """

    def make(_: Callable[..., Tensor]) -> Callable[..., Tensor]:
        def reading(maps: list[Tensor], pixel: Tensor, corners: Tensor) -> Tensor:  # noqa: ARG001
            views = []
            for view, at in enumerate(pixel):
                levels = []
                for level, feature_map in enumerate(maps):
                    size = 224 // 2**level
                    levels.append(read(feature_map[view, :size, :size], at / 2**level))
                views.append(torch.cat(levels, dim=1))
            return torch.stack(views)

        return reading

    around = [lambda: replaced("projection.bilinear_features", make)]
    if unclamped:
        free = CameraModel(clamp=None).pixels
        around.append(lambda: replaced("projection.pixels", lambda _: free))
    return Injection(around=tuple(around))


def corner(feature_map: Tensor, h: Tensor, w: Tensor) -> Tensor:
    """A map (S, S, C) at integer coordinates (N,), zero outside: (N, C)."""
    size = len(feature_map)
    inside = (h >= 0) & (h < size) & (w >= 0) & (w < size)
    index = (h.where(inside, 0) * size + w.where(inside, 0)).long()
    return feature_map.flatten(0, 1)[index] * inside[:, None]


def weighed(
    feature_map: Tensor,
    at: Tensor,
    ceil: Tensor | None = None,
    read: Tensor | None = None,
    parts: tuple[int, ...] = (0, 1, 2, 3),
    swapped: bool = False,
) -> Tensor:
    """Four corners of a map (S, S, C) weighed by how near they are, at coordinates (N, 2): (N, C).

    Args:
        feature_map: without border.
        at: h and w in this map.
        ceil: the upper corner that weights are computed from; the coordinates' ceil by default.
        read: the upper corner that is read, the same by default.
        parts: the corners that count, in the official order.
        swapped: whether h and w change places in the weights.
    """
    floor = at.floor()
    ceil = at.ceil() if ceil is None else ceil
    (h0, w0), (h1, w1) = floor.unbind(1), (ceil if read is None else read).unbind(1)
    below, above = at - floor, ceil - at
    if swapped:
        below, above = below.flip(1), above.flip(1)
    corners = [
        (above[:, 0] * above[:, 1], h0, w0),
        (below[:, 0] * above[:, 1], h1, w0),
        (above[:, 0] * below[:, 1], h0, w1),
        (below[:, 0] * below[:, 1], h1, w1),
    ]
    counted = [corners[part] for part in parts]
    first, *others = (weight[:, None] * corner(feature_map, h, w) for weight, h, w in counted)
    return sum(others, first)


def official_read(feature_map: Tensor, at: Tensor) -> Tensor:
    """As the network reads."""
    return weighed(feature_map, at)


def weights_swapped(feature_map: Tensor, at: Tensor) -> Tensor:
    """Row weights on columns and the other way round."""
    return weighed(feature_map, at, swapped=True)


def three_corners(feature_map: Tensor, at: Tensor) -> Tensor:
    """The corner below and to the right left out."""
    return weighed(feature_map, at, parts=(0, 1, 2))


def floor_plus_one(feature_map: Tensor, at: Tensor) -> Tensor:
    """Like the official one but for coordinates that are integers, whose weights add up to 1."""
    return weighed(feature_map, at, ceil=at.floor() + 1)


def last_corner_inside(feature_map: Tensor, at: Tensor) -> Tensor:
    """A corner beyond the border moved onto it, its weight kept."""
    return weighed(feature_map, at, read=at.ceil().clamp(max=len(feature_map) - 1))


def clamped_in_its_level(feature_map: Tensor, at: Tensor) -> Tensor:
    """Clamped to the map's own last pixel."""
    return official_read(feature_map, at.clamp(0, len(feature_map) - 1))


def centres_of_pixels(feature_map: Tensor, at: Tensor) -> Tensor:
    """Coarser maps read at (x + ½) / scale − ½, as resizing with aligned pixel areas does."""
    scale = 224 / len(feature_map)
    return official_read(feature_map, (at + 0.5 / scale - 0.5).clamp(min=0))


def nearest_pixel(feature_map: Tensor, at: Tensor) -> Tensor:
    """The nearest pixel alone."""
    return corner(feature_map, *at.round().unbind(1))


def grid_sampled(feature_map: Tensor, at: Tensor) -> Tensor:
    """Torch's own sampler, as ports use it: border padding, aligned corners."""
    last = len(feature_map) - 1
    grid = (at.flip(1) / last * 2 - 1)[None, None]
    read = F.grid_sample(
        feature_map.permute(2, 0, 1)[None], grid, padding_mode="border", align_corners=True
    )
    return read[0, :, 0].T


def pixels_detached() -> Injection:
    """Bilinear weights that pass no gradient on to the vertices."""
    return pixels_through(Tensor.detach)


def cameras(edit: Callable[[np.ndarray], np.ndarray]) -> Injection:
    """An edit of the camera rows (3, 5)."""

    def change(_: str, inputs: Inputs) -> Inputs:
        return {**inputs, "cameras": edit(inputs["cameras"].copy())}

    return Injection(inputs=change)


def clamped_cells() -> Injection:
    """The coarse stage's pixels left as they come out, its cells clamped to the map's last."""
    free = CameraModel(clamp=None).pixels

    def cells(pixel: Tensor) -> Tensor:
        found = (pixel / 4.0).clamp(0.0, 55.75)
        return found.nan_to_num(nan=projection.OUTSIDE).to(torch.int16)

    return Injection(
        around=(
            lambda: replaced("projection.pixels", lambda _: free),
            lambda: replaced("projection.nearest_cells", lambda _: cells),
        )
    )
