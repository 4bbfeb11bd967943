"""Convolutions of images and of graphs: sums of products, so that |x|·|W| bounds their rounding."""

import math

import numpy as np
import scipy.sparse as sp

from network.taps import TapRow
from parity.oracle.context import Context
from parity.oracle.layers.rounding import Evaluated

Supports = tuple[sp.csr_array | np.ndarray, sp.csr_array | np.ndarray]


def image_convolution(row: TapRow, parents: list[np.ndarray], context: Context) -> Evaluated:
    """A convolution with TensorFlow's SAME padding and its ReLU: (views, H, W, C)."""
    (x,) = parents
    variables = context.variables(row)
    kernel, bias = variables["weight"], variables["bias"]
    stride = x.shape[1] // row.shape[1]
    value = convolved(x, kernel, stride)
    # The bound needs few digits, so that it is computed in float32, at half the cost.
    magnitude = convolved(np.abs(x).astype(np.float32), np.abs(kernel).astype(np.float32), stride)
    terms = kernel[..., 0].size
    return _rectified(value + bias, magnitude + np.abs(bias), terms + 2)


def convolved(x: np.ndarray, kernel: np.ndarray, stride: int) -> np.ndarray:
    """Σ over the kernel's places of shifted images (views, H, W, C_in) times (C_in, C_out)."""
    size, _, channels_in, channels_out = kernel.shape
    around = same_padding(size, stride)
    padded = np.pad(x, ((0, 0), around, around, (0, 0)))
    views, height, width, _ = x.shape
    out = np.zeros((views, height // stride, width // stride, channels_out), dtype=x.dtype)
    rows = out.reshape(-1, channels_out)
    for i in range(size):
        for j in range(size):
            shifted = padded[:, i : i + height : stride, j : j + width : stride]
            rows += shifted.reshape(-1, channels_in) @ kernel[i, j]
    return out


def same_padding(size: int, stride: int) -> tuple[int, int]:
    """What TensorFlow's SAME puts before and after an even side, for a kernel of ``size``."""
    # At stride 2 it needs size − 2 in all, the smaller half before.
    before = (size - stride) // 2
    return before, size - stride - before


def graph_convolution(row: TapRow, parents: list[np.ndarray], context: Context) -> Evaluated:
    """Σ_k S_k (X W_k) + b on a level's mesh, rectified but for the three coordinate layers."""
    (x,) = parents
    value, magnitude, terms = _mixed(x, supports_of(row, context), context.variables(row))
    if row.shape[-1] == 3:
        return Evaluated(value, magnitude * math.sqrt(terms))
    return _rectified(value, magnitude, terms)


def local_convolution(row: TapRow, parents: list[np.ndarray], context: Context) -> Evaluated:
    """The same over the 43 hypotheses of each vertex, always rectified: (V, 43, C)."""
    (x,) = parents
    if x.ndim == 2:
        x = x.reshape(-1, row.shape[1], x.shape[-1])
    value, magnitude, terms = _mixed(x, supports_of(row, context), context.variables(row))
    return _rectified(value, magnitude, terms)


def spread_over(row: TapRow, error: np.ndarray, context: Context) -> np.ndarray:
    """Σ_k |S_k| (error |W_k|): how far inputs off by ``error`` can put a graph convolution."""
    variables = context.variables(row)
    found = np.zeros(())
    for number, support in enumerate(supports_of(row, context)):
        found = found + times(abs(support), error @ np.abs(variables[f"weights_{number}"]))
    return found


def supports_of(row: TapRow, context: Context) -> Supports:
    """The two matrices of the graph that a tap's layer works on."""
    level = {156: 0, 618: 1, 2466: 2}[row.shape[0]] if row.stage == "coarse" else 0
    return context.supports[level]


def _mixed(
    x: np.ndarray,
    supports: Supports,
    variables: dict[str, np.ndarray],
) -> tuple[np.ndarray, np.ndarray, int]:
    """The sum, that of its terms' magnitudes, and how many roundings a term passes through."""
    value = variables["bias"] * 1.0
    magnitude: np.ndarray = np.abs(value).astype(np.float32)
    positive = np.abs(x).astype(np.float32)
    longest = 0
    for support, name in zip(supports, ("weights_0", "weights_1"), strict=True):
        weights = variables[name]
        value = value + times(support, x @ weights)
        products = positive @ np.abs(weights).astype(np.float32)
        magnitude = magnitude + times(abs(support).astype(np.float32), products)
        longest = max(longest, int((support != 0).sum(axis=1).max()))
    return value, magnitude, x.shape[-1] + longest + 4


def times(support: sp.sparray | np.ndarray, x: np.ndarray) -> np.ndarray:
    """``support`` (V, V) times features (…, V, C); the identity rounds nothing."""
    if not sp.issparse(support) and np.array_equal(support, np.eye(len(support))):
        return x
    return support @ x


def _rectified(value: np.ndarray, magnitude: np.ndarray, roundings: int) -> Evaluated:
    # A ReLU makes no difference greater: |max(a, 0) − max(b, 0)| ≤ |a − b|.
    return Evaluated(np.maximum(value, 0.0), magnitude * np.float32(math.sqrt(roundings)))
