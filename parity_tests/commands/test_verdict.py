"""The verdict from the command line: recorded, judged offline, refused where it is broken."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest

from inputs.demo import demo_item_path
from network.taps import TAPS
from parity_tests.commands.cli import assert_trouble, p2m

BLOCK_2 = ("--taps", "graph_conv_blk2_*")
"""The taps that are looked at where one of them was changed."""


@pytest.fixture(scope="module")
def traces(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A trace with a run in float64 and one without, of the same coarse run."""
    folder = tmp_path_factory.mktemp("truth")
    assert p2m("seed", "coarse", "w.safetensors", cwd=folder).status == 0
    for name, options in (("narrow.h5", ("--no-float64",)), ("whole.h5", ())):
        done = p2m(
            "trace", "coarse", "--backend", "torch", "--weights", "w.safetensors",
            "--item", demo_item_path("sofa"), "--out", name, *options, cwd=folder,
        )  # fmt: skip
        assert done.status == 0, done.stderr
    return folder


def changed(traces: Path, folder: Path, change: Callable[[h5py.File], None]) -> Path:
    path = folder / "changed.h5"
    shutil.copy(traces / "whole.h5", path)
    with h5py.File(path, "r+") as file:
        change(file)
    return path


def report(traces: Path, candidate: Path, *options: str) -> tuple[int, dict]:
    done = p2m("compare", traces / "whole.h5", candidate, "--json", *options)
    assert done.status in (0, 1, 2)
    return done.status, json.loads(done.stdout)


def test_recording_in_float64_too_changes_no_bit(traces: Path) -> None:
    with h5py.File(traces / "narrow.h5") as plain, h5py.File(traces / "whole.h5") as full:
        assert set(plain["taps"]) == set(full["taps"])
        for name in plain["taps"]:
            np.testing.assert_array_equal(plain["taps"][name], full["taps"][name], name)


def test_the_trace_holds_what_the_contract_says(traces: Path) -> None:
    with h5py.File(traces / "whole.h5") as file:
        for row in TAPS["coarse"]:
            for group, dtype in (("taps", "f4"), ("float64", "f8")):
                dataset = file[group][row.name]
                assert dataset.shape == row.shape
                assert dataset.dtype == dtype
                assert dataset.fletcher32
        # What can be computed again is not there.
        assert set(file) == {"taps", "float64", "weights", "inputs", "mesh"}


def test_a_trace_agrees_with_itself(traces: Path) -> None:
    status, found = report(traces, traces / "whole.h5")
    assert (status, found["verdict"], found["basis"]) == (0, "agree", "float64")
    assert found["coverage"]["compared"]["taps"] == 86


def test_without_float64_on_one_side_it_rests_on_the_runs_own_precision(traces: Path) -> None:
    status, found = report(traces, traces / "narrow.h5", *BLOCK_2)
    assert (status, found["basis"]) == (0, "float32")
    assert any(note.startswith("judged in float32 alone") for note in found["notes"])


def test_a_tap_in_half_precision_differs_by_precision(traces: Path, tmp_path: Path) -> None:
    tap = "graph_conv_blk2_5_layer_21"

    def narrow(file: h5py.File) -> None:
        values = file["taps"][tap][()]
        file["taps"][tap][...] = values.astype(np.float16).astype(np.float32)

    status, found = report(traces, changed(traces, tmp_path, narrow), *BLOCK_2)
    assert status == 1
    assert found["first_divergence"] == tap
    (entry,) = (each for each in found["taps"] if each["tap"] == tap)
    assert entry["cause"] == "precision"
    assert "float16" in entry["note"]


@pytest.mark.parametrize("factor", [1 + 1e-9, 1.01])
def test_a_float64_element_off_differs_by_function(
    factor: float, traces: Path, tmp_path: Path
) -> None:
    tap = "graph_conv_blk2_5_layer_21"

    def shift(file: h5py.File) -> None:
        values = file["float64"][tap][()]
        values[np.unravel_index(values.argmax(), values.shape)] *= factor
        file["float64"][tap][...] = values

    status, found = report(traces, changed(traces, tmp_path, shift), *BLOCK_2)
    assert (status, found["first_divergence"]) == (1, tap)
    assert found["diagnosis"] is None or not found["diagnosis"]["confirmed"]


@pytest.mark.parametrize("group", ["float64", "taps"])
def test_what_was_not_recorded_makes_the_verdict_invalid(
    group: str, traces: Path, tmp_path: Path
) -> None:
    def drop(file: h5py.File) -> None:
        del file[group]["cnn.conv2d_4"]
        # Off by a rounding, so that only its layer could tell.
        file["taps/cnn.conv2d_5"][0, 0, 0] *= np.float32(1 + 2**-20)

    status, found = report(traces, changed(traces, tmp_path, drop), "--taps", "cnn.conv2d_[1-6]")
    assert (status, found["verdict"]) == (2, "invalid")
    entries = {each["tap"]: each for each in found["taps"]}
    if group == "taps":
        assert entries["cnn.conv2d_4"]["status"] == "missing"
    # The same bits agree; of what reads the tap nobody knows what rounding makes.
    assert f"/{group}/cnn.conv2d_4" in entries["cnn.conv2d_5"]["note"]


def test_weights_that_are_missing_are_told(traces: Path, tmp_path: Path) -> None:
    def drop(file: h5py.File) -> None:
        del file["weights/meshnetmvp2m/cnn/conv2d_1/W:0"]

    broken = changed(traces, tmp_path, drop)
    assert_trouble(
        p2m("compare", broken, traces / "whole.h5"), "conv2d_1/W:0", "(3, 3, 3, 16)", str(broken)
    )
