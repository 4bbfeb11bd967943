"""The adapter for a user's module, and the example of the docs: two mistakes, found and mended."""

import importlib.util
import json
import re
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch

from inputs.demo import demo_item_path
from inputs.ground_truth import load_ground_truth
from inputs.hypotheses import build_hypotheses
from inputs.item import load_item
from inputs.sampling import samples_on, step_draws
from inputs.seeded import seeded_weights
from inputs.template import build_template
from network.taps import TAPS
from parity.traces.module_port import ModulePort
from parity.traces.port_map import PortMap
from parity.traces.record import RunInputs
from parity_tests.commands.cli import p2m
from weight_conversion.errors import InputError

EXAMPLE = Path(__file__).resolve().parents[3] / "docs" / "examples" / "my_port.py"
GRAPH_CONVOLUTIONS = [
    row.name
    for row in TAPS["coarse"]
    if row.name.startswith("graph_conv") and not row.name.endswith(".residual")
]
STRIDED = [f"cnn.conv2d_{number}" for number in (3, 6, 9, 12, 15)]


@pytest.fixture
def example(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    spec = importlib.util.spec_from_file_location("my_port", EXAMPLE)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(__import__("sys").modules, "my_port", module)
    spec.loader.exec_module(module)
    return module


def report(folder: Path, mended: bool) -> tuple[int, dict]:
    """The example as a file of the user's, in the folder that the command is run in."""
    text = EXAMPLE.read_text(encoding="utf-8")
    if mended:
        for switch in ("SAME_PADDING", "GCN_BIAS"):
            assert f"{switch} = False" in text
            text = text.replace(f"{switch} = False", f"{switch} = True")
    (folder / "my_port.py").write_text(text, encoding="utf-8")
    shutil.copy(EXAMPLE.with_suffix(".toml"), folder)
    assert p2m("seed", "coarse", "coarse.npz", cwd=folder).status == 0
    outcome = p2m(
        "run", "coarse", "--candidate", "my_port:factory", "--reference", "torch",
        "--weights", "coarse.npz", "--item", demo_item_path("plane"), "--out", "out", cwd=folder,
    )  # fmt: skip
    return outcome.status, json.loads((folder / "out" / "report.json").read_text())


def differing(found: dict) -> list[str]:
    return [entry["tap"] for entry in found["taps"] if entry["status"] == "differ"]


def test_both_mistakes_are_found_in_one_run(tmp_path: Path) -> None:
    status, found = report(tmp_path, mended=False)
    assert status == 1
    assert found["basis"] == "float64"
    assert found["first_divergence"] == "cnn.conv2d_3"
    assert differing(found) == STRIDED + GRAPH_CONVOLUTIONS
    named = [(each["tap"], each["operand"], each["confirmed"]) for each in found["diagnoses"]]
    assert named == [
        ("cnn.conv2d_3", "padding", True),
        ("graph_conv_blk1_1_layer_1", "bias", True),
    ]
    assert not {e["status"] for e in found["taps"]} - {"agree", "rounding", "inherited", "differ"}


@pytest.mark.slow
def test_mended_it_agrees(tmp_path: Path) -> None:
    status, found = report(tmp_path, mended=True)
    assert status == 0
    assert found["verdict"] == "agree"
    assert found["compared"] == 86
    variables = found["coverage"]["variables"]
    assert len(variables) == 165
    assert all(share > 0 for share in variables.values())
    assert any("views 1 and 2" in finding for finding in found["coverage"]["findings"])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"taps": {"cnn.conv2d_99": "cnn.conv2d_1"}}, "unknown tap 'cnn.conv2d_99'"),
        ({"taps": {"cnn.conv2d_1": "nowhere"}}, "no submodule 'nowhere'"),
        ({"taps": {"residual": None}}, "18 taps neither"),
        ({"variables": {"meshnetmvp2m/cnn/conv2d_1/b:0": "nowhere"}}, "no parameter 'nowhere'"),
        (
            {"variables": {"meshnetmvp2m/cnn/conv2d_1/b:0": "cnn.conv2d_5.bias"}},
            "'cnn.conv2d_5.bias' has shape (32,); expected (16,)",
        ),
        (
            {"variables": {"meshnetmvp2m/cnn/conv2d_1/b:0": "cnn.conv2d_2.bias"}},
            "'cnn.conv2d_2.bias' is meshnetmvp2m/cnn/conv2d_1/b:0 and",
        ),
        ({"variables": {"meshnetmvp2m/cnn": None}}, "36 variables neither"),
        ({"variables": {"nothing": "cnn.conv2d_1.bias"}}, "unknown variable 'nothing'"),
    ],
)
def test_a_wrong_map_is_told(example: ModuleType, change: dict, message: str) -> None:
    port = example.factory("coarse", "float32", "cpu")
    parts = {}
    for section, changed in change.items():
        there = {**getattr(port.map, section), **changed}
        gone = [key for key, name in changed.items() if name is None]
        parts[section] = {k: v for k, v in there.items() if not any(each in k for each in gone)}
    with pytest.raises(InputError, match=re.escape(message)):
        ModulePort("coarse", port.module, port.call, replace(port.map, **parts))


def test_what_is_missing_for_a_reason_is_admitted(example: ModuleType) -> None:
    port = example.factory("coarse", "float32", "cpu")
    taps = {name: module for name, module in port.map.taps.items() if "residual" not in name}
    reasons = {name: "fused" for name in port.map.taps if "residual" in name}
    ModulePort("coarse", port.module, port.call, PortMap(taps, port.map.variables, reasons))


@pytest.fixture(scope="module")
def measured() -> dict[str, Any]:
    """What losses are computed from."""
    item, template = load_item(demo_item_path("plane")), build_template()
    truth = load_ground_truth(demo_item_path("plane") / "model_normal.xyz", item.cameras[0])
    generator = np.random.default_rng(0)
    meshes = [generator.random((int(faces.max()) + 1, 3)) for faces in template.faces]
    return RunInputs(
        "coarse", item, template.coordinates, template, build_hypotheses(), truth,
        samples_on("coarse", template, meshes, step_draws("coarse", 0, 0)),
    ).mapping()  # fmt: skip


@pytest.fixture(scope="module")
def plain(measured: dict[str, Any]) -> tuple[dict[str, float], dict[str, np.ndarray]]:
    """Losses and gradients of the example, in a process where a port has switched them off."""
    spec = importlib.util.spec_from_file_location("plain_example", EXAMPLE)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    port = module.factory("coarse", "float32", "cpu")
    torch.set_grad_enabled(False)
    try:
        found = port.watched_gradients(measured, seeded_weights("coarse"), None)
    finally:
        torch.set_grad_enabled(True)
    assert any(np.abs(gradient).max() > 0 for gradient in found[1].values())
    return found


def change_in_place(port: ModulePort) -> None:
    before = port.call
    port.call = lambda module, inputs: before(module, inputs).mul_(3)


def change_to_compiled(port: ModulePort) -> None:
    torch._dynamo.reset()
    port.module.compile(backend="aot_eager")


@pytest.mark.filterwarnings("ignore:The .grad attribute")  # of TorchDynamo's own
@pytest.mark.parametrize(
    "change", [change_in_place, pytest.param(change_to_compiled, marks=pytest.mark.slow)]
)
def test_losses_and_gradients_are_those_of_what_the_submodules_gave(
    change: Callable[[ModulePort], None],
    example: ModuleType,
    measured: dict[str, Any],
    plain: tuple[dict[str, float], dict[str, np.ndarray]],
) -> None:
    weights = seeded_weights("coarse")
    port = example.factory("coarse", "float32", "cpu")
    change(port)
    losses, gradients = plain
    assert port.losses(measured, weights) == pytest.approx(losses, rel=1e-5)
    for key, gradient in port.watched_gradients(measured, weights, None)[1].items():
        scale = np.abs(gradients[key]).max() + 1e-30
        np.testing.assert_allclose(gradient / scale, gradients[key] / scale, atol=1e-4)


def test_no_gradients_of_a_full_graph(example: ModuleType, measured: dict[str, Any]) -> None:
    port = example.factory("coarse", "float32", "cpu")
    torch._dynamo.reset()
    port.module.compile(backend="aot_eager", fullgraph=True)
    with pytest.raises(InputError, match=r"^--gradients: a module compiled with fullgraph=True"):
        port.watched_gradients(measured, seeded_weights("coarse"), None)
