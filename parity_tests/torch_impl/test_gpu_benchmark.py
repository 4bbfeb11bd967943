"""``benchmarks.gpu`` rehearsed on the CPU to its last line, on the tiny template."""

import json
import re
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from benchmarks import gpu
from benchmarks.gpu_timing import TIMED, floor, timings
from network.registry import network_of
from torch_impl.backend import TorchBackend
from torch_impl.precision import full_precision, tf32_places

WAYS = ["float32", "float32, cuDNN", "TF32", "bfloat16 autocast"]


@pytest.fixture
def tiny_stage(small_inputs: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def stage_inputs(mesh: np.ndarray | None) -> dict[str, Any]:
        if mesh is None:
            return small_inputs["coarse"]
        return {**small_inputs["refine"], "mesh": mesh}

    monkeypatch.setattr(gpu, "stage_inputs", stage_inputs)


@pytest.fixture
def tiny_faces(monkeypatch: pytest.MonkeyPatch) -> None:
    """Samples are checked against the template's numbers of triangles."""
    monkeypatch.setattr("inputs.sampling.FACES", (20, 80, 320))


@pytest.mark.usefixtures("tiny_stage", "tiny_faces")
def test_the_small_form_to_its_last_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    gpu.main(["--device", "cpu", "--quick", "--out", str(tmp_path / "new")])
    found = json.loads((tmp_path / "new" / "gpu.json").read_text())
    assert list(found["stages"]) == ["coarse", "refine"]
    for stage, result in found["stages"].items():
        assert list(result["ways"]) == WAYS
        # On the CPU cuDNN and TF32 change nothing.
        for name in WAYS[:3]:
            way = result["ways"][name]
            assert way["beyond_rounding"] == 0, (stage, name, way["first_beyond"])
            assert 0 < way["greatest_rms"] < 2
        assert result["ways"][WAYS[3]]["first_beyond"] == "cnn.conv2d_1", stage
        assert result["same_bits_twice"]
        assert list(result["seconds"]) == list(TIMED)
        assert all(value > 0 for value in result["seconds"].values())
    page = (tmp_path / "new" / "gpu.md").read_text()
    assert capsys.readouterr().out == page
    last = page.rstrip().splitlines()[-1]
    assert re.fullmatch(r"The forward pass takes \d+\.\d\d times its products\.", last)


@pytest.mark.usefixtures("tiny_stage", "tiny_faces")
def test_what_the_time_does_not_suffice_for_is_named(tmp_path: Path) -> None:
    gpu.main(["--device", "cpu", "--quick", "--minutes", "0", "--out", str(tmp_path)])
    page = (tmp_path / "gpu.md").read_text()
    assert page.count("cannot run: left out, for the time was up") == 2 * len(WAYS)
    assert page.count("| left out |") == 2 * len(TIMED)
    assert "times its products" not in page


def test_a_gpu_is_tried_in_float16_too() -> None:
    assert list(gpu.ways("cuda")) == [*WAYS, "float16 autocast"]


def test_help_says_what_it_takes(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        gpu.main(["--help"])
    said = capsys.readouterr().out
    assert "ends within 8 minutes" in said
    assert "NumPy, SciPy and PyTorch alone" in said


BLOCKED = """
import sys
for name in ("cv2", "h5py", "click", "google_crc32c", "safetensors", "threadpoolctl", "tensorflow",
             "pandas", "matplotlib", "rich", "jinja2", "plotly", "pyvista", "onnx"):
    sys.modules[name] = None  # importing it fails
from benchmarks import gpu
from torch_impl.backend import TorchBackend
from inputs.seeded import seeded_weights
inputs = gpu.stage_inputs(None)
backend = TorchBackend("coarse", "float32", "cpu")
weights = seeded_weights("coarse")
kept = gpu.run(backend, inputs, weights, gpu.full_precision, 4)
context = gpu.context_of("coarse", inputs, weights)
print(len(list(gpu.judged("coarse", context, kept.taps, gpu.Effort(4, 1, 30)))))
"""


def test_numpy_scipy_and_torch_suffice() -> None:
    done = subprocess.run(
        [sys.executable, "-c", BLOCKED], capture_output=True, text=True, check=False
    )
    assert (done.stderr, done.returncode) == ("", 0)
    assert done.stdout == "3\n"


def test_a_layer_whose_errors_are_all_one_rounding_has_that_rms(
    small_inputs: Any, seeded: Any
) -> None:
    """Of one run alone: a second one's roundings would halve the mean of the squares."""
    inputs, weights = small_inputs["coarse"], seeded["coarse"]
    context = gpu.context_of("coarse", inputs, weights)
    row = next(row for row in network_of("coarse").taps if row.layer == "graph_convolution")
    backend = TorchBackend("coarse", "float32", "cpu")
    taps = gpu.run(backend, inputs, weights, full_precision, 4).taps
    parents = {name: taps[name] for name in row.parents}
    alone = gpu.local_error(row, parents, context, taps[row.name], "float32").alone
    taps[row.name] = alone.value + (alone.unit + alone.fixed) * (alone.value != 0)
    _, squares = gpu._part(row, None, context, taps)
    assert squares.root == pytest.approx(1.0, rel=1e-6)


def timed(stage: str, small_inputs: Any, seeded: Any) -> dict[str, float]:
    inputs, weights = small_inputs[stage], seeded[stage]
    backend = TorchBackend(stage, "float32", "cpu")
    kept = gpu.run(backend, inputs, weights, full_precision, 4)
    return timings(backend, inputs, weights, kept.meshes, kept.shapes, 1, lambda: False)


@pytest.mark.usefixtures("tiny_faces")
def test_nothing_is_timed_in_tf32(
    small_inputs: Any, seeded: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []
    real = F.conv2d

    def conv2d(*given: Any, **named: Any) -> torch.Tensor:
        seen.append(tuple(tf32_places()))
        return real(*given, **named)

    monkeypatch.setattr(F, "conv2d", conv2d)
    before = torch.backends.cudnn.allow_tf32
    torch.backends.cudnn.allow_tf32 = True
    try:
        found = timed("coarse", small_inputs, seeded)
    finally:
        torch.backends.cudnn.allow_tf32 = before
    assert list(found) == list(TIMED)
    assert set(seen) == {()}


@pytest.mark.parametrize(
    ("stage", "convolutions", "products"),
    [("coarse", 18, 43), ("refine", 24, 12)],
)
def test_the_floor_has_every_product(
    stage: str, convolutions: int, products: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    counted = {"conv2d": 0, "mm": 0}

    def counting(owner: Any, name: str) -> None:
        real = getattr(owner, name)

        def count(*given: Any, **named: Any) -> Any:
            counted[name] += 1
            return real(*given, **named)

        monkeypatch.setattr(owner, name, count)

    counting(F, "conv2d")
    counting(torch, "mm")
    shapes = {row.name: (2, *row.shape[1:]) for row in network_of(stage).taps}
    floor(TorchBackend(stage, "float32", "cpu"), shapes)()
    assert counted == {"conv2d": convolutions, "mm": products}


def test_images_are_drawn_within_their_range_and_differ_by_view() -> None:
    images = gpu.seeded_images()
    assert images.shape == (3, 224, 224, 3)
    assert images.dtype == np.float32
    assert 0 <= images.min() < images.max() == 1
    assert not np.array_equal(images[0], images[1])
    np.testing.assert_array_equal(images, gpu.seeded_images())


def test_a_deadline_passes() -> None:
    assert not gpu.Effort().over
    assert gpu.Effort(deadline=time.monotonic() - 1).over
