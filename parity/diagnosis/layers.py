"""Other layers that stand in place of the official ones, where more than one operation differs.

By the layer's name in ``network.layers.PROGRAMS``. What differs in one operation need not be here:
the primitives list it.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from network.layers import concatenate, pixels, relu, view_statistics
from network.program import Expression, Program, call, rewritten, trace
from parity.diagnosis import mistakes
from parity.diagnosis.question import Question, Variant
from parity.oracle.local import pixels_of
from parity.oracle.number import Number, exactly

SIZE = 224.0
"""Pixels of a side of the images that coordinates refer to."""
SOLVED_ROUNDINGS = 16.0
"""Roundings that a sum of exponentials is off by where it is solved for."""


def variants(question: Question) -> Iterator[Variant]:
    """The layers that are known to be mistaken for this one."""
    found = OTHERS.get(question.row.layer)
    yield from () if found is None else found(question)


def _traced(question: Question, function: Callable[..., Expression], **settings: object) -> Program:
    program = question.program
    return trace(function, len(program.activations) - 1, **settings)


# Graph convolutions


def _bias_first(rectified: bool) -> Callable[..., Expression]:
    def layer(
        x: Expression,
        *,
        weights_0: Expression,
        weights_1: Expression,
        bias: Expression,
        support_0: Expression,
        support_1: Expression,
    ) -> Expression:
        value = call("sparse_matmul", support_0, x @ weights_0) + call(
            "sparse_matmul", support_1, x @ weights_1 + bias
        )
        return relu(value) if rectified else value

    return layer


def _graph(question: Question) -> Iterator[Variant]:
    rectified = question.row.layer != "coordinates"
    yield Variant("bias", "the bias added before the second support",
                  _traced(question, _bias_first(rectified)))  # fmt: skip


# Scores


def _scores(question: Question) -> Iterator[Variant]:
    def sigmoid(x: Expression) -> Expression:
        return 1.0 / (1.0 + call("exp", -x))

    def logarithm(x: Expression) -> Expression:
        away = x - call("reduce_max", x, axis=1)
        return away - call("log", call("reduce_sum", call("exp", away), axis=1))

    def plain(x: Expression) -> Expression:
        return x / call("reduce_sum", x, axis=1)

    def equal(x: Expression) -> Expression:
        return (0.0 * x + 1.0) / call("length", x, axis=1)

    def itself(x: Expression) -> Expression:
        return 1.0 * x

    def over_vertices(x: Expression) -> Expression:
        power = call("exp", x - call("reduce_max", x, axis=0))
        return power / call("reduce_sum", power, axis=0)

    for words, function in {
        "logits divided by their sum": plain,
        "a sigmoid of each logit": sigmoid,
        "the score's logarithm": logarithm,
        "equal weights": equal,
        "all weight on the greatest logit": _greatest,
    }.items():
        yield Variant("reduction", words, trace(function))
    yield Variant("reduction", "a softmax over vertices", trace(over_vertices), whole=True)
    yield from _over_more_vertices(question)
    yield Variant("missing term", "the logits themselves", trace(itself))


def _over_more_vertices(question: Question) -> Iterator[Variant]:
    """A softmax over vertices of which only some are at hand: the sums are solved for.

    There are as many as hypotheses, and each is shown by every vertex.
    """

    def normalised(x: Expression, *, sums: Expression) -> Expression:
        return call("exp", x) / sums

    (name,) = question.activations
    with np.errstate(all="ignore"):
        each = np.exp(question.inputs[name].value) / question.observed
    if len(each) > 2 and np.isfinite(each).all():
        sums = np.median(each, axis=0, keepdims=True)
        # Each is off by the roundings of an exponential and a division.
        given = {"sums": Number(sums, SOLVED_ROUNDINGS * question.arithmetic.roundoff * sums)}
        yield Variant("reduction", "a softmax over vertices", trace(normalised), given)


def _greatest(x: Expression) -> Expression:
    return call("share_of_max", x, axis=1)


def _displaced(_: Question) -> Iterator[Variant]:
    def best(score: Expression, mesh: Expression, *, offsets: Expression) -> Expression:
        return call("reduce_sum", _greatest(score) * offsets, axis=1, keep=False) + mesh

    yield Variant("reduction", "the best hypothesis alone", trace(best))


# Convolutions of images


def _strided(question: Question) -> Iterator[Variant]:
    """Every output of a dense convolution used, where one of two by two should be."""
    if question.row.settings["stride"] != 2:
        return
    for words, join in {
        "two by two outputs averaged instead of one taken": _average,
        "the greatest of two by two outputs instead of one": _maximum,
    }.items():
        yield Variant("stride", words, trace(_pooled(join)))


Join = Callable[[Sequence[Expression]], Expression]


def _pooled(join: Join) -> Callable[..., Expression]:
    def layer(x: Expression, *, weight: Expression, bias: Expression) -> Expression:
        dense = relu(call("conv2d", x, weight, stride=1) + bias)
        steps = (slice(0, None, 2), slice(1, None, 2))
        return join([dense[:, rows, columns] for rows in steps for columns in steps])

    return layer


def _average(parts: Sequence[Expression]) -> Expression:
    first, second, third, fourth = parts
    return 0.25 * (first + second + third + fourth)


def _maximum(parts: Sequence[Expression]) -> Expression:
    stacked = call("stack", *parts, axis=0)
    return call("reduce_max", stacked, axis=0, keep=False)


# Projections


Place = Callable[[Expression, float], Expression]
"""Where on a map a pixel (N, views, 2) of the image lies, given the map's side."""


@dataclass(frozen=True)
class Sampler:
    """How maps are read between pixels, as samplers of libraries do it.

    Attributes:
        place: where a map is read.
        border: whether places beyond the map are moved onto its border; otherwise zeros are read.
        up: the upper corner: "next" is floor + 1, "ceil" the official one; without a word the
            nearest pixel alone is read.
    """

    place: Place
    border: bool = False
    up: str = "next"

    def read(self, each: Expression, place: Expression) -> Expression:
        """A map's features (N, views, C)."""
        settings = {"view": None, **({"outside": "nearest"} if self.border else {})}
        if not self.up:
            return call("gather_pixels", each, call("round", place), **settings)
        first = call("floor", place)
        last = call("ceil", place) if self.up == "ceil" else first + 1.0
        corners = (
            first,
            call("stack", last[..., 0], first[..., 1], axis=-1),
            call("stack", first[..., 0], last[..., 1], axis=-1),
            last,
        )
        read = [call("gather_pixels", each, corner, **settings) for corner in corners]
        return call("bilinear", place, first, last, *read)


def _divided(at: Expression, side: float) -> Expression:
    return at * (side / SIZE)


def _halves(at: Expression, side: float) -> Expression:
    return call("clip", (at + 0.5) * (side / SIZE) - 0.5, low=0.0)


def _scaled(at: Expression, side: float) -> Expression:
    return at * ((side - 1.0) / (SIZE - 1.0))


def _grid(at: Expression, side: float) -> Expression:
    """Through [−1, 1] and back, corners aligned, as ``grid_sample`` wants it."""
    return (at * (side / SIZE) * (2.0 / (side - 1.0)) - 1.0 + 1.0) * (0.5 * (side - 1.0))


def _areas(at: Expression, side: float) -> Expression:
    """The same without aligned corners."""
    return ((at * (2.0 / (SIZE - 1.0)) - 1.0 + 1.0) * side - 1.0) * 0.5


def _limited(place: Place) -> Place:
    """Limited to the map's own pixels."""
    return lambda at, side: call("clip", place(at, side), low=0.0, high=side - 1.0)


def _inside(place: Place) -> Place:
    """Of coordinates limited to the image first, as they should be."""
    return lambda at, side: place(call("clip", at, low=0.0, high=SIZE - 1.0), side)


BORDER, CONSTANT = "border pixels", "constant"
SAMPLERS: tuple[tuple[str, str, Sampler], ...] = (
    (BORDER, "coordinates limited to each map's last pixel after dividing",
     Sampler(_limited(_divided), up="ceil")),
    (BORDER, "grid_sample with border padding", Sampler(_limited(_inside(_grid)), border=True)),
    (BORDER, "grid_sample with border padding, points beyond 223 not limited",
     Sampler(_limited(_grid), border=True)),
    (BORDER, "grid_sample with zero padding", Sampler(_inside(_grid))),
    (BORDER, "grid_sample with zero padding, points beyond 223 not limited", Sampler(_grid)),
    (BORDER, "a sampler with border padding", Sampler(_inside(_divided), border=True)),
    (CONSTANT, "coarser maps read at (x + ½) / scale − ½", Sampler(_inside(_halves), up="ceil")),
    (CONSTANT, "coordinates scaled by (size − 1) / 223", Sampler(_inside(_scaled), border=True)),
    (CONSTANT, "grid_sample without aligned corners", Sampler(_inside(_areas))),
    (CONSTANT, "grid_sample without aligned corners, border padding",
     Sampler(_limited(_inside(_areas)), border=True)),
    ("interpolation", "the nearest pixel alone", Sampler(_inside(_divided), up="")),
)  # fmt: skip
"""Operand, words and sampler."""


def _sampled(sampler: Sampler) -> Callable[..., Expression]:
    def layer(
        points: Expression, *maps: Expression, cameras: Expression, scales: tuple[int, ...]
    ) -> Expression:
        at = call("decide", pixels(points, cameras), every=1.0, low=-SIZE, high=2.0 * SIZE,
                  at_border=True)  # fmt: skip
        features = [
            sampler.read(each, sampler.place(at, SIZE / scale))
            for each, scale in zip(maps, scales, strict=True)
        ]
        return concatenate(points, view_statistics(concatenate(*features, axis=2)), axis=1)

    return layer


LAST_INSIDE = 220.0
"""From here on the coarsest map's next pixel lies outside."""


def _samplers(question: Question) -> Iterator[Variant]:
    inside = _wrong_inside(question)
    for operand, words, sampler in SAMPLERS:
        # A sampler is another one at integers and at the border: what is wrong inside the image
        # does not come from the border.
        named = (
            "integer pixels" if operand == BORDER and sampler.up == "next" and inside else operand
        )
        yield Variant(
            named, words,
            _traced(question, _sampled(sampler), scales=question.row.settings["scales"]),
        )  # fmt: skip


def _wrong_inside(question: Question) -> bool:
    """Whether a wrong row has no coordinate at the border of the image."""
    wrong = question.share_by_row > 1.0
    points = question.inputs[question.activations[0]].value
    at = pixels_of(question.row, points[wrong], question.context).value
    return bool(((at > 0.0) & (at < LAST_INSIDE)).all(axis=(1, 2)).any())


DISTANCE = 3
"""The column of a camera's distance."""


def _cameras(question: Question) -> Iterator[Variant]:
    """Cameras at distance 1, as where their axes are taken for their places."""
    program = question.program
    cameras = np.array(question.inputs["cameras"].value)
    for index, node in enumerate(program.nodes):
        if node.role == "camera" and node.primitive == "subtract":
            place = program.nodes[node.operands[1]]
            if place.primitive == "stack":
                there = rewritten(program, index, lambda x: x[0] - x[1][:1])
                yield Variant("camera", "every view taken from the first one's place", there)
    cameras[:, DISTANCE] = 1.0
    inputs = {"cameras": exactly(cameras)}
    yield Variant("camera", "cameras at distance 1", question.program, inputs)
    shapes = {index: np.shape(number.value) for index, number in question.nodes[0].items()}
    for index, node in enumerate(question.program.nodes):
        if node.role == "camera" and index in shapes:
            for variant in mistakes.bypassed(question, index, shapes):
                words = f"{variant.change} and cameras at distance 1"
                yield replace(variant, change=words, inputs=inputs, start=0)


def _cells(question: Question) -> Iterator[Variant]:
    """Cells that are rounded once, on the finest map, and halved on the others."""
    yield from _cameras(question)

    def layer(
        points: Expression, *maps: Expression, cameras: Expression, scales: tuple[int, ...]
    ) -> Expression:
        inside = call("clip", pixels(points, cameras), low=0.0, high=SIZE - 1.0)
        cell = call("clip", call("round", inside * (1.0 / scales[0])), low=0.0,
                    high=SIZE / scales[0] - 1.0)  # fmt: skip
        features = [
            call("gather_pixels", each, call("floor", cell * (scales[0] / scale)), view=0)
            for each, scale in zip(maps, scales, strict=True)
        ]
        return concatenate(points, view_statistics(concatenate(*features, axis=2)), axis=1)

    yield Variant("rounding", "cells rounded to the nearest instead of down",
                  _traced(question, layer, scales=question.row.settings["scales"]))  # fmt: skip


def _read(question: Question) -> Iterator[Variant]:
    yield from _cameras(question)
    yield from _samplers(question)


OTHERS: dict[str, Callable[[Question], Iterator[Variant]]] = {
    "graph_convolution": _graph,
    "local_graph_convolution": _graph,
    "coordinates": _graph,
    "image_convolution": _strided,
    "softmax": _scores,
    "displaced_vertices": _displaced,
    "coarse_projection": _cells,
    "refine_projection": _read,
}
"""By the layers' names."""
