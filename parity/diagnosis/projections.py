"""Counterfactuals of the two projections: camera, pixels, maps, statistics, their order."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from itertools import permutations

import numpy as np

from parity.diagnosis.cameras import Camera, constants, other_cameras
from parity.diagnosis.interpolation import (
    coarse_readers,
    deviation,
    instead,
    refine_readers,
    statistics,
)
from parity.diagnosis.variant import (
    NARROWER,
    Part,
    Question,
    Variant,
    narrowed,
    narrowed_result,
    short,
)
from parity.oracle.layers.readers import LAST, READERS, VARIANCE_FLOOR, Reader
from parity.oracle.layers.reading import projection
from parity.oracle.layers.rounding import Evaluated

SCANNED = 48
"""Rows that constants are looked for with."""
STEPS = (1.0, 0.5, 0.1, 0.01)
"""Between the numbers tried for a constant; finer steps near the best of the coarser."""
LAST_OF_LEVELS = (2, 5, 8, 11, 14, 18)
"""The convolutions after which the maps get smaller, and the last."""


def evaluated(
    question: Question,
    part: Part,
    given: list[np.ndarray],
    *,
    camera: Camera | None = None,
    reader: Reader | None = None,
    maps: Callable[[], list[np.ndarray]] | None = None,
    columns: np.ndarray | None = None,
    rows: np.ndarray | None = None,
    narrow: str = "",
) -> Evaluated:
    """A projection with one of its parts changed.

    Args:
        question: the layer.
        part: rows of it.
        given: the right maps, with a border in the refine stage.
        camera: makes the pixels.
        reader: reads the maps and takes the statistics.
        maps: gives the maps (views, S, S, C).
        columns: the official column that each column is.
        rows: the official row that each row is.
        narrow: the type that the result is rounded to.
    """
    points = question.inputs[0].reshape(-1, 3)
    points = points if rows is None else points[rows]
    points, observed = part.of_rows(points), part.of_rows(question.observed)
    if columns is not None:
        observed = observed[:, np.argsort(columns)]
    at = None
    if camera is not None:
        at = camera.pixels(points, question.context.cameras, question.unit_roundoff)
    found: Evaluated = projection(
        question.row, [points, *(given if maps is None else maps())], question.context, observed,
        question.dtype, reader=reader, at=at, bordered=maps is None,
    )  # fmt: skip
    if columns is not None:
        fixed = None if found.fixed is None else found.fixed[:, columns]
        found = Evaluated(found.value[:, columns], found.unit[:, columns], fixed)
    return narrowed_result(found, narrow, question) if narrow else found


def variants(question: Question) -> Iterator[Variant]:
    """Everything that can be changed about a projection, most usual first."""
    if question.observed.shape != (question.inputs[0].size // 3, question.row.shape[-1]):
        return

    given = bordered(question)

    def variant(operand: str, change: str, **changed: object) -> Variant:
        return Variant(operand, change,
                       lambda part: evaluated(question, part, given, **changed))  # type: ignore[arg-type] # fmt: skip

    base = READERS[question.row.stage]
    for operand, change, camera in other_cameras():
        yield variant(operand, change, camera=camera)
    readers = coarse_readers() if question.row.stage == "coarse" else refine_readers()
    for operand, change, reader in readers:
        sampler = operand == "border pixels" and change.startswith("grid_sample")
        if sampler and _inside(question):
            # A sampler is another one at integers and at the border: what is wrong inside the
            # image does not come from the border.
            yield variant("integer pixels", change, reader=reader)
            continue
        yield variant(operand, change, reader=reader)
    for operand, change, function in statistics():
        yield variant(operand, change, reader=with_statistics(base, function))
    floor = _floor(question, given)
    if floor is not None:
        other = with_statistics(base, instead(2, lambda x: deviation(x, floor)))
        yield variant("epsilon", f"a variance floor of {floor:.4g}", reader=other)
    for operand, change, maps in _other_maps(question):
        yield variant(operand, change, maps=maps)
    for operand, change, columns in _column_orders(question):
        yield variant(operand, change, columns=columns)
    if question.row.stage == "refine":
        count = question.context.offsets.shape[0]
        rows = np.arange(len(question.observed)).reshape(-1, count).T.ravel()
        yield variant("index order", "hypotheses before vertices", rows=rows)
    for kind in NARROWER:
        narrow = _narrow_maps(question, kind)
        maps = partial(list, narrow)
        yield variant("precision", f"maps rounded to {kind}", maps=maps)
        yield variant("precision", f"the result rounded to {kind}", narrow=kind)
        yield variant("precision", f"maps and result in {kind}", maps=maps, narrow=kind)
    for name, camera in _constants(question):
        yield replace(variant("constant", name, camera=camera), last_resort=True)


def _inside(question: Question) -> bool:
    """Whether a wrong row has no coordinate at the border of the image."""
    points = question.inputs[0].reshape(-1, 3)
    if len(question.wrong) != len(points):
        return False
    at = (
        Camera()
        .pixels(points[question.wrong], question.context.cameras, question.unit_roundoff)
        .value
    )
    # From 220 on the coarsest map's next pixel lies outside.
    return bool(((at > 0.0) & (at < 220.0)).all(axis=(0, 2)).any())


def bordered(question: Question) -> list[np.ndarray]:
    """The maps as projections read them: the refine stage's with zeros behind them."""
    maps = question.inputs[1:]
    if question.row.stage == "coarse":
        return maps
    return [np.pad(each, ((0, 0), (0, 1), (0, 1), (0, 0))) for each in maps]


def with_statistics(reader: Reader, function: Callable[..., object]) -> Reader:
    """A reader that takes other statistics."""
    fields = {name: getattr(reader, name) for name in ("choices", "nominal", "read", "cell")}
    return Reader(**fields, statistics=function)  # type: ignore[arg-type]


def _narrow_maps(question: Question, kind: str) -> list[np.ndarray]:
    return [narrowed(each, kind) for each in question.inputs[1:]]


Maps = Callable[[], list[np.ndarray]]


def _other_maps(question: Question) -> Iterator[tuple[str, str, Maps]]:
    given = question.inputs[1:]

    def reshaped() -> list[np.ndarray]:
        return [each.transpose(0, 3, 1, 2).reshape(each.shape) for each in given]

    yield "channel order", "channels-first maps read as if channels came last", reshaped
    for order in permutations(range(len(given[0]))):
        if order != tuple(range(len(order))):
            yield ("view order", f"the maps of views {order}",
                   lambda order=order: [each[list(order)] for each in given])  # type: ignore[misc] # fmt: skip
    yield "channel order", "channels of every map reversed", lambda: [e[..., ::-1] for e in given]
    expected = question.row.parents[1:]
    numbers = [int(parent.rpartition("_")[2]) for parent in expected]
    channels = [each.shape[-1] for each in given]
    places = [LAST_OF_LEVELS.index(number) for number in numbers]
    others = [[number - 1 for number in numbers]]
    for away in range(-5, 6):
        if away and min(places) + away >= 0 and max(places) + away < len(LAST_OF_LEVELS):
            others.append([LAST_OF_LEVELS[place + away] for place in places])
    read = dict(zip(question.row.parents, question.inputs, strict=True))

    def of(name: str) -> np.ndarray | None:
        return read[name] if name in read else question.others.get(name)

    for found in others:
        names = [f"cnn.conv2d_{number}" for number in found]
        maps = [of(name) for name in names]
        # A map of fewer channels than are read cannot have been read.
        wide = [each for each, count in zip(maps, channels, strict=True)
                if each is not None and each.shape[-1] >= count]  # fmt: skip
        if len(wide) == len(names):
            yield ("map levels", f"the maps of {', '.join(names)}",
                   lambda wide=wide: [  # type: ignore[misc]
                       np.asarray(each, np.float64)[..., :count]
                       for each, count in zip(wide, channels, strict=True)])  # fmt: skip


def _column_orders(question: Question) -> Iterator[tuple[str, str, np.ndarray]]:
    """The official column that each column would be."""
    channels = [each.shape[-1] for each in question.inputs[1:]]
    total = sum(channels)
    blocks = 3 + np.arange(3 * total).reshape(3, total)
    levels = np.split(np.arange(total), np.cumsum(channels)[:-1])

    def whole(features: np.ndarray) -> np.ndarray:
        return np.concatenate([np.arange(3), features.ravel()])

    names = ("maximum", "mean", "deviation")
    for order in permutations(range(3)):
        if order != (0, 1, 2):
            named = ", ".join(names[each] for each in order)
            yield "channel order", f"statistics in the order {named}", whole(blocks[list(order)])
    for order in permutations(range(len(levels))):
        if order != tuple(range(len(levels))):
            features = np.concatenate([levels[each] for each in order])
            named = ", ".join(str(each + 1) for each in order)
            yield "channel order", f"maps in the order {named}", whole(blocks[:, features])
    yield "channel order", "statistics of a channel side by side", whole(blocks.T)
    by_level = np.concatenate([blocks[:, each].ravel() for each in levels])
    yield "channel order", "statistics of a map side by side", whole(by_level)
    last = np.concatenate([blocks.ravel(), np.arange(3)])
    yield "channel order", "coordinates behind the features", last


def _sample(question: Question) -> Part:
    count = len(question.observed)
    return Part(rows=np.unique(np.linspace(0, count - 1, min(count, SCANNED)).astype(np.int64)))


def _floor(question: Question, given: list[np.ndarray]) -> float | None:
    """The variance floor that the deviations have, if they have one."""
    part = _sample(question)
    exact = evaluated(question, part, given).value
    channels = (exact.shape[1] - 3) // 3
    with np.errstate(invalid="ignore", over="ignore"):
        variance = exact[:, -channels:] ** 2 - VARIANCE_FLOOR
        floors = part.of_rows(question.observed)[:, -channels:] ** 2 - variance
    # Where the variance is small its own rounding does not hide the floor.
    small = np.isfinite(floors) & (variance <= np.nanquantile(variance, 0.1))
    if not small.any():
        return None
    floor = short(float(np.median(floors[small])), 3)
    return floor if floor > 0 else None


def _constants(question: Question) -> Iterator[tuple[str, Camera]]:
    """Principal points and focal lengths that fit the finest map's maximum best."""
    part = _sample(question)
    points = part.of_rows(question.inputs[0].reshape(-1, 3))
    finest = question.inputs[1]
    reader = READERS[question.row.stage]
    maps = [np.pad(finest, ((0, 0), (0, 1), (0, 1), (0, 0))) if reader.cell == 1 else finest]
    seen = part.of_rows(question.observed)[:, 3 : 3 + finest.shape[-1]]

    def misfit(camera: Camera) -> float:
        at = camera.pixels(points, question.context.cameras, question.unit_roundoff)
        inside = np.clip(at.value, 0.0, LAST)
        read = reader.read(maps, inside, np.zeros_like(inside), reader.nominal(inside),
                           question.unit_roundoff)  # fmt: skip
        away = np.abs(read.value.max(axis=0) - seen).max(axis=1)
        # What a cell holds fits or does not; between corners a fit gets better gradually.
        return float(np.mean(away > 1e-5 * np.abs(seen).max()) if reader.cell > 1
                     else np.nanmean(away))  # fmt: skip

    with np.errstate(invalid="ignore"):
        for name, change, low, high in constants():
            best, found = (low + high) / 2, np.inf
            for step, finer in zip(STEPS, (*STEPS[1:], 0.0), strict=True):
                for value in np.arange(low, high + step / 2, step):
                    off = misfit(change(float(value)))
                    if off < found:
                        best, found = float(round(value, 2)), off
                low, high = best - step, best + step
                if not finer or found == 0:
                    break
            yield f"{name} {best:g}", change(best)
