"""Comparisons with planted states, built by hand: nothing here runs or compares anything."""

import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from network.taps import TAPS
from parity.traces.trace import Side
from parity.verdict.result import Comparison, Status, TapResult, Verdict
from reports.meshes import Meshes

HOSTILE = (
    "[red]x",
    ":smile:",
    "<script>alert(1)</script>",
    "a|b`c`*d*[e](http://f)",
    "$\\frac{1}$",
    "line\nbreak\ttab",
    "\x1b[31mred\x07",
    "\u202egnirts",
    "=cmd()",
    "'; rm -rf ~; '",
    "n" * 3000,
    "{{ 7 * 7 }}",
    "a & b \"quoted\" 'name'",
    "lone \udcff surrogate",
)

NAMES = (
    "agree",
    "differ",
    "flips",
    "missing",
    "nan",
    "invalid",
    "nothing",
    "hostile",
    "trained",
    "refine",
    "judged",
)

REFERENCE = Side(
    path="out/coarse/reference.h5",
    backend="tf",
    dtype="float32",
    device="cpu",
    weights_sha256="a" * 64,
    inputs_sha256="b" * 64,
    versions={"tensorflow": "2.21.0", "numpy": "2.4.0"},
)
CANDIDATE = replace(
    REFERENCE,
    path="out/coarse/candidate.h5",
    backend="torch",
    versions={"torch": "2.13.0", "numpy": "2.4.0"},
)


def entry(
    name: str, order: int, shape: tuple[int, ...], status: Status = Status.AGREE
) -> TapResult:
    """An entry whose differences are a few 1e-7, as two right implementations have them."""
    generator = np.random.default_rng(order)
    relative = float(10 ** generator.uniform(-7.2, -5.9))
    value = float(generator.uniform(0.2, 2))
    return TapResult(
        tap=name,
        order=order,
        status=status,
        shape=shape,
        dtype="float32",
        size=math.prod(shape),
        mismatched=0,
        max_abs=relative * 3,
        at=tuple(size // 2 for size in shape),
        reference=value,
        candidate=value + relative * 3,
        scale=3.0,
        max_rel=relative,
        rms_rel=relative * 0.2,
    )


def grown(base: TapResult, status: Status, relative: float, note: str = "") -> TapResult:
    assert base.reference is not None
    return replace(
        base,
        status=status,
        mismatched=base.size // 70,
        max_abs=relative * 3,
        candidate=base.reference + relative * 3,
        max_rel=relative,
        rms_rel=relative * 0.2,
        note=note,
    )


def empty(base: TapResult, status: Status, note: str = "") -> TapResult:
    if status is Status.MISSING:
        return TapResult(base.tap, base.order, status, (), "", note=note)
    return TapResult(base.tap, base.order, status, base.shape, base.dtype, base.size, note=note)


def _of(stage: str, taps: list[TapResult], verdict: Verdict, **others: object) -> Comparison:
    values: dict[str, object] = {
        "first_divergence": None,
        "losses": (),
        "gradients": (),
        "missing": (),
        "not_requested": (),
        "unmatched": {},
        "notes": (),
        "reference": REFERENCE,
        "candidate": CANDIDATE,
        **others,
    }
    return Comparison(stage=stage, verdict=verdict, taps=tuple(taps), **values)  # type: ignore[arg-type]


def _right(stage: str) -> list[TapResult]:
    return [entry(row.name, row.order, row.shape) for row in TAPS[stage]]


def _agree() -> Comparison:
    taps = _right("coarse")
    taps[:2] = [
        replace(tap, candidate=tap.reference, max_abs=0.0, max_rel=0.0, rms_rel=0.0)
        for tap in taps[:2]
    ]
    return _of("coarse", taps, Verdict.AGREE)


def _differ() -> Comparison:
    taps = _right("coarse")
    taps[21] = replace(
        taps[21],
        status=Status.DIFFER,
        mismatched=412,
        max_abs=3.1e-3,
        at=(88, 17),
        reference=0.40891,
        candidate=0.41201,
        max_rel=1.03e-3,
        rms_rel=2e-4,
    )
    for order in range(22, 86):
        taps[order] = grown(taps[order], Status.INHERITED, 1e-3 * 1.05 ** (order - 22))
    return _of(
        "coarse",
        taps,
        Verdict.DIFFER,
        first_divergence=taps[21].tap,
        notes=("the weights differ: SHA-256 aaaa… and cccc…",),
        candidate=replace(CANDIDATE, weights_sha256="c" * 64),
    )


def _refine() -> Comparison:
    taps = _right("refine")
    taps[19] = grown(taps[19], Status.FLIP, 0.31, "8 rows hold pixel decisions that flipped")
    for order in range(20, 42):
        status = Status.INHERITED if order % 3 else Status.ROUNDING
        taps[order] = grown(taps[order], status, 0.08 if order % 3 else 2e-5)
    taps[19] = replace(taps[19], decisions={"pixels": 8, "ties": 8})
    return _of("refine", taps, Verdict.AGREE)


def _flips() -> Comparison:
    right = _refine()
    taps = list(right.taps)
    taps[19] = replace(taps[19], decisions={"pixels": 9000, "ties": 8999}, status=Status.DIFFER)
    return replace(
        right, verdict=Verdict.DIFFER, first_divergence=right.taps[19].tap, taps=tuple(taps)
    )


def _missing() -> Comparison:
    taps = _right("coarse")
    taps[30] = empty(taps[30], Status.MISSING, "in the reference only")
    taps[31] = empty(taps[31], Status.MISSING, "in the candidate only")
    names = taps[30].tap, taps[31].tap
    return _of("coarse", taps, Verdict.INVALID, missing=names, not_requested=("a", "b"))


def _nan() -> Comparison:
    taps = _right("coarse")
    # At the same places on both sides: the rest of the tap is compared as ever.
    taps[4] = replace(taps[4], note="NaN at the same 12 places on both sides")
    taps[9] = replace(
        taps[9],
        status=Status.DIFFER,
        mismatched=1,
        max_abs=math.nan,
        candidate=math.nan,
        max_rel=math.nan,
        rms_rel=math.nan,
        note="1 value is NaN in the candidate alone",
    )
    taps[10] = replace(taps[10], max_abs=math.inf, max_rel=math.inf, status=Status.INHERITED)
    return _of("coarse", taps, Verdict.DIFFER, first_divergence=taps[9].tap)


def _invalid() -> Comparison:
    taps = _right("coarse")
    taps[3] = empty(taps[3], Status.INVALID, "the reference holds NaN")
    return _of("coarse", taps, Verdict.INVALID)


def _nothing() -> Comparison:
    return _of("coarse", [], Verdict.INVALID, notes=("no tap matches --taps 'zzz*'",))


def _hostile() -> Comparison:
    taps = [entry(name, order, (2, 3)) for order, name in enumerate(HOSTILE)]
    taps[2] = grown(taps[2], Status.DIFFER, 0.1, note=HOSTILE[2])
    return _of(
        "coarse",
        taps,
        Verdict.DIFFER,
        first_divergence=HOSTILE[2],
        missing=HOSTILE,
        not_requested=HOSTILE,
        unmatched={HOSTILE[4]: HOSTILE[2]},
        notes=HOSTILE,
        reference=replace(REFERENCE, path="/tmp/it's [bold]here[/bold]\n.h5", backend="<b>tf</b>"),  # noqa: S108 (a name, no file)
        candidate=replace(CANDIDATE, versions={"<i>torch</i>": "[red]1", "numpy": "1|2"}),
    )


def _trained() -> Comparison:
    losses = [
        entry(f"losses/{name}", order, ()) for order, name in enumerate(("chamfer_1", "total"))
    ]
    losses[1] = grown(replace(losses[1], at=()), Status.DIFFER, 0.01)
    gradients = [
        entry(f"gradients/meshnetmvp2m/pixel2mesh/cnn/conv2d_{k}/W:0", k, (3, 3, 4, 16))
        for k in range(1, 13)
    ]
    gradients[5] = grown(gradients[5], Status.INHERITED, 0.02)
    return _of(
        "coarse",
        _right("coarse"),
        Verdict.DIFFER,
        first_divergence="losses/total",
        losses=tuple(losses),
        gradients=tuple(gradients),
    )


def _judged() -> Comparison:
    """The state "differ" as a judge with float64 runs tells it."""
    comparison = _differ()
    taps = [
        replace(
            tap,
            roundings_limit=40.0,
            rms_roundings=0.02,
            rms_roundings_limit=1.01,
            local_roundings=3.0 if tap.status is not Status.DIFFER else 5e4,
            local_roundings_reference=2.5,
            float64_roundings=1.5 if tap.status is not Status.DIFFER else math.inf,
            float64_roundings_reference=0.0,
            local_max_abs=1e-6,
            inherited_max_abs=0.0 if tap.order < 22 else 1e-3,
            origin=comparison.taps[21].tap if tap.order > 21 else None,
            cause="function" if tap.status is Status.DIFFER else "",
            float64_max_abs=1e-9,
            candidate_to_float64=2e-6,
            reference_to_float64=1.5e-6,
            amplification=1.25,
            decisions={"signs": 3, "ties": 2} if tap.order == 25 else {},
        )
        for tap in comparison.taps
    ]
    return replace(comparison, taps=tuple(taps), basis="float64")


BUILDERS: dict[str, Callable[[], Comparison]] = {
    "agree": _agree,
    "differ": _differ,
    "flips": _flips,
    "missing": _missing,
    "nan": _nan,
    "invalid": _invalid,
    "nothing": _nothing,
    "hostile": _hostile,
    "trained": _trained,
    "refine": _refine,
    "judged": _judged,
}


@pytest.fixture
def planted() -> Callable[[str], Comparison]:
    """The comparison of a planted state, by its name."""
    return lambda name: BUILDERS[name]()


@pytest.fixture
def judged() -> Comparison:
    """The state "differ" as a judge with float64 runs tells it."""
    return _judged()


@pytest.fixture(params=NAMES)
def each(request: pytest.FixtureRequest) -> Comparison:
    """Every planted state in turn."""
    return BUILDERS[request.param]()


@pytest.fixture(scope="session")
def meshes() -> Meshes:
    """An octahedron of the official mesh's size and place, one vertex of the candidate moved."""
    corners = np.array(
        [[1, 0, 0], [-1, 0, 0], [0, 1, 0], [0, -1, 0], [0, 0, 1], [0, 0, -1]], np.float32
    )
    reference = corners * np.float32(0.2) + np.array([0, 0, -0.8], np.float32)
    candidate = reference.copy()
    candidate[2] += np.float32(0.05)
    faces = [(a, b, c) for a in (0, 1) for b in (2, 3) for c in (4, 5)]  # wound both ways
    return Meshes(reference, candidate, np.array(faces), "metres")
