"""What the study's runs differ by: effects of a factorial's factors, differences between arms."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import combinations
from typing import Any

import numpy as np
from scipy import stats

from inputs.files import Float64
from studies.spikes.design import FACTORIAL_RUNS, NAMED_RUNS
from studies.spikes.training import FACTORS

RESPONSES = (
    "irregular_spike_rate",
    "irregular_spike_rate_along",
    "strength",
    "strength_along",
    "chamfer",
)
"""``irregular_spike_rate``: spikes among the irregular vertices over their number; ``…_along``: the
mean over the training as it was followed, where the plain names are of the last step."""

CONFIDENCE = 0.95


@dataclass(frozen=True)
class Effect:
    """One contrast of a factorial: the mean of one half of the runs minus that of the other.

    Attributes:
        factors: the factor; or the pairs of factors, ``a×b``, that this contrast does not tell
            apart; empty where it stands for products of three and more factors alone.
        response: of ``RESPONSES``.
        estimate: what switching the factor on changes, in the response's unit.
        margin: half of the 95 % interval, Lenth's or Student's: |estimate| beyond it is an effect,
            if it is the only one that is looked at.
        simultaneous: the same for all contrasts together.
    """

    factors: tuple[str, ...]
    response: str
    estimate: float
    margin: float
    simultaneous: float

    @property
    def main(self) -> bool:
        return len(self.factors) == 1 and "×" not in self.factors[0]


def effects_of(rows: Sequence[Mapping[str, Any]]) -> list[Effect]:
    """All fifteen contrasts of a factorial of sixteen runs, main effects first.

    The design is saturated: fifteen contrasts, no degrees of freedom left. The margins come from
    the contrasts themselves, most of which are taken to be null (Lenth, "Quick and easy analysis of
    unreplicated factorials", Technometrics 31, 1989): with s₀ = 1.5·median |c|, the pseudo standard
    error is 1.5·median of those |c| below 2.5·s₀, and the margin t(0.975; 15/3) times that.

    Returns:
        Empty where the set is not whole or not balanced.
    """
    columns = _columns(rows)
    if columns is None:
        return []
    found = []
    for response in RESPONSES:
        values = np.array([_value(row, response) for row in rows])
        estimates = [float(column @ values) * 2.0 / len(rows) for _, column in columns]
        margin, simultaneous = lenth_margins(estimates)
        found += [
            Effect(names, response, estimate, margin, simultaneous)
            for (names, _), estimate in zip(columns, estimates, strict=True)
        ]
    return found


def pooled_effects(sets: Sequence[Sequence[Effect]]) -> list[Effect]:
    """Effects of the same factorial run on several items or with several seeds, together.

    A contrast's estimate is its mean over the sets. The error is what the sets differ by: the
    contrasts' variance between the sets, pooled over all fifteen, with 15·(sets − 1) degrees of
    freedom (the pure error of a factorial in blocks). It holds that an effect may be another on
    another item.

    Args:
        sets: what ``effects_of`` returned for each.

    Returns:
        With ``margin`` half of Student's 95 % interval, ``simultaneous`` that of all contrasts
        together (Šidák's level); empty where there is a single set.
    """
    if len(sets) < 2:
        return []
    found = []
    for response in RESPONSES:
        effects = [{e.factors: e.estimate for e in each if e.response == response} for each in sets]
        names = [names for names in effects[0] if all(names in each for each in effects)]
        table = np.array([[each[name] for name in names] for each in effects])
        free = len(names) * (len(sets) - 1)
        error = float(np.sqrt(((table - table.mean(axis=0)) ** 2).sum() / free / len(sets)))
        margins = [error * float(stats.t.ppf(level, free)) for level in _levels(len(names))]
        found += [
            Effect(name, response, float(estimate), *margins)
            for name, estimate in zip(names, table.mean(axis=0), strict=True)
        ]
    return found


def _levels(contrasts: int) -> tuple[float, float]:
    """Quantiles of a two-sided 95 % interval: of one contrast, and of all together."""
    return (1.0 + CONFIDENCE) / 2.0, (1.0 + CONFIDENCE ** (1.0 / contrasts)) / 2.0


def lenth_margins(contrasts: Sequence[float]) -> tuple[float, float]:
    """Lenth's margin of error and his simultaneous one (see ``effects_of``) of some contrasts."""
    sizes = np.abs(np.asarray(contrasts, dtype=np.float64))
    first = 1.5 * float(np.median(sizes))
    error = 1.5 * float(np.median(sizes[sizes <= 2.5 * first]))
    single, together = (
        error * float(stats.t.ppf(level, len(sizes) / 3.0)) for level in _levels(len(sizes))
    )
    return single, together


def _value(row: Mapping[str, Any], response: str) -> float:
    if response.endswith("_along"):
        # The first step's mesh is that of the initial values, whatever is switched on.
        later = [each for each in row["history"] if each["step"] > 1]
        whole = {"irregular": row["irregular"]}
        plain = response.removesuffix("_along")
        return float(np.mean([_value({**each, **whole}, plain) for each in later]))
    if response == "irregular_spike_rate":
        return float(row["irregular_spikes"]) / float(row["irregular"])
    return float(row[response])


def _columns(rows: Sequence[Mapping[str, Any]]) -> list[tuple[tuple[str, ...], Float64]] | None:
    """The contrasts' names and their ±1 columns (16,); None where the rows are no whole design."""
    signs = {
        factor: np.array([1.0 if factor in row["switched_on"] else -1.0 for row in rows])
        for factor in FACTORS
    }
    signs = {factor: column for factor, column in signs.items() if abs(column.sum()) < len(rows)}
    if len(rows) != FACTORIAL_RUNS or not signs:
        return None
    found: dict[bytes, tuple[list[str], Float64]] = {}
    names = list(signs)
    # Single factors first, then pairs; with products of up to four all fifteen columns are there.
    for order in range(1, 5):
        for group in combinations(names, order):
            column = np.prod([signs[name] for name in group], axis=0)
            if abs(column.sum()) == len(rows):
                continue
            key = (column * column[0]).tobytes()
            words, kept = found.setdefault(key, ([], column))
            # A product aliased with a lower one is left out; pairs of one contrast are all named.
            # Aliased pairs of this design have the same sign in all rows, not just the same size.
            if order == 1 or (order == 2 and all("×" in word for word in words)):
                words.append(
                    "×".join(group) if np.array_equal(kept, column) else f"−{'×'.join(group)}"
                )
    table = np.stack([column for _, column in found.values()])
    if len(table) != len(rows) - 1 or not np.array_equal(
        table @ table.T, len(rows) * np.eye(len(table))
    ):
        return None
    return [(tuple(words), column) for words, column in found.values()]


@dataclass(frozen=True)
class Difference:
    """How much one arm has more of a response than another, over items and seeds.

    Attributes:
        name: what the comparison says: ``removing`` or ``bringing``, and in which network.
        more, less: the arms, as ``NAME`` or ``NAME as CHANGE`` where a change is switched on in
            the finished network without any further training.
        response: of ``RESPONSES``; rates between 0 and 1.
        blocks, steps: of both arms.
        pairs: ``(item, seed, value of more, value of less)``.
        estimate: mean of the differences within the pairs.
        low, high: Student's 95 % interval of it; None with a single pair.
        sign_p: two-sided exact sign-flip test: the share of all 2^n assignments of signs whose mean
            is at least as far from 0; its least value is 2/2^n.
    """

    name: str
    more: str
    less: str
    response: str
    blocks: int
    steps: int
    pairs: tuple[tuple[str, int, float, float], ...]
    estimate: float
    low: float | None
    high: float | None
    sign_p: float


COMPARISONS = (
    ("removing", "official", "as_trained", "level_rows", "as_trained"),
    ("removing, port", "port", "as_trained", "port+level_rows", "as_trained"),
    ("bringing", "level_rows", "official_rows", "level_rows", "as_trained"),
    ("bringing, port", "port+level_rows", "official_rows", "port+level_rows", "as_trained"),
    ("removing, not trained again", "official", "as_trained", "official", "level_rows"),
    ("removing, not trained again, port", "port", "as_trained", "port", "level_rows"),
    ("biases at the middle", "official", "as_trained", "bias_at_centre", "as_trained"),
    ("biases at the middle, port", "port", "as_trained", "port+bias_at_centre", "as_trained"),
    ("the port's deviations", "port", "as_trained", "official", "as_trained"),
)
"""Name, then the arm and the state of the finished network that should have more, and less."""


def differences(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The comparisons of the confirmation's arms, paired by item and seed, as dictionaries."""
    arms = NAMED_RUNS["confirmation"]
    known: dict[tuple[Any, ...], dict[str, Mapping[str, Any]]] = {}
    for row in rows:
        if row["design"] == "factorial":
            continue
        for name, switched_on in arms.items():
            if set(row["switched_on"]) == switched_on | {"frozen_cnn"}:
                group = (row["blocks"], row["steps"], row["learning_rate"], row["template"])
                known.setdefault((*group, row["item"], row["seed"]), {})[name] = row
    groups = sorted({key[:4] for key in known}, reverse=True)
    found = []
    for group in groups:
        runs = {key[4:]: arm for key, arm in sorted(known.items()) if key[:4] == group}
        for comparison in COMPARISONS:
            for response in ("irregular_spike_rate", "irregular_spike_rate_along", "strength"):
                one = _difference(comparison, response, group, runs)
                if one is not None:
                    found.append(asdict(one))
    return found


def _difference(
    comparison: tuple[str, str, str, str, str],
    response: str,
    group: tuple[Any, ...],
    runs: Mapping[tuple[Any, ...], Mapping[str, Mapping[str, Any]]],
) -> Difference | None:
    name, more, more_state, less, less_state = comparison
    if response.endswith("_along") and {more_state, less_state} != {"as_trained"}:
        return None
    pairs: list[tuple[str, int, float, float]] = []
    for (item, seed), arms in runs.items():
        # Runs of an earlier study were not put into every state.
        if _has(arms, more, more_state) and _has(arms, less, less_state):
            one = _state_value(arms[more], more_state, response)
            pairs.append((item, seed, one, _state_value(arms[less], less_state, response)))
    if not pairs:
        return None
    gaps = np.array([one - other for _, _, one, other in pairs])
    low, high = mean_interval(gaps)
    return Difference(
        name, _arm(more, more_state), _arm(less, less_state), response, group[0], group[1],
        tuple(pairs), float(gaps.mean()), low, high, sign_flip_p(gaps),
    )  # fmt: skip


def _has(arms: Mapping[str, Mapping[str, Any]], arm: str, state: str) -> bool:
    return arm in arms and state in arms[arm]["afterwards"]


def _state_value(row: Mapping[str, Any], state: str, response: str) -> float:
    """A response of a finished network with some changes switched on."""
    if response.endswith("_along"):
        return _value(row, response)
    return _value({**row["afterwards"][state], "irregular": row["irregular"]}, response)


def _arm(name: str, state: str) -> str:
    return name if state == "as_trained" else f"{name} as {state}"


def mean_interval(values: Float64) -> tuple[float | None, float | None]:
    """Student's 95 % interval of the mean of independent values; None from a single one."""
    if len(values) < 2:
        return None, None
    half = float(stats.t.ppf((1.0 + CONFIDENCE) / 2.0, len(values) - 1) * stats.sem(values))
    return float(values.mean()) - half, float(values.mean()) + half


def sign_flip_p(values: Float64) -> float:
    """Two-sided exact sign-flip test that values are symmetric about 0 (Fisher's randomisation)."""
    count = len(values)
    flips = 1.0 - 2.0 * ((np.arange(2**count)[:, None] >> np.arange(count)) & 1)
    means = np.abs(flips @ values)
    return float(np.mean(means >= abs(float(values.sum())) * (1.0 - 1e-12)))
