import hashlib
import struct

import numpy as np
import pytest

from weight_conversion.errors import InputError
from weight_conversion.weight_set import WeightSet, check_arrays, weights_sha256


def test_checksum_is_of_the_documented_bytes() -> None:
    arrays = {
        "b:0": np.array([[1.0, -0.0]], np.float32),
        "a:0": np.array(2.0, np.float32),
    }
    stream = b"a:0\0\0" + struct.pack("<f", 2) + b"b:0\0" + b"1x2\0" + struct.pack("<2f", 1, -0.0)
    assert weights_sha256(arrays) == hashlib.sha256(stream).hexdigest()


def test_checksum_sees_values_and_not_how_they_are_held() -> None:
    array = np.arange(6, dtype=np.float32).reshape(2, 3)
    same = [array, np.asfortranarray(array), array.astype(">f4"), array[::-1][::-1]]
    assert len({weights_sha256({"v": entry}) for entry in same}) == 1


@pytest.mark.parametrize(
    "other",
    [
        {"v": np.zeros((3, 2), np.float32)},
        {"v": np.full((2, 3), -0.0, np.float32)},
        {"w": np.zeros((2, 3), np.float32)},
        {"v": np.zeros((2, 3), np.float32), "w": np.zeros(0, np.float32)},
    ],
    ids=["shape", "sign of zero", "name", "surplus"],
)
def test_checksum_tells_apart(other: dict[str, np.ndarray]) -> None:
    assert weights_sha256(other) != weights_sha256({"v": np.zeros((2, 3), np.float32)})


def test_checksum_of_another_type() -> None:
    with pytest.raises(InputError, match="v: type float64; expected float32"):
        weights_sha256({"v": np.zeros(3)})


def test_good_arrays_pass(small: WeightSet) -> None:
    check_arrays("here", "small", small.arrays)


FAULTS = {
    "missing": (lambda a: a.pop("s/g_vars/bias:0"), "1 missing: s/g_vars/bias:0"),
    "surplus": (lambda a: a.update(x=np.zeros(1)), "1 unexpected: x"),
    "broadcast": (
        lambda a: a.update({"s/g_vars/bias:0": np.zeros(1, np.float32)}),
        "variable s/g_vars/bias:0 of shape 1; expected 3",
    ),
    "transposed": (
        lambda a: a.update({"s/cnn/c/W:0": np.zeros((2, 3, 4, 5), np.float32)}),
        "variable s/cnn/c/W:0 of shape 2x3x4x5; expected 3x2x4x5",
    ),
    "float64": (
        lambda a: a.update({"s/g_vars/bias:0": np.zeros(3)}),
        r"variable s/g_vars/bias:0 of type float64; expected float32 \(little-endian\)",
    ),
    "big-endian": (
        lambda a: a.update({"s/g_vars/bias:0": np.zeros(3, ">f4")}),
        "of type big-endian float32",
    ),
    "NaN": (
        lambda a: a["s/g_vars/weights_0:0"].__setitem__((slice(1, 3), 2), np.nan),
        r"weights_0:0 has 2 of 9 values that are not finite, the first nan at \[1, 2\]",
    ),
    "infinity": (
        lambda a: a["s/g_vars/bias:0"].__setitem__(2, -np.inf),
        r"bias:0 has 1 of 3 values that are not finite, the first -inf at \[2\]",
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_faulty_arrays(fault: str, small: WeightSet) -> None:
    plant, message = FAULTS[fault]
    plant(small.arrays)
    with pytest.raises(InputError, match=message) as raised:
        check_arrays("here", "small", small.arrays)
    assert str(raised.value).startswith("here: ")


def test_unknown_stage() -> None:
    with pytest.raises(InputError, match="here: stage 'medium'; expected coarse or refine"):
        check_arrays("here", "medium", {})
