import pytest

from network.weights import WEIGHTS
from weight_conversion.errors import InputError
from weight_conversion.recognise import (
    Naming,
    is_training_state,
    listing,
    mismatch,
    recognise_stage,
)


def names(stage: str, naming: Naming) -> list[str]:
    return [naming.name_of(row) for row in WEIGHTS[stage]]


@pytest.mark.parametrize("naming", Naming, ids=lambda naming: naming.value)
@pytest.mark.parametrize("stage", WEIGHTS)
def test_each_stage_is_recognised(stage: str, naming: Naming) -> None:
    found = recognise_stage(reversed(names(stage, naming)), naming)
    assert (found.stage, found.ignored) == (stage, ())


@pytest.mark.parametrize(
    "name",
    [
        "global_step",
        "global_step:0",
        "beta1_power",
        "training/beta2_power_1:0",
        "meshnet/cnn/conv2d_1/W/Adam",
        "meshnet/cnn/conv2d_1/b/Adam_1:0",
        "meshnet/cnn/conv2d_1/b/ExponentialMovingAverage",
        "_CHECKPOINTABLE_OBJECT_GRAPH",
    ],
)
def test_training_state_is_ignored_in_a_checkpoint_alone(name: str) -> None:
    assert is_training_state(name)
    found = recognise_stage([*names("refine", Naming.CHECKPOINT), name])
    assert found.ignored == (name,)
    with pytest.raises(InputError, match="1 unexpected"):
        recognise_stage([*names("refine", Naming.TORCH), name], Naming.TORCH)


@pytest.mark.parametrize("row", WEIGHTS["coarse"][::40], ids=lambda row: row.key)
def test_a_variable_is_no_training_state(row: object) -> None:
    assert not is_training_state(getattr(row, "key"))  # noqa: B009 - rows are typed as objects


def test_both_sides_are_listed_with_whole_counts() -> None:
    found = names("coarse", Naming.CHECKPOINT)[5:]
    with pytest.raises(InputError) as raised:
        recognise_stage([*found, "stranger"], where="a/path")
    message = str(raised.value)
    assert message.startswith("a/path: 5 missing: meshnetmvp2m/cnn/conv2d_1/W:0, ")
    assert "... (2 more); 1 unexpected: stranger; expected the 165 variables of coarse" in message


def test_one_name_missing_of_the_other_stage() -> None:
    with pytest.raises(InputError, match=r"1 missing: .*; expected the 72 variables of refine"):
        recognise_stage(names("refine", Naming.TORCH)[:-1], Naming.TORCH)


def test_strangers_beside_a_whole_stage() -> None:
    found = [*names("coarse", Naming.TORCH), "constant"]
    assert recognise_stage(found, Naming.TORCH, strangers=True).stage == "coarse"
    with pytest.raises(InputError, match="1 unexpected: constant"):
        recognise_stage(found, Naming.TORCH)
    with pytest.raises(InputError, match=r"1 missing: cnn\.conv2d_1\.weight; expected"):
        recognise_stage(found[1:], Naming.TORCH, strangers=True)


@pytest.mark.parametrize(
    ("found", "message"),
    [
        ([], "no known variables: none at all; expected those of coarse .165. or refine .72."),
        (["a", "b", "c", "d"], r"no known variables: a, b, c, \.\.\. \(1 more\)"),
    ],
)
def test_foreign_names(found: list[str], message: str) -> None:
    with pytest.raises(InputError, match=message):
        recognise_stage(found)


def test_both_stages_at_once() -> None:
    both = names("coarse", Naming.CHECKPOINT) + names("refine", Naming.CHECKPOINT)
    with pytest.raises(
        InputError, match="the variables of coarse and refine; expected those of one"
    ):
        recognise_stage(both)


def test_listing() -> None:
    assert listing(["b", "a"]) == "a, b"
    assert listing("dcbae") == "a, b, c, ... (2 more)"
    assert listing(["n" * 500]) == "n" * 117 + "..."


def test_mismatch() -> None:
    assert mismatch(["b", "a"], ["c"]) == "2 missing: a, b; 1 unexpected: c"
    assert mismatch([], ["c"]) == "1 unexpected: c"
