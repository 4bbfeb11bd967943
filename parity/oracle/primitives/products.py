"""Products with matrices: sums whose terms are products, in whatever order they are added.

A term passes through the rounding of its product and at most n − 1 of the additions. Only sums of
products are meant: Winograd's and Fourier transforms have other bounds, and a library that chose
one would be reported as less precise, which it is.
"""

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

import numpy as np
import scipy.sparse as sp

from network.program import Expression, call
from parity.oracle.number import Number, nothing, single_of
from parity.oracle.primitives.narrow import NARROWER
from parity.oracle.primitives.rule import Mistake, Primitive, Settings, Shape, State, rule

Product = Callable[[np.ndarray, np.ndarray], np.ndarray]


def bilinear(state: State, product: Product, a: Number, b: Number, terms: int) -> Number:
    """A product that is linear in both factors, each sum of so many terms, with its bounds."""
    arithmetic = state.arithmetic
    a, b = arithmetic.summand(a), arithmetic.summand(b)
    if not a.is_exact and not b.is_exact:
        a, b = arithmetic.close(a), arithmetic.close(b)
    with np.errstate(invalid="ignore", over="ignore"):
        value = product(a.value, b.value)
        if not arithmetic.bounded:
            return Number(value)
        size = arithmetic.size_of(product, a.single, b.single, terms)
        error: Any = 0.0
        undecided: Any = 0.0
        for one, other, left in ((a, b, True), (b, a, False)):
            if not nothing(one.error):
                error = error + _ordered(product, one.error, other.magnitude, left, one)
            if not nothing(one.undecided):
                undecided = undecided + _ordered(product, one.undecided, other.magnitude, left, one)
    count = int(np.max(a.count)) + int(np.max(b.count)) + terms
    return Number(value, error, size, count, undecided=undecided)


def _ordered(
    product: Product, bound: Any, magnitude: np.ndarray, left: bool, one: Number
) -> np.ndarray:
    wide = np.broadcast_to(bound, one.value.shape)
    return product(wide, magnitude) if left else product(magnitude, wide)


def _in_narrower_types(name: str, settings: Settings) -> Iterator[Mistake]:
    """Products whose factors are rounded, and the product too."""

    def of(kind: str, result: bool, operands: Sequence[Expression]) -> Expression:
        *others, last = operands
        if name == "sparse_matmul":
            first, second = others[0], call("narrow", last, kind=kind)
        else:
            first, second = (call("narrow", each, kind=kind) for each in operands)
        found = call(name, first, second, **settings)
        return call("narrow", found, kind=kind) if result else found

    for kind in NARROWER:
        yield Mistake(f"products of factors rounded to {kind}", partial(of, kind, False),
                      operand="precision")  # fmt: skip
        yield Mistake(f"products in {kind}", partial(of, kind, True), operand="precision")


@rule
class Matmul(Primitive):
    """x W over the last axis of x."""

    name = "matmul"
    term = "weights"

    def mistakes(self, settings: Settings, shapes: Sequence[Shape]) -> Iterator[Mistake]:
        yield from _in_narrower_types(self.name, settings)

    def number(self, state: State, settings: Settings, *operands: Number) -> Number:
        a, b = operands
        return bilinear(state, np.matmul, a, b, a.value.shape[-1])

    def vjp(
        self,
        settings: Settings,
        operands: Sequence[Expression],
        output: Expression,
        gradient: Expression,
    ) -> Sequence[Expression | None]:
        x, weights = operands
        return [
            gradient @ call("transpose", weights, axes=(1, 0)),
            call("outer_sum", x, gradient),
        ]


@rule
class OuterSum(Primitive):
    """Σ over all leading axes of x_i·g_j: (C_in, C_out)."""

    name = "outer_sum"

    def number(self, state: State, settings: Settings, *operands: Number) -> Number:
        a, b = operands

        def product(x: np.ndarray, g: np.ndarray) -> np.ndarray:
            return x.reshape(-1, x.shape[-1]).T @ g.reshape(-1, g.shape[-1])

        return bilinear(state, product, a, b, a.value.size // a.value.shape[-1])


@rule
class SparseMatmul(Primitive):
    """S x over the rows of x (V, C), or over the second axis of (V, 43, C).

    ``support`` is a constant: a dense matrix, or one given by its entries (see
    ``parity.oracle.context.constant``). A row of one entry adds nothing up.
    """

    name = "sparse_matmul"
    term = absence = "support"

    def mistakes(self, settings: Settings, shapes: Sequence[Shape]) -> Iterator[Mistake]:
        yield Mistake("the product without the support", lambda x: x[1], operand=self.term)
        yield Mistake("the support's product left out", lambda x: 0.0 * x[1], operand=self.term)
        yield from _in_narrower_types(self.name, settings)

    def number(self, state: State, settings: Settings, *operands: Number) -> Number:
        support, x = operands
        x = state.arithmetic.summand(x)
        matrix = entries_of(support.value)
        if settings.get("transposed"):
            matrix = matrix.T
        filled = matrix != 0
        terms = int(filled.sum(axis=1).max())
        whole = bool(np.isin(np.abs(matrix.data if sp.issparse(matrix) else matrix), (0, 1)).all())
        if terms <= 1 and whole:
            rows = np.asarray(filled.sum(axis=1)).ravel()
            if (rows == 1).all() and _is_identity(matrix):
                return x
        if not state.arithmetic.bounded:
            return Number(matrix @ x.value)
        positive = abs(matrix)
        entries = matrix.data if sp.issparse(matrix) else matrix

        def product(entries: np.ndarray, x: np.ndarray) -> np.ndarray:
            if not sp.issparse(matrix):
                return entries @ x
            there = entries, matrix.indices, matrix.indptr
            return np.asarray(type(matrix)(there, shape=matrix.shape) @ x)

        def times(by: Any, part: Any) -> Any:
            return (
                part if part is None or nothing(part) else by @ np.broadcast_to(part, x.value.shape)
            )

        with np.errstate(invalid="ignore", over="ignore"):
            size = state.arithmetic.size_of(product, single_of(entries), x.single, terms)
            return Number(
                matrix @ x.value,
                times(positive, x.error),
                size,
                int(np.max(x.count)) + terms - (1 if whole else 0),
                undecided=times(positive, x.undecided),
            )

    def vjp(
        self,
        settings: Settings,
        operands: Sequence[Expression],
        output: Expression,
        gradient: Expression,
    ) -> Sequence[Expression | None]:
        back = not settings.get("transposed", False)
        return [None, call("sparse_matmul", operands[0], gradient, transposed=back)]


def entries_of(matrix: Any) -> Any:
    """The matrix itself, where it was handed over as an object that holds a sparse one."""
    if isinstance(matrix, np.ndarray) and matrix.dtype == object:
        return matrix.item()
    return matrix


def _is_identity(matrix: Any) -> bool:
    dense_diagonal = matrix.diagonal()
    return bool((dense_diagonal == 1).all())


@rule
class Conv2d(Primitive):
    """An image (views, H, W, C_in) with a kernel (k, k, C_in, C_out), TensorFlow's SAME padding.

    ``before`` is how many rows and columns are padded before the image, ``fill`` what they hold, as
    ``numpy.pad`` names it; ``dilation`` spreads the kernel. They are for what ports do otherwise.
    """

    name = "conv2d"
    term = "padding"

    def mistakes(self, settings: Settings, shapes: Sequence[Shape]) -> Iterator[Mistake]:
        (_, height, _, _), (size, *_) = shapes
        stride = settings["stride"]
        top, bottom = same_padding(height, size, stride)

        def other(**changed: Any) -> Callable[[Sequence[Expression]], Expression]:
            return lambda x: call("conv2d", *x, **settings, **changed)

        for before in range(size):
            if before != top:
                after = max(top + bottom - before, 0)
                yield Mistake(
                    f"({before}, {after}) rows and columns of padding before and after the image"
                    + (", as symmetric padding comes to," if before == size // 2 else "")
                    + f" instead of the official ({top}, {bottom})",
                    other(before=before),
                )
        for fill in ("edge", "reflect", "wrap"):
            yield Mistake(f"padding by {fill} instead of zeros", other(fill=fill))
        yield Mistake("a dilation of 2", other(dilation=2), operand="dilation")
        yield from _in_narrower_types(self.name, settings)

    def number(self, state: State, settings: Settings, *operands: Number) -> Number:
        x, kernel = operands
        how = {name: value for name, value in settings.items() if name != "stride"}
        stride = settings["stride"]

        def product(a: np.ndarray, b: np.ndarray) -> np.ndarray:
            return convolved(a, b, stride, **how)

        return bilinear(state, product, x, kernel, int(np.prod(kernel.value.shape[:-1])))

    def vjp(
        self,
        settings: Settings,
        operands: Sequence[Expression],
        output: Expression,
        gradient: Expression,
    ) -> Sequence[Expression | None]:
        x, kernel = operands
        stride = settings["stride"]
        return [
            call("conv2d_input", gradient, kernel, x, stride=stride),
            call("conv2d_kernel", gradient, x, kernel, stride=stride),
        ]


@rule
class Conv2dInput(Primitive):
    """A convolution's gradient at its input, of the third operand's shape."""

    name = "conv2d_input"

    def number(self, state: State, settings: Settings, *operands: Number) -> Number:
        gradient, kernel, like = operands
        stride, shape = settings["stride"], like.value.shape

        def product(g: np.ndarray, b: np.ndarray) -> np.ndarray:
            return input_gradient(g, b, shape, stride)

        rows, columns, _, channels_out = kernel.value.shape
        return bilinear(state, product, gradient, kernel, rows * columns * channels_out)


@rule
class Conv2dKernel(Primitive):
    """A convolution's gradient at its kernel, of the third operand's shape."""

    name = "conv2d_kernel"

    def number(self, state: State, settings: Settings, *operands: Number) -> Number:
        gradient, x, like = operands
        stride, shape = settings["stride"], like.value.shape

        def product(g: np.ndarray, a: np.ndarray) -> np.ndarray:
            return kernel_gradient(g, a, shape, stride)

        return bilinear(state, product, gradient, x, int(np.prod(gradient.value.shape[:-1])))


def same_padding(length: int, size: int, stride: int) -> tuple[int, int]:
    """What TensorFlow's SAME puts before and after a side, for a kernel of ``size``."""
    total = max((-(-length // stride) - 1) * stride + size - length, 0)
    return total // 2, total - total // 2


def shifts(
    shape: tuple[int, ...], sides: tuple[int, int], stride: int
) -> list[tuple[int, int, Any, Any]]:
    """For each place of a kernel of two ``sides``: the slices of a padded image that it meets."""
    height, width = (-(-shape[axis] // stride) for axis in (1, 2))
    return [
        (i, j, slice(i, i + height * stride, stride), slice(j, j + width * stride, stride))
        for i in range(sides[0])
        for j in range(sides[1])
    ]


def around(shape: tuple[int, ...], sides: tuple[int, int], stride: int) -> list[tuple[int, int]]:
    """What SAME puts before and after the rows and columns of an image (views, H, W, C)."""
    return [same_padding(shape[axis], sides[axis - 1], stride) for axis in (1, 2)]


def padded(x: np.ndarray, sides: tuple[int, int], stride: int) -> np.ndarray:
    """An image (views, H, W, C) with what SAME puts around it."""
    return np.pad(x, ((0, 0), *around(x.shape, sides, stride), (0, 0)))


def convolved(
    x: np.ndarray,
    kernel: np.ndarray,
    stride: int,
    before: int | None = None,
    fill: str = "constant",
    dilation: int = 1,
) -> np.ndarray:
    """Σ over the kernel's places of shifted images (views, H, W, C_in) times (C_in, C_out)."""
    if dilation > 1:
        spread = np.zeros((*(dilation * (n - 1) + 1 for n in kernel.shape[:2]), *kernel.shape[2:]),
                          kernel.dtype)  # fmt: skip
        spread[::dilation, ::dilation] = kernel
        kernel = spread
    rows, columns, channels_in, channels_out = kernel.shape
    border = around(x.shape, (rows, columns), stride)
    if before is not None:
        border = [(before, max(sum(each) - before, 0)) for each in border]
    wide = np.pad(x, ((0, 0), *border, (0, 0)), mode=fill)  # type: ignore[call-overload]
    height, width = (-(-x.shape[axis] // stride) for axis in (1, 2))
    out = np.zeros((len(x), height, width, channels_out), dtype=np.result_type(x, kernel))
    flat = out.reshape(-1, channels_out)
    for i, j, h, w in shifts(x.shape, (rows, columns), stride):
        flat += wide[:, h, w][:, :height, :width].reshape(-1, channels_in) @ kernel[i, j]
    return out


def input_gradient(
    gradient: np.ndarray, kernel: np.ndarray, shape: tuple[int, ...], stride: int
) -> np.ndarray:
    """The transposed convolution, cut to ``shape``."""
    sides = kernel.shape[:2]
    border = around(shape, sides, stride)
    wide = np.zeros(
        (
            shape[0],
            shape[1] + sum(border[0]) + stride,
            shape[2] + sum(border[1]) + stride,
            shape[3],
        ),
        dtype=np.result_type(gradient, kernel),
    )
    flat = gradient.reshape(-1, gradient.shape[-1])
    for i, j, h, w in shifts(shape, sides, stride):
        wide[:, h, w] += (flat @ kernel[i, j].T).reshape(*gradient.shape[:3], -1)
    (top, _), (left, _) = border
    return wide[:, top : top + shape[1], left : left + shape[2]]


def kernel_gradient(
    gradient: np.ndarray, x: np.ndarray, shape: tuple[int, ...], stride: int
) -> np.ndarray:
    """Σ over pixels of the image under each place of the kernel times the gradient there."""
    sides = shape[0], shape[1]
    wide = padded(x, sides, stride)
    height, width = gradient.shape[1:3]
    flat = gradient.reshape(-1, gradient.shape[-1])
    found = np.zeros(shape, dtype=np.result_type(gradient, x))
    for i, j, h, w in shifts(x.shape, sides, stride):
        under = wide[:, h, w][:, :height, :width].reshape(-1, x.shape[-1])
        found[i, j] = under.T @ flat
    return found
