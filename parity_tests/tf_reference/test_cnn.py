import numpy as np
import pytest

from network.taps import TAPS
from network.weights import WEIGHTS
from tf_reference.cnn import image_features
from tf_reference.listening import SILENCE
from tf_reference.runtime import tf

Run = tuple[np.ndarray, dict[str, np.ndarray], dict[int, np.ndarray]]
SIDES = {row.name: row.shape for row in TAPS["coarse"] if row.name.startswith("cnn.")}


def direct_convolution(
    x: np.ndarray, kernel: np.ndarray, bias: np.ndarray, stride: int
) -> np.ndarray:
    """One image (H, W, C) through an HWIO kernel, SAME as TensorFlow documents it, ReLU."""
    side, size = x.shape[0], kernel.shape[0]
    out = -(-side // stride)
    padding = max((out - 1) * stride + size - side, 0)
    before = padding // 2
    padded = np.pad(x, ((before, padding - before), (before, padding - before), (0, 0)))
    found = np.empty((out, out, kernel.shape[3]))
    for row in range(out):
        for column in range(out):
            h, w = row * stride, column * stride
            patch = padded[h : h + size, w : w + size]
            found[row, column] = np.tensordot(patch, kernel, axes=3) + bias
    return np.maximum(found, 0)


@pytest.fixture(scope="module")
def run() -> Run:
    """A 32 x 32 image through all layers, thin ones, in float64."""
    random = np.random.default_rng(0)
    weights, channels = {}, 3
    for row in WEIGHTS["refine"]:
        if row.torch_key.startswith("cnn."):
            if row.torch_key.endswith("weight"):
                shape = (*row.shape[:2], channels, 2 + row.shape[3] % 5)
                channels = shape[3]
            else:
                shape = (channels,)
            weights[row.torch_key] = random.normal(0, 0.5, shape)
    image = random.uniform(0, 1, (3, 32, 32, 3))
    tensors = {key: tf.constant(array) for key, array in weights.items()}
    maps = image_features(tf.constant(image), tensors, SILENCE)
    return image, weights, {number: found.numpy() for number, found in maps.items()}


@pytest.mark.parametrize("number", range(1, 19))
def test_layer(run: Run, number: int) -> None:
    image, weights, maps = run
    before = image if number == 1 else maps[number - 1]
    sides = {1: 224, **{n: SIDES[f"cnn.conv2d_{n}"][1] for n in range(1, 19)}}
    stride = 1 if number == 1 else sides[number - 1] // sides[number]
    name = f"cnn.conv2d_{number}"
    expected = direct_convolution(
        before[1], weights[f"{name}.weight"], weights[f"{name}.bias"], stride
    )
    np.testing.assert_allclose(maps[number][1], expected, rtol=1e-12, atol=1e-13)
