"""Steps in lockstep: right optimisers agree, planted defects are named at their step."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from network.weights import WEIGHTS
from parity.training.steps import StepsResult, compare_steps, with_steps
from parity.training.steps_adam import BETA_1, BETA_2, EPSILON, before, check, within
from parity.training.steps_judge import Judged, statuses, variable_findings
from parity.verdict.result import Comparison, Side, Status, Verdict
from weight_conversion.errors import InputError

KEYS = [row.key for row in WEIGHTS["coarse"][:4]]
RATE = 1e-3
STEPS = 4
AT = 3
"""The step at which a planted defect begins."""


class Toy:
    """A training small enough to see through: a quadratic loss, noise a step, Adam by hand.

    ``fault`` begins at step ``AT``; ``order`` perturbs gradients as another order of summation
    would, by a few units of the precision's roundoff.
    """

    def __init__(self, dtype: str, fault: str = "", order: int = 0, own: bool = True) -> None:
        self.dtype, self.fault, self.own = np.dtype(dtype), fault, own
        self.roundings = np.random.default_rng([7, order]) if order else None
        self.taken, self.samples = 0, {}
        self.w = {key: value.astype(dtype) for key, value in start().items()}
        self.m = {key: np.zeros_like(value) for key, value in self.w.items()}
        self.v = {key: np.zeros_like(value) for key, value in self.w.items()}

    def gradient(self, key: str, w: np.ndarray, noise: np.ndarray) -> np.ndarray:
        scale = np.logspace(-9, 0, w.size).astype(self.dtype)
        found = scale * (w - noise[: w.size].astype(self.dtype))
        if self.roundings is not None and key != KEYS[3]:
            unit = np.finfo(self.dtype).eps
            found = found + unit * self.roundings.standard_normal(w.size).astype(self.dtype)
        return found.astype(self.dtype)

    def gradients(self, weights: Mapping[str, np.ndarray], samples: Any) -> Any:
        if not self.own:
            return None
        return {key: self.gradient(key, weights[key], samples["noise"]) for key in KEYS}

    def step(self, samples: Any = None) -> dict[str, float]:
        self.taken += 1
        self.samples = samples or {"noise": np.random.default_rng(self.taken).random(200)}
        broken = self.taken >= AT and self.fault
        if broken == "lost" and self.taken == AT:
            for moments in (self.m, self.v):
                moments.update({key: np.zeros_like(value) for key, value in moments.items()})
        total = 0.0
        for key in KEYS:
            w = self.w[key]
            g = self.gradient(key, w, self.samples["noise"])
            total += float(np.sum(g.astype(np.float64) * w))
            if broken == "coupled":
                g = (g + 1e-3 * w).astype(self.dtype)
            elif broken == "doubled":
                g = 2 * g
            elif broken == "clipped":
                g = g.clip(-0.01, 0.01)
            beta_2 = 0.99 if broken == "beta" else BETA_2
            self.m[key] = self.m[key] + (g - self.m[key]) * self.dtype.type(1 - BETA_1)
            self.v[key] = self.v[key] + (g * g - self.v[key]) * self.dtype.type(1 - beta_2)
            change = self._change(self.m[key], self.v[key], str(broken or ""))
            if broken == "beside":
                change = change + RATE * 1e-2 * w
            self.w[key] = (w - change).astype(self.dtype)
        return {"total": total}

    def _change(self, m: np.ndarray, v: np.ndarray, fault: str) -> np.ndarray:
        first, second = 1 - BETA_1**self.taken, 1 - BETA_2**self.taken
        rate = float(np.float32(RATE))
        if fault == "epsilon":
            return rate / first * m / (np.sqrt(v / second) + EPSILON)
        if fault == "uncorrected":
            return rate * m / (np.sqrt(v) + EPSILON)
        if fault == "ahead":
            first, second = 1 - BETA_1 ** (self.taken + 1), 1 - BETA_2 ** (self.taken + 1)
        if fault == "faster":
            rate *= 3
        epsilon = 1e-5 if fault == "keras" else EPSILON
        return rate * np.sqrt(second) / first * m / (np.sqrt(v) + epsilon)

    def variable(self, key: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        return self.w[key].copy(), self.m[key].copy(), self.v[key].copy()


def start() -> dict[str, np.ndarray]:
    random = np.random.default_rng(0)
    return {key: random.standard_normal(200).astype(np.float32) for key in KEYS}


def lockstep(dtype: str, candidate: Toy, steps: int = STEPS) -> StepsResult:
    return compare_steps(
        Toy(dtype), candidate, start(), steps, stage="coarse", dtype=dtype, learning_rate=RATE
    )


def first(result: StepsResult) -> str:
    return next(entry.tap for entry in result.entries if entry.status is Status.DIFFER)


DTYPES = pytest.mark.parametrize("dtype", ["float32", "float64"])


@DTYPES
def test_a_right_optimiser_is_right(dtype: str) -> None:
    result = lockstep(dtype, Toy(dtype, order=1))
    assert [summary.optimiser for summary in result.summaries] == ["right"] * STEPS
    assert not [entry for entry in result.entries if entry.status is Status.DIFFER]
    last = [entry for entry in result.entries if entry.tap.startswith(f"steps/{STEPS}/")]
    assert len(last) == 3 * len(KEYS) + 1
    if dtype == "float64":
        assert result.notes == (f"the two trainings stay together over {STEPS} steps",)
        assert {entry.status for entry in result.entries} == {Status.AGREE}


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("form", ["difference", "products"])
def test_either_way_of_writing_a_mean_is_within_its_bound(form: str, dtype: str) -> None:
    """m' + (g − m') (1 − β) or β m' + (1 − β) g, whose first product rounds nearly all of m'."""
    random = np.random.default_rng(3)
    size = 200_000

    def drawn() -> np.ndarray:
        return (random.standard_normal(size) * 10.0 ** random.uniform(-6, 3, size)).astype(dtype)

    def mean(old: np.ndarray, new: np.ndarray, beta: float) -> np.ndarray:
        kind = old.dtype.type
        if form == "difference":
            return old + (new - old) * kind(1 - beta)
        return kind(beta) * old + kind(1 - beta) * new

    w, m, g = drawn(), drawn(), drawn()
    v = np.square(drawn())
    new_m, new_v = mean(m, g, BETA_1), mean(v, g * g, BETA_2)
    old = before((w, m, v), 2, RATE, dtype)
    found = check(old, new_m.astype(np.float64), new_v.astype(np.float64))
    assert within(g.astype(np.float64), found.gradient, found.gradient_bound)
    assert within(new_v.astype(np.float64), found.v, found.v_bound)
    # And the bound is of use: what is off by a few roundings more than both ways is beyond it.
    beyond = new_v * (1 + 1e4 * np.finfo(dtype).eps)
    assert not within(beyond.astype(np.float64), found.v, found.v_bound)


def test_amplified_rounding_is_named_as_that() -> None:
    # Gradients of 1e-9 are below float32's rounding of what they are summed with: Adam's first
    # step takes the sign of the rounding.
    result = lockstep("float32", Toy("float32", order=1))
    inherited = [entry for entry in result.entries if entry.status is Status.INHERITED]
    assert f"steps/1/{KEYS[0]}" in {entry.tap for entry in inherited}
    assert not [entry.tap for entry in inherited if entry.tap.endswith(KEYS[3])]
    (note,) = result.notes
    assert "right in all 4 steps" in note
    assert "leave rounding at step 1" in note


FAULTS = {
    "epsilon": ("", "epsilon", "epsilon inside the bias correction"),
    "keras": ("", "epsilon", "epsilon 1e-05"),
    "uncorrected": ("", "bias correction", "without bias correction"),
    "ahead": ("", "bias correction", "bias correction of the next step"),
    "faster": ("", "learning rate", "a learning rate of 0.003 instead of 0.001"),
    "beside": ("", "decay term", "weight decay beside the moments, as in AdamW: 1e-05·w"),
    "coupled": ("m/", "decay term", "weight decay coupled into the gradient: 0.001·w"),
    "lost": ("m/", "optimiser state", "the moments before the step were lost"),
    "doubled": ("m/", "constant", "gradients 2 times those of the loss"),
    "clipped": ("m/", "gradient clipping", "gradients limited to ±0.01"),
    "beta": ("v/", "constant", "β₂ is 0.99 instead of 0.999"),
}


@DTYPES
@pytest.mark.parametrize("fault", FAULTS)
def test_a_defect_is_named_at_its_step(fault: str, dtype: str) -> None:
    part, operand, words = FAULTS[fault]
    result = lockstep(dtype, Toy(dtype, fault, order=0 if dtype == "float64" else 1))
    assert first(result) == f"steps/{AT}/{part}{KEYS[0]}"
    entry = next(entry for entry in result.entries if entry.status is Status.DIFFER)
    assert words in entry.note
    right = [summary.optimiser == "right" for summary in result.summaries[:AT]]
    assert right == [True, True, False]
    assert f"from step {AT} on" in result.notes[0]
    assert result.diagnosis is not None
    assert (result.diagnosis.tap, result.diagnosis.operand) == (entry.tap, operand)


def test_without_gradients_of_its_own_a_defect_of_the_optimiser_still_shows() -> None:
    result = lockstep("float32", Toy("float32", "epsilon", order=1, own=False))
    assert first(result) == f"steps/{AT}/{KEYS[0]}"


def test_what_follows_a_difference_is_inherited() -> None:
    result = lockstep("float64", Toy("float64", "coupled"))
    statuses = {entry.tap: entry.status for entry in result.entries}
    assert statuses[f"steps/{AT}/{KEYS[0]}"] is Status.INHERITED
    assert statuses[f"steps/{AT + 1}/losses/total"] is Status.INHERITED


def test_a_number_that_is_none_differs() -> None:
    candidate = Toy("float64")
    candidate.w[KEYS[1]][5] = np.nan
    result = lockstep("float64", candidate, steps=1)
    found = {entry.tap: entry for entry in result.entries}
    assert found[f"steps/1/{KEYS[1]}"].status is Status.DIFFER
    assert found[f"steps/1/{KEYS[1]}"].at == (5,)


def test_entries_that_agree_are_kept_of_the_last_step_alone() -> None:
    result = lockstep("float64", Toy("float64"))
    assert {entry.tap.split("/")[1] for entry in result.entries} == {str(STEPS)}
    assert [entry.order for entry in result.entries] == list(range(len(result.entries)))
    assert [summary.step for summary in result.summaries] == [1, 2, 3, 4]
    assert result.summaries[0].statuses == {"agree": 3 * len(KEYS) + 1}


def test_another_precision_is_a_difference() -> None:
    with pytest.raises(InputError, match=r"step 1, weight of .*: shape"):
        lockstep("float64", Wrong("float64", "shape"), steps=1)
    result = lockstep("float64", Wrong("float64", "dtype"), steps=1)
    entry = next(entry for entry in result.entries if entry.status is Status.DIFFER)
    assert "float32 where float64 was asked for" in entry.note


class Wrong(Toy):
    """Gives its variables in another shape or precision."""

    def variable(self, key: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        found = super().variable(key)
        if self.fault == "shape":
            return found[0][:5], found[1], found[2]
        return found[0].astype(np.float32), found[1], found[2]


def test_the_verdict_of_a_comparison_holds_the_steps() -> None:
    side = Side("a.h5", "tf", "float64", "cpu", "", "")
    comparison = Comparison("coarse", Verdict.AGREE, None, (), (), (), (), (), {}, (), side, side)
    agree = with_steps(comparison, lockstep("float64", Toy("float64")))
    assert (agree.verdict, agree.first_divergence) == (Verdict.AGREE, None)
    found = with_steps(comparison, lockstep("float64", Toy("float64", "epsilon")))
    assert (found.verdict, found.first_divergence) == (Verdict.DIFFER, f"steps/{AT}/{KEYS[0]}")
    plain = found.to_json()
    assert plain["steps"][0]["tap"] == f"steps/{AT}/{KEYS[0]}"
    assert plain["step_summaries"][AT - 1]["optimiser"].startswith("epsilon inside")
    earlier = replace(comparison, verdict=Verdict.DIFFER, first_divergence="cnn.conv2d_1")
    assert with_steps(earlier, lockstep("float64", Toy("float64", "epsilon"))).first_divergence == (
        "cnn.conv2d_1"
    )


@pytest.mark.parametrize(
    ("floor", "missing", "status"),
    [(0.5, 0.0, Status.AGREE), (0.0, 0.0, Status.DIFFER), (0.5, 1e-4, Status.DIFFER)],
    ids=["measured-by-the-layer", "by-itself", "really-missing"],
)
def test_a_gradient_that_cancels_has_the_scale_of_its_layer(
    floor: float, missing: float, status: Status
) -> None:
    """A bias before the softmax: what is left of its gradient is another rounding on each side."""
    step = Judged("refine", "float64", 1, RATE)
    zero = np.zeros(1)
    sides = []
    for gradient in (3e-17 + missing, -2e-17):
        m, v = gradient * (1 - BETA_1), gradient**2 * (1 - BETA_2)
        rate = float(np.float32(RATE)) * np.sqrt(1 - BETA_2) / (1 - BETA_1)
        w = 2.0 - rate * m / (np.sqrt(v) + EPSILON)
        sides.append((np.array([w]), np.array([m]), np.array([v])))
    old = (np.array([2.0]), zero, zero)
    found = variable_findings(step, "bias", sides[0], sides[1], old, zero, None, floor)
    first, *_ = statuses(step, found, tainted=False)
    assert (first.tap, first.status) == ("steps/1/m/bias", status)


def test_a_gross_gradient_in_float32_is_no_rounding() -> None:
    """Without gradients of its own a candidate's first step is held against the reference's."""
    result = lockstep("float32", Doubled("float32", own=False), steps=1)
    assert first(result) == f"steps/1/m/{KEYS[0]}"
    entry = next(entry for entry in result.entries if entry.status is Status.DIFFER)
    assert entry.note == "the gradient differs"


class Doubled(Toy):
    """A gradient that counts twice."""

    def step(self, samples: Any = None) -> dict[str, float]:
        return {"total": super().step(samples)["total"] / 2}

    def gradient(self, key: str, w: np.ndarray, noise: np.ndarray) -> np.ndarray:
        return 2 * super().gradient(key, w, noise)
