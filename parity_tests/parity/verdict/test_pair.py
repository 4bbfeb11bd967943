"""``run_pair`` and ``judge_module``: what they refuse; ``docs/api.md`` shows what they do."""

from pathlib import Path
from typing import Any

import pytest

from inputs.demo import demo_item_path
from inputs.seeded import seeded_weights
from parity import judge_module, run_pair
from weight_conversion import InputError, WeightSet, save_weights


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Weights of each stage."""
    folder = tmp_path_factory.mktemp("weights")
    for stage in ("coarse", "refine"):
        save_weights(folder / f"{stage}.npz", WeightSet(stage, seeded_weights(stage), None, "seed"))
    return {stage: folder / f"{stage}.npz" for stage in ("coarse", "refine")}


def broken(stage: str, dtype: str, device: str) -> Any:
    raise ValueError(f"no {stage} in {dtype} on {device}")


def empty(_stage: str, _dtype: str, _device: str) -> Any:
    return object()


@pytest.mark.parametrize(
    ("factory", "found"),
    [
        (
            broken,
            r"broken: its factory failed at \S*test_pair.py:\d+ \(ValueError: no coarse in float32",
        ),
        (empty, r"empty: its factory's object has no run\(\); expected a Backend"),
        ("torch:no_such", r"torch:no_such: cannot be imported"),
    ],
    ids=["raises", "no backend", "no such name"],
)
def test_a_port_that_cannot_be_made_is_named(
    files: dict[str, Path], factory: Any, found: str
) -> None:
    with pytest.raises(InputError, match=found):
        judge_module(factory, files["coarse"], demo_item_path("plane"), taps="cnn.conv2d_1")


def test_the_weights_say_the_stage(files: dict[str, Path]) -> None:
    with pytest.raises(InputError, match="--mesh: not given; expected the coarse mesh"):
        run_pair(files["refine"], demo_item_path("plane"))
