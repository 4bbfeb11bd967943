from collections.abc import Callable
from dataclasses import replace

import pytest

from parity.traces import networks
from parity.verdict.result import Comparison, Status, Verdict
from reports.text.message import find, message, sentence

Planted = Callable[[str], Comparison]


def test_first_divergence_in_full(planted: Planted) -> None:
    assert message(planted("differ"), "graph_conv_blk1_3_layer_3").splitlines() == [
        "graph_conv_blk1_3_layer_3  differ  (156, 192) float32",
        "  mismatched 412 of 29952 (1.4 %), greatest |Δ| 3.10e-03 at [88, 17]: "
        "torch 0.4120, tf 0.4089",
        "  21 earlier taps agree: the first divergence is here",
        "  again: p2m-parity compare out/coarse/reference.h5 out/coarse/candidate.h5 "
        "--taps graph_conv_blk1_3_layer_3",
    ]


def test_the_command_is_ready_for_a_shell(
    planted: Planted, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(networks, "_IMPORTED", {"my_net": None})
    found = planted("differ")
    moved = replace(found.reference, path="my traces/reference.h5")
    text = message(replace(found, reference=moved), "graph_conv_blk1_3_layer_3")
    assert "again: p2m-parity --network my_net compare 'my traces/reference.h5' out/" in text


def test_a_later_tap_points_back(planted: Planted) -> None:
    text = message(planted("differ"), "graph_conv_blk1_4_layer_4")
    assert "inherited" in text
    assert (
        "23 earlier taps: 21 agree, 1 inherited, 1 differ; "
        "the first divergence is graph_conv_blk1_3_layer_3"
    ) in text


def test_the_very_first_tap(planted: Planted) -> None:
    comparison = planted("agree")
    text = message(comparison, comparison.taps[0])
    assert "identical in all 2,408,448 elements" in text
    assert "nothing comes before it; nothing diverges" in text
    assert "1 earlier tap agrees" in message(comparison, comparison.taps[1])


def test_a_loss(planted: Planted) -> None:
    lines = message(planted("trained"), "losses/total").splitlines()
    assert lines[0] == "losses/total  differ  scalar float32"
    assert "greatest |Δ| 3.00e-02: torch" in lines[1]
    assert "at [" not in lines[1]
    assert "87 earlier entries agree: the first divergence is here" in lines[2]
    assert lines[-1].endswith("--taps losses/total")


def test_a_gradient(planted: Planted) -> None:
    key = "gradients/meshnetmvp2m/pixel2mesh/cnn/conv2d_6/W:0"
    lines = message(planted("trained"), key).splitlines()
    assert lines[0] == f"{key}  inherited  (3, 3, 4, 16) float32"
    assert "the first divergence is losses/total" in lines[2]


def test_entries_without_their_group_in_the_name_are_found(planted: Planted) -> None:
    comparison = planted("trained")
    losses = tuple(
        replace(loss, tap=loss.tap.removeprefix("losses/")) for loss in comparison.losses
    )
    bare = replace(comparison, losses=losses)
    assert find(bare, "losses/total") is losses[1]
    assert message(bare, "losses/total") == message(comparison, "losses/total")


def test_a_missing_tap(planted: Planted) -> None:
    lines = message(planted("missing"), "graph_conv_blk1_9_layer_9").splitlines()
    assert lines[:2] == ["graph_conv_blk1_9_layer_9  missing", "  in the reference only"]
    assert lines[2] == "  30 earlier taps agree"


def test_shapes_that_differ(planted: Planted) -> None:
    comparison = planted("missing")
    note = "shape (192, 156) in the candidate, (156, 192) in the reference"
    tap = replace(
        comparison.taps[30], status=Status.DIFFER, shape=(156, 192), dtype="float32", note=note
    )
    taps = (*comparison.taps[:30], tap, *comparison.taps[31:])
    comparison = replace(
        comparison, taps=taps, verdict=Verdict.DIFFER, first_divergence=tap.tap, missing=()
    )
    lines = message(comparison, tap).splitlines()
    assert lines[0] == "graph_conv_blk1_9_layer_9  differ  (156, 192) float32"
    assert lines[1] == f"  {note}"
    assert "mismatched" not in "".join(lines)
    assert "first divergence is here" in lines[2]


def test_nan(planted: Planted) -> None:
    lines = message(planted("nan"), "cnn.conv2d_10").splitlines()
    assert "mismatched 1 of 301056 (< 0.01 %), greatest |Δ| NaN" in lines[1]
    assert lines[1].endswith("torch NaN, tf 0.7163")
    assert lines[2] == "  1 value is NaN in the candidate alone"
    note = message(planted("nan"), "cnn.conv2d_5").splitlines()[2]
    assert note == "  NaN at the same 12 places on both sides"


def test_two_sides_of_one_backend_are_told_apart(planted: Planted) -> None:
    comparison = planted("differ")
    same = replace(comparison, candidate=replace(comparison.candidate, backend="tf"))
    assert "candidate 0.4120, reference 0.4089" in message(same, "graph_conv_blk1_3_layer_3")


def test_the_command_is_safe_to_paste(planted: Planted) -> None:
    comparison = planted("hostile")
    again = message(comparison, "[red]x").splitlines()[-1]
    # Quoted for the shell, and as a glob that matches this name alone.
    assert again.endswith("--taps '[[]red]x'")
    assert """'/tmp/it'"'"'s [bold]here[/bold]\\n.h5'""" in again
    quoted = message(comparison, "'; rm -rf ~; '").splitlines()[-1]
    assert quoted.endswith("""--taps ''"'"'; rm -rf ~; '"'"''""")


def test_no_hostile_name_breaks_the_lines(planted: Planted) -> None:
    comparison = planted("hostile")
    for tap in comparison.taps:
        text = message(comparison, tap)
        assert len(text.splitlines()) <= 6
        assert text.replace("\n", "").isprintable()


def test_an_unknown_name(planted: Planted) -> None:
    with pytest.raises(KeyError, match="nowhere"):
        message(planted("agree"), "nowhere")


@pytest.mark.parametrize(
    ("state", "text"),
    [
        ("agree", "coarse: agree (86 taps compared: 86 agree)"),
        (
            "differ",
            "coarse: differ, first at graph_conv_blk1_3_layer_3 "
            "(86 taps compared: 21 agree, 64 inherited, 1 differ)",
        ),
        (
            "missing",
            "coarse: invalid, 2 taps are in one trace only (graph_conv_blk1_9_layer_9, "
            "graph_conv_blk1_9_layer_9.residual) (84 taps compared: 84 agree, 2 missing)",
        ),
        (
            "invalid",
            "coarse: invalid, could not judge cnn.conv2d_4 (85 taps compared: 85 agree, 1 invalid)",
        ),
        ("nothing", "coarse: invalid, nothing was compared (0 taps compared)"),
        (
            "trained",
            "coarse: differ, first at losses/total (86 taps compared: 86 agree; "
            "2 losses: 1 agree, 1 differ; 12 gradients: 11 agree, 1 inherited)",
        ),
    ],
)
def test_sentence(planted: Planted, state: str, text: str) -> None:
    assert sentence(planted(state)) == text


def test_a_difference_without_a_place_gives_its_cause(planted: Planted) -> None:
    comparison = replace(
        planted("agree"), verdict=Verdict.DIFFER, notes=("the candidate ran in float16",)
    )
    assert sentence(comparison).startswith("coarse: differ, the candidate ran in float16 (")


def test_a_verdict_in_roundings_says_so(planted: Planted) -> None:
    comparison = planted("differ")
    taps = list(comparison.taps)
    taps[21] = replace(
        taps[21], mismatched=0, local_roundings=5e4, local_roundings_reference=0.5,
        float64_roundings=1e12, float64_roundings_reference=0.25, roundings_limit=9.18,
    )  # fmt: skip
    lines = message(replace(comparison, taps=tuple(taps)), taps[21]).splitlines()
    assert lines[1].startswith("  greatest |Δ| 3.10e-03 at [88, 17]: torch 0.4120, tf 0.4089")
    assert lines[2] == (
        "  the layer's own error in roundings: 50000 in own precision (the reference's 0.5), "
        "1e+12 in float64 (the reference's 0.25); 9.18 are admitted"
    )


def test_traces_that_were_not_kept_are_not_to_be_compared_again(planted: Planted) -> None:
    comparison = planted("differ")
    gone = replace(
        comparison,
        reference=replace(comparison.reference, path=""),
        candidate=replace(comparison.candidate, path=""),
    )
    assert "again" not in message(gone, "graph_conv_blk1_3_layer_3")
