"""What is no number on the candidate's side alone: the element, and the operation that makes it."""

from collections.abc import Callable

import numpy as np
import pytest

from network.registry import network_of
from parity.diagnosis.diagnosis import Diagnosis, diagnose
from parity.oracle.context import Context

Make = Callable[..., Context]
SCORE = next(row for row in network_of("refine").taps if row.layer == "softmax")
SUM = next(row for row in network_of("coarse").taps if row.is_sum)
AT = {SCORE: (2, 7, 0), SUM: (3, 1)}


def softmax_without_maximum(x: np.ndarray) -> np.ndarray:
    with np.errstate(all="ignore"):
        power = np.exp(x)
        return np.asarray(power / power.sum(axis=1, keepdims=True))


def told(context: Context, row: object, values: list[np.ndarray], seen: np.ndarray) -> Diagnosis:
    assert row in AT
    given = dict(zip(row.parents, values, strict=True))  # type: ignore[attr-defined]
    found = diagnose(row, given, context, seen, "float32")  # type: ignore[arg-type]
    assert found is not None
    assert (found.operand, found.confirmed) == ("not a number", False)
    assert f"the first at {list(AT[row])}" in found.explanation  # type: ignore[index]
    return found


def test_an_exponential_that_overflows(context: Make, rng: np.random.Generator) -> None:
    """A logit beyond 88, whose exponential float32 does not hold."""
    logits = rng.normal(size=(4, *SCORE.shape[1:])).astype(np.float32)
    logits[AT[SCORE]] = 200.0
    found = told(context("refine"), SCORE, [logits], softmax_without_maximum(logits))
    assert "1 elements" in found.explanation
    assert "are NaN, though what the layer reads is finite: with " in found.explanation
    assert "exp" in found.explanation
    assert found.explanation.endswith("overflows")


@pytest.mark.parametrize("broken", [np.nan, np.inf])
def test_an_element_that_nothing_explains(
    broken: float, context: Make, rng: np.random.Generator
) -> None:
    """No operation of a sum of two small terms, right or mistaken, can make it."""
    values = [rng.normal(size=SUM.shape).astype(np.float32) for _ in SUM.parents]
    seen = (values[0] + values[1]) * np.float32(0.5)
    seen[AT[SUM]] = broken
    found = told(context("coarse"), SUM, values, seen)
    assert ("NaN" if np.isnan(broken) else "infinite") in found.explanation
    assert found.explanation.endswith("what the layer reads is finite")
