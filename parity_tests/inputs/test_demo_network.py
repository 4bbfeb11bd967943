"""The demo's network: small, the official network, and read back as what was kept."""

from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from inputs.demo.network import (
    ENCODER_SEED,
    demo_network_path,
    demo_weights,
    rounded_to_half,
    save_graph_weights,
    start_weights,
)
from inputs.seeded import seeded_weights
from network.weights import STAGES, WEIGHTS
from weight_conversion.errors import InputError
from weight_conversion.weight_set import check_arrays, weights_sha256


@pytest.mark.parametrize("stage", STAGES)
def test_is_a_set_of_the_official_variables(stage: str) -> None:
    weights = demo_weights(stage)
    assert weights.stage == stage
    check_arrays("demo", stage, weights.arrays)
    for row in WEIGHTS[stage]:
        if not row.torch_key.startswith("cnn."):
            array = weights.arrays[row.key]
            np.testing.assert_array_equal(array, rounded_to_half(array))


@pytest.mark.parametrize("stage", STAGES)
def test_is_the_network_that_was_trained(stage: str) -> None:
    assert weights_sha256(demo_weights(stage).arrays) == DIGESTS[stage]


DIGESTS = {
    "coarse": "1169c7ed76a1c70f7a22547c20bda96ccbccf529f2f5c372c1e60ac2e2927c12",
    "refine": "f7f542b2522c941ee590fc0307151bb8ddc7d8f6726356fef5a9ae3fa48695a0",
}


def test_both_files_together_are_small() -> None:
    assert sum(demo_network_path(stage).stat().st_size for stage in STAGES) < 15_000_000


def test_both_stages_have_the_same_encoder_out_of_the_seed() -> None:
    seeded = seeded_weights("coarse", ENCODER_SEED)
    by_torch_key = {row.torch_key: seeded[row.key] for row in WEIGHTS["coarse"]}
    for stage in STAGES:
        arrays = demo_weights(stage).arrays
        for row in WEIGHTS[stage]:
            if row.torch_key.startswith("cnn."):
                np.testing.assert_array_equal(arrays[row.key], by_torch_key[row.torch_key])


def _kept(path: Path, stage: str = "refine") -> None:
    save_graph_weights(path, stage, start_weights(stage), 3, {"steps": 3})


def test_what_is_kept_is_read_back(tmp_path: Path) -> None:
    _kept(tmp_path / "w.safetensors")
    start = start_weights("refine")
    found = demo_weights("refine", tmp_path / "w.safetensors")
    assert found.step == 3
    for row in WEIGHTS["refine"]:
        encoder = row.torch_key.startswith("cnn.")
        expected = start[row.key] if encoder else rounded_to_half(start[row.key])
        np.testing.assert_array_equal(found.arrays[row.key], expected)


def _rewrite(path: Path, change: str) -> None:
    from safetensors import safe_open

    with safe_open(path, framework="np") as file:
        metadata = dict(file.metadata())
    arrays = load_file(path)
    name = "graph_drb_blk1_layer_2.localgconv_1.bias"
    if change == "value":
        arrays[name] = arrays[name] + np.float16(1)
    elif change == "type":
        arrays[name] = arrays[name].astype(np.float32)
    elif change == "lacking":
        del arrays[name]
    else:
        metadata["schema"] = "other"
    save_file(arrays, path, metadata)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ("value", "weights with the digest"),
        ("type", "no float16 graph_drb_blk1_layer_2.localgconv_1.bias"),
        ("lacking", "no float16 graph_drb_blk1_layer_2.localgconv_1.bias"),
        ("schema", "graph weights of the refine stage"),
    ],
)
def test_damage_is_refused(change: str, words: str, tmp_path: Path) -> None:
    path = tmp_path / "w.safetensors"
    _kept(path)
    _rewrite(path, change)
    with pytest.raises(InputError, match=words):
        demo_weights("refine", path)


def test_another_stage_or_no_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "w.safetensors"
    with pytest.raises(InputError, match="missing or damaged"):
        demo_weights("refine", path)
    path.write_bytes(b"no weights")
    with pytest.raises(InputError, match="missing or damaged"):
        demo_weights("refine", path)
    _kept(path)
    with pytest.raises(InputError, match="graph weights of the coarse stage"):
        demo_weights("coarse", path)


def test_only_the_seeds_encoder_and_float16s_numbers_are_kept(tmp_path: Path) -> None:
    path = tmp_path / "w.safetensors"
    weights = start_weights("refine")
    encoder = next(row.key for row in WEIGHTS["refine"] if row.torch_key.startswith("cnn."))
    with pytest.raises(InputError, match="another image encoder"):
        save_graph_weights(path, "refine", weights | {encoder: weights[encoder] + 1}, 0, {})
    graph = WEIGHTS["refine"][-1].key
    with pytest.raises(InputError, match="beyond float16"):
        save_graph_weights(
            path, "refine", weights | {graph: np.full_like(weights[graph], 1e6)}, 0, {}
        )
    assert not path.exists()
