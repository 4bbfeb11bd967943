"""The refine stage (P2MPP): twice, each vertex moves to a weighted mean of 43 hypotheses.

Nothing is mixed between vertices, so the work is done in chunks of them.
"""

from dataclasses import dataclass

from tf_reference.cnn import image_features
from tf_reference.graph import local_graph_convolution
from tf_reference.listening import SILENCE, Taps
from tf_reference.parameters import NetworkInputs, Weights
from tf_reference.projection import local_projection
from tf_reference.runtime import tf

_VERTICES_AT_ONCE = 137

# The convolutions whose maps (sides 224, 112, 56) are projected onto the hypotheses.
_MAPS = (2, 5, 8)


@dataclass(frozen=True)
class Block:
    """One of the two blocks.

    Attributes:
        hypotheses: name of the layer that makes the hypotheses.
        projection: name of the projection layer.
        reasoning: name of the layer that scores them.
        first: number of its first local graph convolution.
    """

    hypotheses: str
    projection: str
    reasoning: str
    first: int

    def convolution(self, index: int) -> str:
        """The name of local graph convolution ``index``, from 1."""
        return f"{self.reasoning}.localgconv_{self.first + index - 1}"


BLOCKS = (
    Block(
        "graph_sample_hypothesis_1_layer_0",
        "graph_localproj_1_layer_1",
        "graph_drb_blk1_layer_2",
        1,
    ),
    Block(
        "graph_sample_hypothesis_2_layer_3",
        "graph_localproj_2_layer_4",
        "graph_drb_blk2_layer_5",
        7,
    ),
)


def hypothesis_scores(
    x: "tf.Tensor", block: Block, supports: "tf.Tensor", weights: Weights, tap: Taps
) -> "tf.Tensor":
    """Softmax over the hypotheses: (V, 43, 339) features to (V, 43, 1) scores."""

    def convolution(x: "tf.Tensor", index: int) -> "tf.Tensor":
        x = local_graph_convolution(x, supports, weights, block.convolution(index))
        tap(block.convolution(index), x)
        return x

    x = kept = convolution(x, 1)
    for index in (2, 4):
        x = convolution(convolution(x, index), index + 1)
        x = kept = x + kept
        tap(f"{block.reasoning}.residual_{index // 2}", x)
    # Official quirk: the ReLU is applied to the logits as well.
    logits = convolution(x, 6)
    score = tf.transpose(tf.nn.softmax(tf.transpose(logits, (0, 2, 1))), (0, 2, 1))
    tap(f"{block.reasoning}.score", score)
    return score


def moved_mesh(
    mesh: "tf.Tensor",
    maps: list["tf.Tensor"],
    block: Block,
    inputs: NetworkInputs,
    weights: Weights,
    tap: Taps,
) -> "tf.Tensor":
    """The mesh after one block.

    Args:
        mesh: (V, 3), metres, camera frame of view 0; any number of vertices.
        maps: (3, H, W, C) each, of sides 224, 112, 56.
        block: which block.
        inputs: cameras, offsets and supports.
        weights: the variables.
        tap: told the block's taps but the last.

    Returns:
        (V, 3), in the same frame.
    """

    def features() -> "tf.Tensor":
        hypotheses = tf.expand_dims(mesh, 1) + tf.expand_dims(inputs.offsets, 0)
        tap(block.hypotheses, hypotheses)
        x = local_projection(hypotheses, inputs.cameras, maps)
        tap(block.projection, x)
        return tf.reshape(x, (*hypotheses.shape[:2], -1))

    # Not named here: 144 MB (288 in float64) that only the first convolution needs.
    score = hypothesis_scores(features(), block, inputs.local_supports, weights, tap)
    return tf.reduce_sum(score * inputs.offsets, axis=1) + mesh


def projected_maps(inputs: NetworkInputs, weights: Weights, tap: Taps) -> list["tf.Tensor"]:
    """The image network's maps that hypotheses are projected into: sides 224, 112, 56."""
    features = image_features(inputs.images, weights, tap)
    return [features[number] for number in _MAPS]


def refined(
    mesh: "tf.Tensor",
    maps: list["tf.Tensor"],
    inputs: NetworkInputs,
    weights: Weights,
    tap: Taps,
) -> list["tf.Tensor"]:
    """The meshes after the two blocks, of any number of vertices; arguments as ``moved_mesh``.

    Where nobody listens, so many vertices go through a block at a time that its features stay in a
    processor's cache, and little memory is taken.
    """
    meshes = []
    count = len(mesh) if tap is not SILENCE else _VERTICES_AT_ONCE
    for block in BLOCKS:
        parts = [mesh[start : start + count] for start in range(0, len(mesh), count)]
        moved = [moved_mesh(part, maps, block, inputs, weights, tap) for part in parts]
        mesh = tf.concat(moved, axis=0)
        tap(block.reasoning, mesh)
        meshes.append(mesh)
    return meshes


def refine(inputs: NetworkInputs, weights: Weights, tap: Taps) -> list["tf.Tensor"]:
    """The meshes after the two blocks, (2466, 3) each: metres, camera frame of view 0."""
    return refined(inputs.mesh, projected_maps(inputs, weights, tap), inputs, weights, tap)
