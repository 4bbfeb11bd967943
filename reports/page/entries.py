"""Which entries a page shows, in which order, and which layer each belongs to."""

import re
from collections.abc import Sequence

from network.registry import names, network_of, taps_of
from network.terms import terms_of
from parity.verdict.result import Comparison, Status, TapResult
from reports import wording
from reports.page.layers import short_name
from reports.text.message import find

MOST_STEPS = 300
"""Entries of training steps in a page; ``report.json`` has them all."""
_URGENT = (Status.DIFFER, Status.INVALID, Status.MISSING, Status.FLIP, Status.INHERITED)


def shown_steps(comparison: Comparison) -> tuple[TapResult, ...]:
    """At most ``MOST_STEPS`` entries of training steps, in order: the first divergence, then those
    that are no agreement, then the others.
    """  # noqa: D205 - one sentence
    steps = comparison.steps
    if len(steps) <= MOST_STEPS:
        return steps
    first = find(comparison, comparison.first_divergence)

    def rank(place: int) -> tuple[int, int]:
        status = steps[place].status
        worst = _URGENT.index(status) if status in _URGENT else len(_URGENT)
        return (-1 if steps[place] is first else worst), place

    chosen = sorted(sorted(range(len(steps)), key=rank)[:MOST_STEPS])
    return tuple(steps[place] for place in chosen)


def shown_entries(comparison: Comparison) -> tuple[TapResult, ...]:
    """Taps, losses, gradients, then ``shown_steps``: a page numbers its entries so."""
    return comparison.taps + comparison.losses + comparison.gradients + shown_steps(comparison)


_LOSS = re.compile(r"^(?:losses/|steps/\d+/losses/)?(\w+)_(\d+)$")


def layer_of(stage: str, name: str) -> str:
    """The tap that a gradient's or step's variable helps to compute, or the mesh that a loss term
    is about; empty where there is none.
    """  # noqa: D205 - one sentence
    if stage not in names():
        return ""
    network = network_of(stage)
    loss = _LOSS.match(name)
    factors = network.losses
    if loss is not None and factors is not None and loss[1] in terms_of(factors, False, True):
        number = int(loss[2])
        return network.meshes[number - 1] if 0 < number <= len(network.meshes) else ""
    # Gradients and steps have a checkpoint key, or a tap, behind what they are.
    parts = name.split("/")
    tails = ["/".join(parts[place:]) for place in range(len(parts))]
    layer = next((network.readers[key].name for key in tails if key in network.readers), "")
    at_tap = name.removeprefix("gradients/")
    return at_tap if at_tap != name and at_tap in network.rows else layer


def short_entry(stage: str, name: str) -> str:
    """A loss's, gradient's or step's name as it fits a button: "conv 12 bias"."""
    layer, words = layer_of(stage, name), name.removesuffix(":0").split("/")
    step = f"step {words[1]} " if words[0] == "steps" and len(words) > 2 else ""
    text = words[-1] if len(words) > 1 else name
    if layer and not _LOSS.match(name):
        text = f"{short_name(network_of(stage).row(layer))} {text}"
    return wording.shortened(wording.printable(step + text), 40)


def in_network_order(
    stage: str, entries: Sequence[tuple[int, TapResult]]
) -> list[tuple[int, TapResult]]:
    """Numbered entries by the layer that they belong to, those of none first."""
    places = {row.name: place for place, row in enumerate(taps_of(stage), 1)}
    return sorted(entries, key=lambda pair: places.get(layer_of(stage, pair[1].tap), 0))
