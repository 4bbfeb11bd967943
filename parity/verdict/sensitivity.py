"""Whether a probe can tell: what a perturbation of each variable, channel and view changes.

A verdict holds each layer against what it makes of its own inputs, so a mistake is seen where it
changes one layer's output by more than rounding. That is tried here, in float64, on the layers and
the inputs of a recorded run: every variable is perturbed, channels are permuted, views are swapped.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from network.registry import network_of
from network.taps import TapRow
from parity.oracle.chunks import Part, parts_of
from parity.oracle.context import Context
from parity.oracle.local import alone, share_of
from parity.verdict.probe_run import ProbeRun

STEP = 2.0**-20
"""Size of a perturbation relative to a variable's greatest element: small enough that no ReLU's
sign matters, and a power of two."""
SIDES = 2.0
"""Limits between two sides that both may round."""


@dataclass(frozen=True)
class Sensitivity:
    """What was tried and seen.

    Attributes:
        changes: for each variable the smallest change of all its elements together, relative to
            the greatest of them, that the float64 verdict sees; None where it sees none.
        tried: how many other perturbations were tried.
        unseen: those of them that change nothing.
    """

    changes: Mapping[str, float | None]
    tried: int
    unseen: tuple[str, ...]


def sensitivity(run: ProbeRun, context: Context) -> Sensitivity:
    """Try everything on a recorded run of ``context``'s stage."""
    changes: dict[str, float | None] = {}
    shown: dict[str, bool] = {}
    for row in network_of(context.stage).taps:
        if "cameras" in row.constants:
            for name, seen in _swapped(row, run, context).items():
                shown[name] = shown.get(name, False) or seen
        else:
            keys = list(row.variables.values())
            if keys:
                changes |= _perturbed(row, keys, run, context)
                shown |= _permuted(row, run, context)
    return Sensitivity(changes, len(shown), tuple(name for name, seen in shown.items() if not seen))


def _inputs(row: TapRow, run: ProbeRun, part: Part) -> dict[str, np.ndarray]:
    found = {name: run.value(name, part) for name in row.parents}
    # What one view shows of a convolution is enough.
    one = row.program.uses("conv2d")
    return {name: x[:1] if one and x.ndim == 4 else x for name, x in found.items()}


def _perturbed(
    row: TapRow, keys: list[str], run: ProbeRun, context: Context
) -> dict[str, float | None]:
    """See ``Sensitivity.changes``: one part after the other, until every variable was seen."""
    changes: dict[str, float | None] = dict.fromkeys(keys)
    random = np.random.default_rng(0)
    for part in parts_of(row, run.recorded):
        values = _inputs(row, run, part)
        base = alone(row, values, context, None, "float64")
        limit = base.limit
        for key in keys:
            if changes[key] is not None:
                continue
            weight = context.weights[key]
            size = STEP * (np.abs(weight).max(initial=0.0) or 1.0)
            moved = weight + size * random.choice([-1.0, 1.0], weight.shape)
            other = context.with_weights({key: moved})
            found = alone(row, values, other, None, "float64").value
            share = share_of(found - base.value, SIDES * limit)
            if share > 1:
                changes[key] = STEP / share
        if None not in changes.values():
            break
    return changes


def _permuted(row: TapRow, run: ProbeRun, context: Context) -> dict[str, bool]:
    """Whether channels in and out, moved on by one, are told from where they were."""
    shown: dict[str, bool] = {}
    for part in parts_of(row, run.recorded):
        values = _inputs(row, run, part)
        base = alone(row, values, context, None, "float64")
        limit = base.limit
        turned = {name: np.roll(x, 1, axis=-1) for name, x in values.items()}
        found = {"in": alone(row, turned, context, None, "float64").value}
        if base.value.shape[-1] > 1:
            found["out"] = np.roll(base.value, 1, axis=-1)
        for which, value in found.items():
            name = f"the channels {which} of {row.name} in another order"
            shown[name] = shown.get(name, False) or share_of(value - base.value, SIDES * limit) > 1
        if all(shown.values()):
            break
    return shown


def _swapped(row: TapRow, run: ProbeRun, context: Context) -> dict[str, bool]:
    """Whether swapping two views' images, cameras, or both, changes a projection.

    Points stay in the frame of the first camera, as they are.
    """
    mesh, *maps = row.parents
    kinds = ("images", "cameras", "images and cameras")
    views = range(len(context.cameras))
    shown = {(what, pair): False for pair in combinations(views, 2) for what in kinds}
    for part in parts_of(row, run.recorded):
        values = {name: run.value(name, part) for name in row.parents}
        base = alone(row, values, context, None, "float64")
        limit = base.limit
        for (what, (first, second)), seen in shown.items():
            if seen:
                continue
            order = [second if v == first else first if v == second else v for v in views]
            swapped = {mesh: values[mesh], **{name: values[name][order] for name in maps}}
            given = swapped if "images" in what else values
            turned = context.with_arrays(cameras=context.cameras[order])
            where = turned if "cameras" in what else context
            value = alone(row, given, where, None, "float64")
            shown[what, (first, second)] = (
                share_of(value.value - base.value, limit + value.limit) > 1
            )
    return {
        f"the {what} of views {first} and {second} swapped": seen
        for (what, (first, second)), seen in shown.items()
    }
