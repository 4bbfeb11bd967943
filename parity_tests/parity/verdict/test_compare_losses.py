"""Losses through traces: a term vouches for itself alone, never for the meshes that it is of."""

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest

from network.registry import network_of
from parity.traces.backends import BackendChoice
from parity.traces.record import RunInputs, record
from parity.verdict.compare import compare
from parity.verdict.result import Status, Verdict
from studies.faults import graphs
from studies.faults.injection import Mutant, every_layer
from studies.faults.probes import probe
from torch_impl.graph import GraphConvolution
from weight_conversion.errors import InputError

STAGE = "coarse"
MESHES = "graph_*conv_blk?_1[45]_*"
"""The blocks' meshes, and what they are made of."""


def unbiased(stage: str, dtype: str, device: str) -> Mutant:
    """Graph convolutions without their biases: other meshes, whose losses are rightly computed."""
    return Mutant(
        every_layer(graphs.making(graphs.no_bias), GraphConvolution), stage, dtype, device
    )


@pytest.fixture(scope="module")
def traces(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("losses")
    paths = folder / "reference.h5", folder / "candidate.h5"
    choices = BackendChoice("torch"), BackendChoice.of_factory(unbiased)
    for choice, path in zip(choices, paths, strict=True):
        record(choice, plane(), probe("plane", STAGE, "loss").weights, path)
    return paths


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The right one again, of which no more is recorded than a term's own judgement reads."""
    path = tmp_path_factory.mktemp("meshes") / "run.h5"
    weights = probe("plane", STAGE, "loss").weights
    record(BackendChoice("torch"), plane(), weights, path, taps=MESHES)
    return path


def plane() -> RunInputs:
    given = probe("plane", STAGE, "loss").inputs
    return RunInputs(
        STAGE, _Item(given), given["mesh"], given["template"], given["hypotheses"],
        ground_truth=given["ground_truth"], samples=given["samples"],
    )  # fmt: skip


class _Item:
    """The images and cameras of a probe, as an item has them."""

    def __init__(self, given: dict) -> None:
        self.images, self.cameras = given["images"], given["cameras"]


def test_losses_alone_do_not_agree_on_other_meshes(traces: tuple[Path, Path]) -> None:
    found = compare(*traces, taps="losses/*")
    assert found.verdict is Verdict.DIFFER
    chamfer = next(entry for entry in found.losses if entry.tap == "losses/chamfer_1")
    assert chamfer.status is Status.DIFFER


def test_without_float64_losses_alone_are_not_judged(
    traces: tuple[Path, Path], tmp_path: Path
) -> None:
    paths = []
    for path in traces:
        narrow = tmp_path / path.name
        shutil.copyfile(path, narrow)
        with h5py.File(narrow, "r+") as file:
            for group in [name for name in file if name.startswith("float64")]:
                del file[group]
        paths.append(narrow)
    assert compare(*paths, taps="losses/*").verdict is Verdict.INVALID


def test_with_the_taps_they_inherit_and_name_the_layer(traces: tuple[Path, Path]) -> None:
    found = compare(*traces)
    first = found.first_divergence
    assert first is not None and first in network_of(STAGE).rows
    terms = [entry for entry in found.losses if entry.tap != "losses/decay"]
    assert {(entry.status, entry.origin) for entry in terms} == {(Status.INHERITED, first)}


def changed(path: Path, to: Path, edit: Callable[[h5py.File], None]) -> Path:
    shutil.copyfile(path, to)
    with h5py.File(to, "r+") as file:
        edit(file)
    return to


def test_each_side_is_judged_at_its_own_samples(run: Path, tmp_path: Path) -> None:
    """Two runs recorded apart draw points on their own meshes, which are not the same ones."""
    weights = probe("plane", STAGE, "loss").weights
    apart = replace(plane(), samples=None, seed=5)
    record(BackendChoice("torch"), apart, weights, tmp_path / "other.h5", taps=MESHES)
    found = compare(run, tmp_path / "other.h5", taps="*")
    assert found.losses[0].max_abs
    assert {entry.status for entry in found.losses} <= {Status.AGREE, Status.ROUNDING}


def test_a_loss_that_float64_lacks_on_one_side_is_not_judged(run: Path, tmp_path: Path) -> None:
    def edit(file: h5py.File) -> None:
        del file["float64_losses"]["edge_2"]

    other = changed(run, tmp_path / "other.h5", edit)
    found = compare(run, other, taps="*")
    assert found.verdict is Verdict.INVALID
    (wrong,) = (entry for entry in found.losses if entry.status is Status.INVALID)
    assert wrong.tap == "losses/edge_2"
    assert "the candidate has no such loss in float64" in wrong.note


def test_losses_of_a_mesh_that_is_nan_in_float64_are_told(run: Path, tmp_path: Path) -> None:
    output = network_of(STAGE).meshes[1]
    other = changed(
        run, tmp_path / "other.h5",
        lambda file: file[f"float64/{output}"].__setitem__((7, 1), np.nan),
    )  # fmt: skip
    assert compare(run, other).first_divergence == output


@pytest.mark.parametrize("side", [0, 1], ids=["reference", "candidate"])
@pytest.mark.parametrize("value", [-1, 10**6])
def test_samples_of_no_triangle_are_refused(
    run: Path, tmp_path: Path, side: int, value: int
) -> None:
    other = changed(
        run, tmp_path / "other.h5",
        lambda file: file["samples/face_2"].__setitem__(3, value),
    )  # fmt: skip
    pair = (other, run) if side == 0 else (run, other)
    with pytest.raises(InputError, match=r"other\.h5: /samples of block 2 are of no triangle"):
        compare(*pair)


def test_a_wrong_term_of_right_meshes_differs(run: Path, tmp_path: Path) -> None:
    reference, other = run, tmp_path / "other.h5"
    shutil.copyfile(reference, other)
    with h5py.File(other, "r+") as file:
        for group in ("losses", "float64_losses"):
            value = np.asarray(file[group]["edge_2"]) * (1 + 1e-4)
            del file[group]["edge_2"]
            file[group]["edge_2"] = value
    found = compare(reference, other)
    assert found.first_divergence == "losses/edge_2"
    assert {entry.tap for entry in found.losses if entry.status is Status.DIFFER} == {
        "losses/edge_2"
    }
    # No change that people make gives a factor of 1.0001, so none is named.
    assert found.diagnosis is None


@pytest.mark.parametrize("taps", ["*", "losses/edge_2"], ids=["by its term", "as a whole"])
@pytest.mark.parametrize("own", [False, True], ids=["in float64 alone", "in both precisions"])
def test_a_term_that_is_nan_on_both_sides(run: Path, tmp_path: Path, taps: str, own: bool) -> None:
    paths = tmp_path / "reference.h5", tmp_path / "candidate.h5"
    for path in paths:
        shutil.copyfile(run, path)
        with h5py.File(path, "r+") as file:
            for group in ("losses", "float64_losses")[not own :]:
                for name in ("edge_2", "total"):
                    value = np.full_like(file[group][name], np.nan)
                    del file[group][name]
                    file[group][name] = value
    entry = next(e for e in compare(*paths, taps=taps).losses if e.tap == "losses/edge_2")
    assert entry.status is (Status.AGREE if own else Status.INVALID)
    said = "1 elements are NaN on both sides in float64 alone: nothing was compared there"
    assert (said in entry.note) is not own


@pytest.mark.parametrize(
    ("groups", "operand", "words"),
    [
        (("losses", "float64_losses"), "constant", "0.5 times the official value"),
        (("losses",), "precision", "in float64 the term is right"),
    ],
)
def test_what_is_wrong_with_a_term_is_named(
    run: Path, tmp_path: Path, groups: tuple[str, ...], operand: str, words: str
) -> None:
    """Of the terms of a kind the first is explained, as of layers of a kind."""
    reference, other = run, tmp_path / "other.h5"
    shutil.copyfile(reference, other)
    with h5py.File(other, "r+") as file:
        for group in groups:
            for name in ("normal_1", "normal_3"):
                value = np.asarray(file[group][name]) * 0.5
                del file[group][name]
                file[group][name] = value
    found = compare(reference, other)
    assert found.diagnosis is not None
    assert found.diagnosis.tap == found.first_divergence == "losses/normal_1"
    assert (found.diagnosis.operand, found.diagnosis.confirmed) == (operand, True)
    assert words in found.diagnosis.explanation
    assert [each.tap for each in found.diagnoses] == ["losses/normal_1"]
