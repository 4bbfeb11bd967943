"""Weights as people have them: wrapped, scoped, averaged, halved, with any ending, of other nets.

A set is taken without a question only where the file holds one, and how it was found is told.
"""

import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from network.registry import network_of
from weight_conversion.bundle import write_bundle
from weight_conversion.conversion import convert
from weight_conversion.errors import InputError
from weight_conversion.formats import Choice, WeightSet, load_weights
from weight_conversion.inspect import inspect_weights
from weight_conversion.weight_set import weights_sha256

torch = pytest.importorskip("torch")
State = dict[str, Any]


@pytest.fixture
def state(small_files: Path) -> State:
    return dict(torch.load(small_files / "w.pt", weights_only=True))


def under(prefix: str, state: State) -> State:
    return {f"{prefix}{name}": value for name, value in state.items()}


def scaled(arrays: dict[str, np.ndarray], name: Callable[[str], str]) -> dict[str, np.ndarray]:
    """Other values under other names."""
    return {name(key): array * np.float32(0.5) for key, array in arrays.items()}


WRAPPINGS: dict[str, tuple[Callable[[State], Any], str]] = {
    "model": (lambda s: {"model": s, "optimizer": {"state": {0: {"step": 1}}}}, "model."),
    "state_dict": (lambda s: {"state_dict": s, "epoch": 3}, "state_dict."),
    "Lightning": (
        lambda s: {
            "epoch": 1,
            "pytorch-lightning_version": "2.4.0",
            "state_dict": under("model.", s),
            "optimizer_states": [{"state": {}}],
            "hyper_parameters": {"lr": 1e-5},
        },
        "state_dict.model.",
    ),
    "DataParallel": (lambda s: under("module.", s), "module."),
    "DataParallel, saved whole": (lambda s: {"net": under("module.", s)}, "net.module."),
    "averaged model": (lambda s: {**under("module.", s), "n_averaged": torch.tensor(3)}, "module."),
}


@pytest.mark.parametrize("wrapping", WRAPPINGS)
def test_wrapped_state_dicts_are_taken_and_told(
    wrapping: str, small: WeightSet, state: State, tmp_path: Path
) -> None:
    wrap, scope = WRAPPINGS[wrapping]
    torch.save(wrap(state), tmp_path / "x.pt")
    found = load_weights(tmp_path / "x.pt")
    assert weights_sha256(found.arrays) == weights_sha256(small.arrays)
    assert found.notes == (f"taken from the scope {scope!r}",)
    inspection = inspect_weights(tmp_path / "x.pt")
    assert (inspection.stage, inspection.problems, inspection.notes) == ("small", (), found.notes)
    assert inspection.weights_sha256 == weights_sha256(small.arrays)


def test_what_stands_beside_is_left_out_by_name(state: State, tmp_path: Path) -> None:
    slots = {"exp_avg": torch.zeros(2)}
    torch.save({"model": state, "optimizer": slots, "epoch": 3, "args": [1]}, tmp_path / "x.pt")
    assert load_weights(tmp_path / "x.pt").ignored == ("optimizer.exp_avg", "epoch", "args")


def test_two_sets_are_never_guessed_between(small: WeightSet, state: State, tmp_path: Path) -> None:
    halves = {name: value / 2 for name, value in state.items()}
    torch.save({"model": state, "model_ema": {"module": halves}}, tmp_path / "x.pt")
    message = (
        r"2 sets of weights: small under 'model\.', small under 'model_ema\.module\.'; "
        "expected one, which `p2m-parity convert` takes with --scope"
    )
    with pytest.raises(InputError, match=message):
        load_weights(tmp_path / "x.pt")
    assert message.partition(":")[0] in inspect_weights(tmp_path / "x.pt").problems[0]
    expected = {"model": small.arrays["s/g_vars/bias:0"], "model_ema.module": None}
    for scope, bias in expected.items():
        for spelling in (scope, f"{scope}."):
            found = load_weights(tmp_path / "x.pt", Choice(spelling))
            wanted = small.arrays["s/g_vars/bias:0"] * np.float32(1 if bias is not None else 0.5)
            assert found.arrays["s/g_vars/bias:0"].tolist() == wanted.tolist()
            assert len([name for name in found.ignored if "bias" in name]) == 2
    with pytest.raises(InputError, match=r"nothing that is a stage's under 'other'; expected one"):
        load_weights(tmp_path / "x.pt", Choice("other"))
    summary = convert(tmp_path / "x.pt", tmp_path / "y.npz", Choice("model"))
    assert summary.weights_sha256 == weights_sha256(small.arrays)
    assert summary.notes[0] == "taken from the scope 'model.'"


@pytest.mark.parametrize("ending", [".pth", ".ckpt", ".bin", ".weights", ".h5", ""])
@pytest.mark.parametrize("written", [".pt", ".safetensors", ".npz", ".h5"])
def test_content_counts_and_not_the_ending(
    written: str, ending: str, small: WeightSet, small_files: Path
) -> None:
    path = small_files / f"renamed{ending}"
    shutil.copy(small_files / f"w{written}", path)
    found = load_weights(path)
    assert (found.step, weights_sha256(found.arrays)) == (7, weights_sha256(small.arrays))


def test_the_older_format_of_torch_under_any_ending(
    small: WeightSet, state: State, tmp_path: Path
) -> None:
    torch.save(state, tmp_path / "x.bin", _use_new_zipfile_serialization=False)
    found = load_weights(tmp_path / "x.bin")
    assert weights_sha256(found.arrays) == weights_sha256(small.arrays)
    assert inspect_weights(tmp_path / "x.bin").checksums == "unverified"


def test_a_file_of_no_known_format(tmp_path: Path) -> None:
    (tmp_path / "x.pth").write_text("words")
    with pytest.raises(InputError, match=r"x\.pth: a file of no known format; expected a weights"):
        load_weights(tmp_path / "x.pth")


@pytest.mark.parametrize("older", [False, True])
def test_a_whole_module_is_refused_in_one_clear_line(older: bool, tmp_path: Path) -> None:
    path = tmp_path / "x.pth"
    torch.save(torch.nn.Linear(2, 2), path, _use_new_zipfile_serialization=not older)
    with pytest.raises(InputError) as raised:
        load_weights(path)
    assert str(raised.value) == (
        f"{path}: holds a pickled torch.nn.modules.linear.Linear, and unpickling it could run any "
        "code; expected tensors alone, as torch.save(model.state_dict(), path) writes them"
    )


def test_a_program_of_torch_is_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "x.pt", "w") as archive:
        for name in ("x/data.pkl", "x/constants.pkl", "x/code/a.py"):
            archive.writestr(name, b"")
    with pytest.raises(InputError, match="a TorchScript archive, which is a program"):
        load_weights(tmp_path / "x.pt")


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
@pytest.mark.parametrize("ending", [".pt", ".safetensors"])
def test_half_precision_is_widened_and_told(
    dtype: str, ending: str, small: WeightSet, state: State, tmp_path: Path
) -> None:
    from safetensors.torch import save_file

    small.arrays["s/cnn/c/b:0"][4] = 1.5  # float16 does not reach the value in its place
    halves = {name: value.to(getattr(torch, dtype)) for name, value in state.items()}
    halves["cnn.c.bias"][4] = 1.5
    path = tmp_path / f"x{ending}"
    torch.save(halves, path) if ending == ".pt" else save_file(halves, path)
    found = load_weights(path)
    note = f"4 variables in {dtype}, widened to the float32 that holds them exactly"
    assert found.notes == (note,)
    for row in network_of("small").variables:
        exact = row.layout.to_checkpoint(halves[row.torch_key].float().numpy())
        assert found.arrays[row.key].dtype == np.float32
        assert found.arrays[row.key].tobytes() == exact.tobytes()
    inspection = inspect_weights(path)
    assert (inspection.problems, inspection.notes) == ((), (note,))
    assert inspection.weights_sha256 == weights_sha256(found.arrays)
    assert {variable.dtype for variable in inspection.variables} == {dtype}


@pytest.mark.parametrize("ending", [".npz", ".h5", ".ckpt"])
def test_float16_by_checkpoint_key(ending: str, small: WeightSet, tmp_path: Path) -> None:
    h5py = pytest.importorskip("h5py")
    small.arrays["s/cnn/c/b:0"][:] = 1.5
    halves = {key: array.astype(np.float16) for key, array in small.arrays.items()}
    if ending == ".npz":
        np.savez(tmp_path / "x.npz", **halves)  # type: ignore[arg-type]
    elif ending == ".ckpt":
        write_bundle(tmp_path / "x.ckpt", halves)
    else:
        with h5py.File(tmp_path / "x.h5", "w") as file:
            for key, array in halves.items():
                file[key] = array
    found = load_weights(tmp_path / f"x{ending}")
    assert found.notes[0].startswith("4 variables in float16, widened")
    for key, array in halves.items():
        assert found.arrays[key].tolist() == array.tolist()


NAMES: dict[str, tuple[Callable[[str], str], tuple[str, ...]]] = {
    "without :0": (lambda key: key.removesuffix(":0"), ()),
    "scoped": (lambda key: f"tower_0/{key}", ("taken from the scope 'tower_0/'",)),
    "scoped, without :0": (
        lambda key: f"a/tower_0/{key.removesuffix(':0')}",
        ("taken from the scope 'a/tower_0/'",),
    ),
    "averages alone": (
        lambda key: f"{key.removesuffix(':0')}/ExponentialMovingAverage",
        ("the variables' moving averages are taken (…/ExponentialMovingAverage)",),
    ),
}


@pytest.mark.parametrize("kind", NAMES)
def test_names_as_tensorflow_saves_them_again(kind: str, small: WeightSet, tmp_path: Path) -> None:
    rename, notes = NAMES[kind]
    arrays = {rename(key): array for key, array in small.arrays.items()}
    write_bundle(tmp_path / "x", arrays | {"global_step": np.array(3)})
    found = load_weights(tmp_path / "x")
    assert weights_sha256(found.arrays) == weights_sha256(small.arrays)
    assert (found.notes, found.ignored) == (notes, ("global_step",))


def test_variables_beside_their_averages_are_a_choice(small: WeightSet, tmp_path: Path) -> None:
    rename, _ = NAMES["averages alone"]
    write_bundle(tmp_path / "x", small.arrays | scaled(small.arrays, rename))
    message = (
        "2 sets of weights: small, small as moving averages; expected one, which "
        "`p2m-parity convert` takes with --ema or --no-ema"
    )
    with pytest.raises(InputError, match=message):
        load_weights(tmp_path / "x")
    plain, averaged = (load_weights(tmp_path / "x", Choice(None, each)) for each in (False, True))
    assert weights_sha256(plain.arrays) == weights_sha256(small.arrays)
    assert weights_sha256(averaged.arrays) == weights_sha256(scaled(small.arrays, str))
    assert plain.ignored == tuple(sorted(rename(key) for key in small.arrays))
    assert averaged.ignored == tuple(sorted(small.arrays))


def test_two_towers_are_a_choice(small: WeightSet, tmp_path: Path) -> None:
    towers = [scaled(small.arrays, lambda key, n=n: f"tower_{n}/{key}") for n in (0, 1)]
    write_bundle(tmp_path / "x", towers[0] | towers[1])
    with pytest.raises(InputError, match=r"small under 'tower_0/', small under 'tower_1/'; .*--sc"):
        load_weights(tmp_path / "x")
    assert load_weights(tmp_path / "x", Choice("tower_1")).notes == (
        "taken from the scope 'tower_1/'",
    )


def test_a_set_that_is_not_whole_is_no_choice(small: WeightSet, tmp_path: Path) -> None:
    rename, _ = NAMES["averages alone"]
    some = scaled(dict(list(small.arrays.items())[:2]), rename)
    write_bundle(tmp_path / "x", small.arrays | some)
    found = load_weights(tmp_path / "x")
    assert (found.notes, found.ignored) == ((), tuple(sorted(some)))
    with pytest.raises(InputError, match=r"2 missing: s/g_vars/bias/ExponentialMovingAverage, "):
        load_weights(tmp_path / "x", Choice(averaged=True))


def test_what_is_strange_within_a_scope_is_refused(small: WeightSet, tmp_path: Path) -> None:
    arrays = {f"tower_0/{key}": array for key, array in small.arrays.items()}
    write_bundle(tmp_path / "x", arrays | {"tower_0/more": np.zeros(1), "other": np.zeros(1)})
    with pytest.raises(InputError, match="1 unexpected: tower_0/more; expected the 4 variables"):
        load_weights(tmp_path / "x")


def test_the_nearest_names_are_told(state: State, tmp_path: Path) -> None:
    state["cnn.c.weights"] = state.pop("cnn.c.weight")
    torch.save(state, tmp_path / "x.pt")
    message = (
        r"1 missing: cnn\.c\.weight; 1 unexpected: cnn\.c\.weights; "
        r"nearest: cnn\.c\.weights for cnn\.c\.weight; expected the 4 variables of small"
    )
    with pytest.raises(InputError, match=message):
        load_weights(tmp_path / "x.pt")
    torch.save({f"{name}x": value for name, value in state.items()}, tmp_path / "y.pt")
    with pytest.raises(InputError, match=r"no known variables: .*; nearest: cnn\.c\.biasx for cnn"):
        load_weights(tmp_path / "y.pt")


@pytest.mark.parametrize(
    "name", ["gcn/Conv2D/W:0", "gcn/Conv2D_17/b", "gcn/graphconvolution_3_vars/weights_0:0"]
)
def test_pixel2mesh_for_a_single_view_is_refused_by_name(name: str, tmp_path: Path) -> None:
    write_bundle(tmp_path / "gcn.ckpt", {name: np.zeros(3, np.float32)})
    message = (
        r"gcn\.ckpt: the variables of Pixel2Mesh for a single view \(gcn/…\); expected those of "
        r"Pixel2Mesh\+\+: coarse \(165\) or refine \(72\)"
    )
    with pytest.raises(InputError, match=message):
        load_weights(tmp_path / "gcn.ckpt")


def newest(folder: Path, text: str) -> Path:
    path = folder / "checkpoint"
    path.write_text(text)
    return path


@pytest.mark.parametrize("given", ["folder", "file"])
@pytest.mark.parametrize("named", ["x.ckpt-50", "/moved/from/x.ckpt-50"])
def test_a_folder_stands_for_the_checkpoint_that_its_file_names(
    given: str, named: str, small: WeightSet, tmp_path: Path
) -> None:
    write_bundle(tmp_path / "x.ckpt-50", small.arrays)
    write_bundle(tmp_path / "x.ckpt-40", scaled(small.arrays, str))
    text = f'model_checkpoint_path: "{named}"\nall_model_checkpoint_paths: "x.ckpt-40"\n'
    state = newest(tmp_path, text)
    found = load_weights(tmp_path if given == "folder" else state)
    assert (found.step, weights_sha256(found.arrays)) == (50, weights_sha256(small.arrays))
    assert found.notes == (f"the checkpoint {tmp_path}/x.ckpt-50, which the file {state} names",)


def test_the_current_folder_has_no_name(
    small: WeightSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match=r"^\.: a folder without a checkpoint; expected a weights"):
        load_weights(".")
    write_bundle(tmp_path / "x.ckpt-50", small.arrays)
    assert load_weights(".").notes == ("the checkpoint x.ckpt-50, the only one in the folder",)


def test_a_folder_with_one_checkpoint(small: WeightSet, tmp_path: Path) -> None:
    write_bundle(tmp_path / "x.ckpt-50", small.arrays)
    found = load_weights(tmp_path)
    assert found.notes == (f"the checkpoint {tmp_path}/x.ckpt-50, the only one in the folder",)
    write_bundle(tmp_path / "x.ckpt-40", small.arrays)
    with pytest.raises(InputError, match=r"2 checkpoints in a folder; expected .*x\.ckpt-40, .*50"):
        load_weights(tmp_path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", r"checkpoint: no model_checkpoint_path in it; expected the name of a checkpoint"),
        ('model_checkpoint_path: "y"', r"checkpoint: it names y, which is not there; expected a"),
    ],
)
def test_a_file_that_names_no_checkpoint(text: str, message: str, tmp_path: Path) -> None:
    newest(tmp_path, text)
    with pytest.raises(InputError, match=message):
        load_weights(tmp_path)


def test_a_folder_without_a_checkpoint(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="a folder without a checkpoint; expected a weights file"):
        load_weights(tmp_path)


def test_a_name_cannot_command_the_terminal(state: State, tmp_path: Path) -> None:
    torch.save(state | {"\x1b[31mred": torch.zeros(1)}, tmp_path / "x.pt")
    with pytest.raises(InputError, match=r"1 unexpected: \\x1b\[31mred"):
        load_weights(tmp_path / "x.pt")
