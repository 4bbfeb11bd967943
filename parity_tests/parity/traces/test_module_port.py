"""The adapter for a user's module, and the example of the docs: two mistakes, found and mended."""

import importlib.util
import json
from pathlib import Path
from types import ModuleType

import pytest

from inputs.demo import demo_item_path
from network.taps import TAPS
from parity.traces.module_port import ModulePort
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
        (lambda taps: {**taps, "cnn.conv2d_99": "cnn.conv2d_1"}, "unknown tap 'cnn.conv2d_99'"),
        (lambda taps: {**taps, "cnn.conv2d_1": "nowhere"}, "no submodule 'nowhere'"),
        (lambda taps: {k: v for k, v in taps.items() if "residual" not in k}, "18 taps neither"),
    ],
)
def test_a_wrong_map_is_told(example: ModuleType, change: object, message: str) -> None:
    port = example.factory("coarse", "float32", "cpu")
    with pytest.raises(InputError, match=message.replace("(", r"\(")):
        ModulePort("coarse", port.module, change(port.taps), port.call, port.load)  # type: ignore[operator]


def test_what_is_missing_for_a_reason_is_admitted(example: ModuleType) -> None:
    port = example.factory("coarse", "float32", "cpu")
    taps = {name: module for name, module in port.taps.items() if "residual" not in name}
    reasons = {name: "fused" for name in port.taps if "residual" in name}
    ModulePort("coarse", port.module, taps, port.call, port.load, reasons)
