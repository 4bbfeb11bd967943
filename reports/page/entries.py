"""Which entries a page shows, in which order, and which layer each belongs to."""

import re
from collections.abc import Sequence

from network.taps import BLOCK_TAPS, TAPS
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


_VARIABLE = re.compile(r"(?:^|/)(?:cnn|pixel2mesh)/(.+)/[^/]+$")
_LOSS = re.compile(r"^(?:losses/|steps/\d+/losses/)?(?:chamfer|edge|normal|laplace|move)_(\d+)$")


def layer_of(stage: str, name: str) -> str:
    """The tap that a gradient's or step's variable helps to compute, or the mesh that a loss term
    is about; empty where there is none.
    """  # noqa: D205 - one sentence
    loss = _LOSS.match(name)
    if loss is not None:
        meshes: Sequence[str] = BLOCK_TAPS.get(stage, ())
        number = int(loss[1])
        return meshes[number - 1] if 0 < number <= len(meshes) else ""
    at_tap = name.removeprefix("gradients/")
    if at_tap != name and any(row.name == at_tap for row in TAPS.get(stage, ())):
        return at_tap
    variable = _VARIABLE.search(name)
    if variable is None:
        return ""
    words = variable[1].removesuffix("_vars").split("/")
    tap = ".".join(["cnn", *words] if "/cnn/" in name else words)
    return tap if any(row.name == tap for row in TAPS.get(stage, ())) else ""


def short_entry(stage: str, name: str) -> str:
    """A loss's, gradient's or step's name as it fits a button: "conv 12 bias"."""
    layer, words = layer_of(stage, name), name.removesuffix(":0").split("/")
    step = f"step {words[1]} " if words[0] == "steps" and len(words) > 2 else ""
    text = words[-1] if len(words) > 1 else name
    if layer and not _LOSS.match(name):
        text = f"{short_name(layer)} {text}"
    return wording.shortened(wording.printable(step + text), 40)


def in_network_order(
    stage: str, entries: Sequence[tuple[int, TapResult]]
) -> list[tuple[int, TapResult]]:
    """Numbered entries by the layer that they belong to, those of none first."""
    places = {row.name: place for place, row in enumerate(TAPS.get(stage, ()), 1)}
    return sorted(entries, key=lambda pair: places.get(layer_of(stage, pair[1].tap), 0))
