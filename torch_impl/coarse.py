"""The coarse stage, MVP2M: three blocks that move an ellipsoid of 156, 618 and 2466 vertices."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from torch_impl.cnn import PerceptualCNN
from torch_impl.graph import GraphConvolution, Support, unpool
from torch_impl.listening import Listener, tell
from torch_impl.projection import nearest_cells, nearest_features, pixels, view_statistics

CNN_MAPS = (8, 11, 14, 18)
PROJECTED = 3 + 3 * (64 + 128 + 256 + 512)
HIDDEN = 192
LAYERS = (14, 14, 15)
"""Graph convolutions a block; the last one of each gives coordinates."""
FIRST_LAYER = (1, 17, 33)
"""Number of a block's first graph convolution in the official count of 48 layers."""


@dataclass(frozen=True)
class CoarseGraph:
    """What the coarse stage needs of the mesh template, on the run's device.

    ``supports``: a pair of (V, V) matrices a block; ``unpooling``: (462, 2) and (1848, 2) vertex
    pairs of the edges.
    """

    supports: tuple[Support, Support, Support]
    unpooling: tuple[Tensor, Tensor]


@dataclass(frozen=True)
class BlockMeshes:
    """A block's vertices before (unpooled for all but the first) and after it, both (V, 3)."""

    before: Tensor
    after: Tensor


class Coarse(nn.Module):
    """MVP2M. Parameter names are the torch keys of the weight table."""

    def __init__(self) -> None:
        super().__init__()
        self.cnn = PerceptualCNN()
        for block in range(3):
            for index in range(LAYERS[block]):
                channels_in = HIDDEN if index else PROJECTED + HIDDEN * (block > 0)
                channels_out = 3 if index == LAYERS[block] - 1 else HIDDEN
                self.add_module(
                    layer_name(block, index), GraphConvolution(channels_in, channels_out)
                )

    def forward(
        self,
        images: Tensor,
        cameras: Tensor,
        mesh: Tensor,
        graph: CoarseGraph,
        listen: Listener | None = None,
        maps: list[Tensor] | None = None,
    ) -> list[BlockMeshes]:
        """Deform the initial mesh.

        Args:
            images: (3, 224, 224, 3), BGR in [0, 1].
            cameras: (3, 5), see ``projection.camera_frames``.
            mesh: (156, 3), camera frame of view 0.
            graph: the template's graphs.
            listen: takes every tap.
            maps: what ``encode`` returned for these images, to save computing it again.

        Returns:
            The meshes before and after each of the three blocks, camera frame of view 0.
        """
        if maps is None:
            maps = self.encode(images, listen)
        meshes = []
        hidden: Tensor | None = None
        for block in range(3):
            features = self._project(block, maps, cameras, mesh, listen)
            before = mesh
            if hidden is not None:
                projection = projection_name(block)
                features = torch.cat([features, hidden], dim=1)
                tell(listen, f"{projection}.concat", features)
                pairs = graph.unpooling[block - 1]
                features = unpool(features, pairs)
                before = unpool(mesh, pairs)
                tell(listen, f"graph_pool_{block}to{block + 1}_layer_{16 * block}", features)
            hidden, mesh = self._deform(block, features, graph.supports[block], listen)
            meshes.append(BlockMeshes(before, mesh))
        return meshes

    def encode(self, images: Tensor, listen: Listener | None = None) -> list[Tensor]:
        """The maps that the projections read, each (1, H, W, C)."""
        # No vertex reads the later views' maps: see projection.nearest_features.
        maps: list[Tensor] = self.cnn(images, CNN_MAPS, views=1, listen=listen)
        return maps

    def _project(
        self,
        block: int,
        maps: list[Tensor],
        cameras: Tensor,
        mesh: Tensor,
        listen: Listener | None,
    ) -> Tensor:
        """Coordinates, then view statistics of the maps under them: (V, 2883)."""
        name = projection_name(block)
        cells = nearest_cells(pixels(mesh, cameras))
        features = torch.cat([mesh, view_statistics(nearest_features(maps, cells))], dim=1)
        tell(listen, name, features)
        return features

    def _deform(
        self, block: int, features: Tensor, support: Support, listen: Listener | None
    ) -> tuple[Tensor, Tensor]:
        """The last residual (V, 192) and the new coordinates (V, 3) of a block."""
        name = layer_name(block, 0)
        x = self.get_submodule(name)(features, support)
        tell(listen, name, x)
        residual = x
        last = LAYERS[block] - 1
        for index in range(1, last):
            name = layer_name(block, index)
            x = self.get_submodule(name)(x, support)
            tell(listen, name, x)
            if index % 2 == 0:
                x = residual = (x + residual) * 0.5
                tell(listen, f"{name}.residual", x)
        name = layer_name(block, last)
        coordinates = self.get_submodule(name)(x, support, relu=False)
        tell(listen, name, coordinates)
        return residual, coordinates


def layer_name(block: int, index: int) -> str:
    """The official name of a block's graph convolution, both counted from 0."""
    return f"graph_conv_blk{block + 1}_{index + 1}_layer_{FIRST_LAYER[block] + index}"


def projection_name(block: int) -> str:
    """The official name of a block's projection: layers 0, 15 and 31."""
    return f"graph_proj_{block + 1}_layer_{(0, 15, 31)[block]}"
