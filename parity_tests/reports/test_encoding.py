import base64
import json

import numpy as np
import pytest

from parity_tests.reports.conftest import HOSTILE
from reports.page.encoding import OCTAVE, STEPS, magnitudes, packed, script_json, shades


def levels(text: str) -> np.ndarray:
    return np.frombuffer(base64.b64decode(text), np.uint8)


@pytest.mark.parametrize("name", [*HOSTILE, "</script>", "<!--<script>", "\u2028\u2029", "]]>"])
def test_no_name_ends_a_script(name: str) -> None:
    text = script_json({name: [name]})
    assert not set("<>&\u2028\u2029\x1b") & set(text)
    assert text.isascii()
    assert json.loads(text) == {name: [name]}


def test_packed_numbers_are_little_endian() -> None:
    text = packed(np.array([[1.5, -2], [np.nan, 3e38]], ">f8"), "<f4")
    found = np.frombuffer(base64.b64decode(text), "<f4")
    np.testing.assert_array_equal(found, np.array([1.5, -2, np.nan, 3e38], np.float32))


def test_shades_are_within_half_a_step() -> None:
    values = np.random.default_rng(0).normal(size=(7, 9))
    low, high = float(values.min()), float(values.max())
    picture = shades(values, low, high)
    back = low + (high - low) * levels(picture["shades"]).reshape(7, 9) / STEPS
    assert np.abs(back - values).max() <= (high - low) / STEPS / 2 * 1.0001


def test_what_is_not_finite_has_a_shade_of_its_own() -> None:
    picture = shades(np.array([[np.nan, 0.0, np.inf, 2.0]]), 0.0, 2.0)
    assert levels(picture["shades"]).tolist() == [255, 0, 255, STEPS]


def test_one_value_needs_no_range() -> None:
    assert levels(shades(np.full((1, 2), 3.0), 3.0, 3.0)["shades"]).tolist() == [0, 0]


def test_magnitudes_are_within_half_a_step_of_an_octave() -> None:
    values = 2.0 ** -np.linspace(0, 30, 50).reshape(5, 10)
    picture = magnitudes(values)
    back = picture["top"] * 2 ** ((levels(picture["levels"]).astype(float) - STEPS) / OCTAVE)
    ratio = np.log2(back.reshape(5, 10) / values)
    assert np.abs(ratio).max() <= 0.5 / OCTAVE + 1e-9


def test_magnitudes_tell_nothing_small_and_infinite_apart() -> None:
    picture = magnitudes(np.array([[0.0, 1e-300, 1.0, np.inf]]))
    assert levels(picture["levels"]).tolist() == [0, 1, STEPS, 255]
    assert picture["top"] == 1.0
