"""Backward through convolutions of images and of graphs, and their ReLUs."""

import numpy as np

from network.taps import IMAGES, TapRow
from parity.oracle.backward.sums import TINY, HandedBack, Sum, narrow
from parity.oracle.context import Context
from parity.oracle.layers.convolution import Supports, same_padding, supports_of, times


def image_convolution(
    row: TapRow,
    parents: list[np.ndarray],
    out: np.ndarray,
    gradient: np.ndarray,
    context: Context,
) -> HandedBack:
    """Through a convolution (views, H, W, C) with TensorFlow's SAME padding and its ReLU."""
    (x,) = parents
    kernel = context.variables(row)["weight"]
    stride = x.shape[1] // out.shape[1]
    passed = rectified(out, gradient)
    # A view that nothing was read from hands back nothing, without rounding.
    live = [view for view in range(len(x)) if np.any(passed[view])]
    x, passed = x[live], passed[live]
    (thin_x, scale_x), (thin_g, scale_g) = narrow(x), narrow(passed)
    thin_k, scale_k = narrow(kernel)
    rows = passed[..., 0].size
    by_kernel = _by_kernel(x, passed, kernel.shape, stride)
    kernel_magnitude = _by_kernel(thin_x, thin_g, kernel.shape, stride)
    by_bias = passed.reshape(-1, passed.shape[-1]).sum(axis=0)
    variables = {
        "weight": Sum(by_kernel, _bound(kernel_magnitude, scale_x * scale_g, rows), rows + 2),
        "bias": Sum(by_bias, np.abs(passed).sum(axis=(0, 1, 2)), rows),
    }
    if row.parents == (IMAGES,):
        return HandedBack((None,), variables)
    terms = kernel[:, :, 0].size
    value, magnitude = np.zeros(parents[0].shape), np.zeros(parents[0].shape)
    value[live] = _by_image(passed, kernel, stride, x.shape)
    thin = _by_image(thin_g, thin_k, stride, x.shape)
    magnitude[live] = _bound(thin, scale_g * scale_k, terms)
    return HandedBack((Sum(value, magnitude, terms + 1),), variables)


def _by_kernel(
    x: np.ndarray, gradient: np.ndarray, shape: tuple[int, ...], stride: int
) -> np.ndarray:
    """Σ over pixels of shifted inputs times gradients: (size, size, C_in, C_out)."""
    size, (_, height, width, channels) = shape[0], x.shape
    around = same_padding(size, stride)
    padded = np.pad(x, ((0, 0), around, around, (0, 0)))
    rows = gradient.reshape(-1, gradient.shape[-1])
    result = np.zeros(shape, x.dtype)
    for i in range(size):
        for j in range(size):
            shifted = padded[:, i : i + height : stride, j : j + width : stride]
            result[i, j] = shifted.reshape(-1, channels).T @ rows
    return result


def _by_image(
    gradient: np.ndarray, kernel: np.ndarray, stride: int, shape: tuple[int, ...]
) -> np.ndarray:
    """Every gradient spread by the kernel over the pixels that it was made of."""
    size = kernel.shape[0]
    views, height, width, channels = shape
    before, after = same_padding(size, stride)
    padded = np.zeros((views, height + before + after, width + before + after, channels),
                      gradient.dtype)  # fmt: skip
    for i in range(size):
        for j in range(size):
            padded[:, i : i + height : stride, j : j + width : stride] += gradient @ kernel[i, j].T
    return padded[:, before : before + height, before : before + width]


def graph_convolution(
    row: TapRow,
    parents: list[np.ndarray],
    out: np.ndarray,
    gradient: np.ndarray,
    context: Context,
) -> HandedBack:
    """Through Σ_k S_k (X W_k) + b on a level's mesh; the coordinate layers have no ReLU."""
    passed = gradient if out.shape[-1] == 3 else rectified(out, gradient)
    return _mixed(parents[0], passed, supports_of(row, context), context.variables(row))


def local_convolution(
    row: TapRow,
    parents: list[np.ndarray],
    out: np.ndarray,
    gradient: np.ndarray,
    context: Context,
) -> HandedBack:
    """The same over the 43 hypotheses of each vertex: (V, 43, C)."""
    x = parents[0]
    by_vertex = x.reshape(*out.shape[:2], x.shape[-1])
    back = _mixed(
        by_vertex,
        rectified(out, gradient),
        supports_of(row, context),
        context.variables(row),
    )
    (by_x,) = back.parents
    assert by_x is not None
    return HandedBack((by_x.shaped(x.shape),), back.variables)


def rectified(out: np.ndarray, gradient: np.ndarray) -> np.ndarray:
    """What a ReLU lets back: the gradient where its output is positive."""
    return np.where(out > 0, gradient, 0.0)


def _mixed(
    x: np.ndarray, passed: np.ndarray, supports: Supports, variables: dict[str, np.ndarray]
) -> HandedBack:
    """Through the sum of both supports; ``passed``: (…, V, C_out)."""
    flat_x = x.reshape(-1, x.shape[-1])
    (thin_x, scale_x), (thin_g, scale_g) = narrow(flat_x), narrow(passed)
    rows, width = len(flat_x), passed.shape[-1]
    value, magnitude, longest = np.zeros(x.shape), np.zeros(x.shape), 0
    found: dict[str, Sum] = {}
    for support, name in zip(supports, ("weights_0", "weights_1"), strict=True):
        weights = variables[name]
        thin_w, scale_w = narrow(weights)
        back = times(support.T, passed).reshape(-1, width)
        thin = times(abs(support).astype(np.float32).T, thin_g).reshape(-1, width)
        longest = max(longest, int((support != 0).sum(axis=0).max()))
        value += (back @ weights.T).reshape(x.shape)
        magnitude += _bound((thin @ thin_w.T).reshape(x.shape), scale_g * scale_w, width)
        size = _bound(thin_x.T @ thin, scale_x * scale_g, rows)
        found[name] = Sum(flat_x.T @ back, size, rows + longest + 2)
    by_bias = passed.reshape(-1, width).sum(axis=0)
    found["bias"] = Sum(by_bias, np.abs(passed).reshape(-1, width).sum(axis=0), rows)
    return HandedBack((Sum(value, magnitude, width + longest + 4),), found)


def _bound(thin: np.ndarray, scale: float, terms: int) -> np.ndarray:
    """Magnitudes that were summed as float32 shares; what float32 cannot hold is added."""
    # A sum in float32 may itself be below the exact one, by a rounding of each of its terms.
    wide: np.ndarray = (thin.astype(np.float64) * (1 + terms * 2.0**-24) + terms * TINY) * scale
    return wide
