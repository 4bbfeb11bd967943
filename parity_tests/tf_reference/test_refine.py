import numpy as np
import pytest

from network.weights import WEIGHTS
from tf_reference.listening import SILENCE
from tf_reference.refine import BLOCKS, Block, hypothesis_scores
from tf_reference.runtime import tf


@pytest.mark.parametrize("block", BLOCKS, ids=lambda block: block.reasoning)
@pytest.mark.parametrize(("bias", "uniform"), [(-1e3, True), (1e3, False)])
def test_clipped_logits_give_uniform_scores(block: Block, bias: float, uniform: bool) -> None:
    random = np.random.default_rng(0)
    weights = {
        row.torch_key: tf.constant(random.normal(0, 0.05, row.shape)) for row in WEIGHTS["refine"]
    }
    weights[f"{block.convolution(6)}.bias"] = tf.constant([bias], tf.float64)
    supports = tf.constant(np.stack([np.eye(43)] * 2))
    x = tf.constant(random.normal(size=(3, 43, 339)))
    score = hypothesis_scores(x, block, supports, weights, SILENCE).numpy()
    assert score.shape == (3, 43, 1)
    np.testing.assert_allclose(score.sum(axis=1), 1, rtol=1e-12)
    assert np.allclose(score, 1 / 43, rtol=1e-12) == uniform
