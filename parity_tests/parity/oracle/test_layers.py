"""Single layers in float64 NumPy, held against both implementations and planted faults."""

from collections.abc import Callable

import numpy as np
import pytest

from network.taps import TAPS, TapRow
from parity.oracle.confidence import FALSE_ALARM, RUNS, confidence, longest_sum
from parity.oracle.context import Context
from parity.oracle.local import Local, difference_of, local_error, share_of
from parity.traces.backends import BackendChoice
from studies.faults.memory import context_of
from studies.faults.probes import Probe, probe

STAGES = ("coarse", "refine")
Taps = dict[str, np.ndarray]
ROWS = [pytest.param(row, id=f"{stage}.{row.name}") for stage in STAGES for row in TAPS[stage]]


@pytest.fixture(scope="module")
def recorded() -> Callable[[str, str, str], tuple[Probe, Context, Taps]]:
    kept: dict[tuple[str, str, str], tuple[Probe, Context, Taps]] = {}

    def record(backend: str, stage: str, dtype: str) -> tuple[Probe, Context, Taps]:
        key = backend, stage, dtype
        if key not in kept:
            asked, taps = probe("border", stage), {}
            run = BackendChoice(backend).make(stage, dtype, "cpu").run
            run(asked.inputs, asked.weights.arrays, lambda name, value: taps.update({name: +value}))
            kept[key] = asked, context_of(asked), taps
        return kept[key]

    return record


def of(row: TapRow, context: Context, taps: Taps, observed: np.ndarray, dtype: str) -> Local:
    parents = {name: taps.get(name, context.inputs.get(name)) for name in row.parents}
    return local_error(row, parents, context, observed, dtype)


@pytest.mark.parametrize("row", ROWS)
def test_torch_only_rounds(row: TapRow, recorded: Callable) -> None:
    _, context, taps = recorded("torch", row.stage, "float32")
    local = of(row, context, taps, taps[row.name], "float32")
    assert local.worst <= 1
    assert local.open_rows == 0


@pytest.mark.parametrize("row", ROWS)
def test_torch_only_rounds_in_float64_and_one_element_a_little_off_does_not(
    row: TapRow, recorded: Callable
) -> None:
    _, context, taps = recorded("torch", row.stage, "float64")
    local = of(row, context, taps, taps[row.name], "float64")
    assert local.worst <= 1
    assert local.open_rows == 0
    observed = taps[row.name].copy()
    place = np.unravel_index(np.abs(observed).argmax(), observed.shape)
    observed[place] *= 1 + 1e-9
    if "cameras" in row.constants:
        # What was observed settles decisions, and with them the layer's exact output.
        off = of(row, context, taps, observed, "float64")
    else:
        error = difference_of(observed.reshape(local.value.shape), local.value)
        off = Local(local.alone, error)
    assert off.worst > 1
    assert np.count_nonzero(off.share() > 1) == 1


@pytest.mark.parametrize("row", [p for p in ROWS if p.values[0].stage == "coarse"])
def test_tensorflow_only_rounds(row: TapRow, recorded: Callable) -> None:
    pytest.importorskip("tensorflow")
    _, context, taps = recorded("tf", row.stage, "float64")
    assert of(row, context, taps, taps[row.name], "float64").worst <= 1


def test_nan_on_one_side_is_no_rounding(recorded: Callable) -> None:
    row = TAPS["coarse"][3]
    _, context, taps = recorded("torch", "coarse", "float32")
    observed = taps[row.name].copy()
    observed[0, 0, 0, 0] = np.nan
    assert of(row, context, taps, observed, "float32").worst == np.inf


@pytest.mark.parametrize("stage", STAGES)
def test_lambda_follows_from_the_admitted_alarms(stage: str) -> None:
    elements = sum(np.prod(row.shape) for row in TAPS[stage])
    alarms = RUNS * elements * longest_sum(stage) * 2 * np.exp(-(confidence(stage) ** 2) / 2)
    assert alarms == pytest.approx(FALSE_ALARM, rel=1e-9)


def test_a_pixel_on_a_border_may_be_decided_either_way(recorded: Callable) -> None:
    """Rows recorded with the other cell fit where the coordinate is close, and not elsewhere."""
    row = next(row for row in TAPS["coarse"] if row.name == "graph_proj_1_layer_0")
    asked, _, taps = recorded("torch", "coarse", "float32")
    context = context_of(asked)
    # Far from every border: a row read from another vertex's cell is wrong.
    observed = taps[row.name].copy()
    observed[0, 3:] = observed[80, 3:]
    local = of(row, context, taps, observed, "float32")
    assert local.worst > 1
    assert not local.decided


@pytest.mark.parametrize(
    ("error", "limit", "share"),
    [
        ([np.inf, 0.0], [np.inf, 1.0], np.inf),  # a number where there is none, without a bound
        ([0.5, 0.0], [np.inf, 0.0], 0.0),
        ([0.5, 0.0], [1.0, 0.0], 0.5),
        ([np.nan], [1.0], np.inf),
    ],
)
def test_an_infinite_error_is_within_no_limit(
    error: list[float], limit: list[float], share: float
) -> None:
    assert share_of(np.array(error), np.array(limit)) == share


def test_numbers_in_place_of_no_numbers_are_no_rounding(recorded: Callable) -> None:
    """Points at the camera's eye have no pixel; a port that reads some pixel there is another."""
    row = next(row for row in TAPS["refine"] if row.layer == "refine_projection")
    _, context, taps = recorded("torch", "refine", "float64")
    parents = {name: taps.get(name, context.inputs.get(name)) for name in row.parents}
    points = parents[row.parents[0]].copy()
    points.reshape(-1, 3)[0] = 0.0  # view 0's own place
    parents[row.parents[0]] = points
    observed = taps[row.name].copy()
    assert (
        local_error(row, parents, context, observed, "float64")
        .share()
        .reshape(observed.shape)[0]
        .max()
        > 1
    )
