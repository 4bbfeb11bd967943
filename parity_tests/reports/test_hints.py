"""What the pattern of a comparison tells a reader, on comparisons planted by hand."""

import re
from collections.abc import Callable
from dataclasses import replace
from types import SimpleNamespace

import pytest

from network.weights import WEIGHTS
from parity.verdict.result import Comparison, Status, TapResult, Verdict
from reports.text.hints import hints

Planted = Callable[[str], Comparison]


def trained(planted: Planted, first: str, **changes: object) -> Comparison:
    """Taps, losses and gradients that all agree but for ``changes``."""
    base = planted("trained")
    plain = {
        name: tuple(replace(entry, status=Status.ROUNDING) for entry in getattr(base, name))
        for name in ("taps", "losses", "gradients")
    }
    return replace(base, verdict=Verdict.DIFFER, first_divergence=first, **{**plain, **changes})  # type: ignore[arg-type]


def differing(entry: TapResult, **changes: object) -> TapResult:
    return replace(entry, status=Status.DIFFER, **changes)  # type: ignore[arg-type]


def test_agreement_needs_no_hint(planted: Planted) -> None:
    assert hints(planted("agree")) == []
    assert hints(planted("invalid")) == []


def test_one_layer_alone(planted: Planted) -> None:
    assert hints(planted("differ")) == []


def test_layers_that_differ_by_themselves_are_counted_by_kind(planted: Planted) -> None:
    comparison = planted("differ")
    taps = [
        differing(tap) if tap.tap.startswith("graph_conv_blk2") and "resid" not in tap.tap else tap
        for tap in comparison.taps
    ]
    (said,) = hints(replace(comparison, taps=tuple(taps)))
    assert said == (
        "Not it alone: 14 layers after it differ too by themselves; in all 15 of 43 graph "
        "convolutions."
    )


def test_what_follows_from_taps_is_not_a_finding(planted: Planted) -> None:
    base = trained(planted, "cnn.conv2d_3")
    taps = list(base.taps)
    taps[2] = differing(taps[2])
    losses = tuple(differing(entry) for entry in base.losses)
    (said,) = hints(replace(base, taps=tuple(taps), losses=losses))
    assert said.startswith("2 of 14 losses and gradients differ after it. They are computed from")


def test_a_loss_term_is_told_by_its_factor(planted: Planted) -> None:
    base = trained(planted, "losses/chamfer_1")
    first = differing(base.losses[0], reference=2.0, candidate=0.5, size=1)
    found = hints(replace(base, losses=(first, *base.losses[1:])))
    assert found[0].startswith("All 86 taps agree to rounding: the network computes the same")
    assert found[1] == "losses/chamfer_1: the candidate is 0.25 times the reference."


def test_a_loss_without_a_factor(planted: Planted) -> None:
    base = trained(planted, "losses/chamfer_1")
    first = differing(base.losses[0], reference=0.0, candidate=0.5, size=1)
    assert len(hints(replace(base, losses=(first, *base.losses[1:])))) == 1


def test_gradients_that_are_not_passed_on(planted: Planted) -> None:
    base = trained(planted, planted("trained").gradients[3].tap)
    gradients = list(base.gradients)
    gradients[3] = differing(gradients[3], candidate=0.0, reference=3.0)
    found = hints(replace(base, gradients=tuple(gradients)))
    assert found[0].startswith("All 86 taps agree to rounding, all 2 losses agree to rounding: ")
    assert "1 of 12 gradients differ" in found[0]
    assert "In 1 of them the candidate has 0" in found[1]


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (47, "from the start: at graph_conv_blk3_15_layer_47"),
        (20, "those of graph_conv_blk2_4_layer_20 are the"),
    ],
)
def test_the_way_back_from_the_loss(planted: Planted, wrong: int, words: str) -> None:
    base = trained(planted, "gradients/x")
    gradients = []
    for order, row in enumerate(WEIGHTS["coarse"]):
        entry = replace(base.gradients[0], tap=row.key, order=order, candidate=1.0, reference=2.0)
        number = re.search(r"_layer_(\d+)_", row.key)
        back = number is None or int(number[1]) <= wrong
        gradients.append(differing(entry) if back else entry)
    first = next(entry.tap for entry in gradients if entry.status is Status.DIFFER)
    comparison = replace(base, gradients=tuple(gradients), first_divergence=f"gradients/{first}")
    found = hints(comparison)
    assert words in found[1]
    if wrong == 20:
        assert "those of graph_conv_blk2_5_layer_21 still agree" in found[1]


@pytest.mark.parametrize("group", ["m", "v"])
def test_a_step_whose_gradients_agree(planted: Planted, group: str) -> None:
    base = trained(planted, f"steps/1/{group}/KEY")
    step = differing(base.gradients[0], tap=f"steps/1/{group}/KEY", reference=-44.3, candidate=-0.1)
    found = hints(replace(base, steps=(step,)))
    assert found[0].startswith("All 12 gradients agree to rounding: what the loss gives is the")
    assert (len(found) == 2) == (group == "m")
    if group == "m":
        assert "Here it was -1 where the reference's was -443." in found[1]


def test_steps_are_counted_in_the_sentence(planted: Planted) -> None:
    from reports.text.message import sentence

    summaries = tuple(SimpleNamespace(statuses={"agree": 2, "differ": n}) for n in (1, 2))
    comparison = replace(planted("agree"), step_summaries=summaries)
    assert "; 2 training steps: 4 agree, 3 differ)" in sentence(comparison)
