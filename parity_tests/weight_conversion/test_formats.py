import io
import json
import re
import subprocess
import sys
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from network.registry import network_of
from network.weights import WEIGHTS
from weight_conversion.containers import npz
from weight_conversion.errors import InputError
from weight_conversion.formats import (
    CHECKPOINT,
    FORMATS,
    Format,
    WeightSet,
    format_of,
    load_weights,
    save_weights,
    step_kept,
    weights_sha256,
)
from weight_conversion.recognise import Naming

ENDINGS = (".ckpt-7", ".safetensors", ".pt", ".npz", ".h5")


def assert_same(found: WeightSet, expected: WeightSet) -> None:
    assert (found.stage, found.step, found.ignored) == (expected.stage, expected.step, ())
    assert list(found.arrays) == [row.key for row in network_of(expected.stage).variables]
    for key, array in expected.arrays.items():
        assert found.arrays[key].dtype == np.float32
        assert found.arrays[key].shape == array.shape
        assert found.arrays[key].tobytes() == array.tobytes(), key
        assert found.arrays[key].flags.c_contiguous
        assert found.arrays[key].flags.writeable


@pytest.mark.parametrize("destination", ENDINGS)
@pytest.mark.parametrize("source", ENDINGS)
def test_every_pair_of_formats(
    source: str, destination: str, small: WeightSet, tmp_path: Path
) -> None:
    save_weights(tmp_path / f"a{source}", small)
    save_weights(tmp_path / f"b{destination}", load_weights(tmp_path / f"a{source}"))
    assert_same(load_weights(tmp_path / f"b{destination}"), small)


@pytest.mark.parametrize("stage", [stage for stage in WEIGHTS if stage != "small"])
def test_whole_stages_through_all_formats(stage: str, tmp_path: Path) -> None:
    generator = np.random.default_rng(5)
    arrays = {row.key: generator.standard_normal(row.shape, np.float32) for row in WEIGHTS[stage]}
    weights = WeightSet(stage, arrays, 7, "seeded")
    current = weights
    for ending in ENDINGS:
        save_weights(tmp_path / f"w{ending}", current)
        current = load_weights(tmp_path / f"w{ending}")
    assert_same(current, weights)
    assert weights_sha256(current.arrays) == weights_sha256(arrays)


@pytest.mark.parametrize("ending", ENDINGS)
def test_the_same_weights_make_the_same_bytes(
    ending: str, small: WeightSet, tmp_path: Path
) -> None:
    save_weights(tmp_path / "one" / f"w{ending}", small)
    save_weights(tmp_path / "two" / f"w{ending}", small)
    files = sorted(path.name for path in (tmp_path / "one").iterdir())
    assert files == sorted(path.name for path in (tmp_path / "two").iterdir())
    for name in files:
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()


@pytest.mark.parametrize("ending", [".safetensors", ".pt", ".npz", ".h5", ".ckpt"])
def test_without_a_step(ending: str, small: WeightSet, tmp_path: Path) -> None:
    save_weights(tmp_path / f"w{ending}", replace(small, step=None))
    assert load_weights(tmp_path / f"w{ending}").step is None


@pytest.mark.parametrize(
    ("name", "form", "step"),
    [
        ("x.ckpt-50", "TensorFlow 1 checkpoint", 50),
        ("x.ckpt", "TensorFlow 1 checkpoint", None),
        ("step-000100", "TensorFlow 1 checkpoint", 100),
        ("x", "TensorFlow 1 checkpoint", None),
        ("x.safetensors", "safetensors", 7),
        ("x.PT", "PyTorch", 7),
        ("x-50.npz", "NumPy", 7),
        ("x.h5", "HDF5", 7),
        ("x.onnx", "ONNX", 7),
    ],
)
def test_name_means(name: str, form: str, step: int | None) -> None:
    assert format_of(Path("folder.pt") / name).name == form
    assert step_kept(name, 7) == step


def test_npz_holds_the_variables_and_nothing_else(small: WeightSet, small_files: Path) -> None:
    with np.load(small_files / "w.npz") as archive:
        assert sorted(archive) == sorted(small.arrays)
        assert archive["s/cnn/c/W:0"].tobytes() == small.arrays["s/cnn/c/W:0"].tobytes()


def test_h5_is_read_by_checkpoint_key(small: WeightSet, small_files: Path) -> None:
    h5py = pytest.importorskip("h5py")
    with h5py.File(small_files / "w.h5") as file:
        assert file["s/cnn/c/W:0"][()].tobytes() == small.arrays["s/cnn/c/W:0"].tobytes()
        assert (file.attrs["stage"], file.attrs["step"]) == (b"small", 7)


def test_pt_is_a_plain_state_dict(small: WeightSet, small_files: Path) -> None:
    torch = pytest.importorskip("torch")
    state = torch.load(small_files / "w.pt", weights_only=True)
    assert list(state) == ["cnn.c.weight", "cnn.c.bias", "g.weights_0", "g.bias"]
    kernel = small.arrays["s/cnn/c/W:0"]
    assert state["cnn.c.weight"].shape == (5, 4, 3, 2)
    assert state["cnn.c.weight"][4, 3, 2, 1] == kernel[2, 1, 3, 4]
    holder = torch.nn.Module()
    holder.cnn, holder.g = torch.nn.Module(), torch.nn.Module()
    holder.cnn.c = torch.nn.Conv2d(4, 5, (3, 2))
    holder.g.weights_0 = torch.nn.Parameter(torch.zeros(3, 3))
    holder.g.bias = torch.nn.Parameter(torch.zeros(3))
    holder.load_state_dict(state)


def test_safetensors_metadata(small_files: Path) -> None:
    from safetensors import safe_open

    with safe_open(small_files / "w.safetensors", framework="numpy") as file:
        metadata = file.metadata()
        assert (metadata["stage"], metadata["step"]) == ("small", "7")
        assert file.get_slice("cnn.c.weight").get_shape() == [5, 4, 3, 2]
    content = (small_files / "w.safetensors").read_bytes()
    header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
    assert list(header["__metadata__"]) == ["crc32c", "crc32c_manifest", "stage", "step"]


def test_onnx_is_read(small: WeightSet, small_files: Path) -> None:
    onnx = pytest.importorskip("onnx", reason="reading .onnx needs the package onnx")
    torch = pytest.importorskip("torch")
    state = torch.load(small_files / "w.pt", weights_only=True)
    made = {name: value.numpy() for name, value in state.items()}
    made["support"] = np.eye(3, dtype=np.float64)
    graph = onnx.helper.make_graph(
        [], "g", [], [], [onnx.numpy_helper.from_array(value, name) for name, value in made.items()]
    )
    model = onnx.helper.make_model(graph)
    onnx.helper.set_model_props(model, {"step": "7"})
    onnx.save(model, small_files / "w.onnx")
    assert_same(load_weights(small_files / "w.onnx"), small)
    del graph.initializer[1]
    onnx.save(onnx.helper.make_model(graph), small_files / "v.onnx")
    with pytest.raises(InputError, match=r"v\.onnx: 1 missing: cnn\.c\.bias"):
        load_weights(small_files / "v.onnx")


def test_onnx_is_not_written_here(small: WeightSet, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no writer for ONNX here"):
        save_weights(tmp_path / "w.onnx", small)


@pytest.mark.parametrize("part", ["index", "meta", "data-00000-of-00001"])
def test_a_file_of_a_checkpoint_stands_for_it(
    part: str, small: WeightSet, small_files: Path
) -> None:
    found = load_weights(small_files / f"w.ckpt-7.{part}")
    assert_same(found, small)


@pytest.mark.parametrize("part", ["index", "meta", "data-00000-of-00001"])
def test_a_file_of_a_checkpoint_is_not_written_to(
    part: str, small: WeightSet, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match=r"expected the checkpoint's prefix .*/w\.ckpt-7$"):
        save_weights(tmp_path / f"w.ckpt-7.{part}", small)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("ending", ENDINGS)
def test_missing_file(ending: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="expected a"):
        load_weights(tmp_path / f"missing{ending}")


@pytest.mark.parametrize("ending", [".safetensors", ".pt", ".npz", ".h5", ".onnx"])
@pytest.mark.parametrize("content", [b"", b"junk", b"PK\x03\x04" + bytes(60), bytes(5000)])
def test_junk(content: bytes, ending: str, tmp_path: Path) -> None:
    if ending == ".onnx":
        pytest.importorskip("onnx", reason="reading .onnx needs the package onnx")
    path = tmp_path / f"junk{ending}"
    path.write_bytes(content)
    with pytest.raises(InputError, match="^" + str(path)) as raised:
        load_weights(path)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("ending", [".safetensors", ".pt", ".npz", ".h5"])
def test_truncated(ending: str, small_files: Path) -> None:
    path = small_files / f"w{ending}"
    data = path.read_bytes()
    for length in range(0, len(data) - 1, max(1, len(data) // 23)):
        path.write_bytes(data[:length])
        with pytest.raises(InputError, match="^" + str(path)):
            load_weights(path)


@pytest.mark.parametrize("form", [form for form in FORMATS if form.write], ids=lambda f: f.name)
def test_values_that_are_not_finite(form: Format, small: WeightSet, tmp_path: Path) -> None:
    path = tmp_path / f"w{form.suffix}"
    small.arrays["s/g_vars/weights_0:0"][1, 1] = np.nan
    with pytest.raises(InputError, match="has 1 of 9 values that are not finite"):
        save_weights(path, small)
    assert form.write is not None
    arrays = {
        form.naming.name_of(row): row.layout.to_torch(small.arrays[row.key])
        if form.naming is Naming.TORCH
        else small.arrays[row.key]
        for row in network_of("small").variables
    }
    form.write(path, arrays, "small", 7)  # which checks no values
    with pytest.raises(InputError, match=r"first nan at \[1, 1\]; expected numbers"):
        load_weights(path)


@pytest.mark.parametrize("dtype", ["float64", ">f4", ">f2", "int32", "object"])
def test_other_types_in_npz(dtype: str, small: WeightSet, tmp_path: Path) -> None:
    arrays = {key: np.ones_like(array).astype(dtype) for key, array in small.arrays.items()}
    np.savez(tmp_path / "w.npz", **arrays)  # type: ignore[arg-type]
    name = {">f4": "big-endian float32", ">f2": "big-endian float16"}.get(dtype, dtype)
    message = rf"variable s/cnn/c/W:0 of type {name}; expected float32 \(little-endian\)"
    with pytest.raises(InputError, match=message):
        load_weights(tmp_path / "w.npz")


def test_other_type_and_shape_in_torch_files(small_files: Path) -> None:
    torch = pytest.importorskip("torch")
    state = torch.load(small_files / "w.pt", weights_only=True)
    torch.save(state | {"g.bias": torch.zeros(3, dtype=torch.float64)}, small_files / "v.pt")
    with pytest.raises(InputError, match=r"variable g\.bias of type float64"):
        load_weights(small_files / "v.pt")
    torch.save(state | {"g.bias": torch.zeros(3).to_sparse()}, small_files / "v.pt")
    with pytest.raises(InputError, match=r"variable g\.bias of type float32 in no plain tensor"):
        load_weights(small_files / "v.pt")
    torch.save(state | {"cnn.c.weight": torch.zeros(3, 2, 4, 5)}, small_files / "u.pt")
    with pytest.raises(InputError, match="of shape 3x2x4x5; expected 5x4x3x2"):
        load_weights(small_files / "u.pt")


def test_training_checkpoint_of_torch(small: WeightSet, small_files: Path) -> None:
    torch = pytest.importorskip("torch")
    state = torch.load(small_files / "w.pt", weights_only=True)
    parallel = {f"module.{name}": value for name, value in state.items()}
    torch.save(
        {"state_dict": parallel, "optimizer": {"lr": 1e-5}, "epoch": 3}, small_files / "t.pt"
    )
    found = load_weights(small_files / "t.pt")
    assert found.ignored == ("optimizer", "epoch")
    assert_same(replace(found, ignored=(), step=7), small)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ([1, 2], "a list; expected a PyTorch state dict"),
        ({"a": 3}, r"no tensors: a \(int\); expected a PyTorch state dict"),
        ({3: None}, r"no tensors: 3 \(NoneType\); expected"),
        ({}, "no tensors: nothing at all; expected"),
    ],
)
def test_other_things_in_pt(value: object, message: str, tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    torch.save(value, tmp_path / "x.pt")
    with pytest.raises(InputError, match=message):
        load_weights(tmp_path / "x.pt")


class Attack:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return (Path.touch, (Path("attacked"),))  # type: ignore[return-value]


def test_pt_runs_no_code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    torch = pytest.importorskip("torch")
    monkeypatch.chdir(tmp_path)
    torch.save({"a": Attack()}, "x.pt")
    with pytest.raises(InputError, match=r"x\.pt: holds a pickled getattr, and unpickling it"):
        load_weights("x.pt")
    assert not Path("attacked").exists()


def test_compressed_pt_is_refused(small_files: Path) -> None:
    with (
        zipfile.ZipFile(small_files / "w.pt") as source,
        zipfile.ZipFile(small_files / "z.pt", "w", zipfile.ZIP_DEFLATED) as target,
    ):
        for name in source.namelist():
            target.writestr(name, source.read(name))
    with pytest.raises(InputError, match="a compressed member"):
        load_weights(small_files / "z.pt")


def test_a_value_marked_as_a_folder_in_pt_is_refused(small_files: Path) -> None:
    # One flipped bit does it, and torch then gives whatever its memory held.
    content = bytearray((small_files / "w.pt").read_bytes())
    entry = content.rindex(b"PK\x01\x02", 0, content.rindex(b"archive/data/0"))
    content[entry + 38] ^= 0x10
    (small_files / "w.pt").write_bytes(content)
    with pytest.raises(InputError, match="member archive/data/0 marked as a folder"):
        load_weights(small_files / "w.pt")


def test_a_member_of_pt_has_its_checksum(small: WeightSet, small_files: Path) -> None:
    content = (small_files / "w.pt").read_bytes()
    values = small.arrays["s/g_vars/bias:0"].tobytes()
    (small_files / "w.pt").write_bytes(content.replace(values, values[::-1]))
    with pytest.raises(InputError, match="checksum of member archive/data/3 does not match"):
        load_weights(small_files / "w.pt")


@pytest.mark.parametrize("ending", [".safetensors", ".h5"])
def test_values_that_are_not_those_of_their_checksum(
    ending: str, small: WeightSet, small_files: Path
) -> None:
    path = small_files / f"w{ending}"
    values = small.arrays["s/g_vars/bias:0"].tobytes()
    path.write_bytes(path.read_bytes().replace(values, values[::-1]))
    with pytest.raises(InputError, match=r"checksum of variable .*bias.* does not match its data"):
        load_weights(path)


def test_a_checksum_less_in_h5(small_files: Path) -> None:
    h5py = pytest.importorskip("h5py")
    with h5py.File(small_files / "w.h5", "r+") as file:
        del file["s/cnn/c/b:0"].attrs["crc32c"]
    with pytest.raises(InputError, match="no checksum of variable s/cnn/c/b:0; expected an und"):
        load_weights(small_files / "w.h5")


@pytest.mark.parametrize("ending", [".safetensors", ".h5", ".npz"])
def test_a_step_that_is_not_the_written_one(ending: str, small_files: Path) -> None:
    h5py = pytest.importorskip("h5py")
    path = small_files / f"w{ending}"
    if ending == ".h5":
        with h5py.File(path, "r+") as file:
            file.attrs["step"] = 6
    else:
        path.write_bytes(re.sub(rb'("step": ?"?)7', rb"\g<1>6", path.read_bytes()))
    with pytest.raises(InputError, match="the checksum of its names, shapes and"):
        load_weights(path)


@pytest.mark.parametrize("text", ["{", "[]", "{}", '{"g.bias": 3}', '{"g.bias": "xyz"}'])
def test_metadata_that_hold_no_checksums(text: str, tmp_path: Path) -> None:
    from safetensors.numpy import save_file

    metadata = {"crc32c": text, "crc32c_manifest": "00000000"}
    save_file({"g.bias": np.zeros(3, np.float32)}, tmp_path / "w.safetensors", metadata)
    with pytest.raises(InputError, match=r"w\.safetensors: (metadata 'crc32c' and|no checksum of)"):
        load_weights(tmp_path / "w.safetensors")


def test_npz_member_twice(small: WeightSet, tmp_path: Path) -> None:
    save_weights(tmp_path / "w.npz", small)
    with zipfile.ZipFile(tmp_path / "w.npz", "a") as archive:
        data = archive.read("s/g_vars/bias:0.npy")
        with pytest.warns(UserWarning, match="Duplicate name"):
            archive.writestr("s/g_vars/bias:0.npy", data)
    with pytest.raises(InputError, match="variable s/g_vars/bias:0 twice"):
        load_weights(tmp_path / "w.npz")


def test_npz_with_another_member(small: WeightSet, tmp_path: Path) -> None:
    save_weights(tmp_path / "w.npz", small)
    with zipfile.ZipFile(tmp_path / "w.npz", "a") as archive:
        archive.writestr("readme.txt", "text")
    with pytest.raises(InputError, match=r"member readme\.txt; expected arrays"):
        load_weights(tmp_path / "w.npz")


def _member(array: np.ndarray, surplus: bytes = b"") -> bytes:
    stream = io.BytesIO()
    np.lib.format.write_array(stream, array, allow_pickle=True)
    return stream.getvalue() + surplus


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (_member(np.ones(4, "<f4"), b"x"), "variable a of 17 bytes; expected 16 as its header"),
        (_member(np.ones(4, "<f4"))[:-1], "variable a of 15 bytes; expected 16 as its header"),
        (_member(np.array([None])), "variable a of type object; expected numbers"),
        (_member(np.array(["", ""])).replace(b"<U1", b"<U0"), "variable a of type <U0"),
    ],
    ids=["longer", "shorter", "objects", "of no size"],
)
def test_npz_members_that_are_not_what_their_header_says(
    content: bytes, words: str, tmp_path: Path
) -> None:
    with zipfile.ZipFile(tmp_path / "x.npz", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.npy", content)
    with npz.opened(tmp_path / "x.npz") as contents, pytest.raises(InputError, match=words):
        contents.read("a")


def test_npz_in_other_orders(tmp_path: Path) -> None:
    array = np.arange(6, dtype=np.float32).reshape(2, 3)
    given = {"c": array, "f": np.asfortranarray(array), "scalar": np.float32(7), "none": array[:0]}
    np.savez_compressed(tmp_path / "x.npz", **given)
    with npz.opened(tmp_path / "x.npz") as contents:
        for name, expected in given.items():
            assert contents.read(name).shape == np.shape(expected)
            assert contents.read(name).tolist() == np.asarray(expected).tolist()


def test_weights_stay_when_their_file_is_changed_in_place(
    small: WeightSet, small_files: Path
) -> None:
    found = load_weights(small_files / "w.pt")
    with (small_files / "w.pt").open("r+b") as stream:
        stream.write(bytes((small_files / "w.pt").stat().st_size))
    assert weights_sha256(found.arrays) == weights_sha256(small.arrays)


def test_npz_made_by_numpy(small: WeightSet, tmp_path: Path) -> None:
    columns = {key: np.asfortranarray(array) for key, array in small.arrays.items()}
    np.savez_compressed(tmp_path / "w.npz", **columns)  # type: ignore[arg-type]
    assert_same(replace(load_weights(tmp_path / "w.npz"), step=7), small)


def test_h5_with_values_elsewhere(small_files: Path) -> None:
    h5py = pytest.importorskip("h5py")
    with h5py.File(small_files / "v.h5", "w") as file:
        layout = h5py.VirtualLayout((3,), np.float32)
        layout[:] = h5py.VirtualSource(small_files / "w.h5", "s/g_vars/bias:0", (3,))
        file.create_virtual_dataset("s/g_vars/bias:0", layout)
    with pytest.raises(InputError, match="variable s/g_vars/bias:0 kept in another file"):
        load_weights(small_files / "v.h5")
    with h5py.File(small_files / "l.h5", "w") as file:
        file["s"] = h5py.ExternalLink(str(small_files / "w.h5"), "s")
    with pytest.raises(InputError, match="no known variables: none at all"):
        load_weights(small_files / "l.h5")


def test_h5_with_names_that_are_no_text(tmp_path: Path) -> None:
    h5py = pytest.importorskip("h5py")
    with h5py.File(tmp_path / "n.h5", "w", libver="v110") as file:
        file[b"a\xff"], file["b"] = np.ones(3), np.ones(3)
    with pytest.raises(InputError, match=r"variable b'a\\xff'; expected names in UTF-8"):
        load_weights(tmp_path / "n.h5")


@pytest.mark.parametrize("ending", [".npz", ".h5", ".safetensors", ".pt"])
def test_foreign_step_is_no_error(ending: str, small: WeightSet, tmp_path: Path) -> None:
    save_weights(tmp_path / f"w{ending}", replace(small, step=-3))
    assert load_weights(tmp_path / f"w{ending}").step is None


def test_destination_is_a_folder(small: WeightSet, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="a folder; expected a file's name"):
        save_weights(tmp_path, small)


@pytest.mark.parametrize("form", [form for form in FORMATS if form.write], ids=lambda f: f.name)
def test_failed_write_keeps_the_old_file(
    form: object, small: WeightSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / f"w{getattr(form, 'suffix', '')}"
    save_weights(path, small)
    before = {entry.name: entry.read_bytes() for entry in tmp_path.iterdir()}

    def fail(*_: object) -> None:
        raise RuntimeError("no room\nat all")

    if form is CHECKPOINT:
        monkeypatch.setattr("weight_conversion.bundle.encode_entry", fail)
    else:
        monkeypatch.setitem(form.__dict__, "write", fail)
    with pytest.raises(InputError, match=r"writing failed \(no room\); expected room"):
        save_weights(path, small)
    assert {entry.name: entry.read_bytes() for entry in tmp_path.iterdir()} == before


FULL_DISK = """
import resource, signal, sys
import numpy as np
from weight_conversion.errors import InputError
from weight_conversion.formats import WeightSet, save_weights
from network.weights import WEIGHTS
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
arrays = {row.key: np.zeros(row.shape, np.float32) for row in WEIGHTS["refine"]}
weights = WeightSet("refine", arrays, None, "zeros")
resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, resource.RLIM_INFINITY))
for path in sys.argv[1:]:
    try:
        save_weights(path, weights)
    except InputError as error:
        print("refused", error)
    else:
        print("written", path)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="needs POSIX resource limits")
def test_no_room_on_the_disk(small_files: Path) -> None:
    paths = [str(small_files / f"w{ending}") for ending in ENDINGS]
    before = {entry.name: entry.read_bytes() for entry in small_files.iterdir()}
    command = [sys.executable, "-c", FULL_DISK, *paths]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    lines = done.stdout.splitlines()
    refused = [line.partition(": ")[0] for line in lines]
    assert refused == [f"refused {path}" for path in paths], done.stdout + done.stderr
    assert all(line.endswith("expected room to write it") for line in lines)
    assert all("file too large" in line.lower() for line in lines), lines
    assert {entry.name: entry.read_bytes() for entry in small_files.iterdir()} == before


def test_reading_tables_and_checkpoints_needs_no_framework() -> None:
    code = (
        "import sys; import weight_conversion.formats, network.taps, "
        "weight_conversion.bundle, weight_conversion.inspect, weight_conversion.conversion; "
        "print([name for name in ('torch', 'tensorflow', 'onnx') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
