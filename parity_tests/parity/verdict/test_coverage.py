"""What a probe can tell: measured by perturbation, kept under its hash, shipped for the demo."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from inputs.demo import DEMO_COVERAGE
from network.registry import network_of
from network.weights import WEIGHTS
from parity.oracle.chunks import Part
from parity.oracle.context import Context
from parity.traces.backends import BackendChoice
from parity.verdict import coverage_cache
from parity.verdict.sensitivity import Sensitivity, sensitivity
from studies.faults.memory import MemoryRun, context_of
from studies.faults.probes import probe

Probed = tuple[Context, dict[str, np.ndarray]]


class Recorded(MemoryRun):
    """A run of a probe, as a trace would have it."""

    def value(self, name: str, part: Part) -> np.ndarray:
        return self.tap(name, part)


FIRST = "meshnetmvp2m/cnn/conv2d_1/W:0"


def probed(stage: str) -> Probed:
    asked = probe("plane", stage)
    taps: dict[str, np.ndarray] = {}
    BackendChoice("torch").make(stage, "float64", "cpu").run(
        asked.inputs, asked.weights.arrays, lambda name, value: taps.update({name: +value})
    )
    return context_of(asked), taps


@pytest.fixture(scope="module")
def coarse() -> Probed:
    return probed("coarse")


@pytest.fixture(scope="module")
def tried(coarse: Probed) -> dict[str, Sensitivity]:
    return {
        context.stage: sensitivity(Recorded(context, "float64", taps=taps), context)
        for context, taps in (coarse, probed("refine"))
    }


@pytest.mark.parametrize("stage", WEIGHTS)
def test_every_variable_is_seen_when_perturbed(stage: str, tried: dict[str, Sensitivity]) -> None:
    assert set(tried[stage].changes) == {row.key for row in WEIGHTS[stage]}
    changes = list(tried[stage].changes.values())
    assert None not in changes
    assert max(changes) < 1e-9


def test_channels_and_views_that_cannot_be_told_apart_are_named(
    tried: dict[str, Sensitivity],
) -> None:
    assert tried["refine"].tried == 2 * 30 - 2 + 9
    assert tried["refine"].unseen == ("the images and cameras of views 1 and 2 swapped",)
    assert set(tried["coarse"].unseen) == {
        "the images of views 1 and 2 swapped",
        "the cameras of views 1 and 2 swapped",
        "the images and cameras of views 1 and 2 swapped",
    }


def test_a_blind_probe_is_known_for_one(coarse: Probed, monkeypatch: pytest.MonkeyPatch) -> None:
    """Black images: no weight of the first layer matters, nor does a channel's order."""
    context, taps = coarse
    images = np.zeros_like(context.inputs["inputs/images"])
    blind = context.with_arrays(images=images)
    first = replace(network_of("coarse"), taps=network_of("coarse").taps[:1])
    monkeypatch.setattr("parity.verdict.sensitivity.network_of", lambda _: first)
    taps = {**taps, "cnn.conv2d_1": np.maximum(context.weights[FIRST.replace("W", "b")], 0)}
    found = sensitivity(Recorded(blind, "float64", taps=taps), blind)
    assert found.changes[FIRST] is None
    assert "the channels in of cnn.conv2d_1 in another order" in found.unseen


def test_the_hash_is_of_inputs_and_weights(coarse: Probed) -> None:
    context, _ = coarse
    key = coverage_cache.key_of(context)
    assert key == coverage_cache.key_of(context.with_weights({}))
    whole = [slice(0, network_of("coarse").starts_with)]
    assert key == coverage_cache.key_of(context, whole)
    assert key != coverage_cache.key_of(context, [slice(0, 10)])
    mesh = context.inputs["inputs/mesh"] + np.float32(1e-3)
    kernel = context.weights[FIRST] + 1
    support = "template/support_2_1"
    for other in (
        context.with_arrays(mesh=mesh),
        context.with_weights({FIRST: kernel}),
        context.with_arrays(cameras=context.cameras[::-1]),
        context.with_arrays(**{support: context.arrays[support] * 2}),
    ):
        assert coverage_cache.key_of(other) != key


def test_what_was_measured_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("P2M_PARITY_CACHE", str(tmp_path))
    measured = dict.fromkeys(coverage_cache.MEASURED, 1)
    assert coverage_cache.load("a" * 64) is None
    path = coverage_cache.store("a" * 64, measured)
    assert path == tmp_path / "coverage" / f"{'a' * 64}.json"
    assert coverage_cache.load("a" * 64) == measured


@pytest.mark.parametrize("text", ["", "{", "[]", '{"variables": 1}'])
def test_a_damaged_file_is_measured_again(
    text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("P2M_PARITY_CACHE", str(tmp_path))
    (tmp_path / "coverage").mkdir()
    (tmp_path / "coverage" / "k.json").write_text(text)
    assert coverage_cache.load("k") is None


def test_a_folder_that_cannot_be_written_costs_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("P2M_PARITY_CACHE", str(tmp_path / "file"))
    assert coverage_cache.store("k", {}) is None


@pytest.mark.parametrize("name", ["plane", "sofa"])
def test_the_demo_items_under_seeded_weights_are_shipped(name: str) -> None:
    key = coverage_cache.key_of(context_of(probe(name, "coarse")))
    assert (DEMO_COVERAGE / f"{key}.json").is_file(), "p2m-parity coverage --store, see its docs"
    assert coverage_cache.load(key) is not None
