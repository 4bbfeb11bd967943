"""Planted differences, told by what they look like."""

import numpy as np
import pytest

from network.registry import network_of
from reports.text.patterns import Sums, describe

LIMIT = 1e-3


def told(reference: np.ndarray, candidate: np.ndarray) -> str:
    channels = reference.shape[-1]
    r, c = reference.reshape(-1, channels), candidate.reshape(-1, channels)
    sums = Sums(np.zeros(len(r)), np.zeros(channels))
    for start in range(0, len(r), 7):
        sums.add(start, r[start : start + 7], c[start : start + 7])
    delta = np.abs(c - r)
    return "\n".join(describe(sums, delta.max(axis=1), delta, reference.shape, LIMIT, 1.0))


def noise(shape: tuple[int, ...], seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape)


def test_nothing_is_said_within_the_limit() -> None:
    reference = noise((50, 8))
    assert told(reference, reference + 1e-4) == ""


def test_a_bias() -> None:
    reference = noise((50, 8))
    text = told(reference, reference + noise((8,), 1))
    assert "50 of 50 rows and 8 of 8 channels" in text
    assert "100% of it is the same in all rows of a channel" in text
    assert "all channels of a row" not in text


def test_a_shift_of_rows() -> None:
    reference = noise((50, 8))
    text = told(reference, reference + noise((50, 1), 1))
    assert "is the same in all channels of a row" in text


@pytest.mark.parametrize("factor", [0.5, -1.0, 1.01])
def test_a_factor(factor: float) -> None:
    reference = noise((50, 8))
    assert f"the candidate is {factor:g} times the reference" in told(reference, reference * factor)


def test_what_is_no_factor_is_not_called_one() -> None:
    reference = noise((50, 8))
    text = told(reference, reference * 0.5 + 0.01 * noise((50, 8), 1))
    assert "times the reference" not in text
    assert "the same in all" not in text


def test_zeros_in_place_of_values() -> None:
    reference = noise((50, 8))
    assert "the candidate is zero everywhere" in told(reference, np.zeros((50, 8)))
    assert "the reference is zero everywhere" in told(np.zeros((50, 8)), reference)


def test_few_rows() -> None:
    reference = noise((50, 8))
    candidate = reference.copy()
    candidate[[3, 20]] += noise((2, 8), 1) + 5
    text = told(reference, candidate)
    assert "2 of 50 rows and 8 of 8 channels hold differences beyond 1e-03 of the" in text
    assert "magnitude: few rows, there in most channels" in text


def test_few_channels() -> None:
    reference = noise((50, 8))
    candidate = reference.copy()
    candidate[:, 6] = noise((50,), 1) + 9
    text = told(reference, candidate)
    assert "1 of 8 channels hold differences beyond 1e-03 of the greatest magnitude: few" in text


@pytest.mark.parametrize(
    ("place", "sides"),
    [((slice(None), -1), "bottom"), ((slice(None), slice(None), 0), "left")],
)
def test_only_a_border(place: tuple[slice | int, ...], sides: str) -> None:
    reference = noise((3, 16, 16, 4))
    candidate = reference.copy()
    candidate[place] += 1
    assert f"only pixels of the border differ ({sides})" in told(reference, candidate)


def test_a_border_worse_than_the_rest() -> None:
    reference = noise((3, 16, 16, 4))
    candidate = reference + 0.01 * noise((3, 16, 16, 4), 1)
    for edge in (0, -1):
        candidate[:, edge] += 1
        candidate[:, :, edge] += 1
    assert "the border differs more than the rest" in told(reference, candidate)
    rest = reference + noise((3, 16, 16, 4), 1)
    assert "border" not in told(reference, rest)


def test_nan_does_not_spread_into_the_words() -> None:
    reference = noise((50, 8))
    candidate = reference * 0.5
    reference[3, 3] = candidate[3, 3] = np.nan
    sums = Sums(np.zeros(50), np.zeros(8))
    sums.add(0, reference, candidate)
    delta = np.nan_to_num(np.abs(candidate - reference))
    text = "\n".join(describe(sums, delta.max(axis=1), delta, (50, 8), LIMIT, 1.0))
    assert "the candidate is 0.5 times the reference" in text


COARSE, REFINE = "graph_proj_2_layer_15", "graph_localproj_1_layer_1"


@pytest.mark.parametrize(
    ("stage", "tap", "channel", "meaning"),
    [
        ("coarse", COARSE, 2, "coordinate z"),
        ("coarse", COARSE, 3, "greatest over views of cnn.conv2d_8, channel 0"),
        ("coarse", COARSE, 962, "greatest over views of cnn.conv2d_18, channel 511"),
        ("coarse", COARSE, 963, "mean over views of cnn.conv2d_8, channel 0"),
        ("coarse", COARSE, 2882, "deviation over views of cnn.conv2d_18, channel 511"),
        ("coarse", f"{COARSE}.concat", 2883, "hidden feature 0"),
        ("refine", REFINE, 338, "deviation over views of cnn.conv2d_8, channel 63"),
        ("refine", REFINE, 19, "greatest over views of cnn.conv2d_5, channel 0"),
        ("coarse", "graph_conv_blk1_1_layer_1", 5, ""),
    ],
)
def test_channels_of_projections_are_named(
    stage: str, tap: str, channel: int, meaning: str
) -> None:
    assert network_of(stage).row(tap).meaning(channel) == meaning
