"""What the pattern of statuses says to a reader, in sentences: nothing here judges or measures."""

import math
from collections import Counter
from collections.abc import Sequence

from network.registry import taps_of
from parity.verdict.result import Comparison, Status, TapResult
from reports import wording
from reports.page.entries import in_network_order, layer_of
from reports.text.message import find

_UNLIKE = (Status.DIFFER, Status.INHERITED, Status.FLIP, Status.INVALID, Status.MISSING)
_MOST = 6  # loss terms told one by one


def hints(comparison: Comparison) -> list[str]:
    """Sentences on where the first divergence leads, and on what follows from it."""
    first = find(comparison, comparison.first_divergence)
    if first is None or first.status is not Status.DIFFER:
        return []
    if any(first is tap for tap in comparison.taps):
        found = [*_others(comparison, first), *_following(comparison)]
    elif any(first is loss for loss in comparison.losses):
        found = _of_loss(comparison)
    elif any(first is gradient for gradient in comparison.gradients):
        found = _of_gradient(comparison)
    else:
        found = _of_step(comparison, first)
    return found


def _others(comparison: Comparison, first: TapResult) -> list[str]:
    """Layers that differ by themselves beside the first, by kind."""
    others = [t.tap for t in comparison.taps if t.status is Status.DIFFER and t is not first]
    if not others:
        return []
    kinds = {row.name: row.kind for row in taps_of(comparison.stage)}
    known, told = Counter(kinds.values()), []
    counts = Counter(kinds.get(tap, "other taps") for tap in [first.tap, *others])
    for kind, count in counts.items():
        told.append(f"{count} of {known[kind]} {kind}" if known[kind] else f"{count} {kind}")
    again = wording.counted(len(others), "layer")
    return [
        f"Not it alone: {again} after it {'differs' if len(others) == 1 else 'differ'} too by "
        f"{'itself' if len(others) == 1 else 'themselves'}; in all {', '.join(told)}."
    ]


def _following(comparison: Comparison) -> list[str]:
    after = comparison.losses + comparison.gradients
    unlike = sum(entry.status in _UNLIKE for entry in after)
    if not unlike:
        return []
    return [
        f"{unlike} of {len(after)} losses and gradients differ after it. They are computed from "
        "the taps, so look at them once the taps agree."
    ]


def _of_loss(comparison: Comparison) -> list[str]:
    found = [
        f"{_agreeing(comparison.taps, 'tap')}: the network computes the same, and the term is "
        "taken from it otherwise."
    ]
    others = [e for e in comparison.losses if e.status in _UNLIKE]
    for entry in others:
        ratio = _ratio(entry)
        if ratio is not None and not entry.tap.endswith("total"):
            found.append(
                f"{wording.printable(entry.tap)}: the candidate is {wording.quantity(ratio)} times "
                "the reference."
            )
    return found[: 1 + _MOST]


def _ratio(entry: TapResult) -> float | None:
    if entry.size != 1 or not entry.reference or entry.candidate is None:
        return None
    ratio = entry.candidate / entry.reference
    return ratio if math.isfinite(ratio) else None


def _of_gradient(comparison: Comparison) -> list[str]:
    losses = f", {_agreeing(comparison.losses, 'loss').lower()}" if comparison.losses else ""
    unlike = [e for e in comparison.gradients if e.status in _UNLIKE]
    lacking = [e for e in unlike if e.candidate == 0 and e.reference]
    found = [
        f"{_agreeing(comparison.taps, 'tap')}{losses}: the function is the same, the backward pass "
        f"is not. {len(unlike)} of {wording.counted(len(comparison.gradients), 'gradient')} differ."
    ]
    if any(entry.layers for entry in comparison.gradients):
        # Judged layer by layer: the first one's note says whose backward pass it is.
        return found
    found += _way_back(comparison)
    if lacking:
        found.append(
            f"In {len(lacking)} of them the candidate has 0 where it is farthest from the "
            "reference: something passes no gradient on."
        )
    return found


def _way_back(comparison: Comparison) -> list[str]:
    """Which layer's gradients are the first that differ, going from the loss back."""
    stage = comparison.stage
    back = reversed(in_network_order(stage, list(enumerate(comparison.gradients))))
    layers: dict[str, list[TapResult]] = {}
    for _, entry in back:
        layers.setdefault(layer_of(stage, entry.tap), []).append(entry)
    layers.pop("", None)
    order = list(layers)
    place = next((n for n, x in enumerate(order) if any(e.status in _UNLIKE for e in layers[x])), 0)
    if not layers or not any(entry.status in _UNLIKE for entry in layers[order[place]]):
        return []
    if place == 0:
        return [
            f"Going back from the loss they differ from the start: at {order[0]}, the last layer. "
            "What a loss term passes on is another, or that layer's backward pass."
        ]
    return [
        f"Going back from the loss, those of {order[place]} are the first that differ, and those "
        f"of {order[place - 1]} still agree: look at what lies between the two."
    ]


def _of_step(comparison: Comparison, first: TapResult) -> list[str]:
    gradients = comparison.gradients
    if not gradients or any(entry.status in _UNLIKE for entry in gradients):
        return []
    found = [
        f"{_agreeing(gradients, 'gradient')}: what the loss gives is the same, what the optimiser "
        "makes of it is not."
    ]
    if "/m/" in first.tap and first.tap.startswith("steps/1/"):
        found.append(
            "Its mean of the gradient (m) differs after the first step, where it is a tenth of the "
            "gradient that it was handed: that one was changed on the way to it (clipped, scaled, "
            f"decayed). Here it was {wording.quantity(_tenfold(first.candidate))} where the "
            f"reference's was {wording.quantity(_tenfold(first.reference))}."
        )
    return found


def _tenfold(number: float | None) -> float | None:
    return None if number is None else 10 * number


def _agreeing(entries: Sequence[TapResult], noun: str) -> str:
    """How many agree, as "All 86 taps agree to rounding"."""
    alike = sum(entry.status not in _UNLIKE for entry in entries)
    number = wording.counted(len(entries), noun)
    return f"{'All' if alike == len(entries) else f'{alike} of'} {number} agree to rounding"
