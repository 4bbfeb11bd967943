"""The backend: its sessions, and what it refuses."""

import importlib.util
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from network.taps import TAPS
from parity_tests.torch_impl.onnx.heard import Kept, close
from torch_impl import onnx_backend
from torch_impl.onnx_backend import OnnxBackend, factory
from torch_impl.onnx_export import build_model, export
from weight_conversion.errors import InputError
from weight_conversion.formats import WeightSet

onnx = pytest.importorskip("onnx", reason="the extra 'onnx' is not installed")
onnxruntime = pytest.importorskip("onnxruntime", reason="the extra 'onnx' is not installed")


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
    ],
    ids=["mesh", "cameras"],
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
