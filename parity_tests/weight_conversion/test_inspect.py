import hashlib
import json
from pathlib import Path

import numpy as np
import pytest

from network.weights import WEIGHTS
from weight_conversion.bundle import data_path, write_bundle
from weight_conversion.errors import InputError
from weight_conversion.formats import WeightSet, weights_sha256
from weight_conversion.inspect import inspect_weights


@pytest.mark.parametrize("ending", [".ckpt-7", ".safetensors", ".pt", ".npz", ".h5"])
def test_a_stage_is_described_alike_in_every_format(
    ending: str, small: WeightSet, small_files: Path
) -> None:
    found = inspect_weights(small_files / f"w{ending}")
    assert (found.stage, found.step, found.data_present) == ("small", 7, True)
    assert (found.extras, found.problems, found.numbers) == ((), (), 137)
    assert found.weights_sha256 == weights_sha256(small.arrays)
    assert [variable.key for variable in found.variables] == list(small.arrays)
    kernel = found.variables[0]
    array = small.arrays[kernel.key]
    assert (kernel.torch_key, kernel.shape, kernel.dtype) == (
        "cnn.c.weight",
        (3, 2, 4, 5),
        "float32",
    )
    assert kernel.stored_shape in ((3, 2, 4, 5), (5, 4, 3, 2))
    assert kernel.sha256 == hashlib.sha256(array.tobytes()).hexdigest()
    assert (kernel.minimum, kernel.maximum) == (array.min(), array.max())
    assert kernel.rms == pytest.approx(np.sqrt((array.astype(float) ** 2).mean()))
    assert kernel.not_finite == 0


@pytest.mark.parametrize(
    ("stage", "name", "step"),
    [
        ("coarse", "coarse_mvp2m/meshnetmvp2m.ckpt-50", 50),
        ("coarse", "coarse_mvp2m/meshnetmvp2m.ckpt-50.index", 50),
        ("refine", "refine_p2mpp/meshnet.ckpt-10", 10),
    ],
)
def test_an_index_without_its_data(stage: str, name: str, step: int, official: Path) -> None:
    found = inspect_weights(official / "checkpoint_graphs" / name)
    assert (found.stage, found.step, found.data_present) == (stage, step, False)
    assert found.weights_sha256 is None
    assert [(v.key, v.shape, v.torch_key) for v in found.variables] == [
        (row.key, row.shape, row.torch_key) for row in WEIGHTS[stage]
    ]
    assert all(variable.sha256 is None for variable in found.variables)
    prefix = Path(name.removesuffix(".index")).name
    assert found.problems == (f"without data, which should be in {prefix}.data-00000-of-00001",)


def test_training_state_is_apart(small: WeightSet, tmp_path: Path) -> None:
    write_bundle(tmp_path / "x", small.arrays | {"global_step": np.array(5)})
    found = inspect_weights(tmp_path / "x")
    assert (found.stage, found.extras, found.problems) == ("small", ("global_step",), ())
    assert found.weights_sha256 == weights_sha256(small.arrays)


def test_foreign_checkpoint(tmp_path: Path) -> None:
    arrays: dict[str, np.ndarray] = {
        "w": np.array([3, 4], np.float32),
        "n": np.array([1, 2, 3]),
        "e": np.zeros((0, 2), np.float32),
    }
    write_bundle(tmp_path / "x", arrays)
    found = inspect_weights(tmp_path / "x")
    assert (found.stage, found.weights_sha256, found.extras) == (None, None, ())
    described = {v.key: (v.shape, v.dtype, v.torch_key, v.rms) for v in found.variables}
    assert described == {
        "w": ((2,), "float32", None, pytest.approx(12.5**0.5)),
        "n": ((3,), "int64", None, pytest.approx((14 / 3) ** 0.5)),
        "e": ((0, 2), "float32", None, None),
    }
    assert found.problems[0].startswith("no known variables: e, n, w; expected those of coarse")


def test_incomplete_stage_says_what_is_missing(small: WeightSet, tmp_path: Path) -> None:
    del small.arrays["s/g_vars/bias:0"]
    write_bundle(tmp_path / "x", small.arrays)
    found = inspect_weights(tmp_path / "x")
    assert found.stage is None
    assert found.problems == ("1 missing: s/g_vars/bias:0; expected the 4 variables of small",)
    assert len(found.variables) == 3


def test_values_types_and_shapes_that_cannot_be_used(small: WeightSet, tmp_path: Path) -> None:
    arrays: dict[str, np.ndarray] = dict(small.arrays)
    arrays["s/cnn/c/b:0"] = np.array([1, np.nan, 3, -np.inf, 5], np.float32)
    arrays["s/g_vars/bias:0"] = np.zeros(3)
    arrays["s/g_vars/weights_0:0"] = np.zeros((3, 4), np.float32)
    write_bundle(tmp_path / "x", arrays)
    found = inspect_weights(tmp_path / "x")
    assert found.problems == (
        "s/cnn/c/b:0 has 2 values that are not finite",
        "s/g_vars/weights_0:0 has shape 3x4, not 3x3",
        "s/g_vars/bias:0 is float64, not float32",
    )
    assert found.weights_sha256 is None
    value = json.loads(json.dumps(found.to_json(), allow_nan=False))
    bias = next(entry for entry in value["variables"] if entry["key"] == "s/cnn/c/b:0")
    assert (bias["minimum"], bias["rms"], bias["not_finite"]) == ("NaN", "NaN", 2)


@pytest.mark.parametrize("ending", [".ckpt-7", ".safetensors", ".pt", ".npz", ".h5"])
def test_what_the_project_writes_is_verified(ending: str, small_files: Path) -> None:
    found = inspect_weights(small_files / f"w{ending}")
    assert (found.checksums, found.to_json()["checksums"]) == ("verified", "verified")


def test_files_of_others_are_unverified(small: WeightSet, tmp_path: Path) -> None:
    h5py, torch = pytest.importorskip("h5py"), pytest.importorskip("torch")
    from safetensors.numpy import save_file

    save_file(small.arrays, tmp_path / "x.safetensors")
    with h5py.File(tmp_path / "x.h5", "w") as file:
        for name, array in small.arrays.items():
            file[name] = array
    tensors = {name: torch.from_numpy(array) for name, array in small.arrays.items()}
    torch.save(tensors, tmp_path / "x.pt", _use_new_zipfile_serialization=False)
    for ending in (".safetensors", ".h5", ".pt"):
        assert inspect_weights(tmp_path / f"x{ending}").checksums == "unverified"
    # These containers have checksums whoever writes them.
    torch.save(tensors, tmp_path / "y.pt")
    np.savez(tmp_path / "y.npz", **small.arrays)  # type: ignore[arg-type]
    for ending in (".pt", ".npz"):
        assert inspect_weights(tmp_path / f"y{ending}").checksums == "verified"


def test_values_that_are_absent_are_unverified(small_files: Path) -> None:
    data_path(small_files / "w.ckpt-7").unlink()
    assert inspect_weights(small_files / "w.ckpt-7").checksums == "unverified"


def test_json(small_files: Path) -> None:
    value = json.loads(json.dumps(inspect_weights(small_files / "w.pt").to_json(), allow_nan=False))
    assert value["stage"] == "small"
    assert value["format"] == "PyTorch"
    assert value["variables"][0]["shape"] == [3, 2, 4, 5]
    assert value["variables"][0]["stored_shape"] == [5, 4, 3, 2]


def test_damaged_values_are_an_error(small_files: Path) -> None:
    path = data_path(small_files / "w.ckpt-7")
    path.write_bytes(path.read_bytes()[:-1] + b"?")
    with pytest.raises(InputError, match="the checksum of variable s/g_vars/weights_0:0"):
        inspect_weights(small_files / "w.ckpt-7")


def test_values_that_are_on_no_disk_are_not_read(tmp_path: Path) -> None:
    h5py = pytest.importorskip("h5py")
    with h5py.File(tmp_path / "x.h5", "w") as file:
        file.create_dataset("w", (1 << 20, 1 << 20), np.float32, chunks=(1024, 1024))
        file["text"] = "words"
        file["none"] = h5py.Empty("f4")
    found = {variable.key: variable for variable in inspect_weights(tmp_path / "x.h5").variables}
    assert found["w"].shape == (1 << 20, 1 << 20)
    assert found["w"].sha256 is None
    assert (found["text"].dtype, found["none"].dtype) == ("object", "empty")


def test_bfloat16_is_listed(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    from safetensors.torch import save_file

    save_file({"w": torch.ones(2, dtype=torch.bfloat16)}, tmp_path / "x.safetensors")
    torch.save({"w": torch.ones(2, dtype=torch.bfloat16)}, tmp_path / "x.pt")
    for name in ("x.safetensors", "x.pt"):
        (variable,) = inspect_weights(tmp_path / name).variables
        assert (variable.key, variable.dtype, variable.rms) == ("w", "bfloat16", 1)


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such file"):
        inspect_weights(tmp_path / "x.npz")
