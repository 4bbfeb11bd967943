"""The verdict on taps without limits, on faults planted into recorded runs."""

from dataclasses import replace

import numpy as np
import pytest

from network.taps import MESH, TAPS
from parity.oracle.context import Context
from parity.oracle.local import Layer
from parity.oracle.primitives.narrow import narrowed
from parity.traces.backends import BackendChoice
from parity.verdict import gathering
from parity.verdict.gathering import Place
from parity.verdict.judgement import Judged, TapJudge
from parity.verdict.result import Status
from studies.faults.memory import JUDGED, MemoryRun, context_of
from studies.faults.probes import probe

STAGE = "coarse"
ROWS = {row.name: row for row in TAPS[STAGE]}
CONV, GRAPH, RESIDUAL = (
    "cnn.conv2d_5",
    "graph_conv_blk1_4_layer_4",
    "graph_conv_blk1_3_layer_3.residual",
)
LAST = ROWS["graph_conv_blk1_5_layer_5.residual"].order
Taps = dict[str, np.ndarray]


class Run:
    """A healthy run by its precision, and what judging found of its taps: once for all tests."""

    def __init__(self) -> None:
        self._kept: dict[str, Taps] = {}
        self.known: dict[tuple[str, Place], Layer] = {}

    def __call__(self, dtype: str) -> Taps:
        if dtype not in self._kept:
            asked, taps = probe("plane", STAGE), {}
            BackendChoice("torch").make(STAGE, dtype, "cpu").run(
                asked.inputs,
                asked.weights.arrays,
                lambda name, value: taps.update({name: +value}),
            )
            self._kept[dtype] = taps
        return dict(self._kept[dtype])


@pytest.fixture(scope="module")
def context(contexts: dict[str, Context]) -> Context:
    return contexts[STAGE]


@pytest.fixture(scope="module")
def run() -> Run:
    return Run()


def judged(context: Context, run: Run, taps: Taps, true: Taps) -> dict[str, Judged]:
    ours = MemoryRun(context, "float32", run("float32"), run("float64"))
    theirs = MemoryRun(context, "float32", taps, true)
    judge = TapJudge(context, ours, theirs, known=run.known)
    return {name: judge.judge(row) for name, row in ROWS.items() if row.order <= LAST}


def test_a_run_agrees_with_itself(context: Context, run: Run) -> None:
    found = judged(context, run, run("float32"), run("float64"))
    assert {each.status for each in found.values()} == {Status.AGREE}


def test_another_order_of_summation_rounds(context: Context, run: Run) -> None:
    taps = run("float32")
    taps[GRAPH] = np.where(taps[GRAPH] > 0, np.nextafter(taps[GRAPH], np.float32(9)), 0)
    found = judged(context, run, taps, run("float64"))
    assert found[GRAPH].status is Status.ROUNDING
    assert 0 < found[GRAPH].local_roundings < found[GRAPH].roundings_limit


def test_bounds_of_the_reference_serve_for_both(
    context: Context, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every layer a little off, so that no two inputs are the same bits: the same is found."""
    draw, taps = np.random.default_rng(0), run("float32")
    for name in taps:
        taps[name] = taps[name] * (1 + 2.0**-24 * draw.integers(0, 2, taps[name].shape))
        taps[name] = taps[name].astype(np.float32)
    short = judged(context, run, taps, run("float64"))
    taken = []
    monkeypatch.setattr(gathering, "beside", lambda row, *_: taken.append(row.name))
    long = judged(context, run, taps, run("float64"))
    assert CONV in taken
    assert GRAPH in taken
    for name, each in long.items():
        assert short[name].status is each.status
        assert short[name].local_roundings == pytest.approx(each.local_roundings, rel=0.02)
        if each.rms_roundings is not None:
            assert short[name].rms_roundings == pytest.approx(each.rms_roundings, rel=0.02)


def test_another_function_differs_there_and_is_inherited_after(context: Context, run: Run) -> None:
    """A factor in one layer, the layers after it computed rightly from what it made."""
    taps, true = run("float32"), run("float64")
    for values in (taps, true):
        values[GRAPH] = values[GRAPH] * 1.001
        after = "graph_conv_blk1_5_layer_5"
        # The next layer is wrong as well, so that its own error is not hidden by what it inherits.
        values[after] = values[after] + np.float32(1e-3)
    found = judged(context, run, taps, true)
    first = next(name for name, each in found.items() if each.status is Status.DIFFER)
    assert first == GRAPH
    assert found[GRAPH].cause == "function"
    assert found[GRAPH].float64_roundings > 1e6


def test_what_follows_from_a_difference_is_inherited(context: Context, run: Run) -> None:
    taps, true = run("float32"), run("float64")
    rows = [ROWS[RESIDUAL], ROWS["graph_conv_blk1_5_layer_5.residual"]]
    for values in (taps, true):
        values[RESIDUAL] = values[RESIDUAL] + np.float32(0.25)
        x, r = (values[name] for name in rows[1].parents)
        values[rows[1].name] = (x + r) * np.asarray(0.5, x.dtype)
    found = judged(context, run, taps, true)
    assert found[RESIDUAL].status is Status.DIFFER
    assert found[rows[1].name].status is Status.INHERITED
    assert found[rows[1].name].origin == RESIDUAL
    assert found[rows[1].name].inherited_max_abs == pytest.approx(0.125, rel=1e-5)


@pytest.mark.parametrize("name", [CONV, GRAPH, RESIDUAL, "graph_proj_1_layer_0"])
@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_lower_precision_differs(name: str, dtype: str, context: Context, run: Run) -> None:
    taps = run("float32")
    if dtype == "float16":
        taps[name] = taps[name].astype(np.float16).astype(np.float32)
    else:
        taps[name] = (taps[name].view(np.uint32) & 0xFFFF0000).view(np.float32)
    found = judged(context, run, taps, run("float64"))[name]
    assert found.status is Status.DIFFER
    assert found.cause == "precision"
    assert dtype in found.note


def test_both_departing_alike_is_the_same_function(context: Context, run: Run) -> None:
    ours = MemoryRun(context, "float32", run("float32"), run("float64"))
    for values in (ours.taps, ours.exact):
        values[CONV] = values[CONV] * np.float32(2)
    theirs = MemoryRun(context, "float32", dict(ours.taps), dict(ours.exact))
    found = TapJudge(context, ours, theirs).judge(ROWS[CONV])
    assert found.status is Status.AGREE
    assert "the reference itself departs" in found.note


def test_nan_on_one_side_differs(context: Context, run: Run) -> None:
    taps = run("float32")
    taps[CONV] = taps[CONV].copy()
    taps[CONV][0, 0, 0, 0] = np.nan
    found = judged(context, run, taps, run("float64"))[CONV]
    assert found.status is Status.DIFFER


@pytest.mark.parametrize("factor", [1 + 1e-3, 1 + 1e-6])
def test_one_weight_element_is_enough(factor: float, context: Context, run: Run) -> None:
    """The candidate's own weights are held against the reference's."""
    asked = probe("plane", STAGE)
    weights = {key: +array for key, array in asked.weights.arrays.items()}
    key = "meshnetmvp2m/pixel2mesh/graph_conv_blk2_1_layer_17_vars/weights_0:0"
    place = np.unravel_index(np.abs(weights[key][:3]).argmax(), weights[key][:3].shape)
    weights[key][place] *= np.float32(factor)
    changed = {}
    BackendChoice("torch").make(STAGE, "float64", "cpu").run(
        asked.inputs, weights, lambda name, value: changed.update({name: +value})
    )
    ours = MemoryRun(context, "float64", exact=run("float64"))
    theirs = MemoryRun(replace(context), "float64", exact=changed)
    judge = TapJudge(context, ours, theirs, own=False, known=run.known)
    first = next(name for name, row in ROWS.items() if judge.judge(row).status is Status.DIFFER)
    assert first == "graph_conv_blk2_1_layer_17"


def test_rows_without_a_bound_are_not_said_to_agree(context: Context, run: Run) -> None:
    """A vertex in a camera's plane may lie on any pixel: what is not judged must not pass."""
    row = ROWS["graph_proj_1_layer_0"]
    # In view 0's own frame its camera's plane is z = 0.
    mesh = context.inputs[MESH].copy()
    mesh[3, 2] = 0.0
    flat = context.with_arrays(mesh=mesh)
    sides = []
    for factor in (1.0, 1.0 + 2.0**-20):
        taps = {name: +values for name, values in run("float32").items()}
        taps[row.name][3, 3:] *= np.float32(factor)
        sides.append(MemoryRun(flat, "float32", taps))
    found = TapJudge(flat, *sides, float64=False).judge(row)
    assert found.status is not Status.AGREE
    assert "1 rows lie in a camera's plane and were not judged" in found.note


def test_tf32_in_a_wide_layer_is_named_there(context: Context, run: Run) -> None:
    """No element passes λ roundings, the root mean square of all does."""
    row = ROWS["graph_conv_blk1_1_layer_1"]
    taps = run("float32")
    x = taps[row.parents[0]]
    weights = context.variables(row)
    first, second = (
        narrowed(x, "TF32") @ narrowed(weights[name], "TF32") for name in ("weights_0", "weights_1")
    )
    supports = [context.arrays[row.constants[name]] for name in ("support_0", "support_1")]
    value = supports[0] @ first + supports[1] @ second + weights["bias"]
    taps[row.name] = np.maximum(value, 0.0).astype(np.float32)
    found = judged(context, run, taps, run("float64"))[row.name]
    assert (found.status, found.cause) == (Status.DIFFER, "precision")
    assert found.rms_roundings > found.rms_roundings_limit
    assert "in the root mean square" in found.note or found.local_roundings > found.roundings_limit


@pytest.mark.parametrize("vertex", [0, 1, JUDGED - 1])
def test_each_judged_vertex_of_a_run_in_memory_is_looked_at(vertex: int) -> None:
    """The refine stage is gone through in parts: a fault at one vertex alone is one."""
    asked = probe("plane", "refine")
    context = context_of(asked)
    row = next(row for row in TAPS["refine"] if row.name == "graph_sample_hypothesis_1_layer_0")
    taps = (asked.inputs["mesh"][:, None] + asked.inputs["hypotheses"].offsets).astype(np.float64)
    off = taps.copy()
    off[vertex, 5, 1] += 1e-3
    runs = [MemoryRun(context, "float64", exact={row.name: values}) for values in (taps, off)]
    assert TapJudge(context, *runs, own=False).judge(row).status is Status.DIFFER
