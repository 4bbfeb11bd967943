"""What a comparison really exercised: a verdict says nothing about what no input could tell.

An element W[i, o] of a layer's matrix is exercised where some row has an input i that is not zero
while the output o passes its ReLU: then, and only then, a change of it changes the tap. That is
counted here for every element, from the reference's recorded run, instead of perturbing nineteen
million of them one by one. Two input channels that are equal everywhere cannot be told
apart: a port that permutes them computes the same.
"""

from collections import Counter
from collections.abc import Iterator, Mapping
from itertools import combinations
from typing import Any

import numpy as np
import scipy.sparse as sp

from network.layers import LAST_PIXEL
from network.registry import network_of
from network.taps import IMAGES, TapRow
from parity.oracle.chunks import parts_of
from parity.oracle.context import Context
from parity.oracle.local import pixels_of
from parity.oracle.primitives.products import padded, shifts
from parity.oracle.walk import handed_back
from parity.verdict.probe_run import ProbeRun
from parity.verdict.sensitivity import Sensitivity, sensitivity

HARDLY = 0.5
"""Share of a variable's elements below which a finding says so."""


def measured(run: ProbeRun, context: Context) -> dict[str, Any]:
    """What a run of a probe exercises and can tell, as JSON's own types.

    Args:
        run: all its taps.
        context: its constants.
    """
    stage = context.stage
    variables: dict[str, float] = {}
    twins: dict[str, int] = {}
    cases: dict[str, int] = {}
    scored = {row.parents[0] for row in network_of(stage).taps if _is_softmax(row)}
    for row in network_of(stage).taps:
        if row.variables:
            exercised = _Exercised(row, context) if _is_product(row) else _Reached(row, context)
            for part in parts_of(row, run.recorded):
                read = [run.value(name, part) for name in row.parents]
                exercised.add(read, run.value(row.name, part))
            variables |= exercised.shares()
            if exercised.twins:
                twins[row.name] = exercised.twins
            if row.name in scored:
                name = "score logits that the ReLU clips"
                cases[name] = cases.get(name, 0) + exercised.clipped
        if "cameras" in row.constants:
            _count_pixels(row, run, context, cases)
    tried = sensitivity(run, context)
    changes = [change for change in tried.changes.values() if change is not None]
    findings = [*_findings(run, context, variables, twins, cases), *_untold(tried)]
    return {
        "variables": variables,
        "smallest_changes": dict(tried.changes),
        "perturbed": {
            "variables perturbed": len(tried.changes),
            "of which seen": len(changes),
            "smallest change seen of every one": max(changes, default=None),
            "permutations and swaps tried": tried.tried,
            "that change nothing": list(tried.unseen),
        },
        "indistinguishable_channels": twins,
        "cases": cases,
        "findings": findings,
    }


def _untold(tried: Sensitivity) -> Iterator[str]:
    """Perturbations that change nothing, in words."""
    silent = [key for key, change in tried.changes.items() if change is None]
    if silent:
        some = ", ".join(silent[:5])
        yield f"not covered: {len(silent)} variables, perturbed, change nothing: {some}"
    for name in tried.unseen:
        yield f"not covered: {name} changes nothing"


def _is_softmax(row: TapRow) -> bool:
    return row.program.uses("exp") and row.program.uses("reduce_max")


def _is_product(row: TapRow) -> bool:
    """Whether a layer is a convolution, of an image or a graph, of what it reads."""
    names = {*row.variables}
    if len(row.parents) != 1:
        return False
    if row.program.uses("conv2d"):
        return names == {"weight", "bias"}
    return names == {"weights_0", "weights_1", "bias"} and "support_0" in row.constants


class _Reached:
    """Which elements of any layer's variables were seen to matter: those with a gradient.

    The gradient is that of a sum of the output's elements with factors drawn at random, so that
    nothing cancels but by chance.
    """

    clipped = 0
    twins = 0

    def __init__(self, row: TapRow, context: Context) -> None:
        self._row, self._context = row, context
        self._seen: dict[str, np.ndarray] = {}
        self._random = np.random.default_rng(0)

    def add(self, read: list[np.ndarray], out: np.ndarray) -> None:
        """Take part of the layer's inputs and output."""
        factors = self._random.uniform(1.0, 2.0, out.shape)
        parents = dict(zip(self._row.parents, read, strict=True))
        back = handed_back(self._row, parents, out, factors, self._context, "float64")
        for name in self._row.variables:
            seen = back[name].value != 0
            self._seen[name] = self._seen.get(name, False) | seen

    def shares(self) -> dict[str, float]:
        """By checkpoint key, the share of a variable's elements that matter."""
        return _shares(self._row, self._seen)


def _shares(row: TapRow, seen: Mapping[str, np.ndarray]) -> dict[str, float]:
    return {row.variables[name]: float(np.mean(each)) for name, each in seen.items()}


class _Exercised:
    """Which elements of a convolution's variables were seen to matter.

    Counted, which takes a tenth of the time that gradients do.
    """

    def __init__(self, row: TapRow, context: Context) -> None:
        self._row, self._context = row, context
        self._seen: dict[str, np.ndarray] = {}
        self._columns: np.ndarray | None = None
        self.clipped = 0

    def add(self, read: list[np.ndarray], out: np.ndarray) -> None:
        """Take part of the layer's inputs and output."""
        (x,) = read
        alive = (out != 0).astype(np.float32)
        self.clipped += int((out == 0).sum())
        row = self._row
        if "weight" in row.variables:
            self._convolution(np.abs(x), alive)
        else:
            if x.ndim == 2 and out.ndim == 3:
                x = x.reshape(out.shape[0], out.shape[1], -1)
            for number, support in enumerate(self._supports()):
                reached = abs(support) @ np.abs(x) if support is not None else np.abs(x)
                self._join(f"weights_{number}", reached, alive)
        self._join("bias", np.ones((*alive.shape[:-1], 1)), alive)
        self._compare_columns(x.reshape(-1, x.shape[-1]))

    def _supports(self) -> tuple[sp.csr_array | np.ndarray, ...]:
        keys = (self._row.constants[f"support_{number}"] for number in (0, 1))
        return tuple(self._context.arrays[key] for key in keys)

    def _convolution(self, x: np.ndarray, alive: np.ndarray) -> None:
        weight = self._context.weights[self._row.variables["weight"]]
        sides, stride = weight.shape[:2], self._row.settings["stride"]
        wide, (height, width) = padded(x, sides, stride), alive.shape[1:3]
        seen = np.zeros(weight.shape, bool)
        for i, j, rows, columns in shifts(x.shape, sides, stride):
            seen[i, j] = _meet(wide[:, rows, columns][:, :height, :width], alive)
        self._seen["weight"] = self._seen.get("weight", False) | seen

    def _join(self, name: str, x: np.ndarray, alive: np.ndarray) -> None:
        seen = _meet(x, alive)
        self._seen[name] = self._seen.get(name, False) | (seen[0] if name == "bias" else seen)

    def _compare_columns(self, x: np.ndarray) -> None:
        # A random projection of each column tells different ones apart but for chance.
        weights = np.random.default_rng(0).normal(size=len(x))
        marks = weights @ np.where(np.isfinite(x), x, 0.0)
        self._columns = marks if self._columns is None else self._columns + marks * np.pi

    @property
    def twins(self) -> int:
        """Input channels that equal an earlier one everywhere."""
        if self._columns is None:
            return 0
        return int(self._columns.size - np.unique(self._columns).size)

    def shares(self) -> dict[str, float]:
        """By checkpoint key, the share of a variable's elements that matter."""
        return _shares(self._row, self._seen)


def _meet(x: np.ndarray, alive: np.ndarray) -> np.ndarray:
    """(C_in, C_out): whether a row has both."""
    left = (x != 0).reshape(-1, x.shape[-1]).astype(np.float32)
    return (left.T @ alive.reshape(-1, alive.shape[-1])) > 0


def _count_pixels(row: TapRow, run: ProbeRun, context: Context, cases: dict[str, int]) -> None:
    """Where the points of a projection fall."""
    names = ("above", "below", "left", "right")
    counts: Counter[str] = Counter()
    for part in parts_of(row, run.recorded):
        points = run.value(row.parents[0], part).reshape(-1, 3)
        at = pixels_of(row, points, context).value
        h, w = at[..., 0], at[..., 1]
        for name, mask in zip(names, (h < 0, h > LAST_PIXEL, w < 0, w > LAST_PIXEL), strict=True):
            counts[f"pixels beyond the image, {name}"] += int(mask.sum())
        within = (at >= 0) & (at <= LAST_PIXEL)
        counts["pixels inside the image"] += int(within.all(axis=-1).sum())
        if row.program.uses("ceil"):
            whole = within & (at == np.floor(at))
            counts["pixel coordinates that are exact integers"] += int(whole.sum())
    for name, count in counts.items():
        cases[name] = cases.get(name, 0) + count


def _findings(
    run: ProbeRun,
    context: Context,
    variables: dict[str, float],
    twins: dict[str, int],
    cases: dict[str, int],
) -> Iterator[str]:
    """What this input cannot tell, in words."""
    rows = network_of(context.stage).taps
    if any(node.settings.get("view") is not None for row in rows for node in row.program.nodes):
        yield (
            "the images of views 1 and 2 do not reach the coarse mesh: the official index makes "
            "every view read view 0's maps, so only their cameras count"
        )
    if IMAGES in network_of(context.stage).read:
        yield from image_findings(run.value(IMAGES, None), context.cameras)
    silent = [key for key, share in variables.items() if share == 0]
    if silent:
        yield f"{len(silent)} variables change nothing: {', '.join(silent[:5])}"
    weak = {key: share for key, share in variables.items() if 0 < share < HARDLY}
    if weak:
        least = min(weak, key=lambda key: weak[key])
        yield (
            f"of {len(weak)} variables less than half of the elements matter, least of {least} "
            f"({weak[least]:.0%})"
        )
    if twins:
        total = sum(twins.values())
        yield (
            f"{total} input channels in {len(twins)} layers equal another, most of them zero: "
            "permuting them shows nothing"
        )
    for name, count in cases.items():
        if not count:
            yield f"not exercised: {name}"


def image_findings(images: np.ndarray, cameras: np.ndarray) -> Iterator[str]:
    """What images (views, H, W, channels) and cameras (views, 5) cannot tell, in words."""
    if np.ptp(images) == 0:
        yield "every pixel of the images has the same value: places show nothing"
    for first, second in combinations(range(len(images)), 2):
        if np.array_equal(images[first], images[second]):
            yield f"the images of views {first} and {second} are the same: a swap shows nothing"
        if len(cameras) and np.array_equal(cameras[first], cameras[second]):
            yield f"the cameras of views {first} and {second} are the same"
    if images.shape[-1] == 3 and np.array_equal(images[..., 0], images[..., 2]):
        yield "blue and red are the same in every pixel: their order shows nothing"
