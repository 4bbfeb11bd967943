"""The verdict on every gradient, from two runs whose gradients are known at every tap.

As ``parity.verdict.judgement`` does for taps. Let B be the backward of the layers that read a tap,
in float64 (``parity.oracle.walk``): c − B(c's own) is the candidate's local error, and

    c − r = (c − B(c's own)) − (r − B(r's own)) + (B(c's own) − B(r's own)).

A local part beyond rounding is another backward pass; the rest is inherited, from a gradient
nearer to the loss or from the forward pass.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial

import numpy as np

from network.registry import network_of
from network.taps import MESH, TapRow
from parity.oracle.blocks import blocks_of, by_rows, numbers_at, rows_of
from parity.oracle.chunks import Part, in_parallel
from parity.oracle.confidence import backward_confidence
from parity.oracle.context import Context
from parity.oracle.local import any_nan, difference_of, share_of, sides_apart
from parity.oracle.number import Number
from parity.oracle.walk import BackwardRun, Walk, backwards, consumers
from parity.verdict.result import Status


@dataclass(eq=False)
class Gradient:
    """One gradient, judged; numbers are absolute, but for roundings.

    Attributes:
        name: a tap, ``mesh``, or a checkpoint key.
        layers: whose backward it is: those that read the tap, or the variable's own.
        origin: what an inherited difference comes from: ``gradients/NAME`` or a tap.
        roundings, roundings_reference: the greatest local error of the candidate's and of the
            reference's gradient; at most ``limit`` of them is rounding.
        local, inherited, difference: their greatest magnitudes.
        mismatched: elements whose local errors differ by more than rounding and decisions explain.
        flipped: elements where rounding took a decision (which view is the greatest, which point
            the nearest) otherwise on the two sides, or that mismatch.
        part: where the local difference is greatest over its limit.
        nan: whether both sides' hold a NaN.
    """

    name: str
    layers: tuple[str, ...]
    limit: float
    status: Status = Status.AGREE
    origin: str | None = None
    roundings: float = 0.0
    roundings_reference: float = 0.0
    local: float = 0.0
    inherited: float = 0.0
    difference: float = 0.0
    mismatched: int = 0
    flipped: int = 0
    share: float = 0.0
    part: Part = None
    beyond: bool = False
    nan: bool = False

    def note(self) -> str:
        """Whose backward pass it is that differs."""
        if self.status is not Status.DIFFER:
            return ""
        if len(self.layers) == 1:
            return f"the backward pass of {self.layers[0]} is another"
        return f"the backward pass of one of these is another: {', '.join(self.layers)}"

    def numbers(self, float64: bool) -> dict[str, float]:
        """By the names that results have for them."""
        prefix = "float64" if float64 else "local"
        found = {
            f"{prefix}_roundings": self.roundings,
            f"{prefix}_roundings_reference": self.roundings_reference,
            "roundings_limit": self.limit,
            "local_max_abs": self.local,
            "inherited_max_abs": self.inherited,
        }
        return {**found, "float64_max_abs": self.difference} if float64 else found


@dataclass(eq=False)
class BackwardJudge:
    """Goes back through both runs side by side.

    Attributes:
        context: the reference's weights, against which both sides are held.
        reference, candidate: both with gradients at every tap.
        forward: taps that differ or inherit, with what that comes from.
    """

    context: Context
    reference: BackwardRun
    candidate: BackwardRun
    forward: Mapping[str, str] = field(default_factory=dict)

    def judge(self) -> dict[str, Gradient]:
        """Every gradient by its name, in the order of the backward pass."""
        stage, confidence = self.context.stage, backward_confidence(self.context.stage)
        readers = consumers(stage)
        rows = list(reversed(network_of(stage).taps))
        found: dict[str, Gradient] = {}
        for row in rows:
            found[row.name] = Gradient(row.name, tuple(readers[row.name]), confidence)
            for key in row.variables.values():
                found[key] = Gradient(key, (row.name,), confidence)
        found["mesh"] = Gradient("mesh", tuple(readers[MESH]), confidence)
        runs = (self.reference, self.candidate)
        walks = [Walk(self.context, run) for run in runs]
        steps = backwards(stage, self.reference.vertices)
        last = {row.name: number for number, (row, _) in enumerate(steps)}
        for number, (row, part) in enumerate(steps):
            seen = [run.gradient(row.name, part) for run in runs]
            sums = [
                walk.expected(row.name, part, gradient.shape)
                for walk, gradient in zip(walks, seen, strict=True)
            ]
            self._take(found[row.name], seen, sums, part, walks)
            list(in_parallel(partial(Walk.step, row=row, part=part), walks))
            if last[row.name] == number:
                for key in row.variables.values():
                    seen = [run.variable(key) for run in runs]
                    self._take(
                        found[key], seen, [w.expected_variable(key) for w in walks], None, walks
                    )
        if not all(run.knows_mesh() for run in runs):
            del found["mesh"]
            self._settle(found, rows)
            return found
        reads_mesh = [part for row, part in steps if MESH in row.parents]
        for place in dict.fromkeys(_key(part) for part in reads_mesh):
            piece = None if place is None else slice(*place)
            seen = [run.gradient(MESH, piece) for run in runs]
            sums = [
                walk.expected(MESH, piece, gradient.shape)
                for walk, gradient in zip(walks, seen, strict=True)
            ]
            self._take(found["mesh"], seen, sums, piece, walks)
        self._settle(found, rows)
        return found

    def _take(
        self,
        found: Gradient,
        seen: list[np.ndarray],
        sums: list[Number],
        part: Part,
        walks: list[Walk],
    ) -> None:
        """Add a part of a gradient, a few rows at a time."""
        found.nan = found.nan or all(map(any_nan, seen))
        arithmetic = [walk.arithmetic for walk in walks]
        for rows in blocks_of(seen[0].shape):
            r, c = (rows_of(by_rows(each), rows) for each in seen)
            first, second = (numbers_at(each, rows) for each in sums)
            errors = difference_of(r, first.value), difference_of(c, second.value)
            tight = arithmetic[0].limit(first), arithmetic[1].limit(second)
            limits = tight[0] + first.undecided, tight[1] + second.undecided
            local, limit = sides_apart(errors, (r, c)), limits[0] + limits[1]
            found.flipped += int(np.count_nonzero(~(np.abs(local) <= tight[0] + tight[1])))
            share = share_of(local, limit)
            if not share <= found.share:
                found.share, found.part = share, part
            if not share <= 1:
                wrong = (~(np.abs(local) <= limit) & (local != 0)) | np.isinf(local)
                found.mismatched += int(np.count_nonzero(wrong))
            away = difference_of(c, r)
            inherited = difference_of(second.value, first.value)
            found.roundings = max(found.roundings, share_of(errors[1], limits[1]) * found.limit)
            found.roundings_reference = max(
                found.roundings_reference, share_of(errors[0], limits[0]) * found.limit
            )
            found.local = max(found.local, float(np.abs(local).max(initial=0.0)))
            found.inherited = max(found.inherited, float(np.abs(inherited).max(initial=0.0)))
            found.difference = max(found.difference, float(np.abs(away).max(initial=0.0)))
            found.beyond = found.beyond or not bool((np.abs(away) <= limit).all())

    def _settle(self, found: dict[str, Gradient], rows: list[TapRow]) -> None:
        """Statuses and origins, in the order of the backward pass."""
        origins: dict[str, str] = {}
        by_name = {row.name: row for row in rows}
        for name, each in found.items():
            origin = self._origin(each, origins, by_name)
            # Written so that NaN differs.
            if not each.share <= 1:
                each.status, origins[name] = Status.DIFFER, f"gradients/{name}"
                continue
            if origin is not None:
                origins[name] = origin
            if each.difference == 0:
                each.status = Status.AGREE
            elif origin is not None and (each.beyond or each.flipped):
                each.status, each.origin = Status.INHERITED, origin
            elif each.flipped:
                each.status, origins[name] = Status.FLIP, f"gradients/{name}"
            else:
                each.status = Status.ROUNDING

    def _origin(
        self, each: Gradient, origins: Mapping[str, str], rows: Mapping[str, TapRow]
    ) -> str | None:
        """What is nearest to the loss of all that a gradient is made from and that differs."""
        upstream = [origins[layer] for layer in each.layers if layer in origins]
        order = list(origins.values())
        if upstream:
            return min(upstream, key=order.index)
        for layer in each.layers:
            row = rows.get(layer)
            read = (layer, *row.parents) if row is not None else tuple(self.forward)
            for name in read:
                if name in self.forward:
                    return self.forward[name]
        return None


def _key(part: Part) -> tuple[int, int] | None:
    return None if part is None else (part.start, part.stop)
