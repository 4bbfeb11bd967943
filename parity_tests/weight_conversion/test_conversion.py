import json
from pathlib import Path

import numpy as np
import pytest

from network.weights import WEIGHTS
from weight_conversion.bundle import write_bundle
from weight_conversion.conversion import convert, to_state_dict
from weight_conversion.errors import InputError
from weight_conversion.formats import WeightSet, load_weights, save_weights, weights_sha256

STAGES = [stage for stage in WEIGHTS if stage != "small"]


@pytest.mark.parametrize("stage", STAGES)
def test_a_state_dict_is_the_arrays_in_another_layout(stage: str) -> None:
    generator = np.random.default_rng(2)
    arrays = {row.key: generator.standard_normal(row.shape, np.float32) for row in WEIGHTS[stage]}
    state = to_state_dict(stage, arrays)
    assert list(state) == [row.torch_key for row in WEIGHTS[stage]]
    for row in WEIGHTS[stage]:
        assert state[row.torch_key].shape == row.torch_shape
        assert state[row.torch_key].flags.c_contiguous
        assert not np.shares_memory(state[row.torch_key], arrays[row.key])
        back = row.layout.to_checkpoint(state[row.torch_key])
        np.testing.assert_array_equal(back, arrays[row.key])


def test_kernel_is_transposed_and_a_square_matrix_is_not(small: WeightSet) -> None:
    state = to_state_dict("small", small.arrays)
    kernel, matrix = small.arrays["s/cnn/c/W:0"], small.arrays["s/g_vars/weights_0:0"]
    assert state["cnn.c.weight"][4, 1, 2, 0] == kernel[2, 0, 1, 4]
    np.testing.assert_array_equal(state["g.weights_0"], matrix)


def test_summary(small: WeightSet, small_files: Path) -> None:
    summary = convert(small_files / "w.ckpt-7", str(small_files / "new.npz"))
    assert summary.source == str(small_files / "w.ckpt-7")
    assert summary.destination == str(small_files / "new.npz")
    assert (summary.stage, summary.step, summary.variables, summary.numbers) == ("small", 7, 4, 137)
    assert summary.weights_sha256 == weights_sha256(small.arrays)
    assert (summary.ignored, summary.notes) == ((), ())
    assert json.loads(json.dumps(summary.to_json()))["stage"] == "small"


def test_leftovers_of_training_are_named(small: WeightSet, tmp_path: Path) -> None:
    extra = {f"{key[:-2]}/Adam:0": array for key, array in small.arrays.items()}
    extra["global_step"] = np.array(50)
    write_bundle(tmp_path / "x.ckpt-50", small.arrays | extra)
    summary = convert(tmp_path / "x.ckpt-50", tmp_path / "x.pt")
    assert len(summary.ignored) == 5
    assert summary.notes == (
        "5 left out: global_step, s/cnn/c/W/Adam:0, s/cnn/c/b/Adam:0, ... (2 more)",
    )
    assert load_weights(tmp_path / "x.pt").step == 50


@pytest.mark.parametrize(("name", "step"), [("y.ckpt", None), ("y.ckpt-9", 9)])
def test_a_step_that_the_name_cannot_keep_is_named(
    name: str, step: int | None, small: WeightSet, tmp_path: Path
) -> None:
    save_weights(tmp_path / "x.npz", small)
    summary = convert(tmp_path / "x.npz", tmp_path / name)
    assert summary.step == step
    assert summary.notes == (f"a checkpoint's step is in its name: 7 became {step}",)


@pytest.mark.parametrize("ending", [".ckpt-7", ".safetensors", ".pt", ".npz", ".h5"])
def test_onto_itself(ending: str, small: WeightSet, small_files: Path) -> None:
    convert(small_files / f"w{ending}", small_files / f"w{ending}")
    found = load_weights(small_files / f"w{ending}")
    assert weights_sha256(found.arrays) == weights_sha256(small.arrays)


def test_a_bad_source_leaves_the_destination(small_files: Path) -> None:
    before = (small_files / "w.h5").read_bytes()
    (small_files / "bad.npz").write_bytes(b"PK")
    with pytest.raises(InputError, match=r"bad\.npz: BadZipFile"):
        convert(small_files / "bad.npz", small_files / "w.h5")
    assert (small_files / "w.h5").read_bytes() == before
