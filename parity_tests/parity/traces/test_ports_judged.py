"""Two convolutions of the image network, written as people write them, and the verdict on each."""

from pathlib import Path
from typing import Any

import pytest
import torch

from inputs.demo import demo_item_path
from inputs.hypotheses import build_hypotheses
from inputs.item import load_item
from inputs.seeded import seeded_weights
from inputs.template import build_template
from parity.traces.backends import BackendChoice
from parity.traces.record import RunInputs, record
from parity.verdict.compare import compare
from parity_tests.parity.traces.ports import Written, write
from weight_conversion.formats import WeightSet

WEIGHTS = WeightSet("coarse", seeded_weights("coarse"), 0, "seed 0")
TAPS = "cnn.conv2d_[12]"

PORT = """
import torch
from torch import nn
from parity import ModulePort, PortMap
from parity_tests.parity.traces.ports import unmatched
from weight_conversion import to_state_dict

class Conv(nn.Conv2d):
    def __init__(self, channels):
        super().__init__(channels, 16, 3, padding=1)
    def forward(self, x):
        y = self._conv_forward(x, self.weight, self.bias).relu()
        return {returned}

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv2d_1, self.conv2d_2 = {convolutions}
    def forward(self, x):
        {forward}
        return x

def factory(stage, dtype, device):
    module = Net().to(getattr(torch, dtype))
    {prepared}
    names = ["{prefix}conv2d_1{index}", "{prefix}conv2d_2{index}"]
    taps = dict(zip(["cnn.conv2d_1", "cnn.conv2d_2"], names))
    def load(module, weights):
        state = to_state_dict("coarse", weights)
        own = dict(module.named_parameters())
        for number in (1, 2):
            for part in ("weight", "bias"):
                key = f"conv2d_{{number}}.{{part}}"
                (name,) = (each for each in own if each.endswith(key) or each.endswith(
                    f"conv2d_{{number}}.0.{{part}}"))
                own[name].data.copy_(torch.as_tensor(state[f"cnn.{{key}}"]))
    def call(module, inputs):
        some = next(module.parameters())
        x = torch.as_tensor(inputs["images"]).to(some.dtype).permute(0, 3, 1, 2)
        {called}
    return ModulePort(stage, module, call, PortMap(taps, {{}}, unmatched(*taps)), load)
"""
LINES = {
    "returned": "y",
    "convolutions": "Conv(3), Conv(16)",
    "forward": "x = self.conv2d_2(self.conv2d_1(x))",
    "prepared": "pass",
    "prefix": "",
    "index": "",
    "called": "return module(x)",
}
COMPILE = "module = torch.compile(module, backend='aot_eager')"
AGREE = {
    "as it is": {},
    "in place": {"forward": "x = self.conv2d_1(x); y = x.clone(); x.zero_(); x = self.conv2d_2(y)"},
    "in place, by a module": {
        "convolutions": "Conv(3), Conv(16)\n        self.off = nn.Threshold(9e9, 0, inplace=True)",
        "forward": "x = self.conv2d_1(x); y = x.clone(); self.off(x); x = self.conv2d_2(y)",
    },
    "tuple": {
        "returned": "(None, y)", "index": "[1]",
        "forward": "x = self.conv2d_2(self.conv2d_1(x)[1])[1]",
    },
    "dict": {
        "returned": "{'y': y}", "index": "['y']",
        "forward": "x = self.conv2d_2(self.conv2d_1(x)['y'])['y']",
    },
    "a view at a time": {
        "forward": "x = torch.cat([self.conv2d_2(self.conv2d_1(view[None])) for view in x])",
    },
    "DataParallel": {"prepared": "module = nn.DataParallel(module)", "prefix": "module."},
    "compiled": {"prepared": COMPILE, "prefix": "_orig_mod."},
    "compiled, full graph": {
        "prepared": COMPILE.replace(")", ", fullgraph=True)"), "prefix": "_orig_mod.",
    },
    "compiled and called before": {
        "prepared": f"{COMPILE}; module(torch.ones(3, 3, 224, 224, dtype=getattr(torch, dtype)))",
        "prefix": "_orig_mod.",
    },
    "compiled in its parts": {"prepared": "module.conv2d_1.compile(backend='aot_eager')"},
    "scripted inside": {
        "convolutions": "(nn.Sequential(torch.jit.script(Conv(n))) for n in (3, 16))",
    },
    "inference mode": {"called": "with torch.inference_mode(): return module(x)"},
}  # fmt: skip
PRECISION = {
    "half": ({"prepared": "module = module.half()"}, "float16"),
    "bfloat16": ({"prepared": "module = module.bfloat16()"}, "bfloat16"),
    "autocast": (
        {"called": "with torch.autocast('cpu', torch.bfloat16): return module(x)"}, "bfloat16",
    ),
}  # fmt: skip


QUICK = ("in place", "tuple", "compiled and called before", "autocast")
"""The others have their small form in ``test_module_outputs``."""


def cases(table: dict[str, Any]) -> list[Any]:
    marks = {how: () if how in QUICK else pytest.mark.slow for how in table}
    return [pytest.param(how, marks=marks[how], id=how) for how in table]


@pytest.fixture(scope="module")
def inputs() -> RunInputs:
    item, template = load_item(demo_item_path("plane")), build_template()
    return RunInputs("coarse", item, template.coordinates, template, build_hypotheses())


@pytest.fixture(scope="module")
def reference(inputs: RunInputs, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("reference") / "reference.h5"
    record(BackendChoice("torch"), inputs, WEIGHTS, path, taps=TAPS)
    return path


def port(folder: Path, monkeypatch: pytest.MonkeyPatch, lines: dict[str, str]) -> Written:
    monkeypatch.syspath_prepend(folder)
    torch._dynamo.reset()
    return write(folder, "two_convolutions", PORT.format(**{**LINES, **lines}))


@pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning")
@pytest.mark.parametrize("how", cases(AGREE))
def test_it_agrees(
    how: str, inputs: RunInputs, reference: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    candidate = tmp_path / "candidate.h5"
    written = port(tmp_path, monkeypatch, AGREE[how])
    record(written.choice, inputs, WEIGHTS, candidate, taps=TAPS)
    found = compare(reference, candidate).to_json()
    assert (found["verdict"], found["compared"], found["basis"]) == ("agree", 2, "float64")


@pytest.mark.parametrize("how", cases(PRECISION))
def test_less_precision_is_named(
    how: str, inputs: RunInputs, reference: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines, name = PRECISION[how]
    candidate = tmp_path / "candidate.h5"
    written = port(tmp_path, monkeypatch, lines)
    record(written.choice, inputs, WEIGHTS, candidate, taps=TAPS)
    found = compare(reference, candidate).to_json()
    assert (found["verdict"], found["first_divergence"]) == ("differ", "cnn.conv2d_1")
    for entry in found["taps"][:2]:
        assert entry["cause"] == "precision"
        assert name in entry["note"]
    wide = how == "autocast"  # which leaves float64 as it is
    assert (
        any(note.startswith("the candidate has no run in float64") for note in found["notes"])
        != wide
    )
