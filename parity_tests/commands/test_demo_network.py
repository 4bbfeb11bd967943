"""``demo-network``: the command that made the demo's weights, over a step."""

from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from inputs.demo.network import demo_weights
from parity_tests.commands.cli import assert_trouble, p2m


@pytest.mark.slow
def test_one_step_gives_weights_and_meshes(tmp_path: Path) -> None:
    out = tmp_path / "out"
    arguments = ("demo-network", "--out", out, "--steps", 0, 1, 0, "--save-every", 1)
    done = p2m(*arguments)
    assert done.status == 0, done.stderr
    for stage, steps in (("coarse", 1), ("refine", 0)):
        assert demo_weights(stage, out / f"{stage}.safetensors").step == steps
        for item in ("plane", "sofa"):
            assert (out / f"{item}-{stage}.obj").is_file()
    once = load_file(out / "coarse.safetensors")
    assert_trouble(p2m(*arguments), "a training's state")
    done = p2m(*arguments, "--resume")
    assert done.status == 0, done.stderr
    again = load_file(out / "coarse.safetensors")
    assert again.keys() == once.keys()
    assert all(np.array_equal(again[name], once[name]) for name in once)


def test_trouble(tmp_path: Path) -> None:
    assert_trouble(p2m("demo-network", cwd=tmp_path), "--out")
    arguments = ("demo-network", "--out", tmp_path)
    assert_trouble(p2m(*arguments, "--steps", 0, -1, 0), "numbers from 0 up")
    (tmp_path / "coarse-state.npz").write_bytes(b"")
    assert_trouble(p2m(*arguments), "a training's state")
