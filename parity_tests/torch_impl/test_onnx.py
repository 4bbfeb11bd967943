import importlib.util
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from inputs.demo import demo_item_path
from inputs.hypotheses import build_hypotheses
from inputs.item import load_item
from inputs.seeded import seeded_weights
from inputs.template import build_template
from torch_impl import onnx_backend, projection
from torch_impl.backend import factory as torch_factory
from torch_impl.backend import load_network
from torch_impl.onnx_backend import OnnxBackend, factory, stage_inputs
from torch_impl.onnx_export import build_model, export
from weight_conversion.convert import to_state_dict
from weight_conversion.errors import InputError
from weight_conversion.formats import WeightSet, load_weights
from weight_conversion.taps import TAPS, TapRow
from weight_conversion.weights import WEIGHTS

onnx = pytest.importorskip("onnx", reason="the extra 'onnx' is not installed")
onnxruntime = pytest.importorskip("onnxruntime", reason="the extra 'onnx' is not installed")

from torch_impl import onnx_network, onnx_projection  # noqa: E402 - they import onnx
from torch_impl.onnx_writer import GraphWriter  # noqa: E402

STAGES = ("coarse", "refine")
LIMIT = 3e-5
"""Greatest difference from torch, relative to a tap's greatest magnitude: three times the worst
measured."""


@pytest.fixture(scope="module")
def weights() -> dict[str, WeightSet]:
    found = {}
    for stage in STAGES:
        arrays = seeded_weights(stage)
        # Bits that arithmetic, or a detour through text, would lose.
        first = arrays[WEIGHTS[stage][0].key]
        first.flat[:3] = -0.0, 1e-41, np.float32(0.1)
        found[stage] = WeightSet(stage, arrays, 7, "seed")
    return found


@pytest.fixture(scope="module")
def files(weights: dict[str, WeightSet], tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("onnx")
    for stage in STAGES:
        export(weights[stage], folder / f"{stage}.onnx")
    return folder


@pytest.fixture(scope="module")
def inputs() -> dict[str, Any]:
    item = load_item(demo_item_path("plane"))
    template = build_template()
    return {
        "images": item.images,
        "cameras": item.cameras,
        "mesh": template.coordinates,
        "template": template,
        "hypotheses": build_hypotheses(),
    }


class Kept:
    """A listener that keeps what it hears, in order."""

    def __init__(self, wants: Callable[[str], bool] = lambda _: True) -> None:
        self.wants = wants
        self.taps: dict[str, np.ndarray] = {}
        self.decisions: dict[str, np.ndarray] = {}
        self.order: list[str] = []

    def __call__(self, tap: str, value: np.ndarray) -> None:
        self.taps[tap] = value
        self.order.append(tap)

    def decide(self, tap: str, decisions: np.ndarray) -> None:
        self.decisions[tap] = decisions
        self.order.append(f"decisions/{tap}")


def close(found: np.ndarray, expected: np.ndarray) -> None:
    assert found.shape == expected.shape
    assert found.dtype == expected.dtype == np.float32
    difference = np.abs(found.astype(np.float64) - expected)
    assert (difference <= LIMIT * np.abs(expected).max()).all(), difference.max()


def evaluated(
    build: Callable[[GraphWriter], list[str]],
    feeds: Mapping[str, np.ndarray],
    weights: Mapping[str, np.ndarray] | None = None,
) -> list[np.ndarray]:
    """The values that ``build`` returns of a graph with the inputs ``feeds``."""
    graph = GraphWriter(weights or {})
    for name, array in feeds.items():
        graph.input(name, array.dtype.type, array.shape)
    found = build(graph)
    for name in found:
        decided = name.startswith("decisions/")
        graph.describe(name, np.int16 if decided else np.float32, ())
    model = graph.model(found, pruned=True, metadata={}, text="")
    for output in model.graph.output:
        output.type.tensor_type.ClearField("shape")
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    read = {value.name for value in session.get_inputs()}
    results: list[np.ndarray] = session.run(found, {k: v for k, v in feeds.items() if k in read})
    return results


# The file


@pytest.mark.parametrize("stage", STAGES)
def test_file_passes_the_full_check(stage: str, files: Path) -> None:
    model = onnx.load(files / f"{stage}.onnx")
    onnx.checker.check_model(model, full_check=True)
    assert [value.name for value in model.graph.output] == ["vertices"]


@pytest.mark.parametrize("stage", STAGES)
def test_initializers_are_the_weights_and_nothing_else(stage: str, files: Path) -> None:
    initializers = onnx.load(files / f"{stage}.onnx").graph.initializer
    assert [tensor.name for tensor in initializers] == [row.torch_key for row in WEIGHTS[stage]]


@pytest.mark.parametrize("stage", STAGES)
def test_every_tap_can_be_fetched(stage: str, files: Path) -> None:
    graph = onnx.load(files / f"{stage}.onnx").graph
    shapes = {
        value.name: tuple(extent.dim_value for extent in value.type.tensor_type.shape.dim)
        for value in graph.value_info
    }
    made = {name for node in graph.node for name in node.output}
    taps = {row.name: row.shape for row in TAPS[stage]}
    assert {name: shapes.get(name) for name in taps} == taps
    assert set(shapes) <= made


@pytest.mark.parametrize("stage", STAGES)
def test_weights_come_back_bit_for_bit(
    stage: str, files: Path, weights: dict[str, WeightSet]
) -> None:
    back = load_weights(files / f"{stage}.onnx")
    assert (back.stage, back.step, back.ignored) == (stage, 7, ())
    for key, array in weights[stage].arrays.items():
        assert back.arrays[key].tobytes() == array.tobytes(), key


def test_unknown_step_stays_unknown(weights: dict[str, WeightSet], tmp_path: Path) -> None:
    export(WeightSet("refine", weights["refine"].arrays, None, "seed"), tmp_path / "r.onnx")
    assert load_weights(tmp_path / "r.onnx").step is None
    assert [path.name for path in tmp_path.iterdir()] == ["r.onnx"]


def test_a_stranger_can_run_it_on_a_traces_inputs(
    files: Path,
    inputs: dict[str, Any],
    runs: dict[str, Kept],
    capfd: pytest.CaptureFixture[str],
) -> None:
    session = onnxruntime.InferenceSession(files / "coarse.onnx")
    arrays = stage_inputs("coarse", inputs)
    assert {value.name for value in session.get_inputs()} == set(arrays)
    (vertices,) = session.run(None, arrays)
    close(vertices, runs["onnx"].taps[TAPS["coarse"][-1].name])
    assert capfd.readouterr() == ("", "")


def test_export_keeps_an_existing_file_when_it_fails(
    weights: dict[str, WeightSet], tmp_path: Path
) -> None:
    arrays = dict(weights["refine"].arrays)
    arrays.popitem()
    path = tmp_path / "r.onnx"
    path.write_bytes(b"before")
    with pytest.raises(InputError, match="1 missing"):
        export(WeightSet("refine", arrays, None, "seed"), path)
    assert path.read_bytes() == b"before"


def test_export_to_a_folder(weights: dict[str, WeightSet], tmp_path: Path) -> None:
    with pytest.raises(InputError, match="a folder; expected a file's name"):
        export(weights["coarse"], tmp_path)


# The coarse stage against torch, whole


@pytest.fixture(scope="module")
def runs(weights: dict[str, WeightSet], inputs: dict[str, Any]) -> dict[str, Kept]:
    """Torch, and ONNX on torch's decisions."""
    arrays = weights["coarse"].arrays
    found = {"torch": Kept(), "onnx": Kept()}
    torch_factory("coarse").run(inputs, arrays, found["torch"])
    pinned = {**inputs, "pinned": found["torch"].decisions}
    factory("coarse").run(pinned, arrays, found["onnx"])
    return found


@pytest.mark.parametrize("row", TAPS["coarse"], ids=lambda row: f"coarse.{row.name}")
def test_coarse_tap(row: TapRow, runs: dict[str, Kept]) -> None:
    close(runs["onnx"].taps[row.name], runs["torch"].taps[row.name])


def test_taps_come_in_order_with_decisions_before_projections(runs: dict[str, Kept]) -> None:
    assert runs["onnx"].order == runs["torch"].order


def test_own_decisions_are_torchs_but_for_ties(runs: dict[str, Kept]) -> None:
    for tap, cells in runs["torch"].decisions.items():
        own = runs["onnx"].decisions[tap]
        assert own.dtype == np.int16
        assert own.shape == cells.shape
        assert (own != cells).mean() < 0.005, tap


def test_pinned_decisions_are_used(
    weights: dict[str, WeightSet], inputs: dict[str, Any], runs: dict[str, Kept]
) -> None:
    tap = "graph_proj_1_layer_0"
    cells = np.full_like(runs["torch"].decisions[tap], 20)
    heard = Kept(lambda name: name == tap)
    arrays = weights["coarse"].arrays
    factory("coarse").run({**inputs, "pinned": {tap: cells}}, arrays, heard)
    greatest = heard.taps[tap][:, 3 : 3 + 64]
    at_cell = runs["onnx"].taps["cnn.conv2d_8"][0, 20, 20]
    close(greatest, np.broadcast_to(at_cell, greatest.shape))
    # What is reported stays the run's own choice.
    np.testing.assert_array_equal(heard.decisions[tap], runs["onnx"].decisions[tap])
    assert set(heard.taps) == {tap}


# The refine stage against torch, on a few vertices


@pytest.fixture(scope="module")
def refined(weights: dict[str, WeightSet], inputs: dict[str, Any]) -> dict[str, Kept]:
    state = to_state_dict("refine", weights["refine"].arrays)
    mesh = np.ascontiguousarray(inputs["mesh"][::12])
    hypotheses = inputs["hypotheses"]
    network = load_network("refine", weights["refine"].arrays)
    expected = Kept()

    class Listen:
        def tap(self, name: str, value: torch.Tensor) -> None:
            expected(name, value.contiguous().numpy())

        def decide(self, name: str, decisions: torch.Tensor) -> None:
            expected.decide(name, decisions.numpy())

    tensors = [
        torch.from_numpy(array)
        for array in (inputs["images"], inputs["cameras"], mesh, hypotheses.offsets)
    ]
    first, second = torch.from_numpy(hypotheses.supports)
    with torch.no_grad():
        network(*tensors, (first, second), Listen())

    names = [row.name for row in TAPS["refine"]]

    def build(graph: GraphWriter) -> list[str]:
        cameras = onnx_projection.camera_frames(graph, "cameras")
        onnx_network.refine(graph, "images", cameras, expected.decisions, len(mesh))
        return names

    feeds = stage_inputs("refine", {**inputs, "mesh": mesh, "pinned": expected.decisions})
    found = Kept()
    for name, value in zip(names, evaluated(build, feeds, state), strict=True):
        found(name, value)
    return {"torch": expected, "onnx": found}


@pytest.mark.parametrize("row", TAPS["refine"], ids=lambda row: f"refine.{row.name}")
def test_refine_tap(row: TapRow, refined: dict[str, Kept]) -> None:
    close(refined["onnx"].taps[row.name], refined["torch"].taps[row.name])


# Projections on hostile coordinates

PIXELS = np.array(
    [0.0, 223.0, 222.9, 221.0, 111.5, 55.75, 4.0, 3.9999998, 8.0, 17.3, np.nan], np.float32
)


def hostile_pixels() -> np.ndarray:
    """(3, N, 2): every pair of ``PIXELS``, in another order for each view."""
    pairs = np.stack(np.meshgrid(PIXELS, PIXELS), axis=2).reshape(-1, 2)
    return np.stack([np.roll(pairs, view, axis=0) for view in range(3)])


def test_nearest_features_on_hostile_pixels() -> None:
    random = np.random.default_rng(0)
    at = hostile_pixels()
    feeds = {"at": at} | {
        f"map_{size}": random.normal(size=(1, size, size, 5)).astype(np.float32)
        for size in (56, 28)
    }

    def build(graph: GraphWriter) -> list[str]:
        cells = onnx_projection.nearest_cells(graph, "at", "decisions/p")
        maps = [onnx_projection.Maps(f"map_{size}", size, 5) for size in (56, 28)]
        return [cells, *onnx_projection.nearest_features(graph, maps, cells)]

    cells, *views = evaluated(build, feeds)
    expected = projection.nearest_cells(torch.from_numpy(at))
    np.testing.assert_array_equal(cells, expected.numpy())
    np.testing.assert_array_equal(cells == projection.OUTSIDE, np.isnan(at))
    tensors = [torch.from_numpy(feeds[f"map_{size}"]) for size in (56, 28)]
    features = projection.nearest_features(tensors, expected)
    np.testing.assert_array_equal(np.stack(views), features.numpy())
    assert (np.stack(views)[np.isnan(at).any(axis=2)] == 0).all()


def test_bilinear_features_on_hostile_pixels() -> None:
    random = np.random.default_rng(0)
    at = hostile_pixels()
    sizes = (224, 112, 56)
    feeds = {"at": at} | {
        f"map_{size}": random.normal(size=(3, size, size, 2)).astype(np.float32) for size in sizes
    }

    def build(graph: GraphWriter) -> list[str]:
        corners = onnx_projection.bilinear_corners(graph, "at", "decisions/p")
        maps = [onnx_projection.Maps(f"map_{size}", size, 2) for size in sizes]
        views = onnx_projection.bilinear_features(graph, maps, "at", corners)
        return [corners, *views, *onnx_projection.view_statistics(graph, views)]

    corners, *found = evaluated(build, feeds)
    expected = projection.bilinear_corners(torch.from_numpy(at))
    np.testing.assert_array_equal(corners, expected.numpy())
    assert (corners[np.isnan(at)] == projection.OUTSIDE).all()
    tensors = [torch.from_numpy(feeds[f"map_{size}"]) for size in sizes]
    bordered = [projection.with_border(each) for each in tensors]
    features = projection.bilinear_features(bordered, torch.from_numpy(at), expected)
    np.testing.assert_allclose(np.stack(found[:3]), features.numpy(), rtol=1e-5, atol=1e-6)
    statistics = projection.view_statistics(features).numpy()
    assert 0 < np.isnan(statistics).mean() < 1
    np.testing.assert_allclose(np.concatenate(found[3:], axis=1), statistics, rtol=1e-5, atol=1e-6)


def test_pixels_and_cameras() -> None:
    cameras = np.array(
        [[20, 25, 0, 1.2, 25], [250, 33, 0, 1.35, 25], [130, 89, 0, 1.1, 25]], np.float32
    )
    points = np.random.default_rng(0).normal([0, 0, -0.8], 0.2, (500, 3)).astype(np.float32)
    # View 0's own place, whose pixel is 0/0.
    points[0] = 0

    def build(graph: GraphWriter) -> list[str]:
        frames = onnx_projection.camera_frames(graph, "cameras")
        return [onnx_projection.pixels(graph, "points", frames)]

    (found,) = evaluated(build, {"cameras": cameras, "points": points})
    expected = projection.pixels(torch.from_numpy(points), torch.from_numpy(cameras)).numpy()
    assert np.isnan(expected[0, 0]).all()
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-3)


def test_sparse_product_adds_in_any_order_and_spreads_no_nan() -> None:
    random = np.random.default_rng(0)
    indices = np.argwhere(random.random((156, 156)) < 0.1)
    random.shuffle(indices)
    values = random.normal(size=len(indices)).astype(np.float32)
    x = random.normal(size=(156, 3)).astype(np.float32)
    x[5] = np.nan

    def build(graph: GraphWriter) -> list[str]:
        rows, columns = graph.split("indices", 1, [1, 1])
        matrix = onnx_network.Sparse(
            rows, graph.squeeze(columns, 1), graph.unsqueeze("values", 1), 156
        )
        return [onnx_network._mix(graph, matrix, "x", 3)]

    (found,) = evaluated(build, {"indices": indices, "values": values, "x": x})
    expected = np.zeros((156, 3))
    np.add.at(expected, indices[:, 0], values[:, None].astype(np.float64) * x[indices[:, 1]])
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)
    assert 0 < np.isnan(found).mean() < 0.5


# The backend's manners


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Sessions in the order in which the backend opens them."""
    sessions = []
    real = onnx_backend._open_session

    def record(model: bytes, arena: bool) -> Any:
        sessions.append(real(model, arena))
        return sessions[-1]

    monkeypatch.setattr(onnx_backend, "_open_session", record)
    return sessions


def test_nobody_listening_computes_the_mesh_alone(
    weights: dict[str, WeightSet],
    inputs: dict[str, Any],
    runs: dict[str, Kept],
    opened: list[Any],
) -> None:
    vertices = OnnxBackend("coarse").run(inputs, weights["coarse"].arrays, None)
    (session,) = opened
    assert [value.name for value in session.get_outputs()] == ["vertices"]
    close(vertices, runs["torch"].taps[TAPS["coarse"][-1].name])


def test_what_nobody_needs_is_left_out(weights: dict[str, WeightSet]) -> None:
    model = build_model("refine", weights["refine"].arrays, values=[])
    names = {tensor.name for tensor in model.graph.initializer}
    assert "cnn.conv2d_8.weight" in names
    # Of the eighteen convolutions the stage reads eight.
    assert not any(f"cnn.conv2d_{number}.bias" in names for number in range(9, 19))
    onnx.checker.check_model(model, full_check=True)


def test_other_weights_make_another_session(
    weights: dict[str, WeightSet], inputs: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    class Stub:
        def get_inputs(self) -> list[Any]:
            return []

        def run_with_ort_values(self, names: list[str], _: Any) -> list[Any]:
            value = onnxruntime.OrtValue.ortvalue_from_numpy(np.zeros((1, 1), np.float32))
            return [value for _ in names]

    made: list[int] = []

    def open_session(model: bytes, arena: bool) -> Stub:  # noqa: ARG001 - the real one's
        made.append(len(model))
        return Stub()

    monkeypatch.setattr(onnx_backend, "_open_session", open_session)
    backend = OnnxBackend("refine")
    arrays = weights["refine"].arrays
    for given in (arrays, arrays, dict(arrays), dict(arrays)):
        backend.run(inputs, given, None)
    assert len(made) == 3
    backend.run(inputs, arrays, Kept(lambda tap: tap == "cnn.conv2d_18"))
    assert len(made) == 4
    assert made[3] > made[2]


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"mesh": np.zeros((155, 3), np.float32)}, r"input mesh: shape \(155, 3\).*156, 3"),
        ({"cameras": np.zeros((3, 5, 1), np.float32)}, r"input cameras: shape \(3, 5, 1\)"),
        (
            {"pinned": {"graph_proj_1_layer_0": np.zeros((3, 4, 2), np.int16)}},
            r"input pinned/graph_proj_1_layer_0: shape \(3, 4, 2\); expected .*156",
        ),
    ],
    ids=["mesh", "cameras", "pinned"],
)
def test_wrong_shapes(
    changed: dict[str, Any],
    message: str,
    weights: dict[str, WeightSet],
    inputs: dict[str, Any],
) -> None:
    with pytest.raises(InputError, match=message):
        factory("coarse").run({**inputs, **changed}, weights["coarse"].arrays, None)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("float64", "cpu"), "--dtype: float64 .*; expected float32: .* no float64 convolution"),
        (("float32", "cuda:0"), "--device: 'cuda:0' .*; expected cpu"),
    ],
    ids=["float64", "gpu"],
)
def test_what_the_backend_cannot_do(options: tuple[str, str], message: str) -> None:
    with pytest.raises(InputError, match=message):
        factory("coarse", *options)


@pytest.mark.parametrize("package", ["onnx", "onnxruntime"])
def test_missing_package_names_the_extra(package: str, monkeypatch: pytest.MonkeyPatch) -> None:
    real = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name == package else real(name)
    )
    expected = rf"{package} is not installed; expected .*pixel2mesh-parity\[onnx\]"
    with pytest.raises(InputError, match=expected):
        factory("coarse")
    with pytest.raises(InputError, match=expected):
        onnx_backend.versions()


def test_export_without_onnx_names_the_extra(
    weights: dict[str, WeightSet], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    with pytest.raises(InputError, match=r"w\.onnx: the package onnx is not.*\[onnx\]"):
        export(weights["coarse"], tmp_path / "w.onnx")
    assert not list(tmp_path.iterdir())


def test_versions() -> None:
    assert onnx_backend.versions() == {
        "onnx": onnx.__version__,
        "onnxruntime": onnxruntime.__version__,
    }
