"""Ports that cannot run in float64: judged in their own precision, the reason and its line said.

Each port is the example of the docs, mended, with one thing in it that people write.
"""

import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from inputs.demo import demo_item_path
from inputs.seeded import seeded_weights
from parity import Comparison, run_pair
from parity.verdict.result import Status, Verdict
from weight_conversion import WeightSet, save_weights

EXAMPLE = Path(__file__).resolve().parents[3] / "docs" / "examples" / "my_port.py"
BLOCK = "graph_conv_blk1_*"
LAYER = "graph_conv_blk1_5_layer_5"
Edits = tuple[tuple[str, str], ...]

MENDED: Edits = (
    ("SAME_PADDING = False", "SAME_PADDING = True"),
    ("GCN_BIAS = False", "GCN_BIAS = True"),
)
SUM = "out = x @ self.weights_0 + laplacian @ (x @ self.weights_1)"
CAST: Edits = ((SUM, f"x = x.float()\n        {SUM}"),)
BUFFER: Edits = (
    ("self.bias = nn", "self.turn = torch.eye(channels_in)\n        self.bias = nn"),
    (SUM, f"x = x @ self.turn\n        {SUM}"),
)
OPERATION: Edits = (
    (
        "class GraphConv(nn.Module):",
        "class Relu32(torch.autograd.Function):\n"
        "    @staticmethod\n"
        "    def forward(ctx, x):\n"
        "        if x.dtype != torch.float32:\n"
        "            raise TypeError('relu32 takes float32 alone')\n"
        "        return x.clamp(min=0)\n\n\n"
        "class GraphConv(nn.Module):",
    ),
    ("return out if out.shape[1] == 3 else out.relu()",
     "return out if out.shape[1] == 3 else Relu32.apply(out)"),
)  # fmt: skip
NARROW: Edits = (("getattr(torch, dtype)", "torch.float32"),)

PORTS = {
    "a cast": (CAST, "have the same dtype", SUM),
    "a buffer": (BUFFER, "have the same dtype", "x = x @ self.turn"),
    "an operation": (
        OPERATION,
        "TypeError: relu32 takes float32 alone",
        "raise TypeError",
    ),
}
"""What is in the port, what is said of it, and the line that is to be named."""

FAULTS: dict[str, tuple[Edits, str, str]] = {
    "a bias left out": (
        (("if GCN_BIAS:", "if GCN_BIAS and not hasattr(self, 'faulty'):"),), LAYER, "bias",
    ),
    "a ReLU left out": (
        (("return out if out.shape[1] == 3 ",
          "return out if out.shape[1] == 3 or hasattr(self, 'faulty') "),),
        LAYER, "activation",
    ),
    "a matrix transposed": (
        ((SUM, "second = self.weights_1.T if hasattr(self, 'faulty') else self.weights_1\n"
          "        out = x @ self.weights_0 + laplacian @ (x @ second)"),),
        LAYER, "weights transposed",
    ),
    "padding on the other side": (
        (("SAME_PADDING = True", "SAME_PADDING = False"),), "cnn.conv2d_3", "padding",
    ),
}  # fmt: skip
"""Edits, the tap that differs first, and the operand."""
FAULTY: Edits = (
    ("module = MyMVP2M().to(device, getattr(torch, dtype))",
     "module = MyMVP2M().to(device, getattr(torch, dtype))\n"
     f"    module.graph['{LAYER}'].faulty = True"),
)  # fmt: skip


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("weights") / "coarse.npz"
    save_weights(path, WeightSet("coarse", seeded_weights("coarse"), None, "seed 0"))
    return path


@pytest.fixture
def port(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Where the port's file is to be, so that it is found as ``no_float64_port``."""
    monkeypatch.syspath_prepend(tmp_path)
    yield tmp_path / "no_float64_port.py"
    sys.modules.pop("no_float64_port", None)


def write(path: Path, *edits: Edits) -> None:
    text = EXAMPLE.read_text("utf-8")
    for old, new in (edit for some in edits for edit in some):
        assert old in text, old
        text = text.replace(old, new)
    path.write_text(text, "utf-8")
    shutil.copy(EXAMPLE.with_suffix(".toml"), path.with_suffix(".toml"))


def judged(weights: Path, taps: str) -> Comparison:
    return run_pair(
        weights, demo_item_path("plane"), reference="torch", candidate="no_float64_port:factory",
        taps=taps,
    )  # fmt: skip


@pytest.mark.parametrize(("edits", "reason", "line"), PORTS.values(), ids=PORTS)
def test_it_is_judged_and_the_line_is_named(
    port: Path, weights: Path, edits: Edits, reason: str, line: str
) -> None:
    write(port, MENDED, edits)
    found = judged(weights, BLOCK)
    assert (found.verdict, found.basis) == (Verdict.AGREE, "float32")
    assert {each.status for each in found.taps} <= {Status.AGREE, Status.ROUNDING}
    assert all(each.float64_roundings is None for each in found.taps)
    (note,) = [note for note in found.notes if note.startswith("the candidate has no run in")]
    assert reason in note
    lines = port.read_text("utf-8").splitlines()
    number = 1 + next(index for index, text in enumerate(lines) if line in text)
    assert f"its run() failed at {port}:{number} after tap " in note
    assert any(note.startswith("judged in float32 alone") for note in found.notes)


@pytest.mark.parametrize(("edits", "tap", "operand"), FAULTS.values(), ids=FAULTS)
def test_a_fault_in_it_is_named_at_its_layer(
    port: Path, weights: Path, edits: Edits, tap: str, operand: str
) -> None:
    write(port, MENDED, CAST, edits, FAULTY)
    found = judged(weights, "cnn.conv2d_[1-4]" if tap.startswith("cnn") else BLOCK)
    assert (found.verdict, found.basis, found.first_divergence) == (Verdict.DIFFER, "float32", tap)
    differing = [each for each in found.taps if each.status is Status.DIFFER]
    assert [each.tap for each in differing] == [tap]
    assert differing[0].cause == "function or precision"
    after = [each for each in found.taps if each.order > differing[0].order]
    assert {each.status for each in after} == {Status.INHERITED}
    assert {each.origin for each in after} == {tap}
    assert found.diagnosis is not None
    assert (found.diagnosis.tap, found.diagnosis.operand) == (tap, operand)
    assert found.diagnosis.confirmed


def test_a_port_that_stays_in_float32_is_told_from_one_that_fails(
    port: Path, weights: Path
) -> None:
    """It runs, and gives float32 where float64 was asked for."""
    write(port, MENDED, NARROW)
    found = judged(weights, BLOCK)
    assert (found.verdict, found.basis) == (Verdict.AGREE, "float32")
    (note,) = [note for note in found.notes if note.startswith("the candidate has no run in")]
    assert "float32" in note
    assert "Error" not in note


def test_a_layer_that_computes_in_float32_amid_float64_is_another_function(
    port: Path, weights: Path
) -> None:
    """A cast there and back runs in float64, and its layer alone is not the official one there."""
    there_and_back = (
        (SUM, "kind = x.dtype\n"
         "        if hasattr(self, 'faulty'):\n"
         "            x = x.float().to(kind)\n"
         f"        {SUM}"),
    )  # fmt: skip
    write(port, MENDED, there_and_back, FAULTY)
    found = judged(weights, BLOCK)
    assert (found.verdict, found.basis, found.first_divergence) == (
        Verdict.DIFFER,
        "float64",
        LAYER,
    )
    entry = next(each for each in found.taps if each.tap == LAYER)
    assert entry.cause == "function"
    assert entry.local_roundings is not None and entry.roundings_limit is not None
    assert entry.local_roundings <= entry.roundings_limit
