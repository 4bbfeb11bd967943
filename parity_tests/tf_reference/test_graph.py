import numpy as np
import pytest

from tf_reference.graph import chunks, graph_convolution, local_graph_convolution, unpool
from tf_reference.runtime import tf

RANDOM = np.random.default_rng(0)


def _weights(channels: int, out: int) -> dict[str, np.ndarray]:
    return {
        "layer.weights_0": RANDOM.normal(size=(channels, out)),
        "layer.weights_1": RANDOM.normal(size=(channels, out)),
        "layer.bias": RANDOM.normal(size=out),
    }


def test_graph_convolution_is_the_sum_over_dense_supports() -> None:
    x, weights = RANDOM.normal(size=(6, 4)), _weights(4, 4)
    dense = RANDOM.normal(size=(2, 6, 6)) * (RANDOM.random((2, 6, 6)) < 0.5)
    sparse = tuple(tf.sparse.from_dense(tf.constant(support)) for support in dense)
    tensors = {key: tf.constant(array) for key, array in weights.items()}
    expected = sum(dense[k] @ (x @ weights[f"layer.weights_{k}"]) for k in range(2))
    found = graph_convolution(tf.constant(x), sparse, tensors, "layer")
    np.testing.assert_allclose(found, expected + weights["layer.bias"], rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("vertices", [1, 127, 128, 129, 300])
def test_local_graph_convolution_does_not_depend_on_chunks(vertices: int) -> None:
    x, weights = RANDOM.normal(size=(vertices, 5, 3)), _weights(3, 2)
    supports = RANDOM.normal(size=(2, 5, 5))
    tensors = {key: tf.constant(array) for key, array in weights.items()}
    terms = [
        np.einsum("ij,vjc,cd->vid", supports[k], x, weights[f"layer.weights_{k}"]) for k in (0, 1)
    ]
    expected = np.maximum(sum(terms) + weights["layer.bias"], 0)
    found = local_graph_convolution(tf.constant(x), tf.constant(supports), tensors, "layer")
    np.testing.assert_allclose(found, expected, rtol=1e-11, atol=1e-12)
    assert (expected == 0).any() or vertices == 1


def test_unpooling_puts_parents_first() -> None:
    x = tf.constant([[0.0, 8.0], [2.0, 0.0], [4.0, 4.0]])
    found = unpool(x, tf.constant([[2, 0], [1, 2]]))
    assert found.numpy().tolist() == [[0, 8], [2, 0], [4, 4], [2, 6], [3, 2]]


@pytest.mark.parametrize(("vertices", "size"), [(0, 4), (1, 4), (8, 4), (9, 4)])
def test_chunks_cover_everything_once(vertices: int, size: int) -> None:
    covered = [index for part in chunks(vertices, size) for index in range(vertices)[part]]
    assert covered == list(range(vertices))
