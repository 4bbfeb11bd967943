"""Traces that may not be held against each other, and what is told of those that may."""

from typing import Any

import h5py
import numpy as np
import pytest

from network.weights import WEIGHTS
from parity.verdict.compare import compare
from parity.verdict.result import Verdict
from parity_tests.parity.conftest import Build, item_inputs, seven
from weight_conversion.errors import InputError


def refused(build: Build, **candidate: Any) -> str:
    first, second = build("reference"), build("candidate", **candidate)
    with pytest.raises(InputError) as caught:
        compare(first, second)
    return str(caught.value).replace(str(first), "REFERENCE").replace(str(second), "CANDIDATE")


def test_other_inputs_by_digest_are_refused(build: Build) -> None:
    assert refused(build, attributes={"inputs_sha256": "other"}) == (
        "CANDIDATE: recorded on other inputs than REFERENCE; expected two runs on the same inputs"
    )


@pytest.mark.parametrize("name", ["images", "cameras", "mesh"])
def test_other_inputs_under_the_same_digest_are_refused(build: Build, name: str) -> None:
    changed = item_inputs("coarse")[name]
    changed.flat[-1] += np.float32(1e-6)
    assert refused(build, inputs={name: changed}) == (
        f"CANDIDATE: recorded on other inputs ({name}) than REFERENCE; "
        "expected two runs on the same inputs"
    )


def test_all_other_inputs_are_named(build: Build) -> None:
    changed = {name: value + 1 for name, value in item_inputs("coarse").items()}
    assert "(cameras, images, mesh)" in refused(build, inputs=changed)


@pytest.mark.parametrize("side", ["reference", "candidate"])
def test_input_of_one_side_only_is_refused(build: Build, side: str) -> None:
    given = {side: {"template/unpooling_1": np.zeros((462, 2))}}
    with pytest.raises(InputError, match=r"other inputs \(template/unpooling_1\)"):
        compare(
            build("reference", inputs=given.get("reference")),
            build("candidate", inputs=given.get("candidate")),
        )


@pytest.mark.parametrize("name", ["images", "cameras", "mesh"])
def test_missing_input_is_refused(build: Build, name: str) -> None:
    def edit(file: h5py.File) -> None:
        del file[f"inputs/{name}"]

    for order in (1, -1):
        paths = (build("reference", edit=edit), build("candidate", edit=edit))[::order]
        with pytest.raises(InputError, match=rf"no /inputs/{name}; expected a whole trace"):
            compare(*paths)


@pytest.mark.parametrize(
    ("name", "shape"),
    [("images", (3, 3, 224, 224)), ("cameras", (5, 3)), ("mesh", (157, 3)), ("mesh", (2466, 3))],
    ids=str,
)
def test_input_of_another_shape_is_refused(build: Build, name: str, shape: tuple[int, ...]) -> None:
    message = refused(build, inputs={name: np.zeros(shape, np.float32)})
    assert message.startswith(f"CANDIDATE: /inputs/{name} has shape {shape}; expected (")


def test_nan_in_the_same_inputs_is_the_same(build: Build) -> None:
    mesh = item_inputs("coarse")["mesh"]
    mesh[3] = np.nan
    paths = (build(side, inputs={"mesh": mesh}) for side in ("reference", "candidate"))
    assert compare(*paths).verdict is Verdict.AGREE


def test_other_stage_is_refused(build: Build) -> None:
    assert refused(build, stage="refine") == (
        "CANDIDATE: a trace of the refine stage; expected the coarse stage, as in REFERENCE"
    )


@pytest.mark.parametrize("stage", ["", "Coarse", "x" * 5000])
def test_unknown_stage_is_refused(build: Build, stage: str) -> None:
    message = refused(build, attributes={"stage": stage})
    assert message.startswith("CANDIDATE: stage '")
    assert message.endswith("; expected coarse or refine")
    assert len(message) < 200


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "int32", "", "float"])
def test_unknown_precision_is_refused(build: Build, dtype: str) -> None:
    assert refused(build, attributes={"dtype": dtype}) == (
        f"CANDIDATE: dtype {dtype!r}; expected float32 or float64"
    )


def test_other_weights_are_told_and_no_more(build: Build) -> None:
    comparison = compare(build("reference"), build("candidate", attributes={"weights_sha256": "x"}))
    assert comparison.verdict is Verdict.AGREE
    assert comparison.notes[0] == "the two sides ran on different weights"


def test_which_weights_are_others(build: Build) -> None:
    """The variable and how much of it, also where no tap can show it."""
    weights, bias = WEIGHTS["coarse"][-2], WEIGHTS["coarse"][-1]

    def edit(file: h5py.File) -> None:
        file["weights"][bias.key][1] = 7.0
        file["weights"][weights.key][...] = np.nan

    other = build("candidate", attributes={"weights_sha256": "x"}, edit=edit)
    notes = compare(build("reference"), other).notes
    size = int(np.prod(weights.shape))
    assert notes[0] == (
        f"the two sides ran on different weights: 2 of {len(WEIGHTS['coarse'])} variables "
        f"({bias.key}, 1 of 3 elements; {weights.key}, {size:,} of {size:,} elements)"
    )


def test_two_precisions_are_told(build: Build) -> None:
    wide = {name: value.astype(np.float64) for name, value in seven().items()}
    comparison = compare(
        build("reference"), build("candidate", wide, attributes={"dtype": "float64"})
    )
    assert comparison.verdict is Verdict.AGREE
    assert comparison.notes[0] == "the reference ran in float32, the candidate in float64"


def test_sides_are_told(build: Build) -> None:
    comparison = compare(build("reference"), build("candidate", attributes={"device": "cuda:1"}))
    assert comparison.reference.backend == "reference"
    assert comparison.candidate.device == "cuda:1"
    assert comparison.candidate.path.endswith("candidate.h5")
    assert comparison.basis == "float32"
