"""The exported file: whole, with the weights bit for bit, and of use to a stranger."""

from pathlib import Path
from typing import Any

import pytest

from network.taps import TAPS
from network.weights import WEIGHTS
from parity_tests.torch_impl.onnx.heard import STAGES, Kept, close
from torch_impl.onnx_backend import stage_inputs
from torch_impl.onnx_export import export
from weight_conversion.errors import InputError
from weight_conversion.formats import WeightSet, load_weights

onnx = pytest.importorskip("onnx", reason="the extra 'onnx' is not installed")
onnxruntime = pytest.importorskip("onnxruntime", reason="the extra 'onnx' is not installed")


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
