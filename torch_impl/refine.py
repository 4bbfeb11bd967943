"""The refine stage, P2MPP: every vertex moves to the softmax mean of 43 hypotheses, twice."""

from functools import partial

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from torch_impl.cnn import PerceptualCNN
from torch_impl.coarse import BlockMeshes
from torch_impl.graph import LocalGraphConvolution, Support, by_vertices, vertex_slices
from torch_impl.listening import Listener, tell
from torch_impl.projection import (
    bilinear_corners,
    bilinear_features,
    pixels,
    view_statistics,
    with_border,
)

CNN_MAPS = (2, 5, 8)
OFFSETS = 43
"""Hypotheses a vertex."""
PROJECTED = 3 + 3 * (16 + 32 + 64)
HIDDEN = 192
CONVOLUTIONS = 6
"""Local graph convolutions a block; the last one scores the hypotheses."""
VERTICES_FORGOTTEN = 640
"""Vertices whose features are computed together, and again in the backward pass."""


class ReasoningBlock(nn.Module):
    """Six local graph convolutions and a softmax over the hypotheses of each vertex."""

    def __init__(self, block: int) -> None:
        super().__init__()
        self.name = f"graph_drb_blk{block + 1}_layer_{3 * block + 2}"
        self.first = CONVOLUTIONS * block + 1
        for index in range(CONVOLUTIONS):
            channels_in = HIDDEN if index else PROJECTED
            channels_out = 1 if index == CONVOLUTIONS - 1 else HIDDEN
            self.add_module(
                f"localgconv_{self.first + index}",
                LocalGraphConvolution(channels_in, channels_out),
            )

    def forward(self, features: Tensor, support: Support, listen: Listener | None = None) -> Tensor:
        """Score the hypotheses: features (V, 43, 339) to weights (V, 43, 1) that sum to 1."""

        def convolve(index: int, x: Tensor) -> Tensor:
            layer = f"localgconv_{self.first + index}"
            result: Tensor = self.get_submodule(layer)(x, support)
            tell(listen, f"{self.name}.{layer}", result)
            return result

        x1 = convolve(0, features)
        x3 = convolve(2, convolve(1, x1))
        x3 = x3 + x1
        tell(listen, f"{self.name}.residual_1", x3)
        x5 = convolve(4, convolve(3, x3))
        x5 = x5 + x3
        tell(listen, f"{self.name}.residual_2", x5)
        # The official network rectifies the score logits too.
        score = convolve(5, x5).softmax(dim=1)
        tell(listen, f"{self.name}.score", score)
        return score


class Refine(nn.Module):
    """P2MPP. Parameter names are the torch keys of the weight table."""

    def __init__(self) -> None:
        super().__init__()
        self.cnn = PerceptualCNN()
        for block in range(2):
            reasoning = ReasoningBlock(block)
            self.add_module(reasoning.name, reasoning)

    def forward(
        self,
        images: Tensor,
        cameras: Tensor,
        mesh: Tensor,
        offsets: Tensor,
        support: Support,
        listen: Listener | None = None,
        maps: list[Tensor] | None = None,
    ) -> list[BlockMeshes]:
        """Refine a coarse mesh.

        Args:
            images: (3, 224, 224, 3), BGR in [0, 1].
            cameras: (3, 5), see ``projection.camera_frames``.
            mesh: (V, 3), camera frame of view 0.
            offsets: (43, 3), hypotheses relative to their vertex, the vertex itself first.
            support: the two (43, 43) matrices of the hypotheses' local graph.
            listen: takes every tap.
            maps: what ``encode`` returned for these images, to save computing it again.

        Returns:
            The meshes before and after each of the two blocks, camera frame of view 0.
        """
        if maps is None:
            maps = self.encode(images, listen)
        bordered = [with_border(feature_map) for feature_map in maps]
        meshes = []
        for block in range(2):
            moved = self._move(block, bordered, cameras, mesh, offsets, support, listen)
            meshes.append(BlockMeshes(mesh, moved))
            mesh = moved
        return meshes

    def encode(self, images: Tensor, listen: Listener | None = None) -> list[Tensor]:
        """The maps that the projections read, each (3, H, W, C)."""
        maps: list[Tensor] = self.cnn(images, CNN_MAPS, views=3, listen=listen)
        return maps

    def _move(
        self,
        block: int,
        maps: list[Tensor],
        cameras: Tensor,
        mesh: Tensor,
        offsets: Tensor,
        support: Support,
        listen: Listener | None,
    ) -> Tensor:
        """One block: the mesh (V, 3) after it, some vertices computed at a time."""
        projection = f"graph_localproj_{block + 1}_layer_{3 * block + 1}"
        name = f"graph_drb_blk{block + 1}_layer_{3 * block + 2}"
        reasoning = self.get_submodule(name)
        hypotheses = mesh[:, None] + offsets
        tell(listen, f"graph_sample_hypothesis_{block + 1}_layer_{3 * block}", hypotheses)
        at = pixels(hypotheses.flatten(0, 1), cameras)
        corners = bilinear_corners(at)
        by_vertex = (len(mesh), OFFSETS)
        at = at.unflatten(1, by_vertex).transpose(0, 1)
        corners = corners.unflatten(1, by_vertex).transpose(0, 1)

        def move(mesh: Tensor, *read_from: Tensor) -> Tensor:
            features = torch.cat(read_from, dim=2).flatten(0, 1)
            tell(listen, projection, features)
            score = reasoning(features.unflatten(0, (-1, OFFSETS)), support, listen)
            return (score * offsets).sum(dim=1) + mesh

        def read(part: slice) -> Tensor:
            return _read(maps, at[part], corners[part])

        # A slice passes through the whole block while it is in the cache; a listener is told whole
        # taps, for which each layer is computed slice by slice instead.
        slices = vertex_slices(len(mesh)) if listen is None else [slice(0, len(mesh))]
        if torch.is_grad_enabled():
            # What is handed back to a slice of a tensor is a tensor of the whole's size; what is
            # handed back to the parts that it was split into is put together once.
            sizes = [part.stop - part.start for part in slices]
            whole = (mesh, hypotheses, read(slice(0, len(mesh))))
            split = zip(*(each.split(sizes) for each in whole), strict=True)
            moved = torch.cat([move(*parts) for parts in split])
        else:
            moved = torch.cat([move(mesh[p], hypotheses[p], read(p)) for p in slices])
        tell(listen, name, moved)
        return moved


def _read(maps: list[Tensor], at: Tensor, corners: Tensor) -> Tensor:
    """View statistics of the maps between four pixels: (V, 43, 336).

    Args:
        maps: see ``bilinear_features``.
        at: (V, views, 43, 2), pixels.
        corners: (V, views, 43, 2, 2), their floors and ceils.
    """

    def read(at: Tensor, corners: Tensor) -> Tensor:
        rows, places = (each.transpose(0, 1).flatten(1, 2) for each in (at, corners))
        pooled = view_statistics(bilinear_features(maps, rows, places))
        return pooled.unflatten(0, (len(at), OFFSETS))

    if not torch.is_grad_enabled():
        return by_vertices(read, at, corners)
    # Kept for the backward pass, what is read between the corners would take half the memory.
    parts = zip(at.split(VERTICES_FORGOTTEN), corners.split(VERTICES_FORGOTTEN), strict=True)
    # Nothing is drawn here, and a GPU's random state would be read back from it each time.
    again = partial(checkpoint, read, use_reentrant=False, preserve_rng_state=False)
    return torch.cat([again(*part) for part in parts])
