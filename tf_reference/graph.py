"""Graph convolutions on the mesh and among a vertex's hypotheses, and unpooling."""

from tf_reference.parameters import Weights
from tf_reference.runtime import tf

# A chunk's products stay in the cache, and float64 runs need no second copy of everything.
_CHUNK = 128


def graph_convolution(
    x: "tf.Tensor",
    supports: tuple["tf.SparseTensor", "tf.SparseTensor"],
    weights: Weights,
    layer: str,
) -> "tf.Tensor":
    """The sum over k of S_k (X W_k), plus b, without the activation.

    Args:
        x: (V, C_in).
        supports: two sparse (V, V).
        weights: ``LAYER.weights_0``, ``LAYER.weights_1`` (C_in, C_out) and ``LAYER.bias``.
        layer: the layer's name.

    Returns:
        (V, C_out).
    """
    first, second = (
        tf.sparse.sparse_dense_matmul(support, tf.matmul(x, weights[f"{layer}.weights_{k}"]))
        for k, support in enumerate(supports)
    )
    return tf.add_n([first, second]) + weights[f"{layer}.bias"]


def unpool(x: "tf.Tensor", pairs: "tf.Tensor") -> "tf.Tensor":
    """Parents first, then for each edge the mean of its two ends.

    Args:
        x: (V, C).
        pairs: (E, 2) indices of the ends.

    Returns:
        (V + E, C).
    """
    middles = 0.5 * tf.reduce_sum(tf.gather(x, pairs), axis=1)
    return tf.concat([x, middles], axis=0)


def chunks(vertices: int, size: int = _CHUNK) -> list[slice]:
    """Consecutive slices that cover ``range(vertices)``."""
    return [slice(start, start + size) for start in range(0, vertices, size)]


def local_graph_convolution(
    x: "tf.Tensor", supports: "tf.Tensor", weights: Weights, layer: str
) -> "tf.Tensor":
    """ReLU of sum over k of S_k (X W_k), plus b, for each vertex's hypotheses apart.

    The supports are multiplied as the dense matrices that the official graph feeds, the identity
    included: a value that is no number spreads to all of a vertex's hypotheses there, too.

    Args:
        x: (V, 43, C_in); nothing is mixed between vertices.
        supports: (2, 43, 43).
        weights: ``LAYER.weights_0``, ``LAYER.weights_1`` (C_in, C_out) and ``LAYER.bias``.
        layer: the layer's name.

    Returns:
        (V, 43, C_out).
    """
    matrices = [weights[f"{layer}.weights_{k}"] for k in range(2)]
    bias = weights[f"{layer}.bias"]
    hypotheses, channels = x.shape[1], x.shape[2]

    def convolved(part: "tf.Tensor") -> "tf.Tensor":
        rows = tf.reshape(part, (-1, channels))
        first, second = (
            tf.matmul(support, tf.reshape(tf.matmul(rows, matrix), (-1, hypotheses, bias.shape[0])))
            for support, matrix in zip(tf.unstack(supports), matrices, strict=True)
        )
        return tf.nn.relu(tf.add_n([first, second]) + bias)

    return tf.concat([convolved(x[part]) for part in chunks(x.shape[0])], axis=0)
