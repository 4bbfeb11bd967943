"""What the pattern of an error points to, where no counterfactual gives the output: a hint only."""

from collections.abc import Iterator

import numpy as np

from network.taps import IMAGES
from parity.diagnosis.precision import representable
from parity.diagnosis.variant import Question, same_order
from parity.oracle.layers.evaluate import Local
from parity.oracle.layers.readers import LAST
from parity.oracle.pixels import bounded_pixels

ALIKE = 1e-6
"""How near, of the greatest value, a pattern has to fit to be named; no verdict rests on it."""
HINTS = {"residual": "residual", "residual_1": "residual", "residual_2": "residual",
         "concat": "channel order", "score": "reduction"}  # fmt: skip


def patterns(question: Question, local: Local) -> Iterator[tuple[str, str]]:
    """Operand and what was seen, the most telling first."""
    observed, official, wrong = question.observed, local.value, local.share() > 1.0
    seen = observed.reshape(official.shape)
    lost = np.isnan(seen) != np.isnan(official)
    if lost.any():
        yield "not a number", f"{np.count_nonzero(lost)} elements are NaN on one side only"
    kind, already = representable(seen), representable(official)
    if kind is not None and already is None:
        yield "precision", f"all values are exactly representable in {kind}"
    name = question.row.name
    if name.startswith("cnn."):
        yield from _of_an_image(official, wrong)
    elif question.row.parents[-1].startswith("cnn."):
        yield from _of_a_projection(question, wrong)
    if (official >= 0).all() and (seen < 0).any():
        yield "activation", "negative values where a ReLU leaves none"
    yield from _of_channels(seen, official)
    last = name.rpartition(".")[2]
    if name.startswith("graph_sample"):
        yield "hypothesis order", "nothing but offsets is added here"
    elif name.startswith("graph_pool"):
        yield "reduction", "nothing but means of two vertices is made here"
    elif last in HINTS:
        yield HINTS[last], "the layer has no other operand of its own"
    if question.row.parents == (IMAGES,):
        yield "image", "no change of the layer gives its output"


def _of_an_image(official: np.ndarray, wrong: np.ndarray) -> Iterator[tuple[str, str]]:
    views = wrong.any(axis=(1, 2, 3))
    if not views.all():
        yield "view order", f"only views {np.flatnonzero(views).tolist()} are wrong"
    height, width = official.shape[1:3]
    rows, columns = wrong.any(axis=(0, 2, 3)), wrong.any(axis=(0, 1, 3))
    inner = wrong[:, 3 : height - 3, 3 : width - 3]
    if height > 8 and not inner.any():
        at = f"rows {_ends(np.asarray(rows))} and columns {_ends(np.asarray(columns))}"
        yield "padding", f"errors only in {at}, at the border"


def _of_a_projection(question: Question, wrong: np.ndarray) -> Iterator[tuple[str, str]]:
    flat = wrong.reshape(-1, wrong.shape[-1])
    if flat[:, :3].any():
        yield "channel order", "coordinates, which are copied, are wrong"
    blocks = np.array_split(np.arange(3, flat.shape[1]), 3)
    bad = [bool(flat[:, block].any()) for block in blocks]
    names = ("maximum", "mean", "deviation")
    if not all(bad):
        found = [name for name, each in zip(names, bad, strict=True) if each]
        yield "pooling statistic", f"only {' and '.join(found)} over views wrong"
    points = question.inputs[0].reshape(-1, 3)
    at = bounded_pixels(points, question.context.cameras, question.dtype)
    with np.errstate(invalid="ignore"):
        beyond = ((at.value >= LAST - 1) | (at.value <= 1)).any(axis=(0, 2))
        inside = np.clip(at.value, 0.0, LAST)
        whole = (np.abs(inside - np.round(inside)) <= at.error).any(axis=(0, 2))
    rows = flat.any(axis=1)
    if not (rows & ~beyond).any():
        yield "border pixels", f"all {np.count_nonzero(rows)} wrong rows lie at the border"
    elif not (rows & ~whole).any():
        yield "integer pixels", f"all {np.count_nonzero(rows)} wrong rows have an integer pixel"
    elif rows.mean() > 0.5:
        yield "camera", f"{rows.mean():.0%} of all rows are wrong, in all statistics"
    else:
        yield "interpolation", f"{rows.mean():.1%} of all rows are wrong"


def _of_channels(seen: np.ndarray, official: np.ndarray) -> Iterator[tuple[str, str]]:
    channels = official.shape[-1]
    a, b = seen.reshape(-1, channels), official.reshape(-1, channels)
    right = np.isfinite(a) & np.isfinite(b)
    if not right.all():
        return
    tolerance = ALIKE * float(np.abs(b).max(initial=0.0))
    on = (a > 0) & (b > 0)
    error = np.where(on, a - b, 0.0)
    counts = np.maximum(on.sum(axis=0), 1)
    mean = error.sum(axis=0) / counts
    if np.abs(np.where(on, error - mean, 0.0)).max(initial=0.0) <= tolerance and mean.any():
        yield "bias", "the error is constant in every channel"
    factor = float((a * b).sum() / max(float((b * b).sum()), np.finfo(float).tiny))
    if np.abs(a - factor * b).max(initial=0.0) <= tolerance and factor != 1.0:
        yield "constant", f"the output is the right one times {factor:.6g}"
    if channels > 3 and a.shape[0] > 1:
        sample = np.linspace(0, len(a) - 1, min(len(a), 4096)).astype(np.int64)
        order = same_order(a[sample], b[sample], tolerance)
        if order is not None and not np.array_equal(order, np.arange(channels)):
            yield "channel order", "every channel is the right one of another"
    if a.shape[0] <= 2466 and channels > 3:
        order = same_order(a.T, b.T, tolerance)
        if order is not None and not np.array_equal(order, np.arange(len(a))):
            yield "index order", "every row is the right one of another"


def _ends(wrong: np.ndarray) -> str:
    found = np.flatnonzero(wrong).tolist()
    return str(found if len(found) <= 6 else [*found[:3], "...", *found[-3:]])
