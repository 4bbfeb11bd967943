"""Counterfactuals of the image network's convolutions."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial
from itertools import permutations

import numpy as np

from network.taps import IMAGES
from parity.diagnosis.variant import (
    ALL,
    NARROWER,
    Part,
    Question,
    Variant,
    fitted,
    layers_alike,
    narrowed,
    narrowed_result,
    same_order,
    telling_channels,
)
from parity.oracle.layers.rounding import Evaluated

LEAK = 0.01
"""The slope that leaky ReLUs have by default."""


@dataclass(frozen=True, eq=False)
class Convolution:
    """A convolution with everything that may be wrong about it.

    Attributes:
        x: (views, H, W, C_in).
        kernel: (size, size, C_in, C_out).
        bias: (C_out,).
        stride: in pixels.
        before: rows and columns padded before; as many are added after as the output needs.
        mode: what they hold, as ``numpy.pad`` names it.
        averaged: a dense convolution whose outputs are averaged over ``stride`` squares.
        slope: of the activation where its argument is negative.
        factors: of the products and of the bias.
        narrow: the type that the result is rounded to.
    """

    x: np.ndarray
    kernel: np.ndarray
    bias: np.ndarray
    stride: int
    before: int
    mode: str = "constant"
    averaged: bool = False
    slope: float = 0.0
    factors: tuple[float, float] = (1.0, 1.0)
    narrow: str = ""

    def products(self, columns: np.ndarray | slice = ALL) -> np.ndarray:
        """The sums before bias and activation."""
        return self._sums(self.x, self.kernel[..., columns])

    def __call__(self, question: Question, part: Part) -> Evaluated:
        """The views and output channels that a part has."""
        kernel, bias = self.kernel[..., part.chosen_columns], self.bias[part.chosen_columns]
        a, c = self.factors
        x = part.of_rows(self.x)
        value = a * self._sums(x, kernel) + c * bias
        magnitude = abs(a) * self._sums(
            np.abs(x).astype(np.float32), np.abs(kernel).astype(np.float32)
        ) + np.abs(c * bias)
        value = np.where(value > 0, value, self.slope * value)
        if self.averaged:
            value, magnitude = (self._mean(each) for each in (value, magnitude))
        terms = kernel[..., 0].size + 2
        found = Evaluated(value, (magnitude * np.sqrt(terms)).astype(np.float32))
        return narrowed_result(found, self.narrow, question) if self.narrow else found

    def _mean(self, dense: np.ndarray) -> np.ndarray:
        views, height, width, channels = dense.shape
        step = self.stride
        blocks = dense.reshape(views, height // step, step, width // step, step, channels)
        mean: np.ndarray = blocks.mean(axis=(2, 4))
        return mean

    def _sums(self, x: np.ndarray, kernel: np.ndarray) -> np.ndarray:
        size, stride = kernel.shape[0], 1 if self.averaged else self.stride
        views, height, width, channels = x.shape
        after = max(size - stride - self.before, 0)
        room = ((0, 0), (self.before, after), (self.before, after), (0, 0))
        padded = np.pad(x, room, mode=self.mode)  # type: ignore[call-overload]
        out = np.zeros((views, height // stride, width // stride, kernel.shape[3]), x.dtype)
        rows = out.reshape(-1, kernel.shape[3])
        for i in range(size):
            for j in range(size):
                shifted = padded[:, i : i + height : stride, j : j + width : stride]
                rows += shifted.reshape(-1, channels) @ kernel[i, j]
        return out


def official(question: Question) -> Convolution:
    """The layer as it should be."""
    (x,) = question.inputs
    variables = question.context.variables(question.row)
    kernel = variables["weight"]
    stride = x.shape[1] // question.row.shape[1]
    return Convolution(x, kernel, variables["bias"], stride, (len(kernel) - stride) // 2)


def variants(question: Question) -> Iterator[Variant]:
    """Everything that can be changed about one convolution, most usual first."""
    layer = official(question)
    if question.row.parents == (IMAGES,):
        yield from _of_images(question, layer)
    for operand, change, changed in _enumerated(layer):
        yield Variant(operand, change, partial(changed, question))
    yield from _permuted(question, layer)
    yield from _scaled(question, layer)
    for name, other in layers_alike(question, "weight"):
        changed = replace(layer, kernel=other["weight"], bias=other["bias"])
        yield Variant("weights of another layer", f"the weights of {name}",
                      partial(changed, question))  # fmt: skip
    if question.row.parents == (IMAGES,):
        yield Variant("image", "another image", partial(_other_image, question, layer), True)


def _enumerated(layer: Convolution) -> Iterator[tuple[str, str, Convolution]]:
    size, stride = len(layer.kernel), layer.stride
    for before in range(size):
        if before != layer.before:
            after = max(size - stride - before, 0)
            yield ("padding", f"({before}, {after}) rows and columns of padding instead of "
                   f"({layer.before}, {size - stride - layer.before})"
                   + (", as symmetric padding has it," if before == size // 2 else ""),
                   replace(layer, before=before))  # fmt: skip
    for mode in ("edge", "reflect", "wrap"):
        yield "padding", f"padding by {mode} instead of zeros", replace(layer, mode=mode)
    if stride > 1:
        half = size // 2
        mean = replace(layer, averaged=True, before=half)
        yield "stride", "neighbouring outputs averaged instead of one taken", mean
    yield "activation", "no ReLU", replace(layer, slope=1.0)
    yield "activation", f"a ReLU that leaks {LEAK}", replace(layer, slope=LEAK)
    yield "bias", "no bias", replace(layer, factors=(1.0, 0.0))
    kernel = layer.kernel
    yield ("weights transposed", "the kernel's height and width swapped",
           replace(layer, kernel=kernel.transpose(1, 0, 2, 3)))  # fmt: skip
    if kernel.shape[2] == kernel.shape[3]:
        yield ("weights transposed", "the kernel's input and output channels swapped",
               replace(layer, kernel=kernel.transpose(0, 1, 3, 2)))  # fmt: skip
    turned = replace(layer, kernel=kernel[::-1, ::-1])
    yield "index order", "the kernel turned by half a turn", turned
    yield "index order", "the kernel upside down", replace(layer, kernel=kernel[::-1])
    yield "index order", "the kernel mirrored", replace(layer, kernel=kernel[:, ::-1])
    channels = kernel.shape[2]
    orders = {"reversed": np.arange(channels)[::-1]}
    if channels > 3:
        orders |= {"turned by one": np.roll(np.arange(channels), 1),
                   "turned back by one": np.roll(np.arange(channels), -1),
                   "in halves swapped": np.roll(np.arange(channels), channels // 2)}  # fmt: skip
    for name, order in orders.items():
        yield ("channel order", f"input channels {name}",
               replace(layer, kernel=kernel[:, :, order]))  # fmt: skip
    for views in _orders_of_views(len(layer.x)):
        yield "view order", f"views in the order {views}", replace(layer, x=layer.x[list(views)])
    for kind in NARROWER:
        x, weight, bias = (narrowed(each, kind) for each in (layer.x, kernel, layer.bias))
        for name, changed in (
            (f"the input rounded to {kind}", replace(layer, x=x)),
            (f"the kernel rounded to {kind}", replace(layer, kernel=weight)),
            (f"kernel and bias rounded to {kind}", replace(layer, kernel=weight, bias=bias)),
            (f"input and kernel rounded to {kind}", replace(layer, x=x, kernel=weight)),
            (f"the result rounded to {kind}", replace(layer, narrow=kind)),
            (f"everything in {kind}", replace(layer, x=x, kernel=weight, bias=bias, narrow=kind)),
        ):
            yield "precision", name, changed


def _of_images(question: Question, layer: Convolution) -> Iterator[Variant]:
    for order in permutations(range(3)):
        if order != (0, 1, 2):
            names = ", ".join(("blue", "green", "red")[each] for each in order)
            changed = replace(layer, x=layer.x[..., list(order)])
            yield Variant("channel order", f"channels {names}", partial(changed, question))
    grid = np.round(layer.x * 255) / 255
    flips = {"transposed": layer.x.transpose(0, 2, 1, 3), "upside down": layer.x[:, ::-1],
             "mirrored": layer.x[:, :, ::-1], "rounded to multiples of 1/255": grid}  # fmt: skip
    for name, x in flips.items():
        yield Variant("image", f"images {name}", partial(replace(layer, x=x), question))


def _orders_of_views(count: int) -> Iterator[tuple[int, ...]]:
    yield from (order for order in permutations(range(count)) if order != tuple(range(count)))


def _permuted(question: Question, layer: Convolution) -> Iterator[Variant]:
    """Output channels in another order, found by looking for every observed one."""

    def evaluate(part: Part) -> Evaluated:
        full, seen = layer(question, Part(rows=part.rows)), part.of_rows(question.observed)
        if seen.shape != full.value.shape:
            return _nothing()
        limit = full.limit(question.row.stage, question.dtype)
        channels = question.observed.shape[-1]
        order = same_order(
            seen.reshape(-1, channels), full.value.reshape(-1, channels),
            float(limit.max(initial=0.0)),
        )  # fmt: skip
        if order is None or np.array_equal(order, np.arange(channels)):
            return _nothing()
        columns = order[part.chosen_columns]
        return Evaluated(full.value[..., columns], full.unit[..., columns])

    yield Variant("channel order", "output channels in another order", evaluate)


def _scaled(question: Question, layer: Convolution) -> Iterator[Variant]:
    """Factors of products and bias, fitted where the ReLU lets them be seen."""

    def fit(channels: np.ndarray) -> tuple[float, float] | None:
        observed = question.observed[..., channels]
        if observed.shape[:3] != question.row.shape[:3]:
            return None
        on = observed > 0
        products = layer.products(channels)
        bias = np.broadcast_to(layer.bias[channels], products.shape)
        found = fitted([products[on], bias[on]], observed[on])
        return None if found is None else (float(found[0]), float(found[1]))

    factors = fit(telling_channels(question.observed, layer.bias))
    if factors is None or factors == (1.0, 1.0):
        return
    a, c = factors
    operand = "bias" if a == 1.0 else "constant"
    change = f"the products times {a:.4g} and the bias times {c:.4g}"
    yield Variant(operand, change, partial(replace(layer, factors=factors), question), True)


def _other_image(question: Question, layer: Convolution, part: Part) -> Evaluated:
    """The right layer on the image that explains its output best.

    Three numbers a pixel are sought and sixteen are known, of which the ReLU hides about half: an
    image that gives all of them to rounding is no accident. Found by conjugate gradients on the
    equations of the outputs that are positive.
    """
    observed = question.observed
    if observed.shape != question.row.shape:
        return _nothing()
    # Each view by itself: only those that are asked for.
    views = replace(layer, x=part.of_rows(layer.x))
    image = _solved(views, part.of_rows(observed))
    return replace(layer, x=image)(question, Part(columns=part.columns))


STEPS = 250
"""Of conjugate gradients, at most."""


def _solved(layer: Convolution, observed: np.ndarray) -> np.ndarray:
    on = (observed > 0).astype(np.float64)
    target = on * (observed - layer.bias)
    turned = layer.kernel[::-1, ::-1].transpose(0, 1, 3, 2)
    after = len(layer.kernel) - 1 - layer.before
    back = replace(layer, kernel=turned, before=after)

    def forward(x: np.ndarray) -> np.ndarray:
        return on * replace(layer, x=x).products()

    def adjoint(y: np.ndarray) -> np.ndarray:
        return replace(back, x=y).products()

    # CGLS (Björck, "Numerical methods for least squares problems", algorithm 7.4.1), from the
    # official image.
    x = layer.x.copy()
    residual = target - forward(x)
    gradient = adjoint(residual)
    direction, size = gradient, float((gradient**2).sum())
    first = size
    for _ in range(STEPS):
        if size <= 1e-32 * first:
            break
        moved = forward(direction)
        step = size / float((moved**2).sum())
        x = x + step * direction
        residual = residual - step * moved
        gradient = adjoint(residual)
        size, last = float((gradient**2).sum()), size
        direction = gradient + (size / last) * direction
    return x


def _nothing() -> Evaluated:
    return Evaluated(np.zeros(0), np.zeros(0, np.float32))
