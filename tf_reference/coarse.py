"""The coarse stage (MVP2M): an ellipsoid of 156 vertices becomes a mesh of 2466.

Layers are numbered 0 to 47 as in the official code, and taps are named after them.
"""

from dataclasses import dataclass

from tf_reference.cnn import image_features
from tf_reference.graph import graph_convolution, unpool
from tf_reference.listening import Taps
from tf_reference.parameters import Level, NetworkInputs, Weights
from tf_reference.projection import coarse_projection
from tf_reference.runtime import tf

# The convolutions whose maps (sides 56, 28, 14, 7) are projected onto the mesh.
_MAPS = (8, 11, 14, 18)


@dataclass(frozen=True)
class Block:
    """One of the three blocks of graph convolutions.

    Attributes:
        number: 1 to 3.
        first: the first graph convolution's layer number.
        convolutions: how many there are; the last one gives absolute coordinates.
        projection: name of the projection layer in front.
        pooling: name of the unpooling layer in front, if any.
    """

    number: int
    first: int
    convolutions: int
    projection: str
    pooling: str | None = None

    def layer(self, index: int) -> str:
        """The name of graph convolution ``index``, from 1."""
        return f"graph_conv_blk{self.number}_{index}_layer_{self.first + index - 1}"


BLOCKS = (
    Block(1, 1, 14, "graph_proj_1_layer_0"),
    Block(2, 17, 14, "graph_proj_2_layer_15", "graph_pool_1to2_layer_16"),
    Block(3, 33, 15, "graph_proj_3_layer_31", "graph_pool_2to3_layer_32"),
)
# After these convolutions the block takes the mean of what it has and what it had.
_RESIDUALS = (3, 5, 7, 9, 11, 13)


def _convolutions(
    x: "tf.Tensor", block: Block, level: Level, weights: Weights, tap: Taps
) -> tuple["tf.Tensor", "tf.Tensor"]:
    """The block's graph convolutions: its (V, 3) coordinates and its last (V, 192) residual."""
    kept = x
    for index in range(1, block.convolutions):
        layer = block.layer(index)
        x = tf.nn.relu(graph_convolution(x, level.supports, weights, layer))
        tap(layer, x)
        if index == 1:
            kept = x
        elif index in _RESIDUALS:
            kept = x = (x + kept) * 0.5
            tap(f"{layer}.residual", x)
    layer = block.layer(block.convolutions)
    coordinates = graph_convolution(x, level.supports, weights, layer)
    tap(layer, coordinates)
    return coordinates, kept


def coarse(inputs: NetworkInputs, weights: Weights, tap: Taps) -> list["tf.Tensor"]:
    """The meshes after the three blocks: (156, 3), (618, 3), (2466, 3).

    Metres, camera frame of view 0. The last one is the stage's output.
    """
    features = image_features(inputs.images, weights, tap)
    maps = [features[number] for number in _MAPS]
    mesh, hidden = inputs.mesh, None
    meshes = []
    for block, level, above in zip(BLOCKS, inputs.levels, (None, *inputs.levels), strict=False):
        x = coarse_projection(mesh, inputs.cameras, maps)
        tap(block.projection, x)
        if block.pooling is not None and above is not None:
            x = tf.concat([x, hidden], axis=1)
            tap(f"{block.projection}.concat", x)
            x = unpool(x, above.unpooling)
            tap(block.pooling, x)
        mesh, hidden = _convolutions(x, block, level, weights, tap)
        meshes.append(mesh)
    return meshes
