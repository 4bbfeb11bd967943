"""Seeded weights in the official shapes: probes that let a comparison tell layers apart.

Plain Glorot values make a poor probe. Through a dozen layers of random ReLUs the features of all
vertices grow alike, so that the meshes shrink to a point or leave the image, and the softmax is so
flat that the refine stage hardly moves. These draws are made so that differences survive:

- Image convolutions are normal, scaled as by He et al. (2015) to keep the second moment of the
  activations of an even image through a ReLU. Most of a kernel is the same over its window: maps
  that change abruptly from pixel to pixel would turn the rounding of a pixel coordinate, 1e-5
  pixels, into differences that say nothing about the layers.
- Graph convolutions are mostly "looks linear" (Balduzzi et al. 2017): channels come in pairs whose
  pre-activations are opposite and whose next weights are opposite, so that exactly one of each
  pair is alive and their difference passes on unchanged. A share of independent draws is mixed in,
  so that no symmetry is exact.
- A block's first bias takes out what all vertices have in common: the ellipsoid's distance, and
  the features of an even grey image, which the drawn convolutions map to one number a channel.
- Coordinate layers are centred where the initial ellipsoid is. In a scoring layer the
  second matrix mostly follows the first, which cancels what a vertex's hypotheses have in common,
  and a positive bias keeps most logits alive: a vertex whose logits are all clipped tells nothing.
- Biases are normal, so that a missing one shows.
"""

import numpy as np

from network.layout import Layout
from network.registry import network_of
from network.weights import WeightRow

HIDDEN = 192
GREY = 0.6
"""Brightness of the even image: between a white background and a shaded object."""
DEVIATION_OVER_VIEWS = 0.04
"""What the third statistic of a feature is about, where the mean is of order 0.2."""
EVEN = 0.85
"""Share of an image convolution's response that is a mean over its window."""
DEPTH = 0.8
"""Distance of the ellipsoid's centre before the first camera, in the network's units."""
ROW_SUM = {"graph_convolution": -1.0, "local_graph_convolution": -0.85}
"""What a row of S_1 = 2L/λmax - I sums to, the centre of a local graph apart."""
INDEPENDENT = 0.15
"""Share of a graph convolution's variance that is drawn without pairs."""
COORDINATES_AMPLIFIED = {"graph_convolution": 60.0, "local_graph_convolution": 20.0}
"""Gain of the three coordinate columns against the image features of a projection."""
FEATURES_AMPLIFIED = {"graph_convolution": 1.0, "local_graph_convolution": 1.5}
HIDDEN_GAIN = 2**0.25
"""Makes up, over the two layers between residuals, for the halving of variance by their mean."""
SECOND_SUPPORT = {"graph_convolution": 1.0, "local_graph_convolution": 0.2}
"""Gain of the second matrix; smaller where the centre hypothesis would swamp its sum."""
COORDINATE_GAIN = 0.5
SCORE_GAIN = 2.0
SCORE_BIAS = 2.0
"""Lifts the logits, whose deviation is of order 1: every vertex has some alive, so that its softmax
is never flat, and some clipped, the centre above all."""
SCORE_FOLLOWS = 1.1
"""With row sums of -0.76 and -0.91, S_0 + 1.1 S_1 cancels what a vertex's hypotheses share."""
SCORE_MEAN = 0.3
"""Mean over deviation of the scoring weights. Features are positive and the centre's row of
S_0 + 1.1 S_1 sums to -2.5, so the centre's logit is mostly negative; else it would win."""
BIAS_DEVIATION = 0.05


def seeded_weights(stage: str, seed: int = 0) -> dict[str, np.ndarray]:
    """Weights of one stage by checkpoint key, float32, in the checkpoint's layout.

    Every layer is drawn by a generator of its own, seeded with ``seed`` and the layer's place.
    """
    network = network_of(stage)
    layers: dict[str, list[WeightRow]] = {}
    for row in network.variables:
        layers.setdefault(network.readers[row.key].name, []).append(row)
    found: dict[str, np.ndarray] = {}
    grey = np.full(3, GREY)
    features: list[np.ndarray] = []
    for place, (layer, rows) in enumerate(layers.items()):
        random = np.random.default_rng([seed, place])
        if rows[0].layout is Layout.CONV:
            values = _image_layer(rows, random)
            grey = np.maximum(values[0].sum(axis=(0, 1)).T @ grey + values[1], 0)
            if network.row(layer) in network.projected:
                features.append(grey)
        else:
            scores = any(row.layer == "softmax" for row in network.consumers[layer])
            kind = "scores" if scores else network.row(layer).layer
            values = _graph_layer(kind, rows, random, np.concatenate(features))
        for row, value in zip(rows, values, strict=True):
            found[row.key] = value.astype(np.float32)
    return found


def _image_layer(rows: list[WeightRow], random: np.random.Generator) -> list[np.ndarray]:
    kernel, bias = (row.shape for row in rows)
    window = kernel[0] * kernel[1]
    even = random.standard_normal(kernel[2:]) / window
    uneven = random.standard_normal(kernel) / np.sqrt(window)
    weight = (np.sqrt(EVEN) * even + np.sqrt(1 - EVEN) * uneven) * np.sqrt(2 / kernel[2])
    return [weight, random.standard_normal(bias) * BIAS_DEVIATION]


def _graph_layer(
    kind: str,
    rows: list[WeightRow],
    random: np.random.Generator,
    features: np.ndarray,
) -> list[np.ndarray]:
    channels_in, channels_out = rows[0].shape
    projected = 3 + 3 * features.size
    from_image = projected if channels_in != HIDDEN else 0
    first = _matrix(random, channels_in, channels_out, from_image)
    second = _matrix(random, channels_in, channels_out, from_image)
    bias = _opposite_pairs(random.standard_normal(channels_out)) * BIAS_DEVIATION
    if kind == "scores":
        first += SCORE_MEAN / np.sqrt(channels_in)
        second = SCORE_FOLLOWS * first + 0.3 * second
        return [first * SCORE_GAIN, second * SCORE_GAIN, bias + SCORE_BIAS]
    if kind == "coordinates":
        bias = bias * COORDINATE_GAIN
        bias[2] -= DEPTH
        return [first * COORDINATE_GAIN, second * COORDINATE_GAIN, bias]
    second *= SECOND_SUPPORT[kind]
    if from_image:
        for matrix in (first, second):
            matrix[:3] *= COORDINATES_AMPLIFIED[kind]
            matrix[3:from_image] *= FEATURES_AMPLIFIED[kind]
        deviations = np.full(features.size, DEVIATION_OVER_VIEWS)
        common = np.concatenate([[0.0, 0.0, -DEPTH], features, features, deviations])
        bias -= common @ (first + ROW_SUM[kind] * second)[:projected]
    return [first * HIDDEN_GAIN, second * HIDDEN_GAIN, bias * HIDDEN_GAIN]


def _matrix(
    random: np.random.Generator, channels_in: int, channels_out: int, from_image: int
) -> np.ndarray:
    """A (C_in, C_out) matrix of variance 1 / C_in: that of He, the fan-in counting two supports.

    The rows after the first ``from_image`` are for hidden channels, which come in pairs.
    """
    paired = random.standard_normal((channels_in, channels_out))
    hidden = paired[from_image:]
    hidden[1::2] = -hidden[0::2]
    independent = random.standard_normal((channels_in, channels_out))
    mixed = np.sqrt(1 - INDEPENDENT) * _opposite_pairs(paired) + np.sqrt(INDEPENDENT) * independent
    return mixed / np.sqrt(channels_in)


def _opposite_pairs(values: np.ndarray) -> np.ndarray:
    """Make every second of the last axis's hidden channels the opposite of its neighbour."""
    if values.shape[-1] == HIDDEN:
        values[..., 1::2] = -values[..., 0::2]
    return values
