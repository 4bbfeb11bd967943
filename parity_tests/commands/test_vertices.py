"""``--vertices``: the refine stage judged at some of its vertices, the rest of its mesh drawn."""

import json
from pathlib import Path

import h5py
import numpy as np
import pytest

from inputs.demo import demo_item_path
from inputs.meshes import save_obj
from inputs.template import build_template
from network.registry import network_of
from parity_tests.commands.cli import assert_trouble, p2m

STAGE = network_of("refine")
WINDOW = 138
"""Vertices that are run together, and the least that are judged."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Weights, a mesh, and a run of both backends on it, judged at one window."""
    place = tmp_path_factory.mktemp("vertices")
    assert p2m("seed", "refine", "w.npz", cwd=place).status == 0
    template = build_template()
    sphere = np.random.default_rng(3).normal(size=(STAGE.starts_with, 3))
    sphere *= 0.15 / np.linalg.norm(sphere, axis=1, keepdims=True)
    sphere[:, 2] -= 0.8
    save_obj(place / "mesh.obj", sphere, template.faces[-1])
    done = p2m(
        "run", "refine", "--reference", "torch", "--weights", "w.npz", "--mesh", "mesh.obj",
        "--item", demo_item_path("plane"), "--vertices", "1", "--keep-traces", "--no-float64",
        "--out", "out", cwd=place,
    )  # fmt: skip
    assert done.status == 0, done.stderr
    (place / "stdout.txt").write_text(done.stdout, encoding="utf-8")
    return place


def test_every_tap_is_judged_and_the_number_of_vertices_told(folder: Path) -> None:
    found = json.loads((folder / "out" / "report.json").read_text())
    assert (found["verdict"], found["basis"]) == ("agree", "float32")
    assert found["vertices"] == [WINDOW, 2466]
    assert found["compared"] == len(STAGE.taps)
    said = "layers were judged at 138 of 2,466 vertices"
    assert said in " ".join((folder / "stdout.txt").read_text().split())
    for name in ("report.md", "report.html"):
        assert said in (folder / "out" / name).read_text(encoding="utf-8")


def test_its_traces_are_small_and_hold_the_whole_output(folder: Path) -> None:
    for side in ("reference", "candidate"):
        path = folder / "out" / f"{side}.h5"
        # Images' activations are whole.
        assert path.stat().st_size < 2.5e8
        with h5py.File(path) as trace:
            assert np.all(np.abs(trace["taps"][STAGE.output]).sum(axis=1) > 0)
            score = trace["taps"][STAGE.of_layer("softmax")[0].name]
            assert score[:WINDOW].all() and not score[WINDOW:].any()


def test_comparing_them_again_says_the_same(folder: Path) -> None:
    out = folder / "out"
    done = p2m("compare", out / "reference.h5", out / "candidate.h5", "--json")
    first, again = json.loads((out / "report.json").read_text()), json.loads(done.stdout)
    assert (done.status, again["vertices"]) == (0, [WINDOW, 2466])
    for one, other in zip(first["taps"], again["taps"], strict=True):
        assert one == other


def test_spikes_are_not_diagnosed_from_them(folder: Path) -> None:
    done = p2m(
        "spikes", "diagnose", "--trace", "out/candidate.h5", "--weights", "w.npz",
        "--item", demo_item_path("plane"), "--mesh", "mesh.obj",
        "--out", "diagnosis", cwd=folder,
    )  # fmt: skip
    assert_trouble(done, "candidate.h5", "recorded at some vertices alone", "of all of them")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("run", "coarse", "--vertices", "5"), ("--vertices", "the coarse stage alone")),
        (("run", "refine", "--vertices", "5", "--gradients"), ("--vertices", "--gradients")),
        (("run", "both", "--vertices", "5", "--gradients"), ("--vertices", "--gradients")),
        (("run", "refine", "--vertices", "0"), ("--vertices", "x>=1")),
    ],
)
def test_trouble(arguments: tuple[str, ...], words: tuple[str, ...], folder: Path) -> None:
    weights = ["--weights", "w.npz"]
    if arguments[1] != "refine":
        assert p2m("seed", "coarse", "c.npz", cwd=folder).status == 0
        weights = ["--weights", "c.npz"] + (weights if arguments[1] == "both" else [])
    done = p2m(
        *arguments, *weights, "--item", demo_item_path("plane"), "--out", "new", cwd=folder
    )  # fmt: skip
    assert_trouble(done, *words)
    assert not (folder / "new").exists()
