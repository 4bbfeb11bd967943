"""The diagnosis names planted causes: replay, taking runs apart, patching."""

from collections.abc import Callable

import numpy as np
import pytest
from torch import Tensor

from commands.loading import load_sources
from inputs.demo import demo_item_path
from inputs.seeded import seeded_weights
from network.taps import TAPS
from parity.meshes.spikes.diagnose import LEFT, Neighbourhood, diagnose, row_behind
from parity.meshes.spikes.replay import Replay, vertex_taps
from parity.meshes.spikes.runs import Taken, planted, take_apart
from parity.meshes.spikes.self_check import self_check
from parity.traces.sources import Sources
from torch_impl import projection
from torch_impl.backend import factory
from torch_impl.coarse import projection_name
from weight_conversion.errors import InputError

Made = Callable[[], Replay]


@pytest.fixture(scope="module")
def sources() -> Sources:
    return load_sources(demo_item_path("plane"))


@pytest.fixture(scope="module")
def coarse(sources: Sources) -> Replay:
    return Replay(sources.of("coarse"), seeded_weights("coarse", 0))


@pytest.fixture(scope="module")
def refine(sources: Sources) -> Replay:
    weights = seeded_weights("refine", 0)
    return Replay(sources.of("refine", _unpooled(sources)), weights, np.arange(0, 2466, 200))


def _unpooled(sources: Sources) -> np.ndarray:
    mesh = sources.template.coordinates.astype(np.float64)
    for pairs in sources.template.unpooling:
        mesh = np.concatenate([mesh, mesh[pairs].mean(axis=1)])
    return mesh.astype(np.float32)


def test_replay_is_the_network_to_the_bit(sources: Sources, coarse: Replay) -> None:
    values = coarse.run()
    heard: dict[str, np.ndarray] = {}

    def listen(tap: str, value: np.ndarray) -> None:
        heard[tap] = value.copy()

    inputs = sources.of("coarse").mapping()
    factory("coarse").run(inputs, seeded_weights("coarse", 0), listen)
    assert list(heard) == [row.name for row in TAPS["coarse"]]
    for tap, value in heard.items():
        assert np.array_equal(values[tap].numpy(), value), tap


def test_a_clean_run_departs_nowhere(coarse: Replay, refine: Replay) -> None:
    for replay in (coarse, refine):
        assert take_apart(replay, replay.run()).departed == []


def test_planted_causes_in_the_coarse_stage(coarse: Replay) -> None:
    found = list(self_check(coarse, 3, seed=1))
    assert [each for each in found if not each.named] == []
    assert len({each.tap for each in found}) == 3


def test_planted_causes_in_the_refine_stage(refine: Replay) -> None:
    found = list(self_check(refine, 3, seed=1))
    assert [each for each in found if not each.named] == []


def test_a_wrong_map_is_named(coarse: Replay) -> None:
    clean = coarse.run()
    spoilt = coarse.run(base=clean, replaced={"cnn.conv2d_8": clean["cnn.conv2d_8"] * 1.5})
    first = take_apart(coarse, spoilt).departed[0]
    assert (first.tap, first.vertex) == ("cnn.conv2d_8", -1)


def test_path_of_a_planted_spike(sources: Sources, coarse: Replay) -> None:
    clean = coarse.run()
    tap, vertex = "graph_conv_blk3_13_layer_45", 300
    run = take_apart(coarse, planted(coarse, clean, tap, vertex))
    inputs = sources.of("coarse")
    mesh = coarse.output(run.values)
    around = Neighbourhood(inputs)
    reference = Taken(coarse, clean, {}, [])
    ticks: list[int] = []
    found = diagnose(
        run, inputs, mesh, np.array([vertex]), around, reference, lambda: ticks.append(1)
    )
    origin = found.report["origin"]
    assert (origin["tap"], origin["vertex"]) == (tap, vertex)
    (row,) = found.report["vertices"]
    assert row["patched"]["bisected"] == tap
    names = [each["tap"] for each in row["path"]]
    assert names == vertex_taps("coarse")
    before, after = names[: names.index(tap)], names[names.index(tap) :]
    assert all(row["patched"]["single"][each] == 0 for each in before)
    assert row["patched"]["single"][tap] == pytest.approx(1.0)
    assert row["patched"]["single"][after[-1]] == pytest.approx(1.0)
    scores = dict(zip(names, found.scores[0], strict=True))
    assert scores[tap] > LEFT
    explained = {each["tap"]: each["r2"] for each in found.report["explained_by_taps"]}
    assert list(explained) == names
    assert all(0 <= share <= 1 for share in explained.values())
    # Vertex 300 does not exist before the first unpooling.
    assert row["path"][0]["norm"] is None
    assert {each["tap"] for each in row["projections"]} == {"graph_proj_3_layer_31"}
    assert len(ticks) > len(names)


def test_between_two_sets_of_weights_the_spike_itself_is_named(
    sources: Sources, refine: Replay
) -> None:
    inputs = sources.of("refine", _unpooled(sources))
    other = Replay(inputs, seeded_weights("refine", 3), refine.vertices)
    run, reference = (Taken(each, each.run(), {}, []) for each in (refine, other))
    tap = "graph_drb_blk1_layer_2.localgconv_2"
    assert row_behind(run, reference, tap, 400) == 400


def test_pixel_and_cells_are_the_networks_own(
    sources: Sources, coarse: Replay, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = take_apart(coarse, coarse.run())
    inputs = sources.of("coarse")
    found = diagnose(run, inputs, coarse.output(run.values), np.array([10]), Neighbourhood(inputs))
    read: list[np.ndarray] = []

    def nearest_cells(pixel: Tensor) -> Tensor:
        cells = projection.nearest_cells(pixel)
        read.append(cells.numpy())
        return cells

    monkeypatch.setattr("torch_impl.coarse.nearest_cells", nearest_cells)
    factory("coarse").run(inputs.mapping(), seeded_weights("coarse", 0), None)
    by_tap = {projection_name(block): cells for block, cells in enumerate(read)}
    projections = found.report["vertices"][0]["projections"]
    assert len(projections) == 9
    for row in projections:
        assert row["cells"][0] == by_tap[row["tap"]][row["view"], 10].tolist()


def test_vertices_of_the_coarse_stage_go_together(sources: Sources) -> None:
    with pytest.raises(InputError, match="expected all of them"):
        Replay(sources.of("coarse"), seeded_weights("coarse", 0), np.array([1]))
