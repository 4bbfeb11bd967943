"""The image network: 18 convolutions with TensorFlow's SAME padding, each followed by a ReLU."""

from tf_reference.listening import Taps
from tf_reference.parameters import Weights
from tf_reference.runtime import tf

# At stride 2 on even sides SAME pads only after the map (3 x 3: 0 and 1, 5 x 5: 1 and 2).
_STRIDES = {3: 2, 6: 2, 9: 2, 12: 2, 15: 2}
_LAYERS = 18


def image_features(images: "tf.Tensor", weights: Weights, tap: Taps) -> dict[int, "tf.Tensor"]:
    """The feature maps after each convolution's ReLU.

    Args:
        images: (3 views, 224, 224, 3) NHWC, BGR in [0, 1].
        weights: ``cnn.conv2d_N.weight`` (H, W, C_in, C_out) and ``.bias``.
        tap: told each map under ``cnn.conv2d_N``.

    Returns:
        (3, H, W, C) maps by the number of the convolution, 1 to 18.
    """
    maps = {}
    x = images
    for number in range(1, _LAYERS + 1):
        name = f"cnn.conv2d_{number}"
        stride = _STRIDES.get(number, 1)
        x = tf.nn.conv2d(x, weights[f"{name}.weight"], strides=stride, padding="SAME")
        x = tf.nn.relu(tf.nn.bias_add(x, weights[f"{name}.bias"]))
        tap(name, x)
        maps[number] = x
    return maps
