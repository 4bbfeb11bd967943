"""A layer with one operand changed, and where it is held against what was observed."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from network.taps import TAPS, TapRow
from parity.oracle.context import Context
from parity.oracle.layers.rounding import UNIT_ROUNDOFF, Evaluated

ALL = slice(None)


@dataclass(frozen=True)
class Part:
    """Rows (the first axis) and columns (the last) of a tap; all of it by default."""

    rows: np.ndarray | None = None
    columns: np.ndarray | None = None

    def of(self, array: np.ndarray) -> np.ndarray:
        """The part of a tap's array."""
        return self.of_rows(array)[..., self.chosen_columns]

    def of_rows(self, array: np.ndarray) -> np.ndarray:
        """Its rows, whole."""
        return array if self.rows is None else array[self.rows]

    @property
    def chosen_columns(self) -> np.ndarray | slice:
        """An index for the last axis."""
        return ALL if self.columns is None else self.columns


@dataclass(frozen=True, eq=False)
class Question:
    """One layer whose output is not what it should be.

    Attributes:
        row: its tap.
        inputs: the values of ``row.parents``, float64.
        context: weights, cameras and graphs.
        observed: the tap, float64, as recorded.
        dtype: the precision that the run was asked for.
        others: other taps of the run, as far as they are at hand.
        wrong: which rows (the first axis) are beyond the official layer's rounding; empty where
            that is not known.
    """

    row: TapRow
    inputs: list[np.ndarray]
    context: Context
    observed: np.ndarray
    dtype: str
    others: Mapping[str, np.ndarray] = field(default_factory=dict)
    wrong: np.ndarray = field(default_factory=lambda: np.zeros(0, bool))

    @property
    def unit_roundoff(self) -> float:
        """Of the run and of the evaluation here, together."""
        return UNIT_ROUNDOFF[self.dtype] + UNIT_ROUNDOFF["float64"]


@dataclass(frozen=True, eq=False)
class Variant:
    """A counterfactual.

    Attributes:
        operand: the term for what is changed.
        change: what is done, to be read after "with".
        evaluate: the output on a part of the tap, of the shape that ``Part.of`` gives.
        last_resort: whether it is so general that it counts only where nothing else fits.
    """

    operand: str
    change: str
    evaluate: Callable[[Part], Evaluated]
    last_resort: bool = False


Variants = Callable[[Question], Iterator[Variant]]


NARROWER = {"float16": 2.0**-11, "bfloat16": 2.0**-8, "TF32": 2.0**-11}
"""Unit roundoffs of the types that precision is lost to."""


def narrowed(value: np.ndarray, kind: str) -> np.ndarray:
    """Float64 numbers rounded to a narrower type and widened again.

    TF32 keeps a float32's exponent and ten bits, halves away from zero; the others round to the
    nearest, halves to even. What is too great for float16 becomes infinite.
    """
    if kind == "float16":
        with np.errstate(over="ignore"):
            # By way of float32, as frameworks do it.
            return value.astype(np.float32).astype(np.float16).astype(np.float64)
    bits = value.astype(np.float32).view(np.uint32)
    if kind == "TF32":
        bits = (bits + np.uint32(0x1000)) & np.uint32(0xFFFFE000)
    else:
        odd = (bits >> np.uint32(16)) & np.uint32(1)
        bits = (bits + np.uint32(0x7FFF) + odd) & np.uint32(0xFFFF0000)
    found = bits.view(np.float32).astype(np.float64)
    return np.where(np.isfinite(value), found, value)


def narrowed_result(exact: Evaluated, kind: str, question: Question) -> Evaluated:
    """A result rounded to a narrower type at the end.

    A computed number is rounded like the exact one unless a border between two narrow numbers lies
    within its error, and only there the limit has room for the one beside.
    """
    limit = exact.limit(question.row.stage, question.dtype)
    value = narrowed(exact.value, kind)
    room = narrowed(exact.value + limit, kind) - narrowed(exact.value - limit, kind)
    fixed = np.abs(room) / question.unit_roundoff
    return Evaluated(value, np.zeros(value.shape, np.float32), fixed)


def excess(observed: np.ndarray, found: Evaluated, question: Question) -> float:
    """The greatest |observed − value| in multiples of the limit; infinite if shapes differ."""
    if observed.shape != found.value.shape:
        return float("inf")
    limit = found.limit(question.row.stage, question.dtype)
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        alike = (observed == found.value) | (np.isnan(observed) & np.isnan(found.value))
        share = np.abs(observed - found.value) / limit
    # Where the variant has no bound it gives nothing, so that nothing is confirmed by it.
    unknown = np.isnan(share) | np.isinf(limit)
    share = np.where(alike, 0.0, np.where(unknown, np.inf, share))
    return float(share.max(initial=0.0))


NEAR = 1e-5
"""How near a fitted factor has to be to a short number; whether that is right the limit says."""


def fitted(parts: Sequence[np.ndarray], target: np.ndarray) -> np.ndarray | None:
    """The factors with which parts add up to a target, by least squares; None where undetermined.

    All arrays have one shape. A factor is brought to the number of four digits beside it, as a
    person writes it into a program, or its reciprocal, where one is as near as float32 can tell.
    """
    matrix = np.stack([part.ravel() for part in parts], axis=1)
    right = np.isfinite(matrix).all(axis=1) & np.isfinite(target.ravel())
    if np.count_nonzero(right) < 2 * len(parts):
        return None
    factors, _, rank, _ = np.linalg.lstsq(matrix[right], target.ravel()[right], rcond=1e-10)
    if rank < len(parts):
        return None
    sizes = np.abs(matrix[right]).max(axis=0) * np.abs(factors)
    near = np.array([short(float(factor)) for factor in factors])
    found = np.where(np.abs(factors - near) <= NEAR * np.abs(near), near, factors)
    # What adds nothing that float32 can tell has no factor.
    return np.where(sizes <= NEAR * sizes.max(), 0.0, found)


def telling_channels(observed: np.ndarray, bias: np.ndarray) -> np.ndarray:
    """Four channels with much bias that the ReLU leaves to be seen."""
    on = (observed.reshape(-1, observed.shape[-1]) > 0).mean(axis=0)
    if len(on) != len(bias):
        return np.arange(min(4, len(bias)))
    return np.argsort(-np.abs(bias) * on, kind="stable")[:4]


def short(number: float, digits: int = 4) -> float:
    """A number of few significant digits, or the reciprocal of one, whichever is nearer."""
    if number == 0 or not np.isfinite(number):
        return number
    plain = float(f"{number:.{digits - 1}e}")
    inverse = 1.0 / float(f"{1.0 / number:.{digits - 1}e}")
    return plain if abs(plain - number) <= abs(inverse - number) else inverse


def same_order(columns: np.ndarray, official: np.ndarray, tolerance: float) -> np.ndarray | None:
    """Which official column each observed one is, (n,), None where some match none.

    Arrays are (rows, n) and (rows, m); ``tolerance`` is absolute. Constant columns that cannot be
    told apart are taken in their own place where they fit there.
    """
    if len(columns) == 0 or columns.shape[1] > official.shape[1]:
        return None
    found = np.empty(columns.shape[1], np.int64)
    for index in range(columns.shape[1]):
        if np.abs(columns[:, index] - official[:, index]).max() <= tolerance:
            found[index] = index
            continue
        away = np.abs(official - columns[:, index : index + 1]).max(axis=0)
        nearest = int(np.argmin(away))
        if not away[nearest] <= tolerance:
            return None
        found[index] = nearest
    return found


def layers_alike(question: Question, variable: str) -> Iterator[tuple[str, dict[str, np.ndarray]]]:
    """Other layers whose ``variable`` has the shape of this one's: module and variables."""
    shape = question.context.variables(question.row)[variable].shape
    seen = {question.row.module}
    for row in TAPS[question.row.stage]:
        if variable in row.variables and row.module not in seen:
            seen.add(row.module)
            found = question.context.variables(row)
            if found[variable].shape == shape:
                yield row.module, found
